"""Acting by what was learned: planning in a world model, or a policy, alone or advised by a world model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drift_wm.build import make_foresight, make_policy
from drift_wm.interfaces import Policy
from drift_wm.models.behaviour import BehaviourPolicy
from drift_wm.models.learned import LearnedModel, load_world_model
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.settings import EvaluateSettings, PlanningSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint


@dataclass(frozen=True, slots=True)
class Acting:
    """A policy, and what it has besides its model."""

    policy: Policy[Any]
    how: str = ""
    """What its name says of that."""
    advisor_id: str | None = None
    """Of the checkpoint that advises it."""


def act_by(
    learned: LearnedModel, settings: PlanningSettings, *, device: torch.device, exploration_std: float = 0.0
) -> Acting:
    """What acts by a world model or a policy, as the settings say.

    Args:
        learned: by what.
        settings: of a planner for a world model; of an `EvaluateSettings` the others for a policy.
        device: where to compute.
        exploration_std: of noise on planned actions.

    Raises:
        ValueError: settings that do not fit the model, or the checkpoint of an advisor that cannot be read.
    """
    if isinstance(learned, LearnedWorldModel):
        return Acting(make_policy(learned, settings, device=device, exploration_std=exploration_std))
    if not isinstance(settings, EvaluateSettings):
        return Acting(BehaviourPolicy(learned))
    execute, noise = settings.execute, settings.noise
    if settings.foresight is None:
        return Acting(BehaviourPolicy(learned, execute=execute, noise=noise))
    advisor = load_checkpoint(newest_checkpoint(Path(settings.foresight)), device=device)
    world_model = load_world_model(advisor, device=device)
    advised = make_foresight(learned, world_model, settings, execute=execute, noise=noise or 1.0)
    return Acting(advised, f", best of {settings.proposals}", advisor.id)
