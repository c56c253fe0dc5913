"""Chooses the OpenGL backend of MuJoCo, which has to happen before `dm_control` is imported.

`dm_control` reads `MUJOCO_GL` once, at import. Without it and without a display it settles on GLFW, prints a
warning, and fails at the first picture with an error that names neither the cause nor the cure.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

# The synonyms that dm_control itself accepts.
_GLFW = ("glfw", "on", "enable", "enabled", "true", "1", "")
_DISABLED = ("disable", "off", "disabled", "false", "0")
_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
_CURE = (
    "Rendering without a display needs one of two Debian/Ubuntu packages sets: for EGL `apt-get install libegl1 "
    "libgl1 libgles2 libegl-mesa0 libgl1-mesa-dri`, for OSMesa `apt-get install libosmesa6`. Then leave MUJOCO_GL "
    "unset, or set it to 'egl' or 'osmesa', before Python starts. Everything but pictures works without."
)


class RenderingUnavailable(RuntimeError):
    """No picture can be drawn on this machine as it is set up; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Backend:
    """An OpenGL backend, and the reason it was chosen."""

    name: str
    """"glfw", "egl", "osmesa" or "disable"; the last means that nothing can be rendered."""
    why: str
    """One clause for a log or an error message."""

    @property
    def renders(self) -> bool:
        """Whether pictures can be drawn."""
        return self.name != "disable"

    def require(self) -> None:
        """Make sure that pictures can be drawn.

        Raises:
            RenderingUnavailable: they cannot.
        """
        if not self.renders:
            raise RenderingUnavailable(f"Nothing can be rendered here: {self.why}. {_CURE}")


def choose_backend(environ: MutableMapping[str, str] = os.environ) -> Backend:
    """Decide on a backend and write it into the environment, for `dm_control` to read when it is imported.

    A `MUJOCO_GL` that is set is kept. Otherwise: GLFW where there is a display (or another system than Linux, whose
    window system needs none), then EGL, then OSMesa, each if its library loads, then no rendering at all.
    Calling it again changes nothing.

    Args:
        environ: where `MUJOCO_GL`, `PYOPENGL_PLATFORM` and `DISPLAY` are read, and the first two written.

    Raises:
        ValueError: `MUJOCO_GL` holds a name that MuJoCo does not know.
        RenderingUnavailable: `MUJOCO_GL` asks for a backend whose library is not installed, which `dm_control`
            would answer with an unrelated error.
    """
    requested = environ.get("MUJOCO_GL")
    backend = _found(environ) if requested is None else _requested(requested, environ)
    if backend.name != "glfw":  # GLFW is what an unset variable means
        environ["MUJOCO_GL"] = backend.name
    if backend.name in _LIBRARIES:
        # dm_control refuses to import when PyOpenGL was told otherwise.
        environ["PYOPENGL_PLATFORM"] = backend.name
    return backend


def import_suite() -> ModuleType:
    """`dm_control.suite`, imported after the backend was chosen.

    Raises:
        ValueError: `MUJOCO_GL` holds a name that MuJoCo does not know.
        RenderingUnavailable: `MUJOCO_GL` asks for a backend that is not installed.
    """
    choose_backend()
    from dm_control import suite

    assert isinstance(suite, type(sys))
    return suite


def _requested(value: str, environ: MutableMapping[str, str]) -> Backend:
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
        raise RenderingUnavailable(f"{why}, but {_LIBRARIES[name]} does not load. {_CURE}")
    return Backend(name, why)


def _found(environ: MutableMapping[str, str]) -> Backend:
    """The best backend of this machine."""
    if _has_display(environ):
        return Backend("glfw", "there is a display")
    for name, library in _LIBRARIES.items():
        if _loads(library):
            return Backend(name, f"there is no display, and {library} loads")
    return Backend("disable", f"there is no display, and none of {', '.join(_LIBRARIES.values())} loads")


def _has_display(environ: MutableMapping[str, str]) -> bool:
    return sys.platform != "linux" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
