"""Bounds of a robot's actions, and the way from its own units to a planner's [-1, 1]."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drift_wm.datasets.episodes import Float32Array
from drift_wm.interfaces import SMALL_ACTIONS

_ROUNDING = 1e-6  # of a bound that was stored in single precision, as a share of half the range

UNIT_ACTIONS = (
    "drift-wm data convert FILE out=NEW.hdf5 action_low=[...] action_high=[...] maps a robot's own bounds onto [-1, 1]"
)
"""What to do about actions beyond."""


@dataclass(frozen=True, slots=True)
class ActionBounds:
    """What -1 and 1 stand for: both (A,), or (1,) where all entries are alike."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, low: ArrayLike, high: ArrayLike, *, size: int) -> ActionBounds:
        """Checked bounds of actions (size,).

        Raises:
            ValueError: one has another length than `size` or 1, is no finite number, or is not below the other.
        """
        lowest, highest = (np.asarray(bound, dtype=np.float64).ravel() for bound in (low, high))
        for name, bound in (("lowest", lowest), ("highest", highest)):
            if len(bound) not in (1, size):
                raise ValueError(
                    f"{len(bound)} {name} actions {bound.tolist()}; expected one for all, or {size}, one for each"
                )
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all() and (lowest < highest).all()):
            raise ValueError(
                f"actions from {lowest.tolist()} to {highest.tolist()}; expected finite numbers, each lowest below the "
                "highest"
            )
        return cls(*np.broadcast_arrays(lowest, highest))

    @classmethod
    def of_space(cls, text: str, *, size: int) -> ActionBounds | None:
        """Those of an action space as Minari's `metadata.json` holds it; None where it has none.

        Raises:
            ValueError: the text is no space.
        """
        try:
            # Readers join arrays by their paths, as strings: `_index_10` before `_index_2`, `arm-2` before `arm/q`.
            boxes = [box for _, box in sorted(_boxes(json.loads(text)), key=itemgetter(0))]
            low, high = (
                np.concatenate([np.ravel(np.asarray(box[name], np.float64)) for box in boxes] or [np.empty(0)])
                for name in ("low", "high")
            )
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"no action space: {text[:80]!r} ({type(error).__name__})") from error
        bounded = len(low) == len(high) == size and np.isfinite(low).all() and np.isfinite(high).all()
        return cls.of(low, high, size=size) if bounded else None

    def __str__(self) -> str:
        """Such as -0.4 to 0.4, or of each entry."""
        low, high = ([f"{each:g}" for each in bound] for bound in (self.low, self.high))
        pairs = [f"{least} to {most}" for least, most in zip(low, high, strict=True)]
        return pairs[0] if len(set(pairs)) == 1 else ", ".join(pairs)

    @property
    def are_of_planners(self) -> bool:
        """Whether actions are in [-1, 1] as they stand."""
        return bool((self.low == -1).all() and (self.high == 1).all())

    @property
    def _middle_and_half(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (self.low + self.high) / 2, (self.high - self.low) / 2

    def to_unit(self, actions: Float32Array) -> Float32Array:
        """Actions (T, A) in the robot's units -> in [-1, 1], and beyond it where they are beyond the bounds."""
        middle, half = self._middle_and_half
        return ((actions.astype(np.float64) - middle) / half).astype(np.float32)

    def from_unit(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Actions (..., A) in [-1, 1] -> in the robot's units."""
        middle, half = self._middle_and_half
        return middle + half * actions


def count_beyond(actions: NDArray[np.floating]) -> int:
    """How many entries of actions (...) are beyond [-1, 1], by more than rounding."""
    return int(np.count_nonzero(np.abs(actions) > 1 + _ROUNDING))


def small_entries(low: NDArray[np.floating], high: NDArray[np.floating]) -> tuple[NDArray[np.bool_], float]:
    """Which entries (A,) of actions from low to high are far within [-1, 1], and the largest magnitude among these.

    Those that never vary are none of them: no other units would make more of them.
    """
    largest = np.maximum(-low, high)
    small = (largest < SMALL_ACTIONS) & (low != high)
    return small, float(largest[small].max(initial=0.0))


def _boxes(space: dict[str, Any], *path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The boxes of a space of boxes, and the paths by which Minari stores what is in them; none of other spaces."""
    match space["type"]:
        case "Box":
            yield "/".join(path), space
        case "Dict":
            for name, inner in space["subspaces"].items():
                yield from _boxes(inner, *path, name)
        case "Tuple":
            for number, inner in enumerate(space["subspaces"]):
                yield from _boxes(inner, *path, f"_index_{number}")
