"""Units of a comparison: each is kept on disk when it is finished, and what is kept is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from drift_wm.pool import run_in_processes
from drift_wm.progress import track
from drift_wm.storage.run_folder import DONE_AGAIN, RunFolder, describe_environment, read_json, write_json
from drift_wm.storage.writing import write_text

TABLES = "tables.md"
_FOLDER = "units"


@dataclass(frozen=True, slots=True)
class Unit:
    """The least that is done at once, and done again after a stop."""

    part: str
    names: tuple[str, ...]
    """What tells it from others of its part, such as case and generator; as many for all units of a comparison."""
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.part}: {' '.join(self.names)} {self.seed}"


RowsOf = Callable[[Unit], Sequence[Any]]
"""Does a unit; its rows are dataclasses."""


def unit_file(unit: Unit, folder: Path) -> Path:
    """Where the rows of a unit are kept."""
    words = "-".join((unit.part, *unit.names, f"seed{unit.seed}"))
    return folder / _FOLDER / f"{words.replace(', ', '-').replace(' ', '_')}.json"


def do_units(title: str, stages: Sequence[Sequence[Unit]], rows_of: RowsOf, folder: Path, *, workers: int) -> None:
    """Do the units that the folder does not hold, in a pool of processes, and show how far it is.

    An interruption drops those in flight and keeps the rest.

    Args:
        title: of the progress bar.
        stages: each begins when the one before it is done; units of one are independent, and started in this order.
        rows_of: does one; a plain function or a partial one, as it is pickled.
        folder: of the comparison.
        workers: processes, each with one thread; 0: one for each core.
    """
    work = partial(do_unit, rows_of=rows_of, folder=folder)
    left = [[unit for unit in units if not unit_file(unit, folder).exists()] for units in stages]
    with track(title, sum(map(len, stages))) as task:
        done = sum(map(len, stages)) - sum(map(len, left))
        task.update(done)  # at once: what is kept tells nothing of the pace

        def on_done(unit: Unit) -> None:
            nonlocal done
            done += 1
            task.update(done, str(unit))

        for units in left:
            run_in_processes(work, units, workers=workers, on_done=on_done)


def do_unit(unit: Unit, rows_of: RowsOf, folder: Path) -> None:
    """Do one unit here, unless the folder holds it."""
    file = unit_file(unit, folder)
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        write_json(file, [asdict(row) for row in rows_of(unit)])


def read_units(folder: Path) -> list[dict[str, Any]]:
    """All rows that a folder holds, in the order of their files' names.

    Raises:
        ValueError: one of them is damaged.
    """
    files = sorted((folder / _FOLDER).glob("*.json"))
    return [row for file in files for row in read_json(file, list, remedy=DONE_AGAIN)]


def write_comparison(
    folder: RunFolder, *, command: str, settings: Any, verdicts: Sequence[Any], rows: Sequence[Any], tables: str
) -> None:
    """Keep the rows and what they say, dataclasses both, in `results.json`, and for people in `tables.md`."""
    folder.write_results(
        {
            "command": command,
            "settings": asdict(settings),
            "environment": describe_environment(),
            "verdicts": [asdict(verdict) for verdict in verdicts],
            "rows": [asdict(row) for row in rows],
        }
    )
    write_text(folder.path / TABLES, tables)
