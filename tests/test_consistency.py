"""Consistency training: its boundary condition, its levels, and what it regresses on."""

import torch

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.generators.consistency import (
    SIGMA_MAX,
    SIGMA_MIN,
    ConsistencyGenerator,
    _level_weights,
    noise_levels,
)

CPU = torch.device("cpu")


def make() -> ConsistencyGenerator:
    config = GeneratorConfig(name="consistency", width=16, depth=2)
    generator = make_generator(config, 2, 3, blocks=1, rng=torch.Generator().manual_seed(0))
    assert isinstance(generator, ConsistencyGenerator)
    return generator


def test_at_the_lowest_level_the_network_has_no_say():
    generator, x = make(), torch.randn(5, 3)
    known = generator.backbone.from_condition(torch.randn(5, 2))
    torch.testing.assert_close(generator._clean(known, x, torch.full((1,), SIGMA_MIN)), x)
    above = generator._clean(known, x, torch.full((1,), 1.0))
    assert not torch.allclose(above, x, atol=0.1)


def test_at_the_highest_level_almost_nothing_of_the_input_is_passed_on(monkeypatch):
    generator, z = make(), torch.randn(5, 3)
    monkeypatch.setattr(generator.backbone, "complete", lambda known, inputs: torch.ones(5, 3))
    torch.testing.assert_close(generator.sample(torch.zeros(5, 2), z), torch.ones(5, 3), rtol=0, atol=0.2)


def test_levels_ascend_between_the_ends_and_are_dense_where_they_are_low():
    levels = noise_levels(11, device=CPU)
    gaps = levels.diff()
    assert levels.shape == (11,)
    torch.testing.assert_close(levels[[0, -1]], torch.tensor([SIGMA_MIN, SIGMA_MAX]))
    assert (gaps > 0).all()
    assert (gaps.diff() > 0).all()
    below = torch.distributions.Normal(-1.1, 2.0).cdf(levels.log())  # trained on as often as a log-normal level is
    torch.testing.assert_close(_level_weights(levels), 2 * below.diff(), rtol=1e-3, atol=1e-5)


def test_levels_double_over_a_round_and_depend_on_nothing_else():
    generator = make()
    seen = []
    for done in range(60):
        assert generator.begin_step(done, 60) == done / 60
        seen.append(generator.levels)
    assert seen == [levels for levels in (10, 20, 40, 80, 160, 320) for _ in range(10)]
    resumed = make()
    resumed.begin_step(35, 60)
    assert resumed.levels == seen[35]
    generator.begin_step(0, 60)
    assert generator.levels == 10


def test_the_target_is_stopped_and_the_loss_vanishes_for_a_constant_answer(monkeypatch):
    generator = make()
    c, y = torch.randn(8, 2), torch.randn(8, 3)
    rng = torch.Generator().manual_seed(1)
    loss = generator.loss(c, y, rng=rng)
    loss.backward()
    assert generator.backbone.output.weight.grad.abs().sum() > 0
    monkeypatch.setattr(generator, "_clean", lambda known, x, sigma: torch.zeros_like(x))
    assert float(generator.loss(c, y, rng=rng)) == 0.0
    # Where f returns its input, neighbouring levels differ by their noise alone: |e| of three dimensions.
    monkeypatch.setattr(generator, "_clean", lambda known, x, sigma: x)
    many = torch.zeros(20_000, 3)
    found = float(generator.loss(torch.zeros(20_000, 2), many, rng=rng))
    assert abs(found - 2 * (2 / torch.pi) ** 0.5) < 0.02 + 0.001 / float(noise_levels(11, device=CPU).diff()[0])
    # Followed by its target, f would change the difference of neighbouring levels alone, as much as there is.
    gain = torch.ones((), requires_grad=True)
    monkeypatch.setattr(generator, "_clean", lambda known, x, sigma: gain * x)
    (gradient,) = torch.autograd.grad(generator.loss(torch.zeros(20_000, 2), many, rng=rng), gain)
    assert float(gradient) > 1.3 * found
