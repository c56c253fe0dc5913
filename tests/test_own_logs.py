"""Logs that somebody wrote in robomimic's layout by a script: what is lost of them is told, and what to change."""

import h5py
import numpy as np
import pytest

from drift_wm.cli import main
from drift_wm.datasets.demonstrations import read_or_tell
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.robomimic import RobomimicFile, read_episodes
from drift_wm.datasets.single_precision import as_matrix
from helpers import read_results


def write_demo(file, name, *, steps=6, next_obs=True):
    """Positions that follow each other, actions, and a reward for success in the last row."""
    demo = file.create_group(name)
    pose = np.random.default_rng(steps).normal(size=(steps + 1, 2))
    demo["obs/pose"] = pose[:-1]
    if next_obs:
        demo["next_obs/pose"] = pose[1:]
    demo["actions"] = np.linspace(-1, 1, steps)
    demo["rewards"] = np.eye(steps)[-1]
    return demo


@pytest.fixture
def path(tmp_path):
    return tmp_path / "demos.hdf5"


@pytest.fixture
def file(path):
    with h5py.File(path, "w") as opened:
        yield opened


def write_three(file, **settings):
    for number in range(3):
        write_demo(file, f"data/demo_{number}", **settings)


def replace(group, name, values):
    del group[name]
    group[name] = values


