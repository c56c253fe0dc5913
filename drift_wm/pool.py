"""Independent jobs in a pool of processes, each with one thread."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from multiprocessing.queues import Queue
from typing import TYPE_CHECKING, TypeVar

import torch

from drift_wm.cores import available_cores

Job = TypeVar("Job")

_TICK_SECONDS = 2.0
_LAST_WORDS_SECONDS = 5.0

if TYPE_CHECKING:
    Records = Queue[logging.LogRecord | None]


def run_in_processes(
    work: Callable[[Job], None],
    jobs: Sequence[Job],
    *,
    workers: int,
    on_done: Callable[[Job], object],
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Do every job; an error or an interruption ends those in flight, and what finished before stays.

    A job whose numbers run away (FloatingPointError) fails alone: the others are done first. What jobs warn of is told
    here, once: all of a grid may have the same to say.

    Args:
        work: does one job; it and the jobs are pickled, so they are plain functions and data.
        jobs: independent of each other, and started in this order; an error names them by their `str`.
        workers: processes; 0: one for each core.
        on_done: called here after each job.
        on_tick: called here every few seconds, to show progress.

    Raises:
        FloatingPointError: some jobs failed so; all others are done.
    """
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads in an unknown state
    count = min(workers or available_cores(), len(jobs))
    with _warnings_of_workers(context) as records:
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=start_worker, initargs=(records,))
        failed = _do_all(pool, work, jobs, on_done=on_done, on_tick=on_tick)
    if failed:
        names, first = ", ".join(str(job) for job, _ in failed), failed[0][1]
        raise FloatingPointError(
            f"{len(failed)} of {len(jobs)} parts failed ({names}), the others are done; the first: {first}"
        ) from first


def _do_all(
    pool: ProcessPoolExecutor,
    work: Callable[[Job], None],
    jobs: Sequence[Job],
    *,
    on_done: Callable[[Job], object],
    on_tick: Callable[[], None],
) -> list[tuple[Job, FloatingPointError]]:
    """As `run_in_processes`, in a pool that is closed afterwards; returns the jobs whose numbers ran away."""
    failed: list[tuple[Job, FloatingPointError]] = []
    try:
        with without_interrupts():
            futures: dict[Future[None], Job] = {pool.submit(work, job): job for job in jobs}
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in [future for future in futures if future in finished]:
                try:
                    future.result()
                except FloatingPointError as error:
                    failed.append((futures[future], error))
                else:
                    on_done(futures[future])
            on_tick()
    except BaseException:
        for process in list(pool._processes.values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return failed


@contextmanager
def _warnings_of_workers(context: SpawnContext) -> Iterator[Records]:
    """What is put here by workers is told by this process's loggers, each message once."""
    records: Records = context.Queue()
    told: set[str] = set()

    def tell() -> None:
        while (record := records.get()) is not None:
            if record.getMessage() not in told:
                told.add(record.getMessage())
                logging.getLogger(record.name).handle(record)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield records
    finally:
        records.cancel_join_thread()  # a worker that was ended in the midst of a message keeps the queue's lock
        records.put(None)
        teller.join(timeout=_LAST_WORDS_SECONDS)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes started within never see Ctrl-C, which is the parent's to act on, afterwards if it comes now."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(records: Records | None = None) -> None:
    """One thread, and no progress bars beside the parent's; errors travel with their futures.

    Args:
        records: takes what is warned of.
    """
    torch.set_num_threads(1)
    if records is not None:
        logging.getLogger().addHandler(logging.handlers.QueueHandler(records))
        logging.captureWarnings(True)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A parent that was killed could not end its workers, which would do their jobs to the end for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
