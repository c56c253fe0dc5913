"""What Minari says of a dataset: `metadata.json` beside its data (0.5), or attributes of the data's file (0.4)."""

from __future__ import annotations

import json
from pathlib import Path

import h5py

from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import attribute

METADATA = "metadata.json"


def environment_of(file: h5py.File, path: Path) -> str | None:
    """Gymnasium's name of the environment that was recorded, where it is told.

    Raises:
        ValueError: what is told is damaged.
    """
    text, where = _stated(file, "env_spec", path)
    with reading(where, "env_spec"):
        content = None if text is None else json.loads(text)
    name = content.get("id") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def action_bounds(file: h5py.File, path: Path, size: int) -> ActionBounds | None:
    """Those of the environment, where they are stated and are not [-1, 1] anyway.

    Raises:
        ValueError: what is stated is damaged.
    """
    text, where = _stated(file, "action_space", path)
    with reading(where, "action_space"):
        bounds = None if text is None else ActionBounds.of_space(text, size=size)
    return None if bounds is None or bounds.are_of_planners else bounds


def _stated(file: h5py.File, name: str, path: Path) -> tuple[str | None, Path]:
    """The text of an entry, None where there is none, and the file that it is from."""
    beside = path.parent / METADATA
    if beside.is_file():
        with reading(beside):
            content = json.loads(beside.read_text())
            if not isinstance(content, dict):
                raise ValueError(f"it holds a {type(content).__name__}, expected an object")
        if isinstance(content.get(name), str):
            return content[name], beside
    stored = attribute(file, name, path)
    with reading(path, f"attribute {name}"):
        text = stored.decode() if isinstance(stored, bytes) else stored
    return text if isinstance(text, str) else None, path
