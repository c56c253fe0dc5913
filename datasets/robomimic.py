"""Reader of demonstrations in robomimic's HDF5 schema.

The layout is described in robomimic's documentation (docs/datasets/overview.md); files written by other
tools leave parts of it out. What is done about each part:

    data/demo_<i>/actions        required, T rows
    data/demo_<i>/obs/<key>      required, T rows: the observation before each action
    data/demo_<i>/next_obs/<key> where missing, the observation after the last action is unknown: that
                                 transition is dropped, L = T - 1. Otherwise L = T
    data/demo_<i>/rewards        where missing, an error, or zeros if the caller allows it
    data/demo_<i>/dones          where missing, zeros
    data/demo_<i>/states         kept where it is one array that covers all L + 1 observations
                                 (with `final_state`, as `Replay` writes it, where L = T); otherwise None
    mask/<name>                  names of the demos that belong to a subset

Demo numbers may have gaps. The attributes `total` and `num_samples` are not trusted. Actions are returned
as they are stored, also where they leave [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.demonstrations import Description
from drift_wm.datasets.episodes import Episode, Float32Array, Float64Array
from drift_wm.datasets.hdf5 import data_group, demo_names, demo_number, open_hdf5

_NOT_AN_OBSERVATION = "actions"
"""Isaac Lab stores the previous action under this observation key."""


class RobomimicFile:
    """A file of demonstrations."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def describe(self) -> Description:
        """See `Demonstrations.describe`.

        Raises:
            ValueError: the file is missing, damaged or of another schema.
        """
        path = self.path
        with open_hdf5(path) as file:
            demos = [file["data"][name] for name in select_demos(file, path, mask=None)]
            actions = [_dataset(demo, "actions", path) for demo in demos]
            obs = _obs_group(demos[0], path)
            shapes = {str(key): tuple(obs[key].shape[1:]) for key in obs if isinstance(obs[key], h5py.Dataset)}
            steps = sum(len(array) for array in actions)
            return Description(
                format="robomimic",
                episodes=len(demos),
                steps=steps,
                obs_shapes=shapes,
                action_size=int(np.prod(actions[0].shape[1:], dtype=int)),
                masks={name: len(_mask_members(file, name)) for name in _mask_names(file)},
                has_rewards="rewards" in demos[0],
                decision_seconds=float(file["data"].attrs.get("decision_seconds", 0.0)),
                warnings=_warnings(file, demos, steps),
            )

    def episodes(
        self,
        *,
        obs_keys: Sequence[str] | None = None,
        mask: str | None = None,
        allow_missing_rewards: bool = False,
    ) -> Iterator[Episode]:
        """See `Demonstrations.episodes`; without `obs_keys`, a copy of the actions is left out.

        `terminated` is the attribute of that name, as `Replay` writes it; in files of others it is the file's
        own `dones` at the last transition that is kept. Some of those were made with robomimic's `done_mode` 1
        or 2, which marks the end of every demo, whatever its cause.
        """
        path = self.path
        with open_hdf5(path) as file:
            names = select_demos(file, path, mask=mask)
            keys = _default_keys(file["data"][names[0]], path) if obs_keys is None else list(obs_keys)
            if not keys:
                raise ValueError(f"{path}: no low-dimensional observation key; name at least one in obs_keys")
            for name in names:
                yield _read_demo(file["data"][name], path, keys, allow_missing_rewards)


def read_episodes(
    path: str | Path,
    *,
    obs_keys: Sequence[str] | None = None,
    mask: str | None = None,
    allow_missing_rewards: bool = False,
) -> list[Episode]:
    """All demonstrations of a robomimic file, such as those this package writes, in memory."""
    demonstrations = RobomimicFile(path)
    return list(demonstrations.episodes(obs_keys=obs_keys, mask=mask, allow_missing_rewards=allow_missing_rewards))


def _warnings(file: h5py.File, demos: Sequence[h5py.Group], steps: int) -> tuple[str, ...]:
    """What does not fit together, or is missing."""
    found = []
    total = file["data"].attrs.get("total")
    if total is not None and int(total) != steps:
        found.append(f"the attribute total says {int(total)} steps, the demos hold {steps}")
    numbers = [demo_number(str(demo.name).rsplit("/", 1)[-1]) for demo in demos]
    if gaps := len(range(numbers[0], numbers[-1] + 1)) - len(numbers):
        found.append(f"{gaps} numbers between demo_{numbers[0]} and demo_{numbers[-1]} are not there")
    for name, loss in (
        ("next_obs", "so the last transition of each demo is dropped"),
        ("rewards", "so a world model learns none"),
        ("dones", "so no demo is known to have ended"),
        ("states", "so the demos cannot be replayed in a simulator"),
    ):
        without = sum(name not in demo for demo in demos)
        if without:
            found.append(f"{without} of {len(demos)} demos have no {name}, {loss}")
    if "env_args" not in file["data"].attrs:
        found.append("the attribute env_args is missing, so the task is not known")
    return tuple(found)


def select_demos(file: h5py.File, path: Path, *, mask: str | None) -> list[str]:
    """The names of all demos, or of those of a subset, sorted by number.

    Raises:
        ValueError: there is none, or no such subset.
    """
    data = data_group(file, path)
    names = demo_names(data)
    if not names:
        raise ValueError(f"{path}: data holds no demo_<i>, found {sorted(data)}; collect or convert demos first")
    if mask is None:
        return names
    if mask not in _mask_names(file):
        raise ValueError(f"{path}: no mask/{mask}, this file has {_mask_names(file)}; choose one of them or None")
    members = _mask_members(file, mask)
    if not members:
        raise ValueError(f"{path}: mask/{mask} is empty, expected names of demos; choose another mask")
    if absent := sorted(members - set(names)):
        raise ValueError(f"{path}: mask/{mask} names {absent}, which data does not hold; rewrite the mask")
    return sorted(members, key=demo_number)


