"""Which OpenGL backend is chosen, and what happens without one."""

import os
import subprocess
import sys

import pytest

from drift_wm.envs import rendering
from drift_wm.envs.rendering import Backend, RenderingUnavailableError, choose_backend, find_backend


@pytest.fixture
def libraries(monkeypatch):
    """The libraries that load, and work; empty at first."""
    present: set[str] = set()
    monkeypatch.setattr(rendering, "_loads", lambda library: library in present)
    monkeypatch.setattr(rendering, "_egl_finds_a_display", lambda: True)
    monkeypatch.setattr(rendering, "_display_answers", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    return present


def test_a_display_comes_first_then_egl_then_osmesa_then_nothing(libraries):
    assert find_backend({}).name == "disable"
    libraries.add("libOSMesa.so.8")
    assert find_backend({}).name == "osmesa"
    libraries.add("libEGL.so.1")
    assert find_backend({}).name == "egl"
    assert find_backend({"DISPLAY": ":0"}).name == "glfw"
    assert find_backend({"WAYLAND_DISPLAY": "wayland-0"}).name == "glfw"


def test_what_is_there_and_does_not_work_is_passed_over(libraries, monkeypatch):
    """A DISPLAY of a session that has ended, and an EGL without a driver."""
    libraries |= {"libEGL.so.1", "libOSMesa.so.8"}
    monkeypatch.setattr(rendering, "_display_answers", lambda: False)
    assert find_backend({"DISPLAY": ":0"}) == Backend(
        "egl", "DISPLAY is set, but no display answers, and libEGL.so.1 works"
    )
    monkeypatch.setattr(rendering, "_egl_finds_a_display", lambda: False)
    assert find_backend({"DISPLAY": ":0"}).name == find_backend({}).name == "osmesa"
    with pytest.raises(RenderingUnavailableError, match=r"MUJOCO_GL is 'egl', but libEGL\.so\.1 finds no driver"):
        find_backend({"MUJOCO_GL": "egl"})


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
@pytest.mark.parametrize("changed", [{"DISPLAY": ":99"}, {"__EGL_VENDOR_LIBRARY_DIRS": "/nowhere"}])
def test_a_machine_on_which_a_backend_fails_still_acts(changed):
    environ = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    code = STEP_THEN_RENDER.rpartition("env.render()")[0]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ | changed)
    assert (answer.returncode, answer.stdout.split()[0]) == (0, "stepped"), answer.stderr


def test_what_the_user_set_is_obeyed(libraries):
    libraries |= {"libEGL.so.1", "libOSMesa.so.8"}
    assert find_backend({"MUJOCO_GL": "osmesa", "DISPLAY": ":0"}).name == "osmesa"
    assert find_backend({"MUJOCO_GL": " EGL "}).name == "egl"
    assert find_backend({"MUJOCO_GL": "disable"}).name == "disable"
    assert find_backend({"MUJOCO_GL": "glfw", "DISPLAY": ":0"}).name == "glfw"
    without_display = find_backend({"MUJOCO_GL": "glfw"})
    assert without_display.name == "disable"
    assert "DISPLAY is not set" in without_display.why


def test_wrong_and_absent_backends_are_explained(libraries):
    with pytest.raises(ValueError, match=r"MUJOCO_GL is 'vulkan'.*'egl'"):
        find_backend({"MUJOCO_GL": "vulkan"})
    with pytest.raises(RenderingUnavailableError, match=r"libOSMesa\.so\.8 does not load.*apt-get install"):
        find_backend({"MUJOCO_GL": "osmesa"})


def test_only_a_backend_that_renders_passes():
    Backend("egl", "it loads").require()
    with pytest.raises(RenderingUnavailableError, match=r"it is off.*apt-get install libegl1.*libosmesa6"):
        Backend("disable", "it is off").require()


def test_the_choice_is_written_for_dm_control(monkeypatch):
    choose_backend.cache_clear()
    monkeypatch.setattr(rendering, "find_backend", lambda environ: Backend("osmesa", "test"))
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.setenv(name, "before")
    assert choose_backend() is choose_backend()
    assert os.environ["MUJOCO_GL"] == os.environ["PYOPENGL_PLATFORM"] == "osmesa"
    choose_backend.cache_clear()
    monkeypatch.undo()
    choose_backend()


def test_dm_control_imported_first_is_named_as_the_cause(monkeypatch):
    choose_backend.cache_clear()
    monkeypatch.setattr(rendering, "_has_display", lambda environ: False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setitem(sys.modules, "dm_control._render", object())
    assert "imported before" in choose_backend().why
    choose_backend.cache_clear()
    monkeypatch.undo()
    choose_backend()


STEP_THEN_RENDER = """
import numpy as np
from drift_wm.envs.dm_control import make_dm_control
env = make_dm_control("pendulum-swingup")
env.reset(seed=0)
env.step(np.zeros(1))
print("stepped", env.render_mode)
env.render()
"""


def test_without_gl_everything_but_pictures_works():
    environ = {**os.environ, "MUJOCO_GL": "disable"}
    environ.pop("DISPLAY", None)
    answer = subprocess.run([sys.executable, "-c", STEP_THEN_RENDER], capture_output=True, text=True, env=environ)
    assert answer.stdout == "stepped None\n"
    assert "RenderingUnavailableError: Nothing can be rendered here: MUJOCO_GL is 'disable'" in answer.stderr
    assert "apt-get install" in answer.stderr
    assert "GLFW" not in answer.stderr


def test_nothing_is_printed_where_there_is_no_display():
    chosen = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY")
    environ = {name: value for name, value in os.environ.items() if name not in chosen}
    code = "from drift_wm.envs.dm_control import task_names; task_names()"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_with_a_display_the_environment_is_left_alone(monkeypatch):
    choose_backend.cache_clear()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(rendering, "_display_answers", lambda: True)
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert choose_backend().name == "glfw"
    assert not {"MUJOCO_GL", "PYOPENGL_PLATFORM"} & set(os.environ)
    choose_backend.cache_clear()
    monkeypatch.undo()
    choose_backend()


def test_other_systems_than_linux_render_through_their_window_system(libraries, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert find_backend({}).name == "glfw"


def test_a_library_that_is_not_there_does_not_load():
    assert not rendering._loads("libNoSuchLibrary.so.0")
