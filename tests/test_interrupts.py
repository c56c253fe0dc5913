"""Ctrl-C comes between the steps of a piece of work, and is never lost."""

import signal
import threading

import pytest

from drift_wm.learning.interrupts import interrupts_held


def press():
    signal.raise_signal(signal.SIGINT)


def work(done, *, presses=1, stops=True):
    """Two steps, in the first of which Ctrl-C is pressed."""
    with interrupts_held() as let_through:
        for step in (1, 2):
            if stops:
                let_through()
            for _ in range(presses if step == 1 else 0):
                press()
            done.append(step)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ({}, [1]),
        ({"stops": False}, [1, 2]),  # at the end, at the latest
        ({"presses": 2}, []),  # a second one does not wait
    ],
)
def test_it_waits_for_a_place_to_stop(way, expected):
    done = []
    with pytest.raises(KeyboardInterrupt):
        work(done, **way)
    assert done == expected
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def fail_after_pressing():
    with interrupts_held():
        press()
        raise ValueError("first")


def test_an_error_is_not_hidden_by_one_that_waits():
    with pytest.raises(ValueError, match="first"):
        fail_after_pressing()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_it_goes_on_ignoring_it():
    done = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(done)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert done == [1, 2]


def test_another_thread_leaves_it_alone():
    done = []
    thread = threading.Thread(target=lambda: work(done, presses=0))
    thread.start()
    thread.join()
    assert done == [1, 2]
