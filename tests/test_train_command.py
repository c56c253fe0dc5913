"""Training from a file, as a user with logs would."""

import json
import shutil
import signal
from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest
import torch

from drift_wm.cli import main
from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.replay import Replay, read_env_args, write_episodes, write_masks
from drift_wm.datasets.split import split
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Spec
from drift_wm.learning.held_out import held_out_metrics
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import train
from drift_wm.models.behaviour import PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.learned import load_world_model
from drift_wm.recordings.inspection import inspect
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.recordings.settings import InspectSettings
from drift_wm.settings import TrainSettings
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import checkpoint_of_round, newest_checkpoint
from drift_wm.storage.run_folder import RunFolder

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path, linear_episodes):
    path, masks = tmp_path / "logs.hdf5", {"some": [0, 1, 2]}
    spec, finish = Spec(3, 2, 0.0), partial(write_masks, masks=masks)
    write_episodes(path, linear_episodes, env_args={"env_name": "linear"}, spec=spec, finish=finish)
    return path


def settings(data, **changes) -> TrainSettings:
    values = {
        "data": str(data),
        "steps": 12,
        "model": WorldModelConfig(chunk=2, generator=GeneratorConfig(width=16, depth=2, noise_size=2)),
        "training": TrainingConfig(batch_size=16, log_every=4),
    }
    return TrainSettings(**{**values, **changes})


def test_trains_measures_and_reports(tmp_path, data):
    folder = RunFolder(tmp_path / "run")
    results = train(settings(data, decision_seconds=0.1), folder, device=CPU)
    assert results == json.loads((folder.path / "results.json").read_text())
    assert (results["training_episodes"], results["held_out_episodes"], results["steps"]) == (5, 1, 12)
    assert {"loss", "energy_score", "held_out_energy_score", "held_out_open_loop_error"} <= set(results["metrics"])
    model = load_world_model(load_checkpoint(newest_checkpoint(folder.path)))
    assert (model.spec.observation_size, model.spec.action_size, model.spec.decision_seconds) == (3, 2, 0.1)


def test_a_finished_run_is_only_measured_again(tmp_path, data):
    folder = RunFolder(tmp_path / "run")
    first = train(settings(data), folder, device=CPU)
    again = train(settings(data), folder, device=CPU)
    assert again["model_id"] == first["model_id"]
    assert again["metrics"] == first["metrics"], "those of the last batch are kept"


def test_a_run_that_was_stopped_before_its_results_tells_what_it_would_have(tmp_path, data):
    folder = RunFolder(tmp_path / "run")
    first = train(settings(data), folder, device=CPU)
    (folder.path / "results.json").unlink()  # as if it had been killed while it measured held-out episodes
    assert train(settings(data), folder, device=CPU) == first


@pytest.mark.parametrize("kept", [3, 5])
def test_a_run_does_not_go_on_with_other_episodes_than_it_began_with(tmp_path, linear_episodes, kept):
    """Held out would be others, too, and some of them learned from before."""
    folder, logs = RunFolder(tmp_path / "run"), write_logs(tmp_path / "logs.hdf5", linear_episodes[:4])
    train(settings(logs), folder, device=CPU)
    logs.unlink()
    write_logs(logs, linear_episodes[:kept])
    with pytest.raises(ValueError, match=r"logs\.hdf5: these are not the observations, .* have changed: restore"):
        train(settings(logs), folder, device=CPU)
    child = train(settings(logs, parent=str(folder.path)), RunFolder(tmp_path / "child"), device=CPU)
    assert child["training_episodes"] + child["held_out_episodes"] == kept


@pytest.mark.parametrize("changed", ["obs", "rewards"])
def test_a_run_that_is_finished_is_not_measured_on_corrected_data(tmp_path, linear_episodes, changed):
    folder, logs = RunFolder(tmp_path / "run"), write_logs(tmp_path / "logs.hdf5", linear_episodes)
    train(settings(logs), folder, device=CPU)
    results = (folder.path / "results.json").read_bytes()
    corrected = [replace(each, **{changed: 1000 * getattr(each, changed)}) for each in linear_episodes]
    logs.unlink()
    write_logs(logs, corrected)
    with pytest.raises(ValueError, match="have changed: restore them, or train in another folder"):
        train(settings(logs), folder, device=CPU)
    assert (folder.path / "results.json").read_bytes() == results


