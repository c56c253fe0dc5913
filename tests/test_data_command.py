"""`drift-wm data`: what it says of a file, what it writes, and that it writes nothing over what is there."""

import json
import re

import h5py
import numpy as np
import pytest
from rich.console import Console

from drift_wm.cli import main
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.diagnosis.groups import groups_of_file
from drift_wm.diagnosis.open_loop import ErrorCurve, OpenLoop
from drift_wm.diagnosis.plots import open_loop_figure
from drift_wm.plots import save
from drift_wm.recordings import convert
from drift_wm.recordings.inspection import inspect, show
from drift_wm.recordings.plots import trajectories_figure
from drift_wm.recordings.settings import ConvertSettings, InspectSettings
from drift_wm.storage.run_folder import RunFolder
from helpers import read_results


@pytest.fixture
def demos(tmp_path):
    """Demos 0 and 2 of 5 and 4 steps without next_obs, with actions beyond 1 and an entry that never changes."""
    path = tmp_path / "demos.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = 11
        for i, length in ((0, 5), (2, 4)):
            demo = data.create_group(f"demo_{i}")
            demo["obs/state"] = np.concatenate([rng.normal(size=(length, 2)), np.ones((length, 1))], axis=1)
            demo["actions"] = np.full((length, 1), 1.5)
            demo["rewards"] = np.arange(length, dtype=float)
        file["mask/train"] = np.array(["demo_0"], dtype="S")
    return path


def test_inspect_tells_what_is_there_and_what_is_not(demos, tmp_path, capsys):
    assert main(["data", "inspect", str(demos), f"run_dir={tmp_path}/run"]) == 0
    out = capsys.readouterr().out
    for words in (
        "robomimic: 2 demonstrations, 9 steps; of these readable: 2 demonstrations, 7 transitions; lengths 3 to 4",
        "subsets: train (1)",
        "the attribute total says 11 steps, the demos hold 9",
        "1 numbers between demo_0 and demo_2 are not there",
        "2 of 2 demos have no next_obs",
        "1 of 1 action entries leave [-1, 1]",
        "1 of 3 observations never change",
    ):
        assert words in out
    assert re.search(r"state\s+│ \(3,\)\s+│ yes", out), "which keys are read"
    results = read_results(tmp_path / "run")
    assert results["lengths"] == [4, 3]
    ranges = {each["name"]: each for each in results["ranges"]}
    assert ranges["actions"]["low"] == ranges["actions"]["high"] == [1.5]
    obs = np.concatenate([episode.obs for episode in read_episodes(demos)]).astype(np.float64)
    np.testing.assert_allclose(ranges["observations"]["std"], obs.std(axis=0), atol=1e-6)
    np.testing.assert_allclose(ranges["observations"]["mean"], obs.mean(axis=0), atol=1e-6)
    assert (tmp_path / "run" / "trajectories.png").stat().st_size > 1000


def test_inspecting_a_subset_tells_of_it_and_plots_all_of_it(tmp_path, capsys):
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(9):
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/state"] = np.arange(4.0 + i)[:, None]
            demo["actions"] = np.zeros((4 + i, 1))
            demo["rewards"] = np.zeros(4 + i)
        file["mask/few"] = np.array(["demo_1", "demo_2", "demo_4"], dtype="S")
    settings = InspectSettings(data=str(path), mask="few", plotted=3)
    found = inspect(settings, RunFolder(tmp_path / "run"))
    assert [len(episode) for episode in found.plotted] == [4, 5, 7] == list(found.lengths)
    show(found, Console(soft_wrap=True, width=200))
    assert "9 demonstrations, 72 steps; of these in subset few: 3 demonstrations, 16 transitions; lengths 4 to 7" in (
        capsys.readouterr().out
    )
    assert read_results(tmp_path / "run")["mask"] == "few"


