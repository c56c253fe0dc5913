"""The arithmetic of a step of training: its settings, the way down a loss, the average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from drift_wm.requirements import require, require_at_least


@dataclass
class TrainingConfig:
    """How a model is trained."""

    batch_size: int = 256
    """Windows per training step."""
    learning_rate: float = 3e-3
    """Peak learning rate of each round: that of AdamW rises over `warmup` steps, then falls by a cosine to
    `final_fraction` of the peak."""
    final_fraction: float = 0.01
    """Share of the peak learning rate that is left at the end of a round. At a constant rate a model would never
    settle, because the energy field has nearly constant length."""
    warmup: int = 50
    """Steps over which the learning rate rises linearly at the start of a round."""
    value_rate: float = 0.3
    """Learning rate of actor and critics, where there are any, as a share of `learning_rate`. It does not fall within a
    round: the targets of critics keep moving, and critics whose rate falls in every round fall behind."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of the model. Where it passes over few data hundreds of times it errs less, with more of
    it, on what it has not seen: 0.1 for simulated tasks (docs/bench/attempts.md), 0.3 or 1 for a few dozen logged
    episodes (docs/demonstrations/attempts.md). Actor and critics, whose hidden layers are normalised, have none."""
    clip: float = 10.0
    """Largest norm of a gradient."""
    averaging: float = 0.05
    """Share of a round over which the weights that plan and predict are averaged (exponentially)."""
    value_averaging: float = 0.5
    """Share of a run's last round over which the weights of actor and critics, where there are any, are averaged: as
    their learning rate does not fall, those of one step act much better or worse than those of another. In rounds
    before, `averaging` holds for them, too: episodes collected with long averages teach less
    (docs/bench/attempts.md)."""
    log_every: int = 50
    """Steps between two records of the metrics."""
    checkpoint_every: int = 2000
    """Steps between two checkpoints inside a round, besides the one at its end."""

    def __post_init__(self) -> None:
        require_at_least(1, self, "batch_size", "log_every", "checkpoint_every", group="training.")
        require_at_least(0, self, "warmup", group="training.")
        for name in ("learning_rate", "value_rate"):
            require(0 < getattr(self, name) < math.inf, f"training.{name}", getattr(self, name), "a positive number")
        require(self.clip > 0, "training.clip", self.clip, "a number above 0")
        require(self.weight_decay >= 0, "training.weight_decay", self.weight_decay, "a number of at least 0")
        require(0 <= self.final_fraction <= 1, "training.final_fraction", self.final_fraction, "a number in [0, 1]")
        for name in ("averaging", "value_averaging"):
            require(0 < getattr(self, name) <= 1, f"training.{name}", getattr(self, name), "a number in (0, 1]")

    def rate(self, step: int, progress: float) -> float:
        """Learning rate at `step` of a round; `progress`, 0 to 1, is how far its cosine has come."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)

    def averaging_share(self, done: int, steps: int, *, steady: bool = False) -> float:
        """Weight of the newest weights in the average, after `done` steps in all, in a round of `steps`.

        At first all weights so far count alike: else those of the first step would count most.

        Args:
            done: steps before this one.
            steps: of the round.
            steady: whether it is the average of actor and critics in a last round.
        """
        return 1 / max(1.0, min((self.value_averaging if steady else self.averaging) * steps, done + 1))


