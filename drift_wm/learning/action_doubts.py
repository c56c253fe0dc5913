"""What is said at the start of training of actions that a planner would choose otherwise than they were recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from drift_wm.datasets.action_bounds import UNIT_ACTIONS, count_beyond, small_entries
from drift_wm.datasets.episodes import Episode
from drift_wm.models.learned import POLICY, WORLD_MODEL
from drift_wm.wording import entries_of_an_action

logger = logging.getLogger(__name__)


def tell_of_actions(episodes: Sequence[Episode], kind: str, *, beyond: float, of_world: bool) -> None:
    """Actions are learned as they were recorded, and planned and executed in [-1, 1].

    Where a file names its world, other bounds would be wrong there, so that none are advised (`remarks_on_units`).
    """
    if beyond:
        what, aim = "planners search within [-1, 1]", "to plan with the model, "
        if kind == POLICY:
            what, aim = "held to [-1, 1] where the policy acts", ""
        told = "%.1f%% of the actions' entries lie beyond [-1, 1]: they are learned as they were recorded, and %s%s"
        logger.warning(told, 100 * beyond, what, "" if of_world else f"; {aim}{UNIT_ACTIONS}")
    if kind != WORLD_MODEL:
        return
    low = np.min([episode.actions.min(axis=0) for episode in episodes], axis=0)
    high = np.max([episode.actions.max(axis=0) for episode in episodes], axis=0)
    if (still := low == high).any():
        logger.warning(
            "%s never vary: the model cannot tell what they do, and plans hold them where they were",
            entries_of_an_action(still.tolist()),
        )
    small, largest = small_entries(low, high)
    if small.any() and not of_world:
        logger.warning(
            "%s are never larger than %.3g, but planners search all of [-1, 1], most of which the model never saw; to "
            "plan with it, %s",
            entries_of_an_action(small.tolist()),
            largest,
            UNIT_ACTIONS,
        )


def share_beyond_bounds(episodes: Sequence[Episode]) -> float:
    """Share of the actions' entries beyond [-1, 1], which no environment executes as they stand."""
    beyond = sum(count_beyond(episode.actions) for episode in episodes)
    return beyond / sum(episode.actions.size for episode in episodes)
