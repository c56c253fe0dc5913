"""Ensembles: who makes which sample, and that nothing else changes."""

from dataclasses import replace

import pytest
import torch

from drift_wm.build import make_policy
from drift_wm.generators import Ensemble, GeneratorConfig, make_generator, sample_scores
from drift_wm.interfaces import Spec
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.objective_settings import RiskSettings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.settings import PlanningSettings


def make(name: str = "drifting", members: int = 3, **kwargs) -> Ensemble:
    config = GeneratorConfig(name=name, width=16, depth=2, noise_size=2, members=members, **kwargs)
    generator = make_generator(config, 3, 2, blocks=1, rng=torch.Generator().manual_seed(0))
    assert isinstance(generator, Ensemble)
    return generator


def test_members_differ_and_one_alone_is_no_ensemble():
    first, second, third = (member.state_dict() for member in make().each())
    name = "backbone.output.weight"
    assert not torch.equal(first[name], second[name])
    assert not torch.equal(second[name], third[name])
    config = GeneratorConfig(width=16, depth=2, noise_size=2)
    alone = make_generator(config, 3, 2, blocks=1, rng=torch.Generator().manual_seed(0))
    assert not isinstance(alone, Ensemble)
    assert torch.equal(alone.state_dict()[name], first[name])


@pytest.mark.parametrize(("particles", "groups"), [(6, (2, 2, 2)), (7, (3, 2, 2)), (2, (1, 1, 0)), (1, (1, 0, 0))])
def test_samples_come_from_members_in_contiguous_groups(particles, groups):
    ensemble = make()
    c, z = torch.randn(5, 1, 3), torch.randn(1, particles, 2)
    found = ensemble.sample(c, z)
    assert found.shape == (5, particles, 2)
    parts = zip(ensemble.each(), z.split(groups, dim=1), strict=True)
    torch.testing.assert_close(found, torch.cat([member.sample(c, part) for member, part in parts], dim=1))
    own = torch.randn(5, particles, 3)  # a condition for each particle
    parts = zip(ensemble.each(), own.split(groups, dim=1), z.split(groups, dim=1), strict=True)
    expected = torch.cat([member.sample(known, part) for member, known, part in parts], dim=1)
    torch.testing.assert_close(ensemble.sample(own, z), expected)


def test_an_ensemble_of_point_masses_is_stochastic():
    ensemble = make("regression")
    y = ensemble.sample(torch.randn(1, 1, 3), torch.zeros(1, 6, 2))
    assert ensemble.stochastic
    assert torch.equal(y[:, 0], y[:, 1])
    assert not torch.allclose(y[:, 0], y[:, 2])


def test_the_loss_is_the_mean_of_the_members():
    ensemble = make("gaussian")
    c, y, rng = torch.randn(8, 3), torch.randn(8, 2), torch.Generator()
    expected = sum(member.loss(c, y, rng=rng) for member in ensemble.each()) / 3
    torch.testing.assert_close(ensemble.loss(c, y, rng=rng), expected)


def test_members_of_a_drifting_ensemble_meet_noise_of_their_own():
    ensemble = make()
    first, second, _ = ensemble.each()
    second.load_state_dict(first.state_dict())
    ensemble.loss(torch.randn(8, 3), torch.randn(8, 2), rng=torch.Generator().manual_seed(0)).backward()
    assert not torch.equal(first.backbone.output.weight.grad, second.backbone.output.weight.grad)


def test_phases_and_steps_are_those_of_the_members():
    ensemble = make("distilled", steps=4)
    assert (ensemble.nfe, ensemble.rebases_output, ensemble.noise_size) == (4, False, 2)
    assert ensemble.begin_step(11, 12) > 0
    assert ensemble.nfe == 1
    flow = make("flow", steps=4)
    flow.set_sampling_steps(7)
    assert [member.nfe for member in flow.each()] == [7, 7, 7]


def test_scores_take_an_ensemble():
    c, y, (alone, *_) = torch.randn(8, 3), torch.randn(8, 2), make("regression").each()
    measured = sample_scores(make("regression"), c, y, rng=torch.Generator(), samples=6)
    assert float(measured["spread"]) > 0
    assert float(sample_scores(alone, c, y, rng=torch.Generator(), samples=6)["spread"]) == pytest.approx(0, abs=1e-6)


def test_who_asks_one_future_of_several_members_or_for_its_risk_is_told(caplog):
    config = WorldModelConfig(chunk=1, generator=GeneratorConfig(width=8, depth=2, noise_size=2, members=3))
    model = LearnedWorldModel(Spec(3, 2, 0.1), config, rng=torch.Generator())
    asked = PlanningSettings(planner=ICEMConfig(horizon=2, candidates=16, elites=3), risk=RiskSettings("worst"))
    make_policy(model, replace(asked, particles=3), device="cpu")
    assert not caplog.messages
    make_policy(model, asked, device="cpu")
    assert "risk.name=worst has no effect with a single future" in caplog.messages[0]
    assert "of 3 ensemble members only the first 1 plan; set particles=3" in caplog.messages[1]
    single = LearnedWorldModel(
        Spec(3, 2, 0.1), replace(config, generator=replace(config.generator, members=1)), rng=torch.Generator()
    )
    make_policy(single, replace(asked, risk=RiskSettings()), device="cpu")
    assert len(caplog.messages) == 2, "a single model is planned in at its centre"
    make_policy(model, replace(asked, particles=2), device="cpu")
    assert "of 3 ensemble members only the first 2 plan; set particles=3" in caplog.messages[2]


def test_scores_of_an_ensemble_are_those_of_its_mixture():
    """Members that each say one number: equal shares of them would lie farther apart than independent draws do."""
    said, members = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), 5

    class Members:
        noise_size = 1

        def each(self):
            return [self] * members

        def sample(self, c, z):
            share = z.shape[1] // members
            return said.repeat_interleave(share).view(1, -1, 1).expand(len(c), -1, 1)

    y = torch.zeros(4000, 1)
    measured = sample_scores(Members(), y, y, rng=torch.Generator().manual_seed(1))
    between = (said[:, None] - said).abs().mean()
    assert float(measured["energy_score"]) == pytest.approx(float(said.abs().mean() - between / 2), abs=0.02)
    assert float(measured["error"]) < 0.15, "zero up to chance: the members' mean is right"
