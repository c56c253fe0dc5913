"""Files that appear whole: each is written beside its target, and then takes its name."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def beside(path: Path) -> Path:
    """A hidden name in the target's folder, of this process alone: shares of a grid write to one folder at once."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write a file of which a reader never sees half, nor a kill leaves half."""
    temporary = beside(path)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
