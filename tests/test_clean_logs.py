"""What is wrong with demonstrations is left out on request, and what looks wrong in them is told."""

import json
import re

import h5py
import numpy as np
import pytest

from drift_wm.cli import main
from drift_wm.datasets.minari import MinariDataset
from drift_wm.datasets.readers import read_demonstrations
from drift_wm.datasets.robomimic import RobomimicFile, read_episodes
from helpers import read_results

REMEDY = "drift-wm data convert '{}' out=clean.hdf5 skip_damaged=true writes a file without it"


def write_demo(file, number, *, steps=6):
    """Demo i: a pose of i + t and the same as the simulator's state; every second has rewards."""
    demo = file.create_group(f"data/demo_{number}")
    pose = number + np.arange(steps + 1.0)[:, None] / 10
    demo["obs/pose"], demo["next_obs/pose"] = pose[:-1], pose[1:]
    demo["actions"] = np.linspace(-1, 1, steps)[:, None]
    demo["states"] = pose[:-1]
    if number % 2:
        demo["rewards"] = np.full(steps, float(number))
    demo.attrs["model_file"] = f"scene {number}"
    return demo


@pytest.fixture
def path(tmp_path):
    """Of eight demos, 0 lacks actions, 2 has a NaN, 3 other sizes, 6 a row too few; what is left is 1, 4, 5, 7."""
    path = tmp_path / "my demos.hdf5"
    with h5py.File(path, "w") as file:
        demos = [write_demo(file, number) for number in range(8)]
        del demos[0]["actions"]
        demos[2]["obs/pose"][1] = np.nan
        demos[2]["lost"] = [1]
        del demos[3]["actions"], demos[6]["next_obs/pose"]
        demos[3]["actions"], demos[6]["next_obs/pose"] = np.zeros((6, 2)), np.zeros((5, 1))
        for number in (1, 4, 5, 7):
            demos[number]["kept"] = [1]
        for name, members in {"late": (4, 5, 6, 7), "odd": (1, 3, 5, 7), "bad": (2, 3)}.items():
            file[f"mask/{name}"] = np.array([f"demo_{i}" for i in members], "S")
    return path


def converted(source, folder, *asked):
    """Whether it came to an end, and what `results.json` says."""
    out = folder / "clean.hdf5"
    code = main(["data", "convert", str(source), f"out={out}", f"run_dir={folder}/run", *asked])
    return read_results(folder / "run") if code == 0 else None


@pytest.mark.parametrize(
    ("mask", "left", "out", "masks"),
    [
        (None, [1, 4, 5, 7], [0, 2, 3, 6], {"late": [1, 2, 3], "odd": [0, 2, 3]}),
        ("late", [4, 5, 7], [6], {"late": [0, 1, 2], "odd": [1, 2]}),
    ],
)
def test_damaged_demos_are_left_out_by_name_and_the_rest_stays_together(path, tmp_path, capsys, mask, left, out, masks):
    found = converted(path, tmp_path, "skip_damaged=true", *([] if mask is None else [f"mask={mask}"]))
    assert found["converted"] == len(left)
    assert [re.search(r"demo_\d", told)[0] for told in found["left_out"]] == [f"demo_{i}" for i in out]
    printed = capsys.readouterr().out
    assert all(f"note: left out, as it cannot be read: {told}\n" in printed for told in found["left_out"])
    assert "kept" in found["not_written"], "of demos that were copied"
    assert "lost" not in found["not_written"], "of one that was left out"
    with h5py.File(tmp_path / "clean.hdf5") as file:
        for number, source in enumerate(left):
            demo = file[f"data/demo_{number}"]
            assert demo["obs/pose"][0, 0] == demo["states"][0, 0] == source
            assert demo.attrs["model_file"] == f"scene {source}"
            assert ("rewards" in demo) == bool(source % 2)
            assert not source % 2 or demo["rewards"][0] == source
        members = {name: [int(each[5:]) for each in each_mask[()]] for name, each_mask in file["mask"].items()}
    assert members == masks
    assert len(read_episodes(tmp_path / "clean.hdf5", allow_missing_rewards=True)) == len(left)