def test_episodes_of_equal_actions_are_not_known_to_a_parent_that_there_is_not(tmp_path, linear_episodes, caplog):
    actions = linear_episodes[0].actions  # one excitation from several starts
    logs = write_logs(tmp_path / "same.hdf5", [replace(each, actions=actions) for each in linear_episodes])
    first, again = (train(settings(logs), RunFolder(tmp_path / "run"), device=CPU) for _ in range(2))
    assert again == first
    assert again["held_out_known_to_parent"] == 0
    assert "were among those that from=" not in caplog.text


@pytest.mark.parametrize("seed", range(4))
def test_a_child_that_is_gone_on_with_holds_out_what_it_did(tmp_path, data, linear_episodes, caplog, seed):
    """Also where what it learned from and what it held out share all actions, from several starts."""
    train(settings(data), RunFolder(tmp_path / "parent"), device=CPU)
    actions = linear_episodes[0].actions[::-1]
    excited = [replace(each, actions=actions) for each in linear_episodes]
    logs = write_logs(tmp_path / "more.hdf5", [*linear_episodes, *excited])
    child = settings(logs, parent=str(tmp_path / "parent"), seed=seed, held_out_fraction=0.2)
    first, again = (train(child, RunFolder(tmp_path / "child"), device=CPU) for _ in range(2))
    assert again == first
    assert first["held_out_known_to_parent"] == 0
    assert "were among those that from=" not in caplog.text


def test_a_finished_child_does_not_follow_a_parent_that_went_on(tmp_path, data):
    first = RunFolder(tmp_path / "first")
    train(settings(data), first, device=CPU)
    child = settings(data, parent=str(first.path), steps=5)
    second = train(child, RunFolder(tmp_path / "second"), device=CPU)
    shutil.copy(newest_checkpoint(tmp_path / "second"), checkpoint_of_round(first.path, 1))  # as if its run had gone on
    again = train(child, RunFolder(tmp_path / "second"), device=CPU)
    assert (again["steps"], again["checkpoint"]) == (second["steps"], second["checkpoint"])
    assert len(list((tmp_path / "second" / "checkpoints").iterdir())) == 1


def test_another_order_of_observation_keys_than_the_parents_is_named(tmp_path, data, caplog):
    first = RunFolder(tmp_path / "first")
    first.write_config("train", settings(data, obs_keys=["state"]))
    train(settings(data, obs_keys=["state"]), first, device=CPU)
    child = settings(data, parent=str(first.path), obs_keys=["state"])
    train(child, RunFolder(tmp_path / "second"), device=CPU)
    assert "observation keys" not in caplog.text
    train(replace(child, obs_keys=None), RunFolder(tmp_path / "same"), device=CPU)
    assert "observation keys" not in caplog.text, "of the only key there is nothing else"
    with h5py.File(data, "r+") as file:  # another robot's log, whose observations are as wide
        for demo in file["data"].values():
            for name in ("obs", "next_obs"):
                demo[name].move("state", "flange")
    train(replace(child, obs_keys=None), RunFolder(tmp_path / "third"), device=CPU)
    assert '["state"], but this run reads ["flange"]' in caplog.text


def write_logs(path, episodes, **attributes):
    replay = Replay.open(path, env_args={"env_name": "linear"})
    for episode in episodes:
        replay.append(episode)
    with h5py.File(path, "r+") as file:
        file["data"].attrs.update(attributes)
    return path


