"""What a grid consists of: runs of models, what they are compared with, and what each of them is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from drift_wm.bench.cells import NO_PLANNER, Cell, GridResults, ReferenceCell
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.tasks import suite_model, suite_task
from drift_wm.build import has_simulator
from drift_wm.env_settings import EnvSettings
from drift_wm.generators.config import OWN_GENERATORS
from drift_wm.planners.icem import ICEMConfig
from drift_wm.results import RANDOM, SIMULATOR
from drift_wm.settings import EvaluateSettings, OnlineSettings, PlanningSettings
from drift_wm.wording import counted

Compose = Callable[[list[str]], OnlineSettings]
"""Overrides of `online` -> its settings."""

_SHOWN = 10
"""Runs that a sentence lists."""
_ACTION_REPEAT = EnvSettings().action_repeat
_SUITE_OVERRIDES = (
    "model.value_discount=0.97",
    "exploration_std=0.2",
    "evaluation_episodes=10",
    "progress_every=6",
    "progress_episodes=3",
)
"""Of every model of a suite alike."""


def grid(settings: BenchSettings) -> Iterator[Cell]:
    """Every cell, seed by seed, so that a table with one seed everywhere is there early."""
    for seed in settings.seeds:
        for task in settings.tasks:
            for planner in settings.planners:
                for model in settings.models:
                    yield Cell(task, model, planner, seed)


def unfinished(settings: BenchSettings, results: GridResults) -> list[str]:
    """What to say of the runs that a grid asks for and that are not among its results; nothing if all are."""
    done, asked = {Cell.of(result) for result in results.cells}, list(grid(settings))
    left = [f"{cell.task} {cell.model} {cell.planner}, seed {cell.seed}" for cell in asked if cell not in done]
    if not left:
        return []
    shown = "; ".join(left[:_SHOWN]) + ("; ..." if len(left) > _SHOWN else "")
    return [f"{len(left)} of {counted(len(asked), 'run')} are not finished, and not in the table: {shown}"]


def overrides_of(cell: Cell, settings: BenchSettings) -> list[str]:
    """What to ask of `online` for a cell."""
    of_model = suite_model(cell.model) if suite_task(settings.suite, cell.task) else ()
    return [
        f"task={cell.task}",
        f"model.generator.name={cell.model}" if cell.model in OWN_GENERATORS else f"model={cell.model}",
        f"planner={cell.planner}",
        f"seed={cell.seed}",
        *_of_suite(cell.task, settings),
        *of_model,
        *settings.overrides,
    ]


def reference_cells(settings: BenchSettings, compose: Compose) -> dict[ReferenceCell, EvaluateSettings]:
    """What to ask of `evaluate`: for every task chance, and each planner in the true simulator where there is one.

    It depends on nothing that a grid may grow by: not on its models, and chance not on its planners.
    """
    asked: dict[ReferenceCell, EvaluateSettings] = {}
    for task in settings.tasks:
        of_task = (f"task={task}", *_of_suite(task, settings), *settings.overrides)
        if count := settings.reference_random_episodes:
            run = compose([f"planner={settings.planners[0]}", *of_task])  # overrides may be of this planner alone
            chance = replace(_evaluation(run, "random", count), planner=ICEMConfig())
            asked[ReferenceCell(task, RANDOM, NO_PLANNER)] = chance
        if not (count := settings.reference_simulator_episodes) or not has_simulator(task):
            continue
        for planner in settings.planners:
            run = compose([f"planner={planner}", *of_task])
            ahead = run.planner
            if allowed := suite_task(settings.suite, task):
                # A narrow search is for those whose critics see on.
                ahead = replace(ahead, horizon=allowed.simulator_horizon, initial_std=type(ahead)().initial_std)
            # Episodes one after the other, so that a stop loses no more than one.
            asked[ReferenceCell(task, SIMULATOR, planner)] = replace(
                _evaluation(run, "simulator", count), planner=ahead, batch=1
            )
    return asked


def _of_suite(task: str, settings: BenchSettings) -> tuple[str, ...]:
    """What a suite asks of a run of a task, whatever its model."""
    if (allowed := suite_task(settings.suite, task)) is None:
        return ()
    for override in settings.overrides:
        if override.partition("=")[0] == "env.action_repeat":
            raise ValueError(
                f"overrides=[{override}]: suite={settings.suite} counts frames, and compares returns, at an action "
                f"repeat of {_ACTION_REPEAT}; leave it out, or name tasks without a suite"
            )
    decisions = allowed.episode_decisions
    episodes = allowed.frames // (decisions * _ACTION_REPEAT)
    cut = (f"episodes={episodes}", f"episode_decisions={decisions}")
    return (*cut, *allowed.overrides, *_SUITE_OVERRIDES)


def _evaluation(run: OnlineSettings, actor: str, episodes: int) -> EvaluateSettings:
    """Episodes in the world of a run."""
    shared = {each.name: getattr(run, each.name) for each in fields(PlanningSettings)}
    return EvaluateSettings(**shared, actor=actor, episodes=episodes, evaluation_seed=run.evaluation_seed, video=False)
