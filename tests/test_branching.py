"""Several ways to go on from one noise: the field, the odds, and modes with nothing between them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from drift_wm.fields import branching_energy, energy_field
from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.models.config import WorldModelConfig
from helpers import rng
from test_generators import fit, samples, two_modes


def make(condition_size=1, output_size=1, **changes):
    config = GeneratorConfig(**{"ways": 2, "width": 32, "depth": 2, "noise_size": 2, "shortcut": 0.0, **changes})
    return make_generator(config, condition_size, output_size, blocks=1, rng=rng())


def choosing(odds: float, *outcomes: float):
    """A generator whose ways lead to known outcomes, whatever the noise, the first by these odds."""
    generator = make()
    with torch.no_grad():
        for layer in (generator.backbone.output, generator.odds):
            layer.weight.zero_()
        generator.backbone.output.bias.copy_(torch.tensor(outcomes))
        generator.odds.bias.copy_(torch.tensor([odds, 1 - odds]).log())
    return generator


def energy_score(x, y, odds, *, exponent, smoothing, blocks):
    """Of mixtures of weighted points, all pairs of different siblings one by one."""

    def kernel(r):
        parts = (r, *r.chunk(blocks, dim=-1)) if blocks > 1 else (r,)
        return sum((part.square().sum(-1) + smoothing**2).pow(exponent / 2) / exponent for part in parts)

    G, total = x.shape[1], 0.0
    for g in range(G):
        total = total + (odds[:, g] * kernel(y[:, None] - x[:, g])).sum(1) / G
        for h in range(G):
            if h != g:
                both = odds[:, g, :, None] * odds[:, h, None, :] * kernel(x[:, g, :, None] - x[:, h, None])
                total = total - both.sum((1, 2)) / (2 * G * (G - 1))
    return total.sum()


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("siblings", [2, 3])
@pytest.mark.parametrize("ways", [1, 2, 4])
def test_the_field_and_the_score_are_gradients_of_the_energy_score(ways, siblings, blocks):
    x = torch.randn(3, siblings, ways, 6, generator=rng(), dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 6, generator=rng(1), dtype=torch.float64)
    odds = torch.rand(3, siblings, ways, generator=rng(2), dtype=torch.float64).softmax(-1).requires_grad_()
    how = {"exponent": 0.7, "smoothing": 0.1, "blocks": blocks}
    by_x, by_odds = torch.autograd.grad(energy_score(x, y, odds, **how), (x, odds))
    V, U = branching_energy(x.detach(), y, odds.detach(), **how)
    torch.testing.assert_close(-odds.detach().unsqueeze(-1) * V / siblings, by_x)
    torch.testing.assert_close(U / siblings, by_odds)


@given(arrays.arrays("float64", (2, 3, 1, 4), elements=st.floats(-5, 5)), st.floats(0.3, 1.7))
def test_one_way_is_the_energy_field(x, exponent):
    x, y = torch.from_numpy(x), torch.randn(2, 4, generator=rng(), dtype=torch.float64)
    how = {"exponent": exponent, "smoothing": 0.02, "blocks": 2}
    V, _ = branching_energy(x, y, torch.ones(2, 3, 1, dtype=torch.float64), **how)
    torch.testing.assert_close(V[:, :, 0], energy_field(x[:, :, 0], y.unsqueeze(1), **how))


def test_a_sibling_alone_is_refused():
    with pytest.raises(ValueError, match="at least 2 generated siblings"):
        branching_energy(torch.zeros(1, 1, 2, 3), torch.zeros(1, 3), torch.full((1, 1, 2), 0.5))


@pytest.mark.parametrize("odds", [0.0, 0.3, 1.0])
def test_the_last_entry_of_the_noise_takes_a_way_by_the_odds(odds):
    generator = choosing(odds, -1.0, 2.0)
    z = torch.randn(20_000, generator.noise_size, generator=rng())
    with torch.no_grad():
        x = generator.sample(torch.zeros(1, 1), z)
        again = generator.sample(torch.zeros(1, 1), torch.cat([torch.randn(20_000, 2), z[:, -1:]], dim=1))
    assert torch.equal(x, again), "the other entries say nothing here"
    assert set(x.unique().tolist()) <= {-1.0, 2.0}
    assert float((x == -1).float().mean()) == pytest.approx(odds, abs=0.01)


def test_more_ways_than_two():
    generator = make(ways=3)
    with torch.no_grad():
        generator.backbone.output.weight.zero_()
        generator.odds.weight.zero_()
        generator.backbone.output.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
        generator.odds.bias.copy_(torch.tensor([0.5, 0.2, 0.3]).log())
        x = generator.sample(torch.zeros(1, 1), torch.randn(20_000, 3, generator=rng()))
    assert [float((x == way).float().mean()) for way in range(3)] == pytest.approx([0.5, 0.2, 0.3], abs=0.015)


def test_the_centre_of_what_is_acted_is_that_of_all_ways():
    generator = choosing(0.3, -1.0, 2.0)
    known, z = generator.backbone.from_condition(torch.zeros(5, 1)), torch.randn(5, 3, generator=rng())
    with torch.no_grad():
        torch.testing.assert_close(generator.damped(known, z, 0.0), torch.full((5, 1), 0.3 * -1 + 0.7 * 2))
        sample = generator.decode(known, z)
        torch.testing.assert_close(generator.damped(known, z, 1.0), sample)
        torch.testing.assert_close(generator.damped(known, z, 0.5), (sample + 1.1) / 2)


def between(x, c):
    """Share of samples that belong to neither mode, c - 1 or c + 1."""
    return float(((x - c).abs() < 0.5).float().mean())


def test_modes_have_their_masses_and_nothing_is_left_between_them():
    """0.8 and 0.2; the same network with one way leaves a tenth there."""
    branching, continuous = (
        fit(make(ways=ways, width=48, noise_size=4), two_modes, 1000, rate=1e-2) for ways in (2, 1)
    )
    for c in (-0.5, 0.0, 0.5):
        x = samples(branching, c)
        assert float((x > c).float().mean()) == pytest.approx(0.8, abs=0.03)
        assert between(x, c) < 0.002
        assert between(samples(continuous, c), c) > 0.05


def test_noise_comes_in_once():
    generator = make(condition_size=2, output_size=3)
    c, y = torch.randn(8, 2, generator=rng()), torch.randn(8, 3, generator=rng(1))

    def is_noisy(generator, done, steps=100):
        """Whether noise has a say in the loss, which is then of a random draw."""
        generator.begin_step(done, steps)
        return len({generator.loss(c, y, rng=rng(seed)).item() for seed in range(2)}) == 2

    assert [is_noisy(generator, done) for done in (0, 5, 6, 8, 10, 99)] == [False, False, True, True, True, True]
    assert is_noisy(generator, 0), "not in a later round"
    child = make(condition_size=2, output_size=3)
    child.load_state_dict(generator.state_dict())
    assert is_noisy(child, 0), "nor in what goes on from it"


def test_a_change_of_units_keeps_samples_and_centre():
    generator = make(condition_size=5, output_size=3, ways=3)
    c, z = torch.randn(20, 5, generator=rng()), torch.randn(20, generator.noise_size, generator=rng(1))
    sample, centre = generator.sample(c, z), generator.centre(generator.backbone.from_condition(c))
    scale, shift = torch.tensor([2.0, 0.5, 1.0, 3.0, 1.0]), torch.tensor([0.3, -1.0, 0.0, 0.0, 2.0])
    out_scale, out_shift = torch.tensor([3.0, 0.1, 1.0]), torch.tensor([0.0, 1.0, -5.0])
    generator.rebase((scale, shift), (out_scale, out_shift))
    c = (c - shift) / scale
    torch.testing.assert_close(generator.sample(c, z) * out_scale + out_shift, sample, rtol=1e-4, atol=1e-5)
    found = generator.centre(generator.backbone.from_condition(c)) * out_scale + out_shift
    torch.testing.assert_close(found, centre, rtol=1e-4, atol=1e-5)


def test_without_a_layer_for_the_mean_the_centre_is_one_of_the_ways():
    generator = make(mean_weight=0.0)
    assert generator.central_layer is None
    known = generator.backbone.from_condition(torch.zeros(4, 1))
    torch.testing.assert_close(generator.centre(known), generator.decode(known, torch.zeros(4, 3)))


def test_several_ways_learn_from_a_single_chunk():
    network = GeneratorConfig(ways=2)
    with pytest.raises(ValueError, match=r"model\.self_rollout=2: expected 1 for model\.generator\.ways=2"):
        WorldModelConfig(self_rollout=2, generator=network)
