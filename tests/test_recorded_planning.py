"""`evaluate checkpoint=RUN` plans as the run did, unless something else is asked."""

import json
import logging

import pytest

from drift_wm.configs.schema import read_settings
from drift_wm.planners.factory import PLANNERS
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.storage.run_folder import RunFolder


def run_of(folder, *asked, command="online"):
    settings = read_settings(command, list(asked))
    RunFolder(folder).write_config(command, settings)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "round_0000.pt").touch()
    return settings


def change_record(folder, change):
    file = folder / "config.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


MPPI = ("planner=mppi", "planner.horizon=10", "planner.candidates=32", "planner.execute=mean")
REST = (
    "risk.name=cvar",
    "risk.level=0.1",
    "particles=4",
    "proposals=7",
    "objective.goal=[0.5,-1]",
    "objective.name=goal",
)


def warnings(caplog) -> list[str]:
    """What was said above the level of information, which other tests may have turned on."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("command", ["evaluate", "collect"])
@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/round_0000.pt"])
def test_it_is_repeated_from_wherever_the_checkpoint_is_named(tmp_path, caplog, command, place):
    learned = run_of(tmp_path / "a run", *MPPI, *REST)
    with caplog.at_level("INFO"):
        found = read_settings(command, [f"checkpoint='{tmp_path / 'a run' / place}'", "actor=model"])
    assert found.planner == learned.planner == MPPIConfig(horizon=10, candidates=32, execute="mean")
    for name in ("risk", "objective", "particles", "proposals"):
        assert getattr(found, name) == getattr(learned, name), name
    assert "planner=mppi, horizon 10 decisions, " in caplog.text


def test_what_is_asked_comes_first(tmp_path):
    run_of(tmp_path, *MPPI, *REST)
    asked = [f"checkpoint={tmp_path}", "planner.candidates=99", "particles=1"]
    found = read_settings("evaluate", asked)
    assert (found.planner.candidates, found.planner.horizon, found.particles, found.proposals) == (99, 10, 1, 7)
    other = read_settings("evaluate", [*asked, "planner=icem"])
    assert other.planner == ICEMConfig(candidates=99, execute="mean"), "with settings of its own"


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_every_planner_is_repeated(tmp_path, caplog, planner):
    learned = run_of(tmp_path, f"planner={planner}", "planner.horizon=15")
    assert json.loads((tmp_path / "config.json").read_text())["planner_name"] == planner
    found = read_settings("evaluate", [f"checkpoint={tmp_path}"])
    assert found.planner == learned.planner
    assert type(found.planner) is type(learned.planner)
    assert not warnings(caplog)


@pytest.mark.parametrize(
    ("planner", "found", "said"),
    [
        ("mppi", "mppi", ""),
        ("cem", "cem", ""),
        ("random_shooting", "icem", "(random_shooting or predictive_sampling); give planner=..."),
    ],
)
def test_planners_of_runs_that_did_not_record_their_name_are_told_by_their_settings(
    tmp_path, caplog, planner, found, said
):
    run_of(tmp_path, f"planner={planner}")
    change_record(tmp_path, lambda record: record.pop("planner_name"))
    assert type(read_settings("evaluate", [f"checkpoint={tmp_path}"]).planner) is PLANNERS[found]
    assert said in caplog.text
    assert bool(said) == bool(warnings(caplog))


def test_a_planner_that_grew_since_is_known_by_its_name(tmp_path, caplog):
    run_of(tmp_path, "planner=mppi", "planner.horizon=15")
    change_record(tmp_path, lambda record: record["planner"].pop("temperature"))
    found = read_settings("evaluate", [f"checkpoint={tmp_path}"])
    assert found.planner == MPPIConfig(horizon=15)
    assert not warnings(caplog)


@pytest.mark.parametrize("name", ["mine", "${oc.env:HOME}", 3, ["mppi"], None])
def test_a_planner_that_this_version_lacks_is_said(tmp_path, caplog, name):
    run_of(tmp_path, "planner=random_shooting")
    change_record(tmp_path, lambda record: record.update(planner_name=name))
    assert read_settings("evaluate", [f"checkpoint={tmp_path}"]).planner == ICEMConfig(execute="mean")
    assert "give planner=..." in caplog.text


def test_policies_and_other_commands_have_nothing_to_repeat(tmp_path):
    run_of(tmp_path / "online", *MPPI)
    assert read_settings("evaluate", [f"checkpoint={tmp_path / 'online'}", "actor=policy"]).planner.horizon == 50
    assert read_settings("collect", [f"checkpoint={tmp_path / 'online'}"]).planner.horizon == 50, "noise acts"
    run_of(tmp_path / "train", "data=demos.hdf5", command="train")
    assert read_settings("evaluate", [f"checkpoint={tmp_path / 'train'}"]).planner.horizon == 50
    assert read_settings("evaluate", [f"checkpoint={tmp_path / 'nowhere'}"]).planner.horizon == 50


@pytest.mark.parametrize("content", ["{", "[]", '{"command": "online", "planner": 3, "risk": []}'])
def test_a_config_that_is_none_is_passed_over(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert read_settings("evaluate", [f"checkpoint={tmp_path}"]).planner.horizon == 50


@pytest.mark.parametrize(("damage", "why"), [("{", "not JSON"), (None, "no config.json beside it")])
def test_where_the_record_is_lost_it_is_told_that_defaults_stand_for_it(tmp_path, caplog, damage, why):
    run_of(tmp_path, *MPPI)
    record = tmp_path / "config.json"
    record.unlink() if damage is None else record.write_text(damage)
    found = read_settings("evaluate", [f"checkpoint={tmp_path}/checkpoints/round_0000.pt"])
    assert found.planner == ICEMConfig()
    (said,) = warnings(caplog)
    assert "how its run was set is not known" in said
    assert why in said


def test_a_strangers_config_brings_no_code(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "cvar")
    run_of(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["risk"]["name"] = "${oc.env:SECRET}"
    config["planner"]["execute"] = "mean} +x=1"
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_settings("evaluate", [f"checkpoint={tmp_path}"])
    assert (found.risk.name, found.planner.execute) == ("mean", "mean")


@pytest.mark.parametrize("place", ["", "checkpoints/round_000.pt"])
def test_a_child_has_the_shape_of_its_parent(tmp_path, place):
    parent = tmp_path / "a run"
    shaped = ["model=gaussian", "model.history=2", "model.generator.width=24", "model.generator.steps=4"]
    RunFolder(parent).write_config("train", read_settings("train", ["data=demos.hdf5", *shaped]))
    (parent / "checkpoints").mkdir()
    (parent / "checkpoints" / "round_000.pt").touch()
    asked = ["data=more.hdf5", f"from='{parent / place}'"]
    settings = read_settings("train", asked)
    assert (settings.kind, settings.model.history) == ("world_model", 2)
    assert (settings.model.generator.name, settings.model.generator.members) == ("gaussian", 5)
    assert settings.model.generator.width == 24
    assert read_settings("train", [*asked, "model.generator.width=8"]).model.generator.width == 8, "as asked"
    other = read_settings("train", [*asked, "model=drifting"]).model
    assert (other.history, other.generator.name, other.generator.width) == (1, "drifting", 128)


def test_a_child_policy_has_the_shape_of_its_parent(tmp_path):
    RunFolder(tmp_path).write_config(
        "train", read_settings("train", ["data=demos.hdf5", "kind=policy", "policy.chunk=3"])
    )
    settings = read_settings("train", ["data=more.hdf5", f"from={tmp_path}"])
    assert (settings.kind, settings.policy.chunk) == ("policy", 3)
