"""What is still to come after a planning horizon: a value function of observations."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from drift_wm.nets import MLP

_WIDTH = 128
_NETWORKS = 2
_SLOW = 0.01  # share of the way that the bootstrapping networks follow in a step


class Value(nn.Module):
    """V(o) = E[r_1 + g r_2 + g^2 r_3 + ...] under whoever collected the data, by temporal differences.

    A planner that looks H decisions ahead is blind to what its plan leads to after them; V judges the observation in
    which the plan leaves the robot. A planner would exploit its errors, so the lower of two networks counts (after
    Fujimoto et al. 2018, TD3, section 4.2). Each bootstraps from a slow copy of itself.

    Args:
        observation_size: D.
        discount: g, per decision, in (0, 1).
        rng: source of the initial weights.
    """

    def __init__(self, observation_size: int, *, discount: float, rng: torch.Generator) -> None:
        super().__init__()
        self.discount = discount
        self.networks = nn.ModuleList(
            MLP(observation_size, 1, width=_WIDTH, depth=2, rng=rng) for _ in range(_NETWORKS)
        )
        self.slow = copy.deepcopy(self.networks).requires_grad_(False)

    def forward(self, obs: Tensor) -> Tensor:
        """Standardised observations (..., D) -> values (...), in units of rewards."""
        both: Tensor = torch.cat([network(obs) for network in self.networks], dim=-1)
        return both.amin(dim=-1) / (1 - self.discount)

    def loss(self, obs: Tensor, reward: Tensor, ended: Tensor | None) -> Tensor:
        """Squared error to returns of up to k steps and the slow copy's value after them, from k observations each.

        Args:
            obs: (B, k + 1, D) standardised, of consecutive steps.
            reward: (B, k).
            ended: (B, k) 1 where the world ended with a step; nothing comes after that.
        """
        self._follow()
        goes_on = 1 - ended if ended is not None else torch.ones_like(reward)
        losses = []
        for network, slow in zip(self.networks, self.slow, strict=True):
            with torch.no_grad():
                later = slow(obs[:, -1]).squeeze(-1)
                targets = []
                for step in reversed(range(reward.shape[1])):
                    # The networks speak in units of 1 / (1 - g): a constant reward of 1 has the value 1.
                    later = (1 - self.discount) * reward[:, step] + self.discount * goes_on[:, step] * later
                    targets.append(later)
                target = torch.stack(targets[::-1], dim=1)
            losses.append((network(obs[:, :-1]).squeeze(-1) - target).square().mean())
        return torch.stack(losses).sum()

    @torch.no_grad()
    def rebase(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when observations are given as o' with o = scale * o' + shift, both (D,)."""
        for network in (*self.networks, *self.slow):
            assert isinstance(network, MLP)
            network.rebase(scale, shift)

    @torch.no_grad()
    def _follow(self) -> None:
        for slow, fast in zip(self.slow.parameters(), self.networks.parameters(), strict=True):
            slow.lerp_(fast, _SLOW)
