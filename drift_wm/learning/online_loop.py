"""The main job: collect, train on from the last model for a short period, plan with it, repeat.

Everything random is derived from the run's seed and the episode's number, and every finished piece of work
is on disk before the next begins: a run that is killed at any moment and started again with the same folder
does what it would have done, and loses at most the episode or the stretch of training in flight.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from drift_wm.acting.actors import Actor, name_of, tell_of_pace
from drift_wm.acting.env_workers import open_environments
from drift_wm.acting.episodes import run_episodes
from drift_wm.acting.evaluate import POLICY_SEED, evaluate_policy, time_decisions, training_seed
from drift_wm.acting.policies import PinkNoisePolicy, PlanningPolicy, RandomPolicy
from drift_wm.build import make_env, make_planning_simulator, make_policy, require_simulator
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import Replay
from drift_wm.env_settings import env_args, env_record
from drift_wm.interfaces import Metrics, Policy
from drift_wm.learning.held_out import held_out_metrics
from drift_wm.learning.train import fit_round, resume
from drift_wm.learning.trainer import Trainer
from drift_wm.planners.novelty import Novelty
from drift_wm.results import NOISE, RANDOM, SIMULATOR, CurvePoint, Evaluation
from drift_wm.settings import EVALUATION_SEED, OnlineSettings
from drift_wm.storage.metrics import MetricsLog
from drift_wm.storage.run_folder import RunFolder, read_json, write_json

EVALUATION_BATCH = 8
PLANNER = "planner"  # source of the episodes that are not noise
STATUS, PROGRESS, SECONDS = "status.json", "progress.json", "seconds.json"
"""Files of a run folder: episodes collected so far, evaluations on the way, and the time that all of it took."""


class OnlineRun:
    """The parts of one run, and what is done with them: `learn`, then `evaluate` and `references`. Close it at the end.

    Args:
        settings: what to do.
        folder: receives replay, checkpoints and metrics; what it already holds is not done again.
        device: where to compute.

    Raises:
        ValueError: settings that do not fit together or do not fit what the folder holds.
    """

    def __init__(self, settings: OnlineSettings, folder: RunFolder, *, device: torch.device) -> None:
        self.settings, self.folder, self.device = settings, folder, device
        _require_seeds_apart(settings)
        if settings.reference_simulator_episodes:
            require_simulator(settings.task)
        with ExitStack() as stack:
            self.env = stack.enter_context(closing(make_env(settings.task, settings.env)))
            tell_of_pace(settings.task, settings.env)
            spec = self.env.task_spec
            self.trainer = Trainer(
                spec,
                settings.model,
                settings.training,
                seed=settings.seed,
                device=device,
                task={"name": self.env.task_name, **env_record(settings.env)},
            )
            self._planner()  # before any work, so that a horizon the chunk does not divide fails now
            recorded = env_args(self.env.task_name, settings.env)
            self.replay = Replay.open(folder.path / "replay.hdf5", env_args=recorded, spec=spec)
            if not len(self.replay):
                write_json(folder.path / SECONDS, {})
            resume(self.trainer, folder, device=device)
            stack.pop_all()  # nothing was refused: the environment is open until `close`

    def close(self) -> None:
        """Free the environment."""
        self.env.close()

    def learn(self) -> None:
        """Collect every episode and train every round that the folder does not hold yet."""
        settings = self.settings
        self._evaluate_progress()  # which a stop may have prevented
        with MetricsLog(self.folder.path) as log:
            for number in range(len(self.replay), settings.episodes + 1):
                # A model is trained before the planned episodes of each round, and once more after the last.
                while number >= (seen := self._seen_by_round(self.trainer.rounds)) and not self._is_learned:
                    known, last = self.replay.episodes[:seen], seen == settings.episodes
                    steps = settings.final_round_steps if last else settings.round_steps
                    with self._spent_on("training"):
                        fit_round(self.trainer, known, steps, folder=self.folder, log=log, last=last)
                    self._evaluate_progress()
                if number < settings.episodes:
                    with self._spent_on("collecting"):
                        self._collect(number, log)

    def evaluate(self) -> tuple[Evaluation, list[Episode]]:
        """The final model on the evaluation seeds, without exploration."""
        count = self.settings.evaluation_episodes
        return self._evaluate(name_of(self.settings.model), self._final_planner, count, "evaluation.hdf5")

    def references(self) -> list[Evaluation]:
        """The rows to compare with, on the same seeds: chance, and the same planner in the true simulator."""
        settings, rows = self.settings, []
        if count := settings.reference_random_episodes:
            policy = RandomPolicy(self.env.task_spec.action_size)
            rows.append(self._evaluate(RANDOM, policy, count, "random.hdf5")[0])
        if count := settings.reference_simulator_episodes:
            with make_planning_simulator(settings.task, settings) as simulator:
                planning = make_policy(simulator, settings, device=torch.device("cpu"))
                rows.append(self._evaluate(SIMULATOR, planning, count, "simulator.hdf5")[0])
        return rows

    def decision_ms(self) -> np.ndarray:
        """(decisions,) milliseconds of deciding for one environment, measured now."""
        return time_decisions(self._final_planner, self.env, device=self.device)

    @property
    def curve(self) -> list[CurvePoint]:
        """Return of each training episode against environment frames, scaled up where collection cut it short."""
        frames, points = 0, []
        limit, longest = self.decisions_per_episode, self.env.decisions_per_episode
        for episode in self.replay.episodes[: self.settings.episodes]:
            frames += len(episode) * self.settings.env.action_repeat
            cut = limit < longest and len(episode) == limit and not episode.terminated
            scale = longest / limit if cut else 1.0
            points.append(CurvePoint(frames, scale * episode.total_reward, episode.source, cut))
        return points

    @property
    def progress(self) -> list[dict[str, Any]]:
        """Evaluations on the way: `frames` of training before each, and `returns` of its episodes."""
        file = self.folder.path / PROGRESS
        return read_json(file, list) if file.exists() else []

    @property
    def seconds(self) -> dict[str, float] | None:
        """What learning took, by kind of work; None for a run that began without keeping it.

        Neither the time between stops counts, nor what a kill (not Ctrl-C) cut off.
        """
        file = self.folder.path / SECONDS
        return read_json(file, dict) if file.exists() else None

    @contextmanager
    def _spent_on(self, work: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:  # half of a round, too, is kept at Ctrl-C
            if (seconds := self.seconds) is not None:
                seconds[work] = seconds.get(work, 0.0) + time.perf_counter() - start
                write_json(self.folder.path / SECONDS, seconds)

    @property
    def decisions_per_episode(self) -> int:
        """Of the episodes that are collected."""
        longest = self.env.decisions_per_episode
        return min(self.settings.episode_decisions or longest, longest)

    def _seen_by_round(self, number: int) -> int:
        """Episodes that a round of training learns from, counted from 0."""
        settings = self.settings
        return min(settings.random_episodes + number * settings.round_episodes, settings.episodes)

    @property
    def _is_learned(self) -> bool:
        """Whether a round has seen every episode."""
        rounds = self.trainer.rounds
        return rounds > 0 and self._seen_by_round(rounds - 1) == self.settings.episodes

    def _planner(self) -> PlanningPolicy:
        """Plans in the model as it is now, which the next round changes."""
        return make_policy(self.trainer.world_model, self.settings, device=self.device)

    @cached_property
    def _final_planner(self) -> PlanningPolicy:
        """The same in the last model; made when nothing is left to learn."""
        return self._planner()

    def _explorer(self) -> PlanningPolicy:
        """The same for collecting, with noise on its actions.

        With chance in what it sees ahead, too, a draw in place of the central future, walker-walk took twice as many
        frames to learn (docs/bench/attempts.md).
        """
        settings = self.settings
        planner = replace(settings.planner, execute=settings.exploration_execute)
        exploring = replace(settings, planner=planner)
        novelty = None
        if settings.seek_novelty and settings.objective.name == "return" and self._nothing_pays():
            # To plan for the return would be to stay where it is known to be nothing.
            seen = np.concatenate([episode.obs for episode in self.replay.episodes])
            novelty = Novelty(torch.as_tensor(seen, dtype=torch.float32, device=self.device))
        model, std = self.trainer.world_model, settings.exploration_std
        return make_policy(model, exploring, device=self.device, exploration_std=std, instead=novelty)

    def _nothing_pays(self) -> bool:
        """Whether nothing that was done so far was worth more than anything else: no reward, no early end."""
        episodes = self.replay.episodes
        rewards = np.concatenate([episode.rewards for episode in episodes])
        return bool(rewards.min() == rewards.max()) and not any(episode.terminated for episode in episodes)

    def _collect(self, number: int, log: MetricsLog) -> None:
        """Act for one episode, measure the model on it before it trains on it, and keep it."""
        settings = self.settings
        at_random = number < settings.random_episodes
        policy: Policy[Any] = (
            PinkNoisePolicy(self.env.task_spec.action_size, self.decisions_per_episode)
            if at_random
            else self._explorer()
        )
        source = NOISE if at_random else PLANNER
        seed = training_seed(settings.seed, number)
        rollouts = run_episodes(
            policy,
            [self.env],
            seeds=[seed],
            policy_seed=seed,
            source=source,
            max_decisions=self.decisions_per_episode,
            device=self.device,
            title=f"episode {number + 1} of {settings.episodes}, {source}",
        )
        measured: Metrics = {
            "return": rollouts.returns[0],
            "reward_per_decision": rollouts.returns[0] / len(rollouts.episodes[0]),
            "decision_ms_p50": float(np.median(rollouts.decision_ms)),
        }
        if not at_random:
            fresh = held_out_metrics(self.trainer.world_model, rollouts.episodes, seed=seed)
            measured |= {f"new_episode_{name}": value for name, value in fresh.items()}
        self.replay.append(rollouts.episodes[0])
        write_json(self.folder.path / STATUS, {"episodes": len(self.replay), "of": settings.episodes})
        log.record("online", self.replay.steps * settings.env.action_repeat, measured)

    def _evaluate_progress(self) -> None:
        """Evaluate the model of the latest round, if that is due and not done yet."""
        settings, rounds = self.settings, self.trainer.rounds
        if not settings.progress_every or not rounds or rounds % settings.progress_every:
            return
        known = self.replay.episodes[: self._seen_by_round(rounds - 1)]
        frames = sum(len(episode) for episode in known) * settings.env.action_repeat
        points = self.progress
        if any(point["frames"] == frames for point in points):
            return
        with self._spent_on("evaluating"):
            returns = self._returns_on_the_way(title=f"evaluate after {frames:,} frames")
        write_json(self.folder.path / PROGRESS, [*points, {"frames": frames, "returns": returns}])

    def _returns_on_the_way(self, *, title: str) -> list[float]:
        settings = self.settings
        seeds = [settings.evaluation_seed + i for i in range(settings.progress_episodes)]
        with open_environments(settings.task, settings.env, count=len(seeds)) as envs:
            return run_episodes(
                self._planner(),
                envs,
                seeds=seeds,
                policy_seed=POLICY_SEED,
                source=PLANNER,
                device=self.device,
                title=title,
            ).returns

    def _evaluate(self, name: str, policy: Policy[Any], count: int, file: str) -> tuple[Evaluation, list[Episode]]:
        fewer = count < self.settings.evaluation_episodes
        return evaluate_policy(
            Actor(name, policy, self.settings.task, self.settings.env),
            [self.settings.evaluation_seed + i for i in range(count)],
            self.folder.path / file,
            batch=EVALUATION_BATCH,
            device=self.device,
            note=f"only {count} of the {self.settings.evaluation_episodes} evaluation episodes" if fewer else "",
        )


def _require_seeds_apart(settings: OnlineSettings) -> None:
    """Evaluation episodes begin from states that no collected one began from."""
    count = max(settings.evaluation_episodes, settings.progress_episodes if settings.progress_every else 0)
    evaluated = range(settings.evaluation_seed, settings.evaluation_seed + count)
    if met := {training_seed(settings.seed, i) for i in range(settings.episodes)}.intersection(evaluated):
        raise ValueError(
            f"evaluation_seed={settings.evaluation_seed}: episodes for training have the reset seed {min(met)}, too; "
            f"expected seeds apart, such as the default {EVALUATION_SEED}"
        )
