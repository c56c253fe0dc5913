"""The one-step rival by progressive distillation of a diffusion model."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from drift_wm.generators.base import ConditionalGenerator
from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.diffusion import DiffusionGenerator, schedule

_TEACHER_SHARE = 0.5  # of a round; the halvings divide the rest, the last one taking a double part


class DistilledGenerator(DiffusionGenerator):
    """A diffusion model whose DDIM steps are halved until one is left (Salimans & Ho 2022, Algorithm 2).

    A round trains the diffusion model first. Then, again and again, the student learns to do in one step what its
    teacher (the student before) does in two, each time with a learning rate that falls to the end of the phase.

    A later round begins from the diffusion model again, which is kept.
    """

    phase: Tensor  # 0: the diffusion model; i: the i-th halving; kept in checkpoints, as a round may be resumed

    def __init__(self, condition_size: int, output_size: int, *, config: GeneratorConfig, rng: torch.Generator) -> None:
        super().__init__(condition_size, output_size, config=config, rng=rng)
        self.halvings = round(math.log2(config.steps))
        self.diffusion = copy.deepcopy(self.backbone).requires_grad_(False)
        self.teacher = copy.deepcopy(self.backbone).requires_grad_(False)
        self.register_buffer("phase", torch.zeros((), dtype=torch.int64))

    @property
    def nfe(self) -> int:
        """Network evaluations per sample: halved by every phase of the training, 1 at its end."""
        return self.steps >> int(self.phase)

    def set_sampling_steps(self, steps: int) -> None:
        """See `ConditionalGenerator.set_sampling_steps`: the steps are those that distillation has reached."""
        ConditionalGenerator.set_sampling_steps(self, steps)

    def begin_step(self, done: int, steps: int) -> float:
        """See `ConditionalGenerator.begin_step`."""
        phase, progress = self._position(done, steps)
        if phase != int(self.phase):
            self._begin(phase)
        return progress

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        if int(self.phase) == 0:
            return super()._loss(c, y, rng=rng)
        shape = (y.shape[0], self.draws)
        number = torch.randint(1, self.nfe + 1, (*shape, 1), generator=rng, device=y.device)
        noise = torch.randn(*shape, self.output_size, generator=rng, device=y.device)
        # As `times` of denoising.py: every second one is a time of half as many steps.
        now, middle, after = (self.last_time * ((number - part) / self.nfe).square() for part in (0.0, 0.5, 1.0))
        alpha, sigma = schedule(now)
        x = alpha * y.unsqueeze(1) + sigma * noise
        with torch.no_grad():
            target = self._target(c, x, now, middle, after)
        clean, _ = self.denoise(self.backbone, self.backbone.from_condition(c).unsqueeze(1), x, now)
        weight = (alpha / sigma).square().clamp_min(1.0)  # truncated signal-to-noise ratio
        return (weight * (clean - target).square()).sum(dim=-1).mean()

    def _target(self, c: Tensor, x: Tensor, now: Tensor, middle: Tensor, after: Tensor) -> Tensor:
        """The clean y by which one DDIM step goes where the teacher's two go: (..., Y)."""
        known = self.teacher.from_condition(c).unsqueeze(1)
        there = x
        for start, end in ((now, middle), (middle, after)):
            clean, noise = self.denoise(self.teacher, known, there, start)
            alpha, sigma = schedule(end)
            there = alpha * clean + sigma * noise
        (alpha_now, sigma_now), (alpha_after, sigma_after) = schedule(now), schedule(after)
        ratio = sigma_after / sigma_now
        return (there - ratio * x) / (alpha_after - ratio * alpha_now)

    def _position(self, done: int, steps: int) -> tuple[int, float]:
        """Phase of step `done` in a round of `steps`, and the share of the phase that is over."""
        share, parts = done / steps, self.halvings + 1
        if share < _TEACHER_SHARE or self.halvings == 0:
            return 0, share / _TEACHER_SHARE if self.halvings else share
        part = (share - _TEACHER_SHARE) / (1 - _TEACHER_SHARE) * parts
        if part < parts - 2:
            return 1 + int(part), part % 1.0
        return self.halvings, (part - (parts - 2)) / 2

    @torch.no_grad()
    def _begin(self, phase: int) -> None:
        if phase < int(self.phase):
            self.backbone.load_state_dict(self.diffusion.state_dict())
        elif int(self.phase) == 0:  # not phase == 1, which a round of few steps skips
            self.diffusion.load_state_dict(self.backbone.state_dict())
        self.teacher.load_state_dict(self.backbone.state_dict())
        self.phase.fill_(phase)