def test_inspect_names_every_damaged_demo_and_looks_at_the_others(tmp_path, capsys):
    """Of 30: every third holds a NaN, demo 2 has a single row, demo 4 another size; demo 5 is empty."""
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(30):
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/state"] = np.full((1 if i == 2 else 4, 3 if i == 4 else 2), np.nan if i % 3 == 0 else 1.0)
            demo["actions"] = np.zeros((1 if i == 2 else 4, 1))
        del file["data/demo_5"]
        file.create_group("data/demo_5")
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    out = capsys.readouterr().out
    assert "30 demonstrations, 113 steps; of these readable: 17 demonstrations, 51 transitions; lengths 3 to 3" in out
    assert "note: 13 of 30 demonstrations cannot be read; training stops at the first" in out
    found = read_results(tmp_path / "run")
    assert found["lengths"] == [3] * 17
    for told, words in zip(
        found["damaged"],
        [
            "demo_0/obs.* is nan",
            "demo_2: its only action has no observation",
            "demo_3/obs.* is nan",
            "demo_4 .*sizes",
            "demo_5 .*repair or remove",
        ],
        strict=False,
    ):
        assert re.search(words, told)
        assert told in out
    with h5py.File(path, "r+") as file:
        del file["data/demo_5"]
        for demo in file["data"].values():
            demo["obs/state"][...] = np.nan
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/again"]) == 2
    assert "none of 29 demonstrations can be read, the first as /data/demo_0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "entries"),
    [
        (None, ["pose[0]", "pose[1]", "state[0]", "state[1]", "state[2]"]),
        (["state", "p*"], ["state[0]", "state[1]", "state[2]", "pose[0]", "pose[1]"]),
    ],
)
def test_the_plot_of_trajectories_calls_entries_by_their_keys(demos, tmp_path, asked, entries):
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            demo["obs/pose"] = np.random.default_rng(1).normal(size=(len(demo["actions"]), 2))
    found = inspect(InspectSettings(data=str(demos), obs_keys=asked), RunFolder(tmp_path / "run"))
    labels = [axes.get_ylabel() for axes in trajectories_figure(found).axes if axes.get_visible()]
    assert labels == [entries[0], "action[0]", *entries[1:]]
    assert read_results(tmp_path / "run")["entries"] == entries


def test_entries_are_numbered_where_what_was_read_is_not_as_wide_as_the_first_demo(demos, tmp_path):
    with h5py.File(demos, "r+") as file:
        file["data/demo_0/obs/state"][0] = np.nan
        del file["data/demo_2/obs/state"]
        file["data/demo_2/obs/state"] = np.zeros((4, 2))
    found = inspect(InspectSettings(data=str(demos)), RunFolder(tmp_path / "run"))
    assert found.entries == ("obs[0]", "obs[1]")


@pytest.mark.parametrize("asked", [None, ["force"]])
def test_the_keys_of_a_subset_are_those_of_its_own_first_demo(demos, tmp_path, asked):
    """As training reads them: demo 0, of another day, has no sensor of forces."""
    with h5py.File(demos, "r+") as file:
        file["mask/late"] = np.array(["demo_2"], dtype="S")
        file["data/demo_2/obs/force"] = np.zeros((4, 1))
    (episode,) = read_episodes(demos, mask="late", obs_keys=asked)
    keys = asked or ["force", "state"]
    found = inspect(InspectSettings(data=str(demos), mask="late", obs_keys=asked), RunFolder(tmp_path / "run"))
    assert found.keys == tuple(keys)
    assert len(found.entries) == episode.obs.shape[1]
    assert not any("no obs/force" in warning for warning in found.warnings)
    settings = ConvertSettings(data=str(demos), mask="late", obs_keys=asked, out=str(tmp_path / "new.hdf5"))
    assert convert.convert(settings, RunFolder(tmp_path / "copy"))["obs_keys"] == keys
    groups = groups_of_file(demos, ["force", "state"], 4, mask="late")
    assert [(group.name, group.start, group.stop) for group in groups] == [("force", 0, 1), ("state", 1, 4)]


def test_of_many_damaged_demos_twenty_are_named(tmp_path, capsys):
    path = tmp_path / "main_data.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(26):
            file[f"episode_{i}/observations"] = np.full((3, 1), 0.0 if i == 9 else np.nan)
            file[f"episode_{i}/actions"] = np.zeros((2, 1))
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    out = capsys.readouterr().out
    assert "episode_20:" in out
    assert "episode_21:" not in out
    assert "note: and 5 more, see results.json" in out


