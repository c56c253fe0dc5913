"""From the checkpoints of a run back to the first model, and what is measured on the way."""

import io
import itertools
import json
import math
import shutil
import signal
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor

from drift_wm import commands
from drift_wm.cli import main
from drift_wm.datasets.replay import Replay
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import train
from drift_wm.learning.trainer import Trainer
from drift_wm.lineage.ancestry import trace
from drift_wm.lineage.measure import Lineage, MeasuredModel, lineage_table, measure_lineage
from drift_wm.lineage.plots import lineage_figure
from drift_wm.lineage.probe import Drift, Probe, Quality, drift_between, quality_of
from drift_wm.lineage.settings import LineageSettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.plots import save
from drift_wm.settings import TrainSettings
from drift_wm.storage.checkpoint import load_checkpoint, save_checkpoint
from drift_wm.storage.run_files import checkpoint_of_round
from drift_wm.storage.run_folder import RunFolder, write_json
from helpers import write_lerobot

CPU = torch.device("cpu")
MODEL = WorldModelConfig(chunk=2, generator=GeneratorConfig(width=16, depth=2, noise_size=2))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, linear_episodes) -> Path:
    """`first`, `second` and `third`, each trained on from the last, with paths relative to their common folder."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        record(Path("logs.hdf5"), linear_episodes)
        for name, parent, steps in (("first", None, 12), ("second", "first", 20), ("third", "second", 8)):
            train_run(folder, name, parent=parent, steps=steps)
    return folder


@pytest.fixture
def copied(runs, tmp_path, monkeypatch) -> Path:
    """The runs, to damage, in the working directory."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(path: Path, episodes) -> None:
    replay = Replay.open(path, env_args={"env_name": "linear"})
    for episode in episodes:
        replay.append(episode)


def train_run(folder: Path, name: str, **changes) -> None:
    training = TrainingConfig(batch_size=16, warmup=2)
    settings = TrainSettings(**{"data": "logs.hdf5", "model": MODEL, "training": training, **changes})
    run = RunFolder(folder / name)
    run.write_config("train", settings)
    train(settings, run, device=CPU)


def measure(run: str, **changes) -> Lineage:
    return measure_lineage(LineageSettings(run=run, windows=40, horizon=5, **changes), device=CPU)


def ids(lineage: Lineage) -> list[str]:
    return [model.member.id for model in lineage.models]


def test_the_trail_leads_back_to_the_first_model(copied):
    lineage = measure("third")
    members = [model.member for model in lineage.models]
    assert [member.run.name for member in members] == ["first", "second", "third"]
    assert [(member.round, member.steps) for member in members] == [(0, 12), (1, 32), (2, 40)]
    assert [member.parent for member in members] == [None, *ids(lineage)[:-1]]
    assert lineage.trail_ends is None
    assert [model.drift is None for model in lineage.models] == [True, False, False]
    assert all(model.drift.open_loop > 0 for model in lineage.models[1:])


def test_all_models_are_measured_on_the_same_probe(copied):
    long = measure("third")
    assert measure("third") == long
    assert (long.probe.file, long.probe.note, long.probe.episodes) == (
        Path("logs.hdf5"),
        "no model of the lineage was trained on these",
        1,
    )
    assert (long.probe.windows, long.probe.chunk, long.probe.horizon) == (35, 2, 6)
    assert [model.quality for model in measure("second").models] == [model.quality for model in long.models[:2]]
    assert measure("third", seed=2).models != long.models


def test_episodes_of_training_in_a_chosen_probe_are_counted(copied, linear_episodes):
    note = measure("third", probe="logs.hdf5").probe.note
    assert note == "chosen by probe=; models of the lineage WERE TRAINED ON 5 of these 6 episodes"
    strange = [replace(each, actions=each.actions / 2) for each in linear_episodes[:2]]
    record(Path("strange.hdf5"), strange)
    note = measure("third", probe="strange.hdf5").probe.note
    assert note == "chosen by probe=; no model of the lineage was trained on these"


