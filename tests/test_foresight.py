"""A policy that a world model advises: it executes the proposal with the best future, and nothing else changes."""

from types import SimpleNamespace

import h5py
import pytest
import torch

from drift_wm.acting.foresight import ForesightPolicy
from drift_wm.cli import main
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Prediction, Spec
from drift_wm.models.behaviour import BehaviourPolicy, LearnedPolicy, PolicyConfig
from drift_wm.planners.objectives import PredictedReturn
from drift_wm.planners.risk import Mean, MeanMinusSpread
from drift_wm.settings import EvaluateSettings
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)


def make_learned(*, chunk=4, history=1) -> LearnedPolicy:
    generator = GeneratorConfig("drifting", width=16, depth=2, noise_size=2)
    policy = LearnedPolicy(SPEC, PolicyConfig(history, chunk, 2, generator=generator), rng=rng())
    with torch.no_grad():
        policy.generator.backbone.output.weight.mul_(20)  # proposals differ
    return policy


class Sums:
    """A world that pays each action's sum; `doubt` is what its futures disagree by where actions are positive."""

    spec, history = SPEC, 1

    def __init__(self, *, chunk=4, doubt=0.0, history=1):
        self.chunk, self.doubt, self.history = chunk, doubt, history
        self.asked = []

    def rollout(self, history, actions, *, particles, rng, independent=False):
        self.asked.append((history, actions))
        reward = actions.sum(dim=-1).unsqueeze(2)
        sign = torch.tensor([1.0, -1.0]).view(1, 1, 2, 1)[:, :, :particles]
        return Prediction(torch.zeros(0), reward + self.doubt * sign * (reward > 0))


def advised(world=None, **changed) -> ForesightPolicy:
    arguments = {"proposals": 8, **changed}
    risk = arguments.pop("risk", Mean())
    return ForesightPolicy(make_learned(), world or Sums(), PredictedReturn(), risk, **arguments)


def act(policy, steps=1, B=3):
    obs = torch.randn(B, 3, generator=rng(5))
    state, actions = policy.reset(obs, seed=7), []
    for _ in range(steps):
        action, state = policy.act(obs, state)
        actions.append(action)
    return torch.stack(actions, dim=1)


def test_the_best_proposal_is_executed():
    world = Sums()
    actions = act(advised(world), steps=2)
    candidates = torch.cat([asked for _, asked in world.asked])
    assert candidates.shape == (3, 8, 4, 2)
    assert candidates.abs().max() <= 1
    worth = candidates.sum(dim=(2, 3))
    assert (worth.amax(dim=1) - worth.amin(dim=1)).min() > 0.1, "proposals differ"
    best = candidates[torch.arange(3), worth.argmax(dim=1)]
    torch.testing.assert_close(actions, best[:, :2])


class Doomed(Sums):
    """Has no number for the best proposal."""

    def rollout(self, history, actions, *, particles, rng, independent=False):
        prediction = super().rollout(history, actions, particles=particles, rng=rng)
        reward = prediction.reward.clone()
        reward[torch.arange(len(reward)), reward.sum(dim=(2, 3)).argmax(dim=1)] = torch.nan
        return Prediction(torch.zeros(0), reward)


def test_a_future_that_is_no_number_is_not_chosen():
    world = Doomed()
    actions = act(advised(world), steps=2)
    candidates = torch.cat([asked for _, asked in world.asked])
    second = candidates.sum(dim=(2, 3)).topk(2, dim=1).indices[:, 1]
    torch.testing.assert_close(actions, candidates[torch.arange(3), second][:, :2])


def test_one_proposal_is_what_the_policy_does_alone():
    torch.testing.assert_close(act(advised(proposals=1), steps=5), act(BehaviourPolicy(make_learned()), steps=5))


