"""Jobs in processes: all are done, and what goes wrong ends them without losing what is finished."""

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pytest

from drift_wm.pool import run_in_processes


def note(name, *, folder):
    if name == "bad":
        raise ValueError("no luck")
    if name == "wild":
        raise FloatingPointError("to infinity")
    (folder / name).touch()


def test_every_job_is_done_and_told_of(tmp_path, inline_pool):
    """Real processes do the work in the test of `drift-wm truth` from the command line."""
    done, ticks = [], []
    work = partial(note, folder=tmp_path)
    run_in_processes(work, ["a", "b"], workers=1, on_done=done.append, on_tick=lambda: ticks.append(1))
    assert done == ["a", "b"]
    assert ticks
    assert all((tmp_path / name).exists() for name in done)
    assert inline_pool.last.closed == [{}]


def test_an_error_ends_the_pool_and_keeps_what_was_done(tmp_path, inline_pool):
    done = []
    with pytest.raises(ValueError, match="no luck"):
        run_in_processes(partial(note, folder=tmp_path), ["a", "bad"], workers=2, on_done=done.append)
    assert done == ["a"]
    assert inline_pool.last._processes[1].terminated


def test_a_job_whose_numbers_run_away_fails_alone(tmp_path, inline_pool):
    done = []
    work = partial(note, folder=tmp_path)
    message = r"1 of 3 parts failed \(wild\), the others are done; the first: to infinity"
    with pytest.raises(FloatingPointError, match=message):
        run_in_processes(work, ["a", "wild", "b"], workers=2, on_done=done.append)
    assert done == ["a", "b"]
    assert inline_pool.last.closed == [{}]


def test_what_workers_warn_of_is_told_once(caplog):
    run_in_processes(logging.warning, ["one diverged", "all did", "one diverged"], workers=2, on_done=lambda job: None)
    assert sorted(record.getMessage() for record in caplog.records) == ["all did", "one diverged"]


def test_warnings_of_libraries_are_told_and_the_rest_is_not(caplog):
    with caplog.at_level(logging.INFO):
        run_in_processes(warnings.warn, ["not wise"], workers=1, on_done=lambda job: None)
        run_in_processes(logging.info, ["by the way"], workers=1, on_done=lambda job: None)
    (told,) = caplog.records
    assert "not wise" in told.getMessage()


def test_an_interruption_ends_the_pool(tmp_path, inline_pool):
    def interrupt(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_processes(partial(note, folder=tmp_path), ["a", "b"], workers=2, on_done=interrupt)
    assert inline_pool.last._processes[1].terminated
    assert inline_pool.last.closed == [{"wait": False, "cancel_futures": True}]


def test_no_jobs_start_no_process(monkeypatch):
    monkeypatch.setattr("drift_wm.pool.ProcessPoolExecutor", None)
    run_in_processes(note, [], workers=0, on_done=print)


def test_there_are_no_more_processes_than_jobs(tmp_path, inline_pool):
    run_in_processes(partial(note, folder=tmp_path), ["a"], workers=8, on_done=lambda job: None)
    assert inline_pool.last.workers == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a system where a process has all cores")
def test_a_worker_is_started_for_each_core_that_was_given(tmp_path, inline_pool):
    given = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(given)})
    try:
        run_in_processes(partial(note, folder=tmp_path), ["a", "b", "c"], workers=0, on_done=lambda job: None)
    finally:
        os.sched_setaffinity(0, given)
    assert inline_pool.last.workers == 1


LONG_WORK = """
import os, sys, time
from functools import partial
from pathlib import Path
from drift_wm.pool import run_in_processes

def work(name, folder):
    (Path(folder) / "pid.part").write_text(str(os.getpid()))
    (Path(folder) / "pid.part").rename(Path(folder) / "pid")
    time.sleep(600)

if __name__ == "__main__":
    run_in_processes(partial(work, folder=sys.argv[1]), ["a"], workers=1, on_done=print)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "long_work.py"
    script.write_text(LONG_WORK)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        wait_until((tmp_path / "pid").exists)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    worker = int((tmp_path / "pid").read_text())
    wait_until(lambda: not runs(worker))


def wait_until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not within a minute"
        time.sleep(0.05)


def runs(pid):
    """Whether a process is there and is more than the record of its end, which nobody may collect in a container."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
