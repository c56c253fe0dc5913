"""Progress of long work for people: a bar with ETA on a terminal, a line now and then in a log file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)

LOG_INTERVAL_SECONDS = 10.0
PACE_SECONDS = 3600.0
"""How long the bar remembers steps: with rich's 30 s those that take longer have no pace, and nothing is foretold."""


class Task:
    """One piece of long work with a known number of steps."""

    def __init__(self, description: str, total: int, progress: Progress | None) -> None:
        self._description, self._total, self._progress = description, total, progress
        self._id: TaskID | None = None
        self._logged, self._ended = time.monotonic(), False
        self._first: tuple[int, float] | None = None
        """Steps and time of the first update: what an earlier run did tells nothing of how fast this one is."""
        if progress is not None:
            self._id = progress.add_task(description, total=total, note="")

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` steps are finished, and the numbers that matter now."""
        if self._progress is not None and self._id is not None:
            self._progress.update(self._id, completed=done, note=note)
            return
        now = time.monotonic()
        self._first = self._first or (done, now)
        ended, self._ended = self._ended, done >= self._total
        if not ended and (self._ended or now - self._logged >= LOG_INTERVAL_SECONDS):
            self._logged = now
            left = self._left(*self._first, done, now)
            logger.info("%s: %d/%d%s  %s", self._description, done, self._total, left, note)

    def _left(self, first: int, then: float, done: int, now: float) -> str:
        """How long the rest takes at the pace since the first update; nothing before there is one."""
        return f", {(now - then) / (done - first) * (self._total - done):.0f} s left" if done > first else ""


@contextmanager
def track(description: str, total: int, *, console: Console | None = None) -> Iterator[Task]:
    """Show the progress of the work done inside the block."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield Task(description, total, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, speed_estimate_period=PACE_SECONDS) as progress:
        yield Task(description, total, progress)
