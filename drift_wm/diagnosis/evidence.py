"""What several questions are answered from: situations of the data, and a model's predictions of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drift_wm.diagnosis.material import Material
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.diagnosis.situations import Situations, draw_situations, sample_model
from drift_wm.interfaces import WorldModel

_ENOUGH = 16
"""Situations for which a horizon is shortened; a measure over fewer tells of single moments."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What several questions are answered from."""

    model: WorldModel
    situations: Situations
    """W, all of them predicted finitely."""
    diverged: int
    samples: Tensor
    """(W, P, H, D) of the model under the recorded actions."""
    scale: Tensor
    """(D,) standard deviations over the data."""
    entries: tuple[int, ...]
    """E, those that change. In units of the others, one that is constant would count as predicted without error, or a
    miss by less than rounding as an outcome outside of the samples."""

    def measured(self, values: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        return values[..., list(self.entries)]


def stream(seed: int, question: int) -> torch.Generator:
    """The random numbers of one question, so that leaving one out does not change another."""
    return torch.Generator().manual_seed(seed * 1_009 + question)


def gather(model: WorldModel, material: Material, settings: DiagnoseSettings, device: torch.device) -> Evidence:
    """Draw situations and predict them.

    Raises:
        ValueError: the episodes are too short for the model, nothing changes in them, or no prediction is finite.
    """
    horizon = _horizon(model, material, settings)
    drawn = draw_situations(
        material.measured,
        history=model.history,
        horizon=horizon,
        count=settings.windows,
        device=device,
        rng=stream(settings.seed, 0),
    )
    if len(drawn) < 2:
        raise ValueError(
            f"{material.file}: the {len(material.measured)} episodes to measure on hold {len(drawn)} situation with "
            f"{horizon} steps after it, expected at least 2; choose more or longer episodes by data="
        )
    if not (entries := material.varying):
        raise ValueError(
            f"{material.file}: no entry of the observations ever changes, expected one to predict; choose others by "
            "obs_keys="
        )
    samples = sample_model(model, drawn, horizon, particles=settings.particles, rng=stream(settings.seed, 1))
    finite = samples.isfinite().all(dim=3).all(dim=2).all(dim=1)
    if int(finite.sum()) < 2:
        raise ValueError(
            f"{int((~finite).sum())} of {len(finite)} predictions are not finite; expected at least 2 finite ones: "
            "choose a smaller horizon=, or an earlier checkpoint"
        )
    scale = material.scale.to(device)
    return Evidence(model, drawn.select(finite), int((~finite).sum()), samples[finite], scale, entries)


def _horizon(model: WorldModel, material: Material, settings: DiagnoseSettings) -> int:
    """Whole chunks, short enough for half of the episodes and for enough situations, as far as one chunk allows."""
    lengths = sorted(len(episode) for episode in material.measured)
    first, k = material.measured[0], model.chunk
    if first.sizes != model.spec.sizes:
        raise ValueError(
            f"{material.file}: episodes have (observation, action) sizes {first.sizes}, the model expects "
            f"{model.spec.sizes}; choose a file of its task, or its observation keys by obs_keys="
        )
    if lengths[-1] < k:
        raise ValueError(
            f"{material.file}: the longest of {len(lengths)} episodes has {lengths[-1]} steps, expected at least the "
            f"model's chunk of {k}; choose longer episodes"
        )
    wanted = min(settings.windows, _ENOUGH)
    horizon = max(min(settings.horizon, lengths[len(lengths) // 2]), k) // k * k
    while horizon > k and sum(max(0, length - horizon + 1) for length in lengths) < wanted:
        horizon -= k
    return horizon
