"""Parts `policies` and `ranking`: what was learned from demonstrations, acting in the world they come from."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from drift_wm.acting.actors import Actor, make_actor
from drift_wm.acting.evaluate import evaluate_policy
from drift_wm.build import make_env
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.readers import read_demonstrations
from drift_wm.demonstrations.ceiling import rehearsed_row
from drift_wm.demonstrations.rivals import (
    ADVISORS,
    ALONE,
    DRIFTING,
    POLICIES,
    POLICY_CHUNK,
    POLICY_EXECUTED,
    RANKINGS,
    REHEARSED,
    Ranking,
    policy_training,
)
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.env_settings import EnvSettings
from drift_wm.generators import GeneratorConfig
from drift_wm.learning.train import train
from drift_wm.models.behaviour import BehaviourPolicy, PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.learned import POLICY, WORLD_MODEL, load_policy, load_world_model
from drift_wm.models.prepared import PreparedModel
from drift_wm.settings import EVALUATION_SEED, EvaluateSettings, TrainSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint
from drift_wm.storage.run_folder import RunFolder

logger = logging.getLogger(__name__)

AT_ONCE = 25
"""Environments acted in together."""
ENV = EnvSettings(action_repeat=1)
"""Each row of the data is a step of the environment."""


def policy_rows(name: str, seed: int, folder: Path, settings: DemonstrationsSettings) -> list[Row]:
    """Train one rival and let it act; a row for each way of acting."""
    run = _run_of(name, seed, folder)
    trained = train(_policy_settings(name, seed, settings), run, device=torch.device("cpu"))
    rows = []
    for sampling in POLICIES[name].samplings:
        actor = _actor(run, settings, noise=sampling.noise)
        assert isinstance(actor.policy, BehaviourPolicy)
        generator = actor.policy.model.generator
        as_trained = sampling.noise == 1 and sampling.steps in (0, generator.nfe)
        measured = trained["metrics"].get("held_out_energy_score")  # absent where nothing was held out
        metrics = {"energy_score": measured} if as_trained and measured is not None else {}
        generator.set_sampling_steps(sampling.steps)
        row = Row("policies", sampling.label(name), generator.nfe, seed, metrics)
        rows.append(_acted(row, actor, _rollouts(run, generator.nfe, sampling.noise), settings))
    return rows


def ranking_rows(seed: int, folder: Path, settings: DemonstrationsSettings) -> list[Row]:
    """The drifting policy alone; advised by a world model of the same demonstrations, in several ways; by the truth."""
    run, advisor = _run_of(DRIFTING, seed, folder), RunFolder(folder / "ranking" / f"world_model-seed{seed}")
    train(_policy_settings(DRIFTING, seed, settings), run, device=torch.device("cpu"))
    train(_advisor_settings(seed, settings), advisor, device=torch.device("cpu"))
    alone = Row("ranking", ALONE, 1, seed, {})
    rows = [_acted(alone, _actor(run, settings), _rollouts(run, 1, 1.0), settings)]
    for name, ranking in RANKINGS.items():
        actor = _actor(run, settings, ranking=ranking, advisor=advisor)
        file = advisor.path / f"rollouts-{ranking.risk.name}.hdf5"
        rows.append(_acted(Row("ranking", name, 1, seed, {}), actor, file, settings))
    if not _can_be_restored(settings):
        logger.warning("row %r is left out: the state of %s cannot be set", REHEARSED, settings.task)
        return rows
    policy = load_policy(load_checkpoint(newest_checkpoint(run.path)))
    model = load_world_model(load_checkpoint(newest_checkpoint(advisor.path)))
    ceiling = Row("ranking", REHEARSED, 1, seed, {})
    return [*rows, rehearsed_row(ceiling, policy, PreparedModel(model, central=True), ENV, settings)]


def read_door(settings: DemonstrationsSettings) -> list[Episode]:
    """The demonstrations; a warning says so where there are too few of them to hold any out.

    Raises:
        ValueError: they or their world cannot be had, or do not fit.
    """
    episodes = read_demonstrations(settings.door, allow_missing_rewards=True)
    with closing(make_env(settings.task, ENV)) as env:
        expected = env.task_spec.sizes
    if (sizes := episodes[0].sizes) != expected:
        raise ValueError(
            f"door={settings.door!r}: its observations and actions have sizes {sizes}, task={settings.task!r} has "
            f"{expected}; name the task in which they were recorded"
        )
    if len({episode.fingerprints for episode in episodes}) == 1:
        logger.warning(
            "door=%s holds a single demonstration, so nothing is held out: the energy score of the policies is not "
            "measured",
            settings.door,
        )
    return episodes


def _can_be_restored(settings: DemonstrationsSettings) -> bool:
    with closing(make_env(settings.task, ENV)) as world:
        world.reset(seed=0)
        return world.physics_state().size > 0


def _run_of(name: str, seed: int, folder: Path) -> RunFolder:
    """Where a policy is trained, and from where `drift-wm evaluate` can load it."""
    (folder / "policies").mkdir(exist_ok=True)
    return RunFolder(folder / "policies" / f"{name.replace(', ', '-').replace(' ', '_')}-seed{seed}")


def _policy_settings(name: str, seed: int, settings: DemonstrationsSettings) -> TrainSettings:
    return TrainSettings(
        data=settings.door,
        seed=seed,
        steps=settings.policy_steps,
        kind=POLICY,
        model=WorldModelConfig(generator=replace(POLICIES[name].generator, width=settings.policy_width)),
        policy=PolicySettings(chunk=POLICY_CHUNK, execute=POLICY_EXECUTED),
        training=policy_training(),
    )


def _advisor_settings(seed: int, settings: DemonstrationsSettings) -> TrainSettings:
    """An ensemble, whose disagreement tells where a proposal leads out of the data."""
    generator = GeneratorConfig(DRIFTING, width=settings.policy_width, members=ADVISORS)
    return TrainSettings(
        data=settings.door,
        seed=seed,
        steps=settings.policy_steps,
        kind=WORLD_MODEL,
        model=WorldModelConfig(chunk=POLICY_CHUNK, generator=generator),
        training=policy_training(),
    )


def _rollouts(run: RunFolder, nfe: int, noise: float) -> Path:
    """Where the episodes are kept that a policy acted in one way; parts share them."""
    return run.path / f"rollouts-{nfe}-noise-{noise:g}.hdf5"


def _actor(
    run: RunFolder,
    settings: DemonstrationsSettings,
    *,
    noise: float | None = None,
    ranking: Ranking | None = None,
    advisor: RunFolder | None = None,
) -> Actor:
    """A trained policy in its world, advised or not. It plans in no simulator, so there is nothing to close."""
    asked = EvaluateSettings(task=settings.task, env=ENV, actor="policy", checkpoint=str(run.path), noise=noise)
    if ranking is not None and advisor is not None:
        asked = replace(
            asked,
            foresight=str(advisor.path),
            proposals=settings.proposals,
            particles=ranking.particles,
            risk=ranking.risk,
        )
    return make_actor(asked, device=torch.device("cpu"))


def _acted(row: Row, actor: Actor, file: Path, settings: DemonstrationsSettings) -> Row:
    """The row with returns, and successes where the world tells of them; episodes that are in the file are kept."""
    seeds = [EVALUATION_SEED + i for i in range(settings.episodes)]
    found, _ = evaluate_policy(actor, seeds, file, batch=AT_ONCE, device=torch.device("cpu"))
    each = {"return": list(found.returns)}
    if found.successes is not None:
        each["success"] = [float(success) for success in found.successes]
    return replace(row, each=each)
