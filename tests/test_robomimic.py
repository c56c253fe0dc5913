import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from drift_wm.datasets.hdf5 import open_hdf5
from drift_wm.datasets.robomimic import RobomimicFile, read_episodes
from drift_wm.datasets.robomimic_notes import every_demo_is_done

REAL_DATA = Path(os.environ.get("DRIFT_WM_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL_FILE = REAL_DATA / "adroit_door_human" / "door_human_25.hdf5"


def write_demo(file, number, *, length=4, without=()):
    """One complete demo. Rows count upwards from 100 times the number; a row is constant in `b`. Odd ones are done."""
    demo = file.create_group(f"data/demo_{number}")
    rows = 100.0 * number + np.arange(length + 1)
    for group, part in (("obs", rows[:-1]), ("next_obs", rows[1:])):
        demo[f"{group}/b"] = np.repeat(part[:, None], 2, axis=1)
        demo[f"{group}/a"] = -part
        demo[f"{group}/actions"] = np.zeros((length, 3))
        demo[f"{group}/camera_image"] = np.zeros((length, 5, 6, 3), np.uint8)
    demo["actions"] = np.repeat(rows[:-1, None], 3, axis=1)
    demo["rewards"] = rows[:-1]
    demo["dones"] = np.eye(length, dtype=np.int64)[-1] * (number % 2)
    demo["states"] = np.repeat(rows[:-1, None], 7, axis=1)
    for name in without:
        del demo[name]
    return demo


@pytest.fixture
def path(tmp_path):
    return tmp_path / "demos.hdf5"


def write_file(path, numbers=(0, 1), **kwargs):
    with h5py.File(path, "w") as file:
        for number in numbers:
            write_demo(file, number, **kwargs)


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replace(path, name, values):
    def change(file):
        del file[name]
        file[name] = values

    edit(path, change)


def test_a_negative_seed_is_none(path):
    write_file(path)
    edit(path, lambda file: file["data/demo_0"].attrs.update(seed=-1))
    assert read_episodes(path)[0].seed is None


def test_a_complete_demo_is_read(path):
    write_file(path)
    episode = read_episodes(path)[1]
    assert (len(episode), episode.source, episode.seed) == (4, "demos.hdf5", None)
    assert episode.obs.dtype == episode.actions.dtype == episode.rewards.dtype == np.float32
    assert episode.obs.tolist() == [[-row, row, row] for row in (100, 101, 102, 103, 104)]
    assert episode.actions.tolist() == [[row] * 3 for row in (100, 101, 102, 103)]
    assert episode.rewards.tolist() == [100, 101, 102, 103]
    assert episode.terminated
    # The state after the last action is not in the file.
    assert episode.states is None


def test_without_next_obs_the_last_transition_is_dropped(path):
    write_file(path, without=["next_obs"])
    episode = read_episodes(path)[0]
    assert len(episode) == 3
    assert episode.obs[:, 0].tolist() == [0, -1, -2, -3]
    assert episode.actions[:, 0].tolist() == episode.rewards.tolist() == [0, 1, 2]
    assert not episode.terminated
    assert episode.states is not None
    assert episode.states[:, 0].tolist() == [0, 1, 2, 3]


def test_keys_are_concatenated_in_the_given_order(path):
    write_file(path)
    assert read_episodes(path, obs_keys=["b", "a"])[0].obs[1].tolist() == [1, 1, -1]
    assert read_episodes(path, obs_keys=["b"])[0].obs.shape == (5, 2)


def test_demos_come_in_the_order_of_their_numbers(path):
    write_file(path, numbers=[10, 2, 33])
    edit(path, lambda file: file["data"].attrs.update(total=3901))
    assert [episode.rewards[0] for episode in read_episodes(path)] == [200, 1000, 3300]


def test_missing_dones_are_no_termination(path):
    write_file(path, without=["dones"])
    assert not read_episodes(path)[0].terminated


def test_missing_rewards_are_an_error_unless_allowed(path):
    write_file(path, without=["rewards"])
    with pytest.raises(ValueError, match=r"demos\.hdf5: /data/demo_0 has no rewards; set allow_missing_rewards=true"):
        read_episodes(path)
    assert read_episodes(path, allow_missing_rewards=True)[0].rewards.tolist() == [0, 0, 0, 0]


def test_nested_states_of_isaac_lab_are_left_out(path):
    write_file(path, without=["states", "next_obs", "dones"])
    edit(path, lambda file: file["data/demo_0"].create_group("states/articulation"))
    edit(path, lambda file: file["data/demo_0"].create_group("obs/datagen_info"))
    episode = read_episodes(path)[0]
    assert episode.states is None
    assert episode.obs.shape == (4, 3)


@pytest.mark.parametrize("entries", [np.array([b"demo_3", b"demo_1"]), ["demo_3", "demo_1"]])
def test_a_mask_selects_demos(path, entries):
    write_file(path, numbers=[1, 2, 3])
    edit(path, lambda file: file.create_dataset("mask/train", data=entries))
    assert [episode.rewards[0] for episode in read_episodes(path, mask="train")] == [100, 300]
    assert RobomimicFile(path).describe().masks == {"train": 2}


def test_bad_masks_are_refused(path):
    write_file(path)
    with pytest.raises(ValueError, match=r"no mask/train, as this file has no subsets; leave out mask=$"):
        read_episodes(path, mask="train")
    edit(path, lambda file: file.create_dataset("mask/valid", data=np.array([b"demo_0", b"demo_7"])))
    edit(path, lambda file: file.create_dataset("mask/none", data=np.array([], "S1")))
    with pytest.raises(ValueError, match=r"no mask/train, this file has \['none', 'valid'\]; choose one of them, or"):
        read_episodes(path, mask="train")
    with pytest.raises(ValueError, match=r"mask/valid names \['demo_7'\]"):
        read_episodes(path, mask="valid")
    with pytest.raises(ValueError, match="mask/none is empty"):
        read_episodes(path, mask="none")


def test_describe(path):
    write_file(path, length=6, without=["next_obs"])
    found = RobomimicFile(path).describe()
    assert (found.episodes, found.steps, found.action_size, found.masks) == (2, 12, 3, {})
    assert found.obs_shapes == {"a": (), "actions": (3,), "b": (2,), "camera_image": (5, 6, 3)}


def test_a_column_of_rewards_and_flat_actions_are_accepted(path):
    write_file(path, numbers=[0])
    replace(path, "data/demo_0/rewards", np.ones((4, 1)))
    replace(path, "data/demo_0/actions", np.arange(4.0))
    episode = read_episodes(path)[0]
    assert (episode.rewards.shape, episode.actions.shape) == ((4,), (4, 1))
    assert RobomimicFile(path).describe().action_size == 1


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("rewards", np.zeros(3), "rewards has shape .3,., expected 4 rows like actions; repair or remove"),
        ("rewards", np.zeros((4, 2)), r"rewards has shape \(4, 2\), expected one number for each action"),
        ("rewards", 0.0, r"rewards has shape \(\), expected rows"),
        ("dones", np.zeros(5), r"demo_0/dones has shape \(5,\), expected 4 rows"),
        ("states", np.zeros((3, 7)), "demo_0/states has shape"),
        ("obs/b", np.zeros((6, 2)), "demo_0/obs/b has shape"),
        ("next_obs/b", np.zeros((3, 2)), "demo_0/next_obs/b has shape"),
        ("actions", np.zeros((4, 2, 2)), r"demo_0/actions has shape \(4, 2, 2\), expected .T,. or"),
        ("actions", np.zeros((0, 3)), r"demo_0/actions has no rows.*; repair or remove this demo"),
        (
            "obs/b",
            np.array([[0, 1], [0, 1], [0, np.nan], [0, 1]]),
            r"demos\.hdf5: /data/demo_0/obs: b\[2, 1\] is nan.*leave out",
        ),
        ("next_obs/a", np.array([0, -1, np.inf, -3]), r"/data/demo_0/next_obs: a\[2, 0\] is inf"),
        ("actions", np.full((4, 3), 1e300), r"actions\[0, 0\] is inf"),
        ("actions", np.array([b"x"] * 4), "demo_0/actions holds .S1, expected numbers"),
    ],
)
def test_a_faulty_array_is_named(path, name, values, message):
    write_file(path)
    replace(path, f"data/demo_0/{name}", values)
    with pytest.raises(ValueError, match=message):
        read_episodes(path)


