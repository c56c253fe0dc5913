"""What a grid consists of: its cells, what they are compared with, and what each is asked."""

import json
from dataclasses import replace
from operator import attrgetter

import pytest

from drift_wm.bench.cells import Cell, ReferenceCell
from drift_wm.bench.grid import grid, overrides_of, reference_cells
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.tasks import PUBLISHED, SUITES
from drift_wm.configs.schema import read_settings
from drift_wm.generators.config import OWN_GENERATORS

SETTINGS = BenchSettings(tasks=["cartpole-swingup", "reacher-easy"], planners=["icem", "mppi"], seeds=[1, 2])


def compose(overrides):
    return read_settings("online", overrides)


def test_every_cell_once_seed_by_seed():
    cells = list(grid(SETTINGS))
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 2
    assert {cell.seed for cell in cells[:8]} == {1}


def asked_of_references(settings):
    return reference_cells(settings, compose)


def test_every_task_has_one_reference_of_chance_and_one_of_each_planner():
    asked = asked_of_references(SETTINGS)
    assert list(asked) == [
        ReferenceCell(task, name, planner)
        for task in ("cartpole-swingup", "reacher-easy")
        for name, planner in (("random", "-"), ("true simulator", "icem"), ("true simulator", "mppi"))
    ]
    assert len({part.folder for part in asked}) == len(asked)
    assert [(found.actor, found.episodes) for found in asked.values()][:2] == [("random", 5), ("simulator", 1)]


def test_references_meet_the_world_and_the_planner_of_the_runs():
    overrides = ["env.action_repeat=4", "planner.candidates=99", "planner.horizon=15", "evaluation_seed=3456"]
    *_, simulator = asked_of_references(BenchSettings(seeds=[3], overrides=overrides)).values()
    assert (simulator.env.action_repeat, simulator.planner.candidates, simulator.planner.horizon) == (4, 99, 15)
    assert simulator.evaluation_seed == 3456


def test_frames_of_a_suite_are_counted_at_its_action_repeat():
    settings = BenchSettings(suite="dmc", tasks=["cartpole-swingup"], overrides=["env.action_repeat=4"])
    with pytest.raises(ValueError, match=r"overrides=\[env.action_repeat=4\]: .* an action repeat of 2; leave it out"):
        asked_of_references(settings)


def test_in_a_suite_the_simulator_looks_as_far_ahead_as_it_must_without_critics():
    settings = BenchSettings(suite="dmc", tasks=["cheetah-run", "cartpole-swingup"], seeds=[1])
    asked = asked_of_references(settings)
    for task, horizon in (("cheetah-run", 20), ("cartpole-swingup", 65)):
        planner = asked[ReferenceCell(task, "true simulator", "icem")].planner
        assert (planner.horizon, planner.initial_std, planner.candidates) == (horizon, 0.5, 256)


def test_references_are_the_same_whatever_models_and_planners_a_grid_grows_by():
    small = BenchSettings(suite="dmc", tasks=["cheetah-run"], models=["drifting"], planners=["mppi"], seeds=[1])
    large = replace(small, models=["gaussian", "drifting", "diffusion"], planners=["cem", "mppi"], seeds=[2, 1])
    before, after = asked_of_references(small), asked_of_references(large)
    assert {part: after[part] for part in before} == before


def test_tasks_without_a_simulator_have_no_ceiling():
    asked = asked_of_references(BenchSettings(tasks=["Hopper-v5"], overrides=["env.action_repeat=1"]))
    assert [part.name for part in asked] == ["random"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": []}, r"seeds=\[\]"),
        ({"suite": "atari"}, "suite='atari': expected empty, demonstrations, or one of dmc"),
        ({"suite": "dmc", "tasks": ["dog-run"]}, r"tasks=\['dog-run'\]: expected tasks of suite=dmc"),
        ({"workers": -1}, "workers=-1"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        BenchSettings(**asked)


def test_a_suite_brings_its_tasks_frames_and_evaluations():
    settings = BenchSettings(suite="dmc", models=["drifting"], seeds=[1])
    cells = list(grid(settings))
    assert [cell.task for cell in cells] == [task.name for task in SUITES["dmc"]]
    for cell, task in zip(cells, SUITES["dmc"], strict=True):
        asked = compose(overrides_of(cell, settings))
        assert asked.episodes * asked.episode_decisions * asked.env.action_repeat == task.frames
        assert (asked.evaluation_episodes, asked.env.action_repeat) == (10, 2)
        assert asked.planner.horizon % asked.model.chunk == 0
        for name, _, value in (override.partition("=") for override in task.overrides):
            assert attrgetter(name)(asked) == json.loads(value), name
        assert asked.progress_every > 0
        assert asked.model.value_discount == 0.97, "of all models alike"
        assert len(task.published) == len(PUBLISHED)


def test_rivals_of_a_suite_plan_as_their_methods_do_and_on_the_same_budget():
    settings = BenchSettings(suite="dmc", models=["drifting", "regression", "gaussian", "diffusion"], seeds=[1])
    asked = {cell.model: compose(overrides_of(cell, settings)) for cell in grid(settings) if cell.task == "cheetah-run"}
    assert asked["gaussian"].particles == asked["gaussian"].model.generator.members == 5, "one future of each"
    assert asked["diffusion"].model.generator.steps == 5
    assert len({str(run.planner) for run in asked.values()}) == 1
    assert len({(run.episodes, run.episode_decisions, run.round_steps) for run in asked.values()}) == 1


def test_a_generator_of_ones_own_is_a_model_of_the_grid():
    OWN_GENERATORS.add("mine")  # as `register_generator` does
    try:
        settings = BenchSettings(models=["drifting", "mine"], seeds=[1])
        asked = {cell.model: compose(overrides_of(cell, settings)) for cell in grid(settings)}
        usual = asked["drifting"].model
        assert asked["mine"].model == replace(usual, generator=replace(usual.generator, name="mine"))
        assert replace(asked["mine"], model=usual) == asked["drifting"]
    finally:
        OWN_GENERATORS.discard("mine")


@pytest.mark.parametrize(
    ("override", "axis"),
    [
        ("model.generator.name=flow", "models"),
        ("model=flow", "models"),
        ("planner=mppi", "planners"),
        ("task=walker-walk", "tasks"),
        ("seed=3", "seeds"),
    ],
)
def test_overrides_do_not_run_something_else_under_the_names_that_are_asked_for(override, axis):
    told = rf"overrides=\[{override}\]: expected none of what .* run under the names in {axis}=; name it there"
    with pytest.raises(ValueError, match=told):
        BenchSettings(overrides=["episodes=7", override])


def test_overrides_come_after_those_of_the_suite():
    settings = BenchSettings(suite="dmc", tasks=["walker-walk"], overrides=["episodes=7"])
    assert compose(overrides_of(Cell("walker-walk", "drifting", "icem", 1), settings)).episodes == 7
