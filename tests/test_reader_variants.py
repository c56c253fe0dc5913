"""Observation keys by name or pattern, and the variants of files that other tools write."""

import io
import json
import struct

import h5py
import numpy as np
import pytest

from drift_wm.configs.schema import read_settings
from drift_wm.datasets import hdf5
from drift_wm.datasets.checked_file import CheckedFile, ends
from drift_wm.datasets.keys import choose_keys
from drift_wm.datasets.readers import open_demonstrations, read_demonstrations

KNOWN = ["object", "robot0_eef_pos", "robot0_eye_image", "robot0_gripper", "a[0]"]
FLAT = ["object", "robot0_eef_pos", "robot0_gripper", "a[0]"]


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (None, ["object", "robot0_eef_pos", "robot0_gripper", "a[0]"]),  # in the order of their reader
        (["robot0_*"], ["robot0_eef_pos", "robot0_gripper"]),
        (["object", "robot0_*", "*"], ["object", "robot0_eef_pos", "robot0_gripper", "a[0]"]),
        (["robot0_grippe?", "object"], ["robot0_gripper", "object"]),
        (["[or]*_gripper"], ["robot0_gripper"]),
        (["a[0]"], ["a[0]"]),
        (["robot0_eye_image"], ["robot0_eye_image"]),
    ],
)
def test_keys_are_chosen_by_name_and_pattern(tmp_path, asked, chosen):
    assert choose_keys(asked, known=KNOWN, flat=FLAT, path=tmp_path) == chosen


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ["robot1_*"],
            r"demos.* matches 'robot1_\*', found \['a\[0\]', 'object', 'robot0_eef_pos', 'robot0_gripper'\]",
        ),
        (["*_image"], r"no low-dimensional observation key matches '\*_image'"),
        (["Object"], r"no observation 'Object', found .*'robot0_eye_image'"),
        ([], "name at least one in obs_keys"),
    ],
)
def test_keys_that_mean_nothing_are_refused(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        choose_keys(asked, known=KNOWN, flat=FLAT, path=tmp_path / "demos.hdf5")


def test_patterns_come_through_the_command_line():
    assert read_settings("train", ["data=x", "obs_keys=[robot0_*,object]"]).obs_keys == ["robot0_*", "object"]


def test_patterns_choose_in_files(tmp_path):
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for name, size in (("robot0_joints", 2), ("robot0_eef", 1), ("object", 3), ("actions", 4)):
            file[f"data/demo_0/obs/{name}"] = np.full((3, size), size)
        file["data/demo_0/obs/robot0_image"] = np.zeros((3, 2, 2, 3), np.uint8)
        file["data/demo_0/actions"] = np.zeros((3, 1))
    (episode,) = read_demonstrations(path, obs_keys=["robot0_*"], allow_missing_rewards=True)
    assert episode.obs[0].tolist() == [1, 2, 2]
    (episode,) = read_demonstrations(path, obs_keys=["*"], allow_missing_rewards=True)
    assert episode.obs.shape == (3, 6), "a copy of the actions is left out, as it is without keys"


def isaac_lab(path):
    """As Isaac Lab records: a wrong total, gaps, nested states, no next_obs, rewards or dones, no env_kwargs."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(total=3901, env_args=json.dumps({"env_name": "Isaac-Stack", "type": 2}))
        for number, length in ((0, 4), (7, 3)):
            demo = data.create_group(f"demo_{number}")
            demo.attrs.update(num_samples=length, success=True)
            demo["actions"] = np.full((length, 2), number, np.float32)
            demo["processed_actions"] = np.zeros((length, 2))
            demo["obs/eef_pos"] = np.full((length, 3), number, np.float32)
            demo["obs/actions"] = np.ones((length, 2))
            demo["states/articulation/robot/joint_position"] = np.zeros((length, 9))
            demo["initial_state/rigid_object/cube/root_pose"] = np.zeros((1, 7))


def test_files_of_isaac_lab_are_read_and_described(tmp_path):
    isaac_lab(tmp_path / "demos.hdf5")
    found = open_demonstrations(tmp_path / "demos.hdf5").describe()
    assert (found.episodes, found.steps, found.has_rewards) == (2, 7, False)
    assert found.warnings == (
        "the attribute total says 3901 steps, the demos hold 7",
        "6 numbers between demo_0 and demo_7 are not there",
        "2 of 2 demos have no next_obs, so the last transition of each demo is dropped",
        "2 of 2 demos have no rewards, so a world model learns zeros of them, if allow_missing_rewards=true",
        "2 of 2 demos have no dones, so none of them is known to have ended",
    )
    first, last = read_demonstrations(tmp_path / "demos.hdf5", allow_missing_rewards=True)
    assert (len(first), len(last), last.obs.shape) == (3, 2, (3, 3))
    assert first.states is None
    assert not first.terminated


def test_two_demos_of_one_number_are_no_gap(tmp_path):
    isaac_lab(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file.move("data/demo_0", "data/demo_1")
        file.move("data/demo_7", "data/demo_01")
    assert not [each for each in open_demonstrations(tmp_path / "demos.hdf5").describe().warnings if "numbers" in each]


@pytest.mark.parametrize("total", ["many", [1, 2], 9.5])
def test_a_total_of_any_kind_is_only_remarked_on(tmp_path, total):
    isaac_lab(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file["data"].attrs["total"] = total
    assert "the demos hold 7" in open_demonstrations(tmp_path / "demos.hdf5").describe().warnings[0]


def test_raw_files_of_robosuite_are_told_to_extract_observations(tmp_path):
    path = tmp_path / "demo.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs.update(env="Lift", env_info="{}", repository_version="1.5.2")
        for number in (1, 2):
            file[f"data/demo_{number}/states"] = np.zeros((5, 32))
            file[f"data/demo_{number}/actions"] = np.zeros((5, 7))
    for read in (lambda: open_demonstrations(path).describe(), lambda: read_demonstrations(path)):
        with pytest.raises(ValueError, match=r"demo\.hdf5: /data/demo_1 has no group obs.*dataset_states_to_obs"):
            read()


def test_a_demo_of_other_sizes_is_named(tmp_path):
    isaac_lab(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        del file["data/demo_7/obs/eef_pos"]
        file["data/demo_7/obs/eef_pos"] = np.zeros((3, 4))
    with pytest.raises(
        ValueError,
        match=r"demos\.hdf5: /data/demo_7 has .* sizes \{'eef_pos': 4\}, expected \{'eef_pos': 3\} as /data/demo_0",
    ):
        read_demonstrations(tmp_path / "demos.hdf5", allow_missing_rewards=True)


@pytest.mark.parametrize(
    ("name", "demo", "observations"),
    [("demos.hdf5", "data/demo", "obs"), ("main_data.hdf5", "episode", "observations")],
)
def test_keys_of_other_widths_are_named_though_their_sum_is_the_same(tmp_path, name, demo, observations):
    with h5py.File(tmp_path / name, "w") as file:
        for number, widths in enumerate([(1, 2), (2, 1)]):
            for key, width in zip("ab", widths, strict=True):
                file[f"{demo}_{number}/{observations}/{key}"] = np.zeros((4, width))
            file[f"{demo}_{number}/actions"] = np.zeros((4 - ("episode" in demo), 1), np.float32)
    told = rf"{demo}_1 has keys of sizes \{{'a': 2, 'b': 1\}}, expected \{{'a': 1, 'b': 2\}} as /{demo}_0 has"
    with pytest.raises(ValueError, match=told):
        read_demonstrations(tmp_path / name, allow_missing_rewards=True)


def test_an_array_that_announces_more_than_is_there_is_not_allocated(tmp_path):
    isaac_lab(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        del file["data/demo_0/obs/eef_pos"]
        file.create_dataset("data/demo_0/obs/eef_pos", shape=(4, 2**38), chunks=(1, 1024), dtype="f4")
    with pytest.raises(ValueError, match=r"demo_0/obs/eef_pos announces 4398046511104 bytes .* the file holds 0"):
        read_demonstrations(tmp_path / "demos.hdf5", allow_missing_rewards=True)


def test_a_subset_that_announces_more_names_than_are_there_is_not_looked_through(tmp_path):
    isaac_lab(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file.create_dataset("mask/train", shape=(2**28,), chunks=(2**20,), dtype="S1")
    with pytest.raises(ValueError, match=r"mask/train announces 268435456 bytes .* the file holds 0"):
        open_demonstrations(tmp_path / "demos.hdf5").describe(mask="train")
    assert any(
        "announces 268435456 bytes" in told for told in open_demonstrations(tmp_path / "demos.hdf5").describe().warnings
    )


def elsewhere(file, name, how, folder):
    """Put an array of shape (3, 1) whose numbers are not in the file itself."""
    if how == "external":
        (folder / "secret.bin").write_bytes(np.arange(3.0).tobytes())
        file.create_dataset(name, (3, 1), "f8", external=[(str(folder / "secret.bin"), 0, 24)])
        return
    layout = h5py.VirtualLayout((3, 1), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "gone.hdf5"), "x", shape=(3, 1))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("how", ["virtual", "external"])
def test_arrays_whose_numbers_are_elsewhere_are_refused(tmp_path, how):
    told = rf"is (a virtual array, a view of|an array with external storage in) .*{tmp_path}.*, which is not followed"
    for name, key in (("demos.hdf5", "data/demo_0/obs/far"), ("main_data.hdf5", "episode_0/observations/far")):
        with h5py.File(tmp_path / name, "w") as file:
            group = file.create_group(key.split("/obs")[0])
            group["actions"], group["rewards"] = np.zeros((2, 1), np.float32), np.zeros(2)
            elsewhere(file, key, how, tmp_path)
        for read in (lambda path: open_demonstrations(path).describe(), read_demonstrations):
            with pytest.raises(ValueError, match=rf"{name}: /{key} {told}"):
                read(tmp_path / name)


@pytest.mark.parametrize("chunks", [None, (2, 1)])
@pytest.mark.parametrize("what", ["obs/pos", "actions", "observations"])
def test_observations_and_actions_that_were_never_written_are_no_zeros(tmp_path, chunks, what):
    path = tmp_path / "demos.hdf5"
    names = ("episode_0", "observations") if what == "observations" else ("data/demo_0", "obs/pos")
    with h5py.File(path, "w") as file:
        group = file.create_group(names[0])
        for name in (names[1], "actions"):
            if name == what:
                created = group.create_dataset(name, (4, 1), "f4", chunks=chunks)
                if chunks:
                    created[:2] = 1.0
            else:
                group[name] = np.ones((4, 1), np.float32)
        if what == "observations":
            del group["actions"]
            group["actions"] = np.ones((3, 1), np.float32)
        length = len(group["actions"])
        for name in ("rewards", "dones", "terminations"):
            group.create_dataset(name, (length,), "f4")
    told = "1 of its 2 chunks" if chunks else "0 bytes of it"
    with pytest.raises(ValueError, match=rf"{what} of shape \(4, 1\) was created and not written.* holds {told}"):
        read_demonstrations(path)
    with h5py.File(path, "r+") as file:
        file[names[0]][what][:] = 2.0
    (episode,) = read_demonstrations(path)
    assert not episode.rewards.any(), "zeros that HDF5 fills in are a common way to store no rewards"


def test_zeros_in_the_heap_of_strings_do_not_hang(tmp_path):
    """libhdf5 itself never returns from reading this mask."""
    isaac_lab(tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file["mask/train"] = ["demo_0", "demo_7"]
    content = bytearray((tmp_path / "demos.hdf5").read_bytes())
    heap = content.rindex(b"GCOL")
    content[heap + 16 : heap + 64] = bytes(48)
    (tmp_path / "demos.hdf5").write_bytes(content)
    with pytest.raises(ValueError, match=r"demos\.hdf5: .*a heap of strings holds an object of no size"):
        open_demonstrations(tmp_path / "demos.hdf5").describe(mask="train")
    assert any(
        "a heap of strings holds an object of no size" in told
        for told in open_demonstrations(tmp_path / "demos.hdf5").describe().warnings
    )


class Drip(io.FileIO):
    """A system that brings at most 1,000 bytes at a time, as Linux at most 2 GiB."""

    def readinto(self, buffer, /):
        return super().readinto(memoryview(buffer).cast("B")[:1000])


class CheckedDrip(CheckedFile, Drip):
    pass


def test_what_a_system_brings_in_pieces_is_read_whole(tmp_path, monkeypatch):
    """h5py does not ask how much came: the rest would be what was in its memory before."""
    path, stored = tmp_path / "large.hdf5", np.arange(5000)
    with h5py.File(path, "w") as file:
        file["x"] = stored
    monkeypatch.setattr(hdf5, "CheckedFile", CheckedDrip)
    with hdf5.open_hdf5(path) as file:
        np.testing.assert_array_equal(file["x"][()], stored)


def test_a_file_that_ends_early_is_no_array_of_something_else(tmp_path):
    path = tmp_path / "short"
    path.write_bytes(b"12345")
    with CheckedFile(path) as file, pytest.raises(OSError, match="ends 3 bytes before"):
        file.readinto(bytearray(8))


def test_the_walk_through_a_heap_ends_where_it_should():
    def collection(*objects):
        body = b"".join(struct.pack("<HHIQ", index, 1, 0, size) + bytes(stored) for index, size, stored in objects)
        return memoryview(struct.pack("<4sB3xQ", b"GCOL", 1, 16 + len(body)) + body)

    assert ends(collection((1, 5, 8), (2, 8, 8), (0, 32, 16)))
    assert ends(collection((1, 0, 0), (0, 16, 0))), "an empty string has a head"
    assert ends(collection((1, 2**60, 0))), "beyond the end is libhdf5's to refuse"
    assert not ends(collection((1, 5, 8), (0, 0, 16)))
    assert ends(memoryview(b"GCOL"))
