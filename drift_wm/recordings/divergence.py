"""How far a replay of recorded actions led from the record, and what that means in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Divergence:
    """How far T steps led from what was recorded, over the entries of a vector in units of their deviations."""

    largest: Array
    """(T,); infinite where the world ended earlier than recorded."""
    rms: Array
    """(T,)"""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The divergence of states and of observations."""

    states: Divergence
    obs: Divergence

    @property
    def largest(self) -> Array:
        """(T,) of states and observations together."""
        return np.maximum(self.states.largest, self.obs.largest)

    def beyond(self, tolerance: float) -> list[int]:
        """The steps, counted from 0, that led further from the record than this."""
        return np.flatnonzero(self.largest > tolerance).tolist()


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedDemo:
    """One demo acted again, in two ways."""

    name: str
    whole: Comparison
    """From its first state to its end, in one go: what differs may grow."""
    single: Comparison
    """Every step from its recorded state, so that nothing can grow."""


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """The demos of a file, acted again in the task that it names."""

    path: Path
    task: str
    env: dict[str, Any]
    """The world around the task, as the file records it."""
    seconds: float
    """Of one step; 0: unknown."""
    tolerance: float
    demos: tuple[ReplayedDemo, ...]
    remarks: tuple[str, ...]

    @property
    def whole(self) -> Comparison:
        """Over all demos that are long enough, step by step."""
        return _over_demos([demo.whole for demo in self.demos])

    @property
    def single(self) -> Comparison:
        """Over the same demos, single steps from recorded states."""
        return _over_demos([demo.single for demo in self.demos])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: every step over all demos, and a line for each demo; infinities become null."""
        return {
            "command": "data-replay",
            "data": str(self.path),
            "task": self.task,
            **self.env,
            "seconds": self.seconds,
            "tolerance": self.tolerance,
            "verdict": verdict(self),
            "remarks": list(self.remarks),
            "demos": [_line(demo, self.tolerance) for demo in self.demos],
            "steps": {"whole": _lists(self.whole), "single": _lists(self.single)},
        }


def verdict(found: Replayed) -> str:
    """What the comparison means, in plain words."""
    demos, tolerance = found.demos, found.tolerance
    whole = {demo.name: demo.whole.beyond(tolerance) for demo in demos}
    single = [(step, demo.name) for demo in demos for step in demo.single.beyond(tolerance)]
    steps = sum(len(demo.whole.largest) for demo in demos)
    largest = max(float(way.largest.max()) for demo in demos for way in (demo.whole, demo.single))
    if largest == 0:
        return f"reproduces exactly: {len(demos)} demos, {steps:,} steps, no bit differs"
    if largest <= tolerance:
        return (
            f"reproduces within rounding: at most {largest:.2g} standard deviations from the record in {steps:,} steps"
        )
    diverging = {name: beyond[0] for name, beyond in whole.items() if beyond}
    if diverging:
        name = min(diverging, key=lambda name: diverging[name])
        text = f"diverges from step {diverging[name]} of {name}, {len(diverging)} of {len(demos)} demos do; "
    else:
        text = "reproduces within rounding in one go; "
    if not single:
        return text + (
            "every single step is reproduced, so the simulator is that of the recording, and what differs by rounding "
            "grows (chaos)"
        )
    first, name = min(single)
    if len(single) > steps // 2:
        return text + (
            f"{len(single):,} of {steps:,} single steps differ by themselves: another simulator, version or setting "
            "than at the recording"
        )
    return text + (
        f"{len(single):,} of {steps:,} single steps differ by themselves, the first is step {first} of {name}: actions "
        "or states there are not those of the recording, or states do not hold all that matters there"
    )


def _over_demos(demos: Sequence[Comparison]) -> Comparison:
    return Comparison(_together([demo.states for demo in demos]), _together([demo.obs for demo in demos]))


def _together(parts: Sequence[Divergence]) -> Divergence:
    """The largest of the largest and the mean of the squares, step by step."""
    length = max(len(part.rms) for part in parts)
    largest, squares = np.full((2, len(parts), length), np.nan)
    for row, part in enumerate(parts):
        largest[row, : len(part.rms)], squares[row, : len(part.rms)] = part.largest, np.square(part.rms)
    return Divergence(np.nanmax(largest, axis=0), np.sqrt(np.nanmean(squares, axis=0)))


def _lists(comparison: Comparison) -> dict[str, dict[str, list[float]]]:
    return {
        name: {"largest": part.largest.tolist(), "rms": part.rms.tolist()}
        for name, part in (("states", comparison.states), ("observations", comparison.obs))
    }


def _line(demo: ReplayedDemo, tolerance: float) -> dict[str, Any]:
    beyond = demo.whole.beyond(tolerance)
    return {
        "name": demo.name,
        "steps": len(demo.whole.largest),
        "diverges_from": beyond[0] if beyond else None,
        "single_steps_beyond": demo.single.beyond(tolerance),
        "largest": float(demo.whole.largest.max()),
        "largest_single": float(demo.single.largest.max()),
    }
