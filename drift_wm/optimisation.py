"""The arithmetic of a step of training: its settings, the way down a loss, the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class TrainingConfig:
    """How a model is trained."""

    batch_size: int = 256
    """Windows per step."""
    learning_rate: float = 3e-3
    """Peak of each round: AdamW rises over `warmup` steps, then falls by a cosine to `final_fraction` of it."""
    final_fraction: float = 0.01
    """The energy field has nearly constant length, so a model trained at a constant rate never settles."""
    warmup: int = 50
    """Steps of linear rise at the start of a round."""
    value_rate: float = 0.3
    """Learning rate of actor and critics, where there are any, as a share of `learning_rate`. It stays as it is in a
    round: what a critic bootstraps from is never done, and rates that fall in every round starve it."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    clip: float = 10.0
    """Largest norm of a gradient."""
    averaging: float = 0.05
    """Share of a round over which the weights that plan and predict are averaged (exponentially)."""
    log_every: int = 50
    """Steps between two records of the metrics."""
    checkpoint_every: int = 2000
    """Steps between two checkpoints inside a round, besides the one at its end."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name}={getattr(self, name)}: expected an integer of at least 1")
        for name in ("learning_rate", "value_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"training.{name}={getattr(self, name)}: expected a number above 0")
        if not 0 < self.averaging <= 1:
            raise ValueError(f"training.averaging={self.averaging}: expected a number in (0, 1]")
        if self.warmup < 0:
            raise ValueError(f"training.warmup={self.warmup}: expected an integer of at least 0")

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of a round's step, whose schedule has come so far, from 0 to 1."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)

    def averaging_share(self, done: int, steps: int) -> float:
        """Weight of the newest weights in the average, after `done` steps in all, in a round of `steps`."""
        return 1.0 if done == 0 else 1 / max(1.0, self.averaging * steps)


def make_optimiser(
    module: nn.Module, config: TrainingConfig, *, value: Sequence[nn.Parameter] = ()
) -> torch.optim.AdamW:
    """The optimiser of everything that is trained here; `value` are those of the module that learn at `value_rate`."""
    apart = set(value)
    groups = [{"params": [each for each in module.parameters() if each not in apart], "steady": False}]
    if value:
        groups.append({"params": list(value), "steady": True, "lr": config.value_rate * config.learning_rate})
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def descend(loss: Tensor, optimiser: torch.optim.AdamW, *, clip: float, rate: float) -> Tensor:
    """One step down a loss at a learning rate; returns the model's gradient norm before it was clipped.

    Parameters of a steady rate keep theirs, and are clipped by themselves.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norms = [torch.nn.utils.clip_grad_norm_(group["params"], clip) for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        if not group["steady"]:
            group["lr"] = rate
    optimiser.step()
    return norms[0]


class Average:
    """Moves a copy of a module after it: parameters by exponential averaging, buffers at once.

    `torch.optim.swa_utils.AveragedModel` takes six times as long for it, a tenth of a step of these small networks.
    Parameters and buffers are looked up once: walking through the module at every step is not free.

    Args:
        averaged: the copy, changed in place.
        module: what is trained; its tensors must stay the same objects.
    """

    def __init__(self, averaged: nn.Module, module: nn.Module) -> None:
        self._averages: list[Tensor] = list(averaged.parameters())
        self._parameters: list[Tensor] = list(module.parameters())
        self._kept, self._buffers = list(averaged.buffers()), list(module.buffers())

    @torch.no_grad()
    def update(self, share: float) -> None:
        """Move the parameters a share of the way."""
        torch._foreach_lerp_(self._averages, self._parameters, share)
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)
