"""A robomimic file demo by demo, and what it holds beside their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import h5py

from drift_wm.datasets.demonstrations import Reading
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import array_in, data_group, group_in, member, names_in, open_hdf5
from drift_wm.datasets.keys import choose_keys
from drift_wm.datasets.robomimic import _NOT_AN_OBSERVATION, _obs_shapes, _read_demo, demo_group, select_demos


def readings(path: Path, *, obs_keys: Sequence[str] | None, mask: str | None) -> Iterator[Reading]:
    """What `RobomimicFile.episodes` reads, one by one; zeros where there are no rewards.

    Raises:
        ValueError: the file cannot be read, or has no such subset or key.
    """
    with open_hdf5(path) as file:
        data = data_group(file, path)
        names = select_demos(file, path, mask=mask)
        shapes = _obs_shapes(demo_group(data, names[0], path), path)
        flat = [key for key, shape in shapes.items() if len(shape) <= 1 and key != _NOT_AN_OBSERVATION]
        keys = choose_keys(obs_keys, known=list(shapes), flat=flat, path=path)
        for name in names:
            yield f"/data/{name}", partial(_read_one, data, name, path, keys)


def _read_one(data: h5py.Group, name: str, path: Path, keys: list[str]) -> Episode:
    demo = demo_group(data, name, path)
    with reading(path, str(demo.name)):
        return _read_demo(demo, path, keys, True)


def rewards_recorded(path: Path, *, mask: str | None = None) -> list[bool]:
    """Of every demo, in the order in which they are read, whether it has rewards.

    Raises:
        ValueError: the file cannot be read, or has no such subset.
    """
    with open_hdf5(path) as file:
        data = data_group(file, path)
        return ["rewards" in demo_group(data, name, path) for name in select_demos(file, path, mask=mask)]


def subsets(path: Path, *, mask: str | None = None) -> dict[str, list[int]]:
    """Every subset of the file, as positions among the demos that are read: all, or those of `mask`.

    Names that the file has no demo of are left out, and so are subsets of which nothing is left.

    Raises:
        ValueError: the file cannot be read, or has no such subset.
    """
    with open_hdf5(path) as file:
        places = {name: place for place, name in enumerate(select_demos(file, path, mask=mask))}
        masks = member(file, "mask", path)
        if not isinstance(masks, h5py.Group):
            return {}
        found = {}
        for subset in names_in(masks, path):
            stored = array_in(masks, subset, path)
            with reading(path, str(stored.name)):
                names = stored.asstr()[()].tolist()
            found[subset] = sorted({places[name] for name in names if name in places})
        return {subset: members for subset, members in found.items() if members}


def nested_observations(path: Path) -> dict[str, list[str]]:
    """The groups among the observations of the first demo, which no reader looks into, and what is in each.

    Raises:
        ValueError: the file cannot be read.
    """
    with open_hdf5(path) as file:
        first = demo_group(data_group(file, path), select_demos(file, path, mask=None)[0], path)
        obs = group_in(first, "obs", path, remedy="repair or remove this demo")
        found = {name: member(obs, name, path) for name in names_in(obs, path)}
        return {name: names_in(group, path) for name, group in found.items() if isinstance(group, h5py.Group)}
