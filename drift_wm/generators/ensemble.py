"""Several generators of one kind: their disagreement tells what the model does not know."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drift_wm.generators.base import ConditionalGenerator


class Ensemble(nn.Module):
    """Equal generators from different initial weights and noise, trained on the same batches.

    Samples are shared out among the members in equal, contiguous groups (deep ensembles, Lakshminarayanan et al.
    2017). As a group stays the same from chunk to chunk of a rollout, each sampled future comes from one member
    throughout: trajectory sampling TS-infinity of PETS (Chua et al. 2018, section 5).

    Args:
        members: of one kind and size.
    """

    stochastic = True

    def __init__(self, members: Sequence[ConditionalGenerator]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.noise_size = members[0].noise_size
        self.rebases_output = members[0].rebases_output

    @property
    def nfe(self) -> int:
        """Network evaluations per sample: each sample comes from one member."""
        return self.each()[0].nfe

    def each(self) -> list[ConditionalGenerator]:
        """The members."""
        return [member for member in self.members if isinstance(member, ConditionalGenerator)]

    def loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        """Conditions (B, C) with one positive each (B, Y) -> the members' mean loss."""
        return torch.stack([member.loss(c, y, rng=rng) for member in self.each()]).mean()

    def sample(self, c: Tensor, z: Tensor) -> Tensor:
        """Conditions (..., C) and noise (..., P, Z), broadcast together -> (..., P, Y), member by member."""
        parts = z.tensor_split(len(self.members), dim=-2)
        conditions = c.tensor_split(len(self.members), dim=-2) if c.shape[-2] > 1 else [c] * len(self.members)
        sampled = [
            member.sample(known, noise) for member, known, noise in zip(self.each(), conditions, parts, strict=True)
        ]
        return torch.cat(sampled, dim=-2)

    def set_sampling_steps(self, steps: int) -> None:
        """See `ConditionalGenerator.set_sampling_steps`."""
        for member in self.each():
            member.set_sampling_steps(steps)

    def begin_step(self, done: int, steps: int) -> float:
        """See `ConditionalGenerator.begin_step`."""
        return max(member.begin_step(done, steps) for member in self.each())
