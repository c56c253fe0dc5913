"""Where the numbers of an HDF5 array are: in the file itself, as many as it announces, and written."""

from __future__ import annotations

import math
from pathlib import Path

import h5py

_LARGEST_COMPRESSION = 2000
"""Deflate makes nothing smaller than a thousandth."""
_SMALL = 2**24
"""Bytes that an array may take without having been written: HDF5 fills in what is not there."""


def require_in_file(dataset: h5py.Dataset, path: Path) -> None:
    """Refuse an array whose numbers are elsewhere.

    A virtual one reads as zeros where its sources are not found, and external storage may be any file of this machine.

    Raises:
        ValueError: the numbers are those of other arrays or files.
    """
    if dataset.is_virtual:
        sources = sorted({f"{source.file_name}:{source.dset_name}" for source in dataset.virtual_sources()})
        what = f"a virtual array, a view of {', '.join(sources)[:200]}"
    elif dataset.external:
        what = f"an array with external storage in {', '.join(str(name) for name, *_ in dataset.external)[:200]}"
    else:
        return
    raise ValueError(
        f"{path}: {dataset.name} is {what}, which is not followed; expected its numbers in the file itself: read it "
        "with h5py where its sources are, and store what was read as a plain array"
    )


def require_stored(dataset: h5py.Dataset, path: Path) -> None:
    """Refuse an array of which the file cannot hold as much as is announced: to read it could fill the memory.

    Raises:
        ValueError: it announces more.
    """
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _SMALL + _LARGEST_COMPRESSION * stored:
        raise ValueError(
            f"{path}: {dataset.name} announces {dataset.nbytes} bytes of shape {dataset.shape}, the file holds "
            f"{stored} of them; copy the file again"
        )


def require_written(dataset: h5py.Dataset, path: Path) -> None:
    """Refuse an array of which a part was created and never written: HDF5 reads zeros there.

    Raises:
        ValueError: a part is not there.
    """
    shape, chunks = dataset.shape, dataset.chunks
    if not dataset.size:
        return
    if chunks:
        expected = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
        found, what = dataset.id.get_num_chunks(), f"of its {expected} chunks"
    else:
        expected, found, what = 1, int(dataset.id.get_storage_size() > 0), "bytes of it"
    if found < expected:
        raise ValueError(
            f"{path}: {dataset.name} of shape {shape} was created and not written, or not whole: the file "
            f"holds {found} {what}, and the rest would be read as zeros; write it, or leave out this demo or key"
        )
