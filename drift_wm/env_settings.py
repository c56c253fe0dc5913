"""The environment around a task: its settings, and their record in data files and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any

from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.envs.robosuite_names import is_robosuite, robomimic_args
from drift_wm.requirements import require_at_least

WORLD = "drift_wm"
"""Key of `env_args` under which files of other simulators keep the task and its world in our terms."""
SIMULATORS = ("mujoco", "dm-control", "gymnasium", "robosuite")


@dataclass
class EnvSettings:
    """The environment around a task."""

    action_repeat: int = 2
    """Control steps for which each action is held; frames in all reports count every one of them."""
    disturbance: DisturbanceConfig = field(default_factory=DisturbanceConfig)
    render_width: int = 320
    """Width of videos in pixels; with the two below, of tasks of dm_control, as others draw in a way of their own."""
    render_height: int = 240
    """Height of videos in pixels."""
    render_fast: bool = False
    """Render without shadows, reflections and smoothing: about eight times faster, and a plainer picture."""

    def __post_init__(self) -> None:
        require_at_least(1, self, "action_repeat", "render_width", "render_height", group="env.")


def env_record(settings: EnvSettings) -> dict[str, Any]:
    """What decides how the world behaves, and not how it looks, as JSON values."""
    amounts = {name: value for name, value in asdict(settings.disturbance).items() if value not in (None, "")}
    return {"action_repeat": settings.action_repeat, "disturbance": {"name": "none", **amounts}}


def env_args(task: str, settings: EnvSettings) -> dict[str, Any]:
    """How data files name a task in its world: robomimic's `env_name` and `env_kwargs`, and who simulated it."""
    if is_robosuite(task):  # whose own arguments stand where ours do elsewhere
        own = {"task": task, **env_record(settings)}
        return {**robomimic_args(task), WORLD: own, "versions": package_versions()}
    return {"env_name": task, "env_kwargs": env_record(settings), "versions": package_versions()}


def package_versions() -> dict[str, str]:
    """The packages whose version decides what a simulation returns, those that are installed."""
    found = {}
    for name in SIMULATORS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def recorded_env(record: Mapping[str, Any], settings: EnvSettings) -> EnvSettings:
    """The settings with the world of a record in them; a disturbance that is named in the settings takes precedence.

    Raises:
        ValueError: the record was not written by `env_record`, or an action repeat is asked for that is neither the
            record's nor the default, which cannot be told from not asking.
    """
    try:
        recorded = DisturbanceConfig(**record.get("disturbance", {}))  # absent before there were disturbances
    except TypeError as error:
        raise ValueError(f"the record of an environment is {dict(record)}: {error}; use one of this version") from error
    asked, pace = settings.disturbance, settings.action_repeat
    if pace not in (EnvSettings.action_repeat, record["action_repeat"]):
        raise ValueError(
            f"env.action_repeat={pace}: expected {record['action_repeat']}, at which the checkpoint was trained; leave "
            "it out, as it is taken from there"
        )
    return replace(
        settings,
        action_repeat=record["action_repeat"],
        disturbance=asked if asked.name else recorded,
    )
