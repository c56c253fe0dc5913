"""Tasks of the DeepMind Control Suite as gymnasium environments."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from drift_wm.envs.physics_state import StateLayout, find_layout, require_renderer_of
from drift_wm.envs.rendering import choose_backend, import_suite
from drift_wm.interfaces import Spec

if TYPE_CHECKING:
    from dm_control.rl.control import Environment

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_FAST_RENDERING = {mujoco.mjtRndFlag.mjRND_SHADOW: False, mujoco.mjtRndFlag.mjRND_REFLECTION: False}
_MAX_SEED = 2**32  # numpy's RandomState, which the suite uses, takes no larger ones


@dataclass(frozen=True, slots=True)
class RenderConfig:
    """How pictures are drawn."""

    width: int = 320
    """Pixels."""
    height: int = 240
    """Pixels."""
    camera_id: int = 0
    """Of the task's model; -1 is a free camera."""
    fast: bool = False
    """No shadows, reflections or multisampling: several times faster, and not the picture of published work."""


class DmControlEnv(gymnasium.Env[Float32Array, Float32Array]):
    """One task of the suite with a flat observation and actions in [-1, 1]. Made by `make_dm_control`.

    Observations are the task's own entries, flattened in their order, as float32. A time limit truncates; a
    task's own end (discount 0) terminates. `info["frames"]` counts the control steps that a decision took.
    """

    render_mode = "rgb_array"

    def __init__(self, domain: str, task: str, *, action_repeat: int, render: RenderConfig) -> None:
        self.task_name = f"{domain}-{task}"
        self.suite_environment: Environment = import_suite().load(domain, task, task_kwargs={"random": 0})
        self._physics, self._task = self.suite_environment.physics, self.suite_environment.task
        require_renderer_of(self._physics)
        self.state_layout: StateLayout = find_layout(domain, task)
        self._action_repeat, self._render = action_repeat, render
        control_step = float(self.suite_environment.control_timestep())
        self._control_step = control_step
        self.sub_steps = round(control_step / float(self._physics.timestep()))
        # The suite has no public name for the number of control steps in an episode.
        limit = float(self.suite_environment._step_limit)
        self.frames_per_episode: int | None = round(limit) if math.isfinite(limit) else None
        bounds = self.suite_environment.action_spec()
        self._low = np.broadcast_to(np.asarray(bounds.minimum, dtype=np.float64), bounds.shape)
        self._high = np.broadcast_to(np.asarray(bounds.maximum, dtype=np.float64), bounds.shape)
        obs = _flatten(self.suite_environment.reset().observation.values())
        self.task_spec = Spec(obs.size, self._low.size, control_step * action_repeat)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, obs.shape, np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, self._low.shape, np.float32)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / self.task_spec.decision_seconds)}

    @property
    def decisions_per_episode(self) -> int:
        """Decisions until the time limit.

        Raises:
            ValueError: the task has no time limit.
        """
        if self.frames_per_episode is None:
            raise ValueError(f"{self.task_name} has no time limit, expected a task whose episodes end: choose another")
        return -(-self.frames_per_episode // self._action_repeat)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Start an episode; without a seed, the task's stream of random numbers goes on.

        Raises:
            ValueError: the seed is not in [0, 2^32).
        """
        if seed is not None and not 0 <= seed < _MAX_SEED:
            raise ValueError(f"seed is {seed}; expected an integer in [0, 2^32)")
        super().reset(seed=seed)
        if seed is not None:
            self._task.random.seed(seed)
        return _flatten(self.suite_environment.reset().observation.values()), {"frames": 0}

    def step(self, action: Float32Array) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Hold an action (A,) for `action_repeat` control steps, or to the end; rewards are summed.

        Raises:
            ValueError: the action has the wrong shape, is not finite, or leaves [-1, 1].
        """
        control = self.to_control(self._checked(action))
        reward, frames, discount = 0.0, 0, None
        for _ in range(self._action_repeat):
            self._task.before_step(control, self._physics)
            self._physics.step(self.sub_steps)
            self._task.after_step(self._physics)
            reward += float(self._task.get_reward(self._physics))
            discount = self._task.get_termination(self._physics)
            frames += 1
            if discount is not None or self._out_of_time():
                break
        obs = _flatten(self._task.get_observation(self._physics).values())
        terminated = discount is not None and float(discount) == 0.0
        truncated = not terminated and (discount is not None or self._out_of_time())
        return obs, reward, terminated, truncated, {"frames": frames}

    def to_control(self, actions: np.ndarray) -> Float64Array:
        """Actions (..., A) in [-1, 1] -> controls (..., A) in the task's own bounds."""
        scaled: Float64Array = self._low + (np.asarray(actions, dtype=np.float64) + 1) / 2 * (self._high - self._low)
        return scaled

    def physics_state(self) -> Float64Array:
        """(S,) everything that decides what comes next; see `StateLayout`."""
        return self.state_layout.read(self._physics)

    def set_physics_state(self, state: Float64Array) -> None:
        """Return to a state (S,) of this task, its clock and so its time limit included."""
        self.state_layout.write(self._physics, state)

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]  # one mode only
        """(height, width, 3) picture of the present state.

        Raises:
            RenderingUnavailable: this machine has no OpenGL; the message says what to install.
        """
        choose_backend().require()
        config = self._render
        if config.fast:
            self._physics.model.vis.quality.offsamples = 0  # read when the first picture is drawn
        picture: NDArray[np.uint8] = self._physics.render(
            config.height,
            config.width,
            camera_id=config.camera_id,
            render_flag_overrides=_FAST_RENDERING if config.fast else None,
        )
        return picture

    def close(self) -> None:
        """Free the simulation and its renderer."""
        self.suite_environment.close()

    def _out_of_time(self) -> bool:
        # The physics' own clock, so that a restored state brings its remaining time.
        taken = round(float(self._physics.time()) / self._control_step)
        return self.frames_per_episode is not None and taken >= self.frames_per_episode

    def _checked(self, action: Float32Array) -> Float32Array:
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ValueError(f"the action has shape {action.shape}; {self.task_name} expects {self.action_space.shape}")
        if not np.isfinite(action).all() or np.abs(action).max(initial=0.0) > 1.0:
            raise ValueError(f"the action is {action}; expected finite numbers in [-1, 1]: clip it")
        return action


def make_dm_control(task: str, *, action_repeat: int = 2, render: RenderConfig | None = None) -> DmControlEnv:
    """Load a task by its name, such as "cartpole-swingup" or "ball_in_cup-catch".

    Raises:
        ValueError: no such task (the nearest names are given), or `action_repeat` is not positive.
        RenderingUnavailable: the task needs OpenGL to be reset (its terrain is drawn), and there is none.
    """
    if action_repeat < 1:
        raise ValueError(f"action_repeat is {action_repeat}; expected an integer of at least 1")
    names = task_names()
    # Hyphens stand for underscores where no other name could be meant.
    spelt = {name.replace("_", "-"): name for name in names}
    name = task if task in names else spelt.get(task.replace("_", "-"))
    if name is None:
        near = difflib.get_close_matches(task, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
        raise ValueError(f"task {task!r} is not in the dm_control suite; {hint}")
    domain, _, rest = name.partition("-")
    return DmControlEnv(domain, rest, action_repeat=action_repeat, render=render or RenderConfig())


def task_names() -> list[str]:
    """Every "domain-task" of the suite."""
    return [f"{domain}-{task}" for domain, task in import_suite().ALL_TASKS]


def _flatten(entries: Iterable[np.ndarray]) -> Float32Array:
    return np.concatenate([np.ravel(entry) for entry in entries]).astype(np.float32)
