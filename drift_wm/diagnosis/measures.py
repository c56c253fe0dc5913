"""How close predicted distributions are to the truth: pure functions of samples.

An error of the mean rewards a model that predicts the average of two outcomes, which never happens.
These measures do not: proper scores, distances between distributions, and calibration.

    samples    (B, P, D)  predicted samples of B states
    truth      (B, D)     one true outcome of each state, or (B, M, D) M independent ones

Scales are the caller's: distances over D entries mix their units, so pass standardised observations.
Everything is computed and returned in float64, because an energy distance is a small difference of
large means. A value that is not finite is a `ValueError`, not a score: its ranks would mean nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def energy_score(samples: Tensor, truth: Tensor) -> Tensor:
    """E|X - y| - 1/2 E|X - X'|, unbiased: lowest in expectation for the true distribution.

    A strictly proper score (Gneiting and Raftery 2007) of the joint distribution of all D entries.

    Args:
        samples: (B, P, D) predictions. P = 1 is a point forecast, whose score is its distance to the truth.
        truth: (B, D), or (B, M, D) to average the score over M outcomes.

    Returns:
        (B,) in units of the observations.

    Raises:
        ValueError: shapes disagree, or a value is not finite.
    """
    x, y = checked_sets(samples, truth)
    return distances(x, y).mean(dim=(1, 2)) - _distance_within(x) / 2


def crps(samples: Tensor, truth: Tensor) -> Tensor:
    """The energy score of every entry on its own: the fair continuous ranked probability score (Ferro 2014).

    Args:
        samples: (B, P, D) predictions. P = 1 gives the absolute error.
        truth: (B, D), or (B, M, D) to average the score over M outcomes.

    Returns:
        (B, D), each entry in its own unit.

    Raises:
        ValueError: shapes disagree, or a value is not finite.
    """
    x, y = checked_sets(samples, truth)
    error = torch.zeros_like(y[:, 0])
    for outcome in y.unbind(dim=1):  # one at a time: all of them at once would be (B, P, M, D)
        error += (x - outcome[:, None]).abs().mean(dim=1)
    return error / y.shape[1] - _gap_within(x) / 2


def energy_distance(samples: Tensor, true_samples: Tensor) -> Tensor:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|: zero exactly where both distributions agree (Szekely and Rizzo 2013).

    The estimate is unbiased, so that of equal distributions scatters around zero and is negative about
    half of the time. Average over states before drawing a root.

    Args:
        samples: (B, P, D) predictions.
        true_samples: (B, M, D) true outcomes of the same states. A set of one counts as a point mass,
            which is right for a deterministic model or world and otherwise not unbiased.

    Returns:
        (B,) in units of the observations.

    Raises:
        ValueError: shapes disagree, or a value is not finite.
    """
    x, y = checked_sets(samples, require_set("true_samples", true_samples))
    return 2 * distances(x, y).mean(dim=(1, 2)) - _distance_within(x) - _distance_within(y)


def spread_skill(samples: Tensor, truth: Tensor) -> Tensor:
    """Spread of the samples over the error of their mean: 1 if calibrated, below 1 if too sure of itself.

    sqrt((P + 1) / P * mean variance) / rmse of the mean (Fortin et al. 2014). The factor allows for the
    error of a mean of P samples, so a perfect model is at 1 for every P.

    Args:
        samples: (B, P, D) predictions. P = 1 has no spread, and a ratio of 0.
        truth: (B, D), or (B, M, D).

    Returns:
        (D,), without unit; inf for an entry with spread but no error, nan for one with neither.

    Raises:
        ValueError: shapes disagree, or a value is not finite.
    """
    x, y = checked_sets(samples, truth)
    P = x.shape[1]
    return ((P + 1) / P * _mean_variance(x)).sqrt() / _rmse_of_mean(x, y)


