"""Which observation keys a user means: names, and patterns such as `robot0_*`; and their values side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import h5py
import numpy as np

from drift_wm.datasets.episodes import Float32Array, require_finite
from drift_wm.datasets.hdf5 import holds_numbers


def choose_keys(asked: Sequence[str] | None, *, known: Sequence[str], flat: Sequence[str], path: Path) -> list[str]:
    """The keys to concatenate, in order, none twice.

    A name stands for itself; it may be any key of the file. A pattern of `*`, `?` and `[...]` stands for the
    low-dimensional keys that it matches, sorted: `robot0_*` leaves out `robot0_eye_in_hand_image`.

    Args:
        asked: names and patterns; None: all that are low-dimensional.
        known: every key.
        flat: those with at most one dimension a frame, in the order in which they are read if none are asked for.
        path: for messages.

    Raises:
        ValueError: a name is not there, a pattern matches nothing, or no key is left.
    """
    if asked is None:
        chosen = list(flat)
    else:
        chosen = [key for entry in asked for key in _meant(entry, known=known, flat=flat, path=path)]
    if not chosen and asked is not None:
        raise ValueError(
            f"{path}: no observation key in obs_keys=[]; name at least one in obs_keys, of {sorted(known)}"
        )
    if not chosen:
        raise ValueError(
            f"{path}: no low-dimensional observation key among {sorted(known)}, expected one with a row of numbers for "
            "each step, as pictures and text are not learned from; store the robot's positions or the like beside them"
        )
    return list(dict.fromkeys(chosen))


def side_by_side(parts: Mapping[str, Float32Array], *, where: str) -> Float32Array:
    """The rows (T, d) of each key -> (T, D).

    Args:
        parts: by key, all of T rows.
        where: for messages.

    Raises:
        ValueError: one holds a NaN or an infinity; told by its key, as who recorded it knows it by no other name.
    """
    for key, part in parts.items():
        require_finite(f"{where}: {key}", part, remedy="repair them, or leave out this episode or this key")
    return np.concatenate(list(parts.values()), axis=1)


def _meant(entry: str, *, known: Sequence[str], flat: Sequence[str], path: Path) -> list[str]:
    if entry in known:
        return [entry]
    if not any(character in entry for character in "*?["):
        raise ValueError(f"{path}: no observation {entry!r}, found {sorted(known)}; choose among them by obs_keys=")
    if found := sorted(key for key in flat if fnmatchcase(key, entry)):
        return found
    raise ValueError(
        f"{path}: no low-dimensional observation key matches {entry!r}, found {sorted(flat)}; change the pattern"
    )


def why_not_read(name: str, array: h5py.Dataset) -> str:
    """What to tell of an observation that is left out; nothing of one that is read, or of pictures, as all expect."""
    if not array.shape:
        return f"{name} has no rows, one a step, and is not read"
    if not holds_numbers(array):
        return f"{name} holds {array.dtype}, no numbers, and is not read"
    return no_vectors(name, array.shape[1:]) if len(array.shape) > 2 and array.dtype != np.uint8 else ""


def no_vectors(name: str, shape: tuple[int, ...]) -> str:
    """What to tell of an observation of numbers whose rows have several dimensions."""
    return (
        f"{name} has rows of shape {shape}, no vectors, and is not read; to learn from it, store it as "
        f"(T, {math.prod(shape)})"
    )