def test_inspect_names_observations_in_groups(demos, tmp_path, capsys):
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            demo["obs/robot/joint_pos"] = np.zeros((len(demo["actions"]), 7))
    assert main(["data", "inspect", str(demos), f"run_dir={tmp_path}/run"]) == 0
    assert "robot/joint_pos" in capsys.readouterr().out
    found = open_demonstrations(demos).describe()
    assert (found.flat_keys, found.unread_keys) == (("robot/joint_pos", "state"), ())
    assert read_episodes(demos)[0].obs.shape[1] == 7 + 3


def test_names_of_sensors_are_no_formulas(demos, tmp_path, capsys):
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            demo["obs/$\\bad{$"] = np.random.default_rng(1).normal(size=(len(demo["actions"]), 1))
            demo["obs/cam $\\_{$"] = np.ones((len(demo["actions"]), 2, 2, 3), np.uint8)
    assert main(["data", "inspect", str(demos), f"run_dir={tmp_path}/run"]) == 0, capsys.readouterr().err
    curve = ErrorCurve("model", (1.0,), ((1.0,), (2.0,)))
    save(open_loop_figure(OpenLoop((1,), ("$\\bad{$", "b"), (curve,))), tmp_path / "open_loop.png")


def test_what_is_called_otherwise_than_a_demo_is_told_of(demos):
    with h5py.File(demos, "r+") as file:
        for name in ("Demo_3", "demo_4_bad"):
            file.copy("data/demo_0", f"data/{name}")
        file["mask/late"] = np.array(["demo_2", "demo_7"], dtype="S")
    told = open_demonstrations(demos).describe().warnings
    assert "2 members of data are not called demo_<i>, and are not read: Demo_3, demo_4_bad" in told
    assert "mask/late names demo_7, which data does not hold: mask=late is refused until it is rewritten" in told, (
        "and not only once it is asked for"
    )


def test_inspect_tells_of_a_task_over_which_training_stops(demos, tmp_path, capsys):
    with h5py.File(demos, "r+") as file:
        file["data"].attrs["env_args"] = "a robot in the kitchen"
    found = inspect(InspectSettings(data=str(demos)), RunFolder(tmp_path / "run"))
    assert any("env_args of data is 'a robot in the kitchen', expected JSON" in told for told in found.warnings)
    assert main(["train", f"data={demos}", "model.chunk=1", f"run_dir={tmp_path}/model"]) == 2
    assert "expected JSON" in capsys.readouterr().err


