"""The cross-entropy method: refit a Gaussian to the best candidates (Rubinstein 1999; Chua et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

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

    @property
    def selected(self) -> int:
        """S: the elites."""
        return self.elites


CEMConfigT_co = TypeVar("CEMConfigT_co", bound=CEMConfig, covariant=True)


class CEM(SamplingPlanner[CEMConfigT_co]):
    """The cross-entropy method."""

    def update(self, plan: Plan, candidates: Tensor, scores: Tensor) -> Plan:
        """As every planner does, but in one call where there is machine code and scores are finite."""
        found, config = None, self.config
        if self.native is not None and type(self).refit is CEM.refit:  # not where a subclass has a rule of its own
            found = self.native.rank_and_refit(
                plan, candidates, scores, config.selected, momentum=config.momentum, min_std=config.min_std
            )
        if found is None:
            return super().update(plan, candidates, scores)
        mean, std, best, score, elites = found
        return Plan(mean, std, best, score, elites[:, : self.carried_elites], plan.non_finite, plan.lost)

    def refit(self, plan: Plan, candidates: Tensor, scores: Tensor, elites: Tensor) -> Plan:
        """Move mean and standard deviation to those of the elites."""
        refit = refit_gaussian if self.native is None else self.native.refit
        mean, std = refit(plan, elites, momentum=self.config.momentum, min_std=self.config.min_std)
        return replace(plan, mean=mean, std=std, elites=elites[:, : self.carried_elites])


def refit_gaussian(plan: Plan, elites: Tensor, *, momentum: float, min_std: float) -> tuple[Tensor, Tensor]:
    """The plan's mean and standard deviation (B, H, A), moved to those of the (B, S, H, A) elites, with momentum."""
    std, mean = torch.std_mean(elites, dim=1, correction=0)
    std = std.lerp_(plan.std, momentum).clamp_min_(min_std)
    return mean.lerp_(plan.mean, momentum), std
