"""The grid: what it runs, what it skips, what it adds up. The runs themselves are a recording stand-in."""

import json

import pytest

from drift_wm import bench as bench_module
from drift_wm.bench import Cell, as_table, bench, grid, overrides_of, table
from drift_wm.configs.schema import read_settings
from drift_wm.run_folder import RunFolder
from drift_wm.settings import BenchSettings

SETTINGS = BenchSettings(tasks=["cartpole-swingup", "reacher-easy"], planners=["icem", "mppi"], seeds=[1, 2])


def compose(overrides):
    return read_settings("online", overrides)


class Runs:
    """Stands in for `online`: writes plausible results, and can be killed."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at, self.done = die_at, []

    def __call__(self, settings, folder, *, device):
        if len(self.done) == self.die_at:
            raise KeyboardInterrupt
        self.done.append(folder.path)
        value = 100.0 * settings.seed + (50.0 if settings.model.generator.name == "drifting" else 0.0)
        evaluations = [{"name": "model", "mean": value, "returns": [value]}]
        if settings.reference_random_episodes:
            evaluations.append({"name": "random", "mean": 5.0, "returns": [4.0, 6.0]})
        if settings.reference_simulator_episodes:
            evaluations.append({"name": "true simulator", "mean": 800.0, "returns": [800.0]})
        results = {"frames": 1000, "evaluations": evaluations}
        folder.write_results(results)
        return results


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


def test_a_killed_grid_goes_on_where_it_was(tmp_path, monkeypatch):
    small = BenchSettings(seeds=[1, 2])
    folder = RunFolder(tmp_path)
    first = Runs(die_at=3)
    monkeypatch.setattr(bench_module, "online", first)
    with pytest.raises(KeyboardInterrupt):
        bench(small, folder, compose=compose)
    second = Runs()
    monkeypatch.setattr(bench_module, "online", second)
    rows = bench(small, folder, compose=compose)
    assert len(first.done) == 3
    assert len(second.done) == 1
    assert not set(first.done) & set(second.done)
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == [row.as_dict() for row in rows]
    third = Runs()
    monkeypatch.setattr(bench_module, "online", third)
    assert bench(small, folder, compose=compose) == rows
    assert third.done == []


def test_table_has_mean_error_and_n_with_references_around(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_module, "online", Runs())
    rows = bench(BenchSettings(planners=["icem"], seeds=[1, 2, 3]), RunFolder(tmp_path), compose=compose)
    assert [row.model for row in rows] == ["random", "drifting", "regression", "true simulator"]
    drifting = rows[1]
    assert drifting.mean == 250.0
    assert drifting.standard_error == pytest.approx(100 / 3**0.5)
    assert (len(drifting.returns), drifting.frames) == (3, 1000)
    assert rows[3].standard_error is None
    assert as_table(rows).row_count == 4


def test_rows_of_one_task_stand_together():
    done = {
        Cell(task, "drifting", "icem", 1): {"frames": 1, "evaluations": [{"name": "m", "mean": 1.0, "returns": [1.0]}]}
        for task in ("b-b", "a-a")
    }
    assert [row.task for row in table(done)] == ["a-a", "b-b"]


def test_a_mistake_in_the_last_cell_fails_before_the_first_runs(tmp_path, monkeypatch):
    runs = Runs()
    monkeypatch.setattr(bench_module, "online", runs)
    with pytest.raises(ValueError, match="gan"):
        bench(BenchSettings(models=["drifting", "gan"]), RunFolder(tmp_path), compose=compose)
    assert runs.done == []


def test_an_empty_grid_is_refused():
    with pytest.raises(ValueError, match=r"seeds=\[\]"):
        BenchSettings(seeds=[])
