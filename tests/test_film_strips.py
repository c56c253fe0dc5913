"""Pictures of demonstrations: the right ones, read on demand, and nothing that training needs."""

import json

import h5py
import numpy as np
import pytest

from drift_wm.acting.video import read_frames, write_video
from drift_wm.cli import main
from drift_wm.datasets.readers import open_demonstrations, read_demonstrations
from drift_wm.datasets.robomimic_pictures import read_pictures
from drift_wm.recordings.film_strips import film_strips

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

FPS, CAMERA = 10, "observation.images.top"
LENGTHS = (12, 8, 10)


def greys(first, count):
    """Pictures that get brighter, by 8 levels each, so that their means tell which they are."""
    return [np.full((32, 48, 3), 8 * (first + i), np.uint8) for i in range(count)]


def numbers_of(frames):
    return [round(float(frame.mean()) / 8) for frame in frames]


def rows(index):
    ramp = np.arange(LENGTHS[index] * 2, dtype=np.float32).reshape(-1, 2) / 10
    column = {"observation.state": ramp.tolist(), "action": ramp.tolist(), "episode_index": [index] * LENGTHS[index]}
    return pyarrow.table({name: pyarrow.array(values) for name, values in column.items()})


def write_info(root, version, **more):
    features = {
        "observation.state": {"dtype": "float32", "shape": [2]},
        CAMERA: {"dtype": "video", "shape": [32, 48, 3]},
        "action": {"dtype": "float32", "shape": [2]},
    }
    info = {"codebase_version": version, "fps": FPS, "features": features, **more}
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))


@pytest.fixture
def lerobot2(tmp_path):
    """Three episodes; only the second has its video, whose pictures are the numbers 0 to 7."""
    root = tmp_path / "pick2"
    write_info(
        root,
        "v2.1",
        data_path="data/episode_{episode_index:06d}.parquet",
        video_path="videos/{video_key}/episode_{episode_index:06d}.mp4",
    )
    lines = [json.dumps({"episode_index": i, "length": n}) for i, n in enumerate(LENGTHS)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines))
    (root / "data").mkdir()
    (root / "videos" / CAMERA).mkdir(parents=True)
    for i in range(3):
        parquet.write_table(rows(i), root / "data" / f"episode_{i:06d}.parquet")
    write_video(root / "videos" / CAMERA / "episode_000001.mp4", greys(0, 8), fps=FPS)
    return root


@pytest.fixture
def lerobot3(tmp_path):
    """The first episode's rows are in a file of their own, its pictures at 0.8 s of a video of two episodes."""
    root = tmp_path / "pick3"
    write_info(
        root,
        "v3.0",
        data_path="data/file-{file_index:03d}-{chunk_index:03d}.parquet",
        video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )
    (root / "data").mkdir()
    (root / "meta" / "episodes").mkdir()
    (root / "videos" / CAMERA / "chunk-004").mkdir(parents=True)
    for i in (0, 1):
        parquet.write_table(rows(i), root / "data" / f"file-{i:03d}-000.parquet")
    episodes = {
        "episode_index": [0, 1],
        "length": list(LENGTHS[:2]),
        "data/chunk_index": [0, 0],
        "data/file_index": [0, 1],
        f"videos/{CAMERA}/chunk_index": [4, 4],
        f"videos/{CAMERA}/file_index": [2, 2],
        f"videos/{CAMERA}/from_timestamp": [0.8, 0.0],
    }
    parquet.write_table(pyarrow.table(episodes), root / "meta" / "episodes" / "file-000.parquet")
    write_video(root / "videos" / CAMERA / "chunk-004" / "file-002.mp4", greys(0, 20), fps=FPS)
    return root


@pytest.fixture
def robomimic(tmp_path):
    """Pictures of the numbers 0 to 11 in the second demo of two; an image of one channel and one of floats besides."""
    path = tmp_path / "images.hdf5"
    with h5py.File(path, "w") as file:
        for i in (0, 3):
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/state"] = np.random.default_rng(i).normal(size=(12, 2))
            demo["obs/agentview_image"] = np.stack(greys(0, 12))
            demo["obs/agentview_depth"] = np.zeros((12, 4, 4, 1), np.uint8)
            demo["obs/normals"] = np.zeros((12, 4, 4, 3), np.float32)
            demo["actions"] = np.zeros((12, 1))
    return path


def test_a_strip_runs_from_the_first_picture_to_the_last(lerobot2):
    (strip,), warnings = film_strips(open_demonstrations(lerobot2), 4)
    assert (strip.camera, strip.episode, strip.rows) == (CAMERA, "episode 1", (0, 2, 5, 7))
    assert numbers_of(strip.frames) == [0, 2, 5, 7]
    assert strip.frames[0].shape == (32, 48, 3)
    assert warnings == [
        f"2 of 3 episodes have no video of {CAMERA}: 0, 2, the first would be videos/{CAMERA}/episode_000000.mp4; "
        "training does not need them"
    ]


def test_more_pictures_than_there_are_show_each_once(lerobot2):
    (strip,), _ = film_strips(open_demonstrations(lerobot2), 99)
    assert strip.rows == tuple(range(8))


def test_an_episode_within_a_longer_video_begins_where_the_dataset_says(lerobot3):
    (strip,), warnings = film_strips(open_demonstrations(lerobot3), 3)
    assert (strip.episode, strip.rows) == ("episode 0", (0, 6, 11))
    assert numbers_of(strip.frames) == [8, 14, 19]
    assert warnings == []


