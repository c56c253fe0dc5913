"""How good a model is on episodes it was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import History, Metrics
from drift_wm.models.futures import draw_futures, error_of_mean
from drift_wm.models.learned import LearnedModel
from drift_wm.models.world_model import LearnedWorldModel

logger = logging.getLogger(__name__)

OPEN_LOOP_STEPS = 20
MAX_WINDOWS = 2048
_PARTICLES = 8


@torch.inference_mode()
def held_out_metrics(model: LearnedModel, episodes: Sequence[Episode], *, seed: int) -> Metrics:
    """Energy score, error and spread of one chunk, and of a world model the open-loop error after about 20 steps.

    Args:
        model: to be measured.
        episodes: held out from its training.
        seed: of the model's noise and of the choice of windows, where there are more than enough.

    Returns:
        `energy_score`, `error` and `spread`, the samples' standard deviation, in the units of training (standardised
        targets of a world model, standardised actions of a policy), and `open_loop_error`: root mean square error of
        the predicted observations' mean in units of their standard deviation, over the first steps up to
        OPEN_LOOP_STEPS, rounded up to whole chunks; `open_loop_persistence` is that of saying that nothing moves.
        Errors and spread are over what changes, in training, too: the rest is predicted by saying what it is.
        What the episodes are too short for is absent, and so is an error over nothing.
    """
    metrics: Metrics = {}
    rng = torch.Generator(model.device).manual_seed(seed)
    if any(len(episode) >= model.chunk for episode in episodes):
        windows = Windows(episodes, history=model.history, chunk=model.chunk, device=model.device)
        measured = model.scores(windows.batch(_choose(len(windows), rng)), rng=rng)
        metrics |= {name: float(value) for name, value in measured.items()}
    return metrics | _open_loop_errors(model, episodes, rng)


def warn_of_learning_by_heart(
    model: LearnedModel, held_out: Metrics, known: Sequence[Episode], *, seed: int, weight_decay: float
) -> None:
    """Say so, and what helps, where a model errs half as much as that nothing moves, but on training episodes alone.

    Args:
        model: that was trained.
        held_out: its `held_out_metrics`.
        known: some of the episodes that it learned from, which are read into memory.
        seed: as of `held_out_metrics`.
        weight_decay: that it was trained with.
    """
    if _beats_persistence(held_out, 1.0):
        return
    if _beats_persistence(_open_loop_errors(model, known, torch.Generator(model.device).manual_seed(seed)), 0.5):
        logger.warning(
            "the model predicts the episodes that it learned from, but errs by %.3g on others, where saying that "
            "nothing moves errs by %.3g: it knows its episodes by heart. More of them help, and "
            "training.weight_decay=0.3 or 1 (it is %g)",
            held_out["open_loop_error"],
            held_out["open_loop_persistence"],
            weight_decay,
        )


def _beats_persistence(metrics: Metrics, share: float) -> bool:
    """Whether the error is below this share of persistence's, as far as there is one."""
    return "open_loop_error" not in metrics or metrics["open_loop_error"] < share * metrics["open_loop_persistence"]


@torch.inference_mode()
def _open_loop_errors(model: LearnedModel, episodes: Sequence[Episode], rng: torch.Generator) -> Metrics:
    """`open_loop_error` and `open_loop_persistence` as of `held_out_metrics`, where there are such."""
    if not isinstance(model, LearnedWorldModel):
        return {}
    steps = -(-OPEN_LOOP_STEPS // model.chunk) * model.chunk
    if all(len(episode) < steps for episode in episodes):
        return {}
    windows = Windows(episodes, history=model.history, chunk=steps, device=model.device)
    batch = windows.batch(_choose(len(windows), rng))
    K = model.history
    history = History(batch.obs[:, :K], batch.actions[:, : K - 1])
    predicted = draw_futures(model, history, batch.actions[:, K - 1 :], particles=_PARTICLES, rng=rng)
    future, unit = batch.obs[:, K:], model.normaliser.obs_std
    varies = (future != future[0, 0]).any(dim=1).any(dim=0) & unit.isfinite()
    if not varies.any():
        return {}
    stays = history.obs[:, None, -1:]
    if not varies.all():
        predicted, future, stays, unit = (each[..., varies] for each in (predicted, future, stays, unit))
    found = {"error": predicted, "persistence": stays}
    return {f"open_loop_{name}": error_of_mean(each, future, unit=unit) for name, each in found.items()}


def _choose(count: int, rng: torch.Generator) -> torch.Tensor:
    return torch.randperm(count, generator=rng, device=rng.device)[:MAX_WINDOWS]
