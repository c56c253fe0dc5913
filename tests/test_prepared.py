"""The prepared model says what its reference says, `LearnedWorldModel.rollout`, for every generator and shape."""

from dataclasses import replace

import pytest
import torch

from drift_wm.datasets.moments import compute_statistics
from drift_wm.generators import GeneratorConfig
from drift_wm.generators.config import GENERATORS
from drift_wm.interfaces import History, Spec
from drift_wm.learning.train import scales_of
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)


def make(episodes, *, history: int = 2, chunk: int = 2, angles: tuple = (), **generator) -> LearnedWorldModel:
    """Untrained, in the scales of data."""
    config = GeneratorConfig(**{"width": 32, "depth": 2, "noise_size": 2, "steps": 4, **generator})
    shape = WorldModelConfig(history=history, chunk=chunk, angles=list(angles), generator=config, precision="float32")
    model = LearnedWorldModel(SPEC, shape, rng=rng())
    model.rescale(scales_of(compute_statistics(episodes, chunk=chunk)))
    with torch.no_grad():
        for member in model.members:
            member.backbone.output.weight.mul_(5)  # far from the mean, so that mistakes show
    return model


def asked(model: LearnedWorldModel, H: int, B: int = 2, N: int = 5) -> tuple[History, torch.Tensor]:
    K = model.history
    past = History(torch.randn(B, K, 3, generator=rng(1)), torch.randn(B, K - 1, 2, generator=rng(2)))
    return past, torch.randn(B, N, H, 2, generator=rng(3)).clamp(-1, 1)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("particles", [1, 4])
@pytest.mark.parametrize(
    ("history", "chunk", "generator"),
    [(1, 1, {}), (1, 3, {}), (3, 2, {}), (4, 1, {}), (2, 6, {}), (1, 3, {"members": 3})]
    + [(1, 1, {"angles": (2,)}), (3, 2, {"angles": (0, 2)}), (2, 3, {"angles": (1,), "name": "diffusion"})]
    + [(2, 3, {"name": name}) for name in GENERATORS]
    + [(2, 3, {"name": "gaussian", "members": 3}), (2, 3, {"ways": 2}), (1, 2, {"ways": 3, "members": 2})],
)
def test_predicts_what_the_model_predicts(linear_episodes, history, chunk, generator, particles, independent):
    model = make(linear_episodes, history=history, chunk=chunk, **generator)
    past, actions = asked(model, H=6)
    expected = model.rollout(past, actions, particles=particles, rng=rng(4), independent=independent)
    found = PreparedModel(model).rollout(past, actions, particles=particles, rng=rng(4), independent=independent)
    assert found.obs.shape == (2, 5, particles, 6, 3)
    torch.testing.assert_close(found.obs, expected.obs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.reward, expected.reward, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["drifting", "diffusion"])
def test_predicts_from_actions_in_a_robots_own_units(linear_episodes, name):
    episodes = [replace(episode, actions=40 * episode.actions + 7) for episode in linear_episodes]
    model = make(episodes, history=2, chunk=3, name=name)
    past, actions = asked(model, H=6)
    given = History(past.obs, 40 * past.actions + 7), 40 * actions + 7
    expected = model.rollout(*given, particles=1, rng=rng(4))
    found = PreparedModel(model).rollout(*given, particles=1, rng=rng(4))
    torch.testing.assert_close(found.obs, expected.obs, rtol=1e-3, atol=1e-3)
    alike = make(linear_episodes, history=2, chunk=3, name=name).rollout(past, actions, particles=1, rng=rng(4))
    assert not torch.allclose(expected.obs, alike.obs, rtol=1e-3, atol=1e-3), "these are not standardised"


