"""The list of settings that `--help` prints, read from the settings' own classes."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any


def describe(settings: Any, *, prefix: str = "") -> list[tuple[str, str]]:
    """Every field of a dataclass instance as (`name=value`, meaning), nested ones with dotted names.

    The meaning is the string that stands below the field in the source, for readers of code and of help alike.
    """
    meanings = _field_docstrings(type(settings))
    rows = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            rows += describe(value, prefix=f"{prefix}{item.name}.")
        else:
            rows.append((f"{prefix}{item.name}={_as_override(value)}", meanings.get(item.name, "")))
    return rows


def _as_override(value: object) -> str:
    """A value as one would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_as_override, value))}]"
    return f"'{value}'" if isinstance(value, str) and not re.fullmatch(r"[^\s,'\[\]{}]*", value) else str(value)


def _field_docstrings(cls: type) -> dict[str, str]:
    """Name -> string literal that follows the field, base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not is_dataclass(base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _string(after)
                if text is not None:
                    found[field.target.id] = text
    return found


def _string(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(inspect.cleandoc(node.value.value).split())
    return None
