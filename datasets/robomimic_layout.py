"""What a robomimic file holds beside the numbers of its demos."""

from __future__ import annotations

from pathlib import Path

import h5py

from drift_wm.datasets.hdf5 import data_group, member, names_in, open_hdf5
from drift_wm.datasets.robomimic import demo_group, mask_members, mask_names, select_demos
from drift_wm.datasets.robomimic_demo import obs_group


def subsets(path: Path, *, mask: str | None = None) -> dict[str, list[int]]:
    """Every subset of the file, as positions among the demos that are read: all, or those of `mask`.

    Names that the file has no demo of are left out, and so are subsets of which nothing is left.

    Raises:
        ValueError: the file cannot be read, or has no such subset.
    """
    with open_hdf5(path) as file:
        places = {name: place for place, name in enumerate(select_demos(file, path, mask=mask))}
        members = {name: mask_members(file, name, path) & places.keys() for name in mask_names(file, path)}
        return {name: sorted(places[demo] for demo in demos) for name, demos in members.items() if demos}


def nested_observations(path: Path) -> dict[str, list[str]]:
    """The groups among the observations of the first demo, which no reader looks into, and what is in each.

    Raises:
        ValueError: the file cannot be read.
    """
    with open_hdf5(path) as file:
        first = demo_group(data_group(file, path), select_demos(file, path, mask=None)[0], path)
        obs = obs_group(first, path)
        found = {name: member(obs, name, path) for name in names_in(obs, path)}
        return {name: names_in(group, path) for name, group in found.items() if isinstance(group, h5py.Group)}
