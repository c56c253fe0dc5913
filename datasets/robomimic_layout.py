"""What a robomimic file holds beside the numbers of its demos."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.hdf5 import attribute, data_group, member, names_in, open_hdf5, read_numbers
from drift_wm.datasets.robomimic import demo_group, mask_members, mask_names, select_demos
from drift_wm.datasets.robomimic_demo import obs_group
from drift_wm.datasets.robomimic_notes import arrays_of, holds_numbers

_WRITTEN = {"obs", "next_obs", "actions", "rewards", "dones", "states", "final_state"}
"""Parts of a demo that a copy of its episode has as well."""
_MODEL = "model_file"
"""robosuite's attribute of a demo: the scene that its states are of."""


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


def keep_simulator(source: Path, target: h5py.File, *, mask: str | None = None) -> None:
    """Give the demos of a copy what episodes do not hold: states without the last one, and the model they are of.

    Args:
        source: the file that was copied.
        target: the copy, whose demos are those of the source in order.
        mask: the subset that was copied; None: all.
    """
    with open_hdf5(source) as file:
        for number, name in enumerate(select_demos(file, source, mask=mask)):
            demo, copy = demo_group(data_group(file, source), name, source), target[f"data/demo_{number}"]
            states, rows = member(demo, "states", source), len(copy["actions"])
            if "states" not in copy and isinstance(states, h5py.Dataset) and states.ndim == 2 and len(states) == rows:
                copy["states"] = read_numbers(states, source).astype(np.float64)
            if (model := attribute(demo, _MODEL, source)) is not None:
                copy.attrs[_MODEL] = model


def parts_not_copied(path: Path) -> list[str]:
    """Parts of the first demo that no episode holds, and no copy of it: besides low-dimensional observations.

    Raises:
        ValueError: the file cannot be read.
    """
    with open_hdf5(path) as file:
        first = demo_group(data_group(file, path), select_demos(file, path, mask=None)[0], path)
        text = [f"obs/{name}" for name, array in arrays_of(first, path).items() if not holds_numbers(array)]
        states = member(first, "states", path)
        more = ["states"] if isinstance(states, h5py.Group) else []
        found = [*(name for name in names_in(first, path) if name not in _WRITTEN), *more, *text]
    return [*found, *(f"obs/{name}" for name in nested_observations(path))]
