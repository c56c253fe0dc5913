"""The grid: what it runs, and what it skips. The runs themselves are a recording stand-in."""

import json
import re
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest

from drift_wm import commands
from drift_wm.bench import suite as bench_module
from drift_wm.bench.cells import NO_PLANNER, Cell, CellResult, Reference, ReferenceCell
from drift_wm.bench.grid import grid
from drift_wm.bench.results import as_table, table
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.suite import bench
from drift_wm.bench.tasks import ANCHOR
from drift_wm.cli import main
from drift_wm.configs.schema import read_settings
from drift_wm.storage import run_folder
from drift_wm.storage.run_folder import RunFolder

SETTINGS = BenchSettings(tasks=["cartpole-swingup", "reacher-easy"], planners=["icem", "mppi"], seeds=[1, 2])


@cache
def composed(overrides):
    return read_settings("online", overrides)


def compose(overrides):
    return deepcopy(composed(tuple(overrides)))


class Runs:
    """Stands in for `online` and `evaluate`: writes plausible results, and can be killed."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at, self.done, self.compared, self.threads = die_at, [], [], set()

    def online(self, settings, folder, *, device):
        if len(self.done) == self.die_at:
            raise KeyboardInterrupt
        self.done.append(folder.path)
        self.threads.add(settings.threads)
        value = 100.0 * settings.seed + (50.0 if settings.model.generator.name == "drifting" else 0.0)
        (folder.path / "status.json").write_text(json.dumps({"episodes": settings.episodes, "of": settings.episodes}))
        results = {
            "frames": 1000,
            "evaluations": [{"name": "model", "returns": [value]}],
            "decision_ms": {"p50": 20.0, "p95": 30.0},
            "learning_seconds": 60.0,
            "progress": [{"frames": 500, "returns": [value / 2]}],
        }
        folder.write_results(results)

    def evaluate(self, settings, folder, *, device):
        self.compared.append((settings.task, settings.actor, settings.episodes))
        value = 5.0 if settings.actor == "random" else 800.0
        returns = [value + i for i in range(settings.episodes)]
        folder.write_results({"evaluations": [{"name": settings.actor, "returns": returns}]})


def install(monkeypatch, runs):
    monkeypatch.setattr(bench_module, "online", runs.online)
    monkeypatch.setattr(bench_module, "evaluate", runs.evaluate)
    return runs


@pytest.fixture
def runs(monkeypatch, inline_pool):
    return install(monkeypatch, Runs())


def test_more_episodes_of_a_reference_can_be_asked_for_later(tmp_path, runs):
    small = BenchSettings(seeds=[1], models=["drifting"], reference_random_episodes=2)
    bench(small, RunFolder(tmp_path), compose=compose)
    bench(small, RunFolder(tmp_path), compose=compose)
    assert [episodes for _, actor, episodes in runs.compared if actor == "random"] == [2]
    more = replace(small, reference_random_episodes=4)
    known = [str(tmp_path / "results.json")]
    for settings, folder in ((more, tmp_path), (replace(more, known=known), tmp_path / "other")):
        results = bench(settings, RunFolder(folder), compose=compose)
        assert [len(found.returns) for found in results.references if found.name == "random"] == [4]
    assert [episodes for _, actor, episodes in runs.compared if actor == "random"] == [2, 4], "known from then on"


def test_a_killed_grid_goes_on_where_it_was(tmp_path, monkeypatch, inline_pool):
    small = BenchSettings(seeds=[1, 2])
    folder = RunFolder(tmp_path)
    first = install(monkeypatch, Runs(die_at=3))
    with pytest.raises(KeyboardInterrupt):
        bench(small, folder, compose=compose)
    second = install(monkeypatch, Runs())
    results = bench(small, folder, compose=compose)
    assert len(first.done) == 3
    assert len(second.done) == 1
    assert not set(first.done) & set(second.done)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert [found["mean"] for found in kept["cells"]] == [cell.mean for cell in results.cells] == [150, 100, 250, 200]
    third = install(monkeypatch, Runs())
    assert bench(small, folder, compose=compose) == results
    assert third.done == third.compared == []


def test_a_damaged_cell_is_refused_by_name_and_nothing_of_the_grid_is_lost(tmp_path, runs):
    small = BenchSettings(seeds=[1])
    cell, *_ = bench(small, RunFolder(tmp_path), compose=compose).cells
    file = tmp_path / Cell.of(cell).folder / "results.json"
    for content in ('{"frames": ', "[]"):
        file.write_text(content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(file))}: .*remove the file"):
            bench(small, RunFolder(tmp_path), compose=compose)
    file.unlink()
    assert cell in bench(small, RunFolder(tmp_path), compose=compose).cells


def test_progress_counts_episodes_that_plan(tmp_path, runs, monkeypatch):
    seen = []

    class Bar:
        def update(self, done, note):
            seen.append((done, note))

    @contextmanager
    def track(description, total):
        seen.append((total, description))
        yield Bar()

    def one_after_another(work, jobs, *, workers, on_done, on_tick):
        for job in jobs:
            on_tick()
            work(job)
            on_done(job)

    monkeypatch.setattr(bench_module, "track", track)
    monkeypatch.setattr(bench_module, "run_in_processes", one_after_another)
    small = BenchSettings(
        seeds=[1, 2], models=["drifting"], reference_simulator_episodes=3, reference_random_episodes=2
    )
    begun = tmp_path / Cell("cartpole-swingup", "drifting", "icem", 2).folder
    begun.mkdir(parents=True)
    (begun / "status.json").write_text('{"episodes": 4, "of": 20}')  # all at random: they tell nothing of the pace
    bench(small, RunFolder(tmp_path), compose=compose)
    run = compose([])
    plans = run.episodes - run.random_episodes
    assert seen[0] == (2 * plans + 5, "bench, planned episodes")
    assert seen[1:3] == [(done, f"cartpole-swingup drifting 2: 4/{run.episodes}") for done in (0, plans)]
    assert seen[-1] == (2 * plans + 5, "")


def test_runs_are_spread_over_cores_with_one_thread_each(tmp_path, runs, inline_pool):
    bench(BenchSettings(seeds=[1], workers=6), RunFolder(tmp_path / "a"), compose=compose)
    assert inline_pool.last.workers == 4, "two runs and two references"
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
    assert drifting.frames == (1000,) * 3
    assert (drifting.lowest, drifting.highest) == (150, 350)
    assert (rows[0].lowest, rows[0].highest) == (5, 9)
    assert rows[3].standard_error is None
    assert as_table(rows).row_count == 4


def test_a_mistake_in_the_last_cell_fails_before_the_first_runs(tmp_path, runs):
    with pytest.raises(ValueError, match="gan"):
        bench(BenchSettings(models=["drifting", "gan"]), RunFolder(tmp_path), compose=compose)
    assert runs.done == []


@pytest.mark.parametrize("task", ["cheetah-walk", "Hoper-v5"])
def test_a_misspelt_task_fails_before_the_first_cell_as_it_does_alone(tmp_path, runs, monkeypatch, capsys, task):
    monkeypatch.chdir(tmp_path)
    assert main(["online", f"task={task}"]) == 2
    capsys.readouterr()  # the first time, installed plugins of gymnasium print, too
    assert main(["online", f"task={task}"]) == 2
    alone = capsys.readouterr().err
    assert repr(task) in alone
    assert main(["bench", f"tasks=[cartpole-balance,{task}]", "run_dir=grid"]) == 2
    assert capsys.readouterr().err == alone
    assert (runs.done, runs.compared) == ([], [])
    assert not (tmp_path / "grid").exists()


def test_from_the_command_line_to_the_page(tmp_path, runs, capsys):
    arguments = ["bench", "suite=dmc", "tasks=[cartpole-swingup,walker-walk]", "seeds=[1]", f"run_dir={tmp_path}"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"times {ANCHOR}" in out
    assert out.splitlines()[-1] == str(tmp_path)
    page = (tmp_path / "report.html").read_text()
    captions = (
        "The last point of a curve averages 1 episode of each run, the points before it 1 episode.",
        "Decisions were timed during the grid, beside other work",
    )
    for words in ("cartpole-swingup", "interquartile mean", "TD-MPC2, 500k", "data:image/png", *captions):
        assert words in page
    tables = (tmp_path / "tables.md").read_text()
    assert re.search(r"\| cartpole-swingup \| drifting \| .* \| 150 \|\n", tables)
    assert f"times {ANCHOR}" in tables
    for text in (" ".join(out.split()), page, tables):
        assert "steady: runs of which no evaluation in the last 20% of training fell below half of their best." in text
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
    assert [cell.mean for cell in results.cells] == [150, 250]
    kept = json.loads((tmp_path / "second" / "results.json").read_text())
    assert tuple(CellResult.from_dict(found) for found in kept["cells"]) == results.cells
    assert tuple(Reference.from_dict(found) for found in kept["references"]) == results.references
    assert len(runs.compared) == len(results.references) == 2, "once each"
    third = RunFolder(tmp_path / "third")
    put_together = replace(small, known=[str(tmp_path / "second" / "results.json")], run=False, seeds=[2, 1, 3])
    tabulated = bench(replace(put_together, reference_random_episodes=0), third, compose=compose)
    assert tabulated.cells == results.cells[::-1], "in this grid's order, and none is run"
    assert tabulated.references == results.references, "asked for or not"
    assert len(runs.done) == 2
    assert [path.name for path in third.path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"cells": [{"task": "a-b"}]}', '{"cells": 3}', '{"cells": [[1]]}', None]
    + ['{"cells": [], "references": ' + wrong + "}" for wrong in ("3", "[[1]]", '[{"task": "a-b"}]')],
)
def test_known_cells_that_cannot_be_read_are_refused_by_name(tmp_path, runs, content):
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"other\.json: .*expected a results\.json that `drift-wm bench` wrote"):
        bench(BenchSettings(known=[str(file)]), RunFolder(tmp_path / "grid"), compose=compose)
    assert runs.done == []


def test_known_cells_that_learned_from_more_are_refused(tmp_path, runs):
    small = BenchSettings(models=["drifting"], seeds=[1])
    bench(small, RunFolder(tmp_path / "first"), compose=compose)
    file = tmp_path / "first" / "results.json"
    file.write_text(file.read_text().replace('"frames": 1000,', '"frames": 40000,'))
    message = "cartpole-swingup, drifting, seed 1 learned from 40,000 frames, and this grid allows 10,000"
    with pytest.raises(ValueError, match=message):
        bench(replace(small, known=[str(file)]), RunFolder(tmp_path / "second"), compose=compose)


def test_in_a_suite_known_cells_that_learned_from_fewer_are_refused_too(tmp_path, runs):
    asked = BenchSettings(suite="dmc", tasks=["cartpole-swingup"], models=["drifting"], seeds=[1])
    bench(asked, RunFolder(tmp_path / "first"), compose=compose)
    known = [str(tmp_path / "first" / "results.json")]
    with pytest.raises(ValueError, match="learned from 1,000 frames, and this grid allows 10,000"):
        bench(replace(asked, known=known), RunFolder(tmp_path / "second"), compose=compose)


def test_known_results_of_unlike_settings_are_refused(tmp_path, runs):
    """Neither their cells nor what these are compared with would be of this grid."""
    small = BenchSettings(models=["drifting"], seeds=[1])
    bench(replace(small, overrides=["planner.horizon=5"]), RunFolder(tmp_path / "first"), compose=compose)
    known = [str(tmp_path / "first" / "results.json")]
    for other in ({}, {"suite": "dmc", "tasks": ["cartpole-swingup"]}):
        with pytest.raises(ValueError, match=r"had \(suite, overrides\) = \('', \('planner\.horizon=5',\)\); expected"):
            bench(replace(small, known=known, **other), RunFolder(tmp_path / "second"), compose=compose)
    assert len(runs.done) == 1


def test_what_was_run_here_counts_before_what_is_known(tmp_path, runs):
    small = BenchSettings(models=["drifting"], seeds=[1])
    bench(small, RunFolder(tmp_path / "mine"), compose=compose)
    theirs = tmp_path / "theirs.json"
    theirs.write_text((tmp_path / "mine" / "results.json").read_text().replace("150.0", "777.0"))
    asked = replace(small, seeds=[1, 2], known=[str(theirs)], run=False)
    assert [cell.mean for cell in bench(asked, RunFolder(tmp_path / "mine"), compose=compose).cells] == [150]
    assert [cell.mean for cell in bench(asked, RunFolder(tmp_path / "other"), compose=compose).cells] == [777]


def test_a_grid_of_nothing_says_so(tmp_path, runs):
    with pytest.raises(ValueError, match=r"run=false: no cell of this grid is finished in .*, and known names none"):
        bench(BenchSettings(run=False), RunFolder(tmp_path), compose=compose)
    assert not any(tmp_path.iterdir())


def test_runs_that_are_not_finished_are_named(tmp_path, runs, capsys):
    asked = ["bench", "models=[drifting]", "seeds=[1]", "reference_simulator_episodes=0", f"run_dir={tmp_path}"]
    assert main(asked) == 0
    assert "not finished" not in capsys.readouterr().out
    assert main([*asked, "models=[drifting,regression]", "seeds=[1,2]", "run=false"]) == 0
    told = (
        "3 of 4 runs are not finished, and not in the table: cartpole-swingup regression icem, seed 1; "
        "cartpole-swingup drifting icem, seed 2; cartpole-swingup regression icem, seed 2"
    )
    assert f"{told}\n" in capsys.readouterr().out
    assert told in (tmp_path / "report.html").read_text()


def test_a_grid_grows_in_its_folder(tmp_path, runs, capsys):
    arguments = ["bench", "models=[drifting]", f"run_dir={tmp_path}"]
    assert main([*arguments, "seeds=[1]"]) == 0
    assert main([*arguments, "seeds=[1,2]", "tasks=[cartpole-swingup,reacher-easy]"]) == 0
    assert len(runs.done) == 4, "the first cell once"
    assert len(json.loads((tmp_path / "results.json").read_text())["cells"]) == 4
    grown = ["bench", f"run_dir={tmp_path}", "seeds=[1,2]", "tasks=[cartpole-swingup,reacher-easy]"]
    assert main([*grown, "models=[drifting,gaussian]", "planners=[icem,cem]"]) == 0
    assert len(runs.done) == 16
    assert main([*arguments, "seeds=[1,2]", "tasks=[cartpole-swingup]", 'overrides=["round_steps=3"]']) == 2
    assert "other settings: overrides" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("share", [(), ("shards=2", "shard=0")])
def test_what_a_run_refuses_does_not_block_the_corrected_grid(tmp_path, runs, monkeypatch, share):
    def refuse(settings, folder, *, device):
        raise ValueError("the horizon does not fit")

    without = ("reference_random_episodes=0", "reference_simulator_episodes=0")
    arguments = ["bench", "models=[drifting]", "seeds=[1,2]", *without, *share, f"run_dir={tmp_path / 'grid'}"]
    monkeypatch.setattr(bench_module, "online", refuse)
    assert main([*arguments, 'overrides=["planner.horizon=7"]']) == 2
    monkeypatch.setattr(bench_module, "online", runs.online)
    assert main([*arguments, 'overrides=["planner.horizon=10"]']) == 0
    assert len(runs.done) == (1 if share else 2)


def test_a_share_begins_its_own_parts_alone_and_refuses_those_of_other_settings(tmp_path, runs):
    asked = BenchSettings(
        run_dir=str(tmp_path),
        models=["drifting"],
        seeds=[1, 2],
        shards=2,
        reference_simulator_episodes=0,
        reference_random_episodes=0,
    )
    bench(asked, RunFolder(tmp_path), compose=compose)
    (first,), others = runs.done, [*tmp_path.rglob("config.json")]
    assert others == [first / "config.json"]
    with pytest.raises(ValueError, match="other settings: round_steps"):
        bench(replace(asked, shard=1, overrides=["round_steps=3"]), RunFolder(tmp_path), compose=compose)
    assert [*tmp_path.rglob("config.json")] == others


def test_a_cell_whose_numbers_run_away_is_named_below_the_page_of_the_others(tmp_path, runs, monkeypatch, capsys):
    def diverge(settings, folder, *, device):
        if settings.seed == 1:
            raise FloatingPointError("the loss became nan")
        runs.online(settings, folder, device=device)

    monkeypatch.setattr(bench_module, "online", diverge)
    arguments = ["bench", "models=[drifting]", f"run_dir={tmp_path}"]
    assert main([*arguments, "seeds=[1]"]) == 1
    assert "No run of the grid is finished yet" in capsys.readouterr().out
    assert main([*arguments, "seeds=[1,2]"]) == 1
    out, err = capsys.readouterr()
    assert f"({tmp_path / Cell('cartpole-swingup', 'drifting', 'icem', 1).folder})" in err
    assert "the loss became nan" in err
    assert str(tmp_path / "report.html") in out
    assert (tmp_path / "learning_curves.png").stat().st_size > 0
    assert re.search(r"\| cartpole-swingup \| drifting \| .* \| 250 \|\n", (tmp_path / "tables.md").read_text())


def test_what_is_finished_says_to_the_end_with_what_it_was_done(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(run_folder, "_git_commit", lambda: "old")
    settings = BenchSettings(seeds=[1], models=["drifting"], reference_random_episodes=2)
    bench(settings, RunFolder(tmp_path), compose=compose)
    of_first = sorted(tmp_path.rglob("environment.json"))
    assert len(of_first) == 3, "a cell and two references"
    monkeypatch.setattr(run_folder, "_git_commit", lambda: "new")
    more = replace(settings, seeds=[1, 2], reference_random_episodes=3)
    bench(more, RunFolder(tmp_path), compose=compose)
    found = {file.parent: json.loads(file.read_text())["git_commit"] for file in tmp_path.rglob("environment.json")}
    of_chance = tmp_path / ReferenceCell("cartpole-swingup", "random", NO_PLANNER).folder
    assert found == dict.fromkeys((file.parent for file in of_first), "old") | {
        tmp_path / Cell("cartpole-swingup", "drifting", "icem", 2).folder: "new",
        of_chance: "new",
    }


def test_shares_are_dealt_out_and_add_up_to_the_grid(tmp_path, runs):
    for shard in range(3):
        part = replace(SETTINGS, run_dir=str(tmp_path), shards=3, shard=shard)
        results = bench(part, RunFolder(tmp_path), compose=compose)
        assert len(results.cells) == len(runs.done)
    assert len(set(runs.done)) == len(runs.done) == len(list(grid(SETTINGS)))
    assert len(set(runs.compared)) == len(results.references) - 2 == 4, "two planners in each simulator"
    bench(SETTINGS, RunFolder(tmp_path), compose=compose)
    assert len(runs.done) == len(list(grid(SETTINGS)))


def test_seeds_of_a_cell_are_composed_once(tmp_path, runs):
    asked = []
    bench(SETTINGS, RunFolder(tmp_path), compose=lambda overrides: asked.append(overrides) or compose(overrides))
    of_cells = [overrides for overrides in asked if any(each.startswith("model=") for each in overrides)]
    assert len(of_cells) == len(list(grid(SETTINGS))) / 2
    seeds = {json.loads((path / "config.json").read_text())["seed"] for path in runs.done}
    assert seeds == {1, 2}


def test_a_share_of_references_alone_may_be_the_first_to_finish(tmp_path, runs, capsys):
    arguments = ["bench", "models=[drifting]", "seeds=[1]", f"run_dir={tmp_path}", "shards=3"]
    assert main([*arguments, "shard=2"]) == 0
    assert "No run of the grid is finished yet" in capsys.readouterr().out
    assert (runs.done, runs.compared) == ([], [("cartpole-swingup", "simulator", 1)])
    assert main([*arguments, "shard=0"]) == 0
    assert "true simulator" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()


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


def test_more_shares_than_parts_are_refused(tmp_path, runs):
    settings = replace(SETTINGS, run_dir=str(tmp_path), shards=23)
    with pytest.raises(ValueError, match="shards=23: expected at most 22"):
        bench(settings, RunFolder(tmp_path), compose=compose)
