"""The multi-step samplers against Gaussian laws, for which the best denoiser and velocity are known."""

from itertools import pairwise
from math import cos, pi, sin

import pytest
import torch

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.generators.diffusion import LAST_TIMES, schedule

MEAN, STD = 0.3, 0.5


def make(name: str, *, size: int = 1, **kwargs):
    config = GeneratorConfig(name=name, width=16, depth=2, **kwargs)
    return make_generator(config, 1, size, blocks=1, rng=torch.Generator().manual_seed(0))


def exact_clean(x, t, std=STD):
    """E[y | x] for y ~ N(MEAN, std^2) and x = alpha y + sigma e."""
    alpha, sigma = schedule(t)
    return MEAN + alpha * std**2 * (x - alpha * MEAN) / ((alpha * std) ** 2 + sigma**2)


def exact_network(prediction, std=STD):
    """What a perfect network says, given (x, t, further features of t)."""

    def complete(known, inputs):
        x, t = inputs[..., :1], inputs[..., 1:2]
        alpha, sigma = schedule(t)
        noise = (x - alpha * exact_clean(x, t, std)) / sigma
        return noise if prediction == "eps" else alpha * noise - sigma * exact_clean(x, t, std)

    return complete


def exact_velocity(std):
    """E[y - e | x] for x = (1 - t) e + t y, given (x, t, further features of t)."""

    def complete(known, inputs):
        x, t = inputs[..., :1], inputs[..., 1:2]
        slope = (t * std**2 - (1 - t)) / ((1 - t) ** 2 + (t * std) ** 2)
        return MEAN + slope * (x - t * MEAN)

    return complete


def spread_kept(angles, std):
    """Of a Gaussian law, by DDIM with its exact denoiser: what the noise is multiplied by, step by step."""
    gain = 1.0
    for now, after in pairwise(angles):
        clean = cos(now) * std**2 / ((cos(now) * std) ** 2 + sin(now) ** 2)
        gain *= cos(after) * clean + sin(after) * (1 - cos(now) * clean) / sin(now)
    return gain / std


def spread_of(generator) -> float:
    z = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    y = generator.decode(torch.zeros(1, 16), z)
    return float(y.std() / z.std())


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_ddim_with_the_exact_denoiser_reaches_the_spread_as_steps_grow(monkeypatch, prediction):
    spreads = []
    for steps in (4, 20, 100, 400):
        generator = make("diffusion", steps=steps, prediction=prediction)
        monkeypatch.setattr(generator.backbone, "complete", exact_network(prediction))
        spreads.append(spread_of(generator))
        mean = generator.decode(torch.zeros(1, 16), torch.zeros(1, 1)).item()
        assert mean == pytest.approx(MEAN, abs=0.02)
    errors = [abs(spread - STD) / STD for spread in spreads]
    assert errors == sorted(errors, reverse=True)
    angles = [pi / 2 * LAST_TIMES[prediction] * (i / 20) ** 2 for i in range(20, -1, -1)]
    assert errors[1] == pytest.approx(1 - spread_kept(angles, STD), abs=1e-3)
    assert errors[-1] < 0.005


def test_v_and_eps_say_the_same_of_one_denoiser(monkeypatch):
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.05, LAST_TIMES["v"], 50).unsqueeze(1)
    answers = []
    for prediction in ("v", "eps"):
        generator = make("diffusion", prediction=prediction)
        monkeypatch.setattr(generator.backbone, "complete", exact_network(prediction))
        answers.append(generator.denoise(generator.backbone, torch.zeros(1, 16), x, t))
    (clean, noise), (clean_of_eps, noise_of_eps) = answers
    torch.testing.assert_close(clean, exact_clean(x, t))
    torch.testing.assert_close(clean_of_eps, clean, rtol=1e-3, atol=1e-3)  # eps divides rounding errors by alpha
    torch.testing.assert_close(noise_of_eps, noise, rtol=1e-4, atol=1e-4)
    alpha, sigma = schedule(t)
    torch.testing.assert_close(alpha * clean + sigma * noise, x)


def test_the_schedule_preserves_variance_and_begins_at_the_data():
    alpha, sigma = schedule(torch.linspace(0, 1, 11))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(11))
    assert (alpha[0], sigma[0]) == (1, 0)


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_the_diffusion_loss_of_the_exact_denoiser_is_the_posterior_variance(monkeypatch, prediction):
    generator = make("diffusion", prediction=prediction)
    monkeypatch.setattr(generator.backbone, "complete", exact_network(prediction))
    rng = torch.Generator().manual_seed(2)
    y = MEAN + STD * torch.randn(40_000, 1, generator=rng)
    found = float(generator.loss(torch.zeros(40_000, 1), y, rng=rng))
    alpha, sigma = schedule(torch.linspace(0, LAST_TIMES[prediction], 2001)[1:])
    posterior = STD**2 * sigma**2 / ((alpha * STD) ** 2 + sigma**2)  # variance of y given x
    expected = posterior * (alpha / sigma) ** 2 if prediction == "eps" else posterior / sigma**2
    assert found == pytest.approx(float(expected.mean()), rel=0.02)


def test_euler_steps_along_the_exact_velocity_reach_the_law(monkeypatch):
    errors = []
    for steps in (5, 20, 200):
        generator = make("flow", steps=steps)
        monkeypatch.setattr(generator.backbone, "complete", exact_velocity(STD))
        errors.append(abs(spread_of(generator) - STD) / STD)
        mean = generator.decode(torch.zeros(1, 16), torch.zeros(1, 1)).item()
        assert mean == pytest.approx(MEAN, abs=1e-5)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


@pytest.mark.parametrize(("name", "network"), [("diffusion", exact_network("v", 0.02)), ("flow", exact_velocity(0.02))])
def test_steps_are_spent_where_little_noise_is_left(monkeypatch, name, network):
    """Evenly spaced, fifty steps of DDIM lose half of a spread of 0.02 for want of small ones, not of learning."""
    generator = make(name, steps=50)
    monkeypatch.setattr(generator.backbone, "complete", network)
    assert 0.88 < spread_of(generator) / 0.02 < 1
    evenly = [pi / 2 * LAST_TIMES["v"] * i / 50 for i in range(50, -1, -1)]
    assert spread_kept(evenly, 0.02) < 0.55


def test_the_flow_is_trained_on_straight_lines_from_noise_to_data(monkeypatch):
    """A point mass at MEAN has the velocity (MEAN - x) / (1 - t), and then no loss is left."""
    generator = make("flow")
    monkeypatch.setattr(
        generator.backbone, "complete", lambda known, inputs: (MEAN - inputs[..., :1]) / (1 - inputs[..., 1:2])
    )
    y = torch.full((100, 1), MEAN)
    assert float(generator.loss(torch.zeros(100, 1), y, rng=torch.Generator().manual_seed(0))) < 1e-6


@pytest.mark.parametrize("name", ["diffusion", "flow"])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_a_sample_costs_as_many_network_evaluations_as_nfe_says(name, steps):
    generator = make(name, size=3, steps=steps)
    counted = []
    generator.backbone.output.register_forward_hook(lambda *_: counted.append(1))
    assert generator.sample(torch.zeros(2, 1), torch.randn(2, 3)).shape == (2, 3)
    assert len(counted) == generator.nfe == steps
