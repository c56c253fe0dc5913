"""Reader of demonstrations in robomimic's HDF5 schema.

The layout is described in robomimic's documentation (docs/datasets/overview.md); files written by other
tools leave parts of it out. What is done about each part:

    data/demo_<i>/actions        required, T rows
    data/demo_<i>/obs/<key>      required, T rows: the observation before each action; nested groups give keys
                                 `outer/inner`
    data/demo_<i>/next_obs/<key> where missing, the observation after the last action is unknown: that
                                 transition is dropped, L = T - 1. Otherwise L = T, and each row must be the
                                 next one of obs: a demo is one stretch of time
    data/demo_<i>/rewards        where missing, an error, or zeros if the caller allows it
    data/demo_<i>/dones          where missing, zeros; where every demo ends with one, they mark the ends of
                                 recordings, not of worlds
    data/demo_<i>/states         kept where it covers all L + 1 observations (with `final_state`, as `Replay` writes
                                 it, where L = T); an error where its rows are not those of actions
    mask/<name>                  names of the demos that belong to a subset; refused, if damaged, only when asked for

Demo numbers may have gaps. The attributes `total` and `num_samples` are not trusted. Actions are returned
as they are stored, also where they leave [-1, 1].

Beside robomimic's own `SequenceDataset` (frame_stack = K, seq_length = k, pad_seq_length=False), the windows of
`drift_wm.datasets.windows` are the same in observations, next observations, rewards and actions. They differ in the
actions before the first, which are zeros here and repetitions of the first there, and in number: a demo of T rows gives
T - k + 1 with `next_obs` in both, and without one fewer here, as nothing is known after its last action. By default it
also pads windows at a demo's end by repeating the last row (pad_seq_length=True); here none reaches beyond the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.demonstrations import Demonstrations, Description, Reading, SameWidths
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import (
    array_in,
    attribute,
    data_group,
    demo_names,
    demo_number,
    expected_layout,
    group_in,
    holds_numbers,
    member,
    names_in,
    number_attribute,
    open_hdf5,
    shape_of,
)
from drift_wm.datasets.hdf5_storage import require_stored
from drift_wm.datasets.keys import choose_keys
from drift_wm.datasets.robomimic_demo import REPAIR, actions_of, obs_group, read_demo
from drift_wm.datasets.robomimic_notes import (
    arrays_of,
    ends_not_learned,
    every_demo_is_done,
    first_whole,
    keys_not_read,
    rewards_dropped,
    what_does_not_fit,
)

_NOT_OBSERVATIONS = frozenset({"actions", "datagen_info"})
"""Isaac Lab stores the previous action under the first of these observation keys, and in the second, a group, by what
its demos are multiplied: the pose that an action aims at, for one."""
OBS_KEYS = "obs_keys"
"""Attribute of `data` in files of `drift-wm data convert`: the observation keys in the order of their source."""
ACTION_BOUNDS = ("action_low", "action_high")
"""Attributes of `data` in files of `drift-wm data convert`, (A,): what -1 and 1 stand for in the robot's units."""


