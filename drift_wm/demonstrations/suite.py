"""`drift-wm bench suite=demonstrations`: units done by a pool of processes, each kept on disk when it is finished."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from drift_wm.datasets.episodes import Episode, digest_of
from drift_wm.datasets.lerobot import INFO
from drift_wm.demonstrations.door import policy_rows, ranking_rows, read_door
from drift_wm.demonstrations.latency import latency_rows, reader_rows
from drift_wm.demonstrations.rivals import POLICIES, UNTRAINED
from drift_wm.demonstrations.robot import read_robot, robot_rows
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DATA, NEEDS, PARTS, DemonstrationsSettings
from drift_wm.demonstrations.tables import markdown
from drift_wm.demonstrations.verdicts import verdicts
from drift_wm.envs.gymnasium_env import PLUGINS
from drift_wm.storage.run_folder import RunFolder, read_json, write_json
from drift_wm.storage.units import Unit, do_unit, do_units, read_units, write_comparison

logger = logging.getLogger(__name__)

_ALONE = ("latency", "readers")
"""Parts that are timed, alone on the machine."""


def compare_on_demonstrations(settings: DemonstrationsSettings, folder: RunFolder) -> list[Row]:
    """Do every unit that the folder does not hold yet, and make the tables of all.

    Args:
        settings: what to compare, on which data.
        folder: receives trained policies, units, `results.json` with a row per contender and seed, and `tables.md`.

    Raises:
        ValueError: data cannot be read or are others than those of the units that the folder holds, or a part was asked
            for whose package is not installed.
    """
    parts = parts_to_do(settings)
    read: dict[str, Sequence[Episode]] = {}
    if {"policies", "ranking"} & set(parts):
        read["door"] = read_door(settings)
    if "robot" in parts:
        training, validation = read_robot(settings)
        read["robot"] = [*training, *validation]
    for name, episodes in read.items():  # last: what is written keeps the folder for these settings
        _require_same_data(folder.path, name, episodes)
    rows_of = partial(_rows_of, settings=settings, folder=folder.path)
    stages = [
        list(units_of(settings, parts)),
        [Unit("ranking", ("",), seed) for seed in settings.seeds if "ranking" in parts],
    ]
    # In two stages, because a ranking uses the policy of its seed, which the first stage trains.
    do_units("demonstrations", stages, rows_of, folder.path, workers=settings.workers)
    for part in _ALONE:
        if part in parts:
            do_unit(Unit(part, ("",)), rows_of, folder.path)
    rows = read_rows(folder.path)
    write_comparison(
        folder,
        command="bench suite=demonstrations",
        settings=settings,
        verdicts=verdicts(rows),
        rows=rows,
        tables=markdown(rows),
    )
    return rows


def _require_same_data(folder: Path, name: str, episodes: Sequence[Episode]) -> None:
    """Raise a ValueError where finished units were measured on other episodes: a table would mix the two."""
    file, digest = folder / f"{name}_data.json", {"sha256": digest_of(episodes)}
    if not file.exists():
        write_json(file, digest)
    elif read_json(file, dict) != digest:
        raise ValueError(
            f"{folder}: {name}= holds other demonstrations than this comparison began with; restore them, or compare "
            "in another folder: run_dir=..."
        )


def parts_to_do(settings: DemonstrationsSettings) -> list[str]:
    """The parts that are asked for; or all that can be done here, after a word on each of the others.

    Raises:
        ValueError: data are not there, or a part was asked for by name, and its package is not installed.
    """
    for name in sorted(set(NEEDS.values())):
        if (file := getattr(settings, name)) and not Path(file).exists():
            raise ValueError(f"{name}={file}: there is no such file or folder; expected {DATA[name]}")
    found = []
    for part in settings.parts or PARTS:
        lacking = _lacking(part, settings)
        if not lacking:
            found.append(part)
        elif settings.parts:
            raise ValueError(f"parts={settings.parts}: part {part!r} needs {lacking}")
        else:
            logger.warning("part %s is left out: it needs %s", part, lacking)
    return found


def read_rows(folder: Path) -> list[Row]:
    """All rows that a folder holds, in the order of their files' names."""
    return [Row(**values) for values in read_units(folder)]


def _lacking(part: str, settings: DemonstrationsSettings) -> str:
    """What a part needs and has not: a setting or a package; empty if nothing."""
    data = NEEDS.get(part)
    if data and not getattr(settings, data):
        return f"{data}=..."
    package, extra = "", ""
    match part:
        case "policies" | "ranking":
            package = settings.task.rpartition(":")[0]
            extra = PLUGINS.get(package, "")
        case "robot" if (Path(settings.robot) / INFO).exists():
            package, extra = "pyarrow", "lerobot"
        case "readers":
            package, extra = "robomimic", "robomimic"
    return f"{package}: pip install 'drift-wm[{extra}]'" if extra and find_spec(package) is None else ""


def units_of(settings: DemonstrationsSettings, parts: Sequence[str]) -> Iterator[Unit]:
    """Those that depend on no other, seed by seed, so that a table with one seed everywhere is there early."""
    for seed in dict.fromkeys([*settings.seeds, *settings.policy_seeds]):
        if "policies" in parts:
            names = [name for name in settings.policies if seed in _seeds_of(name, settings)]
            yield from (Unit("policies", (name,), seed) for name in names)
        if "robot" in parts and seed in settings.seeds:
            first = UNTRAINED if seed == settings.seeds[0] else ()
            yield from (Unit("robot", (name,), seed) for name in [*first, *settings.world_models])


def _seeds_of(policy: str, settings: DemonstrationsSettings) -> list[int]:
    return settings.seeds if POLICIES[policy].few_seeds else settings.policy_seeds


def _rows_of(unit: Unit, settings: DemonstrationsSettings, folder: Path) -> list[Row]:
    (contender,) = unit.names
    match unit.part:
        case "policies":
            return policy_rows(contender, unit.seed, folder, settings)
        case "ranking":
            return ranking_rows(unit.seed, folder, settings)
        case "robot":
            return robot_rows(contender, unit.seed, settings)
        case "latency":
            return latency_rows(settings)
    assert unit.part == "readers", unit.part
    return reader_rows(settings)
