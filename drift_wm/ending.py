"""Where a world ends: the probability of termination, told by the observation it ends in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDTH = 64
_RARE = -4.0  # logit before training: worlds seldom end


class Ending(nn.Module):
    """P(the world ends with a step | the observation after it), as a robot has fallen when it lies.

    Every world model has one, whatever its generator, and it costs nothing until an episode of the data ends by itself.
    Time limits are no endings.

    Args:
        observation_size: D.
        rng: source of the initial weights.
    """

    seen: Tensor
    """Whether the data had endings; until then no world ends."""

    def __init__(self, observation_size: int, *, rng: torch.Generator) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(observation_size, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, 1)
        )
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))
        with torch.no_grad():
            for layer in self._linear_layers():
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=rng)
                layer.bias.zero_()
            self._linear_layers()[-1].bias.fill_(_RARE)

    def logit(self, obs: Tensor) -> Tensor:
        """Of the probability: standardised observations (..., D) -> (...)."""
        logit: Tensor = self.network(obs)
        return logit.squeeze(-1)

    def loss(self, obs: Tensor, ended: Tensor) -> Tensor:
        """Cross entropy of standardised observations (..., D) and whether the world ended in them (...) -> scalar."""
        self.seen.fill_(True)
        return nn.functional.binary_cross_entropy_with_logits(self.logit(obs), ended)

    def survival(self, obs: Tensor) -> Tensor:
        """Probability that the world goes on to each step: standardised (..., H, D) after each -> (..., H), first 1."""
        goes_on = torch.sigmoid(-self.logit(obs))
        return torch.cat([torch.ones_like(goes_on[..., :1]), goes_on[..., :-1].cumprod(dim=-1)], dim=-1)

    @torch.no_grad()
    def rebase(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when observations are given as o' with o = scale * o' + shift, both (D,)."""
        first = self._linear_layers()[0]
        first.bias.add_(first.weight @ shift)
        first.weight.mul_(scale)

    def _linear_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.network if isinstance(layer, nn.Linear)]
