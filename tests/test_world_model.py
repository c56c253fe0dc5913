from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig, sample_scores
from drift_wm.generators.config import GENERATORS
from drift_wm.interfaces import History, Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models import precision
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.futures import draw_futures
from drift_wm.models.precision import multiplies_bfloat16
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)


def make(history: int = 1, chunk: int = 2, *, members: int = 1, **kwargs) -> LearnedWorldModel:
    name, siblings = kwargs.pop("name", "drifting"), kwargs.pop("siblings", 2)
    generator = GeneratorConfig(name=name, width=32, depth=2, noise_size=2, steps=4, members=members, siblings=siblings)
    config = WorldModelConfig(history=history, chunk=chunk, generator=generator, **kwargs)
    return LearnedWorldModel(SPEC, config, rng=torch.Generator().manual_seed(0))


def history_of(model: LearnedWorldModel, B: int = 2) -> History:
    K = model.history
    return History(torch.randn(B, K, 3, generator=rng(1)), torch.randn(B, K - 1, 2, generator=rng(2)))


@pytest.mark.parametrize(
    ("history", "chunk", "name", "angles"),
    [(1, 1, "drifting", []), (1, 3, "drifting", []), (3, 2, "drifting", []), (4, 1, "drifting", [])]
    + [(2, 6, "drifting", []), (1, 3, "drifting", [1]), (3, 2, "drifting", [2, 0])]
    + [(2, 3, name, []) for name in GENERATORS if name != "drifting"],
)
def test_rollout_is_the_naive_loop(history, chunk, name, angles):
    model, H, P = make(history, chunk, name=name, angles=angles, precision="float32"), 6, 2
    past, actions = history_of(model), torch.randn(2, 5, H, 2, generator=rng(3))
    found = model.rollout(past, actions, particles=P, rng=rng(4))
    noise = torch.randn(H // chunk, 1, 1, P, model.generator.noise_size, generator=rng(4))
    for b in range(2):
        for n in range(5):
            for p in range(P):
                frames, acted = list(past.obs[b]), list(past.actions[b])
                for i in range(H // chunk):
                    coming = list(actions[b, n, i * chunk : (i + 1) * chunk])
                    recent = acted[len(acted) - (history - 1) :] + coming
                    c = torch.cat([model.normaliser.obs(f) for f in frames[-history:]] + recent)
                    with torch.no_grad():
                        y = model.generator.sample(c, noise[i, 0, 0, p]).view(chunk, 4)
                    obs, reward = model.normaliser.prediction(frames[-1], y)
                    steps = slice(i * chunk, (i + 1) * chunk)
                    torch.testing.assert_close(found.obs[b, n, p, steps], obs, rtol=1e-4, atol=1e-4)
                    torch.testing.assert_close(found.reward[b, n, p, steps], reward, rtol=1e-4, atol=1e-4)
                    frames += list(obs)
                    acted += coming


def test_candidates_share_their_noise_and_environments_do_not_interfere():
    model = make()
    past, actions = history_of(model), torch.randn(2, 1, 4, 2, generator=rng(3)).expand(2, 3, 4, 2)
    found = model.rollout(past, actions, particles=2, rng=rng(4))
    torch.testing.assert_close(found.obs[:, 0], found.obs[:, 2])
    alone = model.rollout(History(past.obs[1:], past.actions[1:]), actions[1:], particles=2, rng=rng(4))
    torch.testing.assert_close(found.obs[1:], alone.obs)
    assert not torch.allclose(found.obs[:, :, 0], found.obs[:, :, 1])


def test_regression_has_one_future():
    model = make(name="regression")
    found = model.rollout(history_of(model), torch.zeros(2, 3, 4, 2), particles=2, rng=rng())
    assert torch.equal(found.obs[:, :, 0], found.obs[:, :, 1])


def in_robot_units(episodes: Sequence[Episode], *, unit: float = 1.0, zero: float = 0.0, obs_unit: float = 1.0):
    """The same with actions and observations as a robot counts them."""
    return [replace(each, actions=unit * each.actions + zero, obs=obs_unit * each.obs) for each in episodes]


def trained_error(episodes: Sequence[Episode]) -> float:
    """Of a short training, in standard deviations."""
    trainer = Trainer(SPEC, make(name="regression").config, TrainingConfig(batch_size=64), seed=0)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=2)))
    windows = Windows(episodes, history=1, chunk=2)
    trainer.train_round(windows, 300)
    return float(trainer.averaged.scores(windows.batch(torch.arange(len(windows))), rng=rng())["error"])


