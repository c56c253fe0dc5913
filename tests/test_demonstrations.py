"""`drift-wm bench suite=demonstrations`: what is asked, which units that makes, and how a stopped one goes on."""

from dataclasses import asdict

import gymnasium
import numpy as np
import pytest
import torch

from drift_wm.cli import main
from drift_wm.configs.schema import read_settings
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import write_episodes
from drift_wm.demonstrations import robot, suite
from drift_wm.demonstrations.door import read_door
from drift_wm.demonstrations.rivals import ALONE, LINEAR, PERSISTENCE, POLICIES, RANKINGS, UNTRAINED, WORLD_MODELS
from drift_wm.demonstrations.robot import robot_rows
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.demonstrations.suite import compare_on_demonstrations, parts_to_do, read_rows, units_of
from drift_wm.interfaces import Spec
from drift_wm.storage.run_folder import RunFolder
from drift_wm.storage.units import Unit
from helpers import read_results

TASK = "test/Home-v0"
LENGTH = 12


class Home(gymnasium.Env):
    """A point in the plane that has to come home within twelve steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        self.place = self.place + 0.3 * np.asarray(action, np.float32)
        away = float(np.linalg.norm(self.place))
        return self.place.copy(), -away, False, False, {"success": away < 0.2}


def demonstration(seed, length=LENGTH):
    """Walks home, and stays."""
    place = np.random.default_rng(seed).uniform(-1, 1, 2)
    obs, actions = [place], []
    for _ in range(length):
        actions.append(np.clip(-obs[-1], -1, 1))
        obs.append(obs[-1] + 0.3 * actions[-1])
    trajectory = np.stack(obs).astype(np.float32)
    return Episode(
        obs=trajectory,
        actions=np.stack(actions).astype(np.float32),
        rewards=-np.linalg.norm(trajectory[1:], axis=1),
        terminated=False,
        seed=seed,
    )


@pytest.fixture(scope="module", autouse=True)
def registered():
    gymnasium.register(TASK, Home, max_episode_steps=LENGTH)
    yield
    del gymnasium.registry[TASK]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Demonstrations of the way home."""
    path = tmp_path_factory.mktemp("data") / "home.hdf5"
    write_episodes(path, map(demonstration, range(30)), env_args={"env_name": TASK}, spec=Spec(2, 2, 0.0))
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """What a robot logged."""
    path = tmp_path_factory.mktemp("data") / "log.hdf5"
    episodes = (demonstration(seed, length=40) for seed in range(30))
    write_episodes(path, episodes, env_args={"env_name": TASK}, spec=Spec(2, 2, 0.0))
    return path


def settings(file, **asked):
    small = {
        "door": str(file),
        "robot": str(file),
        "task": TASK,
        "seeds": [1],
        "policy_seeds": [1],
        "policy_width": 32,
        "robot_width": 16,
        "robot_training": 25,
        "robot_horizon": 10,
        "episodes": 6,
        "repeats": 2,
        "workers": 1,
    }
    return DemonstrationsSettings(**{**small, **asked})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"parts": ["policy"]}, r"parts=\['policy'\]: expected some of 'policies', 'ranking'"),
        ({"policies": ["drift"]}, r"policies=\['drift'\]: expected some of 'drifting'"),
        ({"policies": []}, r"policies=\[\]: expected some of"),
        ({"world_models": []}, r"world_models=\[\]"),
        ({"parts": ["policies"], "door": ""}, "door='': expected for part 'policies' an HDF5 file.*door=door.hdf5"),
        ({"parts": ["ranking"], "door": ""}, "door='': expected for part 'ranking'"),
        ({"parts": ["robot"], "robot": ""}, "robot='': expected for part 'robot' the folder.*robot=FOLDER"),
        ({"policy_steps": 0}, "policy_steps=0: expected an integer of at least 1"),
        ({"robot_weight_decay": -0.1}, "robot_weight_decay=-0.1: expected a number of at least 0"),
        ({"robot_horizon": 0}, "robot_horizon=0"),
        ({"robot_horizon": 25}, "robot_horizon=25: expected a multiple of 10"),
        ({"episodes": 0}, "episodes=0"),
        ({"repeats": 0}, "repeats=0"),
        ({"proposals": 1}, "proposals=1: expected at least 2"),
        ({"workers": -1}, "workers=-1"),
        ({"seeds": []}, r"seeds=\[\]: expected at least one"),
    ],
)
def test_what_cannot_be_compared_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        settings("x.hdf5", **asked)


def test_parts_without_data_are_named_and_left_out(caplog):
    found = parts_to_do(settings("x", door="", robot="", task=TASK))
    assert "latency" in found
    assert not {"policies", "ranking", "robot"} & set(found)
    for part, needs in (("policies", "door="), ("ranking", "door="), ("robot", "robot=")):
        assert f"part {part} is left out: it needs {needs}" in caplog.text


