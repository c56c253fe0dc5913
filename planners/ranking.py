"""What scores say of the candidates and of the plan: which can be ranked, which are best, what is kept of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.interfaces import Plan
from drift_wm.planners.native import NativeSearch


@dataclass(frozen=True, slots=True)
class Ranked:
    """What the scores of an iteration say."""

    plan: Plan
    """With the best sequence so far and its score."""
    scores: Tensor
    """(B, N), finite or -inf."""
    elites: Tensor
    """(B, S, H, A): the best candidates, best first."""
    failures: int = 0
    """Scores that were not finite."""
    lost: tuple[int, ...] = ()
    """Environments that have no other."""


def rank(plan: Plan, candidates: Tensor, scores: Tensor, count: int, *, native: NativeSearch | None = None) -> Ranked:
    """Find the best of the candidates.

    Args:
        plan: the plan so far.
        candidates: (B, N, H, A).
        scores: (B, N) of the same type.
        count: S <= N.
        native: does the same where all scores are finite, faster.
    """
    if native is not None and (found := native.rank(plan, candidates, scores, count)) is not None:
        elites, best, score = found
        return Ranked(replace(plan, best=best, score=score), scores, elites)
    scores, failures, lost = finite_scores(scores)
    top, elites = select_elites(candidates, scores, count, all_finite=not failures)
    return Ranked(remember_best(plan, top, elites[:, 0]), scores, elites, failures, lost)


def finite_scores(scores: Tensor) -> tuple[Tensor, int, tuple[int, ...]]:
    """Rank NaN and infinite scores last.

    Returns:
        Scores (B, N), -inf where they were not finite; the number of those; and the environments that have no other,
        whose scores are all 0.
    """
    if math.isfinite(scores.sum()):  # a fifth of the time of asking each of them
        return scores, 0, ()
    finite = torch.isfinite(scores)
    usable: list[int] = finite.sum(dim=1).tolist()
    lost = tuple(environment for environment, number in enumerate(usable) if number == 0)
    ranked = torch.where(finite, scores, -torch.inf)
    ranked[list(lost)] = 0.0
    return ranked, scores.numel() - sum(usable), lost


def kept_where(lost: tuple[int, ...], earlier: Plan, plan: Plan) -> Plan:
    """The plan, but the earlier one in environments that are lost; its mean stands for a best that was never found."""
    kept = torch.zeros(len(plan.score), dtype=torch.bool, device=plan.score.device)
    kept[list(lost)] = True
    unscored = (earlier.score == -torch.inf)[:, None, None]

    def chosen(before: Tensor, after: Tensor) -> Tensor:
        return torch.where(kept.view(-1, *[1] * (after.ndim - 1)), before, after)

    return replace(
        plan,
        mean=chosen(earlier.mean, plan.mean),
        std=chosen(earlier.std, plan.std),
        best=chosen(torch.where(unscored, earlier.mean, earlier.best), plan.best),
        score=chosen(earlier.score, plan.score),
        elites=chosen(earlier.elites, plan.elites),
        lost=tuple(sorted({*earlier.lost, *lost})),
    )


def select_elites(candidates: Tensor, scores: Tensor, count: int, *, all_finite: bool = False) -> tuple[Tensor, Tensor]:
    """The best candidates, best first.

    Args:
        candidates: (B, N, H, A).
        scores: (B, N), finite or -inf.
        count: S <= N.
        all_finite: whether it is known that none of the scores is -inf.

    Returns:
        The best score (B,), and (B, S, H, A). Where fewer than S scores are finite, the best candidate fills the gap: a
        sequence that broke the model must not attract the mean.
    """
    top, index = scores.topk(count, dim=1)
    if not all_finite:
        index = torch.where(top == -torch.inf, index[:, :1], index)
    entries = index.view(*index.shape, 1, 1).expand(*index.shape, *candidates.shape[2:])
    return top[:, 0], candidates.gather(1, entries)


def remember_best(plan: Plan, top: Tensor, winner: Tensor) -> Plan:
    """The plan with `best` and `score` replaced where a candidate (B, H, A) of score (B,) does better."""
    better = (top > plan.score).view(-1, 1, 1)
    return replace(plan, best=torch.where(better, winner, plan.best), score=torch.maximum(top, plan.score))
