"""The table of a grid: its rows, and how they are shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from drift_wm.bench.cells import LAST, NO_PLANNER, CellResult, GridResults
from drift_wm.bench.tasks import ANCHOR, suite_task
from drift_wm.results import RANDOM, SIMULATOR, standard_error
from drift_wm.wording import two_digits, value_and_error


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what acted, over all its seeds."""

    task: str
    model: str
    planner: str
    frames: tuple[int, ...]
    """Of each seed, collected for training; none for the references."""
    returns: tuple[float, ...]
    """Mean return of each seed; of each episode for the references."""
    lowest: float
    """Lowest return of any episode."""
    highest: float
    """Highest return of any episode."""
    anchor: float | None = None
    """The published return to stand beside."""
    steady: tuple[bool, ...] = ()
    """Of each seed, where it was evaluated on the way."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.returns))

    @property
    def standard_error(self) -> float | None:
        """Over seeds; None for one."""
        return standard_error(self.returns)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"mean": self.mean, "standard_error": self.standard_error, "n": len(self.returns)}


def table(results: GridResults, *, suite: str) -> list[Row]:
    """Rows by task: chance, then every model and planner over its seeds, then the true simulator."""
    rows = [
        Row(each.task, each.name, each.planner, (), each.returns, lowest=min(each.returns), highest=max(each.returns))
        for each in results.references
    ]
    groups: dict[tuple[str, str, str], list[CellResult]] = defaultdict(list)
    for result in results.cells:
        groups[result.task, result.model, result.planner].append(result)
    for key, group in groups.items():
        task, episodes = suite_task(suite, key[0]), [value for result in group for value in result.returns]
        rows.append(
            Row(
                *key,
                frames=tuple(result.frames for result in group),
                returns=tuple(result.mean for result in group),
                lowest=min(episodes),
                highest=max(episodes),
                anchor=task.published[0] if task else None,
                steady=tuple(result.steady for result in group if result.steady is not None),
            )
        )
    order = {RANDOM: 0, SIMULATOR: 2}
    return sorted(rows, key=lambda row: (row.task, order.get(row.model, 1), row.model, row.planner))


CAPTION = (
    "return: mean and standard error over runs, of the references over episodes; episodes: lowest and highest; "
    f"ratio: return over that published for {ANCHOR}, in a suite; steady: runs of which no evaluation in the last "
    f"{LAST:.0%} of training fell below half of their best."
)
"""What the columns mean that do not say it."""


def as_table(rows: Sequence[Row]) -> Table:
    """The grid for a terminal, in eighty columns; `tables.md` has the rest."""
    several = _several_planners(rows)
    shown = Table(caption=CAPTION, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.caption_justify = "left"
    shown.add_column("task", no_wrap=True)
    shown.add_column("acts")
    for column in ("return", "runs", "episodes", "ratio", "steady"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row.task,
            f"{row.model}, {row.planner}" if several and row.planner != NO_PLANNER else row.model,
            value_and_error(row.mean, row.standard_error),
            str(len(row.returns)),
            ("-" if row.lowest >= 0 else " to ").join(map(two_digits, (row.lowest, row.highest))),
            _ratio(row),
            _steady(row),
        )
    return shown


def header(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of `cells`; planners have one where there are several."""
    planner = ("planner",) if _several_planners(rows) else ()
    return ("task", "model", *planner, "frames", "return", "runs", "episodes", ANCHOR, "ratio", "steady")


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Rows as text."""
    several = _several_planners(rows)
    return [
        (
            row.task,
            row.model,
            *((row.planner,) if several else ()),
            " to ".join(f"{frames:,}" for frames in sorted({min(row.frames), max(row.frames)})) if row.frames else "-",
            value_and_error(row.mean, row.standard_error),
            str(len(row.returns)),
            " to ".join(map(two_digits, (row.lowest, row.highest))),
            "-" if row.anchor is None else f"{row.anchor:.0f}",
            _ratio(row),
            _steady(row),
        )
        for row in rows
    ]


def _several_planners(rows: Sequence[Row]) -> bool:
    return len({row.planner for row in rows} - {NO_PLANNER}) > 1


def _ratio(row: Row) -> str:
    return "-" if row.anchor is None else f"{row.mean / row.anchor:.2f}"


def _steady(row: Row) -> str:
    return f"{sum(row.steady)} of {len(row.steady)}" if row.steady else "-"
