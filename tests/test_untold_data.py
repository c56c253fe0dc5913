"""Data that would otherwise be left out, doubled or misread without a word."""

import json

import h5py
import numpy as np
import pytest

from drift_wm.cli import main
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.readers import open_demonstrations, read_demonstrations
from drift_wm.datasets.robomimic import RobomimicFile, read_episodes
from helpers import write_lerobot


def write(path, *, demos=4, rows=6, change=lambda demo, i: None):
    with h5py.File(path, "w") as file:
        for i in range(demos):
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/pose"] = np.random.default_rng(i).normal(size=(rows, 3))
            demo["actions"] = np.zeros((rows, 1))
            demo["rewards"] = np.zeros(rows)
            change(demo, i)
    return path


def episodes(count, *, steps=5):
    rng = np.random.default_rng(0)
    for _ in range(count):
        obs, actions = rng.normal(size=(steps + 1, 2)), rng.uniform(-1, 1, size=(steps, 1))
        yield Episode(obs.astype(np.float32), actions.astype(np.float32), np.zeros(steps, np.float32), terminated=False)


def test_observations_that_are_no_vectors_are_named(tmp_path):
    def change(demo, i):
        demo["obs/frame"] = np.zeros((6, 4, 4))
        demo["obs/camera"] = np.zeros((6, 8, 8, 3), np.uint8)  # nobody expects it to be read

    (note,) = RobomimicFile(write(tmp_path / "demos.hdf5", change=change)).describe().unread_keys
    assert (
        note == "obs/frame has rows of shape (4, 4), no vectors, and is not read; to learn from it, store it as (T, 16)"
    )


def test_so_are_those_of_lerobot(tmp_path):
    folder = write_lerobot(tmp_path / "log", list(episodes(2)))
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["observation.frame"] = {"dtype": "float32", "shape": [4, 4]}
    (folder / "meta/info.json").write_text(json.dumps(info))
    (note,) = open_demonstrations(folder).describe().unread_keys
    assert "observation.frame has rows of shape (4, 4)" in note


def test_a_key_within_a_group_that_some_demos_lack_is_named(tmp_path):
    def change(demo, i):
        demo["obs/arm/left"] = np.zeros((6, 2))
        if i > 0:
            demo["obs/arm/right"] = np.zeros((6, 2))

    (note,) = RobomimicFile(write(tmp_path / "demos.hdf5", change=change)).describe().unread_keys
    assert note == "1 of 4 demos have no obs/arm/right: the first is one of these, so it is not read"


@pytest.mark.parametrize("dones", [[0, 0, 0, 0, np.nan, 0], [b"no"] * 6])
def test_dones_that_say_nothing_are_no_ends(tmp_path, dones):
    path = write(tmp_path / "demos.hdf5", change=lambda demo, i: demo.create_dataset("dones", data=dones))
    assert not any("every demo ends" in note for note in RobomimicFile(path).describe().ignored_ends)
    with pytest.raises(ValueError, match="dones"):
        read_episodes(path)


def test_an_order_of_keys_that_others_wrote_is_understood(tmp_path):
    path = write(tmp_path / "demos.hdf5")
    with h5py.File(path, "r+") as file:
        file["data"].attrs["obs_keys"] = "pose"
    assert main(["data", "convert", str(path), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/run"]) == 0
    assert RobomimicFile(tmp_path / "new.hdf5").describe().flat_keys == ("pose",)


def announce(folder, total, lines=lambda lines: lines):
    info = json.loads((folder / "meta/info.json").read_text()) | {"total_episodes": total}
    (folder / "meta/info.json").write_text(json.dumps(info))
    file = folder / "meta/episodes.jsonl"
    file.write_text("\n".join(lines(file.read_text().splitlines())))
    return folder


def test_lerobot_metadata_that_stop_early_are_told(tmp_path):
    folder = announce(write_lerobot(tmp_path / "log", list(episodes(4))), 4, lambda lines: lines[:3])
    told = "meta announces 3 of total_episodes = 4 episodes"
    assert told in open_demonstrations(folder).describe().warnings
    with pytest.raises(ValueError, match=f"{told}; download the rest"):
        read_demonstrations(folder)
    assert len(read_demonstrations(folder, skip_missing=True)) == 3


def test_lerobot_episodes_are_announced_once(tmp_path):
    folder = announce(write_lerobot(tmp_path / "log", list(episodes(3))), 3, lambda lines: [*lines, lines[1]])
    with pytest.raises(ValueError, match="meta announces episodes 1 more than once"):
        read_demonstrations(folder, skip_missing=True)


def test_a_comparison_does_not_go_on_with_other_data(tmp_path, capsys):
    folder = write_lerobot(tmp_path / "log", list(episodes(12, steps=40)), lacking=(10, 11))
    asked = [
        "robot_training=6",
        "robot_horizon=30",
        "world_models=[regression]",
        "robot_steps=2",
        "seeds=[1]",
        "workers=1",
    ]
    command = ["bench", "suite=demonstrations", "parts=[robot]", f"robot={folder}", f"run_dir={tmp_path}/run", *asked]
    assert main(command) == 0
    assert main(command) == 0
    whole = write_lerobot(tmp_path / "whole", list(episodes(12, steps=40)))
    for number in (10, 11):
        (whole / f"data/{number}.parquet").rename(folder / f"data/{number}.parquet")
    assert main(command) == 2
    assert "other demonstrations than this comparison began with" in capsys.readouterr().err


def test_data_that_are_refused_leave_a_comparison_unbegun(tmp_path, capsys):
    """Also where those of another part were read before: the corrected request finds no other settings there."""
    log, door = write_lerobot(tmp_path / "log", list(episodes(3))), write(tmp_path / "door.hdf5")
    command = ["bench", "suite=demonstrations", "parts=[policies,robot]", "task=Pendulum-v1", f"door={door}"]
    assert main([*command, f"robot={log}", "robot_training=9", f"run_dir={tmp_path}/run"]) == 2
    assert "expected fewer than the 3 episodes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
