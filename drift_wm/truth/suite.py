"""`drift-wm truth`: the units of the comparison, done by a pool of processes, each kept on disk when it is finished."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from drift_wm.results import SIMULATOR
from drift_wm.storage.run_folder import RunFolder
from drift_wm.storage.units import Unit, do_unit, do_units, read_units, write_comparison
from drift_wm.truth.cost import cost_rows
from drift_wm.truth.law_cases import law_rows
from drift_wm.truth.risk_case import CASE as RISK_CASE
from drift_wm.truth.risk_case import risk_rows
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.rows import Row
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.tables import markdown
from drift_wm.truth.verdicts import verdicts
from drift_wm.truth.world_cases import CHUNKS, DETERMINISTIC, STOCHASTIC, collect_case, training_file, world_rows

_MODELLED = {"stochastic": STOCHASTIC, "deterministic": DETERMINISTIC, "chunks": CHUNKS, "risk": (RISK_CASE,)}
"""Parts in which a world is modelled from recorded data."""
_CASES = {case.name: case for cases in _MODELLED.values() for case in cases}
_WITH_CEILING = ("stochastic", "risk")
_WITH_MORE_SEEDS = ("laws", "deterministic", "risk")


def truth(settings: TruthSettings, folder: RunFolder) -> list[Row]:
    """Do every unit that the folder does not hold yet, and make the tables of all.

    Args:
        settings: what to compare.
        folder: receives data, units, `results.json` with a row per case, generator and seed, and `tables.md`.
    """
    (folder.path / "data").mkdir(exist_ok=True)
    rows_of = partial(_rows_of, settings=settings, folder=folder.path)
    data, models = _data_units(settings), list(_model_units(settings))
    do_units("truth", (data, models), rows_of, folder.path, workers=settings.workers)
    if "cost" in settings.parts:
        do_unit(Unit("cost", ("", "")), rows_of, folder.path)  # alone on the machine
    rows = read_rows(folder.path)
    write_comparison(
        folder, command="truth", settings=settings, verdicts=verdicts(rows), rows=rows, tables=markdown(rows)
    )
    return rows


def read_rows(folder: Path) -> list[Row]:
    """All rows that a folder holds, in the order of their files' names."""
    return [Row(**values) for values in read_units(folder)]


def _data_units(settings: TruthSettings) -> list[Unit]:
    """The data of each world, which several cases may share; all units are named by case and generator."""
    cases = {
        training_file(case, Path()): case
        for part, cases in _MODELLED.items()
        if part in settings.parts
        for case in cases
    }
    return [Unit("data", (case.name, "")) for case in cases.values()]


def _model_units(settings: TruthSettings) -> Iterator[Unit]:
    """Seed by seed, so that a table with one seed everywhere is there early."""
    seeds = {part: settings.more_seeds if part in _WITH_MORE_SEEDS else settings.seeds for part in settings.parts}
    for turn in range(max(map(len, seeds.values()))):
        for part in (part for part in (*_MODELLED, "laws") if turn < len(seeds.get(part, ()))):
            names = _compared(settings, part, first=turn == 0) + [SIMULATOR] * (turn == 0 and part in _WITH_CEILING)
            cases = [case.name for case in _MODELLED.get(part, ())] or [""]
            yield from (Unit(part, (case, name), seeds[part][turn]) for case in cases for name in names)


def _compared(settings: TruthSettings, part: str, *, first: bool) -> list[str]:
    return [name for name in settings.rivals if part in RIVALS[name].parts(first=first)]


def _rows_of(unit: Unit, settings: TruthSettings, folder: Path) -> list[Row]:
    case, generator = unit.names
    match unit.part:
        case "data":
            collect_case(_CASES[case], folder, settings)
            return []
        case "laws":
            return law_rows(generator, unit.seed, settings)
        case "risk":
            return risk_rows(generator, unit.seed, folder, settings)
        case "cost":
            return cost_rows(settings)
    return world_rows(unit.part, _CASES[case], generator, unit.seed, folder, settings)
