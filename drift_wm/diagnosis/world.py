"""The true world behind recorded episodes, where it is known: the simulator of the task that they were recorded in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from drift_wm.build import has_simulator, make_env, make_simulator
from drift_wm.env_settings import EnvSettings, recorded_env
from drift_wm.envs.disturbances import Draw
from drift_wm.envs.disturbed_env import DisturbedEnv
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import History
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.storage.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class World:
    """A task and what is around it."""

    task: str
    env: EnvSettings

    @property
    def hidden(self) -> str | None:
        """What its samples know and observations do not show; None where observations may tell all."""
        match self.env.disturbance.name:
            case "payload":
                return "the payload of the episode"
            case "sensor":
                return "what late and noisy sensors hide"
        return None


@dataclass(frozen=True, slots=True)
class Truth:
    """Two simulators of one world. Rewards are not sampled together with observations, which cost time."""

    observer: SimulatorWorldModel
    """Predicts observations."""
    judge: SimulatorWorldModel
    """Predicts rewards alone."""
    gust: float
    """Newtons, of a push to either side in every decision; 0 where there is none."""

    def ways(self, states: Tensor, actions: Tensor) -> Tensor | None:
        """The two outcomes (B, 2, D) of one step under a gust to the right and to the left; None without gusts.

        Args:
            states: (B, S) float64.
            actions: (B, 1, A).
        """
        if not self.gust:
            return None
        B = len(actions)
        both = Draw(force=np.array([self.gust, -self.gust]).reshape(1, 2, 1))
        unread = actions.new_zeros(B, 1, self.observer.spec.observation_size)
        history = History(unread, actions.new_zeros(B, 0, actions.shape[-1]), states)
        return self.observer.rollout_under(both, history, actions[:, None], particles=2).obs[:, 0, :, 0]


def world_of(task: str, env: EnvSettings, file: Path, checkpoint: Checkpoint) -> World | None:
    """The world that the user names, or else the one the file records, or else that of the model's training.

    None where that is none of the dm_control suite, whose tasks alone can be asked for true samples.

    Args:
        task: asked for; empty: not.
        env: asked for; its action repeat gives way to a recorded one, its disturbance takes precedence if it is named.
        file: of the episodes.
        checkpoint: of the model.

    Raises:
        ValueError: a record cannot be read.
    """
    stored: dict[str, Any] | None = recorded_task(str(file)) or checkpoint.config.get("task")
    name = task or (stored["name"] if stored else "")
    if not name or not has_simulator(name):
        return None
    return World(name, recorded_env(stored, env) if stored else env)


@contextmanager
def open_truth(world: World, *, threads: int) -> Iterator[Truth]:
    """Build the simulators, and free them at the end of the block.

    Raises:
        ValueError: no such task.
    """
    with closing(make_env(world.task, world.env)) as env:
        gust = env.disturbance.force if isinstance(env, DisturbedEnv) else 0.0
    make = partial(make_simulator, world.task, world.env, threads=threads or None)
    with make(observe=True) as observer, make(observe=False) as judge:
        yield Truth(observer, judge, gust)


def replay_error(samples: Tensor, outcomes: Tensor, scale: Tensor) -> float:
    """How far recorded outcomes (B, D) lie from the nearest of M true samples (B, M, D), in units of `scale` (D,).

    The median over states of root mean squares over entries: near 0 where the simulator is that of the recording, and
    its chance has few outcomes.
    """
    difference = ((samples - outcomes.unsqueeze(1)) / scale).square().mean(dim=-1).sqrt()
    return float(difference.amin(dim=1).median())


def physics_of(history: History) -> Tensor:
    """(B, S): the states of situations in which they are known."""
    assert history.physics is not None
    return history.physics
