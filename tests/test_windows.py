import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.windows import Windows


def numbered_episodes(lengths, *, obs_size=2, action_size=3):
    """Every stored number occurs once, so that a row of another episode or time would be seen."""
    numbers = iter(range(1, 100_000))

    def block(*shape):
        count = int(np.prod(shape))
        return np.array([next(numbers) for _ in range(count)], np.float32).reshape(shape)

    return [
        Episode(block(length + 1, obs_size), block(length, action_size), block(length), terminated=False)
        for length in lengths
    ]


def enumerate_windows(episodes, history, chunk):
    """The definition, written out: loops over episodes, decisions and frames."""
    for episode in episodes:
        for t in range(len(episode) - chunk + 1):
            obs = [episode.obs[max(i, 0)] for i in range(t - history + 1, t + chunk + 1)]
            no_action = np.zeros_like(episode.actions[0])
            actions = [episode.actions[i] if i >= 0 else no_action for i in range(t - history + 1, t + chunk)]
            yield np.stack(obs), np.stack(actions), episode.rewards[t : t + chunk]


def assert_windows_equal(windows, episodes):
    expected = list(enumerate_windows(episodes, windows.history, windows.chunk))
    assert len(windows) == len(expected)
    batch = windows.batch(torch.arange(len(windows)))
    for found, wanted in zip((batch.obs, batch.actions, batch.reward), zip(*expected, strict=True), strict=True):
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), np.stack(wanted))


sizes = st.integers(1, 5)
some_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@settings(deadline=None, max_examples=80)
@given(lengths=some_lengths, history=sizes, chunk=sizes)
def test_windows_are_those_of_the_definition(lengths, history, chunk):
    episodes = numbered_episodes([*lengths, chunk])
    assert_windows_equal(Windows(episodes, history=history, chunk=chunk), episodes)


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 9), history=sizes, chunk=sizes)
def test_behind_an_end_the_world_stays_as_it_is_and_pays_nothing(length, history, chunk):
    (going_on,) = numbered_episodes([length + chunk - 1])
    ended = Episode(going_on.obs[: length + 1], going_on.actions[:length], going_on.rewards[:length], terminated=True)
    windows = Windows([ended], history=history, chunk=chunk, past_end=True)
    (wanted, acted, paid) = (
        np.stack(each) for each in zip(*enumerate_windows([going_on], history, chunk), strict=True)
    )
    assert len(windows) == length == len(wanted)
    batch = windows.batch(torch.arange(length))
    step = np.arange(length)[:, None] + np.arange(chunk)  # of each predicted transition
    np.testing.assert_array_equal(batch.ended, step >= length - 1)
    np.testing.assert_array_equal(batch.reward, np.where(step < length, paid, 0))
    frame = np.arange(length)[:, None] + np.arange(1 - history, chunk + 1)
    np.testing.assert_array_equal(batch.obs, np.where(frame[..., None] <= length, wanted, ended.obs[-1]))
    known = np.arange(length)[:, None] + np.arange(1 - history, chunk) < length
    np.testing.assert_array_equal(batch.actions[known], acted[known])
    assert {tuple(row) for row in batch.actions[~known].tolist()} <= {tuple(row) for row in ended.actions.tolist()}


def test_one_window_by_hand():
    obs = np.array([[10.0], [11.0], [12.0], [13.0]], np.float32)
    actions = np.array([[1.0], [2.0], [3.0]], np.float32)
    windows = Windows([Episode(obs, actions, actions[:, 0] * 100, False)], history=3, chunk=2)
    batch = windows.batch(torch.tensor([0, 1]))
    assert batch.obs[..., 0].tolist() == [[10, 10, 10, 11, 12], [10, 10, 11, 12, 13]]
    assert batch.actions[..., 0].tolist() == [[0, 0, 1, 2], [0, 1, 2, 3]]
    assert batch.reward.tolist() == [[100, 200], [200, 300]]


def test_windows_do_not_share_memory_with_the_episode():
    episodes = numbered_episodes([3])
    windows = Windows(episodes, history=1, chunk=1)
    before = windows.batch(torch.tensor([0])).obs.clone()
    episodes[0].obs[:] = -1
    assert torch.equal(windows.batch(torch.tensor([0])).obs, before)


def test_read_only_and_reversed_arrays_are_accepted():
    forward = numbered_episodes([4])[0]
    obs = np.flip(np.flip(forward.obs, 0).copy(), 0)
    obs.flags.writeable = False
    assert_windows_equal(
        Windows([Episode(obs, forward.actions, forward.rewards, False)], history=2, chunk=2), [forward]
    )


def test_sampling_is_uniform_and_belongs_to_the_generator():
    windows = Windows(numbered_episodes([4, 2, 1], obs_size=1), history=1, chunk=2)
    assert len(windows) == 4
    state = torch.get_rng_state()
    batch = windows.sample(8000, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    again = windows.sample(8000, torch.Generator().manual_seed(0))
    assert torch.equal(batch.obs, again.obs)
    _, counts = batch.obs[:, 0, 0].unique(return_counts=True)
    # Binomial(8000, 1/4): a standard deviation of 39.
    assert len(counts) == 4
    assert (counts - 2000).abs().max() < 200


def test_an_empty_batch_has_shapes():
    batch = Windows(numbered_episodes([4]), history=2, chunk=3).batch(torch.zeros(0, dtype=torch.int64))
    assert (batch.obs.shape, batch.actions.shape, batch.reward.shape) == ((0, 5, 2), (0, 4, 3), (0, 3))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([0, 4]), r"indices lie in 0\.\.4, expected 0\.\.3"),
        (torch.tensor([-1]), r"indices lie in -1\.\.-1"),
        (torch.tensor([0.0]), "indices is torch.float32"),
        (torch.tensor([[0]]), r"of shape \(1, 1\), expected int64"),
    ],
)
def test_bad_indices_are_refused(indices, message):
    windows = Windows(numbered_episodes([4]), history=1, chunk=1)
    with pytest.raises(ValueError, match=message):
        windows.batch(indices)


def test_bad_arguments_are_refused():
    episodes = numbered_episodes([2])
    with pytest.raises(ValueError, match="history is 0"):
        Windows(episodes, history=0, chunk=1)
    with pytest.raises(ValueError, match="chunk is 0"):
        Windows(episodes, history=1, chunk=0)
    with pytest.raises(ValueError, match=r"longest of 1 episodes has 2 .* smaller chunk"):
        Windows(episodes, history=1, chunk=3)
    with pytest.raises(ValueError, match=r"sizes \(3, 3\), expected \(2, 3\)"):
        Windows(episodes + numbered_episodes([2], obs_size=3), history=1, chunk=1)
    with pytest.raises(ValueError, match="size is 0"):
        Windows(episodes, history=1, chunk=1).sample(0, torch.Generator())


def test_the_end_of_a_world_is_told_from_the_end_of_an_episode():
    cut, ended = numbered_episodes([4, 3])
    ended = Episode(ended.obs, ended.actions, ended.rewards, terminated=True)
    assert Windows([cut], history=2, chunk=2).batch(torch.arange(3)).ended is None
    windows = Windows([cut, ended], history=2, chunk=2)
    marks = windows.batch(torch.arange(len(windows))).ended
    assert marks.tolist() == [[0, 0]] * 3 + [[0, 0], [0, 1]], "with the last transition of the second episode"
