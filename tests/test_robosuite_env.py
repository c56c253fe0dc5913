"""Tasks of robosuite: seeds, states that restore, files that robomimic reads; and what is said where it is absent."""

import json
import sys
from importlib.util import find_spec

import h5py
import numpy as np
import pytest

from drift_wm.build import make_env, require_simulator
from drift_wm.cli import main
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.envs.robosuite_names import is_robosuite

LIFT = "robosuite:Lift"
needs_robosuite = pytest.mark.skipif(
    find_spec("robosuite") is None, reason="robosuite is not installed: pip install 'drift-wm[robosuite]'"
)


def test_names():
    assert is_robosuite(LIFT)
    assert not is_robosuite("Lift")
    assert not is_robosuite("walker-walk")


def test_without_robosuite_the_remedy_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "robosuite", None)  # as if it were not installed
    assert main(["collect", f"task={LIFT}", "actor=scripted", f"run_dir={tmp_path}/run"]) == 2
    error = capsys.readouterr().err
    assert "needs robosuite" in error
    assert "pip install 'drift-wm[robosuite]'" in error


def test_there_is_no_disturbance_and_no_simulator_to_plan_in():
    with pytest.raises(ValueError, match="expected none for robosuite:Lift"):
        make_env(LIFT, EnvSettings(disturbance=DisturbanceConfig(name="gust")))
    with pytest.raises(ValueError, match="the true simulator plans in tasks of the dm_control suite only"):
        require_simulator(LIFT)


@pytest.fixture(scope="module")
def env():
    env = make_env(LIFT, EnvSettings(action_repeat=2))
    yield env
    env.close()


def act(env, seed, steps=6):
    rng = np.random.default_rng(0)
    obs = [env.reset(seed=seed)[0]]
    states, actions = [env.physics_state()], rng.uniform(-1, 1, (steps, 7)).astype(np.float32)
    for action in actions:
        obs.append(env.step(action)[0])
        states.append(env.physics_state())
    return np.stack(obs), np.stack(states), actions


@needs_robosuite
def test_a_seed_fixes_an_episode(env):
    first, second, other = act(env, 1), act(env, 1), act(env, 2)
    np.testing.assert_array_equal(first[0], second[0])
    assert np.abs(first[0] - other[0]).max() > 1e-3
    assert first[0].shape == (7, 19)
    assert first[0].dtype == np.float32


@needs_robosuite
def test_a_state_restores_what_follows(env):
    obs, states, actions = act(env, 1)
    env.reset(seed=2)
    for state, action, after, seen in zip(states, actions, states[1:], obs[1:], strict=False):
        env.set_physics_state(state)
        found = env.step(action)[0]
        np.testing.assert_allclose(env.physics_state(), after, atol=1e-6)
        np.testing.assert_allclose(found, seen, atol=1e-6)
    with pytest.raises(ValueError, match=r"the state has shape \(3,\)"):
        env.set_physics_state(np.zeros(3))


@needs_robosuite
def test_a_state_restores_what_was_placed_for_another_episode():
    door = make_env("robosuite:Door", EnvSettings(action_repeat=2))
    obs, states, actions = act(door, 1)
    placed = door.model_xml()
    door.reset(seed=2)
    assert door.model_xml() != placed
    door.set_physics_state(states[2])
    np.testing.assert_allclose(door.step(actions[2])[0], obs[3], atol=1e-6)
    door.close()


@needs_robosuite
def test_episodes_end_at_the_time_limit_without_success(env):
    env.reset(seed=0)
    steps = [env.step(np.zeros(7, np.float32)) for _ in range(env.decisions_per_episode)]
    assert len(steps) == 100
    assert [truncated for _, _, _, truncated, _ in steps] == [False] * 99 + [True]
    assert {(reward, terminated, info["success"]) for _, reward, terminated, _, info in steps} == {(0.0, False, False)}


@needs_robosuite
def test_unknown_tasks_are_refused():
    with pytest.raises(ValueError, match="the nearest are robosuite:Lift"):
        make_env("robosuite:Lif", EnvSettings())


@needs_robosuite
def test_the_demonstrator_lifts_and_the_file_is_one_that_robomimic_reads(tmp_path):
    assert main(["collect", f"task={LIFT}", "actor=scripted", "episodes=2", f"run_dir={tmp_path}/data"]) == 0
    with h5py.File(tmp_path / "data" / "episodes.hdf5") as file:
        env_args = json.loads(file["data"].attrs["env_args"])
        demo = file["data/demo_0"]
        assert demo["rewards"][-1] == 1
        assert demo["dones"][-1] == 1
        assert demo.attrs["model_file"].startswith("<mujoco")
    assert (env_args["env_name"], env_args["type"], env_args["env_kwargs"]["robots"]) == ("Lift", 1, "Panda")
    assert env_args["drift_wm"] == {"task": LIFT, "action_repeat": 2, "disturbance": {"name": "none"}}
    assert main(["data", "replay", f"{tmp_path}/data/episodes.hdf5", f"run_dir={tmp_path}/replay"]) == 0
    replayed = json.loads((tmp_path / "replay" / "results.json").read_text())
    assert replayed["verdict"].startswith("reproduces")
    assert replayed["task"] == LIFT
