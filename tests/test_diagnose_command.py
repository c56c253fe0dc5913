"""`drift-wm diagnose` as a person meets it: the run folder, what cannot be measured, and mistakes."""

import dataclasses
import html
import json
import re
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from drift_wm.cli import main
from drift_wm.datasets.replay import Replay, write_episodes, write_masks
from drift_wm.diagnosis.groups import groups_of_file
from drift_wm.diagnosis.material import Material, choose_material
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.diagnosis.world import World, world_of
from drift_wm.env_settings import EnvSettings
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Spec
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.storage.checkpoint import load_checkpoint
from helpers import write_lerobot

SMALL = ["model.chunk=2", "model.generator.width=16", "steps=5", "training.batch_size=8", "training.warmup=2"]
QUICK = [
    "windows=20",
    "particles=20",
    "true_samples=5",
    "horizon=5",
    "distribution_steps=3",
    "states=2",
    "candidates=6",
    "value_horizon=4",
]
PLOTS = {"open_loop.png", "calibration.png", "ranks.png", "example.png"}


@pytest.fixture(scope="module")
def files(tmp_path_factory, linear_episodes) -> Path:
    """Data with a task and states and its ensemble; data with neither, its model and its policy."""
    folder = tmp_path_factory.mktemp("files")
    gust = ["task=cartpole-swingup", "env.action_repeat=20", "env.disturbance.name=gust"]
    assert main(["collect", *gust, "episodes=3", f"run_dir={folder}/data"]) == 0
    data = f"data={folder}/data/episodes.hdf5"
    assert main(["train", data, *SMALL, "model.generator.members=2", f"run_dir={folder}/ensemble"]) == 0
    logs = Replay.open(folder / "logs.hdf5", env_args={"env_name": "linear"})
    for episode in linear_episodes:
        logs.append(episode)
    assert main(["train", f"data={folder}/logs.hdf5", *SMALL, f"run_dir={folder}/linear"]) == 0
    policy = ["kind=policy", *SMALL[1:], f"run_dir={folder}/policy"]
    assert main(["train", f"data={folder}/logs.hdf5", *policy]) == 0
    return folder


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_all_is_measured_where_task_and_states_are_known(files, tmp_path, capsys):
    arguments = [f"checkpoint={files}/ensemble", f"data={files}/data/episodes.hdf5", *QUICK, f"run_dir={tmp_path}/run"]
    assert main(["diagnose", *arguments]) == 0
    out = capsys.readouterr().out
    for text in ("persistence", "model: velocity", "energy distance", "held out", "disturbed by gust", "AUROC"):
        assert text in out
    assert out.splitlines()[-1] == f"{tmp_path}/run"
    found = results(tmp_path / "run")
    assert (found["task"], found["disturbance"], found["episodes"]) == ("cartpole-swingup", "gust", 1)
    assert (found["env"]["action_repeat"], found["env"]["disturbance"]["name"]) == (20, "gust")
    assert found["unmeasured"] == []
    assert found["replay_error"] < 1e-4
    assert found["open_loop"]["steps"] == [1, 2, 4]
    assert [at["steps"] for at in found["distributions"]] == [1, 3]
    assert found["uncertainty"]["members"] == 2
    assert found["value"]["candidates"] == 6
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == PLOTS | {"returns.png"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "weaker of a gust" in page
    shown = json.loads(html.unescape(re.search(r"Settings</summary><pre>(.*?)</pre>", page, re.DOTALL)[1]))
    assert (shown["task"], shown["env"]["action_repeat"]) == ("cartpole-swingup", 20), "what came of task='' and so on"
    assert shown["env"]["disturbance"]["name"] == "gust"
    assert (shown["windows"], shown["checkpoint"]) == (20, f"{files}/ensemble"), "the rest as asked"


def test_what_cannot_be_measured_says_why(files, tmp_path, capsys):
    arguments = [f"checkpoint={files}/linear", f"data={files}/logs.hdf5", *QUICK, f"run_dir={tmp_path}/run"]
    assert main(["diagnose", *arguments]) == 0
    assert "Not measured: value. No task is known" in capsys.readouterr().out.replace("\n", " ")
    found = results(tmp_path / "run")
    assert (found["task"], found["env"]) == (None, None)
    assert {missing["question"] for missing in found["unmeasured"]} == {
        "uncertainty",
        "distance to the true distribution",
        "value",
        "exploitation",
    }
    assert found["open_loop"]["groups"] == ["obs[0]", "obs[1]", "obs[2]"]
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == PLOTS


def test_a_checkpoint_alone_knows_which_observations_it_reads_in_which_order(files, linear_episodes, tmp_path, capsys):
    logs = tmp_path / "logs.hdf5"
    write_logs(logs, linear_episodes)
    with h5py.File(logs, "r+") as file:
        for demo in file["data"].values():
            for obs in (demo["obs"], demo["next_obs"]):
                whole = obs.pop("state")[:]
                obs["first"], obs["rest"] = whole[:, :1], whole[:, 1:]
    asked = [f"data={logs}", "obs_keys=[rest,first]", *SMALL, f"run_dir={tmp_path}/trained"]
    assert main(["train", *asked]) == 0
    alone = (tmp_path / "trained/checkpoints/round_0000.pt").rename(tmp_path / "alone.pt")
    assert main(["diagnose", f"checkpoint={alone}", f"data={logs}", *QUICK, f"run_dir={tmp_path}/run"]) == 0
    assert results(tmp_path / "run")["open_loop"]["groups"] == ["rest", "first"]
    assert main(["diagnose", f"checkpoint={alone}", f"data={files}/logs.hdf5", f"run_dir={tmp_path}/other"]) == 2
    assert "no observation 'rest', found ['state']; choose among them by obs_keys=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (["checkpoint=/nowhere"], "no checkpoint at /nowhere"),
        (["checkpoint={files}/policy"], "expected a checkpoint of a world model.*actor=policy"),
        (["data=/nowhere.hdf5"], "data='/nowhere.hdf5': no such file"),
        (["data={files}/data/episodes.hdf5"], "the checkpoint was trained for 3 observations"),
        (["mask=valid"], "no mask/valid"),
        (["obs_keys=[pose]"], "no observation 'pose'"),
        (["task=cartpole-swingup"], "the checkpoint was trained for 3 observations"),
        (["task=carpole"], "the nearest are"),
        (["sampling_steps=4"], "sampling_steps=4: expected 0.*only diffusion and flow"),
        (["particles=5"], "particles=5: expected an integer of at least 19"),
        (["partcles=50"], "Did you mean particles"),
        (["data="], "data='': expected a path"),
    ],
)
def test_mistakes_exit_with_2_and_leave_nothing(files, tmp_path, capsys, changes, match):
    given = {"checkpoint": f"{files}/linear", "data": f"{files}/logs.hdf5", "run_dir": f"{tmp_path}/run"}
    given |= dict(change.format(files=files).split("=", 1) for change in changes)
    assert main(["diagnose", *QUICK[1:], *(f"{name}={value}" for name, value in given.items())]) == 2
    error = capsys.readouterr().err
    assert error.startswith("drift-wm: ")
    assert re.search(match, error)
    assert not (tmp_path / "run").exists()


