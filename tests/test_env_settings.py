"""The world around a task: what is recorded of it, and that the record rebuilds it."""

import json
from dataclasses import replace

import h5py
import mujoco
import numpy as np
import pytest

from drift_wm.acting.actors import task_of
from drift_wm.acting.collect import FILE, collect
from drift_wm.acting.evaluate import evaluate
from drift_wm.build import make_env
from drift_wm.configs.schema import read_settings
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.env_settings import EnvSettings, env_args, env_record, recorded_env
from drift_wm.envs.disturbances import DISTURBANCES, DisturbanceConfig
from drift_wm.settings import CollectSettings, EvaluateSettings
from drift_wm.storage.checkpoint import Checkpoint
from drift_wm.storage.run_folder import RunFolder

GUST = EnvSettings(action_repeat=20, disturbance=DisturbanceConfig(name="gust", strength=0.25))
SENSOR = EnvSettings(action_repeat=20, disturbance=DisturbanceConfig(name="sensor", delay=3))
PAYLOAD = EnvSettings(action_repeat=20, disturbance=DisturbanceConfig(name="payload"))


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_record_rebuilds_the_world(name):
    env = EnvSettings(action_repeat=7, disturbance=DisturbanceConfig(name=name), render_width=64)
    record = json.loads(json.dumps(env_record(env)))
    assert recorded_env(record, EnvSettings(render_width=64)) == env


def test_a_record_holds_the_amounts_and_no_more():
    assert env_record(GUST) == {"action_repeat": 20, "disturbance": {"name": "gust", "strength": 0.25}}
    recorded = env_args("a-task", EnvSettings())
    assert recorded.pop("versions")["mujoco"] == mujoco.__version__
    assert recorded == {
        "env_name": "a-task",
        "env_kwargs": {"action_repeat": 2, "disturbance": {"name": "none"}},
    }


def test_a_record_without_a_disturbance_is_an_undisturbed_world():
    assert recorded_env({"name": "a-task", "action_repeat": 5}, EnvSettings()) == EnvSettings(action_repeat=5)
    with pytest.raises(ValueError, match=r"env\.action_repeat=4: expected 5, at which the checkpoint was trained"):
        recorded_env({"name": "a-task", "action_repeat": 5}, EnvSettings(action_repeat=4))


def test_a_disturbance_that_is_asked_for_replaces_the_recorded_one():
    assert recorded_env(env_record(SENSOR), GUST).disturbance == GUST.disturbance


def test_a_record_of_another_version_is_refused():
    with pytest.raises(ValueError, match="colour"):
        recorded_env({"action_repeat": 2, "disturbance": {"name": "gust", "colour": 1}}, EnvSettings())


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"env\.action_repeat=0"):
        EnvSettings(action_repeat=0)


def test_the_command_line_sets_the_disturbance():
    settings = read_settings("collect", ["env.disturbance.name=slip", "env.disturbance.probability=0.3"])
    assert settings.env.disturbance == DisturbanceConfig(name="slip", probability=0.3)
    with pytest.raises(ValueError, match=r"expected none with env\.disturbance\.name=none"):
        read_settings("collect", ["env.disturbance.strength=0.3"])


def test_a_checkpoint_brings_its_disturbance():
    record = {"name": "cartpole-balance", **env_record(GUST)}
    checkpoint = Checkpoint(id="x", parent=None, kind="world_model", config={"task": record}, state={})
    settings = EvaluateSettings(checkpoint="x")
    assert task_of(checkpoint, settings) == ("cartpole-balance", replace(settings.env, **vars(GUST)))
    calm = EvaluateSettings(checkpoint="x", env=EnvSettings(disturbance=DisturbanceConfig("none")))
    _, found = task_of(checkpoint, calm)
    assert (found.action_repeat, found.disturbance.disturbs) == (GUST.action_repeat, False), "as asked"
    assert env_record(EnvSettings()) == env_record(calm.env) == {"action_repeat": 2, "disturbance": {"name": "none"}}


@pytest.mark.parametrize("name", ["ball_in_cup-catch", "ball-in-cup-catch", "ball_in_cup_catch"])
def test_a_task_is_the_checkpoints_in_any_spelling(name):
    record = {"name": "ball_in_cup-catch", **env_record(GUST)}
    checkpoint = Checkpoint(id="x", parent=None, kind="world_model", config={"task": record}, state={})
    task, env = task_of(checkpoint, EvaluateSettings(checkpoint="x", task=name))
    assert (task, env.disturbance.name) == ("ball_in_cup-catch", "gust")


@pytest.mark.parametrize("env", [GUST, SENSOR, PAYLOAD], ids=["gust", "sensor", "payload"])
def test_collected_episodes_can_be_restored_in_the_recorded_world(tmp_path, env):
    settings = CollectSettings(task="cartpole-swingup", episodes=2, env=env)
    results = collect(settings, RunFolder(tmp_path), device="cpu")
    assert results["disturbance"] == env_record(env)["disturbance"]
    with h5py.File(tmp_path / FILE) as file:
        recorded = json.loads(file["data"].attrs["env_args"])
    world = make_env(recorded["env_name"], recorded_env(recorded["env_kwargs"], EnvSettings()))
    for episode in read_episodes(tmp_path / FILE):
        for state, action, after in zip(episode.states, episode.actions, episode.states[1:], strict=False):
            world.set_physics_state(state)
            np.testing.assert_array_equal(world.physics_state(), state)
            world.step(action)
            if env is not GUST:  # whose draws are not part of the state
                np.testing.assert_array_equal(world.physics_state(), after)


def test_evaluation_acts_in_the_disturbed_world_and_records_it(tmp_path):
    settings = EvaluateSettings(actor="random", task="cartpole-swingup", episodes=1, video=False, env=GUST)
    results = evaluate(settings, RunFolder(tmp_path), device="cpu")
    assert results["disturbance"] == {"name": "gust", "strength": 0.25}
    with h5py.File(tmp_path / "rollouts.hdf5") as file:
        assert json.loads(file["data"].attrs["env_args"])["env_kwargs"] == env_record(GUST)
    plain = replace(settings, env=EnvSettings(action_repeat=20))
    calm = evaluate(plain, RunFolder(tmp_path / "calm"), device="cpu")
    assert calm["evaluations"][0]["returns"] != results["evaluations"][0]["returns"]


def test_the_simulator_plans_in_the_disturbed_world(tmp_path):
    planner = "planner.horizon=4 planner.candidates=8 planner.elites=2 planner.iterations=1 particles=2"
    world = "task=cartpole-swingup env.action_repeat=50 env.disturbance.name=sensor"
    rest = "actor=simulator episodes=1 video=false threads=1"
    settings = read_settings("evaluate", f"{planner} {world} {rest}".split())
    results = evaluate(settings, RunFolder(tmp_path), device="cpu")
    assert results["evaluations"][0]["n"] == 1
