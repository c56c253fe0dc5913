"""`drift-wm data replay`: exact where nothing was changed, and where it was, the step at which it was."""

import json

import h5py
import numpy as np
import pytest

from drift_wm.cli import main
from drift_wm.recordings.divergence import Comparison, Divergence, Replayed, ReplayedDemo, verdict
from drift_wm.recordings.replay import _divergence
from drift_wm.recordings.settings import ReplaySettings

REPEAT = 20
TASK = ["task=cartpole-swingup", f"env.action_repeat={REPEAT}"]


def collect(folder, *more):
    assert main(["collect", *TASK, "episodes=2", *more, f"run_dir={folder}"]) == 0
    return folder / "episodes.hdf5"


@pytest.fixture
def file(tmp_path, capsys):
    """Two episodes of 50 decisions each."""
    path = collect(tmp_path / "data")
    capsys.readouterr()
    return path


def replay(file, tmp_path, capsys, *more):
    assert main(["data", "replay", str(file), *more, f"run_dir={tmp_path}/replay"]) == 0
    results = json.loads((tmp_path / "replay" / "results.json").read_text())
    out = capsys.readouterr().out
    assert results["verdict"] in out
    assert (tmp_path / "replay" / "divergence.png").stat().st_size > 1000
    return results, out


def edit_env_args(file, edit):
    with h5py.File(file, "r+") as opened:
        env_args = json.loads(opened["data"].attrs["env_args"])
        edit(env_args)
        opened["data"].attrs["env_args"] = json.dumps(env_args)


def test_a_file_of_ours_is_reproduced_to_the_bit(file, tmp_path, capsys):
    results, _ = replay(file, tmp_path, capsys)
    assert results["verdict"] == "reproduces exactly: 2 demos, 100 steps, no bit differs"
    assert results["remarks"] == []
    for way in ("whole", "single"):
        for what in ("states", "observations"):
            assert results["steps"][way][what] == {"largest": [0.0] * 50, "rms": [0.0] * 50}


def test_a_converted_file_is_reproduced_as_well(file, tmp_path, capsys):
    assert main(["data", "convert", str(file), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/convert"]) == 0
    results, _ = replay(tmp_path / "new.hdf5", tmp_path, capsys)
    assert results["verdict"].startswith("reproduces exactly")


def test_a_converted_file_without_a_final_state_is_replayed_like_the_original(file, tmp_path, capsys):
    with h5py.File(file, "r+") as opened:
        for number, demo in enumerate(opened["data"].values()):
            del demo["final_state"]
            demo.attrs["model_file"] = f"<mujoco {number}/>"
    (tmp_path / "first").mkdir()
    wanted, _ = replay(file, tmp_path / "first", capsys)
    new = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(file), f"out={new}", f"run_dir={tmp_path}/convert"]) == 0
    found, _ = replay(new, tmp_path, capsys)
    assert found["verdict"] == wanted["verdict"]
    assert found["steps"] == wanted["steps"]
    with h5py.File(new) as opened:
        assert [demo.attrs["model_file"] for demo in opened["data"].values()] == ["<mujoco 0/>", "<mujoco 1/>"]


@pytest.mark.parametrize("disturbance", ["gust", "slip", "payload", "sensor"])
def test_the_chance_of_a_disturbance_comes_back_with_the_seed(disturbance, tmp_path, capsys):
    file = collect(tmp_path / "data", f"env.disturbance.name={disturbance}")
    results, _ = replay(file, tmp_path, capsys)
    assert results["disturbance"]["name"] == disturbance
    assert results["verdict"].startswith("reproduces exactly")


def test_chance_without_a_seed_is_said_to_be_lost(tmp_path, capsys):
    file = collect(tmp_path / "data", "env.disturbance.name=gust")
    with h5py.File(file, "r+") as opened:
        del opened["data/demo_1"].attrs["seed"]
    results, out = replay(file, tmp_path, capsys)
    assert "the chance of gust cannot be repeated" in out
    assert results["demos"][0]["largest"] == 0
    assert results["demos"][1]["largest"] > 0


