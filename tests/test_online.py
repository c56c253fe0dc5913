"""The main job on a small budget: what it leaves behind, that it resumes, and that it survives being killed."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drift_wm.acting import evaluate as evaluate_module
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.generators import GeneratorConfig
from drift_wm.help import describe
from drift_wm.learning import online as online_module
from drift_wm.learning import online_loop
from drift_wm.learning.online import online
from drift_wm.learning.online_loop import OnlineRun
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.objective_settings import ObjectiveSettings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.novelty import Novelty
from drift_wm.planners.objectives import ActionPenalty, GoalDistance, PredictedReturn
from drift_wm.results import Evaluation
from drift_wm.settings import OnlineSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import checkpoints_of
from drift_wm.storage.run_folder import RunFolder
from drift_wm.wording import with_error
from helpers import read_results

CPU = torch.device("cpu")
SMALL = OnlineSettings(
    task="cartpole-swingup",
    episodes=4,
    random_episodes=1,
    episode_decisions=30,
    round_steps=8,
    final_round_steps=12,
    evaluation_episodes=2,
    env=EnvSettings(action_repeat=20, render_width=64, render_height=48),
    planner=ICEMConfig(horizon=4, candidates=16, iterations=2, elites=4),
    model=WorldModelConfig(chunk=2, generator=GeneratorConfig(width=16, depth=2, noise_size=2)),
    training=TrainingConfig(batch_size=16, checkpoint_every=3),
)
SMALL_OVERRIDES = [setting for setting, _ in describe(SMALL)]


def what_was_learned(path: Path) -> tuple[list[str], list[np.ndarray]]:
    """Ids of the lineage, and the observations of every episode."""
    ids = [load_checkpoint(file).id for file in checkpoints_of(path)]
    return ids, [episode.obs for episode in read_episodes(path / "replay.hdf5")]


def assert_same_run(a: Path, b: Path) -> None:
    (ids_a, obs_a), (ids_b, obs_b) = what_was_learned(a), what_was_learned(b)
    assert ids_a == ids_b
    assert len(obs_a) == len(obs_b) == SMALL.episodes
    for one, other in zip(obs_a, obs_b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("online") / "run"
    settings = replace(SMALL, reference_random_episodes=2, reference_simulator_episodes=1)
    online(settings, RunFolder(path), device=CPU)
    return path


def test_leaves_results_lineage_plot_film_and_page(finished):
    results = read_results(finished)
    assert results["frames"] == 4 * 30 * 20
    rows = {row["name"]: row for row in results["evaluations"]}
    assert list(rows) == ["drifting world model", "random", "true simulator"]
    assert [row["n"] for row in rows.values()] == [2, 2, 1]
    assert rows["random"]["seeds"] == rows["drifting world model"]["seeds"] == [4_000_000_000, 4_000_000_001]
    assert results["decision_ms"]["p50"] > 0
    assert [point["source"] for point in results["curve"]] == ["noise", "planner", "planner", "planner"]
    ids, _ = what_was_learned(finished)
    checkpoints = [load_checkpoint(file) for file in checkpoints_of(finished)]
    assert [checkpoint.parent for checkpoint in checkpoints] == [None, *ids[:-1]]
    assert [checkpoint.state["steps"] for checkpoint in checkpoints] == [8, 16, 24, 24 + 12]
    assert checkpoints[-1].config["task"] == {
        "name": "cartpole-swingup",
        "action_repeat": 20,
        "disturbance": {"name": "none"},
    }
    for name in ("learning_curve.png", "report.html", "best_episode.mp4", "replay.hdf5", "evaluation.hdf5"):
        assert (finished / name).stat().st_size > 0, name
    assert list(finished.glob("tensorboard/events*"))


def test_only_episodes_that_were_cut_are_scaled_and_spoken_of(finished, tmp_path):
    points = read_results(finished)["curve"]
    assert all(point["cut"] for point in points)
    page = (finished / "report.html").read_text()
    assert "cut off after 30 of 50 decisions" in page
    assert "whole episodes return more than that" in page
    run = OnlineRun(replace(SMALL, episode_decisions=0), RunFolder(tmp_path), device=CPU)
    whole = Episode(np.zeros((51, 5), np.float32), np.zeros((50, 1), np.float32), np.ones(50, np.float32), False)
    run.replay.append(whole)
    assert [(point.cut, point.value) for point in run.curve] == [(False, 50.0)]
    assert online_module._cut_notes(run) == []


def test_the_page_tells_amounts_as_its_table_does(finished):
    page = (finished / "report.html").read_text()
    row = Evaluation.from_dict(read_results(finished)["evaluations"][0])
    mean, error = with_error(row.mean, row.standard_error)
    assert f"reaches a mean return of {mean} ± {error} over 2 evaluation episodes." in page
    assert f"<td>{mean}</td><td>{error}</td><td>2</td>" in page
    assert re.search(r"Learning took [\d.]+ seconds, [\d.]+ of it collecting, [\d.]+ of it training\.", page)


def test_training_and_evaluation_share_no_reset_seed(finished):
    training = {episode.seed for episode in read_episodes(finished / "replay.hdf5")}
    evaluation = {episode.seed for episode in read_episodes(finished / "evaluation.hdf5")}
    assert not training & evaluation


def test_a_finished_run_is_not_done_again(finished, monkeypatch):
    before = what_was_learned(finished)[0]
    monkeypatch.setattr("drift_wm.learning.online_loop.run_episodes", lambda *a, **k: pytest.fail("collected again"))
    act = evaluate_module.run_episodes

    def only_to_time_decisions(*args, **kwargs):
        assert kwargs["source"] == "timing", "evaluated again"
        return act(*args, **kwargs)

    monkeypatch.setattr(evaluate_module, "run_episodes", only_to_time_decisions)
    settings = replace(SMALL, reference_random_episodes=2, reference_simulator_episodes=1)
    online(settings, RunFolder(finished), device=CPU)
    assert what_was_learned(finished)[0] == before


@pytest.mark.parametrize(
    ("asked", "rounds"),
    [
        ({"round_episodes": 2}, [(1, 2), (3, 2), (5, 2), (6, 3)]),
        ({"round_episodes": 5}, [(1, 2), (6, 3)]),
        ({"round_episodes": 9}, [(1, 2), (6, 3)]),
        ({"round_episodes": 2, "random_episodes": 6}, [(6, 3)]),
    ],
)
def test_rounds_of_several_episodes_end_with_one_that_has_seen_all(tmp_path, monkeypatch, asked, rounds):
    fit, made = online_loop.fit_round, []

    def recorded(trainer, known, steps, **rest):
        made.append((len(known), steps))
        return fit(trainer, known, steps, **rest)

    monkeypatch.setattr(online_loop, "fit_round", recorded)
    settings = replace(SMALL, episodes=6, episode_decisions=10, round_steps=2, final_round_steps=3, **asked)
    OnlineRun(settings, RunFolder(tmp_path), device=CPU).learn()
    assert made == rounds
    OnlineRun(settings, RunFolder(tmp_path), device=CPU).learn()
    assert made == rounds, "nothing is left to do"


@pytest.mark.parametrize("stop_at", [0, 3, 9, 13])
def test_interrupted_anywhere_the_run_goes_on_as_if_it_had_not(finished, tmp_path, monkeypatch, stop_at):
    from drift_wm.datasets.windows import Windows

    sample, calls = Windows.sample, iter(range(10_000))

    def interrupted(self, size, rng):
        if next(calls) == stop_at:
            signal.raise_signal(signal.SIGINT)
        return sample(self, size, rng)

    monkeypatch.setattr(Windows, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        OnlineRun(SMALL, RunFolder(tmp_path), device=CPU).learn()
    OnlineRun(SMALL, RunFolder(tmp_path), device=CPU).learn()
    assert_same_run(tmp_path, finished)


def test_killed_at_any_moment_the_run_goes_on_as_if_it_had_not(finished, tmp_path):
    """SIGKILL, three times, at moments nobody chose."""
    command = [sys.executable, "-m", "drift_wm", "online", *SMALL_OVERRIDES, f"run_dir={tmp_path}", "video=false"]
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (tmp_path / "replay.hdf5").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moments.uniform(0.0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "replay.hdf5").exists():
            OnlineRun(SMALL, RunFolder(tmp_path), device=CPU)  # what is there is whole
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert_same_run(tmp_path, finished)


def test_settings_that_do_not_fit_fail_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"planner\.horizon=5.*chunk of 2"):
        OnlineRun(replace(SMALL, planner=replace(SMALL.planner, horizon=5)), RunFolder(tmp_path), device=CPU)
    with pytest.raises(ValueError, match=r"carpole.*cartpole-swingup"):
        OnlineRun(replace(SMALL, task="carpole-swingup"), RunFolder(tmp_path), device=CPU)
    goal = ObjectiveSettings(name="goal", goal=[1.0])
    with pytest.raises(ValueError, match=r"objective\.goal=\[1\.0\]: expected 5 numbers"):
        OnlineRun(replace(SMALL, objective=goal), RunFolder(tmp_path), device=CPU)
    critics = replace(SMALL.model, value_discount=0.97)
    with pytest.raises(ValueError, match=r"proposals=16: expected at most 15.*planner\.candidates=16.*proposals=15"):
        OnlineRun(replace(SMALL, model=critics), RunFolder(tmp_path), device=CPU)


def test_a_folder_of_another_model_is_refused(finished):
    other = replace(SMALL, model=replace(SMALL.model, chunk=4))
    with pytest.raises(ValueError, match=r"chunk \(checkpoint 2, here 4\)"):
        OnlineRun(other, RunFolder(finished), device=CPU)


def test_evaluations_on_the_way_are_kept_and_not_repeated(tmp_path, monkeypatch):
    settings = replace(SMALL, progress_every=2, progress_episodes=2)
    results = online(settings, RunFolder(tmp_path), device=CPU)
    assert [point["frames"] for point in results["progress"]] == [2 * 30 * 20, 4 * 30 * 20], "after rounds 2 and 4"
    assert [len(point["returns"]) for point in results["progress"]] == [2, 2]
    seconds = results["seconds"]
    assert list(seconds) == ["collecting", "training", "evaluating"]
    assert results["learning_seconds"] == pytest.approx(sum(seconds.values()))
    assert json.loads((tmp_path / "status.json").read_text()) == {"episodes": 4, "of": 4}
    (tmp_path / "progress.json").write_text(json.dumps(results["progress"][:1]))  # as a stop would leave it
    monkeypatch.setattr("drift_wm.learning.online_loop.fit_round", lambda *a, **k: pytest.fail("trained again"))
    again = online(settings, RunFolder(tmp_path), device=CPU)
    assert again["progress"] == results["progress"]
    spent_again = again["seconds"].pop("evaluating") - seconds.pop("evaluating")
    assert spent_again > 0, "what was lost is done again, and counts"
    assert again["seconds"] == seconds, "nothing else was done again"


def test_the_time_of_a_run_that_did_not_keep_it_is_not_guessed(tmp_path, finished):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "seconds.json").unlink()
    results = online(SMALL, RunFolder(tmp_path / "run"), device=CPU)
    assert (results["seconds"], results["learning_seconds"]) == (None, None)


def test_evaluations_on_the_way_change_nothing_else(tmp_path, finished):
    online(replace(SMALL, progress_every=1, progress_episodes=1), RunFolder(tmp_path), device=CPU)
    assert_same_run(tmp_path, finished)


def test_learns_a_task_of_gymnasium_that_ends(tmp_path):
    settings = replace(
        SMALL, task="InvertedPendulum-v5", env=EnvSettings(action_repeat=1), reference_random_episodes=2, video=False
    )
    results = online(settings, RunFolder(tmp_path), device=CPU)
    assert [row["name"] for row in results["evaluations"]] == ["drifting world model", "random"]
    episodes = read_episodes(tmp_path / "random.hdf5")
    assert all(episode.terminated for episode in episodes), "the pole falls"
    for point, episode in zip(results["curve"], read_episodes(tmp_path / "replay.hdf5"), strict=True):
        assert point["value"] == pytest.approx(episode.rewards.sum() * (1 if episode.terminated else 1000 / 30))


def test_evaluation_seeds_that_training_meets_are_refused(tmp_path):
    settings = replace(SMALL, seed=1, evaluation_seed=1001)
    with pytest.raises(ValueError, match=r"evaluation_seed=1001: .* reset seed 1001, too; .* the default 4000000000"):
        OnlineRun(settings, RunFolder(tmp_path), device=CPU)
    on_the_way = replace(SMALL, seed=1, evaluation_seed=997, evaluation_episodes=3, progress_episodes=4)
    with pytest.raises(ValueError, match=r"evaluation_seed=997: .* reset seed 1000, too"):
        OnlineRun(replace(on_the_way, progress_every=1), RunFolder(tmp_path), device=CPU)
    OnlineRun(replace(on_the_way, progress_every=0), RunFolder(tmp_path / "without"), device=CPU).close()
    OnlineRun(replace(SMALL, seed=1, evaluation_seed=2001), RunFolder(tmp_path), device=CPU).close()


@pytest.mark.parametrize(
    ("task", "rewards", "terminated", "novelty"),
    [
        ("pendulum-swingup", [0.0, 0.0, 0.0], False, True),
        ("pendulum-swingup", [0.0, 0.0, 1.0], False, False),
        ("InvertedPendulum-v5", [1.0, 1.0, 1.0], False, True),
        ("InvertedPendulum-v5", [1.0, 1.0, 1.0], True, False),
    ],
)
def test_collecting_seeks_novelty_as_long_as_nothing_pays(tmp_path, task, rewards, terminated, novelty):
    settings = replace(SMALL, task=task, env=EnvSettings(action_repeat=1))
    run = OnlineRun(settings, RunFolder(tmp_path), device=CPU)
    size, steps = run.env.task_spec, len(rewards)
    run.replay.append(
        Episode(
            obs=np.random.default_rng(1).normal(size=(steps + 1, size.observation_size)).astype(np.float32),
            actions=np.zeros((steps, size.action_size), np.float32),
            rewards=np.array(rewards, np.float32),
            terminated=terminated,
            seed=1,
            source="noise",
        )
    )
    assert isinstance(run._explorer().objective, Novelty) is novelty
    run.settings = replace(settings, objective=ObjectiveSettings(action_penalty=10.0))
    first, penalty = run._explorer().objective.terms
    assert (isinstance(first, Novelty), isinstance(penalty, ActionPenalty)) == (novelty, True)
    run.settings = replace(settings, objective=ObjectiveSettings("goal", goal=[0.0] * size.observation_size))
    assert isinstance(run._explorer().objective, GoalDistance), "whatever the world pays"
    run.settings = replace(settings, seek_novelty=False)
    assert isinstance(run._explorer().objective, PredictedReturn)
    assert isinstance(run._planner().objective, PredictedReturn)


def test_collecting_looks_ahead_as_evaluations_do(tmp_path):
    run = OnlineRun(SMALL, RunFolder(tmp_path), device=CPU)
    for particles in (0, 3):
        run.settings = replace(SMALL, particles=particles, seek_novelty=False)  # which would look at the replay
        explorer = run._explorer()
        assert isinstance(explorer.model, PreparedModel)
        assert explorer.model.central == (particles == 0), "chance in what is seen ahead is not asked for"
        assert explorer.particles == max(1, particles)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reference_simulator_episodes": 1}, "the true simulator plans in tasks of the dm_control suite only"),
        ({"env": EnvSettings(disturbance=DisturbanceConfig(name="gust"))}, "only tasks of the dm_control suite can be"),
    ],
)
def test_what_gymnasium_lacks_is_said(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        online(replace(SMALL, task="InvertedPendulum-v5", **changed), RunFolder(tmp_path), device=CPU)
