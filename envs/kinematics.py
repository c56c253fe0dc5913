"""Forward kinematics of many states of one MuJoCo model at once, in numpy.

`StateBatch` answers what a task's reward and observation ask of the simulator (where is this body, which
way does it point, what does that sensor read) for a whole batch of states, without visiting them one by one.
Only the chain of ancestors of the bodies asked for is computed, and each body once.

Arrays of vectors are stored component first, (3, ...) and (4, ...), where ... is the shape of the batch: the
components are then contiguous, and a quantity that is the same in every state stays a plain (3,) vector.
The recursion is that of MuJoCo's documentation ("Computation", forward kinematics); quaternions are (w, x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # at run time the caller's model is enough, and the rendering backend may still be open
    from mujoco import MjModel

Array = NDArray[np.float64]
Axis = Literal["x", "y", "z"]

_FREE, _BALL, _SLIDE, _HINGE = range(4)  # the values of mujoco.mjtJoint
_BASIS: dict[Axis, Array] = {"x": np.eye(3)[0], "y": np.eye(3)[1], "z": np.eye(3)[2]}
_NO_ROTATION = np.array([1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a body frame is in the world."""

    position: Array
    """(3, ...) metres."""
    quaternion: Array
    """(4, ...) of unit length."""


@dataclass(frozen=True)
class StateBatch:
    """Many states of one model. The batch shape ... is free; it is usually (N, T)."""

    model: MjModel
    physics: Array
    """(..., F) full physics states, MuJoCo's mjSTATE_FULLPHYSICS: time, qpos, qvel, then activations."""
    ctrl: Array
    """(..., nu) the control that led to the state, in the actuators' own units."""
    sensordata: Array
    """(..., ns) the sensors as the task finds them after a control step."""
    _poses: dict[int, Pose] = field(default_factory=dict, repr=False, compare=False)

    @property
    def qpos(self) -> Array:
        """(..., nq) joint positions."""
        return self.physics[..., 1 : 1 + self.model.nq]

    @property
    def qvel(self) -> Array:
        """(..., nv) joint velocities."""
        start = 1 + self.model.nq
        return self.physics[..., start : start + self.model.nv]

    def joint_position(self, name: str) -> Array:
        """(...) position of a hinge (radians) or slide joint (metres)."""
        return np.asarray(self.qpos[..., self.model.joint(name).qposadr[0]])

    def joint_velocity(self, name: str) -> Array:
        """(...) velocity of a hinge (rad/s) or slide joint (m/s)."""
        return np.asarray(self.qvel[..., self.model.joint(name).dofadr[0]])

    def sensor(self, name: str) -> Array:
        """(dim, ...) readings of a sensor."""
        sensor = self.model.sensor(name)
        start = int(sensor.adr[0])
        return np.moveaxis(self.sensordata[..., start : start + int(sensor.dim[0])], -1, 0)

    def body_position(self, name: str) -> Array:
        """(3, ...) origin of the body frame, in the world (MuJoCo's xpos)."""
        return self._expand(self._pose(self.model.body(name).id).position)

    def body_axis(self, name: str, axis: Axis) -> Array:
        """(3, ...) an axis of the body frame, in the world: a column of MuJoCo's xmat."""
        return self._expand(rotate(self._pose(self.model.body(name).id).quaternion, _BASIS[axis]))

    def centre_of_mass(self, body: str) -> Array:
        """(3, ...) centre of mass of one body, in the world (MuJoCo's xipos)."""
        body_id = self.model.body(body).id
        return self._point(body_id, self.model.body_ipos[body_id])

    def geom_position(self, name: str) -> Array:
        """(3, ...) centre of a geom, in the world (MuJoCo's geom_xpos)."""
        geom = self.model.geom(name).id
        return self._point(int(self.model.geom_bodyid[geom]), self.model.geom_pos[geom])

    def site_position(self, name: str) -> Array:
        """(3, ...) centre of a site, in the world (MuJoCo's site_xpos)."""
        site = self.model.site(name).id
        return self._point(int(self.model.site_bodyid[site]), self.model.site_pos[site])

    def to_body_frame(self, vector: Array, body: str) -> Array:
        """(3, ...) a world vector (3, ...) as seen from the axes of a body."""
        quaternion = self._pose(self.model.body(body).id).quaternion
        inverse = np.concatenate((quaternion[:1], -quaternion[1:]))
        return self._expand(rotate(inverse, vector))

    def _point(self, body: int, offset: Array) -> Array:
        pose = self._pose(body)
        return self._expand(_add(pose.position, rotate(pose.quaternion, offset)))

    def _expand(self, vector: Array) -> Array:
        """(3,) or (3, ...) -> (3, ...): a vector that is the same in all states is repeated as a view."""
        shape = (3, *self.physics.shape[:-1])
        return np.broadcast_to(_spread(vector, len(shape)), shape)

    def _pose(self, body: int) -> Pose:
        if body not in self._poses:
            self._poses[body] = self._compute_pose(body)
        return self._poses[body]

    def _compute_pose(self, body: int) -> Pose:
        if body == 0:  # the world
            return Pose(np.zeros(3), _NO_ROTATION)
        model = self.model
        if model.body_mocapid[body] >= 0:
            raise ValueError(
                f"body {model.body(body).name!r} is a mocap body, whose pose is no function of qpos; "
                "evaluate this task state by state instead"
            )
        first = int(model.body_jntadr[body])
        joints = range(first, first + int(model.body_jntnum[body]))
        if len(joints) == 1 and model.jnt_type[first] == _FREE:
            start = int(model.jnt_qposadr[first])
            free = np.moveaxis(self.qpos[..., start : start + 7], -1, 0)
            return Pose(free[:3], normalised(free[3:]))
        parent = self._pose(int(model.body_parentid[body]))
        position = _add(parent.position, rotate(parent.quaternion, model.body_pos[body]))
        quaternion = product(parent.quaternion, model.body_quat[body])
        for joint in joints:
            position, quaternion = self._apply_joint(joint, position, quaternion)
        return Pose(position, quaternion)

    def _apply_joint(self, joint: int, position: Array, quaternion: Array) -> tuple[Array, Array]:
        model = self.model
        kind, start = int(model.jnt_type[joint]), int(model.jnt_qposadr[joint])
        axis, offset = model.jnt_axis[joint], model.jnt_pos[joint]
        if kind == _SLIDE:
            moved = rotate(quaternion, axis)
            travel = self.qpos[..., start] - model.qpos0[start]
            return _add(position, _spread(moved, travel.ndim + 1) * travel), quaternion
        anchor = _add(position, rotate(quaternion, offset))
        if kind == _HINGE:
            turn = axis_angle(axis, self.qpos[..., start] - model.qpos0[start])
        else:
            assert kind == _BALL, f"joint type {kind} of joint {joint}"
            turn = normalised(np.moveaxis(self.qpos[..., start : start + 4], -1, 0))
        quaternion = product(quaternion, turn)
        return _add(anchor, -rotate(quaternion, offset)), quaternion


