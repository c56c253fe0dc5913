"""The package for programs: what `import drift_wm` offers.

A run of the command line is loaded, planned in, asked for futures and set to act, in a simulation or on a robot.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from drift_wm import build
from drift_wm.acting.by_model import act_by, tell_of_doubts
from drift_wm.acting.episodes import Environment
from drift_wm.acting.policies import PlanningPolicy
from drift_wm.configs.quoting import quoted
from drift_wm.configs.schema import read_settings
from drift_wm.interfaces import Planner, Policy, Spec
from drift_wm.models.learned import POLICY, LearnedModel, load_policy, load_world_model
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.requirements import require
from drift_wm.storage.checkpoint import Checkpoint, load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint

_OF_PLANNING = ("planner", "objective", "risk", "particles", "proposals", "compile")
_OF_POLICIES = ("execute", "noise", "foresight")


class Agent:
    """A policy that acts one observation at a time, as the loop of a robot or a simulation calls it.

    Args:
        policy: decides.
        spec: sizes of what it sees and does.
        device: where it computes.
        obs_keys: names of the sensors whose values make an observation, in this order, where they are known.
        obs_sizes: how many numbers each of them gives, where that is known.
    """

    def __init__(
        self,
        policy: Policy[Any],
        spec: Spec,
        *,
        device: torch.device | str = "cpu",
        obs_keys: Sequence[str] | None = None,
        obs_sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.policy = policy
        self.spec = spec
        self.obs_keys, self.obs_sizes = obs_keys, obs_sizes
        self._device = torch.device(device)
        self.reset()

    def reset(self, *, seed: int = 0) -> None:
        """Begin an episode: the next observation is its first.

        Args:
            seed: of what the policy draws, which is the same in every episode of the same seed.

        Raises:
            ValueError: the seed is no integer of at least 0.
        """
        is_seed = isinstance(seed, int | np.integer) and seed >= 0
        require(is_seed, "seed", seed, "an integer of at least 0, another for each episode that shall draw anew")
        self._seed, self._state = int(seed), None

    def act(self, obs: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """The newest observation (D,) -> the action (A,) in [-1, 1] to take now, an array of the caller's own.

        Args:
            obs: D numbers, or the values of each sensor by its name, where `obs_keys` are known.

        Raises:
            ValueError: the observation or one of its sensors has another shape, it lacks a sensor, or holds a NaN or an
                infinity.
        """
        seen = self._joined(obs) if isinstance(obs, Mapping) else _numbers(obs)
        if seen.shape != (self.spec.observation_size,):
            raise ValueError(f"obs has shape {seen.shape}; expected ({self.spec.observation_size},), one observation")
        if not np.isfinite(seen).all():
            raise ValueError(f"obs is {seen.tolist()}; expected finite numbers: look for the NaN in the sensors")
        batch = torch.from_numpy(seen).to(self._device).unsqueeze(0)
        with torch.inference_mode():
            state = self.policy.reset(batch, seed=self._seed) if self._state is None else self._state
            action, self._state = self.policy.act(batch, state)
        return np.array(action[0].cpu().numpy(), dtype=np.float32)  # no view of what the policy remembers

    def _joined(self, sensors: Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        """One observation of all sensors that were learned from."""
        if self.obs_keys is None:
            raise ValueError(
                f"obs is a dict of {', '.join(sensors)}; expected {self.spec.observation_size} numbers in a row, as it "
                "is not known which sensors were learned from; join them in the order of the training data"
            )
        if missing := [key for key in self.obs_keys if key not in sensors]:
            raise ValueError(f"obs lacks {', '.join(missing)}; expected all of {', '.join(self.obs_keys)}")
        parts = {key: _numbers(sensors[key]).ravel() for key in self.obs_keys}
        for key, size in (self.obs_sizes or {}).items():
            if parts[key].size != size:  # two that are exchanged have the right sum
                raise ValueError(f"obs[{key!r}] has {parts[key].size} numbers; expected {size}, as were learned from")
        return np.concatenate(list(parts.values()))


def _numbers(values: ArrayLike) -> NDArray[np.float32]:
    """A float32 copy of values.

    Raises:
        ValueError: they are no numbers.
    """
    try:
        plain = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
        return np.array(plain, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"obs holds {values!r:.200} ({error}); expected numbers") from error


def load_model(run: str | Path, *, device: torch.device | str = "cpu") -> LearnedModel:
    """The newest model of a run folder, or that of a checkpoint: a world model or a policy, ready to use.

    Raises:
        ValueError: there is no checkpoint, it cannot be read, or there is no such device.
    """
    return _load(run, build.usable_device(device))[0]


def _load(run: str | Path, device: torch.device) -> tuple[LearnedModel, Checkpoint]:
    checkpoint = load_checkpoint(newest_checkpoint(Path(run).expanduser()), device=device)
    load = load_policy if checkpoint.kind == POLICY else load_world_model
    return load(checkpoint, device=device), checkpoint


def load_agent(run: str | Path, *settings: str, device: torch.device | str = "cpu") -> Agent:
    """What acts by the newest model of a run: its policy, or a planner that plans as the run did.

    Args:
        run: a run folder, or a checkpoint.
        settings: others than those of the run, of `drift-wm evaluate`, as far as they say how to act: `planner`,
            `objective`, `risk`, `particles`, `proposals`, `compile`, and a policy's `execute`, `noise` and `foresight`;
            such as `"planner.candidates=128"` or `"noise=0"`.
        device: where to compute.

    Raises:
        ValueError: the run cannot be read, a setting does not fit, or there is no such device.
    """
    where = build.usable_device(device)
    model, checkpoint = _load(run, where)
    actor = "model" if isinstance(model, LearnedWorldModel) else "policy"
    known = f"the run tells what it learned: a {actor}"
    elsewhere = {"actor": known, "checkpoint": known, "device": "where to compute is told by device="}
    for setting in settings:
        if reason := elsewhere.get(str(setting).partition("=")[0]):
            raise ValueError(f"{setting}: expected no such setting, as {reason}")
    _require_among((*_OF_PLANNING, *_OF_POLICIES), settings)
    path = quoted(Path(run).expanduser())
    asked = read_settings("evaluate", [f"checkpoint={path}", f"actor={actor}", *settings])
    policy = act_by(model, asked, device=where, obs_keys=checkpoint.obs_keys).policy
    return Agent(policy, model.spec, device=where, obs_keys=checkpoint.obs_keys, obs_sizes=checkpoint.obs_sizes)


def plan_in(
    model: LearnedWorldModel, *settings: str, planner: Planner | None = None, exploration_std: float = 0.0
) -> PlanningPolicy:
    """Model-predictive control in a world model, for many environments at once.

    Args:
        model: to plan in, as it is now.
        settings: of `drift-wm collect`, as far as they say how to plan: `planner`, `objective`, `risk`, `particles`,
            `proposals` and `compile`, such as `"planner=mppi"`, `"planner.horizon=20"` or `"particles=16"`.
        planner: one of your own; the settings of `planner` are then not read.
        exploration_std: standard deviation of noise on executed actions.

    Raises:
        ValueError: the model is a policy, or a setting does not fit.
    """
    if not isinstance(model, LearnedWorldModel):
        raise ValueError(
            f"model={type(model).__name__}: expected a world model to plan in; load_agent acts by a policy"
        )
    _require_among(_OF_PLANNING, settings)
    asked = read_settings("collect", settings)
    tell_of_doubts(model, asked)
    return build.make_policy(model, asked, device=model.device, planner=planner, exploration_std=exploration_std)


def _require_among(names: Collection[str], settings: Sequence[object]) -> None:
    """Settings of commands that would have no effect, such as their episodes, are not taken without a word."""
    _require_texts(settings)
    for setting in map(str, settings):
        if re.split(r"[.=]", setting.lstrip("+~"), maxsplit=1)[0] not in names:
            raise ValueError(f"{setting}: expected a setting of {', '.join(names)}; others are not for how to act")


def _require_texts(settings: Sequence[object]) -> None:
    for setting in settings:
        if not isinstance(setting, str):
            raise ValueError(f"{setting!r}: expected settings one by one, each a text such as 'planner.horizon=20'")


def make_env(task: str, *settings: str, **named: object) -> Environment:
    """The environment of a task: a `gymnasium.Env` with actions in [-1, 1]; those beyond are clipped.

    Args:
        task: a `domain-task` of the dm_control suite, a name of gymnasium, or `robosuite:Name`.
        settings: of the commands' `env.`, such as `"disturbance.name=gust"`.
        named: the same by name where it is a plain one, such as `action_repeat=2`.

    Raises:
        ValueError: no such task, or a setting does not fit.
    """
    _require_texts(settings)
    asked = [f"env.{each}" for each in (*settings, *(f"{name}={value}" for name, value in named.items()))]
    return build.make_env(task, read_settings("collect", [f"task={quoted(task)}", *asked]).env)
