"""Which requests a folder's run goes on with."""

import json
import math
from dataclasses import dataclass

import pytest

from drift_wm.configs.schema import read_settings
from drift_wm.storage.run_folder import RunFolder, write_json


def begin(folder, command, *asked):
    """A run that recorded what it was asked."""
    RunFolder(folder).write_config(command, read_settings(command, list(asked)))


def go_on(folder, command, *asked):
    """Whether the run goes on, or a ValueError."""
    return not RunFolder(folder).write_config(command, read_settings(command, list(asked)))


def change_record(folder, change):
    """Edit what a run recorded."""
    file = folder / "config.json"
    record = json.loads(file.read_text())
    change(record)
    write_json(file, record)
    return record


def test_a_file_may_be_spelt_otherwise_but_not_be_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demos.hdf5", "others.hdf5"):
        (tmp_path / name).touch()
    begin(tmp_path / "run", "train", "data=demos.hdf5")
    for spelling in ("./demos.hdf5", tmp_path / "demos.hdf5", "run/../demos.hdf5"):
        assert go_on(tmp_path / "run", "train", f"data={spelling}")
    for other in ("others.hdf5", "./none.hdf5"):
        with pytest.raises(ValueError, match=r"other settings: data \(there 'demos.hdf5', asked "):
            go_on(tmp_path / "run", "train", f"data={other}")


def test_where_it_runs_is_free_and_what_it_does_is_not(tmp_path):
    begin(tmp_path, "train", "data=x.hdf5")
    assert go_on(tmp_path, "train", "data=x.hdf5", "memory_gb=1", "threads=3", "device=cpu", f"run_dir={tmp_path}")
    with pytest.raises(ValueError, match=r"other settings: seed \(there 1, asked 2\); steps \(there 5000, asked 7\)\."):
        go_on(tmp_path, "train", "data=x.hdf5", "steps=7", "seed=2")
    with pytest.raises(ValueError, match="holds a run of 'train', not of 'online'; choose another run_dir"):
        go_on(tmp_path, "online")


@pytest.mark.parametrize(
    ("command", "begun", "young", "same", "other", "message"),
    [
        ("train", ["data=x.hdf5"], "memory_gb", [], ["memory_gb=9"], None),
        ("train", ["data=x.hdf5"], "mask", [], ["mask=a"], r"mask \(there None by default, asked 'a'\)\."),
        (
            "train",
            ["data=x.hdf5"],
            "obs_keys",
            [],
            ["obs_keys=[a]"],
            r"obs_keys \(there None by default, asked \['a'\]",
        ),
        (
            "online",
            ["model.generator.width=8"],
            "model.generator.mean_weight",
            ["model.generator.mean_weight=0.2"],
            ["model.generator.mean_weight=0.5"],
            r"settings: model\.generator\.mean_weight \(there 0\.2 by default, asked 0\.5\)\.",
        ),
        (
            "online",
            ["planner=mppi"],
            "planner.temperature",
            [],
            ["planner.temperature=0.5"],
            r"planner\.temperature \(there 0\.15 by default, asked 0\.5\)\.",
        ),
        (
            "online",
            ["planner=cem"],
            "planner.elites",
            ["planner.elites=25"],
            ["planner.elites=10"],
            r"planner\.elites \(there 25 by default, asked 10\)\.",
        ),
        (
            "online",
            [],
            "risk",
            ["risk.level=0.25"],
            ["risk.name=worst"],
            r"risk\.name \(there 'mean' by default, asked 'worst'\)\.",
        ),
        (
            "collect",
            ["actor=random"],
            "exploration_std",  # of which others decide where nothing is said
            ["exploration_std=0"],
            ["actor=scripted", "exploration_std=0.2"],
            r"exploration_std \(there None by default, asked 0\.2\)",
        ),
        (
            "evaluate",
            ["actor=policy", "checkpoint=x"],
            "proposals",
            [],
            ["foresight=y", "proposals=2"],
            r"foresight \(there None, asked 'y'\); proposals \(there 16 by default, asked 2\)\.",
        ),
    ],
)
def test_a_setting_younger_than_the_run_stood_at_its_default(tmp_path, command, begun, young, same, other, message):
    begin(tmp_path, command, *begun)
    *groups, name = young.split(".")

    def forget(record):
        for group in groups:
            record = record[group]
        del record[name]

    record = change_record(tmp_path, forget)
    assert go_on(tmp_path, command, *begun)
    assert go_on(tmp_path, command, *begun, *same)
    if message is None:
        assert go_on(tmp_path, command, *begun, *other)
    else:
        with pytest.raises(ValueError, match=message):
            go_on(tmp_path, command, *begun, *other)
    assert json.loads((tmp_path / "config.json").read_text()) == record, "what was recorded is kept"


