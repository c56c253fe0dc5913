"""What the runs of a grid add up to: rows of the table, and aggregates over tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy import stats  # type: ignore[import-untyped]

from drift_wm.bench_cells import NO_PLANNER, CellResult, GridResults
from drift_wm.evaluate import RANDOM, SIMULATOR
from drift_wm.results import standard_error
from drift_wm.suites import ANCHOR, suite_task

_RESAMPLES = 5_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what acted, over all its seeds."""

    task: str
    model: str
    planner: str
    frames: int
    returns: tuple[float, ...]
    """Mean return of each seed; of each episode for the references."""
    lowest: float
    """Of the returns of all episodes."""
    highest: float
    """Likewise."""
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


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Interquartile mean over all tasks and seeds of returns divided by a yardstick, with a 95 % interval."""

    model: str
    planner: str
    yardstick: str
    iqm: float
    low: float
    high: float
    tasks: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def table(results: GridResults, *, suite: str) -> list[Row]:
    """Rows by task: chance, then every model and planner over its seeds, then the true simulator."""
    rows = [
        Row(each.task, each.name, each.planner, 0, each.returns, lowest=min(each.returns), highest=max(each.returns))
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
                frames=group[0].frames,
                returns=tuple(result.mean for result in group),
                lowest=min(episodes),
                highest=max(episodes),
                anchor=task.published[0] if task else None,
                steady=tuple(result.steady for result in group if result.steady is not None),
            )
        )
    order = {RANDOM: 0, SIMULATOR: 2}
    return sorted(rows, key=lambda row: (row.task, order.get(row.model, 1), row.model, row.planner))


def aggregates(results: GridResults, *, suite: str) -> list[Aggregate]:
    """Every model and planner, divided by the suite's published returns, and by the same planner in the simulator."""
    cells = results.cells
    published = {cell.task: task.published[0] for cell in cells if (task := suite_task(suite, cell.task))}
    simulated = {
        (each.task, each.planner): float(np.mean(each.returns)) for each in results.references if each.name == SIMULATOR
    }
    found = []
    for model, planner in dict.fromkeys((cell.model, cell.planner) for cell in cells):
        of_planner = {task: value for (task, name), value in simulated.items() if name == planner}
        for yardstick, values in ((ANCHOR, published), ("the planner in the true simulator", of_planner)):
            scores: dict[str, list[float]] = defaultdict(list)
            for cell in cells:
                value = values.get(cell.task, 0.0)
                if (cell.model, cell.planner) == (model, planner) and value > 0:
                    scores[cell.task].append(cell.mean / value)
            if scores:
                low, high = stratified_interval(list(scores.values()))
                found.append(
                    Aggregate(model, planner, yardstick, interquartile_mean(scores.values()), low, high, len(scores))
                )
    return found


def interquartile_mean(scores: Sequence[Sequence[float]] | Any) -> float:
    """Mean of the middle half of all runs of all tasks (Agarwal et al. 2021, "Deep RL at the edge", section 4.3)."""
    return float(stats.trim_mean(np.concatenate([np.asarray(task, dtype=float) for task in scores]), 0.25))


def stratified_interval(
    scores: Sequence[Sequence[float]], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap of the interquartile mean: runs are drawn again within each task (the same, section 4.2).

    Args:
        scores: runs of each task; a task with a single run adds no spread.
        level: of the interval.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [rng.choice(np.asarray(task, dtype=float), (_RESAMPLES, len(task))) for task in scores], axis=1
    )
    means = stats.trim_mean(drawn, 0.25, axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def as_table(rows: Sequence[Row]) -> Table:
    """The grid for a terminal, in eighty columns; `tables.md` has the rest."""
    several = len({row.planner for row in rows} - {NO_PLANNER}) > 1
    title = "Return: mean and standard error over seeds; over episodes for the references"
    shown = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column("task", no_wrap=True)
    shown.add_column("acts")
    for column in ("return", "n", "episodes", "ratio", "steady"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        spread = "" if row.standard_error is None else f" ± {row.standard_error:.1f}"
        shown.add_row(
            row.task,
            f"{row.model}, {row.planner}" if several and row.planner != NO_PLANNER else row.model,
            f"{row.mean:.1f}{spread}",
            str(len(row.returns)),
            f"{row.lowest:.0f}-{row.highest:.0f}",
            _ratio(row),
            _steady(row),
        )
    return shown


HEADER = (
    *("task", "model", "planner", "frames", "mean", "standard error", "n", "lowest to highest episode"),
    *(ANCHOR, "ratio", "steady"),
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    return (
        row.task,
        row.model,
        row.planner,
        f"{row.frames:,}" if row.frames else "-",
        f"{row.mean:.1f}",
        "-" if row.standard_error is None else f"{row.standard_error:.1f}",
        str(len(row.returns)),
        f"{row.lowest:.0f} to {row.highest:.0f}",
        "-" if row.anchor is None else f"{row.anchor:.0f}",
        _ratio(row),
        _steady(row),
    )


def _ratio(row: Row) -> str:
    return "-" if row.anchor is None else f"{row.mean / row.anchor:.2f}"


def _steady(row: Row) -> str:
    return f"{sum(row.steady)} of {len(row.steady)}" if row.steady else "-"
