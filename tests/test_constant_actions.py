"""Entries of actions that never vary in training: nothing is predicted from them, and plans leave them alone."""

from dataclasses import replace

import pytest
import torch

from drift_wm.acting.by_model import act_by
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import History, Spec
from drift_wm.learning.train import scales_of
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.planners.icem import ICEMConfig
from drift_wm.settings import PlanningSettings
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)


def scales(episodes: list[Episode]):
    return scales_of(compute_statistics(episodes, chunk=2))


def with_still_action(episodes: list[Episode], value: float) -> list[Episode]:
    """With a second entry of actions that is always the same."""
    actions = [each.actions.copy() for each in episodes]
    for each in actions:
        each[:, 1] = value
    return [replace(episode, actions=acted) for episode, acted in zip(episodes, actions, strict=True)]


def answer(model: LearnedWorldModel | PreparedModel, second: float):
    """What a model predicts of actions whose second entry is this."""
    past = History(torch.randn(2, 2, 3, generator=rng(1)), torch.zeros(2, 1, 2))
    actions = torch.randn(2, 5, 4, 2, generator=rng(3)).clamp(-1, 1)
    actions[..., 1] = second
    found = model.rollout(past, actions, particles=2, rng=rng(4))
    return found.obs, found.reward


def make(**shape) -> LearnedWorldModel:
    config = GeneratorConfig("drifting", width=32, depth=2, noise_size=2)
    shape = WorldModelConfig(history=2, chunk=2, generator=config, precision="float32", **shape)
    return LearnedWorldModel(SPEC, shape, rng=rng())


@pytest.mark.parametrize("prepare", [lambda model: model, PreparedModel, lambda m: PreparedModel(m, central=True)])
@pytest.mark.parametrize("value", [0.0, 0.7, 2.5])
def test_an_action_that_never_varied_does_not_move_a_prediction(linear_episodes, value, prepare):
    model = make()
    assert (answer(model, -1.0)[0] - answer(model, 1.0)[0]).abs().max() > 0.01, "as it would"
    model.rescale(scales(with_still_action(linear_episodes, value)))
    prepared = prepare(model)
    torch.testing.assert_close(answer(prepared, -1.0), answer(prepared, 1.0))
    assert model.normaliser.held_actions.isnan().tolist() == [True, False]
    assert model.normaliser.held_actions[1].item() == pytest.approx(min(value, 1.0))


def test_an_action_that_stops_varying_keeps_its_use(linear_episodes):
    model = make()
    model.rescale(scales(linear_episodes))
    before = answer(model, 1.0)
    model.rescale(scales(with_still_action(linear_episodes, 0.7)), exact=True)
    torch.testing.assert_close(answer(model, 1.0), before, rtol=1e-4, atol=1e-4)
    assert model.normaliser.held_actions.isnan().all()


def test_an_action_that_begins_to_vary_is_learned_and_planned(linear_episodes):
    model = make()
    model.rescale(scales(with_still_action(linear_episodes, 0.0)))
    assert model.rescale(scales(linear_episodes)), "read anew"
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model.normaliser.held_actions.isnan().all()
    assert (answer(model, -1.0)[0] - answer(model, 1.0)[0]).abs().max() > 0.01


def test_plans_hold_what_never_varied(linear_episodes, caplog):
    model = make()
    model.rescale(scales(with_still_action(linear_episodes, 0.7)))
    settings = PlanningSettings(planner=ICEMConfig(horizon=4, candidates=32, iterations=2))
    policy = act_by(model, settings, device=torch.device("cpu"), exploration_std=0.3).policy
    action, _ = policy.act(torch.zeros(4, 3), policy.reset(torch.zeros(4, 3), seed=1))
    assert action[:, 1].tolist() == pytest.approx([0.7] * 4)
    assert len(set(action[:, 0].tolist())) > 1
    assert "1 of the 2 entries of an action (counted from 0: 1) never varied" in caplog.text
    assert "robot's own units" not in caplog.text
