"""What plans are worth: settings of objectives and of risk."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from drift_wm.requirements import require, require_one_of

OBJECTIVES = ("return", "goal")
RISKS = ("mean", "worst", "cvar", "mean_minus_spread")


@dataclass
class ObjectiveSettings:
    """What a planner is after."""

    name: str = "return"
    """`return`: the predicted return. `goal`: closeness of predicted observations to `goal`."""
    discount: float = 1.0
    """Discount of predicted rewards per decision. 1 in a model with critics: theirs, whether or not their value counts;
    0.999999 for none."""
    value: bool = True
    """Count what critics say comes after a plan, where the model has critics (`model.value_discount`)."""
    goal: list[float] = field(default_factory=list)
    """Goal observation, D numbers, for objective.name=goal."""
    goal_weights: list[float] = field(default_factory=list)
    """Cost of a squared unit of each entry's distance to the goal, D numbers, 0 for those that do not matter, such as
    velocities. Default: 1 each, which adds up metres and radians as they are."""
    terminal_only: bool = False
    """Count the distance to the goal at the end of a plan alone, not at each of its steps."""
    action_penalty: float = 0.0
    """Weight of the penalty on squared actions."""
    action_rate_penalty: float = 0.0
    """Weight of the penalty on squared changes between consecutive actions, from the last one that was executed on."""

    def __post_init__(self) -> None:
        require_one_of(OBJECTIVES, "objective.name", self.name)
        require(self.name != "goal" or bool(self.goal), "objective.goal", self.goal, "the goal observation")
        weights = self.goal_weights
        fits = not weights or (len(weights) == len(self.goal) and min(weights) >= 0 and math.isfinite(sum(weights)))
        require(
            fits, "objective.goal_weights", weights, f"{len(self.goal)} finite numbers of at least 0, as the goal has"
        )
        require(0 < self.discount <= 1, "objective.discount", self.discount, "a number in (0, 1]")
        for name in ("action_penalty", "action_rate_penalty"):
            weight = getattr(self, name)
            require(0 <= weight < math.inf, f"objective.{name}", weight, "a finite number of at least 0")


@dataclass
class RiskSettings:
    """What several sampled futures of one candidate are worth together."""

    name: str = "mean"
    """Worth of a candidate's sampled futures together: `mean`, `worst`, `cvar` or `mean_minus_spread`."""
    level: float = 0.25
    """`cvar`: the share of worst futures that counts. `mean_minus_spread`: weight of the spread."""

    def __post_init__(self) -> None:
        require_one_of(RISKS, "risk.name", self.name)
        if self.name == "cvar":
            require(0 < self.level <= 1, "risk.level", self.level, "a number in (0, 1] with risk.name=cvar")
        if self.name == "mean_minus_spread":
            expected = "a finite number of at least 0 with risk.name=mean_minus_spread"
            require(0 <= self.level < math.inf, "risk.level", self.level, expected)
