"""The one-step rival by consistency training: from any noise level straight to the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.denoising import DenoisingGenerator

SIGMA_MIN, SIGMA_MAX = 0.002, 20.0
"""Noise levels, in standard deviations of the targets, which are standardised."""
_RHO = 7.0  # spacing of the levels (Karras et al. 2022, Eq. 5)
_FEWEST, _MOST = 10, 320  # levels at the begin and end of a round, doubling in between
_LOG_MEAN, _LOG_STD = -1.1, 2.0  # of the levels trained on


class ConsistencyGenerator(DenoisingGenerator):
    """f(x + sigma e, sigma | c) = y at every noise level (Song & Dhariwal 2024, improved consistency training).

    Neighbouring levels with the same noise must agree; the lower one is the stopped target. A sample is f at the
    highest level, one network evaluation. Skip connections as in Song et al. 2023, appendix C, for unit variance.
    """

    # Finer features tell neighbouring levels apart, and learning takes many times as long (iCT, section 3.1).
    octaves = 1

    def __init__(self, condition_size: int, output_size: int, *, config: GeneratorConfig, rng: torch.Generator) -> None:
        super().__init__(condition_size, output_size, config=config, rng=rng)
        self.levels = _FEWEST

    def begin_step(self, done: int, steps: int) -> float:
        """See `ConditionalGenerator.begin_step`: the levels double in equal parts of a round (iCT, section 3.4)."""
        doublings = int(math.log2(_MOST / _FEWEST)) + 1
        self.levels = _FEWEST * 2 ** int(doublings * done / steps)
        return super().begin_step(done, steps)

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        shape = (y.shape[0], self.draws)
        sigmas = noise_levels(self.levels + 1, device=y.device)
        lower = torch.multinomial(_level_weights(sigmas), shape[0] * shape[1], replacement=True, generator=rng)
        low, high = (sigmas[index].view(*shape, 1) for index in (lower, lower + 1))
        noise = torch.randn(*shape, self.output_size, generator=rng, device=y.device)
        y, known = y.unsqueeze(1), self.backbone.from_condition(c).unsqueeze(1)
        with torch.no_grad():
            target = self._clean(known, y + low * noise, low)
        squared = (self._clean(known, y + high * noise, high) - target).square().sum(dim=-1, keepdim=True)
        offset = 0.00054 * math.sqrt(self.output_size)  # of the pseudo-Huber distance (iCT, section 3.3)
        return (((squared + offset**2).sqrt() - offset) / (high - low)).mean()

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`."""
        return self._clean(known, SIGMA_MAX * z, torch.full((1,), SIGMA_MAX, device=z.device))

    def _clean(self, known: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """f: the data behind x (..., Y) at noise levels sigma (..., 1); the identity at the lowest."""
        above = sigma - SIGMA_MIN
        skip, out = 1 / (above**2 + 1), above * (sigma**2 + 1).rsqrt()
        level = sigma.log() / math.log(SIGMA_MAX / SIGMA_MIN)
        predicted = self.backbone.complete(known, self._inputs(x * (sigma**2 + 1).rsqrt(), level))
        clean: Tensor = skip * x + out * predicted
        return clean


def noise_levels(count: int, *, device: torch.device) -> Tensor:
    """(count,) ascending noise levels, dense where they are low."""
    ramp = torch.linspace(0, 1, count, device=device)
    low, high = SIGMA_MIN ** (1 / _RHO), SIGMA_MAX ** (1 / _RHO)
    levels: Tensor = (low + ramp * (high - low)) ** _RHO
    return levels


def _level_weights(sigmas: Tensor) -> Tensor:
    """How often each interval of levels is trained on: a log-normal density, discretised (iCT, section 3.5)."""
    position = (sigmas.log() - _LOG_MEAN) / (_LOG_STD * math.sqrt(2))
    return position[1:].erf() - position[:-1].erf()
