"""Reading HDF5 files of demonstrations, with errors that say what is wrong, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.checked_file import CheckedFile
from drift_wm.datasets.episodes import Float32Array
from drift_wm.datasets.guard import BROKEN, NotDamagedError, reading
from drift_wm.datasets.hdf5_storage import require_in_file, require_stored
from drift_wm.datasets.single_precision import as_matrix

_DEMO_NAME = re.compile(r"demo_(\d+)")
_SHOWN = 3
"""Names that an error lists."""
_PARTS_OF_DEMOS = frozenset({"actions", "action", "obs", "observations"})
_LAYOUT = (
    "expected data/demo_0/actions, data/demo_0/obs/<key>, data/demo_1/... and so on, which a few lines of h5py write: "
    'README, "Your own logs"'
)


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading; the caller closes it.

    Raises:
        ValueError: the file is missing, is not HDF5, or is truncated.
        OSError: the system denies access to the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path, relative to {Path.cwd()}")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file; {_LAYOUT}")
    try:
        stream = CheckedFile(path)
        file = h5py.File(stream, "r")
        stream.long_lengths = file.id.get_create_plist().get_sizes()[1] == 8
        return file
    except (PermissionError, BlockingIOError):
        raise
    except BROKEN as error:
        raise ValueError(f"{path}: a damaged or truncated HDF5 file ({error}); copy it again") from error


def names_in(group: h5py.Group, path: Path) -> list[str]:
    """The names in a group, sorted."""
    with reading(path, str(group.name)):
        return sorted(str(name) for name in group)


def member(group: h5py.Group, name: str, path: Path) -> h5py.HLObject | None:
    """What has a name in a group, or in groups within it: `robot/left`.

    None where nothing has, which is not the same as something that cannot be read.
    """
    outer, _, last = name.rpartition("/")
    if outer:  # step by step, as any of them may be a link
        inner = member(group, outer, path)
        return member(inner, last, path) if isinstance(inner, h5py.Group) else None
    with reading(path, f"{str(group.name).rstrip('/')}/{name}"):
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(
                f"{path}: {group.name}/{name} is a link to another file, {link.filename}, which is not followed; write "
                "one file that holds the data, for example with h5repack or h5copy"
            )
        # `get` returns its default also where there is something that cannot be opened.
        if name not in group:
            return None
        found: h5py.HLObject = group[name]
        if isinstance(found, h5py.Dataset):
            require_in_file(found, path)
        return found


def group_in(group: h5py.Group, name: str, path: Path, *, remedy: str) -> h5py.Group:
    """The group of a name in another.

    Raises:
        ValueError: there is none, or it is something else.
    """
    found = member(group, name, path)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{path}: {group.name} has no group {name}, found {names_in(group, path)}; {remedy}")
    return found


def arrays_below(group: h5py.Group, path: Path) -> dict[str, h5py.Dataset]:
    """What is stored in a group and in those within it, by its key, such as `robot/left`; links are followed.

    Raises:
        ValueError: a link leads to another file, or something cannot be read.
    """
    return dict(_below(group, path, seen=set()))


def _below(group: h5py.Group, path: Path, *, seen: set[h5py.Group]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Of groups that links lead to again, and may lead round in circles, what is in them once."""
    seen.add(group)
    for name in names_in(group, path):
        item = member(group, name, path)
        if isinstance(item, h5py.Dataset):
            yield name, item
        elif isinstance(item, h5py.Group) and item not in seen:
            for key, inner in _below(item, path, seen=seen):
                yield f"{name}/{key}", inner


def array_in(group: h5py.Group, name: str, path: Path, *, remedy: str = "choose among them") -> h5py.Dataset:
    """The array of a name in a group.

    Raises:
        ValueError: there is none, it is something else, or it has no rows to count.
    """
    found = member(group, name, path)
    if isinstance(found, h5py.Group):
        raise ValueError(
            f"{path}: {found.name} is a group of {names_in(found, path)}, expected one array; concatenate them into one"
        )
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{path}: {group.name} has no array {name!r}, found {names_in(group, path)}; {remedy}")
    return found


def shape_of(dataset: h5py.Dataset, path: Path) -> tuple[int, ...]:
    """The shape of an array, which has rows.

    Raises:
        ValueError: it is a single number, or empty in HDF5's sense.
    """
    with reading(path, str(dataset.name)):
        require_in_file(dataset, path)
        shape = dataset.shape
    if not shape:
        raise ValueError(f"{path}: {dataset.name} has shape {shape}, expected rows; repair or remove this demo")
    return tuple(shape)


def holds_numbers(array: h5py.Dataset) -> bool:
    """Whether a model can learn from it."""
    return array.dtype.kind in "biuf"


def data_group(file: h5py.File, path: Path) -> h5py.Group:
    """The group `data`, which holds the demos.

    Raises:
        ValueError: there is none.
    """
    data = member(file, "data", path)
    if not isinstance(data, h5py.Group):
        raise ValueError(f"{path}: no group data, found {names_in(file, path)}; {expected_layout(file, path)}")
    return data


