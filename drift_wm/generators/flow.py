"""The multi-step rival by flow matching, integrated by Euler steps."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from drift_wm.generators.denoising import MultiStepGenerator, Step, times


class FlowGenerator(MultiStepGenerator):
    """p(y | c) by a velocity field along x_t = (1 - t) e + t y (Lipman et al. 2023, optimal-transport path).

    The network predicts y - e from the condition, x_t and features of t; a sample takes Euler steps.
    """

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        shape = (y.shape[0], self.draws)
        t = torch.rand(*shape, 1, generator=rng, device=y.device)
        noise = torch.randn(*shape, self.output_size, generator=rng, device=y.device)
        y = y.unsqueeze(1)
        x = (1 - t) * noise + t * y
        predicted: Tensor = self.backbone(c.unsqueeze(1), self._inputs(x, t))
        return (predicted - (y - noise)).square().sum(dim=-1).mean()

    def path(self) -> list[Step]:
        """See `MultiStepGenerator.path`."""
        return [Step(1 - now, 1.0, now - after) for now, after in pairwise(times(1.0, self.nfe))]
