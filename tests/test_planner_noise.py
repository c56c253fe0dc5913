"""Coloured noise: variance, spectrum, independence and reproducibility."""

import pytest
import torch

from drift_wm.planners.mppi import MPPI, MPPIConfig
from drift_wm.planners.noise import ColouredNoise, NoiseStock, spectrum_amplitude
from helpers import rng as generator


@pytest.mark.parametrize("horizon", [1, 2, 5, 20, 50])
@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.25, 2.0, 3.5])
def test_noise_has_zero_mean_and_unit_variance_at_every_step(horizon, exponent):
    noise = ColouredNoise(horizon, exponent).sample(20_000, 1, rng=generator())
    assert noise.shape == (20_000, horizon, 1)
    assert noise.dtype == torch.float32
    torch.testing.assert_close(noise.mean(0), torch.zeros(horizon, 1), atol=0.04, rtol=0)
    torch.testing.assert_close(noise.var(0), torch.ones(horizon, 1), atol=0.06, rtol=0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("horizon", [63, 64])
def test_power_falls_with_the_exponent(horizon, exponent):
    noise = ColouredNoise(horizon, exponent).sample(20_000, 1, rng=generator())[..., 0].double()
    power = torch.fft.rfft(noise).abs().square().mean(0)[1:]
    frequency = torch.fft.rfftfreq(horizon)[1:].double()
    design = torch.stack([frequency.log(), torch.ones_like(frequency)], dim=1)
    slope = torch.linalg.lstsq(design, power.log().unsqueeze(1)).solution[0, 0]
    assert slope.item() == pytest.approx(-exponent, abs=0.03)


def test_the_filter_is_the_fourier_transform_it_stands_for():
    horizon, exponent = 11, 1.5
    white = torch.randn(7, 3, horizon, generator=generator(4))
    spectrum = torch.fft.rfft(white.double()) * spectrum_amplitude(horizon, exponent)
    expected = torch.fft.irfft(spectrum, n=horizon).mT.float()
    drawn = ColouredNoise(horizon, exponent).sample(7, 3, rng=generator(4))
    torch.testing.assert_close(drawn, expected, atol=1e-6, rtol=1e-5)


def test_long_noise_is_filtered_alike(monkeypatch):
    """As of whole episodes, where a matrix would take gigabytes."""
    short = ColouredNoise(60, 1.0).sample(5, 2, rng=generator(4))
    monkeypatch.setattr("drift_wm.planners.noise._LONGEST_MATRIX", 59)
    long = ColouredNoise(60, 1.0)
    assert long.filter is None
    torch.testing.assert_close(long.sample(5, 2, rng=generator(4)), short, atol=1e-5, rtol=1e-5)


def test_the_zero_frequency_has_the_power_of_the_lowest():
    amplitude = spectrum_amplitude(10, 2.0)
    assert amplitude[0] == amplitude[1]
    assert amplitude[1] == pytest.approx(2 * amplitude[2].item())


def test_action_entries_and_sequences_are_independent():
    noise = ColouredNoise(8, 2.0).sample(20_000, 2, rng=generator())
    across_entries = (noise[..., 0] * noise[..., 1]).mean(0)
    across_sequences = (noise[1:] * noise[:-1]).mean(0)
    assert across_entries.abs().max() < 0.04
    assert across_sequences.abs().max() < 0.04


def test_smoother_noise_has_smaller_steps():
    steps = [ColouredNoise(30, e).sample(500, 1, rng=generator()).diff(dim=1).std() for e in (0.0, 1.0, 2.0)]
    assert steps[0] > steps[1] > steps[2]


@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_one_seed_gives_one_noise(exponent):
    noise = ColouredNoise(6, exponent)
    assert torch.equal(noise.sample(5, 2, rng=generator(1)), noise.sample(5, 2, rng=generator(1)))
    assert not torch.equal(noise.sample(5, 2, rng=generator(1)), noise.sample(5, 2, rng=generator(2)))


def stock(count=50, *, exponent=2.0):
    return NoiseStock(count, 8, 2, exponent, device=torch.device("cpu"))


def test_a_stock_is_the_same_everywhere_and_each_seed_takes_a_stretch_of_it():
    first, again = stock().take(generator(1)), stock().take(generator(1))
    assert first.shape == (50, 8, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, stock().take(generator(2)))


def test_what_is_taken_from_a_stock_has_unit_variance_and_the_stocks_colour():
    taken = torch.cat([stock(4_000, exponent=e).take(generator()) for e in (0.0, 2.0)])
    white, brown = taken[:4_000], taken[4_000:]
    torch.testing.assert_close(taken.var(0), torch.ones(8, 2), atol=0.06, rtol=0)
    assert white.diff(dim=1).std() > 1.5 * brown.diff(dim=1).std()


def test_all_of_a_stock_is_taken_in_turn(monkeypatch):
    monkeypatch.setattr("drift_wm.planners.noise._SEQUENCES", 0)
    places = torch.stack([stock(2).take(generator(seed))[0, 0] for seed in range(300)])
    assert len(places.unique(dim=0)) == 8 * 2 - 2 + 1


def test_a_small_budget_does_not_meet_the_same_directions_again_and_again():
    places = torch.stack([stock(2).take(generator(seed))[0, 0] for seed in range(300)])
    assert len(places.unique(dim=0)) > 250
    planner = MPPI(MPPIConfig(horizon=20, candidates=16, iterations=1), 1)
    best = 1.6 * torch.rand(20, 1, generator=generator(3)) - 0.8
    plan = planner.init(1)
    for decision in range(150):
        plan = planner.improve(lambda a: -(a - best).square().mean(dim=(2, 3)), plan, rng=generator(decision))
        found, plan = plan, planner.shift(plan, 0)
    assert found.score > -0.01, "eight stretches of 16 sequences led to -0.027, fresh noise to -0.004"


@pytest.mark.parametrize(("room", "stretches"), [(3, 3), (1, 2)])
def test_a_stock_of_large_budgets_is_smaller(monkeypatch, room, stretches):
    monkeypatch.setattr("drift_wm.planners.noise._MOST", room * 50 * 8 * 2)
    assert len(stock().take(generator())) == 50
    places = {stock().take(generator(seed))[0, 0, 0].item() for seed in range(600)}
    assert len(places) == (stretches - 1) * 50 + 1
