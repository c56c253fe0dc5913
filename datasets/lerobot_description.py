"""What the folder `meta` of a LeRobot dataset holds, checked as the work of strangers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drift_wm.datasets.guard import reading

_LARGEST = 2**31
"""Of the numbers that the description gives: beyond it, they are no sizes, lengths or numbers of files."""


def feature_shape(feature: object, name: object, file: Path) -> tuple[int, ...]:
    """Of one row of a feature.

    Raises:
        ValueError: it is none.
    """
    shape = feature.get("shape", ()) if isinstance(feature, dict) else None
    if not isinstance(shape, list | tuple):
        raise ValueError(f"{file}: the feature {name!r} is {feature!r}, expected its dtype and shape; repair it")
    return tuple(whole_number(size, f"the shape of {name!r}", file) for size in shape)


def whole_number(value: object, name: str, file: Path, *, least: int = 0) -> int:
    """A whole number that the description gives.

    Raises:
        ValueError: it is none, or out of all range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < _LARGEST or value % 1:
        raise ValueError(f"{file}: {name} is {value!r}, expected a whole number of at least {least}; repair it")
    return int(value)


def rate(value: object, file: Path) -> float:
    """Rows a second.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST:
        raise ValueError(f"{file}: fps is {value!r}, expected a number of at least 0; repair it")
    return float(value)


def read_json(file: Path) -> dict[str, Any]:
    """An object.

    Raises:
        ValueError: the file holds something else.
    """
    with reading(file, remedy="expected the description of a LeRobot dataset"):
        content = json.loads(file.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds {type(content).__name__}, expected an object that describes the dataset")
    return content


def read_lines(file: Path) -> list[dict[str, Any]]:
    """A line of JSON for each episode.

    Raises:
        ValueError: the file holds something else.
    """
    with reading(file, remedy="expected a line of JSON for each episode"):
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError(f"{file}: expected an object in each line, with episode_index and length; repair it")
    return lines


def as_ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