class RobomimicFile(Demonstrations):
    """A file of demonstrations.

    Without `obs_keys`, those that the attribute of that name lists are read first, in its order, then the others,
    sorted, of which `_NOT_OBSERVATIONS` are left out. `terminated` is the attribute of that name, as `Replay`
    writes it; in files of others it is the file's own `dones` at the last transition that is kept, unless those of all
    demos are set: robomimic's `done_mode` 1 and 2 mark the end of every demo so, whatever its cause.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def describe(self, *, mask: str | None = None) -> Description:
        """See `Demonstrations.describe`.

        Raises:
            ValueError: the file is missing, damaged or of another schema, or has no such subset.
        """
        path = self.path
        with open_hdf5(path) as file, reading(path):
            data = data_group(file, path)
            named = {name: demo_group(data, name, path) for name in select_demos(file, path, mask=None)}
            chosen = [named[name] for name in select_demos(file, path, mask=mask)]
            demos, first = list(named.values()), first_whole(chosen, path)
            arrays = arrays_of(first, path)
            steps = sum(_rows(demo, path) for demo in demos)
            masks, damaged = readable_masks(file, path)
            return Description(
                format="robomimic",
                episodes=len(demos),
                steps=steps,
                obs_shapes={name: shape_of(array, path)[1:] for name, array in arrays.items()},
                action_size=math.prod(shape_of(actions_of(first, path), path)[1:]),
                flat_keys=tuple(_flat(arrays, first, path)),
                masks={name: len(members) for name, members in masks.items()},
                has_rewards="rewards" in first_whole(demos, path),
                decision_seconds=float(number_attribute(data, "decision_seconds", path) or 0.0),
                warnings=(*what_does_not_fit(data, named, masks, steps, path), *damaged),
                ignored_ends=tuple(ends_not_learned(demos, path)),
                dropped_rewards=tuple(rewards_dropped(chosen, path)),
                unread_keys=tuple(keys_not_read(first, chosen, path)),
            )

    def readings(
        self, *, obs_keys: Sequence[str] | None, mask: str | None, allow_missing_rewards: bool
    ) -> Iterator[Reading]:
        """See `Demonstrations.readings`."""
        path = self.path
        with open_hdf5(path) as file:
            data = data_group(file, path)
            names = select_demos(file, path, mask=mask)
            keys = chosen_keys([demo_group(data, name, path) for name in names], obs_keys, path)
            same = SameWidths(path)
            ends = not every_demo_is_done((demo_group(data, name, path) for name in demo_names(data)), path)

            def read(name: str) -> Episode:
                demo = demo_group(data, name, path)
                with reading(path, str(demo.name)):
                    episode = read_demo(demo, path, keys, allow_missing_rewards, dones_are_ends=ends)
                    obs = obs_group(demo, path)
                    same.require(str(demo.name), {key: array_in(obs, key, path) for key in keys})
                return episode

            for name in names:
                yield f"/data/{name}", partial(read, name)

    def rewards_recorded(self, *, mask: str | None = None) -> list[bool]:
        """See `Demonstrations.rewards_recorded`."""
        with open_hdf5(self.path) as file:
            data = data_group(file, self.path)
            names = select_demos(file, self.path, mask=mask)
            return ["rewards" in demo_group(data, name, self.path) for name in names]

    def action_bounds(self, *, size: int) -> ActionBounds | None:
        """See `Demonstrations.action_bounds`."""
        with open_hdf5(self.path) as file:
            data = data_group(file, self.path)
            low, high = (attribute(data, name, self.path) for name in ACTION_BOUNDS)
        if low is None or high is None:
            return None
        try:
            return ActionBounds.of(np.asarray(low), np.asarray(high), size=size)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self.path}: the attributes {' and '.join(ACTION_BOUNDS)} of data: {error}; repair or remove them"
            ) from error


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


def chosen_keys(demos: Sequence[h5py.Group], asked: Sequence[str] | None, path: Path) -> list[str]:
    """The observation keys that are read of all demos, by the first of them that has any; see `choose_keys`."""
    demo = first_whole(demos, path)
    arrays = arrays_of(demo, path)
    return choose_keys(asked, known=list(arrays), flat=_flat(arrays, demo, path), path=path)


def _flat(arrays: Mapping[str, h5py.Dataset], demo: h5py.Group, path: Path) -> list[str]:
    """The keys of a demo that are read where none are named."""
    flat = {key for key, array in arrays.items() if len(shape_of(array, path)) <= 2 and holds_numbers(array)}
    listed = [str(key) for key in np.asarray(attribute(demo.parent, OBS_KEYS, path)).flat if isinstance(key, str)]
    others = sorted(key for key in flat.difference(listed) if key.split("/")[0] not in _NOT_OBSERVATIONS)
    return [*(key for key in listed if key in flat), *others]


def _rows(demo: h5py.Group, path: Path) -> int:
    """T of its actions; 0 where there are none, which reading the demo tells of."""
    try:
        return shape_of(actions_of(demo, path), path)[0]
    except ValueError:
        return 0


def demo_group(data: h5py.Group, name: str, path: Path) -> h5py.Group:
    """A demo by its name.

    Raises:
        ValueError: it is no group.
    """
    return group_in(data, name, path, remedy=REPAIR)


def select_demos(file: h5py.File, path: Path, *, mask: str | None) -> list[str]:
    """The names of all demos, or of those of a subset, sorted by number.

    Raises:
        ValueError: there is none, or no such subset.
    """
    data = data_group(file, path)
    with reading(path, "data"):
        names = demo_names(data)
    if not names:
        raise ValueError(f"{path}: data holds no demo_<i>, found {names_in(data, path)}; {expected_layout(data, path)}")
    if mask is None:
        return names
    if mask not in (known := mask_names(file, path)):
        if not known:
            raise ValueError(f"{path}: no mask/{mask}, as this file has no subsets; leave out mask=")
        raise ValueError(f"{path}: no mask/{mask}, this file has {known}; choose one of them, or leave out mask=")
    members = mask_members(file, mask, path)
    if not members:
        raise ValueError(f"{path}: mask/{mask} is empty, expected names of demos; choose another mask")
    if absent := sorted(members - set(names)):
        raise ValueError(f"{path}: mask/{mask} names {absent}, which data does not hold; rewrite the mask")
    return sorted(members, key=demo_number)


def mask_names(file: h5py.File, path: Path) -> list[str]:
    """The subsets of the demos that a file names."""
    masks = member(file, "mask", path)
    if masks is not None and not isinstance(masks, h5py.Group):
        raise ValueError(f"{path}: mask is no group, expected the subsets of the demos in it; remove it")
    return [] if masks is None else names_in(masks, path)


def readable_masks(file: h5py.File, path: Path) -> tuple[dict[str, set[str]], list[str]]:
    """Subsets and their demos, see `mask_members`, and what is wrong with those that cannot be read."""
    try:
        names = mask_names(file, path)
    except ValueError as error:
        return {}, [str(error).removeprefix(f"{path}: ")]
    masks, damaged = {}, []
    for name in names:
        try:
            masks[name] = mask_members(file, name, path)
        except ValueError as error:
            damaged.append(f"{str(error).removeprefix(f'{path}: ')}; mask={name} is refused")
    return masks, damaged


def mask_members(file: h5py.File, name: str, path: Path) -> set[str]:
    """The names of the demos of a subset."""
    stored = array_in(file["mask"], name, path)
    with reading(path, str(stored.name)):
        if stored.ndim != 1 or stored.dtype.kind not in "SO":
            raise ValueError(
                f"{path}: mask/{name} holds {stored.dtype} of shape {stored.shape}, expected names of demos; remove it"
            )
        require_stored(stored, path)
        return {entry.decode() if isinstance(entry, bytes) else str(entry) for entry in stored[()]}
