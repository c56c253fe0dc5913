"""Standardisation that travels inside the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from drift_wm.interfaces import SMALL_ACTIONS

_FAR_RATIO, _FAR_SHIFT = 2.0, 1.0  # of deviations and of means, from which what is learned is not about standard
_JITTER = 30.0  # growth of an entry's deviation from which all that was learned of it is of its jitter


@dataclass(frozen=True, slots=True)
class Scales:
    """Means and standard deviations of a data set, as models need them.

    A standard deviation is never zero: dimensions that do not vary carry 1, and those of observations infinity. What
    never varied in training cannot inform a prediction: in an infinite unit it is 0 whatever it becomes later, where
    weights that nothing has trained would make noise of it. World models read actions so, too.
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
    action_largest: Tensor
    """(A,) largest magnitude."""
    action_constant: Tensor
    """(A,) bool, whether the entry never varies."""

    @property
    def action_units(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (A,) by which world models read actions: 0 and 1 of those in a planner's [-1, 1].

        Of what never varies, its value and infinity.
        """
        of_robot = (self.action_largest > 1) | (self.action_largest < SMALL_ACTIONS)
        mean = torch.where(of_robot | self.action_constant, self.action_mean, 0)
        return mean, torch.where(of_robot, self.action_std, 1).masked_fill(self.action_constant, torch.inf)

    def keeping_observations_of(self, old_std: Tensor) -> Scales:
        """The same, but for observations that do not vary here: they keep their old unit (D,), and thus their use."""
        return replace(self, obs_std=torch.where(self.obs_std.isinf(), old_std, self.obs_std))

    def reading_actions_that(self, varied: Tensor) -> Scales:
        """The same, but for actions that do not vary here and did before, (A,) bool: what they do is known."""
        return replace(self, action_constant=self.action_constant & ~varied)

    def keeping_targets_of(self, old: Normaliser) -> Scales:
        """The same, but for targets that are still near zero and one in the old scales: those stay as they were."""
        mean, std = _kept_where_near((old.target_mean, old.target_std), (self.target_mean, self.target_std))
        return replace(self, target_mean=mean, target_std=std)

    def keeping_actions_of(self, old: MeanStd) -> Scales:
        """The same, but for actions that are still near zero and one in the old scales, both (A,)."""
        mean, std = _kept_where_near(old, (self.action_mean, self.action_std))
        return replace(self, action_mean=mean, action_std=std)

    def to(self, device: torch.device) -> Scales:
        """The same scales on a device."""
        return Scales(*(getattr(self, entry.name).to(device) for entry in fields(self)))


MeanStd = tuple[Tensor, Tensor]
"""Mean and standard deviation."""
Change = tuple[Tensor, Tensor]
"""Scale and shift: what is given as x is from now on given as x', with x = scale * x' + shift."""


def _kept_where_near(old: MeanStd, new: MeanStd) -> MeanStd:
    """The new moments, but the old ones of entries that are still about zero and one in them."""
    (old_mean, old_std), (mean, std) = old, new
    ratio, shift = std / old_std, (mean - old_mean) / old_std
    near = (ratio > 1 / _FAR_RATIO) & (ratio < _FAR_RATIO) & (shift.abs() < _FAR_SHIFT)
    return torch.where(near, old_mean, mean), torch.where(near, old_std, std)


def change_of_units(old: MeanStd, new: MeanStd) -> Change:
    """Of what was standardised by old moments and is from now on by new ones, of any shape.

    An infinite unit that stays leaves a network as it is; one that ends leaves weights of 0.
    """
    (old_mean, old_std), (mean, std) = old, new
    return torch.where(std == old_std, 1, std / old_std), (mean - old_mean) / old_std


def reading_anew(change: Change) -> Change:
    """The change for a network that goes on learning from what it reads: other for entries that hardly varied, or not.

    These are read anew, in the new unit and by weights of the size that they have. Exact ones would be so many times as
    large, or zero, and are slow to learn: of an object that stood still, but for noise, until the robot touched it.
    """
    scale, shift = change
    is_new = (scale > _JITTER) | (shift.abs() > _JITTER) | (scale == 0)
    return torch.where(is_new, 1, scale), torch.where(is_new, 0, shift)


def predicting_anew(change: Change) -> Change:
    """The change for a network that goes on learning what it predicts: infinite where a unit is a fraction of the old.

    What was predicted in the old one is noise in the new; a network that is rebased by infinity predicts the mean.
    """
    scale, shift = change
    lost = scale < 1 / _JITTER
    return torch.where(lost, torch.inf, scale), torch.where(lost, 0, shift)


def differ(changes: Sequence[Change], others: Sequence[Change]) -> bool:
    """Whether any of these changes is not that of the others."""
    return any(
        not torch.equal(one, other)
        for change, beside in zip(changes, others, strict=True)
        for one, other in zip(change, beside, strict=True)
    )


def join_changes(parts: Sequence[Change]) -> Change:
    """Of a vector of such parts: (size,) each."""
    scales, shifts = zip(*parts, strict=True)
    return torch.cat([each.flatten() for each in scales]), torch.cat([each.flatten() for each in shifts])


class Normaliser(nn.Module):
    """Maps observations and prediction targets to zero mean and unit variance, and targets back.

    So are actions in a robot's own units, such as torques or joint angles. Those within [-1, 1], where planners
    search, are read as they are: their spread in the data changes as a policy improves, and means nothing.

    A target is what the generator learns: for each of the next k steps the change of the observation
    since the newest frame, and the reward of that step, (..., k, D + 1). Changes rather than
    observations keep small motions visible, and each step has its own scale because changes grow with time.

    Networks read observations, and of entries that are angles the cosine and sine besides: where a hand is depends on
    those of its joints, which a network would have to learn for every turn of a joint anew.

    Args:
        observation_size: D.
        action_size: A.
        chunk: k.
        angles: entries of observations that are angles in radians.
    """

    obs_mean: Tensor
    obs_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    target_mean: Tensor
    target_std: Tensor
    angles: Tensor

    def __init__(self, observation_size: int, action_size: int, chunk: int, *, angles: Sequence[int] = ()) -> None:
        super().__init__()
        self.read_size = observation_size + 2 * len(angles)
        """R, of an observation as networks read it."""
        self.register_buffer("angles", torch.tensor(angles, dtype=torch.long), persistent=False)
        self.register_buffer("obs_mean", torch.zeros(observation_size))
        self.register_buffer("obs_std", torch.ones(observation_size))
        self.register_buffer("action_mean", torch.zeros(action_size))
        self.register_buffer("action_std", torch.ones(action_size))
        self.register_buffer("target_mean", torch.zeros(chunk, observation_size + 1))
        self.register_buffer("target_std", torch.ones(chunk, observation_size + 1))

    @property
    def is_set(self) -> bool:
        """Whether the targets have been given scales; until then they carry mean 0 and deviation 1."""
        return bool((self.target_std != 1).any() or (self.target_mean != 0).any())

    @property
    def held_actions(self) -> Tensor:
        """(A,) the value of actions that never varied in training, within [-1, 1]; NaN of the others."""
        return self.action_mean.clamp(-1, 1).masked_fill(self.action_std.isfinite(), torch.nan)

    def changes_to(self, new: Scales) -> tuple[Change, Change, Change]:
        """How the units of observations as they are read (R,), of actions and targets change with these scales."""
        scale, shift = change_of_units((self.obs_mean, self.obs_std), (new.obs_mean, new.obs_std))
        beside = (0, 2 * len(self.angles))
        return (
            (nn.functional.pad(scale, beside, value=1.0), nn.functional.pad(shift, beside)),
            change_of_units((self.action_mean, self.action_std), new.action_units),
            change_of_units((self.target_mean, self.target_std), (new.target_mean, new.target_std)),
        )

    def unit_scales(self, *, keep_means: bool, keep_targets: bool = False) -> Scales:
        """Those under which nothing is scaled.

        Args:
            keep_means: whether means stay, of which those of actions are then the caller's to subtract.
            keep_targets: whether all scales of targets stay.
        """
        zeros, ones = torch.zeros_like, torch.ones_like
        return Scales(
            obs_mean=self.obs_mean.clone() if keep_means else zeros(self.obs_mean),
            obs_std=ones(self.obs_std),
            target_mean=self.target_mean.clone() if keep_means or keep_targets else zeros(self.target_mean),
            target_std=self.target_std.clone() if keep_targets else ones(self.target_std),
            action_mean=self.action_mean.clone() if keep_means else zeros(self.action_mean),
            action_std=ones(self.action_std),
            action_largest=torch.full_like(self.action_std, torch.inf),  # so that these are the units
            action_constant=torch.zeros_like(self.action_std, dtype=torch.bool),
        )

    def set(self, scales: Scales) -> None:
        """Adopt the scales of a data set."""
        self.obs_mean.copy_(scales.obs_mean)
        self.obs_std.copy_(scales.obs_std)
        mean, std = scales.action_units
        self.action_mean.copy_(mean)
        self.action_std.copy_(std)
        self.target_mean.copy_(scales.target_mean)
        self.target_std.copy_(scales.target_std)

    def obs(self, obs: Tensor) -> Tensor:
        """Observations (..., D) -> as networks read them (..., R): standardised, and what `with_angles` adds."""
        return self.with_angles((obs - self.obs_mean) / self.obs_std, obs)

    def with_angles(self, standardised: Tensor, obs: Tensor) -> Tensor:
        """Both (..., D) -> the first, and the cosines and sines of the angles in the second, (..., R)."""
        if not len(self.angles):
            return standardised
        angles = obs[..., self.angles]
        return torch.cat([standardised, angles.cos(), angles.sin()], dim=-1)

    def actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) -> as the network reads them (..., A)."""
        return (actions - self.action_mean) / self.action_std

    def target(self, current: Tensor, future: Tensor, reward: Tensor) -> Tensor:
        """Newest frame (..., D), next observations (..., k, D), rewards (..., k) -> targets (..., k, D + 1)."""
        change = torch.cat([future - current.unsqueeze(-2), reward.unsqueeze(-1)], dim=-1)
        return (change - self.target_mean) / self.target_std

    def prediction(self, current: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `target`: newest frame (..., D), targets (..., k, D + 1) -> observations, rewards."""
        change = target * self.target_std + self.target_mean
        return current.unsqueeze(-2) + change[..., :-1], change[..., -1]
