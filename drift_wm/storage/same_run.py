"""Whether what is asked for now is the run that a folder holds."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from drift_wm.planners.factory import PLANNERS

PLANNER_NAME = "planner_name"
"""Key of `config.json` beside the settings: the planner that has those of `planner`, which some share with others."""
_DISTURBANCE = "env.disturbance.name"
_WHERE = ("run_dir", "threads", "workers", "device", "shard", "shards", "memory_gb", "video", "video_grid")
"""Settings that say where and on what to run, not what, or whether to film it."""


def planner_record(settings: Any) -> dict[str, str]:
    """What `config.json` says of the planner besides its settings; nothing where there is none, or one of others."""
    names: dict[type, str] = {config: name for name, config in PLANNERS.items()}
    name = names.get(type(getattr(settings, "planner", None)))
    return {} if name is None else {PLANNER_NAME: name}


def recorded_planners(record: Mapping[str, Any]) -> list[str]:
    """Names of the planners that a `config.json` may speak of.

    One, if it was recorded; of a run that began before that was done, those that have its settings and no others.
    """
    name, settings = record.get(PLANNER_NAME), record.get("planner")
    if isinstance(name, str):
        return [name]
    if not isinstance(settings, dict):
        return []
    return [name for name, known in PLANNERS.items() if {each.name for each in fields(known)} == settings.keys()]


def require_same_run(
    folder: Path,
    found: Mapping[str, Any],
    asked: Mapping[str, Any],
    settings: Any,
    *,
    may_change: Collection[str] = (),
) -> None:
    """Refuse to go on in the folder of another run.

    A setting that is younger than the run stood at its default there: at that of its class, whatever a YAML says.

    Args:
        folder: of the run.
        found: what its `config.json` holds.
        asked: what it would hold of the run that is asked for.
        settings: those that are asked for, a dataclass.
        may_change: names of settings that may be others.

    Raises:
        ValueError: another command or other settings were recorded.
    """
    if "command" not in found:
        raise ValueError(f"{folder}/config.json is not one that drift-wm wrote; choose another run_dir")
    if found["command"] != asked["command"]:
        raise ValueError(
            f"{folder} holds a run of {found['command']!r}, not of {asked['command']!r}; choose another run_dir"
        )
    planners, planner = recorded_planners(found), asked.get(PLANNER_NAME)
    is_other = planner is not None and bool(planners) and planner not in planners
    ignored = {*_WHERE, *may_change, PLANNER_NAME, *(("planner",) if is_other else ())}
    recorded, there, now = (
        dict(_leaves({name: value for name, value in each.items() if name not in ignored}))
        for each in (found, _completed(found, asked, settings), asked)
    )
    for each in (there, now):  # one world under either name, unless '' is that of a checkpoint's training
        if each.get(_DISTURBANCE) == "" and not each.get("checkpoint"):
            each[_DISTURBANCE] = "none"
    by_default = there.keys() - recorded.keys()
    differing = [
        f"{name} (there {there.get(name)!r}{' by default' if name in by_default else ''}, asked {now.get(name)!r})"
        for name in sorted(there.keys() | now.keys())
        if not _is_same(there.get(name), now.get(name))
    ]
    if is_other:
        differing.insert(0, f"planner (there {' or '.join(map(repr, planners))}, asked {planner!r})")
    if differing:
        raise ValueError(
            f"{folder} holds a run with other settings: {'; '.join(differing)}. "
            "Repeat that run's settings to continue it, or choose another run_dir"
        )


def _is_same(there: object, now: object) -> bool:
    """Whether two values of a setting are one, or two spellings of one file or folder that is there."""
    if there == now:
        return True
    if not (isinstance(there, str) and isinstance(now, str) and there and now):
        return False
    try:
        return os.path.samefile(there, now)
    except (OSError, ValueError):  # not there, or no name of a file
        return False


def _completed(found: Mapping[str, Any], asked: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """What was recorded, with the defaults of the settings that it lacks; a group's are those of the class in use."""
    whole = dict(found)
    for each in fields(settings):
        name, value = each.name, getattr(settings, each.name)
        if name not in found and _is_default(settings, each):
            whole[name] = asked[name]
        elif name not in found:
            default = _default_of(each)
            whole[name] = asdict(default) if is_dataclass(value) else default
        elif is_dataclass(value) and isinstance(found[name], dict):
            whole[name] = _completed(found[name], asked[name], value)
    return whole


def _is_default(settings: Any, each: Field[Any]) -> bool:
    """Whether a setting is what it would be unasked: its default may stand for what others decide."""
    try:
        return bool(replace(settings, **{each.name: _default_of(each)}) == settings)
    except ValueError:
        return False  # those that are asked besides do not go with the default


def _default_of(each: Field[Any]) -> Any:
    assert each.default is not MISSING or each.default_factory is not MISSING, f"a setting without default: {each.name}"
    return each.default if each.default_factory is MISSING else each.default_factory()


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
