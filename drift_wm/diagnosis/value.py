"""Whether what looks best to the model is good: its ranking of candidates, and the plans it leads to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from drift_wm.diagnosis.rankings import elite_overlap, rank_correlation, regret
from drift_wm.diagnosis.situations import Situations, mean_returns
from drift_wm.interfaces import History, Planner, WorldModel
from drift_wm.planners.factory import make_planner
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.noise import ColouredNoise
from drift_wm.planners.objectives import PredictedReturn
from drift_wm.planners.risk import Mean
from drift_wm.planners.scoring import make_score

NOISE_STD = 0.5
"""Of the pink noise around recorded actions, in units of the action range [-1, 1]."""
ELITE_SHARE = 8
"""One of so many candidates is an elite."""
PLANNING_PARTICLES = 8
"""Most sampled futures of each candidate while planning; what is chosen is judged by all."""


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Returns of N candidate sequences in B states."""

    predicted: Tensor
    """(B, N) by the model: means over its particles."""
    true: Tensor
    """(B, N) in the simulator: means over its samples."""
    again: Tensor
    """(B, N) in the simulator once more, by as many other samples as the model has particles."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well predicted returns order candidates; means over the states where the true returns differ."""

    rank_correlation: float
    """Spearman's: 1 is the true order."""
    elite_overlap: float
    """Share of the predicted top eighth that truly belongs to it."""
    regret: float
    """Loss by the predicted best candidate, in units of the loss by random choice: 0 is the best, 1 no better."""


@dataclass(frozen=True, slots=True)
class ValueMeasures:
    """How the model ranks candidates."""

    states: int
    diverged: int
    """States left out because the simulation of a candidate diverged."""
    candidates: int
    horizon: int
    model: Ranking
    attainable: Ranking
    """What the simulator scores against itself: less than perfect where means over samples are inexact."""


@dataclass(frozen=True, slots=True)
class Exploitation:
    """What plans were promised to return, and returned, in B states."""

    states: int
    diverged: int
    """States left out because a return was no number: the worst of what a planner may fall for."""
    horizon: int
    predicted: tuple[float, ...]
    """By the model, with other noise than it planned with."""
    realised: tuple[float, ...]
    """In the simulator, means over its samples."""
    excess: float
    """Mean of predicted less realised; above 0 where the planner exploits errors of the model."""
    standard_error: float | None
    """Of the excess, over states."""
    realised_by_recorded: float
    """Mean return of the recorded actions in the simulator, for comparison."""


def candidates_around(actions: Tensor, count: int, *, rng: torch.Generator) -> Tensor:
    """Recorded sequences (B, H, A) -> (B, N, H, A): each first, then itself with pink noise added."""
    B, H, A = actions.shape
    noise = ColouredNoise(H, exponent=1.0).sample(B * (count - 1), A, rng=rng).view(B, count - 1, H, A)
    varied = actions.unsqueeze(1) + NOISE_STD * noise.to(actions.device)
    return torch.cat([actions.unsqueeze(1), varied], dim=1).clamp(-1, 1)


def compare_returns(
    model: WorldModel,
    simulator: WorldModel,
    history: History,
    actions: Tensor,
    *,
    particles: int,
    samples: int,
    rng: torch.Generator,
) -> Returns:
    """Returns of candidates (B, N, H, A) in both worlds, from situations whose physics states are known."""
    return Returns(
        predicted=mean_returns(model, history, actions, particles=particles, rng=rng).cpu(),
        true=mean_returns(simulator, history, actions, particles=samples, rng=rng).cpu(),
        again=mean_returns(simulator, history, actions, particles=particles, rng=rng).cpu(),
    )


def measure_value(returns: Returns, *, horizon: int) -> ValueMeasures | None:
    """Judge a ranking; a candidate whose predicted return is not finite ranks last.

    Returns:
        None where the simulation of a candidate diverged in every state.

    Raises:
        ValueError: fewer than two candidates.
    """
    sound = returns.true.isfinite().all(dim=1)
    if not sound.any():
        return None
    true = returns.true[sound]
    return ValueMeasures(
        states=len(true),
        diverged=int((~sound).sum()),
        candidates=true.shape[1],
        horizon=horizon,
        model=_judge(returns.predicted[sound], true),
        attainable=_judge(returns.again[sound], true),
    )


def _judge(predicted: Tensor, true: Tensor) -> Ranking:
    elites = max(1, true.shape[1] // ELITE_SHARE)
    differ = true.amax(dim=1) > true.amin(dim=1)
    if not differ.any():
        return Ranking(math.nan, math.nan, math.nan)
    predicted, true = predicted[differ], true[differ]
    return Ranking(
        # Undefined where a model says the same of all candidates, which is to order them at random.
        rank_correlation=float(rank_correlation(predicted, true).nan_to_num(0.0).mean()),
        elite_overlap=float(elite_overlap(predicted, true, elites).mean()),
        regret=float(regret(predicted, true).mean()),
    )


def measure_exploitation(
    model: WorldModel,
    simulator: WorldModel,
    planner: Planner,
    situations: Situations,
    *,
    particles: int,
    samples: int,
    rng: torch.Generator,
) -> Exploitation | None:
    """Plan in the model, and execute the chosen sequences in the simulator without planning again.

    The chosen plan is judged by the model with fresh noise: what is left of the excess is the model's error, and not
    the luck of the noise that it was chosen under. Choosing the best of many estimates prefers those that err upwards
    (the optimizer's curse, Smith and Winkler 2006).

    Returns:
        None where no plan has a finite return in both worlds.
    """
    history = situations.history
    few = min(particles, PLANNING_PARTICLES)
    rewards_alone = PredictedReturn(value=False)  # as what comes after the plan is not executed
    score = make_score(model, rewards_alone, Mean(), history, particles=few, rng=rng)
    plan = planner.improve(score, planner.init(len(situations)), rng=rng)
    chosen = planner.action(plan).unsqueeze(1)
    recorded = situations.actions[:, None, : planner.horizon].clamp(-1, 1)
    predicted = mean_returns(model, history, chosen, particles=particles, rng=rng).cpu()[:, 0]
    realised, beside = (
        mean_returns(simulator, history, actions, particles=samples, rng=rng).cpu()[:, 0]
        for actions in (chosen, recorded)
    )
    sound = predicted.isfinite() & realised.isfinite() & beside.isfinite()
    if not sound.any():
        return None
    predicted, realised = predicted[sound], realised[sound]
    excess, count = predicted - realised, len(predicted)
    return Exploitation(
        states=count,
        diverged=int((~sound).sum()),
        horizon=planner.horizon,
        predicted=tuple(predicted.tolist()),
        realised=tuple(realised.tolist()),
        excess=float(excess.mean()),
        standard_error=float(excess.std() / count**0.5) if count > 1 else None,
        realised_by_recorded=float(beside[sound].mean()),
    )


def small_planner(horizon: int, action_size: int, *, device: torch.device) -> Planner:
    """An iCEM planner of published settings and small budget, for plans of H = `horizon` steps."""
    config = ICEMConfig(horizon=horizon, candidates=128, iterations=3)
    return make_planner(config, action_size, device=device)
