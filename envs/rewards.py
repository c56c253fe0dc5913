"""Rewards of dm_control suite tasks for many states at once.

dm_control computes the reward of the one state its simulator is in. A planner in the true simulator needs
those of tens of thousands of states per decision, so the benchmark tasks are stated here a second time, from
their definitions (Tassa et al., "DeepMind Control Suite", arXiv 1801.00690, and the constants of the suite),
as vectorised functions of a `StateBatch`. Every one is tested against the suite's own reward.

Episode parameters (where the target is, how large) are read from the batch's model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from dm_control.utils.rewards import tolerance

from drift_wm.envs.kinematics import Array, StateBatch

Reward = Callable[[StateBatch], Array]
"""A batch of states (...) -> their rewards (...)."""


def batched_reward(task: str) -> Reward | None:
    """The vectorised reward of a task ("domain-task"), None where the suite's own has to be asked."""
    return _REWARDS.get(task)


def _at_least(values: Array, bound: float, *, margin: float, at_margin: float = 0.0) -> Array:
    """(...) -> (...): 1 from `bound` upwards, falling linearly to `at_margin` at `bound - margin`."""
    return np.asarray(tolerance(values, (bound, np.inf), margin=margin, sigmoid="linear", value_at_margin=at_margin))


def _small_control(states: StateBatch) -> Array:
    """(...) in [0.8, 1]: 1 without any control, 0.8 with every actuator at full control."""
    each = tolerance(states.ctrl, margin=1, value_at_margin=0, sigmoid="quadratic")
    return np.asarray((4 + each.mean(axis=-1)) / 5)


def _acrobot(states: StateBatch, *, sparse: bool) -> Array:
    distance = np.linalg.norm(states.site_position("target") - states.site_position("tip"), axis=0)
    radius = states.model.site("target").size[0]
    return np.asarray(tolerance(distance, (0, radius), margin=0 if sparse else 1))


def _ball_in_cup(states: StateBatch) -> Array:
    offset = np.abs(states.site_position("target") - states.body_position("ball"))
    room = states.model.site("target").size - states.model.geom("ball").size[0]
    return np.asarray((offset[0] < room[0]) & (offset[2] < room[2]), dtype=np.float64)


def _cartpole_smooth(states: StateBatch) -> Array:
    upright = (states.body_axis("pole_1", "z")[2] + 1) / 2
    centred = (1 + tolerance(states.joint_position("slider"), margin=2)) / 2
    slow = (1 + tolerance(states.joint_velocity("hinge_1"), margin=5)) / 2
    return np.asarray(upright * _small_control(states) * slow * centred)


def _cartpole_sparse(states: StateBatch) -> Array:
    centred = tolerance(states.joint_position("slider"), (-0.25, 0.25))
    upright = tolerance(states.body_axis("pole_1", "z")[2], (0.995, 1))
    return np.asarray(centred * upright)


def _cheetah_run(states: StateBatch) -> Array:
    return _at_least(states.sensor("torso_subtreelinvel")[0], 10, margin=10)


def _finger_spin(states: StateBatch) -> Array:
    return np.asarray(states.sensor("hinge_velocity")[0] <= -15.0, dtype=np.float64)


def _finger_turn(states: StateBatch) -> Array:
    to_target = (states.sensor("target") - states.sensor("tip"))[[0, 2]]
    radius = states.model.site("target").size[0]
    return np.asarray(np.linalg.norm(to_target, axis=0) <= radius, dtype=np.float64)


def _hopper(states: StateBatch, *, hopping: bool) -> Array:
    height = states.centre_of_mass("torso")[2] - states.centre_of_mass("foot")[2]
    standing = np.asarray(tolerance(height, (0.6, 2)))
    if hopping:
        return standing * _at_least(states.sensor("torso_subtreelinvel")[0], 2, margin=1, at_margin=0.5)
    return standing * _small_control(states)


def _humanoid(states: StateBatch, *, speed: float) -> Array:
    """`speed` in m/s of the centre of mass above which it is fast enough; 0 asks it to stand still."""
    standing = tolerance(states.body_position("head")[2], (1.4, np.inf), margin=1.4 / 4)
    upright = _at_least(states.body_axis("torso", "z")[2], 0.9, margin=1.9)
    velocity = states.sensor("torso_subtreelinvel")[:2]
    if speed == 0:
        move = np.asarray(tolerance(velocity, margin=2)).mean(axis=0)
    else:
        move = (5 * _at_least(np.linalg.norm(velocity, axis=0), speed, margin=speed) + 1) / 6
    return np.asarray(_small_control(states) * standing * upright * move)


def _pendulum_swingup(states: StateBatch) -> Array:
    return np.asarray(tolerance(states.body_axis("pole", "z")[2], (np.cos(np.deg2rad(8)), 1)))


def _point_mass_easy(states: StateBatch) -> Array:
    distance = np.linalg.norm(states.geom_position("target") - states.geom_position("pointmass"), axis=0)
    size = states.model.geom("target").size[0]
    return np.asarray(tolerance(distance, (0, size), margin=size) * _small_control(states))


def _reacher(states: StateBatch) -> Array:
    offset = (states.geom_position("target") - states.geom_position("finger"))[:2]
    radii = states.model.geom("target").size[0] + states.model.geom("finger").size[0]
    return np.asarray(tolerance(np.linalg.norm(offset, axis=0), (0, radii)))


def _walker(states: StateBatch, *, speed: float) -> Array:
    """`speed` in m/s of the centre of mass above which it is fast enough; 0 only asks it to stand."""
    standing = tolerance(states.body_position("torso")[2], (1.2, np.inf), margin=1.2 / 2)
    upright = (1 + states.body_axis("torso", "z")[2]) / 2
    stand = np.asarray((3 * standing + upright) / 4)
    if speed == 0:
        return stand
    move = _at_least(states.sensor("torso_subtreelinvel")[0], speed, margin=speed / 2, at_margin=0.5)
    return stand * (5 * move + 1) / 6


_REWARDS: dict[str, Reward] = {
    "acrobot-swingup": partial(_acrobot, sparse=False),
    "acrobot-swingup_sparse": partial(_acrobot, sparse=True),
    "ball_in_cup-catch": _ball_in_cup,
    "cartpole-balance": _cartpole_smooth,
    "cartpole-balance_sparse": _cartpole_sparse,
    "cartpole-swingup": _cartpole_smooth,
    "cartpole-swingup_sparse": _cartpole_sparse,
    "cheetah-run": _cheetah_run,
    "finger-spin": _finger_spin,
    "finger-turn_easy": _finger_turn,
    "finger-turn_hard": _finger_turn,
    "hopper-hop": partial(_hopper, hopping=True),
    "hopper-stand": partial(_hopper, hopping=False),
    "humanoid-run": partial(_humanoid, speed=10),
    "humanoid-stand": partial(_humanoid, speed=0),
    "humanoid-walk": partial(_humanoid, speed=1),
    "pendulum-swingup": _pendulum_swingup,
    "point_mass-easy": _point_mass_easy,
    "reacher-easy": _reacher,
    "reacher-hard": _reacher,
    "walker-run": partial(_walker, speed=8),
    "walker-stand": partial(_walker, speed=0),
    "walker-walk": partial(_walker, speed=1),
}
