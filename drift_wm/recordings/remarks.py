"""What the values of demonstrations say that a person should know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from drift_wm.datasets.action_bounds import UNIT_ACTIONS, count_beyond, small_entries
from drift_wm.datasets.moments import RunningMoments
from drift_wm.datasets.split import first_copies
from drift_wm.recordings.angles import StepSizes
from drift_wm.wording import counted, entries_of_an_action

_TOLD = 20
"""Damaged demonstrations, or entries, that are named; all are in `results.json`."""


@dataclass(frozen=True, slots=True)
class Range:
    """What the entries of a vector took as values."""

    name: str
    size: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    constant: int
    """Entries that never change."""


def range_of(name: str, seen: RunningMoments) -> Range:
    """What vectors of a name took as values."""
    return Range(
        name,
        len(seen.mean),
        tuple(seen.low.tolist()),
        tuple(seen.high.tolist()),
        tuple(seen.mean.tolist()),
        tuple(seen.std.tolist()),
        int((seen.low == seen.high).sum()),
    )


def remarks(ranges: Sequence[Range], entries: Sequence[str], *, of_world: bool) -> list[str]:
    """What to say of actions beyond bounds or far within them, and of what never changes.

    Args:
        ranges: of observations, actions and perhaps rewards.
        entries: names of the entries of observations.
        of_world: whether the data name the environment that they are of, in which other bounds would be wrong.
    """
    actions = next(each for each in ranges if each.name == "actions")
    found = []
    if outside := count_beyond(np.maximum(np.negative(actions.low), actions.high)):
        found.append(
            f"{outside} of {actions.size} action entries leave [-1, 1] ({min(actions.low):.3g} to "
            f"{max(actions.high):.3g}); planners search within it" + ("" if of_world else f": {UNIT_ACTIONS}")
        )
    small, largest = small_entries(np.asarray(actions.low), np.asarray(actions.high))
    if small.any() and not of_world:
        found.append(
            f"{entries_of_an_action(small.tolist())} are never larger than {largest:.3g}, but planners search all of "
            f"[-1, 1]; to plan with a model of them, {UNIT_ACTIONS}"
        )
    names = {"observations": entries, "actions": [f"action[{i}]" for i in range(actions.size)], "rewards": ["reward"]}
    for each in ranges:
        still = [name for name, *ends in zip(names[each.name], each.low, each.high, strict=True) if ends[0] == ends[1]]
        if still:
            found.append(f"{each.constant} of {each.size} {each.name} never change: {', '.join(first_of(still))}")
    return found


def remarks_on_turns(steps: StepSizes, observations: Range, entries: Sequence[str]) -> list[str]:
    """What to say of angles that wrap.

    Args:
        steps: of observations.
        observations: their range.
        entries: names of their entries.
    """
    counts = steps.turns(np.subtract(observations.high, observations.low))
    found = [f"{entries[i]} ({counted(int(counts[i]), 'time')})" for i in np.flatnonzero(counts).tolist()]
    if not found:
        return []
    return [
        f"jumps by about 2 pi from one row to the next, as of an angle that wraps: {', '.join(first_of(found))}; a "
        "model takes each for a leap: log sine and cosine of the angle, or unwrap it (numpy.unwrap)"
    ]


def remarks_on_rewards(recorded: Sequence[bool]) -> list[str]:
    """What to say where zeros stand for the rewards of some demonstrations, and not of others.

    Args:
        recorded: of each, whether it has rewards.
    """
    if all(recorded) or not any(recorded):
        return []
    return [
        f"{recorded.count(False)} of {counted(len(recorded), 'demonstration')} have no rewards, and count as if all of "
        "theirs were 0; the others as recorded"
    ]


def remarks_on_copies(fingerprints: Sequence[Collection[str]]) -> list[str]:
    """What to say of demonstrations that are there more than once, which `split` keeps together.

    Args:
        fingerprints: of each, see `Episode.fingerprints`.
    """
    first = first_copies(fingerprints)
    if not (copies := sum(i != place for place, i in enumerate(first))):
        return []
    kept = "copies are held out, or learned from, together with what they are copies of"
    if len(set(first)) == 1:
        kept = "all are one and the same, so that none is held out"
    return [f"{copies} of {len(first)} demonstrations are copies of others: {kept}"]


def first_of(told: Sequence[str]) -> list[str]:
    """As many as a person reads, and how many more there are."""
    more = [f"and {len(told) - _TOLD} more, see results.json"] if len(told) > _TOLD else []
    return [*told[:_TOLD], *more]
