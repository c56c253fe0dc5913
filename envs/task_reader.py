"""Asks a dm_control task for its reward and observation of given states, one state after the other.

The general, slow way (100 to 200 microseconds a state), for tasks that `rewards` and `observations` do not state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from drift_wm.envs.kinematics import Array, StateBatch
from drift_wm.envs.physics_state import StateLayout
from drift_wm.envs.rendering import mujoco

if TYPE_CHECKING:
    from dm_control.rl.control import Environment


class TaskReader:
    """Puts a dm_control environment of its own into each state of a batch, as a control step would leave it."""

    def __init__(self, environment: Environment, layout: StateLayout) -> None:
        """Take over an environment, after its first reset, that nobody else uses."""
        self._physics = environment.physics
        self._task = environment.task
        self._parameters = [(field, np.array(indices)) for field, indices in layout.parameters]

    def reward(self, states: StateBatch) -> Array:
        """States (...) -> their rewards (...)."""
        return self._each(states, lambda: np.asarray(self._task.get_reward(self._physics), dtype=np.float64))

    def observation(self, states: StateBatch) -> Array:
        """States (...) -> their observations (..., D), the entries flattened in the task's order."""
        return self._each(states, self._observe)

    def _observe(self) -> Array:
        entries = self._task.get_observation(self._physics).values()
        return np.concatenate([np.ravel(entry) for entry in entries])

    def _each(self, states: StateBatch, read: Callable[[], Array]) -> Array:
        model, data = self._physics.model.ptr, self._physics.data.ptr
        for field, indices in self._parameters:
            getattr(model, field).flat[indices] = getattr(states.model, field).flat[indices]
        shape, values = states.physics.shape[:-1], []
        for index in np.ndindex(shape):
            mujoco.mj_setState(model, data, states.physics[index], mujoco.mjtState.mjSTATE_FULLPHYSICS)
            data.ctrl[:] = states.ctrl[index]
            mujoco.mj_step1(model, data)  # what dm_control itself refreshes after a step
            data.sensordata[:] = states.sensordata[index]
            values.append(read())
        return np.stack(values).reshape(*shape, *values[0].shape)
