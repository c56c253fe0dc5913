import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from drift_wm.storage.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint, weights_id


def example() -> Checkpoint:
    weights = {"w": torch.arange(6.0).view(2, 3)}
    state = {"averaged": weights, "steps": 3, "learned_from": ["0123456789abcdef"]}
    return Checkpoint(weights_id(weights), None, "world_model", {"lr": 0.1}, state)


def test_round_trip(tmp_path):
    save_checkpoint(tmp_path / "deep" / "c.pt", example())
    loaded = load_checkpoint(tmp_path / "deep" / "c.pt")
    assert torch.equal(loaded.state["averaged"]["w"], example().state["averaged"]["w"])
    assert loaded.learned_from == {"0123456789abcdef"}
    assert (loaded.id, loaded.parent, loaded.kind, loaded.config) == (example().id, None, "world_model", {"lr": 0.1})


def test_id_depends_on_content_alone():
    a, b = {"x": torch.ones(2), "y": torch.zeros(2)}, {"y": torch.zeros(2), "x": torch.ones(2)}
    assert weights_id(a) == weights_id(b) != weights_id({"x": torch.zeros(2), "y": torch.ones(2)})


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def test_loading_never_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": FORMAT, "state": Bomb()}, tmp_path / "evil.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("evil.pt", "raw.pt"):
        with pytest.raises(ValueError, match=f"{name} is not a readable drift_wm checkpoint") as refused:
            load_checkpoint(tmp_path / name)
        assert "weights_only" not in str(refused.value), "torch's advice, to run what is in it"
    assert not (tmp_path / "exploded").exists()


def test_unreadable_files_are_named_with_a_remedy(tmp_path):
    good = tmp_path / "good.pt"
    save_checkpoint(good, example())
    content = good.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.pt").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"cut\.pt is not a readable drift_wm checkpoint"):
            load_checkpoint(tmp_path / "cut.pt")
    with pytest.raises(ValueError, match=r"no checkpoint at .*absent\.pt"):
        load_checkpoint(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"format": 8}, f"of format {FORMAT}, found 8; load it with the version of drift_wm that wrote it"),
        ({"format": 1, "id": "abc"}, f"of format {FORMAT}, found 1.*or train again"),
        ([1], "found 'list'"),
        ({"format": FORMAT}, "lacks id, parent, kind"),
    ],
)
def test_foreign_contents_are_refused(tmp_path, content, match):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=match):
        load_checkpoint(tmp_path / "c.pt")


def test_a_page_is_not_said_to_hold_tensors(tmp_path):
    (tmp_path / "report.html").write_text("<!DOCTYPE html>\n<html></html>\n")
    with pytest.raises(ValueError, match=r"not a readable drift_wm checkpoint \(it is no archive of tensors\)"):
        load_checkpoint(tmp_path / "report.html")


@pytest.mark.parametrize("content", [b"hello world\n", b"# a README\n", bytes(range(256)), b"\x80\x02"])
def test_any_other_file_is_refused(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.pt is not a readable drift_wm checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("tensor", [torch.arange(6.0), torch.arange(6.0, 12.0)], ids=["predicts", "goes on"])
def test_damage_is_found_wherever_it_is(tmp_path, tensor):
    whole = example()
    whole.state["optimiser"] = {"momentum": torch.arange(6.0, 12.0)}
    save_checkpoint(tmp_path / "c.pt", whole)
    content = bytearray((tmp_path / "c.pt").read_bytes())
    content[content.index(tensor.numpy().tobytes()) + 5] ^= 1
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"c\.pt is not a readable drift_wm checkpoint \(archive/data/. in it is not what was"
    ):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("number", range(40))
def test_damage_to_what_tells_of_the_tensors_is_found(tmp_path, number):
    """A byte within the pickle, whose words torch decodes before anything is compared."""
    save_checkpoint(tmp_path / "c.pt", example())
    content, rng = bytearray((tmp_path / "c.pt").read_bytes()), np.random.default_rng(number)
    with zipfile.ZipFile(tmp_path / "c.pt") as archive:
        (pickled,) = (archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    content[content.index(pickled) + rng.integers(len(pickled))] ^= 1 + rng.integers(255)
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.pt is not a readable drift_wm checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


def test_weights_must_be_those_of_the_model_that_is_named(tmp_path):
    save_checkpoint(tmp_path / "c.pt", replace(example(), id="0123456789ab"))
    with pytest.raises(ValueError, match="its weights are not those of model 0123456789ab"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("failed writing file")])
def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "c.pt"
    save_checkpoint(path, example())

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"could not write checkpoint .*c\.pt.*previous checkpoint is intact"):
        save_checkpoint(path, example())
    assert load_checkpoint(path).id == example().id
    assert os.listdir(tmp_path) == ["c.pt"]
