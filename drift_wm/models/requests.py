"""What a caller can get wrong when it asks a learned world model for a prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from drift_wm.interfaces import History, WorldModel


def require_fitting(model: WorldModel, history: History, actions: Tensor, particles: int) -> None:
    """Raise a ValueError if a model cannot predict what `WorldModel.rollout` was asked for.

    Args:
        model: with its sizes, the frames K that it reads and the steps k that it predicts at once.
        history: from where.
        actions: (B, N, H, A).
        particles: P.
    """
    (D, A), frames, chunk = model.spec.sizes, model.history, model.chunk
    if actions.ndim != 4 or 0 in actions.shape:
        raise ValueError(f"actions have shape {tuple(actions.shape)}; expected (B, N, H, A) with none of them 0")
    B, _, H, found = actions.shape
    if found != A:
        raise ValueError(f"actions have size {found}, this model was built for {A}")
    if H % chunk:
        raise ValueError(
            f"horizon {H} is not a multiple of the model's chunk of {chunk} steps; "
            f"set planner.horizon to {-(-H // chunk) * chunk}"
        )
    past = ("history.obs", history.obs, (B, frames, D)), ("history.actions", history.actions, (B, frames - 1, A))
    for name, given, expected in past:
        if tuple(given.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(given.shape)}, this model expects {expected}")
    for name, given in (("actions", actions), *((name, given) for name, given, _ in past)):
        if given.dtype != torch.float32:
            raise ValueError(f"{name} are of {given.dtype}; expected torch.float32: convert them by .float()")
    if particles < 1:
        raise ValueError(f"particles is {particles}; expected at least 1")