@pytest.mark.parametrize(("steps", "factor", "warned"), [(400, 1, False), (400, -10, True), (2, -10, False)])
def test_a_model_that_knows_its_episodes_by_heart_is_named(tmp_path, linear_episodes, caplog, steps, factor, warned):
    _, held_out = split(linear_episodes, 0.1, seed=1)
    changed = [
        replace(each, actions=each.actions * np.float32(factor)) if any(each is other for other in held_out) else each
        for each in linear_episodes
    ]
    logs = write_logs(tmp_path / "logs.hdf5", changed)
    asked = settings(logs, steps=steps, training=TrainingConfig(batch_size=64, warmup=0))
    found = train(asked, RunFolder(tmp_path / "run"), device=CPU)["metrics"]
    poor = found["held_out_open_loop_error"] > found["held_out_open_loop_persistence"]
    assert poor is (warned or steps == 2)
    assert ("training.weight_decay=0.3 or 1 (it is 0.0001)" in caplog.text) is warned


def test_episodes_shorter_than_a_chunk_are_named(tmp_path, linear_episodes, caplog):
    whole = linear_episodes[0]
    short = [
        replace(each, obs=each.obs[:4], actions=each.actions[:3], rewards=each.rewards[:3])
        for each in linear_episodes[1:]
    ]
    logs = write_logs(tmp_path / "short.hdf5", [whole, *short])
    model = WorldModelConfig(chunk=2, self_rollout=2, generator=GeneratorConfig(width=16, depth=2, noise_size=2))
    asked = settings(logs, model=model, held_out_fraction=0.0)
    results = train(asked, RunFolder(tmp_path / "run"), device=CPU)
    assert (results["training_episodes"], results["training_episodes_too_short"]) == (6, 5)
    assert "5 of 6 training episodes are shorter than the 4 steps" in caplog.text
    assert "model.chunk or model.self_rollout" in caplog.text
    shape = {"model": WorldModelConfig(generator=model.generator), "policy": PolicySettings(chunk=4)}
    asked = settings(logs, kind="policy", steps=1, held_out_fraction=0.0, **shape)
    train(asked, RunFolder(tmp_path / "policy"), device=CPU)
    assert "set a smaller policy.chunk to use them" in caplog.text


