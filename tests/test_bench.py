"""The grid: what it runs, what it skips, what it adds up. The runs themselves are a recording stand-in."""

import json
import re
from dataclasses import replace
from operator import attrgetter

import pytest

from drift_wm import bench as bench_module
from drift_wm import commands
from drift_wm.bench import Cell, bench, grid, overrides_of
from drift_wm.bench_cells import CellResult
from drift_wm.bench_results import (
    as_table,
    table,
)
from drift_wm.bench_settings import BenchSettings
from drift_wm.cli import main
from drift_wm.configs.schema import read_settings
from drift_wm.run_folder import RunFolder
from drift_wm.suites import ANCHOR, PUBLISHED, SUITES

SETTINGS = BenchSettings(tasks=["cartpole-swingup", "reacher-easy"], planners=["icem", "mppi"], seeds=[1, 2])


def compose(overrides):
    return read_settings("online", overrides)


class Runs:
    """Stands in for `online`: writes plausible results, and can be killed."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at, self.done, self.threads = die_at, [], set()

    def __call__(self, settings, folder, *, device):
        if len(self.done) == self.die_at:
            raise KeyboardInterrupt
        self.done.append(folder.path)
        self.threads.add(settings.threads)
        value = 100.0 * settings.seed + (50.0 if settings.model.generator.name == "drifting" else 0.0)
        evaluations = [{"name": "model", "returns": [value]}]
        if settings.reference_random_episodes:
            evaluations.append({"name": "random", "returns": [4.0, 6.0]})
        if settings.reference_simulator_episodes:
            evaluations.append({"name": "true simulator", "returns": [800.0]})
        (folder.path / "status.json").write_text(json.dumps({"episodes": settings.episodes, "of": settings.episodes}))
        results = {
            "frames": 1000,
            "evaluations": evaluations,
            "decision_ms": {"p50": 20.0, "p95": 30.0},
            "learning_seconds": 60.0,
            "progress": [{"frames": 500, "returns": [value / 2]}],
        }
        folder.write_results(results)


@pytest.fixture
def runs(monkeypatch, inline_pool):
    runs = Runs()
    monkeypatch.setattr(bench_module, "online", runs)
    return runs


def test_every_cell_once_seed_by_seed():
    cells = list(grid(SETTINGS))
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 2
    assert {cell.seed for cell in cells[:8]} == {1}


def test_references_are_made_once_a_task_and_planner():
    asked = {cell: overrides_of(cell, SETTINGS) for cell in grid(SETTINGS)}
    with_random = [cell for cell, overrides in asked.items() if "reference_random_episodes=5" in overrides]
    with_simulator = [cell for cell, overrides in asked.items() if "reference_simulator_episodes=1" in overrides]
    assert [(cell.task, cell.planner) for cell in with_random] == [
        ("cartpole-swingup", "icem"),
        ("reacher-easy", "icem"),
    ]
    assert len(with_simulator) == 4


def test_a_killed_grid_goes_on_where_it_was(tmp_path, monkeypatch, inline_pool):
    small = BenchSettings(seeds=[1, 2])
    folder = RunFolder(tmp_path)
    first = Runs(die_at=3)
    monkeypatch.setattr(bench_module, "online", first)
    with pytest.raises(KeyboardInterrupt):
        bench(small, folder, compose=compose)
    second = Runs()
    monkeypatch.setattr(bench_module, "online", second)
    results = bench(small, folder, compose=compose)
    assert len(first.done) == 3
    assert len(second.done) == 1
    assert not set(first.done) & set(second.done)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert [found["mean"] for found in kept["cells"]] == [result.mean for result in results] == [150, 100, 250, 200]
    third = Runs()
    monkeypatch.setattr(bench_module, "online", third)
    assert bench(small, folder, compose=compose) == results
    assert third.done == []


def test_runs_are_spread_over_cores_with_one_thread_each(tmp_path, runs, inline_pool, monkeypatch):
    monkeypatch.setattr(bench_module.os, "cpu_count", lambda: 8)
    bench(BenchSettings(seeds=[1], workers=4), RunFolder(tmp_path / "a"), compose=compose)
    assert inline_pool.last.workers == 2, "two runs"
    assert runs.threads == {1}
    runs.threads.clear()
    bench(BenchSettings(seeds=[1], overrides=["threads=4"]), RunFolder(tmp_path / "b"), compose=compose)
    assert runs.threads == {4}


def test_table_has_mean_error_and_n_with_references_around(tmp_path, runs):
    results = bench(BenchSettings(planners=["icem"], seeds=[1, 2, 3]), RunFolder(tmp_path), compose=compose)
    rows = table(results, suite="")
    assert [row.model for row in rows] == ["random", "drifting", "regression", "true simulator"]
    drifting = rows[1]
    assert drifting.mean == 250.0
    assert drifting.standard_error == pytest.approx(100 / 3**0.5)
    assert (len(drifting.returns), drifting.frames) == (3, 1000)
    assert (drifting.lowest, drifting.highest) == (150, 350)
    assert (rows[0].lowest, rows[0].highest) == (4, 6)
    assert rows[3].standard_error is None
    assert as_table(rows).row_count == 4


def test_a_mistake_in_the_last_cell_fails_before_the_first_runs(tmp_path, runs):
    with pytest.raises(ValueError, match="gan"):
        bench(BenchSettings(models=["drifting", "gan"]), RunFolder(tmp_path), compose=compose)
    assert runs.done == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": []}, r"seeds=\[\]"),
        ({"suite": "atari"}, "suite='atari': expected empty, demonstrations, or one of dmc"),
        ({"suite": "dmc", "tasks": ["dog-run"]}, r"tasks=\['dog-run'\]: expected tasks of suite=dmc"),
        ({"workers": -1}, "workers=-1"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        BenchSettings(**asked)


def test_a_suite_brings_its_tasks_frames_and_evaluations():
    settings = BenchSettings(suite="dmc", models=["drifting"], seeds=[1])
    cells = list(grid(settings))
    assert [cell.task for cell in cells] == [task.name for task in SUITES["dmc"]]
    for cell, task in zip(cells, SUITES["dmc"], strict=True):
        asked = compose(overrides_of(cell, settings))
        assert asked.episodes * asked.episode_decisions * asked.env.action_repeat == task.frames
        assert (asked.evaluation_episodes, asked.env.action_repeat) == (10, 2)
        assert asked.planner.horizon % asked.model.chunk == 0
        for name, _, value in (override.partition("=") for override in task.overrides):
            assert attrgetter(name)(asked) == float(value), name
        assert asked.progress_every > 0
        assert asked.model.value_discount == 0.97, "of all models alike"
        assert len(task.published) == len(PUBLISHED)


def test_overrides_come_after_those_of_the_suite():
    settings = BenchSettings(suite="dmc", tasks=["walker-walk"], overrides=["episodes=7"])
    assert compose(overrides_of(Cell("walker-walk", "drifting", "icem", 1), settings)).episodes == 7


def test_from_the_command_line_to_the_page(tmp_path, runs, capsys):
    arguments = ["bench", "suite=dmc", "tasks=[cartpole-swingup,walker-walk]", "seeds=[1]", f"run_dir={tmp_path}"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"times {ANCHOR}" in out
    assert out.splitlines()[-1] == str(tmp_path)
    page = (tmp_path / "report.html").read_text()
    for words in ("cartpole-swingup", "interquartile mean", "TD-MPC2, 500k", "data:image/png"):
        assert words in page
    tables = (tmp_path / "tables.md").read_text()
    assert re.search(r"\| cartpole-swingup \| drifting \| icem \| .* \| 150 \|\n", tables)
    assert f"times {ANCHOR}" in tables
    for name in ("learning_curves.png", "decision_time.png"):
        assert (tmp_path / name).stat().st_size > 0
    assert commands.bench is bench


def test_known_cells_are_taken_over_and_not_run_again(tmp_path, runs):
    small = BenchSettings(models=["drifting"], seeds=[1, 2])
    bench(replace(small, seeds=[1]), RunFolder(tmp_path / "first"), compose=compose)
    known = [str(tmp_path / "first" / "results.json")]
    results = bench(replace(small, known=known), RunFolder(tmp_path / "second"), compose=compose)
    assert [path.name for path in runs.done] == ["seed1", "seed2"], "once each"
    assert not (tmp_path / "second" / Cell("cartpole-swingup", "drifting", "icem", 1).folder).exists()
    assert [result.mean for result in results] == [150, 250]
    kept = json.loads((tmp_path / "second" / "results.json").read_text())["cells"]
    assert [CellResult.from_dict(found) for found in kept] == results
    third = RunFolder(tmp_path / "third")
    put_together = replace(small, known=[str(tmp_path / "second" / "results.json")], run=False, seeds=[2, 1, 3])
    assert bench(put_together, third, compose=compose) == results[::-1], "in this grid's order, and none is run"
    assert len(runs.done) == 2
    assert [path.name for path in third.path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"cells": [{"task": "a-b"}]}', '{"cells": 3}', '{"cells": [[1]]}', None],
)
def test_known_cells_that_cannot_be_read_are_refused_by_name(tmp_path, runs, content):
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"other\.json: .*expected a results\.json that `drift-wm bench` wrote"):
        bench(BenchSettings(known=[str(file)]), RunFolder(tmp_path / "grid"), compose=compose)
    assert runs.done == []


def test_a_grid_of_nothing_says_so(tmp_path, runs):
    with pytest.raises(ValueError, match=r"run=false: no cell of this grid is finished in .*, and known names none"):
        bench(BenchSettings(run=False), RunFolder(tmp_path), compose=compose)
    assert not any(tmp_path.iterdir())


def test_a_grid_grows_in_its_folder(tmp_path, runs, capsys):
    arguments = ["bench", "models=[drifting]", f"run_dir={tmp_path}"]
    assert main([*arguments, "seeds=[1]"]) == 0
    assert main([*arguments, "seeds=[1,2]", "tasks=[cartpole-swingup,reacher-easy]"]) == 0
    assert len(runs.done) == 4, "the first cell once"
    assert len(json.loads((tmp_path / "results.json").read_text())["cells"]) == 4
    assert main([*arguments, "seeds=[1,2]", "tasks=[cartpole-swingup]", 'overrides=["round_steps=3"]']) == 2
    assert "other settings: overrides" in " ".join(capsys.readouterr().err.split())


def test_shares_are_dealt_out_and_add_up_to_the_grid(tmp_path, runs):
    for shard in range(3):
        part = replace(SETTINGS, run_dir=str(tmp_path), shards=3, shard=shard)
        results = bench(part, RunFolder(tmp_path), compose=compose)
        assert len(results) == len(runs.done)
    assert len(set(runs.done)) == len(runs.done) == len(list(grid(SETTINGS)))
    bench(SETTINGS, RunFolder(tmp_path), compose=compose)
    assert len(runs.done) == len(list(grid(SETTINGS)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shards": 0}, "shards=0: expected an integer of at least 1"),
        ({"shards": 2, "shard": 2, "run_dir": "x"}, "shard=2: expected an integer from 0 to shards - 1 = 1"),
        ({"shards": 2}, "run_dir=None: expected a folder that all shards share"),
    ],
)
def test_shares_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **wrong)


def test_more_shares_than_cells_are_refused(tmp_path, runs):
    settings = replace(SETTINGS, run_dir=str(tmp_path), shards=17)
    with pytest.raises(ValueError, match="shards=17: expected at most 16"):
        bench(settings, RunFolder(tmp_path), compose=compose)
