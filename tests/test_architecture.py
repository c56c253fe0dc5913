"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("planners", "envs", "datasets")
ONLY_IN = {
    "hydra": ("configs/",),
    "omegaconf": ("configs/",),
    "h5py": ("datasets/",),
    "pyarrow": ("datasets/",),
    "mujoco": ("envs/",),
    "dm_control": ("envs/",),
    "gymnasium_robotics": ("envs/",),
    "robosuite": ("envs/",),
    "robomimic": ("drift_wm/speed/readers.py",),
    "imageio": ("drift_wm/acting/video.py",),
    "matplotlib": (
        "drift_wm/plots.py",
        "drift_wm/lineage/plots.py",
        "drift_wm/diagnosis/plots.py",
        "drift_wm/speed/plots.py",
        "drift_wm/bench/plots.py",
        "drift_wm/recordings/plots.py",
    ),
    "jinja2": ("drift_wm/report.py",),
    "pytorch_mppi": ("drift_wm/speed/outside.py",),
    "tensorboard": ("drift_wm/storage/metrics.py",),
}


JOINS = (
    "drift_wm/build.py",
    "drift_wm/speed/suite.py",  # times a planner in the simulator without what a command's settings bring along
    "drift_wm/truth/risk_case.py",  # plans for an objective of its own, which no setting names
)
"""Who may see both environments and planners."""


LEAVES = {
    "datasets": ("drift_wm.storage.writing",),
    "planners": ("drift_wm.compilation", "drift_wm.requirements"),
    "envs": ("drift_wm.cores", "drift_wm.requirements"),
}
"""Modules that stand on nothing, and who may see them besides the interfaces."""


EXECUTING = {"eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load"}
"""Calls that run, or may run, what they are given."""


def sources() -> list[Path]:
    """Every module of the package, in whatever folder, by the one name that is no link."""
    folders = [ROOT / folder for folder in ("drift_wm", *FOLDERS, "configs")]
    return sorted({path.resolve() for folder in folders for path in folder.rglob("*.py")})


def imports(path: Path) -> set[str]:
    """Every module a file imports, `import` inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inside = node.module == "drift_wm"  # `from drift_wm import build`
            found |= {f"drift_wm.{alias.name}" for alias in node.names} if inside else {node.module or ""}
    return found


def modules_in(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.py"))
    assert files, f"{folder} is not there any more"
    return files


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_folder_is_looked_into():
    found = {name_of(path) for path in sources()}
    assert {"drift_wm/cli.py", "drift_wm/speed/suite.py", "envs/simulator.py", "configs/schema.py"} <= found
    assert not any(name.startswith("drift_wm/envs/") for name in found), "a link is no second module"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_libraries_stay_behind_their_door(path):
    for module in imports(path):
        allowed = ONLY_IN.get(module.split(".")[0])
        assert allowed is None or name_of(path).startswith(allowed), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_planners_envs_and_datasets_know_only_the_interfaces_and_themselves(folder):
    for path in modules_in(ROOT / folder):
        for module in imports(path):
            if module.startswith("drift_wm"):
                known = ("drift_wm.interfaces", *LEAVES.get(folder, ()))
                own = module.startswith(f"drift_wm.{folder}.")
                assert own or module in known, f"{name_of(path)} imports {module}"


def test_leaves_need_only_the_standard_library():
    for module in {module for modules in LEAVES.values() for module in modules}:
        found = {name.split(".")[0] for name in imports(ROOT / f"{module.replace('.', '/')}.py")}
        assert found <= sys.stdlib_module_names, module


def test_interfaces_need_only_torch():
    assert imports(ROOT / "drift_wm/interfaces.py") <= {
        "__future__",
        "collections.abc",
        "dataclasses",
        "typing",
        "torch",
        "numpy",
    }


@pytest.mark.parametrize("name", ["fields", "generators", "models"])
def test_models_know_nothing_of_environments_planners_or_data(name):
    target = ROOT / "drift_wm" / name
    files = modules_in(target) if target.is_dir() else [target.with_suffix(".py")]
    known = {"interfaces", "requirements", "compilation", "random_streams", "fields", "generators", "models", "storage"}
    for path in files:
        for module in imports(path):
            if module.startswith("drift_wm"):
                assert module.split(".")[1] in known, f"{name_of(path)} imports {module}"


ROOMS_BELOW = {
    "storage": {"drift_wm.acting", "drift_wm.learning", "drift_wm.diagnosis", "drift_wm.models", "drift_wm.datasets"},
    "recordings": {"drift_wm.learning", "drift_wm.diagnosis", "drift_wm.models"},
    "acting": {"drift_wm.learning", "drift_wm.diagnosis", "drift_wm.bench"},
    "learning": {"drift_wm.bench", "drift_wm.truth", "drift_wm.speed", "drift_wm.demonstrations"},
    "diagnosis": {"drift_wm.learning", "drift_wm.bench", "drift_wm.truth", "drift_wm.speed"},
    "lineage": {"drift_wm.learning", "drift_wm.diagnosis", "drift_wm.acting"},
}
"""Rooms, and what they never look into: an arrow back would make two rooms one."""


@pytest.mark.parametrize("room", ROOMS_BELOW)
def test_rooms_look_one_way(room):
    for path in modules_in(ROOT / "drift_wm" / room):
        found = {".".join(module.split(".")[:2]) for module in imports(path)}
        assert not found & ROOMS_BELOW[room], name_of(path)


def test_few_see_every_part():
    found = []
    for path in sources():
        parts = {module.split(".")[1] for module in imports(path) if module.startswith("drift_wm.")}
        if {"envs", "planners"} <= parts:
            found.append(name_of(path))
    assert sorted(found) == sorted(JOINS), "each other one joins environments and planners through build"


def test_tables_and_plots_of_a_grid_need_no_simulator():
    code = "import sys, drift_wm.bench.plots, drift_wm.bench.results; print({'mujoco', 'h5py'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_no_file_is_long():
    for path in sources():
        assert len(path.read_text().splitlines()) <= 300, name_of(path)


def test_nothing_executes_what_it_reads():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in EXECUTING, name_of(path)
                told = {keyword.arg for keyword in node.keywords}
                assert called != "torch.load" or "weights_only" in told, name_of(path)
            if isinstance(node, ast.keyword) and node.arg in ("weights_only", "allow_pickle"):
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is (node.arg == "weights_only"), name_of(path)
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert "_target_" not in path.read_text(), name_of(path)
