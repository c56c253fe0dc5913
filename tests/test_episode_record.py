import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest

from drift_wm.datasets.episodes import Episode, count_windows


def arrays(length=4, obs_size=3, action_size=2):
    return {
        "obs": np.zeros((length + 1, obs_size), np.float32),
        "actions": np.zeros((length, action_size), np.float32),
        "rewards": np.zeros(length, np.float32),
        "terminated": False,
    }


def test_an_episode_has_the_length_of_its_actions():
    episode = Episode(**arrays(length=4), states=np.zeros((5, 7)))
    assert len(episode) == 4
    assert (episode.seed, episode.source) == (None, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs": np.zeros((5, 3))}, "obs is float64 .* expected float32 with 2 dimensions"),
        ({"actions": np.zeros(4, np.float32)}, r"actions is float32 of shape \(4,\)"),
        ({"states": np.zeros((5, 3), np.float32)}, "states is float32 .* expected float64"),
        ({"obs": np.zeros((4, 3), np.float32)}, "obs has 4 rows, expected 5 .*: align"),
        ({"rewards": np.zeros(5, np.float32)}, "rewards has 5 rows, expected 4"),
        ({"states": np.zeros((4, 3))}, "states has 4 rows, expected 5"),
        ({"actions": np.zeros((0, 2), np.float32)}, "actions has no rows, expected at least 1"),
        ({"actions": np.zeros((4, 0), np.float32)}, r"actions has shape \(4, 0\), expected an entry or more"),
        ({"obs": np.zeros((5, 0), np.float32)}, r"obs has shape \(5, 0\), expected an entry or more"),
        ({"seed": -1}, "seed is -1, expected None or 0"),
        ({"seed": 2**63}, "expected None or 0"),
        ({"source": "a\0b"}, "without NUL"),
    ],
)
def test_an_inconsistent_episode_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Episode(**{**arrays(), **change})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "index"), [("obs", (2, 1)), ("actions", (3, 0)), ("rewards", (1,))])
def test_the_first_number_that_is_not_finite_is_named(name, index, bad):
    values = arrays()
    values[name][index] = bad
    values[name][-1] = bad
    with pytest.raises(ValueError, match=rf"{name}\[{', '.join(map(str, index))}\] is -?(nan|inf), .*leave out"):
        Episode(**values)


def test_states_are_checked_for_finite_numbers():
    states = np.zeros((5, 2))
    states[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"states\[4, 1\] is nan"):
        Episode(**arrays(), states=states)


def test_windows_are_counted_within_each_episode():
    episodes = [Episode(**arrays(length)) for length in (1, 3, 6)]
    assert count_windows(episodes, 1) == 10
    assert count_windows(episodes, 3) == 0 + 1 + 4


def test_no_window_at_all_names_the_longest_episode():
    episodes = [Episode(**arrays(length)) for length in (1, 3)]
    with pytest.raises(ValueError, match=r"chunk = 4 .* longest of 2 episodes has 3 .* smaller chunk"):
        count_windows(episodes, 4)
    with pytest.raises(ValueError, match="longest of 0 episodes has 0"):
        count_windows([], 1)
    with pytest.raises(ValueError, match="chunk is 0, expected at least 1"):
        count_windows(episodes, 0)


def test_a_demo_has_one_name_however_it_is_read():
    rng = np.random.default_rng(0)
    whole = record(rng.normal(size=(31, 3)), rng.normal(size=(30, 2)), rng.normal(size=30))
    without_next_obs = record(whole.obs[:-1], whole.actions[:-1], whole.rewards[:-1])
    other_keys = record(whole.obs[:, ::2] + 1, whole.actions, np.zeros(30), seed=1)
    assert {whole.fingerprint} == {without_next_obs.fingerprint, other_keys.fingerprint}


def test_actions_that_tell_little_leave_it_to_observations():
    rng = np.random.default_rng(0)
    obs, idle, rewards = rng.normal(size=(31, 3)), np.zeros((30, 2)), np.zeros(30)
    step = np.where(np.arange(30) < 5, 0.0, 1.0)[:, None].repeat(2, axis=1)
    for actions in (idle, step):
        first = record(obs, actions, rewards)
        assert record(obs[:-1], actions[:-1], rewards[:-1]).fingerprint == first.fingerprint
        assert record(obs + 1, actions, rewards).fingerprint != first.fingerprint
    late = np.concatenate([idle, rng.normal(size=(30, 2))])
    other = np.concatenate([idle, rng.normal(size=(30, 2))])
    assert len({record(np.zeros((61, 1)), a, np.zeros(60)).fingerprint for a in (late, other)}) == 2, "an idle start"


def record(obs, actions, rewards, **changes):
    arrays = {"obs": obs, "actions": actions, "rewards": rewards}
    return Episode(**{name: np.asarray(x, np.float32) for name, x in arrays.items()}, terminated=False, **changes)


def counted(monkeypatch):
    """Every hash that is begun from now on."""
    begun, begin = [], hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda *given: begun.append(given) or begin(*given))
    return begun


def test_an_episode_is_hashed_once(monkeypatch):
    begun, episode = counted(monkeypatch), Episode(**arrays())
    assert begun == [], "and only if its name is asked for"
    assert episode.fingerprint == episode.fingerprint
    assert len(begun) == 1


def test_a_process_that_receives_an_episode_receives_its_name(monkeypatch):
    named, begun = Episode(**arrays()), counted(monkeypatch)
    sent = pickle.loads(pickle.dumps(named))
    assert sent.fingerprint == named.fingerprint
    assert len(begun) == 2, "each hashed its own, as neither was known"
    again = pickle.loads(pickle.dumps(named))
    assert again.fingerprint == named.fingerprint
    assert len(begun) == 2


def test_a_changed_copy_has_a_name_of_its_own():
    episode = Episode(**arrays())
    name = episode.fingerprint
    assert replace(episode, actions=episode.actions + 1).fingerprint != name
    assert replace(episode, rewards=episode.rewards + 1).fingerprint == name
    assert name not in repr(episode)
    with pytest.raises(TypeError):
        Episode(**arrays(), _fingerprint=name)


def test_episodes_are_equal_only_to_themselves():
    episode, other = Episode(**arrays()), Episode(**arrays())
    assert episode == episode
    assert episode != other
    assert episode.fingerprint == other.fingerprint
    assert len({episode, other}) == 2