def test_where_every_demo_ends_with_done_none_tells_of_the_end_of_a_world(path):
    write_file(path, numbers=(1, 3))
    assert not any(episode.terminated for episode in read_episodes(path))
    assert any("every demo ends with done" in warning for warning in RobomimicFile(path).describe().ignored_ends)
    edit(path, lambda file: [demo.attrs.__setitem__("terminated", True) for demo in file["data"].values()])
    assert all(episode.terminated for episode in read_episodes(path)), "what is told is believed"
    write_file(path, numbers=(0, 1))
    assert [episode.terminated for episode in read_episodes(path)] == [False, True]


@pytest.mark.parametrize("odd", ["no dones", "no rows", "told"])
def test_one_odd_demo_does_not_turn_the_dones_of_the_others_into_ends(path, odd):
    write_file(path, numbers=(1, 3, 5))
    if odd == "no dones":
        edit(path, lambda file: file.__delitem__("data/demo_3/dones"))
    elif odd == "no rows":
        replace(path, "data/demo_3/dones", np.zeros(0))
    else:
        edit(path, lambda file: file["data/demo_3"].attrs.__setitem__("terminated", True))
    with open_hdf5(path) as file:
        assert every_demo_is_done(list(file["data"].values()), path)
    if odd != "no rows":
        assert [episode.terminated for episode in read_episodes(path)] == [False, odd == "told", False]


