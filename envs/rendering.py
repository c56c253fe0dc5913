"""Chooses the OpenGL backend of MuJoCo, which has to happen before `dm_control` is imported.

`dm_control` reads `MUJOCO_GL` once, at import. Without it and without a display it settles on GLFW, prints a
warning, and fails at the first picture with an error that names neither the cause nor the cure.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

# The synonyms that dm_control itself accepts.
_GLFW = ("glfw", "on", "enable", "enabled", "true", "1", "")
_DISABLED = ("disable", "off", "disabled", "false", "0")
_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
_EGL_PLATFORM_DEVICE, _MOST_DEVICES = 0x313F, 16
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
    a display answers (or on another system than Linux, whose window system needs none), then EGL where it finds
    something to draw on, then OSMesa where its library loads, then no rendering at all.

    Args:
        environ: where `MUJOCO_GL`, `DISPLAY` and `WAYLAND_DISPLAY` are read.

    Raises:
        ValueError: `MUJOCO_GL` holds a name that MuJoCo does not know.
        RenderingUnavailableError: `MUJOCO_GL` asks for a backend that does not work here, which `dm_control` would
            answer with an unrelated error.
    """
    requested = environ.get("MUJOCO_GL")
    return _best(environ) if requested is None else _requested(requested, environ)


def import_suite() -> ModuleType:
    """`dm_control.suite`, imported after the backend was chosen.

    Raises:
        ValueError: `MUJOCO_GL` holds a name that MuJoCo does not know.
        RenderingUnavailableError: `MUJOCO_GL` or `MUJOCO_EGL_DEVICE_ID` asks for what does not work here.
    """
    backend = choose_backend()
    try:
        return import_module("dm_control.suite")
    except (ImportError, RuntimeError) as error:
        if backend.name not in _LIBRARIES:
            raise
        raise RenderingUnavailableError(f"dm_control cannot draw by {backend.name} ({error}). {_CURE}") from error


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
    if name == "egl" and not _egl_finds_a_display():
        raise RenderingUnavailableError(f"{why}, but {_LIBRARIES[name]} finds no driver to draw with. {_CURE}")
    return Backend(name, why)


def _best(environ: Mapping[str, str]) -> Backend:
    """The best backend of this machine."""
    without = "there is no display"
    if _has_display(environ):
        if _display_answers():
            return Backend("glfw", "there is a display")
        without = "DISPLAY is set, but no display answers"
    for name, library in _LIBRARIES.items():
        if _loads(library) and (name != "egl" or _egl_finds_a_display()):
            return Backend(name, f"{without}, and {library} works")
    return Backend("disable", f"{without}, and none of {', '.join(_LIBRARIES.values())} works")


def _has_display(environ: Mapping[str, str]) -> bool:
    return sys.platform != "linux" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _display_answers() -> bool:
    """Whether a window could be opened: the variable of a session that has ended may still be set."""
    if sys.platform != "linux":
        return True
    glfw = import_module("glfw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", glfw.GLFWError)
        answers = bool(glfw.init())
    if answers:
        glfw.terminate()
    return answers


def _egl_finds_a_display() -> bool:
    """Whether EGL can be begun on some device, which its library alone, without a driver, cannot.

    By the calls that mujoco and dm_control make at their import (EGL_EXT_platform_device).
    """
    egl = ctypes.CDLL(_LIBRARIES["egl"])
    find = egl.eglGetProcAddress
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    addresses = find(b"eglQueryDevicesEXT"), find(b"eglGetPlatformDisplayEXT")
    if None in addresses:
        return False
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    query = ctypes.CFUNCTYPE(integer, integer, ctypes.POINTER(pointer), ctypes.POINTER(integer))(addresses[0])
    display_of = ctypes.CFUNCTYPE(pointer, integer, pointer, pointer)(addresses[1])
    egl.eglInitialize.argtypes = [pointer] * 3
    devices, count = (pointer * _MOST_DEVICES)(), integer()
    if not query(_MOST_DEVICES, devices, ctypes.byref(count)):
        return False
    displays = (display_of(_EGL_PLATFORM_DEVICE, device, None) for device in devices[: count.value])
    return any(display and egl.eglInitialize(display, None, None) for display in displays)


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
