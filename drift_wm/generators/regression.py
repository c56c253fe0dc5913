"""The control of every claim: the same network, trained by mean squared error."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drift_wm.generators.config import GeneratorConfig
from drift_wm.nets import ConditionalMLP


class RegressionGenerator(nn.Module):
    """y = f(c): a point mass at the conditional mean. Arguments as `DriftingGenerator`."""

    nfe = 1
    stochastic = False

    def __init__(self, condition_size: int, output_size: int, *, config: GeneratorConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.noise_size = config.noise_size
        # The network is built with its noise input, which is never fed, so that parameters and initial
        # weights are those of the drifting generator with the same seed.
        self.backbone = ConditionalMLP(
            condition_size, config.noise_size, output_size, width=config.width, depth=config.depth, rng=rng
        )

    def loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Conditions (B, C) with one positive each (B, Y) -> loss, metrics."""
        del rng
        error = (self.backbone(c) - y).square()
        loss = error.sum(dim=-1).mean()
        return loss, {
            # The energy score of a point mass is its distance to the data.
            "energy_score": error.detach().sum(dim=-1).sqrt().mean(),
            "error": error.detach().mean().sqrt(),
        }

    def sample(self, c: Tensor, z: Tensor) -> Tensor:
        """Conditions (..., C) -> (..., Y), the same for every noise (..., Z) it is broadcast to."""
        y: Tensor = self.backbone(c)
        shape = torch.broadcast_shapes(c.shape[:-1], z.shape[:-1])  # type: ignore[no-untyped-call]
        return y.expand(*shape, y.shape[-1])
