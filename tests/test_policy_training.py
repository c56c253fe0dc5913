"""Policies through training, checkpoints and the command line."""

import json
import re
import signal
from dataclasses import replace

import pytest
import torch

from drift_wm.cli import main
from drift_wm.datasets.replay import Replay
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Batch, Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import train
from drift_wm.learning.trainer import Trainer
from drift_wm.models.behaviour import PolicyConfig, PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.learned import load_policy, load_world_model, stored_shape
from drift_wm.settings import TrainSettings
from drift_wm.storage.checkpoint import Checkpoint, load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint
from drift_wm.storage.run_folder import RunFolder
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
CPU = torch.device("cpu")


def generator(name: str = "drifting") -> GeneratorConfig:
    return GeneratorConfig(name=name, width=32, depth=2, noise_size=2, steps=4)


class Interrupt:
    """Training data, and Ctrl-C in the step of the last of some batches."""

    def __init__(self, windows: Windows, after: int) -> None:
        self.windows, self.left = windows, after

    def sample(self, size: int, rng: torch.Generator) -> Batch:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return self.windows.sample(size, rng)


@pytest.mark.parametrize("name", ["drifting", "distilled"])
def test_a_stopped_round_goes_on_bit_for_bit(tmp_path, linear_episodes, name):
    config = PolicyConfig(history=2, chunk=2, generator=generator(name))
    training = TrainingConfig(batch_size=8, warmup=2)
    windows = Windows(linear_episodes, history=2, chunk=2)
    through = Trainer(SPEC, config, training, seed=0)
    through.train_round(windows, 20)
    stopped, path = Trainer(SPEC, config, training, seed=0), tmp_path / "round_0000.pt"
    with pytest.raises(KeyboardInterrupt):
        stopped.train_round(Interrupt(windows, 13), 20, save_to=path)
    resumed = Trainer(SPEC, config, training, seed=99)
    resumed.restore(load_checkpoint(path))
    resumed.train_round(windows, 20, save_to=path)
    assert resumed.id() == through.id()
    checkpoint = load_checkpoint(path)
    assert checkpoint.kind == "policy"
    loaded = load_policy(checkpoint)
    assert (loaded.spec, loaded.config) == (SPEC, config)
    obs = torch.randn(2, 2, 3, generator=rng())
    assert torch.equal(loaded.sample(obs, rng=rng(1)), through.averaged.sample(obs, rng=rng(1)))


def saved(tmp_path, config) -> Checkpoint:
    trainer = Trainer(SPEC, config, TrainingConfig(), seed=0)
    trainer.save(tmp_path / "model.pt")
    return load_checkpoint(tmp_path / "model.pt")


def test_each_kind_of_checkpoint_is_refused_as_the_other(tmp_path):
    policy = saved(tmp_path, PolicyConfig(chunk=2, generator=generator()))
    with pytest.raises(ValueError, match=r"of a world model, found \w+ of kind 'policy'; actor=policy acts by it"):
        load_world_model(policy)
    world_model = saved(tmp_path, WorldModelConfig(chunk=2, generator=generator()))
    with pytest.raises(ValueError, match=r"of a policy, found \w+ of kind 'world_model'; actor=model plans in it"):
        load_policy(world_model)
    with pytest.raises(ValueError, match="of a policy"):
        Trainer(SPEC, PolicyConfig(), TrainingConfig(), seed=0).restore(world_model)
    object.__setattr__(policy, "kind", "sketch")
    with pytest.raises(ValueError, match=r"kind 'sketch'$"):
        load_policy(policy)
    with pytest.raises(ValueError, match="does not know"):
        stored_shape(policy)


def test_a_policy_of_another_shape_is_refused_but_what_it_executes_may_change(tmp_path):
    checkpoint = saved(tmp_path, PolicyConfig(chunk=4, generator=generator()))
    with pytest.raises(ValueError, match=r"history \(checkpoint 1, here 2\), chunk \(checkpoint 4, here 3\)"):
        Trainer(SPEC, PolicyConfig(2, 3, generator=generator()), TrainingConfig(), seed=0).restore(checkpoint)
    other = Trainer(SPEC, PolicyConfig(chunk=4, execute=1, generator=generator()), TrainingConfig(), seed=1)
    other.restore(checkpoint)
    assert other.id() == checkpoint.id


