"""An objective for a world whose reward nobody has met yet: to get where nothing seen so far is near."""

from __future__ import annotations

import torch
from torch import Tensor

from drift_wm.interfaces import Prediction

MOST_SEEN = 2_000
"""Frames that distances are taken to: evenly spread over those that were seen."""
_LOOKED_AT = 10
"""Predicted frames of a future, evenly spread over the horizon."""


class Novelty:
    """Mean distance of predicted observations to the nearest one seen, each entry in its own standard deviation.

    Entries that did not vary count in units of 1, as where a model standardises them.

    A planner that maximises it visits what it has not visited, as a reward of the particle estimate of entropy does
    (Liu and Abbeel 2021, "Behavior from the void", Eq. 4, with one neighbour), but looks ahead for it instead of
    learning a policy.

    Args:
        seen: (S, D) observations, S at least 1.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, seen: Tensor) -> None:
        if seen.ndim != 2 or len(seen) == 0:
            raise ValueError(f"seen has shape {tuple(seen.shape)}; expected (S, D) with at least one observation.")
        every = -(-len(seen) // MOST_SEEN)
        std, rounding = seen.std(dim=0, correction=0), torch.finfo(seen.dtype).eps * seen.abs().amax(dim=0)
        # A constant entry has no unit: dividing by a tiny one would make model error look like novelty.
        self._scale = torch.where(std <= rounding, 1.0, std)
        # Distances of many points come from products of them, which round away what lies far from zero.
        self._mean = seen.mean(dim=0)
        self._seen = (seen[::every] - self._mean) / self._scale

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """(B, N, P)."""
        H = actions.shape[2]
        every = -(-H // _LOOKED_AT)
        obs = prediction.obs[..., every - 1 :: every, :]
        obs = (obs - self._mean.to(obs)) / self._scale.to(obs)
        nearest = torch.cdist(obs.flatten(0, -2), self._seen.to(obs)).amin(dim=-1)
        return nearest.view(obs.shape[:-1]).mean(dim=-1)
