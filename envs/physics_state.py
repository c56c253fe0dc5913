"""The complete state of a dm_control task as one vector.

`dm_control`'s own state (positions, velocities, activations) is not complete: tasks move their targets by writing
into the model, the constraint solver starts from its last solution, rewards read the last control, and sensors of
contact and acceleration are measured before a step, not after it. A state that lacks one of these restores another
situation than the one it was read from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drift_wm.envs.rendering import choose_backend, import_suite, mujoco

if TYPE_CHECKING:
    from dm_control.mujoco import Physics

Array = NDArray[np.float64]

PARAMETER_FIELDS = (
    "body_pos",
    "body_quat",
    "body_mass",
    "body_inertia",
    "jnt_pos",
    "jnt_axis",
    "jnt_stiffness",
    "dof_damping",
    "dof_frictionloss",
    "geom_pos",
    "geom_quat",
    "geom_size",
    "geom_friction",
    "site_pos",
    "site_quat",
    "site_size",
    "light_pos",
    "tendon_stiffness",
    "tendon_damping",
    "wrap_prm",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_gear",
    "hfield_data",
)
"""The arrays of a model in which episode parameters are looked for. Colours are not among them: some tasks paint
the reward."""

_FULL_PHYSICS = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)
_RESETS = 8
# Its reset uploads a new terrain to the renderer, and makes one for the purpose.
_REDRAWN_AT_RESET = {("quadruped", "escape")}


@dataclass(frozen=True, slots=True)
class StateLayout:
    """Where the parts of one task's state stand in a float64 vector of length S.

    The order is: MuJoCo's `mjSTATE_FULLPHYSICS` (time, positions, velocities, activations); the solver's warm start
    `qacc_warmstart`; the episode parameters, entries of the model which the task sets at a reset; the control of the
    last step, which rewards read; and the readings of the acceleration-stage sensors (touch, force, ...), which
    observations read and which MuJoCo measures before it integrates. The first three decide every future; the last
    two only the reward and observation of the present.

    Not in the state, because no task of the suite uses them: applied forces, mocap poses, equality switches, user
    data. Whoever applies forces from outside restores those too.
    """

    full_physics: int
    """F: length of `mjSTATE_FULLPHYSICS`."""
    warmstart: int
    """V: length of `qacc_warmstart`, the number of degrees of freedom."""
    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    """Model fields and the flat indices of their entries that are episode parameters; M entries in all."""
    control: int = 0
    """Number of actuators."""
    sensors: tuple[int, ...] = ()
    """Indices in `sensordata` of the acceleration-stage readings."""

    @property
    def parameter_count(self) -> int:
        """M: the number of episode parameters."""
        return sum(len(indices) for _, indices in self.parameters)

    @property
    def size(self) -> int:
        """S: the length of a state."""
        return self.full_physics + self.warmstart + self.parameter_count + self.control + len(self.sensors)

    def read(self, physics: Physics) -> Array:
        """The present state (S,) of a simulation of this layout's task."""
        model, data = physics.model.ptr, physics.data.ptr
        full = np.empty(self.full_physics)
        mujoco.mj_getState(model, data, full, _FULL_PHYSICS)
        parameters = [getattr(model, field).flat[list(indices)] for field, indices in self.parameters]
        sensors = data.sensordata[list(self.sensors)]
        return np.concatenate([full, data.qacc_warmstart, *parameters, data.ctrl, sensors], dtype=np.float64)

    def write(self, physics: Physics, state: Array) -> None:
        """Put a simulation of this layout's task into a state (S,), as if it had just stepped or been reset there.

        Everything that follows from the state is recomputed, so that the task's reward and observation are those of
        the moment it was read, and later steps are those that followed, bit for bit.

        Raises:
            ValueError: the state has another shape than (S,), or is not finite.
            dm_control.rl.control.PhysicsError: MuJoCo judges the state invalid, its entries being too large.
        """
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (self.size,):
            raise ValueError(
                f"the state has shape {state.shape}; expected ({self.size},), as `read` of the same task returns it"
            )
        if not np.isfinite(state).all():
            raise ValueError(
                f"the state is not finite at entries {np.flatnonzero(~np.isfinite(state)).tolist()}; "
                "restore one that was read before the simulation diverged"
            )
        model, data = physics.model.ptr, physics.data.ptr
        full, warmstart, parameters = self.split(state)
        control, sensors = np.split(state[self.size - self.control - len(self.sensors) :], [self.control])
        self.apply_parameters(model, parameters)
        mujoco.mj_setState(model, data, full, _FULL_PHYSICS)
        data.qacc_warmstart[:] = warmstart
        data.ctrl[:] = control
        # mj_step1 and not mj_forward: it is how dm_control ends a step, and it leaves the accelerations to the next.
        with physics.check_invalid_state():
            mujoco.mj_step1(model, data)
        data.sensordata[list(self.sensors)] = sensors
        if any(field == "hfield_data" for field, _ in self.parameters):
            _redraw_terrain(physics)

    def split(self, states: Array) -> tuple[Array, Array, Array]:
        """States (..., S) -> what decides the future: full physics (..., F), warm start (..., V), parameters (..., M).

        The parts are views. Raises ValueError for another last dimension than S.
        """
        if states.ndim == 0 or states.shape[-1] != self.size:
            raise ValueError(
                f"the states have shape {states.shape}; expected (..., {self.size}), as `read` of the same task "
                "returns them"
            )
        start = self.full_physics + self.warmstart
        return (
            states[..., : self.full_physics],
            states[..., self.full_physics : start],
            states[..., start : start + self.parameter_count],
        )

    def apply_parameters(self, model: mujoco.MjModel, parameters: Array) -> None:
        """Write episode parameters (M,) into a model of this layout's task.

        Raises:
            ValueError: there are more or fewer than M.
        """
        if parameters.shape != (self.parameter_count,):
            raise ValueError(
                f"the parameters have shape {parameters.shape}; expected ({self.parameter_count},), the third part "
                "of `split` of one state"
            )
        start = 0
        for field, indices in self.parameters:
            getattr(model, field).flat[list(indices)] = parameters[start : start + len(indices)]
            start += len(indices)