def test_pictures_of_an_hdf5_file_are_read_row_by_row(robomimic, monkeypatch):
    read = []
    plain = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key, **how: read.append(key) or plain(self, key, **how)
    )
    (strip,), warnings = film_strips(open_demonstrations(robomimic), 3)
    assert read == [0, 6, 11]
    assert (strip.camera, strip.episode, strip.rows) == ("agentview_image", "demo_0", (0, 6, 11))
    assert numbers_of(strip.frames) == [0, 6, 11]
    assert warnings == []


def test_inspect_draws_them_and_says_where(robomimic, lerobot2, tmp_path, capsys):
    for path, camera in ((robomimic, "agentview_image"), (lerobot2, CAMERA)):
        run = tmp_path / camera
        assert main(["data", "inspect", str(path), f"run_dir={run}"]) == 0
        out = capsys.readouterr().out
        assert f"{run}/camera_{camera}.png" in out
        assert (run / f"camera_{camera}.png").stat().st_size > 1000
    assert f"2 of 3 episodes have no video of {CAMERA}" in out
    assert main(["data", "inspect", str(robomimic), "pictures=0", f"run_dir={tmp_path}/none"]) == 0
    assert not list((tmp_path / "none").glob("camera_*"))


def test_the_name_of_a_camera_stays_a_name_of_a_file(tmp_path):
    path = tmp_path / "odd.hdf5"
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["obs/state"] = np.zeros((3, 2))
        demo["obs/my camera [1]"] = np.stack(greys(0, 3))
        demo["actions"] = np.zeros((3, 1))
    assert main(["data", "inspect", str(path), f"run_dir={tmp_path}/run"]) == 0
    assert (tmp_path / "run" / "camera_my_camera__1_.png").exists()


def spoil(video):
    video.write_bytes(b"no video at all")


def cut(video):
    write_video(video, greys(0, 3), fps=FPS)


def remove(video):
    video.unlink()


@pytest.mark.parametrize(
    ("harm", "warning"),
    [(spoil, "cannot be decoded"), (cut, "cannot be decoded up to frame 7"), (remove, "3 of 3 episodes have no video")],
)
def test_training_reads_no_video_and_inspect_warns_of_what_is_wrong_with_it(lerobot2, harm, warning, tmp_path, capsys):
    wanted = read_demonstrations(lerobot2, allow_missing_rewards=True)
    harm(lerobot2 / "videos" / CAMERA / "episode_000001.mp4")
    found = read_demonstrations(lerobot2, allow_missing_rewards=True)
    assert len(found) == 3
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
    small = ["model.chunk=2", "model.generator.width=16", "steps=2", "training.batch_size=4"]
    arguments = ["train", f"data={lerobot2}", "allow_missing_rewards=true", *small, f"run_dir={tmp_path}/model"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(["data", "inspect", str(lerobot2), f"run_dir={tmp_path}/run"]) == 0
    assert warning in capsys.readouterr().out
    assert not list((tmp_path / "run").glob("camera_*"))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("../{video_key}.mp4", "leads out of the dataset's folder"),
        ("{file}.mp4", "expected only"),
        (None, "names no file"),
    ],
)
def test_names_of_videos_stay_in_the_folder(lerobot2, pattern, message):
    write_info(lerobot2, "v2.1", data_path="data/episode_{episode_index:06d}.parquet", video_path=pattern)
    strips, warnings = film_strips(open_demonstrations(lerobot2), 3)
    assert strips == []
    assert message in warnings[0]


def test_a_dataset_that_does_not_say_where_its_pictures_are_is_inspected_without(lerobot3):
    file = lerobot3 / "meta" / "episodes" / "file-000.parquet"
    table = parquet.read_table(file)
    parquet.write_table(table.drop_columns([f"videos/{CAMERA}/from_timestamp"]), file)
    strips, warnings = film_strips(open_demonstrations(lerobot3), 3)
    assert strips == []
    assert "from_timestamp" in warnings[0]


def test_a_damaged_picture_names_the_file(robomimic):
    with h5py.File(robomimic, "r+") as file:
        del file["data/demo_0/obs/agentview_image"]
        chunked = file["data/demo_0/obs"].create_dataset(
            "agentview_image", data=np.stack(greys(0, 12)), chunks=(1, 32, 48, 3), compression="gzip"
        )
        place = chunked.id.get_chunk_info(5)
    data = bytearray(robomimic.read_bytes())
    data[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    robomimic.write_bytes(data)
    assert numbers_of(read_pictures(robomimic, "agentview_image", "demo_0", [0, 4])) == [0, 4]
    with pytest.raises(ValueError, match="agentview_image is damaged"):
        read_pictures(robomimic, "agentview_image", "demo_0", [5])
    strips, (warning,) = film_strips(open_demonstrations(robomimic), 12)
    assert strips == [], "and the rest of the file is still told of"
    assert warning.startswith("no pictures of agentview_image: ")


def test_a_picture_larger_than_its_file_is_not_allocated(robomimic):
    with h5py.File(robomimic, "r+") as file:
        del file["data/demo_0/obs/agentview_image"]
        file["data/demo_0/obs"].create_dataset("agentview_image", (2, 2**14, 2**14, 3), np.uint8, chunks=(1, 8, 8, 3))
    with pytest.raises(ValueError, match=r"agentview_image announces 1610612736 bytes .* the file holds 0"):
        read_pictures(robomimic, "agentview_image", "demo_0", [0])


def test_frames_are_read_by_number(tmp_path):
    path = tmp_path / "film.mp4"
    write_video(path, greys(0, 30), fps=FPS)
    assert numbers_of(read_frames(path, [3, 4, 17, 29])) == [3, 4, 17, 29]
    with pytest.raises(ValueError, match="frame 30"):
        read_frames(path, [30])
