"""A run folder is one process's at a time, whatever becomes of that process."""

import os
import signal
import subprocess
import sys

import pytest

from drift_wm.bench import suite as bench_module
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.suite import bench
from drift_wm.cli import main
from drift_wm.configs.schema import read_settings
from drift_wm.storage import run_lock
from drift_wm.storage.run_folder import RunFolder

HOLDER = """
import sys
from pathlib import Path
from drift_wm.storage.run_lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in a folder."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_process_is_refused_and_changes_nothing(tmp_path, holder, capsys):
    before = contents(tmp_path)
    assert main(["online", "task=cartpole-swingup", f"run_dir={tmp_path / 'run'}"]) == 2
    assert f"{tmp_path / 'run'}: another process is at work in this run folder (process {holder.pid} on " in (
        capsys.readouterr().err
    )
    assert contents(tmp_path) == before


def test_a_kill_lets_go_and_what_it_left_locks_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run_lock.locked(tmp_path / "run"):
        assert (tmp_path / "run" / run_lock.LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        with run_lock.locked(tmp_path), pytest.raises(ValueError, match=rf"process {os.getpid()} on .*another folder"):
            run_lock.locked(tmp_path).__enter__()


@pytest.mark.parametrize("place", ["fcntl.flock", "os.open"])
def test_without_locks_a_run_goes_on(tmp_path, monkeypatch, place):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(f"drift_wm.storage.run_lock.{place}", refuse)
    with run_lock.locked(tmp_path), run_lock.locked(tmp_path):
        pass


def test_a_lock_alone_is_no_reason_to_keep_a_refused_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        folder.write_config("bench", BenchSettings())
        folder.forget_config()
    assert not folder.path.exists()


def test_a_grid_waits_for_nobody_but_in_the_cell_that_is_taken(tmp_path, monkeypatch, inline_pool):
    def online(settings, folder, *, device):
        with pytest.raises(ValueError, match="another process"), folder.locked():
            pass
        results = {
            "frames": 1000,
            "evaluations": [{"returns": [1.0]}],
            "decision_ms": {"p50": 20.0},
            "learning_seconds": 60.0,
            "progress": [],
        }
        folder.write_results(results)

    monkeypatch.setattr(bench_module, "online", online)
    settings = BenchSettings(
        seeds=[1], models=["drifting"], reference_random_episodes=0, reference_simulator_episodes=0
    )
    grid = RunFolder(tmp_path)
    cell = RunFolder(tmp_path / "cartpole-swingup" / "drifting-icem" / "seed1")

    def work():
        return bench(settings, grid, compose=lambda overrides: read_settings("online", overrides)).cells

    with cell.locked(), pytest.raises(ValueError, match=r"seed1: another process is at work"):
        work()
    with grid.locked():
        assert [found.mean for found in work()] == [1.0]


def test_of_processes_that_train_together_the_first_one_locks(tmp_path, holder, monkeypatch, capsys):
    (tmp_path / "run" / "replay.hdf5").touch()  # without which a refused run takes its folder along
    asked = ["train", f"data={tmp_path / 'none.hdf5'}", f"run_dir={tmp_path / 'run'}"]
    monkeypatch.setenv("RANK", "1")
    assert main(asked) != 0
    assert "none.hdf5" in capsys.readouterr().err, "it came past the lock"
    monkeypatch.setenv("RANK", "0")
    assert main(asked) == 2
    assert "another process is at work" in capsys.readouterr().err
