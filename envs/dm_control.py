"""Tasks of the dm_control suite as gymnasium environments whose complete state can be read and restored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from drift_wm.envs.physics_state import StateLayout, find_layout
from drift_wm.envs.rendering import RenderingUnavailableError, choose_backend, import_suite
from drift_wm.envs.spaces import check_action, rescale_actions
from drift_wm.interfaces import Spec

if TYPE_CHECKING:
    from dm_control.rl.control import Environment

_FRAMES_WITHOUT_LIMIT = 1000
_CAMERA = 0
"""Of pictures: the first of those that a task's model brings."""


@dataclass(frozen=True, slots=True)
class RenderConfig:
    """How pictures are drawn."""

    width: int = 320
    """Pixels."""
    height: int = 240
    """Pixels."""
    fast: bool = False
    """Without shadows, reflections and multisampling: five to ten times faster without a GPU, but another picture,
    not to be compared with results from pixels elsewhere."""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if getattr(self, name) < 1:
                raise ValueError(f"render {name} is {getattr(self, name)}; expected at least 1 pixel")


DEFAULT_RENDER = RenderConfig()


def task_names() -> list[str]:
    """The "domain-task" names of the whole suite, its benchmark and its other tasks."""
    return [f"{domain}-{task}" for domain, task in import_suite().ALL_TASKS]


def benchmark_tasks() -> list[str]:
    """The "domain-task" names of the suite's benchmark."""
    return [f"{domain}-{task}" for domain, task in import_suite().BENCHMARKING]


def make_dm_control(task: str, *, action_repeat: int = 2, render: RenderConfig = DEFAULT_RENDER) -> DmControlEnv:
    """The environment of a task of the suite.

    Args:
        task: "domain-task", such as "cartpole-swingup" or "ball_in_cup-catch"; hyphens may stand for underscores.
        action_repeat: control steps for which each action is held.
        render: how pictures are drawn.

    Raises:
        ValueError: an unknown task (the message lists the nearest), an action repeat below 1.
        RenderingUnavailableError: the task is `quadruped-escape`, which renders at each reset, and nothing can be.
    """
    return DmControlEnv(*find_task(task), action_repeat=action_repeat, render=render)


class DmControlEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A task of the dm_control suite; build it with `make_dm_control`.

    An observation is a flat float32 vector (D,): the task's entries, scalars included, in the task's order. An action
    (A,) in [-1, 1] is scaled to the bounds of the task's actuators (unbounded actuators, those of `lqr`, receive it as
    it is) and held for `action_repeat` control steps, or up to the end of the episode if that comes first; rewards
    are summed. The time limit truncates an episode, a discount of zero terminates it. The `lqr` tasks have no time
    limit; they are truncated after 1000 frames, the length of every other task.
    """

    def __init__(
        self, domain: str, task: str, *, action_repeat: int = 2, render: RenderConfig = DEFAULT_RENDER
    ) -> None:
        """Load a task by dm_control's two names for it; all else as in `make_dm_control`."""
        if action_repeat < 1:
            raise ValueError(f"action_repeat is {action_repeat}; expected at least 1 control step")
        # A fixed seed for what a task draws while it is built (the stiffness of `lqr`), so that a task is always the
        # same task; what it draws at resets then starts from fresh entropy, until a reset is given a seed.
        environment = import_suite().load(domain, task, task_kwargs={"random": 0})
        environment.task.random.seed()
        self.suite_environment: Environment = environment
        """dm_control's own environment. Its step counter is not used; do not step it."""
        self.task_name = f"{domain}-{task}"
        self.action_repeat = action_repeat
        self.state_layout: StateLayout = find_layout(domain, task)
        self.sub_steps = round(environment.control_timestep() / environment.physics.timestep())
        """Physics steps of one control step."""
        limit = environment._step_limit  # not public; the alternative is a copy of dm_control's table of limits
        self.frames_per_episode: int = _FRAMES_WITHOUT_LIMIT if math.isinf(limit) else math.ceil(limit)
        """Control steps of an episode that runs to its time limit."""
        self.control_low, self.control_high = _control_bounds(environment)
        """The actuators' bounds (A,), in their own units, which actions of -1 and 1 stand for."""
        self._set_spaces()
        self._set_rendering(render)
        self._frame = 0
        self._in_episode = False
        self._prepared = False

    def _set_spaces(self) -> None:
        entries = self.suite_environment.observation_spec()
        self.obs_keys = tuple(entries)
        """Names of an observation's parts, in their order."""
        self.task_spec = Spec(
            observation_size=sum(math.prod(entry.shape) for entry in entries.values()),
            action_size=self.control_low.size,
            decision_seconds=self.suite_environment.control_timestep() * self.action_repeat,
        )
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.task_spec.observation_size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.task_spec.action_size,), np.float32)

    def _set_rendering(self, render: RenderConfig) -> None:
        model = self.suite_environment.physics.model
        # The renderer, which is made at the first picture, fixes its frame buffer once and for all.
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, render.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, render.height)
        if render.fast:
            model.vis.quality.offsamples = 0
        self._render = render
        self._backend = choose_backend()
        self.render_mode = "rgb_array" if self._backend.renders else None
        # Not the class attribute, which all environments share.
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 1.0 / self.task_spec.decision_seconds}

    @property
    def decisions_per_episode(self) -> int:
        """Steps of an episode that runs to its time limit."""
        return math.ceil(self.frames_per_episode / self.action_repeat)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: fixes this episode and all that follow, as `suite.load(..., task_kwargs={"random": seed})` does;
                None goes on with the present stream.
            options: unused.

        Returns:
            the observation (D,), and info with `frames`: 0.

        Raises:
            ValueError: the seed is not between 0 and 2**32 - 1.
        """
        if seed is not None and not 0 <= seed < 2**32:
            raise ValueError(f"the seed is {seed}; expected an integer from 0 to 2**32 - 1")
        super().reset(seed=seed)
        if seed is not None:
            self.suite_environment.task.random.seed(seed)
        self.suite_environment.reset()
        self._frame = 0
        self._in_episode = True
        self._prepared = True
        return self._observe(), {"frames": 0}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold an action (A,) for `action_repeat` control steps; entries beyond [-1, 1] are clipped.

        Returns:
            observation (D,), summed reward, terminated, truncated, and info with `frames`, the control steps taken.

        Raises:
            ValueError: the action has another shape than (A,), or holds a NaN or an infinity.
            gymnasium.error.ResetNeeded: no episode is running.
            FloatingPointError: the simulation has diverged; the episode is over.
        """
        unit = check_action(action, self.task_spec.action_size)
        if not self._in_episode:
            raise ResetNeeded("no episode is running: it has ended, or none was begun; call reset()")
        control = rescale_actions(unit, self.control_low, self.control_high)
        self._in_episode = False  # until the physics has come through
        start, reward, discount = self._frame, 0.0, None
        while discount is None and self._frame - start < self.action_repeat:
            reward += self._advance(control)
            if self._frame >= self.frames_per_episode:
                discount = 1.0
            else:
                discount = self.suite_environment.task.get_termination(self.suite_environment.physics)
        self._in_episode = discount is None
        terminated, truncated = discount == 0.0, discount is not None and discount != 0.0
        return self._observe(), reward, terminated, truncated, {"frames": self._frame - start}

    def render(self) -> NDArray[np.uint8]:
        """A picture (height, width, 3) of the present state.

        Raises:
            RenderingUnavailableError: no OpenGL backend works here; the message says what to install.
        """
        self._backend.require()
        flags = {"shadow": False, "reflection": False} if self._render.fast else None
        try:
            picture = self.suite_environment.physics.render(
                height=self._render.height,
                width=self._render.width,
                camera_id=_CAMERA,
                render_flag_overrides=flags,
            )
        except Exception as error:  # drivers fail in ways of their own, MuJoCo tells of them in another
            raise RenderingUnavailableError(f"{self.task_name} failed to draw: {error}") from error
        return np.asarray(picture, dtype=np.uint8)

    def close(self) -> None:
        """Free the simulation and its renderer. The environment cannot be used afterwards."""
        self.suite_environment.close()

    def physics_state(self) -> NDArray[np.float64]:
        """The complete state (S,), laid out as `state_layout` says."""
        return self.state_layout.read(self.suite_environment.physics)

    def set_physics_state(self, state: NDArray[np.float64]) -> None:
        """Go to a state (S,) of this task, read from this or another environment of it; its episode is continued.

        The clock is part of the state, and with it the time left in the episode. The random stream of resets is not.

        Raises:
            ValueError: the state has another shape than (S,), or is not finite.
            dm_control.rl.control.PhysicsError: MuJoCo judges the state invalid.
        """
        if not self._prepared:
            self.reset()  # some tasks compute constants of their own at a reset
        self.state_layout.write(self.suite_environment.physics, state)
        environment = self.suite_environment
        self._frame = round(float(environment.physics.time()) / environment.control_timestep())
        terminal = environment.task.get_termination(environment.physics) is not None
        self._in_episode = self._frame < self.frames_per_episode and not terminal

    def _advance(self, control: NDArray[np.float64]) -> float:
        """Take one control step and return its reward."""
        # What dm_control's `Environment.step` does, without a step counter that cannot be set and an observation
        # that nobody reads.
        task, physics = self.suite_environment.task, self.suite_environment.physics
        task.before_step(control, physics)
        try:
            physics.step(self.sub_steps)
        except RuntimeError as error:  # dm_control's PhysicsError
            raise FloatingPointError(f"the simulation of {self.task_name} has diverged: {error}") from error
        task.after_step(physics)
        self._frame += 1
        return float(task.get_reward(physics))

    def _observe(self) -> NDArray[np.float32]:
        entries = self.suite_environment.task.get_observation(self.suite_environment.physics).values()
        return np.concatenate([np.ravel(entry) for entry in entries]).astype(np.float32)


def _control_bounds(environment: Environment) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lower and upper bounds (A,) of the actuators; -1 and 1 for those without."""
    spec = environment.action_spec()
    limited = np.asarray(environment.physics.model.actuator_ctrllimited, dtype=bool)
    return np.where(limited, spec.minimum, -1.0), np.where(limited, spec.maximum, 1.0)


def find_task(name: str) -> tuple[str, str]:
    """The domain and task of a name, in which hyphens and underscores are not told apart.

    Raises:
        ValueError: an unknown task; the message lists the nearest.
    """
    known = {f"{domain}_{task}": (domain, task) for domain, task in import_suite().ALL_TASKS}
    plain = name.replace("-", "_")
    if plain in known:
        return known[plain]
    near = ["-".join(known[match]) for match in get_close_matches(plain, known, n=4, cutoff=0.4)]
    hint = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(task_names())}"
    raise ValueError(f"the dm_control suite has no task {name!r}; expected 'domain-task': {hint}")