@cache
def find_layout(domain: str, task: str) -> StateLayout:
    """The state layout of a task of the suite, found by watching what its resets change in the model.

    An entry is a parameter if it differs between the model as loaded and any of a few resets: that includes the
    constants which a task writes at its first reset, so that a state also fits a model which was never reset.

    Raises:
        ValueError: the suite has no such task.
        RenderingUnavailableError: the task (`quadruped`, `escape`) cannot be reset without rendering.
    """
    # A generator of its own with a fixed seed: the answer must not depend on, nor disturb, anybody's randomness.
    environment = import_suite().load(domain, task, task_kwargs={"random": 0})
    if (domain, task) in _REDRAWN_AT_RESET:
        choose_backend().require()
    model, data = environment.physics.model.ptr, environment.physics.data.ptr
    loaded = {field: getattr(model, field).copy().ravel() for field in PARAMETER_FIELDS}
    changed = {field: np.zeros(values.shape, dtype=bool) for field, values in loaded.items()}
    for _ in range(_RESETS):
        environment.reset()
        for field, values in loaded.items():
            changed[field] |= getattr(model, field).ravel() != values
    late = [
        np.arange(model.sensor_adr[index], model.sensor_adr[index] + model.sensor_dim[index])
        for index in np.flatnonzero(model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC)
    ]
    layout = StateLayout(
        full_physics=int(mujoco.mj_stateSize(model, _FULL_PHYSICS)),
        warmstart=int(model.nv),
        parameters=tuple((field, _indices(mask)) for field, mask in changed.items() if mask.any()),
        control=int(model.nu),
        sensors=tuple(int(index) for indices in late for index in indices),
    )
    assert data.time == 0.0, "a reset starts at time zero; the time limit is derived from the clock"
    environment.close()
    return layout


def _indices(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.flatnonzero(mask))


def _redraw_terrain(physics: Physics) -> None:
    """Upload the height fields, which the renderer copies once and then keeps."""
    with physics.contexts.gl.make_current() as context:
        for index in range(physics.model.nhfield):
            context.call(mujoco.mjr_uploadHField, physics.model.ptr, physics.contexts.mujoco.ptr, index)
