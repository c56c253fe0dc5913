"""The drifting generator: trained by moving its own samples, sampled in one network evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drift_wm.fields import Field, attraction_field, blockwise, energy_field, kernel_field
from drift_wm.generators.config import GeneratorConfig
from drift_wm.nets import ConditionalMLP


class DriftingGenerator(nn.Module):
    """p(y | c) by drifting (arXiv 2602.04770): x = f(c, z), loss |x - sg(x + V(x))|^2.

    Args:
        condition_size: C.
        output_size: Y.
        blocks: equal parts of y that are scored on their own besides the whole (the steps of a chunk).
        config: network and field.
        rng: source of the initial weights.
    """

    nfe = 1
    stochastic = True

    def __init__(
        self,
        condition_size: int,
        output_size: int,
        *,
        blocks: int,
        config: GeneratorConfig,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.noise_size = config.noise_size
        self.siblings = config.siblings
        self.backbone = ConditionalMLP(
            condition_size, config.noise_size, output_size, width=config.width, depth=config.depth, rng=rng
        )
        self.field = blockwise(make_field(config), blocks if config.per_step else 1)

    def loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Conditions (B, C) with one positive each (B, Y) -> loss, metrics.

        The loss is flat by design (its value is |V|^2, and the energy field has nearly constant length);
        watch `energy_score`, which is proper, and `error`, the root mean square distance of the siblings' mean.
        """
        z = torch.randn(c.shape[0], self.siblings, self.noise_size, generator=rng, device=c.device)
        x = self.backbone(c.unsqueeze(1), z)
        with torch.no_grad():
            positives = y.unsqueeze(1)
            moved = x + self.field(x, positives)
        loss = (x - moved).square().sum(dim=-1).mean()
        return loss, _metrics(x.detach(), y)

    def sample(self, c: Tensor, z: Tensor) -> Tensor:
        """Conditions (..., C) and noise (..., Z), broadcast together -> (..., Y)."""
        y: Tensor = self.backbone(c, z)
        return y


def make_field(config: GeneratorConfig) -> Field:
    """The drifting field that a configuration names."""
    match config.field:
        case "energy":
            return lambda x, positives: energy_field(x, positives, smoothing=config.smoothing)
        case "kernel":
            return kernel_field
        case "kernel_per_condition":
            return lambda x, positives: kernel_field(x, positives, pooled=False)
        case "attraction":
            return attraction_field
    raise ValueError(
        f"model.generator.field={config.field!r}: expected energy, kernel, kernel_per_condition or attraction"
    )


@torch.no_grad()
def _metrics(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Energy score and error of the mean, for samples (B, G, Y) of data (B, Y)."""
    to_data = (x - y.unsqueeze(1)).norm(dim=-1).mean()
    between = (x.unsqueeze(1) - x.unsqueeze(2)).norm(dim=-1).sum(dim=(1, 2)).mean()
    siblings = x.shape[1]
    score = to_data - between / (2 * siblings * (siblings - 1))
    return {"energy_score": score, "error": (x.mean(dim=1) - y).square().mean().sqrt()}
