"""What a robomimic file holds beside the numbers of its demos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.hdf5 import attribute, data_group, demo_names, member, names_in, open_hdf5, read_numbers
from drift_wm.datasets.replay import write_masks
from drift_wm.datasets.robomimic import chosen_keys, demo_group, readable_masks, select_demos
from drift_wm.datasets.robomimic_notes import datasets_of

_SCENE = ("model_file", "ep_meta")
"""robosuite's attributes of a demo: the scene that its states are of, and what the scene was made from."""


def keep_beside(source: Path, target: h5py.File, *, mask: str | None, places: Sequence[int]) -> None:
    """Give a copy what a file holds beside its episodes: subsets, states without the last one, and the scene of these.

    Names that no demo was copied of are left out, and so are subsets that cannot be read, or of which nothing is left.

    Args:
        source: the file that was copied.
        target: the copy.
        mask: the subset that was read; None: all.
        places: of the demos that were copied, in this order, positions among those that were read.
    """
    with open_hdf5(source) as file:
        names = select_demos(file, source, mask=mask)
        numbers = {names[place]: number for number, place in enumerate(places)}
        members = {name: demos & numbers.keys() for name, demos in readable_masks(file, source)[0].items()}
        write_masks(target, {name: sorted(numbers[demo] for demo in demos) for name, demos in members.items() if demos})
        for name, number in numbers.items():
            _keep_simulator(demo_group(data_group(file, source), name, source), target[f"data/demo_{number}"], source)


def _keep_simulator(demo: h5py.Group, copy: h5py.Group, source: Path) -> None:
    states, rows = member(demo, "states", source), len(copy["actions"])
    if "states" not in copy and isinstance(states, h5py.Dataset) and states.ndim == 2 and len(states) == rows:
        copy["states"] = read_numbers(states, source).astype(np.float64)
    for part in _SCENE:
        if (stored := attribute(demo, part, source)) is not None:
            copy.attrs[part] = stored


def parts_not_copied(
    source: Path, copy: Path, *, obs_keys: Sequence[str] | None, mask: str | None, places: Sequence[int]
) -> list[str]:
    """Parts of the file, and of any demo that was copied, which the copy has not: arrays, groups and attributes.

    Args:
        source: the file that was copied.
        copy: what was written.
        obs_keys: as the source was read with, see `choose_keys`.
        mask: the subset that was read; None: all.
        places: of the demos that were copied, in this order, positions among those that were read.

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
        for number, place in enumerate(places):
            demo, written = demos[place], copied[f"data/demo_{number}"]
            found |= set(names_in(demo, source)) - set(written)
            found |= {f"obs/{key}" for key in set(datasets_of(demo, source)) - chosen}
            found |= _attributes_left_out(demo, written, "demos")
    return sorted(found)


def _attributes_left_out(group: h5py.Group, copy: h5py.Group, what: str) -> set[str]:
    return {f"attribute {name} of {what}" for name in set(group.attrs) - set(copy.attrs)}
