"""A file for h5py to read through, which reads whole and looks at the one structure over which libhdf5 can hang.

Strings of variable length lie in global heap collections (HDF5 file format specification, III.E): "GCOL", a version,
the size of the collection, then objects. libhdf5 (2.0.0 for one) goes from object to object by their sizes, and never
arrives where a free one (index 0) has the size 0. Zeros in the middle of a file, as a broken copy leaves, are enough.

A file that is read through this is not locked: readers meet whole files, which writers rename into their place.
"""

from __future__ import annotations

import io
import struct
from typing import Any

_MAGIC = b"GCOL"
_HEAD = 16
"""Bytes before the first object, and of an object's own head, with lengths of 8 bytes."""


class CheckedFile(io.FileIO):
    """Raises an OSError where reading brings a damaged collection."""

    long_lengths = True
    """Whether lengths take 8 bytes, as nearly always; collections with others are not looked at."""

    def readinto(self, buffer: Any, /) -> int:
        """Fill the whole buffer: h5py does not ask how much came, and Linux brings 2 GiB at most at a time.

        Raises:
            OSError: the file ends before that, or a collection is damaged.
        """
        content, count = memoryview(buffer).cast("B"), 0
        while count < len(content):
            if not (more := super().readinto(content[count:])):
                raise OSError(f"the file ends {len(content) - count} bytes before what it announces")
            count += more
        if self.long_lengths and content[:4] == _MAGIC and not ends(content):
            raise OSError("a heap of strings holds an object of no size")
        return count


def ends(collection: memoryview) -> bool:
    """Whether going from object to object comes to an end in a collection, or in the part of it that is there."""
    size = min(len(collection), struct.unpack_from("<Q", collection, 8)[0] if len(collection) >= _HEAD else 0)
    place = _HEAD
    while place + _HEAD <= size:
        index, length = struct.unpack_from("<H6xQ", collection, place)
        step = _HEAD + (length + 7) // 8 * 8 if index else length
        if step == 0:
            return False
        place += step
    return True
