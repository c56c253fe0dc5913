"""Data larger than memory: where they lie, that windows of them are the same, and how much memory they take."""

import hashlib
import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from drift_wm.cli import main
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.store import keep_episodes
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import Spec
from drift_wm.learning.held_out import held_out_metrics
from drift_wm.models.world_model import LearnedWorldModel


def episodes_of(lengths, *, ended=()):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return [Episode(normal(n + 1, 3), normal(n, 2), normal(n), terminated=i in ended) for i, n in enumerate(lengths)]


def stored(episodes, folder, *, padding=2, tail=0):
    return keep_episodes(iter(episodes), limit=0, padding=padding, tail=tail, folder=folder)


def assert_equal_batches(found, wanted):
    for name in ("obs", "actions", "reward", "ended"):
        left, right = getattr(found, name), getattr(wanted, name)
        assert (left is None) == (right is None)
        assert left is None or torch.equal(left, right), name


def test_what_fits_stays_in_memory(tmp_path):
    episodes = episodes_of([5, 4])
    size = sum(each.obs.nbytes + each.actions.nbytes + each.rewards.nbytes for each in episodes)
    kept = keep_episodes(episodes, limit=size, padding=2, folder=tmp_path)
    assert all(left is right for left, right in zip(kept, episodes, strict=True))
    moved = keep_episodes(episodes, limit=size - 1, padding=2, folder=tmp_path)
    assert not any(left is right for left, right in zip(moved, episodes, strict=True))
    assert list(tmp_path.iterdir()) == [], "the file has no name"


