"""Samples of what a world model says will be seen, as scores and tests of distributions need them."""

from __future__ import annotations

import torch
from torch import Tensor

from drift_wm.generators import one_member_each
from drift_wm.interfaces import History, WorldModel
from drift_wm.models.world_model import LearnedWorldModel


def draw_futures(
    model: WorldModel, history: History, actions: Tensor, *, particles: int, rng: torch.Generator
) -> Tensor:
    """Independent futures (B, P, H, D): each from noise of its own, and of an ensemble from a member drawn by chance.

    Planning shares both among candidates, which would count as one draw here.

    Args:
        model: a learned one, or the simulator.
        history: of B situations.
        actions: (B, H, A), in whole chunks of the model.
        particles: P.
        rng: of noise and members.
    """
    members = len(model.members) if isinstance(model, LearnedWorldModel) else 1
    prediction = model.rollout(history, actions.unsqueeze(1), particles=members * particles, rng=rng, independent=True)
    return one_member_each(prediction.obs[:, 0], members, rng=rng)


def error_of_mean(samples: Tensor, seen: Tensor, *, unit: Tensor | float = 1.0) -> float:
    """Root mean square distance, in a unit, of the mean that samples (W, P, ...) estimate to what was seen (W, ...).

    The mean of P samples misses the model's own by a P-th of their variance, which is taken off the squared error.
    Samples are not copied: they may be the largest of all that a command holds.
    """
    squared, P = ((samples.mean(dim=1) - seen) / unit).square().mean(), samples.shape[1]
    if P > 1:
        squared = (squared - (samples.var(dim=1) / unit / unit).mean() / P).clamp_min(0)
    return float(squared.sqrt())
