"""Reader of Minari datasets (HDF5 storage): `<root>/data/main_data.hdf5` with `metadata.json` beside `data`.

    episode_<i>/observations     T + 1 rows, an array or nested groups of arrays (dictionary spaces)
    episode_<i>/actions          T rows, likewise
    episode_<i>/rewards          T
    episode_<i>/terminations     T; the last one says whether the world ended
    episode_<i>.attrs            seed

The layout is that of Minari 0.5 (minari.farama.org, "Dataset standards").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.demonstrations import Description, require_no_mask
from drift_wm.datasets.episodes import Episode, Float32Array
from drift_wm.datasets.hdf5 import open_hdf5

MAIN_FILE = Path("data/main_data.hdf5")
_NAME = re.compile(r"episode_(\d+)")


class MinariDataset:
    """A dataset by its folder, or by its `main_data.hdf5`."""

    def __init__(self, path: Path) -> None:
        self.path = path / MAIN_FILE if path.is_dir() else path

    def describe(self) -> Description:
        """See `Demonstrations.describe`."""
        with open_hdf5(self.path) as file:
            names = episode_names(file)
            arrays = [_arrays(file[name], "actions", self.path) for name in names]
            shapes = {key: tuple(array.shape[1:]) for key, array in _arrays(file[names[0]], "observations", self.path)}
            sizes = [int(np.prod(array.shape[1:], dtype=int)) for _, array in arrays[0]]
            return Description(
                format="Minari",
                episodes=len(names),
                steps=sum(len(of_episode[0][1]) for of_episode in arrays),
                obs_shapes=shapes,
                action_size=sum(sizes),
                has_rewards="rewards" in file[names[0]],
            )

    def episodes(
        self,
        *,
        obs_keys: Sequence[str] | None = None,
        mask: str | None = None,
        allow_missing_rewards: bool = False,
    ) -> Iterator[Episode]:
        """See `Demonstrations.episodes`; nested groups give keys `outer/inner`, a plain array `observations`."""
        require_no_mask(mask, "Minari")
        with open_hdf5(self.path) as file:
            for name in episode_names(file):
                yield self._read(file[name], obs_keys, allow_missing_rewards)

    def _read(self, group: h5py.Group, obs_keys: Sequence[str] | None, allow_missing_rewards: bool) -> Episode:
        actions = _joined(_arrays(group, "actions", self.path), None, self.path)
        obs = _joined(_arrays(group, "observations", self.path), obs_keys, self.path)
        if "rewards" in group:
            rewards = np.asarray(group["rewards"][()], dtype=np.float32)
        elif allow_missing_rewards:
            rewards = np.zeros(len(actions), np.float32)
        else:
            raise ValueError(f"{self.path}: {group.name} has no rewards; set allow_missing_rewards to read zeros")
        ended = group.get("terminations")
        try:
            return Episode(
                obs=obs,
                actions=actions,
                rewards=rewards,
                terminated=bool(ended[()][-1]) if ended is not None and len(ended) else False,
                seed=_seed(group),
                source=self.path.parent.parent.name,
            )
        except ValueError as error:
            raise ValueError(f"{self.path}: {group.name}: {error}") from error


def episode_names(file: h5py.File) -> list[str]:
    """The names `episode_<i>` of a file, by number.

    Raises:
        ValueError: there is none.
    """
    names = sorted((str(name) for name in file if _NAME.fullmatch(name)), key=lambda name: int(name[8:]))
    if not names:
        raise ValueError(f"{file.filename}: no episode_<i>, found {sorted(file)}; expected a Minari dataset")
    return names


def _arrays(group: h5py.Group, name: str, path: Path) -> list[tuple[str, h5py.Dataset]]:
    """The arrays below a name, those of nested groups included, sorted by their path."""
    found = group.get(name)
    if isinstance(found, h5py.Dataset):
        return [(name, found)]
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{path}: {group.name} has no {name}, found {sorted(group)}")
    arrays: list[tuple[str, h5py.Dataset]] = []
    found.visititems(lambda key, item: arrays.append((key, item)) if isinstance(item, h5py.Dataset) else None)
    return sorted(arrays)


def _joined(arrays: list[tuple[str, h5py.Dataset]], keys: Sequence[str] | None, path: Path) -> Float32Array:
    """(T, size) of the chosen arrays, or of all with at most one dimension a frame."""
    known = dict(arrays)
    chosen = [key for key, array in arrays if array.ndim <= 2] if keys is None else list(keys)
    if unknown := [key for key in chosen if key not in known]:
        raise ValueError(f"{path}: no observation {unknown}, found {sorted(known)}; choose among them")
    if not chosen:
        raise ValueError(f"{path}: no low-dimensional array among {sorted(known)}; name one")
    columns = [np.asarray(known[key][()], dtype=np.float32).reshape(len(known[key]), -1) for key in chosen]
    return np.concatenate(columns, axis=1)


def _seed(group: h5py.Group) -> int | None:
    """Minari stores -1 or "None" where no seed was given."""
    value = group.attrs.get("seed")
    return int(value) if isinstance(value, int | np.integer) and value >= 0 else None
