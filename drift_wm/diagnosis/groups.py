"""Which entries of an observation belong together, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from drift_wm.datasets.readers import open_demonstrations
from drift_wm.envs.dm_control import DmControlEnv


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive entries of an observation."""

    name: str
    start: int
    stop: int


def groups_of_env(env: DmControlEnv) -> tuple[Group, ...]:
    """The entries of a task's `observation_spec`, such as position and velocity."""
    return _consecutive({name: entry.shape for name, entry in env.suite_environment.observation_spec().items()})


def groups_of_file(
    file: Path, obs_keys: Sequence[str] | None, size: int, *, mask: str | None = None
) -> tuple[Group, ...]:
    """The observation keys that make up D = `size` entries; a group for each entry where that is not several keys.

    Raises:
        ValueError: the file is missing or damaged, or lacks a key or the subset that is read.
    """
    found = open_demonstrations(file).describe(mask=mask)
    groups = _consecutive({name: found.obs_shapes[name] for name in found.keys(obs_keys, file)})
    if len(groups) > 1 and groups[-1].stop == size:
        return groups
    return single_entries(size)


def single_entries(size: int) -> tuple[Group, ...]:
    """A group for each of D = `size` entries."""
    return tuple(Group(f"obs[{i}]", i, i + 1) for i in range(size))


def entry_names(groups: Sequence[Group]) -> tuple[str, ...]:
    """What each of the D entries is called, such as `position[0]`."""
    return tuple(
        group.name if group.stop - group.start == 1 else f"{group.name}[{i}]"
        for group in groups
        for i in range(group.stop - group.start)
    )


def _consecutive(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Group, ...]:
    ends = accumulate((math.prod(shape) for shape in shapes.values()), initial=0)
    return tuple(Group(name, *ends) for name, ends in zip(shapes, pairwise(ends), strict=True))
