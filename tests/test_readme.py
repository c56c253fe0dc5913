"""The README keeps its word: its example of an environment is one, its table of the suite that of the raw results."""

import json
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from drift_wm import cli
from drift_wm.bench.aggregates import sentences
from drift_wm.bench.cells import read_grid
from drift_wm.bench.grid import unfinished
from drift_wm.bench.report import bench_tables
from drift_wm.bench.results import table
from drift_wm.build import make_env
from drift_wm.configs.schema import read_settings
from drift_wm.datasets.readers import read_demonstrations
from drift_wm.demonstrations import rows as demonstrations
from drift_wm.demonstrations import tables as demonstrations_tables
from drift_wm.speed import tables as speed_tables
from drift_wm.speed.ratios import ratios_of
from drift_wm.speed.timing import SpeedRow
from drift_wm.truth import rows as truth
from drift_wm.truth import tables as truth_tables

ROOT = Path(__file__).resolve().parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
SUITE = DOCS / "bench" / "dmc"


def test_the_example_of_an_own_environment_runs(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (code,) = [block for block in blocks if "gymnasium.register" in block]
    asked = []
    monkeypatch.setattr(cli, "main", asked.extend)
    before = set(gymnasium.registry)
    try:
        exec(compile(code, str(README), "exec"), {"__name__": "__main__"})
        command, *overrides = asked
        settings = read_settings(command, overrides)
        env = make_env(settings.task, settings.env)
        env.reset(seed=0)
        steps = [env.step(np.ones(1, np.float32)) for _ in range(100)]
    finally:
        for name in set(gymnasium.registry) - before:
            del gymnasium.registry[name]
    assert command == "online"
    assert [truncated for *_, truncated, _ in steps] == [False] * 99 + [True]
    assert steps[1][0][0] - steps[0][0][0] == pytest.approx(0.1, abs=1e-6)


def test_the_example_of_own_logs_writes_a_file_that_train_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (code,) = [block for block in blocks if "h5py" in block]
    exec(compile(code, str(README), "exec"), {})
    small = ["model.generator.width=16", "training.batch_size=8", "training.warmup=1", "steps=2", "threads=1"]
    assert cli.main(["train", "data=demos.hdf5", *small, "run_dir=run"]) == 0
    results = json.loads(Path("run/results.json").read_text())
    assert results["training_episodes"] + results["held_out_episodes"] == 10
    assert results["actions_beyond_bounds"] == 0
    episodes = read_demonstrations("demos.hdf5")
    assert [(len(episode), episode.terminated) for episode in episodes] == [(50, False)] * 10
    np.testing.assert_allclose(episodes[0].rewards, -np.abs(episodes[0].obs[1:, 0]))


def test_the_example_in_python_acts_and_predicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (code,) = [block for block in blocks if "load_agent" in block]
    collect = ["collect", "task=cartpole-swingup", "episodes=2", "run_dir=data", "threads=1"]
    assert cli.main(collect) == 0
    small = ["model.generator.width=16", "training.batch_size=8", "training.warmup=1", "steps=2", "threads=1"]
    assert cli.main(["train", "data=data/episodes.hdf5", *small, "run_dir=runs/mine"]) == 0
    found: dict = {}
    exec(compile(code, str(README), "exec"), found)
    assert np.abs(found["agent"].act(found["obs"])).max() <= 1
    assert found["future"].obs.shape == (1, 256, 4, 50, 5)
    assert found["future"].reward.shape == (1, 256, 4, 50)


def test_the_table_of_the_suite_is_that_of_the_raw_results():
    """`drift-wm bench suite=dmc known=[docs/bench/dmc/results.json] run=false ...` makes it."""
    results = read_grid(SUITE / "results.json")
    tables = (SUITE / "tables.md").read_text()
    asked = ["suite=dmc", "models=[drifting,regression,gaussian,diffusion]", "seeds=[1,2,3]"]
    said = [*sentences(results, suite="dmc"), *unfinished(read_settings("bench", asked), results)]
    assert bench_tables(table(results, suite="dmc"), said) == tables
    shown = re.findall(r"^\| [a-z_]+-[a-z]+ \| drifting \| [0-9]+,000 \|.*$", README.read_text(), flags=re.MULTILINE)
    made = [line for line in tables.splitlines() if "| drifting |" in line]
    assert shown == made


def raw(*files):
    """The rows of some files of results."""
    return [values for file in files for values in json.loads((DOCS / file).read_text())["rows"]]


def test_the_tables_of_other_comparisons_are_those_of_the_raw_results():
    made = {
        "truth": truth_tables.markdown([truth.Row(**row) for row in raw("truth/results.json")]),
        "demonstrations": demonstrations_tables.markdown(
            [demonstrations.Row(**row) for row in raw("demonstrations/results.json")]
        ),
    }
    times = [SpeedRow.from_dict(row) for row in raw("speed/results.json")]
    made["speed"] = speed_tables.markdown(times)
    assert {name: (DOCS / name / "tables.md").read_text() for name in made} == made
    assert json.loads((DOCS / "speed" / "ratios.json").read_text()) == ratios_of(times)