@pytest.mark.parametrize(("env_args", "told"), [({}, True), ({"env_name": "Pendulum-v1"}, False)])
def test_actions_far_within_those_of_planners_are_told_of(demos, tmp_path, env_args, told):
    """As `train` does; where a file names its world, it was that world which executed them."""
    with h5py.File(demos, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps(env_args)
        for demo in file["data"].values():
            demo["actions"][:, 0] = np.linspace(-0.04, 0.03, len(demo["actions"]))
    found = inspect(InspectSettings(data=str(demos)), RunFolder(tmp_path / "run"))
    small = "1 of the 1 entries of an action (counted from 0: 0) are never larger than 0.04, but planners search all of"
    assert any(note.startswith(small) for note in found.warnings) == told


def test_what_stands_for_no_echo_does_not_overflow_the_plot(demos, tmp_path):
    """Lidars write the largest float32 there is."""
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            demo["obs/state"][1::2, 0] = np.finfo(np.float32).max
    found = inspect(InspectSettings(data=str(demos)), RunFolder(tmp_path / "run"))
    with np.errstate(all="raise"):
        trajectories_figure(found)


def test_a_single_number_beside_the_sensors_is_left_out_and_told_of(demos):
    """Such as a rate: a file is not refused for it, whichever keys are asked for."""
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            demo["obs/rate"] = 50.0
    assert read_episodes(demos)[0].obs.shape == read_episodes(demos, obs_keys=["state"])[0].obs.shape == (5, 3)
    found = open_demonstrations(demos).describe()
    assert list(found.obs_shapes) == ["state"]
    assert found.unread_keys == ("obs/rate has no rows, one a step, and is not read",)


def test_convert_writes_what_was_read(demos, tmp_path, capsys):
    out = tmp_path / "new.hdf5"
    arguments = ["data", "convert", str(demos), f"out={out}", "mask=train", f"run_dir={tmp_path}/run"]
    assert main(arguments) == 0
    assert f"1 demonstration: {out}" in capsys.readouterr().out
    (wanted,), (found,) = read_episodes(demos, mask="train"), read_episodes(out)
    assert isinstance(found, Episode)
    np.testing.assert_array_equal(found.obs, wanted.obs)
    np.testing.assert_array_equal(found.actions, wanted.actions)
    np.testing.assert_array_equal(found.rewards, wanted.rewards)
    with h5py.File(out) as file:
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "unknown"
        assert file["data"].attrs["total"] == 4
    before = out.read_bytes()
    assert main([*arguments[:-1], f"run_dir={tmp_path}/again"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_name_with_brackets_is_told_as_it_is(demos, tmp_path, capsys):
    out = tmp_path / "left[arm].hdf5"
    assert main(["data", "convert", str(demos), f"out={out}", f"run_dir={tmp_path}/run"]) == 0
    assert f"2 demonstrations: {out}" in capsys.readouterr().out


def test_convert_names_what_it_does_not_write(demos, tmp_path, capsys):
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            rows = len(demo["actions"])
            demo["obs/camera"], demo["obs/words"] = np.zeros((rows, 2, 2, 3), np.uint8), np.array([b"go"] * rows)
            demo["obs/robot/wrist"], demo["processed_actions"] = demo["obs/camera"][:], np.zeros((rows, 1))
            demo["obs/force"] = np.zeros((rows, 1))
    absent = ["obs/camera", "obs/robot/wrist", "obs/words", "processed_actions"]
    assert main(["data", "convert", str(demos), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/run"]) == 0
    assert f"not written: {', '.join(absent)}\n" in capsys.readouterr().out
    assert read_results(tmp_path / "run")["not_written"] == absent


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (None, ["arm/angles", "force", "state"]),
        (["state", "force"], ["state", "force"]),
        (["force", "actions", "arm/*"], ["force", "actions", "arm/angles"]),
    ],
)
def test_converted_sensors_keep_their_names_and_order(demos, tmp_path, asked, keys):
    rng = np.random.default_rng(1)
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            for key, shape in (("force", ()), ("arm/angles", (7,)), ("actions", (1,))):
                demo[f"obs/{key}"] = rng.normal(size=(len(demo["actions"]), *shape))
    out = tmp_path / "new.hdf5"
    settings = ConvertSettings(data=str(demos), obs_keys=asked, out=str(out))
    assert convert.convert(settings, RunFolder(tmp_path / "run"))["obs_keys"] == keys
    new, wanted = open_demonstrations(out).describe(), open_demonstrations(demos).describe()
    assert new.keys(None, out) == wanted.keys(asked, demos) == keys
    assert [np.prod(new.obs_shapes[key]) for key in keys] == [np.prod(wanted.obs_shapes[key]) for key in keys]
    for found, episode in zip(read_episodes(out), read_episodes(demos, obs_keys=asked), strict=True):
        np.testing.assert_array_equal(found.obs, episode.obs)
        assert found.fingerprints == episode.fingerprints
    with h5py.File(out, "r+") as file:
        for demo in file["data"].values():
            for group in ("obs", "next_obs"):
                demo[f"{group}/brake"] = np.zeros(len(demo["actions"]))
    assert open_demonstrations(out).describe().keys(None, out) == [*keys, "brake"], "what is added later is read too"


def test_sensors_whose_sizes_are_not_known_are_joined(demos, tmp_path):
    """The first demo, whose sizes are told, is damaged and has others."""
    with h5py.File(demos, "r+") as file:
        file["data/demo_0/obs/force"], file["data/demo_2/obs/force"] = np.full((5, 2), np.nan), np.zeros((4, 1))
    settings = ConvertSettings(data=str(demos), out=str(tmp_path / "new.hdf5"), skip_damaged=True)
    found = convert.convert(settings, RunFolder(tmp_path / "run"))
    assert found["obs_keys"] == ["state"]
    assert "the sizes of force, state are not those that were told: joined into obs/state" in found["notes"]
    assert read_episodes(tmp_path / "new.hdf5")[0].sizes == (4, 1)


def test_convert_names_what_any_demo_or_the_file_holds_besides(demos, tmp_path):
    with h5py.File(demos, "r+") as file:
        file.attrs["author"], file["data"].attrs["robot"] = "me", "Panda"
        file["notes"] = [1]
        first, last = file["data/demo_0"], file["data/demo_2"]
        first["obs/actions"], last["obs/actions"] = np.zeros((5, 1)), np.zeros((4, 1))
        last["obs/late"], last["datagen_info"] = np.zeros((4, 2)), np.zeros(4)
        last.attrs["lang"] = "lift"
        for demo in (first, last):
            demo.attrs.update(ep_meta='{"layout": 3}', model_file="<mujoco/>", seed=5)
    out = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(demos), f"out={out}", f"run_dir={tmp_path}/run"]) == 0
    assert read_results(tmp_path / "run")["not_written"] == [
        "attribute author of the file",
        "attribute lang of demos",
        "attribute robot of data",
        "datagen_info",
        "notes",
        "obs/actions",
        "obs/late",
    ]
    with h5py.File(out) as file:
        assert file["data/demo_1"].attrs["ep_meta"] == '{"layout": 3}'
        assert file["data/demo_1"].attrs["model_file"] == "<mujoco/>"
    some = ["data", "convert", str(demos), f"out={tmp_path}/some.hdf5", "mask=train", f"run_dir={tmp_path}/some"]
    assert main(some) == 0
    assert "obs/late" not in read_results(tmp_path / "some")["not_written"]


def test_convert_tells_of_actions_beyond_the_bounds_that_it_was_given(demos, tmp_path, capsys):
    """In the file they look like another robot's, and the bounds are not seen in it."""
    actions = np.concatenate([episode.actions for episode in read_episodes(demos)])
    bound = float(np.abs(actions).max()) / 2
    asked = [f"action_low=[{-bound}]", f"action_high=[{bound}]", f"run_dir={tmp_path}/run"]
    assert main(["data", "convert", str(demos), f"out={tmp_path}/new.hdf5", *asked]) == 0
    share = read_results(tmp_path / "run")["actions_beyond_bounds"]
    assert share == np.mean(np.abs(actions) > bound)
    assert 0 < share <= 1
    assert f"{share:.1%} of the actions' entries lie beyond action_low and action_high" in capsys.readouterr().out


def test_convert_writes_actions_in_the_units_of_a_planner(demos, tmp_path, capsys):
    bounds = ["action_low=[-4]", "action_high=[2]"]
    out = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(demos), f"out={out}", *bounds, f"run_dir={tmp_path}/run"]) == 0
    for wanted, found in zip(read_episodes(demos), read_episodes(out), strict=True):
        np.testing.assert_allclose(found.actions, (wanted.actions + 1) / 3, rtol=1e-6)
        np.testing.assert_array_equal(found.obs, wanted.obs)
    assert read_results(tmp_path / "run")["actions_beyond_bounds"] == 0
    assert "beyond" not in capsys.readouterr().out
    for wrong, told in (
        (["action_low=[-4]"], "action_high=None: expected a value if and only if action_low has one"),
        (
            ["action_low=[-4,1,2]", "action_high=[4]"],
            "3 lowest actions [-4.0, 1.0, 2.0]; expected one for all, or 1, one for each",
        ),
        (["action_low=[4]", "action_high=[-4]"], "expected finite numbers, each lowest below the highest"),
        (["action_low=[-inf]", "action_high=[4]"], "expected finite numbers"),
    ):
        refused = ["data", "convert", str(demos), f"out={tmp_path}/no.hdf5", *wrong, f"run_dir={tmp_path}/no"]
        assert main(refused) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "no.hdf5").exists()


