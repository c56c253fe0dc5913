"""The simulator's states in robomimic files, from which recorded actions can be acted again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.episodes import Episode, Float64Array
from drift_wm.datasets.hdf5 import array_in, data_group, member, open_hdf5, read_numbers
from drift_wm.datasets.robomimic import RobomimicFile, demo_group, select_demos


@dataclass(frozen=True, slots=True)
class Recording:
    """A demo whose states are known: L actions, and L + 1 observations and states around them."""

    name: str
    """Its name in the file, such as "demo_3"."""
    episode: Episode
    """Its rewards are zeros where the file has none."""
    states: Float64Array
    """(L + 1, S)."""


def read_recordings(path: Path, *, mask: str | None = None) -> Iterator[Recording]:
    """The demos of a robomimic file with their states, one at a time.

    Files of other tools have no state after the last action; their last transition is left out.

    Raises:
        ValueError: a demo has no array `states`, or the file cannot be read.
    """
    with open_hdf5(path) as file:
        names = select_demos(file, path, mask=mask)
        episodes = RobomimicFile(path).episodes(mask=mask, allow_missing_rewards=True)
        for name, episode in zip(names, episodes, strict=True):
            states = _states(demo_group(data_group(file, path), name, path), path)
            yield Recording(name, _cut(episode, len(states) - 1, f"{path}: {name}"), states[: len(episode) + 1])


def _states(demo: h5py.Group, path: Path) -> Float64Array:
    """(T, S), or (T + 1, S) with the state after the last action."""
    stored = member(demo, "states", path)
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 2:
        found = f"states of shape {stored.shape}" if isinstance(stored, h5py.Dataset) else sorted(demo)
        raise ValueError(
            f"{path}: {demo.name} has no array states (T, S) of simulator states, found {found}; without them actions "
            "cannot be acted again: record with drift-wm collect, whose files hold them"
        )
    states = np.asarray(read_numbers(stored, path), np.float64)
    if "final_state" not in demo:
        return states
    last = np.asarray(read_numbers(array_in(demo, "final_state", path), path), np.float64)
    if last.shape != states.shape[1:]:
        raise ValueError(
            f"{path}: {demo.name}/final_state has shape {last.shape}, expected {states.shape[1:]} as states; "
            "repair or remove this demo"
        )
    return np.concatenate([states, last[None]])


def _cut(episode: Episode, length: int, where: str) -> Episode:
    """The first `length` transitions at most."""
    if length >= len(episode):
        return episode
    if length < 1:
        raise ValueError(f"{where}/states has {length + 1} rows, expected at least 2: leave out this demo")
    return Episode(
        obs=episode.obs[: length + 1],
        actions=episode.actions[:length],
        rewards=episode.rewards[:length],
        terminated=False,
        seed=episode.seed,
        source=episode.source,
    )
