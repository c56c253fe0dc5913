"""Worlds that end: where, how surely, and what that does to a predicted return."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import History, Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.ending import Ending
from drift_wm.models.prepared import PreparedModel
from helpers import rng

SPEC = Spec(observation_size=2, action_size=1, decision_seconds=0.1)
GENERATOR = GeneratorConfig("regression", width=32, depth=2, noise_size=2)
MODEL = WorldModelConfig(chunk=2, generator=GENERATOR, precision="float32")


def walk(seed: int) -> Episode:
    """x' = x + 0.2 a, a reward of 1 in each step; the world ends where |x| > 1. The second entry says nothing."""
    source = np.random.default_rng(seed)
    obs, actions = [np.array([0.0, source.normal()], np.float32)], []
    while abs(obs[-1][0]) <= 1 and len(actions) < 40:
        actions.append(source.uniform(-1, 1, 1).astype(np.float32) * 1.5)
        obs.append(np.array([obs[-1][0] + 0.2 * actions[-1][0], source.normal()], np.float32))
    ended = bool(abs(obs[-1][0]) > 1)
    return Episode(np.stack(obs), np.stack(actions), np.ones(len(actions), np.float32), terminated=ended)


@pytest.fixture(scope="module")
def episodes():
    episodes = [walk(seed) for seed in range(60)]
    assert 10 < sum(episode.terminated for episode in episodes) < 60
    return episodes


@pytest.fixture(scope="module")
def model(episodes):
    trainer = Trainer(SPEC, MODEL, TrainingConfig(batch_size=64), seed=1)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=2)))
    trainer.train_round(Windows(episodes, history=1, chunk=2, past_end=True), 500)
    return trainer.world_model


def asked(action: float, H: int = 10):
    return History(torch.zeros(1, 1, 2), torch.zeros(1, 0, 1)), torch.full((1, 1, H, 1), action)


def test_the_probability_is_learned_from_what_was_seen(model):
    inside, outside = torch.tensor([[0.5, 1.0], [-0.5, 0.0]]), torch.tensor([[1.4, 0.0], [-1.4, -1.0]])
    probability = torch.sigmoid(model.ending.logit(model.normaliser.obs(torch.cat([inside, outside])))).detach()
    assert (probability[:2] < 0.1).all()
    assert (probability[2:] > 0.9).all()


@pytest.mark.parametrize("prepare", [False, True])
def test_a_predicted_return_stops_where_the_world_is_predicted_to_end(model, prepare):
    chosen = PreparedModel(model, central=True, observe=False) if prepare else model
    still, fast = (chosen.rollout(*asked(action), particles=1, rng=rng()).reward[0, 0, 0] for action in (0.0, 1.0))
    assert still.sum() == pytest.approx(10, abs=1)
    # x passes 1 in the sixth step, whose reward still counts.
    assert fast.sum() == pytest.approx(6, abs=1)
    assert fast[-1] < 0.1


def test_a_prepared_model_says_the_same(model):
    past, actions = asked(1.0)
    expected = model.rollout(past, actions, particles=1, rng=rng())
    for central in (False, True):
        found = PreparedModel(model, central=central).rollout(past, actions, particles=1, rng=rng())
        torch.testing.assert_close(found.reward, expected.reward, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.obs, expected.obs, rtol=1e-4, atol=1e-4)


def test_other_scales_keep_the_prediction(model, episodes):
    past, actions = asked(1.0)
    before = model.rollout(past, actions, particles=1, rng=rng()).reward
    logit = model.ending.logit(model.normaliser.obs(torch.tensor([0.9, 0.3])))
    kept = model.state_dict()
    kept = {name: value.clone() for name, value in kept.items()}
    model.rescale(scales_of(compute_statistics(episodes[:3], chunk=2)))
    torch.testing.assert_close(model.ending.logit(model.normaliser.obs(torch.tensor([0.9, 0.3]))), logit)
    torch.testing.assert_close(model.rollout(past, actions, particles=1, rng=rng()).reward, before)
    model.load_state_dict(kept)


def test_shares_of_a_batch_weigh_as_the_whole(model):
    """As processes that train together compute it; in each share worlds end at other steps."""
    obs, ended = torch.randn(8, 5, 2, generator=rng()), torch.zeros(8, 5)
    ended[:4, 1:] = 1
    whole = model.ending.loss(obs, ended)
    shares = [model.ending.loss(obs[part], ended[part]) for part in (slice(4), slice(4, 8))]
    torch.testing.assert_close(torch.stack(shares).mean(), whole)


def test_a_time_limit_ends_no_world(episodes):
    cut = [replace(episode, terminated=False) for episode in episodes]
    trainer = Trainer(SPEC, MODEL, TrainingConfig(batch_size=64), seed=1)
    trainer.rescale(scales_of(compute_statistics(cut, chunk=2)))
    before = [parameter.detach().clone() for parameter in trainer.world_model.ending.parameters()]
    trainer.train_round(Windows(cut, history=1, chunk=2, past_end=True), 20)
    ending = trainer.world_model.ending
    assert not ending.seen
    assert all(map(torch.equal, before, ending.parameters())), "nothing was learned of ends, nor forgotten"


