"""Part `ranking`: what a perfect world model would choose, and how near to it the learned one ranks.

Whether ranking pays depends on two things that this keeps apart: on what a chunk's own return says of success, which
the simulator shows by choosing among the same chunks, and on whether the world model knows that return.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from drift_wm.acting.episodes import run_episodes
from drift_wm.acting.evaluate import POLICY_SEED
from drift_wm.acting.foresight import ForesightPolicy
from drift_wm.acting.rehearsal import RehearsedWorld
from drift_wm.build import make_env
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.diagnosis.rankings import rank_correlation, regret
from drift_wm.env_settings import EnvSettings
from drift_wm.interfaces import History, Prediction, WorldModel
from drift_wm.models.behaviour import LearnedPolicy
from drift_wm.planners.objectives import PredictedReturn
from drift_wm.planners.risk import Mean
from drift_wm.settings import EVALUATION_SEED


def rehearsed_row(
    row: Row, policy: LearnedPolicy, advisor: WorldModel, env: EnvSettings, settings: DemonstrationsSettings
) -> Row:
    """The row of a policy whose chunks are tried out in the simulator before the best is executed.

    Its metrics tell how the advisor would have ranked the same chunks: see `ranking_quality`.
    """
    returns, successes, predicted, true = [], [], [], []
    with closing(make_env(settings.task, env)) as world, closing(make_env(settings.task, env)) as copy:
        # One episode after the other: the time goes into rehearsing, which no batch makes faster.
        for number in range(settings.episodes):
            seed = EVALUATION_SEED + number
            copy.reset(seed=seed)
            witness = _Witness(RehearsedWorld([copy]), advisor)
            rollouts = run_episodes(
                ForesightPolicy(policy, witness, PredictedReturn(), Mean(), proposals=settings.proposals),
                [world],
                seeds=[seed],
                policy_seed=POLICY_SEED + number,
                source=row.contender,
                title=f"rehearse episode {number + 1} of {settings.episodes}",
            )
            returns += rollouts.returns
            successes += [float(episode.success) for episode in rollouts.episodes if episode.success is not None]
            predicted += witness.predicted
            true += witness.true
    outcomes = {"return": returns} | ({"success": successes} if successes else {})
    quality = ranking_quality(torch.cat(predicted), torch.cat(true))
    return replace(row, metrics=quality, each=outcomes)


def ranking_quality(predicted: Tensor, true: Tensor) -> dict[str, float]:
    """How well predicted returns of N chunks in B states rank them, both (B, N).

    A prediction that is no number ranks last, as it does in `ForesightPolicy`, and equal ones stand in random order.

    * `rank_correlation`: Spearman's, mean over states in which the true returns differ.
    * `gain`: what the choice by prediction earns above the chunks' mean, as a share of what the best chunk earns above
      it; 0 is chance, 1 perfect.

    Both are nan where the true returns are equal in every state.
    """
    differ = true.amax(dim=1) > true.amin(dim=1)
    if not differ.any():
        return {"rank_correlation": math.nan, "gain": math.nan}
    predicted, true = predicted[differ].double(), true[differ].double()
    most = true.amax(dim=1) - true.mean(dim=1)
    return {
        # Undefined where a model says the same of all chunks, which is to order them at random.
        "rank_correlation": float(rank_correlation(predicted, true).nan_to_num(0.0).mean()),
        "gain": 1 - float((regret(predicted, true) * most).sum() / most.sum()),
    }


@dataclass
class _Witness:
    """The first world's predictions, and beside them what another would have said of the same chunks."""

    world: RehearsedWorld
    other: WorldModel
    predicted: list[Tensor] = field(default_factory=list)
    """Returns (B, N) of every decision, by the other."""
    true: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec, self.history, self.chunk = self.world.spec, self.other.history, self.world.chunk

    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """See `WorldModel.rollout`."""
        judge = PredictedReturn()
        said = self.other.rollout(history, actions, particles=particles, rng=rng, independent=independent)
        truth = self.world.rollout(history, actions, particles=particles, rng=rng)
        self.predicted.append(judge(said, actions).mean(dim=2))
        self.true.append(judge(truth, actions).mean(dim=2))
        return truth