def test_a_changed_action_is_found_at_its_step(file, tmp_path, capsys):
    with h5py.File(file, "r+") as opened:
        actions = opened["data/demo_1/actions"]
        actions[17] = -actions[17]
    results, _ = replay(file, tmp_path, capsys)
    first, second = results["demos"]
    assert first["diverges_from"] is None
    assert second["diverges_from"] == 17
    assert second["single_steps_beyond"] == [17], "every other step starts from its recorded state"
    largest = results["steps"]["whole"]["states"]["largest"]
    assert max(largest[:17]) == 0
    assert min(largest[17:]) > 1e-5
    assert results["verdict"].startswith(
        "diverges from step 17 of demo_1, 1 of 2 demos do; 1 of 100 single steps differ"
    )


def test_deviations_are_counted_in_standard_deviations(file, tmp_path, capsys):
    with h5py.File(file, "r+") as opened:
        obs = [opened[f"data/demo_{i}/{part}/state"] for i in (0, 1) for part in ("obs", "next_obs")]
        rows = np.concatenate([obs[0], obs[1][-1:], obs[2], obs[3][-1:]])
        last = obs[1][-1]
        last[2] += 1
        obs[1][-1] = last
        rows[50, 2] += 1
    results, _ = replay(file, tmp_path, capsys)
    deviation = 1 / rows.astype(np.float64).std(axis=0)[2]
    found = results["steps"]["whole"]["observations"]
    assert found["largest"][:49] == [0] * 49
    assert found["largest"][49] == pytest.approx(deviation, rel=1e-5)
    one_demo_of_two, entries = 2, rows.shape[1]
    assert found["rms"][49] == pytest.approx(deviation / (entries * one_demo_of_two) ** 0.5, rel=1e-5)


def test_another_action_repeat_is_caught_and_named(file, tmp_path, capsys):
    def halve(env_args):
        env_args["env_kwargs"]["action_repeat"] = REPEAT // 2

    edit_env_args(file, halve)
    results, out = replay(file, tmp_path, capsys)
    assert results["verdict"].startswith("diverges from step 0 of demo_0, 2 of 2 demos do; 100 of 100 single steps")
    assert f"actions were held for {REPEAT} control steps, env_args says action_repeat {REPEAT // 2}" in out


def test_a_world_that_ends_too_early_has_diverged_by_then(file, tmp_path, capsys):
    def double(env_args):
        env_args["env_kwargs"]["action_repeat"] = 2 * REPEAT

    edit_env_args(file, double)
    results, _ = replay(file, tmp_path, capsys)
    assert results["steps"]["whole"]["states"]["largest"][25:] == [None] * 25


def test_other_versions_are_named(file, tmp_path, capsys):
    edit_env_args(file, lambda env_args: env_args["versions"].update(mujoco="3.0.0"))
    _, out = replay(file, tmp_path, capsys)
    assert "mujoco was 3.0.0 at the recording and is " in out
    edit_env_args(file, lambda env_args: env_args.pop("versions"))
    _, out = replay(file, tmp_path, capsys)
    assert "does not record the versions" in out


def test_a_file_without_a_final_state_loses_its_last_step(file, tmp_path, capsys):
    with h5py.File(file, "r+") as opened:
        for i in (0, 1):
            del opened[f"data/demo_{i}/final_state"]
    results, _ = replay(file, tmp_path, capsys, "demos=1")
    assert results["verdict"] == "reproduces exactly: 1 demos, 49 steps, no bit differs"


def test_tasks_of_gymnasium_are_replayed_where_they_have_states(tmp_path, capsys):
    arguments = ["collect", "task=InvertedPendulum-v5", "episodes=2", f"run_dir={tmp_path}/data"]
    assert main(arguments) == 0
    results, out = replay(tmp_path / "data" / "episodes.hdf5", tmp_path, capsys)
    assert "positions and velocities" in out
    assert max(demo["largest"] for demo in results["demos"]) < 1e-5
    assert main([*arguments[:1], "task=Pendulum-v1", "episodes=1", f"run_dir={tmp_path}/stateless"]) == 0
    assert main(["data", "replay", f"{tmp_path}/stateless/episodes.hdf5", f"run_dir={tmp_path}/refused"]) == 2
    assert "has no array states" in capsys.readouterr().err


