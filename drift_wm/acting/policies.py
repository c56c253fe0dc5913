"""Policies: planning in a world model, and two ways to act without one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from drift_wm.interfaces import History, Objective, Plan, Planner, Risk, WorldModel
from drift_wm.planners.noise import ColouredNoise
from drift_wm.planners.objectives import following
from drift_wm.planners.scoring import make_score
from drift_wm.random_streams import decision_rng, each_decision_rng

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamState:
    """Seed and step by which a policy draws its next noise."""

    seed: int
    step: int


class RandomPolicy:
    """Uniform actions in [-1, 1]: the reference that every method must beat.

    Args:
        action_size: A.
    """

    def __init__(self, action_size: int) -> None:
        self.action_size = action_size

    def reset(self, obs: Tensor, *, seed: int) -> StreamState:
        """Start B episodes from observations (B, D)."""
        return StreamState(seed, 0)

    def act(self, obs: Tensor, state: StreamState, *, physics: Tensor | None = None) -> tuple[Tensor, StreamState]:
        """Observations (B, D) -> actions (B, A)."""
        streams = each_decision_rng(state.seed, state.step, len(obs))
        action = torch.stack([torch.rand(self.action_size, generator=rng) for rng in streams]) * 2 - 1
        return action, StreamState(state.seed, state.step + 1)


@dataclass(frozen=True, slots=True)
class NoiseState:
    """The actions of an episode, drawn at its start, and how many are spent."""

    actions: Tensor
    """(B, T, A)"""
    step: int


class PinkNoisePolicy:
    """Actions of pink noise over time: how to explore before there is a model.

    Independent actions average out in bodies with inertia; noise whose power falls as 1/f pushes at every time scale
    of the task (Eberhard et al. 2023, "Pink noise is all you need"). On cartpole-swingup it swings the pole to
    cos = 0.8 on average in 250 decisions where uniform noise reaches -0.7.

    Args:
        action_size: A.
        decisions: T, the longest episode.
    """

    def __init__(self, action_size: int, decisions: int) -> None:
        self.action_size = action_size
        self._noise = ColouredNoise(decisions, exponent=1.0)

    def reset(self, obs: Tensor, *, seed: int) -> NoiseState:
        """Draw the actions of B episodes."""
        streams = each_decision_rng(seed, 0, len(obs))
        noise = torch.cat([self._noise.sample(1, self.action_size, rng=rng) for rng in streams])
        return NoiseState(noise.clamp(-1, 1), 0)

    def act(self, obs: Tensor, state: NoiseState, *, physics: Tensor | None = None) -> tuple[Tensor, NoiseState]:
        """Observations (B, D) -> the next actions (B, A)."""
        return state.actions[:, state.step], NoiseState(state.actions, state.step + 1)


@dataclass(frozen=True, slots=True)
class PlanningState:
    """Memory of a planning policy: what it saw and did, and what it intends."""

    obs: Tensor
    """(B, K, D) newest frames; the newest is the observation of the coming decision once it is known."""
    actions: Tensor
    """(B, K - 1, A)"""
    plan: Plan
    executed: Tensor | None
    """(B, A) the last action; None before the first."""
    seed: int
    step: int


class Proposals(Protocol):
    """A source of action sequences that are worth a try."""

    def __call__(self, history: History, *, rng: torch.Generator) -> Tensor:
        """What is known, for B environments -> (B, M, H, A) sequences in [-1, 1]."""
        ...


class PlanningPolicy:
    """Model-predictive control: plan in a world model, execute the first action, plan again.

    Args:
        model: what predicts.
        planner: what searches.
        objective: what a sampled future is worth.
        risk: what several sampled futures of one candidate are worth together.
        particles: P, sampled futures per candidate.
        exploration_std: standard deviation of Gaussian noise on executed actions, for collecting data.
        proposals: further candidates for the first iteration of every decision.
        held: (A,) where entries of actions are held instead of planned; NaN of those that are planned, as None of all.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        objective: Objective,
        risk: Risk,
        *,
        particles: int = 1,
        exploration_std: float = 0.0,
        proposals: Proposals | None = None,
        held: Tensor | None = None,
    ) -> None:
        if planner.horizon % model.chunk:
            raise ValueError(
                f"planner.horizon={planner.horizon}: expected a multiple of the model's chunk of {model.chunk} steps, "
                f"such as {-(-planner.horizon // model.chunk) * model.chunk}"
            )
        self.model = model
        self.planner = planner
        self.objective = objective
        self.risk = risk
        self.particles = particles
        self.exploration_std = exploration_std
        self.proposals = proposals
        self.held = None if held is None or held.isnan().all() else held
        self._has_told = False

    def reset(self, obs: Tensor, *, seed: int) -> PlanningState:
        """Start B episodes from observations (B, D): the first frame stands for the frames before it."""
        B, K, A = obs.shape[0], self.model.history, self.model.spec.action_size
        return PlanningState(
            obs=obs.unsqueeze(1).expand(B, K, -1),
            actions=obs.new_zeros(B, K - 1, A),
            plan=self.planner.init(B),
            executed=None,
            seed=seed,
            step=0,
        )

    def act(self, obs: Tensor, state: PlanningState, *, physics: Tensor | None = None) -> tuple[Tensor, PlanningState]:
        """Observations (B, D) -> actions (B, A), after spending one decision's budget.

        Raises:
            FloatingPointError: from the start, the model predicts nothing finite whatever is done.
        """
        rng = decision_rng(state.seed, state.step)
        frames = torch.cat([state.obs[:, 1:], obs.unsqueeze(1)], dim=1)
        history = History(frames, state.actions, physics)
        objective = self.objective if state.executed is None else following(state.executed, self.objective)
        score = make_score(self.model, objective, self.risk, history, particles=self.particles, rng=rng)
        proposals = None if self.proposals is None else self.proposals(history, rng=rng)
        plan = self.planner.improve(score, state.plan, rng=rng, proposals=proposals)
        if plan.lost and bool((plan.score == -torch.inf).any()):  # an iteration that found nothing may not be the last
            self._tell_of_lost(plan, state.step)
        action = self.planner.action(plan)[:, 0].to(obs.device)  # a simulator is planned in on the CPU
        if self.exploration_std > 0:
            noise = torch.randn(action.shape, generator=rng, device=rng.device).to(action)
            action = (action + self.exploration_std * noise).clamp(-1, 1)
        if self.held is not None:
            action = torch.where(self.held.isnan(), action, self.held)
        # Frames are rolled at the start of the next call; the first call rolls a repeated frame.
        actions = torch.cat([state.actions, action.unsqueeze(1)], dim=1)[:, 1:]
        return action, PlanningState(frames, actions, self.planner.shift(plan, 1), action, state.seed, state.step + 1)

    def _tell_of_lost(self, plan: Plan, step: int) -> None:
        """In states far from all it has seen a model may diverge, and the plan before is then as good as any."""
        if step == 0 and bool((plan.score == -torch.inf).all()):
            raise FloatingPointError(
                "every candidate of the first decision has a NaN or infinite score: the model diverges whatever is "
                "done. Check the observations it was given, its normaliser and its checkpoint."
            )
        if not self._has_told:
            logger.warning(
                "decision %d: every candidate's score is NaN or infinite; continuing the previous plan (reported once)",
                step + 1,
            )
            self._has_told = True