def axis_angle(axis: Array, angle: Array) -> Array:
    """(4, ...) rotation by `angle` (...) radians about a constant unit `axis` (3,)."""
    sine = np.sin(angle / 2)
    return np.stack((np.cos(angle / 2), axis[0] * sine, axis[1] * sine, axis[2] * sine))


def normalised(quaternion: Array) -> Array:
    """(4, ...) scaled to unit length."""
    return np.asarray(quaternion / np.sqrt(np.square(quaternion).sum(axis=0)))


def product(left: Array, right: Array) -> Array:
    """(4, ...) Hamilton product: first rotate by `right`, then by `left`."""
    if np.array_equal(right, _NO_ROTATION):
        return left
    if np.array_equal(left, _NO_ROTATION):
        return right
    w, x, y, z = left
    v, a, b, c = right
    return np.stack(
        np.broadcast_arrays(
            w * v - x * a - y * b - z * c,
            w * a + x * v + y * c - z * b,
            w * b - x * c + y * v + z * a,
            w * c + x * b - y * a + z * v,
        )
    )


def rotate(quaternion: Array, vector: Array) -> Array:
    """(3, ...) the vector (3,) or (3, ...) turned by the rotation (4,) or (4, ...)."""
    if vector.ndim == 1 and not vector.any():
        return vector
    if quaternion.ndim == 1 and np.array_equal(quaternion, _NO_ROTATION):
        return vector
    w, x, y, z = quaternion
    a, b, c = vector
    # v + 2 w (u x v) + 2 u x (u x v), with t = 2 (u x v)
    t = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
    return np.stack(
        (
            a + w * t[0] + y * t[2] - z * t[1],
            b + w * t[1] + z * t[0] - x * t[2],
            c + w * t[2] + x * t[1] - y * t[0],
        )
    )


def _add(left: Array, right: Array) -> Array:
    """(3,) or (3, ...) plus (3,) or (3, ...): a constant vector is added to every state."""
    ndim = max(left.ndim, right.ndim)
    return np.asarray(_spread(left, ndim) + _spread(right, ndim))


def _spread(vector: Array, ndim: int) -> Array:
    """(3,) -> (3, 1, ...), so that a constant vector broadcasts over a batch."""
    return vector.reshape(vector.shape + (1,) * (ndim - vector.ndim))
