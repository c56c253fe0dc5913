"""Any text as a value of a setting, in the quotes that Hydra reads."""

from __future__ import annotations


def quoted(text: object) -> str:
    """A path or another text, which may hold spaces, `=` or quotes itself."""
    return "'{}'".format(str(text).replace("'", r"\'"))


def unquoted(value: str) -> str:
    """The text of a value as it is typed, in quotes perhaps."""
    return value.strip("'\"").replace(r"\'", "'")
