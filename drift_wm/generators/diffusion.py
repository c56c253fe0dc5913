"""The multi-step rival: a diffusion model, sampled by DDIM."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.denoising import MultiStepGenerator, Step, times
from drift_wm.generators.nets import ConditionalMLP

LAST_TIMES = {"v": 0.995, "eps": 0.95}
"""Where sampling starts, by what is predicted. At 1 nothing is left of the data, and a prediction of the noise says
nothing about them: from 0.995 on, where its errors are multiplied by 127, samples of a trained network ran away (a law
of spread 0.75 came out with one of 30 in 5 steps and of 1e17 in 20); from 0.95 on they are as good as by v."""


class DiffusionGenerator(MultiStepGenerator):
    """p(y | c) by denoising x_t = alpha y + sigma e, with alpha = cos(pi t / 2) and sigma = sin(pi t / 2).

    The network predicts the noise e (Ho et al. 2020) or v = alpha e - sigma y (Salimans & Ho 2022), and reads the
    condition, x_t and features of t. Samples are DDIM's deterministic ones (Song et al. 2021), so that the noise z
    (Y,) fixes a sample.
    """

    def __init__(self, condition_size: int, output_size: int, *, config: GeneratorConfig, rng: torch.Generator) -> None:
        super().__init__(condition_size, output_size, config=config, rng=rng)
        self.predicts_noise = config.prediction == "eps"
        self.last_time = LAST_TIMES[config.prediction]

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        shape = (y.shape[0], self.draws)
        t = torch.rand(*shape, 1, generator=rng, device=y.device) * self.last_time
        noise = torch.randn(*shape, self.output_size, generator=rng, device=y.device)
        alpha, sigma = schedule(t)
        y = y.unsqueeze(1)
        x = alpha * y + sigma * noise
        target = noise if self.predicts_noise else alpha * noise - sigma * y
        predicted: Tensor = self.backbone(c.unsqueeze(1), self._inputs(x, t))
        return (predicted - target).square().sum(dim=-1).mean()

    def path(self) -> list[Step]:
        """See `MultiStepGenerator.path`: of what `denoise` finds, alpha' times the clean y and sigma' times the noise.

        Where v is predicted, that turns (x, v) by the angle between the two times.
        """
        steps = []
        for now, after in pairwise(times(0.5 * math.pi * self.last_time, self.nfe)):
            if self.predicts_noise:
                keep = math.cos(after) / math.cos(now)
                add = math.sin(after) - keep * math.sin(now)
            else:
                keep, add = math.cos(after - now), math.sin(after - now)
            steps.append(Step(now / (0.5 * math.pi), keep, add))
        return steps

    def denoise(self, network: ConditionalMLP, known: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What a network thinks of x (..., Y) at times t, a scalar or (..., 1): the clean y and the noise in it."""
        alpha, sigma = schedule(t)
        predicted = network.complete(known, self._inputs(x, t))
        if self.predicts_noise:
            return (x - sigma * predicted) / alpha, predicted
        return alpha * x - sigma * predicted, sigma * x + alpha * predicted


def schedule(t: Tensor) -> tuple[Tensor, Tensor]:
    """Times in [0, 1] -> (alpha, sigma), whose squares sum to one."""
    return (0.5 * math.pi * t).cos(), (0.5 * math.pi * t).sin()
