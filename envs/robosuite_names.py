"""How tasks of robosuite are called, here and in robomimic's files, and with what arguments they are made.

robosuite is an extra, in an environment of its own (`pip install 'drift-wm[robosuite]'`): it holds numpy below 2 and
MuJoCo below 3.9. It is imported when a task of it is made, and not before. Settings read this file, so it loads fast
and touches no renderer.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

PREFIX = "robosuite:"
CONTROL_HZ = 20


def is_robosuite(task: str) -> bool:
    """Whether a task's name is one of robosuite's, such as "robosuite:Lift"."""
    return task.startswith(PREFIX)


def robomimic_args(task: str) -> dict[str, Any]:
    """How robomimic's `env_args` name a task of robosuite, so that its own tools make the same environment."""
    name = task.removeprefix(PREFIX)
    version = metadata.version("robosuite")
    return {"env_name": name, "type": 1, "env_version": version, "env_kwargs": make_arguments()}


def make_arguments() -> dict[str, Any]:
    """Of `robosuite.make`, without its seed."""
    from robosuite.controllers import load_composite_controller_config

    return {
        "robots": "Panda",
        "controller_configs": load_composite_controller_config(controller="BASIC", robot="Panda"),
        "has_renderer": False,
        "has_offscreen_renderer": False,
        "use_camera_obs": False,
        "control_freq": CONTROL_HZ,
        "reward_shaping": False,
        "ignore_done": True,
        "hard_reset": False,  # a hard one builds the model anew, in a second, and draws the sizes of objects
    }


def import_robosuite(task: str) -> Any:
    """The package.

    Raises:
        ValueError: it is not installed; the message names the task and the remedy.
    """
    try:
        import robosuite
    except ImportError as error:
        raise ValueError(
            f"task={task!r} needs robosuite, which is not installed: pip install 'drift-wm[robosuite]', in a virtual "
            "environment of its own, as it holds numpy below 2 and MuJoCo below 3.9"
        ) from error
    return robosuite
