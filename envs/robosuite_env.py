"""Manipulation tasks of robosuite, as the rest of the package sees environments: `task=robosuite:Lift`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from drift_wm.envs.rendering import RenderingUnavailableError
from drift_wm.envs.robosuite_names import CONTROL_HZ, PREFIX, import_robosuite, make_arguments
from drift_wm.envs.spaces import check_action
from drift_wm.interfaces import Spec

OBS_KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object-state")
"""What an observation consists of, in the order of robomimic's low-dimensional policies."""
_STEPS_PER_EPISODE = 200
_MODEL_SEED = 0


def make_robosuite(task: str, *, action_repeat: int = 1) -> RobosuiteEnv:
    """The environment of a task of robosuite with one Panda arm, controlled by changes of its hand's pose (OSC_POSE).

    Args:
        task: "robosuite:" and robosuite's own name for it.
        action_repeat: control steps, 20 a second, for which each action is held.

    Raises:
        ValueError: robosuite is not installed, or has no such task.
    """
    if action_repeat < 1:
        raise ValueError(f"action_repeat is {action_repeat}; expected at least 1 control step")
    robosuite = import_robosuite(task)
    name, known = task.removeprefix(PREFIX), sorted(robosuite.ALL_ENVIRONMENTS)
    if name not in known:
        near = [f"{PREFIX}{match}" for match in get_close_matches(name, known, n=4, cutoff=0.4)]
        hint = f"the nearest are {', '.join(near)}" if near else f"expected one of {', '.join(known)}"
        raise ValueError(f"task={task!r}: robosuite has no task {name!r}; {hint}")
    return RobosuiteEnv(task, action_repeat=action_repeat)


class RobosuiteEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A task of robosuite; build it with `make_robosuite`.

    An observation is a flat float32 vector (D,) of `OBS_KEYS`. An action (A,) in [-1, 1] is held for `action_repeat`
    control steps, or up to the end of the episode; rewards are summed. An episode ends with success (the task's
    `_check_success`) or after 200 control steps; rewards are robosuite's sparse ones, so that of a task with one object
    a return is 1 for success and else 0.

    A physics state is robosuite's own (time, positions, velocities), which robomimic restores, and after it what
    robomimic ignores, and without which steps do not repeat: the gripper's position command, the joints to which the
    arm's controller tends (those of its reset), the solver's warm start, and where bodies are fixed, such as a door.
    """

    def __init__(self, task: str, *, action_repeat: int = 1) -> None:
        """As `make_robosuite`, of a name that exists."""
        robosuite = import_robosuite(task)
        self._env = robosuite.make(task.removeprefix(PREFIX), **make_arguments(), seed=_MODEL_SEED)
        self.task_name, self.action_repeat = task, action_repeat
        self.obs_keys = tuple(key.removesuffix("-state") for key in OBS_KEYS)
        """Names of an observation's parts, in their order, as robomimic's files have them."""
        low, _ = self._env.action_spec
        size = self._flat(self._env.reset()).size
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, low.shape, np.float32)
        self.task_spec = Spec(size, low.size, action_repeat / CONTROL_HZ)
        self.render_mode = None
        self._steps = 0

    @property
    def decisions_per_episode(self) -> int:
        """Decisions of an episode that runs to its time limit."""
        return -(-_STEPS_PER_EPISODE // self.action_repeat)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode: the observation (D,), and info with `success`."""
        super().reset(seed=seed)
        if seed is not None:
            # In place, because the samplers of positions hold this very generator.
            self._env.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        self._env.reset()
        self._arm.new_update = True  # as after any other step and in `set_physics_state`, so that both go on alike
        self._steps = 0
        return self._observe(), {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold an action (A,) for `action_repeat` control steps; entries beyond [-1, 1] are clipped.

        Returns:
            observation (D,), summed reward, terminated (success), truncated, and info with `success`.

        Raises:
            ValueError: the action has another shape than (A,), or holds a NaN or an infinity.
        """
        control = np.clip(check_action(action, self.task_spec.action_size), -1.0, 1.0)
        total, success, over = 0.0, False, False
        for _ in range(self.action_repeat):
            _, reward, _, _ = self._env.step(control)
            total += float(reward)
            self._steps += 1
            success, over = bool(self._env._check_success()), self._steps >= _STEPS_PER_EPISODE
            if success or over:
                break
        return self._observe(), total, success, over and not success, {"success": success}

    def model_xml(self) -> str:
        """The MuJoCo model of this episode, which robomimic keeps with each demo."""
        return str(self._env.sim.model.get_xml())

    def physics_state(self) -> NDArray[np.float64]:
        """The complete state (S,), laid out as the class says."""
        # A gripper's command has an entry for each of its fingers only after its first action.
        command = np.broadcast_to(self._gripper.current_action, len(self._gripper.actuators))
        sim = self._env.sim
        parts = [sim.get_state().flatten(), command, self._arm.initial_joint, sim.data.qacc_warmstart]
        placed = [sim.model.body_pos.ravel(), sim.model.body_quat.ravel()]  # some tasks draw them anew at a reset
        return np.concatenate([*parts, *placed], dtype=np.float64)

    def set_physics_state(self, state: NDArray[np.float64]) -> None:
        """Go to a state (S,) of this task.

        Raises:
            ValueError: the state has another shape than (S,).
        """
        expected = self.physics_state().shape
        if np.shape(state) != expected:
            raise ValueError(
                f"the state has shape {np.shape(state)}; expected {expected}, as `physics_state` of {self.task_name} "
                "returns it"
            )
        sim = self._env.sim
        sizes = len(self._gripper.actuators), len(self._arm.initial_joint), sim.model.nv, sim.model.body_pos.size
        ends = np.cumsum([sim.get_state().flatten().size, *sizes])
        own, command_then, joints_then, warmstart, pos, quat = np.split(np.asarray(state, dtype=np.float64), ends)
        sim.model.body_pos[:], sim.model.body_quat[:] = pos.reshape(-1, 3), quat.reshape(-1, 4)
        sim.set_state_from_flattened(own)
        sim.forward()
        self._gripper.current_action, self._arm.initial_joint = command_then.copy(), joints_then.copy()
        self._arm.new_update = True  # else it would keep what it read of the simulation before
        sim.data.qacc_warmstart[:] = warmstart
        self._steps = round(float(state[0]) * CONTROL_HZ)

    def render(self) -> NDArray[np.uint8]:
        """Pictures are not drawn.

        Raises:
            RenderingUnavailableError: always.
        """
        raise RenderingUnavailableError(f"{self.task_name} is simulated without pictures; set video=false")

    def close(self) -> None:
        """Free the simulation, which cannot be used afterwards."""
        self._env.close()

    @property
    def _gripper(self) -> Any:
        return self._env.robots[0].gripper["right"]  # what robosuite calls a single arm

    @property
    def _arm(self) -> Any:
        return self._env.robots[0].part_controllers["right"]

    def _observe(self) -> NDArray[np.float32]:
        # At once: robosuite's own sampling may be a physics step behind, by rounding of its clock.
        return self._flat(self._env._get_observations(force_update=True))

    def _flat(self, obs: dict[str, Any]) -> NDArray[np.float32]:
        return np.concatenate([np.ravel(obs[key]) for key in OBS_KEYS]).astype(np.float32)
