"""The true simulator as a world model: the ceiling that every learned model is compared with."""

from __future__ import annotations

from copy import copy
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drift_wm.envs.disturbances import Disturbance, DisturbanceConfig, Draw
from drift_wm.envs.disturbed_env import make_disturbed, measure_disturbance
from drift_wm.envs.kinematics import Array, StateBatch
from drift_wm.envs.observations import batched_observation
from drift_wm.envs.rendering import mujoco
from drift_wm.envs.rewards import batched_reward
from drift_wm.envs.rollout_pool import Push, RolloutPool
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

    Rewards of the tasks that `rewards.batched_reward` knows cost little beside the physics. For any other task each
    state of each sequence is restored and shown to the task, which takes seconds for thousands of states.

    In a disturbed world the particles are samples of what chance may do: gusts and slips make each of them a
    simulation of its own, sensors add their noise to one. They start from the true state, so this ceiling knows more
    than any policy that sees observations: the payload of the episode, and what late or noisy sensors hide.
    """

    history = 1
    chunk = 1

    def __init__(
        self,
        task: str,
        *,
        action_repeat: int = 2,
        threads: int | None = None,
        observe: bool = True,
        disturbance: DisturbanceConfig | None = None,
    ) -> None:
        """Build the simulator of one task.

        Args:
            task: "domain-task" of the suite, such as "cartpole-swingup".
            action_repeat: control steps an action is held, as in the environment.
            threads: simulator threads; None for every core.
            observe: predict observations. A planner that scores rewards alone can do without them; they are NaN
                then, so that reading them shows.
            disturbance: the one of the environment; None for an undisturbed world.

        Raises:
            ValueError: an unknown task or body, or an action repeat or number of threads below 1.
        """
        config = disturbance or DisturbanceConfig()
        self._environment = make_disturbed(task, config, action_repeat=action_repeat)
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
        self._disturbance: Disturbance = measure_disturbance(config, self._model, self.spec.observation_size)
        self._pool = RolloutPool(self._model, threads=threads, sub_steps=self._environment.sub_steps)

    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """Simulate every candidate from the true physics state.

        Args:
            history: its `physics` (B, S) float64 is the state to start from; nothing else is read.
            actions: (B, N, H, A) candidate sequences in [-1, 1].
            particles: P. In a deterministic world the same future is repeated P times, without a copy.
            rng: source of the disturbance, shared by all candidates and environments; unused without one.
            independent: draw the disturbance for every environment by itself (still shared by its candidates).

        Returns:
            obs (B, N, P, H, D) and reward (B, N, P, H), float32, on the device of `actions`.

        Raises:
            ValueError: the history carries no physics state, or a shape disagrees with the task.
        """
        physics = self._checked(history, actions, particles)
        draw = Draw()
        if self._disturbance.random:
            seed = torch.randint(2**63 - 1, (1,), generator=rng, device=rng.device).item()
            shape = (actions.shape[0] if independent else 1, particles, actions.shape[2])
            draw = self._disturbance.draw(np.random.default_rng(int(seed)), shape)
        return self._predict(draw, physics, actions, particles)

    def rollout_under(self, draw: Draw, history: History, actions: Tensor, *, particles: int) -> Prediction:
        """`rollout` with a given draw of the chance, of shape (1 or B, P, H); all else as there."""
        return self._predict(draw, self._checked(history, actions, particles), actions, particles)

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

    def _predict(self, draw: Draw, states: Array, actions: Tensor, particles: int) -> Prediction:
        physics, pending = self._disturbance.split(states)
        draw = draw.for_candidates()
        futures = particles if draw.moves else 1
        shape = (*actions.shape[:2], futures, actions.shape[2])
        batches, valid = self._simulate(physics, self._controls(actions, draw, shape), self._forces(draw, shape))
        reward = np.concatenate([self._reward(batch) for batch in batches])
        reward = np.where(valid, reward, np.nan).reshape(*shape, self._action_repeat).sum(axis=-1)
        predicted = _particles(reward, particles, actions.device)
        if not self._observing:
            unseen = torch.full((), torch.nan, device=actions.device)
            return Prediction(unseen.expand(*predicted.shape, self.spec.observation_size), predicted)
        decisions = slice(self._action_repeat - 1, None, self._action_repeat)
        obs = np.concatenate([self._observe(_at(batch, decisions)) for batch in batches])
        obs = np.where(valid[:, :, decisions, None], obs, np.nan).reshape(*shape, -1)
        return Prediction(_particles(_sensed(draw, obs, pending), particles, actions.device), predicted)

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
        expected = (actions.shape[0], self._layout.size + self._disturbance.pending_size)
        if tuple(history.physics.shape) != expected or history.physics.dtype != torch.float64:
            raise ValueError(
                f"history.physics is {history.physics.dtype} of shape {tuple(history.physics.shape)}; expected "
                f"torch.float64 of shape {expected}, the environment's `physics_state()` of each of the B rows"
            )
        if particles < 1:
            raise ValueError(f"particles is {particles}; expected at least 1")
        return np.asarray(history.physics.detach().cpu().numpy(), dtype=np.float64)

    def _controls(self, actions: Tensor, draw: Draw, shape: tuple[int, int, int, int]) -> Array:
        """(B, N, H, A) actions -> (B, N x W, T, nu) controls in the actuators' units, T = H x action repeat.

        `shape` is (B, N, W, H), W being the number of futures that differ in their physics.
        """
        decided = actions.detach().cpu().double().numpy()[:, :, None]
        each = np.broadcast_to(draw.executed(decided), (*shape, self.spec.action_size))
        held = each.reshape(shape[0], -1, *each.shape[3:]).repeat(self._action_repeat, axis=2)
        return rescale_actions(held, self._environment.control_low, self._environment.control_high)

    def _forces(self, draw: Draw, shape: tuple[int, int, int, int]) -> Array | None:
        """The draw's forces for every control step of every sequence, (B, N x W, T)."""
        if draw.force is None:
            return None
        each = np.broadcast_to(draw.force, shape)
        return each.reshape(shape[0], -1, shape[3]).repeat(self._action_repeat, axis=2)

    def _simulate(
        self, physics: Array, controls: Array, forces: Array | None
    ) -> tuple[list[StateBatch], NDArray[np.bool_]]:
        """Physics (B, S), controls (B, N, T, nu), forces (B, N, T) -> states (B', N, T) of each model, valid (B, N, T).

        B' is the number of environments that share a model.
        """
        shape = controls.shape[:3]
        full, warmstart, parameters = self._layout.split(physics)
        models = self._models_of(parameters)
        same = len(self._models) == 1
        run = self._pool.run(
            models[:1] if same else [model for model in models for _ in range(shape[1])],
            np.repeat(full, shape[1], axis=0),
            np.repeat(warmstart, shape[1], axis=0),
            controls.reshape(-1, *controls.shape[2:]),
            None if forces is None else Push(self._disturbance.body, forces.reshape(-1, shape[2])),
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


def _sensed(draw: Draw, obs: Array, pending: Array) -> Array:
    """True observations (B, N, W, H, D), those under way (B, d, D) -> what sensors report, (B, N, W or P, H, D)."""
    if pending.shape[1]:
        before = np.broadcast_to(pending[:, None, None], (*obs.shape[:3], *pending.shape[1:]))
        obs = np.concatenate((before, obs), axis=3)[:, :, :, : obs.shape[3]]
    return draw.seen(obs)


def _particles(values: Array, particles: int, device: torch.device) -> Tensor:
    """(B, N, 1 or P, H, ...) -> (B, N, P, H, ...) float32; particles that are the same are views of one."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
    return tensor.expand(*tensor.shape[:2], particles, *tensor.shape[3:])
