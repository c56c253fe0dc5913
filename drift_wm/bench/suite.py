"""A grid of online runs, one folder a cell, on all cores: `drift-wm bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from drift_wm.acting.evaluate import ROLLOUTS, evaluate
from drift_wm.bench.aggregates import aggregates, improvements
from drift_wm.bench.cells import NO_PLANNER, Cell, CellResult, GridResults, Reference, ReferenceCell, read_grid
from drift_wm.bench.grid import Compose, grid, overrides_of, reference_cells
from drift_wm.bench.results import table
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.tasks import suite_task
from drift_wm.build import make_env, prepare_machine
from drift_wm.learning.online import online
from drift_wm.learning.online_loop import STATUS
from drift_wm.pool import run_in_processes
from drift_wm.progress import Task, track
from drift_wm.settings import EvaluateSettings, OnlineSettings
from drift_wm.storage.run_folder import RunFolder, describe_environment, read_json

Part = Cell | ReferenceCell
"""What a process of its own does."""
Asked = OnlineSettings | EvaluateSettings
Result = CellResult | Reference


def bench(settings: BenchSettings, folder: RunFolder, *, compose: Compose) -> GridResults:
    """Do every cell of this shard that the folder does not hold yet, and then what to compare them with.

    Args:
        settings: the grid.
        folder: of the grid. Each part has a run folder with a `results.json` below it; what is done so far is
            kept in the grid's own `results.json`.
        compose: makes the settings of a cell from overrides. All cells are composed, and every task is looked up,
            before the first begins, so that a mistake in the last one fails at once.

    Returns:
        All that is finished or known, in the grid's order.

    Raises:
        FloatingPointError: the numbers of some parts ran away; all others are done and kept.
        ValueError: there is no such task, there are more shards than parts, a part's folder belongs to a run with other
            settings, a file of known results cannot be read, is of another suite or overrides or has a cell of other
            frames, or nothing is to be run and there is no result.
    """
    cells = _composed(settings, compose)
    parts: dict[Part, Asked] = dict([*cells.items(), *reference_cells(settings, compose).items()])
    if settings.shards > len(parts):
        raise ValueError(f"shards={settings.shards}: expected at most {len(parts)}, the number of parts of the grid")
    begun = {part: RunFolder(path) for part in parts if (path := folder.path / part.folder).is_dir()}
    own = _finished(parts, begun)
    known = {part: result for part, result in _known(settings, cells).items() if part not in own}
    if settings.run:
        _require_tasks(parts.values())
    folders = {
        part: begun[part] if part in begun else RunFolder(folder.path / part.folder)
        for part, asked in parts.items()
        if not (part in known and _is_enough(known[part], asked)) and (settings.run or part in begun)
    }

    def keep() -> GridResults:
        results = _in_order(settings, parts, known | _finished(parts, folders))
        if not results.cells and not settings.run:
            raise ValueError(f"run=false: no cell of this grid is finished in {folder.path}, and known names none")
        _write(folder, settings, results)
        return results

    if settings.run:
        mine = {part: parts[part] for part in list(parts)[settings.shard :: settings.shards] if part in folders}
        for part, place in folders.items():
            place.asked_before(_command_of(part), parts[part], may_change=_may_change(part))
        new: list[Part] = []
        try:
            for part, asked in mine.items():
                command, may_change = _command_of(part), _may_change(part)
                if part not in own and folders[part].write_config(command, asked, may_change=may_change):
                    new.append(part)
            _run(mine, folders, workers=settings.workers, on_done=keep)
        except ValueError:
            for part in new:
                folders[part].forget_config()  # what was refused must not stand in the way of the corrected request
            raise
        except FloatingPointError:
            keep()  # all others are done
            raise
    return keep()


def _composed(settings: BenchSettings, compose: Compose) -> dict[Cell, OnlineSettings]:
    """What to ask of every cell; seeds differ by theirs alone, and composing takes a tenth of a second."""
    first: dict[Cell, OnlineSettings] = {}
    cells = {}
    for cell in grid(settings):
        alike = replace(cell, seed=settings.seeds[0])
        if alike not in first:
            first[alike] = compose(overrides_of(alike, settings))
        cells[cell] = replace(first[alike], seed=cell.seed)
    return cells


def _require_tasks(asked: Iterable[Asked]) -> None:
    """Build the world of every task once, as its run would.

    Raises:
        ValueError: no such task, or not in such a world.
    """
    for run in {run.task: run for run in asked}.values():
        make_env(run.task, run.env).close()


def _command_of(part: Part) -> str:
    return "online" if isinstance(part, Cell) else "evaluate"


def _may_change(part: Part) -> tuple[str, ...]:
    """Settings that may be others when the grid is asked for again."""
    return () if isinstance(part, Cell) else ("episodes",)


def _known(settings: BenchSettings, cells: Mapping[Cell, OnlineSettings]) -> dict[Part, Result]:
    """What other grids found; of several the last."""
    known: dict[Part, Result] = {}
    for file in settings.known:
        found, here = read_grid(Path(file)), (settings.suite, tuple(settings.overrides))
        if found.asked not in (None, here):
            raise ValueError(
                f"known={file}: its runs had (suite, overrides) = {found.asked}; expected {here}, those of this grid"
            )
        for result in found.cells:
            cell = Cell.of(result)
            if cell in cells and (most := _frames(cells[cell])):
                cut_short = result.frames < most and suite_task(settings.suite, cell.task)  # a suite's tasks never end
                if result.frames > most or cut_short:
                    raise ValueError(
                        f"known={file}: {result.task}, {result.model}, seed {result.seed} learned from "
                        f"{result.frames:,} frames, and this grid allows {most:,}; expected the settings of this grid"
                    )
            known[cell] = result
        known |= {ReferenceCell.of(result): result for result in found.references}
    return known


def _frames(run: OnlineSettings) -> int:
    """The most that a run can collect; 0 where the task alone ends its episodes."""
    return run.episodes * run.episode_decisions * run.env.action_repeat


def _is_enough(result: Result, asked: Asked) -> bool:
    """Whether a result answers what is asked; a reference of fewer episodes does not."""
    return isinstance(asked, OnlineSettings) or len(result.returns) >= asked.episodes


def _in_order(settings: BenchSettings, parts: Mapping[Part, Asked], found: Mapping[Part, Result]) -> GridResults:
    """Of what was found, the grid's cells, and references of its tasks and planners, asked for or not."""
    planners = (NO_PLANNER, *settings.planners)
    cells = [found[part] for part in parts if part in found]
    return GridResults(
        cells=tuple(result for result in cells if isinstance(result, CellResult)),
        references=tuple(
            result
            for result in found.values()
            if isinstance(result, Reference) and result.task in settings.tasks and result.planner in planners
        ),
    )