def test_dones_without_effect_are_named(path):
    write_file(path)
    assert RobomimicFile(path).describe().ignored_ends == ()
    for number in (0, 1):
        edit(path, lambda file, number=number: file.__delitem__(f"data/demo_{number}/next_obs"))
    (note,) = RobomimicFile(path).describe().ignored_ends
    assert note.startswith("1 of 2 demos end with done, or are terminated, and have no next_obs")
    replace(path, "data/demo_1/dones", [0, 0, 1, 1])
    assert RobomimicFile(path).describe().ignored_ends == (), "what the last row says is told one row before as well"
    assert read_episodes(path)[1].terminated
    replace(path, "data/demo_0/dones", [0, 1, 0, 0])
    (note,) = RobomimicFile(path).describe().ignored_ends
    assert note.startswith("1 of 2 demos have done in their midst and no next_obs")


def test_an_attribute_tells_of_ends_as_dones_do(path):
    write_file(path, numbers=(0, 1, 2), without=["dones"])
    edit(path, lambda file: [demo.attrs.__setitem__("terminated", True) for demo in file["data"].values()])
    found = RobomimicFile(path).describe()
    assert not any("known to have ended" in warning for warning in found.warnings)
    assert found.ignored_ends == ()
    edit(path, lambda file: [demo.__delitem__("next_obs") for demo in file["data"].values()])
    (note,) = RobomimicFile(path).describe().ignored_ends
    assert note.startswith("3 of 3 demos end with done, or are terminated, and have no next_obs")
    assert not any(episode.terminated for episode in read_episodes(path))


