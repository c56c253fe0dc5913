"""Chooses the OpenGL backend of MuJoCo, which has to happen before `dm_control` is imported.

`dm_control` reads `MUJOCO_GL` once, at import. Without it and without a display it settles on GLFW, prints a
warning, and fails at the first picture with an error that names neither the cause nor the cure.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

# The synonyms that dm_control itself accepts.
_GLFW = ("glfw", "on", "enable", "enabled", "true", "1", "")
_DISABLED = ("disable", "off", "disabled", "false", "0")
_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
_CURE = (
    "Rendering without a display needs one of two sets of Debian/Ubuntu packages: for EGL `apt-get install libegl1 "
    "libgl1 libgles2 libegl-mesa0 libgl1-mesa-dri`, for OSMesa `apt-get install libosmesa6`. Then leave MUJOCO_GL "
    "unset, or set it to 'egl' or 'osmesa', before Python starts. Everything but pictures works without."
)


class RenderingUnavailableError(OSError):
    """No picture can be drawn; the message says why, and what to install where that is the cure."""


@dataclass(frozen=True, slots=True)
class Backend:
    """An OpenGL backend, and the reason it was chosen."""

    name: str
    """One of "glfw", "egl", "osmesa" and "disable"; the last renders nothing."""
    why: str
    """One clause for a log or an error message."""

    @property
    def renders(self) -> bool:
        """Whether pictures can be drawn."""
        return self.name != "disable"

    def require(self) -> None:
        """Make sure that pictures can be drawn.

        Raises:
            RenderingUnavailableError: they cannot.
        """
        if not self.renders:
            raise RenderingUnavailableError(f"Nothing can be rendered here: {self.why}. {_CURE}")


@cache
def choose_backend() -> Backend:
    """Decide on a backend, once a process, and write it into the environment for `dm_control` to read at its import.

    Raises:
        ValueError: as `find_backend`.
        RenderingUnavailableError: as `find_backend`.
    """
    if "dm_control._render" in sys.modules and "MUJOCO_GL" not in os.environ and not _has_display(os.environ):
        return Backend(
            "disable",
            "dm_control was imported before `drift_wm.envs` and settled on GLFW, which needs a display; import "
            "`drift_wm.envs.dm_control` first, or set MUJOCO_GL",
        )
    backend = find_backend(os.environ)
    if backend.name != "glfw":  # MuJoCo's own choice where the variable is unset
        os.environ["MUJOCO_GL"] = backend.name
    if backend.name in _LIBRARIES:
        # dm_control refuses to import when PyOpenGL was told otherwise.
        os.environ["PYOPENGL_PLATFORM"] = backend.name
    return backend


def find_backend(environ: Mapping[str, str]) -> Backend:
    """The backend for a process with these environment variables; changes nothing.

    A `MUJOCO_GL` that is set is obeyed, but for GLFW without a display, which renders nothing. Otherwise: GLFW where
    there is a display (or another system than Linux, whose window system needs none), then EGL, then OSMesa, each if
    its library loads, then no rendering at all.

    Args:
        environ: where `MUJOCO_GL`, `DISPLAY` and `WAYLAND_DISPLAY` are read.

    Raises:
        ValueError: `MUJOCO_GL` holds a name that MuJoCo does not know.
        RenderingUnavailableError: `MUJOCO_GL` asks for a backend whose library is not installed, which `dm_control`
            would answer with an unrelated error.
    """
    requested = environ.get("MUJOCO_GL")
    return _best(environ) if requested is None else _requested(requested, environ)


def import_suite() -> ModuleType:
    """`dm_control.suite`, imported after the backend was chosen.

    Raises:
        ValueError: `MUJOCO_GL` holds a name that MuJoCo does not know.
        RenderingUnavailableError: `MUJOCO_GL` asks for a backend that is not installed.
    """
    choose_backend()
    return import_module("dm_control.suite")


def _requested(value: str, environ: Mapping[str, str]) -> Backend:
    """The backend that the user asked for in `MUJOCO_GL`."""
    name = value.strip().lower()
    why = f"MUJOCO_GL is {value!r}"
    if name in _DISABLED:
        return Backend("disable", why)
    if name in _GLFW:
        if _has_display(environ):
            return Backend("glfw", why)
        return Backend("disable", f"{why}, which needs a display, and DISPLAY is not set")
    if name not in _LIBRARIES:
        raise ValueError(
            f"MUJOCO_GL is {value!r}; expected 'egl', 'osmesa', 'glfw' or 'disable', or leave it unset to choose by "
            "what is installed"
        )
    if not _loads(_LIBRARIES[name]):
        raise RenderingUnavailableError(f"{why}, but {_LIBRARIES[name]} does not load. {_CURE}")
    return Backend(name, why)


def _best(environ: Mapping[str, str]) -> Backend:
    """The best backend of this machine."""
    if _has_display(environ):
        return Backend("glfw", "there is a display")
    for name, library in _LIBRARIES.items():
        if _loads(library):
            return Backend(name, f"there is no display, and {library} loads")
    return Backend("disable", f"there is no display, and none of {', '.join(_LIBRARIES.values())} loads")


def _has_display(environ: Mapping[str, str]) -> bool:
    return sys.platform != "linux" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


# mujoco reads MUJOCO_GL when it is imported, and fails with an unrelated error where that backend is missing. So the
# modules beside this one take it from here, after the choice.
choose_backend()

import mujoco as mujoco  # noqa: E402
