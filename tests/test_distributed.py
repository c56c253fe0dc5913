"""Training by several processes: the same as by one, where a loss is a mean over rows."""

import json
import subprocess
import sys

import pytest
import torch

from drift_wm.cli import main
from drift_wm.interfaces import Batch
from drift_wm.learning.distributed import Ranks, SharedLoss, ranks_of
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert main(["collect", "task=cartpole-swingup", "actor=random", "episodes=2", f"run_dir={folder}"]) == 0
    return folder / "episodes.hdf5"


def settings(data, folder, *, model):
    return [
        "train",
        f"data={data}",
        f"run_dir={folder}",
        f"model={model}",
        "model.generator.width=16",
        "steps=20",
        "training.log_every=10",
        "held_out_fraction=0",
        "device=cpu",
    ]


def torchrun(*arguments, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run([*command, "-m", "drift_wm", *arguments], capture_output=True, text=True, timeout=300)


def weights(folder):
    return load_checkpoint(newest_checkpoint(folder)).state["model"]


def test_two_processes_train_what_one_does(data, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert main(settings(data, alone, model="regression")) == 0
    done = torchrun(*settings(data, together, model="regression"))
    assert done.returncode == 0, done.stderr
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(together)[name], value, rtol=1e-4, atol=1e-5, msg=name)
    metrics = [json.loads((folder / "results.json").read_text())["metrics"] for folder in (alone, together)]
    assert metrics[1]["loss"] == pytest.approx(metrics[0]["loss"], rel=1e-4)


def test_shares_of_a_batch_make_its_loss(monkeypatch):
    rows = torch.arange(8.0)
    batch = Batch(obs=rows, actions=rows, reward=rows, ended=rows)
    assert SharedLoss(Rows(), Ranks())(batch, torch.Generator()) == rows.mean()
    shares = [shared_loss(monkeypatch, rank, batch) for rank in (0, 1)]
    assert shares == [[0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize("other", ["0123456789ab", "ba9876543210"])
def test_processes_go_on_from_one_parent(monkeypatch, other):
    """Each looks for the newest checkpoint by itself, perhaps of a run that still goes on."""
    seen = []

    def all_reduce(value, op):
        seen.append(value.clone())
        value.copy_(torch.maximum(seen[0], value))  # the second process meets what the first one had

    monkeypatch.setattr("drift_wm.learning.distributed.distributed.all_reduce", all_reduce)
    Ranks(0, 2).require_same(torch.device("cpu"), "from=runs/mine", "0123456789ab")
    if other == "0123456789ab":
        Ranks(1, 2).require_same(torch.device("cpu"), "from=runs/mine", other)
    else:
        with pytest.raises(ValueError, match=r"from=runs/mine: processes found different ones, here ba9876543210"):
            Ranks(1, 2).require_same(torch.device("cpu"), "from=runs/mine", other)


class Rows(torch.nn.Module):
    """A model whose loss is the mean of its rows."""

    def loss(self, batch, *, rng):
        self.seen = batch
        return batch.obs.mean()


def shared_loss(monkeypatch, rank, batch):
    """The rows that one of two processes computes its loss of."""
    monkeypatch.setattr("drift_wm.learning.distributed.DistributedDataParallel", lambda module, **_: module)
    monkeypatch.setattr(
        "drift_wm.learning.distributed.distributed.all_reduce", lambda value: value.fill_(2 * batch.obs.mean())
    )
    model, rng = Rows(), torch.Generator().manual_seed(0)
    assert SharedLoss(model, Ranks(rank, 2))(batch, rng) == batch.obs.mean()
    for part in (model.seen.actions, model.seen.reward, model.seen.ended):
        assert torch.equal(part, model.seen.obs)
    return model.seen.obs.tolist()


def test_each_process_has_noise_of_its_own_and_the_stream_goes_on_alike(monkeypatch):
    class Noise(torch.nn.Module):
        def loss(self, batch, *, rng):
            return torch.rand((), generator=rng)

    monkeypatch.setattr("drift_wm.learning.distributed.DistributedDataParallel", lambda module, **_: module)
    seen = []
    monkeypatch.setattr("drift_wm.learning.distributed.distributed.all_reduce", lambda value: seen.append(value.item()))
    rngs = [torch.Generator().manual_seed(0) for _ in range(2)]
    batch = Batch(*[torch.zeros(2)] * 3)
    for rank, rng in enumerate(rngs):
        SharedLoss(Noise(), Ranks(rank, 2))(batch, rng)
    assert seen[0] != seen[1]
    assert torch.equal(rngs[0].get_state(), rngs[1].get_state())


def test_batches_that_cannot_be_shared_out_are_refused():
    Ranks(0, 2).require_divides(256)
    with pytest.raises(ValueError, match=r"training.batch_size=255: expected a multiple of 2"):
        Ranks(0, 2).require_divides(255)


def test_what_several_processes_cannot_do_is_refused(monkeypatch):
    assert ranks_of("online", None) == Ranks(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert ranks_of("train", "runs/x") == Ranks(1, 2)
    assert not ranks_of("train", "runs/x").first
    with pytest.raises(ValueError, match="online under torchrun with 2 processes: expected train"):
        ranks_of("online", "runs/x")
    with pytest.raises(ValueError, match="run_dir=None: expected a folder that all 2 processes share"):
        ranks_of("train", None)