def test_keys_that_are_text_or_that_some_demos_lack_are_named(path):
    write_file(path, numbers=(0, 1, 2))
    assert RobomimicFile(path).describe().unread_keys == ()

    def change(file):
        file["data/demo_0/obs/words"] = np.array([b"go"] * 4)
        file["data/demo_0/next_obs/words"] = np.array([b"go"] * 4)
        for number in (1, 2):
            file[f"data/demo_{number}/obs/c"] = np.zeros((4, 1))
        del file["data/demo_2/obs/b"]

    edit(path, change)
    text, b, c, words = RobomimicFile(path).describe().unread_keys
    assert text.startswith("obs/words holds |S2, no numbers")
    assert b.startswith("1 of 3 demos have no obs/b: a demo without it cannot be read")
    assert c == "1 of 3 demos have no obs/c: the first is one of these, so it is not read"
    assert words.startswith("2 of 3 demos have no obs/words")
    assert read_episodes(path, obs_keys=["a"])[0].obs.shape[1] == 1
    edit(path, lambda file: file["data"].__delitem__("demo_2"))
    assert read_episodes(path)[0].obs.shape[1] == 3
    with pytest.raises(ValueError, match=r"obs/words holds \|S2, expected numbers"):
        read_episodes(path, obs_keys=["words"])


def test_rows_far_from_zero_that_do_not_follow_each_other_are_no_demo_either(path):
    """With one left out; beside what it is, such an entry moves by less than a thousandth."""
    write_file(path)
    for shift, message in ((1000.0, "is not obs"), (0.0, "is not obs")):
        for name in ("obs/a", "next_obs/a"):
            values = shift + 0.1 * np.array([0, 1, 3, 4]) + 0.1 * (name == "next_obs/a")
            replace(path, f"data/demo_0/{name}", values)
        with pytest.raises(ValueError, match=message):
            read_episodes(path)
    for name in ("obs/a", "next_obs/a"):
        values = 1000 + 0.1 * np.arange(4.0) + (0.1 + 2e-5 if name == "next_obs/a" else 0)
        replace(path, f"data/demo_0/{name}", values)
    read_episodes(path)  # what differs by rounding is the same


@pytest.mark.parametrize("rows", [[0, 2, 1, 3], [0, 1, 3, 4]])
def test_rows_that_do_not_follow_each_other_are_no_demo(path, rows):
    """Shuffled, or with one left out."""
    write_file(path)
    for name in ("obs/a", "next_obs/a"):
        values = -np.array(rows, float) - (name == "next_obs/a")
        replace(path, f"data/demo_0/{name}", values)
    with pytest.raises(ValueError, match=r"demo_0: next_obs\[\d\] is not obs\[\d\], nor is it in \d of 4 rows"):
        read_episodes(path)


def test_numbers_that_float32_cannot_tell_apart_are_named_once(path, caplog):
    """A position in a national grid, or seconds since 1970."""
    write_file(path)
    for number in (0, 1):
        for group, start in (("obs", 0.0), ("next_obs", 0.1)):
            replace(path, f"data/demo_{number}/{group}/a", 4.1e6 + start + 0.1 * np.arange(4))
    read_episodes(path)
    told = [record.message for record in caplog.records if "lies so far from zero" in record.message]
    assert len(told) == 2, "of obs/a and next_obs/a"
    assert told[0].startswith(f"{path}: obs/a lies so far")
    caplog.clear()
    replace(path, "data/demo_0/obs/a", 4.1e3 + 0.1 * np.arange(4))
    read_episodes(path, obs_keys=["b"])
    assert not caplog.records


@pytest.mark.parametrize("value", [0.3, 1e6 / 3])
def test_a_constant_whose_deviation_is_rounding_is_not_told_of(path, caplog, value):
    assert np.full(50, 0.3).std() > 0
    write_file(path, length=50, without=["next_obs"])
    for number in (0, 1):
        replace(path, f"data/demo_{number}/obs/a", np.full((50, 1), value))
    read_episodes(path)
    assert not caplog.records


def test_links_to_other_files_are_not_called_damage(path):
    write_file(path, numbers=(0,))
    with h5py.File(path.with_name("many.hdf5"), "w") as file:
        file["data/demo_0"] = h5py.ExternalLink(path.name, "data/demo_0")
        file["data/demo_1"] = h5py.ExternalLink("gone.hdf5", "data/demo_0")
    for read in (read_episodes, lambda many: RobomimicFile(many).describe()):
        with pytest.raises(ValueError, match=r"demo_0 is a link to another file, demos\.hdf5, which is not followed"):
            read(path.with_name("many.hdf5"))


