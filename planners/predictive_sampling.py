"""Predictive sampling: perturb the best sequence, keep the winner (Howell et al. 2022, arXiv 2212.00541)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from drift_wm.interfaces import Plan
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner


@dataclass(kw_only=True)
class PredictiveSamplingConfig(PlannerConfig):
    """Settings of predictive sampling; `min_std` has no effect."""

    initial_std: float = 0.3
    """Standard deviation of the noise, the same in every iteration and decision."""
    min_std: float = 0.0
    """Has no effect with this planner."""
    noise_exponent: float = 2.0
    """beta of the proposals' power-law noise along the horizon; smooth, in place of the paper's splines."""

    @property
    def unread(self) -> tuple[str, ...]:
        """See `PlannerConfig.unread`."""
        return ("min_std",)


class PredictiveSampling(SamplingPlanner[PredictiveSamplingConfig]):
    """Hill climbing with noise of fixed size around the best sequence so far."""

    def refit(self, plan: Plan, candidates: Tensor, scores: Tensor, elites: Tensor) -> Plan:
        """Centre the next proposals on the best sequence."""
        return replace(plan, mean=plan.best)
