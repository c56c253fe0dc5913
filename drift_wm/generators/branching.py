"""The drifting generator whose last step is a choice: several outcomes of one noise, and odds among them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drift_wm.fields import branching_energy
from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.drifting import DriftingGenerator
from drift_wm.generators.nets import SMALL, initialise, rebase_output

_ALONE, _MIXED = 0.05, 0.1
"""Shares of the first round: noise begins to come in after the one, and is all there after the other."""


class BranchingGenerator(DriftingGenerator):
    """p(y | c) as M ways to go on from one noise, f_m(c, z), of which chance takes one by odds p_m(c).

    A network that turns Gaussian noise into outcomes is continuous: between two modes it leaves a few per cent of its
    samples, and the field, which vanishes as samples come to follow the data, hardly drives them out. A choice jumps.
    The ways are parts of one output layer, so that all of them cost little more than one: training sees the energy
    score of the whole mixture, every way weighed by its odds, and odds learn by what each way adds to that score,
    without the chance of a choice (docs/truth/attempts.md).

    Whether the choice or the noise comes to tell modes apart is decided early, and cannot be mended later. So learning
    begins without noise, when the ways have nothing but each other to differ by; then noise comes in. That is done
    once in the life of a network: later rounds begin with all of it.

    Noise has an entry more than that of `DriftingGenerator`, the last, which makes the choice.

    Args:
        condition_size: C.
        output_size: Y.
        blocks: equal parts of y that are scored on their own besides the whole (the steps of a chunk).
        config: network and field.
        rng: source of the initial weights.
    """

    settled: Tensor

    def __init__(
        self,
        condition_size: int,
        output_size: int,
        *,
        blocks: int,
        config: GeneratorConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__(condition_size, output_size, blocks=blocks, config=config, rng=rng)
        self.ways = config.ways
        self.noise_size = config.noise_size + 1
        self.backbone.output = nn.Linear(config.width, self.ways * output_size)
        self.odds = nn.Linear(config.width, self.ways)
        for layer in (self.backbone.output, self.odds):
            initialise(layer, rng, factor=SMALL)
        self.register_buffer("settled", torch.tensor(False))
        self._is_settled = False  # the same, without asking a device at every step
        self._noise = 1.0

    def begin_step(self, done: int, steps: int) -> float:
        """See `ConditionalGenerator.begin_step`: noise comes in, unless it has before."""
        progress = super().begin_step(done, steps)
        if not self._is_settled:
            arrived = 1.0 if self.settled else (progress - _ALONE) / (_MIXED - _ALONE)
            self._noise = min(1.0, max(0.0, arrived))
            if arrived >= 1:
                self._is_settled = True
                self.settled.fill_(True)
        return progress

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        shape = c.shape[0], self.siblings, self.config.noise_size
        z = self._noise * torch.randn(shape, generator=rng, device=c.device)
        known = self.backbone.from_condition(c.unsqueeze(1))
        features = self.backbone.features(known, z)
        mean = features.mean(dim=1)  # first: without gradients they are overwritten
        x, odds = self._each_way(self.backbone.read_out(features, z)), self._odds_of(known).expand(*shape[:2], -1)
        with torch.no_grad():
            blocks = self.blocks if self.config.per_step else 1
            exponent, smoothing = self.config.exponent, self.config.smoothing
            V, score = branching_energy(x, y, odds, exponent=exponent, smoothing=smoothing, blocks=blocks)
            moved = x + V
        siblings = shape[0] * shape[1]
        drift = (odds.detach().unsqueeze(-1) * (x - moved).square()).sum() / siblings
        choice = 2 * (odds * score).sum() / siblings  # the gradient of the drift, too, is that of twice the score
        return drift + choice + self.mean_loss(mean, y, drift=drift)

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`."""
        z, chance = z[..., :-1], z[..., -1:]
        x, bounds = self._each_way(self.backbone.complete(known, z)), self._odds_of(known)[..., :-1].cumsum(dim=-1)
        taken = (torch.special.ndtr(chance) > bounds).sum(dim=-1)
        return x.gather(-2, taken[..., None, None].expand(*x.shape[:-2], 1, self.output_size)).squeeze(-2)

    def damped(self, known: Tensor, z: Tensor, noise: float) -> Tensor:
        """See `DriftingGenerator.damped`; the centre is that of all ways, by their odds."""
        if noise == 1:
            return self.decode(known, z)
        noises = self.even_noise * z[..., :-1].sign().unsqueeze(-2)
        features = self.backbone.features(known.unsqueeze(-2), noises)
        centres = self._each_way(self.backbone.mean_read_out(features, noises))
        centre = (self._odds_of(known).unsqueeze(-1) * centres).sum(dim=-2)
        return centre if noise == 0 else torch.lerp(centre, self.decode(known, z), noise)

    @property
    def central_layer(self) -> tuple[Tensor, Tensor] | None:
        """See `ConditionalGenerator.central_layer`: that of the mean, where it exists; ways have none in common."""
        return None if self.mean_output is None else (self.mean_output.weight, self.mean_output.bias)

    @torch.no_grad()
    def _rebase_output(self, scale: Tensor, shift: Tensor) -> None:
        rebase_output(self.backbone.output, scale.repeat(self.ways), shift.repeat(self.ways))
        if self.mean_output is not None:
            rebase_output(self.mean_output, scale, shift)

    def _odds_of(self, known: Tensor) -> Tensor:
        """The condition's share of the first layer (..., width) -> the odds of each way (..., M)."""
        logits: Tensor = self.odds(nn.functional.silu(known))
        return logits.softmax(dim=-1)

    def _each_way(self, x: Tensor) -> Tensor:
        """What the output layer says (..., M * Y) -> (..., M, Y)."""
        return x.view(*x.shape[:-1], self.ways, self.output_size)
