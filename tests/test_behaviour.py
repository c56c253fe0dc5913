"""Generators as policies: they imitate, keep both sides of a choice, and act in a receding horizon."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.generators.config import GENERATORS
from drift_wm.interfaces import Batch, Spec
from drift_wm.learning.held_out import held_out_metrics
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models.behaviour import BehaviourPolicy, LearnedPolicy, PolicyConfig, PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.random_streams import decision_rng
from drift_wm.settings import CollectSettings, EvaluateSettings, TrainSettings
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
OF_UNIT_NOISE = ("diffusion", "flow", "consistency", "distilled")
GAIN = np.array([[0.3, -0.2], [0.1, 0.25], [-0.15, 0.2]], dtype=np.float32)


def generator(name: str = "drifting", **changes) -> GeneratorConfig:
    return GeneratorConfig(**{"name": name, "width": 32, "depth": 2, "noise_size": 2, "steps": 4, **changes})


def make(rng_seed: int = 0, **changes) -> LearnedPolicy:
    config = PolicyConfig(**{"chunk": 3, "generator": generator(), **changes})
    policy = LearnedPolicy(SPEC, config, rng=torch.Generator().manual_seed(rng_seed))
    with torch.no_grad():  # an untrained output layer is small; this one makes differences visible
        for member in policy.members:
            member.backbone.output.weight.mul_(5)
    return policy


def demonstration(seed: int, length: int = 12) -> Episode:
    """A linear controller in a linear world, a = o GAIN, far from where actions saturate."""
    noise = np.random.default_rng(seed)
    obs, actions = [noise.uniform(-1, 1, size=3).astype(np.float32)], []
    for _ in range(length):
        actions.append(obs[-1] @ GAIN)
        obs.append((0.95 * obs[-1] + 0.2 * np.tile(actions[-1], 2)[:3]).astype(np.float32))
    return Episode(
        obs=np.stack(obs), actions=np.stack(actions), rewards=np.zeros(length, np.float32), terminated=False, seed=seed
    )


def choice(seed: int, length: int = 6) -> Episode:
    """Left or right for a whole episode, and nothing in the observations tells which."""
    noise = np.random.default_rng(seed)
    side = 0.7 if seed % 2 else -0.7
    return Episode(
        obs=noise.normal(size=(length + 1, 3)).astype(np.float32),
        actions=np.full((length, 2), side, np.float32),
        rewards=np.zeros(length, np.float32),
        terminated=False,
        seed=seed,
    )


def imitate(episodes: list[Episode], config: PolicyConfig, steps: int, **training) -> Trainer:
    trainer = Trainer(SPEC, config, TrainingConfig(**{"batch_size": 64, "learning_rate": 3e-3, **training}), seed=0)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=config.chunk)))
    trainer.train_round(Windows(episodes, history=config.history, chunk=config.chunk), steps)
    return trainer


@pytest.mark.parametrize("name", ["drifting", "regression"])
def test_learns_a_linear_controller_and_acts_like_it(name):
    episodes = [demonstration(seed) for seed in range(60)]
    config = PolicyConfig(history=2, chunk=2, generator=generator(name))
    trainer = imitate(episodes[:50], config, 600)
    measured = held_out_metrics(trainer.averaged, episodes[50:], seed=0)
    assert measured["error"] < 0.03
    assert "open_loop_error" not in measured
    policy = BehaviourPolicy(trainer.averaged, execute=2)
    obs = torch.stack([torch.from_numpy(episode.obs) for episode in episodes[50:]])
    demonstrated = torch.stack([torch.from_numpy(episode.actions) for episode in episodes[50:]])
    state, acted = policy.reset(obs[:, 0], seed=1), []
    for t in range(demonstrated.shape[1]):
        action, state = policy.act(obs[:, t], state)
        acted.append(action)
    assert (torch.stack(acted, dim=1) - demonstrated).abs().mean() < 0.03
    assert demonstrated.abs().mean() > 0.1


def test_drifting_keeps_both_sides_of_a_choice_where_regression_averages():
    episodes = [choice(seed) for seed in range(200)]
    obs = torch.randn(200, 1, 3, generator=rng(5))
    chunks = {}
    for name in ("drifting", "regression"):
        trainer = imitate(episodes, PolicyConfig(chunk=3, generator=generator(name, width=64, depth=3)), 800)
        chunks[name] = trainer.averaged.sample(obs, rng=[rng(i) for i in range(200)])
    sides = chunks["drifting"].mean(dim=(1, 2))
    assert ((sides.abs() - 0.7).abs() < 0.2).float().mean() > 0.75
    assert 0.35 < (sides > 0).float().mean() < 0.65
    assert chunks["drifting"].flatten(1).std(dim=1).median() < 0.05, "a chunk goes to one side"
    middle = chunks["regression"].mean(dim=(1, 2)).abs() < 0.35
    assert middle.float().mean() > 0.95, "regression stays in the middle half between the sides"


def jittery(seed):
    """A demonstrator whose hand shakes: actions of 0.5 on average."""
    jitter = 0.3 * np.random.default_rng(seed).standard_normal((20, 2))
    return replace(demonstration(seed, length=20), actions=(0.5 + jitter).astype(np.float32))


@pytest.mark.parametrize("name", ["drifting", "diffusion", "gaussian"])
def test_less_noise_leaves_out_the_jitter_of_the_demonstrators(name):
    config = PolicyConfig(chunk=2, generator=generator(name, width=64, depth=3, steps=16))
    model = imitate([jittery(seed) for seed in range(60)], config, 600).averaged
    obs = torch.from_numpy(np.stack([demonstration(seed).obs[:1] for seed in range(100, 164)]))
    spread = {}
    for noise in (1.0, 0.0):
        draws = torch.stack(
            [model.sample(obs, rng=[rng(64 * i + j) for j in range(64)], noise=noise) for i in range(16)]
        )
        spread[noise] = draws.std(dim=0).mean()
        assert (draws.mean() - 0.5).abs() < 0.1
    assert 0.2 < spread[1.0] < 0.4
    assert spread[0.0] < 0.1, "of 16 samples, drifting's centre varies by a quarter"


def test_without_noise_a_policy_does_the_mean_of_sixteen_samples_drawn_anew():
    model = make(generator=generator(noise_size=4))
    obs = torch.randn(5, 1, 3, generator=rng())
    centres = torch.stack([model.sample(obs, rng=rng(seed), noise=0.0) for seed in range(32)])
    samples = torch.stack([model.sample(obs, rng=rng(seed)) for seed in range(2048)])
    assert model.generator.even_noise.sum(dim=0).abs().max() < 1e-6, "each noise beside its opposite"
    off = (centres.mean(dim=0) - samples.mean(dim=0)).abs().mean()
    assert off < 0.15 * samples.std(dim=0).mean()
    assert 0.05 < centres.std(dim=0).mean() / samples.std(dim=0).mean() < 0.4
    assert torch.equal(centres[3], model.sample(obs, rng=rng(3), noise=0.0))


def test_without_noise_one_member_of_an_ensemble_acts():
    model = make(generator=generator(members=2))
    obs = torch.randn(5, 1, 3, generator=rng())
    acted = model.sample(obs, rng=[rng(seed) for seed in range(5)], noise=0.0)
    noise = torch.randn(4096, 1, 2, generator=rng(1))
    means = [member.sample(obs[:, 0], noise).mean(dim=0).view(5, 3, 2) for member in model.members]
    for row in range(5):
        assert any(torch.allclose(acted[row], mean[row], atol=0.2) for mean in means)


@pytest.mark.parametrize("name", ["drifting", "gaussian"])
def test_half_the_noise_is_half_way_between_the_centre_and_a_sample(name):
    model = make(generator=generator(name))
    obs = torch.randn(5, 1, 3, generator=rng())
    full, half, none = (model.sample(obs, rng=rng(4), noise=noise) for noise in (1.0, 0.5, 0.0))
    assert (full - none).abs().max() > 0.01
    torch.testing.assert_close(half, (full + none) / 2)


def test_a_policy_acts_with_the_noise_it_was_configured_for_unless_told_otherwise():
    obs, quiet = torch.randn(4, 3, generator=rng()), make(noise=0.0)

    def acted(policy, seed):
        return policy.act(obs, policy.reset(obs, seed=seed))[0]

    torch.testing.assert_close(acted(BehaviourPolicy(quiet), 0), acted(BehaviourPolicy(make(), noise=0.0), 0))
    assert not torch.equal(acted(BehaviourPolicy(quiet), 0), acted(BehaviourPolicy(make()), 0))
    loud = BehaviourPolicy(quiet, noise=1.0)
    assert not torch.equal(acted(loud, 0), acted(loud, 4))
    torch.testing.assert_close(acted(loud, 0), acted(BehaviourPolicy(make()), 0))


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("members", [1, 3])
def test_every_generator_trains_and_acts(linear_episodes, name, members):
    config = PolicyConfig(history=2, chunk=2, execute=1, generator=generator(name, members=members))
    trainer = imitate(linear_episodes, config, 6, batch_size=8, warmup=2)
    assert {"energy_score", "error"} <= set(held_out_metrics(trainer.averaged, linear_episodes, seed=0))
    policy = BehaviourPolicy(trainer.averaged)
    obs = torch.randn(4, 3, generator=rng())
    action, state = policy.act(obs, policy.reset(obs, seed=0))
    assert action.shape == (4, 2)
    assert state.pending.shape == (4, 0, 2)
    assert action.abs().max() <= 1


@pytest.mark.parametrize("name", GENERATORS)
def test_new_scales_leave_the_behaviour_as_it_was(linear_episodes, name):
    policy = make(history=2, generator=generator(name, members=2))
    obs = torch.randn(5, 2, 3, generator=rng(1))
    policy.rescale(scales_of(compute_statistics(linear_episodes, chunk=3)))
    before = policy.sample(obs, rng=rng(2))
    for stretch in (1.0, 20.0):
        scales = scales_of(compute_statistics(linear_episodes, chunk=3))
        scales.obs_std.mul_(stretch)
        scales.action_std.mul_(1.9 if name in OF_UNIT_NOISE and stretch > 1 else stretch)
        policy.rescale(scales)
        torch.testing.assert_close(policy.obs_std, scales.obs_std)
        torch.testing.assert_close(policy.sample(obs, rng=rng(2)), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OF_UNIT_NOISE)
def test_generators_of_unit_noise_adopt_the_scale_of_an_action_that_is_far_from_standard(linear_episodes, name):
    policy = make(generator=generator(name))
    still = [replace(each, actions=each.actions * np.array([1, 0], np.float32)) for each in linear_episodes]
    policy.rescale(scales_of(compute_statistics(still, chunk=3)))
    first = policy.action_std.clone(), policy.action_mean.clone()
    assert first[0][1] == 1, "a joint that never moved"
    moving = [replace(each, actions=each.actions * np.array([1.2, 0.02], np.float32)) for each in linear_episodes]
    scales = scales_of(compute_statistics(moving, chunk=3))
    for _ in range(2):  # as when a round is gone on with
        policy.rescale(scales)
        assert policy.action_std.tolist() == [first[0][0], scales.action_std[1]]
        assert policy.action_mean.tolist() == [first[1][0], scales.action_mean[1]]


def test_all_members_of_an_ensemble_act():
    policy = make(generator=generator("regression", members=3))
    obs = torch.randn(1, 1, 3, generator=rng()).expand(60, 1, 3)
    chunks = policy.sample(obs, rng=[rng(i) for i in range(60)])
    assert len(torch.unique(chunks[:, 0, 0])) == 3
    assert len(torch.unique(policy.sample(obs, rng=rng())[:, 0, 0])) == 1


def test_a_part_of_each_chunk_is_executed_before_the_next_is_sampled():
    model, seed = make(history=2), 4
    policy = BehaviourPolicy(model, execute=2)
    obs = torch.randn(6, 2, 3, generator=rng(7))
    state, acted, pending = policy.reset(obs[0], seed=seed), [], []
    for t in range(6):
        action, state = policy.act(obs[t], state)
        acted.append(action)
        pending.append(state.pending.shape[1])
    assert pending == [1, 0] * 3
    for t in (0, 2, 4):
        frames = torch.stack([obs[max(t - 1, 0)], obs[t]], dim=1)
        chunk = model.sample(frames, rng=[decision_rng(seed, t), decision_rng(seed + 1, t)])
        torch.testing.assert_close(torch.stack(acted[t : t + 2], dim=1), chunk[:, :2])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), execute=st.integers(1, 3), history=st.integers(1, 3))
def test_a_batch_acts_as_each_alone_and_a_seed_repeats_itself(seed, execute, history):
    policy = BehaviourPolicy(make(history=history), execute=execute)
    obs = torch.randn(5, 3, 3, generator=rng(seed))

    def act(rows: slice, policy_seed: int) -> torch.Tensor:
        state, acted = policy.reset(obs[0, rows], seed=policy_seed), []
        for t in range(5):
            action, state = policy.act(obs[t, rows], state)
            acted.append(action)
        return torch.stack(acted, dim=1)

    together = act(slice(0, 3), seed)
    assert torch.equal(together, act(slice(0, 3), seed))
    assert not torch.equal(together, act(slice(0, 3), seed + 1))
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], act(slice(i, i + 1), seed + i))


@pytest.mark.parametrize("members", [1, 3])
def test_environments_in_the_same_situation_draw_by_themselves(members):
    policy = BehaviourPolicy(make(generator=generator(members=members)))
    obs = torch.zeros(4, 3)
    action, _ = policy.act(obs, policy.reset(obs, seed=0))
    assert len(torch.unique(action[:, 0])) == 4


def test_actions_beyond_their_range_are_learned_and_held_to_it_only_in_the_world():
    model = make()
    with torch.no_grad():
        model.members[0].backbone.output.bias.copy_(torch.tensor([9.0, -9.0] * 3))
    obs = torch.zeros(2, 3)
    assert model.sample(obs[:, None], rng=rng())[..., 0].min() > 5, "what was recorded"
    policy = BehaviourPolicy(model)
    action, _ = policy.act(obs, policy.reset(obs, seed=0))
    torch.testing.assert_close(action, torch.tensor([1.0, -1.0]).expand(2, 2))


@pytest.mark.parametrize("name", ["drifting", "diffusion"])
def test_actions_of_all_sizes_are_imitated_alike(name):
    """One joint moves beyond the range of the interface, the other by hundredths."""
    episodes = []
    for seed in range(60):
        plain = demonstration(seed)
        actions = plain.actions * np.array([8.0, 0.05], np.float32) + np.array([0.5, 0.3], np.float32)
        episodes.append(replace(plain, actions=actions))
    assert max(np.abs(episode.actions).max() for episode in episodes) > 1.5
    trainer = imitate(episodes[:50], PolicyConfig(chunk=2, generator=generator(name, steps=16)), 900)
    obs = torch.cat([torch.from_numpy(episode.obs[:-1]) for episode in episodes[50:]])
    acted = torch.cat([torch.from_numpy(episode.actions) for episode in episodes[50:]])
    error = (trainer.averaged.sample(obs[:, None], rng=rng())[:, 0] - acted).square().mean(dim=0).sqrt()
    assert (error / acted.std(dim=0)).max() < 0.5


def test_trains_on_the_standardised_actions_from_the_newest_frame_on():
    policy = make(history=3, chunk=2)
    policy.action_mean.copy_(torch.tensor([1.0, 0.0]))
    policy.action_std.copy_(torch.tensor([2.0, 0.5]))
    obs, actions = torch.randn(4, 5, 3, generator=rng()), torch.rand(4, 4, 2, generator=rng())
    c, y = policy._pair(Batch(obs, actions, torch.zeros(4, 2)))
    torch.testing.assert_close(c, obs[:, :3].flatten(1))
    expected = (actions[:, 2:] - torch.tensor([1.0, 0.0])) / torch.tensor([2.0, 0.5])
    torch.testing.assert_close(y, expected.flatten(1))


@pytest.mark.parametrize(
    ("make_it", "match"),
    [
        (lambda: PolicySettings(history=0), r"policy\.history=0"),
        (lambda: PolicySettings(chunk=0), r"policy\.chunk=0"),
        (lambda: PolicySettings(execute=0), r"policy\.execute=0.*from 1 to policy\.chunk=8"),
        (lambda: PolicyConfig(chunk=4, execute=5), r"policy\.execute=5.*raise policy\.chunk"),
        (lambda: PolicySettings(noise=1.5), r"policy\.noise=1\.5: expected a number from 0 to 1"),
        (lambda: BehaviourPolicy(make(), noise=-0.1), r"noise=-0\.1: expected a number from 0 to 1"),
        (lambda: BehaviourPolicy(make(), execute=4), "execute=4: expected an integer from 1 to the policy's chunk, 3"),
        (lambda: make().sample(torch.zeros(2, 2, 3), rng=rng()), r"obs has shape \(2, 2, 3\).*\(2, 1, 3\)"),
        (lambda: TrainSettings(data="x", kind="guess"), "kind='guess': expected one of world_model, policy"),
        (lambda: TrainSettings(data="x", policy=PolicySettings(chunk=4)), r"^policy\.chunk=4: .*set kind=policy"),
        (
            lambda: TrainSettings(data="x", kind="policy", model=WorldModelConfig(chunk=4)),
            r"kind=policy: expected .*, found model\.chunk=4: .* model=drifting .*; set policy\.history",
        ),
        (lambda: EvaluateSettings(actor="policy"), "checkpoint=None"),
        (
            lambda: CollectSettings(actor="policy", checkpoint="x", exploration_std=0.1),
            r"exploration_std=0\.1: expected 0",
        ),
    ],
)
def test_wrong_requests_are_refused_by_name(make_it, match):
    with pytest.raises(ValueError, match=match):
        make_it()


def test_half_of_a_chunk_is_executed_unless_told():
    assert [PolicySettings(chunk=k).executed for k in (1, 2, 5, 8)] == [1, 1, 3, 4]
    assert PolicySettings(chunk=5, execute=5).executed == 5
