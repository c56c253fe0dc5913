"""Acting by what was learned: planning in a world model, or a policy, alone or advised by a world model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drift_wm.build import make_foresight, make_policy
from drift_wm.datasets.action_bounds import UNIT_ACTIONS
from drift_wm.interfaces import Policy
from drift_wm.models.behaviour import BehaviourPolicy, LearnedPolicy
from drift_wm.models.learned import LearnedModel, load_world_model
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.settings import EvaluateSettings, PlanningSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint
from drift_wm.wording import entries_of_an_action

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LearnedActor:
    """A policy, and what it has besides its model."""

    policy: Policy[Any]
    how: str = ""
    """What its name says of that."""
    advisor_id: str | None = None
    """Of the checkpoint that advises it."""


def act_by(
    learned: LearnedModel,
    settings: PlanningSettings,
    *,
    device: torch.device,
    exploration_std: float = 0.0,
    obs_keys: Sequence[str] | None = None,
) -> LearnedActor:
    """What acts by a world model or a policy, as the settings say.

    Args:
        learned: by what.
        settings: of a planner for a world model; of an `EvaluateSettings` the others for a policy.
        device: where to compute.
        exploration_std: of noise on planned actions.
        obs_keys: what it reads, in this order, where that is known.

    Raises:
        ValueError: settings that do not fit the model, or the checkpoint of an advisor that cannot be read or reads
            something else.
    """
    tell_of_doubts(learned, settings)
    if isinstance(learned, LearnedWorldModel):
        return LearnedActor(make_policy(learned, settings, device=device, exploration_std=exploration_std))
    if not isinstance(settings, EvaluateSettings):
        return LearnedActor(BehaviourPolicy(learned))
    execute, noise = settings.execute, settings.noise
    if settings.foresight is None:
        return LearnedActor(BehaviourPolicy(learned, execute=execute, noise=noise))
    advisor = load_checkpoint(newest_checkpoint(Path(settings.foresight)), device=device)
    if None not in (obs_keys, advisor.obs_keys) and obs_keys != advisor.obs_keys:
        raise ValueError(
            f"foresight={settings.foresight} reads {advisor.obs_keys}, the policy {obs_keys}; expected the same in the "
            "same order: train both with the same obs_keys="
        )
    world_model = load_world_model(advisor, device=device)
    _tell_of_rewards(world_model, settings)
    advised = make_foresight(learned, world_model, settings, execute=execute, noise=noise or 1.0)
    return LearnedActor(advised, f", best of {settings.proposals}", advisor.id)


def tell_of_doubts(learned: LearnedModel, settings: PlanningSettings) -> None:
    """Warn where a model was learned from what does not fit how it is about to act."""
    if isinstance(learned, LearnedPolicy):
        mean_square = learned.action_mean.square() + learned.action_std.square()  # at most 1 within [-1, 1]
        if bool((mean_square > 1.01).any()):
            logger.warning("the policy learned actions beyond [-1, 1], to which what it does is cut here")
        return
    scales = learned.normaliser
    planned = scales.action_std.isfinite()
    if not bool(planned.all()):
        logger.warning(
            "%s never varied in what the model learned from: they are held where they were, not planned",
            entries_of_an_action((~planned).tolist()),
        )
    if bool((planned & ((scales.action_mean != 0) | (scales.action_std != 1))).any()):
        logger.warning(
            "the model learned actions in a robot's own units, and plans are made within [-1, 1], perhaps far from all "
            "it has seen; %s",
            UNIT_ACTIONS,
        )
    _tell_of_rewards(learned, settings)


def _tell_of_rewards(model: LearnedWorldModel, settings: PlanningSettings) -> None:
    scales = model.normaliser
    mean, std = scales.target_mean[:, -1], scales.target_std[:, -1]
    none_paid = bool((mean == 0).all() and (std == 1).all())  # a spread of zero is kept as 1, see `Scales`
    if settings.objective.name == "return" and scales.is_set and none_paid:
        logger.warning(
            "all rewards that the model learned from were 0, so that no plan promises more than another; set "
            "objective.name=goal and objective.goal=[...] to plan for an observation"
        )
