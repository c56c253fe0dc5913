"""From settings to objects; where environments, models and planners are joined."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import cache

import torch

from drift_wm.acting.episodes import Environment
from drift_wm.acting.foresight import ForesightPolicy
from drift_wm.acting.policies import PlanningPolicy
from drift_wm.acting.proposals import ActorProposals
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.disturbed_env import make_disturbed
from drift_wm.envs.dm_control import RenderConfig
from drift_wm.envs.gymnasium_env import is_gymnasium_id, make_gymnasium
from drift_wm.envs.robosuite_env import make_robosuite
from drift_wm.envs.robosuite_names import is_robosuite
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.envs.spaces import require_box_action
from drift_wm.interfaces import Objective, Planner, Risk, WorldModel
from drift_wm.models.behaviour import LearnedPolicy
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.objective_settings import ObjectiveSettings, RiskSettings
from drift_wm.planners.factory import make_planner
from drift_wm.planners.loop import SamplingPlanner
from drift_wm.planners.objectives import ActionPenalty, ActionRatePenalty, GoalDistance, PredictedReturn, Sum
from drift_wm.planners.risk import CVaR, Mean, MeanMinusSpread, Worst
from drift_wm.requirements import require
from drift_wm.run_settings import MachineSettings
from drift_wm.settings import PlanningSettings

logger = logging.getLogger(__name__)

_PICTURES = ("render_width", "render_height", "render_fast")


def prepare_machine(settings: MachineSettings) -> torch.device:
    """Set torch's threads and return the device to compute on.

    Raises:
        ValueError: the device does not exist here.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return usable_device(settings.device)


def usable_device(asked: torch.device | str) -> torch.device:
    """The device of a name; of `auto` the first GPU, or the processor where there is none.

    Raises:
        ValueError: the device does not exist here.
    """
    if asked == "auto":
        local = int(os.environ.get("LOCAL_RANK", 0))  # of torchrun: each of its processes has a GPU of its own
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ValueError(f"device={asked!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={asked!r}: torch sees no CUDA device here; use device=cpu or device=auto")
    try:
        torch.empty(1, device=device).item()
    except RuntimeError as error:  # another kind of device, or a number beyond the last
        raise ValueError(f"device={asked!r} cannot be computed on here; use device=cpu or device=auto") from error
    return device


def make_env(task: str, settings: EnvSettings) -> Environment:
    """The environment of a task of the suite, of gymnasium or of robosuite, under a disturbance if there is one.

    Raises:
        ValueError: no such task or body, or a planner cannot sample its actions.
    """
    if is_gymnasium_id(task) or is_robosuite(task):
        if settings.disturbance.disturbs:
            raise ValueError(
                f"env.disturbance.name={settings.disturbance.name!r}: expected none for {task}, as only tasks of the "
                "dm_control suite can be disturbed"
            )
        if asked := [f"env.{name}" for name in _PICTURES if getattr(settings, name) != getattr(EnvSettings(), name)]:
            _tell_without_effect(task, ", ".join(asked))
        make = make_robosuite if is_robosuite(task) else make_gymnasium
        return make(task, action_repeat=settings.action_repeat)
    render = RenderConfig(width=settings.render_width, height=settings.render_height, fast=settings.render_fast)
    env = make_disturbed(task, settings.disturbance, action_repeat=settings.action_repeat, render=render)
    require_box_action(env.action_space)
    return env


@cache
def _tell_without_effect(task: str, names: str) -> None:
    """Once, however many environments are made."""
    logger.warning("%s: no effect on %s, which draws in its own way; they are for dm_control", names, task)


def make_simulator(
    task: str, env: EnvSettings, *, threads: int | None = None, observe: bool = True
) -> SimulatorWorldModel:
    """The true simulator as a world model that samples the disturbance.

    Args:
        task: of the dm_control suite.
        env: its action repeat and disturbance.
        threads: that step at once; default: all cores.
        observe: whether observations will be read; they take time.

    Raises:
        ValueError: as `require_simulator`.
    """
    require_simulator(task)
    return SimulatorWorldModel(
        task,
        action_repeat=env.action_repeat,
        threads=threads,
        observe=observe,
        disturbance=env.disturbance,
    )


def make_planning_simulator(task: str, settings: PlanningSettings) -> SimulatorWorldModel:
    """The same for a command that plans in it: it computes observations only for an objective that reads them."""
    observe = _reads_observations(settings.objective)
    return make_simulator(task, settings.env, threads=settings.threads or None, observe=observe)


def has_simulator(task: str) -> bool:
    """Whether a task's rewards can be read off a state, so that the true simulator can plan in it."""
    return not (is_gymnasium_id(task) or is_robosuite(task))


def require_simulator(task: str) -> None:
    """Raise a ValueError if a task has no simulator to plan in."""
    if not has_simulator(task):
        raise ValueError(
            f"task={task!r}: the true simulator plans in tasks of the dm_control suite only, whose rewards can be read "
            "off a state; leave out its reference rows, or plan in a learned model"
        )


