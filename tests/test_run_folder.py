import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drift_wm.recordings.settings import InspectSettings
from drift_wm.settings import EvaluateSettings, TrainSettings
from drift_wm.storage.run_folder import (
    RunFolder,
    default_path,
    describe_environment,
    read_json,
    write_json,
)


@dataclass
class Inner:
    size: int = 3


@dataclass
class Asked:
    task: str = "cartpole-swingup"
    seed: int = 1
    run_dir: str | None = None
    inner: Inner = field(default_factory=Inner)
    limit: float = math.inf


def test_config_is_kept_and_continuing_needs_the_same_settings(tmp_path):
    folder = RunFolder(tmp_path / "a" / "run")
    folder.write_config("online", Asked())
    assert json.loads((folder.path / "config.json").read_text())["inner"] == {"size": 3}
    folder.write_config("online", Asked(run_dir="elsewhere"))  # where it runs is not what it does
    with pytest.raises(ValueError, match=r"other settings: inner\.size \(there 3, asked 4\)\. .*another run_dir"):
        folder.write_config("online", Asked(inner=Inner(4)))
    with pytest.raises(ValueError, match=r"holds a run of 'online', not of 'train'; choose another run_dir"):
        folder.write_config("train", Asked())


def test_a_config_is_forgotten_only_where_nothing_was_done(tmp_path):
    grid, part = RunFolder(tmp_path / "grid"), RunFolder(tmp_path / "grid" / "part")
    for folder in (grid, part):
        folder.write_config("online", Asked())
    grid.forget_config()
    assert (grid.path / "config.json").exists(), "the part's is a file besides"
    part.forget_config()
    assert not part.path.exists()
    (grid.path / "empty").mkdir()
    grid.forget_config()
    assert not grid.path.exists()
    begun = RunFolder(tmp_path / "begun")
    begun.write_config("online", Asked())
    (begun.path / "replay.hdf5").touch()
    begun.forget_config()
    assert not begun.write_config("online", Asked()), "it stands for what was done"


def test_what_was_in_a_folder_before_is_not_removed_with_a_request_that_was_refused(tmp_path):
    mine = tmp_path / "mine"
    for empty in (mine / "notes" / "2026", mine / "runs"):
        empty.mkdir(parents=True)
    folder = RunFolder(mine)
    folder.write_config("online", Asked())
    assert folder.forget_config()
    assert sorted(path.name for path in mine.rglob("*")) == ["2026", "notes", "runs"]
    (mine / "disk").symlink_to(tmp_path / "unplugged")
    folder.write_config("online", Asked())
    assert not folder.forget_config(), "a link is something besides, wherever it leads"


def test_a_folder_that_cannot_be_removed_is_left_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path())
    folder.write_config("online", Asked())
    folder.forget_config()
    assert os.listdir(tmp_path) == []


def test_what_may_change_is_kept_as_it_was_asked_last(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.write_config("bench", Asked(), may_change=["seed"])
    assert not folder.write_config("bench", Asked(seed=2), may_change=["seed"])
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 2
    with pytest.raises(ValueError, match="other settings: task"):
        folder.write_config("bench", Asked(task="walker-walk", seed=3), may_change=["seed"])
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 2


@pytest.mark.parametrize("name", ["results.json", "report.html", "environment.json"])
def test_files_of_others_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=f"holds {name}, and no config.json"):
        RunFolder(tmp_path).write_config("train", TrainSettings(data="x.hdf5"))
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_config_of_others_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text('{"my": "own"}')
    with pytest.raises(ValueError, match=r"config\.json is not one that drift-wm wrote"):
        RunFolder(tmp_path).write_config("train", TrainSettings(data="x.hdf5"))


def test_results_round_trip(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_results() is None
    folder.write_results({"mean": 1.5, "bad": math.nan, "list": (1, math.inf)})
    assert folder.read_results() == {"mean": 1.5, "bad": None, "list": [1, None]}


def test_a_read_only_folder_is_refused_with_a_remedy(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)  # root ignores permission bits
    with pytest.raises(PermissionError, match=r"cannot write to the run folder.*run_dir=") as caught:
        RunFolder(tmp_path / "run")
    assert "run" in str(caught.value)


def test_a_full_disk_is_refused_with_a_remedy(tmp_path, monkeypatch):
    def refuse(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(OSError, match=r"No space left on device.*free space"):
        RunFolder(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == [], "what was begun would stand in the way of a corrected request"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(FileExistsError, match="cannot write to the run folder"):
        RunFolder(tmp_path / "run")


def test_json_is_never_half_written(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b'{"a": ', dict, r"x\.json: not JSON \(.*\); copy the run folder again, or set run_dir="),
        (b"\xff\xfe{", dict, r"x\.json: not JSON"),
        (b"[1]", dict, r"x\.json: \[1\], expected a JSON object; "),
        (b'{"a": 1}', list, r"x\.json: \{'a': 1\}, expected a JSON list; "),
    ],
)
def test_damaged_json_is_refused_by_name(tmp_path, content, kind, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(path, kind)


def test_damaged_files_of_a_run_folder_are_refused_by_name(tmp_path):
    folder = RunFolder(tmp_path)
    for name, ask in (
        ("config.json", lambda: folder.write_config("online", Asked())),
        ("model.json", lambda: folder.require_model("a")),
        ("results.json", folder.read_results),
    ):
        (tmp_path / name).write_text('{"half": ')
        with pytest.raises(ValueError, match=rf"{name}: not JSON"):
            ask()


def test_environment_names_versions_and_machine():
    found = describe_environment()
    assert found["packages"]["torch"]
    assert found["cores"] >= 1
    assert found["processor"]


@pytest.mark.parametrize(
    ("program", "typed"),
    [("bin/drift-wm", "drift-wm"), ("lib/drift_wm/__main__.py", "python -m drift_wm"), ("mine.py", "mine.py")],
)
def test_environment_tells_what_to_type_again(monkeypatch, program, typed):
    monkeypatch.setattr("sys.argv", [program, "bench", "seeds=[1, 2]"])
    assert describe_environment()["command_line"] == f"{typed} bench 'seeds=[1, 2]'"


def test_default_path_tells_command_task_and_seed():
    path = default_path("online", Asked(seed=7))
    assert path.parts[:2] == ("runs", "online")
    assert path.name.startswith("cartpole-swingup-seed7-")
    assert default_path("bench", object()).name.startswith("bench-")
    assert default_path("data-inspect", InspectSettings(data="logs/door.hdf5")).name.startswith("door-")
    logged = default_path("train", TrainSettings(data="logs/door.hdf5", seed=2))
    assert logged.name.startswith("door-seed2-")
    judged = EvaluateSettings(task="walker-walk", checkpoint="runs/mine/")
    assert default_path("evaluate", judged).name.startswith("mine-")