def without_states(file):
    del file["data/demo_1/states"]


def nested_states(file):
    without_states(file)
    file["data/demo_1"].create_group("states")


def of_another_tool(file):
    file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"robots": "Panda"}})


def of_no_task(file):
    del file["data"].attrs["env_args"]


def of_another_task(file):
    env_args = json.loads(file["data"].attrs["env_args"])
    file["data"].attrs["env_args"] = json.dumps({**env_args, "env_name": "walker-walk"})


def of_an_unknown_task(file):
    env_args = json.loads(file["data"].attrs["env_args"])
    file["data"].attrs["env_args"] = json.dumps({**env_args, "env_name": "cartpole-swing"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_states, "demo_1 has no array states"),
        (nested_states, "demo_1 has no array states"),
        (of_another_tool, "env_args names 'Lift' without the settings of this package"),
        (of_no_task, "env_args names no task without the settings of this package"),
        (of_another_task, "demo_0 has states, observations and actions of sizes"),
        (of_an_unknown_task, "the nearest are cartpole-swingup"),
    ],
)
def test_what_cannot_be_replayed_is_refused(spoil, message, file, tmp_path, capsys):
    with h5py.File(file, "r+") as opened:
        spoil(opened)
    assert main(["data", "replay", str(file), f"run_dir={tmp_path}/replay"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("setting", [{"data": ""}, {"data": "x", "demos": -1}, {"data": "x", "tolerance": -1.0}])
def test_wrong_settings_are_refused(setting):
    with pytest.raises(ValueError, match="expected"):
        ReplaySettings(**setting)


def comparison(largest):
    divergence = Divergence(np.array(largest), np.array(largest))
    return Comparison(divergence, divergence)


@pytest.mark.parametrize(
    ("whole", "single", "words"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], "reproduces exactly: 1 demos, 4 steps"),
        ([0, 1e-9, 0, 0], [0, 0, 0, 0], "reproduces within rounding: at most 1e-09"),
        (
            [0, 1e-9, 1e-3, 2],
            [0, 1e-9, 1e-9, 1e-9],
            "diverges from step 2 of demo_5, 1 of 1 demos do; every single step is",
        ),
        ([0, 1, 1, 1], [0, 1, 0, 0], "diverges from step 1 of demo_5, 1 of 1 demos do; 1 of 4 single steps differ"),
        ([1, 1, 1, np.inf], [1, 1, 1, 1], "4 of 4 single steps differ by themselves: another simulator"),
        ([0, 0, 0, 0], [0, 0, 0, 1], "reproduces within rounding in one go; 1 of 4 single steps"),
    ],
)
def test_the_verdict_tells_chaos_from_a_wrong_simulator(tmp_path, whole, single, words):
    demo = ReplayedDemo("demo_5", comparison(whole), comparison(single))
    assert words in verdict(Replayed(tmp_path, "task", {}, 0.0, 1e-5, (demo,), ()))


def test_an_observation_that_is_no_number_has_diverged():
    found = np.zeros((3, 2))
    found[1, 0] = np.nan
    divergence = _divergence(found, np.zeros((3, 2)), np.ones(2))
    assert divergence.largest.tolist() == divergence.rms.tolist() == [0, np.inf, 0]


def test_demos_that_are_not_asked_for_are_not_read(file, tmp_path, capsys):
    with h5py.File(file, "r+") as opened:
        opened["data/demo_1/obs/state"][0] = np.nan
    results, _ = replay(file, tmp_path, capsys, "demos=1")
    assert [demo["name"] for demo in results["demos"]] == ["demo_0"]
