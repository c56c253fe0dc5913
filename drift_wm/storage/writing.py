"""Files that appear whole: each is written beside its target, and then takes its name."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def beside(path: Path) -> Path:
    """A hidden name in the target's folder, of this process alone: shares of a grid write to one folder at once."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")


def temporary_of(path: Path) -> Path:
    """A hidden name in the target's folder, the same for every process, so that a kill leaves one file at most.

    For large files that one process writes at a time.
    """
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def replacing(path: Path, *, temporary: Path | None = None) -> Iterator[Path]:
    """Yield where to write; what is written there is on the disk and has the name `path` when the block ends.

    An error or a kill leaves the old file, or none where there was none. After an error nothing else is left.

    Args:
        path: the file to write or to replace, in a folder that exists.
        temporary: where it is written, in the same folder; None: `beside(path)`.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = temporary or beside(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Bring names in a folder to the disk, where the system lets folders be opened: a name is not the file's own."""
    with contextlib.suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """As `replacing`, for a new file: what has the name by the end of the block is not overwritten.

    Raises:
        ValueError: there is something.
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
        yield temporary
        if path.exists():
            raise ValueError(f"{path}: expected a new file, but another process has written it; choose another name")


def write_text(path: Path, text: str) -> None:
    """Write a file of which a reader never sees half, nor a kill leaves half."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
