"""Environments and simulators are freed by whoever made them, however the work with them ends."""

from dataclasses import replace

import pytest
import torch

from drift_wm.acting import collect as collect_module
from drift_wm.acting import evaluate as evaluate_module
from drift_wm.acting.collect import collect
from drift_wm.acting.env_workers import open_environments
from drift_wm.acting.evaluate import evaluate
from drift_wm.demonstrations import ceiling
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.dm_control import DmControlEnv
from drift_wm.envs.rollout_pool import RolloutPool
from drift_wm.generators import GeneratorConfig
from drift_wm.learning import online_loop
from drift_wm.learning.online import online
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.objective_settings import ObjectiveSettings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.recordings import replay as data_replay
from drift_wm.recordings.settings import ReplaySettings
from drift_wm.results import SIMULATOR
from drift_wm.settings import CollectSettings, EvaluateSettings, OnlineSettings
from drift_wm.storage.run_folder import RunFolder
from drift_wm.truth import risk_case, world_cases
from drift_wm.truth.settings import TruthSettings

CPU = torch.device("cpu")
TASK = "cartpole-swingup"
ENV = EnvSettings(action_repeat=50)
PLANNER = ICEMConfig(horizon=4, candidates=12, iterations=2, elites=3)
COLLECT = CollectSettings(task=TASK, actor="noise", episodes=1, env=ENV, planner=PLANNER)
EVALUATE = EvaluateSettings(task=TASK, actor="simulator", episodes=2, env=ENV, planner=PLANNER, threads=2, video=False)
ONLINE = OnlineSettings(
    task=TASK,
    episodes=2,
    random_episodes=1,
    round_steps=2,
    final_round_steps=2,
    env=ENV,
    planner=PLANNER,
    model=WorldModelConfig(chunk=2, generator=GeneratorConfig(width=8, depth=1, noise_size=2)),
    training=TrainingConfig(batch_size=4),
)


class UnexpectedError(Exception):
    """What nobody expected."""


def fail(*_, **__):
    raise UnexpectedError


@pytest.fixture(autouse=True)
def still_open(monkeypatch):
    """What is open: environments of the suite, and the threads of simulators."""
    found = []

    def watch(kind):
        make, close = kind.__init__, kind.close

        def made(self, *given, **named):
            make(self, *given, **named)
            found.append(self)

        def closed(self):
            found.remove(self)
            close(self)

        monkeypatch.setattr(kind, "__init__", made)
        monkeypatch.setattr(kind, "close", closed)

    watch(DmControlEnv)
    watch(RolloutPool)
    return found


@pytest.mark.parametrize("actor", ["noise", "simulator"])
def test_collecting(tmp_path, monkeypatch, still_open, actor):
    settings = replace(COLLECT, actor=actor)
    collect(settings, RunFolder(tmp_path / "whole"), device=CPU)
    assert still_open == []
    monkeypatch.setattr(collect_module, "run_episodes", fail)
    with pytest.raises(UnexpectedError):
        collect(settings, RunFolder(tmp_path / "failed"), device=CPU)
    assert still_open == []


def test_evaluating_the_simulator_stops_its_threads(tmp_path, monkeypatch, still_open):
    evaluate(EVALUATE, RunFolder(tmp_path / "whole"), device=CPU)
    assert still_open == []
    monkeypatch.setattr(evaluate_module, "run_episodes", fail)
    with pytest.raises(UnexpectedError):
        evaluate(EVALUATE, RunFolder(tmp_path / "failed"), device=CPU)
    assert still_open == []


def test_a_simulator_that_cannot_be_planned_in_as_asked(tmp_path, still_open):
    settings = replace(EVALUATE, objective=ObjectiveSettings(name="goal", goal=[1.0]))
    with pytest.raises(ValueError, match=r"objective\.goal"):
        evaluate(settings, RunFolder(tmp_path), device=CPU)
    assert still_open == []


def test_learning_online(tmp_path, monkeypatch, still_open):
    monkeypatch.setattr(online_loop, "fit_round", fail)
    with pytest.raises(UnexpectedError):
        online(ONLINE, RunFolder(tmp_path), device=CPU)
    assert still_open == []


def test_an_evaluation_on_the_way(tmp_path, monkeypatch, still_open):
    act = online_loop.run_episodes

    def run_episodes(*given, title, **named):
        return fail() if title.startswith("evaluate") else act(*given, title=title, **named)

    monkeypatch.setattr(online_loop, "run_episodes", run_episodes)
    with pytest.raises(UnexpectedError):
        online(replace(ONLINE, progress_every=1, progress_episodes=2), RunFolder(tmp_path), device=CPU)
    assert still_open == []


def test_a_run_that_is_refused(tmp_path, still_open):
    with pytest.raises(ValueError, match=r"planner\.horizon=5"):
        online(replace(ONLINE, planner=replace(PLANNER, horizon=5)), RunFolder(tmp_path), device=CPU)
    assert still_open == []


def test_acting_again(tmp_path, monkeypatch, still_open):
    data = collect(COLLECT, RunFolder(tmp_path / "data"), device=CPU)["file"]
    monkeypatch.setattr(data_replay, "replay_demo", fail)
    with pytest.raises(UnexpectedError):
        data_replay.replay(ReplaySettings(data=data), RunFolder(tmp_path / "replay"))
    assert still_open == []


def test_rehearsing(monkeypatch, still_open):
    monkeypatch.setattr(ceiling, "RehearsedWorld", fail)
    with pytest.raises(UnexpectedError):
        ceiling.rehearsed_row(
            Row("ranking", "", 1, 1, {}), None, None, ENV, DemonstrationsSettings(task=TASK, episodes=2)
        )
    assert still_open == []


def test_the_truth(tmp_path, monkeypatch, still_open):
    monkeypatch.setattr(risk_case, "run_episodes", fail)
    with pytest.raises(UnexpectedError):
        risk_case.risk_rows(SIMULATOR, 1, tmp_path, TruthSettings(episodes=5))
    assert still_open == []
    monkeypatch.setattr(world_cases, "run_episodes", fail)
    (tmp_path / "data").mkdir()
    with pytest.raises(UnexpectedError):
        world_cases.collect_case(risk_case.CASE, tmp_path, TruthSettings())
    assert still_open == []


def test_the_first_environments_where_the_next_cannot_be_made(monkeypatch, still_open):
    from drift_wm.acting import env_workers

    make, made = env_workers.make_env, []

    def make_env(task, settings):
        if len(made) == 2:
            fail()
        made.append(make(task, settings))
        return made[-1]

    monkeypatch.setattr(env_workers, "make_env", make_env)
    with pytest.raises(UnexpectedError), open_environments(TASK, ENV, count=3):
        pytest.fail("made")
    assert len(made) == 2
    assert still_open == []
