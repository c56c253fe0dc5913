"""A grid of online runs, one folder a cell, and the table they make: `drift-wm bench`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from drift_wm.build import prepare_machine
from drift_wm.evaluate import RANDOM, SIMULATOR
from drift_wm.online import online
from drift_wm.progress import track
from drift_wm.results import standard_error
from drift_wm.run_folder import RunFolder
from drift_wm.settings import BenchSettings, OnlineSettings

Compose = Callable[[list[str]], OnlineSettings]
"""Overrides of `online` -> its settings."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the grid."""

    task: str
    model: str
    planner: str
    seed: int

    @property
    def folder(self) -> Path:
        """Below the folder of the grid."""
        return Path(self.task) / f"{self.model}-{self.planner}" / f"seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what acted, over all its seeds."""

    task: str
    model: str
    planner: str
    frames: int
    returns: tuple[float, ...]
    """Mean return of each seed; of each episode for the references."""

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
        return {
            "task": self.task,
            "model": self.model,
            "planner": self.planner,
            "frames": self.frames,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "n": len(self.returns),
            "returns": list(self.returns),
        }


def bench(settings: BenchSettings, folder: RunFolder, *, compose: Compose) -> list[Row]:
    """Do every cell that the folder does not hold yet, and make the table of all.

    Args:
        settings: the grid.
        folder: of the grid. Each cell has a run folder with a `results.json` below it, and the table of what
            is done so far is kept in the grid's own `results.json`.
        compose: makes the settings of a cell from overrides. All cells are composed before the first
            begins, so that a mistake in the last one fails at once.
    """
    cells = [(cell, compose(overrides_of(cell, settings))) for cell in grid(settings)]
    done: dict[Cell, dict[str, Any]] = {}
    rows: list[Row] = []
    with track("bench", len(cells)) as task:
        for number, (cell, asked) in enumerate(cells):
            task.update(number, str(cell.folder))
            cell_folder = RunFolder(folder.path / cell.folder)
            cell_folder.write_config("online", asked)
            done[cell] = cell_folder.read_results() or online(asked, cell_folder, device=prepare_machine(asked))
            rows = table(done)
            folder.write_results({"command": "bench", "rows": [row.as_dict() for row in rows]})
        task.update(len(cells))
    return rows


def grid(settings: BenchSettings) -> Iterator[Cell]:
    """Every cell, seed by seed, so that a table with one seed everywhere is there early."""
    for seed in settings.seeds:
        for task in settings.tasks:
            for planner in settings.planners:
                for model in settings.models:
                    yield Cell(task, model, planner, seed)


def overrides_of(cell: Cell, settings: BenchSettings) -> list[str]:
    """What to ask of `online` for a cell; the first one of a task and planner also makes the reference rows."""
    first = cell.seed == settings.seeds[0] and cell.model == settings.models[0]
    at_random = settings.reference_random_episodes if first and cell.planner == settings.planners[0] else 0
    simulator = settings.reference_simulator_episodes if first else 0
    return [
        f"task={cell.task}",
        f"model={cell.model}",
        f"planner={cell.planner}",
        f"seed={cell.seed}",
        f"reference_random_episodes={at_random}",
        f"reference_simulator_episodes={simulator}",
        *settings.overrides,
    ]


def table(done: dict[Cell, dict[str, Any]]) -> list[Row]:
    """Rows by task: chance, then every model and planner over its seeds, then the true simulator."""
    returns: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    frames: dict[tuple[str, str, str], int] = {}
    for cell, results in done.items():
        model_row, *references = results["evaluations"]
        key = (cell.task, cell.model, cell.planner)
        returns[key].append(model_row["mean"])
        frames[key] = results["frames"]
        for reference in references:
            planner = cell.planner if reference["name"] == SIMULATOR else "-"
            returns[cell.task, reference["name"], planner] += reference["returns"]
    rows = [Row(*key, frames=frames.get(key, 0), returns=tuple(values)) for key, values in returns.items()]
    order = {RANDOM: 0, SIMULATOR: 2}
    return sorted(rows, key=lambda row: (row.task, order.get(row.model, 1), row.model, row.planner))


def as_table(rows: Sequence[Row]) -> Table:
    """The grid for a terminal."""
    shown = Table(title="Return: mean and standard error over n seeds; over n episodes for the references")
    for column in ("task", "model", "planner"):
        shown.add_column(column)
    for column in ("frames", "mean", "standard error", "n"):
        shown.add_column(column, justify="right")
    for row in rows:
        error = "-" if row.standard_error is None else f"{row.standard_error:.1f}"
        cells = (
            row.task,
            row.model,
            row.planner,
            f"{row.frames:,}",
            f"{row.mean:.1f}",
            error,
            str(len(row.returns)),
        )
        shown.add_row(*cells)
    return shown
