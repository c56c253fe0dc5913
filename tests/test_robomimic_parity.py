"""Our windows beside those of robomimic's own `SequenceDataset` on the same file: what is equal, and what is not."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from drift_wm.cli import main
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import Replay, write_episodes
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import Spec

theirs = pytest.importorskip("robomimic.utils.dataset", reason="robomimic is not installed: drift-wm[robomimic]")
from robomimic.utils import obs_utils  # noqa: E402

DATA = Path(os.environ.get("DRIFT_WM_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))
ADROIT = DATA / "adroit_door_human" / "door_human_25.hdf5"


def sequences(path, keys, *, history, chunk, next_obs, mask=None):
    """robomimic's dataset, without padding at the end, its observation keys concatenated: a list of dictionaries."""
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(keys)}})
    found = theirs.SequenceDataset(
        hdf5_path=str(path),
        obs_keys=keys,
        dataset_keys=("actions", "rewards"),
        frame_stack=history,
        seq_length=chunk,
        pad_seq_length=False,
        hdf5_cache_mode="low_dim",
        filter_by_attribute=mask,
        load_next_obs=next_obs,
    )

    def joined(of):
        columns = [np.asarray(of[key], np.float32) for key in keys]
        return np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)

    items = [found[i] for i in range(len(found))]
    return [{**item, **{name: joined(item[name]) for name in ("obs", "next_obs") if name in item}} for item in items]


def assert_same(path, keys, *, history, chunk, next_obs, mask=None):
    """Window by window; where the file has no next observations, ours lack the last window of each demo."""
    episodes = read_episodes(path, obs_keys=keys, mask=mask)
    windows = Windows(episodes, history=history, chunk=chunk)
    batch = windows.batch(torch.arange(len(windows)))
    wanted = sequences(path, keys, history=history, chunk=chunk, next_obs=next_obs, mask=mask)
    counts = [len(episode) - chunk + 1 for episode in episodes]
    assert len(wanted) == sum(counts) + (0 if next_obs else len(episodes))
    ours = theirs_at = 0
    padding = history - 1
    for count in counts:
        for t in range(count):
            item = wanted[theirs_at + t]
            obs, actions, reward = (each[ours + t].numpy() for each in (batch.obs, batch.actions, batch.reward))
            np.testing.assert_array_equal(obs[:-1], item["obs"])
            if next_obs:
                np.testing.assert_array_equal(obs[history:], item["next_obs"][padding:])
            repeated = max(0, padding - t)
            np.testing.assert_array_equal(actions[repeated:], item["actions"][repeated:])
            assert not actions[:repeated].any(), "zeros here"
            first = item["actions"][repeated : repeated + 1]
            np.testing.assert_array_equal(item["actions"][:repeated], np.repeat(first, repeated, axis=0))
            np.testing.assert_array_equal(reward, item["rewards"].reshape(-1)[padding:])
        ours += count
        theirs_at += count + (0 if next_obs else 1)


def write_file(path, *, next_obs, seed=0):
    """Three demos with gaps in their numbers, keys of one and two dimensions, a wrong total, and a mask."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["total"] = 3901
        for number, length in ((2, 9), (10, 6), (11, 7)):
            demo = file.create_group(f"data/demo_{number}")
            rows = rng.normal(size=(length + 1, 4))
            for group, part in (("obs", rows[:-1]), ("next_obs", rows[1:])):
                if group == "obs" or next_obs:
                    demo[f"{group}/eef"] = part[:, :3].astype(np.float32)
                    demo[f"{group}/gripper"] = part[:, 3:]
            demo["actions"] = rng.uniform(-1, 1, size=(length, 2))
            demo["rewards"] = rng.normal(size=length)
            demo["dones"] = np.eye(length, dtype=int)[-1]
            demo.attrs["num_samples"] = length
        file["mask/train"] = np.array([b"demo_11", b"demo_2"])
    return path


@pytest.mark.parametrize("next_obs", [True, False])
@pytest.mark.parametrize(("history", "chunk"), [(1, 1), (3, 1), (1, 5), (4, 3)])
@pytest.mark.parametrize("mask", [None, "train"])
def test_windows_are_robomimics(tmp_path, next_obs, history, chunk, mask):
    path = write_file(tmp_path / "demos.hdf5", next_obs=next_obs)
    assert_same(path, ["eef", "gripper"], history=history, chunk=chunk, next_obs=next_obs, mask=mask)


def test_robomimic_pads_ends_by_default_and_we_do_not(tmp_path):
    path = write_file(tmp_path / "demos.hdf5", next_obs=True)
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": ["eef"]}})
    padded = theirs.SequenceDataset(str(path), ["eef"], ["actions"], seq_length=4, hdf5_cache_mode="low_dim")
    windows = Windows(read_episodes(path, obs_keys=["eef"]), history=1, chunk=4)
    assert len(padded) - len(windows) == 3 * 3, "three more at the end of each of the three demos"
    last = padded[len(padded) - 1]["actions"]
    np.testing.assert_array_equal(last, [last[0]] * 4)


@pytest.mark.skipif(not ADROIT.is_file(), reason=f"no {ADROIT}; set DRIFT_WM_DATA to the folder of real data")
def test_windows_of_human_demonstrations_are_robomimics():
    assert_same(ADROIT, ["state"], history=2, chunk=5, next_obs=False, mask="valid")


def made_up(length, seed):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return Episode(normal(length + 1, 3), normal(length, 2), normal(length), terminated=False, source="test")


@pytest.mark.parametrize("writer", ["collect", "convert", "at once"])
def test_files_that_we_write_are_read_by_robomimic(tmp_path, writer):
    path, episodes, keys = tmp_path / "ours.hdf5", [made_up(8, 0), made_up(6, 1)], ["state"]
    if writer == "collect":  # episode by episode, as `drift-wm collect` does
        replay = Replay.open(path, env_args={"env_name": "toy"}, spec=Spec(3, 2, 0.0))
        for episode in episodes:
            replay.append(episode)
    elif writer == "convert":
        source, keys = write_file(tmp_path / "demos.hdf5", next_obs=False), ["eef", "gripper"]  # it keeps their names
        assert main(["data", "convert", str(source), f"out={path}", f"run_dir={tmp_path}/run"]) == 0
    else:
        write_episodes(path, episodes, env_args={"env_name": "toy"}, spec=Spec(3, 2, 0.0))
    assert_same(path, keys, history=2, chunk=3, next_obs=True)
