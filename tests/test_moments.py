import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows


def random_episodes(lengths, *, seed=0, obs_size=3, offset=0.0):
    rng = np.random.default_rng(seed)
    return [
        Episode(
            (rng.normal(size=(length + 1, obs_size)) + offset).astype(np.float32),
            rng.normal(size=(length, 2)).astype(np.float32),
            rng.normal(size=length).astype(np.float32),
            terminated=False,
        )
        for length in lengths
    ]


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    chunk=st.integers(1, 4),
    offset=st.sampled_from([0.0, 1000.0]),
)
def test_statistics_equal_those_of_the_stacked_arrays(lengths, chunk, offset):
    episodes = random_episodes([*lengths, chunk + 1], offset=offset)
    found = compute_statistics(episodes, chunk=chunk)
    windows = Windows(episodes, history=1, chunk=chunk)
    obs = windows.batch(torch.arange(len(windows))).obs.double()
    expected = {
        "obs": np.concatenate([episode.obs for episode in episodes]).astype(np.float64),
        "actions": np.concatenate([episode.actions for episode in episodes]).astype(np.float64),
        "rewards": np.concatenate([episode.rewards for episode in episodes]).astype(np.float64),
        "changes": (obs[:, 1:] - obs[:, :1]).numpy(),
    }
    for name, values in expected.items():
        moments = getattr(found, name)
        assert moments.mean.dtype == moments.std.dtype == torch.float32
        np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-6, atol=1e-6)


def test_shapes():
    found = compute_statistics(random_episodes([9, 9]), chunk=4)
    assert found.obs.mean.shape == (3,)
    assert found.actions.std.shape == (2,)
    assert found.rewards.mean.shape == ()
    assert found.changes.mean.shape == found.changes.std.shape == (4, 3)


def test_a_ramp_has_known_changes_and_no_spread():
    obs = np.stack([np.arange(6), 7 - 2 * np.arange(6)], axis=1).astype(np.float32)
    episode = Episode(obs, np.zeros((5, 1), np.float32), np.ones(5, np.float32), False)
    found = compute_statistics([episode], chunk=3)
    assert found.changes.mean.tolist() == [[1, -2], [2, -4], [3, -6]]
    assert found.changes.std.tolist() == [[1, 1], [1, 1], [1, 1]]
    assert found.actions.std.tolist() == [1]
    assert (found.rewards.mean.item(), found.rewards.std.item()) == (1.0, 1.0)
    np.testing.assert_allclose(found.obs.std, obs.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e-42])
def test_a_dimension_that_never_changes_gets_a_std_of_one(value):
    episodes = random_episodes([7, 3, 5])
    for episode in episodes:
        episode.obs[:, 1] = value
    found = compute_statistics(episodes, chunk=2)
    assert found.obs.std[1] == 1
    assert found.changes.std[:, 1].tolist() == [1, 1]
    for others in (found.obs.std[[0, 2]], found.changes.std[:, [0, 2]]):
        assert (others != 1).all()


def test_a_change_of_one_rounding_step_counts_as_none():
    episode = random_episodes([20])[0]
    episode.obs[:, 0] = 1.0
    episode.obs[::2, 0] = np.nextafter(np.float32(1.0), np.float32(2.0))
    found = compute_statistics([episode], chunk=1)
    assert (found.obs.std[0], found.changes.std[0, 0]) == (1, 1)
    assert (found.obs.std[1:] != 1).all()


def test_a_small_but_real_change_keeps_its_scale():
    episode = random_episodes([20])[0]
    episode.obs[:, 0] *= 1e-12
    found = compute_statistics([episode], chunk=1)
    assert 0 < found.obs.std[0] < 1e-11
    assert 0 < found.changes.std[0, 0] < 1e-11


def test_short_episodes_count_for_all_but_the_changes():
    long, short = random_episodes([6, 2])
    both = compute_statistics([long, short], chunk=4)
    alone = compute_statistics([long], chunk=4)
    assert torch.equal(both.changes.mean, alone.changes.mean)
    assert not torch.equal(both.obs.mean, alone.obs.mean)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="longest of 1 episodes has 2"):
        compute_statistics(random_episodes([2]), chunk=3)
    with pytest.raises(ValueError, match=r"sizes \[\(2, 2\), \(3, 2\)\], expected one"):
        compute_statistics(random_episodes([2]) + random_episodes([2], obs_size=2), chunk=1)


def test_what_changes_by_less_than_large_rounding_has_the_size_of_that():
    """A counter near 1e9, of which float32 knows every 64th value; one that stands still has no size."""
    episode = random_episodes([50], obs_size=3)[0]
    episode.obs[:, 0] = (1e9 + 20 * np.arange(51)).astype(np.float32)
    episode.obs[:, 1] = 1e9
    found = compute_statistics([episode], chunk=2)
    assert np.ptp(np.diff(episode.obs[:, 0])) == 64
    np.testing.assert_allclose(found.changes.std[:, 0], 1e9 * np.finfo(np.float32).eps, rtol=1e-5)
    assert found.obs.std[0] == pytest.approx(episode.obs[:, 0].astype(np.float64).std(), rel=1e-6)
    assert (found.obs.std[1], found.changes.std[0, 1], found.changes.std[1, 1]) == (1, 1, 1)