def expected_layout(group: h5py.Group, path: Path) -> str:
    """What to tell where a group, or the whole file, holds no demos by their names: how to call and write them."""
    alike = _like_demos(group, path, depth=2)
    shown = ", ".join(alike[:_SHOWN]) + (", ..." if len(alike) > _SHOWN else "")
    return f"{_LAYOUT}; what looks like demos is called {shown} here: rename it" if alike else _LAYOUT


def _like_demos(group: h5py.Group, path: Path, *, depth: int) -> list[str]:
    """The groups that hold actions or observations, whatever they are called, down to a depth."""
    found = []
    for name in names_in(group, path):
        item = member(group, name, path)
        if not isinstance(item, h5py.Group):
            continue
        if _PARTS_OF_DEMOS & {*names_in(item, path)}:
            found.append(str(item.name).strip("/"))
        elif depth > 1:
            found += _like_demos(item, path, depth=depth - 1)
    return found


def first_sound(groups: Sequence[h5py.Group], is_sound: Callable[[h5py.Group], object]) -> h5py.Group:
    """The first group that has what is asked for, as reading tells of those that have not; else the first of all."""
    for group in groups:
        try:
            if is_sound(group):
                return group
        except ValueError:
            continue
    return groups[0]


def demo_names(data: h5py.Group) -> list[str]:
    """The names `demo_<i>` in a group, sorted by number; the numbers may have gaps."""
    return sorted((name for name in map(str, data) if _DEMO_NAME.fullmatch(name)), key=demo_number)


def demo_number(name: str) -> int:
    """The number i of `demo_<i>`."""
    return int(name.removeprefix("demo_"))


def attribute(group: h5py.Group, name: str, path: Path) -> object:
    """An attribute as h5py returns it; None where there is none."""
    with reading(path, f"{group.name}, attribute {name}"):
        if name not in group.attrs:
            return None
        value: object = group.attrs[name]
        return value


def number_attribute(group: h5py.Group, name: str, path: Path) -> float | int | bool | None:
    """An attribute that is one finite number, or an array of one; None where there is none.

    Raises:
        ValueError: it is something else.
    """
    value = attribute(group, name, path)
    if value is None:
        return None
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError(
            f"{path}: the attribute {name} of {group.name} is {value!r}, expected a number; repair or remove it"
        )
    number: float | int | bool = array.item()
    return number


def read_numbers(
    dataset: h5py.Dataset, path: Path, *, rows: int | None = None, last: bool = False
) -> NDArray[np.generic]:
    """An array of numbers (T, ...) of any type, or its last row alone (1, ...).

    Args:
        dataset: what to read.
        path: of the file.
        rows: T that is expected; None: any.
        last: whether to read the last row only.

    Raises:
        ValueError: the array has other rows, holds no numbers, announces more than the file holds, or is damaged.
    """
    shape = shape_of(dataset, path)
    if rows is not None and shape[0] != rows:
        raise ValueError(
            f"{path}: {dataset.name} has shape {shape}, expected {rows} rows like actions; repair or remove this demo"
        )
    with reading(path, str(dataset.name)):
        if not holds_numbers(dataset):
            raise ValueError(f"{path}: {dataset.name} holds {dataset.dtype}, expected numbers; leave out this key")
        require_stored(dataset, path)
        return np.asarray(dataset[-1:] if last else dataset[()])


def read_matrix(dataset: h5py.Dataset, path: Path, *, rows: int | None = None) -> Float32Array:
    """(T,) or (T, D) of any number type -> (T, D) or (T, 1) float32; arguments as `read_numbers`.

    Raises:
        ValueError: it has other dimensions, or cannot be read.
    """
    if len(shape := shape_of(dataset, path)) > 2:
        raise ValueError(
            f"{path}: {dataset.name} has shape {shape}, expected (T,) or (T, size), as images are not learned from; "
            "choose other keys, or store it flattened"
        )
    return as_matrix(read_numbers(dataset, path, rows=rows), f"{path}: {dataset.name}")


def read_rewards(group: h5py.Group, path: Path, *, rows: int, allow_missing: bool) -> Float32Array:
    """(T,) rewards of a demo or episode.

    Args:
        group: that of the episode.
        path: of the file.
        rows: T.
        allow_missing: whether zeros stand for rewards that are not there.

    Raises:
        ValueError: there are none, or they are damaged or not a number for each action.
    """
    if "rewards" not in group and allow_missing:
        return np.zeros(rows, np.float32)
    if "rewards" not in group:
        raise NotDamagedError(f"{path}: {group.name} has no rewards; set allow_missing_rewards=true to read zeros")
    dataset = array_in(group, "rewards", path)
    rewards = read_matrix(dataset, path, rows=rows)
    if rewards.shape[1] != 1:
        raise ValueError(
            f"{path}: {dataset.name} has shape {dataset.shape}, expected one number for each action; sum them"
        )
    return rewards[:, 0]
