"""Training of a model in rounds, each continuing from the last model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from drift_wm.checkpoint import Checkpoint, save_checkpoint, weights_id
from drift_wm.interfaces import Batch, Metrics, Spec
from drift_wm.learned import (
    LearnedModel,
    ModelConfig,
    kind_of,
    load_policy,
    load_world_model,
    make_model,
    require_same_shape,
    stored_shape,
)
from drift_wm.normalisation import Scales
from drift_wm.world_model import LearnedWorldModel

__all__ = ["Trainer", "TrainingConfig", "TrainingData", "load_policy", "load_world_model", "stored_shape"]


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
        for name in ("learning_rate", "clip"):
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


def make_optimiser(module: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """The optimiser of everything that is trained here."""
    return torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def descend(loss: Tensor, optimiser: torch.optim.AdamW, *, clip: float, rate: float) -> Tensor:
    """One step down a loss at a learning rate; returns the gradient's norm before it was clipped."""
    (group,) = optimiser.param_groups
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(group["params"], clip)
    group["lr"] = rate
    optimiser.step()
    return norm


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


class TrainingData(Protocol):
    """A source of random training windows."""

    def sample(self, size: int, rng: torch.Generator) -> Batch:
        """A batch of windows, drawn uniformly."""
        ...


_SCORED_WINDOWS = 64  # of a batch, when metrics are logged

OnStep = Callable[[int, int, Metrics], None]
"""(steps done in this round, steps of the round, metrics) after every `log_every` steps."""


class Trainer:
    """A world model or policy with everything needed to continue it: optimiser, averaged weights, RNG, counters.

    Args:
        spec: sizes of the task.
        model_config: what to train: the shape of a world model or of a policy.
        config: how to train it.
        seed: of initial weights and of all batches and noise.
        device: where to train.
        task: name of the environment and record of its settings, for the record that checkpoints carry.
    """

    def __init__(
        self,
        spec: Spec,
        model_config: ModelConfig,
        config: TrainingConfig,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        task: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.task = task
        self.model: LearnedModel = make_model(spec, model_config, rng=torch.Generator().manual_seed(seed)).to(device)
        self.averaged: LearnedModel = copy.deepcopy(self.model).requires_grad_(False)
        """What predicts or acts."""
        self._average = Average(self.averaged, self.model)
        self.optimiser = make_optimiser(self.model, config)
        self.rng = torch.Generator(device).manual_seed(seed)
        self.rounds = 0  # finished
        self.round_step = 0  # of the round in progress
        self.steps = 0  # of all rounds
        self.parent: str | None = None

    @property
    def world_model(self) -> LearnedWorldModel:
        """The averaged model of a trainer of a world model."""
        assert isinstance(self.averaged, LearnedWorldModel)
        return self.averaged

    def rescale(self, scales: Scales) -> None:
        """Adopt the scales of the data of the next round; predictions and behaviour stay as they are."""
        self.model.rescale(scales)
        self.averaged.rescale(scales)

    def train_round(
        self,
        data: TrainingData,
        steps: int,
        *,
        on_step: OnStep = lambda done, total, metrics: None,
        save_to: Path | None = None,
    ) -> Metrics:
        """Train to the end of the round in progress, or through a new one.

        Args:
            data: training windows.
            steps: length of the round.
            on_step: called every `log_every` steps and at the end, with metrics of the latest batch.
            save_to: where to write checkpoints, on the way, at the end, and when interrupted from the keyboard.

        Returns:
            The metrics of the last batch.

        Raises:
            FloatingPointError: the loss is not finite. The batch and the RNG are saved beside `save_to` first.
        """
        metrics: Metrics = {}
        self.model.train()
        try:
            while self.round_step < steps:
                batch, measured = self.step(data, steps, save_to=save_to)
                at_end = self.round_step == steps
                if at_end or self.round_step % self.config.log_every == 0:
                    measured |= self._scores(batch)
                    metrics = {name: float(value) for name, value in measured.items()}
                    on_step(self.round_step, steps, metrics)
                if save_to is not None and not at_end and self.round_step % self.config.checkpoint_every == 0:
                    self.save(save_to)
        except KeyboardInterrupt:
            if save_to is not None:
                self.save(save_to)
            raise
        self.rounds += 1
        self.round_step = 0
        if save_to is not None:
            self.save(save_to)
        self.parent = self.id()
        return metrics

    def id(self) -> str:
        """Content hash of the averaged weights."""
        return weights_id(self.averaged.state_dict())

    def save(self, path: Path) -> None:
        """Write a checkpoint from which training goes on bit for bit."""
        spec, model_config = self.model.spec, self.model.config
        save_checkpoint(
            path,
            Checkpoint(
                id=self.id(),
                parent=self.parent,
                kind=kind_of(model_config),
                config={
                    "spec": asdict(spec),
                    "model": asdict(model_config),
                    "training": asdict(self.config),
                    "task": self.task,
                },
                state={
                    "model": self.model.state_dict(),
                    "averaged": self.averaged.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "rng": self.rng.get_state(),
                    "rounds": self.rounds,
                    "round_step": self.round_step,
                    "steps": self.steps,
                },
            ),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of the same shape.

        Raises:
            ValueError: the checkpoint was made for other dimensions.
        """
        require_same_shape(checkpoint, self.model.spec, self.model.config)
        state = checkpoint.state
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.set_state(state["rng"].cpu())
        self.rounds, self.round_step, self.steps = state["rounds"], state["round_step"], state["steps"]
        self.parent = checkpoint.id if self.round_step == 0 else checkpoint.parent

    def step(self, data: TrainingData, steps: int, *, save_to: Path | None = None) -> tuple[Batch, dict[str, Tensor]]:
        """One step of a round of `steps`, see `train_round`: the batch it saw, and scalars to watch."""
        rate = self.config.rate(self.round_step, self.model.generator.begin_step(self.round_step, steps))
        rng_before = self.rng.get_state()
        batch = data.sample(self.config.batch_size, self.rng)
        loss = self.model.loss(batch, rng=self.rng)
        if not torch.isfinite(loss):
            self._raise_non_finite(batch, rng_before, loss.item(), save_to)
        norm = descend(loss, self.optimiser, clip=self.config.clip, rate=rate)
        self._average.update(self.config.averaging_share(self.steps, steps))
        self.steps += 1
        self.round_step += 1
        return batch, {"loss": loss.detach(), "gradient_norm": norm, "learning_rate": torch.tensor(rate)}

    def _scores(self, batch: Batch) -> dict[str, Tensor]:
        """Of some windows of a batch; their noise must not disturb the training's own."""
        rng = torch.Generator(self.rng.device).manual_seed(self.steps)
        part = slice(_SCORED_WINDOWS)
        return self.model.scores(Batch(batch.obs[part], batch.actions[part], batch.reward[part]), rng=rng)

    def _raise_non_finite(self, batch: Batch, rng: Tensor, loss: float, save_to: Path | None) -> None:
        where = "nothing was saved, as training runs without a folder"
        if save_to is not None:
            path = save_to.with_name("non_finite_batch.pt")
            torch.save({"obs": batch.obs, "actions": batch.actions, "reward": batch.reward, "rng": rng}, path)
            where = f"batch and RNG state are in {path}"
        raise FloatingPointError(
            f"the loss became {loss} at step {self.steps}; {where}. "
            "Look for extreme values in the data, or lower training.learning_rate"
        )
