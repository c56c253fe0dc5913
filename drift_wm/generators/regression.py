"""The control of every claim: the same network, trained by mean squared error."""

from __future__ import annotations

import torch
from torch import Tensor

from drift_wm.generators.base import ConditionalGenerator


class RegressionGenerator(ConditionalGenerator):
    """y = f(c): a point mass at the conditional mean.

    The network is built with its noise input, which is never fed, so that its parameters and initial weights are those
    of a drifting generator with the same seed, which may have a layer for the mean beside it.
    """

    stochastic = False
    siblings = 1

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        return self.loss_of(self.backbone(c).unsqueeze(1), y)

    def loss_of(self, x: Tensor, y: Tensor, *, blocks: int = 1) -> Tensor:
        """Predictions (B, 1, W) and data (B, W), whole trajectories perhaps -> scalar."""
        return (x - y.unsqueeze(1)).square().sum(dim=-1).mean()

    @property
    def central_layer(self) -> tuple[Tensor, Tensor]:
        """See `ConditionalGenerator.central_layer`."""
        return self.backbone.output.weight, self.backbone.output.bias

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`; the same for every noise."""
        y = self.backbone.complete(known, None)
        shape = torch.broadcast_shapes(known.shape[:-1], z.shape[:-1])  # type: ignore[no-untyped-call]
        return y.expand(*shape, y.shape[-1])
