"""Environments that step in processes of their own, for tasks whose simulation takes longer than a message.

The policy stays where it is and decides for all environments in one call; only their steps go elsewhere. So the
episodes are those of environments in this process, to the last bit.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from drift_wm.acting.episodes import Environment, Step, World
from drift_wm.build import make_env
from drift_wm.cores import available_cores
from drift_wm.env_settings import EnvSettings
from drift_wm.pool import start_worker, without_interrupts


@contextmanager
def open_environments(task: str, settings: EnvSettings, *, count: int) -> Iterator[list[Environment]]:
    """Environments of one task in this process, freed at the end of the block, whatever ends it.

    Raises:
        ValueError: as `make_env`.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(closing(make_env(task, settings))) for _ in range(count)]


@contextmanager
def open_worlds(task: str, settings: EnvSettings, *, count: int, workers: int) -> Iterator[list[World]]:
    """Environments of one task, freed at the end of the block.

    Args:
        task: as `make_env`. One that a program registered with gymnasium by itself is known in that program alone.
        settings: of all of them.
        count: how many.
        workers: processes that share them; 1: all in this process, 0: one process for each core.

    Raises:
        ValueError: as `make_env`.
    """
    processes = min(workers or available_cores(), count)
    with ExitStack() as stack:
        if processes == 1:
            yield [*stack.enter_context(open_environments(task, settings, count=count))]
            return
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads in an unknown state
        # One process each, so that an environment is always met by the process that holds it.
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=context, initializer=start_worker))
            for _ in range(processes)
        ]
        with without_interrupts():
            begun = [(pool := pools[i % processes], i, pool.submit(_make, i, task, settings)) for i in range(count)]
        yield [RemoteWorld(pool, number, made.result()) for pool, number, made in begun]


class RemoteWorld:
    """An environment in another process; see `open_worlds`.

    Args:
        pool: of the one process that holds it.
        number: by which that process knows it.
        decisions_per_episode: of its task.
    """

    def __init__(self, pool: ProcessPoolExecutor, number: int, decisions_per_episode: int) -> None:
        self._pool, self._number = pool, number
        self.decisions_per_episode = decisions_per_episode
        self._state = np.zeros(0)

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode."""
        obs, self._state = self._pool.submit(_reset, self._number, seed).result()
        return obs, {}

    def begin_step(self, action: np.ndarray) -> Callable[[], Step]:
        """Start to act; what is returned waits for the outcome."""
        begun = self._pool.submit(_step, self._number, action)

        def finish() -> Step:
            moved = begun.result()
            self._state = moved.state
            return moved.outcome

        return finish

    def step(self, action: np.ndarray) -> Step:
        """Act once; of the info only `success` comes back."""
        return self.begin_step(action)()

    def physics_state(self) -> np.ndarray:
        """(S,) the full physics state; (0,) where there is none to be had."""
        return self._state


@dataclass(frozen=True, slots=True)
class _Moved:
    """What a step sends back."""

    outcome: Step
    state: np.ndarray
    """(S,) the physics state after it."""


_held: dict[int, Environment] = {}
"""In a worker: its environments."""


def _make(number: int, task: str, settings: EnvSettings) -> int:
    _held[number] = make_env(task, settings)
    return _held[number].decisions_per_episode


def _reset(number: int, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    obs, _ = _held[number].reset(seed=seed)
    return obs, _held[number].physics_state()


def _step(number: int, action: np.ndarray) -> _Moved:
    env = _held[number]
    obs, reward, terminated, truncated, info = env.step(action)
    told = {"success": info["success"]} if "success" in info else {}  # other infos may not travel
    return _Moved((obs, reward, terminated, truncated, told), env.physics_state())
