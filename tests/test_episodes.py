"""The acting loop, on an environment small enough to know by heart."""

import re

import numpy as np
import pytest
import torch

from drift_wm.acting.episodes import run_episodes
from drift_wm.interfaces import Spec


class Countdown:
    """obs = (reset seed, steps so far); ends after `length` steps, by itself or by a time limit."""

    task_spec = Spec(2, 1, 0.1)
    decisions_per_episode = 5

    def __init__(self, length: int, terminates: bool = False) -> None:
        self.length, self.terminates, self.t, self.seed = length, terminates, 0, 0
        self.actions = []

    def reset(self, *, seed=None):
        self.t, self.seed = 0, seed
        return self._obs(), {}

    def step(self, action):
        assert self.t < self.length, "stepped after the end"
        self.t += 1
        self.actions.append(float(action[0]))
        over = self.t == self.length
        return self._obs(), float(self.t), over and self.terminates, over and not self.terminates, {}

    def physics_state(self):
        return np.array([100.0 + self.t])

    def render(self):
        raise AssertionError("not asked for")

    def _obs(self):
        return np.array([self.seed, self.t], dtype=np.float32)


class Echo:
    """Acts by the number of its decision, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown = []

    def reset(self, obs, *, seed):
        return seed

    def act(self, obs, state, *, physics=None):
        self.shown.append((obs.clone(), physics.clone()))
        return torch.full((obs.shape[0], 1), float(state)), state + 1


def test_records_what_happened():
    policy, env = Echo(), Countdown(3)
    rollouts = run_episodes(policy, [env], seeds=[7], policy_seed=5, source="echo", title="test")
    (episode,) = rollouts.episodes
    assert episode.obs.tolist() == [[7, 0], [7, 1], [7, 2], [7, 3]]
    assert episode.actions[:, 0].tolist() == env.actions == [5, 6, 7]
    assert episode.rewards.tolist() == [1, 2, 3]
    assert episode.states[:, 0].tolist() == [100, 101, 102, 103]
    assert (episode.seed, episode.source, episode.terminated) == (7, "echo", False)
    assert rollouts.returns == [6.0]
    assert rollouts.decision_ms.shape == (3,)
    assert [float(physics[0, 0]) for _, physics in policy.shown] == [100, 101, 102]


def test_environments_of_different_length_share_decisions():
    envs = [Countdown(2, terminates=True), Countdown(4)]
    rollouts = run_episodes(Echo(), envs, seeds=[1, 2], policy_seed=0, source="echo", title="test")
    assert [len(episode) for episode in rollouts.episodes] == [2, 4]
    assert [episode.terminated for episode in rollouts.episodes] == [True, False]
    assert rollouts.returns == [3.0, 10.0]
    assert len(rollouts.decision_ms) == 4


class Diverging(Countdown):
    """Gives what is no number in its third step, or at once."""

    def __init__(self, what, at=3) -> None:
        super().__init__(5)
        self.what, self.at = what, at

    def step(self, action):
        obs, reward, *rest = super().step(action)
        if self.t == self.at and self.what == "simulation":
            raise FloatingPointError("the simulation has diverged")
        if self.t == self.at:
            obs, reward = (obs * np.nan, reward) if self.what == "observation" else (obs, -np.inf)
        return obs, reward, *rest


@pytest.mark.parametrize("what", ["observation", "reward", "simulation"])
def test_an_episode_ends_before_what_is_no_number(what, caplog):
    """The same seed would lead there again: an error would stop every attempt at the same place."""
    envs = [Diverging(what), Countdown(4)]
    first, second = run_episodes(Echo(), envs, seeds=[7, 8], policy_seed=0, source="echo", title="test").episodes
    assert first.obs.tolist() == [[7, 0], [7, 1], [7, 2]]
    assert (first.rewards.tolist(), first.terminated, len(first.states)) == ([1, 2], False, 3)
    assert len(second) == 4
    assert re.search(f"reset seed 7 diverged in step 3: .*{what} .*; it ends before this step", caplog.text)


def test_a_world_of_no_numbers_at_all_is_refused():
    with pytest.raises(ValueError, match="seed 7, gave reward -inf in step 1; expected finite numbers"):
        run_episodes(Echo(), [Diverging("reward", at=1)], seeds=[7], policy_seed=0, source="echo", title="test")
    with pytest.raises(FloatingPointError, match="has diverged"):  # fails alone in a grid
        run_episodes(Echo(), [Diverging("simulation", at=1)], seeds=[7], policy_seed=0, source="echo", title="test")


class Told(Countdown):
    """Tells at every step whether it is solved, which it is at its second alone if ever."""

    solved_at = 2

    def step(self, action):
        *outcome, _ = super().step(action)
        return *outcome, {"success": self.t == self.solved_at}


def test_an_episode_that_was_solved_at_any_step_is_a_success():
    never = Told(3)
    never.solved_at = -1
    worlds = [Told(3), never, Countdown(3)]
    rollouts = run_episodes(Echo(), worlds, seeds=[1, 2, 3], policy_seed=0, source="echo", title="test")
    assert [episode.success for episode in rollouts.episodes] == [True, False, None]


class Distant(Countdown):
    """Steps only when its outcome is asked for, and remembers when it was begun."""

    order: list = []  # noqa: RUF012 - shared by all

    def begin_step(self, action):
        self.order.append(("begun", self.seed))

        def finish():
            self.order.append(("done", self.seed))
            return self.step(action)

        return finish


def test_worlds_elsewhere_all_begin_before_any_is_waited_for():
    rollouts = run_episodes(Echo(), [Distant(1), Distant(2)], seeds=[1, 2], policy_seed=0, source="echo", title="test")
    assert Distant.order == [("begun", 1), ("begun", 2), ("done", 1), ("done", 2), ("begun", 2), ("done", 2)]
    assert rollouts.returns == [1.0, 3.0]


def test_cut_off_is_no_termination():
    rollouts = run_episodes(
        Echo(), [Countdown(5, terminates=True)], seeds=[1], policy_seed=0, source="echo", max_decisions=3, title="test"
    )
    assert len(rollouts.episodes[0]) == 3
    assert not rollouts.episodes[0].terminated


def test_seeds_and_environments_must_pair_up():
    with pytest.raises(AssertionError, match="one seed an environment"):
        run_episodes(Echo(), [Countdown(2)], seeds=[1, 2], policy_seed=0, source="echo", title="test")
