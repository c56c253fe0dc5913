"""What `import drift_wm` offers: load a run, act by it, plan in it by a planner of one's own."""

import re
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import drift_wm
from drift_wm.acting.foresight import ForesightPolicy
from drift_wm.cli import main
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.replay import read_episodes, write_episodes
from drift_wm.generators import ConditionalGenerator, register_generator
from drift_wm.generators import config as generator_config
from drift_wm.interfaces import Plan, Spec
from drift_wm.models.world_model import LearnedWorldModel

TASK = ["task=cartpole-balance", "env.action_repeat=50"]
SMALL = ["model.generator.width=16", "model.chunk=2", "steps=5", "training.batch_size=8"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert main(["collect", *TASK, "episodes=2", f"run_dir={folder}/data"]) == 0
    data = f"data={folder}/data/episodes.hdf5"
    assert main(["train", data, *SMALL, f"run_dir={folder}/model"]) == 0
    small = [each for each in SMALL if not each.startswith("model.chunk")]
    assert main(["train", data, "kind=policy", *small, f"run_dir={folder}/policy"]) == 0
    return folder


PLANNED = ["planner.horizon=4", "planner.candidates=32", "planner.iterations=2"]


@pytest.mark.parametrize("kind", ["model", "policy"])
def test_an_agent_acts_as_the_command_line_evaluates(runs, kind, tmp_path):
    settings = PLANNED if kind == "model" else []
    asked = ["evaluate", f"actor={kind}", f"checkpoint={runs}/{kind}", "episodes=1", "video=false", *settings]
    assert main([*asked, f"run_dir={tmp_path}"]) == 0
    (wanted,) = read_episodes(tmp_path / "rollouts.hdf5")
    agent = drift_wm.load_agent(runs / kind, *settings)
    for _ in range(2):  # the second time after a reset
        env = drift_wm.make_env("cartpole-balance", action_repeat=50)
        obs, _ = env.reset(seed=wanted.seed)
        agent.reset()
        for action in wanted.actions:
            acted = agent.act(obs)
            np.testing.assert_allclose(acted, action, atol=1e-5)
            obs = env.step(acted)[0]
        env.close()


def test_names_are_completed_before_they_are_imported():
    code = "import drift_wm; print(*dir(drift_wm))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(drift_wm.__all__) <= set(names)


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        (np.zeros(4), r"obs has shape \(4,\); expected \(5,\)"),
        (np.zeros((1, 5)), r"obs has shape \(1, 5\)"),
        ([0, 0, np.nan, 0, 0], "expected finite numbers: look for the NaN in the sensors"),
        (["one"] * 5, "could not convert string to float.*expected numbers"),
        ({"state": np.zeros(6)}, r"obs\['state'\] has 6 numbers; expected 5"),
    ],
)
def test_an_agent_refuses_what_is_no_observation(runs, obs, message):
    with pytest.raises(ValueError, match=message):
        drift_wm.load_agent(runs / "policy").act(obs)


@pytest.fixture
def sensors(runs, tmp_path):
    """The same episodes, as a recorder would write them that knows dm_control's entries by name."""
    with h5py.File(runs / "data" / "episodes.hdf5") as recorded, h5py.File(tmp_path / "sensors.hdf5", "w") as file:
        for name, demo in recorded["data"].items():
            for group in ("obs", "next_obs"):
                file[f"data/{name}/{group}/position"] = demo[group]["state"][:, :3]
                file[f"data/{name}/{group}/velocity"] = demo[group]["state"][:, 3:]
            file[f"data/{name}/actions"] = demo["actions"][()]
    return [f"data={tmp_path}/sensors.hdf5", SMALL[0], *SMALL[2:]]


