"""What a user should know of a robomimic file: what is missing in it, and what in it is not learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.hdf5 import (
    array_in,
    arrays_below,
    attribute,
    demo_number,
    first_sound,
    member,
    names_in,
    number_attribute,
    read_numbers,
    shape_of,
)
from drift_wm.datasets.keys import why_not_read
from drift_wm.datasets.robomimic_demo import actions_of, obs_group

_SHOWN = 5
"""Names of each kind that a note lists."""


def what_does_not_fit(
    data: h5py.Group, demos: Mapping[str, h5py.Group], masks: Mapping[str, Set[str]], steps: int, path: Path
) -> list[str]:
    """What does not fit together, or is missing."""
    found = []
    total = attribute(data, "total", path)
    if total is not None and not np.array_equal(np.asarray(total), steps):
        found.append(f"the attribute total says {total} steps, the demos hold {steps}")
    numbers = [demo_number(name) for name in demos]
    if others := [name for name in names_in(data, path) if name not in demos]:
        shown = ", ".join(others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
        found.append(f"{len(others)} members of data are not called demo_<i>, and are not read: {shown}")
    found += [
        f"mask/{name} names {', '.join(absent)}, which data does not hold: mask={name} is refused until it is rewritten"
        for name, members in masks.items()
        if (absent := sorted(members - demos.keys())[:_SHOWN])
    ]
    found += [f"mask/{name} is empty: mask={name} is refused" for name, members in masks.items() if not members]
    if gaps := numbers[-1] - numbers[0] + 1 - len(set(numbers)):  # demo_1 and demo_01 are two demos of one number
        found.append(f"{gaps} numbers between demo_{numbers[0]} and demo_{numbers[-1]} are not there")
    for name, loss in (
        ("next_obs", "so the last transition of each demo is dropped"),
        ("rewards", "so a world model learns zeros of them, if allow_missing_rewards=true"),
        ("dones", "so none of them is known to have ended"),
        ("states", "so the demos cannot be replayed in a simulator"),
    ):
        without = sum(
            name not in demo and not (name == "dones" and "terminated" in demo.attrs) for demo in demos.values()
        )
        if without:
            found.append(f"{without} of {len(demos)} demos have no {name}, {loss}")
    if "env_args" not in data.attrs:
        found.append("the attribute env_args is missing, so the task is not known")
    return found


def ends_not_learned(demos: Sequence[h5py.Group], path: Path) -> list[str]:
    """Dones that are there and have no effect."""
    remedy = "to tell, set the attribute terminated of each demo, which counts where the demo has next_obs"
    if every_demo_is_done(demos, path):
        return [
            "every demo ends with done, which robomimic's extraction also writes where a recording stops: none is "
            f"taken for the end of a world; {remedy}"
        ]
    cut = [(_numbers(demo, "dones", path), _is_terminated(demo, path)) for demo in demos if "next_obs" not in demo]
    found = []
    if dropped := sum(bool(done[-1:].any() or ended) and not done[-2:-1].any() for done, ended in cut):
        found.append(
            f"{dropped} of {len(demos)} demos end with done, or are terminated, and have no next_obs: their last "
            "transition is dropped, and the end of the world with it; write next_obs into them, the observation after "
            "each action"
        )
    # Of the last two rows the last is dropped, and the one before says whether the world ended.
    if joined := sum(bool(done[:-2].any()) for done, _ in cut):
        found.append(
            f"{joined} of {len(demos)} demos have done in their midst and no next_obs that would tell whether the rows "
            "follow each other there: each is read as one stretch of time; if episodes were joined, write each as a "
            "demo of its own"
        )
    return found


def rewards_dropped(demos: Sequence[h5py.Group], path: Path) -> list[str]:
    """Rewards that are there and not learned, as the observation after their action is not there."""
    dropped = every = 0
    for demo in demos:
        rewards = _numbers(demo, "rewards", path)
        every += int(np.count_nonzero(rewards))
        dropped += 0 if "next_obs" in demo else int(np.count_nonzero(rewards[-1:]))
    if not dropped:
        return []
    return [
        f"{dropped:,} of {every:,} rewards that are not 0 are in the last rows of demos without next_obs, which are "
        "dropped, and the rewards with them; write next_obs into these demos, the observation after each action"
    ]


def keys_not_read(first: h5py.Group, demos: Sequence[h5py.Group], path: Path) -> list[str]:
    """Observations that are left out where no keys are named, and those that some demos lack.

    Args:
        first: the demo of which keys are read, see `first_whole`.
        demos: all that are read.
        path: of the file.
    """
    known = datasets_of(first, path)
    found = [told for name, item in known.items() if (told := why_not_read(f"obs/{name}", item))]
    groups = [group for demo in demos if isinstance(group := member(demo, "obs", path), h5py.Group)]
    counts = Counter(name for group in groups for name in arrays_below(group, path))
    for name, count in sorted(counts.items()):
        if count < len(groups):
            consequence = (
                "a demo without it cannot be read with it; name the others in obs_keys"
                if name in known
                else "the first is one of these, so it is not read"
            )
            found.append(f"{len(groups) - count} of {len(demos)} demos have no obs/{name}: {consequence}")
    return found


def arrays_of(demo: h5py.Group, path: Path) -> dict[str, h5py.Dataset]:
    """The arrays among a demo's observations; a single number, such as a rate, is none."""
    return {name: item for name, item in datasets_of(demo, path).items() if item.shape}


def datasets_of(demo: h5py.Group, path: Path) -> dict[str, h5py.Dataset]:
    """All that is stored among a demo's observations, by its key: `robot/left` where it lies in a group."""
    return arrays_below(obs_group(demo, path), path)


def first_whole(demos: Sequence[h5py.Group], path: Path) -> h5py.Group:
    """The first demo with observations and actions; else the first."""
    return first_sound(demos, lambda demo: arrays_of(demo, path) and actions_of(demo, path))


def every_demo_is_done(demos: Iterable[h5py.Group], path: Path) -> bool:
    """Whether all demos that say nowhere else if their world ended say done in their last rows: a recorder's habit."""
    found = False
    for demo in demos:
        if "terminated" in demo.attrs or "dones" not in demo:
            continue
        try:
            dones = array_in(demo, "dones", path)
            if not shape_of(dones, path)[0]:
                continue
            if not np.any(read_numbers(dones, path, last=True)):
                return False
        except ValueError:  # damaged, which reading the demo tells of
            continue
        found = True
    return found


def _numbers(demo: h5py.Group, name: str, path: Path) -> NDArray[np.generic]:
    """(T, ...) of a demo; none where there are none, or damaged ones, which reading the demo tells of."""
    try:
        return read_numbers(array_in(demo, name, path), path) if name in demo else np.zeros(0)
    except ValueError:
        return np.zeros(0)


def _is_terminated(demo: h5py.Group, path: Path) -> bool:
    """Whether an attribute says so; reading the demo tells of a damaged one."""
    try:
        return bool(number_attribute(demo, "terminated", path))
    except ValueError:
        return False
