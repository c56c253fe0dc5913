"""What a robomimic file holds beside the numbers of its demos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.hdf5 import attribute, data_group, demo_names, member, names_in, open_hdf5, read_numbers
from drift_wm.datasets.robomimic import chosen_keys, demo_group, readable_masks, select_demos
from drift_wm.datasets.robomimic_notes import datasets_of

_SCENE = ("model_file", "ep_meta")
"""robosuite's attributes of a demo: the scene that its states are of, and what the scene was made from."""


def subsets(path: Path, *, mask: str | None = None) -> dict[str, list[int]]:
    """Every subset of the file, as positions among the demos that are read: all, or those of `mask`.

    Names that the file has no demo of are left out, and so are subsets that cannot be read, or of which nothing is
    left.

    Raises:
        ValueError: the file cannot be read, or has no such subset.
    """
    with open_hdf5(path) as file:
        places = {name: place for place, name in enumerate(select_demos(file, path, mask=mask))}
        members = {name: demos & places.keys() for name, demos in readable_masks(file, path)[0].items()}
        return {name: sorted(places[demo] for demo in demos) for name, demos in members.items() if demos}


def keep_simulator(source: Path, target: h5py.File, *, mask: str | None = None) -> None:
    """Give the demos of a copy what episodes do not hold: states without the last one, and the scene they are of.

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
            for part in _SCENE:
                if (stored := attribute(demo, part, source)) is not None:
                    copy.attrs[part] = stored


def parts_not_copied(source: Path, copy: Path, *, obs_keys: Sequence[str] | None, mask: str | None) -> list[str]:
    """Parts of the file, and of any demo that was copied, which the copy has not: arrays, groups and attributes.

    Args:
        source: the file that was copied.
        copy: its demos are those of the source in order.
        obs_keys: as the source was read with, see `choose_keys`.
        mask: the subset that was copied; None: all.

    Raises:
        ValueError: a file cannot be read.
    """
    with open_hdf5(source) as file, open_hdf5(copy) as copied:
        data, names = data_group(file, source), select_demos(file, source, mask=mask)
        found = set(names_in(file, source)) - {"data", "mask"}
        found |= {f"data/{name}" for name in set(names_in(data, source)) - set(demo_names(data))}
        found |= _attributes_left_out(file, copied, "the file") | _attributes_left_out(data, copied["data"], "data")
        demos = [demo_group(data, name, source) for name in names]
        chosen = set(chosen_keys(demos, obs_keys, source))
        for number, demo in enumerate(demos):
            written = copied[f"data/demo_{number}"]
            found |= set(names_in(demo, source)) - set(written)
            found |= {f"obs/{key}" for key in set(datasets_of(demo, source)) - chosen}
            found |= _attributes_left_out(demo, written, "demos")
    return sorted(found)


def _attributes_left_out(group: h5py.Group, copy: h5py.Group, what: str) -> set[str]:
    return {f"attribute {name} of {what}" for name in set(group.attrs) - set(copy.attrs)}