@pytest.mark.parametrize(
    ("distinct", "copies", "kept"), [(1, 5, "none is held out"), (3, 3, "held out, or learned from, together")]
)
def test_copies_are_named_and_why_none_is_held_out(tmp_path, linear_episodes, caplog, distinct, copies, kept):
    logs = write_logs(tmp_path / "copies.hdf5", linear_episodes[:distinct] * (6 // distinct))
    asked = settings(logs, steps=1, held_out_fraction=0.6)
    assert (train(asked, RunFolder(tmp_path / "run"), device=CPU)["held_out_episodes"] == 0) == (distinct == 1)
    found = inspect(InspectSettings(data=str(logs)), RunFolder(tmp_path / "looked"))
    for notes in (caplog.messages, found.warnings):
        assert [kept in note for note in notes if f"{copies} of 6 demonstrations are copies of others" in note] == [
            True
        ]


def test_the_only_long_episode_that_is_held_out_is_not_called_missing(tmp_path, linear_episodes):
    whole, other = linear_episodes[:2]
    short = replace(other, obs=other.obs[:2], actions=other.actions[:1], rewards=other.rewards[:1])
    logs, refused = write_logs(tmp_path / "two.hdf5", [whole, short]), []
    for seed in range(8):
        try:
            train(settings(logs, seed=seed, steps=1), RunFolder(tmp_path / f"run{seed}"), device=CPU)
        except ValueError as error:
            refused.append(str(error))
    assert refused
    assert all("1 long enough are held out: set held_out_fraction=0" in told for told in refused)


def test_a_request_that_is_refused_does_not_block_the_corrected_one(tmp_path, data, capsys):
    asked = ["train", f"data={data}", "steps=1", "model.generator.width=16", f"run_dir={tmp_path}/run"]
    assert main([*asked, "model.chunk=100"]) == 2
    assert "no window of chunk = 100 steps" in capsys.readouterr().err
    assert main([*asked, "model.chunk=5"]) == 0


def test_ends_and_keys_that_are_not_learned_are_named(tmp_path, data, caplog):
    with h5py.File(data, "r+") as file:
        for number, demo in enumerate(file["data"].values()):
            del demo.attrs["terminated"]
            demo["dones"][-1] = 1
            if number:
                demo["obs/extra"] = np.zeros((40, 1))
    for keys, count in ((None, 2), (["state"], 1)):
        caplog.clear()
        train(settings(data, obs_keys=keys), RunFolder(tmp_path / f"run{count}"), device=CPU)
        told = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert len(told) == count
        assert "every demo ends with done" in told[0]
        assert "set the attribute terminated" in told[0]


def test_rewards_of_some_demos_alone_are_named(tmp_path, data, caplog):
    told = "1 of 3 demonstrations have no rewards, and count as if all of theirs were 0; the others as recorded"

    def warned(name, **asked):
        caplog.clear()
        train(settings(data, mask="some", allow_missing_rewards=True, **asked), RunFolder(tmp_path / name), device=CPU)
        return told in caplog.text

    assert not warned("all")
    with h5py.File(data, "r+") as file:
        del file["data/demo_1/rewards"]
    assert warned("two")
    policy = PolicySettings(chunk=2)
    assert not warned("policy", kind="policy", policy=policy, model=WorldModelConfig()), "which learns from none"
    with h5py.File(data, "r+") as file:
        del file["data/demo_0/rewards"], file["data/demo_2/rewards"]
    assert not warned("none"), "all alike: planning tells of it"


@pytest.mark.parametrize(("asked", "found"), [(0.0, 0.05), (0.2, 0.2)])
def test_the_pace_is_that_of_the_data_unless_told(tmp_path, linear_episodes, asked, found):
    logs = write_logs(tmp_path / "paced.hdf5", linear_episodes, decision_seconds=0.05)
    folder = RunFolder(tmp_path / "run")
    train(settings(logs, decision_seconds=asked), folder, device=CPU)
    assert load_checkpoint(newest_checkpoint(folder.path)).config["spec"]["decision_seconds"] == found


@pytest.mark.parametrize(
    ("factor", "said"),
    [(100.0, "to plan with the model, drift-wm data convert"), (0.001, "(counted from 0: 0"), (1, "")],
)
def test_actions_in_other_units_than_a_planners_are_named(tmp_path, linear_episodes, caplog, factor, said):
    scaled = [replace(each, actions=each.actions * np.float32(factor)) for each in linear_episodes]
    train(settings(write_logs(tmp_path / "units.hdf5", scaled)), RunFolder(tmp_path / "run"), device=CPU)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert any(said in warning for warning in warnings) if said else warnings == []


def test_actions_at_bounds_that_were_rounded_are_within_them(tmp_path, linear_episodes):
    """As a single-precision action of 0.3 is, where a robot's bounds are 0 and 0.3."""
    bounds = ActionBounds.of([0.0], [0.3], size=2)
    largest = bounds.to_unit(np.full_like(linear_episodes[0].actions, 0.3))
    assert (largest > 1).all()
    logs = write_logs(tmp_path / "largest.hdf5", [replace(each, actions=largest) for each in linear_episodes])
    assert train(settings(logs), RunFolder(tmp_path / "run"), device=CPU)["actions_beyond_bounds"] == 0


def test_going_on_from_a_parent_is_one_more_round(tmp_path, data):
    first = train(settings(data), RunFolder(tmp_path / "first"), device=CPU)
    child = settings(data, parent=str(tmp_path / "first"), steps=5, mask="some")
    folder = RunFolder(tmp_path / "second")
    second = train(child, folder, device=CPU)
    assert second["steps"] == 17
    checkpoint = load_checkpoint(newest_checkpoint(folder.path))
    assert checkpoint.parent == first["model_id"]
    assert train(child, folder, device=CPU)["model_id"] == second["model_id"]


def test_going_on_from_a_parent_that_was_stopped_is_a_round_of_its_own(tmp_path, data, monkeypatch):
    sample = Windows.sample

    def stopped(self, size, rng):
        signal.raise_signal(signal.SIGINT)
        return sample(self, size, rng)

    with monkeypatch.context() as patch:
        patch.setattr(Windows, "sample", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(settings(data), RunFolder(tmp_path / "first"), device=CPU)
    parent = load_checkpoint(newest_checkpoint(tmp_path / "first"))
    assert (parent.state["round_step"], parent.state["rounds"]) == (1, 0)
    child = train(settings(data, parent=str(tmp_path / "first"), steps=5), RunFolder(tmp_path / "second"), device=CPU)
    assert child["steps"] == 1 + 5
    checkpoint = load_checkpoint(newest_checkpoint(tmp_path / "second"))
    assert (checkpoint.parent, checkpoint.state["rounds"]) == (parent.id, 2)
    assert child["model_id"] != parent.id


def test_children_of_one_parent_differ_by_their_seed(tmp_path, data):
    train(settings(data), RunFolder(tmp_path / "first"), device=CPU)
    asked = {"parent": str(tmp_path / "first"), "held_out_fraction": 0.0}
    found = {
        (seed, attempt): train(settings(data, seed=seed, **asked), RunFolder(tmp_path / f"{seed}{attempt}"), device=CPU)
        for seed in (1, 2)
        for attempt in "ab"
    }
    assert found[1, "a"]["model_id"] == found[1, "b"]["model_id"]
    assert found[1, "a"]["model_id"] != found[2, "a"]["model_id"]


def test_what_a_parent_learned_from_is_not_held_out(tmp_path, data, linear_episodes, caplog):
    """Whatever the child's seed is, and also where it goes on with a run that has begun."""
    names = frozenset().union(*(episode.fingerprints for episode in linear_episodes))
    train(settings(data, held_out_fraction=0.34), RunFolder(tmp_path / "first"), device=CPU)
    parent = load_checkpoint(newest_checkpoint(tmp_path / "first"))
    assert sum(episode.is_among(parent.learned_from) for episode in linear_episodes) == 4
    for seed in (2, 3):
        child = settings(data, parent=str(tmp_path / "first"), seed=seed)
        folder = RunFolder(tmp_path / f"second{seed}")
        first = train(child, folder, device=CPU)
        assert (first["held_out_episodes"], first["held_out_known_to_parent"]) == (1, 0)
        learned_from = load_checkpoint(newest_checkpoint(folder.path)).learned_from
        assert parent.learned_from < learned_from < names
        again = train(child, folder, device=CPU)
        assert again["metrics"]["held_out_energy_score"] == first["metrics"]["held_out_energy_score"]
    assert "held-out episodes" not in caplog.text
    larger = settings(data, parent=str(tmp_path / "second2"), held_out_fraction=0.5)
    assert train(larger, RunFolder(tmp_path / "third"), device=CPU)["held_out_known_to_parent"] == 2
    assert "2 of 3 held-out episodes were among those that" in caplog.text


def test_measures_what_the_episodes_allow(linear_episodes):
    from drift_wm.models.world_model import LearnedWorldModel

    model = LearnedWorldModel(Spec(3, 2, 0.1), WorldModelConfig(chunk=30), rng=torch.Generator().manual_seed(0))
    measured = held_out_metrics(model, linear_episodes, seed=0)
    assert set(measured) == {"energy_score", "error", "spread", "open_loop_error", "open_loop_persistence"}
    assert held_out_metrics(model, [], seed=0) == {}
    long_chunk = LearnedWorldModel(Spec(3, 2, 0.1), WorldModelConfig(chunk=41), rng=torch.Generator().manual_seed(0))
    assert held_out_metrics(long_chunk, linear_episodes, seed=0) == {}


@pytest.mark.parametrize("damage", ["truncated", "foreign", "nan", "missing"])
def test_bad_data_is_refused_by_name(tmp_path, data, damage):
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:2000])
    elif damage == "foreign":
        with h5py.File(data, "w") as file:
            file["x"] = [1, 2]
    elif damage == "nan":
        with h5py.File(data, "r+") as file:
            rewards = file["data/demo_1/rewards"]
            rewards[3] = np.nan
    else:
        data.unlink()
    with pytest.raises(ValueError, match=r"logs\.hdf5"):
        train(settings(data), RunFolder(tmp_path / "run"), device=CPU)


def test_a_parent_of_other_dimensions_is_refused(tmp_path, data):
    train(settings(data), RunFolder(tmp_path / "first"), device=CPU)
    other = WorldModelConfig(chunk=3, generator=GeneratorConfig(width=16, depth=2, noise_size=2))
    with pytest.raises(ValueError, match=r"chunk \(checkpoint 2, here 3\)"):
        train(settings(data, parent=str(tmp_path / "first"), model=other), RunFolder(tmp_path / "second"), device=CPU)
    with pytest.raises(ValueError, match="no checkpoint at"):
        train(settings(data, parent=str(tmp_path / "nowhere")), RunFolder(tmp_path / "third"), device=CPU)


def test_a_file_names_the_task_that_its_checkpoints_carry(tmp_path):
    world = {"action_repeat": 2, "disturbance": {"name": "none"}}
    file = tmp_path / "ours.hdf5"
    Replay.open(file, env_args={"env_name": "reacher-easy", "env_kwargs": world})
    assert read_env_args(file)["env_kwargs"] == world
    assert recorded_task(str(file)) == {"name": "reacher-easy", **world}
    with h5py.File(file, "r+") as theirs:
        theirs["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"robots": ["Panda"]}})
    assert recorded_task(str(file)) is None
    with h5py.File(file, "r+") as unnamed:
        del unnamed["data"].attrs["env_args"]
    assert recorded_task(str(file)) is None


@pytest.mark.parametrize("repeat", [None, "2", 2.5, 0, True])
def test_an_action_repeat_that_is_none_is_refused(data, repeat):
    with h5py.File(data, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "toy", "env_kwargs": {"action_repeat": repeat}})
    with pytest.raises(ValueError, match=rf"{data}: action_repeat in env_args of data is {repeat!r}, expected a whole"):
        recorded_task(str(data))


@pytest.mark.parametrize("text", ["{", "[1]", 3])
def test_an_unreadable_name_of_the_environment_is_refused(data, text):
    with h5py.File(data, "r+") as file:
        file["data"].attrs["env_args"] = text
    with pytest.raises(ValueError, match=r"logs\.hdf5: env_args of data is .*repair or remove it"):
        read_env_args(data)


@pytest.fixture
def without_rewards(data):
    with h5py.File(data, "r+") as file:
        for demo in file["data"].values():
            del demo["rewards"]
    return data


def test_a_policy_needs_no_rewards(without_rewards, tmp_path):
    shape = WorldModelConfig(generator=GeneratorConfig(width=16, depth=2, noise_size=2))
    results = train(settings(without_rewards, kind="policy", model=shape), RunFolder(tmp_path / "run"), device=CPU)
    assert results["kind"] == "policy"


def test_a_world_model_takes_zeros_for_missing_rewards_only_if_told_to(without_rewards, tmp_path):
    with pytest.raises(ValueError, match="has no rewards"):
        train(settings(without_rewards), RunFolder(tmp_path / "run"), device=CPU)
    allowed = settings(without_rewards, allow_missing_rewards=True)
    results = train(allowed, RunFolder(tmp_path / "run"), device=CPU)
    assert results["training_episodes"] == 5


def test_trains_on_a_dataset_of_minari(tmp_path, linear_episodes):
    root = tmp_path / "linear-v0"
    (root / "data").mkdir(parents=True)
    with h5py.File(root / "data" / "main_data.hdf5", "w") as file:
        for i, episode in enumerate(linear_episodes):
            group = file.create_group(f"episode_{i}")
            group["observations"], group["actions"] = episode.obs, episode.actions
            group["rewards"] = episode.rewards
            group["terminations"] = np.zeros(len(episode), bool)
    results = train(settings(root), RunFolder(tmp_path / "run"), device=CPU)
    checkpoint = load_checkpoint(newest_checkpoint(tmp_path / "run"))
    assert checkpoint.config["task"] is None
    assert results["training_episodes"] + results["held_out_episodes"] == 6
