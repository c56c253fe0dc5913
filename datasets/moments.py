"""Means and standard deviations by which a model normalises what it reads and what it predicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drift_wm.datasets.episodes import Episode, Float64Array, count_windows, windows_in

_PART = 2**20
"""Numbers that are looked at together; longer episodes are taken in parts, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation of each entry, on the CPU."""

    mean: Tensor
    """(...) float32."""
    std: Tensor
    """(...) float32, positive: 1 where the entry never changes (up to rounding), so that dividing by it is harmless.
    Where it does, and rounding is more than 1, as of a counter near 1e9, it is the size of that rounding."""
    largest: Tensor
    """(...) float32, largest magnitude."""
    constant: Tensor
    """(...) bool, whether the entry never changes; a deviation of 1 alone is also that of standardised data."""

    @property
    def unit(self) -> Tensor:
        """(...) `std`, but infinite where the entry never changes: divided by it, such an entry is 0."""
        return self.std.masked_fill(self.constant, torch.inf)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the training data look like. Standard deviations are those of the population."""

    obs: Moments
    """(D,): all observations."""
    actions: Moments
    """(A,): all actions."""
    rewards: Moments
    """(): all rewards."""
    changes: Moments
    """(k, D): the targets of prediction. Row i - 1 describes o_{t+i} - o_t, over the decisions t of windows."""


def compute_statistics(episodes: Sequence[Episode], *, chunk: int, past_end: bool = False) -> Statistics:
    """Accumulate the statistics in float64, in one pass.

    Args:
        episodes: at least one of `chunk` transitions or more. Shorter ones count for all but the changes.
        chunk: k, the number of steps ahead that are predicted at once.
        past_end: whether the windows go past ends, as those of `Windows`.

    Raises:
        ValueError: `chunk` is not positive, no episode is that long, or episodes disagree about D or A.
    """
    count_windows(episodes, chunk, past_end=past_end)
    sizes = {episode.sizes for episode in episodes}
    if len(sizes) > 1:
        raise ValueError(f"episodes have (observation, action) sizes {sorted(sizes)}, expected one: use one task")
    # Differences of observations are no more precise than the observations themselves.
    magnitude = np.max([np.maximum(e.obs.max(axis=0), -e.obs.min(axis=0)) for e in episodes], axis=0)
    return Statistics(
        obs=_moments(episode.obs for episode in episodes),
        actions=_moments(episode.actions for episode in episodes),
        rewards=_moments(episode.rewards for episode in episodes),
        changes=_moments(
            (part for episode in episodes for part in _changes(episode, chunk, past_end=past_end)),
            magnitude=magnitude,
        ),
    )


def _changes(episode: Episode, chunk: int, *, past_end: bool) -> Iterator[Float64Array]:
    """Parts (n, k, D): o_{t+i} - o_t for decisions t of the episode's windows and i = 1..k."""
    count = windows_in(episode, chunk, past_end=past_end)
    for start, end in _parts(count, chunk * episode.obs.shape[1]):
        obs = episode.obs[start : end + chunk].astype(np.float64)
        obs = np.pad(obs, ((0, end + chunk - start - len(obs)), (0, 0)), mode="edge")  # an ended world stays
        yield np.stack([obs[i : i + end - start] - obs[: end - start] for i in range(1, chunk + 1)], axis=1)


def _parts(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of rows of a size, in parts of at most _PART numbers."""
    step = max(1, _PART // max(size, 1))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


class RunningMoments:
    """Mean, deviation, lowest and highest of rows seen a part at a time, in float64 (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Float64Array = np.zeros(())
        self.low: Float64Array = np.full((), np.inf)
        self.high: Float64Array = np.full((), -np.inf)
        self._squares: Float64Array = np.zeros(())

    @property
    def std(self) -> Float64Array:
        """(...) that of the population."""
        return np.sqrt(self._squares / self.count)

    def add(self, part: NDArray[np.floating]) -> None:
        """Rows (n, ...), at least one."""
        for start, end in _parts(len(part), int(np.prod(part.shape[1:], dtype=int))):
            self._add(part[start:end].astype(np.float64))

    def _add(self, rows: Float64Array) -> None:
        total = self.count + len(rows)
        offset = rows.mean(axis=0) - self.mean
        spread = rows.var(axis=0) * len(rows) + offset**2 * (self.count * len(rows) / total)
        self._squares = self._squares + spread
        self.mean = self.mean + offset * (len(rows) / total)
        self.low, self.high = np.minimum(self.low, rows.min(axis=0)), np.maximum(self.high, rows.max(axis=0))
        self.count = total


def _moments(parts: Iterable[NDArray[np.floating]], *, magnitude: NDArray[np.floating] | None = None) -> Moments:
    """Of all parts together.

    Args:
        parts: arrays (n, ...).
        magnitude: (...) or broadcast to it, the size of the numbers whose rounding limits the precision of the
            parts; None: the largest absolute value of the parts.
    """
    running = RunningMoments()
    for part in parts:
        running.add(part)
    std, largest = running.std, np.maximum(-running.low, running.high)
    float32 = np.finfo(np.float32)
    resolution = float32.eps * (largest if magnitude is None else magnitude)
    constant = std <= np.maximum(resolution, float32.tiny)
    # Steps of 64 divided by 1 would outweigh all that is learned beside them.
    harmless = np.where(running.low == running.high, 1.0, np.maximum(resolution, 1.0))
    return Moments(
        mean=torch.as_tensor(running.mean, dtype=torch.float32),
        std=torch.as_tensor(np.where(constant, harmless, std), dtype=torch.float32),
        largest=torch.as_tensor(largest, dtype=torch.float32),
        constant=torch.as_tensor(constant),
    )