def make_policy(
    model: WorldModel,
    settings: PlanningSettings,
    *,
    device: torch.device,
    exploration_std: float = 0.0,
    planner: Planner | None = None,
    instead: Objective | None = None,
) -> PlanningPolicy:
    """Model-predictive control in a world model; in a learned one as it is now.

    A model with a value function is planned in under its discount, unless another is asked for. What never varied in
    a model's data, it knows nothing of: such entries of actions are held where they were.

    Args:
        model: to plan in.
        settings: how.
        device: where to compute.
        exploration_std: of noise on the actions.
        planner: in place of the one that the settings name.
        instead: takes the place of the return or the goal, and may read observations; penalties stay.

    Raises:
        ValueError: settings that do not fit together or do not fit the model.
    """
    objective, proposals, held = _objective_in(model, settings.objective), None, None
    planner = planner or make_planner(settings.planner, model.spec.action_size, device=device, compile=settings.compile)
    _tell_of_few_futures(model, settings)
    if isinstance(model, LearnedWorldModel):
        if model.value is not None and settings.proposals:
            _require_room(settings.proposals, planner)
            seeing = PreparedModel(model, central=True, compile=settings.compile)
            proposals = ActorProposals(seeing, horizon=planner.horizon, count=settings.proposals)
        held = model.normaliser.held_actions
        model = PreparedModel(
            model,
            central=settings.particles == 0,
            observe=_reads_observations(objective) or instead is not None,
            compile=settings.compile,
        )
    return PlanningPolicy(
        model,
        planner,
        make_objective(objective, instead=instead),
        make_risk(settings.risk),
        particles=max(1, settings.particles),
        exploration_std=exploration_std,
        proposals=proposals,
        held=held,
    )


def make_foresight(
    policy: LearnedPolicy, model: LearnedWorldModel, settings: PlanningSettings, *, execute: int | None, noise: float
) -> ForesightPolicy:
    """A learned policy whose chunks a world model chooses among.

    Raises:
        ValueError: a goal of another size, or what `ForesightPolicy` raises.
    """
    _tell_of_few_futures(model, settings)
    objective = _objective_in(model, settings.objective)
    seen = _reads_observations(objective)
    return ForesightPolicy(
        policy,
        PreparedModel(model, central=settings.particles == 0, observe=seen, compile=settings.compile),
        make_objective(objective),
        make_risk(settings.risk),
        proposals=settings.proposals,
        particles=max(1, settings.particles),
        execute=execute,
        noise=noise,
    )


def _tell_of_few_futures(model: WorldModel, settings: PlanningSettings) -> None:
    """Warn where what was asked for takes more futures of each candidate than there are."""
    if settings.particles < 2 and settings.risk.name != "mean":
        logger.warning(
            "risk.name=%s has no effect with a single future per candidate; set particles=16", settings.risk.name
        )
    if isinstance(model, LearnedWorldModel) and settings.particles < (members := len(model.members)) > 1:
        logger.warning(
            "of %d ensemble members only the first %d plan; set particles=%d to use all",
            members,
            max(1, settings.particles),
            members,
        )


def make_objective(settings: ObjectiveSettings, *, instead: Objective | None = None) -> Objective:
    """The objective that the settings describe; penalties of weight zero cost nothing.

    Args:
        settings: what to ask for.
        instead: takes the place of the return or the goal; penalties stay.
    """
    terms: list[Objective] = []
    if instead is not None:
        terms.append(instead)
    elif settings.name == "return":
        terms.append(PredictedReturn(discount=settings.discount, value=settings.value))
    else:
        weights = torch.tensor(settings.goal_weights) if settings.goal_weights else 1.0
        terms.append(GoalDistance(torch.tensor(settings.goal), weights, terminal_only=settings.terminal_only))
    if settings.action_penalty:
        terms.append(ActionPenalty(settings.action_penalty))
    if settings.action_rate_penalty:
        terms.append(ActionRatePenalty(settings.action_rate_penalty))
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def _objective_in(model: WorldModel, settings: ObjectiveSettings) -> ObjectiveSettings:
    """Settings that fit a model: its value counts under its own discount, unless another one is asked for.

    Raises:
        ValueError: a goal of another size.
    """
    size = model.spec.observation_size
    fits = settings.name != "goal" or len(settings.goal) == size
    require(fits, "objective.goal", settings.goal, f"{size} numbers, an observation of this task")
    if isinstance(model, LearnedWorldModel) and model.value is not None and settings.discount == 1:
        return replace(settings, discount=model.value.discount)
    return settings


def _require_room(proposals: int, planner: Planner) -> None:
    if not isinstance(planner, SamplingPlanner):
        return  # whoever brings a planner knows what it has room for
    most = planner.most_proposals
    expected = f"at most {most}, for which planner.candidates={planner.config.candidates} leave room"
    require(proposals <= most, "proposals", proposals, f"{expected}; raise planner.candidates, or set proposals={most}")


def _reads_observations(settings: ObjectiveSettings) -> bool:
    return settings.name == "goal"


def make_risk(settings: RiskSettings) -> Risk:
    """The risk rule that the settings name."""
    match settings.name:
        case "worst":
            return Worst()
        case "cvar":
            return CVaR(settings.level)
        case "mean_minus_spread":
            return MeanMinusSpread(settings.level)
    assert settings.name == "mean", settings.name
    return Mean()
