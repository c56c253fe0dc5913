"""Acting by a learned policy that looks before it leaps: a world model chooses among the chunks it proposes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drift_wm.behaviour import LearnedPolicy, executed_actions
from drift_wm.interfaces import History, Objective, Risk, WorldModel
from drift_wm.planners.scoring import make_score
from drift_wm.random_streams import decision_rng


@dataclass(frozen=True, slots=True)
class ForesightState:
    """Memory of the policy: what it saw and did, and what is left to do of the chosen chunk."""

    obs: Tensor
    """(B, K, D) newest frames, up to the last decision, as many as the policy or the model reads."""
    actions: Tensor
    """(B, K - 1, A) between them."""
    pending: Tensor
    """(B, n, A) actions to execute before the next chunk is chosen; n may be 0."""
    seed: int
    """Of the first environment's noise; each further one has the next."""
    step: int


class ForesightPolicy:
    """Samples several chunks of a policy and executes the one whose predicted future is worth most.

    Every proposal is something a demonstrator might have done, so the model is asked about little that it never saw.
    Where its members still disagree, a risk rule such as `mean_minus_spread` on `particles` futures of an ensemble
    holds that against a proposal.

    Args:
        policy: proposes.
        model: predicts; its chunk divides the policy's.
        objective: what a predicted future is worth.
        risk: what several futures of one proposal are worth together.
        proposals: P chunks.
        particles: futures of each.
        execute: actions of the chosen chunk that are executed; default: as the policy was configured.

    Raises:
        ValueError: the two were trained for other sizes, or the chunks or `execute` do not fit.
    """

    def __init__(
        self,
        policy: LearnedPolicy,
        model: WorldModel,
        objective: Objective,
        risk: Risk,
        *,
        proposals: int,
        particles: int = 1,
        execute: int | None = None,
    ) -> None:
        sizes = [(each.spec.observation_size, each.spec.action_size) for each in (policy, model)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the policy has (observation, action) sizes {sizes[0]}, the world model {sizes[1]}: train both on the "
                "same keys of the same data"
            )
        if policy.chunk % model.chunk:
            raise ValueError(
                f"the policy's chunk of {policy.chunk} actions is no multiple of the world model's of {model.chunk}; "
                "train one of them with another chunk"
            )
        self.execute = executed_actions(policy, execute)
        self.policy, self.model = policy, model
        self.objective, self.risk = objective, risk
        self.proposals, self.particles = proposals, particles

    def reset(self, obs: Tensor, *, seed: int) -> ForesightState:
        """Start B episodes from observations (B, D): the first frame stands for the frames before it."""
        B, A, K = obs.shape[0], self.policy.spec.action_size, max(self.policy.history, self.model.history)
        return ForesightState(
            obs=obs.unsqueeze(1).expand(B, K, -1),
            actions=obs.new_zeros(B, K - 1, A),
            pending=obs.new_zeros(B, 0, A),
            seed=seed,
            step=0,
        )

    def act(
        self, obs: Tensor, state: ForesightState, *, physics: Tensor | None = None
    ) -> tuple[Tensor, ForesightState]:
        """Observations (B, D) -> actions (B, A) in [-1, 1]; chooses a chunk where none is pending."""
        # Frames are rolled at the start of each call; the first call rolls a repeated frame.
        frames = torch.cat([state.obs[:, 1:], obs.unsqueeze(1)], dim=1)
        pending = state.pending
        if pending.shape[1] == 0:
            pending = self._choose(frames, state)[:, : self.execute]
        action = pending[:, 0]
        actions = torch.cat([state.actions, action.unsqueeze(1)], dim=1)[:, 1:]
        return action, ForesightState(frames, actions, pending[:, 1:], state.seed, state.step + 1)

    def _choose(self, frames: Tensor, state: ForesightState) -> Tensor:
        """(B, K, D) -> the best chunks (B, k, A)."""
        B, P = len(frames), self.proposals
        sources = [decision_rng(state.seed + i, state.step) for i in range(B)]
        seen = frames[:, -self.policy.history :].repeat_interleave(P, dim=0)
        chunks = self.policy.sample(seen, rng=[source for source in sources for _ in range(P)]).clamp(-1, 1)
        candidates = chunks.view(B, P, *chunks.shape[1:])
        past = state.actions[:, state.actions.shape[1] - (self.model.history - 1) :]
        score = make_score(
            self.model,
            self.objective,
            self.risk,
            History(frames[:, -self.model.history :], past),
            particles=self.particles,
            rng=sources[0],
        )
        return candidates[torch.arange(B), score(candidates).argmax(dim=1)]
