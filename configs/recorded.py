"""What a run was asked, for those who go on from it: `evaluate` and `collect` plan so, `train from=` shapes so."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from drift_wm.configs.quoting import unquoted
from drift_wm.generators import GeneratorConfig
from drift_wm.models.behaviour import PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.objective_settings import ObjectiveSettings, RiskSettings
from drift_wm.planners.factory import PLANNERS
from drift_wm.storage.run_files import run_of, settings_of
from drift_wm.storage.same_run import recorded_planners

logger = logging.getLogger(__name__)

_ACTORS = {"evaluate": "model", "collect": "noise"}
"""Commands that may plan in a model, and who acts where nothing is said."""
_LEARNERS = ("online", "demo")
_KNOWN = {"objective": ObjectiveSettings, "risk": RiskSettings}
_ALONE = ("particles", "proposals")
_SHAPES = {"model": WorldModelConfig, "model.generator": GeneratorConfig, "policy": PolicySettings}


def planning_of_run(command: str, overrides: Sequence[str]) -> list[str]:
    """Overrides that repeat how the run of `checkpoint=` planned, to come before those that were asked for.

    A planner that is asked for by name brings settings of its own.

    Args:
        command: which asks.
        overrides: what it was asked.

    Returns:
        None of them where no run is named, or one that did not plan.
    """
    asked = dict(override.split("=", 1) for override in overrides if "=" in override)
    if unquoted(asked.get("actor", _ACTORS.get(command, ""))) != "model" or "checkpoint" not in asked:
        return []
    recorded = _recorded(asked["checkpoint"])
    if recorded.get("command") not in _LEARNERS:
        return []
    alone = {name: text for name in _ALONE if (text := _plain(recorded.get(name))) is not None}
    found = {**dict(_leaves(recorded, _KNOWN)), **alone}
    if "planner" not in asked:
        found = {**_planner_of(recorded), **found}
    return [f"{name}={value}" for name, value in found.items() if name not in asked]


def shape_of_parent(command: str, overrides: Sequence[str]) -> list[str]:
    """Overrides that shape a model as that of `from=` is, to come before those that were asked for.

    A model that is asked for by name brings settings of its own.
    """
    asked = dict(override.split("=", 1) for override in overrides if "=" in override)
    if command != "train" or "parent" not in asked or "model" in asked:
        return []
    recorded = _recorded(asked["parent"])
    found = dict(_leaves(recorded, _SHAPES))
    if kind := _plain(recorded.get("kind")):
        found["kind"] = kind
    return [f"{name}={value}" for name, value in found.items() if name not in asked]


def _recorded(typed: str) -> dict[str, Any]:
    """What the run of a checkpoint was asked; nothing where no run is there, or its record is damaged."""
    path = Path(unquoted(typed))
    try:
        recorded = settings_of(run_of(path))
        why = "" if recorded else "no config.json beside it"
    except (OSError, ValueError) as error:
        recorded, why = {}, str(error)  # a damaged record keeps nobody from asking for all of it
    if why and path.exists():  # one that does not is told where it is read
        logger.warning("%s: how its run was set is not known (%s); defaults stand for what is not given", path, why)
    return recorded


def _planner_of(recorded: Mapping[str, Any]) -> dict[str, str]:
    """The planner of the run, with its settings."""
    names = [name for name in recorded_planners(recorded) if name in PLANNERS]
    if len(names) != 1:
        logger.warning(
            "which planner the run of the checkpoint used cannot be told from its config.json (%s); give planner=... "
            "and its settings to plan as it did",
            " or ".join(names) or "none that this version has",
        )
        return {}
    found = {"planner": names[0], **dict(_leaves(recorded, {"planner": PLANNERS[names[0]]}))}
    logger.info(
        "using the planner settings of the checkpoint's run unless overridden: planner=%s, horizon %s decisions, "
        "%s iterations x %s candidates",
        *(found.get(name) for name in ("planner", "planner.horizon", "planner.iterations", "planner.candidates")),
    )
    return found


def _leaves(recorded: Mapping[str, Any], groups: Mapping[str, type]) -> Iterator[tuple[str, str]]:
    """Known settings as overrides; a stranger's file brings nothing but plain words, numbers and lists of these."""
    for group, config in groups.items():
        settings: Any = recorded
        for part in group.split("."):
            settings = settings.get(part) if isinstance(settings, Mapping) else None
        for name in (each.name for each in fields(config)):
            if isinstance(settings, dict) and (text := _plain(settings.get(name))) is not None:
                yield f"{group}.{name}", text


def _plain(value: object) -> str | None:
    if isinstance(value, list):
        items = [_plain(item) for item in value]
        return None if None in items else f"[{','.join(filter(None, items))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"\w+", value)):
        return str(value)
    return None
