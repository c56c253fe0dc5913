"""One demo of a robomimic file, see `drift_wm.datasets.robomimic` for its parts."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.episodes import Episode, Float32Array, Float64Array, require_finite
from drift_wm.datasets.guard import NotDamagedError
from drift_wm.datasets.hdf5 import (
    array_in,
    attribute,
    group_in,
    member,
    names_in,
    number_attribute,
    read_matrix,
    read_numbers,
    read_rewards,
    shape_of,
)
from drift_wm.datasets.hdf5_storage import require_written
from drift_wm.datasets.keys import side_by_side

REPAIR = "repair or remove this demo"
_SAME = 1e-3
"""Of an entry's standard deviation: two observations that differ less are one."""
_ROUNDING = 4
"""Steps between neighbouring float32 numbers that two ways of computing one observation may be apart."""


def read_demo(
    demo: h5py.Group, path: Path, keys: list[str], allow_missing_rewards: bool, *, dones_are_ends: bool
) -> Episode:
    """Read one demo.

    Args:
        demo: its group.
        path: of the file, for messages.
        keys: of the observations, concatenated in this order.
        allow_missing_rewards: whether zeros stand for rewards that are not there.
        dones_are_ends: whether `dones` tell of the end of a world, where nothing else does.

    Raises:
        ValueError: something is missing, damaged, or does not fit.
    """
    if actions_of(demo, path).shape[:1] == (0,):
        raise ValueError(f"{path}: {demo.name}/actions has no rows, expected one for each step; {REPAIR}")
    actions = _written(demo, "actions", path)
    stored = len(actions)
    if "next_obs" not in demo:
        _require_rows_to_follow(obs_group(demo, path), keys, path, stored=stored)
    obs = _concatenated(obs_group(demo, path), keys, path, length=stored)
    length = stored - 1
    if "next_obs" in demo:
        length = stored
        after = _concatenated(group_in(demo, "next_obs", path, remedy=REPAIR), keys, path, length=stored)
        _require_one_stretch(obs, after, f"{path}: {demo.name}")
        obs = np.concatenate([obs, after[-1:]])
    rewards = read_rewards(demo, path, rows=stored, allow_missing=allow_missing_rewards)
    terminated = _terminated(demo, path, stored, length, dones_are_ends=dones_are_ends)
    states = _states(demo, path, stored, length)
    seed, success = (number_attribute(demo, name, path) for name in ("seed", "success"))
    source = attribute(demo, "source", path)
    try:
        return Episode(
            obs=obs,
            actions=actions[:length],
            rewards=rewards[:length],
            terminated=terminated,
            states=states,
            seed=None if seed is None or seed < 0 else int(seed),
            source=path.name if source is None else str(source),
            success=None if success is None else bool(success),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {demo.name} with observation keys {keys}: {error}") from error


def actions_of(demo: h5py.Group, path: Path) -> h5py.Dataset:
    """The array of a demo's actions, which must be there.

    Raises:
        ValueError: there is none, or an action is no row of numbers.
    """
    remedy = "rename action to actions" if "action" in names_in(demo, path) else REPAIR
    actions = array_in(demo, "actions", path, remedy=remedy)
    if len(shape := shape_of(actions, path)) > 2:
        rows = (shape[0], math.prod(shape[1:]))
        raise NotDamagedError(
            f"{path}: {actions.name} has shape {shape}, expected (T,) or (T, size), a row of numbers for each step; "
            f"rewrite them as {rows}, for example with numpy's reshape"
        )
    return actions


def obs_group(demo: h5py.Group, path: Path) -> h5py.Group:
    """The group of a demo's observations, which must be there."""
    if isinstance(found := member(demo, "obs", path), h5py.Dataset):
        raise ValueError(
            f"{path}: {found.name} is an array of shape {found.shape}, expected a group with an array for each sensor; "
            "store it as obs/state"
        )
    remedy = "where it holds states only, extract observations with robomimic's dataset_states_to_obs"
    return group_in(demo, "obs", path, remedy=remedy)


def _concatenated(group: h5py.Group, keys: list[str], path: Path, *, length: int) -> Float32Array:
    parts = {key: _written(group, key, path, rows=length) for key in keys}
    return side_by_side(parts, where=f"{path}: {group.name}")


def _written(group: h5py.Group, name: str, path: Path, *, rows: int | None = None) -> Float32Array:
    """An array whose zeros are recorded ones; those of rewards and dones may be what HDF5 fills in."""
    array = array_in(group, name, path)
    matrix = read_matrix(array, path, rows=rows)
    require_written(array, path)
    return matrix


def _require_rows_to_follow(obs: h5py.Group, keys: list[str], path: Path, *, stored: int) -> None:
    """Raise a ValueError for observations of a demo without `next_obs` that have one row too many, or just one."""
    if all(shape_of(array_in(obs, key, path), path)[0] == stored + 1 for key in keys):
        raise ValueError(
            f"{path}: {obs.name} has arrays of {stored + 1} rows, expected {stored} like actions; store their rows "
            "[:-1] as obs and [1:] as next_obs"
        )
    if stored == 1:
        raise ValueError(
            f"{path}: {obs.parent.name}: its only action has no observation after it; store that in next_obs, or "
            "remove this demo"
        )


def _require_one_stretch(obs: Float32Array, after: Float32Array, where: str) -> None:
    """Raise a ValueError where some next observation is not the observation of the next row.

    Windows over such rows would be of transitions that never happened. What counts is how much an entry moves: a
    clock, or a position far from zero, moves little beside what it is.
    """
    with np.errstate(over="ignore"):  # the largest number has no next one
        rounding = _ROUNDING * np.spacing(np.abs(obs).max(axis=0))
    away = np.abs(after[:-1].astype(np.float64) - obs[1:])
    follows = (away <= _SAME * obs.std(axis=0, dtype=np.float64) + rounding).all(axis=1)
    if not follows.all():
        first = int(np.argmin(follows))
        raise ValueError(
            f"{where}: next_obs[{first}] is not obs[{first + 1}], nor is it in {np.count_nonzero(~follows)} of "
            f"{len(obs)} rows: several episodes in one demo, or rows that were shuffled or left out; write each "
            "stretch of time as a demo of its own, or remove next_obs if the rows do follow each other"
        )


def _terminated(demo: h5py.Group, path: Path, stored: int, length: int, *, dones_are_ends: bool) -> bool:
    told = number_attribute(demo, "terminated", path)
    if told is not None and length == stored:
        return bool(told)
    if "dones" not in demo or length < 1 or not dones_are_ends:
        return False
    dones = read_numbers(array_in(demo, "dones", path), path, rows=stored)
    require_finite(f"{path}: {demo.name}/dones", dones)
    return bool(np.any(dones[length - 1]))


def _states(demo: h5py.Group, path: Path, stored: int, length: int) -> Float64Array | None:
    dataset = member(demo, "states", path)
    if not isinstance(dataset, h5py.Dataset):
        return None
    states = np.asarray(read_numbers(dataset, path, rows=stored), np.float64)
    if length < stored:
        return states
    if "final_state" not in demo:
        return None
    return np.concatenate([states, read_numbers(array_in(demo, "final_state", path), path)[None]])
