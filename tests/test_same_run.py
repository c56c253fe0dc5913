"""Which requests a folder's run goes on with."""

import json

import pytest

from drift_wm.configs.schema import read_settings
from drift_wm.run_folder import RunFolder, write_json


def begin(folder, command, *asked):
    """A run that recorded what it was asked."""
    RunFolder(folder).write_config(command, read_settings(command, list(asked)))


def go_on(folder, command, *asked):
    """Whether the run goes on, or a ValueError."""
    return not RunFolder(folder).write_config(command, read_settings(command, list(asked)))


def change_record(folder, change):
    """Edit what a run recorded."""
    file = folder / "config.json"
    record = json.loads(file.read_text())
    change(record)
    write_json(file, record)
    return record


def test_where_it_runs_is_free_and_what_it_does_is_not(tmp_path):
    begin(tmp_path, "train", "data=x.hdf5")
    assert go_on(tmp_path, "train", "data=x.hdf5", "memory_gb=1", "threads=3", "device=cpu", f"run_dir={tmp_path}")
    with pytest.raises(ValueError, match=r"other settings: seed \(there 1, asked 2\); steps \(there 5000, asked 7\)\."):
        go_on(tmp_path, "train", "data=x.hdf5", "steps=7", "seed=2")
    with pytest.raises(ValueError, match="holds a run of 'train', not of 'online'; choose another run_dir"):
        go_on(tmp_path, "online")


@pytest.mark.parametrize(
    ("command", "asked", "recorded"),
    [
        ("train", ["data=x.hdf5"], {"task": "walker-walk"}),
        ("train", ["data=x.hdf5"], {"env": {"action_repeat": 7}}),
        ("evaluate", ["actor=random"], {"seed": 1}),
    ],
)
def test_settings_that_this_version_does_not_have_belong_to_another_run(tmp_path, command, asked, recorded):
    begin(tmp_path, command, *asked)
    change_record(tmp_path, lambda record: record.update(recorded))
    with pytest.raises(ValueError, match=f"other settings: {next(iter(recorded))}"):
        go_on(tmp_path, command, *asked)