def test_episodes_that_a_folder_lacks_are_left_out_if_asked(copied, linear_episodes):
    write_lerobot(copied / "whole", linear_episodes[:3])
    write_lerobot(copied / "part", linear_episodes[:3], lacking=[1])
    train_run(copied, "logged", data="whole", steps=2, held_out_fraction=0.0)
    with pytest.raises(ValueError, match=r"episode 1 is announced, .*set skip_missing=true"):
        measure("logged", probe="part")
    assert measure("logged", probe="part", skip_missing=True).probe.episodes == 2


def test_moved_folders_are_followed_from_anywhere(copied, monkeypatch):
    monkeypatch.chdir("/")
    assert len(measure(str(copied / "third"), probe=str(copied / "logs.hdf5")).models) == 3


def test_a_child_equal_to_its_parent_has_not_drifted(copied):
    """Also where it has new scales: they change the network's units and not its predictions."""
    checkpoint = load_checkpoint(copied / "first/checkpoints/round_0000.pt")
    twin = replace(checkpoint, parent=checkpoint.id, state={**checkpoint.state, "rounds": 2})
    save_checkpoint(copied / "first/checkpoints/round_0001.pt", twin)
    first, second = measure("first").models
    assert second.drift == Drift(0.0, 0.0)
    assert second.quality == first.quality


