"""What central and drawn futures share that machine code can predict."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from drift_wm.compilation import machine_code
from drift_wm.generators.nets import ConditionalMLP
from drift_wm.interfaces import History
from drift_wm.models.native import Deviations, NativeRollout, Passes, Ways
from drift_wm.models.world_model import LearnedWorldModel


def machine_code_for(model: LearnedWorldModel) -> ctypes.CDLL | None:
    """What predicts this model's futures; None where torch has to."""
    return machine_code() if model.device.type == "cpu" and not model.uses_bfloat16() else None


def native_rollout(
    code: ctypes.CDLL,
    model: LearnedWorldModel,
    network: ConditionalMLP,
    last: tuple[Tensor, Tensor],
    *,
    sampling: Passes | Deviations | Ways | None = None,
) -> NativeRollout:
    """Chunk after chunk by machine code, in a model's shape.

    Args:
        code: of `machine_code_for`.
        model: in deviations of one.
        network: a member's.
        last: weight and bias of the layer that says `entries_read`.
        sampling: see `NativeRollout`.
    """
    return NativeRollout(
        code,
        network,
        last,
        history=model.history,
        chunk=model.chunk,
        observation_size=model.spec.observation_size,
        angles=model.config.angles,
        sampling=sampling,
    )


def entries_read(model: LearnedWorldModel, *, observe: bool) -> Tensor:
    """Which entries of its targets a model is asked for: rewards first, the newest frame last.

    Args:
        model: with its chunk of k steps.
        observe: all frames, not only those that the next chunk starts from.
    """
    k, D = model.chunk, model.spec.observation_size
    entries = torch.arange(k * (D + 1), device=model.device).view(k, D + 1)
    frames = entries[:, :D] if observe else entries[-model.history :, :D]
    return torch.cat([entries[:, D], frames.flatten()])


def chunks(history: History, actions: Tensor, k: int) -> Tensor:
    """The actions that each chunk's prediction depends on, those before it included: (H / k, B * N, entries)."""
    acted = sequences(history, actions)
    return acted.unfold(1, history.actions.shape[1] + k, k).permute(1, 0, 3, 2).flatten(-2)


def sequences(history: History, actions: Tensor) -> Tensor:
    """Each candidate's actions, those before the newest frame included: (B * N, K - 1 + H, A)."""
    if history.actions.shape[1]:
        past = history.actions[:, None].expand(-1, actions.shape[1], -1, -1)
        actions = torch.cat([past, actions], dim=2)
    return actions.flatten(0, 1)
