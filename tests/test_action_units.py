"""Actions of files that name an environment: shares of its bounds, or a word about it."""

import json
import re

import h5py
import numpy as np
import pytest

from drift_wm.cli import main
from drift_wm.recordings.action_units import remarks_on_units
from drift_wm.recordings.recorded_task import recorded_task
from helpers import read_results


def write(path, world, *, size=1, bounds=None):
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(world)
        if bounds is not None:
            data.attrs["action_low"], data.attrs["action_high"] = ([each] * size for each in bounds)
        for i in range(2):
            demo = data.create_group(f"demo_{i}")
            demo["obs/state"] = np.random.default_rng(i).normal(size=(6, 3))
            demo["actions"] = np.full((6, size), 1.2)
            demo["rewards"] = np.zeros(6)
    return str(path)


OURS = {"env_name": "cartpole-swingup", "env_kwargs": {"task": "cartpole-swingup", "action_repeat": 2}}
PENDULUM = {"env_name": "Pendulum-v1", "type": 2}  # of torques from -2 to 2


@pytest.mark.parametrize(
    ("world", "bounds", "said"),
    [
        (OURS, None, None),
        (OURS, (-1, 1), None),
        (OURS, (-2, 2), r"stand for -2 to 2, in cartpole-swingup for -1 to 1.*acts otherwise"),
        (PENDULUM, None, r"Pendulum-v1 acts within -2 to 2.*action_low=\[-2\] action_high=\[2\]"),
        (PENDULUM, (-2, 2), None),
        (PENDULUM, (-1, 1), r"stand for -1 to 1, in Pendulum-v1 for -2 to 2"),
        ({"env_name": "MyRobot"}, (-3, 3), None),
    ],
)
def test_units_that_are_not_the_environments_are_told(tmp_path, world, bounds, said):
    found = remarks_on_units(write(tmp_path / "demos.hdf5", world, bounds=bounds), action_size=1)
    if said is None:
        assert found == []
    else:
        (remark,) = found
        assert re.search(said, remark)


def test_converting_does_not_make_them_others(tmp_path, capsys):
    """A policy that learned from the new file would act in the named world by a share of what was demonstrated."""
    ours, others = write(tmp_path / "ours.hdf5", OURS), write(tmp_path / "others.hdf5", PENDULUM)
    bounds = ["action_low=[-1.2]", "action_high=[1.2]", f"run_dir={tmp_path}/run"]
    for data, name in ((ours, "cartpole-swingup, whose actions are within -1 to 1"), (others, "within -2 to 2")):
        assert main(["data", "convert", data, f"out={tmp_path}/new.hdf5", *bounds]) == 2
        assert name in capsys.readouterr().err
        assert not (tmp_path / "new.hdf5").exists()
    assert main(["data", "convert", ours, f"out={tmp_path}/new.hdf5", "task=my-robot", *bounds]) == 0
    assert recorded_task(f"{tmp_path}/new.hdf5") is None, "what acts by it would otherwise act in cartpole-swingup"
    own = ["action_low=[-2]", "action_high=[2]", f"run_dir={tmp_path}/own"]
    assert main(["data", "convert", others, f"out={tmp_path}/own.hdf5", *own]) == 0
    with h5py.File(tmp_path / "own.hdf5") as file:
        np.testing.assert_allclose(file["data/demo_0/actions"][()], 0.6, rtol=1e-6)


def test_inspect_gives_no_advice_that_convert_refuses(tmp_path, capsys):
    data = write(tmp_path / "demos.hdf5", OURS)
    assert main(["data", "inspect", data, f"run_dir={tmp_path}/run"]) == 0
    assert "1 of 1 action entries leave [-1, 1]" in capsys.readouterr().out
    assert not any("data convert" in warning for warning in read_results(tmp_path / "run")["warnings"])


def test_replay_refuses_actions_of_other_units(tmp_path, capsys):
    data = write(tmp_path / "demos.hdf5", OURS, bounds=(-2, 2))
    assert main(["data", "replay", data, f"run_dir={tmp_path}/run"]) == 2
    assert "stand for -2 to 2, in cartpole-swingup for -1 to 1" in capsys.readouterr().err
