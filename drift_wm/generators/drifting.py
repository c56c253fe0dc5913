"""The drifting generator: trained by moving its own samples, sampled in one network evaluation."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from drift_wm.fields import Field, attraction_field, blockwise, energy_field, kernel_field
from drift_wm.generators.base import ConditionalGenerator
from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.nets import SMALL, initialise, rebase_output

_EVEN = 16
"""Noises, each with its opposite, whose samples' mean stands for the centre of what is acted. 24 or 32 act a little
better, and take longer than a tenth of diffusion's 16 steps."""
_TINY = 1e-24  # squared: keeps the root's gradient at an error of zero at zero


class DriftingGenerator(ConditionalGenerator):
    """p(y | c) by drifting (arXiv 2602.04770): x = f(c, z), loss |x - sg(x + V(x))|^2.

    A second output layer reads E[y | c] off the siblings' mean last features, by squared error, at the cost of no
    further row of the network. Fields pull errors of all sizes about alike, so means are fitted less well than by
    regression; the features that the squared error asks for put the samples, too, where they belong. Planners read that
    layer at noise zero, where features differ a little from their mean over noise: wide laws are off their mean by it.
    docs/truth/attempts.md has the measurements.

    Args:
        condition_size: C.
        output_size: Y.
        blocks: equal parts of y that are scored on their own besides the whole (the steps of a chunk).
        config: network and field.
        rng: source of the initial weights.
    """

    even_noise: Tensor

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
        half = torch.randn(_EVEN // 2, config.noise_size, generator=torch.Generator().manual_seed(0))
        half = half / half.square().mean(dim=0).sqrt()  # what is quadratic in the noise has its mean exactly, too
        self.register_buffer("even_noise", torch.cat([half, -half]), persistent=False)
        self.mean_output = nn.Linear(config.width, output_size) if config.mean_weight > 0 else None
        if self.mean_output is not None:
            initialise(self.mean_output, rng, factor=SMALL)

    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        # Flat by design: its value is |V|^2, and the energy field has nearly constant length.
        z = torch.randn(c.shape[0], self.siblings, self.noise_size, generator=rng, device=c.device)
        features = self.backbone.features(self.backbone.from_condition(c.unsqueeze(1)), z)
        mean = features.mean(dim=1)  # first: without gradients they are overwritten
        loss = self.loss_of(self.backbone.read_out(features, z), y, blocks=self.blocks)
        return loss + self.mean_loss(mean, y, drift=loss)

    def loss_of(self, x: Tensor, y: Tensor, *, blocks: int) -> Tensor:
        """Generated siblings (B, G, W) and data (B, W), whole trajectories perhaps -> scalar."""
        with torch.no_grad():
            field = make_field(self.config, blocks if self.config.per_step else 1)
            moved = x + field(x, y.unsqueeze(1))
        return nn.functional.mse_loss(x, moved, reduction="sum") / x.shape[:2].numel()

    def mean_loss(self, features: Tensor, y: Tensor, *, drift: Tensor) -> Tensor:
        """The mean of the siblings' last features (B, width), data (B, Y) and the field's loss -> scalar.

        Pulls means by `mean_weight` times the root mean square length of the drift, in any units of y.
        """
        if self.mean_output is None:
            return drift.new_zeros(())
        mean: Tensor = self.mean_output(features)
        error = nn.functional.mse_loss(mean, y, reduction="sum") / len(y)
        return 2 * self.config.mean_weight * drift.detach().sqrt() * (error + _TINY).sqrt()

    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """See `ConditionalGenerator.decode`."""
        return self.backbone.complete(known, z)

    def damped(self, known: Tensor, z: Tensor, noise: float) -> Tensor:
        """See `ConditionalGenerator.damped`: between a sample and the mean of 16, in one pass through the network.

        Of the fixed 16 noises, z draws the signs: another mean, with other errors, for each sample.
        Shorter noise than in training leads where nothing was learned, and the second output layer, which was trained
        on means of few siblings, acts worse than the samples' own mean (docs/demonstrations/attempts.md).
        """
        if noise == 1:
            return self.decode(known, z)
        noises = self.even_noise * z.sign().unsqueeze(-2)
        features = self.backbone.features(known.unsqueeze(-2), noises)
        centre = self.backbone.mean_read_out(features, noises)
        return centre if noise == 0 else torch.lerp(centre, self.decode(known, z), noise)

    @property
    def central_layer(self) -> tuple[Tensor, Tensor] | None:
        """See `ConditionalGenerator.central_layer`: that of the mean, where it exists."""
        layer = self.backbone.output if self.mean_output is None else self.mean_output
        return layer.weight, layer.bias

    @torch.no_grad()
    def _rebase_output(self, scale: Tensor, shift: Tensor) -> None:
        super()._rebase_output(scale, shift)
        if self.mean_output is not None:
            rebase_output(self.mean_output, scale, shift)


def make_field(config: GeneratorConfig, blocks: int = 1) -> Field:
    """The drifting field that a configuration names, scored on `blocks` parts of the vector besides the whole."""
    match config.field:
        case "energy":
            return partial(energy_field, exponent=config.exponent, smoothing=config.smoothing, blocks=blocks)
        case "kernel":
            return blockwise(kernel_field, blocks)
        case "kernel_per_condition":
            return blockwise(lambda x, positives: kernel_field(x, positives, pooled=False), blocks)
        case "attraction":
            return blockwise(attraction_field, blocks)
    raise ValueError(
        f"model.generator.field={config.field!r}: expected energy, kernel, kernel_per_condition or attraction"
    )
