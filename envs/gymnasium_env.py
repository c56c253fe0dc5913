"""Any gymnasium environment with box actions, as the rest of the package sees environments."""

from __future__ import annotations

import re
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray

from drift_wm.envs.rendering import RenderingUnavailableError, choose_backend
from drift_wm.envs.spaces import check_action, require_box_action, rescale_actions
from drift_wm.interfaces import Spec

PLUGINS = {"gymnasium_robotics": "robotics"}
"""Packages whose environments gymnasium knows only after they were asked to register them, and the extra of each.
None but these is ever imported by a task's name."""
_SUCCESS = ("success", "is_success")
"""What gymnasium-robotics calls it in the info of a step: the Adroit hand, and Fetch."""
_STEPS_WITHOUT_LIMIT = 1000
_SECONDS_UNKNOWN = 1 / 30


def is_gymnasium_id(task: str) -> bool:
    """Whether a task's name is one of gymnasium's, such as "Hopper-v5" or "my-robots/Reach-v0"."""
    return re.search(r"-v\d+$", task) is not None or task in gymnasium.registry


def plain_name(task: str) -> str:
    """A task's name without the package that registers it: "gymnasium_robotics:FetchReach-v4" -> "FetchReach-v4"."""
    return task.rpartition(":")[2]


def make_gymnasium(task: str, *, action_repeat: int = 1) -> GymnasiumEnv:
    """The environment that gymnasium registers under a name.

    Environments of gymnasium itself and of gymnasium-robotics are known, those of the latter also under gymnasium's
    own spelling "gymnasium_robotics:Name-v1"; one of your own is, once your program has called `gymnasium.register`.
    Names that would import any other module are refused: a checkpoint or data file carries the name of its task, and
    must not decide what is executed.

    Args:
        task: its name.
        action_repeat: steps of the environment for which each action is held.

    Raises:
        ValueError: no such environment (the message lists the nearest), or one that cannot be planned in.
    """
    package, colon, _ = task.rpartition(":")
    if colon and package not in PLUGINS:
        raise ValueError(
            f"task={task!r}: expected a name without ':', or {' or '.join(PLUGINS)} before it; import the module that "
            "registers any other environment in your own program, and use the name after the colon"
        )
    if colon and find_spec(package) is None:
        raise ValueError(f"task={task!r}: {package} is not installed; pip install 'drift-wm[{PLUGINS[package]}]'")
    name = plain_name(task)
    if name not in gymnasium.registry:
        _register_plugins()
    if name not in gymnasium.registry:
        raise ValueError(f"task={task!r}: gymnasium has no environment of that name; {_advice(name)}")
    return GymnasiumEnv(name, action_repeat=action_repeat)


class GymnasiumEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A registered environment; build it with `make_gymnasium`.

    An observation is a flat float32 vector (D,), that of gymnasium's `flatten`. An action (A,) in [-1, 1] is scaled to
    the bounds of the action space, to the nearest whole number where that consists of such, and held for
    `action_repeat` steps, or up to the end of the episode; rewards are summed. The physics state of MuJoCo
    environments is (qpos, qvel); others have none. Where the environment tells of success, `info["success"]` of a step
    is whether there was any while the action was held.
    """

    def __init__(self, task: str, *, action_repeat: int = 1) -> None:
        """As `make_gymnasium`, of a name that is registered."""
        if action_repeat < 1:
            raise ValueError(f"action_repeat is {action_repeat}; expected at least 1 step")
        self._backend = choose_backend()
        self._env: gymnasium.Env[Any, Any] = _make(task, renders=self._backend.renders)
        self.render_mode = self._env.render_mode
        self.task_name = task
        self.action_repeat = action_repeat
        self._box = box = require_box_action(self._env.action_space)
        self.control_low, self.control_high = box.low.astype(np.float64), box.high.astype(np.float64)
        """(A,): what -1 and 1 of an action stand for."""
        seen = self._env.observation_space
        size = _observation_size(seen)
        self.obs_keys = tuple(seen.spaces) if isinstance(seen, gymnasium.spaces.Dict) else ()
        """Names of an observation's parts, in their order; none of a vector without names."""
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, box.shape, np.float32)
        self.task_spec = Spec(size, box.shape[0], self._step_seconds() * action_repeat)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 1.0 / self.task_spec.decision_seconds}
        limit = gymnasium.spec(task).max_episode_steps
        self.steps_per_episode = limit or _STEPS_WITHOUT_LIMIT
        """Steps of the environment in an episode that runs to its time limit; 1000 where it has none."""
        self._steps = 0

    @property
    def decisions_per_episode(self) -> int:
        """Decisions of an episode that runs to its time limit."""
        return -(-self.steps_per_episode // self.action_repeat)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode: the observation (D,), and the environment's own info."""
        super().reset(seed=seed)
        self._steps = 0
        obs, info = self._env.reset(seed=seed, options=options)
        return self._flat(obs), info

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold an action (A,) for `action_repeat` steps; entries beyond [-1, 1] are clipped.

        Returns:
            observation (D,), summed reward, terminated, truncated, and the last step's info, with `success` where the
            environment tells of it.

        Raises:
            ValueError: the action has another shape than (A,), or holds a NaN or an infinity.
        """
        unit = check_action(action, self.task_spec.action_size)
        control = rescale_actions(unit, self.control_low, self.control_high)
        if np.issubdtype(self._box.dtype, np.integer):
            control = np.rint(control)
        total, told = 0.0, []
        for _ in range(self.action_repeat):
            given = control.astype(self._box.dtype)  # a copy, which the environment may write to
            obs, reward, terminated, truncated, info = self._env.step(given)
            total += float(reward)
            told += [bool(info[name]) for name in _SUCCESS if name in info]
            self._steps += 1
            truncated = truncated or (not terminated and self._steps >= self.steps_per_episode)
            if terminated or truncated:
                break
        if told:
            info = {**info, "success": any(told)}
        return self._flat(obs), total, terminated, truncated, info

    def render(self) -> NDArray[np.uint8]:
        """A picture (height, width, 3) of the present state.

        Raises:
            RenderingUnavailableError: no OpenGL backend works here, and the message says what to install; or the
                environment draws nothing.
        """
        self._backend.require()
        if self.render_mode is None:
            raise RenderingUnavailableError(f"{self.task_name} draws no pictures: it has no render mode rgb_array")
        try:
            return np.asarray(self._env.render(), dtype=np.uint8)
        except Exception as error:  # environments of any origin draw here, each with failures of its own
            raise RenderingUnavailableError(f"{self.task_name} failed to draw: {error}") from error

    def close(self) -> None:
        """Free the environment, which cannot be used afterwards."""
        self._env.close()

    def physics_state(self) -> NDArray[np.float64]:
        """(qpos, qvel) of a MuJoCo environment; nothing, (0,), of others."""
        inner = self._env.unwrapped
        return inner.state_vector() if isinstance(inner, MujocoEnv) else np.zeros(0)

    def set_physics_state(self, state: NDArray[np.float64]) -> None:
        """Go to a state of this task, from which a whole time limit is left.

        Raises:
            ValueError: the environment's state cannot be set, or has another size.
        """
        inner = self._env.unwrapped
        if not isinstance(inner, MujocoEnv):
            raise ValueError(f"{self.task_name} is no MuJoCo environment of gymnasium, so its state cannot be set")
        nq, nv = inner.model.nq, inner.model.nv
        if np.shape(state) != (nq + nv,):
            raise ValueError(f"the state has shape {np.shape(state)}; expected ({nq + nv},), that of {self.task_name}")
        inner.set_state(np.asarray(state[:nq]), np.asarray(state[nq:]))  # type: ignore[no-untyped-call]
        self._steps = 0

    def _flat(self, obs: Any) -> NDArray[np.float32]:
        flat = gymnasium.spaces.flatten(self._env.observation_space, obs)
        return np.asarray(flat, dtype=np.float32)

    def _step_seconds(self) -> float:
        """Seconds of one step, where the environment says so."""
        dt = getattr(self._env.unwrapped, "dt", None)
        fps = self._env.metadata.get("render_fps")
        if isinstance(dt, (int, float, np.floating)) and dt > 0:  # environments of any origin: it may be a method
            return float(dt)
        return 1.0 / fps if fps else _SECONDS_UNKNOWN


def _make(task: str, *, renders: bool) -> gymnasium.Env[Any, Any]:
    """The environment, ready to draw where both it and the machine can.

    Without gymnasium's own time limit, whose steps go on counting where a state is restored.

    Raises:
        ValueError: it needs a package that is not there, or is of a version that gymnasium has given up.
    """
    made_by = gymnasium.spec(task).entry_point
    try:
        creator = load_env_creator(made_by) if isinstance(made_by, str) else made_by
        if renders and _draws(creator):
            with suppress(TypeError):  # one that takes no render mode, though its class says that it draws
                return _make_without_limit(task, render_mode="rgb_array")
        env = _make_without_limit(task)
    except (ImportError, gymnasium.error.Error) as error:
        raise ValueError(f"task={task!r}: gymnasium cannot make it: {error}") from error
    if renders and _draws(env):  # made by a function, which cannot say so beforehand
        try:
            drawing = _make_without_limit(task, render_mode="rgb_array")
        except TypeError:  # and which takes no render mode
            return env
        env.close()
        return drawing
    return env


def _make_without_limit(task: str, **options: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(task, max_episode_steps=-1, **options)


def _draws(env: Any) -> bool:
    """Whether an environment, or a class of them, says that it draws pictures."""
    return "rgb_array" in getattr(env, "metadata", {}).get("render_modes", [])


def _observation_size(space: gymnasium.Space[Any]) -> int:
    boxes = space.spaces.values() if isinstance(space, gymnasium.spaces.Dict) else [space]
    if not all(isinstance(box, gymnasium.spaces.Box) and len(box.shape) <= 1 for box in boxes):
        raise ValueError(
            f"the observation space is {space}; expected vectors of numbers, a Box or a Dict of them: choose its state "
            "observations (gymnasium.wrappers.FilterObservation keeps entries of a Dict), or flatten it with "
            "gymnasium.wrappers.FlattenObservation"
        )
    return gymnasium.spaces.flatdim(space)


def _register_plugins() -> None:
    for name in PLUGINS:
        if find_spec(name) is not None:
            gymnasium.register_envs(import_module(name))


def _advice(name: str) -> str:
    """What to do about a name that is not registered."""
    newest = {spec.name: known for known, spec in gymnasium.registry.items()}  # older ones may not be made any more
    near = get_close_matches(name, list(newest.values()), n=4, cutoff=0.4)
    hints = [f"the nearest are {', '.join(near)}" if near else "call gymnasium.register before"]
    for package, extra in PLUGINS.items():
        if find_spec(package) is None:
            hints.append(f"those of {package} need pip install 'drift-wm[{extra}]'")
    hints.append("one of your own is known to the program that registers it: call drift_wm.cli.main([...]) there")
    return "; ".join(hints)
