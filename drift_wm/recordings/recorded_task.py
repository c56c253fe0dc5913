"""In which task and world a file's episodes were collected."""

from __future__ import annotations

from typing import Any

from drift_wm.datasets.minari import MinariDataset
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.replay import read_env_args
from drift_wm.datasets.robomimic import RobomimicFile
from drift_wm.env_settings import WORLD
from drift_wm.envs.gymnasium_env import is_gymnasium_id


def recorded_task(data: str) -> dict[str, Any] | None:
    """The task in which a file's episodes were collected, as a checkpoint carries it; None where the file tells none.

    Files of other tools know no action repeat: in those of an environment of gymnasium each row is a step of it.

    Raises:
        ValueError: the file cannot be read, or names an action repeat that is none.
    """
    demonstrations = open_demonstrations(data)
    if isinstance(demonstrations, MinariDataset):
        name = demonstrations.environment
        return None if name is None or not is_gymnasium_id(name) else {"name": name, "action_repeat": 1}
    if not isinstance(demonstrations, RobomimicFile):
        return None
    recorded = read_env_args(data)
    name, world = recorded.get("env_name"), own_world(recorded)
    if not isinstance(name, str):
        return None
    if world is not None:
        _require_action_repeat(world["action_repeat"], data)
        return {"name": world.get("task", name)} | {key: value for key, value in world.items() if key != "task"}
    return {"name": name, "action_repeat": 1} if is_gymnasium_id(name) else None


def own_world(recorded: dict[str, Any]) -> dict[str, Any] | None:
    """The settings of a world in `env_args` as `drift-wm collect` writes them; None in those of others."""
    world = recorded.get(WORLD, recorded.get("env_kwargs"))
    return world if isinstance(world, dict) and "action_repeat" in world else None


def _require_action_repeat(value: object, data: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{data}: action_repeat in env_args of data is {value!r}, expected a whole number of at least 1; repair "
            "it, or remove it where the world is none of this package"
        )
