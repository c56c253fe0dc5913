"""Whether a model ranks action sequences as the world does: pure functions of returns.

A planner needs no exact prediction, only that what looks best is good. Legend:

    predicted  (B, N)  returns of N candidate sequences in B states, according to the model
    true       (B, N)  returns of the same sequences in the world

A predicted return that is not finite ranks below all others, as it does in a planner. Candidates with
equal predictions stand in random order, and a measure is the expectation over that order, so a model
that predicts a constant scores as random choice does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor


def rank_correlation(predicted: Tensor, true: Tensor) -> Tensor:
    """Spearman's rank correlation of predicted and true returns, over the candidates of a state.

    Args:
        predicted: (B, N) returns, N >= 2.
        true: (B, N) returns.

    Returns:
        (B,) float64 in [-1, 1]; nan in states where all predicted or all true returns are equal.

    Raises:
        ValueError: shapes disagree, or a true return is not finite.
    """
    predicted, true = _returns(predicted, true)
    a, b = _centred_ranks(predicted), _centred_ranks(true)
    # Ranks are multiples of a half, so the norm of equal ones is exactly zero, and 0 / 0 is nan.
    correlation: Tensor = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    return correlation.clamp(-1, 1)


def elite_overlap(predicted: Tensor, true: Tensor, elites: int) -> Tensor:
    """Share of the predicted top candidates that truly are among the top.

    Args:
        predicted: (B, N) returns, N >= 2.
        true: (B, N) returns. A candidate tied with the last of the top is as good and counts as one of them.
        elites: how many are the top, from 1 to N.

    Returns:
        (B,) float64 shares: 1 for a perfect ranking, elites / N for random choice without ties.

    Raises:
        ValueError: shapes disagree, `elites` is not in 1 to N, or a true return is not finite.
    """
    predicted, true = _returns(predicted, true)
    if not 1 <= elites <= true.shape[1]:
        raise ValueError(f"elites is {elites}; expected 1 to {true.shape[1]}, the number of candidates")
    threshold = _nth_largest(predicted, elites)
    above, tied = (predicted > threshold).double(), (predicted == threshold).double()
    # The places that are left are drawn among those tied for them.
    places_left = elites - above.sum(dim=1, keepdim=True)
    chosen = above + tied * places_left / tied.sum(dim=1, keepdim=True)
    good = true >= _nth_largest(true, elites)
    return (chosen * good).sum(dim=1) / elites


def regret(predicted: Tensor, true: Tensor) -> Tensor:
    """What the choice of the predicted best candidate costs, in units of what random choice costs.

    (max true - true of the predicted best) / (max true - mean true)

    Args:
        predicted: (B, N) returns, N >= 2.
        true: (B, N) returns.

    Returns:
        (B,) float64: 0 if the best was chosen, 1 if the choice is as good as random, more if it is
        worse; nan in states where all true returns are equal and no choice matters.

    Raises:
        ValueError: shapes disagree, or a true return is not finite.
    """
    predicted, true = _returns(predicted, true)
    # Relative to the best, equal returns have a mean loss of exactly zero.
    loss = true.amax(dim=1, keepdim=True) - true
    best = (predicted == predicted.amax(dim=1, keepdim=True)).double()
    return (loss * best).sum(dim=1) / best.sum(dim=1) / loss.mean(dim=1)


def exploitation(predicted_of_chosen: Tensor, realised: Tensor) -> float:
    """Mean excess of the predicted over the realised return of the sequences that a planner chose.

    Choosing the best of many noisy estimates prefers those that err upwards (the optimizer's curse,
    Smith and Winkler 2006). Zero for a perfect model; large if the planner exploits the model's errors.

    Args:
        predicted_of_chosen: (B,) returns that the model predicted for the chosen sequences.
        realised: (B,) returns of executing them.

    Returns:
        A difference of returns, in their unit.

    Raises:
        ValueError: shapes disagree, or a value is not finite.
    """
    _require_shape("predicted_of_chosen", predicted_of_chosen, 1)
    _require_same_shape("realised", realised, predicted_of_chosen.shape)
    _require_finite("predicted_of_chosen", predicted_of_chosen)
    _require_finite("realised", realised)
    return float((predicted_of_chosen.double() - realised.double()).mean())


def auroc(score: Tensor, is_bad: Tensor) -> float:
    """How well a score warns: the probability that a bad case has a higher score than a good one.

    The area under the receiver operating characteristic, which is the Mann-Whitney U statistic over
    the number of pairs; ties count half.

    Args:
        score: (B,), higher for more suspicious; infinite values rank as such.
        is_bad: (B,) bool.

    Returns:
        1 for perfect separation, 0.5 for chance; nan if all cases are bad, or none.

    Raises:
        ValueError: shapes disagree, `is_bad` is not bool, or a score is nan.
    """
    _require_shape("score", score, 1)
    _require_same_shape("is_bad", is_bad, score.shape)
    if is_bad.dtype != torch.bool:
        raise ValueError(f"is_bad has dtype {is_bad.dtype}; expected torch.bool. Compare with a threshold first.")
    if bool(score.isnan().any()):
        raise ValueError(f"score holds {int(score.isnan().sum())} nan; expected none. A nan warns: make it inf.")
    bad = int(is_bad.sum())
    good = len(is_bad) - bad
    if bad == 0 or good == 0:
        return math.nan
    rank_sum = float(_ranks(score[None])[0, is_bad.cpu()].sum())
    return (rank_sum - bad * (bad + 1) / 2) / (bad * good)


def disagreement(samples_by_member: Tensor) -> Tensor:
    """How much the members of an ensemble differ: their standard deviation, root mean square over the entries.

    Args:
        samples_by_member: (E, B, D), the prediction of each of E >= 2 members in standardised units. Of a
            member that draws samples it is their mean, to which chance adds: see `member_disagreement`.

    Returns:
        (B,) float64, not negative; inf where a prediction is not finite.

    Raises:
        ValueError: not three dimensions, or fewer than two members.
    """
    _require_shape("samples_by_member", samples_by_member, 3)
    if len(samples_by_member) < 2:
        raise ValueError("samples_by_member holds 1 member; expected at least 2. One model cannot disagree.")
    # Relative to the first member, equal ones differ by exactly zero.
    predictions = samples_by_member.double()
    spread = (predictions - predictions[0]).var(dim=0).mean(dim=1).sqrt()
    return torch.where(spread.isfinite(), spread, torch.inf)


def bootstrap_interval(values: Tensor | Sequence[float], level: float = 0.95, *, seed: int = 0) -> tuple[float, float]:
    """Confidence interval of the mean of independent values (bias-corrected bootstrap, Efron 1987).

    Args:
        values: independent ones, such as the results of seeds: not of steps of the same episode. Of fewer
            than about ten, the interval is too narrow.
        level: probability of the interval, in (0, 1).
        seed: of the resampling.

    Returns:
        (low, high), in the unit of the values; both nan for a single value, which tells nothing of
        its spread.

    Raises:
        ValueError: no values, not one dimension, a value that is not finite, or a level outside (0, 1).
    """
    data = torch.as_tensor(values, dtype=torch.float64).cpu()
    _require_shape("values", data, 1)
    _require_finite("values", data)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a probability between 0 and 1, such as 0.95")
    if len(data) == 1:
        return math.nan, math.nan
    if bool((data == data[0]).all()):
        return float(data[0]), float(data[0])  # the correction for bias is not defined here
    # `random_state` is the name that every supported SciPy knows; `rng` came with 1.15.
    result = stats.bootstrap(
        (data.numpy(),), np.mean, confidence_level=level, method="BCa", random_state=np.random.default_rng(seed)
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _returns(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Checked returns in float64; predictions that are not finite become -inf."""
    _require_shape("predicted", predicted, 2)
    _require_same_shape("true", true, predicted.shape)
    if predicted.shape[1] < 2:
        raise ValueError(f"predicted has shape {tuple(predicted.shape)}; expected at least 2 candidates to rank")
    _require_finite("true", true)
    ranked = predicted.double()
    return torch.where(ranked.isfinite(), ranked, -torch.inf), true.double()


def _ranks(values: Tensor) -> Tensor:
    """(B, N) -> (B, N): ranks from 1 within each row, ties sharing their mean rank."""
    return torch.as_tensor(stats.rankdata(values.detach().cpu().numpy(), axis=1), dtype=torch.float64)


def _centred_ranks(values: Tensor) -> Tensor:
    return _ranks(values).to(values.device) - (values.shape[1] + 1) / 2


def _nth_largest(values: Tensor, n: int) -> Tensor:
    """(B, N) -> (B, 1)."""
    return values.topk(n, dim=1).values[:, -1:]


def _require_shape(name: str, values: Tensor, dimensions: int) -> None:
    if values.ndim != dimensions or values.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; expected {dimensions} dimensions, none of them empty"
        )


def _require_same_shape(name: str, values: Tensor, shape: torch.Size) -> None:
    if values.shape != shape:
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected {tuple(shape)}, as its counterpart has")


def _require_finite(name: str, values: Tensor) -> None:
    wrong = values.numel() - int(values.isfinite().sum())
    if wrong:
        raise ValueError(
            f"{name} holds {wrong} values that are not finite, of {values.numel()}; expected none. Leave those cases "
            "out, and report how many they are."
        )
