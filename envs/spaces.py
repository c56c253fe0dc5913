"""Action spaces: what this package can plan in, and the way from [-1, 1] to an actuator's own units."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray


def require_box_action(space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    """The action space itself, after making sure that a planner can sample in it.

    Raises:
        ValueError: the space is not a box, not one-dimensional, empty, or not bounded on all sides.
    """
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(f"the action space is {space}; expected a continuous one, a gymnasium.spaces.Box")
    if len(space.shape) != 1 or space.shape[0] == 0:
        raise ValueError(
            f"the action space has shape {space.shape}; expected one dimension of at least one entry: flatten it with "
            "gymnasium.wrappers.TransformAction"
        )
    if not space.is_bounded():
        raise ValueError(
            f"the action space reaches from {space.low} to {space.high}; expected finite bounds: set them with "
            "gymnasium.wrappers.TransformAction(env, lambda action: action, gymnasium.spaces.Box(low, high))"
        )
    return space


def check_action(action: ArrayLike, size: int) -> NDArray[np.float64]:
    """An action (A,) as float64.

    Raises:
        ValueError: it has another shape than (A,), or holds a NaN or an infinity.
    """
    values = np.asarray(action, dtype=np.float64)
    if values.shape != (size,):
        raise ValueError(f"the action has shape {values.shape}; expected ({size},), one action for one environment")
    if not np.isfinite(values).all():
        raise ValueError(
            f"the action is {values.tolist()}; expected finite numbers in [-1, 1]: look for the NaN in the policy"
        )
    return values


def rescale_actions(actions: ArrayLike, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Actions (..., A) in [-1, 1], clipped to that -> controls (..., A) between the bounds (A,)."""
    unit = np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0)
    # Weights that add up to one, so that -1 and 1 give the bounds themselves, without a rounding error.
    return 0.5 * (1.0 - unit) * low + 0.5 * (1.0 + unit) * high
