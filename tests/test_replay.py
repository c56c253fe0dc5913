import errno
import json
import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import Replay, write_episodes, write_masks
from drift_wm.datasets.robomimic import RobomimicFile, read_episodes
from drift_wm.interfaces import Spec

ENV_ARGS = {"env_name": "walker-walk", "env_kwargs": {"repeat": 2}}
SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.05)


def constant_episode(value, *, length=4, obs_size=3, action_size=2, terminated=False):
    return Episode(
        np.full((length + 1, obs_size), value, np.float32),
        np.full((length, action_size), value, np.float32),
        np.full(length, value, np.float32),
        terminated=terminated,
        states=np.full((length + 1, 5), value, np.float64),
        seed=7,
        source="planner",
    )


def assert_episodes_equal(found, expected):
    for name in ("obs", "actions", "rewards", "states"):
        left, right = getattr(found, name), getattr(expected, name)
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
    for name in ("terminated", "seed", "source", "success"):
        assert getattr(found, name) == getattr(expected, name)
        assert type(getattr(found, name)) is type(getattr(expected, name))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "replay.hdf5"


@st.composite
def episodes(draw, obs_size, action_size):
    length = draw(st.integers(1, 6))
    float32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
    float64 = st.floats(allow_nan=False, allow_infinity=False)
    return Episode(
        draw(arrays(np.float32, (length + 1, obs_size), elements=float32)),
        draw(arrays(np.float32, (length, action_size), elements=float32)),
        draw(arrays(np.float32, (length,), elements=float32)),
        terminated=draw(st.booleans()),
        states=draw(st.none() | arrays(np.float64, (length + 1, 2), elements=float64)),
        seed=draw(st.none() | st.integers(0, 2**63 - 1)),
        source=draw(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))),
        success=draw(st.none() | st.booleans()),
    )


@settings(deadline=None, max_examples=40)
@given(data=st.data(), obs_size=st.integers(1, 4), action_size=st.integers(1, 3), count=st.integers(0, 4))
def test_reading_returns_what_was_written(tmp_path_factory, data, obs_size, action_size, count):
    path = tmp_path_factory.mktemp("replay") / "replay.hdf5"
    written = [data.draw(episodes(obs_size, action_size)) for _ in range(count)]
    replay = Replay.open(path, env_args=ENV_ARGS)
    for episode in written:
        replay.append(episode)
    reopened = Replay.open(path, env_args=ENV_ARGS)
    assert len(replay) == len(reopened) == count
    assert replay.steps == reopened.steps == sum(len(episode) for episode in written)
    for found, expected in zip(reopened.episodes, written, strict=True):
        assert_episodes_equal(found, expected)


def test_the_file_is_of_the_robomimic_schema(path):
    replay = Replay.open(path, env_args=ENV_ARGS, spec=SPEC)
    replay.append(constant_episode(1, length=4, terminated=True))
    replay.append(constant_episode(2, length=3))
    with h5py.File(path) as file:
        data = file["data"]
        assert data.attrs["total"] == 7
        assert json.loads(data.attrs["env_args"]) == {**ENV_ARGS, "type": 2}
        assert data["demo_0"].attrs["num_samples"] == 4
        assert data["demo_0/obs/state"].shape == data["demo_0/next_obs/state"].shape == (4, 3)
        assert data["demo_0/states"].shape == (4, 5)
        assert data["demo_0/dones"][:].tolist() == [0, 0, 0, 1]
        assert data["demo_1/dones"][:].tolist() == [0, 0, 0]
    found = RobomimicFile(path).describe()
    assert (found.episodes, found.steps, found.masks) == (2, 7, {})


def test_a_file_written_in_one_go_has_subsets_by_position(path):
    episodes = [constant_episode(value) for value in range(3)]
    subsets = partial(write_masks, masks={"train": [1, 2], "valid": [0]})
    write_episodes(path, episodes, env_args=ENV_ARGS, spec=SPEC, finish=subsets)
    assert RobomimicFile(path).describe().masks == {"train": 2, "valid": 1}
    assert [episode.rewards[0] for episode in read_episodes(path, mask="train")] == [1, 2]
    with h5py.File(path) as file:
        assert file["mask/valid"][:].tolist() == [b"demo_0"]
    assert len(Replay.open(path, env_args=ENV_ARGS, spec=SPEC)) == 3


def test_reopening_goes_on(path):
    Replay.open(path, env_args=ENV_ARGS, spec=SPEC).append(constant_episode(1))
    replay = Replay.open(path, env_args=ENV_ARGS, spec=SPEC)
    replay.append(constant_episode(2))
    assert [episode.rewards[0] for episode in replay.episodes] == [1, 2]
    assert [episode.rewards[0] for episode in read_episodes(path)] == [1, 2]


def test_a_symbolic_link_stays_one(tmp_path, path):
    link = tmp_path / "link.hdf5"
    link.symlink_to(path)
    replay = Replay.open(link, env_args=ENV_ARGS)
    replay.append(constant_episode(1))
    assert link.is_symlink()
    assert replay.path == path.resolve()
    assert len(read_episodes(path)) == 1


def test_the_file_of_another_task_is_refused(path):
    Replay.open(path, env_args=ENV_ARGS).append(constant_episode(1))
    with pytest.raises(ValueError, match="holds episodes of 'walker-walk', expected 'cheetah-run': choose"):
        Replay.open(path, env_args={"env_name": "cheetah-run"})
    with pytest.raises(ValueError, match=r"sizes \(3, 2\), expected \(4, 2\): choose another path"):
        Replay.open(path, env_args=ENV_ARGS, spec=Spec(4, 2, 0.05))
    with pytest.raises(ValueError, match="expected a key env_name"):
        Replay.open(path, env_args={})


