"""Training from a file of episodes, and the round of training that the online loop repeats."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from drift_wm.datasets.episodes import Episode, count_windows, digest_of, windows_in
from drift_wm.datasets.moments import Statistics, compute_statistics
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.split import split
from drift_wm.datasets.store import keep_episodes
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import Metrics, Spec
from drift_wm.learning.action_doubts import share_beyond_bounds, tell_of_actions
from drift_wm.learning.distributed import Ranks
from drift_wm.learning.held_out import held_out_metrics, warn_of_learning_by_heart
from drift_wm.learning.trainer import Trainer
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.learned import POLICY, LearnedModel, ModelConfig, shape_of_kind
from drift_wm.models.normalisation import Scales
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.progress import track
from drift_wm.recordings.action_units import remarks_on_units
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.recordings.remarks import remarks_on_copies, remarks_on_rewards
from drift_wm.settings import TrainSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.metrics import MetricsLog
from drift_wm.storage.run_files import (
    checkpoint_of_round,
    checkpoints_of,
    newest_checkpoint,
    round_of,
)
from drift_wm.storage.run_folder import RunFolder

logger = logging.getLogger(__name__)


def train(
    settings: TrainSettings,
    folder: RunFolder,
    *,
    device: torch.device,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Train a world model or a policy on a file for one round; a folder that holds an unfinished run is continued.

    Args:
        settings: what to train, on what.
        folder: receives checkpoints, metrics and `results.json`.
        device: where to train.
        ranks: the processes that train together; the first one alone writes.

    Returns:
        What `results.json` holds: metrics of the last batch, and those on held-out episodes (`held_out_...`).
    """
    shape = shape_of_kind(settings.kind, settings.model, settings.policy)
    episodes = read(settings, folder, shape)
    demonstrations = open_demonstrations(settings.data)
    description = demonstrations.describe(mask=settings.mask)
    notes = [*description.ignored_ends, *remarks_on_units(settings.data, action_size=description.action_size)]
    if settings.kind != POLICY:
        recorded = demonstrations.rewards_recorded(mask=settings.mask)
        notes += [*description.dropped_rewards, *remarks_on_rewards(recorded)]
    if not settings.obs_keys:
        notes += description.unread_keys
    if settings.held_out_fraction:
        notes += remarks_on_copies([episode.fingerprints for episode in episodes])
    for note in notes:
        logger.warning("%s: %s", settings.data, note)
    seconds = settings.decision_seconds or description.decision_seconds
    spec = Spec(*episodes[0].sizes, seconds)
    task = recorded_task(settings.data)
    keys = description.keys(settings.obs_keys, Path(settings.data))
    trainer = Trainer(
        spec,
        shape,
        settings.training,
        seed=settings.seed,
        device=device,
        task=task,
        obs_keys=keys,
        obs_sizes=description.sizes(keys, total=spec.observation_size),
        ranks=ranks,
    )
    number = _begin(trainer, settings, folder, device=device)
    # What a parent learned from is never held out as long as there is anything else. What this run has learned from, if
    # it has begun, must not count here, or it would be held out from that now.
    inherited = trainer.inherited if settings.parent else frozenset()
    training, held_out = split(episodes, settings.held_out_fraction, seed=settings.seed, avoid=inherited)
    _require_same_data(trainer, episodes, settings.data)
    if known := sum(episode.is_among(inherited) for episode in held_out):
        logger.warning(
            "%d of %d held-out episodes were among those that from=%s was trained on: held_out_ numbers look too good",
            known,
            len(held_out),
            settings.parent,
        )
    too_short = _tell_of_short(training, held_out, trainer.model)
    beyond = share_beyond_bounds(training)
    tell_of_actions(training, settings.kind, beyond=beyond, of_world=task is not None)
    if trainer.rounds <= number:
        with MetricsLog(folder.path if ranks.first else None) as log:
            metrics = fit_round(trainer, training, settings.steps, folder=folder, log=log)
    else:  # nothing is left to train
        metrics = trainer.metrics
    held_out_measured = held_out_metrics(trainer.averaged, held_out, seed=settings.seed)
    if held_out and not held_out_measured:
        logger.warning("the held-out episodes are shorter than a chunk of the model: nothing was measured on them")
    some, decay = training[: len(held_out)], settings.training.weight_decay  # all of them may not fit into memory
    warn_of_learning_by_heart(trainer.averaged, held_out_measured, some, seed=settings.seed, weight_decay=decay)
    metrics = metrics | {f"held_out_{name}": value for name, value in held_out_measured.items()}
    results = {
        "command": "train",
        "kind": settings.kind,
        "data": settings.data,
        "checkpoint": str(checkpoint_of_round(folder.path, number)),
        "model_id": trainer.id(),
        "steps": trainer.steps,
        "training_episodes": len(training),
        "training_episodes_too_short": too_short,
        "held_out_episodes": len(held_out),
        "held_out_known_to_parent": known,
        "actions_beyond_bounds": beyond,
        "metrics": metrics,
    }
    if ranks.first:
        folder.write_results(results)
    return results


