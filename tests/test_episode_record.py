import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest

from drift_wm.datasets.episodes import Episode, count_windows, digest_of


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
    for length in (1, 2, 15, 16, 17, 30):
        whole = record(rng.normal(size=(length + 2, 3)), rng.normal(size=(length + 1, 2)), np.zeros(length + 1))
        without_next_obs = record(whole.obs[:-1], whole.actions[:-1], whole.rewards[:-1])
        otherwise = record(whole.obs, whole.actions, np.ones(length + 1), seed=1)
        assert whole.is_among(without_next_obs.fingerprints)
        assert without_next_obs.is_among(whole.fingerprints)
        assert otherwise.fingerprints == whole.fingerprints


def test_episodes_that_begin_alike_or_repeat_actions_are_others():
    rng = np.random.default_rng(0)
    obs, home, rewards = np.zeros((121, 3)), rng.normal(size=(100, 2)), np.zeros(120)
    first, second = (record(obs, np.concatenate([home, rng.normal(size=(20, 2))]), rewards) for _ in range(2))
    assert not first.is_among(second.fingerprints), "a common approach from home"
    again = record(np.concatenate([obs[:1], rng.normal(size=(120, 3))]), first.actions, rewards)
    assert not first.is_among(again.fingerprints), "the same actions in a world of chance"


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
    assert begun == [], "and only if its names are asked for"
    assert episode.fingerprints == episode.fingerprints
    assert len(begun) == 2


def test_a_process_that_receives_an_episode_receives_its_name(monkeypatch):
    named, begun = Episode(**arrays()), counted(monkeypatch)
    sent = pickle.loads(pickle.dumps(named))
    assert sent.fingerprints == named.fingerprints
    assert len(begun) == 4, "each hashed its own, as neither was known"
    again = pickle.loads(pickle.dumps(named))
    assert again.fingerprints == named.fingerprints
    assert len(begun) == 4


def test_a_changed_copy_has_a_name_of_its_own():
    episode = Episode(**arrays())
    names = episode.fingerprints
    assert not replace(episode, actions=episode.actions + 1).is_among(names)
    assert replace(episode, rewards=episode.rewards + 1).fingerprints == names
    assert not any(name in repr(episode) for name in names)
    with pytest.raises(TypeError):
        Episode(**arrays(), _fingerprints=names)


def test_a_digest_is_of_all_that_is_learned():
    first, second = Episode(**arrays()), Episode(**arrays(length=5))
    known = digest_of([first, second])
    assert digest_of([Episode(**arrays()), Episode(**arrays(length=5))]) == known
    others = [
        [second, first],
        [first],
        *([first, replace(second, **{name: getattr(second, name) + 1})] for name in ("obs", "actions", "rewards")),
        [first, replace(second, terminated=True)],
    ]
    assert len({known, *(digest_of(other) for other in others)}) == 1 + len(others)


def test_episodes_are_equal_only_to_themselves():
    episode, other = Episode(**arrays()), Episode(**arrays())
    assert episode == episode
    assert episode != other
    assert episode.fingerprints == other.fingerprints
    assert len({episode, other}) == 2
