"""Changing an HDF5 file so that whoever looks, and whenever the process dies, it is the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py


def temporary_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f".{path.name}.tmp")


def rewrite(path: Path, edit: Callable[[h5py.File], None]) -> None:
    """Replace the file, or nothing, by an edited copy in one step that cannot be interrupted halfway.

    HDF5 works on memory only: a write that fails inside the library can leave a file that does not even close.
    """
    temporary = temporary_of(path)
    try:
        old = path.read_bytes() if path.exists() else b""
        image = io.BytesIO(old)
        with h5py.File(image, "r+" if old else "w") as file:
            edit(file)
        with temporary.open("wb") as stream:
            stream.write(image.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # The first error is the one to report; a leftover that resists is removed when the file is next opened.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        # OSError picks the subclass that belongs to the number: PermissionError stays one.
        raise OSError(
            error.errno or errno.EIO,
            f"cannot write the replay ({error.strerror or error}); the old file is intact: "
            f"free space there or choose a writable folder that exists",
            str(path),
        ) from error
