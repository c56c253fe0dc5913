"""A grid of online runs, one folder a cell, and the table they make: `drift-wm bench`."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drift_wm.online import online
from drift_wm.build import prepare_machine
from drift_wm.run_folder import RunFolder, write_json
from drift_wm.settings import BenchSettings, OnlineSettings

logger = logging.getLogger(__name__)

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
        n = len(self.returns)
        return float(np.std(self.returns, ddof=1) / n**0.5) if n > 1 else None

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
    """Do every cell that the folder does not hold yet, then write `results.json` and return the table.

    Args:
        settings: the grid.
        folder: of the grid; `results.json` of every cell lies below it.
        compose: makes the settings of a cell from overrides. All cells are composed before the first
            begins, so that a mistake in the last fails at once.
    """
    cells = [(cell, compose(_overrides(cell, settings))) for cell in _grid(settings)]
    results: dict[Cell, dict[str, Any]] = {}
    for number, (cell, asked) in enumerate(cells, start=1):
        cell_folder = RunFolder(folder.path / cell.folder)
        cell_folder.write_config("online", asked)
        done = cell_folder.read_results()
        logger.info("%d of %d: %s%s", number, len(cells), cell.folder, " (done before)" if done else "")
        results[cell] = done or online(asked, cell_folder, device=prepare_machine(asked))
        write_json(folder.path / "results.json", _content(results))
    return table(results)
