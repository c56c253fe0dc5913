"""Episodes that do not fit into memory, in a file from which windows are gathered as they are from memory.

The file is mapped: the system reads its pages when they are touched, and lets go of them when memory is short. It has
no name, so it is gone when the process ends, however that happens.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from drift_wm.datasets.episodes import Episode, Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of many episodes, one below the other, each behind the repetitions that `Windows` explains."""

    table: Float32Array
    """(R, D + A + 2): observation, action, reward, and whether the world ended with this transition or before."""
    padding: int
    """Repetitions of the first observation before each episode."""
    tail: int
    """Repetitions of the last observation behind each episode whose world ended."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredEpisode(Episode):
    """An episode whose arrays are views of stored rows; physics states are not stored."""

    rows: Rows | None = None
    first: int = 0
    """Row of the first repetition of its first observation."""

    def __post_init__(self) -> None:
        """Nothing is checked again: it was when the episode was read, and looking at it reads it from the disk."""


def keep_episodes(
    episodes: Iterable[Episode], *, limit: float, padding: int, folder: Path, tail: int = 0
) -> list[Episode]:
    """Episodes in memory as long as they fit, else all of them in a file.

    Args:
        episodes: of one size, read one at a time.
        limit: bytes of the arrays that may stay in memory.
        padding: repetitions of the first observation that windows of them will need, K - 1.
        folder: on the disk that takes the file.
        tail: repetitions of the last observation that windows past the end of a world will need, k - 1.

    Raises:
        OSError: the disk is full.
    """
    kept: list[Episode] = []
    remaining, size = iter(episodes), 0
    for episode in remaining:
        kept.append(episode)
        states = 0 if episode.states is None else episode.states.nbytes
        size += episode.obs.nbytes + episode.actions.nbytes + episode.rewards.nbytes + states
        if size > limit:
            return _stored(chain(kept, remaining), padding=padding, tail=tail, folder=folder)
    return kept


def rows_of(episode: Episode, padding: int, tail: int = 0) -> Float32Array:
    """(padding + L + 1 [+ tail], D + A + 2) as in `Rows`; the last action and reward are zeros that no window reads.

    What a world that ended would do with more actions is to stay as it is and pay nothing, whatever they are: those
    in its tail are drawn from the episode's own.
    """
    length, D, A = len(episode), episode.obs.shape[1], episode.actions.shape[1]
    tail = tail if episode.terminated else 0
    end = padding + length  # row of the last observation
    rows = np.zeros((end + 1 + tail, D + A + 2), np.float32)
    rows[:padding, :D] = episode.obs[0]
    rows[padding : end + 1, :D] = episode.obs
    rows[end + 1 :, :D] = episode.obs[-1]
    rows[padding:end, D:-2] = episode.actions
    rows[end : end + tail, D:-2] = episode.actions[np.random.default_rng(length).integers(length, size=tail)]
    rows[padding:end, -2] = episode.rewards
    rows[end - 1 : end + tail, -1] = episode.terminated
    return rows


def _stored(episodes: Iterable[Episode], *, padding: int, tail: int, folder: Path) -> list[Episode]:
    known: list[_Known] = []
    with TemporaryFile(dir=folder) as file:
        first = 0
        for episode in episodes:
            rows = rows_of(episode, padding, tail)
            file.write(rows.data)
            D = episode.obs.shape[1]
            known.append(
                _Known(first, len(episode), D, episode.terminated, episode.seed, episode.source, episode.fingerprints)
            )
            first += len(rows)
        file.flush()
        table = np.frombuffer(mmap.mmap(file.fileno(), 0), np.float32).reshape(first, -1)
    stored = Rows(table, padding, tail)
    return [_view(stored, each) for each in known]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of an episode whose arrays were written."""

    first: int
    length: int
    observation_size: int
    terminated: bool
    seed: int | None
    source: str
    fingerprints: frozenset[str]


def _view(rows: Rows, known: _Known) -> StoredEpisode:
    own = rows.table[known.first + rows.padding :][: known.length + 1]
    D = known.observation_size
    episode = StoredEpisode(
        obs=own[:, :D],
        actions=own[:-1, D:-2],
        rewards=own[:-1, -2],
        terminated=known.terminated,
        seed=known.seed,
        source=known.source,
        rows=rows,
        first=known.first,
    )
    object.__setattr__(episode, "_fingerprints", known.fingerprints)  # frozen; to find it again would read the disk
    return episode