class Noisy(Sums):
    """Whose futures differ by their noise more than by what is done."""

    def rollout(self, history, actions, *, particles, rng, independent=False):
        prediction = super().rollout(history, actions, particles=particles, rng=rng)
        noise = torch.randn(1, actions.shape[1], particles, 1, generator=rng)
        return Prediction(torch.zeros(0), prediction.reward + 10 * noise)


@pytest.mark.parametrize("world", [Sums(), Noisy()])
def test_episodes_of_a_batch_act_as_they_would_alone(world):
    policy, obs = advised(world, particles=2), torch.randn(3, 3, generator=rng(5))
    together = policy.act(obs, policy.reset(obs, seed=7))[0]
    for i in range(3):
        alone = policy.act(obs[i : i + 1], policy.reset(obs[i : i + 1], seed=7 + i))[0]
        torch.testing.assert_close(together[i : i + 1], alone)


def test_disagreement_counts_against_a_proposal():
    def worth(doubt):
        return act(advised(Sums(doubt=doubt), particles=2, risk=MeanMinusSpread(1.0)), steps=2).sum(dim=(1, 2))

    assert (worth(100.0) < worth(0.0)).any()


def test_a_model_that_reads_more_frames_is_given_them():
    world = Sums(history=3)
    policy = advised(world)
    actions = act(policy, steps=3)
    assert len(world.asked) == 6
    for i, (history, _) in enumerate(world.asked[3:]):  # three episodes, each by itself; the second chunk
        assert history.obs.shape == (1, 3, 3)
        torch.testing.assert_close(history.actions, actions[i : i + 1, :2])


@pytest.mark.parametrize(
    ("world", "changed", "message"),
    [
        (SimpleNamespace(spec=Spec(4, 2, 0.1), chunk=4, history=1), {}, r"sizes \(3, 2\), the world model \(4, 2\)"),
        (Sums(chunk=3), {}, "chunk of 4 actions is no multiple of the world model's of 3"),
        (Sums(), {"execute": 5}, "execute=5: expected an integer from 1 to the policy's chunk, 4"),
    ],
)
def test_what_does_not_fit_is_refused(world, changed, message):
    with pytest.raises(ValueError, match=message):
        advised(world, **changed)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"actor": "model", "foresight": "x"}, "foresight='x': expected none"),
        ({"actor": "policy", "foresight": "x", "proposals": 1}, "proposals=1: expected at least 2 chunks"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        EvaluateSettings(checkpoint="y", **wrong)


def test_from_data_to_an_advised_policy_on_the_command_line(tmp_path, capsys, caplog):
    quick = ["model.generator.width=16", "steps=10"]
    data = tmp_path / "data"
    assert main(["collect", "task=cartpole-balance", "actor=random", "episodes=2", f"run_dir={data}"]) == 0
    train = ["train", f"data={data}/episodes.hdf5", *quick]
    assert main([*train, f"run_dir={tmp_path}/model", "model.chunk=4"]) == 0
    assert main([*train, f"run_dir={tmp_path}/policy", "kind=policy", "policy.chunk=8", "policy.execute=8"]) == 0
    asked = [f"checkpoint={tmp_path}/policy", f"foresight={tmp_path}/model", "proposals=4", "episodes=2", "video=false"]
    assert main(["evaluate", "actor=policy", *asked, f"run_dir={tmp_path}/out"]) == 0
    assert "best of 4" in capsys.readouterr().out
    assert not [message for message in caplog.messages if "rewards" in message or "members" in message]
    with h5py.File(data / "episodes.hdf5", "a") as file:
        for demo in file["data"].values():
            demo["rewards"][:] = 0
    assert main([*train, f"run_dir={tmp_path}/three", "model.chunk=4", "model.generator.members=3"]) == 0
    asked[1] = f"foresight={tmp_path}/three"
    assert main(["evaluate", "actor=policy", *asked, f"run_dir={tmp_path}/out3"]) == 0
    assert [message for message in caplog.messages if "all rewards that the model learned from were 0" in message]
    assert [message for message in caplog.messages if "of 3 ensemble members only the first 1 plan" in message]
