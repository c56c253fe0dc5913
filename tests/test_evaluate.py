"""Rolling policies out and recording them, with small planners and long action repeats."""

import itertools
import json
import logging
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import imageio
import numpy as np
import pytest
import torch

from drift_wm.acting import actors, films
from drift_wm.acting import evaluate as evaluate_module
from drift_wm.acting.actors import make_actor, require_spec, task_of
from drift_wm.acting.collect import collect
from drift_wm.acting.evaluate import evaluate, evaluate_policy
from drift_wm.build import make_env, make_objective, make_risk, prepare_machine
from drift_wm.cli import main
from drift_wm.datasets.replay import Replay
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.dm_control import DmControlEnv
from drift_wm.envs.rendering import RenderingUnavailableError
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Prediction, Spec
from drift_wm.learning.online_loop import OnlineRun
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.trainer import Trainer
from drift_wm.models.behaviour import PolicyConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.objective_settings import ObjectiveSettings, RiskSettings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.run_settings import MachineSettings
from drift_wm.settings import CollectSettings, EvaluateSettings, OnlineSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_folder import RunFolder

CPU = torch.device("cpu")
CARTPOLE = Spec(5, 1, 0.5)
ENV = EnvSettings(action_repeat=50, render_width=64, render_height=48)
PLANNER = ICEMConfig(horizon=4, candidates=12, iterations=2, elites=3)
RANDOM = EvaluateSettings(actor="random", task="cartpole-swingup", episodes=3, batch=2, env=ENV, planner=PLANNER)


def checkpoint_of(tmp_path, spec=CARTPOLE, task=None, seed=0):
    config = WorldModelConfig(chunk=2, generator=GeneratorConfig(width=16, depth=2, noise_size=2))
    trainer = Trainer(spec, config, TrainingConfig(), seed=seed, task=task)
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "round_0000.pt"
    trainer.save(path)
    return str(path)


@pytest.mark.parametrize(
    ("task", "repeat", "told"),
    [
        (
            "Pendulum-v1",
            2,
            ["Pendulum-v1: each action is held for 2 steps; set env.action_repeat=1 for the environment's"],
        ),
        ("Pendulum-v1", 1, []),
        ("cartpole-swingup", 2, []),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "collect", "online"])
def test_the_pace_of_a_task_of_gymnasium_is_told_once(tmp_path, caplog, task, repeat, told, command):
    caplog.set_level(logging.INFO, logger="drift_wm")
    env = EnvSettings(action_repeat=repeat)
    if command == "online":
        OnlineRun(OnlineSettings(task=task, env=env), RunFolder(tmp_path), device=CPU)
    else:
        settings = {"evaluate": EvaluateSettings, "collect": CollectSettings}[command]
        make_actor(settings(task=task, actor="noise", env=env), device=CPU)
    assert [message for message in caplog.messages if message.startswith(tuple(told))] == caplog.messages
    assert len(caplog.messages) == len(told)


def test_random_evaluation_is_recorded_and_summed(tmp_path):
    results = evaluate(RANDOM, RunFolder(tmp_path), device=CPU)
    (row,) = results["evaluations"]
    episodes = read_episodes(tmp_path / "rollouts.hdf5")
    assert row["seeds"] == (4_000_000_000, 4_000_000_001, 4_000_000_002)
    assert [episode.seed for episode in episodes] == list(row["seeds"])
    np.testing.assert_allclose(row["returns"], [episode.rewards.sum() for episode in episodes])
    assert all(len(episode) == 20 for episode in episodes)
    assert (tmp_path / "best_episode.mp4").stat().st_size > 0
    assert json.loads((tmp_path / "results.json").read_text())["task"] == "cartpole-swingup"


def test_times_are_those_of_decisions_for_as_many_environments_as_is_said(tmp_path):
    results = evaluate(replace(RANDOM, video=False), RunFolder(tmp_path), device=CPU)
    assert results["evaluations"][0]["environments_per_decision"] == 2
    kept = json.loads((tmp_path / "rollouts.decision_ms.json").read_text())
    assert kept["environments"] == 2
    assert len(kept["ms"]) == 20, "of two episodes, not the third"


