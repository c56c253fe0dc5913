"""Training on a model's own rollouts, against a naive loop and in worlds where the loss is known."""

import pytest
import torch

from drift_wm.fields import energy_field
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Batch, Spec
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.normalisation import Scales
from drift_wm.models.world_model import LearnedWorldModel
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
VELOCITY, REWARD = torch.tensor([0.5, -1.0, 2.0]), 0.25


def make(
    name: str, *, history: int = 1, chunk: int = 2, chunks: int = 2, members: int = 1, mean: float = 0.0
) -> LearnedWorldModel:
    generator = GeneratorConfig(
        name=name, width=16, depth=2, noise_size=2, siblings=3, members=members, mean_weight=mean
    )
    config = WorldModelConfig(history=history, chunk=chunk, self_rollout=chunks, generator=generator)
    return LearnedWorldModel(SPEC, config, rng=rng())


def batch_of(model: LearnedWorldModel, B: int = 4) -> Batch:
    steps = model.history + model.training_steps
    return Batch(
        torch.randn(B, steps, 3, generator=rng(1)),
        torch.randn(B, steps - 1, 2, generator=rng(2)),
        torch.randn(B, model.training_steps, generator=rng(3)),
    )


def steady(model: LearnedWorldModel, B: int = 4) -> Batch:
    """Observations that move with VELOCITY, and a constant reward."""
    steps = model.history + model.training_steps
    obs = torch.randn(B, 1, 3, generator=rng(1)) + torch.arange(steps).view(-1, 1) * VELOCITY
    return Batch(obs, torch.zeros(B, steps - 1, 2), torch.full((B, model.training_steps), REWARD))


def perfect(model: LearnedWorldModel) -> LearnedWorldModel:
    """Its targets' means are the answer in a steady world, and its network says that nothing differs from them."""
    steps = torch.arange(1, model.chunk + 1).view(-1, 1)
    mean = torch.cat([steps * VELOCITY, torch.full((model.chunk, 1), REWARD)], dim=1)
    actions = (torch.zeros(2), torch.ones(2), torch.ones(2), torch.zeros(2, dtype=torch.bool))
    model.normaliser.set(Scales(torch.zeros(3), torch.ones(3), mean, torch.ones_like(mean), *actions))
    with torch.no_grad():
        for member in model.members:
            member.backbone.output.weight.zero_()
    return model


@pytest.mark.parametrize(("history", "chunk", "chunks"), [(1, 2, 2), (3, 2, 2), (2, 1, 3)])
@pytest.mark.parametrize("name", ["drifting", "regression"])
def test_the_loss_is_that_of_a_naive_loop(name, history, chunk, chunks):
    model = make(name, history=history, chunk=chunk, chunks=chunks)
    batch, (K, k, H) = batch_of(model), (history, chunk, chunk * chunks)
    G = 3 if name == "drifting" else 1
    noise_rng, total, downhill = rng(9), 0.0, 0.0
    noise = [torch.randn(4, G, 2, generator=noise_rng) for _ in range(chunks)]
    for b in range(4):
        data = torch.cat([batch.obs[b, K:], batch.reward[b].unsqueeze(1)], dim=1)
        rows = []
        for g in range(G):
            frames, row = list(batch.obs[b, :K]), []
            for i in range(chunks):
                c = torch.cat([*frames[-K:], batch.actions[b, i * k : i * k + K - 1 + k].flatten()])
                change = model.generator.sample(c, noise[i][b, g]).view(k, 4)
                future = frames[-1] + change[:, :3]
                row.append(torch.cat([future, change[:, 3:]], dim=1))
                frames += list(future)
            rows.append(torch.cat(row))
        x, y = torch.stack(rows).flatten(1).unsqueeze(0), data.flatten().view(1, 1, -1)
        if name == "regression":
            total = downhill = total + (x - y).square().sum()
        else:
            config = model.config.generator
            V = energy_field(x, y, exponent=config.exponent, smoothing=config.smoothing, blocks=H)
            total, downhill = total + V.square().sum() / G, downhill - 2 * (V.detach() * x).sum() / G
    found, weight = model.loss(batch, rng=rng(9)), model.members[0].backbone.from_condition.weight
    torch.testing.assert_close(found, total / 4, rtol=1e-4, atol=1e-5)
    (gradient,), (expected,) = (torch.autograd.grad(value, weight) for value in (found, downhill / 4))
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["drifting", "regression"])
def test_a_perfect_model_has_no_loss(name):
    model = perfect(make(name))
    assert model.loss(steady(model), rng=rng()).item() < 1e-6


def test_an_error_of_one_chunk_is_carried_into_the_next():
    model = perfect(make("regression"))
    error = 0.1
    with torch.no_grad():
        model.members[0].backbone.output.bias.fill_(error)  # of every observation and reward, in every step
    first, second = 2 * (3 + 1) * error**2, 2 * (3 * (2 * error) ** 2 + error**2)
    assert model.loss(steady(model), rng=rng()).item() == pytest.approx(first + second, rel=1e-4)


def test_one_chunk_alone_is_the_generators_own_loss():
    model = make("drifting", chunks=1)
    batch = batch_of(model)
    c = torch.cat([batch.obs[:, 0], batch.actions.flatten(1)], dim=1)
    y = torch.cat([batch.obs[:, 1:] - batch.obs[:, :1], batch.reward.unsqueeze(-1)], dim=-1).flatten(1)
    torch.testing.assert_close(model.loss(batch, rng=rng(5)), model.generator.loss(c, y, rng=rng(5)))


def test_a_mean_is_learned_of_the_first_chunk_alone():
    model = make("drifting", mean=0.3)
    batch, (member,) = batch_of(model), model.members
    model.loss(batch, rng=rng(5)).backward()
    bare = make("drifting")
    bare.load_state_dict(model.state_dict(), strict=False)
    drift = bare.loss(batch, rng=rng(5))
    c = torch.cat([batch.obs[:, 0], batch.actions[:, :2].flatten(1)], dim=1).unsqueeze(1)
    y = torch.cat([batch.obs[:, 1:3] - batch.obs[:, :1], batch.reward[:, :2].unsqueeze(-1)], dim=-1).flatten(1)
    features = member.backbone.features(member.backbone.from_condition(c), torch.randn(4, 3, 2, generator=rng(5)))
    expected = torch.autograd.grad(member.mean_loss(features.mean(dim=1), y, drift=drift), member.mean_output.bias)[0]
    torch.testing.assert_close(member.mean_output.bias.grad, expected)


def test_members_of_an_ensemble_each_follow_their_own_rollouts():
    model = make("regression", members=2)
    batch = batch_of(model)
    alone = make("regression")
    losses = []
    for member in model.members:
        alone.generator.load_state_dict(member.state_dict())
        losses.append(alone.loss(batch, rng=rng()))
    assert losses[0] != losses[1]
    torch.testing.assert_close(model.loss(batch, rng=rng()), torch.stack(losses).mean())
