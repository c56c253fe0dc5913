"""What a robomimic file holds beside its episodes' numbers."""

from __future__ import annotations

from pathlib import Path

from drift_wm.datasets.hdf5 import data_group, open_hdf5
from drift_wm.datasets.robomimic import demo_group, select_demos


def rewards_recorded(path: Path, *, mask: str | None = None) -> list[bool]:
    """Of every demo, in the order in which they are read, whether it has rewards.

    Raises:
        ValueError: the file cannot be read, or has no such subset.
    """
    with open_hdf5(path) as file:
        data = data_group(file, path)
        return ["rewards" in demo_group(data, name, path) for name in select_demos(file, path, mask=mask)]
