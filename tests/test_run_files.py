"""From a path to a run's checkpoints, and from these to the run."""

from pathlib import Path

import pytest

from drift_wm.lineage.ancestry import Member
from drift_wm.storage.run_files import (
    checkpoint_of_round,
    checkpoints_at,
    checkpoints_of,
    newest_checkpoint,
    round_of,
    run_of,
    settings_of,
)


def save_rounds(run: Path, *numbers: int) -> list[Path]:
    files = [checkpoint_of_round(run, number) for number in numbers]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return files


def test_the_name_of_a_file_tells_its_round(tmp_path):
    assert checkpoint_of_round(Path("runs/mine"), 7) == Path("runs/mine/checkpoints/round_0007.pt")
    assert [round_of(file) for file in save_rounds(tmp_path, 0, 12, 3456)] == [0, 12, 3456]


def test_newest_checkpoint_of_a_folder_of_a_run_or_a_file(tmp_path):
    *older, newest = save_rounds(tmp_path, 0, 2, 10)
    assert newest_checkpoint(tmp_path) == newest_checkpoint(newest.parent) == newest_checkpoint(newest) == newest
    assert newest_checkpoint(older[0]) == older[0]
    with pytest.raises(ValueError, match=r"no checkpoint at .*nowhere"):
        newest_checkpoint(tmp_path / "nowhere")


def test_the_newest_checkpoint_is_of_the_last_round_and_no_copy_by_hand(tmp_path):
    before, last = save_rounds(tmp_path, 9999, 10000)
    (copy := before.with_name("round_best.pt")).touch()
    assert newest_checkpoint(tmp_path) == last
    assert checkpoints_of(tmp_path) == [before, last]
    assert newest_checkpoint(copy) == copy


def test_all_checkpoints_of_a_place_are_found_oldest_first(tmp_path):
    first, second = save_rounds(tmp_path / "run", 3, 20)
    (first.parent / "non_finite_batch.pt").touch()
    for place in (tmp_path / "run", first.parent, first, second):
        assert checkpoints_at(place) == [first, second]
    free = first.with_name("best.pt")
    free.touch()
    assert checkpoints_at(free) == [free]
    assert checkpoints_at(tmp_path / "nowhere") == []


def test_files_that_lie_freely_in_a_folder_are_not_those_of_a_run_there(tmp_path):
    (tmp_path / "round_0000.pt").touch()
    assert checkpoints_of(tmp_path) == []
    assert checkpoints_at(tmp_path) == [tmp_path / "round_0000.pt"]


def test_the_run_of_a_checkpoint(tmp_path):
    assert run_of(Path("/nowhere/run")) == Path("/nowhere/run")
    (file,) = save_rounds(tmp_path / "run", 0)
    assert run_of(file) == run_of(file.parent) == run_of(tmp_path / "run") == tmp_path / "run"


def test_a_checkpoint_alone_lies_in_no_run(tmp_path):
    (tmp_path / "model.pt").touch()
    assert run_of(tmp_path / "model.pt") == tmp_path


@pytest.mark.parametrize("there", [True, False])
def test_the_run_of_a_model_is_told_whether_or_not_its_file_is_still_there(tmp_path, there):
    file = save_rounds(tmp_path, 0)[0] if there else checkpoint_of_round(tmp_path, 0)
    assert Member(file, "x", None, 0, 1).run == tmp_path


def test_settings_of_a_run(tmp_path):
    assert settings_of(tmp_path) == {}
    (tmp_path / "config.json").write_text('{"command": "online"}')
    assert settings_of(tmp_path) == {"command": "online"}
    (tmp_path / "config.json").write_text('{"half": ')
    with pytest.raises(ValueError, match=r"config\.json: not JSON"):
        settings_of(tmp_path)
