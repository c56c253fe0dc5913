"""Times of several contenders in one interleaved run, so that whatever disturbs the machine disturbs all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from drift_wm.progress import Task
from drift_wm.wording import counted

Name = TypeVar("Name")  # whatever tells calls apart


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """What one contender took in one case."""

    part: str
    case: str
    contender: str
    ms: tuple[float, ...]
    """Each repetition."""
    facts: dict[str, float] = field(default_factory=dict)
    """What else is known of it, by name."""

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> SpeedRow:
        """The inverse of `as_dict`."""
        return cls(found["part"], found["case"], found["contender"], tuple(found["ms"]), found["facts"])

    @property
    def median(self) -> float:
        """Milliseconds."""
        return float(np.median(self.ms))

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles, in milliseconds; None of a single repetition."""
        if len(self.ms) < 2:
            return None
        low, high = np.percentile(self.ms, [25, 75])
        return float(high - low) / 2

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"median_ms": self.median, "spread_ms": self.spread}


def interleave(
    calls: Mapping[Name, Callable[[], object]],
    *,
    repeats: int,
    device: torch.device,
    settle: bool = False,
    on_done: Callable[[], None] = lambda: None,
) -> dict[Name, tuple[float, ...]]:
    """Milliseconds of each call, one after the other `repeats` times round, after one round to warm up.

    Args:
        calls: what to time, by name.
        repeats: rounds that count.
        device: whose work a call must have finished before the clock is read.
        settle: make each call once more before the one that is timed, where a contender leaves the machine in a state
            that the next one pays for.
        on_done: called after each round.
    """
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            if settle:
                call()
            start = now(device)
            call()
            taken = (now(device) - start) * 1e3
            if number:
                times[name].append(taken)
        on_done()
    return {name: tuple(values) for name, values in times.items()}


class Steps:
    """Counts rounds for the progress bar."""

    def __init__(self, task: Task) -> None:
        self._task, self._done, self.note = task, 0, ""

    def __call__(self) -> None:
        """One more is done; `note` says of what."""
        self._done += 1
        self._task.update(self._done, self.note)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread for as long as the block lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def machine_of(results: Mapping[str, Any]) -> str:
    """On what was measured: a GPU by its name, else the processor and how many threads computed.

    Args:
        results: what `drift-wm speed` wrote.
    """
    if results["device"] != "cpu":
        return str(results["device"])
    return f"{results['environment']['processor']}, {counted(results['threads'], 'thread')}"


def now(device: torch.device) -> float:
    """Seconds on the clock, once a device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
