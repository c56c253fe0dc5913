"""Columns of numbers out of parquet files. Needs the extra `[lerobot]` (pyarrow)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.guard import reading

FRAME = "frame_index"
"""LeRobot's number of a row within its episode."""


def read_columns(file: Path, names: Sequence[str], *, episode: int | None = None) -> dict[str, NDArray[np.generic]]:
    """Columns (T, size) of numbers of a parquet file, of the rows of one episode in the order of time if that is named.

    Raises:
        ValueError: pyarrow is not installed, the file is damaged, a column is missing or holds no numbers, or an
            episode has frames twice or not at all.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            "LeRobot datasets are parquet files; install pyarrow: pip install 'drift-wm[lerobot]'"
        ) from error
    rows = None if episode is None else [("episode_index", "=", episode)]
    with reading(file):
        there = parquet.read_schema(file).names
        if absent := [name for name in names if name not in there]:
            raise ValueError(f"{file}: no column {absent}, found {there}; choose among them")
        # A schema in the folder's other files is none of this one's: partitioning and threads stay off.
        wanted = list(dict.fromkeys([*names, *([FRAME] if episode is not None and FRAME in there else [])]))
        table = parquet.read_table(file, columns=wanted, filters=rows, partitioning=None)
    found = {}
    for name in wanted:
        with reading(file, f"column {name}"):
            found[name] = _matrix(table[name], name, file)
    if FRAME not in found or episode is None:
        return found
    order = np.argsort(found[FRAME][:, 0], kind="stable")  # rows may be stored in another order
    _require_every_frame(found[FRAME][order, 0], file, episode)
    return {name: found[name][order] for name in names}


def _require_every_frame(frames: NDArray[np.generic], file: Path, episode: int) -> None:
    """Raise a ValueError where rows in the order of time do not follow each other: transitions there never happened."""
    steps = np.diff(frames.astype(np.float64))
    if (wrong := np.flatnonzero(steps != 1)).size:
        first = int(wrong[0])
        raise ValueError(
            f"{file}: episode {episode} has {FRAME} {frames[first + 1]} after {frames[first]}, and so in {wrong.size} "
            f"of {len(steps)} places, expected each frame once and none left out; remove this episode, or write each "
            "stretch of time as an episode of its own"
        )


def _matrix(column: Any, name: str, file: Path) -> NDArray[np.generic]:
    """(T,) numbers, or lists of one length -> (T, size)."""
    from pyarrow import compute, types

    values, rows, size = column.combine_chunks(), len(column), 1
    complete = values.null_count == 0
    while types.is_list(values.type) or types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
        lengths = compute.list_value_length(values).unique().to_pylist()
        complete = complete and values.null_count == 0 and len(lengths) <= 1
        size *= lengths[0] or 0 if lengths else 1
        values = values.flatten()
    kind = np.dtype(values.type.to_pandas_dtype()).kind
    if not complete or kind not in "biuf":
        raise ValueError(f"{file}: column {name} holds {column.type}, expected numbers, as many in each row; repair it")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(rows, size)
