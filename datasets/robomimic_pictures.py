"""Pictures in robomimic files: observations of type uint8 (T, height, width, 3), of which only some are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.hdf5 import open_hdf5
from drift_wm.datasets.robomimic import select_demos

_COLOURS = 3


def cameras(path: Path) -> list[str]:
    """The observation keys of the first demo that are pictures."""
    with open_hdf5(path) as file:
        obs = file["data"][select_demos(file, path, mask=None)[0]].get("obs")
        return sorted(str(key) for key in obs if _is_film(obs[key])) if isinstance(obs, h5py.Group) else []


def demos_with(path: Path, camera: str) -> dict[str, int]:
    """The demos that have pictures of a camera, and how many each; those that have none are left out."""
    with open_hdf5(path) as file:
        films = {name: file["data"][name].get(f"obs/{camera}") for name in select_demos(file, path, mask=None)}
        return {name: len(film) for name, film in films.items() if _is_film(film)}


def read_pictures(path: Path, camera: str, demo: str, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Some pictures (height, width, 3) of a demo; the others stay on the disk.

    Raises:
        ValueError: the file is damaged there.
    """
    with open_hdf5(path) as file:
        film = file["data"][demo][f"obs/{camera}"]
        try:
            return [np.asarray(film[row]) for row in rows]
        except OSError as error:
            raise ValueError(f"{path}: {film.name} is damaged ({error}); copy the file again") from error


def _is_film(item: object) -> bool:
    return (
        isinstance(item, h5py.Dataset)
        and item.dtype == np.uint8
        and item.ndim == 1 + 2 + 1
        and item.shape[-1] == _COLOURS
        and item.size > 0
    )