def _begin(trainer: Trainer, settings: TrainSettings, folder: RunFolder, *, device: torch.device) -> int:
    """Load the folder's newest checkpoint, or else the parent; returns the number of the round to train here.

    A run that has begun does not look at its parent again, whose own run may have gone on since.
    """
    parent = settings.parent
    if begun := checkpoints_of(folder.path):
        resume(trainer, folder, device=device)
        return round_of(begun[0])
    if parent is not None:
        checkpoint = load_checkpoint(newest_checkpoint(Path(parent)), device=device)
        trainer.ranks.require_same(device, f"from={parent}", checkpoint.id)
        trainer.restore(checkpoint, as_parent=True)
        if checkpoint.obs_keys not in (None, trainer.obs_keys):
            logger.warning(
                "from=%s was trained on observation keys %s, but this run reads %s: if they do not mean the same, the "
                "model takes one entry of an observation for another; choose keys and their order by obs_keys=",
                parent,
                json.dumps(checkpoint.obs_keys),
                json.dumps(trainer.obs_keys),
            )
    return trainer.rounds


def _require_same_data(trainer: Trainer, episodes: Sequence[Episode], data: str) -> None:
    """Raise a ValueError if a run that has begun would go on with others, and be measured on what it has learned."""
    digest = digest_of(episodes)
    if trainer.data not in (None, digest):
        raise ValueError(
            f"{data}: these are not the observations, actions, rewards and ends that this run began with; the data "
            "have changed: restore them, or train in another folder: run_dir=..., from= this one to go on from it"
        )
    trainer.data = digest


def _tell_of_short(episodes: Sequence[Episode], held_out: Sequence[Episode], model: LearnedModel) -> int:
    """How many episodes give no window to learn from; others are held out.

    Raises:
        ValueError: none gives one.
    """
    steps, past_end = model.training_steps, isinstance(model, LearnedWorldModel)
    count = sum(windows_in(episode, steps, past_end=past_end) == 0 for episode in episodes)
    if count == len(episodes):  # told before anything is written that would keep the folder for other settings
        if longer := sum(windows_in(episode, steps, past_end=past_end) > 0 for episode in held_out):
            raise ValueError(
                f"no window of {steps} steps in {len(episodes)} training episodes, all of which are shorter; {longer} "
                "long enough are held out: set held_out_fraction=0 or another seed, or choose a smaller chunk"
            )
        count_windows(episodes, steps, past_end=past_end)
    if count:
        logger.warning(
            "%d of %d training episodes are shorter than the %d steps that are predicted at once, and are not learned "
            "from; set a smaller %s.chunk%s to use them",
            count,
            len(episodes),
            steps,
            "model" if past_end else "policy",
            " or model.self_rollout" if steps > model.chunk else "",
        )
    return count


def read(settings: TrainSettings, folder: RunFolder, shape: ModelConfig) -> list[Episode]:
    """The episodes of the data, in memory or, where they are larger than `memory_gb`, in a file in the run folder.

    Raises:
        ValueError: the data cannot be read, or there is no episode.
    """
    demonstrations = open_demonstrations(settings.data, skip_missing=settings.skip_missing)
    found = demonstrations.episodes(
        obs_keys=settings.obs_keys,
        mask=settings.mask,
        allow_missing_rewards=settings.allow_missing_rewards or settings.kind == POLICY,
    )
    steps = shape.self_rollout * shape.chunk if isinstance(shape, WorldModelConfig) else 0
    episodes = keep_episodes(
        found,
        limit=settings.memory_gb * 1e9,
        padding=shape.history - 1,
        tail=max(0, steps - 1),
        folder=folder.path,
    )
    if not episodes:
        told = f"holds no demonstration; see drift-wm data inspect {shlex.quote(settings.data)}"
        raise ValueError(f"{settings.data}: {told}")
    return episodes


def fit_round(
    trainer: Trainer, episodes: Sequence[Episode], steps: int, *, folder: RunFolder, log: MetricsLog, last: bool = True
) -> Metrics:
    """Train through one round, or to the end of one that was interrupted, with progress and checkpoints.

    `last` tells whether no other round follows, see `TrainingConfig.value_averaging`.
    """
    model = trainer.model
    trainer.learned_from.update(*(episode.fingerprints for episode in episodes))
    past_end = isinstance(model, LearnedWorldModel)  # what comes of acting there is nothing to imitate
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=model.chunk, past_end=past_end)))
    windows = Windows(
        episodes, history=model.history, chunk=model.training_steps, device=model.device, past_end=past_end
    )
    with track(f"train, round {trainer.rounds + 1}", steps) as task:

        def on_step(done: int, total: int, metrics: Metrics) -> None:
            log.record("train", trainer.steps, metrics)
            task.update(done, f"energy score {metrics['energy_score']:.3f}  error {metrics['error']:.3f}")

        file = checkpoint_of_round(folder.path, trainer.rounds) if trainer.ranks.first else None
        return trainer.train_round(windows, steps, on_step=on_step, save_to=file, last=last)


def resume(trainer: Trainer, folder: RunFolder, *, device: torch.device) -> None:
    """Continue from the newest checkpoint of the folder, if it has one."""
    if begun := checkpoints_of(folder.path):
        trainer.restore(load_checkpoint(begun[-1], device=device))


def scales_of(statistics: Statistics) -> Scales:
    """The scales of a data set's statistics, as a normaliser takes them."""
    steps = len(statistics.changes.mean)
    reward_mean, reward_std = (x.expand(steps, 1) for x in (statistics.rewards.mean, statistics.rewards.std))
    return Scales(
        obs_mean=statistics.obs.mean,
        obs_std=statistics.obs.unit,
        target_mean=torch.cat([statistics.changes.mean, reward_mean], dim=1),
        target_std=torch.cat([statistics.changes.std, reward_std], dim=1),
        action_mean=statistics.actions.mean,
        action_std=statistics.actions.std,
        action_largest=statistics.actions.largest,
        action_constant=statistics.actions.constant,
    )
