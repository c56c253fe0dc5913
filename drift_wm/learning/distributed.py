"""Training by several processes together, as `torchrun` starts them: each takes its rows of every batch."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from drift_wm.interfaces import Batch
from drift_wm.models.learned import LearnedModel

_SEEDS = 2**62


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def require_same(self, device: torch.device, name: str, found: str) -> None:
        """Raise a ValueError in all processes unless they found the same, such as one that another run still writes."""
        if self.count == 1:
            return
        number = int.from_bytes(hashlib.sha256(found.encode()).digest()[:7])
        extremes = torch.tensor([number, -number], device=device)
        distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX)
        if int(extremes.sum()):
            raise ValueError(f"{name}: processes found different ones, here {found}; name a file, or wait for its run")

    def require_divides(self, batch_size: int) -> None:
        """Raise a ValueError unless all processes get equally many rows: means of unequal shares would be wrong."""
        if batch_size % self.count:
            raise ValueError(
                f"training.batch_size={batch_size}: expected a multiple of {self.count}, the number of processes"
            )


def ranks_of(command: str, run_dir: str | None) -> Ranks:
    """What `torchrun` says in the environment; a process by itself where it says nothing.

    Raises:
        ValueError: several processes were started for a command that is one's work, or without a common folder.
    """
    ranks = Ranks(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    if ranks.count > 1 and command != "train":
        raise ValueError(
            f"{command} under torchrun with {ranks.count} processes: expected train, which alone shares its work; "
            "start it without torchrun"
        )
    if ranks.count > 1 and run_dir is None:
        raise ValueError(f"run_dir=None: expected a folder that all {ranks.count} processes share")
    return ranks


@contextmanager
def joined(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Be one of the processes for as long as the block lasts, the first of which speaks for all.

    They exchange gradients by NCCL between GPUs and by gloo between CPUs.
    """
    if ranks.count == 1:
        yield
        return
    if not ranks.first:
        logging.disable(logging.INFO)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


class SharedLoss:
    """A model's loss on a batch, each process with its rows, and gradients averaged over all of them.

    All must be given the same batch and equal generators of random numbers. Gradients are those of one process where
    the loss is a mean over rows. Where rows are weighed by their batch (the layer for the mean beside drifting samples,
    the actor, the published field's scales), each process takes its share for the batch.

    Args:
        model: what is trained.
        ranks: the processes; one alone computes the model's loss and nothing else.
    """

    def __init__(self, model: LearnedModel, ranks: Ranks) -> None:
        self._ranks = ranks
        self._loss: nn.Module = _Forward(model)
        if ranks.count > 1:
            # Not every part has a share in every loss: endings have none until the data hold one.
            self._loss = DistributedDataParallel(self._loss, find_unused_parameters=True)

    def __call__(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """The mean of all shares, with the gradient of the own one, to which the others are added on the way back."""
        if self._ranks.count == 1:
            loss: Tensor = self._loss(batch, rng)
            return loss
        own: Tensor = self._loss(self._rows_of(batch), self._own(rng))
        mean = own.detach().clone()
        distributed.all_reduce(mean)
        return own + (mean / self._ranks.count - own.detach())

    def _own(self, rng: torch.Generator) -> torch.Generator:
        """Noise of this process alone; `rng` stays where it is, so that all draw the next batch alike."""
        copy = torch.Generator(rng.device)
        copy.set_state(rng.get_state())
        seed = int(torch.randint(_SEEDS, (), generator=copy, device=rng.device))
        return copy.manual_seed(seed + self._ranks.rank)

    def _rows_of(self, batch: Batch) -> Batch:
        rows = slice(self._ranks.rank, None, self._ranks.count)
        ended = None if batch.ended is None else batch.ended[rows]
        return Batch(batch.obs[rows], batch.actions[rows], batch.reward[rows], ended)


class _Forward(nn.Module):
    """A loss as a forward pass, which is what `DistributedDataParallel` wraps."""

    def __init__(self, model: LearnedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, rng: torch.Generator) -> Tensor:
        return self.model.loss(batch, rng=rng)
