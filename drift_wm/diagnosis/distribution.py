"""How close the predicted distribution is to what happened, and to what could have happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.diagnosis.measures import (
    coverage,
    crps,
    energy_distance,
    energy_score,
    rank_histogram,
    spread_skill,
)
from drift_wm.diagnosis.modes import between_modes, weaker_mass

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Nominal probabilities of the central intervals whose coverage is measured."""
FEWEST_PARTICLES = 19
"""Samples that the widest of these intervals needs."""
BINS = 16
"""Of rank histograms, where there are as many ranks."""


@dataclass(frozen=True, slots=True)
class TwoModes:
    """What a model makes of a world that goes one of two ways."""

    weaker_mass: float
    """See `weaker_mass`; 0: the model knows one way only."""
    weaker_mass_of_truth: float
    """The same of as many true samples."""
    between: float
    """Share of samples in the middle half between the modes, where nothing ever happens; 0 is right."""


@dataclass(frozen=True, slots=True)
class DistributionMeasures:
    """Of B states; lengths are in standard deviations of the observations. Tuples over the D entries."""

    states: int
    energy_score: float
    """Of all entries together, on recorded outcomes; lower is better."""
    crps: tuple[float, ...]
    """Its counterpart for each entry by itself."""
    spread_skill: tuple[float, ...]
    """Spread over error of the mean: 1 if calibrated, below 1 if too narrow."""
    levels: tuple[float, ...]
    coverage: tuple[tuple[float, ...], ...]
    """For each level, the share of outcomes of every entry inside the central interval."""
    rank_histogram: tuple[tuple[int, ...], ...]
    """Of each entry: flat if calibrated."""
    energy_distance: float | None = None
    """To the true distribution: 0 if equal, and then negative by chance about half of the time. None: unknown."""
    energy_distance_standard_error: float | None = None
    """Over states, as if these were independent."""
    energy_distance_of_persistence: float | None = None
    """The same of the prediction that nothing changes, for comparison."""
    two_modes: TwoModes | None = None

    @property
    def mean_coverage(self) -> tuple[float, ...]:
        """For each level, over the entries."""
        return tuple(sum(entries) / len(entries) for entries in self.coverage)


def distribution_of(
    samples: Tensor,
    outcomes: Tensor,
    *,
    scale: Tensor,
    rng: torch.Generator,
    true_samples: Tensor | None = None,
    before: Tensor | None = None,
    anchors: Tensor | None = None,
) -> DistributionMeasures:
    """Measure a predicted distribution against recorded outcomes and, where there are some, true samples.

    Args:
        samples: (B, P, D) predictions, P >= 19.
        outcomes: (B, D) what happened, or (B, M, D) independent outcomes of the same states.
        scale: (D,) positive, the unit of each entry, usually its standard deviation over the data.
        rng: breaks the ties of ranks.
        true_samples: (B, M, D) independent outcomes of the true world; equal ones of a deterministic world are a point.
        before: (B, D) the observations predicted from, to measure persistence; read only with `true_samples`.
        anchors: (B, 2, D) the outcomes of the two ways the world may go; read only with `true_samples`.

    Raises:
        ValueError: shapes disagree, a value is not finite, or there are fewer than 19 samples.
    """
    x, y = samples / scale, outcomes / scale
    score, ratio = energy_score(x, y), spread_skill(x, y)
    measures = DistributionMeasures(
        states=len(x),
        energy_score=float(score.mean()),
        crps=_floats(crps(x, y).mean(dim=0)),
        spread_skill=_floats(ratio),
        levels=LEVELS,
        coverage=tuple(_floats(coverage(x, y, level)) for level in LEVELS),
        rank_histogram=tuple(map(tuple, rank_histogram(x, y, min(BINS, x.shape[1] + 1), rng=rng).tolist())),
    )
    if true_samples is None:
        return measures
    return _against_truth(measures, x, true_samples / scale, before, anchors, scale)


def _against_truth(
    measures: DistributionMeasures,
    x: Tensor,
    truth: Tensor,
    before: Tensor | None,
    anchors: Tensor | None,
    scale: Tensor,
) -> DistributionMeasures:
    """Add what only true samples tell."""
    distance = energy_distance(x, truth)
    persistence = None if before is None else float(energy_distance((before / scale)[:, None], truth).mean())
    modes = None
    if anchors is not None:
        places, count = anchors / scale, min(x.shape[1], truth.shape[1])
        modes = TwoModes(
            weaker_mass=weaker_mass(x[:, :count], places),
            weaker_mass_of_truth=weaker_mass(truth[:, :count], places),
            between=float(between_modes(x, places).nanmean()),
        )
    return replace(
        measures,
        energy_distance=float(distance.mean()),
        energy_distance_standard_error=float(distance.std() / len(distance) ** 0.5) if len(distance) > 1 else None,
        energy_distance_of_persistence=persistence,
        two_modes=modes,
    )


def _floats(values: Tensor | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
