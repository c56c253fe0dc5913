"""`drift-wm truth` as a whole: what is asked, which units that makes, and how a stopped comparison goes on."""

from dataclasses import asdict

import pytest

from drift_wm import pool
from drift_wm.cli import main
from drift_wm.results import SIMULATOR
from drift_wm.storage.run_folder import RunFolder
from drift_wm.storage.units import Unit, unit_file
from drift_wm.truth import suite
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.rows import Row
from drift_wm.truth.settings import PARTS, TruthSettings
from drift_wm.truth.suite import read_rows, truth
from drift_wm.truth.world_cases import CHUNKS, DETERMINISTIC, STOCHASTIC
from helpers import read_results

VARIANTS = ["drifting, exponent 1", "drifting, 4 siblings", "attraction only"]
PLANNING = ["drifting", "regression", "gaussian", "gaussian, one network", "drifting ensemble"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"parts": ["law"]}, r"parts=\['law'\]: expected some of 'laws', 'stochastic'"),
        ({"parts": []}, "parts="),
        ({"rivals": ["drift"]}, r"rivals=\['drift'\]: expected some of 'drifting', 'regression'"),
        ({"rivals": []}, "rivals="),
        ({"steps": 0}, "steps=0: expected an integer of at least 1"),
        ({"width": 0}, "width=0"),
        ({"episodes": 0}, "episodes=0"),
        ({"states": -1}, "states=-1"),
        ({"samples": 37}, "samples=37: expected at least 38"),
        ({"chance_ways": 0}, "chance_ways=0: expected an integer of at least 1"),
        ({"chance_shortcut": -1}, "chance_shortcut=-1: expected a number from 0 to 1"),
        ({"transitions": 4999}, "transitions=4999: expected at least 5000"),
        ({"workers": -1}, "workers=-1"),
        ({"seeds": []}, r"seeds=\[\]: expected at least one"),
        ({"more_seeds": []}, r"more_seeds=\[\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        TruthSettings(**asked)


def test_smallest_settings_are_taken():
    settings = TruthSettings(steps=1, width=1, states=1, samples=38, transitions=5000, episodes=1, seeds=[0])
    assert settings.parts == list(PARTS)
    assert settings.rivals == list(RIVALS)


def units(**asked):
    return list(suite._model_units(TruthSettings(**asked)))


def test_rivals_without_a_claim_are_trained_with_the_first_seed_alone():
    found = units(parts=["stochastic"], seeds=[3, 1])
    assert {unit.names[0] for unit in found} == {case.name for case in STOCHASTIC}
    by_seed = {seed: {unit.names[1] for unit in found if unit.seed == seed} for seed in (3, 1)}
    assert by_seed[3] == set(RIVALS) - set(VARIANTS) | {SIMULATOR}
    alone = "gaussian, one network"
    every = {"drifting", "drifting, one way", "regression", "gaussian", alone, "drifting ensemble", "diffusion"}
    assert by_seed[1] == every
    assert [unit.seed for unit in found] == [3] * 13 * 3 + [1] * 7 * 3, "seed by seed"


def test_variants_of_drifting_are_compared_on_known_laws_alone():
    found = units(parts=["laws"], more_seeds=[5, 6])
    first, second = ([unit.names[1] for unit in found if unit.seed == seed] for seed in (5, 6))
    assert first == [name for name, rival in RIVALS.items() if "laws" in rival.parts(first=True)]
    assert second[0] == "drifting"
    assert "diffusion" in second
    assert not set(VARIANTS) & set(second)
    everywhere = [unit for unit in units() if unit.names[1] in VARIANTS]
    assert {unit.part for unit in everywhere} == {"laws"}


def test_other_parts_ask_what_they_are_about():
    found = units(seeds=[1, 2])
    deterministic = [unit for unit in found if unit.part == "deterministic"]
    assert {unit.names[1] for unit in deterministic if unit.seed == 2} == {"drifting", "regression"}
    assert len(deterministic) == (3 + 4 * 2) * len(DETERMINISTIC), "of five seeds"
    chunks = [unit for unit in found if unit.part == "chunks"]
    assert {(unit.names[1], unit.seed) for unit in chunks} == {("drifting", 1)}
    assert [unit.names[0] for unit in chunks] == [case.name for case in CHUNKS]
    risk = [(unit.names[1], unit.seed) for unit in found if unit.part == "risk"]
    ceiling = [(SIMULATOR, 1)]
    assert risk == [
        *((name, 1) for name in PLANNING),
        *ceiling,
        *((name, seed) for seed in (2, 3, 4, 5) for name in PLANNING),
    ]


def test_only_rivals_that_were_asked_for_are_trained():
    found = units(parts=["laws", "stochastic", "risk"], rivals=["flow", "regression"], seeds=[1], more_seeds=[1])
    assert {unit.names[1] for unit in found} == {"flow", "regression", SIMULATOR}


def test_data_are_collected_once_for_each_world():
    collected = suite._data_units(TruthSettings())
    worlds = [suite._CASES[unit.names[0]].world for unit in collected]
    worlds = {(world.task, world.env.disturbance.name) for world in worlds}
    assert len(collected) == len(worlds) == len(STOCHASTIC) + len(DETERMINISTIC) + 1
    assert suite._data_units(TruthSettings(parts=["laws", "cost"])) == []
    assert [unit.names[0] for unit in suite._data_units(TruthSettings(parts=["risk"]))] == ["point mass at the edge"]


def test_every_unit_has_a_file_of_its_own(tmp_path):
    everything = [*units(), *suite._data_units(TruthSettings()), Unit("cost", ("", ""))]
    files = {unit_file(unit, tmp_path).name for unit in everything}
    assert len(files) == len(everything)
    assert not any(character in name for name in files for character in " ,/")
    assert {"chunks-walker-k_=_5-drifting-seed1.json", "cost---seed0.json"} <= files, "as runs before have them"


def test_every_unit_is_done_by_its_part(tmp_path, monkeypatch):
    settings, asked = TruthSettings(), []
    for name in ("collect_case", "law_rows", "risk_rows", "cost_rows", "world_rows"):
        monkeypatch.setattr(suite, name, lambda *given, name=name: asked.append((name, *given)) or [])
    for unit in (
        Unit("data", ("cartpole", "")),
        Unit("laws", ("", "flow"), 2),
        Unit("risk", ("point mass at the edge", "gaussian"), 3),
        Unit("cost", ("", "")),
        Unit("chunks", ("walker, k = 5", "drifting"), 1),
    ):
        assert suite._rows_of(unit, settings, tmp_path) == []
    assert asked == [
        ("collect_case", suite._CASES["cartpole"], tmp_path, settings),
        ("law_rows", "flow", 2, settings),
        ("risk_rows", "gaussian", 3, tmp_path, settings),
        ("cost_rows", settings),
        ("world_rows", "chunks", suite._CASES["walker, k = 5"], "drifting", 1, tmp_path, settings),
    ]


@pytest.fixture
def done(monkeypatch, inline_pool):
    """The units that are done, in the caller's process, each with a row of its generator."""
    done = []

    def rows_of(unit, settings, folder):
        done.append(unit)
        if unit.names[1] == "regression" and settings.steps == 13:
            raise RuntimeError("no luck")
        return [] if unit.part == "data" else [Row(unit.part, "case", unit.names[1], 1, unit.seed, {"ratio": 1.0})]

    monkeypatch.setattr(suite, "_rows_of", rows_of)
    return done


def test_units_are_done_once_and_kept(done, inline_pool, tmp_path):
    settings = TruthSettings(parts=["chunks", "cost"], rivals=["drifting"], seeds=[1], workers=3)
    rows = truth(settings, RunFolder(tmp_path))
    assert [unit.part for unit in done] == ["data"] * 2 + ["chunks"] * len(CHUNKS) + ["cost"]
    assert rows == read_rows(tmp_path)
    assert inline_pool.last.workers == 3
    assert inline_pool.last.closed == [{}]
    first = list(done)
    assert truth(settings, RunFolder(tmp_path)) == rows
    assert done == first, "what is there is not done again"
    next((tmp_path / "units").glob("chunks-walker*k_=_5-*")).unlink()
    truth(settings, RunFolder(tmp_path))
    assert [unit.names[0] for unit in done[len(first) :]] == ["walker, k = 5"]
    assert inline_pool.last.workers == 1, "no more processes than units"


def test_a_unit_that_fails_stops_all_and_keeps_the_finished(done, inline_pool, tmp_path):
    asked = {"parts": ["laws"], "rivals": ["drifting", "regression"], "more_seeds": [1]}
    with pytest.raises(RuntimeError, match="no luck"):
        truth(TruthSettings(**asked, steps=13), RunFolder(tmp_path))
    assert inline_pool.last._processes[1].terminated
    assert inline_pool.last.closed == [{"wait": False, "cancel_futures": True}]
    assert not (tmp_path / "results.json").exists()
    assert [row.generator for row in read_rows(tmp_path)] == ["drifting"]
    done.clear()
    truth(TruthSettings(**asked), RunFolder(tmp_path))
    assert [unit.names[1] for unit in done] == ["regression"]


def test_results_hold_settings_verdicts_and_rows(done, tmp_path):
    settings = TruthSettings(parts=["cost"])
    rows = truth(settings, RunFolder(tmp_path))
    results = read_results(tmp_path)
    assert results["command"] == "truth"
    assert results["settings"]["parts"] == ["cost"]
    assert results["rows"] == [asdict(row) for row in rows]
    assert results["verdicts"] == []
    assert "### A training step" in (tmp_path / "tables.md").read_text()


def test_from_the_command_line_with_processes_and_again(tmp_path, capsys, monkeypatch):
    small = ["parts=[laws]", "steps=5", "width=8", "more_seeds=[1]", "rivals=[drifting]", "workers=1"]
    arguments = ["truth", *small, f"run_dir={tmp_path}/run"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "std ratio" in out
    assert out.splitlines()[-1] == f"{tmp_path}/run"
    results = read_results(tmp_path / "run")
    assert results["rows"][0]["case"] == "near-deterministic"
    assert len(results["verdicts"]) == 2, "of the claims that drifting alone can bear out"
    assert (tmp_path / "run" / "tables.md").read_text().startswith("### Known laws")
    monkeypatch.setattr(pool, "ProcessPoolExecutor", None)
    assert main(arguments) == 0, "nothing is left to do"


@pytest.mark.parametrize(
    ("asked", "message"),
    [("rivals=[drift]", "'published field'"), ("parts=[law]", "'deterministic'"), ("sedes=[1]", "Did you mean seeds")],
)
def test_mistakes_are_named_before_anything_is_done(asked, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["truth", asked]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_names_with_a_comma_can_be_asked_for(capsys):
    assert main(["truth", "--show", 'rivals=["drifting, exponent 1"]']) == 0
    assert "- drifting, exponent 1\n" in capsys.readouterr().out
