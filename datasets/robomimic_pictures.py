"""Pictures in robomimic files: observations of type uint8 (T, height, width, 3), of which only some are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import h5py
import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import data_group, member, open_hdf5
from drift_wm.datasets.hdf5_storage import require_stored
from drift_wm.datasets.robomimic import demo_group, select_demos
from drift_wm.datasets.robomimic_notes import arrays_of, first_whole

_COLOURS = 3


def cameras(path: Path) -> list[str]:
    """The observation keys of the first demo that has any that are pictures."""
    with open_hdf5(path) as file:
        data = data_group(file, path)
        demos = [demo_group(data, name, path) for name in select_demos(file, path, mask=None)]
        return [key for key, array in arrays_of(first_whole(demos, path), path).items() if _is_film(array)]


def demos_with(path: Path, camera: str) -> dict[str, int]:
    """The demos that have pictures of a camera, and how many each; those that have none are left out."""
    with open_hdf5(path) as file:
        data, films = data_group(file, path), {}
        for name in select_demos(file, path, mask=None):
            obs = member(demo_group(data, name, path), "obs", path)
            film = member(obs, camera, path) if isinstance(obs, h5py.Group) else None
            if _is_film(film):
                films[name] = len(film)
        return films


def read_pictures(path: Path, camera: str, demo: str, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Some pictures (height, width, 3) of a demo; the others stay on the disk.

    Raises:
        ValueError: the file is damaged there.
    """
    with open_hdf5(path) as file, reading(path, f"data/{demo}/obs/{camera}"):
        film = file["data"][demo][f"obs/{camera}"]
        require_stored(film, path)
        return [np.asarray(film[row]) for row in rows]


def _is_film(item: object) -> TypeGuard[h5py.Dataset]:
    return (
        isinstance(item, h5py.Dataset)
        and item.dtype == np.uint8
        and item.ndim == 1 + 2 + 1
        and item.shape[-1] == _COLOURS
        and item.size > 0
    )