def test_rewards_that_were_never_recorded_are_not_made_up(demos, tmp_path):
    with h5py.File(demos, "r+") as file:
        for demo in file["data"].values():
            del demo["rewards"]
    out = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(demos), f"out={out}", f"run_dir={tmp_path}/run"]) == 0
    with pytest.raises(ValueError, match="set allow_missing_rewards=true"):
        read_episodes(out)
    assert not read_episodes(out, allow_missing_rewards=True)[0].rewards.any()


def test_a_demo_without_rewards_gets_none_where_others_have_some(demos, tmp_path):
    with h5py.File(demos, "r+") as file:
        del file["data/demo_2/rewards"]
    out = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(demos), f"out={out}", f"run_dir={tmp_path}/run"]) == 0
    with h5py.File(out) as file:
        assert ["rewards" in file[f"data/demo_{i}"] for i in (0, 1)] == [True, False]
    found = inspect(InspectSettings(data=str(demos)), RunFolder(tmp_path / "inspected"))
    (rewards,) = [each for each in found.ranges if each.name == "rewards"]
    assert rewards.mean == (1.5,), "0, 1, 2 and 3 of demo_0, and no zeros of demo_2"


def test_subsets_and_environment_come_along(demos, tmp_path):
    """Also where demos are renamed, here 2 to 1, and where only some of them are converted."""
    world = {"env_name": "Lift", "type": 1, "env_kwargs": {"robots": "Panda"}}
    with h5py.File(demos, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps(world)
        file["mask/valid"] = ["demo_2", "demo_7"]
        file["mask/all"] = ["demo_2", "demo_0"]
    assert main(["data", "convert", str(demos), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/a"]) == 0
    with h5py.File(tmp_path / "new.hdf5") as file:
        masks = {name: members.asstr()[()].tolist() for name, members in file["mask"].items()}
        assert masks == {"train": ["demo_0"], "valid": ["demo_1"], "all": ["demo_0", "demo_1"]}
        assert json.loads(file["data"].attrs["env_args"]) == world
    some = [f"out={tmp_path}/some.hdf5", "mask=train", "task=Mine"]
    assert main(["data", "convert", str(demos), *some, f"run_dir={tmp_path}/b"]) == 0
    with h5py.File(tmp_path / "some.hdf5") as file:
        masks = {name: members.asstr()[()].tolist() for name, members in file["mask"].items()}
        assert masks == {"train": ["demo_0"], "all": ["demo_0"]}
        assert json.loads(file["data"].attrs["env_args"]) == world | {"env_name": "Mine"}


def test_minari_episodes_without_rewards_stay_without(tmp_path):
    path = tmp_path / "data" / "main_data.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for i in range(2):
            file[f"episode_{i}/observations"] = np.zeros((4, 2))
            file[f"episode_{i}/actions"] = np.zeros((3, 1))
        file["episode_1/rewards"] = np.ones(3)
    (path.parent / "metadata.json").write_text(json.dumps({"env_spec": json.dumps({"id": "Pusher-v5"})}))
    out = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(tmp_path), f"out={out}", f"run_dir={tmp_path}/run"]) == 0
    with h5py.File(out) as file:
        assert ["rewards" in file[f"data/demo_{i}"] for i in (0, 1)] == [False, True]
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "Pusher-v5", "and not the folder's name"


def test_a_conversion_that_fails_leaves_no_file(demos, tmp_path, capsys):
    with h5py.File(demos, "r+") as file:
        file["data/demo_2/obs/state"][1, 0] = np.nan
    out = tmp_path / "new.hdf5"
    assert main(["data", "convert", str(demos), f"out={out}", f"run_dir={tmp_path}/run"]) == 2
    assert "demo_2" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []


def test_two_conversions_to_one_name_do_not_spoil_each_other(demos, tmp_path, capsys, monkeypatch):
    """The second runs in the midst of the first, as another process."""
    out, arguments = tmp_path / "new.hdf5", ["data", "convert", str(demos), f"out={tmp_path}/new.hdf5"]
    original, seen = convert.keep_beside, []

    def in_the_midst(*args, **kwargs):
        if not seen:
            seen.append(True)
            with monkeypatch.context() as patch:
                patch.setattr("os.getpid", lambda: 1)
                assert main([*arguments, "mask=train", f"run_dir={tmp_path}/other"]) == 0
            seen.append(out.read_bytes())
        original(*args, **kwargs)

    monkeypatch.setattr(convert, "keep_beside", in_the_midst)
    assert main([*arguments, f"run_dir={tmp_path}/run"]) == 2
    assert "new.hdf5: expected a new file, but another process has written it" in capsys.readouterr().err
    assert out.read_bytes() == seen[1]
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == ["new.hdf5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data-inspect"], "expected a file or folder"),
        (["data", "inspect", "absent.hdf5"], "absent.hdf5: no such file"),
        (["data", "convert", "a.hdf5"], "expected a file to write"),
        (["data", "convert", "a.hdf5", "out=nodir/x.hdf5"], "out='nodir/x.hdf5': nodir is no folder that is there"),
        (["data", "inspect", "a.hdf5", "plotted=0"], "plotted=0"),
        (["data", "inspect", "a.hdf5", "obs_keys=state"], "obs_keys=state: expected a list, such as obs_keys=[state]"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
