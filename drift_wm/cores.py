"""How many cores there are to work on."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may use: a job on a shared machine was given some of them, and `os.cpu_count` has all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
