import io
import logging

from rich.console import Console

from drift_wm import progress
from drift_wm.storage.metrics import MetricsLog


def test_a_terminal_shows_a_bar_with_counts_and_numbers():
    stream = io.StringIO()
    with progress.track("train", 10, console=Console(file=stream, force_terminal=True, width=120)) as task:
        task.update(10, "error 0.5")
    shown = stream.getvalue()
    assert "train" in shown
    assert "10/10" in shown
    assert "error 0.5" in shown


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


def test_metrics_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path) as log:
        log.record("train", 5, {"loss": 1.5})
        log.record("train", 6, {"loss": 0.5})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(5, 1.5), (6, 0.5)]
