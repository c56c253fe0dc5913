"""The package's machine code, compiled for the processor at hand where it has a compiler."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import shlex
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parent
_SOURCES = (_PACKAGE / "models" / "rollout.cpp", _PACKAGE / "planners" / "ranking.cpp")
_SECONDS = 120  # that compiling may take
_OPTIONS = ("-O3", "-march=native", "-fPIC", "-fopenmp")


@functools.cache
def machine_code() -> ctypes.CDLL | None:
    """All of it, compiled at a process's first call, in about a second; None, with a warning, if in vain."""
    command = os.environ.get("CXX", "").strip() or "c++"
    try:
        with tempfile.TemporaryDirectory(prefix="drift-wm-") as folder:
            return _compiled(shlex.split(command), folder)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        lines = (said.decode(errors="replace") if isinstance(said, bytes) else said).strip().splitlines()
        logger.warning(
            "compile=true: %s: %s; planning without, which takes 1.5 to 2.5 times as long (install g++, or set CXX; "
            "where a command has compile=false, that does not ask)",
            command,
            next(iter(lines), type(error).__name__),
        )
        return None


def _compiled(compiler: list[str], folder: str) -> ctypes.CDLL:
    objects = [f"{folder}/{source.stem}.o" for source in _SOURCES]
    commands = [
        [*compiler, *_OPTIONS, "-c", str(source), "-o", compiled]
        for source, compiled in zip(_SOURCES, objects, strict=True)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_run, commands))
    # Not linked with OpenMP: threads are then those that torch has loaded, and two pools do not compete.
    _run([*compiler, "-shared", *objects, "-o", f"{folder}/drift_wm.so"])
    return ctypes.CDLL(f"{folder}/drift_wm.so")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
