"""Films of episodes: of their states, or acted again from the same seed, and never a reason to stop."""

from dataclasses import replace

import imageio
import numpy as np
import pytest

from drift_wm.acting.films import episode_frames, film_best, film_several
from drift_wm.datasets.episodes import Episode
from drift_wm.envs.rendering import RenderingUnavailableError
from drift_wm.interfaces import Spec


class Painted:
    """Shows where it stands: its seed, plus the sum of its actions; a state is that number."""

    task_spec = Spec(1, 1, 0.1)
    task_name = "painted"

    def __init__(self, drift=0.0):
        self.drift, self.at, self.closed = drift, 0.0, False

    def reset(self, *, seed=None):
        self.at, self.calls = float(seed), ["reset"]
        return self._obs(), {}

    def step(self, action):
        self.at += float(action[0]) + self.drift
        self.calls.append("step")
        return self._obs(), 0.0, False, False, {}

    def set_physics_state(self, state):
        self.at = float(state[0])
        self.calls.append("set")

    def render(self):
        return np.full((16, 16, 3), self.at, dtype=np.uint8)

    def close(self):
        self.closed = True

    def _obs(self):
        return np.array([self.at], np.float32)


def episode(seed=40, length=4, states=False, reward=0.0) -> Episode:
    obs = np.arange(seed, seed + 10 * length + 1, 10, dtype=np.float32)[:, None]
    return Episode(
        obs=obs,
        actions=np.full((length, 1), 10, np.float32),
        rewards=np.full(length, reward, np.float32),
        terminated=False,
        states=obs.astype(np.float64) if states else None,
        seed=seed,
    )


def shown(env, episode, every=1) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in episode_frames(env, episode, every=every)]


@pytest.mark.parametrize(("every", "seen"), [(1, [40, 50, 60, 70, 80]), (2, [40, 60, 80]), (3, [40, 70])])
def test_an_episode_without_states_is_acted_again(every, seen, caplog):
    assert shown(Painted(), episode(), every) == seen
    assert shown(Painted(), episode(states=True), every) == seen
    assert not caplog.text


def test_states_are_shown_in_the_world_that_the_seed_drew():
    env = Painted()
    shown(env, episode(states=True))
    assert env.calls == ["reset"] + ["set"] * 5
    assert shown(Painted(drift=3.0), episode(states=True)) == [40, 50, 60, 70, 80]


def test_a_world_that_does_not_repeat_itself_is_filmed_with_a_warning(caplog):
    assert shown(Painted(drift=3.0), episode()) == [40, 53, 66, 79, 92]
    assert "does not show the recorded episode" in caplog.text


def test_what_knows_neither_states_nor_seed_is_not_filmed(tmp_path, caplog):
    env = Painted()
    env.reset(seed=1)
    with pytest.raises(RenderingUnavailableError, match="neither physics states nor a reset's seed"):
        list(episode_frames(env, replace(episode(), seed=None), every=1))
    assert film_best(env, [replace(episode(), seed=None)], tmp_path / "best.mp4") is None
    assert "no video: an episode of painted" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_best_episode_is_filmed_and_a_film_that_is_there_is_kept(tmp_path):
    path = tmp_path / "best.mp4"
    assert film_best(Painted(), [episode(seed=10), episode(seed=100, reward=1.0)], path) == path
    with imageio.get_reader(path) as reader:
        assert abs(float(np.asarray(reader.get_data(0)).mean()) - 100) < 8
    before = path.read_bytes()
    film_best(Painted(), [episode(seed=200)], path)
    assert path.read_bytes() == before


def test_several_films_have_a_world_each_which_is_freed(tmp_path):
    made = []

    def make():
        made.append(Painted())
        return made[-1]

    path = tmp_path / "several.mp4"
    assert film_several(make, [episode(seed=10, length=2), episode(seed=100)], path) == path
    with imageio.get_reader(path) as reader:
        frames = [np.asarray(frame) for frame in reader]
    assert [frame.shape for frame in frames] == [(16, 32, 3)] * 5
    assert abs(float(frames[-1][:, :16].mean()) - 30) < 8, "the first was over after two steps"
    assert abs(float(frames[-1][:, 16:].mean()) - 140) < 8
    assert [env.closed for env in made] == [True, True]
    assert film_several(make, [episode()], tmp_path / "one.mp4") is None
    assert len(made) == 2
