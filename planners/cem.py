"""The cross-entropy method: refit a Gaussian to the best candidates (Rubinstein 1999; Chua et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.interfaces import Plan
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner
from drift_wm.requirements import require


@dataclass(kw_only=True)
class CEMConfig(PlannerConfig):
    """Settings of the cross-entropy method."""

    elites: int = 25
    """Best candidates that mean and standard deviation are refitted to."""
    momentum: float = 0.1
    """Share of the old mean and standard deviation that is kept in each refit, in [0, 1)."""

    def __post_init__(self) -> None:
        """Reject settings the rule cannot work with."""
        super().__post_init__()
        expected = f"an integer from 1 to candidates = {self.candidates}"
        require(1 <= self.elites <= self.candidates, "planner.elites", self.elites, expected)
        require(0 <= self.momentum < 1, "planner.momentum", self.momentum, "a number in [0, 1)")


class CEM(SamplingPlanner[CEMConfig]):
    """The cross-entropy method."""

    def refit(self, plan: Plan, candidates: Tensor, scores: Tensor) -> Plan:
        """Move mean and standard deviation to those of the elites."""
        return refit_gaussian(plan, select_elites(candidates, scores, self.config.elites), self.config)


def select_elites(candidates: Tensor, scores: Tensor, count: int) -> Tensor:
    """The best candidates, best first.

    Args:
        candidates: (B, N, H, A).
        scores: (B, N), finite or -inf.
        count: E <= N.

    Returns:
        (B, E, H, A). Where fewer than E scores are finite, the best candidate fills the gap: a sequence
        that broke the model must not attract the mean.
    """
    top, index = scores.topk(count, dim=1)
    index = torch.where(top == -torch.inf, index[:, :1], index)
    environment = torch.arange(len(index), device=index.device).unsqueeze(1)
    return candidates[environment, index]


def refit_gaussian(plan: Plan, elites: Tensor, config: CEMConfig) -> Plan:
    """The plan with mean and standard deviation moved to those of the (B, E, H, A) elites, with momentum."""
    std, mean = torch.std_mean(elites, dim=1, correction=0)
    return replace(
        plan,
        mean=mean.lerp_(plan.mean, config.momentum),
        std=std.lerp_(plan.std, config.momentum).clamp_min_(config.min_std),
    )
