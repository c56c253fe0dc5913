"""Reader of Minari datasets (HDF5 storage): `<root>/data/main_data.hdf5` with `metadata.json` beside it.

    episode_<i>/observations     T + 1 rows, an array or nested groups of arrays (dictionary spaces)
    episode_<i>/actions          T rows, likewise; read in [-1, 1] of the bounds that are stated
    episode_<i>/rewards          T
    episode_<i>/terminations     T; the last one says whether the world ended
    episode_<i>.attrs            seed

The layout is that of Minari 0.5 (minari.farama.org, "Dataset standards"). What Minari 0.5 states in `metadata.json`,
the action space and the environment, are attributes of the HDF5 file in Minari 0.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.demonstrations import Demonstrations, Description, Reading, SameWidths, require_no_mask
from drift_wm.datasets.episodes import Episode, Float32Array
from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import (
    array_in,
    arrays_below,
    attribute,
    first_sound,
    group_in,
    holds_numbers,
    member,
    names_in,
    open_hdf5,
    read_numbers,
    read_rewards,
    shape_of,
)
from drift_wm.datasets.hdf5_storage import require_written
from drift_wm.datasets.keys import choose_keys, side_by_side, why_not_read
from drift_wm.datasets.minari_metadata import action_bounds, environment_of
from drift_wm.datasets.single_precision import as_matrix

MAIN_FILE = Path("data/main_data.hdf5")
_READ = {"observations", "actions", "rewards", "terminations"}
_NAME = re.compile(r"episode_(\d+)")


class MinariDataset(Demonstrations):
    """A dataset by its folder, or by its `main_data.hdf5`.

    Nested groups give observation keys `outer/inner`, a plain array `observations`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / MAIN_FILE if path.is_dir() else path

    @property
    def environment(self) -> str | None:
        """Gymnasium's name of the environment that was recorded, where the dataset tells it."""
        with open_hdf5(self.path) as file:
            return environment_of(file, self.path)

    def describe(self, *, mask: str | None = None) -> Description:
        """See `Demonstrations.describe`."""
        require_no_mask(mask, "Minari")
        path = self.path
        with open_hdf5(path) as file, reading(path):
            episodes = [_episode(file, name, path) for name in episode_names(file, path)]
            first = _first_whole(episodes, path)
            observations = _arrays(first, "observations", path)
            size = _action_size(first, path)
            bounds = action_bounds(file, path, size)
            return Description(
                format="Minari",
                episodes=len(episodes),
                steps=sum(_rows(episode, path) for episode in episodes),
                obs_shapes={key: shape_of(array, path)[1:] for key, array in observations.items()},
                action_size=size,
                flat_keys=tuple(_flat(observations, path)),
                has_rewards="rewards" in first,
                unread_keys=tuple(
                    told for key, array in observations.items() if (told := why_not_read(f"observations/{key}", array))
                ),
                unread_parts=tuple(sorted({name for each in episodes for name in names_in(each, path)} - _READ)),
                warnings=() if bounds is None else (f"actions are read in [-1, 1] of the robot's {bounds}",),
            )

    def rewards_recorded(self, *, mask: str | None = None) -> list[bool]:
        """See `Demonstrations.rewards_recorded`."""
        require_no_mask(mask, "Minari")
        with open_hdf5(self.path) as file:
            return ["rewards" in _episode(file, name, self.path) for name in episode_names(file, self.path)]

    def readings(
        self, *, obs_keys: Sequence[str] | None, mask: str | None, allow_missing_rewards: bool
    ) -> Iterator[Reading]:
        """See `Demonstrations.readings`."""
        require_no_mask(mask, "Minari")
        path = self.path
        with open_hdf5(path) as file:
            names = episode_names(file, path)
            first = _first_whole([_episode(file, name, path) for name in names], path)
            known = _arrays(first, "observations", path)
            keys = choose_keys(obs_keys, known=list(known), flat=_flat(known, path), path=path)
            bounds = action_bounds(file, path, _action_size(first, path))
            same = SameWidths(path)

            def read(name: str) -> Episode:
                group = _episode(file, name, path)
                with reading(path, str(group.name)):
                    episode = _content(group, keys, same, path, allow_missing_rewards)
                return episode if bounds is None else replace(episode, actions=bounds.to_unit(episode.actions))

            for name in names:
                yield f"/{name}", partial(read, name)

    def action_bounds(self, *, size: int) -> ActionBounds | None:
        """See `Demonstrations.action_bounds`."""
        with open_hdf5(self.path) as file:
            return action_bounds(file, self.path, size)


