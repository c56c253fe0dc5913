"""Any text as a value of a setting, in the quotes that Hydra reads."""

from __future__ import annotations

import re


def quoted(text: object) -> str:
    """A path or another text, which may hold spaces, `=` or quotes itself."""
    # A backslash is one anywhere but before a quote, the closing one too, or before what would name another setting.
    escaped = re.sub(r"(\\*)('|\$\{|$)", lambda found: found[1] * 2 + (found[2] and "\\" + found[2]), str(text))
    return f"'{escaped}'"


def unquoted(value: str) -> str:
    """The text of a value as it is typed, in quotes perhaps."""
    if not is_quoted(value):
        return value
    return re.sub(rf"(\\+)({value[0]}|\$\{{|$)", lambda found: "\\" * (len(found[1]) // 2) + found[2], value[1:-1])


def is_quoted(value: str) -> bool:
    """Whether a value is in quotes that Hydra takes off."""
    return len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
