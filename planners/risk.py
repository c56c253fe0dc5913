"""Risk rules: what a candidate is worth, given the values of its sampled futures.

Each rule maps (B, N, P) values to (B, N). All of them agree where there is one future. A value that is
not finite makes the result not finite, so that a planner can see and count it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mean:
    """The expected value: neutral towards risk."""

    def __call__(self, values: Tensor) -> Tensor:
        """(B, N, P) -> (B, N)."""
        return values.mean(dim=-1) if values.shape[-1] > 1 else values.squeeze(-1)


@dataclass(frozen=True)
class Worst:
    """The value of the worst future."""

    def __call__(self, values: Tensor) -> Tensor:
        """(B, N, P) -> (B, N)."""
        return torch.where(values.isfinite(), values, -torch.inf).amin(dim=-1)


@dataclass(frozen=True)
class CVaR:
    """Conditional value at risk: the mean of the worst share `alpha` of the futures.

    Between the worst future (alpha <= 1 / P) and the mean (alpha = 1) it is continuous in alpha: where
    alpha * P is no integer, the last future of the tail counts by the remaining fraction (Rockafellar
    and Uryasev 2000).
    """

    alpha: float
    """Share of the futures that counts, in (0, 1]."""

    def __post_init__(self) -> None:
        """Reject a share that is not one."""
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; expected a number in (0, 1]. Use 1 for the mean.")

    def __call__(self, values: Tensor) -> Tensor:
        """(B, N, P) -> (B, N)."""
        share = max(self.alpha * values.shape[-1], 1.0)
        # NaN and infinity would be sorted to the good end and be left out.
        ranked = torch.where(values.isfinite(), values, -torch.inf)
        tail = ranked.topk(math.ceil(share), dim=-1, largest=False).values
        rank = torch.arange(tail.shape[-1], device=values.device, dtype=values.dtype)
        weights = (share - rank).clamp_(max=1.0) / share
        return (tail * weights).sum(dim=-1)


@dataclass(frozen=True)
class MeanMinusSpread:
    """The mean, less a multiple of the futures' standard deviation."""

    coefficient: float
    """Standard deviations to subtract; at least 0. 0 is the mean."""

    def __post_init__(self) -> None:
        """Reject a coefficient that seeks risk."""
        if not 0 <= self.coefficient < math.inf:
            raise ValueError(f"coefficient is {self.coefficient}; expected at least 0. Use 0 for the mean.")

    def __call__(self, values: Tensor) -> Tensor:
        """(B, N, P) -> (B, N)."""
        std, mean = torch.std_mean(values, dim=-1, correction=0)
        return mean - self.coefficient * std
