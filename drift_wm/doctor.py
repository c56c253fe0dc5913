"""What this machine has, what is missing, and how to get it: `drift-wm doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.markup import escape
from rich.table import Table

from drift_wm import compilation
from drift_wm.cores import available_cores
from drift_wm.models.precision import multiplies_bfloat16
from drift_wm.storage.run_folder import PACKAGES
from drift_wm.terminal import add_columns

DISTRIBUTION = "drift-wm"
EXTRAS = {
    "robomimic": "robomimic",
    "robosuite": "robosuite",
    "gymnasium-robotics": "robotics",
    "pyarrow": "lerobot",
    "pytorch-mppi": "mppi",
    "hydra-submitit-launcher": "sweeps",
}
ENOUGH_DISK = 2**30  # bytes: checkpoints, replay and films of a long run

_RENDER_A_FRAME = """
from drift_wm.envs.dm_control import RenderConfig, make_dm_control
from drift_wm.envs.rendering import choose_backend
backend = choose_backend()
print(f"{backend.name}: {backend.why}", flush=True)
if not backend.renders:
    raise SystemExit("pictures are switched off")
env = make_dm_control("pendulum-swingup", render=RenderConfig(width=32, height=32, fast=True))
env.reset(seed=0)
if env.render().std() == 0:
    raise SystemExit("the picture is blank")
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    value: str
    ok: bool | None
    """None: for information."""
    remedy: str = ""
    """What to do about it, where something is to be done."""


def examine() -> tuple[Finding, ...]:
    """Look at everything; nothing that is broken stops the rest from being looked at."""
    python = platform.python_version()
    return (
        Finding("python", python, sys.version_info[:2] in ((3, 11), (3, 12)), "use Python 3.11 or 3.12"),
        *(package(name) for name in dict.fromkeys((*PACKAGES, *supported()))),
        *(extra(name, option) for name, option in EXTRAS.items()),
        *devices(),
        machine_code(),
        rendering(),
        film_encoder(),
        *disk(Path.cwd()),
    )


def render(findings: Sequence[Finding]) -> Table:
    """The findings for a terminal; remedies only where they are needed."""
    signs = {True: "[green]ok[/]", False: "[red]no[/]", None: ""}
    table = Table()
    names = ("", "what", "found", "remedy")
    add_columns(table, names, left=names)
    for finding in findings:
        remedy = "" if finding.ok else finding.remedy
        # `drift-wm[lerobot]` is a requirement, not a style of rich's
        table.add_row(signs[finding.ok], *map(escape, (finding.name, finding.value, remedy)))
    return table


def supported(option: str = "") -> dict[str, SpecifierSet]:
    """The packages that drift_wm needs, or an extra of it, and the versions that it works with, as `pip` was told."""
    try:
        told = [Requirement(each) for each in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:  # `package` says so
        return {}
    return {
        each.name: each.specifier
        for each in told
        if (each.marker.evaluate({"extra": option}) if each.marker else not option)
    }


def package(name: str) -> Finding:
    """A package that drift_wm cannot do without, inside the range of versions it works with."""
    wanted = supported().get(name, SpecifierSet())
    remedy = f"pip install '{name}{wanted}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", False, remedy)
    return Finding(name, version, wanted.contains(version, prereleases=True), remedy)


def extra(name: str, option: str) -> Finding:
    """A package that only some uses need, inside the range of versions it works with."""
    apart = ", in a virtual environment of its own: it needs older packages" if option == "robosuite" else ""
    remedy = f"pip install '{DISTRIBUTION}[{option}]'{apart}"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed (optional)", None, remedy)
    wanted = supported(option).get(name, SpecifierSet())
    return Finding(name, version, wanted.contains(version, prereleases=True), remedy)


def devices() -> tuple[Finding, ...]:
    """What computes, and how much of it is free."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if cuda else ["cpu"]
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]  # both of the whole machine
    return (
        Finding("device", ", ".join(names), None),
        Finding("bfloat16 matrix products", "native" if multiplies_bfloat16(device) else "no; float32 is used", None),
        Finding("cores", f"{available_cores()}, torch uses {torch.get_num_threads()} threads", None),
        Finding("load", f"{load:.1f}", None, "" if load < cores else "other work is running: timings will be off"),
    )


def machine_code() -> Finding:
    """Whether planning is as fast as it can be; what is in the way is logged."""
    if compilation.machine_code() is not None:
        return Finding("planning in machine code", "compiles", True)
    remedy = "install g++, or name a C++ compiler in CXX: decisions then take 0.4 to 0.7 of the time"
    return Finding("planning in machine code", "does not compile (optional)", None, remedy)


def rendering() -> Finding:
    """Whether a picture can be drawn, tried in another process, so that a crash of the driver is a finding too."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _RENDER_A_FRAME], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("rendering", "no picture within 120 s", False, "set MUJOCO_GL=egl or MUJOCO_GL=osmesa")
    backend = tried.stdout.strip() or "no backend"
    if tried.returncode == 0:
        return Finding("rendering", backend, True)
    lines = tried.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"the process ended with status {tried.returncode}"
    return Finding("rendering", f"{backend}; {reason}", False, _rendering_remedy(reason))


def film_encoder() -> Finding:
    """The ffmpeg that writes films."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return Finding("ffmpeg", get_ffmpeg_exe(), True)
    except (ImportError, RuntimeError) as error:
        return Finding("ffmpeg", str(error), False, "pip install --force-reinstall imageio-ffmpeg")


def disk(folder: Path) -> tuple[Finding, Finding]:
    """Space and permission where run folders go."""
    free = shutil.disk_usage(folder).free
    space = Finding("free disk", f"{free / 2**30:.1f} GiB", free >= ENOUGH_DISK, "free some space, or set run_dir=...")
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return space, Finding("working folder", f"{folder}: {error.strerror}", False, "set run_dir=... elsewhere")
    return space, Finding("working folder", f"{folder} is writable", True)


def _rendering_remedy(reason: str) -> str:
    if reason.startswith("ModuleNotFoundError"):
        return "install the package that is missing"
    libraries = "apt-get install libegl1 libgl1 libgles2 libegl-mesa0 libgl1-mesa-dri, or libosmesa6"
    return f"unset MUJOCO_GL; if that is not enough, {libraries}" if "MUJOCO_GL" in os.environ else libraries
