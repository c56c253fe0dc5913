"""The door: every YAML composes to a settings object, and mistakes are explained."""

from pathlib import Path

import pytest

from drift_wm.configs.schema import COMMANDS, PLANNERS, describe_settings, read_settings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.settings import (
    CollectSettings,
    EvaluateSettings,
    ObjectiveSettings,
    OnlineSettings,
    PlanningSettings,
    RiskSettings,
    RunSettings,
    TrainSettings,
)

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
NEEDED = {"train": ["data=x.hdf5"], "evaluate": ["checkpoint=x"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes_without_flags(command):
    assert isinstance(read_settings(command, NEEDED.get(command, [])), COMMANDS[command])


def test_every_yaml_is_reached():
    commands = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert commands == set(COMMANDS)
    assert {path.stem for path in (CONFIGS / "planner").glob("*.yaml")} == set(PLANNERS)


@pytest.mark.parametrize("planner", PLANNERS)
def test_planner_group_chooses_the_class(planner):
    settings = read_settings("online", [f"planner={planner}", "planner.horizon=20"])
    assert type(settings.planner) is PLANNERS[planner]
    assert settings.planner.horizon == 20


@pytest.mark.parametrize("model", [path.stem for path in (CONFIGS / "model").glob("*.yaml")])
def test_model_group(model):
    generator = read_settings("online", [f"model={model}"]).model.generator
    assert generator.name == ("regression" if model == "regression" else "drifting")


def test_overrides_of_the_readme():
    settings = read_settings("online", ["task=cartpole-swingup", "planner=icem", "model.chunk=10", "seed=3"])
    assert (settings.task, settings.model.chunk, settings.seed) == ("cartpole-swingup", 10, 3)
    assert isinstance(settings.planner, ICEMConfig)
    mppi = read_settings("collect", ["planner=mppi", "planner.temperature=0.5", "actor=simulator"])
    assert isinstance(mppi.planner, MPPIConfig)
    assert mppi.planner.temperature == 0.5


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["planner.horizn=3"], r"horizn.*Did you mean.*planner\.horizon"),
        (["sede=3"], "sede.*Did you mean.*seed"),
        (["planner=sorcery"], "sorcery"),
        (["model.chunk=many"], "many"),
        (["seed=-1"], "seed=-1: expected"),
        (["planner.horizon=0"], r"planner\.horizon is 0"),
        (["planner.temperature=1"], "temperature"),
        (["planner"], "'planner' is not a setting: expected name=value"),
        (["=3"], "'=3' is not a setting"),
        (["+model._target_=os.system"], "is not a setting"),
        (["~model"], "is not a setting"),
        (["model._target_=os.system"], "_target_"),
    ],
)
def test_mistakes_are_explained(overrides, match):
    with pytest.raises(ValueError, match=match):
        read_settings("online", overrides)


def test_help_lists_every_setting_with_its_meaning():
    for command in COMMANDS:
        rows = describe_settings(command)
        assert rows
        for setting, meaning in rows:
            assert meaning, f"{command}: {setting} has no docstring"
    assert ("planner.elites=10", "Best candidates that mean and standard deviation are refitted to.") in (
        describe_settings("online")
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: RunSettings(threads=-1), "threads=-1"),
        (lambda: PlanningSettings(particles=0), "particles=0"),
        (lambda: PlanningSettings(exploration_std=-1), "exploration_std=-1"),
        (lambda: ObjectiveSettings(name="glory"), "glory"),
        (lambda: ObjectiveSettings(name="goal"), r"objective\.goal"),
        (lambda: RiskSettings(name="yolo"), "yolo"),
        (lambda: CollectSettings(actor="model"), "checkpoint=None.*actor=simulator"),
        (lambda: CollectSettings(actor="cat"), "actor='cat'"),
        (lambda: CollectSettings(episodes=0), "episodes=0"),
        (lambda: TrainSettings(), "data=''.*data=demos.hdf5"),
        (lambda: TrainSettings(data="x", steps=0), "steps=0"),
        (lambda: TrainSettings(data="x", held_out_fraction=1.0), "held_out_fraction"),
        (lambda: OnlineSettings(episodes=1, random_episodes=2), "episodes=1.*random_episodes=2"),
        (lambda: OnlineSettings(round_steps=0), "round_steps=0"),
        (lambda: EvaluateSettings(checkpoint="x", batch=0), "batch=0"),
    ],
)
def test_wrong_values_are_refused_by_name(make, match):
    with pytest.raises(ValueError, match=match):
        make()