@pytest.mark.parametrize("name", ["door", "robot"])
def test_data_that_are_not_there_are_named(file, name):
    with pytest.raises(ValueError, match=rf"{name}=nowhere: there is no such file or folder; expected"):
        parts_to_do(settings(file, **{name: "nowhere"}))


def test_a_package_that_is_not_installed_matters_only_to_who_asks_for_it(file, monkeypatch, caplog):
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    adroit = "gymnasium_robotics:AdroitHandDoor-v1"
    assert "policies" not in parts_to_do(settings(file, task=adroit))
    assert "pip install 'drift-wm[robotics]'" in caplog.text
    assert "pip install 'drift-wm[robomimic]'" in caplog.text
    with pytest.raises(ValueError, match=r"part 'policies' needs gymnasium_robotics: pip install"):
        parts_to_do(settings(file, parts=["policies"], task=adroit))
    assert parts_to_do(settings(file, parts=["policies"])) == ["policies"], "other worlds need no package"


def test_a_lerobot_folder_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text("{}")
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"part 'robot' needs pyarrow: pip install 'drift-wm\[lerobot\]'"):
        parts_to_do(settings(tmp_path, parts=["robot"]))


def test_every_rival_with_every_seed_and_those_without_a_network_once():
    asked = settings("x", seeds=[4, 2], policy_seeds=[4, 1])
    units = list(units_of(asked, ["policies", "robot", "ranking", "latency"]))
    assert [unit.seed for unit in units] == sorted((unit.seed for unit in units), reverse=True), "seed by seed"
    few, more = ["published field", "regression"], ["drifting", "gaussian", "diffusion"]
    assert set(few + more) == set(POLICIES)
    for seed, names in ((4, list(POLICIES)), (2, few), (1, more)):
        assert [unit.names[0] for unit in units if (unit.part, unit.seed) == ("policies", seed)] == names
    robots = [(unit.names[0], unit.seed) for unit in units if unit.part == "robot"]
    assert robots == [*((name, 4) for name in UNTRAINED), *((name, seed) for seed in (4, 2) for name in WORLD_MODELS)]


@pytest.fixture
def done(monkeypatch, inline_pool):
    """The units that are done, in the caller's process, each with a row."""
    done = []

    def rows_of(unit, settings, folder):
        done.append(unit)
        return [Row(unit.part, unit.names[0] or ALONE, 1, unit.seed, {}, {"return": [1.0], "ms": [1.0]})]

    monkeypatch.setattr(suite, "_rows_of", rows_of)
    return done


def test_units_are_done_once_and_rankings_after_the_policies_they_rank(done, file, tmp_path):
    asked = settings(
        file, parts=["ranking", "policies", "latency"], policies=["drifting"], seeds=[1, 2], policy_seeds=[1, 2]
    )
    rows = compare_on_demonstrations(asked, RunFolder(tmp_path))
    assert [unit.part for unit in done] == ["policies"] * 2 + ["ranking"] * 2 + ["latency"]
    assert rows == read_rows(tmp_path)
    first = list(done)
    (tmp_path / "units" / "policies-drifting-seed2.json").unlink()
    assert compare_on_demonstrations(asked, RunFolder(tmp_path)) == rows
    assert done[len(first) :] == [Unit("policies", ("drifting",), 2)], "what is there is not done again"
    results = read_results(tmp_path)
    assert results["rows"] == [asdict(row) for row in rows]
    assert results["settings"]["seeds"] == [1, 2]
    assert "### Policies in closed loop" in (tmp_path / "tables.md").read_text()


def test_data_of_another_task_are_refused_before_anything_is_trained(done, file, tmp_path):
    with pytest.raises(ValueError, match=r"sizes \(2, 2\), task='cartpole-swingup' has \(5, 1\); name the task"):
        read_door(settings(file, task="cartpole-swingup"))
    with pytest.raises(ValueError, match=r"nowhere\.hdf5"):
        compare_on_demonstrations(settings(tmp_path / "nowhere.hdf5", parts=["policies"]), RunFolder(tmp_path))
    with pytest.raises(ValueError, match=r"robot_training=30: expected fewer than the 30 episodes.*robot_horizon=10"):
        compare_on_demonstrations(settings(file, parts=["robot"], robot_training=30), RunFolder(tmp_path))
    assert done == []


def test_policies_act_and_are_ranked_end_to_end(file, tmp_path, inline_pool):
    asked = settings(file, parts=["policies", "ranking"], policies=["drifting", "regression"], policy_steps=250)
    rows = {row.contender: row for row in compare_on_demonstrations(asked, RunFolder(tmp_path))}
    assert set(rows) == {"drifting", "drifting, noise 0.5", "drifting, centre", "regression", ALONE, *RANKINGS}
    assert sum(rows["regression"].each["success"]) >= 5, "six episodes of coming home"
    assert sum(rows["drifting, centre"].each["success"]) >= 5
    assert rows["drifting"].each == rows[ALONE].each, "the same episodes"
    assert rows["drifting"].metrics["energy_score"] > 0
    assert all(len(row.each["return"]) == 6 and max(row.each["return"]) < 0 for row in rows.values())
    assert (tmp_path / "policies" / "drifting-seed1" / "results.json").exists(), "usable by drift-wm evaluate"