def test_stored_episodes_are_the_same_episodes(tmp_path):
    episodes = episodes_of([5, 1, 4], ended=[1])
    for found, wanted in zip(stored(episodes, tmp_path), episodes, strict=True):
        for name in ("obs", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        assert (len(found), found.terminated, found.seed) == (len(wanted), wanted.terminated, wanted.seed)
    for found, wanted in zip(
        vars_of(compute_statistics(stored(episodes, tmp_path), chunk=2)),
        vars_of(compute_statistics(episodes, chunk=2)),
        strict=True,
    ):
        assert torch.equal(found, wanted)


def vars_of(statistics):
    moments = (statistics.obs, statistics.actions, statistics.rewards, statistics.changes)
    return [tensor for each in moments for tensor in (each.mean, each.std)]


@pytest.mark.parametrize("history", [1, 2, 3])
@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("ended", [(), (1,), (2, 3)])
@pytest.mark.parametrize("past_end", [False, True])
def test_windows_gathered_from_the_disk_are_those_from_memory(tmp_path, history, chunk, ended, past_end):
    episodes = episodes_of([5, 1, 4, 9], ended=ended)
    on_disk = stored(episodes, tmp_path, tail=3)
    for chosen in ([0, 1, 2, 3], [2], [3, 0]):  # a part in any order, as training and held-out episodes are
        wanted = Windows([episodes[i] for i in chosen], history=history, chunk=chunk, past_end=past_end)
        found = Windows([on_disk[i] for i in chosen], history=history, chunk=chunk, past_end=past_end)
        assert len(found) == len(wanted)
        indices = torch.arange(len(wanted)).flip(0)
        assert_equal_batches(found.batch(indices), wanted.batch(indices))
        draws = [each.sample(7, torch.Generator().manual_seed(0)) for each in (found, wanted)]
        assert_equal_batches(*draws)


def test_windows_with_more_history_than_is_stored_are_copied(tmp_path):
    episodes = episodes_of([5, 4])
    wanted = Windows(episodes, history=4, chunk=1)
    found = Windows(stored(episodes, tmp_path, padding=2), history=4, chunk=1)
    assert_equal_batches(found.batch(torch.arange(9)), wanted.batch(torch.arange(9)))


def test_an_episode_has_its_names_wherever_it_is_kept(tmp_path, monkeypatch):
    episodes = episodes_of([5, 1, 4])
    names = [episode.fingerprints for episode in episodes]
    on_disk = stored(episodes, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "sha256", lambda *_: pytest.fail("was read again"))
        assert [episode.fingerprints for episode in on_disk] == names
    changed = replace(on_disk[0], actions=on_disk[0].actions + 1)
    assert changed.fingerprints == replace(episodes[0], actions=episodes[0].actions + 1).fingerprints
    assert len(set(names)) == len(episodes)
    other = episodes[0].actions.copy()
    other[-1, -1] += 1e-6
    assert replace(episodes[0], actions=other).fingerprints != names[0]


def test_held_out_episodes_on_the_disk_are_measured_alike(tmp_path, small_model):
    episodes = episodes_of([30, 25])
    model = LearnedWorldModel(Spec(3, 2, 0.0), small_model, rng=torch.Generator().manual_seed(0)).eval()
    assert held_out_metrics(model, stored(episodes, tmp_path), seed=1) == held_out_metrics(model, episodes, seed=1)


def write_file(path, *, demos, length, size=4, actions=2):
    """Noise, a chunk at a time; no next_obs."""
    block = np.random.default_rng(0).normal(size=(length, size)).astype(np.float32)
    with h5py.File(path, "w") as file:
        for i in range(demos):
            block[0] = i  # no two demos begin alike
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/state"] = block
            demo["actions"] = block[:, :actions] / 10
            demo["rewards"] = block[:, 0]
            demo.attrs["num_samples"] = length
    return path


def test_training_from_the_disk_learns_the_same(tmp_path):
    data = write_file(tmp_path / "demos.hdf5", demos=4, length=30)
    found = []
    for memory in (4, 0):
        run = tmp_path / f"run{memory}"
        asked = ["steps=3", "model.history=2", "model.generator.width=16", "training.batch_size=8", "threads=1"]
        assert main(["train", f"data={data}", *asked, f"memory_gb={memory}", f"run_dir={run}"]) == 0
        found.append(json.loads((run / "results.json").read_text()))
        assert not [each for each in run.iterdir() if each.name.startswith("tmp")]
    assert found[0]["model_id"] == found[1]["model_id"]
    assert found[0]["metrics"] == found[1]["metrics"]


LIMIT = 350 * 2**20
MEASURED = """
import resource, sys
from pathlib import Path

import torch

import drift_wm.commands
from drift_wm.configs.schema import read_settings
from drift_wm.recordings.inspection import inspect
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.store import keep_episodes
from drift_wm.datasets.windows import Windows
from drift_wm.storage.run_folder import RunFolder
from drift_wm.learning.train import train

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

torch.set_num_threads(1)
torch.randn(64, 64, requires_grad=True).square().sum().backward()  # threads and buffers of the first backward pass
data, folder, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
private = kilobytes("VmData") * 1024
resource.setrlimit(resource.RLIMIT_DATA, (private + limit, private + limit))
resident = kilobytes("VmHWM")
"""
INSPECT = """
inspect(read_settings("data-inspect", [data, "plotted=2"]), RunFolder(folder))
print(kilobytes("VmHWM") - resident)
"""
WALK = """
windows = Windows(
    keep_episodes(open_demonstrations(data).episodes(), limit=0, padding=1, folder=folder), history=2, chunk=5
)
seen = 0
for numbers in torch.arange(len(windows)).split(4096):
    seen += len(windows.batch(numbers).obs)
print(seen)
"""
TRAIN = """
asked = ["memory_gb=0.1", "steps=20", "model.chunk=2", "model.generator.width=16", "threads=1"]
settings = read_settings("train", [f"data={data}", *asked])
print(train(settings, RunFolder(folder), device=torch.device("cpu"))["training_episodes"])
"""


@pytest.fixture(scope="module")
def a_gigabyte(tmp_path_factory):
    """100 demos of 10 MB each."""
    folder = tmp_path_factory.mktemp("large")
    path = write_file(folder / "large.hdf5", demos=100, length=40_000, size=64)
    assert path.stat().st_size > 1e9
    yield path
    path.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="limits and counts of memory are Linux's")
@pytest.mark.parametrize(("work", "check"), [(INSPECT, "resident"), (WALK, "windows"), (TRAIN, "episodes")])
def test_a_gigabyte_is_handled_within_350_megabytes(a_gigabyte, tmp_path, work, check):
    """Private memory may not grow by more than LIMIT after the imports; an allocation beyond it fails.

    Pages of the mapped file are the system's to keep or drop, and do not count. Where nothing is mapped, the resident
    memory must not grow either.
    """
    program = textwrap.dedent(MEASURED + work)
    command = [sys.executable, "-c", program, str(a_gigabyte), str(tmp_path), str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    number = int(done.stdout.split()[-1])
    if check == "resident":
        assert number * 1024 < LIMIT
    else:
        assert number == {"windows": 100 * (40_000 - 1 - 5 + 1), "episodes": 90}[check]
