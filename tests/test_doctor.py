import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console

from drift_wm import compilation, doctor
from drift_wm.doctor import Finding, examine, render


def test_looks_at_everything_a_user_may_lack(monkeypatch):
    monkeypatch.setattr(doctor, "rendering", lambda: Finding("rendering", "egl", True))
    names = {finding.name for finding in examine()}
    assert {"python", "torch", "mujoco", "robomimic", "device", "cores", "rendering", "ffmpeg", "free disk"} <= names
    assert doctor.supported().keys() <= names


@pytest.mark.parametrize(
    ("status", "printed", "value", "ok", "remedy"),
    [
        (0, "egl", "egl", True, ""),
        (1, "", "no backend; libEGL.so.1: cannot open shared object file", False, "apt-get install"),
        (-11, "egl", "egl; the process ended with status -11", False, "apt-get install"),
    ],
)
def test_rendering_is_tried_and_its_failure_told(monkeypatch, status, printed, value, ok, remedy):
    said = "libEGL.so.1: cannot open shared object file" if status == 1 else ""
    done = subprocess.CompletedProcess([], status, printed, f"Traceback\n{said}\n" if said else "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    found = doctor.rendering()
    assert (found.value, found.ok) == (value, ok)
    assert remedy in found.remedy


@pytest.mark.parametrize(("version", "ok"), [("3.10.0", True), ("3.9.0", False), ("4.0.0", False), ("3.8.1", True)])
def test_versions_outside_the_window_are_found(monkeypatch, version, ok):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    found = doctor.package("mujoco")
    assert (found.value, found.ok) == (version, ok)
    told = Requirement(found.remedy.removeprefix("pip install ").strip("'"))
    assert (told.name, told.specifier) == ("mujoco", SpecifierSet(">=3.8.1,<3.11,!=3.9.0"))


@pytest.mark.parametrize(("version", "ok"), [("1.4.2", True), ("1.3.0", False)])
def test_versions_of_extras_outside_the_window_are_found(monkeypatch, version, ok):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert doctor.extra("gymnasium-robotics", "robotics").ok is ok


def test_without_its_own_metadata_it_says_what_is_missing(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(doctor, "rendering", lambda: Finding("rendering", "egl", True))
    found = {finding.name: finding for finding in examine()}
    assert (found["drift-wm"].value, found["torch"].value) == ("missing", "missing")


def test_missing_packages_are_found(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert doctor.package("torch") == Finding("torch", "missing", False, "pip install 'torch>=2.6'")
    assert doctor.extra("pyarrow", "lerobot").remedy == "pip install 'drift-wm[lerobot]'"
    assert doctor.extra("pyarrow", "lerobot").ok is None


@pytest.mark.parametrize(
    ("status", "out", "err", "value"),
    [
        (
            1,
            "egl: it loads",
            "Traceback\nRenderingUnavailableError: no",
            "egl: it loads; RenderingUnavailableError: no",
        ),
        (-11, "egl: it loads", "", "egl: it loads; the process ended with status -11"),
        (1, "", "ValueError: MUJOCO_GL", "no backend; ValueError: MUJOCO_GL"),
    ],
)
def test_a_crash_of_the_driver_is_a_finding(monkeypatch, status, out, err, value):
    answer = SimpleNamespace(returncode=status, stdout=out, stderr=err)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: answer)
    found = doctor.rendering()
    assert (found.value, found.ok) == (value, False)
    assert "libosmesa6" in found.remedy


def test_a_real_crash_is_survived(monkeypatch):
    monkeypatch.setattr(doctor, "_RENDER_A_FRAME", "import os; print('egl: it loads', flush=True); os.abort()")
    found = doctor.rendering()
    assert (found.value, found.ok) == ("egl: it loads; the process ended with status -6", False)


@pytest.mark.parametrize(
    ("variable", "reason", "remedy"),
    [
        (None, "ImportError: no EGL display", "apt-get install libegl1"),
        ("bogus", "ValueError: MUJOCO_GL is 'bogus'", "unset MUJOCO_GL"),
        (None, "ModuleNotFoundError: No module named 'mujoco'", "install the package that is missing"),
    ],
)
def test_the_remedy_fits_the_cause(monkeypatch, variable, reason, remedy):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if variable is not None:
        monkeypatch.setenv("MUJOCO_GL", variable)
    monkeypatch.setattr(doctor, "_RENDER_A_FRAME", f"raise SystemExit({reason!r})")
    assert doctor.rendering().remedy.startswith(remedy)


def test_pictures_that_are_switched_off_are_a_finding(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    found = doctor.rendering()
    assert (found.value, found.ok) == ("disable: MUJOCO_GL is 'disable'; pictures are switched off", False)


def test_a_hanging_driver_is_a_finding(monkeypatch):
    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("python", 120)

    monkeypatch.setattr(subprocess, "run", hang)
    assert doctor.rendering().ok is False


def test_missing_ffmpeg_is_a_finding(monkeypatch):
    import imageio_ffmpeg

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    assert doctor.film_encoder().ok
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    assert doctor.film_encoder().ok is False
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # what makes an import fail
    assert doctor.film_encoder().ok is False
    assert "imageio-ffmpeg" in doctor.film_encoder().remedy


def test_a_busy_machine_is_mentioned(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 0.0, 0.0))
    assert "timings" in doctor.devices()[-1].remedy
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert doctor.devices()[-1].remedy == ""


def test_every_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(doctor, "multiplies_bfloat16", lambda device: device.type == "cuda")
    device, bfloat16, *_ = doctor.devices()
    assert (device.value, bfloat16.value) == ("GPU 0, GPU 1", "native")


@pytest.mark.parametrize(("library", "ok", "remedy"), [(object(), True, ""), (None, None, "g++")])
def test_machine_code_that_does_not_compile_is_a_finding(monkeypatch, library, ok, remedy):
    monkeypatch.setattr(compilation, "machine_code", lambda: library)
    finding = doctor.machine_code()
    assert finding.ok is ok
    assert remedy in finding.remedy


def test_full_or_read_only_disks_are_findings(tmp_path, monkeypatch):
    assert all(finding.ok for finding in doctor.disk(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10))
    assert doctor.disk(tmp_path)[0].ok is False
    assert doctor.disk(Path("/proc"))[1].ok is False


def test_remedies_are_shown_only_where_needed():
    console = Console(width=120, record=True)
    console.print(render([Finding("a", "x", True, "cure of a"), Finding("b", "y", False, "cure of b")]))
    shown = console.export_text()
    assert "cure of b" in shown
    assert "cure of a" not in shown


def test_the_names_of_extras_survive_rich():
    console = Console(width=120, record=True)
    console.print(render([Finding("pyarrow", "not installed", None, "pip install 'drift-wm[lerobot]'")]))
    assert "pip install 'drift-wm[lerobot]'" in console.export_text()


def test_long_values_are_not_cut():
    console = Console(width=60, record=True)
    console.print(render([Finding("ffmpeg", "/a/long/folder" * 8, True)]))
    assert "…" not in console.export_text()


def test_windows_and_extras_are_those_of_the_package():
    path = Path(__file__).resolve().parent.parent / "pyproject.toml"
    project = tomllib.loads(path.read_text())["project"]
    assert doctor.supported() == {need.name: need.specifier for need in map(Requirement, project["dependencies"])}
    for name, option in doctor.EXTRAS.items():
        needs = {need.name: need.specifier for need in map(Requirement, project["optional-dependencies"][option])}
        assert doctor.supported(option) == needs
        assert name in needs
