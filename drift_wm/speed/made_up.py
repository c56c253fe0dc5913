"""Episodes of noise: what is learned or read does not change how long it takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from drift_wm.datasets.episodes import Episode
from drift_wm.interfaces import Spec


def made_up_episodes(spec: Spec, *, count: int, length: int) -> Iterator[Episode]:
    """The same ones at every call, of a task's sizes."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return rng.standard_normal(shape, dtype=np.float32)

    for _ in range(count):
        yield Episode(
            obs=normal(length + 1, spec.observation_size),
            actions=normal(length, spec.action_size),
            rewards=normal(length),
            terminated=False,
        )