def normalised_rmse(samples: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """Root mean square error of the mean that the samples estimate, in units of `scale`.

    The mean of P samples misses the law's own by a P-th of their variance, which is taken off the squared error.

    Args:
        samples: (B, P, D) predictions.
        truth: (B, D), or (B, M, D).
        scale: (D,) positive, usually the standard deviation of the observations.

    Returns:
        (D,): 1 is as good as always predicting the mean observation.

    Raises:
        ValueError: shapes disagree, a value is not finite, or a scale is not positive.
    """
    x, y = checked_sets(samples, truth)
    if scale.shape != x.shape[-1:] or not bool((scale > 0).all() and scale.isfinite().all()):
        raise ValueError(
            f"scale has shape {tuple(scale.shape)} and values {scale.tolist()}; expected {x.shape[-1]} positive "
            "numbers, one for every entry. Leave out entries that never change."
        )
    squared = _rmse_of_mean(x, y).square() - _mean_variance(x) / x.shape[1]
    return squared.clamp_min(0).sqrt() / scale


def rank_histogram(samples: Tensor, truth: Tensor, bins: int, *, rng: torch.Generator) -> Tensor:
    """How often the truth has which rank among the samples: flat if calibrated (Hamill 2001).

    U-shaped means too narrow a prediction, a hump too wide a one, a slope a bias. Ties are broken at random.
    So are ranks that straddle two bins, so a perfect model is flat even if `bins` does not divide P + 1.

    Args:
        samples: (B, P, D) predictions.
        truth: (B, D), or (B, M, D).
        bins: from 1 to P + 1.
        rng: breaks the ties.

    Returns:
        (D, bins) int64 counts; every row sums to the number of outcomes.

    Raises:
        ValueError: shapes disagree, a value is not finite, or P samples cannot fill so many bins.
    """
    x, y = checked_sets(samples, truth)
    ranks = x.shape[1] + 1
    if not 1 <= bins <= ranks:
        raise ValueError(f"bins is {bins}; expected 1 to {ranks}, as {ranks - 1} samples tell {ranks} ranks apart")
    below, upto = _ranks(x, y)
    uniform = torch.rand(below.shape, generator=rng, device=rng.device, dtype=torch.float64).to(x.device)
    position = below + uniform * (upto + 1 - below)
    # Rounding may lift the last position onto the upper edge.
    index = (position * bins / ranks).long().clamp(max=bins - 1)
    return torch.nn.functional.one_hot(index, bins).sum(dim=(0, 2))


def coverage(samples: Tensor, truth: Tensor, level: float) -> Tensor:
    """Share of outcomes inside the central prediction interval; `level` if calibrated, lower if too narrow.

    An interval between empirical quantiles of P samples covers less than its nominal level even if the
    model is perfect. The rank of the truth among the samples has no such bias: it takes each of P + 1
    values with equal probability. An outcome of rank r stands for the interval [r, r + 1] / (P + 1) of
    the predicted distribution, and counts by the share of it that lies in the central `level`. Tied with
    samples it stands for all their ranks, so an entry that is constant and predicted exactly has
    coverage `level`.

    Args:
        samples: (B, P, D) predictions, with P >= 2 / (1 - level) - 1: 19 for a level of 0.9.
        truth: (B, D), or (B, M, D).
        level: nominal probability of the interval, in (0, 1).

    Returns:
        (D,) shares in [0, 1].

    Raises:
        ValueError: shapes disagree, a value is not finite, or P samples cannot bound such an interval:
            outcomes outside all samples would count as partly covered.
    """
    x, y = checked_sets(samples, truth)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a probability between 0 and 1, such as 0.9")
    P = x.shape[1]
    needed = math.ceil(2 / (1 - level) - 1 - 1e-9)  # 2 / (1 - 0.9) is a little above 20
    if needed > P:
        raise ValueError(f"got {P} samples; a level of {level} needs at least {needed}. Draw more or lower the level.")
    below, upto = (ranks.double() for ranks in _ranks(x, y))
    low, high = below / (P + 1), (upto + 1) / (P + 1)
    inside = high.clamp(max=(1 + level) / 2) - low.clamp(min=(1 - level) / 2)
    return (inside.clamp(min=0) / (high - low)).mean(dim=(0, 2))


def checked_sets(samples: Tensor, truth: Tensor, name: str = "truth") -> tuple[Tensor, Tensor]:
    """Checked (B, P, D) and (B, M, D) in float64; a single outcome (B, D) becomes a set of one."""
    require_set("samples", samples)
    outcomes = truth.unsqueeze(1) if truth.ndim == 2 else truth
    B, _, D = samples.shape
    if outcomes.ndim != 3 or outcomes.shape[0] != B or outcomes.shape[2] != D or outcomes.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {tuple(truth.shape)}; expected (B, D) = {(B, D)} or (B, M, D) = ({B}, M, {D}) "
            f"to match samples of shape {tuple(samples.shape)}"
        )
    for label, values in (("samples", samples), (name, outcomes)):
        wrong = values.numel() - int(values.isfinite().sum())
        if wrong:
            raise ValueError(
                f"{label} holds {wrong} values that are not finite, of {values.numel()}; expected none. Leave out the "
                "states where the prediction diverged, and report how many they are."
            )
    return samples.double(), outcomes.double()


def require_set(name: str, values: Tensor) -> Tensor:
    """The same values, which must be (B, P, D) and not empty."""
    if values.ndim != 3 or values.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; expected (B, P, D): a set of points for each of B states, "
            "none of the sizes 0. A single point per state is a set of one: add a dimension with unsqueeze(1)."
        )
    return values


def distances(x: Tensor, y: Tensor) -> Tensor:
    """(B, P, D), (B, M, D) -> (B, P, M)."""
    # The default expands |x - y|^2 for large sets, which is inexact for near points: x to itself is not 0.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _distance_within(x: Tensor) -> Tensor:
    """(B, P, D) -> (B,): mean distance of two different samples; 0 for a single one."""
    P = x.shape[1]
    return distances(x, x).sum(dim=(1, 2)) / max(P * (P - 1), 1)


def _gap_within(x: Tensor) -> Tensor:
    """(B, P, D) -> (B, D): mean absolute difference of two different samples; 0 for a single one."""
    P = x.shape[1]
    # The gap above the i-th smallest value lies between i * (P - i) pairs.
    gaps = x.sort(dim=1).values.diff(dim=1)
    i = torch.arange(1, P, device=x.device, dtype=x.dtype)
    return torch.einsum("bpd,p->bd", gaps, i * (P - i)) * 2 / max(P * (P - 1), 1)


def _rmse_of_mean(x: Tensor, y: Tensor) -> Tensor:
    """(B, P, D), (B, M, D) -> (D,)."""
    first = x[:, :1]  # as the origin, so that equal samples that hit the truth have an error of exactly zero
    error = (x - first).mean(dim=1, keepdim=True) + (first - y)
    return error.square().mean(dim=(0, 1)).sqrt()


def _mean_variance(x: Tensor) -> Tensor:
    """(B, P, D) -> (D,). Relative to one of the samples, so that of equal ones, or of a single one, is exactly zero."""
    return (x - x[:, :1]).var(dim=1, correction=min(1, x.shape[1] - 1)).mean(dim=0)


def _ranks(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P, D), (B, M, D) -> twice (B, D, M): how many samples are below, and not above, every outcome."""
    ordered = x.transpose(1, 2).sort(dim=2).values.contiguous()
    outcomes = y.transpose(1, 2).contiguous()
    return torch.searchsorted(ordered, outcomes), torch.searchsorted(ordered, outcomes, right=True)