class Descent:
    """AdamW down the losses of some modules, each of whose trained parameters become views of one vector.

    Clipping and a step are then one operation for each module instead of one for each parameter, which of networks this
    small is worth a tenth of a training step (docs/speed/attempts.md). A module that a loss leaves out stays as it is.

    Args:
        modules: what is trained, already where it is to stay; those without trained parameters are passed over.
        config: how.
        steady: those of the modules that learn at `value_rate`, whatever the rate of the others, and do not decay.
    """

    def __init__(
        self, modules: Iterable[nn.Module], config: TrainingConfig, *, steady: Sequence[nn.Module] = ()
    ) -> None:
        self._clip = config.clip
        self._parts: list[list[nn.Parameter]] = []
        groups = []
        for module in modules:
            if part := [each for each in module.parameters() if each.requires_grad]:
                self._parts.append(part)
                keeps = module in steady
                rate = config.learning_rate * (config.value_rate if keeps else 1)
                decay = 0.0 if keeps else config.weight_decay
                group = {"params": [_in_one_piece(part)], "steady": keeps, "lr": rate, "weight_decay": decay}
                groups.append(group)
        self._adam = torch.optim.AdamW(groups, fused=True)

    def step(self, loss: Tensor, *, rate: float) -> Tensor:
        """Go down a loss at a learning rate; returns the first module's gradient norm before it was clipped."""
        loss.backward()  # type: ignore[no-untyped-call]
        norms = []
        for part, group in zip(self._parts, self._adam.param_groups, strict=True):
            (vector,) = group["params"]
            vector.grad = _collected(part)
            norms.append(nn.utils.clip_grad_norm_([vector], self._clip))
            if not group["steady"]:
                group["lr"] = rate
        self._adam.step()
        return norms[0]

    def forget(self) -> None:
        """Begin anew: what is known of gradients is of other units, and large ones of then would hold back for long."""
        self._adam.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a descent of the same modules, with the settings of this one."""
        asked = [{name: group[name] for name in ("lr", "weight_decay")} for group in self._adam.param_groups]
        self._adam.load_state_dict(copy.deepcopy(state))  # torch would go on in the tensors that it is given
        for group, own in zip(self._adam.param_groups, asked, strict=True):
            group.update(own)


@torch.no_grad()
def _in_one_piece(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """A vector of which the parameters are views from now on."""
    vector = torch.cat([each.flatten() for each in parameters])
    for each, view in zip(parameters, torch.split(vector, [each.numel() for each in parameters]), strict=True):
        each.data = view.view_as(each)
    return nn.Parameter(vector)


def _collected(parameters: Sequence[nn.Parameter]) -> Tensor | None:
    """The gradients of parameters as one vector, taken off them; None where there is none at all."""
    if all(each.grad is None for each in parameters):
        return None
    gradients = [(torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in parameters]
    for each in parameters:
        each.grad = None
    return torch.cat(gradients)


class Average:
    """Moves a copy of a module after it: parameters by exponential averaging, buffers at once.

    `torch.optim.swa_utils.AveragedModel` takes six times as long for it, a tenth of a step of these small networks.
    Parameters and buffers are looked up once: walking through the module at every step is not free.

    Args:
        averaged: the copy, changed in place.
        module: what is trained; its tensors must stay the same objects.
        config: over how much of a round.
        steady: the part of the module that learns at `value_rate`.
    """

    def __init__(
        self, averaged: nn.Module, module: nn.Module, config: TrainingConfig, *, steady: nn.Module | None = None
    ) -> None:
        self._config = config
        apart = set(steady.parameters()) if steady else set()
        self._parts: dict[bool, tuple[list[Tensor], list[Tensor]]] = {}
        for average, parameter in zip(averaged.parameters(), module.parameters(), strict=True):
            averages, parameters = self._parts.setdefault(parameter in apart, ([], []))
            averages.append(average)
            parameters.append(parameter)
        self._kept, self._buffers = list(averaged.buffers()), list(module.buffers())

    @torch.no_grad()
    def update(self, done: int, steps: int, *, last: bool = True) -> None:
        """Move the parameters their share of the way, after `done` steps in all, in a round of `steps`.

        Args:
            done: steps before this one.
            steps: of the round.
            last: whether no other round follows.
        """
        for steady, (averages, parameters) in self._parts.items():
            share = self._config.averaging_share(done, steps, steady=steady and last)
            torch._foreach_lerp_(averages, parameters, share)
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)