@pytest.mark.parametrize("chunk", [1, 5])
def test_critics_learn_that_nothing_comes_after_the_end(chunk):
    """x' = x + 0.1, and 1 for each step: from 0.45 on there are six left, from 0.85 on two, whatever is done."""
    obs = np.stack([np.arange(12) / 10 - 0.05, np.zeros(12)], axis=1).astype(np.float32)
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 11, 1)).astype(np.float32)
    episodes = [Episode(obs, each, np.ones(11, np.float32), terminated=True) for each in actions]
    config = replace(MODEL, chunk=chunk, value_discount=0.8)
    trainer = Trainer(SPEC, config, TrainingConfig(batch_size=32, value_rate=1.0), seed=1)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=chunk)))
    trainer.train_round(Windows(episodes, history=1, chunk=chunk, past_end=True), 800)
    model = trainer.world_model
    with torch.no_grad():
        values = model.value(model.normaliser.obs(torch.tensor([[0.45, 0.0], [0.85, 0.0], [0.95, 0.0]])))
    torch.testing.assert_close(values, torch.tensor([3.69, 1.8, 1.0]), atol=0.35, rtol=0)


@pytest.mark.parametrize("chunk", [1, 5])
def test_an_end_is_as_probable_as_it_was_in_any_chunk(chunk):
    """A world that ends with probability 0.1 after every step: episodes shorter than a chunk count, too."""
    source = np.random.default_rng(0)
    episodes = []
    for length in source.geometric(0.1, 400):
        obs = np.ones((length + 1, 2), np.float32)
        actions = source.uniform(-1, 1, (length, 1)).astype(np.float32)
        episodes.append(Episode(obs, actions, np.ones(length, np.float32), terminated=True))
    share = len(episodes) / sum(map(len, episodes))
    trainer = Trainer(SPEC, replace(MODEL, chunk=chunk), TrainingConfig(batch_size=256), seed=1)
    trainer.train_round(Windows(episodes, history=1, chunk=chunk, past_end=True), 400)
    model = trainer.world_model
    logit = model.ending.logit(model.normaliser.obs(torch.ones(2))).detach()
    assert float(torch.sigmoid(logit)) == pytest.approx(share, abs=0.03)


def test_what_an_end_pays_is_predicted_wherever_in_a_chunk_it_comes():
    """x' = x + 0.2 a; to get beyond 1 ends the world and pays 10, and nothing else pays.

    So sharp a step is learned roughly by a small network. Where windows stop at ends, 0.0 is predicted of all three.
    """
    episodes = []
    for seed in range(300):
        episode = walk(seed)
        rewards = np.where(np.arange(len(episode)) + 1 == len(episode), 10.0 * episode.terminated, 0.0)
        episodes.append(replace(episode, rewards=rewards.astype(np.float32)))
    trainer = Trainer(SPEC, replace(MODEL, chunk=5), TrainingConfig(batch_size=64), seed=1)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=5, past_end=True)))
    trainer.train_round(Windows(episodes, history=1, chunk=5, past_end=True), 1500)
    for start, step in ((0.9, 1), (0.7, 2), (0.5, 3)):
        past = History(torch.tensor([[[start, 0.0]]]), torch.zeros(1, 0, 1))
        predicted = trainer.world_model.rollout(past, torch.ones(1, 1, 5, 1), particles=1, rng=rng()).reward
        assert float(predicted.sum()) == pytest.approx(10, abs=5), f"in step {step}"


@pytest.mark.parametrize("chunk", [1, 5])
def test_an_end_that_nobody_sees_coming_is_discounted_once(chunk):
    """A world that pays 1 and ends with probability 0.2 after every step, and looks the same: 3.36 in five steps."""
    source, episodes = np.random.default_rng(0), []
    for length in source.geometric(0.2, 1500):
        actions = source.uniform(-1, 1, (length, 1)).astype(np.float32)
        obs = source.normal(size=(length + 1, 2)).astype(np.float32)
        episodes.append(Episode(obs, actions, np.ones(length, np.float32), terminated=True))
    trainer = Trainer(SPEC, replace(MODEL, chunk=chunk), TrainingConfig(batch_size=256), seed=1)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=chunk, past_end=True)))
    trainer.train_round(Windows(episodes, history=1, chunk=chunk, past_end=True), 400)
    past = History(torch.randn(64, 1, 2, generator=rng()), torch.zeros(64, 0, 1))
    predicted = trainer.world_model.rollout(past, torch.zeros(64, 1, 5, 1), particles=1, rng=rng()).reward
    assert float(predicted.sum(dim=-1).mean()) == pytest.approx(3.36, abs=0.4)


def test_survival_is_the_chance_that_no_step_before_was_the_last():
    ending = Ending(1, rng=rng())
    ending.logit = lambda obs: torch.tensor([0.0, 0.0, 50.0, 0.0])  # halves, then surely
    torch.testing.assert_close(ending.survival(torch.zeros(4, 1)), torch.tensor([1.0, 0.5, 0.25, 0.0, 0.0]))