def _run(
    parts: Mapping[Part, Asked], folders: Mapping[Part, RunFolder], *, workers: int, on_done: Callable[[], object]
) -> None:
    """Do those that are not finished, `workers` at once (0: one for each core), and show how far they are."""
    finished = _finished(parts, folders)
    left = [part for part in parts if part not in finished]
    jobs = [_Job(folders[part].path, replace(parts[part], threads=parts[part].threads or 1)) for part in left]
    with track("bench, planned episodes", sum(_planned(asked) for asked in parts.values())) as bar:
        run_in_processes(
            _run_part,
            jobs,
            workers=workers,
            on_done=lambda job: on_done(),
            on_tick=lambda: _show(bar, parts, folders),
        )
        _show(bar, parts, folders)


def _write(folder: RunFolder, settings: BenchSettings, results: GridResults) -> None:
    folder.write_results(
        {
            "command": "bench",
            "settings": asdict(settings),
            "environment": describe_environment(),
            "cells": [result.as_dict() for result in results.cells],
            "references": [asdict(result) for result in results.references],
            "rows": [row.as_dict() for row in table(results, suite=settings.suite)],
            "aggregates": [asdict(found) for found in aggregates(results, suite=settings.suite)],
            "improvements": [asdict(found) for found in improvements(results)],
        }
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A part's folder and settings, pickled for a worker."""

    path: Path
    asked: Asked

    def __str__(self) -> str:
        return str(self.path)


def _run_part(job: _Job) -> None:
    device, folder = prepare_machine(job.asked), RunFolder(job.path)
    with folder.locked():
        folder.write_environment()
        if isinstance(job.asked, OnlineSettings):
            online(job.asked, folder, device=device)
        else:
            evaluate(job.asked, folder, device=device)


def _finished(parts: Mapping[Part, Asked], folders: Mapping[Part, RunFolder]) -> dict[Part, Result]:
    found: dict[Part, Result] = {}
    for part, folder in folders.items():
        if part not in parts or (results := folder.read_results()) is None:
            continue
        if isinstance(part, Cell):
            found[part] = CellResult.of(part.task, part.model, part.planner, part.seed, results)
        else:
            (evaluation,) = results["evaluations"]
            reference = Reference(part.task, part.name, part.planner, tuple(evaluation["returns"]))
            if _is_enough(reference, parts[part]):
                found[part] = reference
    return found


def _planned(asked: Asked, episodes: int | None = None) -> int:
    """How many of a part's episodes, or of its first ones, plan: those at random take no time to speak of."""
    at_random = asked.random_episodes if isinstance(asked, OnlineSettings) else 0
    return max(0, (asked.episodes if episodes is None else episodes) - at_random)


def _show(bar: Task, parts: Mapping[Part, Asked], folders: Mapping[Part, RunFolder]) -> None:
    """Planned episodes of all parts together, and the parts that are at work."""
    finished, done, at_work = _finished(parts, folders), 0, []
    for part, asked in parts.items():
        if part in finished:
            done += _planned(asked)
        elif isinstance(part, Cell):
            file = folders[part].path / STATUS
            collected = read_json(file, dict).get("episodes", 0) if file.exists() else 0
            done += _planned(asked, collected)
            if collected:
                at_work.append(f"{part.task} {part.model} {part.seed}: {collected}/{asked.episodes}")
        elif (folders[part].path / ROLLOUTS).exists():
            at_work.append(f"{part.task} {part.name}")
    bar.update(done, "; ".join(at_work))
