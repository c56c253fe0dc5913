"""Parts `stochastic`, `deterministic` and `chunks`: world models on recorded actions that they were not trained on.

All are compared with what was recorded; those of `stochastic` with the simulator's own Monte-Carlo, too.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from drift_wm.acting.env_workers import open_environments
from drift_wm.acting.episodes import run_episodes
from drift_wm.acting.policies import PinkNoisePolicy
from drift_wm.build import make_env
from drift_wm.datasets.moments import Statistics, compute_statistics
from drift_wm.datasets.replay import Replay
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.diagnosis.measures import coverage, energy_distance, spread_skill
from drift_wm.diagnosis.modes import between_modes, weaker_mass
from drift_wm.diagnosis.situations import Situations, draw_situations, sample_model, true_samples
from drift_wm.diagnosis.world import World, open_truth, physics_of
from drift_wm.env_settings import EnvSettings, env_args
from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.interfaces import History, WorldModel
from drift_wm.models.futures import error_of_mean
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.results import SIMULATOR
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.rows import Row
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.training import train_world_model

_SEED = 5_000  # of the training data; held-out episodes follow at _HELD_OUT_SEED
_HELD_OUT_SEED = 900_000
_HELD_OUT_EPISODES = 10
_AT_ONCE = 10  # environments acted in together
_FARTHEST = 100.0  # standard deviations
_MEAN_OF = 32  # samples that make a predicted mean
NEAR, FAR = 10, 20
"""Decisions ahead, besides one, at which distributions and errors are measured."""


@dataclass(frozen=True, slots=True)
class Case:
    """A world to predict."""

    name: str
    world: World
    chunk: int
    """Of the models: 1 where the law of a single step is the question, else the default."""
    data_share: float = 1.0
    """Of the settings' transitions: a small world needs fewer."""


def _case(name: str, task: str, disturbance: str, chunk: int) -> Case:
    return Case(name, World(task, EnvSettings(disturbance=DisturbanceConfig(name=disturbance))), chunk)


STOCHASTIC = (
    _case("cartpole, gust", "cartpole-swingup", "gust", 1),
    _case("walker, gust", "walker-walk", "gust", 1),
    _case("cheetah, slip", "cheetah-run", "slip", 1),
)
DETERMINISTIC = (
    _case("cartpole", "cartpole-swingup", "none", 5),
    _case("cheetah", "cheetah-run", "none", 5),
    _case("walker", "walker-walk", "none", 5),
    _case("reacher", "reacher-easy", "none", 5),
)

CHUNKS = tuple(
    _case(f"{name}, k = {k}", task, "none", k)
    for name, task in (("cartpole", "cartpole-swingup"), ("walker", "walker-walk"))
    for k in (1, 5, 10)
)
"""How many steps one evaluation should predict."""


def collect_case(case: Case, folder: Path, settings: TruthSettings) -> None:
    """Record the episodes of a case, and true samples of its held-out situations where it is stochastic."""
    with closing(make_env(case.world.task, case.world.env)) as env:
        count = math.ceil(case.data_share * settings.transitions / env.decisions_per_episode)
    _record(case, training_file(case, folder), count, _SEED)
    _record(case, _held_out_file(case, folder), _HELD_OUT_EPISODES, _HELD_OUT_SEED)
    if case in STOCHASTIC:
        situations = _situations(case, folder, settings)
        states = physics_of(situations.history)
        rng = torch.Generator().manual_seed(_HELD_OUT_SEED)
        with open_truth(case.world, threads=1) as truth:
            samples = true_samples(
                truth.observer, states, situations.actions[:, :NEAR], samples=settings.samples, rng=rng
            )
            ways = truth.ways(states, situations.actions[:, :1])
        torch.save({"samples": samples, "ways": ways}, _truth_file(case, folder))


def world_rows(part: str, case: Case, name: str, seed: int, folder: Path, settings: TruthSettings) -> list[Row]:
    """Train one rival on a case's recorded episodes and measure it; a row for each number of sampling steps."""
    if name == SIMULATOR:
        return [Row(part, case.name, name, 0, seed, _ceiling(case, folder, settings))]
    rival, episodes = RIVALS[name], read_episodes(training_file(case, folder))
    start = time.perf_counter()
    generator = settings.for_chance(rival) if case in STOCHASTIC else rival.sized(settings.width)
    model = train_world_model(episodes, generator, chunk=case.chunk, steps=settings.steps, seed=seed)
    seconds = time.perf_counter() - start
    situations, statistics = _situations(case, folder, settings), compute_statistics(episodes, chunk=1)
    truth = torch.load(_truth_file(case, folder), weights_only=True) if case in STOCHASTIC else None
    rows = []
    for steps in rival.sampling_steps:
        model.generator.set_sampling_steps(steps)
        planned_on = PreparedModel(model, central=True)
        samples = _far_samples(model, situations)
        metrics = _errors(samples, planned_on, situations, statistics) | {"train_seconds": seconds}
        metrics |= _errors_of_mean(samples, planned_on, situations, statistics)
        if truth is not None:
            metrics |= _distribution(model, situations, statistics, truth["samples"], truth["ways"])
        rows.append(Row(part, case.name, name, model.generator.nfe, seed, metrics))
    return rows


