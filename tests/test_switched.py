"""Drifting with switches: modes with nothing between them, and each condition's own odds."""

import copy

import pytest
import torch

from drift_wm.fields import energy_field, energy_potential
from drift_wm.generators import Ensemble, GeneratorConfig, make_generator
from drift_wm.generators.switched import SwitchedDriftingGenerator
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.truth.training import train_generator


def make(**kwargs):
    config = GeneratorConfig(**{"width": 32, "depth": 2, "noise_size": 4, "shortcut": 0.0, "switches": 1, **kwargs})
    return make_generator(config, 1, 1, blocks=1, rng=torch.Generator().manual_seed(0))


def odds(c):
    """Of y = c + 1; else it is c - 1."""
    return 0.5 + 0.4 * c


def draw(size, rng):
    c = torch.rand(size, 1, generator=rng) * 2 - 1
    way = torch.where(torch.rand(size, 1, generator=rng) < odds(c), 1.0, -1.0)
    return c, c + way + 0.05 * torch.randn(size, 1, generator=rng)


@pytest.fixture(scope="module")
def trained():
    return train_generator(make(), draw, TrainingConfig(learning_rate=8e-3), steps=1500, seed=0)


def sample(generator, c, count=4000):
    z = torch.randn(count, generator.noise_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return generator.sample(torch.full((1, 1), c), z)


@pytest.mark.parametrize("c", [-0.75, 0.0, 0.75])
def test_each_condition_has_odds_of_its_own_and_nothing_between_its_modes(trained, c):
    along = sample(trained, c) - c
    assert float((along.abs() < 0.5).float().mean()) < 0.005
    assert float((along > 0).float().mean()) == pytest.approx(odds(c), abs=0.06)
    assert float((along.abs() - 1).abs().mean()) < 0.12


def test_the_centre_is_the_mean_of_both_ways(trained):
    """As `centre` of a planner says it, and as a policy that acts without noise."""
    known = trained.backbone.from_condition(torch.tensor([[0.5]]))
    with torch.no_grad():
        even = trained.damped(known, torch.ones(1, trained.noise_size), 0.0)
        assert float(even) == pytest.approx(0.5 + 2 * odds(0.5) - 1, abs=0.3)
        assert float(trained.centre(known)) == pytest.approx(0.5 + 2 * odds(0.5) - 1, abs=0.1)


def test_more_switches_have_more_ways_and_noise_besides():
    generator = make(switches=3)
    assert isinstance(generator, SwitchedDriftingGenerator)
    assert generator.noise_size == 3 + 4
    z = torch.randn(500, 7, generator=torch.Generator().manual_seed(2))
    read = []
    generator.backbone.from_noise.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.no_grad():
        generator.sample(torch.zeros(1, 1), z)
    assert {tuple(row) for row in read[0][:, :3].tolist()} == {
        (a, b, c) for a in (1.0, -1.0) for b in (1.0, -1.0) for c in (1.0, -1.0)
    }
    torch.testing.assert_close(read[0][:, 3:], z[:, 3:])


def test_what_a_choice_adds_is_that_of_the_energy_score():
    """Whose mean over siblings, once less the others' baselines, is the score itself with repulsion counted twice."""
    generator = make(siblings=3, exponent=1.0, smoothing=0.0)
    rng = torch.Generator().manual_seed(3)
    x, y = torch.randn(5, 3, 1, generator=rng), torch.randn(5, 1, generator=rng)
    to_data = (x - y.unsqueeze(1)).norm(dim=-1)
    for i in range(3):
        others = [j for j in range(3) if j != i]
        apart = sum((x[:, i] - x[:, j]).norm(dim=-1) for j in others) / 2
        expected = to_data[:, i] - apart - sum(to_data[:, j] for j in others) / 2
        torch.testing.assert_close(generator._added_score(x, y)[:, i], expected)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize(("exponent", "smoothing"), [(0.7, 0.02), (1.0, 0.3), (1.5, 0.1)])
def test_forces_are_the_gradient_of_the_potential(blocks, exponent, smoothing):
    rng = torch.Generator().manual_seed(4)
    x, data, other = (torch.randn(6, 1, 4, generator=rng, dtype=torch.float64) for _ in range(3))
    x.requires_grad_()
    given = {"exponent": exponent, "smoothing": smoothing, "blocks": blocks}
    score = energy_potential(x - data, **given) - energy_potential(x - other, **given)
    (gradient,) = torch.autograd.grad(score.sum(), x)
    torch.testing.assert_close(energy_field(x.detach(), data, other, **given), -gradient)


def test_members_have_switches_each_and_other_fields_none():
    ensemble = make(members=2)
    assert isinstance(ensemble, Ensemble)
    assert all(isinstance(member, SwitchedDriftingGenerator) for member in ensemble.each())
    assert not isinstance(make(field="kernel"), SwitchedDriftingGenerator)


def test_the_loss_says_what_the_drift_is_and_moves_the_odds():
    generator = make(mean_weight=0.0)
    c, y = draw(64, torch.Generator().manual_seed(5))
    loss = generator.loss(c, y, rng=torch.Generator().manual_seed(6))
    z = torch.randn(64, 2, generator.noise_size, generator=torch.Generator().manual_seed(6))
    x = generator.sample(c.unsqueeze(1), z)
    torch.testing.assert_close(loss, generator.loss_of(x, y, blocks=1))
    loss.backward()
    assert float(generator.thresholds.bias.grad.abs().max()) > 0


def test_other_units_keep_the_odds(trained):
    before = sample(trained, 0.5)
    changed = copy.deepcopy(trained)
    changed.rebase((torch.tensor([2.0]), torch.tensor([0.1])), (torch.tensor([3.0]), torch.tensor([-1.0])))
    torch.testing.assert_close(3 * sample(changed, 0.2) - 1, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"generator": {"switches": 5}}, "switches=5.*from 0 to 4"),
        ({"generator": {"switches": -1}}, "switches=-1.*from 0 to 4"),
        ({"generator": {"switches": 1}, "self_rollout": 2}, r"self_rollout=2.*expected 1 where .*switches=1"),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        WorldModelConfig(**wrong | {"generator": GeneratorConfig(**wrong["generator"])})