def test_a_model_does_not_act_on_sensors_in_another_order(sensors, tmp_path, capsys):
    """Sizes agree, and nothing else would tell that one is taken for another."""
    learn = ["train", *sensors, "kind=policy", "policy.execute=1"]
    for order in ("position,velocity", "velocity,position"):
        assert main([*learn, f"obs_keys=[{order}]", f"run_dir={tmp_path}/{order[0]}"]) == 0
    asked = ["evaluate", "actor=policy", *TASK, "episodes=1", "video=false"]
    assert main([*asked, f"checkpoint={tmp_path}/p", f"run_dir={tmp_path}/out"]) == 0
    capsys.readouterr()
    assert main([*asked, f"checkpoint={tmp_path}/v", f"run_dir={tmp_path}/other"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "reads velocity, position in this order, cartpole-balance gives position, velocity" in told
    model = ["train", *sensors, "allow_missing_rewards=true", "model.chunk=1", "obs_keys=[velocity,position]"]
    assert main([*model, f"run_dir={tmp_path}/advisor"]) == 0
    with pytest.raises(ValueError, match=r"reads \['velocity', 'position'\], the policy \['position', 'velocity'\]"):
        drift_wm.load_agent(tmp_path / "p", f"foresight='{tmp_path}/advisor'")


def test_sensors_are_joined_by_name(sensors, tmp_path):
    assert main(["train", *sensors, "kind=policy", f"run_dir={tmp_path}/policy"]) == 0
    agent = drift_wm.load_agent(tmp_path / "policy")
    assert agent.obs_keys == ["position", "velocity"]
    obs = torch.arange(5.0, requires_grad=True)
    joined = agent.act(obs)
    agent.reset()
    values = np.arange(5.0)
    values.flags.writeable = False  # as some drivers hand out
    by_name = agent.act({"velocity": values[3:].tolist(), "camera": np.zeros((8, 8)), "position": values[:3]})
    np.testing.assert_array_equal(joined, by_name)
    with pytest.raises(ValueError, match="obs lacks velocity; expected all of position, velocity"):
        agent.act({"position": np.zeros(3)})
    exchanged = {"position": np.zeros(2), "velocity": np.zeros(3)}
    with pytest.raises(ValueError, match=r"obs\['position'\] has 2 numbers; expected 3"):
        agent.act(exchanged)  # five together, as expected
    agent.obs_sizes = None  # as checkpoints of earlier versions do not tell
    agent.act(exchanged)
    with pytest.raises(ValueError, match="obs is a dict of position; expected 5 numbers"):
        drift_wm.Agent(agent.policy, agent.spec).act({"position": np.zeros(5)})


def test_what_an_agent_returns_is_the_callers_own(runs):
    planner = Still()
    planner.plan = planner.init(1)
    planner.init = lambda batch_size: planner.plan
    agent = drift_wm.Agent(drift_wm.plan_in(drift_wm.load_model(runs / "model"), planner=planner), Spec(5, 1, 0.5))
    agent.act(np.zeros(5))[:] = 0.5
    assert agent.act(np.zeros(5)).tolist() == [0.0]


@pytest.mark.parametrize("seed", [None, 1.5, -1])
def test_seeds_are_refused_where_they_are_given(runs, seed):
    agent = drift_wm.load_agent(runs / "policy")
    with pytest.raises(ValueError, match=r"seed=.*expected an integer of at least 0"):
        agent.reset(seed=seed)
    agent.reset(seed=np.int64(2**62))  # as a clock gives
    assert np.isfinite(agent.act(np.zeros(5))).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_devices_that_are_not_there_are_named(runs):
    with pytest.raises(ValueError, match="device='cuda': torch sees no CUDA device"):
        drift_wm.load_agent(runs / "model", device="cuda")
    with pytest.raises(ValueError, match="device='abacus': expected auto, cpu"):
        drift_wm.load_model(runs / "model", device="abacus")
    with pytest.raises(ValueError, match="device=cuda: expected no such setting"):
        drift_wm.load_agent(runs / "model", "device=cuda")
    assert drift_wm.load_agent(runs / "model", *PLANNED, device="auto").act(np.zeros(5)).shape == (1,)


def test_an_agent_is_loaded_in_a_program_that_hydra_started(runs, tmp_path):
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        theirs = GlobalHydra.instance().hydra
        assert drift_wm.load_agent(runs / "model", *PLANNED).act(np.zeros(5)).shape == (1,)
        assert GlobalHydra.instance().hydra is theirs
    assert not GlobalHydra.instance().is_initialized()


def test_doubts_about_what_a_model_learned_are_told(runs, tmp_path, caplog):
    episodes = read_episodes(runs / "data" / "episodes.hdf5")
    in_degrees = [replace(each, actions=90 * each.actions, rewards=0 * each.rewards) for each in episodes]
    write_episodes(tmp_path / "degrees.hdf5", in_degrees, env_args={"env_name": "arm"}, spec=Spec(5, 1, 0.5))
    data = f"data={tmp_path}/degrees.hdf5"
    assert main(["train", data, *SMALL, f"run_dir={tmp_path}/model"]) == 0
    assert main(["train", data, *SMALL[:1], *SMALL[2:], "kind=policy", f"run_dir={tmp_path}/policy"]) == 0
    for learned, doubts in (("model", ["robot's own units", "rewards .* were 0"]), ("policy", [r"beyond \[-1, 1\]"])):
        caplog.clear()
        drift_wm.load_agent(tmp_path / learned, *(PLANNED if learned == "model" else []))
        for doubt in doubts:
            assert re.search(doubt, caplog.text)
        caplog.clear()
        drift_wm.load_agent(runs / learned, *(PLANNED if learned == "model" else []))
        assert not caplog.text


def test_a_run_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere"):
        drift_wm.load_model(tmp_path / "nowhere")


class Still:
    """A planner that does nothing, whatever it is worth."""

    horizon = 4

    def init(self, batch_size):
        still = torch.zeros(batch_size, 4, 1)
        return Plan(still, still, still, torch.zeros(batch_size), still[:, None])

    def improve(self, score, plan, *, rng, proposals=None):
        assert score(plan.mean.unsqueeze(1)).shape == (len(plan.mean), 1)
        return plan

    def shift(self, plan, steps):
        return plan

    def action(self, plan):
        return plan.mean


def test_a_planner_of_ones_own_plans_in_a_loaded_model(runs):
    model = drift_wm.load_model(runs / "model")
    assert isinstance(model, LearnedWorldModel)
    policy = drift_wm.plan_in(model, planner=Still())
    agent = drift_wm.Agent(policy, model.spec)
    assert agent.act(np.ones(5)).tolist() == [0.0]
    restless = drift_wm.Agent(drift_wm.plan_in(model, planner=Still(), exploration_std=0.3), model.spec)
    assert 0 < abs(restless.act(np.ones(5))[0]) <= 1
    usual = drift_wm.plan_in(model, "planner=mppi", "planner.horizon=4", "particles=2")
    assert (type(usual.planner).__name__, usual.planner.horizon, usual.particles) == ("MPPI", 4, 2)


def test_a_policy_is_not_planned_in(runs):
    with pytest.raises(
        ValueError, match=r"model=LearnedPolicy: expected a world model .*; load_agent acts by a policy"
    ):
        drift_wm.plan_in(drift_wm.load_model(runs / "policy"))


class Median(ConditionalGenerator):
    """Regression by the absolute error."""

    stochastic = False

    def _loss(self, c, y, *, rng):
        return (self.backbone(c) - y).abs().mean()

    def decode(self, known, z):
        return self.backbone.complete(known, 0 * z)


@pytest.fixture
def median():
    register_generator("median", Median)
    register_generator("median", Median)  # as a module that is imported twice does
    yield
    generator_config.OWN_GENERATORS.discard("median")


def test_a_generator_of_ones_own_trains_and_is_loaded_by_name(runs, median, tmp_path):
    data = f"data={runs}/data/episodes.hdf5"
    assert main(["train", data, *SMALL, "model.generator.name=median", f"run_dir={tmp_path}/run"]) == 0
    model = drift_wm.load_model(tmp_path / "run")
    assert isinstance(model.generator, Median)
    generator_config.OWN_GENERATORS.discard("median")
    with pytest.raises(ValueError, match=r"model\.generator\.name='median': expected one of"):
        drift_wm.load_model(tmp_path / "run")


class FlowGenerator(Median):
    """Has the name of a class of the package."""


@pytest.mark.parametrize(
    ("name", "generator"), [("drifting", Median), ("flow", FlowGenerator), ("no name", Median), ("mine", Episode)]
)
def test_names_of_others_and_other_classes_are_refused(name, generator):
    with pytest.raises(ValueError, match="expected"):
        register_generator(name, generator)


def test_importing_the_package_is_quick_and_its_names_are_there():
    code = "import sys, drift_wm; assert 'torch' not in sys.modules; assert callable(drift_wm.load_agent)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'load'"):
        _ = drift_wm.load


def test_an_agent_is_advised_by_a_world_model_as_the_command_line_does_it(runs):
    advised = drift_wm.load_agent(runs / "policy", f"foresight='{runs}/model'", "proposals=3", "compile=false")
    assert isinstance(advised.policy, ForesightPolicy)
    assert not advised.policy.advisor.is_compiled
    with pytest.raises(ValueError, match="no checkpoint"):
        drift_wm.load_agent(runs / "policy", "foresight=/no/such/run")


def test_a_run_tells_what_it_learned(runs):
    with pytest.raises(ValueError, match=r"actor=random: expected no such setting, .* a model"):
        drift_wm.load_agent(runs / "model", "actor=random")


@pytest.mark.parametrize("setting", ["episodes=3", "task=walker-walk", "env.action_repeat=4", "planer.horizon=4"])
def test_settings_that_do_not_say_how_to_act_are_refused(runs, setting):
    with pytest.raises(ValueError, match=f"{setting}: expected a setting of planner, .*, compile, execute"):
        drift_wm.load_agent(runs / "model", setting)
    with pytest.raises(ValueError, match=f"{setting}: expected a setting of planner, .*, compile;"):
        drift_wm.plan_in(drift_wm.load_model(runs / "model"), setting)


def test_a_list_of_settings_is_refused(runs):
    for act in (drift_wm.load_agent, lambda run, each: drift_wm.plan_in(drift_wm.load_model(run), each)):
        with pytest.raises(ValueError, match=r"\['particles=2'\]: expected settings one by one"):
            act(runs / "model", ["particles=2"])
    with pytest.raises(ValueError, match="expected settings one by one"):
        drift_wm.make_env("cartpole-swingup", ["action_repeat=2"])


def test_any_path_names_a_run(runs, tmp_path):
    quoted = tmp_path / "o'brien's run"
    quoted.symlink_to(runs / "model")
    agent = drift_wm.load_agent(quoted, *PLANNED)
    assert agent.policy.planner.horizon == 4


def test_environments_are_asked_for_as_on_the_command_line():
    gusty = drift_wm.make_env("cartpole-swingup", "disturbance.name=gust", action_repeat=4)
    assert (gusty.action_repeat, gusty.disturbance.force > 0) == (4, True)
    for wrong, message in (
        ({"action_repat": 2}, "Did you mean env.action_repeat"),
        ({"action_repeat": 2.5}, "env.action_repeat"),
        ({"disturbance": "gust"}, "disturbance"),
    ):
        with pytest.raises(ValueError, match=message):
            drift_wm.make_env("cartpole-swingup", **wrong)
