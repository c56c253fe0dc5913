"""One process at a time in a run folder: two would write their episodes into one file, in turns."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""Hidden file of a run folder. It stays there; what counts is who has locked it, and it says who was the last."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process in a folder for as long as the block lasts.

    The system keeps the lock, and lets go of it when the process ends, by force or otherwise. Where a file system has
    no locks, nothing is kept.

    Raises:
        ValueError: another process is at work there.
    """
    file = _opened(folder / LOCK)
    if file is None:
        yield
        return
    try:
        _lock(file, folder)
        yield
    finally:
        os.close(file)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None  # where even this cannot be written, what is to be written will say so


def _lock(file: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(file, 1000).decode(errors="replace")
        raise ValueError(
            f"{folder}: another process is at work in this run folder{holder and f' ({holder})'}; wait until it has "
            "ended, or set run_dir=... to another folder"
        ) from error
    except OSError:
        return
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {platform.node()}".encode(), 0)
