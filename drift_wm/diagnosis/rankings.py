"""How well a model ranks action sequences by return, and a warning the cases by how bad they are: pure functions.

A planner needs no exact prediction, only that what looks best is good. Legend:

    predicted  (B, N)  returns of N candidate sequences in B states, according to the model
    true       (B, N)  returns of the same sequences in the world

A predicted return that is not finite ranks below all others, as it does in a planner. Candidates with
equal predictions stand in random order, and a measure is the expectation over that order, so a model
that predicts a constant scores as random choice does.
"""

from __future__ import annotations

import math

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
