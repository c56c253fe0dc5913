"""Real environments as a world model, and how near to them a learned one ranks."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded

from drift_wm.acting.rehearsal import RehearsedWorld
from drift_wm.build import make_env
from drift_wm.demonstrations.ceiling import ranking_quality, rehearsed_row
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.env_settings import EnvSettings
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import History, Spec
from drift_wm.models.behaviour import LearnedPolicy, PolicyConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.world_model import LearnedWorldModel


def predict(world, history, actions, **changed):
    return world.rollout(history, actions, **{"particles": 1, "rng": torch.Generator(), **changed})


def test_what_is_rehearsed_is_what_happens():
    task, env = "cartpole-swingup", EnvSettings(action_repeat=2)
    worlds, copies = ([make_env(task, env) for _ in range(2)] for _ in range(2))
    obs = torch.from_numpy(np.stack([world.reset(seed=seed)[0] for seed, world in enumerate(worlds)]))
    for seed, copy in enumerate(copies):
        copy.reset(seed=seed)
    physics = torch.from_numpy(np.stack([world.physics_state() for world in worlds]))
    actions = torch.rand(2, 3, 4, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    history = History(obs.unsqueeze(1), torch.zeros(2, 0, 1), physics)
    prediction = predict(RehearsedWorld(copies), history, actions, particles=2)
    assert prediction.obs.shape == (2, 3, 2, 4, 5)
    for b, world in enumerate(worlds):
        for t in range(4):
            seen, reward, *_ = world.step(actions[b, 1, t].numpy())
            torch.testing.assert_close(prediction.obs[b, 1, 0, t], torch.from_numpy(seen))
            assert float(prediction.reward[b, 1, 1, t]) == pytest.approx(reward)


class Cliff:
    """Pays 1 a step, until the second step ends it."""

    task_spec = Spec(1, 1, 0.1)

    def set_physics_state(self, state):
        self.position = float(state[0])

    def step(self, action):
        self.position += 1
        return np.array([self.position], dtype=np.float32), 1.0, self.position >= 2, False, {}


class Limited(Cliff):
    """The same, but that it refuses a third step, as after a time limit."""

    def step(self, action):
        if self.position >= 2:
            raise ResetNeeded
        obs, reward, _, _, info = super().step(action)
        return obs, reward, False, self.position >= 2, info


@pytest.mark.parametrize("world", [Cliff, Limited])
def test_an_end_pays_nothing_further_and_stays_where_it_is(world):
    physics = torch.zeros(1, 1, dtype=torch.float64)
    history = History(torch.zeros(1, 1, 1), torch.zeros(1, 0, 1), physics)
    prediction = predict(RehearsedWorld([world()]), history, torch.zeros(1, 1, 4, 1))
    assert prediction.reward.flatten().tolist() == [1, 1, 0, 0]
    assert prediction.obs.flatten().tolist() == [1, 2, 2, 2]


@pytest.mark.parametrize(("physics", "found"), [(None, "none"), (torch.zeros(2, 1), "2")])
def test_states_must_be_there_for_every_environment(physics, found):
    history = SimpleNamespace(obs=torch.zeros(1, 1, 1), physics=physics)
    with pytest.raises(ValueError, match=f"physics states of {found} environments: expected those of 1"):
        predict(RehearsedWorld([Cliff()]), history, torch.zeros(1, 1, 4, 1))


def test_a_perfect_ranking_gains_everything_a_reversed_one_loses_and_chance_gains_nothing():
    true = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    perfect, reversed_ = ranking_quality(3 * true + 1, true), ranking_quality(-true, true)
    assert perfect == {"rank_correlation": pytest.approx(1), "gain": pytest.approx(1)}
    assert reversed_["rank_correlation"] == pytest.approx(-1)
    assert reversed_["gain"] < -0.9
    blind = ranking_quality(torch.randn(2000, 16, generator=torch.Generator().manual_seed(1)), true)
    assert all(abs(value) < 0.05 for value in blind.values())


def test_a_world_model_that_says_the_same_of_all_chunks_ranks_by_chance_wherever_it_does():
    """Right in one state of ten and blind in the others: not the quality of that state."""
    true = torch.randn(10, 16, generator=torch.Generator().manual_seed(0)).sort(dim=1).values
    predicted = torch.zeros(10, 16)
    assert ranking_quality(predicted, true) == {"rank_correlation": 0, "gain": pytest.approx(0, abs=1e-6)}
    predicted[0] = true[0]
    assert ranking_quality(predicted, true)["rank_correlation"] == pytest.approx(0.1)


def test_a_prediction_that_is_no_number_is_never_the_choice():
    predicted = torch.tensor([[torch.nan, torch.inf, 1.0, 2.0]])
    assert ranking_quality(predicted, torch.tensor([[0.0, 1.0, 2.0, 3.0]]))["gain"] == pytest.approx(1)


def test_states_in_which_no_choice_matters_do_not_count():
    same = torch.ones(3, 4)
    assert all(math.isnan(value) for value in ranking_quality(same, same).values())
    one_more = torch.cat([same, torch.arange(4.0)[None]])
    assert ranking_quality(one_more, one_more) == {"rank_correlation": pytest.approx(1), "gain": pytest.approx(1)}


def test_chunks_are_tried_out_and_the_best_is_executed():
    spec, env = Spec(17, 6, 0.08), EnvSettings(action_repeat=8)
    generator, rng = GeneratorConfig("drifting", width=16, depth=2), torch.Generator().manual_seed(0)
    policy = LearnedPolicy(spec, PolicyConfig(chunk=4, generator=generator), rng=rng)
    with torch.no_grad():
        policy.generator.backbone.output.weight.mul_(20)  # proposals differ
    model = LearnedWorldModel(spec, WorldModelConfig(chunk=2, generator=generator), rng=rng)
    returns = {}
    for proposals in (2, 16):
        asked = DemonstrationsSettings(task="cheetah-run", episodes=2, proposals=proposals)
        row = rehearsed_row(Row("ranking", "tried", 1, 1, {}), policy, model, env, asked)
        returns[proposals] = np.mean(row.each["return"])
        assert len(row.each["return"]) == 2
        assert "success" not in row.each
    assert returns[16] > 1.2 * returns[2]
    assert -1 <= row.metrics["rank_correlation"] <= 1
