"""Recorded numbers of any type in float32, with a note where that loses what varies."""

from __future__ import annotations

import logging
import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.episodes import Float32Array

logger = logging.getLogger(__name__)

_COARSE = 0.01
"""Of a standard deviation: rounding in larger steps loses what a model should see."""
_ANY_DEMO = re.compile(r"/data/demo_\d+/|/episode_\d+/")


def as_matrix(values: NDArray[np.generic], name: str) -> Float32Array:
    """(T, ...) of any number type -> (T, size) float32; `name` is for a note where that loses what varies."""
    rows = values.reshape(len(values), int(np.prod(values.shape[1:], dtype=int)))
    # A float64 beyond float32 becomes an infinity, which `Episode` reports with its position.
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32, copy=False)
    if single.dtype != rows.dtype and len(rows) > 1 and (coarse := _coarse_entries(rows, single)):
        entries = f"its {'entries' if len(coarse) > 1 else 'entry'} {', '.join(map(str, coarse))} (counted from 0)"
        _tell_of_coarse(_ANY_DEMO.sub("", name), "it" if rows.shape[1] == 1 else entries)
    return single


def _coarse_entries(values: NDArray[np.generic], single: Float32Array) -> list[int]:
    """The columns (T, size) that vary, and by little more than the distance of neighbouring float32 numbers."""
    with np.errstate(all="ignore"):  # what is no number is reported elsewhere
        double = values.astype(np.float64)
        spread, step = double.std(axis=0), np.spacing(np.abs(single).max(axis=0))
        rounding = 8 * np.finfo(np.float64).eps * np.abs(double).max(axis=0)
        # The deviation of equal numbers is that of rounding in their sum, which grows with how many there are.
        varies = (np.ptp(double, axis=0) > 0) & (spread > rounding)
        return np.flatnonzero(varies & (step > _COARSE * spread)).tolist()


@lru_cache(maxsize=1024)
def _tell_of_coarse(name: str, entries: str) -> None:
    """Once, and not for every demo."""
    logger.warning(
        "%s lies so far from zero that float32 leaves %s steps of more than a hundredth of the standard deviation; "
        "subtract an offset in the data",
        name,
        entries,
    )
