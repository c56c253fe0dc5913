import io
import logging

from rich.console import Console

from drift_wm import progress
from drift_wm.storage import units
from drift_wm.storage.metrics import MetricsLog


def test_a_terminal_shows_a_bar_with_counts_and_numbers():
    stream = io.StringIO()
    with progress.track("train", 10, console=Console(file=stream, force_terminal=True, width=120)) as task:
        task.update(10, "error 0.5")
    shown = stream.getvalue()
    assert "train" in shown
    assert "10/10" in shown
    assert "error 0.5" in shown


def test_a_bar_foretells_steps_that_take_longer_than_rich_remembers():
    clock, stream = [0.0], io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, get_time=lambda: clock[0])
    with progress.track("truth", 10, console=console) as task:
        for done in (1, 2, 3):
            clock[0] += 40.0
            task.update(done)
    assert "0:04:40" in stream.getvalue(), "seven of 40 s"


def test_a_log_file_is_told_of_the_end_once(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with (
        caplog.at_level(logging.INFO, logger="drift_wm.progress"),
        progress.track("bench", 50, console=Console(file=io.StringIO())) as task,
    ):
        for tick in range(120):
            clock[0] = 2.0 * tick
            task.update(50)
    assert [record.getMessage() for record in caplog.records] == ["bench: 50/50  "]


def test_a_log_file_gets_a_line_now_and_then(monkeypatch, caplog):
    clock = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with (
        caplog.at_level(logging.INFO, logger="drift_wm.progress"),
        progress.track("train", 20, console=Console(file=io.StringIO())) as task,
    ):
        for done in (1, 10, 11, 20):
            task.update(done, f"step {done}")
    assert [record.getMessage() for record in caplog.records] == [
        "train: 10/20, 11 s left  step 10",
        "train: 20/20, 0 s left  step 20",
    ]


def test_what_an_earlier_run_did_does_not_count_as_this_ones_pace(monkeypatch, caplog):
    clock = iter([0.0, 1.0, 21.0, 41.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with (
        caplog.at_level(logging.INFO, logger="drift_wm.progress"),
        progress.track("bench", 20, console=Console(file=io.StringIO())) as task,
    ):
        for done in (8, 8, 12):
            task.update(done)
    assert [record.getMessage() for record in caplog.records] == ["bench: 8/20  ", "bench: 12/20, 80 s left  "]


def test_units_of_a_comparison_that_are_kept_do_not_count_as_pace(tmp_path, monkeypatch, caplog):
    clock = [0.0]

    def one_after_another(work, jobs, *, workers, on_done):
        for job in jobs:
            clock[0] += 25.0
            work(job)
            on_done(job)

    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(units, "run_in_processes", one_after_another)
    stages = [[units.Unit(stage, (str(number),)) for number in range(20)] for stage in ("data", "models")]
    for stage in stages:
        for unit in stage[::2]:
            units.do_unit(unit, lambda unit: [], tmp_path)
    with caplog.at_level(logging.INFO, logger="drift_wm.progress"):
        units.do_units("truth", stages, lambda unit: [], tmp_path, workers=1)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 20
    assert lines[0].startswith("truth: 21/40, 475 s left")
    assert lines[-2].startswith("truth: 39/40, 25 s left")


def test_metrics_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path) as log:
        log.record("train", 5, {"loss": 1.5})
        log.record("train", 6, {"loss": 0.5})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(5, 1.5), (6, 0.5)]
