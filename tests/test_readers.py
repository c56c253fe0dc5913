"""Demonstrations in every format, read through one protocol, and what is said of what is missing."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from drift_wm.configs.schema import read_settings
from drift_wm.datasets.lerobot import LeRobotFolder
from drift_wm.datasets.minari import MinariDataset
from drift_wm.datasets.readers import open_demonstrations, read_demonstrations
from drift_wm.datasets.robomimic import RobomimicFile
from drift_wm.recordings.convert import convert
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.storage.run_folder import RunFolder

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

DATA = Path(os.environ.get("DRIFT_WM_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))


def numbers(*shape, start=0):
    return (start + np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


@pytest.fixture
def minari(tmp_path):
    """Two episodes of a dictionary space: 3 and 2 steps, the first of which ended."""
    root = tmp_path / "door-v2"
    (root / "data").mkdir(parents=True)
    with h5py.File(root / "data" / "main_data.hdf5", "w") as file:
        for i, (length, ends) in enumerate([(3, True), (2, False)]):
            group = file.create_group(f"episode_{i}")
            group.attrs["seed"] = 7 if i == 0 else "None"
            group["observations/goal"] = numbers(length + 1, 1, start=100 * i)
            group["observations/robot/joints"] = numbers(length + 1, 2, start=50 + 100 * i)
            group["observations/image"] = np.zeros((length + 1, 4, 4, 3), np.uint8)
            group["actions"] = numbers(length, 2)
            group["rewards"] = np.arange(length, dtype=np.float64)
            group["terminations"] = np.array([False] * (length - 1) + [ends])
    return root


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [2]},
    "observation.images.top": {"dtype": "video", "shape": [48, 64, 3]},
    "observation.gripper": {"dtype": "int64", "shape": [1]},
    "action": {"dtype": "float32", "shape": [3]},
    "episode_index": {"dtype": "int64", "shape": [1]},
}


def lerobot_rows(index, length):
    return {
        "observation.state": pyarrow.array(numbers(length, 2, start=1000 * index).tolist()),
        "observation.gripper": pyarrow.array([index] * length),
        "action": pyarrow.array(numbers(length, 3).tolist()),
        "episode_index": pyarrow.array([index] * length),
    }


def write_info(root, **changed):
    (root / "meta").mkdir(parents=True, exist_ok=True)
    info = {"codebase_version": "v2.1", "fps": 25, "chunks_size": 2, "features": FEATURES, **changed}
    (root / "meta" / "info.json").write_text(json.dumps(info))


@pytest.fixture
def lerobot2(tmp_path):
    """Three episodes of 4, 3 and 5 rows are announced; the second has no file."""
    root = tmp_path / "pick2"
    write_info(root, data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet")
    lengths = [4, 3, 5]
    lines = [json.dumps({"episode_index": i, "length": n}) for i, n in enumerate(lengths)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    for i in (0, 2):
        folder = root / "data" / f"chunk-{i // 2:03d}"
        folder.mkdir(parents=True)
        parquet.write_table(pyarrow.table(lerobot_rows(i, lengths[i])), folder / f"episode_{i:06d}.parquet")
    return root


@pytest.fixture
def lerobot3(tmp_path):
    """Two episodes of 4 and 3 rows in one file, with rewards."""
    root = tmp_path / "pick3"
    write_info(
        root,
        codebase_version="v3.0",
        data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        features=FEATURES | {"next.reward": {"dtype": "float32", "shape": [1]}},
    )
    tables = [
        pyarrow.table(lerobot_rows(i, n) | {"next.reward": pyarrow.array([0.5 + i] * n)}) for i, n in enumerate([4, 3])
    ]
    for name in ("data/chunk-000", "meta/episodes/chunk-000"):
        (root / name).mkdir(parents=True)
    parquet.write_table(pyarrow.concat_tables(tables), root / "data/chunk-000/file-000.parquet")
    episodes = {
        "episode_index": [0, 1],
        "length": [4, 3],
        "data/chunk_index": [0, 0],
        "data/file_index": [0, 0],
    }
    parquet.write_table(pyarrow.table(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    return root


def test_each_path_gets_its_reader(minari, lerobot2, lerobot3, tmp_path):
    assert isinstance(open_demonstrations(minari), MinariDataset)
    assert isinstance(open_demonstrations(minari / "data" / "main_data.hdf5"), MinariDataset)
    assert isinstance(open_demonstrations(lerobot2), LeRobotFolder)
    assert isinstance(open_demonstrations(lerobot3), LeRobotFolder)
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        file.create_group("data")
    assert isinstance(open_demonstrations(tmp_path / "demos.hdf5"), RobomimicFile)


def test_what_is_no_number_is_told_by_its_key(minari, lerobot3):
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        file["episode_1/observations/robot/joints"][2, 1] = np.nan
    with pytest.raises(ValueError, match=r"/episode_1: robot/joints\[2, 1\] is nan, expected finite numbers"):
        read_demonstrations(minari)
    assert read_demonstrations(minari, obs_keys=["goal"])
    columns = lerobot_rows(0, 4) | {"observation.gripper": pyarrow.array([0.0, 1.0, np.inf, 1.0])}
    columns |= {"next.reward": pyarrow.array([0.5] * 4)}
    parquet.write_table(pyarrow.table(columns), lerobot3 / "data/chunk-000/file-000.parquet")
    with pytest.raises(ValueError, match=r"episode 0: observation.gripper\[2, 0\] is inf, expected finite numbers"):
        next(iter(open_demonstrations(lerobot3).episodes()))


def test_minari_is_read_with_its_last_observation(minari):
    first, second = read_demonstrations(minari)
    assert (first.obs.shape, len(first), first.terminated, first.seed) == ((4, 3), 3, True, 7)
    assert (len(second), second.terminated, second.seed) == (2, False, None)
    np.testing.assert_array_equal(first.obs[1], [1, 52, 53])  # goal, then robot/joints; no image
    np.testing.assert_array_equal(first.rewards, [0, 1, 2])
    (joints, _) = read_demonstrations(minari, obs_keys=["robot/joints"])
    assert joints.obs.shape == (4, 2)
    assert first.source == "door-v2"


def box(low, high):
    return {"type": "Box", "dtype": "float32", "shape": [len(low)], "low": low, "high": high}


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (box([-2.0, 0.0], [2.0, 10.0]), [[0, -0.8], [1, -0.4], [2, 0]]),
        (
            {"type": "Dict", "subspaces": {"b": box([0.0], [10.0]), "a": box([-2.0], [2.0])}},
            [[0, -0.8], [1, -0.4], [2, 0]],
        ),
        ({"type": "Tuple", "subspaces": [box([-2.0], [2.0]), box([0.0], [10.0])]}, [[0, -0.8], [1, -0.4], [2, 0]]),
        (box([-1.0, -1.0], [1.0, 1.0]), [[0, 1], [2, 3], [4, 5]]),
        (box([-np.inf, 0.0], [np.inf, 10.0]), [[0, 1], [2, 3], [4, 5]]),
        ({"type": "Discrete", "n": 3}, [[0, 1], [2, 3], [4, 5]]),
    ],
)
def test_actions_of_minari_are_read_in_the_units_of_a_planner(minari, space, expected):
    (minari / "data" / "metadata.json").write_text(json.dumps({"action_space": json.dumps(space)}))
    np.testing.assert_allclose(read_demonstrations(minari)[0].actions, expected, atol=1e-6)
    told = open_demonstrations(minari).describe().warnings
    mapped = expected[0][1] == -0.8
    assert told == (("actions are read in [-1, 1] of the robot's -2 to 2, 0 to 10",) if mapped else ())


def test_minari_tells_the_environment_it_was_recorded_in(minari):
    assert recorded_task(str(minari)) is None
    spec = {"id": "Hopper-v5", "kwargs": {}}
    (minari / "data" / "metadata.json").write_text(json.dumps({"env_spec": json.dumps(spec)}))
    assert recorded_task(str(minari)) == {"name": "Hopper-v5", "action_repeat": 1}
    for strange in ("[]", '"x"', '{"id": 3}'):
        (minari / "data" / "metadata.json").write_text(json.dumps({"env_spec": strange}))
        assert recorded_task(str(minari)) is None


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (
            {"type": "Tuple", "subspaces": [box([-(10.0**i)], [10.0**i]) for i in range(11)]},
            {f"_index_{i}": 10.0**i for i in range(11)},
        ),
        (
            {
                "type": "Dict",
                "subspaces": {
                    "arm": {"type": "Dict", "subspaces": {"q": box([-2.0], [2.0])}},
                    "arm-2": box([-9.0], [9.0]),
                },
            },
            {"arm/q": 2.0, "arm-2": 9.0},
        ),
    ],
)
def test_bounds_of_joined_actions_are_those_of_their_own_columns(minari, space, names):
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            length = len(group["actions"])
            del group["actions"]
            for name, bound in names.items():
                group[f"actions/{name}"] = np.full((length, 1), bound, np.float32)
    (minari / "data" / "metadata.json").write_text(json.dumps({"action_space": json.dumps(space)}))
    for episode in read_demonstrations(minari):
        np.testing.assert_allclose(episode.actions, 1)


def test_minari_0_4_states_its_spaces_in_the_file_itself(minari):
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        file.attrs["action_space"] = json.dumps(box([-2.0, 0.0], [2.0, 10.0]))
        file.attrs["env_spec"] = json.dumps({"id": "Hopper-v4"})
    np.testing.assert_allclose(read_demonstrations(minari)[0].actions, [[0, -0.8], [1, -0.4], [2, 0]], atol=1e-6)
    assert recorded_task(str(minari)) == {"name": "Hopper-v4", "action_repeat": 1}
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        file.attrs["action_space"] = "nonsense"
    with pytest.raises(ValueError, match=r"main_data\.hdf5: action_space is damaged"):
        read_demonstrations(minari)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"action_space": "nonsense"}',
        '{"action_space": "[]"}',
        '{"action_space": "{\\"type\\": \\"Box\\"}"}',
    ],
)
def test_metadata_of_minari_that_are_damaged_are_named(minari, content):
    (minari / "data" / "metadata.json").write_text(content)
    with pytest.raises(ValueError, match=r"data/metadata\.json.* is damaged"):
        read_demonstrations(minari)


def test_text_and_compressed_pictures_of_minari_are_left_out_and_told(minari):
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            rows = len(group["observations/goal"])
            group["observations/mission"] = ["go to the door"] * rows
            group.create_dataset("observations/eye", (rows,), h5py.vlen_dtype(np.uint8))
    assert read_demonstrations(minari)[0].obs.shape == (4, 3)
    found = open_demonstrations(minari).describe()
    assert found.unread_keys == tuple(
        f"observations/{key} holds object, no numbers, and is not read" for key in ("eye", "mission")
    )
    assert found.flat_keys == ("goal", "robot/joints")


def test_minari_is_described(minari):
    found = open_demonstrations(minari).describe()
    assert (found.format, found.episodes, found.steps, found.action_size) == ("Minari", 2, 5, 2)
    assert found.obs_shapes == {"goal": (1,), "robot/joints": (2,), "image": (4, 4, 3)}


def test_observations_of_minari_behind_links_are_read_by_all_their_names(minari):
    file = minari / "data" / "main_data.hdf5"
    with h5py.File(file, "r+") as opened:
        for i in range(2):
            observations = opened[f"episode_{i}/observations"]
            observations["again"] = observations["goal"]  # a hard link
            observations["arm"] = h5py.SoftLink("robot/joints")
    (first, _) = read_demonstrations(minari, obs_keys=["again", "arm", "goal"])
    np.testing.assert_array_equal(first.obs[1], [1, 52, 53, 1])
    with h5py.File(file, "r+") as opened:
        opened["episode_0/observations/else"] = h5py.ExternalLink("else.hdf5", "/x")
    with pytest.raises(ValueError, match=r"observations/else is a link to another file, else\.hdf5"):
        read_demonstrations(minari)


def test_lerobot_2_names_what_is_absent_and_can_skip_it(lerobot2):
    described = open_demonstrations(lerobot2).describe()
    assert (described.format, described.episodes, described.steps) == ("LeRobot v2.1", 2, 9)
    assert described.decision_seconds == 1 / 25
    assert described.warnings == ("1 of 3 announced episodes have no file: 1", "no rewards are recorded")
    assert described.obs_shapes["observation.images.top"] == (48, 64, 3)
    with pytest.raises(
        ValueError, match=r"episode 1 is announced, but data/chunk-000/episode_000001\.parquet is absent"
    ):
        read_demonstrations(lerobot2, allow_missing_rewards=True)
    first, last = read_demonstrations(lerobot2, allow_missing_rewards=True, skip_missing=True)
    assert (len(first), len(last)) == (3, 4), "nothing is seen after the last action"
    np.testing.assert_array_equal(last.obs[:2], [[2, 2000, 2001], [2, 2002, 2003]])  # gripper, then state
    np.testing.assert_array_equal(first.actions[1], [3, 4, 5])


def test_lerobot_episodes_that_were_cut_short_are_missing_as_well(lerobot2, lerobot3):
    """A whole file of version 2.1, and one of several episodes in a file of version 3.0."""
    file = lerobot2 / "data/chunk-001/episode_000002.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 2), file)
    shared = lerobot3 / "data/chunk-000/file-000.parquet"
    parquet.write_table(parquet.read_table(shared).slice(0, 5), shared)
    for root, index in ((lerobot2, 2), (lerobot3, 1)):
        described = open_demonstrations(root).describe()
        assert (described.episodes, described.steps) == (1, 4)
        assert any(f"have fewer or more rows than announced: {index}" in warning for warning in described.warnings)
        (only,) = read_demonstrations(root, allow_missing_rewards=True, skip_missing=True)
        assert len(only) == 3
    with pytest.raises(ValueError, match=r"episode 1 is announced, but data/.*file-000\.parquet holds 1 of its 3 rows"):
        read_demonstrations(lerobot3)


@pytest.mark.parametrize("stored", ["in order", "reversed"])
def test_lerobot_rewards_of_last_rows_are_told_to_be_dropped(lerobot3, stored):
    """LeRobot writes what an action earned into its own row, so a reward for success lies in the last."""
    file = lerobot3 / "data/chunk-000/file-000.parquet"
    success = pyarrow.array([0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 1.0])
    table = parquet.read_table(file).set_column(4, "next.reward", success)
    frames = pyarrow.array([0, 1, 2, 3, 0, 1, 2])
    table = table.append_column("frame_index", frames)
    parquet.write_table(table.take([6, 5, 4, 3, 2, 1, 0]) if stored == "reversed" else table, file)
    write_info(
        lerobot3,
        codebase_version="v3.0",
        data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        features=FEATURES
        | {"next.reward": {"dtype": "float32", "shape": [1]}, "frame_index": {"dtype": "int64", "shape": [1]}},
    )
    (note,) = open_demonstrations(lerobot3).describe().dropped_rewards
    assert note.startswith("2 of 3 rewards that are not 0 are in the last rows of episodes")
    assert [list(episode.rewards) for episode in read_demonstrations(lerobot3)] == [[0, 0, 0.5], [0, 0]]


def test_lerobot_3_reads_its_episodes_out_of_one_file(lerobot3):
    first, second = read_demonstrations(lerobot3, obs_keys=["observation.state"])
    assert (len(first), len(second)) == (3, 2)
    np.testing.assert_array_equal(second.obs[0], [1000, 1001])
    np.testing.assert_array_equal(second.rewards, [1.5, 1.5])


def test_rows_of_lerobot_come_in_the_order_of_time(lerobot3):
    (wanted, other) = read_demonstrations(lerobot3)
    file = lerobot3 / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file).append_column("frame_index", pyarrow.array([0, 1, 2, 3, 0, 1, 2]))
    parquet.write_table(table.take(pyarrow.array([2, 5, 0, 3, 4, 1, 6])), file)
    for found, expected in zip(read_demonstrations(lerobot3), (wanted, other), strict=True):
        np.testing.assert_array_equal(found.obs, expected.obs)
        np.testing.assert_array_equal(found.actions, expected.actions)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ([0, 1, 3, 4, 0, 1, 2], r"episode 0 has frame_index 3 after 1, and so in 1 of 3 places"),
        ([0, 1, 2, 3, 1, 0, 1], r"episode 1 has frame_index 1 after 1, and so in 1 of 2 places"),
    ],
)
def test_frames_of_lerobot_that_are_doubled_or_left_out_are_refused(lerobot3, frames, told):
    file = lerobot3 / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file).append_column("frame_index", pyarrow.array(frames))
    parquet.write_table(table, file)
    with pytest.raises(ValueError, match=rf"file-000\.parquet: {told}"):
        read_demonstrations(lerobot3)


def replace_column(file, name, values):
    table = parquet.read_table(file)
    parquet.write_table(table.set_column(table.schema.get_field_index(name), name, pyarrow.array(values)), file)


def test_lerobot_tells_of_ends_that_have_no_effect(lerobot3):
    assert open_demonstrations(lerobot3).describe().ignored_ends == ()
    info = json.loads((lerobot3 / "meta/info.json").read_text())
    info["features"]["next.done"] = {"dtype": "bool", "shape": [1]}
    (lerobot3 / "meta/info.json").write_text(json.dumps(info))
    (told,) = open_demonstrations(lerobot3).describe().ignored_ends
    assert told.startswith("next.done is ignored")


def test_rewards_of_lerobot_in_several_columns_are_refused(lerobot3):
    replace_column(lerobot3 / "data/chunk-000/file-000.parquet", "next.reward", [[0.0, 7.0]] * 7)
    with pytest.raises(ValueError, match=r"file-000\.parquet: episode 0: next\.reward has 2 columns, expected 1; sum"):
        read_demonstrations(lerobot3)


def test_lerobot_numbers_that_float32_cannot_tell_apart_are_told(lerobot3, caplog):
    replace_column(
        lerobot3 / "data/chunk-000/file-000.parquet", "observation.state", [[1e9 + i, float(i)] for i in range(7)]
    )
    read_demonstrations(lerobot3)
    (record,) = caplog.records
    assert f"{lerobot3}: observation.state lies so far from zero" in record.getMessage()


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
def test_discrete_actions_of_minari_are_refused(minari, kind):
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            length = len(group["actions"])
            del group["actions"]
            group["actions"] = np.ones(length, kind)
    with pytest.raises(
        ValueError, match=r"episode_0/actions holds .* of shape \(3,\), expected floating-point actions"
    ):
        read_demonstrations(minari)


def test_rewards_that_are_missing_are_an_error_unless_allowed(lerobot2, minari):
    with pytest.raises(ValueError, match="no rewards are recorded; set allow_missing_rewards=true"):
        read_demonstrations(lerobot2)
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_0/rewards"]
    with pytest.raises(ValueError, match="episode_0 has no rewards"):
        read_demonstrations(minari)
    assert read_demonstrations(minari, allow_missing_rewards=True)[0].rewards.tolist() == [0, 0, 0]


def test_a_name_of_files_cannot_lead_out_of_the_folder(lerobot2):
    for pattern, message in (
        ("../../secret/{episode_index}.parquet", "leads out of the dataset's folder"),
        ("data/{version}.parquet", "expected only"),
    ):
        write_info(lerobot2, data_path=pattern)
        with pytest.raises(ValueError, match=message):
            read_demonstrations(lerobot2, allow_missing_rewards=True)
    write_info(lerobot2, data_path="data/{episode_index.__class__}.parquet")
    with pytest.raises(ValueError, match="is absent"):  # nothing but numbers is filled in
        read_demonstrations(lerobot2, allow_missing_rewards=True)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: write_info(root, codebase_version="v1.6"), "codebase_version is 'v1.6'"),
        (lambda root: write_info(root, features={}), "features has no 'action'"),
        (lambda root: (root / "meta/info.json").write_text("{"), "expected the description of a LeRobot dataset"),
        (lambda root: (root / "meta/episodes.jsonl").unlink(), "expected a line of JSON for each episode"),
        (
            lambda root: (root / "data/chunk-000/episode_000000.parquet").write_bytes(b"PAR1"),
            "000000.parquet.* is damaged",
        ),
    ],
)
def test_a_broken_lerobot_dataset_says_what_is_broken(lerobot2, break_it, message):
    write_info(lerobot2, data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet")
    break_it(lerobot2)
    with pytest.raises(ValueError, match=message):
        read_demonstrations(lerobot2, allow_missing_rewards=True, skip_missing=True)


@pytest.mark.parametrize("keys", [["observation.velocity"], []])
def test_keys_that_are_not_there_are_named(lerobot2, minari, keys):
    message = "no observation|no low-dimensional"
    with pytest.raises(ValueError, match=message):
        read_demonstrations(lerobot2, obs_keys=keys, allow_missing_rewards=True)
    with pytest.raises(ValueError, match=message):
        read_demonstrations(minari, obs_keys=keys)


@pytest.mark.parametrize("keys", [["action"], ["next.reward"]])
def test_what_is_not_known_before_an_action_is_no_observation(lerobot3, keys):
    with pytest.raises(ValueError, match=f"no observation '{keys[0]}', found .*'episode_index'"):
        read_demonstrations(lerobot3, obs_keys=keys)


def converted(path, folder, *asked):
    """What convert says of a dataset."""
    settings = read_settings("data-convert", [f"data={path}", f"out={folder}/new.hdf5", *asked])
    return convert(settings, RunFolder(folder / "run"))


def test_convert_writes_any_column_that_training_can_read_and_names_the_others(lerobot3, tmp_path):
    keys = ["episode_index", "observation.state"]
    found = converted(lerobot3, tmp_path, "obs_keys=[episode_index,observation.state]")
    assert (found["obs_keys"], found["not_written"]) == (keys, ["observation.gripper", "observation.images.top"])
    written, read = read_demonstrations(tmp_path / "new.hdf5"), read_demonstrations(lerobot3, obs_keys=keys)
    for one, other in zip(written, read, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)


def test_convert_names_what_it_does_not_write_of_minari(minari, tmp_path):
    with h5py.File(minari / "data" / "main_data.hdf5", "r+") as file:
        file["episode_1/truncations"], file["episode_1/infos/qpos"] = np.zeros(2), np.zeros((3, 4))
    assert converted(minari, tmp_path)["not_written"] == ["image", "infos", "truncations"]


def test_subsets_are_robomimics(lerobot2, minari):
    for path in (lerobot2, minari):
        with pytest.raises(ValueError, match=r"mask='train': expected none.*leave out mask=$"):
            read_demonstrations(path, mask="train", allow_missing_rewards=True)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a dataset of LeRobot"):
        open_demonstrations(tmp_path)


@pytest.mark.skipif(not DATA.exists(), reason=f"no real data at {DATA}; set DRIFT_WM_DATA")
def test_a_real_robots_log_is_read():
    path = DATA / "unitree_g1_pick_bottle"
    found = open_demonstrations(path).describe()
    assert (found.episodes, found.action_size, found.decision_seconds) == (32, 26, 1 / 30)
    assert found.warnings[0] == "68 of 100 announced episodes have no file: 32-99"
    episodes = open_demonstrations(path, skip_missing=True).episodes(allow_missing_rewards=True)
    first = next(episodes)
    assert (first.obs.shape, first.actions.shape) == ((479, 26), (478, 26))