def test_the_drift_of_shifted_predictions_is_known():
    parent = torch.randn(5, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    child = parent.clone()
    child[:, :, 2:] += 3.0
    assert drift_between(parent, child, chunk=2).chunk == 0.0
    assert drift_between(parent, child, chunk=2).open_loop == pytest.approx(3 * (4 / 6) ** 0.5)


def probe_of(future: Tensor) -> Probe:
    return Probe(
        history=None, actions=None, future=future, entries=torch.arange(1), obs_std=torch.ones(1), chunk=1, seed=0
    )


@given(st.floats(-3, 3), st.floats(0, 2))
def test_the_energy_score_of_two_points_is_known(middle, spread):
    """Half the samples at m - s, half at m + s, data at 0: E|x - y| - E|x - x'|/2, pairs without themselves."""
    P = 8
    x = torch.tensor([middle - spread, middle + spread]).repeat(P // 2).view(1, P, 1, 1)
    expected = (abs(middle - spread) + abs(middle + spread)) / 2 - spread * (P / 2) / (P - 1)
    measured = quality_of(x, probe_of(torch.zeros(1, 1, 1, 1)))
    assert measured.energy_score == pytest.approx(expected, abs=1e-5)
    variance = spread**2 * P / (P - 1)  # of the samples; their mean misses the law's by a P-th of it
    assert measured.open_loop_error**2 == pytest.approx(max(0.0, middle**2 - variance / P), abs=1e-5)


def test_the_score_prefers_the_true_law():
    rng = torch.Generator().manual_seed(0)
    probe = probe_of(torch.randn(4000, 1, 1, 3, generator=rng))
    noise = torch.randn(4000, 8, 1, 3, generator=rng)
    scores = [quality_of(scale * noise, probe).energy_score for scale in (0.0, 0.5, 1.0, 2.0)]
    assert min(scores) == scores[2]


def test_every_round_of_one_folder_and_unfinished_ones(tmp_path, linear_episodes):
    """The folder of an online run: replay beside the checkpoints; the last round was interrupted."""
    run = RunFolder(tmp_path / "online")
    record(run.path / "replay.hdf5", linear_episodes)
    write_json(run.path / "config.json", {"command": "online"})
    trainer = Trainer(spec_of(linear_episodes), MODEL, TrainingConfig(batch_size=8), seed=0)
    windows = Sampler(linear_episodes)
    for number in range(2):
        trainer.train_round(windows, 4, save_to=checkpoint_of_round(run.path, number))
    windows.interrupt_at = 3
    with pytest.raises(KeyboardInterrupt):
        trainer.train_round(windows, 6, save_to=checkpoint_of_round(run.path, 2))
    lineage = measure(str(run.path))
    assert [(model.member.round, model.member.steps) for model in lineage.models] == [(0, 4), (1, 8), (2, 11)]
    assert lineage.probe.file == run.path / "replay.hdf5"
    assert "later models" in lineage.probe.note
    checkpoint_of_round(run.path, 1).unlink()
    first, last = measure(str(run.path)).models
    assert last.member.parent != first.member.id
    assert last.drift is None


class Sampler:
    """Training windows, and a key press."""

    def __init__(self, episodes) -> None:
        self.windows, self.interrupt_at = Windows(episodes, history=1, chunk=2), -1

    def sample(self, size, rng):
        self.interrupt_at -= 1
        if self.interrupt_at == 0:
            signal.raise_signal(signal.SIGINT)
        return self.windows.sample(size, rng)


def spec_of(episodes):
    return Spec(episodes[0].obs.shape[1], episodes[0].actions.shape[1], 0.1)


def test_a_run_is_measured_on_whatever_it_was_trained_on(tmp_path, linear_episodes):
    """A folder of Minari's without rewards, where observations are two keys in an order of their own."""
    folder = tmp_path / "minari"
    (folder / "data").mkdir(parents=True)
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        for number, episode in enumerate(linear_episodes):
            group = file.create_group(f"episode_{number}")
            group["observations/first"], group["observations/rest"] = episode.obs[:, :1], episode.obs[:, 1:]
            group["actions"] = episode.actions
    keys = {"obs_keys": ["rest", "first"]}
    train_run(tmp_path, "run", data=str(folder), allow_missing_rewards=True, steps=2, **keys)
    own = measure(str(tmp_path / "run"))
    assert own.probe.note == "no model of the lineage was trained on these"
    assert own.probe.windows == 35
    turned = [replace(episode, obs=np.roll(episode.obs, -1, axis=1)) for episode in linear_episodes]
    record(tmp_path / "turned.hdf5", turned)
    both = [
        measure(str(tmp_path / "run"), probe=str(probe), obs_keys=keys).models
        for probe, keys in ((folder, None), (tmp_path / "turned.hdf5", ["state"]))
    ]
    assert both[0] == both[1], "the same numbers by another name"


def test_the_end_of_the_trail_is_said(copied):
    shutil.rmtree("first")
    lineage = measure("third")
    assert len(lineage.models) == 2
    assert lineage.trail_ends == (
        f"the trail ends at second/checkpoints/round_0001.pt: its parent is {lineage.models[0].member.parent}, "
        "and first does not hold it (any more)"
    )
    shutil.rmtree("second/checkpoints")
    Path("third/config.json").unlink()
    lineage = measure("third", probe="logs.hdf5")
    assert lineage.trail_ends.endswith("and no file is known to hold it")
    assert lineage.probe.note.startswith("chosen by probe=; ")


def test_a_parent_whose_run_went_on_is_found_by_its_id(copied):
    later = load_checkpoint(copied / "third/checkpoints/round_0002.pt")
    save_checkpoint(copied / "second/checkpoints/round_0002.pt", later)
    assert len(trace(Path("third")).members) == 3


@pytest.mark.parametrize("place", ["first/checkpoints/round_0000.pt", "first/checkpoints", "kept/best.pt"])
def test_a_parent_may_be_named_as_a_file(copied, place):
    if place == "kept/best.pt":
        (copied / "kept").mkdir()
        shutil.copy("first/checkpoints/round_0000.pt", place)
    name_parent("second", place)
    members = trace(Path("second")).members
    assert [member.run for member in members] == [Path(place.split("/")[0]), Path("second")]


def test_settings_that_lead_in_a_circle_end_the_trail(copied):
    name_parent("second", "third")
    path = copied / "second/checkpoints/round_0001.pt"
    save_checkpoint(path, replace(load_checkpoint(path), parent="x"))
    name_parent("third", "second")
    ancestry = trace(Path("third"))
    assert len(ancestry.members) == 2
    assert "third does not hold it" in ancestry.trail_ends


def name_parent(run: str, parent: str) -> None:
    path = Path(run) / "config.json"
    write_json(path, {**json.loads(path.read_text()), "parent": parent})


def test_without_held_out_episodes_all_are_used_and_that_is_said(copied):
    train_run(copied, "whole", held_out_fraction=0.0, steps=2)
    probe = measure("whole").probe
    assert probe.episodes == 6
    assert "trained on all of these" in probe.note


@pytest.mark.parametrize(
    ("damage", "changes", "match"),
    [
        (lambda: shutil.rmtree("third/checkpoints"), {}, "no checkpoints at third: expected the run folder"),
        (lambda: None, {"run": "nowhere"}, "no checkpoints at nowhere"),
        (lambda: None, {"run": "logs.hdf5"}, r"no checkpoints at logs\.hdf5"),
        (lambda: Path("logs.hdf5").unlink(), {}, r"logs\.hdf5, is not there.*probe=FILE"),
        (lambda: None, {"probe": "gone.hdf5"}, r"gone\.hdf5: no such file"),
        (lambda: Path("third/config.json").unlink(), {}, "third does not say what.*probe=FILE"),
        (lambda: write_json(Path("third/config.json"), {"command": "online"}), {}, r"replay\.hdf5, is not there"),
        (lambda: Path("third/config.json").write_text("{"), {}, r"third/config\.json: not JSON"),
        (lambda: Path("second/checkpoints/round_0001.pt").write_bytes(b"x"), {}, r"round_0001\.pt is not a readable"),
        (lambda: None, {"horizon": 41}, r"logs\.hdf5: the longest of 1 probe episodes has 40 steps, expected.*42"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(copied, damage, changes, match):
    damage()
    with pytest.raises(ValueError, match=match):
        measure_lineage(LineageSettings(**{"run": "third", **changes}), device=CPU)


def test_a_probe_of_another_task_is_refused(copied, linear_episodes):
    wide = replace(linear_episodes[0], obs=np.tile(linear_episodes[0].obs, (1, 2)))
    record(Path("wide.hdf5"), [wide])
    with pytest.raises(ValueError, match=r"wide\.hdf5: .*sizes \(6, 2\), the models expect \(3, 2\)"):
        measure("third", probe="wide.hdf5")


def test_models_of_other_shapes_and_kinds_are_refused(copied):
    train_run(copied, "other", model=replace(MODEL, generator=GeneratorConfig(width=8, depth=2, noise_size=2)), steps=1)
    shutil.copy("other/checkpoints/round_0000.pt", "third/checkpoints/round_0000.pt")
    with pytest.raises(
        ValueError,
        match=r"third/checkpoints/round_0000\.pt is of another shape.*: generator\.width 8, expected 16\. Mod",
    ):
        measure("third")
    foreign = replace(load_checkpoint(copied / "third/checkpoints/round_0000.pt"), kind="oracle")
    save_checkpoint(copied / "third/checkpoints/round_0000.pt", foreign)
    with pytest.raises(ValueError, match=r"round_0000\.pt is of kind 'oracle'"):
        measure("third")


@pytest.mark.parametrize(("name", "free"), [("diffusion", True), ("flow", True), ("distilled", False)])
def test_a_lineage_is_of_those_models_that_train_goes_on_from(copied, name, free):
    """Models that are sampled in 2 and in 8 steps: each predicts in its own number of steps."""

    def shape(steps):
        return replace(MODEL, generator=GeneratorConfig(name=name, width=16, depth=2, steps=steps))

    train_run(copied, "few", model=shape(2), steps=3)
    if not free:
        with pytest.raises(ValueError, match=r"generator\.steps \(checkpoint 2, here 8\)"):
            train_run(copied, "many", model=shape(8), parent="few", steps=3)
        return
    train_run(copied, "many", model=shape(8), parent="few", steps=3)
    parent, child = measure("many").models
    assert child.member.parent == parent.member.id
    assert child.drift.chunk > 0

    own = load_checkpoint(parent.member.path)
    settings = {**own.config, "model": {**own.config["model"], "generator": asdict(shape(8).generator)}}
    twin = replace(own, parent=own.id, config=settings, state={**own.state, "rounds": 2})
    save_checkpoint(copied / "few/checkpoints/round_0001.pt", twin)
    few, many = measure("few").models
    assert few.member.id == many.member.id, "the same weights"
    assert many.drift.chunk > 0, "in other steps"
    assert few.quality != many.quality


@pytest.mark.parametrize("changes", [{"run": ""}, {"windows": 0}, {"horizon": 0}, {"seed": -1}, {"threads": -1}])
def test_wrong_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        LineageSettings(**{"run": "x", **changes})


def test_the_command_shows_and_writes_into_the_run_and_nothing_else(copied, capsys):
    before = set(copied.rglob("*"))
    assert main(["lineage", "third", "windows=30", "horizon=4", "threads=1"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "third"
    assert "run 3: third" in out
    assert set(copied.rglob("*")) - before == {copied / "third/lineage.json", copied / "third/lineage.png"}
    written = json.loads(Path("third/lineage.json").read_text())
    assert [model["id"] for model in written["models"]] == [member.id for member in trace(Path("third")).members]
    assert written["models"][0]["drift_chunk"] is None
    assert written["models"][1]["drift_open_loop"] > 0
    assert written["probe"]["windows"] == 30
    shutil.rmtree("first")
    assert main(["lineage", "run=third", "threads=1"]) == 0
    assert "the trail ends at second/" in capsys.readouterr().out


def test_mistakes_on_the_command_line(copied, capsys, monkeypatch):
    for words, message in ([["nowhere"], "no checkpoints at nowhere"], [["a", "b"], "'b' is not a setting"]):
        assert main(["lineage", *words]) == 2
        assert message in capsys.readouterr().err
    assert not Path("nowhere").exists()

    def interrupted(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("drift_wm.commands.show_lineage", interrupted)
    assert main(["lineage", "third"]) == 130
    assert "nothing was written" in capsys.readouterr().err


def test_a_folder_with_an_apostrophe_is_a_folder(copied, capsys):
    Path("third").rename("it's")
    assert main(["lineage", "it's", "windows=8", "threads=1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "it's"


def test_a_folder_may_be_named_as_no_formula_is(copied):
    Path("first").rename(r"$lr=1e-3$_$\bad$")
    assert main(["lineage", r"run=$lr=1e-3$_$\bad$", "windows=8", "threads=1"]) == 0
    assert (copied / r"$lr=1e-3$_$\bad$" / "lineage.png").stat().st_size > 1000


def test_what_was_measured_is_kept_where_the_plot_fails(copied, monkeypatch):
    def fail(figure, path):
        raise OSError("no plot")

    monkeypatch.setattr(commands, "save", fail)
    assert main(["lineage", "first", "windows=8", "threads=1"]) == 1
    assert len(json.loads(Path("first/lineage.json").read_text())["models"]) == 1


def test_from_is_another_name_of_parent(copied):
    small = ["model.chunk=2", "model.generator.width=16", "model.generator.depth=2", "model.generator.noise_size=2"]
    words = ["data=logs.hdf5", *small, "steps=2", "threads=1"]
    assert main(["train", *words, "from=third", "run_dir=fourth"]) == 0
    assert [member.run.name for member in trace(Path("fourth")).members] == ["first", "second", "third", "fourth"]
    assert main(["train", *words, "parent=third", "run_dir=fourth"]) == 0, "the same settings"


def test_the_table_fits_a_terminal_and_names_runs_only_where_there_are_several(copied):
    for run, several in (("third", True), ("first", False)):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(lineage_table(measure(run)))
        text = console.export_text()
        assert all(len(line) <= 80 for line in text.splitlines())
        assert "…" not in text
        assert ("run 1: first" in text) == several


def test_the_figure_shows_every_number(copied):
    lineage = measure("third")
    above, below = lineage_figure(lineage).axes
    chunk, open_loop, *breaks = above.lines
    assert chunk.get_xdata().tolist() == [12, 32, 40]
    assert chunk.get_ydata()[1:].tolist() == [model.drift.chunk for model in lineage.models[1:]]
    assert math.isnan(open_loop.get_ydata()[0])
    assert below.lines[0].get_ydata().tolist() == [model.quality.energy_score for model in lineage.models]
    assert [line.get_xdata()[0] for line in breaks] == [12, 32]
    assert below.get_xlabel() == "training steps"
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "drift, first 2 steps",
        "drift, 6 steps open loop",
        "next run",
    ]


def test_figures_of_one_model_of_many_and_of_diverged_ones(copied, tmp_path):
    lineage = measure("first")
    (note,) = lineage_figure(lineage).axes[0].texts
    assert "no model here has a parent" in note.get_text()
    (model,) = lineage.models
    diverged = MeasuredModel(model.member, Drift(math.inf, math.nan), Quality(math.inf, 1.0))
    many = replace(lineage, models=tuple(itertools.repeat(diverged, 70)))
    save(lineage_figure(many), tmp_path / "many.png")
    assert (tmp_path / "many.png").stat().st_size > 1000