def _far_samples(model: WorldModel, situations: Situations) -> Tensor:
    """(W, P, FAR, D) futures, some beyond all numbers perhaps."""
    return sample_model(model, situations, FAR, particles=_MEAN_OF, rng=torch.Generator().manual_seed(_HELD_OUT_SEED))


def _errors(
    samples: Tensor, planned_on: WorldModel, situations: Situations, statistics: Statistics
) -> dict[str, float]:
    """Errors of the samples' mean, in deviations of one-step changes and of observations, and their spread.

    `central` errors are those of `planned_on`, the single future on which a planner plans: the predicted mean, fed
    with itself.
    """
    rng = torch.Generator().manual_seed(_HELD_OUT_SEED)
    held = _bounded(samples, statistics)
    metrics = {"diverged": _share_of_others(samples, held)}
    samples = held
    central = _bounded(sample_model(planned_on, situations, FAR, particles=1, rng=rng), statistics)[:, 0]
    for steps, unit in ((1, statistics.changes.std[0]), (FAR, statistics.obs.std)):
        predicted, seen = samples[:, :, steps - 1] / unit, situations.future[:, steps - 1] / unit
        metrics[f"error_{steps}"] = error_of_mean(predicted, seen)
        metrics[f"spread_{steps}"] = _spread(predicted)
        metrics[f"central_{steps}"] = float((central[:, steps - 1] / unit - seen).square().mean()) ** 0.5
    return metrics


def _spread(samples: Tensor) -> float:
    """Root mean square, over situations and entries, of the deviation of samples (W, P, D)."""
    return math.sqrt(float(samples.var(dim=1).mean()))


def _errors_of_mean(
    samples: Tensor, planned_on: WorldModel, situations: Situations, statistics: Statistics
) -> dict[str, float]:
    """Errors of the mean proper, E[x_t] = E[E[x_t | x_s]].

    That is what `planned_on` predicts of a chunk, averaged over the sampled futures before it; after one step
    the central prediction, as the start is known.
    """
    rng, K, k = torch.Generator().manual_seed(_HELD_OUT_SEED), planned_on.history, planned_on.chunk
    samples = _bounded(samples, statistics)
    known = situations.history.obs.unsqueeze(1).expand(-1, _MEAN_OF, -1, -1)
    frames, acted = torch.cat([known, samples], dim=2), torch.cat([situations.history.actions, situations.actions], 1)
    metrics = {}
    for steps, unit in ((1, statistics.changes.std[0]), (FAR, statistics.obs.std)):
        start = (steps - 1) // k * k
        actions = acted[:, start : start + K - 1 + k].repeat_interleave(_MEAN_OF, dim=0)
        history = History(obs=frames[:, :, start : start + K].flatten(0, 1), actions=actions[:, : K - 1])
        prediction = planned_on.rollout(history, actions[:, None, K - 1 :], particles=1, rng=rng)
        expected = _bounded(prediction.obs[:, 0, 0, steps - 1 - start].view(len(situations), _MEAN_OF, -1), statistics)
        metrics[f"expected_{steps}"] = error_of_mean(expected / unit, situations.future[:, steps - 1] / unit)
    return metrics


def _distribution(
    model: LearnedWorldModel, situations: Situations, statistics: Statistics, truth: Tensor, ways: Tensor | None
) -> dict[str, float]:
    """Against M true samples (W, M, NEAR, D): of one step in deviations of its changes, and of ten in those of states.

    Calibration is that of all entries together: each entry of each situation counts as one forecast.
    """
    rng = torch.Generator().manual_seed(_HELD_OUT_SEED + 1)
    samples = sample_model(model, situations, NEAR, particles=truth.shape[1], rng=rng)
    held = _bounded(samples, statistics)
    metrics = _compared(held, truth, situations, statistics, calibrated=model.generator.stochastic)
    metrics |= _ways_taken(held, situations, statistics, ways)
    return metrics | {"diverged_10": _share_of_others(samples, held)}


