"""Where a file is written before it takes its target's name."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def beside(path: Path) -> Path:
    """A hidden name in the target's folder, of this process alone: shares of a grid write to one folder at once."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")
