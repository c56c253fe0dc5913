"""Evaluation of policies: returns, decision times, a film, and a file of what happened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drift_wm.acting.by_model import act_by
from drift_wm.acting.env_workers import open_worlds
from drift_wm.acting.episodes import Environment, run_episodes
from drift_wm.acting.films import film_best, film_several
from drift_wm.acting.policies import PinkNoisePolicy, PlanningPolicy, RandomPolicy
from drift_wm.acting.scripted import ScriptedPolicy
from drift_wm.build import has_simulator, make_env, make_planning_simulator, make_policy
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import Replay
from drift_wm.env_settings import EnvSettings, env_args, env_record, recorded_env
from drift_wm.envs.gymnasium_env import plain_name
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import Policy, Spec
from drift_wm.models.behaviour import BehaviourPolicy, PolicyConfig
from drift_wm.models.learned import LearnedModel, ModelConfig, load_policy, load_world_model
from drift_wm.results import NOISE, RANDOM, SCRIPTED, SIMULATOR, Evaluation, summarise
from drift_wm.run_settings import LARGEST_SEED
from drift_wm.settings import EVALUATION_SEED, SCRIPTED_NOISE, CollectSettings, EvaluateSettings, PlanningSettings
from drift_wm.storage.checkpoint import Checkpoint, load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint
from drift_wm.storage.run_folder import RunFolder, read_json, write_json

logger = logging.getLogger(__name__)

POLICY_SEED = 0  # evaluation episodes differ by their reset seeds
SEEDS_PER_RUN = 1_000
DEFAULT_TASK = "cartpole-swingup"
ROLLOUTS = "rollouts.hdf5"
"""File of a run folder: the episodes of an evaluation."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A policy and the world it acts in."""

    name: str
    policy: Policy[Any]
    task: str
    env: EnvSettings
    model_id: str | None = None
    """Of the checkpoint that it acts by, if it does, and of the one that advises it."""
    simulator: SimulatorWorldModel | None = None
    """What it plans in, if that is the true simulator; its threads run until it is closed."""

    def close(self) -> None:
        """Stop what it plans in; it does not act after that."""
        if self.simulator is not None:
            self.simulator.close()


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
    if settings.video:
        with closing(make_env(actor.task, actor.env)) as env:
            film_best(env, episodes, folder.path / "best_episode.mp4")
        film_several(
            lambda: make_env(actor.task, actor.env),
            episodes[: settings.video_grid],
            folder.path / "episodes.mp4",
        )
    results = {
        "command": "evaluate",
        "task": actor.task,
        **env_record(actor.env),
        "checkpoint": settings.checkpoint,
        "model_id": actor.model_id,
        "evaluations": [evaluation.as_dict()],
    }
    folder.write_results(results)
    return results


def make_actor(
    settings: EvaluateSettings | CollectSettings, *, device: torch.device, exploration_std: float | None = None
) -> Actor:
    """What the settings say shall act: a model's planner, the simulator's planner, a policy, or chance. Close it.

    Whoever acts, a checkpoint tells the task and its world where these are not asked for.
    Planners act without noise, and the scripted demonstrator with its own, unless another `exploration_std` is given.

    Raises:
        ValueError: the checkpoint is unreadable or was trained for another task's dimensions.
    """
    checkpoint = None
    task, env = settings.task or DEFAULT_TASK, settings.env
    if settings.checkpoint is not None:
        checkpoint = load_checkpoint(newest_checkpoint(Path(settings.checkpoint)), device=device)
        task, env = task_of(checkpoint, settings)
    if settings.actor == "simulator":
        std = exploration_std or 0.0
        with ExitStack() as stack:
            simulator = stack.enter_context(make_planning_simulator(task, replace(settings, env=env)))
            policy = make_policy(simulator, settings, device=torch.device("cpu"), exploration_std=std)
            stack.pop_all()  # from here on the actor closes it
        return Actor(SIMULATOR, policy, task, env, simulator=simulator)
    if settings.actor == SCRIPTED:
        std = SCRIPTED_NOISE if exploration_std is None else exploration_std
        by_hand = ScriptedPolicy(task, noise=std)
        tell_of_pace(task, env)
        return Actor(SCRIPTED, by_hand, task, env)
    if settings.actor in (RANDOM, NOISE):
        with closing(make_env(task, env)) as world:
            size, decisions = world.task_spec.action_size, world.decisions_per_episode
        tell_of_pace(task, env)
        by_chance = RandomPolicy(size) if settings.actor == RANDOM else PinkNoisePolicy(size, decisions)
        return Actor(settings.actor, by_chance, task, env)
    assert checkpoint is not None, "settings require a checkpoint for actor=model and policy"
    load = load_policy if settings.actor == "policy" else load_world_model
    learned: LearnedModel = load(checkpoint, device=device)
    require_spec(learned.spec, _spec_of(task, env), task)
    acting = act_by(learned, settings, device=device, exploration_std=exploration_std or 0.0)
    model_id = "+".join(filter(None, (checkpoint.id, acting.advisor_id)))
    return Actor(name_of(learned.config) + acting.how, acting.policy, task, env, model_id)


