"""iCEM, the sample-efficient cross-entropy method (Pinneri et al. 2020, arXiv 2008.06389)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from drift_wm.interfaces import Plan
from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.requirements import require


@dataclass(kw_only=True)
class ICEMConfig(CEMConfig):
    """Settings of iCEM; but for `execute`, defaults are the published ones, where one is published for all tasks."""

    elites: int = 10
    """Best candidates that mean and standard deviation are refitted to."""
    noise_exponent: float = 2.0
    """beta of the coloured noise; the paper tunes it by task, 0.25 (fast gaits) to 3.5 (reaching)."""
    min_std: float = 0.0
    """Floor of the refitted standard deviation; the paper has none."""
    keep_fraction: float = 0.3
    """Share of the elites that competes again in the next iteration and the next decision, in [0, 1]."""
    population_decay: float = 1.25
    """gamma >= 1: iteration i scores max(candidates / gamma ** i, 2 x elites) sequences."""

    execute: str = "mean"
    """What to execute: the `mean` of the elites, or the `best` sequence seen, as in the paper. In a learned model the
    best is often a lucky guess: on cartpole-swingup the mean loses fewer episodes (worst of 8: 834 instead of 771,
    same model)."""

    def __post_init__(self) -> None:
        """Reject settings the rule cannot work with."""
        super().__post_init__()
        expected = f"at least 2 x elites = {2 * self.elites}"
        require(self.candidates >= 2 * self.elites, "planner.candidates", self.candidates, expected)
        require(0 <= self.keep_fraction <= 1, "planner.keep_fraction", self.keep_fraction, "a number in [0, 1]")
        require(self.population_decay >= 1, "planner.population_decay", self.population_decay, "a number of at least 1")


class ICEM(CEM[ICEMConfig]):
    """CEM with coloured noise, a shrinking population, and elites that live on.

    Two details differ from the published code: kept elites and the mean count towards an iteration's
    population, so that planners of equal budget compare; and shifted elites repeat their last action
    where the paper draws a new one.
    """

    @cached_property
    def populations(self) -> tuple[int, ...]:
        """Sequences scored in each iteration of a decision, shrinking by the decay."""
        config = self.config
        return tuple(
            max(2 * config.elites, int(config.candidates / config.population_decay**iteration))
            for iteration in range(config.iterations)
        )

    @property
    def carried_elites(self) -> int:
        """E: the share of the elites that is kept."""
        return round(self.config.keep_fraction * self.config.elites)

    def incumbents(self, plan: Plan, iteration: int) -> Tensor:
        """The kept elites, and in the last iteration the mean."""
        if iteration < self.config.iterations - 1:
            return plan.elites
        return torch.cat([plan.mean.unsqueeze(1), plan.elites], dim=1)