def test_a_default_that_others_do_not_allow_is_not_what_is_asked(tmp_path):
    """The default is actor=model, which has no use for noise and no adviser."""
    begin(tmp_path, "evaluate", "actor=policy", "checkpoint=x", "foresight=y", "noise=0.5")
    change_record(tmp_path, lambda record: (record.pop("actor"), record.pop("checkpoint")))
    with pytest.raises(
        ValueError, match=r"actor \(there 'model' by default, asked 'policy'\); checkpoint \(there None by"
    ):
        go_on(tmp_path, "evaluate", "actor=policy", "checkpoint=x", "foresight=y", "noise=0.5")


EQUAL = ["planner.candidates=64", "planner.iterations=2", "planner.initial_std=0.4", "planner.noise_exponent=1"]
"""What makes all settings of random shooting and predictive sampling equal, and those that CEM shares with iCEM."""


@pytest.mark.parametrize(
    ("begun", "other", "recorded", "told"),
    [
        ("random_shooting", "predictive_sampling", True, "'random_shooting'"),
        ("random_shooting", "predictive_sampling", False, None),  # which of both it was, nobody can know
        ("cem", "icem", True, "'cem'"),
        ("cem", "icem", False, "'cem'"),
        ("random_shooting", "mppi", False, "'random_shooting' or 'predictive_sampling'"),
    ],
)
def test_a_run_goes_on_with_its_own_planner_alone(tmp_path, begun, other, recorded, told):
    equal = [*EQUAL, "planner.min_std=0.1", "planner.execute=best"]
    elites = {"cem": ["planner.elites=10"]}.get(begun, [])
    begin(tmp_path, "online", f"planner={begun}", *equal, *elites)
    if not recorded:
        change_record(tmp_path, lambda record: record.pop("planner_name"))
    assert go_on(tmp_path, "online", f"planner={begun}", *equal, *elites)
    if told is None:
        assert go_on(tmp_path, "online", f"planner={other}", *equal)
    else:
        with pytest.raises(ValueError, match=rf"other settings: planner \(there {told}, asked '{other}'\)\. Repeat"):
            go_on(tmp_path, "online", f"planner={other}", *equal, *elites)


def test_a_planner_that_grew_since_an_old_run_goes_on(tmp_path):
    """Whose name was not recorded, either."""
    begin(tmp_path, "online", "planner=mppi")
    change_record(tmp_path, lambda record: (record.pop("planner_name"), record["planner"].pop("temperature")))
    assert go_on(tmp_path, "online", "planner=mppi")


@dataclass
class Unlimited:
    limit: float = math.inf
    run_dir: str | None = None


def test_an_infinite_default_is_known_though_json_has_no_infinity(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_config("online", Unlimited())
    assert not folder.write_config("online", Unlimited())
    change_record(tmp_path, lambda record: record.pop("limit"))
    assert not folder.write_config("online", Unlimited())
    with pytest.raises(ValueError, match=r"limit \(there inf by default, asked 3\.0\)"):
        folder.write_config("online", Unlimited(3.0))


def test_a_grid_that_grows_keeps_the_rest_of_its_record(tmp_path):
    begin(tmp_path, "bench", "tasks=[walker-walk]")
    record = change_record(tmp_path, lambda record: record.pop("suite"))
    assert not RunFolder(tmp_path).write_config(
        "bench", read_settings("bench", ["tasks=[walker-walk]", "seeds=[4]"]), may_change=["seeds"]
    )
    assert json.loads((tmp_path / "config.json").read_text()) == {**record, "seeds": [4]}


@pytest.mark.parametrize(
    ("command", "asked", "recorded"),
    [
        ("train", ["data=x.hdf5"], {"task": "walker-walk"}),
        ("train", ["data=x.hdf5"], {"env": {"action_repeat": 7}}),
        ("evaluate", ["actor=random"], {"seed": 1}),
    ],
)
def test_settings_that_this_version_does_not_have_belong_to_another_run(tmp_path, command, asked, recorded):
    begin(tmp_path, command, *asked)
    change_record(tmp_path, lambda record: record.update(recorded))
    with pytest.raises(ValueError, match=f"other settings: {next(iter(recorded))}"):
        go_on(tmp_path, command, *asked)


@pytest.mark.parametrize(("before", "after"), [("", "none"), ("none", "")])
def test_an_undisturbed_world_is_one_under_either_name(tmp_path, before, after):
    settings = read_settings("collect", [])
    settings.env.disturbance.name = before
    RunFolder(tmp_path).write_config("collect", settings)
    settings.env.disturbance.name = after
    assert not RunFolder(tmp_path).write_config("collect", settings), "gone on with"
    settings.env.disturbance.name = "gust"
    with pytest.raises(ValueError, match=r"env.disturbance.name \(there 'none', asked 'gust'\)"):
        RunFolder(tmp_path).write_config("collect", settings)


@pytest.mark.parametrize("command", ["evaluate", "collect"])
def test_the_calm_world_is_not_that_of_a_models_training(tmp_path, command):
    settings = read_settings(command, ["actor=model", "checkpoint=runs/gusty"])
    RunFolder(tmp_path).write_config(command, settings)
    settings.env.disturbance.name = "none"
    with pytest.raises(ValueError, match=r"env.disturbance.name \(there '', asked 'none'\)"):
        RunFolder(tmp_path).write_config(command, settings)