def test_times_stay_those_of_the_first_batches_where_more_episodes_are_asked_for(tmp_path):
    """As a reference in a grid may grow; its first episodes decided for fewer environments at once."""
    ask = partial(evaluate_policy, make_actor(RANDOM, device=CPU), file=tmp_path / "rollouts.hdf5", device=CPU)
    first, _ = ask([1, 2], batch=8)
    grown, _ = ask([1, 2, 3, 4, 5], batch=8)
    assert len(grown.returns) == 5
    assert first.environments_per_decision == grown.environments_per_decision == 2
    assert first.decision_ms_p50 == grown.decision_ms_p50


@pytest.mark.parametrize("actor", ["random", "noise"])
def test_chance_acts_otherwise_in_every_batch(tmp_path, actor):
    evaluate(replace(RANDOM, actor=actor, episodes=4, video=False), RunFolder(tmp_path), device=CPU)
    actions = [episode.actions for episode in read_episodes(tmp_path / "rollouts.hdf5")]
    assert not any(np.allclose(a, b) for a, b in itertools.combinations(actions, 2))


def test_batches_do_not_change_an_episode_and_a_stop_loses_none_that_finished(tmp_path, monkeypatch):
    whole = evaluate(replace(RANDOM, batch=1, video=False), RunFolder(tmp_path / "a"), device=CPU)
    run, calls = evaluate_module.run_episodes, []

    def dies_second_time(*args, **kwargs):
        calls.append(kwargs["seeds"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(evaluate_module, "run_episodes", dies_second_time)
    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(RANDOM, batch=1, video=False), RunFolder(tmp_path / "b"), device=CPU)
    again = evaluate(replace(RANDOM, batch=1, video=False), RunFolder(tmp_path / "b"), device=CPU)
    assert [list(seeds) for seeds in calls] == [[4_000_000_000], [4_000_000_001], [4_000_000_001], [4_000_000_002]]
    assert again["evaluations"][0]["returns"] == whole["evaluations"][0]["returns"]


def test_simulator_plans_better_than_chance(tmp_path):
    task = replace(RANDOM, task="pendulum-swingup", video=False, env=EnvSettings(action_repeat=25), episodes=1)
    planner = ICEMConfig(horizon=8, candidates=40, iterations=3, elites=6)
    simulator = replace(task, actor="simulator", planner=planner)
    best = evaluate(simulator, RunFolder(tmp_path / "s"), device=CPU)["evaluations"][0]
    assert best["name"] == "true simulator"
    chance = evaluate(task, RunFolder(tmp_path / "r"), device=CPU)["evaluations"][0]
    assert best["mean"] >= chance["mean"]


def test_a_checkpoint_brings_its_task(tmp_path):
    path = checkpoint_of(tmp_path, task={"name": "cartpole-balance", "action_repeat": 50})
    settings = EvaluateSettings(checkpoint=path, episodes=1, planner=PLANNER, video=False)
    results = evaluate(settings, RunFolder(tmp_path / "run"), device=CPU)
    assert (results["task"], results["action_repeat"]) == ("cartpole-balance", 50)
    assert results["evaluations"][0]["name"] == "drifting world model"
    stated = replace(settings, task="cartpole-swingup")
    assert task_of(load_checkpoint(tmp_path / "round_0000.pt"), stated) == ("cartpole-swingup", stated.env)
    same = task_of(load_checkpoint(tmp_path / "round_0000.pt"), replace(settings, task="cartpole-balance"))
    assert (same[0], same[1].action_repeat) == ("cartpole-balance", 50)


@pytest.mark.parametrize("command", ["evaluate", "collect"])
def test_episodes_of_two_models_do_not_mix(tmp_path, command):
    checkpoint_of(tmp_path / "run", task={"name": "cartpole-swingup", "action_repeat": 50})

    def ask(folder, episodes):
        shared = {"checkpoint": str(tmp_path / "run"), "episodes": episodes, "planner": PLANNER}
        if command == "collect":
            return collect(CollectSettings(actor="model", **shared), RunFolder(folder), device=CPU)
        return evaluate(EvaluateSettings(video=False, **shared), RunFolder(folder), device=CPU)

    first = ask(tmp_path / "a", 1)["model_id"]
    assert ask(tmp_path / "a", 2)["model_id"] == first
    newer = checkpoint_of(tmp_path, spec=CARTPOLE, seed=1, task={"name": "cartpole-swingup", "action_repeat": 50})
    Path(newer).rename(tmp_path / "run" / "round_0001.pt")
    with pytest.raises(ValueError, match=rf"holds episodes of model {first}, and .* run_dir=\.\.\. to another folder"):
        ask(tmp_path / "a", 3)
    assert ask(tmp_path / "b", 1)["model_id"] != first


def test_a_checkpoint_of_demonstrations_brings_their_pace_under_either_name(tmp_path, caplog):
    file = Replay.open(tmp_path / "demos.hdf5", env_args={"env_name": "InvertedPendulum-v5"})
    assert recorded_task(str(tmp_path / "demos.hdf5")) == {"name": "InvertedPendulum-v5", "action_repeat": 1}
    path = checkpoint_of(tmp_path, task=recorded_task(str(file.path)))
    for task in ("", "InvertedPendulum-v5", "gymnasium_robotics:InvertedPendulum-v5"):
        found, env = task_of(load_checkpoint(Path(path)), EvaluateSettings(checkpoint=path, task=task))
        assert (found, env.action_repeat) == ("InvertedPendulum-v5", 1)
    assert not caplog.text
    task_of(load_checkpoint(Path(path)), EvaluateSettings(checkpoint=path, task="InvertedDoublePendulum-v5"))
    assert "InvertedPendulum-v5, where each action was held for 1 steps; here" in caplog.text
    assert "for env.action_repeat=2" in caplog.text
    caplog.clear()
    path = checkpoint_of(tmp_path)
    task_of(load_checkpoint(Path(path)), EvaluateSettings(checkpoint=path, task="InvertedPendulum-v5"))
    nowhere = load_checkpoint(Path(path))
    nowhere.config["task"] = None
    with pytest.raises(ValueError, match="task='': expected the task to act in"):
        task_of(nowhere, EvaluateSettings(checkpoint=path))
    assert "here it is held for env.action_repeat=2" in caplog.text


def test_data_of_worlds_that_cannot_be_made_here_name_none(tmp_path):
    Replay.open(tmp_path / "lift.hdf5", env_args={"env_name": "Lift", "env_kwargs": {"robots": "Panda"}})
    assert recorded_task(str(tmp_path / "lift.hdf5")) is None


def test_a_checkpoint_of_another_world_is_refused(tmp_path):
    path = checkpoint_of(tmp_path, spec=Spec(17, 6, 0.02))
    settings = EvaluateSettings(checkpoint=path, task="cartpole-swingup", planner=PLANNER)
    with pytest.raises(ValueError, match="17 observations and 6 actions, but cartpole-swingup has 5 and 1"):
        evaluate(settings, RunFolder(tmp_path / "run"), device=CPU)
    with pytest.raises(ValueError, match=r"decisions of 0\.1 s.*takes 0\.02 s; set env\.action_repeat"):
        require_spec(Spec(5, 1, 0.1), Spec(5, 1, 0.02), "cartpole-swingup")
    require_spec(Spec(5, 1, 0.0), Spec(5, 1, 0.02), "cartpole-swingup")  # a file of unknown timing


def test_without_a_renderer_there_is_no_film_and_no_failure(tmp_path, monkeypatch, caplog):
    def no_gl(*args, **kwargs):
        raise RenderingUnavailableError("apt-get install libegl1")

    monkeypatch.setattr(films, "write_video", no_gl)
    evaluate(replace(RANDOM, episodes=1), RunFolder(tmp_path), device=CPU)
    assert "no video: apt-get install libegl1" in caplog.text
    assert not list(tmp_path.glob("*.mp4"))


def test_a_film_that_fails_loses_no_result_and_may_be_left_out_later(tmp_path, monkeypatch, caplog):
    def frames(env, episode, every):
        yield np.zeros((8, 8, 4), np.uint8)  # of one who draws an alpha channel

    monkeypatch.setattr(films, "episode_frames", frames)
    arguments = ["evaluate", "actor=random", "task=cartpole-swingup", "episodes=2", "env.action_repeat=50"]
    assert main([*arguments, f"run_dir={tmp_path}/run"]) == 0
    assert "no video: frame 0 is uint8 of shape (8, 8, 4)" in caplog.text
    assert (tmp_path / "run" / "results.json").exists()
    assert main([*arguments, "video=false", f"run_dir={tmp_path}/run"]) == 0


def test_a_world_that_begins_with_no_numbers_is_told_at_once(tmp_path, monkeypatch):
    reset = DmControlEnv.reset

    def broken(self, **options):
        obs, info = reset(self, **options)
        return obs * np.nan, info

    monkeypatch.setattr(DmControlEnv, "reset", broken)
    with pytest.raises(ValueError, match=r"reset with seed .* gave observation .*nan.*repair the environment"):
        evaluate(RANDOM, RunFolder(tmp_path), device=CPU)


def test_settings_of_pictures_that_others_ignore_are_told(caplog):
    with closing(make_env("Pendulum-v1", EnvSettings(action_repeat=1, render_width=64, render_fast=True))):
        assert "env.render_width, env.render_fast: no effect on Pendulum-v1" in caplog.text


def test_several_episodes_are_filmed_side_by_side(tmp_path):
    evaluate(replace(RANDOM, video_grid=3), RunFolder(tmp_path), device=CPU)
    with imageio.get_reader(tmp_path / "episodes.mp4") as reader:
        first = np.asarray(reader.get_data(0))
    assert first.shape == (96, 128, 3), "three of 48 x 64 in a grid of two by two"
    assert first[:40, :60].std() > 5
    assert first[50:, 70:].max() < 16, "the fourth is empty"
    evaluate(replace(RANDOM, video_grid=0), RunFolder(tmp_path / "none"), device=CPU)
    assert [path.name for path in (tmp_path / "none").glob("*.mp4")] == ["best_episode.mp4"]


def test_batches_do_not_change_what_a_policy_draws(tmp_path):
    config = PolicyConfig(chunk=2, generator=GeneratorConfig(width=16, depth=2, noise_size=2))
    Trainer(CARTPOLE, config, TrainingConfig(), seed=0).save(tmp_path / "policy.pt")
    asked = replace(RANDOM, actor="policy", checkpoint=str(tmp_path / "policy.pt"), episodes=5, video=False)
    for batch in (1, 2, 5):
        evaluate(replace(asked, batch=batch), RunFolder(tmp_path / str(batch)), device=CPU)
    alone, *others = (read_episodes(tmp_path / str(batch) / "rollouts.hdf5") for batch in (1, 2, 5))
    for episodes in others:
        for one, other in zip(alone, episodes, strict=True):
            np.testing.assert_allclose(one.actions[:3], other.actions[:3], atol=1e-5)


@pytest.mark.parametrize("task", ["cartpole-swingup", "InvertedPendulum-v5"])
def test_environments_in_processes_give_the_same_episodes(tmp_path, task):
    asked = replace(RANDOM, task=task, video=False, batch=3, env=EnvSettings(action_repeat=5))
    here = evaluate(asked, RunFolder(tmp_path / "here"), device=CPU)
    there = evaluate(replace(asked, workers=2), RunFolder(tmp_path / "there"), device=CPU)
    assert there["evaluations"][0]["returns"] == here["evaluations"][0]["returns"]
    pairs = zip(*(read_episodes(tmp_path / name / "rollouts.hdf5") for name in ("here", "there")), strict=True)
    for one, other in pairs:
        for name in ("obs", "actions", "rewards", "states"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_task_that_processes_do_not_know_is_refused_as_here(tmp_path):
    with pytest.raises(ValueError, match="nearest are Hopper-v5"):
        evaluate(replace(RANDOM, task="Hoper-v5", workers=2), RunFolder(tmp_path), device=CPU)


def test_collect_records_the_episodes_that_are_missing(tmp_path):
    settings = CollectSettings(task="cartpole-swingup", episodes=2, env=ENV, seed=3)
    results = collect(settings, RunFolder(tmp_path), device=CPU)
    assert (results["episodes"], results["frames"], results["actor"]) == (2, 2000, "noise")
    more = collect(replace(settings, episodes=3), RunFolder(tmp_path), device=CPU)
    assert more["returns"][:2] == results["returns"]
    episodes = read_episodes(tmp_path / "episodes.hdf5")
    assert [episode.seed for episode in episodes] == [3000, 3001, 3002]


def test_objectives_and_risks_by_name():
    prediction = Prediction(torch.zeros(1, 2, 3, 4, 2), torch.ones(1, 2, 3, 4))
    actions = torch.ones(1, 2, 4, 1)
    plain = make_objective(ObjectiveSettings())(prediction, actions)
    penalised = make_objective(ObjectiveSettings(action_penalty=0.5, action_rate_penalty=1.0))(prediction, actions)
    torch.testing.assert_close(plain, torch.full((1, 2, 3), 4.0))
    torch.testing.assert_close(penalised, torch.full((1, 2, 3), 2.0))
    goal = make_objective(ObjectiveSettings(name="goal", goal=[1.0, 0.0]))(prediction, actions)
    torch.testing.assert_close(goal, torch.full((1, 2, 3), -4.0))
    weighted = ObjectiveSettings(name="goal", goal=[1.0, 2.0], goal_weights=[0.5, 0.0])
    torch.testing.assert_close(make_objective(weighted)(prediction, actions), torch.full((1, 2, 3), -2.0))
    at_the_end = ObjectiveSettings(name="goal", goal=[1.0, 0.0], terminal_only=True)
    torch.testing.assert_close(make_objective(at_the_end)(prediction, actions), torch.full((1, 2, 3), -1.0))
    futures = torch.tensor([[[0.0, 1.0, 2.0, 5.0]]])
    for name, worth in {"mean": 2.0, "worst": 0.0, "cvar": 0.5, "mean_minus_spread": 2.0 - 0.5 * 3.5**0.5}.items():
        assert make_risk(RiskSettings(name=name, level=0.5))(futures).item() == pytest.approx(worth), name


@pytest.mark.parametrize("actor", ["random", "noise", "model"])
def test_environments_are_closed(tmp_path, monkeypatch, actor):
    make, is_open = evaluate_module.make_env, []

    def counted(task, settings):
        env = make(task, settings)
        close = env.close
        is_open.append(env)
        monkeypatch.setattr(env, "close", lambda: (is_open.remove(env), close()))
        return env

    for module in (actors, evaluate_module):
        monkeypatch.setattr(module, "make_env", counted)
    path = checkpoint_of(tmp_path, task={"name": "cartpole-swingup", "action_repeat": 50})
    evaluate(replace(RANDOM, actor=actor, checkpoint=path, episodes=1), RunFolder(tmp_path / "run"), device=CPU)
    assert is_open == []


def test_the_scripted_demonstrator_can_act_without_noise():
    lift = CollectSettings(task="robosuite:Lift", actor="scripted")
    noises = [make_actor(lift, device=CPU, exploration_std=std).policy.noise for std in (None, 0.3, 0)]
    assert noises == [0.1, 0.3, 0]


@pytest.mark.parametrize("actor", ["model", "simulator"])
def test_a_goal_of_another_size_fails_before_the_first_episode(tmp_path, monkeypatch, actor):
    path = checkpoint_of(tmp_path, task={"name": "cartpole-swingup", "action_repeat": 50})
    goal = ObjectiveSettings(name="goal", goal=[1.0])
    monkeypatch.setattr(evaluate_module, "run_episodes", lambda *_, **__: pytest.fail("acted"))
    settings = replace(RANDOM, actor=actor, checkpoint=path, objective=goal)
    with pytest.raises(ValueError, match=r"objective\.goal=\[1\.0\]: expected 5 numbers"):
        evaluate(settings, RunFolder(tmp_path / "run"), device=CPU)


def test_devices():
    assert prepare_machine(MachineSettings(threads=1)).type in ("cpu", "cuda")
    assert prepare_machine(MachineSettings(device="cpu")).type == "cpu"
    with pytest.raises(ValueError, match="device='abacus'"):
        prepare_machine(MachineSettings(device="abacus"))
    if not torch.backends.mps.is_available():
        with pytest.raises(ValueError, match="device='mps' cannot be computed on here; use device=cpu"):
            prepare_machine(MachineSettings(device="mps"))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device here; use device=cpu"):
            prepare_machine(MachineSettings(device="cuda"))


@pytest.mark.parametrize("kind", [EvaluateSettings, CollectSettings])
@pytest.mark.parametrize("actor", ["random", "noise", "simulator"])
def test_a_checkpoint_tells_whoever_acts_the_task(tmp_path, kind, actor):
    recorded = {"name": "reacher-easy", "action_repeat": 25, "disturbance": {"name": "slip", "probability": 0.3}}
    path = checkpoint_of(tmp_path, Spec(6, 2, 0.5), task=recorded)
    with closing(make_actor(kind(actor=actor, checkpoint=path, planner=PLANNER), device=CPU)) as found:
        assert (found.task, found.env.action_repeat, found.env.disturbance.name) == ("reacher-easy", 25, "slip")
        if found.simulator is not None:
            assert found.simulator.spec.action_size == 2
            assert found.simulator.spec.decision_seconds == pytest.approx(25 * 0.02)
    other = kind(actor=actor, checkpoint=path, task="cartpole-swingup", planner=PLANNER)
    with closing(make_actor(other, device=CPU)) as found:
        assert (found.task, found.env.action_repeat) == ("cartpole-swingup", 2)
