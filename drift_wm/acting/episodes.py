"""Acting in environments: the one loop behind collecting data and evaluating policies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import gymnasium
import numpy as np
import torch

from drift_wm.datasets.episodes import Episode
from drift_wm.interfaces import Policy, Spec
from drift_wm.progress import track

logger = logging.getLogger(__name__)

State = TypeVar("State")
Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]
"""Observation (D,), reward, terminated, truncated and info, as gymnasium orders them; `info["success"]`, where it is
there, is whether the task is solved."""


class World(Protocol):
    """What acting and recording need."""

    @property
    def decisions_per_episode(self) -> int:
        """Decisions until the time limit."""
        ...

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode."""
        ...

    def step(self, action: np.ndarray) -> Step:
        """Act once."""
        ...

    def physics_state(self) -> np.ndarray:
        """(S,) the full physics state; (0,) where there is none to be had."""
        ...


class Environment(World, Protocol):
    """What filming and describing need besides: a `gymnasium.Env`, and a little more."""

    task_spec: Spec
    task_name: str
    obs_keys: tuple[str, ...]
    """Names of an observation's parts, in their order; none where it has no parts with names."""
    action_repeat: int
    action_space: gymnasium.spaces.Space[Any]

    def set_physics_state(self, state: np.ndarray) -> None:
        """Restore a full physics state (S,)."""
        ...

    def render(self) -> np.ndarray:
        """(height, width, 3) uint8 picture."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


@runtime_checkable
class DistantWorld(World, Protocol):
    """One that steps elsewhere, while others step too."""

    def begin_step(self, action: np.ndarray) -> Callable[[], Step]:
        """Start to act; what is returned waits for the outcome."""
        ...


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What happened, episode by episode, and how long deciding took."""

    episodes: tuple[Episode, ...]
    decision_ms: np.ndarray
    """(decisions,) milliseconds of each call of the policy, for all environments together."""

    @property
    def returns(self) -> list[float]:
        """Undiscounted return of each episode."""
        return [episode.total_reward for episode in self.episodes]


def run_episodes(
    policy: Policy[State],
    envs: Sequence[World],
    *,
    seeds: Sequence[int],
    policy_seed: int,
    source: str,
    max_decisions: int | None = None,
    device: torch.device | str = "cpu",
    title: str,
) -> Rollouts:
    """One episode in each environment, in step, so that the policy decides for all of them in one call.

    Args:
        policy: acts for B environments at once.
        envs: B environments of one task.
        seeds: B reset seeds.
        policy_seed: of the policy's own randomness.
        source: what the episodes say of who acted.
        max_decisions: cut episodes off here, as a time limit would; None leaves that to the environment.
        device: where the policy computes.
        title: of the progress shown.
    """
    assert len(envs) == len(seeds) >= 1, "one seed an environment"
    recorders = [_Recorder(env, seed, source) for env, seed in zip(envs, seeds, strict=True)]
    state = policy.reset(_stack_obs(recorders, device), seed=policy_seed)
    decision_ms: list[float] = []
    with track(title, max_decisions or max(env.decisions_per_episode for env in envs)) as progress:
        while not all(recorder.done for recorder in recorders) and len(decision_ms) != max_decisions:
            start = time.perf_counter()
            physics = torch.from_numpy(np.stack([recorder.states[-1] for recorder in recorders]))
            action, state = policy.act(_stack_obs(recorders, device), state, physics=physics)
            acted = action.cpu().numpy()  # waits for the device, so the time below is the whole decision
            decision_ms.append((time.perf_counter() - start) * 1e3)
            begun = [recorder.begin_step(a) for recorder, a in zip(recorders, acted, strict=True)]
            for finish in begun:
                finish()
            progress.update(len(decision_ms), f"return {np.mean([sum(r.rewards) for r in recorders]):.0f}")
    return Rollouts(tuple(recorder.episode() for recorder in recorders), np.asarray(decision_ms))


class _Recorder:
    """One environment and its episode so far; a finished episode ignores further actions."""

    def __init__(self, env: World, seed: int, source: str) -> None:
        self.env, self.seed, self.source = env, seed, source
        obs, _ = env.reset(seed=seed)
        if not np.isfinite(obs).all():
            raise self._broken(f"observation {obs}")
        self.obs = [obs]
        self.states = [env.physics_state()]
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.success: bool | None = None
        self.terminated = self.done = False

    def begin_step(self, action: np.ndarray) -> Callable[[], None]:
        """Act; what is returned waits for the outcome and records it."""
        if self.done:
            return lambda: None
        env = self.env
        outcome = env.begin_step(action) if isinstance(env, DistantWorld) else partial(env.step, action)
        return lambda: self._finish_step(action, outcome)

    def _finish_step(self, action: np.ndarray, outcome: Callable[[], Step]) -> None:
        try:
            self._record(action, outcome())
        except FloatingPointError as error:
            if not self.actions:
                raise
            self._end_before(str(error))

    def _record(self, action: np.ndarray, outcome: Step) -> None:
        obs, reward, terminated, truncated, info = outcome
        if not (np.isfinite(obs).all() and np.isfinite(reward)):
            given = f"reward {reward}" if np.isfinite(obs).all() else f"observation {obs}"
            if not self.actions:
                raise self._broken(f"{given} in step 1")
            self._end_before(f"it gave {given}")
            return
        self.obs.append(obs)
        self.states.append(self.env.physics_state())
        self.actions.append(action)
        self.rewards.append(float(reward))
        self.terminated, self.done = terminated, terminated or truncated
        if "success" in info:
            self.success = bool(self.success or info["success"])

    def _broken(self, given: str) -> ValueError:
        return ValueError(
            f"the environment, reset with seed {self.seed}, gave {given}; expected finite numbers: repair the "
            "environment"
        )

    def _end_before(self, reason: str) -> None:
        """A world whose numbers ran away: what came before is sound, and the same seed would lead there again."""
        logger.warning(
            "the episode with reset seed %d diverged in step %d: %s; it ends before this step",
            self.seed,
            len(self.actions) + 1,
            reason,
        )
        self.done = True

    def episode(self) -> Episode:
        return Episode(
            obs=np.stack(self.obs).astype(np.float32),
            actions=np.stack(self.actions).astype(np.float32),
            rewards=np.asarray(self.rewards, dtype=np.float32),
            terminated=self.terminated,
            states=np.stack(self.states) if self.states[0].size else None,
            seed=self.seed,
            source=self.source,
            success=self.success,
        )


def _stack_obs(recorders: Sequence[_Recorder], device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(np.stack([recorder.obs[-1] for recorder in recorders])).to(device)