def _ceiling(case: Case, folder: Path, settings: TruthSettings) -> dict[str, float]:
    """Half of the true samples as if they were a model's, against the other half: what perfection would show."""
    statistics = compute_statistics(read_episodes(training_file(case, folder)), chunk=1)
    truth = torch.load(_truth_file(case, folder), weights_only=True)
    samples, others = truth["samples"].chunk(2, dim=1)
    situations = _situations(case, folder, settings)
    metrics = _compared(samples, others, situations, statistics, calibrated=True)
    metrics["spread_1"] = _spread(truth["samples"][:, :, 0] / statistics.changes.std[0])
    # Against all samples: the share of a mode depends on their number, and a model is asked for as many.
    return metrics | _ways_taken(truth["samples"], situations, statistics, truth["ways"])


def _compared(
    samples: Tensor,
    truth: Tensor,
    situations: Situations,
    statistics: Statistics,
    *,
    calibrated: bool,
) -> dict[str, float]:
    """Samples and true ones, both (W, M, NEAR, D), as `_distribution` says."""
    now, change, obs = situations.history.obs[:, -1:], statistics.changes.std[0], statistics.obs.std
    x, y = (samples[:, :, 0] - now) / change, (truth[:, :, 0] - now) / change
    metrics: dict[str, float] = {}
    for suffix, predicted, true in (("", x, y), ("_10", samples[:, :, -1] / obs, truth[:, :, -1] / obs)):
        metrics[f"energy_distance{suffix}"] = float(energy_distance(predicted, true).mean())
        if calibrated:
            entries, outcomes = _entries(predicted), _entries(true)
            metrics[f"spread_skill{suffix}"] = float(spread_skill(entries, outcomes)[0])
            metrics[f"coverage_90{suffix}"] = float(coverage(entries, outcomes, 0.9)[0])
    return metrics


def _ways_taken(
    samples: Tensor, situations: Situations, statistics: Statistics, ways: Tensor | None
) -> dict[str, float]:
    """Of samples (W, M, NEAR, D) after one step, in a world that goes one of two ways (W, 2, D); else nothing."""
    if ways is None:
        return {}
    now, change = situations.history.obs[:, -1:], statistics.changes.std[0]
    x, places = (samples[:, :, 0] - now) / change, (ways - now) / change
    return {"weaker_mode": weaker_mass(x, places), "between": float(between_modes(x, places).nanmean())}


def _bounded(samples: Tensor, statistics: Statistics) -> Tensor:
    """Samples that ran away, some beyond all numbers, are held at 100 standard deviations: wrong, and counted."""
    low, high = (statistics.obs.mean + side * _FARTHEST * statistics.obs.std for side in (-1, 1))
    return samples.nan_to_num(torch.inf).clamp(low, high)


def _share_of_others(samples: Tensor, held: Tensor) -> float:
    """Share of predicted observations (..., D) that are not what they were."""
    return float((samples != held).any(dim=-1).double().mean())


def _entries(samples: Tensor) -> Tensor:
    """(W, P, D) -> (W * D, P, 1): every entry a forecast of its own."""
    return samples.transpose(1, 2).flatten(0, 1).unsqueeze(-1)


def _record(case: Case, file: Path, count: int, seed: int) -> None:
    """Episodes of pink noise, each with the simulator's states; those already in the file are kept."""
    task, settings = case.world.task, case.world.env
    with open_environments(task, settings, count=_AT_ONCE) as envs:
        policy = PinkNoisePolicy(envs[0].task_spec.action_size, envs[0].decisions_per_episode)
        kept = Replay.open(file, env_args=env_args(task, settings), spec=envs[0].task_spec)
        while (done := len(kept)) < count:
            seeds = [seed + done + i for i in range(min(_AT_ONCE, count - done))]
            title = f"{case.name}: {done} of {count} episodes"
            rollouts = run_episodes(
                policy, envs[: len(seeds)], seeds=seeds, policy_seed=seed + done, source="noise", title=title
            )
            kept.extend(rollouts.episodes)


def _situations(case: Case, folder: Path, settings: TruthSettings) -> Situations:
    episodes = read_episodes(_held_out_file(case, folder))
    return draw_situations(
        episodes,
        history=1,
        horizon=FAR,
        count=settings.states,
        device=torch.device("cpu"),
        rng=torch.Generator().manual_seed(_HELD_OUT_SEED),
    )


def training_file(case: Case, folder: Path) -> Path:
    """Where the training episodes of a case lie."""
    return folder / "data" / f"{_slug(case)}.hdf5"


def _held_out_file(case: Case, folder: Path) -> Path:
    return folder / "data" / f"{_slug(case)}-held-out.hdf5"


def _truth_file(case: Case, folder: Path) -> Path:
    return folder / "data" / f"{_slug(case)}-true-samples.pt"


def _slug(case: Case) -> str:
    """Cases of one world share its data."""
    return f"{case.world.task}-{case.world.env.disturbance.name}"
