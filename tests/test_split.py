"""Which episodes are learned from, and which are held out."""

from dataclasses import replace

import numpy as np

from drift_wm.datasets.split import split


def test_copies_of_an_episode_are_on_one_side_together(linear_episodes):
    twice = [*linear_episodes, *linear_episodes]
    training, held_out = split(twice, 0.34, seed=0)
    assert len(held_out) == 2
    assert len(training) == 8
    assert not {each.fingerprint for each in training} & {each.fingerprint for each in held_out}


def test_episodes_that_repeat_actions_from_other_starts_can_be_held_out(linear_episodes):
    first = linear_episodes[0]
    others = [replace(first, obs=first.obs + np.float32(shift)) for shift in range(4)]
    assert len({each.fingerprint for each in others}) == 1
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
    assert split(linear_episodes[:1], 0.5, seed=0)[1] == []
