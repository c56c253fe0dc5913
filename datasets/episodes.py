"""Episodes: the one record that everything in this folder reads, writes, counts and slices."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_LARGEST_SEED = 2**63 - 1
"""The largest integer that an HDF5 attribute of the default type holds."""

_TELLING = 16
"""Observations that, with the actions, tell an episode from all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One episode of L transitions. L + 1 observations enclose L actions.

    Raises:
        ValueError: an array has the wrong type, shape or length, or holds a NaN or an infinity.
    """

    obs: Float32Array
    """(L + 1, D) float32: the observation before each action, and the one after the last."""
    actions: Float32Array
    """(L, A) float32."""
    rewards: Float32Array
    """(L,) float32: `rewards[t]` belongs to the transition from `obs[t]` to `obs[t + 1]`."""
    terminated: bool
    """The world ended with the last transition; False where a time limit or the data's end cut it off."""
    states: Float64Array | None = None
    """(L + 1, S) float64: the simulator's full physics state at each observation, where it is known."""
    seed: int | None = None
    """The seed that the environment was reset with, where it is known."""
    source: str = ""
    """Who acted, in free text: "random", "noise", "planner", the name of a file of demonstrations."""
    success: bool | None = None
    """Whether the task was solved at any moment, where the world tells of it."""
    _fingerprints: frozenset[str] | None = field(default=None, init=False, repr=False)
    """Once it was asked for: hashing reads every number. Not an argument, so that `replace` never hands it on."""

    def __post_init__(self) -> None:
        for name, array in (("obs", self.obs), ("actions", self.actions)):
            _check_array(name, array, np.float32, ndim=2)
            if not array.shape[1]:
                raise ValueError(f"{name} has shape {array.shape}, expected an entry or more in each row: store some")
        _check_array("rewards", self.rewards, np.float32, ndim=1)
        length = len(self.actions)
        if length < 1:
            raise ValueError("actions has no rows, expected at least 1: leave out episodes without transitions")
        _check_length("obs", len(self.obs), length + 1, "one observation more than actions")
        _check_length("rewards", len(self.rewards), length, "one reward for each action")
        if self.states is not None:
            _check_array("states", self.states, np.float64, ndim=2)
            _check_length("states", len(self.states), length + 1, "one state for each observation")
        if self.seed is not None and not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"seed is {self.seed}, expected None or 0..2**63 - 1: choose such a seed")
        if "\0" in self.source:
            raise ValueError(f"source is {self.source!r}, expected text without NUL characters: remove them")

    def __len__(self) -> int:
        """L: the number of transitions."""
        return len(self.actions)

    @property
    def total_reward(self) -> float:
        """The undiscounted return."""
        return float(self.rewards.sum())

    @property
    def sizes(self) -> tuple[int, int]:
        """(D, A), which all episodes of a task share."""
        return self.obs.shape[1], self.actions.shape[1]

    @property
    def fingerprints(self) -> frozenset[str]:
        """Names of the episode and of what it is without its last transition, sixteen hexadecimal digits each.

        A demo without `next_obs` has one transition less than the same with it, so that copies of an episode share a
        name at least. A name is of all actions and of the first 16 observations: many episodes begin alike, as from a
        robot's home, and some repeat all actions, in a world of chance. Rewards and seed, which some copies lack, do
        not count; observation keys of other values do.
        """
        if self._fingerprints is None:
            lengths = {len(self), max(1, len(self) - 1)}
            names = frozenset(_hash(self.actions[:n], self.obs[: min(n + 1, _TELLING)])[:16] for n in lengths)
            object.__setattr__(self, "_fingerprints", names)  # the class is frozen
        assert self._fingerprints is not None
        return self._fingerprints

    def is_among(self, fingerprints: Collection[str]) -> bool:
        """Whether these are names of the episode, or of a copy of it, among others."""
        return any(name in fingerprints for name in self.fingerprints)


def digest_of(episodes: Sequence[Episode]) -> str:
    """Sixty-four hexadecimal digits of all that can be learned from some episodes, in their order."""
    parts = ((each.obs, each.actions, each.rewards, np.asarray(each.terminated)) for each in episodes)
    return _hash(*(array for arrays in parts for array in arrays))


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def windows_in(episode: Episode, chunk: int, *, past_end: bool) -> int:
    """The positions of one episode of L transitions from which `chunk` consecutive ones are known.

    Args:
        episode: any.
        chunk: k >= 1.
        past_end: whether an ended world counts as known: it stays as it is, so all L positions are. Else
            `max(0, L - chunk + 1)` are.
    """
    return len(episode) if past_end and episode.terminated else max(0, len(episode) - chunk + 1)


def count_windows(episodes: Sequence[Episode], chunk: int, *, past_end: bool = False) -> int:
    """Count the positions from which `chunk` consecutive transitions lie within one episode; see `windows_in`.

    Args:
        episodes: any number of episodes.
        chunk: k >= 1.
        past_end: whether worlds that ended stay as they are.

    Raises:
        ValueError: `chunk` is not positive, or there is no such position at all.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}, expected at least 1: predict one step or more")
    total = sum(windows_in(episode, chunk, past_end=past_end) for episode in episodes)
    if total == 0:
        longest = max((len(episode) for episode in episodes), default=0)
        raise ValueError(
            f"no window of chunk = {chunk} steps: the longest of {len(episodes)} episodes has {longest} "
            f"transitions, expected at least {chunk}; add longer episodes or choose a smaller chunk"
        )
    return total


def require_finite(name: str, array: NDArray[np.generic], *, remedy: str = "repair or leave out this episode") -> None:
    """Raise a ValueError that names the first entry of an array that is a NaN or an infinity."""
    finite = np.isfinite(array)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"{name}{list(first)} is {array[first]}, expected finite numbers: {remedy}")


def _check_array(name: str, array: NDArray[np.generic], dtype: type[np.floating], *, ndim: int) -> None:
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} "
            f"with {ndim} dimensions: convert it with astype and reshape"
        )
    require_finite(name, array)


def _check_length(name: str, length: int, expected: int, rule: str) -> None:
    if length != expected:
        raise ValueError(f"{name} has {length} rows, expected {expected} ({rule}): align the arrays")