@pytest.mark.parametrize(("history", "chunk"), [(2, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_central_future_is_the_same_whether_observations_are_read_or_not(linear_episodes, name, history, chunk):
    model = make(linear_episodes, name=name, history=history, chunk=chunk)
    past, actions = asked(model, H=6)
    read, unread = (
        PreparedModel(model, central=True, observe=observe).rollout(past, actions, particles=2, rng=rng())
        for observe in (True, False)
    )
    torch.testing.assert_close(unread.reward, read.reward, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(unread.obs, read.obs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("history", "chunk"), [(1, 3), (3, 2)])
@pytest.mark.parametrize("name", GENERATORS)
def test_looking_ahead_sees_the_first_chunk_of_a_central_future(linear_episodes, name, history, chunk):
    prepared = PreparedModel(make(linear_episodes, name=name, history=history, chunk=chunk), central=True)
    past, actions = asked(prepared, H=chunk, B=4)
    expected = prepared.rollout(past, actions[:, :1], particles=1, rng=rng()).obs[:, 0, 0]
    found = prepared.look_ahead(past.obs, torch.cat([past.actions, actions[:, 0]], dim=1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_central_future_of_regression_is_what_the_model_predicts(linear_episodes):
    model = make(linear_episodes, name="regression", history=3, chunk=2)
    past, actions = asked(model, H=6)
    expected = model.rollout(past, actions, particles=1, rng=rng())
    found = PreparedModel(model, central=True, observe=False).rollout(past, actions, particles=1, rng=rng())
    torch.testing.assert_close(found.reward, expected.reward, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.obs, expected.obs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["drifting", "gaussian", "diffusion"])
def test_a_central_future_is_no_draw(linear_episodes, name):
    model = make(linear_episodes, name=name)
    past, actions = asked(model, H=4)
    prepared = PreparedModel(model, central=True)
    first, second = (prepared.rollout(past, actions, particles=2, rng=rng(seed)) for seed in (4, 5))
    assert first.obs.shape == (2, 5, 2, 4, 3)
    assert torch.equal(first.obs, second.obs)
    assert torch.equal(first.obs[:, :, 0], first.obs[:, :, 1])
    (member,) = model.members
    c = torch.cat(
        [model.normaliser.obs(past.obs).flatten(1), past.actions.flatten(1), actions[:, 0, :2].flatten(1)], dim=1
    )
    with torch.inference_mode():
        target = member.centre(member.backbone.from_condition(c)).view(2, 2, 4)
    obs, reward = model.normaliser.prediction(past.obs[:, -1], target)
    torch.testing.assert_close(first.obs[:, 0, 0, :2], obs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.reward[:, 0, 0, :2], reward, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("particles", [1, 3])
def test_predicts_in_bfloat16_to_its_precision(linear_episodes, particles):
    model = make(linear_episodes)
    model.config.precision = "bfloat16"
    past, actions = asked(model, H=4)
    expected = model.rollout(past, actions, particles=particles, rng=rng(4))
    found = PreparedModel(model).rollout(past, actions, particles=particles, rng=rng(4))
    assert found.reward.dtype == torch.float32
    scale = expected.obs.std()
    assert float((found.obs - expected.obs).abs().max()) < 0.1 * scale


def test_a_central_future_is_predicted_in_bfloat16_to_its_precision(linear_episodes):
    model, past, futures = make(linear_episodes), *asked(make(linear_episodes), H=4)
    exact = PreparedModel(model, central=True).rollout(past, futures, particles=1, rng=rng())
    model.config.precision = "bfloat16"
    coarse = PreparedModel(model, central=True).rollout(past, futures, particles=1, rng=rng())
    assert coarse.obs.dtype == coarse.reward.dtype == torch.float32
    assert 0 < float((coarse.obs - exact.obs).abs().max()) < 0.1 * exact.obs.std()


@pytest.mark.parametrize("central", [True, False])
def test_bfloat16_ranks_candidates_of_a_world_far_from_zero(linear_episodes, central):
    """Observations about 100 deviations from zero, and rewards of -100 that differ by about 1."""
    model = make(linear_episodes)
    scales = model.normaliser
    scales.obs_mean += 100 * scales.obs_std
    scales.target_mean[:, -1] -= 100
    past, actions = asked(model, H=4, N=64)
    past = replace(past, obs=past.obs + scales.obs_mean)
    exact = PreparedModel(model, central=central).rollout(past, actions, particles=1, rng=rng(4)).reward.flatten(2)
    model.config.precision = "bfloat16"
    coarse = PreparedModel(model, central=central).rollout(past, actions, particles=1, rng=rng(4)).reward.flatten(2)
    for wanted, found in zip(exact.sum(-1), coarse.sum(-1), strict=True):
        assert torch.corrcoef(torch.stack([wanted, found]))[0, 1] > 0.99


@pytest.mark.parametrize("central", [True, False])
def test_bfloat16_keeps_what_actions_far_from_zero_differ_by(linear_episodes, central):
    episodes = [replace(episode, actions=0.02 * episode.actions + 2) for episode in linear_episodes]
    model = make(episodes, chunk=2)
    past, actions = asked(model, H=4, N=64)
    given = replace(past, actions=0.02 * past.actions + 2), 0.02 * actions + 2
    exact = PreparedModel(model, central=central)
    model.config.precision = "bfloat16"
    coarse = PreparedModel(model, central=central)
    wanted, found = (
        prepared.rollout(*given, particles=1, rng=rng(4)).reward.flatten(2).sum(-1) for prepared in (exact, coarse)
    )
    for row, beside in zip(wanted, found, strict=True):
        assert torch.corrcoef(torch.stack([row, beside]))[0, 1] > 0.995
    if central:
        frames, acted = given[0].obs, torch.cat([given[0].actions, given[1][:, 0, :2]], dim=1)
        ahead, coarsely = exact.look_ahead(frames, acted), coarse.look_ahead(frames, acted)
        assert float((coarsely - ahead).abs().max()) < 0.05 * ahead.std()


def test_it_is_a_picture_of_the_model_and_leaves_it_alone(linear_episodes):
    model = make(linear_episodes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    past, actions = asked(model, H=4)
    prepared = PreparedModel(model)
    first = prepared.rollout(past, actions, particles=1, rng=rng(4)).obs
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        model.members[0].backbone.output.bias.add_(1)
    assert torch.equal(prepared.rollout(past, actions, particles=1, rng=rng(4)).obs, first)


def test_refuses_what_the_model_refuses(linear_episodes):
    prepared = PreparedModel(make(linear_episodes), central=True)
    past, actions = asked(make(linear_episodes), H=3)
    with pytest.raises(ValueError, match="horizon 3 is not a multiple"):
        prepared.rollout(past, actions, particles=1, rng=rng())