@pytest.mark.parametrize(
    "units", [{"unit": 100.0}, {"unit": 0.001}, {"unit": 0.2, "zero": 3.0}, {"obs_unit": 100.0}, {"obs_unit": 0.01}]
)
def test_a_robots_own_units_teach_what_those_of_a_planner_teach(linear_episodes, units):
    assert trained_error(in_robot_units(linear_episodes, **units)) < 1.1 * trained_error(linear_episodes)


def test_the_network_reads_actions_in_a_planners_units_as_they_are(linear_episodes):
    model = make()
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    assert torch.equal(model.normaliser.action_mean, torch.zeros(2))
    assert torch.equal(model.normaliser.action_std, torch.ones(2))
    mixed = [replace(e, actions=e.actions * np.array([1, 50], np.float32)) for e in linear_episodes]
    statistics = compute_statistics(mixed, chunk=2)
    model.rescale(scales_of(statistics))
    assert model.normaliser.action_mean.tolist() == [0, statistics.actions.mean[1]]
    assert model.normaliser.action_std.tolist() == [1, statistics.actions.std[1]]


def test_networks_read_the_cosine_and_sine_of_angles(linear_episodes):
    model = make(history=2, angles=[2, 0], value_discount=0.9)
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    obs = torch.randn(5, 3, generator=rng(1))
    read = model.normaliser.obs(obs)
    standardised = make(history=2).normaliser
    standardised.load_state_dict(model.normaliser.state_dict())
    assert torch.equal(read[:, :3], standardised.obs(obs))
    assert torch.equal(
        read[:, 3:], torch.stack([obs[:, 2].cos(), obs[:, 0].cos(), obs[:, 2].sin(), obs[:, 0].sin()], 1)
    )
    assert model.members[0].backbone.from_condition.in_features == 2 * 7 + 3 * 2
    assert model.ending.network[0].in_features == 7
    assert model.value is not None
    assert model.value.act(read).shape == (5, 2)


def test_angles_must_be_entries_of_the_observation():
    with pytest.raises(ValueError, match=r"model\.angles=\[0, 3\]: expected entries of an observation of 3"):
        make(angles=[0, 3])


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(("name", "angles"), [*((name, []) for name in GENERATORS), ("drifting", [2])])
def test_rescaling_keeps_predictions(linear_episodes, name, members, angles):
    model = make(history=2, name=name, members=members, angles=angles, value_discount=0.9, precision="float32")
    model.rescale(scales_of(compute_statistics(linear_episodes[:1], chunk=2)))  # of the first data: nothing learned yet
    given = model.normaliser.target_std.clone()
    past, actions = history_of(model), torch.randn(2, 5, 4, 2, generator=rng(3))
    before = model.rollout(past, actions, particles=2, rng=rng(4))
    scales = scales_of(compute_statistics(in_robot_units(linear_episodes, unit=2.0, zero=0.5), chunk=2))
    model.rescale(scales)
    assert torch.equal(model.normaliser.action_std, scales.action_std)
    after = model.rollout(past, actions, particles=2, rng=rng(4))
    torch.testing.assert_close(after.obs, before.obs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after.reward, before.reward, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after.terminal_value, before.terminal_value, rtol=1e-3, atol=1e-4)
    assert torch.equal(model.normaliser.obs_std, scales.obs_std)
    kept = name in ("diffusion", "flow", "consistency", "distilled")  # mixed with noise of unit scale
    assert torch.equal(model.normaliser.target_std, given if kept else scales.target_std)


@pytest.mark.parametrize("change", [(5, 3), (0.2, 0), (1, 3)])
@pytest.mark.parametrize("name", ["diffusion", "flow", "consistency", "distilled"])
def test_generators_of_unit_noise_adopt_the_scale_of_a_target_that_is_far_from_standard(linear_episodes, name, change):
    model = make(name=name, precision="float32")
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    first = model.normaliser.target_std.clone(), model.normaliser.target_mean.clone()
    factor, shift = change
    better = [replace(each, rewards=factor * each.rewards + shift) for each in linear_episodes]
    scales = scales_of(compute_statistics(better, chunk=2))
    model.rescale(scales)
    for found, new, old in zip(
        (model.normaliser.target_std, model.normaliser.target_mean),
        (scales.target_std, scales.target_mean),
        first,
        strict=True,
    ):
        assert torch.equal(found[:, -1], new[:, -1]), "rewards are far from what they were"
        assert torch.equal(found[:, :-1], old[:, :-1]), "changes are what they were"
    past, actions = history_of(model), torch.randn(2, 5, 4, 2, generator=rng(3))
    reference = model.rollout(past, actions, particles=2, rng=rng(4))
    prepared = PreparedModel(model).rollout(past, actions, particles=2, rng=rng(4))
    torch.testing.assert_close(prepared.reward, reference.reward, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["drifting", "regression", "gaussian", "diffusion"])
