"""Whether the actions of a file are shares of the bounds within which the environment that it names acts."""

from __future__ import annotations

import shlex
from contextlib import closing

import numpy as np

from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.replay import read_env_args
from drift_wm.datasets.robomimic import RobomimicFile
from drift_wm.envs.gymnasium_env import is_gymnasium_id, make_gymnasium
from drift_wm.recordings.recorded_task import own_world, recorded_task


def named_world(data: str) -> tuple[str, ActionBounds] | None:
    """The environment that a robomimic file names, and within which bounds its actions are before they are converted.

    In files of `drift-wm collect` these are -1 and 1, in those of others the environment's own. None where the file
    names no environment, or one that cannot be made here; and for Minari, whose reader knows the bounds.
    """
    if not isinstance(open_demonstrations(data), RobomimicFile) or (task := recorded_task(data)) is None:
        return None
    name = str(task["name"])
    if own_world(read_env_args(data)) is not None:
        return name, ActionBounds.of(-1, 1, size=1)
    if not is_gymnasium_id(name):
        return None
    try:
        with closing(make_gymnasium(name)) as env:
            return name, ActionBounds.of(env.control_low, env.control_high, size=len(env.control_low))
    except ValueError:  # not installed, or without bounds
        return None


def same_bounds(one: ActionBounds, other: ActionBounds) -> bool:
    """Whether they are, but for rounding."""
    pairs = (one.low, other.low), (one.high, other.high)
    return all(min(len(a), len(b)) in (1, max(len(a), len(b))) and np.allclose(a, b) for a, b in pairs)


def remarks_on_units(data: str, *, action_size: int) -> list[str]:
    """What to say where a policy that learns from a file would act otherwise in its environment than was demonstrated.

    Args:
        data: the file.
        action_size: A of its actions.

    Raises:
        ValueError: the file cannot be read.
    """
    if (world := named_world(data)) is None:
        return []
    name, bounds = world
    told = open_demonstrations(data).action_bounds(size=action_size)
    if told is not None and not same_bounds(told, bounds):
        return [
            f"-1 and 1 of its actions stand for {told}, in {name} for {bounds}: what learns from it acts otherwise "
            "there than was demonstrated; convert its source with the bounds of the environment, or without any"
        ]
    if told is None and not bounds.are_of_planners:
        low, high = (",".join(f"{each:g}" for each in bound) for bound in (bounds.low, bounds.high))
        return [
            f"{name} acts within {bounds}, and the file does not say how its actions are scaled: they are taken for "
            "shares of these bounds, from -1 to 1; if they are in the environment's own units, drift-wm data convert "
            f"{shlex.quote(data)} out=NEW.hdf5 action_low=[{low}] action_high=[{high}]"
        ]
    return []
