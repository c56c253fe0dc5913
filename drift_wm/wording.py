"""Amounts as people write them, the same in tables, figures and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST_DIGITS = 6
"""Of a value whose error is smaller than anyone would tell apart."""
_FEW_SECONDS = 120.0


def counted(amount: int, noun: str) -> str:
    """1 step, 2 steps, 1,000 steps."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def entries_of_an_action(chosen: Sequence[bool]) -> str:
    """2 of the 7 entries of an action (counted from 0: 3, 4)."""
    numbers = [str(i) for i, one in enumerate(chosen) if one]
    return f"{len(numbers)} of the {len(chosen)} entries of an action (counted from 0: {', '.join(numbers)})"


def magnitude(value: float) -> int:
    """The power of ten of a value's first digit; 0 of 0, and of what is not finite."""
    return math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0


def with_error(value: float, error: float | None) -> tuple[str, str | None]:
    """A value and its error, both with the decimals that two digits of the error need, and with one at least.

    A value alone, or without spread, has two digits of its own. No value has more than six.
    """
    telling = error or abs(value)
    most = _MOST_DIGITS - 1 - magnitude(value)
    decimals = max(1, min(1 - magnitude(telling), most)) if math.isfinite(value) else 1
    shown, spread = (None if x is None else f"{x:z,.{decimals}f}" for x in (value, error))
    assert shown is not None
    return shown, spread


def value_and_error(value: float, error: float | None) -> str:
    """112.87 ± 0.28, or the value alone; see `with_error`."""
    shown, spread = with_error(value, error)
    return shown if spread is None else f"{shown} ± {spread}"


def two_digits(value: float) -> str:
    """A value alone in a list of such, in whole numbers from 10 on: 873, 4.0, -0.31, 0."""
    decimals = max(0, 1 - magnitude(value)) if value else 0
    return f"{value:z.{decimals}f}"


def time_and_parts(seconds: dict[str, float]) -> str:
    """How long all of it took and each part of it, by name: in seconds below two minutes, else in minutes."""
    total = sum(seconds.values())
    unit, size = ("seconds", 1.0) if total < _FEW_SECONDS else ("minutes", 60.0)
    digits = 0 if 10 <= total < _FEW_SECONDS else 1
    parts = (f"{spent / size:.{digits}f} of it {work}" for work, spent in seconds.items())
    return ", ".join([f"{total / size:.{digits}f} {unit}", *parts])
