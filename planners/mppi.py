"""Model predictive path integral control: average all candidates, weighted by score (Williams et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.interfaces import Plan
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner
from drift_wm.requirements import require


@dataclass(kw_only=True)
class MPPIConfig(PlannerConfig):
    """Settings of MPPI."""

    temperature: float = 0.15
    """Softness of the average: a candidate of median score weighs exp(-1 / temperature) of the best one;
    towards 0 the average is the best candidate, towards infinity the mean of all."""
    execute: str = "mean"
    """What to execute: `mean`, the weighted average, as published, or `best`, the best sequence seen."""
    adapt_std: bool = True
    """Whether the standard deviation is refitted with the same weights (TD-MPC2) or stays (Williams et al.)."""

    def __post_init__(self) -> None:
        """Reject settings the rule cannot work with."""
        super().__post_init__()
        require(0 < self.temperature < math.inf, "planner.temperature", self.temperature, "a positive number")

    @property
    def unread(self) -> tuple[str, ...]:
        """See `PlannerConfig.unread`."""
        return () if self.adapt_std else ("min_std",)


class MPPI(SamplingPlanner[MPPIConfig]):
    """MPPI with scores scaled per environment and iteration, so that one temperature suits every task."""

    def refit(self, plan: Plan, candidates: Tensor, scores: Tensor, elites: Tensor) -> Plan:
        """Move the mean, and the standard deviation if asked, to the weighted ones of all candidates."""
        weights = softmax_weights(scores, self.config.temperature)
        # Weights sum to 1 up to rounding, which could carry a mean of extreme actions out of bounds.
        mean = weighted_sum(weights, candidates).clamp_(-1.0, 1.0)
        if not self.config.adapt_std:
            return replace(plan, mean=mean)
        variance = weighted_sum(weights, (candidates - mean.unsqueeze(1)).square_())
        return replace(plan, mean=mean, std=variance.sqrt_().clamp_min_(self.config.min_std))


def softmax_weights(scores: Tensor, temperature: float) -> Tensor:
    """Weights proportional to exp(score / (temperature * gap)), gap being from the median score to the best.

    The gap makes the weights free of the scores' scale. A standard deviation would too, but a few candidates
    with which the model all but diverges would blow it up and make the rest weigh the same.

    Args:
        scores: (B, N), finite or -inf, at least one finite in each row.
        temperature: softness; a median candidate weighs exp(-1 / temperature) of the best.

    Returns:
        (B, N), each row summing to 1; 0 where the score is -inf, and equal where all scores are.
    """
    best = scores.amax(dim=1, keepdim=True)
    median = torch.where(torch.isfinite(scores), scores, torch.nan).nanmedian(dim=1, keepdim=True).values
    limits = torch.finfo(scores.dtype)
    gap = (best - median).clamp_(limits.tiny / min(temperature, 1.0), limits.max / max(temperature, 1.0))
    return torch.softmax((scores - best) / (temperature * gap), dim=1)


def weighted_sum(weights: Tensor, candidates: Tensor) -> Tensor:
    """Weights (B, N) and values (B, N, H, A) -> (B, H, A)."""
    flat = torch.bmm(weights.unsqueeze(1), candidates.flatten(2))
    return flat.view(candidates.shape[0], *candidates.shape[2:])
