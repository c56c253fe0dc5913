"""Training of a model in rounds, each continuing from the last model."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from drift_wm.interfaces import Batch, Metrics, Spec
from drift_wm.learning.distributed import Ranks, SharedLoss
from drift_wm.learning.interrupts import interrupts_held
from drift_wm.learning.optimisation import Average, Descent, TrainingConfig
from drift_wm.models.learned import LearnedModel, ModelConfig, kind_of, make_model, require_same_shape
from drift_wm.models.normalisation import Scales
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.random_streams import seed_of
from drift_wm.storage.checkpoint import Checkpoint, save_checkpoint, weights_id

logger = logging.getLogger(__name__)


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
        obs_keys: of the data, whose values in this order are an observation; for that record, too.
        obs_sizes: how many numbers each of them has, where that is known; likewise.
        ranks: the processes that train together; all must be given the same data.

    Raises:
        ValueError: a batch cannot be shared out equally among the processes.
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
        obs_keys: list[str] | None = None,
        obs_sizes: dict[str, int] | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        ranks.require_divides(config.batch_size)
        self.config = config
        self.ranks = ranks
        self.task, self.obs_keys, self.obs_sizes = task, obs_keys, obs_sizes
        self.model: LearnedModel = make_model(spec, model_config, rng=torch.Generator().manual_seed(seed)).to(device)
        self.averaged: LearnedModel = copy.deepcopy(self.model).requires_grad_(False)
        """What predicts or acts."""
        value = getattr(self.model, "value", None)  # which policies lack
        self._average = Average(self.averaged, self.model, config, steady=value)
        self.descent = Descent(self.model.children(), config, steady=[value] if value else ())
        self._loss = SharedLoss(self.model, ranks)
        self._seed = seed
        self.rng = torch.Generator(device).manual_seed(seed)
        self.rounds = 0  # finished
        self.round_step = 0  # of the round in progress
        self.steps = 0  # of all rounds
        self.parent: str | None = None
        self.learned_from: set[str] = set()
        """Fingerprints of all episodes that this model and those it continues were trained on."""
        self.inherited: frozenset[str] = frozenset()
        """Those of them that the parent brought, from which this run began; they stay when the run is gone on with."""
        self.data: str | None = None
        """Digest of the data of the whole run, where these do not grow."""
        self.metrics: Metrics = {}
        """Of the last batch of the last round that was finished."""

    @property
    def world_model(self) -> LearnedWorldModel:
        """The averaged model of a trainer of a world model."""
        assert isinstance(self.averaged, LearnedWorldModel)
        return self.averaged

    def rescale(self, scales: Scales) -> None:
        """Adopt the scales of the data of the next round; what was learned stays as it is, but see the models'."""
        self.averaged.rescale(scales)
        if self.model.rescale(scales):
            self.descent.forget()

    def train_round(
        self,
        data: TrainingData,
        steps: int,
        *,
        on_step: OnStep = lambda done, total, metrics: None,
        save_to: Path | None = None,
        last: bool = True,
    ) -> Metrics:
        """Train to the end of the round in progress, or through a new one.

        Args:
            data: training windows.
            steps: length of the round.
            on_step: called every `log_every` steps and at the end, with metrics of the latest batch.
            save_to: where to write checkpoints, on the way, at the end, and when interrupted from the keyboard. A
                second Ctrl-C does not wait for the step in progress, and leaves the last checkpoint as it is.
            last: whether no other round follows, see `TrainingConfig.value_averaging`.

        Returns:
            The metrics of the last batch.

        Raises:
            FloatingPointError: the loss is not finite. The batch and the RNG are saved beside `save_to` first.
        """
        metrics: Metrics = {}
        self.model.train()
        with interrupts_held() as let_interrupts_through:
            while self.round_step < steps:
                try:
                    let_interrupts_through()
                except KeyboardInterrupt:  # only here: a step that is half done cannot be gone on from bit for bit
                    if save_to is not None:
                        self.save(save_to)
                    raise
                batch, measured = self.step(data, steps, save_to=save_to, last=last)
                at_end = self.round_step == steps
                if at_end or self.round_step % self.config.log_every == 0:
                    measured |= self._scores(batch)
                    metrics = {name: float(value) for name, value in measured.items()}
                    on_step(self.round_step, steps, metrics)
                if save_to is not None and not at_end and self.round_step % self.config.checkpoint_every == 0:
                    self.save(save_to)
            self.rounds += 1
            self.round_step = 0
            self.metrics = metrics
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
                    "obs_keys": self.obs_keys,
                    "obs_sizes": self.obs_sizes,
                },
                state={
                    "model": self.model.state_dict(),
                    "averaged": self.averaged.state_dict(),
                    "optimiser": self.descent.state_dict(),
                    "rng": self.rng.get_state(),
                    "rounds": self.rounds,
                    "round_step": self.round_step,
                    "steps": self.steps,
                    "learned_from": sorted(self.learned_from),
                    "inherited": sorted(self.inherited),
                    "data": self.data,
                    "metrics": self.metrics,
                },
            ),
        )

    def restore(self, checkpoint: Checkpoint, *, as_parent: bool = False) -> None:
        """Continue from a checkpoint of the same shape.

        Random numbers go on where they stood, unless the checkpoint was trained on another kind of device: those of a
        GPU and of a CPU are different ones.

        Args:
            checkpoint: whose round goes on, if it is in progress.
            as_parent: begin a new round instead, wherever in its own the checkpoint stopped, with batches and noise of
                this trainer's seed: children of one parent differ by it.

        Raises:
            ValueError: the checkpoint was made for other dimensions.
        """
        require_same_shape(checkpoint, self.model.spec, self.model.config)
        state = checkpoint.state
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.descent.load_state_dict(state["optimiser"])
        self.rounds, self.round_step, self.steps = state["rounds"], state["round_step"], state["steps"]
        seed, stood = seed_of(self._seed, checkpoint.id), state["rng"].cpu()
        if as_parent:
            self.rng.manual_seed(seed)
            if self.round_step:
                self.rounds, self.round_step = self.rounds + 1, 0
        elif stood.shape == self.rng.get_state().shape:
            self.rng.set_state(stood)
        else:
            self.rng.manual_seed(seed)
            logger.warning(
                "%s was trained on another kind of device than %s, which has other random numbers: training goes on "
                "with batches and noise other than it would have had there",
                checkpoint.id,
                self.rng.device,
            )
        self.parent = checkpoint.id if self.round_step == 0 else checkpoint.parent
        self.learned_from = set(checkpoint.learned_from)
        self.inherited = checkpoint.learned_from if as_parent else frozenset(state["inherited"])
        self.data = None if as_parent else state["data"]
        self.metrics = state["metrics"]

    def step(
        self, data: TrainingData, steps: int, *, save_to: Path | None = None, last: bool = True
    ) -> tuple[Batch, dict[str, Tensor]]:
        """One step of a round of `steps`, see `train_round`: the batch it saw, and scalars to watch."""
        rate = self.config.rate(self.round_step, self.model.generator.begin_step(self.round_step, steps))
        rng_before = self.rng.get_state()
        batch = data.sample(self.config.batch_size, self.rng)
        loss = self._loss(batch, self.rng)
        if not torch.isfinite(loss):
            self._raise_non_finite(batch, rng_before, loss.item(), save_to)
        norm = self.descent.step(loss, rate=rate)
        self._average.update(self.steps, steps, last=last)
        self.steps += 1
        self.round_step += 1
        return batch, {"loss": loss.detach(), "gradient_norm": norm, "learning_rate": torch.tensor(rate)}

    def _scores(self, batch: Batch) -> dict[str, Tensor]:
        """Of some windows of a batch; their noise must not disturb the training's own."""
        rng = torch.Generator(self.rng.device).manual_seed(self.steps)
        part = slice(_SCORED_WINDOWS)
        return self.model.scores(Batch(batch.obs[part], batch.actions[part], batch.reward[part]), rng=rng)

    def _raise_non_finite(self, batch: Batch, rng: Tensor, loss: float, save_to: Path | None) -> None:
        where = "nothing was saved here"
        if save_to is not None:
            path = save_to.with_name("non_finite_batch.pt")
            path.parent.mkdir(parents=True, exist_ok=True)  # the first checkpoint may be still to come
            torch.save({each.name: getattr(batch, each.name) for each in fields(batch)} | {"rng": rng}, path)
            where = f"batch and RNG state are in {path}"
        raise FloatingPointError(
            f"the loss became {loss} at step {self.steps}; {where}. "
            "Look for extreme values in the data, or lower training.learning_rate"
        )
