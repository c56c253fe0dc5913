"""The multi-step samplers against Gaussian laws, for which the best denoiser and velocity are known."""

import pytest
import torch

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.generators.diffusion import LAST_TIME, schedule

MEAN, STD = 0.3, 0.5


def make(name: str, *, size: int = 1, **kwargs):
    config = GeneratorConfig(name=name, width=16, depth=2, **kwargs)
    return make_generator(config, 1, size, blocks=1, rng=torch.Generator().manual_seed(0))


def exact_clean(x, t):
    """E[y | x] for y ~ N(MEAN, STD^2) and x = alpha y + sigma e."""
    alpha, sigma = schedule(t)
    return MEAN + alpha * STD**2 * (x - alpha * MEAN) / ((alpha * STD) ** 2 + sigma**2)


def exact_network(prediction):
    """What a perfect network says, given (x, t, further features of t)."""

    def complete(known, inputs):
        x, t = inputs[..., :1], inputs[..., 1:2]
        alpha, sigma = schedule(t)
        noise = (x - alpha * exact_clean(x, t)) / sigma
        return noise if prediction == "eps" else alpha * noise - sigma * exact_clean(x, t)

    return complete


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
    assert errors[1] == pytest.approx(0.074, abs=0.002)  # iterated by hand: twenty steps lose 7 % of the spread
    assert errors[-1] < 0.005


def test_v_and_eps_say_the_same_of_one_denoiser(monkeypatch):
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.05, LAST_TIME, 50).unsqueeze(1)
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
    alpha, sigma = schedule(torch.linspace(0, LAST_TIME, 2001)[1:])
    posterior = STD**2 * sigma**2 / ((alpha * STD) ** 2 + sigma**2)  # variance of y given x
    expected = posterior * (alpha / sigma) ** 2 if prediction == "eps" else posterior / sigma**2
    assert found == pytest.approx(float(expected.mean()), rel=0.02)


def test_euler_steps_along_the_exact_velocity_reach_the_law(monkeypatch):
    def velocity(known, inputs):
        """E[y - e | x] for x = (1 - t) e + t y."""
        x, t = inputs[..., :1], inputs[..., 1:2]
        slope = (t * STD**2 - (1 - t)) / ((1 - t) ** 2 + (t * STD) ** 2)
        return MEAN + slope * (x - t * MEAN)

    errors = []
    for steps in (5, 20, 200):
        generator = make("flow", steps=steps)
        monkeypatch.setattr(generator.backbone, "complete", velocity)
        errors.append(abs(spread_of(generator) - STD) / STD)
        mean = generator.decode(torch.zeros(1, 16), torch.zeros(1, 1)).item()
        assert mean == pytest.approx(MEAN, abs=1e-5)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


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
