"""Who acts, and in which world: what settings and a checkpoint say of it."""

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
from drift_wm.acting.policies import PinkNoisePolicy, RandomPolicy
from drift_wm.acting.scripted import ScriptedPolicy
from drift_wm.build import has_simulator, make_env, make_planning_simulator, make_policy
from drift_wm.env_settings import EnvSettings, recorded_env
from drift_wm.envs.gymnasium_env import plain_name
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import Policy, Spec
from drift_wm.models.behaviour import PolicyConfig
from drift_wm.models.learned import LearnedModel, ModelConfig, load_policy, load_world_model
from drift_wm.results import NOISE, RANDOM, SCRIPTED, SIMULATOR
from drift_wm.settings import SCRIPTED_NOISE, CollectSettings, EvaluateSettings, PlanningSettings
from drift_wm.storage.checkpoint import Checkpoint, load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint

logger = logging.getLogger(__name__)

DEFAULT_TASK = "cartpole-swingup"


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
    with closing(make_env(task, env)) as world:
        require_spec(learned.spec, world.task_spec, task)
        _require_order(checkpoint.obs_keys, world.obs_keys, task)
    acting = act_by(
        learned, settings, device=device, exploration_std=exploration_std or 0.0, obs_keys=checkpoint.obs_keys
    )
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
    if stored and (not settings.task or _is_same_task(settings.task, stored["name"])):
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
    elif stored["action_repeat"] != settings.env.action_repeat:
        logger.warning(
            "the checkpoint's data are of %s, where each action was held for %d steps; here it is held for "
            "env.action_repeat=%d",
            stored["name"],
            stored["action_repeat"],
            settings.env.action_repeat,
        )
    return settings.task, settings.env


def _is_same_task(one: str, other: str) -> bool:
    """Whether two names are of one task: dm_control takes hyphens for underscores, gymnasium a package before it."""
    first, second = (plain_name(name).replace("-", "_") for name in (one, other))
    return first == second


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


def _require_order(learned: Sequence[str] | None, given: Sequence[str], task: str) -> None:
    """Raise a ValueError if a task has the observations that a model knows, one after the other in another order."""
    if learned and sorted(learned) == sorted(given) and list(learned) != list(given):
        raise ValueError(
            f"the checkpoint reads {', '.join(learned)} in this order, {task} gives {', '.join(given)}: one would be "
            f"taken for another; train again with obs_keys=[{','.join(given)}]"
        )