@pytest.mark.parametrize(("mask", "count"), [(None, 3), ("some", 1)])
def test_a_conversion_tells_of_rewards_in_rows_that_it_drops(path, file, tmp_path, capsys, mask, count):
    write_three(file, next_obs=False)
    file["data/demo_0/rewards"][0] = 0.5
    file["mask/some"] = np.array([b"demo_1"])
    file.close()
    asked = [] if mask is None else [f"mask={mask}"]
    assert main(["data", "convert", str(path), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/run", *asked]) == 0
    notes = read_results(tmp_path / "run")["notes"]
    out = capsys.readouterr().out
    assert all(f"note: {note}\n" in out for note in notes)
    assert "3 of 3 demos have no next_obs, so the last transition of each demo is dropped" in notes
    assert notes[-1].startswith(f"{count} of {count + (mask is None)} rewards that are not 0 are in the last rows")
    assert notes[-1].endswith("write next_obs into these demos, the observation after each action")
    assert RobomimicFile(tmp_path / "new.hdf5").describe().dropped_rewards == (), "they are gone"


def test_ends_that_a_conversion_does_not_believe_are_told_of(path, file, tmp_path):
    write_three(file)
    for demo in file["data"].values():
        demo["dones"] = np.eye(6)[-1]
    file.close()
    assert main(["data", "convert", str(path), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/run"]) == 0
    notes = read_results(tmp_path / "run")["notes"]
    assert any(note.startswith("every demo ends with done") for note in notes)
    assert not any("rewards that are not 0" in note for note in notes), "with next_obs nothing is dropped"


@pytest.mark.parametrize(("kind", "count"), [("world_model", 1), ("policy", 0)])
def test_training_tells_of_rewards_that_it_drops(path, file, tmp_path, caplog, kind, count):
    write_three(file, next_obs=False, steps=30)
    file.close()
    asked = ["train", f"data={path}", f"kind={kind}", "steps=1", "model.generator.width=16", f"run_dir={tmp_path}/run"]
    assert main(asked) == 0
    told = [record.message for record in caplog.records if "3 of 3 rewards that are not 0" in record.message]
    assert len(told) == count, "a policy learns no rewards"


def test_inspect_counts_the_demos_that_were_rewarded(path, file, tmp_path, capsys):
    write_three(file)
    file["data/demo_1/rewards"][:] = 0.0
    file["data/demo_2/rewards"][:] = -1.0
    file.close()
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    assert "0 of 3 ended by themselves, and 1 have a reward above 0" in " ".join(capsys.readouterr().out.split())
    assert read_results(tmp_path / "run")["rewarded"] == 1


@pytest.mark.parametrize("rows", [4, 1_000_001])
def test_a_constant_is_not_too_coarse_however_long_it_is(caplog, rows):
    as_matrix(np.full((rows, 1), 0.3), f"constant of {rows}")
    assert not caplog.records


def test_entries_that_are_too_coarse_are_named(caplog):
    seconds = 1.7e9 + 0.1 * np.arange(50)
    rows = np.stack([np.arange(50.0), seconds, np.full(50, 0.3), seconds], axis=1)
    as_matrix(rows, "logs: obs/a")
    as_matrix(rows[:, :2], "logs: obs/b")
    told = [record.message for record in caplog.records]
    assert "logs: obs/a lies so far from zero that float32 leaves its entries 1, 3 (counted from 0) steps" in told[0]
    assert "logs: obs/b lies so far from zero that float32 leaves its entry 1 (counted from 0) steps" in told[1]


def test_a_broken_mask_is_refused_only_if_it_is_asked_for(path, file, tmp_path):
    write_three(file)
    file["mask/good"], file["mask/numbers"], file["mask/none"] = np.array([b"demo_1"]), [0, 1], np.array([], "S8")
    file.create_group("mask/nested")
    file.close()
    found = RobomimicFile(path).describe(mask="good")
    assert found.masks == {"good": 1, "none": 0}
    assert "mask/none is empty: mask=none is refused" in found.warnings
    for name in ("numbers", "nested"):
        (told,) = (warning for warning in found.warnings if f"mask={name}" in warning)
        assert told.endswith(f"; mask={name} is refused")
        with pytest.raises(ValueError, match=f"demos.hdf5: .*{name}"):
            read_episodes(path, mask=name)
    assert main(["data", "convert", str(path), f"out={tmp_path}/new.hdf5", f"run_dir={tmp_path}/run"]) == 0
    assert RobomimicFile(tmp_path / "new.hdf5").describe().masks == {"good": 1}


def test_an_array_in_the_place_of_masks_is_refused_only_if_one_is_asked_for(path, file):
    write_three(file)
    file["mask"] = [True, False, True]
    file.close()
    assert (
        "mask is no group, expected the subsets of the demos in it; remove it"
        in RobomimicFile(path).describe().warnings
    )
    with pytest.raises(ValueError, match="mask is no group"):
        read_episodes(path, mask="train")


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["data/episode_0"], "data/episode_0"),
        (["demo_0", "demo_1"], "demo_0, demo_1"),
        (["episode_0", "episode_1"], "episode_0, episode_1"),
        (
            [f"trajectories/traj{i}" for i in range(5)],
            "trajectories/traj0, trajectories/traj1, trajectories/traj2, ...",
        ),
    ],
)
def test_demos_of_other_names_are_shown_the_layout(path, file, names, shown):
    for name in names:
        write_demo(file, name)
    file.close()
    with pytest.raises(ValueError, match=r"found \[.*\]; expected data/demo_0/actions, .*h5py.*README") as told:
        open_demonstrations(path).describe()
    assert str(told.value).endswith(f'"Your own logs"; what looks like demos is called {shown} here: rename it')


def test_what_is_no_hdf5_is_shown_the_layout(path):
    path.write_text("plain text")
    with pytest.raises(ValueError, match=r"not an HDF5 file; expected data/demo_0/actions, .*h5py"):
        read_episodes(path)


def test_the_observation_after_the_last_action_belongs_into_next_obs(path, file):
    write_three(file, next_obs=False)
    for demo in file["data"].values():
        replace(demo, "obs/pose", np.zeros((7, 2)))
    file.close()
    with pytest.raises(
        ValueError, match=r"obs has arrays of 7 rows, expected 6 .*\[:-1\] as obs and \[1:\] as next_obs$"
    ):
        read_episodes(path)


def test_a_single_action_without_an_observation_after_it_is_told_of(path, file):
    write_three(file, steps=1, next_obs=False)
    file.close()
    with pytest.raises(
        ValueError, match=r"demo_0: its only action has no observation after it; store that in next_obs"
    ):
        read_episodes(path)


def test_an_action_in_the_singular_is_to_be_renamed(path, file):
    write_three(file)
    for demo in file["data"].values():
        demo.move("actions", "action")
    file.close()
    for look in (read_episodes, lambda path: RobomimicFile(path).describe()):
        with pytest.raises(ValueError, match=r"demo_0 has no array 'actions', .*; rename action to actions$"):
            look(path)


def test_actions_in_a_group_are_to_be_one_array(path, file):
    write_three(file)
    for demo in file["data"].values():
        del demo["actions"]
        demo["actions/arm"] = demo["actions/gripper"] = np.zeros((6, 1))
    file.close()
    told = r"demo_0/actions is a group of \['arm', 'gripper'\], expected one array; concatenate them into one$"
    with pytest.raises(ValueError, match=told):
        read_episodes(path)


def test_actions_in_several_dimensions_are_to_be_rewritten(path, file, tmp_path, capsys):
    """No setting chooses another key of actions, and without such demos none is left."""
    write_three(file)
    for demo in file["data"].values():
        replace(demo, "actions", np.zeros((6, 2, 3)))
    file.close()
    for look in (read_episodes, lambda path: RobomimicFile(path).describe()):
        told = r"demo_0/actions has shape \(6, 2, 3\), expected \(T,\) or \(T, size\), a row .*; rewrite them as"
        with pytest.raises(ValueError, match=told + r" \(6, 6\), for example with numpy's reshape$"):
            look(path)


@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_demo_is_told_of_wherever_it_stands(path, file, tmp_path, empty):
    write_three(file)
    replace(file["data"], f"demo_{empty}", 0)
    del file[f"data/demo_{empty}"]
    file.create_group(f"data/demo_{empty}")
    file.close()
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    found = read_results(tmp_path / "run")
    assert found["lengths"] == [6, 6]
    (told,) = found["damaged"]
    assert told.startswith(f"/data/demo_{empty} has no array 'actions', found []")
    with pytest.raises(ValueError, match=f"/data/demo_{empty} has no array 'actions'"):
        read_episodes(path)


def test_observations_in_groups_are_keys_by_their_path(path, file):
    write_three(file)
    for demo in file["data"].values():
        for part in ("obs", "next_obs"):
            demo[f"{part}/robot/left/grip"] = demo[f"{part}/pose"][:, 0] + 10
            demo[f"{part}/robot/words"] = np.array([b"go"] * 6)
        demo["obs/datagen_info/target"] = np.zeros((6, 1))
        demo["obs/robot/again"] = h5py.SoftLink(f"{demo.name}/obs")
    file.close()
    found = RobomimicFile(path).describe()
    assert found.flat_keys == ("pose", "robot/left/grip")
    assert set(found.obs_shapes) == {"datagen_info/target", "pose", "robot/left/grip", "robot/words"}
    assert found.unread_keys == ("obs/robot/words holds |S2, no numbers, and is not read",)
    (first, *_) = read_episodes(path)
    assert first.obs.shape == (7, 3)
    np.testing.assert_array_equal(first.obs[:, 2], first.obs[:, 0] + 10)
    np.testing.assert_array_equal(read_episodes(path, obs_keys=["robot/*"])[0].obs[:, 0], first.obs[:, 2])


def test_a_group_of_observations_that_links_to_another_file_is_not_followed(path, file):
    write_three(file)
    for number, demo in enumerate(file["data"].values()):
        del demo["next_obs"]
        if number == 1:
            demo["obs/robot"] = h5py.ExternalLink("other.hdf5", "/robot")
        else:
            demo["obs/robot/left"] = np.zeros((6, 1))
    file.close()
    with h5py.File(path.with_name("other.hdf5"), "w") as other:
        other["robot/left"] = np.zeros((6, 1))
    first, second, _ = read_or_tell(
        RobomimicFile(path).readings(obs_keys=None, mask=None, allow_missing_rewards=False), path
    )
    assert first.obs.shape == (6, 3)
    assert "robot is a link to another file, other.hdf5" in str(second)
