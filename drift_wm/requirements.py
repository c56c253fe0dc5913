"""What is refused in settings: a message names the setting as it is typed, its value and what was expected."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """Raise a ValueError that names a setting, its value and what was expected of it, unless that holds."""
    if not holds:
        raise ValueError(f"{name}={value!r}: expected {expected}")


def require_at_least(least: int, settings: object, *names: str, group: str = "") -> None:
    """Refuse integers below the least; `group`, such as `training.`, comes before the names in the message."""
    for name in names:
        value = getattr(settings, name)
        require(value >= least, f"{group}{name}", value, f"an integer of at least {least}")


def require_one_of(known: Collection[str], name: str, value: str) -> None:
    """Refuse a word that is not known."""
    require(value in known, name, value, f"one of {', '.join(known)}")


def require_some_of(known: Collection[str], name: str, values: Sequence[str], *, may_be_empty: bool = False) -> None:
    """Refuse a list with a word that is not known, or without any; quotes keep apart words with a comma in them."""
    holds = all(value in known for value in values) and (may_be_empty or len(values) > 0)
    require(holds, name, values, f"some of {', '.join(map(repr, known))}")


def require_entries(settings: object, *names: str) -> None:
    """Refuse empty lists."""
    for name in names:
        require(bool(getattr(settings, name)), name, getattr(settings, name), "at least one entry")
