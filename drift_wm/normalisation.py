"""Standardisation that travels inside the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Scales:
    """Means and standard deviations of a data set, as models need them: targets world models, actions policies.

    A standard deviation is never zero: dimensions that do not vary carry 1.
    """

    obs_mean: Tensor
    """(D,)"""
    obs_std: Tensor
    """(D,)"""
    target_mean: Tensor
    """(k, D + 1): change of each observation dimension after 1..k steps, then the reward of that step."""
    target_std: Tensor
    """(k, D + 1)"""
    action_mean: Tensor
    """(A,)"""
    action_std: Tensor
    """(A,)"""

    def to(self, device: torch.device) -> Scales:
        """The same scales on a device."""
        return Scales(*(getattr(self, entry.name).to(device) for entry in fields(self)))


class Normaliser(nn.Module):
    """Maps observations and prediction targets to zero mean and unit variance, and targets back.

    A target is what the generator learns: for each of the next k steps the change of the observation
    since the newest frame, and the reward of that step, (..., k, D + 1). Changes rather than
    observations keep small motions visible, and each step has its own scale because changes grow with time.
    """

    obs_mean: Tensor
    obs_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, observation_size: int, chunk: int) -> None:
        super().__init__()
        self.register_buffer("obs_mean", torch.zeros(observation_size))
        self.register_buffer("obs_std", torch.ones(observation_size))
        self.register_buffer("target_mean", torch.zeros(chunk, observation_size + 1))
        self.register_buffer("target_std", torch.ones(chunk, observation_size + 1))

    @property
    def is_set(self) -> bool:
        """Whether the targets have been given scales; until then they carry mean 0 and deviation 1."""
        return bool((self.target_std != 1).any() or (self.target_mean != 0).any())

    def unit_scales(self, action_size: int, *, keep_means: bool) -> Scales:
        """Those under which nothing is scaled, and nothing is shifted unless the means of now are kept."""
        zeros, ones, no_action = torch.zeros_like, torch.ones_like, torch.zeros(action_size)
        return Scales(
            obs_mean=self.obs_mean.clone() if keep_means else zeros(self.obs_mean),
            obs_std=ones(self.obs_std),
            target_mean=self.target_mean.clone() if keep_means else zeros(self.target_mean),
            target_std=ones(self.target_std),
            action_mean=no_action,
            action_std=ones(no_action),
        )

    def set(self, scales: Scales) -> None:
        """Adopt the scales of a data set."""
        self.obs_mean.copy_(scales.obs_mean)
        self.obs_std.copy_(scales.obs_std)
        self.target_mean.copy_(scales.target_mean)
        self.target_std.copy_(scales.target_std)

    def obs(self, obs: Tensor) -> Tensor:
        """Observations (..., D) -> standardised (..., D)."""
        return (obs - self.obs_mean) / self.obs_std

    def target(self, current: Tensor, future: Tensor, reward: Tensor) -> Tensor:
        """Newest frame (..., D), next observations (..., k, D), rewards (..., k) -> targets (..., k, D + 1)."""
        change = torch.cat([future - current.unsqueeze(-2), reward.unsqueeze(-1)], dim=-1)
        return (change - self.target_mean) / self.target_std

    def prediction(self, current: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `target`: newest frame (..., D), targets (..., k, D + 1) -> observations, rewards."""
        change = target * self.target_std + self.target_mean
        return current.unsqueeze(-2) + change[..., :-1], change[..., -1]
