"""The drifting generator: trained by moving its own samples, sampled in one network evaluation."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from drift_wm.fields import Field, attraction_field, blockwise, energy_field, kernel_field
from drift_wm.generators.base import ConditionalGenerator
from drift_wm.generators.config import GeneratorConfig


class DriftingGenerator(ConditionalGenerator):
    """p(y | c) by drifting (arXiv 2602.04770): x = f(c, z), loss |x - sg(x + V(x))|^2.

    Args:
        condition_size: C.
        output_size: Y.
        blocks: equal parts of y that are scored on their own besides the whole (the steps of a chunk).
        config: network and field.
        rng: source of the initial weights.
    """

    def __init__(
        self,
        condition_size: int,
        output_size: int,
        *,
        blocks: int,
        config: GeneratorConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__(condition_size, output_size, config=config, rng=rng)
        self.config = config
        self.siblings = config.siblings
        self.blocks = blocks

    def loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        """Conditions (B, C) with one positive each (B, Y) -> scalar.

        The loss is flat by design: its value is |V|^2, and the energy field has nearly constant length.
        """
        z = torch.randn(c.shape[0], self.siblings, self.noise_size, generator=rng, device=c.device)
        return self.loss_of(self.backbone(c.unsqueeze(1), z), y, blocks=self.blocks)

    def loss_of(self, x: Tensor, y: Tensor, *, blocks: int) -> Tensor:
        """Generated siblings (B, G, W) and data (B, W), whole trajectories perhaps -> scalar."""
        with torch.no_grad():
            V = make_field(self.config, blocks if self.config.per_step else 1)(x, y.unsqueeze(1))
            moved = x + V
        return (x - moved).square().sum(dim=-1).mean()

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`."""
        return self.backbone.complete(known, z)


def make_field(config: GeneratorConfig, blocks: int = 1) -> Field:
    """The drifting field that a configuration names, scored on `blocks` parts of the vector besides the whole."""
    match config.field:
        case "energy":
            return partial(
                energy_field,
                exponent=config.exponent,
                smoothing=config.smoothing,
                blocks=blocks,
            )
        case "kernel":
            return blockwise(kernel_field, blocks)
        case "kernel_per_condition":
            return blockwise(lambda x, positives: kernel_field(x, positives, pooled=False), blocks)
        case "attraction":
            return blockwise(attraction_field, blocks)
    raise ValueError(
        f"model.generator.field={config.field!r}: expected energy, kernel, kernel_per_condition or attraction"
    )