def _mask_names(file: h5py.File) -> list[str]:
    return sorted(str(name) for name in file.get("mask", ()))


def _mask_members(file: h5py.File, name: str) -> set[str]:
    stored = file["mask"][name][()]
    return {entry.decode() if isinstance(entry, bytes) else str(entry) for entry in stored}


def _obs_group(demo: h5py.Group, path: Path) -> h5py.Group:
    obs = demo.get("obs")
    if not isinstance(obs, h5py.Group):
        raise ValueError(
            f"{path}: {demo.name} has no group obs, found {sorted(demo)}; where it holds states only, "
            f"extract observations with robomimic's dataset_states_to_obs"
        )
    return obs


def _default_keys(demo: h5py.Group, path: Path) -> list[str]:
    obs = _obs_group(demo, path)
    return sorted(
        str(key)
        for key, item in obs.items()
        if isinstance(item, h5py.Dataset) and item.ndim <= 2 and key != _NOT_AN_OBSERVATION
    )


def _read_demo(demo: h5py.Group, path: Path, keys: list[str], allow_missing_rewards: bool) -> Episode:
    actions = _float32_matrix(_dataset(demo, "actions", path), path)
    stored = len(actions)
    obs = _concatenated(_obs_group(demo, path), keys, path, length=stored)
    length = stored - 1
    if "next_obs" in demo:
        length = stored
        obs = np.concatenate([obs, _concatenated(demo["next_obs"], keys, path, length=stored)[-1:]])
    rewards = _rewards(demo, path, stored, allow_missing_rewards)
    terminated = _terminated(demo, path, stored, length)
    states = _states(demo, path, stored, length)
    try:
        return Episode(
            obs=obs,
            actions=actions[:length],
            rewards=rewards[:length],
            terminated=terminated,
            states=states,
            seed=int(demo.attrs["seed"]) if "seed" in demo.attrs else None,
            source=str(demo.attrs.get("source", path.name)),
            success=_success(demo),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {demo.name} with observation keys {keys}: {error}") from error


def _concatenated(group: h5py.Group, keys: list[str], path: Path, *, length: int) -> Float32Array:
    columns = []
    for key in keys:
        dataset = _dataset(group, key, path)
        _check_length(dataset, path, length)
        columns.append(_float32_matrix(dataset, path))
    return np.concatenate(columns, axis=1)


def _rewards(demo: h5py.Group, path: Path, stored: int, allow_missing: bool) -> Float32Array:
    if "rewards" not in demo and allow_missing:
        return np.zeros(stored, np.float32)
    if "rewards" not in demo:
        raise ValueError(f"{path}: {demo.name} has no rewards; set allow_missing_rewards to read zeros")
    dataset = _dataset(demo, "rewards", path)
    _check_length(dataset, path, stored)
    rewards = _float32_matrix(dataset, path)
    if rewards.shape[1] != 1:
        raise ValueError(
            f"{path}: {dataset.name} has shape {dataset.shape}, expected one number for each action; sum them"
        )
    return rewards[:, 0]


def _terminated(demo: h5py.Group, path: Path, stored: int, length: int) -> bool:
    if "terminated" in demo.attrs and length == stored:
        return bool(demo.attrs["terminated"])
    if "dones" not in demo or length < 1:
        return False
    dataset = _dataset(demo, "dones", path)
    _check_length(dataset, path, stored)
    return bool(np.any(read_array(dataset, path)[length - 1]))


def _success(demo: h5py.Group) -> bool | None:
    """The attribute of that name, as `Replay` writes it."""
    return bool(demo.attrs["success"]) if "success" in demo.attrs else None


def _states(demo: h5py.Group, path: Path, stored: int, length: int) -> Float64Array | None:
    dataset = demo.get("states")
    if not isinstance(dataset, h5py.Dataset):
        return None
    _check_length(dataset, path, stored)
    states = np.asarray(read_array(dataset, path), np.float64)
    if length < stored:
        return states
    if "final_state" not in demo:
        return None
    return np.concatenate([states, read_array(demo["final_state"], path)[None]])


def _dataset(group: h5py.Group, key: str, path: Path) -> h5py.Dataset:
    dataset = group.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{path}: {group.name} has no array {key!r}, found {sorted(group)}; choose among them")
    return dataset


def _check_length(dataset: h5py.Dataset, path: Path, length: int) -> None:
    if dataset.ndim < 1 or len(dataset) != length:
        raise ValueError(
            f"{path}: {dataset.name} has shape {dataset.shape}, expected {length} rows like actions; "
            f"repair or remove this demo"
        )


def _float32_matrix(dataset: h5py.Dataset, path: Path) -> Float32Array:
    """(T,) or (T, D) of any number type -> (T, D) or (T, 1) float32."""
    if dataset.ndim not in (1, 2):
        raise ValueError(
            f"{path}: {dataset.name} has shape {dataset.shape}, expected (T,) or (T, size); leave images out"
        )
    if dataset.dtype.kind not in "biuf":
        raise ValueError(f"{path}: {dataset.name} holds {dataset.dtype}, expected numbers; leave out this key")
    values = read_array(dataset, path)
    # A float64 beyond float32 becomes an infinity, which `Episode` reports with its position.
    with np.errstate(over="ignore"):
        return (values if values.ndim == 2 else values[:, None]).astype(np.float32)


def read_array(dataset: h5py.Dataset, path: Path) -> NDArray[np.generic]:
    """The whole of an array.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return np.asarray(dataset[()])
    except OSError as error:
        raise ValueError(f"{path}: {dataset.name} is damaged ({error}); copy the file again") from error
