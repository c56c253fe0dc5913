"""Acting by a learned policy that looks before it leaps: a world model chooses among the chunks it proposes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drift_wm.interfaces import History, Objective, Risk, WorldModel
from drift_wm.models.behaviour import BehaviourPolicy, LearnedPolicy
from drift_wm.planners.scoring import make_score


class ForesightPolicy(BehaviourPolicy):
    """Samples several chunks of a policy and executes the one whose predicted future is worth most.

    Every proposal is something a demonstrator might have done, so the model is asked about little that it never saw.
    Where its members still disagree, a risk rule such as `mean_minus_spread` on `particles` futures of an ensemble
    holds that against a proposal.

    Args:
        policy: proposes.
        advisor: predicts; its chunk divides the policy's.
        objective: what a predicted future is worth.
        risk: what several futures of one proposal are worth together.
        proposals: P chunks.
        particles: futures of each.
        execute: actions of the chosen chunk that are executed; default: as the policy was configured.
        noise: its scale for the proposals, above 0; whatever the policy was configured for, there must be a choice.

    Raises:
        ValueError: the two were trained for other sizes, or the chunks or `execute` do not fit.
    """

    def __init__(
        self,
        policy: LearnedPolicy,
        advisor: WorldModel,
        objective: Objective,
        risk: Risk,
        *,
        proposals: int,
        particles: int = 1,
        execute: int | None = None,
        noise: float = 1.0,
    ) -> None:
        super().__init__(policy, execute=execute, noise=noise)
        sizes = [each.spec.sizes for each in (policy, advisor)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the policy has (observation, action) sizes {sizes[0]}, the world model {sizes[1]}: train both on the "
                "same keys of the same data"
            )
        if policy.chunk % advisor.chunk:
            raise ValueError(
                f"the policy's chunk of {policy.chunk} actions is no multiple of the world model's of {advisor.chunk}; "
                "train one of them with another chunk"
            )
        self.advisor = advisor
        self.objective, self.risk = objective, risk
        self.proposals, self.particles = proposals, particles

    @property
    def history(self) -> int:
        """K, frames that the policy or the world model reads."""
        return max(self.model.history, self.advisor.history)

    def next_chunk(self, history: History, sources: Sequence[torch.Generator]) -> Tensor:
        """The best chunks: arguments as `BehaviourPolicy.next_chunk` -> (B, k, A) in [-1, 1]."""
        B, P = len(history.obs), self.proposals
        seen = history.obs[:, -self.model.history :].repeat_interleave(P, dim=0)
        noises = [source for source in sources for _ in range(P)]
        chunks = self.model.sample(seen, rng=noises, noise=self.noise).clamp(-1, 1)
        candidates = chunks.view(B, P, *chunks.shape[1:])
        past = history.actions[:, history.actions.shape[1] - (self.advisor.history - 1) :]
        frames, physics = history.obs[:, -self.advisor.history :], history.physics
        scores = []
        for i, source in enumerate(sources):  # each episode by its own noise, so that it acts as it would alone
            now = slice(i, i + 1)
            known = History(frames[now], past[now], None if physics is None else physics[now])
            score = make_score(self.advisor, self.objective, self.risk, known, particles=self.particles, rng=source)
            scores.append(score(candidates[now]))
        each = torch.cat(scores)
        sound = torch.where(each.isfinite(), each, -torch.inf)  # the largest of all would be one that is no number
        return candidates[torch.arange(B), sound.argmax(dim=1)]
