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

Beside robomimic's own `SequenceDataset` (frame_stack = K, seq_length = k, pad_seq_length=False), the windows of
`drift_wm.datasets.windows` are the same in observations, next observations, rewards and actions. They differ in the
actions before the first, which are zeros here and repetitions of the first there, and in number: a demo of T rows gives
T - k + 1 with `next_obs` in both, and without one fewer here, as nothing is known after its last action. By default it
also pads windows at a demo's end by repeating the last row (pad_seq_length=True); here none reaches beyond the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.demonstrations import Description, require_one_size
from drift_wm.datasets.episodes import Episode, Float32Array, Float64Array
from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import (
    array_in,
    attribute,
    data_group,
    demo_names,
    demo_number,
    group_in,
    member,
    names_in,
    number_attribute,
    open_hdf5,
    read_matrix,
    read_numbers,
    shape_of,
)
from drift_wm.datasets.keys import choose_keys

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
        with open_hdf5(path) as file, reading(path):
            data = data_group(file, path)
            demos = [demo_group(data, name, path) for name in select_demos(file, path, mask=None)]
            actions = [shape_of(array_in(demo, "actions", path), path) for demo in demos]
            steps = sum(shape[0] for shape in actions)
            return Description(
                format="robomimic",
                episodes=len(demos),
                steps=steps,
                obs_shapes=_obs_shapes(demos[0], path),
                action_size=int(np.prod(actions[0][1:], dtype=int)),
                masks={name: len(_mask_members(file, name, path)) for name in _mask_names(file, path)},
                has_rewards="rewards" in demos[0],
                decision_seconds=float(number_attribute(data, "decision_seconds", path) or 0.0),
                warnings=_warnings(data, demos, steps, path),
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
        return require_one_size(self._read(obs_keys, mask, allow_missing_rewards), self.path)

    def _read(
        self, obs_keys: Sequence[str] | None, mask: str | None, allow_missing_rewards: bool
    ) -> Iterator[tuple[str, Episode]]:
        """Names and demonstrations."""
        path = self.path
        with open_hdf5(path) as file:
            data = data_group(file, path)
            names = select_demos(file, path, mask=mask)
            shapes = _obs_shapes(demo_group(data, names[0], path), path)
            flat = [key for key, shape in shapes.items() if len(shape) <= 1 and key != _NOT_AN_OBSERVATION]
            keys = choose_keys(obs_keys, known=list(shapes), flat=flat, path=path)
            for name in names:
                demo = demo_group(data, name, path)
                with reading(path, str(demo.name)):
                    episode = _read_demo(demo, path, keys, allow_missing_rewards)
                yield str(demo.name), episode


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


def _warnings(data: h5py.Group, demos: Sequence[h5py.Group], steps: int, path: Path) -> tuple[str, ...]:
    """What does not fit together, or is missing."""
    found = []
    total = attribute(data, "total", path)
    if total is not None and not np.array_equal(np.asarray(total), steps):
        found.append(f"the attribute total says {total} steps, the demos hold {steps}")
    numbers = [demo_number(str(demo.name).rsplit("/", 1)[-1]) for demo in demos]
    if gaps := numbers[-1] - numbers[0] + 1 - len(numbers):
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
    if "env_args" not in data.attrs:
        found.append("the attribute env_args is missing, so the task is not known")
    return tuple(found)


def demo_group(data: h5py.Group, name: str, path: Path) -> h5py.Group:
    """A demo by its name.

    Raises:
        ValueError: it is no group.
    """
    return group_in(data, name, path, remedy="repair or remove this demo")


def select_demos(file: h5py.File, path: Path, *, mask: str | None) -> list[str]:
    """The names of all demos, or of those of a subset, sorted by number.

    Raises:
        ValueError: there is none, or no such subset.
    """
    data = data_group(file, path)
    with reading(path, "data"):
        names = demo_names(data)
    if not names:
        raise ValueError(
            f"{path}: data holds no demo_<i>, found {names_in(data, path)}; collect or convert demos first"
        )
    if mask is None:
        return names
    if mask not in _mask_names(file, path):
        raise ValueError(f"{path}: no mask/{mask}, this file has {_mask_names(file, path)}; choose one of them or None")
    members = _mask_members(file, mask, path)
    if not members:
        raise ValueError(f"{path}: mask/{mask} is empty, expected names of demos; choose another mask")
    if absent := sorted(members - set(names)):
        raise ValueError(f"{path}: mask/{mask} names {absent}, which data does not hold; rewrite the mask")
    return sorted(members, key=demo_number)


def _mask_names(file: h5py.File, path: Path) -> list[str]:
    masks = member(file, "mask", path)
    if masks is not None and not isinstance(masks, h5py.Group):
        raise ValueError(f"{path}: mask is no group, expected the subsets of the demos in it; remove it")
    return [] if masks is None else names_in(masks, path)


def _mask_members(file: h5py.File, name: str, path: Path) -> set[str]:
    stored = array_in(file["mask"], name, path)
    with reading(path, str(stored.name)):
        if stored.ndim != 1 or stored.dtype.kind not in "SO":
            raise ValueError(
                f"{path}: mask/{name} holds {stored.dtype} of shape {stored.shape}, expected names of demos; remove it"
            )
        return {entry.decode() if isinstance(entry, bytes) else str(entry) for entry in stored[()]}


def _obs_group(demo: h5py.Group, path: Path) -> h5py.Group:
    remedy = "where it holds states only, extract observations with robomimic's dataset_states_to_obs"
    return group_in(demo, "obs", path, remedy=remedy)


def _obs_shapes(demo: h5py.Group, path: Path) -> dict[str, tuple[int, ...]]:
    """The arrays of observations, and the shape of one row."""
    obs = _obs_group(demo, path)
    found = {name: member(obs, name, path) for name in names_in(obs, path)}
    return {name: shape_of(item, path)[1:] for name, item in found.items() if isinstance(item, h5py.Dataset)}


def _read_demo(demo: h5py.Group, path: Path, keys: list[str], allow_missing_rewards: bool) -> Episode:
    actions = read_matrix(array_in(demo, "actions", path), path)
    stored = len(actions)
    obs = _concatenated(_obs_group(demo, path), keys, path, length=stored)
    length = stored - 1
    if "next_obs" in demo:
        length = stored
        after = group_in(demo, "next_obs", path, remedy="repair or remove this demo")
        obs = np.concatenate([obs, _concatenated(after, keys, path, length=stored, last=True)])
    rewards = _rewards(demo, path, stored, allow_missing_rewards)
    terminated = _terminated(demo, path, stored, length)
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
            seed=None if seed is None else int(seed),
            source=path.name if source is None else str(source),
            success=None if success is None else bool(success),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {demo.name} with observation keys {keys}: {error}") from error


def _concatenated(group: h5py.Group, keys: list[str], path: Path, *, length: int, last: bool = False) -> Float32Array:
    columns = [read_matrix(array_in(group, key, path), path, rows=length, last=last) for key in keys]
    return np.concatenate(columns, axis=1)


def _rewards(demo: h5py.Group, path: Path, stored: int, allow_missing: bool) -> Float32Array:
    if "rewards" not in demo and allow_missing:
        return np.zeros(stored, np.float32)
    if "rewards" not in demo:
        raise ValueError(f"{path}: {demo.name} has no rewards; set allow_missing_rewards to read zeros")
    dataset = array_in(demo, "rewards", path)
    rewards = read_matrix(dataset, path, rows=stored)
    if rewards.shape[1] != 1:
        raise ValueError(
            f"{path}: {dataset.name} has shape {dataset.shape}, expected one number for each action; sum them"
        )
    return rewards[:, 0]


def _terminated(demo: h5py.Group, path: Path, stored: int, length: int) -> bool:
    told = number_attribute(demo, "terminated", path)
    if told is not None and length == stored:
        return bool(told)
    if "dones" not in demo or length < 1:
        return False
    dones = read_numbers(array_in(demo, "dones", path), path, rows=stored)
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
