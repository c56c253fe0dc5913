"""Random shooting: the best of many uniform sequences, the baseline of every planner."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.interfaces import Plan
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner, with_known


@dataclass(kw_only=True)
class RandomShootingConfig(PlannerConfig):
    """Settings of random shooting; `initial_std` and `min_std` have no effect."""

    candidates: int = 1024
    """N: sequences scored per iteration; by default as many as the other planners score in four."""
    iterations: int = 1
    """Rounds per decision; more rounds are only more candidates, in smaller batches."""
    initial_std: float = 0.5
    """Has no effect with this planner: proposals are uniform."""
    min_std: float = 0.0
    """Has no effect with this planner."""

    @property
    def unread(self) -> tuple[str, ...]:
        """See `PlannerConfig.unread`."""
        return ("initial_std", "min_std")


class RandomShooting(SamplingPlanner[RandomShootingConfig]):
    """Proposes uniformly from the whole action range; the best so far competes as the mean."""

    def propose(self, plan: Plan, noise: Tensor, known: Tensor) -> Tensor:
        """Uniform proposals: the error function maps normal noise to [-1, 1], coloured or white."""
        return with_known(torch.erf(noise / math.sqrt(2.0)).repeat(len(known), 1, 1, 1), known)

    def refit(self, plan: Plan, candidates: Tensor, scores: Tensor, elites: Tensor) -> Plan:
        """Make the best sequence the mean, from where it survives to the next decision."""
        return replace(plan, mean=plan.best)
