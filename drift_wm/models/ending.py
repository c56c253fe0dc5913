"""Where a world ends: the probability of termination, told by the observation it ends in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drift_wm.generators.nets import MLP

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
        self.network = MLP(observation_size, 1, width=_WIDTH, depth=2, rng=rng)
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, _RARE)

    def logit(self, obs: Tensor) -> Tensor:
        """Of the probability: standardised observations (..., D) -> (...)."""
        logit: Tensor = self.network(obs)
        return logit.squeeze(-1)

    def loss(self, obs: Tensor, ended: Tensor) -> Tensor:
        """Cross entropy over the steps until a world ends.

        Args:
            obs: (B, k, D) standardised, after each of k steps.
            ended: (B, k) 1 where the world ended with a step or before.
        """
        self.seen.fill_(True)
        before_end = torch.cat([torch.ones_like(ended[:, :1]), 1 - ended[:, :-1]], dim=1)
        each = nn.functional.binary_cross_entropy_with_logits(self.logit(obs), ended, reduction="none")
        # A mean over all steps, so that processes that share a batch weigh theirs as one process would.
        return (each * before_end).mean()

    def survival(self, obs: Tensor) -> Tensor:
        """Probability that the world goes on to each step, the first 1, and after the last.

        Standardised observations after H steps (..., H, D) -> (..., H + 1).
        """
        goes_on = torch.sigmoid(-self.logit(obs))
        return torch.cat([torch.ones_like(goes_on[..., :1]), goes_on.cumprod(dim=-1)], dim=-1)

    def rebase(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when observations are given as o' with o = scale * o' + shift, both (D,)."""
        self.network.rebase(scale, shift)