def write_logs(path, episodes, **masks):
    spec = Spec(3, 2, 0.0)
    write_episodes(path, episodes, env_args={"env_name": "linear"}, spec=spec, finish=partial(write_masks, masks=masks))


def choose(files, run, file="logs.hdf5", *, learned_from=(), **changes):
    asked = {"obs_keys": None, "mask": None, "seed": 1, **changes}
    return choose_material(files / file, files / run, learned_from=learned_from, **asked)


def test_episodes_of_training_are_kept_apart(files, linear_episodes):
    names = [episode.fingerprints for episode in linear_episodes]
    own = choose(files, "linear", learned_from=frozenset().union(*names[1:]))
    assert [episode.fingerprints for episode in own.fitted] == names[1:]
    assert [episode.fingerprints for episode in own.measured] == names[:1]
    assert "trained on 5 other episodes" in own.note
    strange = choose(files, "linear", learned_from=["0123456789abcdef"])
    assert (len(strange.fitted), len(strange.measured)) == (3, 3)
    fitted = len(strange.fitted)
    told = f"the model was not trained on any of these episodes; the linear model was fitted to {fitted} others of this"
    assert strange.note == f"{told} file"
    everything = choose(files, "linear", learned_from=frozenset().union(*names))
    assert (len(everything.fitted), len(everything.measured)) == (3, 3)
    assert "TRAINED ON ALL" in everything.note


