"""Descent and averaging: what one vector for a module's parameters must not change."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from drift_wm.generators.nets import MLP
from drift_wm.learning.optimisation import Average, Descent, TrainingConfig

CONFIG = TrainingConfig(learning_rate=1e-2, value_rate=0.25, clip=0.5)


def network(seed=0) -> MLP:
    return MLP(3, 2, width=8, depth=2, normalised=True, rng=torch.Generator().manual_seed(seed))


def loss_of(module: nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
    return (module(x) - x[:, :2] ** 2).square().sum()


def test_it_goes_where_adamw_goes_parameter_by_parameter():
    ours, theirs = network(), network()
    descent = Descent([ours], CONFIG)
    adam = torch.optim.AdamW(theirs.parameters(), lr=1.0, weight_decay=CONFIG.weight_decay)
    for step, rate in enumerate((1e-2, 5e-3, 2e-3)):
        norm = descent.step(loss_of(ours, step), rate=rate)
        adam.zero_grad()
        loss_of(theirs, step).backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), CONFIG.clip)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        torch.testing.assert_close(norm, expected)
        assert norm > CONFIG.clip, "so that something was clipped"
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_steady_modules_learn_at_a_steady_share_of_the_peak_rate():
    """Adam's first step is as long as the rate, whatever the gradient."""
    for rate in (1e-2, 1e-4):
        falling, steady = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        before = [falling.weight.item(), steady.weight.item()]
        descent = Descent([falling, steady], TrainingConfig(learning_rate=1e-2, value_rate=0.25), steady=[steady])
        descent.step(falling.weight.sum() + steady.weight.sum(), rate=rate)
        moved = [old - new for old, new in zip(before, (falling.weight.item(), steady.weight.item()), strict=True)]
        assert moved == pytest.approx([rate, 2.5e-3], rel=1e-2)


def test_what_a_loss_leaves_out_and_what_is_not_trained_stay_as_they_are():
    used, unused, frozen = network(1), network(2), network(3).requires_grad_(False)
    half = nn.ModuleList([network(4), frozen])
    before = copy.deepcopy([unused, frozen])
    descent = Descent([used, unused, half, nn.Identity()], CONFIG)
    for step in range(2):
        descent.step(loss_of(used, step) + loss_of(half[0], step), rate=1e-2)
    for was, now in zip(before, (unused, frozen), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(was.parameters(), now.parameters(), strict=True))
    descent.step(loss_of(unused, 0), rate=1e-2)
    assert not torch.equal(before[0][0].weight, unused[0].weight)


def test_going_on_from_a_state_is_not_stopping():
    straight, stopped = network(), network()
    one, other = Descent([straight], CONFIG), Descent([stopped], CONFIG)
    for step in range(2):
        one.step(loss_of(straight, step), rate=1e-2)
        other.step(loss_of(stopped, step), rate=1e-2)
    resumed = network(5)
    third = Descent([resumed], CONFIG)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    third.load_state_dict(copy.deepcopy(other.state_dict()))
    one.step(loss_of(straight, 2), rate=1e-3)
    third.step(loss_of(resumed, 2), rate=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_who_goes_on_does_so_at_the_rates_and_the_decay_asked_for_now():
    parent, child = [network(), network(1)], [network(), network(1)]
    before = Descent(parent, CONFIG, steady=parent[1:])
    before.step(loss_of(parent[0], 0) + loss_of(parent[1], 0), rate=1e-2)
    asked = replace(CONFIG, learning_rate=1e-3, value_rate=0.5, weight_decay=0.01)
    descent = Descent(child, asked, steady=child[1:])
    descent.load_state_dict(before.state_dict())
    groups = descent.state_dict()["param_groups"]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.01), (5e-4, 0.0)]


def test_weights_decay_but_those_of_steady_modules():
    falling, steady = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    before = [falling.weight.item(), steady.weight.item()]
    descent = Descent([falling, steady], TrainingConfig(weight_decay=0.5), steady=[steady])
    descent.step(0.0 * (falling.weight.sum() + steady.weight.sum()), rate=0.1)
    assert [falling.weight.item(), steady.weight.item()] == pytest.approx([0.95 * before[0], before[1]])


@pytest.mark.parametrize(("last", "of_critics"), [(True, 0.125), (False, 0.25)])
def test_the_average_follows_parameters_that_have_become_views(last, of_critics):
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    averaged = copy.deepcopy(module).requires_grad_(False)
    config = replace(CONFIG, averaging=0.4, value_averaging=0.8)
    average = Average(averaged, module, config, steady=module[1])
    descent = Descent([module], config)
    start = copy.deepcopy(averaged)
    descent.step(loss_of(module, 0), rate=1e-2)
    average.update(100, 10, last=last)
    # 1 / (0.4 * 10), and of what learns at a steady rate, in a last round, 1 / (0.8 * 10)
    for part, share in enumerate([0.25, of_critics]):
        torch.testing.assert_close(averaged[part].weight, start[part].weight.lerp(module[part].weight, share))
        assert not torch.equal(start[part].weight, module[part].weight)


def test_first_steps_are_averaged_alike():
    config = replace(CONFIG, averaging=0.3, value_averaging=0.5)
    shares = [1 / config.averaging_share(done, 10) for done in range(5)]
    assert shares == pytest.approx([1, 2, 3, 3, 3])
    assert 1 / config.averaging_share(9, 10, steady=True) == pytest.approx(5)
    assert config.averaging_share(9, 1) == 1, "of a round of a step the last weights alone"
