"""Where the numbers of an HDF5 array are: in the file itself, and written."""

from __future__ import annotations

import math
from pathlib import Path

import h5py


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