def episode_names(file: h5py.File, path: Path) -> list[str]:
    """The names `episode_<i>` of a file, by number.

    Raises:
        ValueError: there is none.
    """
    found = names_in(file, path)
    names = sorted((name for name in found if _NAME.fullmatch(name)), key=lambda name: int(name[8:]))
    if not names:
        raise ValueError(f"{path}: no episode_<i>, found {found}; expected a Minari dataset")
    return names


def _episode(file: h5py.File, name: str, path: Path) -> h5py.Group:
    return group_in(file, name, path, remedy="repair or remove this episode")


def _flat(observations: dict[str, h5py.Dataset], path: Path) -> list[str]:
    """The keys that are read where none are named."""
    return [key for key, array in observations.items() if len(shape_of(array, path)) <= 2 and holds_numbers(array)]


def _action_size(episode: h5py.Group, path: Path) -> int:
    """A of the joined arrays of actions."""
    arrays = _arrays(episode, "actions", path)
    return sum(int(np.prod(shape_of(array, path)[1:], dtype=int)) for array in arrays.values())


def _rows(episode: h5py.Group, path: Path) -> int:
    """T of its actions; 0 where there are none, which reading the episode tells of."""
    try:
        return shape_of(next(iter(_arrays(episode, "actions", path).values())), path)[0]
    except ValueError:
        return 0


def _first_whole(episodes: Sequence[h5py.Group], path: Path) -> h5py.Group:
    """The first episode with observations and actions; else the first."""
    return first_sound(episodes, lambda episode: _arrays(episode, "observations", path) and _action_size(episode, path))


def _content(
    group: h5py.Group, keys: Sequence[str], same: SameWidths, path: Path, allow_missing_rewards: bool
) -> Episode:
    stored, observations = _arrays(group, "actions", path), _arrays(group, "observations", path)
    _require_continuous(stored, path)
    where = str(group.name)
    actions, obs = _joined(stored, None, path, where=where), _joined(observations, keys, path, where=where)
    rewards = read_rewards(group, path, rows=len(actions), allow_missing=allow_missing_rewards)
    terminated = False
    if "terminations" in group:
        ended = read_numbers(array_in(group, "terminations", path), path, rows=len(actions))
        terminated = len(ended) > 0 and bool(np.any(ended[-1]))
    try:
        episode = Episode(
            obs=obs,
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            seed=_seed(group, path),
            source=path.parent.parent.name,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {where}: {error}") from error
    actions_of = {f"actions/{key}": array for key, array in stored.items()}
    same.require(where, {key: observations[key] for key in keys} | actions_of)
    return episode


def _arrays(group: h5py.Group, name: str, path: Path) -> dict[str, h5py.Dataset]:
    """The arrays below a name, those of nested groups included, by their path and sorted by it.

    Raises:
        ValueError: there is none.
    """
    found = member(group, name, path)
    arrays: dict[str, h5py.Dataset] = {}
    if isinstance(found, h5py.Dataset):
        arrays[name] = found
    elif isinstance(found, h5py.Group):
        arrays = arrays_below(found, path)
    if not arrays:
        raise ValueError(f"{path}: {group.name} has no {name}, found {names_in(group, path)}; remove this episode")
    return dict(sorted(arrays.items()))


def _require_continuous(arrays: dict[str, h5py.Dataset], path: Path) -> None:
    """Raise a ValueError for actions of Discrete and MultiDiscrete spaces: numbers of choices measure nothing."""
    for array in arrays.values():
        if array.dtype.kind != "f":
            raise ValueError(
                f"{path}: {array.name} holds {array.dtype} of shape {array.shape}, expected floating-point actions of "
                "a Box space: discrete choices are not supported; choose a dataset of continuous actions"
            )


def _joined(arrays: dict[str, h5py.Dataset], keys: Sequence[str] | None, path: Path, *, where: str) -> Float32Array:
    """(T, size) of the chosen arrays, or of all; images that are named are flattened."""
    if absent := [key for key in keys or () if key not in arrays]:
        raise ValueError(f"{path}: no observation {absent}, found {sorted(arrays)}; remove this episode")
    columns = {}
    for key in keys or arrays:
        columns[key] = as_matrix(read_numbers(arrays[key], path), f"{path}: {arrays[key].name}")
        require_written(arrays[key], path)
    return side_by_side(columns, where=f"{path}: {where}")


def _seed(group: h5py.Group, path: Path) -> int | None:
    """Minari stores -1 or "None" where no seed was given."""
    value = attribute(group, "seed", path)
    return int(value) if isinstance(value, int | np.integer) and value >= 0 else None
