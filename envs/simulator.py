"""The true simulator as a world model: the ceiling that every learned model is compared with."""

from __future__ import annotations

from copy import copy
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drift_wm.envs.dm_control import make_dm_control
from drift_wm.envs.kinematics import Array, StateBatch
from drift_wm.envs.observations import batched_observation
from drift_wm.envs.rendering import mujoco
from drift_wm.envs.rewards import batched_reward
from drift_wm.envs.rollout_pool import RolloutPool
from drift_wm.envs.spaces import rescale_actions
from drift_wm.envs.task_reader import TaskReader
from drift_wm.interfaces import History, Prediction, Spec


class SimulatorWorldModel:
    """MuJoCo itself behind the world-model protocol, for any task of the dm_control suite.

    A prediction equals stepping the real environment from the same physics state, bit for bit in the state.
    Two things of an environment are not predicted, because they end an episode rather than continue it: the
    time limit, and a task's early termination (the suite's `lqr` tasks alone have one).

    Where the real environment would raise `PhysicsError` (the simulation has diverged), rewards and observations
    are NaN from that step to the horizon; planners rank such candidates last.

    Rewards of the tasks in `rewards.batched_tasks()` cost little beside the physics. For any other task each
    state of each sequence is restored and shown to the task, which takes seconds for thousands of states.
    """

    history = 1
    chunk = 1

    def __init__(self, task: str, *, action_repeat: int = 2, threads: int | None = None, observe: bool = True) -> None:
        """Build the simulator of one task.

        Args:
            task: "domain-task" of the suite, such as "cartpole-swingup".
            action_repeat: control steps an action is held, as in the environment.
            threads: simulator threads; None for every core.
            observe: predict observations. A planner that scores rewards alone can do without them; they are NaN
                then, so that reading them shows.

        Raises:
            ValueError: an unknown task, or an action repeat or number of threads below 1.
        """
        self._environment = make_dm_control(task, action_repeat=action_repeat)
        self._environment.reset(seed=0)  # tasks put the last touches to their model at the first reset
        self.spec: Spec = self._environment.task_spec
        self._layout = self._environment.state_layout
        self._action_repeat = action_repeat
        self._observing = observe
        reader = TaskReader(self._environment.suite_environment, self._layout)
        name = self._environment.task_name
        self._reward = batched_reward(name) or reader.reward
        self._observe = batched_observation(name) or reader.observation
        self._model: mujoco.MjModel = copy(self._environment.suite_environment.physics.model.ptr)
        self._models: dict[bytes, mujoco.MjModel] = {}
        self._pool = RolloutPool(self._model, threads=threads, sub_steps=self._environment.sub_steps)

    def rollout(self, history: History, actions: Tensor, *, particles: int, rng: torch.Generator) -> Prediction:
        """Simulate every candidate from the true physics state.

        Args:
            history: its `physics` (B, S) float64 is the state to start from; nothing else is read.
            actions: (B, N, H, A) candidate sequences in [-1, 1].
            particles: P. The world is deterministic: the same future is repeated P times, without a copy.
            rng: unused, for the same reason.

        Returns:
            obs (B, N, P, H, D) and reward (B, N, P, H), float32, on the device of `actions`.

        Raises:
            ValueError: the history carries no physics state, or a shape disagrees with the task.
        """
        physics = self._checked(history, actions, particles)
        batches, valid = self._simulate(physics, self._controls(actions))
        reward = np.concatenate([self._reward(batch) for batch in batches])
        reward = np.where(valid, reward, np.nan).reshape(*actions.shape[:3], self._action_repeat).sum(axis=-1)
        predicted = _particles(reward, particles, actions.device)
        if not self._observing:
            unseen = torch.full((), torch.nan, device=actions.device)
            return Prediction(unseen.expand(*predicted.shape, self.spec.observation_size), predicted)
        decisions = slice(self._action_repeat - 1, None, self._action_repeat)
        obs = np.concatenate([self._observe(_at(batch, decisions)) for batch in batches])
        obs = np.where(valid[:, :, decisions, None], obs, np.nan)
        return Prediction(_particles(obs, particles, actions.device), predicted)

    def close(self) -> None:
        """Stop the threads and free the simulator."""
        self._pool.close()
        self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, history: History, actions: Tensor, particles: int) -> Array:
        """The physics states (B, S), after everything a caller can get wrong."""
        if history.physics is None:
            raise ValueError(
                "history.physics is None; the simulator starts from the true physics state (B, S): "
                "pass the environment's `physics_state()`, or plan with a learned model"
            )
        if actions.ndim != 4 or actions.shape[-1] != self.spec.action_size or 0 in actions.shape:
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}; expected (B, N, H, A) with "
                f"A = {self.spec.action_size} and none of them 0"
            )
        expected = (actions.shape[0], self._layout.size)
        if tuple(history.physics.shape) != expected or history.physics.dtype != torch.float64:
            raise ValueError(
                f"history.physics is {history.physics.dtype} of shape {tuple(history.physics.shape)}; expected "
                f"torch.float64 of shape {expected}, the environment's `physics_state()` of each of the B rows"
            )
        if particles < 1:
            raise ValueError(f"particles is {particles}; expected at least 1")
        return np.asarray(history.physics.detach().cpu().numpy(), dtype=np.float64)

    def _controls(self, actions: Tensor) -> Array:
        """(B, N, H, A) actions -> (B, N, T, nu) controls in the actuators' units, T = H x action repeat."""
        held = actions.detach().cpu().double().numpy().repeat(self._action_repeat, axis=2)
        return rescale_actions(held, self._environment.control_low, self._environment.control_high)

    def _simulate(self, physics: Array, controls: Array) -> tuple[list[StateBatch], NDArray[np.bool_]]:
        """Physics (B, S), controls (B, N, T, nu) -> states (B', N, T) of each distinct model, valid (B, N, T)."""
        shape = controls.shape[:3]
        full, warmstart, parameters = self._layout.split(physics)
        models = self._models_of(parameters)
        same = len(self._models) == 1
        run = self._pool.run(
            models[:1] if same else [model for model in models for _ in range(shape[1])],
            np.repeat(full, shape[1], axis=0),
            np.repeat(warmstart, shape[1], axis=0),
            controls.reshape(-1, *controls.shape[2:]),
        )
        states = run.states.reshape(*shape, -1)
        sensordata = run.sensordata.reshape(*shape, run.sensordata.shape[-1])
        groups = [slice(None)] if same else [slice(row, row + 1) for row in range(shape[0])]
        batches = [
            StateBatch(models[rows.start or 0], states[rows], controls[rows], sensordata[rows]) for rows in groups
        ]
        return batches, run.valid.reshape(shape)

    def _models_of(self, parameters: Array) -> list[mujoco.MjModel]:
        """Episode parameters (B, M) -> the model of each environment, one object for equal parameters."""
        cached, self._models = self._models, {}
        for row in parameters:
            key = row.tobytes()
            if key in self._models:
                continue
            if key not in cached:
                cached[key] = copy(self._model)
                self._layout.apply_parameters(cached[key], row)
            self._models[key] = cached[key]
        return [self._models[row.tobytes()] for row in parameters]


def _at(states: StateBatch, steps: slice) -> StateBatch:
    """(..., T) states -> those at some of the T steps."""
    return StateBatch(
        states.model, states.physics[..., steps, :], states.ctrl[..., steps, :], states.sensordata[..., steps, :]
    )


def _particles(values: Array, particles: int, device: torch.device) -> Tensor:
    """(B, N, H, ...) -> (B, N, P, H, ...) float32, all particles being views of one."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device).unsqueeze(2)
    return tensor.expand(*tensor.shape[:2], particles, *tensor.shape[3:])