def tell_of_pace(task: str, env: EnvSettings) -> None:
    """Say how long actions are held where that is more than usual: the default is what benchmarks of dm_control do."""
    if not has_simulator(task) and env.action_repeat > 1:
        logger.info(
            "%s: each action is held for %d steps; set env.action_repeat=1 for the environment's own pace",
            task,
            env.action_repeat,
        )


def _spec_of(task: str, env: EnvSettings) -> Spec:
    with closing(make_env(task, env)) as world:
        return world.task_spec


def name_of(config: ModelConfig) -> str:
    """What a table calls a learned model."""
    kind = "policy" if isinstance(config, PolicyConfig) else "world model"
    return f"{config.generator.name} {kind}"


def task_of(checkpoint: Checkpoint, settings: PlanningSettings) -> tuple[str, EnvSettings]:
    """The task that is asked for, or else the one the checkpoint was trained on, in the world of its training.

    A disturbance that is named, `none` too, replaces the one of the training.

    Raises:
        ValueError: neither tells of a task.
    """
    stored = checkpoint.config.get("task")
    if stored and (not settings.task or plain_name(settings.task) == plain_name(stored["name"])):
        return stored["name"], recorded_env(stored, settings.env)
    if not stored and not settings.task:
        raise ValueError(
            f"task='': expected the task to act in, as checkpoint {checkpoint.id} does not tell where its data were "
            "recorded; for example task=cartpole-swingup"
        )
    if not stored:
        logger.warning(
            "the checkpoint does not say for how many steps each action of its data was held; here it is held for "
            "env.action_repeat=%d",
            settings.env.action_repeat,
        )
    return settings.task, settings.env


def require_spec(found: Spec, wanted: Spec, task: str) -> None:
    """Raise a ValueError if a model's sizes are not those of the task it shall act in."""
    if found.sizes != wanted.sizes:
        raise ValueError(
            f"the checkpoint was trained for {found.observation_size} observations and {found.action_size} actions, "
            f"but {task} has {wanted.observation_size} and {wanted.action_size}; use the task, or data of the task, "
            "that it was trained on; `drift-wm diagnose` and `lineage` judge a world model by such data alone"
        )
    if found.decision_seconds and not np.isclose(found.decision_seconds, wanted.decision_seconds):
        raise ValueError(
            f"the checkpoint was trained for decisions of {found.decision_seconds:g} s, but this environment takes "
            f"{wanted.decision_seconds:g} s; set env.action_repeat to that of the training run"
        )


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
    times: list[float] = read_json(times_file, list) if times_file.exists() else []
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
            if len(chosen) == at_once:  # what is left at the end, or by a stop, is decided for fewer at a time
                times += rollouts.decision_ms.tolist()
                write_json(times_file, times)
            for episode in rollouts.episodes:
                kept.append(episode)
    episodes = list(kept.episodes[: len(seeds)])
    returns = [episode.total_reward for episode in episodes]
    successes = [episode.success for episode in episodes if episode.success is not None]
    held_back = _held_back(episodes) if isinstance(actor.policy, BehaviourPolicy) else ""
    evaluation = summarise(
        name,
        returns,
        seeds,
        times,
        environments=at_once,
        note="; ".join(filter(None, (note, held_back))),
        successes=successes if len(successes) == len(episodes) else None,
    )
    return evaluation, episodes


def _held_back(episodes: Sequence[Episode]) -> str:
    """What to know of actions that stand at the bounds, where a policy may have asked for more."""
    share = float(np.mean(np.abs(np.concatenate([episode.actions for episode in episodes])) >= 1))
    return f"{share:.1%} of the actions' entries at or beyond the bounds, and held to them" if share else ""


def time_decisions(
    policy: PlanningPolicy, env: Environment, *, device: torch.device, decisions: int = 50, warm_up: int = 5
) -> np.ndarray:
    """(decisions,) milliseconds of deciding for a single environment; the first `warm_up` decisions are left out."""
    times: list[float] = []
    while len(times) < warm_up + decisions:
        left = warm_up + decisions - len(times)
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
    return np.asarray(times[warm_up:])
