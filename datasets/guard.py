"""What reading damaged or strange files raises, turned into one kind of error that says where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BROKEN = (OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, MemoryError)
"""What h5py, pyarrow, json and numpy raise over a damaged file: whatever the broken byte led them to. A lost header is
a KeyError, a bad tree a RuntimeError, a type that NumPy has no equivalent of a TypeError, a wild size a MemoryError."""


class NotDamagedError(ValueError):
    """A demonstration that is whole and yet not read, as very likely all others: leaving it out is no remedy."""


@contextmanager
def reading(path: Path, key: str = "", *, remedy: str = "copy the file again") -> Iterator[None]:
    """Around code that reads: its errors become a ValueError that names the file, and the key where there is one.

    An error that names the file already passes as it is, and so does a file that the system denies or that another
    process holds: that is no damage.

    Raises:
        ValueError: the content cannot be read.
        OSError: the system denies access to the file.
    """
    try:
        yield
    except (PermissionError, BlockingIOError):
        raise
    except BROKEN as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        what = f"{path}: {key}" if key else f"{path}"
        told = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{what} is damaged or of an unknown kind ({told}); {remedy}") from error
