"""Episodes: the one record that everything in this folder reads, writes, counts and slices."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_LARGEST_SEED = 2**63 - 1
"""The largest integer that an HDF5 attribute of the default type holds."""

_TELLING = 16
"""Changes of the action that tell an episode from all others."""


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
    _fingerprint: str | None = field(default=None, init=False, repr=False)
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
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that name the episode, whichever of its observations were read, and however.

        They are of its actions up to the 16th change: a demo with `next_obs` has one transition more than the same
        without it, other keys give other observations and some copies have no rewards or seed, but the beginning of
        what was done is one. Where actions change less often they tell episodes apart badly, and the first 16
        observations are hashed as well: such an episode has another name under other keys. Episodes that repeat
        another's actions share its name: wrongly calling one known is the safer error.
        """
        if self._fingerprint is None:
            object.__setattr__(self, "_fingerprint", _name_of(self.actions, self.obs))  # the class is frozen
        assert self._fingerprint is not None
        return self._fingerprint


def _name_of(actions: Float32Array, obs: Float32Array) -> str:
    """See `Episode.fingerprint`."""
    changes = 1 + np.flatnonzero((actions[1:] != actions[:-1]).any(axis=1))[:_TELLING]
    rows = 1 + int(changes[-1]) if len(changes) else 1
    parts = [actions[:rows]] if len(changes) == _TELLING else [actions[:rows], obs[:_TELLING]]
    digest = hashlib.sha256()
    for array in parts:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


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
