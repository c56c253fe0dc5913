"""How errors grow when a model predicts from its own predictions, and whether it heeds the actions.

Errors are root mean squares of the mean of the samples, each entry in units of its standard deviation over the data:
1 is as good as always predicting the mean observation. In a stochastic world no model reaches 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode
from drift_wm.diagnosis.groups import Group
from drift_wm.diagnosis.measures import normalised_rmse
from drift_wm.diagnosis.situations import Situations, sample_model
from drift_wm.interfaces import WorldModel


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """The errors of one predictor after each of the measured numbers of steps."""

    name: str
    overall: tuple[float, ...]
    """Over all entries of the observation that change."""
    by_group: tuple[tuple[float, ...], ...]
    """One curve for each group of entries."""


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """The model beside persistence, which says that nothing changes, and a linear model."""

    steps: tuple[int, ...]
    groups: tuple[str, ...]
    """Those in which an entry changes."""
    curves: tuple[ErrorCurve, ...]
    """The model first."""


@dataclass(frozen=True, slots=True)
class ActionSensitivity:
    """Errors under the actions that were taken, and under those of other situations, over the same situations."""

    steps: int
    error: float
    error_shuffled: float

    @property
    def ratio(self) -> float:
        """1: the model ignores the actions, or they do not matter; the larger, the more it relies on them."""
        return self.error_shuffled / self.error if self.error > 0 else float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """o' = o + [o, a, 1] W by least squares."""

    weights: Tensor
    """(D + A + 1, D) float64."""

    @classmethod
    def fit(cls, episodes: Sequence[Episode]) -> LinearModel:
        """Fit all transitions of some episodes of equal size."""
        before = torch.cat([torch.from_numpy(episode.obs[:-1]) for episode in episodes]).double()
        after = torch.cat([torch.from_numpy(episode.obs[1:]) for episode in episodes]).double()
        actions = torch.cat([torch.from_numpy(episode.actions) for episode in episodes]).double()
        # Entries may be copies or sums of others: the driver that copes with a deficient rank.
        return cls(torch.linalg.lstsq(_features(before, actions), after - before, driver="gelsd").solution)

    def rollout(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Observations (W, D) and actions (W, H, A) -> (W, H, D) float64, on the host."""
        now, future = obs.cpu().double(), []
        for action in actions.cpu().double().unbind(dim=1):
            now = now + _features(now, action) @ self.weights
            future.append(now)
        return torch.stack(future, dim=1)


def measure_open_loop(
    samples: Tensor,
    situations: Situations,
    linear: LinearModel,
    groups: Sequence[Group],
    scale: Tensor,
    *,
    entries: Sequence[int],
) -> OpenLoop:
    """Compare the predictors on the same situations.

    Args:
        samples: (W, P, H, D) of the model, all finite.
        situations: W, of a horizon of at least H.
        linear: fitted on other episodes.
        groups: of the D entries.
        scale: (D,) standard deviations over the data.
        entries: that count, at least one.
    """
    places = {group.name: [entry for entry in entries if group.start <= entry < group.stop] for group in groups}
    places = {name: inside for name, inside in places.items() if inside}
    H = samples.shape[2]
    future, newest = situations.future[:, :H], situations.history.obs[:, -1]
    predictors = {
        "model": samples,
        "persistence": newest[:, None, None].expand(-1, 1, H, -1),
        "linear": linear.rollout(newest, situations.actions[:, :H])[:, None].to(samples.device),
    }
    steps = doubling_steps(H)
    curves = []
    for name, predicted in predictors.items():
        by_entry = [normalised_rmse(predicted[:, :, step - 1], future[:, step - 1], scale) for step in steps]
        overall, *by_group = (
            tuple(_rms(error[inside]) for error in by_entry) for inside in (list(entries), *places.values())
        )
        curves.append(ErrorCurve(name, overall, tuple(by_group)))
    return OpenLoop(steps, tuple(places), tuple(curves))


def measure_action_sensitivity(
    model: WorldModel,
    samples: Tensor,
    situations: Situations,
    steps: int,
    scale: Tensor,
    *,
    entries: Sequence[int],
    rng: torch.Generator,
) -> ActionSensitivity:
    """Predict again with each situation's future actions replaced by those of another one.

    Args:
        model: whose `samples` (W, P, H, D) under the true actions are known.
        samples: all finite.
        situations: W >= 2.
        steps: after which the error is taken.
        scale: (D,) standard deviations over the data.
        entries: that count, at least one.
        rng: of the noise, and of the exchange.
    """
    W, P = samples.shape[:2]
    # A shift of a random order gives every situation the actions of another one.
    order = torch.randperm(W, generator=rng)
    actions = torch.empty_like(situations.actions)
    actions[order] = situations.actions[order.roll(1)]
    exchanged = Situations(situations.history, actions, situations.future)
    shuffled = sample_model(model, exchanged, steps, particles=P, rng=rng)[:, :, -1]
    finite = shuffled.isfinite().all(dim=(1, 2))  # unseen pairs of state and action may be predicted absurdly
    compared = finite if finite.any() else torch.ones_like(finite)
    truth = situations.future[:, steps - 1]

    def error(predicted: Tensor) -> float:
        return _rms(normalised_rmse(predicted[compared], truth[compared], scale)[list(entries)])

    return ActionSensitivity(
        steps=steps,
        error=error(samples[:, :, steps - 1]),
        error_shuffled=error(shuffled) if finite.any() else float("inf"),
    )


def doubling_steps(horizon: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the horizon itself."""
    return (*(2**i for i in range(horizon.bit_length()) if 2**i < horizon), horizon)


def _features(obs: Tensor, actions: Tensor) -> Tensor:
    return torch.cat([obs, actions, obs.new_ones(*obs.shape[:-1], 1)], dim=-1)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
