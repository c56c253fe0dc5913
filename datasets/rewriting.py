"""Changing an HDF5 file so that whoever looks, and whenever the process dies, it is the old one or the new one."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from pathlib import Path

import h5py

from drift_wm.storage.writing import replacing, temporary_of


def rewrite(path: Path, edit: Callable[[h5py.File], None]) -> None:
    """Replace the file, or nothing, by an edited copy in one step that cannot be interrupted halfway.

    HDF5 works on memory only: a write that fails inside the library can leave a file that does not even close.
    """
    try:
        old = path.read_bytes() if path.exists() else b""
        image = io.BytesIO(old)
        with h5py.File(image, "r+" if old else "w") as file:
            edit(file)
        with replacing(path, temporary=temporary_of(path)) as temporary:  # a leftover is removed at the next opening
            temporary.write_bytes(image.getbuffer())
    except OSError as error:
        # OSError picks the subclass that belongs to the number: PermissionError stays one.
        raise OSError(
            error.errno or errno.EIO,
            f"cannot write the replay ({error.strerror or error}); the old file is intact: "
            f"free space there or choose a writable folder that exists",
            str(path),
        ) from error
