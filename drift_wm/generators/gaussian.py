"""The Gaussian rival: mean and variance from one network, by maximum likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from drift_wm.generators.base import ConditionalGenerator
from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.nets import rebase_output

_LARGEST, _SMALLEST = math.log(2.0), -10.0  # bounds of log variances at first
_BOUND_WEIGHT = 0.01  # of the pull on them beside a sum over targets; in PETS' code beside their mean, which pulls more


class GaussianGenerator(ConditionalGenerator):
    """p(y | c) = N(mean(c), diag std(c)^2), heteroscedastic (Chua et al. 2018, PETS, section 4 and appendix A.1).

    The log variances are kept between learned bounds by soft limits, which keeps them sane far from the data.
    An ensemble of these with trajectory sampling (`members` of 5, the default of `model=gaussian`) is PETS' model, but
    that its members differ in their initial weights alone, where each of PETS' has a bootstrap of the data, too.
    """

    def __init__(self, condition_size: int, output_size: int, *, config: GeneratorConfig, rng: torch.Generator) -> None:
        super().__init__(condition_size, output_size, config=config, rng=rng, network_output_size=2 * output_size)
        self.noise_size = output_size
        self.largest = nn.Parameter(torch.full((output_size,), _LARGEST))
        self.smallest = nn.Parameter(torch.full((output_size,), _SMALLEST))

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        mean, log_variance = self._moments(self.backbone(c))
        likelihood = (mean - y).square() * (-log_variance).exp() + log_variance
        return likelihood.sum(dim=-1).mean() + _BOUND_WEIGHT * (self.largest - self.smallest).sum()

    @property
    def central_layer(self) -> tuple[Tensor, Tensor]:
        """See `ConditionalGenerator.central_layer`: the mean's half of the output layer."""
        layer = self.backbone.output
        return layer.weight[: self.output_size], layer.bias[: self.output_size]

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`."""
        mean, log_variance = self._moments(self.backbone.complete(known, None))
        return mean + (0.5 * log_variance).exp() * z

    @torch.no_grad()
    def _rebase_output(self, scale: Tensor, shift: Tensor) -> None:
        # Log variances move by twice the logarithm of the scale, and so do their bounds.
        lost = scale.isinf()
        double = torch.where(lost, 0, 2 * scale.log())
        of_variances = torch.where(lost, torch.inf, 1.0)
        rebase_output(self.backbone.output, torch.cat([scale, of_variances]), torch.cat([shift, double]))
        for bound, first in ((self.largest, _LARGEST), (self.smallest, _SMALLEST)):
            bound.copy_(torch.where(lost, first, bound - double))

    def _moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = output.chunk(2, dim=-1)
        log_variance = self.largest - nn.functional.softplus(self.largest - log_variance)
        log_variance = self.smallest + nn.functional.softplus(log_variance - self.smallest)
        return mean, log_variance
