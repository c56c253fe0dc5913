import weakref
from types import SimpleNamespace

import imageio
import numpy as np
import pytest

from drift_wm.acting.video import real_time, replay_frames, side_by_side, write_video


def frames(count=6, height=32, width=48):
    for number in range(count):
        yield np.full((height, width, 3), 40 * number, dtype=np.uint8)


def read(path):
    with imageio.get_reader(path) as reader:
        return [np.asarray(frame) for frame in reader], reader.get_meta_data()


def test_what_is_written_can_be_seen(tmp_path):
    write_video(tmp_path / "film.mp4", frames(), fps=20)
    seen, about = read(tmp_path / "film.mp4")
    assert len(seen) == 6
    assert about["fps"] == 20
    assert seen[0].shape == (32, 48, 3)
    for number, frame in enumerate(seen):
        assert abs(float(frame.mean()) - 40 * number) < 8
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_odd_sizes_are_padded(tmp_path):
    write_video(tmp_path / "film.mp4", frames(height=31, width=47), fps=20)
    assert read(tmp_path / "film.mp4")[0][0].shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("name", "wrong", "fps", "match"),
    [
        ("film.gif", lambda: frames(), 20, r"ends in \.mp4"),
        ("film.mp4", lambda: frames(), 0, "fps is 0"),
        ("film.mp4", lambda: frames(), float("inf"), "fps is inf"),
        ("film.mp4", lambda: iter(()), 20, "no frames"),
        ("film.mp4", lambda: [None], 20, "frame 0 is NoneType"),
        ("film.mp4", lambda: [np.zeros((4, 4, 3))], 20, "frame 0 is float64"),
        ("film.mp4", lambda: [np.zeros((4, 4), np.uint8)], 20, r"of shape \(4, 4\)"),
        ("film.mp4", lambda: [np.zeros((0, 4, 3), np.uint8)], 20, r"of shape \(0, 4, 3\)"),
        ("film.mp4", lambda: [*frames(2), np.zeros((8, 8, 3), np.uint8)], 20, r"frame 2 has shape \(8, 8, 3\)"),
    ],
)
def test_what_cannot_be_filmed_is_refused_and_leaves_nothing(tmp_path, name, wrong, fps, match):
    with pytest.raises(ValueError, match=match):
        write_video(tmp_path / name, wrong(), fps=fps)
    assert list(tmp_path.iterdir()) == []


def test_few_frames_are_in_memory_at_a_time(tmp_path):
    made, most = [], 0

    def watched():
        nonlocal most
        for _ in range(20):
            frame = np.zeros((16, 16, 3), np.uint8)
            made.append(weakref.ref(frame))
            most = max(most, sum(reference() is not None for reference in made))
            yield frame

    write_video(tmp_path / "film.mp4", watched(), fps=20)
    assert len(made) == 20
    assert most < 6


def test_an_error_halfway_leaves_the_old_film_alone(tmp_path):
    path = tmp_path / "film.mp4"
    write_video(path, frames(), fps=20)
    before = path.read_bytes()

    def breaks():
        yield from frames(3)
        raise RuntimeError("the renderer died")

    with pytest.raises(RuntimeError, match="the renderer died"):
        write_video(path, breaks(), fps=20)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def plain(value: int, count: int, size: int = 8):
    for _ in range(count):
        yield np.full((size, size, 3), value, dtype=np.uint8)


def test_films_side_by_side_keep_the_last_frame_of_what_is_over():
    seen = list(side_by_side([plain(10, 3), plain(20, 1), plain(30, 2)]))
    assert [frame.shape for frame in seen] == [(16, 16, 3)] * 3
    for frame in seen:
        corners = [int(frame[i, j, 0]) for i, j in ((0, 0), (0, 8), (8, 0), (8, 8))]
        assert corners == [10, 20, 30, 0]
    assert next(side_by_side([plain(10, 1)])).shape == (8, 8, 3)


def test_wide_films_side_by_side_are_thinned():
    (frame,) = side_by_side([plain(value, 1, size=1000) for value in range(4)])
    assert frame.shape == (1000, 1000, 3)
    with pytest.raises(ValueError, match="no films"):
        next(side_by_side([]))


class Screen:
    def __init__(self):
        self.restored = []

    def set_physics_state(self, state):
        self.restored.append(float(state[0]))

    def render(self):
        return np.full((4, 4, 3), self.restored[-1], dtype=np.uint8)


def test_replay_renders_each_state_when_it_is_asked_for():
    screen, episode = Screen(), SimpleNamespace(states=np.arange(7.0)[:, None])
    pictures = replay_frames(screen, episode, every=3)
    assert screen.restored == []
    assert next(pictures)[0, 0, 0] == 0
    assert screen.restored == [0]
    list(pictures)
    assert screen.restored == [0, 3, 6]


def test_replay_needs_states():
    with pytest.raises(ValueError, match="no physics states"):
        replay_frames(Screen(), SimpleNamespace(states=None))
    with pytest.raises(ValueError, match="every is 0"):
        replay_frames(Screen(), SimpleNamespace(states=np.zeros((2, 1))), every=0)


@pytest.mark.parametrize(
    ("seconds", "every", "fps"), [(0.02, 1, 50), (0.01, 2, 50), (0.05, 1, 20), (0.004, 5, 50), (1.0, 1, 1)]
)
def test_films_run_in_real_time(seconds, every, fps):
    found_every, found_fps = real_time(seconds)
    assert found_every == every
    assert found_fps == pytest.approx(fps)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_time_must_pass(wrong):
    with pytest.raises(ValueError, match="decision_seconds"):
        real_time(wrong)


def test_the_fastest_film_must_have_frames():
    with pytest.raises(ValueError, match="max_fps is 0"):
        real_time(0.02, max_fps=0)
