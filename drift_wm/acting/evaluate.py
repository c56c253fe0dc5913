"""Evaluation of policies: returns, decision times, a film, and a file of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drift_wm.acting.actors import Actor, make_actor
from drift_wm.acting.env_workers import open_worlds
from drift_wm.acting.episodes import Environment, run_episodes
from drift_wm.acting.films import film_best, film_several
from drift_wm.acting.policies import PlanningPolicy
from drift_wm.build import make_env
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import Replay
from drift_wm.env_settings import env_args, env_record
from drift_wm.models.behaviour import BehaviourPolicy
from drift_wm.results import Evaluation, summarise
from drift_wm.run_settings import LARGEST_SEED
from drift_wm.settings import EVALUATION_SEED, EvaluateSettings
from drift_wm.storage.run_folder import RunFolder, read_json, write_json

POLICY_SEED = 0  # evaluation episodes differ by their reset seeds
SEEDS_PER_RUN = 1_000
WARM_UP, TIMED = 5, 50  # decisions, where they are timed
ROLLOUTS = "rollouts.hdf5"
"""File of a run folder: the episodes of an evaluation."""


def evaluate(settings: EvaluateSettings, folder: RunFolder, *, device: torch.device) -> dict[str, Any]:
    """Roll a policy out; a folder that holds part of the episodes is continued.

    Returns:
        What `results.json` holds.
    """
    seeds = [settings.evaluation_seed + i for i in range(settings.episodes)]
    with closing(make_actor(settings, device=device)) as actor:
        folder.require_model(actor.model_id)
        evaluation, episodes = evaluate_policy(
            actor,
            seeds,
            folder.path / ROLLOUTS,
            batch=settings.batch,
            workers=settings.workers,
            device=device,
        )
    results = {
        "command": "evaluate",
        "task": actor.task,
        **env_record(actor.env),
        "checkpoint": settings.checkpoint,
        "model_id": actor.model_id,
        "evaluations": [evaluation.as_dict()],
    }
    folder.write_results(results)  # before the films, which may fail
    if settings.video:
        with closing(make_env(actor.task, actor.env)) as env:
            film = film_best(env, episodes, folder.path / "best_episode.mp4")
        if film is not None:
            film_several(
                lambda: make_env(actor.task, actor.env),
                episodes[: settings.video_grid],
                folder.path / "episodes.mp4",
            )
    return results


def training_seed(seed: int, episode: int) -> int:
    """The reset seed of an episode that is collected; always below the evaluation seeds.

    Those of different runs never meet among the first thousand episodes, and seldom beyond.
    """
    if episode < SEEDS_PER_RUN:
        return seed * SEEDS_PER_RUN + episode
    first = (LARGEST_SEED + 1) * SEEDS_PER_RUN
    drawn = int(np.random.SeedSequence([seed, episode]).generate_state(1, np.uint64)[0])
    return first + drawn % (EVALUATION_SEED - first)


def evaluate_policy(
    actor: Actor,
    seeds: Sequence[int],
    file: Path,
    *,
    batch: int,
    workers: int = 1,
    device: torch.device,
    note: str = "",
) -> tuple[Evaluation, list[Episode]]:
    """One episode for each seed, `batch` environments at once; finished ones are kept in `file` and skipped."""
    name, at_once = actor.name, min(batch, len(seeds))
    # All environments of a planner share its noise. Who draws for each of them must not repeat a batch in the next.
    shares_noise = isinstance(actor.policy, PlanningPolicy)
    with closing(make_env(actor.task, actor.env)) as described:
        kept = Replay.open(file, env_args=env_args(described.task_name, actor.env), spec=described.task_spec)
    times_file = file.with_suffix(".decision_ms.json")
    kept_times = read_json(times_file, dict) if times_file.exists() else {}
    timed, times = kept_times.get("environments", at_once), kept_times.get("ms", [])
    missing = min(at_once, len(seeds) - len(kept))
    with open_worlds(actor.task, actor.env, count=max(missing, 0), workers=workers) as worlds:
        while (start := len(kept)) < len(seeds):
            chosen = seeds[start : start + at_once]
            rollouts = run_episodes(
                actor.policy,
                worlds[: len(chosen)],
                seeds=chosen,
                policy_seed=POLICY_SEED + (0 if shares_noise else start),
                source=name,
                device=device,
                title=f"evaluate {name}, episodes {start + 1} to {start + len(chosen)} of {len(seeds)}",
            )
            if len(chosen) == timed:  # not the rest at the end or after a stop, nor more at once than at first
                times += rollouts.decision_ms.tolist()
                write_json(times_file, {"environments": timed, "ms": times})
            kept.extend(rollouts.episodes)
    episodes = list(kept.episodes[: len(seeds)])
    returns = [episode.total_reward for episode in episodes]
    successes = [episode.success for episode in episodes if episode.success is not None]
    held_back = _held_back(episodes) if isinstance(actor.policy, BehaviourPolicy) else ""
    evaluation = summarise(
        name,
        returns,
        seeds,
        times,
        environments=timed,
        note="; ".join(filter(None, (note, held_back))),
        successes=successes if len(successes) == len(episodes) else None,
    )
    return evaluation, episodes


def _held_back(episodes: Sequence[Episode]) -> str:
    """What to know of actions that stand at the bounds, where a policy may have asked for more."""
    share = float(np.mean(np.abs(np.concatenate([episode.actions for episode in episodes])) >= 1))
    return f"{share:.1%} of action entries at or beyond the bounds, where they are clipped" if share else ""


def time_decisions(policy: PlanningPolicy, env: Environment, *, device: torch.device) -> np.ndarray:
    """(TIMED,) milliseconds of deciding for a single environment, after some that warm up."""
    times: list[float] = []
    while (left := WARM_UP + TIMED - len(times)) > 0:
        rollouts = run_episodes(
            policy,
            [env],
            seeds=[0],
            policy_seed=POLICY_SEED,
            source="timing",
            max_decisions=left,
            device=device,
            title="time decisions",
        )
        times += rollouts.decision_ms.tolist()
    return np.asarray(times[WARM_UP:])
