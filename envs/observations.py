"""Observations of dm_control suite tasks for many states at once: the twin of `rewards`.

Every function returns (..., D): what the task's own `get_observation` gives for each state of the batch,
flattened in the order of its entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from drift_wm.envs.kinematics import Array, StateBatch

Observe = Callable[[StateBatch], Array]
"""A batch of states (...) -> their observations (..., D), in float64."""


def batched_observation(task: str) -> Observe | None:
    """The vectorised observation of a task ("domain-task"), None where the suite's own has to be asked."""
    return _OBSERVATIONS.get(task)


def _join(components: Iterable[Array], *vectors: Array) -> Array:
    """(...) each of the components, then (..., n) each of the vectors -> (..., D)."""
    return np.concatenate((np.stack(tuple(components), axis=-1), *vectors), axis=-1)


def _positions_and_velocities(states: StateBatch) -> Array:
    return np.concatenate((states.qpos, states.qvel), axis=-1)


def _without_root_x(states: StateBatch) -> Array:
    """Positions and velocities without the distance travelled, on which nothing depends."""
    return np.concatenate((states.qpos[..., 1:], states.qvel), axis=-1)


def _acrobot(states: StateBatch) -> Array:
    upper, lower = states.body_axis("upper_arm", "z"), states.body_axis("lower_arm", "z")
    return _join((upper[0], lower[0], upper[2], lower[2]), states.qvel)


def _cartpole(states: StateBatch) -> Array:
    pole = states.body_axis("pole_1", "z")
    return _join((states.joint_position("slider"), pole[2], pole[0]), states.qvel)


def _finger(states: StateBatch) -> Array:
    sensor = states.sensor
    tip = sensor("tip") - sensor("spinner")
    angles = sensor("proximal")[0], sensor("distal")[0]
    velocities = (sensor(f"{joint}_velocity")[0] for joint in ("proximal", "distal", "hinge"))
    touch = (np.log1p(sensor(name)[0]) for name in ("touchtop", "touchbottom"))
    return _join((*angles, tip[0], tip[2], *velocities, *touch))


def _finger_turn(states: StateBatch) -> Array:
    spinner = states.sensor("spinner")
    target = (states.sensor("target") - spinner)[[0, 2]]
    tip = (states.sensor("tip") - spinner)[[0, 2]]
    distance = np.linalg.norm(target - tip, axis=0) - states.model.site("target").size[0]
    return np.concatenate((_finger(states), _join((*target, distance))), axis=-1)


def _hopper(states: StateBatch) -> Array:
    touch = _join(np.log1p(states.sensor(name)[0]) for name in ("touch_toe", "touch_heel"))
    return np.concatenate((_without_root_x(states), touch), axis=-1)


def _humanoid(states: StateBatch) -> Array:
    torso = states.body_position("torso")
    limbs = ("left_hand", "left_foot", "right_hand", "right_foot")
    extremities = (states.to_body_frame(states.body_position(limb) - torso, "torso") for limb in limbs)
    vertical = (states.body_axis("torso", axis)[2] for axis in ("x", "y", "z"))
    features = _join(
        (
            states.body_position("head")[2],
            *(component for limb in extremities for component in limb),
            *vertical,
            *states.sensor("torso_subtreelinvel"),
        )
    )
    return np.concatenate((states.qpos[..., 7:], features, states.qvel), axis=-1)


def _pendulum(states: StateBatch) -> Array:
    pole = states.body_axis("pole", "z")
    return _join((pole[2], pole[0]), states.qvel)


def _reacher(states: StateBatch) -> Array:
    to_target = states.geom_position("target") - states.geom_position("finger")
    return np.concatenate((states.qpos, _join(to_target[:2]), states.qvel), axis=-1)


def _walker(states: StateBatch) -> Array:
    bodies = [states.model.body(body).name for body in range(1, states.model.nbody)]
    orientations = (states.body_axis(body, axis)[0] for body in bodies for axis in ("x", "z"))
    return _join((*orientations, states.body_position("torso")[2]), states.qvel)


_OBSERVATIONS: dict[str, Observe] = {
    "acrobot-swingup": _acrobot,
    "acrobot-swingup_sparse": _acrobot,
    "ball_in_cup-catch": _positions_and_velocities,
    "cartpole-balance": _cartpole,
    "cartpole-balance_sparse": _cartpole,
    "cartpole-swingup": _cartpole,
    "cartpole-swingup_sparse": _cartpole,
    "cheetah-run": _without_root_x,
    "finger-spin": _finger,
    "finger-turn_easy": _finger_turn,
    "finger-turn_hard": _finger_turn,
    "hopper-hop": _hopper,
    "hopper-stand": _hopper,
    "humanoid-run": _humanoid,
    "humanoid-stand": _humanoid,
    "humanoid-walk": _humanoid,
    "pendulum-swingup": _pendulum,
    "point_mass-easy": _positions_and_velocities,
    "reacher-easy": _reacher,
    "reacher-hard": _reacher,
    "walker-run": _walker,
    "walker-stand": _walker,
    "walker-walk": _walker,
}
