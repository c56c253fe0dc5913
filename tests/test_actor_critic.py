"""The actor and its critics: known worlds, endings, and their place in a predicted return."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drift_wm.build import make_policy
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Batch, History, Prediction, Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models.actor_critic import ActorCritic, Steps
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.objective_settings import ObjectiveSettings
from drift_wm.planners.objectives import PredictedReturn
from drift_wm.settings import PlanningSettings
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)


def steps_of(value: ActorCritic, obs, actions, reward, ended) -> Steps:
    return Steps.of(obs, actions, reward, ended, discount=value.discount)


def learn(value: ActorCritic, batches, steps: int, *, rate: float = 3e-3) -> None:
    optimiser, noise = torch.optim.Adam(value.parameters(), lr=rate), rng(3)
    for _ in range(steps):
        optimiser.zero_grad()
        value.loss(steps_of(value, *next(batches)), rng=noise).backward()
        optimiser.step()


def test_a_world_that_stands_still_is_worth_its_reward_forever():
    def batches():
        source = rng(1)
        while True:
            obs = torch.rand(128, 1, 2, generator=source) * 2 - 1
            actions = torch.rand(128, 3, 1, generator=source) * 2 - 1
            yield obs.expand(-1, 4, -1), actions, obs[..., 0].expand(-1, 3), None

    value = ActorCritic(2, 1, discount=0.9, rng=rng())
    learn(value, batches(), 600)
    with torch.no_grad():
        found = value(torch.tensor([[0.5, 0.3], [-0.5, -0.9], [0.0, 0.0]]))
        far = value(torch.tensor([[1e6, -1e6], [-1e6, 1e6]]))
    torch.testing.assert_close(found, torch.tensor([5.0, -5.0, 0.0]), atol=0.4, rtol=0)
    assert far.abs().max() < 50, "critics do not run away where nothing was seen"


def test_the_actor_finds_what_pays_and_is_worth_it():
    """Every state pays 1 - (a - o)^2: whoever collected the data acted at random, the actor need not."""

    def batches():
        source = rng(1)
        while True:
            obs = torch.rand(256, 2, 1, generator=source) - 0.5
            actions = torch.rand(256, 1, 1, generator=source) * 2 - 1
            yield obs, actions, 1 - (actions - obs[:, :1]).square().squeeze(-1), None

    value = ActorCritic(1, 1, discount=0.5, rng=rng())
    learn(value, batches(), 600)
    obs = torch.tensor([[-0.4], [0.0], [0.4]])
    with torch.no_grad():
        torch.testing.assert_close(value.act(obs), obs, atol=0.06, rtol=0)
        torch.testing.assert_close(value(obs), torch.full((3,), 2.0), atol=0.1, rtol=0)


def test_nothing_comes_after_the_end():
    """From 0 to 1, from 1 to 2, and there the world ends; every step is worth 1."""

    def batches():
        obs = torch.tensor([[0.0, 1.0, 2.0], [1.0, 2.0, 2.0]]).unsqueeze(-1)
        ended = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        while True:
            yield obs, torch.zeros(2, 2, 1), torch.tensor([[1.0, 1.0], [1.0, 5.0]]), ended

    value = ActorCritic(1, 1, discount=0.9, rng=rng())
    with torch.no_grad():
        value.actor[-1].weight.zero_()  # acts as the data do
    value.actor.requires_grad_(False)
    optimiser = torch.optim.Adam(value.critics.parameters(), lr=3e-3)
    for _ in range(500):
        optimiser.zero_grad()
        value.loss(steps_of(value, *next(batches())), rng=rng()).backward()
        optimiser.step()
    with torch.no_grad():
        torch.testing.assert_close(value(torch.tensor([[0.0], [1.0]])), torch.tensor([1.9, 1.0]), atol=0.1, rtol=0)


def test_the_lower_of_two_critics_counts():
    value = ActorCritic(1, 1, discount=0.5, rng=rng())
    with torch.no_grad():
        for critic, constant in zip(value.critics, (3.0, 1.0), strict=True):
            critic[-1].weight.zero_()
            critic[-1].bias.fill_(constant)
    assert value(torch.zeros(4, 1)).tolist() == pytest.approx([0.2] * 4), "a tenth of 1 / (1 - discount)"


def test_values_are_zero_until_something_is_learned():
    """Bootstrapping forgets a random start by a factor of g a step, too slowly where rewards are rare."""
    value, obs = ActorCritic(2, 1, discount=0.99, rng=rng()), torch.randn(16, 2, generator=rng(1))
    with torch.no_grad():
        assert not value(obs).any()
        assert value.act(obs).std() > 0, "the actor acts"
    zero = torch.zeros(16, 1)
    loss = value.loss(steps_of(value, obs[:, None].expand(-1, 2, -1), zero[:, None], zero, None), rng=rng())
    assert loss.item() == 0, "nothing is learned of rewards of zero"


def test_a_rare_reward_stands_out_after_a_few_hundred_steps():
    """One state in four pays; each leads to itself. At g = 0.99, what is learned late is learned never."""

    def batches():
        source = rng(1)
        while True:
            paid = (torch.rand(128, generator=source) < 0.25).float()
            actions = torch.rand(128, 3, 1, generator=source) * 2 - 1
            yield paid[:, None, None].expand(-1, 4, 1), actions, paid[:, None].expand(-1, 3) * 0.02, None

    value = ActorCritic(1, 1, discount=0.99, rng=rng())
    learn(value, batches(), 500, rate=3e-4)
    with torch.no_grad():
        paid, unpaid = value(torch.tensor([[1.0], [0.0]])).tolist()
    assert -0.1 < unpaid < 0.1
    assert 0.4 < paid < 2.0 + 0.1, "worth 2 in the end"


def test_the_bootstrapping_copies_follow_slowly_and_are_not_trained():
    value = ActorCritic(2, 1, discount=0.9, rng=rng())
    with torch.no_grad():
        value.critics[0][0].weight.add_(1.0)
        value.actor[0].weight.sub_(1.0)
    before = [value.slow_critics[0][0].weight.clone(), value.slow_actor[0].weight.clone()]
    nothing = steps_of(value, torch.zeros(1, 2, 2), torch.zeros(1, 1, 1), torch.zeros(1, 1), None)
    loss = value.loss(nothing, rng=rng())
    loss.backward()
    torch.testing.assert_close(value.slow_critics[0][0].weight, before[0] + 0.02)
    torch.testing.assert_close(value.slow_actor[0].weight, before[1] - 0.02)
    slow = [*value.slow_critics.parameters(), *value.slow_actor.parameters()]
    assert all(parameter.grad is None for parameter in slow)


class ActionAlone(torch.nn.Module):
    """A critic that values an action by itself."""

    def forward(self, pairs):
        return pairs[..., -1:]


def test_targets_are_what_the_slow_copies_say_of_their_actions_and_of_those_nearby():
    value, obs = ActorCritic(1, 1, discount=0.5, rng=rng()), torch.zeros(4000, 2, 1)
    value.slow_critics = torch.nn.ModuleList([ActionAlone(), ActionAlone()])
    steps = steps_of(value, obs, torch.zeros(4000, 1, 1), torch.full((4000, 1), 3.0), None)
    for meant in (0.0, 0.9):
        with torch.no_grad():
            value.slow_actor[-1].weight.zero_()
            value.slow_actor[-1].bias.fill_(meant).atanh_()
        acted = (value._target(steps, rng()) - 10 * 0.5 * 3.0) / 0.5
        limits = acted.amin().item(), acted.amax().item()
        assert limits == pytest.approx((meant - 0.5, min(meant + 0.5, 1.0)), abs=1e-4)
        assert acted.quantile(0.1587).item() == pytest.approx(meant - 0.2, abs=0.02)


def test_critics_learn_nothing_from_the_actor():
    value = ActorCritic(2, 1, discount=0.9, rng=rng())
    value._actor_loss(torch.zeros(4, 2)).backward()
    assert all(parameter.grad is None for parameter in value.critics.parameters())
    assert all(parameter.grad is not None for parameter in value.actor.parameters())
    for size in (1e-2, 1.0, 1e4):  # the actor learns the same from large values as from small ones
        with torch.no_grad():
            value.critics[0][-1].bias.fill_(size)
        assert value._actor_loss(torch.zeros(4, 2)).item() == pytest.approx(-1)


def test_a_return_counts_what_comes_after_the_horizon():
    prediction = Prediction(
        torch.zeros(1, 1, 1, 3, 1), torch.ones(1, 1, 1, 3), terminal_value=torch.full((1, 1, 1), 8.0)
    )
    assert PredictedReturn(0.5)(prediction, torch.zeros(0)).item() == 1 + 0.5 + 0.25 + 8 / 8
    assert PredictedReturn()(prediction, torch.zeros(0)).item() == 3 + 8
    assert PredictedReturn(value=False)(prediction, torch.zeros(0)).item() == 3


def make_model(*, chunk=2, **changed) -> LearnedWorldModel:
    generator = GeneratorConfig("regression", width=16, depth=2, noise_size=2)
    config = WorldModelConfig(chunk=chunk, value_discount=0.9, generator=generator, precision="float32", **changed)
    return LearnedWorldModel(SPEC, config, rng=rng())


def asked(H=4):
    past = History(torch.randn(2, 1, 3, generator=rng(1)), torch.zeros(2, 0, 2))
    return past, torch.randn(2, 5, H, 2, generator=rng(2)).clamp(-1, 1)


@pytest.mark.parametrize("observe", [True, False])
@pytest.mark.parametrize("particles", [1, 3])
def test_a_prepared_model_judges_the_end_of_a_plan_as_its_reference(linear_episodes, particles, observe):
    model = make_model()
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    expected = model.rollout(*asked(), particles=particles, rng=rng())
    assert expected.terminal_value.shape == (2, 5, particles)
    final = model.normaliser.obs(expected.obs[..., -1, :])
    torch.testing.assert_close(expected.terminal_value, model.value(final))
    for central in (True, False):
        prepared = PreparedModel(model, central=central, observe=observe)
        found = prepared.rollout(*asked(), particles=particles, rng=rng())
        torch.testing.assert_close(found.terminal_value, expected.terminal_value, rtol=1e-4, atol=1e-4)


def test_training_learns_it_and_other_scales_keep_it(linear_episodes):
    trainer = Trainer(SPEC, make_model().config, TrainingConfig(batch_size=32), seed=0)
    trainer.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    before = [parameter.clone() for parameter in trainer.world_model.value.parameters()]
    trainer.train_round(Windows(linear_episodes, history=1, chunk=2), 10)
    model = trainer.world_model
    assert not any(torch.equal(old, new) for old, new in zip(before, model.value.parameters(), strict=True))
    later = model.rollout(*asked(), particles=1, rng=rng()).terminal_value
    trainer.rescale(scales_of(compute_statistics(linear_episodes[:1], chunk=2)))
    torch.testing.assert_close(
        model.rollout(*asked(), particles=1, rng=rng()).terminal_value, later, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_rewards_of_any_size_are_learned_alike(linear_episodes, size):
    """In a unit of their own where they are large; in recorded ones where they are not."""
    episodes = [replace(each, rewards=np.full_like(each.rewards, size)) for each in linear_episodes]
    trainer = Trainer(SPEC, make_model().config, TrainingConfig(batch_size=32), seed=0)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=2)))
    trainer.train_round(Windows(episodes, history=1, chunk=2), 300)
    model = trainer.world_model
    assert float(model.value.reward_unit) == pytest.approx(max(1.0, size / 2))
    obs = model.normaliser.obs(torch.from_numpy(episodes[0].obs))
    value = float(model.value(obs).mean()) / size
    assert 1.0 < value < 1 / (1 - model.value.discount) + 0.5, "each step pays, forever"
    with torch.no_grad():
        before = model.value(obs)
        model.value.see_rewards(torch.tensor(0.0), torch.tensor(20_000.0))
        torch.testing.assert_close(model.value(obs), before, rtol=1e-4, atol=1e-3)
        model.value.see_rewards(torch.tensor(0.0), torch.tensor(1.0))
    assert float(model.value.reward_unit) == 10_000, "never smaller, or values would swing with the newest data"


@pytest.mark.parametrize("history", [1, 3])
def test_imagined_steps_are_the_actors_first_and_what_the_model_says_of_them(linear_episodes, history):
    model = make_model(history=history)
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    batch = Windows(linear_episodes, history=history, chunk=2).sample(8, rng())
    steps = model.imagined(batch, rng=rng(1))
    before, past = batch.obs[:, :history], batch.actions[:, : history - 1]
    torch.testing.assert_close(steps.obs, model.normaliser.obs(before[:, -1]))
    assert 0 < (steps.actions - model.value.act(steps.obs)).abs().max() <= 0.5
    assert steps.actions.shape == (8, 2)
    torch.testing.assert_close(steps.remaining, torch.full((8,), 0.9), msg="no episode ended by itself")
    plan = torch.stack([steps.actions, batch.actions[:, history]], dim=1).unsqueeze(1)
    said = model.rollout(History(before, past), plan, particles=1, rng=rng())
    torch.testing.assert_close(steps.after, model.normaliser.obs(said.obs[:, 0, 0, 0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(steps.paid, said.reward[:, 0, 0, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("history", [1, 3])
def test_critics_and_endings_learn_of_what_follows_the_newest_frame(linear_episodes, monkeypatch, history):
    model, seen = make_model(history=history), {}
    model.rescale(scales_of(compute_statistics(linear_episodes, chunk=2)))
    ended = replace(linear_episodes[0], terminated=True)
    batch = Windows([ended], history=history, chunk=2, past_end=True).batch(torch.arange(40))
    monkeypatch.setattr(model.value, "loss", lambda steps, *_, **__: seen.update(steps=steps) or torch.zeros(()))
    monkeypatch.setattr(model.ending, "loss", lambda *given: seen.update(given=given) or torch.zeros(()))
    model.loss(batch, rng=rng())
    obs = model.normaliser.obs(torch.from_numpy(ended.obs))
    torch.testing.assert_close(seen["steps"].obs, obs[:40])
    torch.testing.assert_close(seen["steps"].actions, torch.from_numpy(ended.actions))
    torch.testing.assert_close(seen["steps"].after[:39], obs[2:])
    torch.testing.assert_close(seen["given"][0][:39], torch.stack([obs[1:40], obs[2:]], dim=1))
    assert seen["given"][1].sum(dim=1).tolist() == [0] * 38 + [1, 2]


def test_an_imagined_end_is_as_probable_as_the_model_says(linear_episodes):
    model = make_model()
    batch = Windows(linear_episodes, history=1, chunk=2).sample(8, rng())
    model.ending.seen.fill_(True)
    steps = model.imagined(batch, rng=rng(1))
    torch.testing.assert_close(steps.remaining, 0.9 * torch.sigmoid(-model.ending.logit(steps.after)))


def test_steps_pay_what_comes_before_an_end():
    """Rewards 1, 2, 3 and a fourth that comes too late; the world of the second row ends with its second step."""
    obs, actions = torch.arange(10.0).view(2, 5, 1), torch.arange(8.0).view(2, 4, 1)
    reward, ended = torch.tensor([[1.0, 2.0, 3.0, 9.0]] * 2), torch.zeros(2, 4)
    ended[1, 1] = 1
    steps = Steps.of(obs, actions, reward, ended, discount=0.5)
    assert steps.paid.tolist() == [1 + 2 / 2 + 3 / 4, 1 + 2 / 2]
    assert steps.remaining.tolist() == [1 / 8, 0]
    assert (steps.obs[:, 0].tolist(), steps.actions[:, 0].tolist()) == ([0, 5], [0, 4])
    assert steps.after[:, 0].tolist() == [3, 8], "three steps later"
    assert Steps.of(obs, actions, reward, None, discount=0.5).remaining.tolist() == [1 / 8] * 2
    assert Steps.of(obs[:, :2], actions[:, :1], reward[:, :1], None, discount=0.5).after[:, 0].tolist() == [1, 6]


def test_imagined_steps_weigh_as_much_as_is_asked_for_whatever_their_number():
    """Critics say 0 of everything; targets are what was paid, in tenths of 1 / (1 - discount)."""

    def paying(reward, count):
        return Steps.of(
            torch.zeros(count, 2, 1), torch.zeros(count, 1, 1), torch.full((count, 1), reward), None, discount=0.5
        )

    value = ActorCritic(1, 1, discount=0.5, rng=rng())
    recorded, imagined = paying(1.0, 4), paying(2.0, 6)
    of_recorded, of_imagined = 2 * 5.0**2, 2 * 10.0**2  # of both critics
    assert value.loss(recorded, rng=rng()).item() == pytest.approx(of_recorded)
    assert value.loss(recorded, imagined, weight=0.5, rng=rng()).item() == pytest.approx(of_recorded + of_imagined / 2)


def test_critics_learn_of_actions_that_nobody_recorded():
    """An action pays 1 - 2 |a + 1/4|, and none below 0 was recorded: without the model it goes on to -0.4."""

    def reward(action):
        return 1 - 2 * (action + 0.25).abs()

    model, source = make_model(chunk=1, value_imagined=1.0), rng(1)
    model.generator.sample = lambda c, z: torch.cat([torch.zeros(len(c), 3), reward(c[:, 3:4])], dim=1)
    optimiser, nowhere = torch.optim.Adam(model.value.parameters(), lr=3e-3), torch.zeros(64, 2, 3)
    for _ in range(800):
        actions = torch.rand(64, 1, 2, generator=source)
        optimiser.zero_grad()
        model.loss(Batch(nowhere, actions, reward(actions[..., 0])), rng=source).backward()
        optimiser.step()
    assert model.value.act(nowhere[0, 0])[0].item() == pytest.approx(-0.25, abs=0.1)


def test_a_model_with_a_value_is_planned_in_under_its_discount():
    cpu = torch.device("cpu")
    assert make_policy(make_model(), PlanningSettings(), device=cpu).objective == PredictedReturn(0.9)
    asked_for = PlanningSettings(objective=ObjectiveSettings(discount=0.5))
    assert make_policy(make_model(), asked_for, device=cpu).objective == PredictedReturn(0.5)
    blind = PlanningSettings(objective=ObjectiveSettings(value=False))
    assert make_policy(make_model(), blind, device=cpu).objective == PredictedReturn(0.9, value=False)


@pytest.mark.parametrize("discount", [1.0, -0.1])
def test_a_discount_that_has_no_value_is_refused(discount):
    with pytest.raises(ValueError, match=r"model\.value_discount"):
        WorldModelConfig(value_discount=discount)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_weighs_nothing_is_refused(weight):
    with pytest.raises(ValueError, match=r"model\.value_imagined"):
        WorldModelConfig(value_discount=0.9, value_imagined=weight)


def test_nothing_is_imagined_for_critics_that_are_not_there():
    with pytest.raises(ValueError, match=r"set model\.value_discount=0\.97"):
        WorldModelConfig(value_imagined=1.0)
