"""`evaluate checkpoint=RUN` plans as the run did, unless something else is asked."""

import json

import pytest

from drift_wm.configs.schema import PLANNERS, read_settings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.run_folder import RunFolder


def run_of(folder, *asked, command="online"):
    settings = read_settings(command, list(asked))
    RunFolder(folder).write_config(command, settings)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "round_0000.pt").touch()
    return settings


MPPI = ("planner=mppi", "planner.horizon=10", "planner.candidates=32", "planner.execute=mean")
REST = (
    "risk.name=cvar",
    "risk.level=0.1",
    "particles=4",
    "proposals=7",
    "objective.goal=[0.5,-1]",
    "objective.name=goal",
)


@pytest.mark.parametrize("command", ["evaluate", "collect"])
@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/round_0000.pt"])
def test_it_is_repeated_from_wherever_the_checkpoint_is_named(tmp_path, caplog, command, place):
    learned = run_of(tmp_path / "a run", *MPPI, *REST)
    with caplog.at_level("INFO"):
        found = read_settings(command, [f"checkpoint='{tmp_path / 'a run' / place}'", "actor=model"])
    assert found.planner == learned.planner == MPPIConfig(horizon=10, candidates=32, execute="mean")
    for name in ("risk", "objective", "particles", "proposals"):
        assert getattr(found, name) == getattr(learned, name), name
    assert "planner=mppi, 10 decisions ahead" in caplog.text


def test_what_is_asked_comes_first(tmp_path):
    run_of(tmp_path, *MPPI, *REST)
    asked = [f"checkpoint={tmp_path}", "planner.candidates=99", "particles=1"]
    found = read_settings("evaluate", asked)
    assert (found.planner.candidates, found.planner.horizon, found.particles, found.proposals) == (99, 10, 1, 7)
    other = read_settings("evaluate", [*asked, "planner=icem"])
    assert other.planner == ICEMConfig(candidates=99, execute="mean"), "with settings of its own"


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_every_planner_is_repeated_or_that_it_cannot_be_is_said(tmp_path, caplog, planner):
    learned = run_of(tmp_path, f"planner={planner}", "planner.horizon=15")
    found = read_settings("evaluate", [f"checkpoint={tmp_path}"])
    assert found.planner == learned.planner or "give planner=..." in caplog.text


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


def test_a_strangers_config_brings_no_code(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "cvar")
    run_of(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["risk"]["name"] = "${oc.env:SECRET}"
    config["planner"]["execute"] = "mean} +x=1"
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_settings("evaluate", [f"checkpoint={tmp_path}"])
    assert (found.risk.name, found.planner.execute) == ("mean", "mean")
