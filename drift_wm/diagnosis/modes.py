"""Worlds that go one of several ways: which of them a model knows, and whether it predicts what lies between.

Arguments and errors are as in `drift_wm.diagnosis.measures`; each way is given by its outcome, an anchor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from drift_wm.diagnosis.measures import checked_sets, distances, require_set


def mode_mass(samples: Tensor, anchors: Tensor) -> Tensor:
    """Share of the samples that are nearest to each of M anchors, such as the outcomes of M discrete events.

    Compare with the events' true probabilities: a model that has lost a mode gives it no mass.

    Args:
        samples: (B, P, D) predictions.
        anchors: (B, M, D), the typical outcome of every mode.

    Returns:
        (B, M), rows sum to 1. A sample at equal distance from several anchors counts for each in equal parts.

    Raises:
        ValueError: shapes disagree, or a value is not finite.
    """
    x, y = checked_sets(samples, require_set("anchors", anchors), "anchors")
    distance = distances(x, y)
    nearest = (distance == distance.amin(dim=2, keepdim=True)).double()
    return (nearest / nearest.sum(dim=2, keepdim=True)).mean(dim=1)


def between_modes(samples: Tensor, anchors: Tensor) -> Tensor:
    """Share of the samples in the middle half between two anchors, where a model that averages puts them.

    Only the position along the segment counts, from 1/4 to 3/4 of the way; distance from it does not.

    Args:
        samples: (B, P, D) predictions.
        anchors: (B, 2, D), the typical outcomes of two modes.

    Returns:
        (B,) shares; nan where both anchors coincide.

    Raises:
        ValueError: shapes disagree, there are not two anchors, or a value is not finite.
    """
    x, y = checked_sets(samples, require_set("anchors", anchors), "anchors")
    if y.shape[1] != 2:
        raise ValueError(f"got {y.shape[1]} anchors per state; expected 2. Measure pairs of modes one by one.")
    start, segment = y[:, :1], y[:, 1:] - y[:, :1]
    squared_length = segment.square().sum(dim=(1, 2))
    position = ((x - start) * segment).sum(dim=2) / squared_length[:, None]
    share = ((position >= 0.25) & (position <= 0.75)).double().mean(dim=1)
    return torch.where(squared_length > 0, share, torch.nan)


def weaker_mass(samples: Tensor, anchors: Tensor) -> float:
    """Mean over states of the share of samples at the mode that gets less.

    Of few samples even a fair share comes out below one half (0.43 of 32, 0.45 of 64), so compare equal numbers.

    Args:
        samples: (B, P, D) predictions.
        anchors: (B, 2, D), outcomes of the two ways; states in which they coincide do not count.

    Returns:
        0 to 0.5; nan where they coincide in every state.
    """
    differ = (anchors[:, 0] != anchors[:, 1]).any(dim=1)
    return float(mode_mass(samples[differ], anchors[differ]).amin(dim=1).mean()) if differ.any() else math.nan