def test_a_subset_of_the_training_file_is_measured_where_the_model_does_not_know_it(tmp_path, linear_episodes):
    write_logs(tmp_path / "logs.hdf5", linear_episodes, some=[0, 1], others=[0, 2, 3])
    (tmp_path / "config.json").write_text(
        json.dumps({"command": "train", "data": str(tmp_path / "logs.hdf5"), "mask": "some", "obs_keys": None})
    )
    known = linear_episodes[0].fingerprints
    assert len(choose(tmp_path, ".", learned_from=known).measured) == 1, "of the run's own mask"
    assert len(choose(tmp_path, ".", learned_from=known, mask="others").measured) == 2


def test_the_training_file_is_known_from_everywhere(files, tmp_path, linear_episodes, monkeypatch):
    write_logs(tmp_path / "logs.hdf5", linear_episodes, some=[0, 1])
    config = json.loads((files / "linear/config.json").read_text())
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "config.json").write_text(json.dumps({**config, "data": "logs.hdf5", "mask": "some"}))
    for place in (tmp_path, files):
        monkeypatch.chdir(place)
        material = choose(tmp_path, "runs/mine")
        assert len(material.fitted) + len(material.measured) == 2, "of the run's own mask"


def test_a_folder_without_rewards_is_material(tmp_path, linear_episodes):
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data" / "main_data.hdf5", "w") as file:
        for number, episode in enumerate(linear_episodes):
            group = file.create_group(f"episode_{number}")
            group["observations/pose"], group["observations/speed"] = episode.obs[:, :1], episode.obs[:, 1:]
            group["actions"] = episode.actions
    material = choose(tmp_path, ".", ".", learned_from=linear_episodes[0].fingerprints)
    assert [episode.fingerprints for episode in material.measured] == [e.fingerprints for e in linear_episodes[1:]]
    named = groups_of_file(tmp_path, None, 3)
    assert [(group.name, group.start, group.stop) for group in named] == [("pose", 0, 1), ("speed", 1, 3)]


def test_episodes_that_a_folder_lacks_are_left_out_if_asked(files, linear_episodes, tmp_path):
    folder = write_lerobot(tmp_path / "logs", linear_episodes[:3], lacking=[1])
    with pytest.raises(ValueError, match=r"episode 1 is announced, .*set skip_missing=true"):
        choose(files, "linear", folder)
    found = choose(files, "linear", folder, skip_missing=True)
    assert len(found.fitted) == len(found.measured) == 1


def test_the_range_of_what_has_no_unit_of_its_own_is_zero(linear_episodes):
    first = linear_episodes[0]
    once = np.where(np.arange(len(first.obs)) == 0, 1e4 + 4e-3, 1e4)  # moves, but hardly ever
    jitter = 100 + 1e-5 * np.sign(first.obs[:, 1])
    obs = np.column_stack([first.obs[:, 0], jitter, np.full(len(first.obs), 3.0), once]).astype(np.float32)
    episode = dataclasses.replace(first, obs=obs)
    found = Material(Path("x.hdf5"), None, (episode,), (episode,), "")
    assert found.data_range.tolist() == [np.ptp(episode.obs[:, 0]), 0, 0, 0]
    assert found.varying == (0,)
    assert found.scale[1:].tolist() == [1, 1, 1]


