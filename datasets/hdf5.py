"""Opening HDF5 files of the robomimic schema, with errors that say what is wrong and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import h5py

_DEMO_NAME = re.compile(r"demo_(\d+)")


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading; the caller closes it.

    Raises:
        ValueError: the file is missing, is not HDF5, or is truncated.
        OSError: the system denies access to the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path, relative to {Path.cwd()}")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file, expected the robomimic schema; convert the data first")
    try:
        return h5py.File(path, "r")
    except (PermissionError, BlockingIOError):
        raise
    except OSError as error:
        raise ValueError(f"{path}: a damaged or truncated HDF5 file ({error}); copy it again") from error


def data_group(file: h5py.File, path: Path) -> h5py.Group:
    """The group `data`, which holds the demos.

    Raises:
        ValueError: there is none.
    """
    data = file.get("data")
    if not isinstance(data, h5py.Group):
        raise ValueError(
            f"{path}: no group data, expected data/demo_0 ... of the robomimic schema, found {sorted(file)}; "
            f"convert the file first"
        )
    return data


def demo_names(data: h5py.Group) -> list[str]:
    """The names `demo_<i>` in a group, sorted by number; the numbers may have gaps."""
    return sorted((str(name) for name in data if _DEMO_NAME.fullmatch(name)), key=demo_number)


def demo_number(name: str) -> int:
    """The number i of `demo_<i>`."""
    return int(name.removeprefix("demo_"))
