"""What is installed is what is in the tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("envs", "planners", "datasets", "configs")


def expected_files() -> set[str]:
    found = {f"drift_wm/{path.relative_to(ROOT / 'drift_wm')}" for path in (ROOT / "drift_wm").rglob("*")}
    for folder in FOLDERS:
        found |= {f"drift_wm/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*")}
    return {name for name in found if name.endswith((".py", ".cpp", ".yaml", ".jinja", "py.typed"))}


@pytest.mark.parametrize("folder", FOLDERS)
def test_top_level_folders_are_linked_into_the_package(folder):
    link = ROOT / "drift_wm" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


def test_only_configs_is_a_regular_package():
    """With an __init__.py, `datasets` in the working directory would shadow Hugging Face's."""
    assert [folder for folder in FOLDERS if (ROOT / folder / "__init__.py").exists()] == ["configs"]


def test_the_wheel_holds_every_module_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    # setuptools leaves build/ and egg-info beside its source, so it gets a copy.
    copy = tmp_path / "source"
    tracked = ("drift_wm", *FOLDERS, "pyproject.toml", "README.md")
    copy.mkdir()
    subprocess.run(["cp", "-a", *(str(ROOT / name) for name in tracked), str(copy)], check=True)
    command[-1] = str(copy)
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected_files()


def test_the_command_is_installed():
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "drift-wm"), "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("drift-wm 0.")
