"""`mujoco.rollout` with dm_control's conventions: many control sequences at once, on a pool of threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mujoco import rollout as mujoco_rollout

from drift_wm.cores import available_cores
from drift_wm.envs.kinematics import Array
from drift_wm.envs.rendering import mujoco

_RECORDING_BYTES = 128 * 2**20  # what MuJoCo may be given and record in one call
_CONTROLS = int(mujoco.mjtState.mjSTATE_CTRL)
_CONTROLS_AND_FORCES = _CONTROLS | int(mujoco.mjtState.mjSTATE_XFRC_APPLIED)


@dataclass(frozen=True, slots=True)
class Push:
    """A force from outside on one body, at its centre of mass."""

    body: int
    """Index in the model."""
    force: Array
    """(M, T) newtons along the world's x axis during each control step."""

    def append_to(self, controls: Array, rows: slice, bodies: int) -> Array:
        """Controls (m, T, nu) of some rows -> with the wrenches on all bodies behind them, (m, T, nu + 6 x bodies).

        MuJoCo wants both in one vector, a wrench being three entries of force and three of torque.
        """
        wrenches = np.zeros((*controls.shape[:2], bodies, 6))
        wrenches[..., self.body, 0] = self.force[rows]
        return np.concatenate((controls, wrenches.reshape(*controls.shape[:2], -1)), axis=2)


@dataclass(frozen=True, slots=True)
class Trajectories:
    """M simulated sequences, seen after each of their T control steps."""

    states: Array
    """(M, T, F) full physics states."""
    sensordata: Array
    """(M, T, ns) what dm_control's sensors read at that moment."""
    valid: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    """(M, T) False from the step on in which MuJoCo warned (dm_control raises `PhysicsError` there)."""


class RolloutPool:
    """Threads, and one `MjData` for each, that roll out models of one size."""

    def __init__(self, model: mujoco.MjModel, *, threads: int | None, sub_steps: int) -> None:
        """Start the threads.

        Args:
            model: any of the models that will be rolled out; it fixes the sizes.
            threads: how many; None for every core.
            sub_steps: physics steps per control step.

        Raises:
            ValueError: fewer than one thread.
        """
        count = available_cores() if threads is None else threads
        if count < 1:
            raise ValueError(f"threads is {threads}; expected at least 1, or None for every core")
        self._rollout = mujoco_rollout.Rollout(nthread=count)
        self._data = [mujoco.MjData(model) for _ in range(count)]
        self._sub_steps = sub_steps
        self._after_integration = np.repeat(
            model.sensor_needstage == int(mujoco.mjtStage.mjSTAGE_ACC), model.sensor_dim
        )

    def run(
        self,
        models: Sequence[mujoco.MjModel],
        states: Array,
        warmstarts: Array,
        controls: Array,
        push: Push | None = None,
    ) -> Trajectories:
        """Roll out M sequences.

        Args:
            models: the model of each sequence, or a single one for all.
            states: (M, F) full physics states to start from.
            warmstarts: (M, V) the solver's warm starts of those states, without which the result differs.
            controls: (M, T, nu) controls, each held for one control step.
            push: a force from outside; without one there is none.
        """
        given_size = controls.shape[2] + (0 if push is None else 6 * models[0].nbody)
        blocks = range(0, len(states), self._sequences_at_once(states.shape[1] + given_size, controls.shape[1]))
        parts = []
        for start in blocks:
            rows = slice(start, start + blocks.step)
            model = models if len(models) == 1 else models[rows]
            given = controls[rows] if push is None else push.append_to(controls[rows], rows, models[0].nbody)
            parts.append(self._run_block(model, states[rows], warmstarts[rows], given, pushed=push is not None))
        return Trajectories(
            states=np.concatenate([part.states for part in parts]),
            sensordata=np.concatenate([part.sensordata for part in parts]),
            valid=np.concatenate([part.valid for part in parts]),
        )

    def _sequences_at_once(self, row_size: int, steps: int) -> int:
        """How many sequences to simulate per call: MuJoCo is given and records every physics step, not dm_control's."""
        row_bytes = 8 * (row_size + len(self._after_integration))
        return max(len(self._data), _RECORDING_BYTES // (row_bytes * (steps * self._sub_steps + 1)))

    def _run_block(
        self, models: Sequence[mujoco.MjModel], states: Array, warmstarts: Array, controls: Array, *, pushed: bool
    ) -> Trajectories:
        # One physics step more than the T control steps: MuJoCo measures the sensors of a row before it
        # integrates, dm_control reads those of the state after.
        held = np.repeat(controls, self._sub_steps, axis=1)
        held = np.concatenate((held, held[:, -1:]), axis=1)
        spec = _CONTROLS_AND_FORCES if pushed else _CONTROLS
        rows, sensors = self._rollout.rollout(
            models, self._data, states, held, control_spec=spec, initial_warmstart=warmstarts
        )
        last = np.arange(1, controls.shape[1] + 1) * self._sub_steps - 1
        sensordata = sensors[:, last + 1]
        # dm_control refreshes positions and velocities after integrating, but no accelerations and forces.
        sensordata[..., self._after_integration] = sensors[:, last][..., self._after_integration]
        # After a warning MuJoCo stops the sequence and repeats its last row: the clock stands still.
        times = np.concatenate((states[:, None, 0], rows[..., 0]), axis=1)
        period = models[0].opt.timestep
        runs = np.logical_and.accumulate(np.abs(np.diff(times) - period) < period / 2, axis=1)
        return Trajectories(states=rows[:, last], sensordata=sensordata, valid=runs[:, last + 1])

    def close(self) -> None:
        """Stop the threads; `run` raises `RuntimeError` from now on."""
        self._rollout.close()
