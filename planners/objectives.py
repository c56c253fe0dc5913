"""Objectives: what a predicted future is worth. They judge and do not predict, and they add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.interfaces import Objective, Prediction


@dataclass(frozen=True)
class PredictedReturn:
    """The discounted sum of the predicted rewards, and of what the model says comes after them."""

    discount: float = 1.0
    """Worth of a reward one decision later, in (0, 1]."""
    value: bool = True
    """Whether what comes after the plan counts, where the model says."""

    def __post_init__(self) -> None:
        """Reject a discount that is not one."""
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount is {self.discount}; expected a number in (0, 1]. Use 1 for a sum.")

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """(B, N, P) returns."""
        reward, H = prediction.reward, prediction.reward.shape[-1]
        if self.discount == 1.0:
            total = reward.sum(dim=-1)
        else:
            total = reward @ self.discount ** torch.arange(H, device=reward.device, dtype=reward.dtype)
        if prediction.terminal_value is None or not self.value:
            return total
        return total + self.discount**H * prediction.terminal_value


@dataclass(frozen=True)
class ActionPenalty:
    """Minus the weighted sum of squared actions."""

    weight: float
    """Cost of one entry of an action at its limit, for one decision; at least 0."""

    def __post_init__(self) -> None:
        """Reject a weight that rewards effort."""
        _require_weight(self.weight)

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """(B, N, P), equal for all futures of a candidate."""
        return _for_each_future(-self.weight * actions.square().sum(dim=(-2, -1)), prediction)


@dataclass(frozen=True, eq=False)
class ActionRatePenalty:
    """Minus the weighted sum of squared changes between successive actions, that to a sequence's first included."""

    weight: float
    """Cost of one entry changing by 1 from one decision to the next; at least 0."""
    executed: Tensor | None = None
    """(B, A) the action before the first, see `following`; None: the first costs nothing."""

    def __post_init__(self) -> None:
        """Reject a weight that rewards trembling."""
        _require_weight(self.weight)

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """(B, N, P), equal for all futures of a candidate."""
        change = actions.diff(dim=-2).square().sum(dim=(-2, -1))
        if self.executed is not None:
            change = change + (actions[..., 0, :] - self.executed.to(actions).unsqueeze(1)).square().sum(dim=-1)
        return _for_each_future(-self.weight * change, prediction)

    def after(self, executed: Tensor) -> ActionRatePenalty:
        """The penalty on sequences that follow an action (B, A)."""
        return replace(self, executed=executed)


@dataclass(frozen=True, eq=False)
class GoalDistance:
    """Minus the weighted squared distance of the observations to a goal, summed over the horizon."""

    goal: Tensor
    """(D,) one goal for all, or (B, D) one for each environment."""
    weights: Tensor | float = 1.0
    """(D,) cost of a squared unit of each observation entry, at least 0, or one cost for all entries."""
    terminal_only: bool = False
    """Whether only the last predicted observation counts."""

    def __post_init__(self) -> None:
        """Reject goals and weights whose shapes or signs cannot be meant."""
        shape = tuple(self.goal.shape)
        if len(shape) not in (1, 2):
            raise ValueError(f"goal has shape {shape}; expected (D,) or (B, D). Flatten the observation first.")
        weights = torch.as_tensor(self.weights)
        if tuple(weights.shape) not in ((), shape[-1:]):
            raise ValueError(
                f"weights have shape {tuple(weights.shape)}; expected a number or ({shape[-1]},). "
                "Give one weight for each observation entry, 0 for those that do not matter."
            )
        if not bool((weights >= 0).all()):
            raise ValueError(f"weights are {self.weights}; expected numbers of at least 0. Flip the sign.")

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """(B, N, P)."""
        obs = prediction.obs[..., -1:, :] if self.terminal_only else prediction.obs
        if self.goal.shape[-1] != obs.shape[-1] or (self.goal.ndim == 2 and len(self.goal) != len(obs)):
            raise ValueError(
                f"goal has shape {tuple(self.goal.shape)}; the prediction has {len(obs)} environments and "
                f"observations of size {obs.shape[-1]}. Give the goal as a flat observation of this task."
            )
        goal = self.goal.to(obs)
        if goal.ndim == 2:
            goal = goal[:, None, None, None, :]
        weights = torch.as_tensor(self.weights).to(obs)
        return -((obs - goal).square_() * weights).sum(dim=(-2, -1))


@dataclass(frozen=True)
class Sum:
    """The sum of several objectives; each already carries its own weight."""

    terms: tuple[Objective, ...]
    """At least one objective."""

    def __post_init__(self) -> None:
        """Reject an empty sum."""
        if not self.terms:
            raise ValueError("terms is empty; expected at least one objective, such as PredictedReturn().")

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """(B, N, P)."""
        first, *rest = self.terms
        total = first(prediction, actions)
        for term in rest:
            total = total + term(prediction, actions)
        return total

    def after(self, executed: Tensor) -> Sum:
        """The sum for sequences that follow an action (B, A)."""
        return Sum(tuple(following(executed, term) for term in self.terms))


def following(executed: Tensor, objective: Objective) -> Objective:
    """What to ask of sequences that follow an action (B, A): the objective's own `after`, if it has one."""
    after: Callable[[Tensor], Objective] | None = getattr(objective, "after", None)
    return objective if after is None else after(executed)


def _require_weight(weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight is {weight}; expected a finite number of at least 0. Costs are subtracted.")


def _for_each_future(value: Tensor, prediction: Prediction) -> Tensor:
    return value.unsqueeze(-1).expand(prediction.reward.shape[:-1])