def test_a_policy_trained_on_is_one_more_round(tmp_path, linear_episodes):
    file = Replay.open(tmp_path / "logs.hdf5", env_args={"env_name": "linear"})
    for episode in linear_episodes:
        file.append(episode)
    asked = {
        "data": str(tmp_path / "logs.hdf5"),
        "kind": "policy",
        "steps": 5,
        "policy": PolicySettings(chunk=2),
        "model": WorldModelConfig(generator=generator()),
        "training": TrainingConfig(batch_size=8),
    }
    first = train(TrainSettings(**asked), RunFolder(tmp_path / "first"), device=CPU)
    assert first["kind"] == "policy"
    assert {"loss", "energy_score", "held_out_energy_score", "held_out_error"} <= set(first["metrics"])
    child = TrainSettings(**asked, parent=str(tmp_path / "first"))
    second = train(child, RunFolder(tmp_path / "second"), device=CPU)
    assert second["steps"] == 10
    assert load_checkpoint(newest_checkpoint(tmp_path / "second")).parent == first["model_id"]
    assert train(child, RunFolder(tmp_path / "second"), device=CPU)["model_id"] == second["model_id"]


def test_actions_beyond_the_bounds_are_told_of(tmp_path, linear_episodes, caplog):
    shares = {}
    for name, factor in (("inside", 0.9), ("beyond", 2.0)):
        file = Replay.open(tmp_path / f"{name}.hdf5", env_args={"env_name": "linear"})
        for episode in linear_episodes:
            file.append(replace(episode, actions=factor * episode.actions))
        asked = TrainSettings(
            data=str(file.path),
            kind="policy",
            steps=2,
            policy=PolicySettings(chunk=2),
            model=WorldModelConfig(generator=generator()),
            training=TrainingConfig(batch_size=8),
        )
        shares[name] = train(asked, RunFolder(tmp_path / name), device=CPU)["actions_beyond_bounds"]
    assert shares["inside"] == 0
    assert 0.4 < shares["beyond"] < 0.6, "of twice what is uniform in [-1, 1]"
    assert caplog.text.count("learned as they were recorded") == 1


def test_collect_train_and_act_on_the_command_line(tmp_path, capsys):
    tiny = ["task=cartpole-swingup", "env.action_repeat=50"]
    assert main(["collect", *tiny, "episodes=2", f"run_dir={tmp_path}/data"]) == 0
    asked = ["kind=policy", "model=regression", "policy.chunk=4", "model.generator.width=16", "steps=5"]
    data = f"data={tmp_path}/data/episodes.hdf5"
    assert main(["train", data, *asked, "training.batch_size=8", f"run_dir={tmp_path}/policy"]) == 0
    assert re.search(r"energy score +│ +[\d.]+ +│ +[\d.]+ ", capsys.readouterr().out)
    acting = ["evaluate", f"checkpoint={tmp_path}/policy", "episodes=2", "video=false"]
    assert main([*acting, "actor=policy", f"run_dir={tmp_path}/eval"]) == 0
    results = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert (results["task"], results["action_repeat"]) == ("cartpole-swingup", 50), "the data name their world"
    (row,) = results["evaluations"]
    assert (row["name"], row["n"]) == ("regression policy", 2)
    collecting = ["collect", "actor=policy", f"checkpoint={tmp_path}/policy", "episodes=1"]
    assert main([*collecting, f"run_dir={tmp_path}/again"]) == 0
    capsys.readouterr()
    assert main([*acting, "actor=policy", "execute=5", f"run_dir={tmp_path}/long"]) == 2
    assert "execute=5: expected an integer from 1 to the policy's chunk, 4" in capsys.readouterr().err
    assert main([*acting, f"run_dir={tmp_path}/wrong"]) == 2
    assert "actor=policy acts by it" in capsys.readouterr().err