def test_a_stored_spec_is_compared(path):
    Replay.open(path, env_args=ENV_ARGS, spec=SPEC)
    with pytest.raises(ValueError, match=r"made for Spec\(.*0\.05\), expected Spec\(.*0\.1\): choose another path"):
        Replay.open(path, env_args=ENV_ARGS, spec=Spec(3, 2, 0.1))
    replay = Replay.open(path, env_args=ENV_ARGS)
    with pytest.raises(ValueError, match=r"sizes \(4, 2\), expected \(3, 2\)"):
        replay.append(constant_episode(1, obs_size=4))


def test_an_episode_of_another_size_is_refused(path):
    replay = Replay.open(path, env_args=ENV_ARGS)
    replay.append(constant_episode(1))
    with pytest.raises(ValueError, match=r"sizes \(3, 1\), expected \(3, 2\)"):
        replay.append(constant_episode(1, action_size=1))
    assert len(replay) == len(read_episodes(path)) == 1


def test_several_are_added_at_once_or_none_is(path):
    replay = Replay.open(path, env_args=ENV_ARGS)
    with pytest.raises(ValueError, match=r"sizes \(3, 1\), expected \(3, 2\)"):
        replay.extend([constant_episode(1), constant_episode(2, action_size=1)])
    assert len(replay) == len(Replay.open(path, env_args=ENV_ARGS)) == 0
    replay.append(constant_episode(1))
    replay.extend([])
    replay.extend([constant_episode(2), constant_episode(3, length=5)])
    assert [episode.rewards[0] for episode in replay.episodes] == [1, 2, 3]
    assert [episode.rewards[0] for episode in read_episodes(path)] == [1, 2, 3]


@pytest.mark.parametrize("env_args", [None, "{", "[]", '{"env_type": 2}', b"\xff"])
def test_a_file_without_the_name_of_a_task_is_refused(path, env_args):
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if env_args is not None:
            data.attrs["env_args"] = np.bytes_(env_args) if isinstance(env_args, bytes) else env_args
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no attribute env_args with an env_name, expected 'walker-walk'"):
        Replay.open(path, env_args=ENV_ARGS)
    assert path.read_bytes() == before


def fail_with(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("function", ["os.replace", "os.fsync", "pathlib.Path.open"])
def test_a_failed_write_leaves_the_old_file(path, monkeypatch, number, function):
    replay = Replay.open(path, env_args=ENV_ARGS)
    replay.append(constant_episode(1))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(function, fail_with(number))
        # `Path.read_bytes` opens the old file by `Path.open` too: reading has to keep working here.
        patch.setattr(Path, "read_bytes", lambda self: before)
        with pytest.raises(OSError, match=r"cannot write the replay .*old file is intact: free space") as caught:
            replay.append(constant_episode(2))
    assert caught.value.errno == number
    assert caught.value.filename == str(path)
    assert isinstance(caught.value, PermissionError) == (number == errno.EACCES)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    assert len(replay) == 1
    replay.append(constant_episode(3))
    assert [episode.rewards[0] for episode in read_episodes(path)] == [1, 3]


def test_a_full_disk_leaves_the_old_file(path):
    """The system itself refuses to write more: a process may be limited in the size of its files."""
    resource = pytest.importorskip("resource")
    replay = Replay.open(path, env_args=ENV_ARGS)
    replay.append(constant_episode(1))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write the replay .File too large") as caught:
            replay.append(constant_episode(2, length=1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="choose a writable folder that exists"):
        Replay.open(tmp_path / "absent" / "replay.hdf5", env_args=ENV_ARGS)


def test_leftovers_are_removed_at_opening(path):
    Replay.open(path, env_args=ENV_ARGS).append(constant_episode(1))
    leftover = path.with_name(".replay.hdf5.tmp")
    leftover.write_bytes(path.read_bytes()[:100])
    assert len(Replay.open(path, env_args=ENV_ARGS)) == 1
    assert not leftover.exists()


def append_for_ever(path, completed):
    replay = Replay.open(path, env_args=ENV_ARGS)
    for value in range(len(replay), 1_000_000):
        replay.append(constant_episode(value, length=200, obs_size=20))
        completed.value = value + 1


def test_a_killed_writer_leaves_every_completed_episode(path):
    """Killed at random moments, again and again, the writer goes on from where the file stands."""
    context = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    completed = context.Value("q", 0, lock=False)
    for delay in rng.uniform(0.002, 0.15, size=6):
        started_from = completed.value
        writer = context.Process(target=append_for_ever, args=(path, completed))
        writer.start()
        give_up = time.monotonic() + 30
        while completed.value == started_from and writer.is_alive() and time.monotonic() < give_up:
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(timeout=30)
        assert writer.exitcode == -signal.SIGKILL
        stored = read_episodes(path)
        # The writer may die after the rename and before it says so.
        assert completed.value <= len(stored) <= completed.value + 1
        assert [episode.obs[-1, 0] for episode in stored] == list(range(len(stored)))
        assert all(len(episode) == 200 for episode in stored)
        completed.value = len(stored)
    assert len(Replay.open(path, env_args=ENV_ARGS)) >= 6
    assert list(path.parent.iterdir()) == [path]


def test_a_spec_of_which_a_part_is_missing_is_named(path):
    Replay.open(path, env_args=ENV_ARGS, spec=SPEC)
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["observation_size"]
    with pytest.raises(ValueError, match=r"replay\.hdf5: data has no attribute observation_size, expected the sizes"):
        Replay.open(path, env_args=ENV_ARGS)
