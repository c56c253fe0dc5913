"""Entries of observations that never vary in training: nothing is predicted from them, and nothing learned is lost."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig, sample_scores
from drift_wm.generators.config import GENERATORS
from drift_wm.interfaces import History, Spec
from drift_wm.learning.held_out import held_out_metrics
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.lineage.probe import ProbeEpisodes, make_probe, predict, quality_of
from drift_wm.models.behaviour import LearnedPolicy, PolicyConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from helpers import rng

SPEC = Spec(observation_size=4, action_size=2, decision_seconds=0.1)
MASS, HEAVIER = 1500.0, 1620.0


def with_mass(episodes: list[Episode], *masses: float) -> list[Episode]:
    """With an entry more that is constant in each episode, a payload, say; the k-th has the k-th mass, in turn."""
    return [
        replace(each, obs=np.insert(each.obs, 3, np.float32(masses[i % len(masses)]), axis=1))
        for i, each in enumerate(episodes)
    ]


def scales(episodes: list[Episode]):
    return scales_of(compute_statistics(episodes, chunk=2))


def make(name: str = "drifting", **shape) -> LearnedWorldModel:
    """Untrained: its weights are those that training leaves to a constant entry."""
    config = GeneratorConfig(name, width=32, depth=2, noise_size=2, steps=4)
    shape = WorldModelConfig(history=2, chunk=2, generator=config, precision="float32", **shape)
    return LearnedWorldModel(SPEC, shape, rng=rng())


def futures(model: LearnedWorldModel | PreparedModel, mass: float):
    """Changes of all entries, rewards and values, predicted of a mass."""
    obs = torch.randn(2, 2, 4, generator=rng(1))
    obs[..., 3] = mass
    past = History(obs, torch.randn(2, 1, 2, generator=rng(2)))
    actions = torch.randn(2, 5, 4, 2, generator=rng(3))
    found = model.rollout(past, actions, particles=2, rng=rng(4))
    return found.obs - obs[:, -1, None, None, None], found.reward, found.terminal_value


def assert_equal(found, expected, tolerance: float):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("prepare", [lambda model: model, PreparedModel, lambda m: PreparedModel(m, central=True)])
@pytest.mark.parametrize("name", ["drifting", "diffusion"])
def test_what_never_varied_does_not_move_a_prediction(linear_episodes, name, prepare):
    model = make(name, value_discount=0.9)
    assert (futures(model, HEAVIER)[0] - futures(model, MASS)[0]).abs().max() > 0.1, "as it would"
    model.rescale(scales(with_mass(linear_episodes, MASS)))
    model.ending.seen.fill_(True)
    model = prepare(model)
    assert_equal(futures(model, HEAVIER), futures(model, MASS), 1e-3)  # float32 knows a change of 1620 to 1e-4


def test_a_policy_does_not_act_on_what_never_varied(linear_episodes):
    policy = LearnedPolicy(SPEC, PolicyConfig(generator=GeneratorConfig(width=32, depth=2)), rng=rng())
    policy.rescale(scales(with_mass(linear_episodes, MASS)))
    light = torch.cat([torch.randn(5, 1, 3, generator=rng(1)), torch.full((5, 1, 1), MASS)], dim=2)
    heavy = light + torch.tensor([0.0, 0.0, 0.0, HEAVIER - MASS])
    assert torch.equal(policy.sample(heavy, rng=rng(2)), policy.sample(light, rng=rng(2)))
    before = policy.sample(light, rng=rng(2))
    varied = scales(with_mass(linear_episodes, MASS, HEAVIER))
    policy.rescale(varied)
    light[:, :, 3] = varied.obs_mean[3]
    torch.testing.assert_close(policy.sample(light, rng=rng(2)), before, rtol=1e-4, atol=1e-5)
    assert not torch.equal(policy.sample(heavy, rng=rng(2)), before), "it reads the mass, by weights that will learn it"


@pytest.mark.parametrize("name", GENERATORS)
def test_a_child_begins_where_its_parent_stood_though_something_stops_varying(linear_episodes, name):
    model = make(name)
    model.rescale(scales(with_mass(linear_episodes, MASS, HEAVIER)))
    before = [futures(model, mass) for mass in (MASS, HEAVIER)]
    model.rescale(scales(with_mass(linear_episodes, HEAVIER)))
    for mass, expected in zip((MASS, HEAVIER), before, strict=True):
        assert_equal(futures(model, mass)[:2], expected[:2], 1e-3)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("until_now", [(MASS,), (MASS, MASS + 0.5)], ids=["it stood still", "it hardly varied"])
def test_a_child_begins_where_its_parent_stood_at_the_mean_of_what_begins_to_vary(linear_episodes, name, until_now):
    model = make(name)
    model.rescale(scales(with_mass(linear_episodes, *until_now)))
    before, _, _ = futures(model, float(model.normaliser.obs_mean[3]))
    model.rescale(varied := scales(with_mass(linear_episodes, MASS, HEAVIER)))
    found, _, _ = futures(model, float(varied.obs_mean[3]))
    first_chunk = (..., slice(0, 2), slice(None))  # after which the mass is what the untrained network says
    torch.testing.assert_close(found[first_chunk], before[first_chunk], rtol=1e-3, atol=1e-3)
    widest = max(float(layer.weight.detach().abs().max()) for layer in model.modules() if isinstance(layer, nn.Linear))
    assert widest < 10, "weights of a size that training makes, and can change"


def test_a_round_that_is_gone_on_with_keeps_every_bit(linear_episodes):
    model, given = make(value_discount=0.9), scales(with_mass(linear_episodes, MASS))
    model.rescale(given)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.rescale(given)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_standardised_data_are_not_taken_for_constant():
    signs = np.tile(np.array([[1], [-1]], np.float32), (5, 1))
    episode = Episode(np.hstack([signs, np.ones_like(signs)]), signs[1:], signs[1:, 0], terminated=False)
    found = compute_statistics([episode], chunk=1).obs
    assert (found.std.tolist(), found.constant.tolist()) == ([1, 1], [False, True])
    assert scales([episode]).obs_std.tolist() == [1, torch.inf]


def trained(episodes: list[Episode], model_of: Trainer | None = None) -> Trainer:
    trainer = model_of or Trainer(SPEC, make("regression").config, TrainingConfig(batch_size=64), seed=0)
    trainer.rescale(scales(episodes))
    trainer.train_round(Windows(episodes, history=2, chunk=2), 200)
    return trainer


@pytest.mark.parametrize("until_now", [(MASS,), (MASS, MASS + 0.5)], ids=["it stood still", "it hardly varied"])
def test_a_child_learns_what_begins_to_vary(linear_episodes, until_now):
    """Rewards of its data are told by the mass alone."""
    varied = [
        replace(each, rewards=np.sign(each.obs[1:, 3] - MASS)) for each in with_mass(linear_episodes, 1380.0, HEAVIER)
    ]
    child = trained(varied, trained(with_mass(linear_episodes, *until_now)))
    found, scratch = (held_out_metrics(each.averaged, varied, seed=0) for each in (child, trained(varied)))
    assert found["error"] < 1.1 * scratch["error"] < 0.4
    assert found["open_loop_error"] < 1.1 * scratch["open_loop_error"]


def with_a_slow_entry(episodes: list[Episode], step: float) -> list[Episode]:
    """With an entry more, which the first action moves: by millimetres, say, where all others move by metres."""
    moved = [np.cumsum(np.insert(each.actions[:, :1] * step, 0, 0, axis=0), axis=0) for each in episodes]
    return [
        replace(each, obs=np.concatenate([each.obs, 1 + path.astype(np.float32)], axis=1))
        for each, path in zip(episodes, moved, strict=True)
    ]


@pytest.mark.parametrize("name", [name for name in GENERATORS if name in ("drifting", "regression", "gaussian")])
def test_a_target_that_begins_to_move_a_little_is_learned_anew(linear_episodes, name):
    """Its unit was 1, for want of another: what was said in that is a thousand times what it does."""
    shape = replace(make(name).config, chunk=1, history=1)
    still, moving = (with_a_slow_entry(linear_episodes, step) for step in (0.0, 1e-3))

    def error(trainer: Trainer) -> float:
        c, y = trainer.averaged.pair(Windows(moving, history=1, chunk=1).batch(torch.arange(100)))
        noise = torch.randn(100, 16, trainer.averaged.generator.noise_size, generator=rng())
        with torch.no_grad():
            x = trainer.averaged.generator.sample(c.unsqueeze(1), noise)
        return float((x.mean(dim=1) - y)[:, 3].square().mean().sqrt())

    def learned(*rounds) -> Trainer:
        trainer = Trainer(SPEC, shape, TrainingConfig(batch_size=64), seed=0)
        for episodes in rounds:
            trainer.rescale(scales_of(compute_statistics(episodes, chunk=1)))
            trainer.train_round(Windows(episodes, history=1, chunk=1), 300)
        return trainer

    child = learned(still)
    child.rescale(scales_of(compute_statistics(moving, chunk=1)))
    assert error(child) < 1.5, "it begins with the mean, or with a spread of its own about it"
    assert error(learned(still, moving)) < max(0.15, 1.5 * error(learned(moving)))


class Average:
    """Says the average of standardised targets, with the certainty of a regression."""

    noise_size = 1

    def each(self):
        return [self]

    def sample(self, c, z):
        return torch.zeros(*z.shape[:-1], 5)


@pytest.mark.parametrize("varying", [1, 3, 5])
def test_saying_the_average_is_an_error_of_one_however_much_never_varies(varying):
    y = torch.randn(4000, 5, generator=rng(5))
    y[:, varying:] = 0.0
    measured = sample_scores(Average(), torch.zeros(4000, 1), y, rng=rng())
    assert float(measured["error"]) == pytest.approx(1, abs=0.03)
    assert float(measured["energy_score"]) == pytest.approx(float(y.norm(dim=1).mean()), rel=1e-4)


def test_an_error_is_measured_where_nothing_differs():
    measured = sample_scores(Average(), torch.zeros(1, 1), torch.full((1, 5), 2.0), rng=rng())
    assert float(measured["error"]) == pytest.approx(2)


def test_the_open_loop_error_is_of_what_changes(linear_episodes):
    """An untrained model says little more than that nothing changes, at which a constant entry would excel."""
    model = make("regression")
    episodes = with_mass(linear_episodes, MASS)
    model.rescale(scales(episodes))
    future = Windows(episodes, history=2, chunk=20).batch(torch.arange(6 * 21)).obs
    for other in (MASS, HEAVIER):  # in units of nothing, no entry can be measured that varies only now
        found = held_out_metrics(model, with_mass(linear_episodes, MASS, other), seed=0)
        still = float(((future[:, 2:, :3] - future[:, 1:2, :3]) / model.normaliser.obs_std[:3]).square().mean().sqrt())
        assert found["open_loop_persistence"] == pytest.approx(still, rel=1e-4)
        assert found["open_loop_error"] == pytest.approx(still, rel=0.3)
    standing = [replace(each, obs=np.full_like(each.obs, MASS)) for each in episodes]
    assert "open_loop_error" not in held_out_metrics(model, standing, seed=0)


def test_a_lineage_is_measured_on_what_varies(linear_episodes, tmp_path):
    model = make()
    model.rescale(scales(with_mass(linear_episodes, MASS)))

    def quality(episodes, entries):
        source = ProbeEpisodes(tmp_path, tuple(episodes), "")
        probe = make_probe(source, model, horizon=4, windows=8, seed=0, device=torch.device("cpu"))
        assert probe.entries.tolist() == entries
        return quality_of(predict(model, probe), probe)

    still = quality(with_mass(linear_episodes, MASS), [0, 1, 2])
    moving = quality(with_mass(linear_episodes, MASS, HEAVIER), [0, 1, 2, 3])
    assert still.open_loop_error > 1.1 * moving.open_loop_error, "saying what the mass is would count as skill"