@pytest.mark.parametrize(("members", "particles"), [(3, 7), (3, 3), (3, 2), (2, 1)])
def test_rollout_of_an_ensemble_is_the_rollouts_of_its_members(name, members, particles):
    model = make(history=2, name=name, members=members, precision="float32")
    past, actions = history_of(model), torch.randn(2, 5, 4, 2, generator=rng(3))
    found = model.rollout(past, actions, particles=particles, rng=rng(4))
    assert found.obs.shape == (2, 5, particles, 4, 3)
    noise = torch.randn(2, 1, 1, particles, model.generator.noise_size, generator=rng(4))
    alone = make(history=2, name=name, precision="float32")
    futures = []
    for member, part in zip(model.generator.each(), noise.tensor_split(members, dim=3), strict=True):
        if part.shape[3]:
            alone.generator.load_state_dict(member.state_dict())
            with torch.inference_mode():
                futures.append(alone._futures(alone.generator, past, actions, part))
    torch.testing.assert_close(found.obs, torch.cat(futures, dim=2)[..., :3])
    torch.testing.assert_close(found.reward, torch.cat(futures, dim=2)[..., 3])


def test_noise_of_each_environment_where_it_is_asked_for():
    model = make()
    past = History(torch.zeros(2, 1, 3), torch.zeros(2, 0, 2))
    shared = model.rollout(past, torch.zeros(2, 3, 4, 2), particles=2, rng=rng()).obs
    torch.testing.assert_close(shared[0], shared[1])
    apart = model.rollout(past, torch.zeros(2, 3, 4, 2), particles=2, rng=rng(), independent=True).obs
    assert not torch.allclose(apart[0], apart[1])
    torch.testing.assert_close(apart[:, 0], apart[:, 2])


def test_futures_are_drawn_for_each_situation_by_itself_and_from_all_members():
    past, actions = History(torch.ones(2, 1, 3), torch.zeros(2, 0, 2)), torch.zeros(2, 4, 2)
    alone, mixed = (
        draw_futures(model, past, actions, particles=64, rng=rng())
        for model in (make(), make(name="regression", members=3))
    )
    assert alone.shape == mixed.shape == (2, 64, 4, 3)
    assert not torch.allclose(alone[0], alone[1])
    assert not torch.equal(mixed[0], mixed[1])
    _, shares = mixed[..., 0, 0].round(decimals=4).unique(return_counts=True)
    assert len(shares) == 3
    assert shares.min() > 128 / 3 / 2


def test_scores_are_of_the_first_chunk_in_standardised_units(linear_episodes):
    model = make(self_rollout=2)
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    batch = Windows(linear_episodes, history=1, chunk=4).batch(torch.arange(8))
    found = model.scores(batch, rng=rng(5))
    first = Windows(linear_episodes, history=1, chunk=2).batch(torch.arange(8))
    c = torch.cat([model.normaliser.obs(first.obs[:, 0]), first.actions.flatten(1)], dim=1)
    y = model.normaliser.target(first.obs[:, 0], first.obs[:, 1:], first.reward).flatten(1)
    expected = sample_scores(model.generator, c, y, rng=rng(5))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_targets_of_training_data_are_standardised(linear_episodes):
    model = make()
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    windows = Windows(linear_episodes, history=1, chunk=2)
    batch = windows.batch(torch.arange(len(windows)))
    target = model.normaliser.target(batch.obs[:, 0], batch.obs[:, 1:], batch.reward)
    torch.testing.assert_close(target[..., :-1].mean(0), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(target[..., :-1].std(0, correction=0), torch.ones(2, 3), atol=1e-3, rtol=0)
    obs, reward = model.normaliser.prediction(batch.obs[:, 0], target)
    torch.testing.assert_close(obs, batch.obs[:, 1:])
    torch.testing.assert_close(reward, batch.reward)


def test_bfloat16_network_keeps_float32_state():
    exact, coarse = make(precision="float32"), make(precision="bfloat16")
    past, actions = history_of(exact), torch.randn(2, 5, 4, 2, generator=rng(3))
    a, b = (m.rollout(past, actions, particles=1, rng=rng(4)) for m in (exact, coarse))
    assert b.obs.dtype == b.reward.dtype == torch.float32
    torch.testing.assert_close(a.obs, b.obs, atol=0.02, rtol=0.02)
    assert not torch.equal(a.obs, b.obs)
    assert multiplies_bfloat16(torch.device("meta")) is False


@pytest.mark.parametrize(("width", "there", "taken"), [(32, True, False), (256, True, True), (256, False, False)])
def test_a_cpu_takes_bfloat16_where_it_is_there_and_the_network_wide(monkeypatch, width, there, taken):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: there)
    model = make()
    model.config.generator.width = width
    assert model.uses_bfloat16() is taken