def test_a_single_demonstration_leaves_nothing_to_hold_out_and_is_acted_on_all_the_same(tmp_path, inline_pool, caplog):
    path = tmp_path / "one.hdf5"
    write_episodes(path, [demonstration(0)], env_args={"env_name": TASK}, spec=Spec(2, 2, 0.0))
    asked = settings(path, parts=["policies"], policies=["regression"], policy_steps=2, episodes=1)
    (row,) = compare_on_demonstrations(asked, RunFolder(tmp_path))
    assert row.metrics == {}, "no energy score"
    assert len(row.each["return"]) == 1
    assert f"door={path} holds a single demonstration, so nothing is held out" in caplog.text


def test_diffusion_acts_in_every_number_of_steps(file, tmp_path, inline_pool):
    asked = settings(file, parts=["policies"], policies=["diffusion"], policy_steps=5, episodes=1)
    rows = compare_on_demonstrations(asked, RunFolder(tmp_path))
    found = [(row.contender, row.nfe, bool(row.metrics)) for row in rows]
    assert found == [
        ("diffusion", 16, True),
        ("diffusion, noise 0.5", 16, False),
        ("diffusion, centre", 16, False),
        ("diffusion", 1, False),
        ("diffusion", 100, False),
    ]


def test_a_robot_is_predicted_better_than_by_persistence(log):
    asked = settings(log, robot_steps=300)
    (stays,) = robot_rows(PERSISTENCE, 1, asked)
    (learned,) = robot_rows("drifting", 1, asked)
    assert learned.metrics["error"] < 0.3 * stays.metrics["error"]
    assert learned.metrics["energy_score"] < stays.metrics["energy_score"]
    assert {"central", "central_end", "cpu_seconds"} <= set(learned.metrics)
    assert stays.metrics["spread"] == 0
    assert stays.metrics["error_end"] > stays.metrics["error"], "it goes further away"


def test_a_linear_robot_is_known_from_its_logs(log):
    (fitted,) = robot_rows(LINEAR, 1, settings(log))
    assert fitted.metrics["error"] < 1e-5


@pytest.mark.parametrize("name", [name for name in WORLD_MODELS if name != "drifting"])
def test_every_world_model_is_measured(log, name):
    (row,) = robot_rows(name, 1, settings(log, robot_steps=2))
    assert row.metrics["error"] > 0
    assert (row.metrics["spread"] > 0) is ("regression" not in name)


def test_a_world_model_that_runs_away_fails_alone(log, monkeypatch):
    """A FloatingPointError does not end the others, see `run_in_processes`."""
    monkeypatch.setattr(robot, "sample_model", lambda *asked, **how: torch.tensor(torch.inf))
    with pytest.raises(FloatingPointError, match="drifting, seed 1: predicted futures of"):
        robot_rows("drifting", 1, settings(log, robot_steps=2))


def test_from_the_command_line(tmp_path, capsys):
    arguments = ["bench", "suite=demonstrations", "parts=[latency]", "repeats=2", "policy_width=16"]
    assert main([*arguments, f"run_dir={tmp_path}/run"]) == 0
    out = capsys.readouterr().out
    assert "times drifting" in out
    assert out.splitlines()[-1] == f"{tmp_path}/run"
    results = read_results(tmp_path / "run")
    timed = [(row["contender"], row["nfe"]) for row in results["rows"]]
    assert timed == [
        ("drifting", 1),
        ("drifting, noise 0.5", 1),
        ("drifting, centre", 1),
        ("published field", 1),
        ("published field, centre", 1),
        ("regression", 1),
        ("gaussian", 1),
        ("gaussian, noise 0.5", 1),
        ("gaussian, centre", 1),
        ("diffusion", 16),
        ("diffusion, noise 0.5", 16),
        ("diffusion, centre", 16),
        ("diffusion", 1),
        ("diffusion", 100),
    ]
    assert len(results["verdicts"]) == 4


def test_the_suite_is_a_command_of_its_own(capsys):
    assert read_settings("bench-demonstrations", ["seeds=[7]"]).seeds == [7]
    assert main(["bench", "suite=demonstrations", "models=[drifting]"]) == 2
    assert "Did you mean world_models" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "suite=demonstrations", "--help"])
    assert "robot_horizon=30" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--help"])
    assert "bench suite=demonstrations --help" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("asked", "message"), [("parts=[robot]", "robot=''"), ("door=no.hdf5", "no.hdf5")])
def test_mistakes_are_named_before_anything_is_done(asked, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "suite=demonstrations", f"task={TASK}", asked]) == 2
    assert message in capsys.readouterr().err
