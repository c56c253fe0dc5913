"""Toy worlds and data with known answers, shared by the tests."""

import os
import signal
from concurrent.futures import Future

import numpy as np
import pytest
import torch

from drift_wm import pool
from drift_wm.datasets.episodes import Episode
from drift_wm.generators import GeneratorConfig
from drift_wm.models.config import WorldModelConfig

torch.set_num_threads(1)  # tests run side by side
os.environ.setdefault("OMP_NUM_THREADS", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs behind it deaf to Ctrl-C


def linear_episode(seed: int, length: int = 40, size: int = 3, actions: int = 2) -> Episode:
    """x' = 0.9 x + B a, reward = first entry of x': a world that a small network learns in seconds."""
    rng = np.random.default_rng(seed)
    gain = np.linspace(-0.5, 0.5, actions * size).reshape(actions, size)
    obs = [rng.normal(size=size)]
    acted = rng.uniform(-1, 1, size=(length, actions))
    for a in acted:
        obs.append(0.9 * obs[-1] + a @ gain)
    trajectory = np.asarray(obs, dtype=np.float32)
    return Episode(
        obs=trajectory,
        actions=acted.astype(np.float32),
        rewards=trajectory[1:, 0].copy(),
        terminated=False,
        seed=seed,
        source="test",
    )


@pytest.fixture(scope="session")
def linear_episodes() -> list[Episode]:
    return [linear_episode(seed) for seed in range(6)]


@pytest.fixture
def small_model() -> WorldModelConfig:
    return WorldModelConfig(chunk=2, generator=GeneratorConfig(width=32, depth=2, noise_size=2))


class Process:
    """A worker that can only be ended."""

    terminated = False

    def terminate(self):
        self.terminated = True


class Inline:
    """A pool of processes that works in the caller's, one unit after the other."""

    def __init__(self, workers, **_):
        self.workers, self._processes, self.closed = workers, {1: Process()}, []
        Inline.last = self

    def submit(self, function, *given):
        future = Future()
        try:
            future.set_result(function(*given))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **how):
        self.closed.append(how)


@pytest.fixture
def inline_pool(monkeypatch):
    """Jobs for processes are done in this one; `last` is the latest pool."""
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Inline)
    return Inline
