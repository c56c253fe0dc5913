"""Demonstrators that need no training: controllers written by hand, for `drift-wm collect actor=scripted`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drift_wm.acting.policies import StreamState
from drift_wm.random_streams import each_decision_rng

Array = NDArray[np.float64]

_EEF, _FINGERS, _CUBE = slice(0, 3), slice(7, 9), slice(9, 12)
"""Where the hand's position, the fingers' joints and the cube's position stand in an observation of Lift."""
_REACH = 0.05
"""Metres that an action of 1 asks of the hand in a control step (OSC_POSE)."""
_GAIN = 0.3
_HOVER = 0.08
_ABOVE, _AT = 0.02, 0.01
"""Metres to the side within which the hand may descend, and in height within which it may close."""
_HELD = (0.03, 0.05)
"""Metres between fingers that hold the cube, which is 4 to 4.4 cm wide; open ones are 8 cm apart."""
_OPEN, _CLOSE = -1.0, 1.0


def lift(obs: Array) -> Array:
    """One decision of lifting the cube of robosuite's Lift, from what is seen now alone.

    Above the cube, down around it, close, and up once the fingers meet it. A cube that was missed or lost is
    approached again.

    Args:
        obs: (19,) as `RobosuiteEnv` returns it.

    Returns:
        (7,) in [-1, 1]: changes of the hand's position and orientation, and the gripper (-1 opens).
    """
    away = obs[_CUBE] - obs[_EEF]
    aside, height = float(np.linalg.norm(away[:2])), float(away[2])
    between = float(obs[_FINGERS][0] - obs[_FINGERS][1])
    around = aside < _ABOVE and abs(height) < _AT
    move, gripper = away.copy(), _OPEN
    if around and between < _HELD[0]:
        move[2] += _HOVER  # closed on nothing: open, and once more from above
    elif around and between < _HELD[1]:
        move[:], gripper = (0.0, 0.0, _HOVER), _CLOSE
    elif around:
        gripper = _CLOSE
    elif aside >= _ABOVE:
        move[2] += _HOVER
    return np.concatenate([np.clip(_GAIN * move / _REACH, -1, 1), np.zeros(3), [gripper]])


CONTROLLERS: dict[str, Callable[[Array], Array]] = {"robosuite:Lift": lift}
"""By task."""


class ScriptedPolicy:
    """A controller with noise on its movements, so that no two demonstrations are alike.

    Args:
        task: one of `CONTROLLERS`.
        noise: standard deviation; the last entry of an action, the gripper, has none.

    Raises:
        ValueError: there is no controller for the task.
    """

    def __init__(self, task: str, *, noise: float) -> None:
        if task not in CONTROLLERS:
            raise ValueError(
                f"actor='scripted': there is no controller for task={task!r}; expected one of {', '.join(CONTROLLERS)}"
            )
        self._controller = CONTROLLERS[task]
        self.noise = noise

    def reset(self, obs: Tensor, *, seed: int) -> StreamState:
        """Start B episodes from observations (B, D)."""
        return StreamState(seed, 0)

    def act(self, obs: Tensor, state: StreamState, *, physics: Tensor | None = None) -> tuple[Tensor, StreamState]:
        """Observations (B, D) -> actions (B, A)."""
        decided = np.stack([self._controller(row) for row in obs.cpu().double().numpy()])
        action = torch.from_numpy(decided).float()
        streams = each_decision_rng(state.seed, state.step, len(obs))
        noise = self.noise * torch.stack([torch.randn(action.shape[1:], generator=rng) for rng in streams])
        noise[:, -1] = 0
        return (action + noise).clamp(-1, 1), StreamState(state.seed, state.step + 1)
