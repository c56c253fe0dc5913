"""Which episodes are learned from, and which are held out."""

from dataclasses import replace

import numpy as np

from drift_wm.datasets.split import split


def test_copies_of_an_episode_are_on_one_side_together(linear_episodes):
    twice = [*linear_episodes, *linear_episodes]
    training, held_out = split(twice, 0.34, seed=0)
    assert len(held_out) == 2
    assert len(training) == 8
    assert not any(each.is_among(other.fingerprints) for each in training for other in held_out)


def test_a_copy_without_its_last_transition_is_one(linear_episodes):
    shorter = [
        replace(each, obs=each.obs[:-1], actions=each.actions[:-1], rewards=each.rewards[:-1])
        for each in linear_episodes
    ]
    training, held_out = split([*shorter, *linear_episodes], 0.34, seed=0)
    assert (len(training), len(held_out)) == (8, 2)
    assert not any(each.is_among(other.fingerprints) for each in training for other in held_out)


def test_episodes_that_repeat_actions_or_begin_alike_can_be_held_out(linear_episodes):
    first = linear_episodes[0]
    from_other_starts = [replace(first, obs=first.obs + np.float32(shift)) for shift in range(4)]
    later = np.arange(len(first)) >= len(first) - 2
    alike = [replace(first, actions=first.actions + np.float32(shift) * later[:, None]) for shift in range(4)]
    for others in (from_other_starts, alike):
        training, held_out = split(others, 0.25, seed=0)
        assert (len(training), len(held_out)) == (3, 1)


def test_whole_episodes_are_held_out(linear_episodes):
    training, held_out = split(linear_episodes, 0.34, seed=0)
    assert len(training) == 4
    assert len(held_out) == 2
    assert {id(episode) for episode in training + held_out} == {id(episode) for episode in linear_episodes}
    assert split(linear_episodes, 0.34, seed=0)[1][0] is held_out[0]
    assert split(linear_episodes, 0.0, seed=0)[1] == []
    assert len(split(linear_episodes, 0.01, seed=0)[1]) == 1
    assert split(linear_episodes[:1], 0.9, seed=0) == (linear_episodes[:1], []), "something is left to learn from"
