"""Tasks of the dm_control suite as gymnasium environments that a disturbance makes stochastic or partly hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_wm.envs.disturbances import Array, Disturbance, DisturbanceConfig, Draw
from drift_wm.envs.dm_control import DEFAULT_RENDER, DmControlEnv, RenderConfig, find_task, make_dm_control
from drift_wm.envs.physics_state import StateLayout
from drift_wm.envs.rendering import mujoco
from drift_wm.envs.spaces import check_action

STANDARD_GRAVITY = 9.81
"""Metres per second squared, by which strengths of gusts count weights, whatever the gravity of the task."""


def make_disturbed(
    task: str, disturbance: DisturbanceConfig, *, action_repeat: int = 2, render: RenderConfig = DEFAULT_RENDER
) -> DmControlEnv:
    """The environment of a task under a disturbance; without one, that of `make_dm_control`, which says the rest.

    Raises:
        ValueError: besides what `make_dm_control` refuses, a body that the task does not have, or that has no mass.
    """
    if not disturbance.disturbs:
        return make_dm_control(task, action_repeat=action_repeat, render=render)
    return DisturbedEnv(*find_task(task), disturbance, action_repeat=action_repeat, render=render)


class DisturbedEnv(DmControlEnv):
    """A task of the suite that a disturbance makes stochastic or partly hidden; build it with `make_disturbed`.

    * A gust pushes the body with a force +F or -F along the world's x axis, with equal probability and anew in every
      decision, for the whole decision. The next state given state and action has two modes.
    * A slip replaces the action of a decision by zero, the middle of every actuator's range.
    * A payload multiplies mass and inertia of the body by one factor for an episode. No observation shows it, but
      what was seen and done before tells it. The compliance of contacts stays that of the unloaded mechanism.
    * Sensors show the observation of `delay` decisions ago (the first one at the start of an episode), plus noise
      that is independent in every decision and entry, with entries dropped out to zero.

    The chance comes from gymnasium's own `np_random`: a reset with a seed fixes it, and the task's initial states
    are those of the undisturbed task with that seed. A physics state holds all that decides the distribution of the
    future: a payload's masses are among the episode parameters of `state_layout`, and the `delay` x D observations
    under way, oldest first, follow after its entries. The stream of chance is not part of it.
    """

    def __init__(
        self,
        domain: str,
        task: str,
        disturbance: DisturbanceConfig,
        *,
        action_repeat: int = 2,
        render: RenderConfig = DEFAULT_RENDER,
    ) -> None:
        """Load a task by dm_control's two names for it; all else as in `make_disturbed`.

        Raises:
            ValueError: the task's rewards do not go with the disturbance.
        """
        super().__init__(domain, task, action_repeat=action_repeat, render=render)
        model = self.suite_environment.physics.model.ptr
        size = self.task_spec.observation_size
        self.disturbance: Disturbance = measure_disturbance(disturbance, model, size)
        """The disturbance in this mechanism's units."""
        self._masses: tuple[_MassEntries, ...] = ()
        if self.disturbance.load and domain == "dog":
            raise ValueError(
                f"env.disturbance.name=payload with task={self.task_name}: rewards of dogs are measured in the weight "
                "of the body at a reset, which a restored state does not tell; expected another task"
            )
        if self.disturbance.load:
            self._masses = _mass_entries(model, self.disturbance.body)
            self.state_layout = _with_masses(self.state_layout, self._masses)
        self._pending = np.zeros((self.disturbance.delay, size))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode, as `DmControlEnv.reset` does; a payload is drawn anew."""
        self._load(1.0)  # a task may move before it begins (cheetah-run comes to rest), which would show the payload
        obs, info = super().reset(seed=seed, options=options)
        if self.disturbance.load:
            self._load(self.disturbance.draw_load(self.np_random))
            self.suite_environment.physics.forward()
        self._pending = np.tile(obs.astype(np.float64), (self.disturbance.delay, 1))
        return self.disturbance.draw(self.np_random).seen(obs.astype(np.float64)).astype(np.float32), info

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold an action (A,) for `action_repeat` control steps, as `DmControlEnv.step` does, under a new draw."""
        return self.step_under(self.disturbance.draw(self.np_random), action)

    def step_under(
        self, draw: Draw, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """`step` with a given draw of the chance, that of a single decision, in the place of a new one."""
        check_action(action, self.task_spec.action_size)  # a wrong one is refused even if it gets lost
        executed = np.zeros_like(action) if draw.lost else action
        push = self.suite_environment.physics.data.xfrc_applied[self.disturbance.body]
        push[0] = 0.0 if draw.force is None else draw.force
        try:
            obs, reward, terminated, truncated, info = super().step(executed)
        finally:
            push[0] = 0.0
        underway = np.concatenate([self._pending, obs[None].astype(np.float64)])
        self._pending = underway[1:]
        return draw.seen(underway[0]).astype(np.float32), reward, terminated, truncated, info

    def physics_state(self) -> Array:
        """The complete state (S,): laid out as `state_layout` says, then the observations under way."""
        return np.concatenate([super().physics_state(), self._pending.ravel()])

    def set_physics_state(self, state: Array) -> None:
        """Go to a state (S,), read under the same disturbance, as `DmControlEnv.set_physics_state` does.

        Raises:
            ValueError: the state has another shape than (S,), or is not finite.
            dm_control.rl.control.PhysicsError: MuJoCo judges the state invalid.
        """
        state = np.asarray(state, dtype=np.float64)
        expected = self.state_layout.size + self.disturbance.pending_size
        if state.shape != (expected,) or not np.isfinite(state).all():
            raise ValueError(
                f"the state has shape {state.shape}, {np.count_nonzero(~np.isfinite(state))} entries not finite; "
                f"expected ({expected},) finite numbers, as `physics_state` of the same task and disturbance returns"
            )
        mechanism, pending = self.disturbance.split(state)
        super().set_physics_state(mechanism)
        self._pending = pending.copy()

    def _load(self, factor: float) -> None:
        """Multiply mass and inertia of the body with a payload."""
        for entries in self._masses:
            entries.write(self.suite_environment.physics.model.ptr, factor)


def measure_disturbance(config: DisturbanceConfig, model: mujoco.MjModel, observation_size: int) -> Disturbance:
    """What a configuration means for one mechanism.

    Raises:
        ValueError: the mechanism has no such body, or one that does not move or has no mass.
    """
    strength, probability = config.strength or 0.0, config.probability or 0.0
    match config.name:
        case "gust":
            moving = model.body_weldid != 0  # what stands in the world may have mass, too
            weight = float(model.body_mass[moving].sum()) * STANDARD_GRAVITY
            return Disturbance(observation_size, body=_find_body(model, config.body), force=strength * weight)
        case "slip":
            return Disturbance(observation_size, loss=probability)
        case "payload":
            return Disturbance(observation_size, body=_find_body(model, config.body), load=strength)
        case "sensor":
            return Disturbance(observation_size, noise=strength, dropout=probability, delay=config.delay or 0)
        case _:
            return Disturbance(observation_size)


@dataclass(frozen=True, slots=True)
class _MassEntries:
    """Entries of one array of a model that grow with the mass of one body."""

    field: str
    indices: tuple[int, ...]
    """Flat ones."""
    unloaded: Array
    """Their values in the task's own model."""
    share: Array
    """What of these the body accounts for."""

    def write(self, model: mujoco.MjModel, factor: float) -> None:
        """Multiply the body's share by a factor."""
        getattr(model, self.field).flat[list(self.indices)] = self.unloaded + (factor - 1.0) * self.share


def _mass_entries(model: mujoco.MjModel, body: int) -> tuple[_MassEntries, ...]:
    # The masses of the subtrees that hold the body enter the velocity sensors which the rewards of walkers read.
    chain = [body]
    while chain[-1] != 0:
        chain.append(int(model.body_parentid[chain[-1]]))
    mass, inertia, subtree = (getattr(model, name).copy() for name in ("body_mass", "body_inertia", "body_subtreemass"))
    return (
        _MassEntries("body_mass", (body,), mass[[body]], mass[[body]]),
        _MassEntries("body_inertia", (3 * body, 3 * body + 1, 3 * body + 2), inertia[body], inertia[body]),
        _MassEntries("body_subtreemass", tuple(chain), subtree[chain], np.full(len(chain), mass[body])),
    )


def _with_masses(layout: StateLayout, masses: tuple[_MassEntries, ...]) -> StateLayout:
    """A layout in which those entries are episode parameters too."""
    parameters = dict(layout.parameters)
    for entries in masses:
        known = parameters.get(entries.field, ())
        parameters[entries.field] = tuple(sorted({*known, *entries.indices}))
    return replace(layout, parameters=tuple(parameters.items()))


def _find_body(model: mujoco.MjModel, name: str) -> int:
    """The index of a body that moves and has mass; without a name, of the first."""
    able = [body for body in range(1, model.nbody) if model.body_weldid[body] != 0 and model.body_mass[body] > 0]
    if not name:
        return able[0]
    for body in able:
        if model.body(body).name == name:
            return body
    raise ValueError(
        f"env.disturbance.body={name!r}: expected one that moves and has mass: "
        f"{', '.join(model.body(body).name for body in able)}"
    )