def test_without_being_asked_a_damaged_demo_is_an_error_with_the_remedy(path, tmp_path, capsys):
    commands = [
        ["data", "convert", str(path), f"out={tmp_path}/clean.hdf5"],
        ["train", f"data={path}", "allow_missing_rewards=true", "steps=1"],
    ]
    for number, command in enumerate(commands):
        assert main([*command, f"run_dir={tmp_path}/{number}"]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "demo_0 has no array 'actions'" in told
        assert told.endswith(REMEDY.format(path))
    assert not (tmp_path / "clean.hdf5").exists()
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/inspected"]) == 0
    assert "4 of 8 demonstrations cannot be read; training stops at the first; drift-wm data convert" in (
        capsys.readouterr().out
    )


def test_what_is_wrong_with_all_is_not_left_out_of_a_file(path):
    """Here pictures that were asked for; a single one that is no vector is the fault of its demo."""
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/image"] = demo["next_obs/image"] = np.zeros((6, 2, 2))
    told = r"demo_1/obs/image has shape \(6, 2, 2\), .*; choose other keys, or store it flattened"
    with pytest.raises(ValueError, match=f"{told}$"):
        read_episodes(path, obs_keys=["image"], mask="odd")
    with h5py.File(path, "r+") as file:
        for name in ("obs", "next_obs"):
            del file[f"data/demo_5/{name}/image"]
            file[f"data/demo_5/{name}/image"] = np.zeros((6, 4))
    with pytest.raises(ValueError, match=f"{told}; {REMEDY.format(path)}$"):
        read_episodes(path, obs_keys=["image"], mask="odd")


def test_missing_rewards_are_no_damage_that_a_conversion_would_leave_out(path):
    with pytest.raises(ValueError, match=r"set allow_missing_rewards=true to read zeros$"):
        read_episodes(path, mask="late")


def test_if_all_are_damaged_nothing_is_written(path, tmp_path, capsys):
    with h5py.File(path, "r+") as file:
        file["data/demo_3/actions"][0] = np.inf
    assert converted(path, tmp_path, "skip_damaged=true", "mask=bad") is None
    told = capsys.readouterr().err
    assert "none of 2 demonstrations can be read, the first as /data/demo_2/obs: pose[1, 0] is nan" in told
    assert not (tmp_path / "clean.hdf5").exists()


def test_rewards_of_damaged_demos_alone_are_none(path, tmp_path):
    with h5py.File(path, "r+") as file:
        for number in (1, 5, 7):
            del file[f"data/demo_{number}/rewards"]
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    ranges = read_results(tmp_path / "run")["ranges"]
    assert [each["name"] for each in ranges] == ["observations", "actions"]


def test_dones_that_cannot_be_read_damage_one_demo_alone(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file["data/demo_4/dones"] = [b"no"] * 6
    found = converted(path, tmp_path, "skip_damaged=true")
    assert [re.search(r"demo_\d", told)[0] for told in found["left_out"]] == [f"demo_{i}" for i in (0, 2, 3, 4, 6)]


@pytest.fixture
def minari(tmp_path):
    """Four episodes in the bounds of -2 to 6; 0 lacks actions, 2 has a NaN."""
    main_file = tmp_path / "minari" / "data" / "main_data.hdf5"
    main_file.parent.mkdir(parents=True)
    with h5py.File(main_file, "w") as file:
        for number in range(4):
            file[f"episode_{number}/observations"] = np.full((4, 2), np.nan if number == 2 else number)
            if number:
                file[f"episode_{number}/actions"] = np.array([[-2.0], [2.0], [6.0]])
        file["episode_3/rewards"] = np.full(3, 3.0)
    space = {"type": "Box", "low": [-2.0], "high": [6.0]}
    (main_file.parent / "metadata.json").write_text(json.dumps({"action_space": json.dumps(space)}))
    return tmp_path / "minari"


def test_minari_episodes_are_left_out_too(minari, tmp_path):
    with pytest.raises(ValueError, match=r"episode_0 has no actions.*skip_damaged=true writes a file without it$"):
        read_demonstrations(minari, allow_missing_rewards=True)
    found = converted(minari, tmp_path, "skip_damaged=true")
    assert [told.split(" ")[0].rstrip(":") for told in found["left_out"]] == ["/episode_0", "/episode_2"]
    with h5py.File(tmp_path / "clean.hdf5") as file:
        demos = [file[f"data/demo_{i}"] for i in range(found["converted"])]
        assert [demo["obs/observations"][0, 0] for demo in demos] == [1, 3]
        assert ["rewards" in demo for demo in demos] == [False, True]


def test_lerobot_episodes_are_left_out_too(tmp_path):
    """Of three in one file, the second has a null, of which the error names the file alone."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    root = tmp_path / "folder"
    (root / "meta" / "episodes").mkdir(parents=True)
    (root / "data").mkdir()
    features = {name: {"dtype": "float32", "shape": [1]} for name in ("observation.state", "action", "next.reward")}
    info = {"codebase_version": "v3.0", "fps": 10, "features": features, "data_path": "data/{file_index}.parquet"}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    places = {"episode_index": [0, 1, 2], "length": [3] * 3, "data/chunk_index": [0] * 3, "data/file_index": [0] * 3}
    parquet.write_table(pyarrow.table(places), root / "meta" / "episodes" / "0.parquet")
    episodes = np.repeat([0, 1, 2], 3)
    state = [None if row == 4 else float(episode) for row, episode in enumerate(episodes)]
    rows = {"episode_index": episodes, "observation.state": state, "action": [0.5] * 9, "next.reward": [1.0] * 9}
    parquet.write_table(pyarrow.table(rows), root / "data" / "0.parquet")
    found = converted(root, tmp_path, "skip_damaged=true")
    (told,) = found["left_out"]
    assert told.startswith("episode 1: ")
    assert "observation.state" in told
    assert [episode.obs[0, 0] for episode in read_episodes(tmp_path / "clean.hdf5")] == [0, 2]


def bounds_in(file):
    with h5py.File(file) as opened:
        return [opened["data"].attrs[name].tolist() for name in ("action_low", "action_high")]


def test_a_file_keeps_the_bounds_that_its_actions_were_scaled_by(path, tmp_path):
    asked = ["skip_damaged=true", "mask=late"]
    for name in ("one", "two", "three", "four"):
        (tmp_path / name).mkdir()
    converted(path, tmp_path / "one", *asked, "action_low=[-2]", "action_high=[6]")
    first, wanted = tmp_path / "one" / "clean.hdf5", np.linspace(-1, 1, 6)[:, None]
    assert bounds_in(first) == [[-2.0], [6.0]]
    found = converted(first, tmp_path / "two")
    assert bounds_in(tmp_path / "two" / "clean.hdf5") == [[-2.0], [6.0]]
    assert found["not_written"] == []
    # Bounds within [-1, 1] are told in the robot's units, too.
    converted(first, tmp_path / "three", "action_low=[-0.5]", "action_high=[0.25]")
    last = tmp_path / "three" / "clean.hdf5"
    assert bounds_in(last) == [[0.0], [3.0]]
    units = RobomimicFile(last).action_bounds(size=1)
    (found, *_) = read_episodes(last, allow_missing_rewards=True)
    np.testing.assert_allclose(units.from_unit(found.actions), wanted, atol=1e-6)
    converted(path, tmp_path / "four", *asked)
    with h5py.File(tmp_path / "four" / "clean.hdf5") as file:
        assert "action_low" not in file["data"].attrs, "nothing is known of them"


def test_bounds_that_are_none_are_refused(path, tmp_path, capsys):
    with h5py.File(path, "r+") as file:
        file["data"].attrs.update(action_low=[1.0], action_high=[-1.0])
    assert converted(path, tmp_path, "skip_damaged=true") is None
    assert "the attributes action_low and action_high of data: actions from [1.0] to [-1.0]" in capsys.readouterr().err


def test_the_bounds_of_minari_are_kept(minari, tmp_path):
    converted(minari, tmp_path, "skip_damaged=true")
    assert bounds_in(tmp_path / "clean.hdf5") == [[-2.0], [6.0]]
    assert MinariDataset(minari).action_bounds(size=1).from_unit(np.array([0.5])).tolist() == [4.0]


def inspected(tmp_path, columns):
    """The notes on observations of two demos (T, D)."""
    path = tmp_path / "logs.hdf5"
    with h5py.File(path, "w") as file:
        for number, rows in enumerate((columns, columns)):
            demo = file.create_group(f"data/demo_{number}")
            demo["obs/arm"], demo["obs/mass"] = rows, np.full(len(rows), 1.5)
            demo["actions"] = np.column_stack([np.linspace(-1, 1, len(rows)), np.zeros(len(rows))])
            demo["rewards"] = np.zeros(len(rows))
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    return read_results(tmp_path / "run")["warnings"]


def test_entries_that_never_change_are_named(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    rows[:, 1] = 0
    notes = inspected(tmp_path, rows)
    assert "2 of 4 observations never change: arm[1], mass[0]" in notes
    assert "1 of 2 actions never change: action[1]" in notes
    rows = np.zeros((20, 30))
    rows[:, 0] = np.arange(20)
    (told,) = (note for note in inspected(tmp_path, rows) if "observations never change" in note)
    assert told.endswith("arm[20], and 10 more, see results.json")


def test_angles_that_wrap_are_named_and_how_often(tmp_path):
    turning = np.arange(100) * 0.3  # 29.7 radians: over pi five times, and over 2 pi four times
    wrapped, positive = (turning + np.pi) % (2 * np.pi) - np.pi, turning % (2 * np.pi)
    noisy = np.angle(np.exp(1j * np.pi + 0.01j * np.random.default_rng(0).normal(size=100)))
    often = int((np.abs(np.diff(noisy)) > 4).sum())
    notes = inspected(tmp_path, np.column_stack([turning, wrapped, positive, noisy]))
    (told,) = (note for note in notes if "2 pi" in note)
    assert f"wraps: arm[1] (10 times), arm[2] (8 times), arm[3] ({2 * often} times); a model" in told
    assert "sine and cosine" in told


def test_what_leaps_otherwise_is_no_angle(tmp_path):
    random = np.random.default_rng(0)
    time = np.arange(200)
    bounces = np.where(time // 25 % 2, 3.0, -3.0) + 0.1 * random.normal(size=200)  # a speed between walls
    notes = inspected(
        tmp_path,
        np.column_stack(
            [
                np.sin(0.1 * time) * np.pi,
                random.uniform(-np.pi, np.pi, 200),  # every step is another
                np.where(time % 50 < 25, 0.0, 5.0),  # a gripper
                time % 50 * 1.0,  # a counter that starts again
                bounces * random.uniform(0.3, 1.5, 200),
                np.where(time == 60, 100.0, 0.1 * time),  # an outlier
            ]
        ),
    )
    assert not any("2 pi" in note for note in notes)