@pytest.mark.parametrize(
    ("amx", "capabilities", "found"),
    [
        (True, {}, True),
        (False, {"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        (False, {"avx512_bf16": False, "cpu_name": "AMD EPYC"}, False),
        (False, {"avx512_bf16": True, "cpu_name": "Intel(R) Xeon(R) Platinum 8488C"}, False),
        (False, {"architecture": "aarch64"}, False),
    ],
)
def test_which_cpus_multiply_bfloat16_faster(monkeypatch, amx, capabilities, found):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert multiplies_bfloat16(torch.device("cpu")) is found


@pytest.mark.parametrize(
    ("obs", "actions", "match"),
    [
        ((2, 1, 3), (2, 5, 5, 2), r"horizon 5 is not a multiple.*chunk of 2.*planner.horizon to 6"),
        ((2, 1, 3), (2, 5, 1, 2), r"horizon 1 is not a multiple.*planner.horizon to 2"),
        ((2, 2, 3), (2, 5, 4, 2), r"history\.obs has shape \(2, 2, 3\).*\(2, 1, 3\)"),
        ((2, 1, 3), (2, 5, 4, 7), r"actions have size 7.*built for 2"),
        ((2, 1, 3), (5, 4, 2), r"actions have shape \(5, 4, 2\); expected \(B, N, H, A\)"),
        ((2, 1, 3), (2, 0, 4, 2), r"actions have shape \(2, 0, 4, 2\); expected"),
    ],
)
def test_wrong_shapes_are_refused(obs, actions, match):
    with pytest.raises(ValueError, match=match):
        make().rollout(History(torch.zeros(obs), torch.zeros(2, 0, 2)), torch.zeros(actions), particles=1, rng=rng())


@pytest.mark.parametrize("model", [make(), PreparedModel(make())], ids=["reference", "prepared"])
def test_wrong_types_and_numbers_of_futures_are_refused(model):
    past, actions = History(torch.zeros(2, 1, 3), torch.zeros(2, 0, 2)), torch.zeros(2, 5, 4, 2)
    for history, asked, particles, match in (
        (past, actions.double(), 1, r"actions are of torch.float64; expected torch.float32"),
        (History(past.obs.double(), past.actions), actions, 1, r"history.obs are of torch.float64"),
        (past, actions, 0, "particles is 0; expected at least 1"),
    ):
        with pytest.raises(ValueError, match=match):
            model.rollout(history, asked, particles=particles, rng=rng())


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 1), (1, 1, 1), (2, 2, 2)])
def test_past_actions_of_another_shape_are_not_broadcast(shape):
    past = History(torch.zeros(1, 3, 3), torch.zeros(shape))
    with pytest.raises(ValueError, match=r"history\.actions has shape .*expects \(1, 2, 2\)"):
        make(history=3).rollout(past, torch.zeros(1, 5, 2, 2), particles=1, rng=rng())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"chunk": 0}, "chunk=0"),
        ({"history": 0}, "history=0"),
        ({"self_rollout": 0}, "self_rollout=0"),
        ({"precision": "int4"}, "int4"),
        ({"angles": [1, 1]}, r"model\.angles=\[1, 1\]: expected different numbers from 0 on"),
        ({"angles": [-1]}, r"model\.angles=\[-1\]"),
        (
            {"self_rollout": 2, "generator": GeneratorConfig(name="diffusion")},
            "self_rollout=2: expected 1 for .*diffusion; only drifting and regression",
        ),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        WorldModelConfig(**wrong)
