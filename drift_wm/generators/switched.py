"""Drifting with switches: a sample first takes one of few ways, then drifts along it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from drift_wm.fields import energy_potential
from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.drifting import DriftingGenerator
from drift_wm.generators.nets import SMALL, initialise

_LOUD = 3.0
"""By how much switches weigh more than noise in the first layer: were they alike, noise would often be first to tell modes
apart, and leave samples between them (docs/truth/attempts.md)."""


class SwitchedDriftingGenerator(DriftingGenerator):
    """p(y | c) by drifting, of noise whose first M entries became 1 or -1: x = f(c, s, z), s_m = sign(t_m(c) - z_m).

    A network is continuous in its noise, and modes that lie apart are not: a few samples end up between them. Switches
    jump, and their thresholds t(c), one linear layer of what the network's first layer says, give each mode its mass.
    No gradient passes a jump. Thresholds are learned from the energy score of the two siblings' choices instead, by the
    score function (Williams 1992), each sibling the other's baseline: what a sample adds to the score,
    phi(x_i - y) - phi(x_i - x_j) - phi(x_j - y) with `energy_potential` phi, times the gradient of log p(s_i).

    Args:
        condition_size, output_size, blocks, rng: as `DriftingGenerator`.
        config: network and field; M = `switches` entries come before its noise.
    """

    ways: Tensor

    def __init__(
        self,
        condition_size: int,
        output_size: int,
        *,
        blocks: int,
        config: GeneratorConfig,
        rng: torch.Generator,
    ) -> None:
        read = replace(config, noise_size=config.switches + config.noise_size)
        super().__init__(condition_size, output_size, blocks=blocks, config=read, rng=rng)
        ways = torch.tensor(list(itertools.product((1.0, -1.0), repeat=config.switches)))
        self.register_buffer("ways", ways, persistent=False)
        self.thresholds = nn.Linear(config.width, config.switches)
        initialise(self.thresholds, rng, factor=SMALL)
        weighed = torch.ones(self.noise_size)
        weighed[: config.switches] = _LOUD
        register_parametrization(self.backbone.from_noise, "weight", _Weighed(weighed))

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        z = torch.randn(c.shape[0], self.siblings, self.noise_size, generator=rng, device=c.device)
        known = self.backbone.from_condition(c.unsqueeze(1))
        thresholds = self._thresholds(known)
        switched = _switched(z, thresholds)
        x, mean = self.with_mean(known, switched)
        loss = self.loss_of(x, y, blocks=self.blocks)
        chosen = torch.special.log_ndtr(switched[..., : self.config.switches] * thresholds).sum(dim=-1)
        choice: Tensor = 2 * (self._added_score(x.detach(), y) * chosen).mean()  # as the drift's gradient is -2 V
        return loss + self.mean_loss(mean, y, drift=loss) + (choice - choice.detach())

    def _added_score(self, x: Tensor, y: Tensor) -> Tensor:
        """What each sibling's choice adds to the energy score: (B, G, Y) and data (B, Y) -> (B, G)."""
        settings, others = self.config, self.siblings - 1
        blocks = self.blocks if settings.per_step else 1

        def potential(difference: Tensor) -> Tensor:
            return energy_potential(difference, exponent=settings.exponent, smoothing=settings.smoothing, blocks=blocks)

        to_data = potential(x - y.unsqueeze(1))
        between = potential(x.unsqueeze(1) - x.unsqueeze(2))
        apart = between.sum(dim=2) - between.diagonal(dim1=1, dim2=2)
        baseline = to_data.sum(dim=1, keepdim=True) - to_data
        added: Tensor = to_data - (apart + baseline) / others
        return added

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`."""
        return super().decode(known, _switched(z, self._thresholds(known)))

    @property
    def central_layer(self) -> None:
        """See `ConditionalGenerator.central_layer`."""

    def centre(self, known: Tensor) -> Tensor:
        """See `ConditionalGenerator.centre`: what noise of zero gives on each of the 2^M ways, weighed by their odds.

        Between the ways, with switches half on, nothing was learned.
        """
        ways = nn.functional.pad(self.ways, (0, self.noise_size - self.ways.shape[-1]))
        odds = torch.special.ndtr(self.ways * self._thresholds(known).unsqueeze(-2)).prod(dim=-1, keepdim=True)
        features = self.backbone.features(known.unsqueeze(-2), ways)
        said = self.backbone.read_out(features, ways) if self.mean_output is None else self.mean_output(features)
        centre: Tensor = (odds * said).sum(dim=-2)
        return centre

    def _even_noises(self, known: Tensor, z: Tensor) -> Tensor:
        return _switched(super()._even_noises(known, z), self._thresholds(known).unsqueeze(-2))

    def _thresholds(self, known: Tensor) -> Tensor:
        """Below which each switch is on: the condition's share of the first layer (..., width) -> (..., M)."""
        thresholds: Tensor = self.thresholds(nn.functional.silu(known.detach()))
        return thresholds


class _Weighed(nn.Module):
    """Weights (width, Z) of what a layer reads, each entry of which counts by so much."""

    factors: Tensor

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factors


def _switched(z: Tensor, thresholds: Tensor) -> Tensor:
    """Noise (..., Z) whose first M entries are 1 below their thresholds (..., M), and -1 above; both broadcast."""
    M = thresholds.shape[-1]
    switches = torch.where(z[..., :M] < thresholds.detach(), 1.0, -1.0).to(z)
    return torch.cat([switches, z[..., M:].expand(*switches.shape[:-1], -1)], dim=-1)