def test_a_single_step_without_next_obs_is_no_episode(path):
    write_file(path, length=1, without=["next_obs"])
    with pytest.raises(ValueError, match=r"demo_0: its only action has no observation after it; store"):
        read_episodes(path)


def test_bad_keys_are_refused(path):
    write_file(path)
    with pytest.raises(ValueError, match=r"demos\.hdf5: no observation 'c', found \['a', 'actions'"):
        read_episodes(path, obs_keys=["c"])
    with pytest.raises(ValueError, match=r"camera_image has shape .*images are not learned from"):
        read_episodes(path, obs_keys=["camera_image"])
    with pytest.raises(ValueError, match="name at least one"):
        read_episodes(path, obs_keys=[])
    edit(path, lambda file: file["data/demo_1/next_obs"].pop("a"))
    with pytest.raises(ValueError, match="/data/demo_1/next_obs has no array 'a'"):
        read_episodes(path)


def test_foreign_files_are_refused(path):
    with pytest.raises(ValueError, match=r"demos\.hdf5: no such file; check"):
        read_episodes(path)
    path.write_text("plain text")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        read_episodes(path)
    with h5py.File(path, "w") as file:
        file["observations"] = [1.0]
    with pytest.raises(ValueError, match=r"no group data, found \['observations'\]; expected data/demo_0/actions"):
        RobomimicFile(path).describe()
    with h5py.File(path, "w") as file:
        file.create_group("data/episode_0")
    with pytest.raises(ValueError, match=r"no demo_<i>, found \['episode_0'\]"):
        RobomimicFile(path).describe()
    write_file(path, without=["obs"])
    with pytest.raises(ValueError, match=r"/data/demo_0 has no group obs, .*dataset_states_to_obs"):
        read_episodes(path)
    edit(path, lambda file: file["data/demo_0"].create_dataset("obs", data=np.zeros((4, 2))))
    with pytest.raises(ValueError, match=r"demo_0/obs is an array of shape \(4, 2\), .*store it as obs/state"):
        read_episodes(path)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, kept):
    write_file(path, length=50)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=r"truncated HDF5 file .* copy it again"):
        read_episodes(path)


def test_damage_inside_an_array_is_named(path):
    write_file(path, numbers=[0])

    def compress(file):
        del file["data/demo_0/actions"]
        file.create_dataset("data/demo_0/actions", data=np.zeros((4, 3)), compression="gzip")

    edit(path, compress)
    with h5py.File(path) as file:
        place = file["data/demo_0/actions"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"demo_0/actions is damaged .*copy the file again"):
        read_episodes(path)


@pytest.mark.parametrize("error", [PermissionError, BlockingIOError])
def test_denied_access_is_not_called_damage(path, monkeypatch, error):
    write_file(path)

    def deny(*args):
        raise error("denied")

    monkeypatch.setattr(h5py, "File", deny)
    with pytest.raises(error, match="denied"):
        read_episodes(path)


@pytest.mark.skipif(not REAL_FILE.is_file(), reason=f"no {REAL_FILE}; set DRIFT_WM_DATA to the folder of real data")
def test_human_demonstrations_of_the_adroit_door():
    found = RobomimicFile(REAL_FILE).describe()
    assert (found.episodes, found.steps, found.action_size) == (25, 6729, 28)
    assert found.obs_shapes == {"state": (39,)}
    assert found.masks == {"train": 20, "valid": 5}
    episodes = read_episodes(REAL_FILE)
    # The file has no next_obs: each demo loses its last transition.
    assert sum(len(episode) for episode in episodes) == 6729 - 25
    assert {(episode.obs.shape[1], episode.actions.shape[1]) for episode in episodes} == {(39, 28)}
    assert len(read_episodes(REAL_FILE, mask="valid")) == 5
    assert max(np.abs(episode.actions).max() for episode in episodes) > 1