@pytest.mark.parametrize("copies", [1, 3])
def test_an_only_episode_is_halved(tmp_path, linear_episodes, copies):
    replay = Replay.open(tmp_path / "replay.hdf5", env_args={"env_name": "linear"})
    for _ in range(copies):
        replay.append(linear_episodes[0])
    material = choose(tmp_path, ".", "replay.hdf5", learned_from=linear_episodes[0].fingerprints)
    assert "TRAINED ON ALL" in material.note
    assert [len(part[0]) for part in (material.fitted, material.measured)] == [20, 20]
    assert "second half of the episode" in material.note
    assert "fitted to the first" in material.note, "copies of an episode are no other ones"


def test_an_episode_of_one_step_serves_for_both(tmp_path, linear_episodes):
    whole = linear_episodes[0]
    short = type(whole)(whole.obs[:2], whole.actions[:1], whole.rewards[:1], terminated=False)
    Replay.open(tmp_path / "one.hdf5", env_args={"env_name": "linear"}).append(short)
    material = choose(tmp_path, ".", "one.hdf5")
    assert material.fitted == material.measured
    assert "fitted to the same step" in material.note


def test_the_world_is_that_of_the_file_then_of_the_checkpoint(files):
    ensemble = load_checkpoint(files / "ensemble/checkpoints/round_0000.pt")
    recorded = world_of("", EnvSettings(), files / "data/episodes.hdf5", ensemble)
    assert (recorded.task, recorded.env.action_repeat) == ("cartpole-swingup", 20)
    assert recorded.env.disturbance.name == "gust"
    assert world_of("", EnvSettings(), files / "logs.hdf5", ensemble) == recorded
    linear = load_checkpoint(files / "linear/checkpoints/round_0000.pt")
    assert world_of("", EnvSettings(), files / "logs.hdf5", linear) is None
    assert world_of("acrobot-swingup", EnvSettings(), files / "logs.hdf5", linear) == World(
        "acrobot-swingup", EnvSettings()
    )


def test_groups_are_the_keys_of_a_file(tmp_path):
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"] = torch.zeros(3, 2).numpy()
        demo["obs/pose"], demo["obs/gripper"] = torch.zeros(3, 4).numpy(), torch.zeros(3).numpy()
        demo["obs/camera"], demo["obs/words"] = torch.zeros(3, 8, 8, 3).numpy(), [b"go"] * 3
    path = tmp_path / "demos.hdf5"
    named = [(group.name, group.start, group.stop) for group in groups_of_file(path, None, 5)]
    assert named == [("gripper", 0, 1), ("pose", 1, 5)]
    assert [group.name for group in groups_of_file(path, ["pose", "gripper"], 5)] == ["pose", "gripper"]
    assert [group.name for group in groups_of_file(path, ["pos*", "gripper"], 5)] == ["pose", "gripper"]
    assert len(groups_of_file(path, ["pose"], 4)) == 4, "one key alone says no more than its entries"
    assert len(groups_of_file(path, None, 7)) == 7, "keys of another size are not those of the model"


@pytest.mark.parametrize("name", ["diffusion", "flow"])
def test_sampling_steps_replace_those_of_training(name):
    config = WorldModelConfig(generator=GeneratorConfig(name=name, width=16, members=2, steps=8))
    model = LearnedWorldModel(Spec(3, 2, 0.0), config, rng=torch.Generator().manual_seed(0))
    model.generator.set_sampling_steps(0)
    assert [member.nfe for member in model.members] == [8, 8]
    model.generator.set_sampling_steps(3)
    assert [member.nfe for member in model.members] == [3, 3]


@pytest.mark.parametrize("name", ["windows", "particles", "true_samples", "candidates", "states", "sampling_steps"])
def test_amounts_that_cannot_be_meant_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1: expected an integer of at least"):
        DiagnoseSettings(checkpoint="x", data="x", **{name: -1})
