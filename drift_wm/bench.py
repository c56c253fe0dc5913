"""A grid of online runs, one folder a cell, on all cores: `drift-wm bench`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from drift_wm.bench_cells import CellResult, read_cells
from drift_wm.bench_results import aggregates, table
from drift_wm.bench_settings import BenchSettings
from drift_wm.build import prepare_machine
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.gymnasium_env import is_gymnasium_id
from drift_wm.online import online
from drift_wm.online_loop import STATUS
from drift_wm.pool import run_in_processes
from drift_wm.progress import Task, track
from drift_wm.run_folder import RunFolder, describe_environment
from drift_wm.settings import OnlineSettings
from drift_wm.suites import suite_task

Compose = Callable[[list[str]], OnlineSettings]
"""Overrides of `online` -> its settings."""

_FRAMES_PER_EPISODE = OnlineSettings().episode_decisions * EnvSettings().action_repeat
_SUITE_OVERRIDES = (
    "model.value_discount=0.97",
    "exploration_std=0.2",
    "evaluation_episodes=10",
    "progress_every=6",
    "progress_episodes=3",
)
"""Of every model of a suite alike."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the grid."""

    task: str
    model: str
    planner: str
    seed: int

    @classmethod
    def of(cls, result: CellResult) -> Cell:
        """The one that a result is of."""
        return cls(result.task, result.model, result.planner, result.seed)

    @property
    def folder(self) -> Path:
        """Below the folder of the grid."""
        return Path(self.task) / f"{self.model}-{self.planner}" / f"seed{self.seed}"


def bench(settings: BenchSettings, folder: RunFolder, *, compose: Compose) -> list[CellResult]:
    """Do every cell of this shard that the folder does not hold yet.

    Args:
        settings: the grid.
        folder: of the grid. Each cell has a run folder with a `results.json` below it; what is done so far is
            kept in the grid's own `results.json`.
        compose: makes the settings of a cell from overrides. All cells are composed before the first
            begins, so that a mistake in the last one fails at once.

    Returns:
        The result of every cell that is finished or known, in the grid's order.

    Raises:
        ValueError: there are more shards than cells, a cell's folder belongs to a run with other settings, a file of
            known cells cannot be read, or nothing is to be run and there is no result.
    """
    cells = {cell: compose(overrides_of(cell, settings)) for cell in grid(settings)}
    if settings.shards > len(cells):
        raise ValueError(f"shards={settings.shards}: expected at most {len(cells)}, the number of cells in the grid")
    of_others = {Cell.of(result): result for file in settings.known for result in read_cells(Path(file))}
    folders = {
        cell: RunFolder(folder.path / cell.folder)
        for cell in cells
        if cell not in of_others and (settings.run or (folder.path / cell.folder).is_dir())
    }

    def keep() -> list[CellResult]:
        finished = of_others | _finished(folders)
        results = [finished[cell] for cell in cells if cell in finished]
        if not results:
            raise ValueError(f"run=false: no cell of this grid is finished in {folder.path}, and known names none")
        _write(folder, settings, results)
        return results

    if settings.run:
        for cell, place in folders.items():
            place.write_config("online", cells[cell])
        mine = {cell: cells[cell] for cell in list(cells)[settings.shard :: settings.shards] if cell in folders}
        _run(mine, folders, workers=settings.workers, on_done=keep)
    return keep()


def _run(
    cells: dict[Cell, OnlineSettings], folders: dict[Cell, RunFolder], *, workers: int, on_done: Callable[[], object]
) -> None:
    """Do those that are not finished, `workers` at once (0: one for each core), and show how far they are."""
    left = [cell for cell in cells if folders[cell].read_results() is None]
    jobs = [_Job(folders[cell].path, replace(cells[cell], threads=cells[cell].threads or 1)) for cell in left]
    with track("bench, episodes", sum(asked.episodes for asked in cells.values())) as bar:
        run_in_processes(
            _run_cell,
            jobs,
            workers=min(workers or os.cpu_count() or 1, max(1, len(left))),
            on_done=lambda job: on_done(),
            on_tick=lambda: _show(bar, cells, folders),
        )
        _show(bar, cells, folders)


def _write(folder: RunFolder, settings: BenchSettings, results: list[CellResult]) -> None:
    folder.write_results(
        {
            "command": "bench",
            "settings": asdict(settings),
            "environment": describe_environment(),
            "cells": [result.as_dict() for result in results],
            "rows": [row.as_dict() for row in table(results, suite=settings.suite)],
            "aggregates": [found.as_dict() for found in aggregates(results, suite=settings.suite)],
        }
    )


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
    simulator = settings.reference_simulator_episodes if first and not is_gymnasium_id(cell.task) else 0
    of_suite: tuple[str, ...] = ()
    if allowed := suite_task(settings.suite, cell.task):
        episodes = allowed.frames // _FRAMES_PER_EPISODE
        of_suite = (f"episodes={episodes}", *allowed.overrides, *_SUITE_OVERRIDES)
    return [
        f"task={cell.task}",
        f"model={cell.model}",
        f"planner={cell.planner}",
        f"seed={cell.seed}",
        f"reference_random_episodes={at_random}",
        f"reference_simulator_episodes={simulator}",
        *of_suite,
        *settings.overrides,
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What a process is told of a cell."""

    path: Path
    asked: OnlineSettings


def _run_cell(job: _Job) -> None:
    online(job.asked, RunFolder(job.path), device=prepare_machine(job.asked))


def _finished(folders: dict[Cell, RunFolder]) -> dict[Cell, CellResult]:
    found = ((cell, folder.read_results()) for cell, folder in folders.items())
    return {
        cell: CellResult.of(cell.task, cell.model, cell.planner, cell.seed, results)
        for cell, results in found
        if results is not None
    }


def _show(bar: Task, cells: dict[Cell, OnlineSettings], folders: dict[Cell, RunFolder]) -> None:
    """Episodes collected by all cells together, and the cells that are at work."""
    done, at_work = 0, []
    for cell, asked in cells.items():
        file = folders[cell].path / STATUS
        collected = json.loads(file.read_text())["episodes"] if file.exists() else 0
        done += collected
        if collected > 0 and not (folders[cell].path / "results.json").exists():
            at_work.append(f"{cell.task} {cell.model} {cell.seed}: {collected}/{asked.episodes}")
    bar.update(done, "; ".join(at_work))
