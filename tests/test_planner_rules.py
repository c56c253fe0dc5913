"""What distinguishes the planners' rules, and the settings they refuse."""

from itertools import pairwise

import pytest
import torch
from omegaconf import OmegaConf

from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.planners.icem import ICEM, ICEMConfig
from drift_wm.planners.loop import PlannerConfig
from drift_wm.planners.mppi import MPPI, MPPIConfig, softmax_weights
from drift_wm.planners.predictive_sampling import PredictiveSampling, PredictiveSamplingConfig
from drift_wm.planners.random_shooting import RandomShooting, RandomShootingConfig
from drift_wm.planners.ranking import select_elites
from helpers import rng as generator


def recorder(score):
    """A score function and the list in which it leaves the candidates it was asked for."""
    seen = []

    def recording(candidates):
        seen.append(candidates.clone())
        return score(candidates)

    return recording, seen


def total(candidates):
    return candidates.sum(dim=(-2, -1))


def test_elites_are_the_best_in_order():
    candidates = torch.arange(5.0).reshape(1, 5, 1, 1)
    scores = torch.tensor([[3.0, 9.0, -torch.inf, 7.0, -torch.inf]])
    for count, expected in ((1, [1.0]), (3, [1.0, 3.0, 0.0]), (5, [1.0, 3.0, 0.0, 1.0, 1.0])):
        top, elites = select_elites(candidates, scores, count)
        assert top.tolist() == [9.0]
        assert elites.flatten().tolist() == expected


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_cem_refits_mean_and_std_to_the_elites(momentum):
    planner = CEM(CEMConfig(horizon=3, candidates=20, iterations=1, elites=4, momentum=momentum), 2)
    score, seen = recorder(total)
    start = planner.init(2)
    plan = planner.improve(score, start, rng=generator())
    for environment, candidates in enumerate(seen[0]):
        elites = candidates[total(candidates).argsort(descending=True)[:4]]
        mean = momentum * start.mean[environment] + (1 - momentum) * elites.mean(0)
        std = momentum * start.std[environment] + (1 - momentum) * elites.std(0, correction=0)
        torch.testing.assert_close(plan.mean[environment], mean)
        torch.testing.assert_close(plan.std[environment], std.clamp_min(planner.config.min_std))


def test_the_spread_has_a_floor():
    planner = CEM(CEMConfig(horizon=3, candidates=20, iterations=1, elites=1, momentum=0.0, min_std=0.2), 1)
    plan = planner.improve(total, planner.init(1), rng=generator())
    assert torch.equal(plan.std, torch.full((1, 3, 1), 0.2))


def test_icem_defaults_are_the_published_ones_but_for_what_is_executed():
    config = ICEMConfig()
    assert (config.elites, config.keep_fraction, config.population_decay) == (10, 0.3, 1.25)
    assert (config.initial_std, config.min_std, config.momentum, config.execute) == (0.5, 0.0, 0.1, "mean")
    assert ICEM(config, 1).carried_elites == 3


def test_icem_populations_shrink_to_twice_the_elites():
    assert ICEM(ICEMConfig(), 1).populations == (256, 204, 163, 131)
    small = ICEM(ICEMConfig(candidates=40, iterations=6, elites=10), 1)
    assert small.populations == (40, 32, 25, 20, 20, 20)
    score, seen = recorder(total)
    small.improve(score, small.init(1), rng=generator())
    assert tuple(candidates.shape[1] for candidates in seen) == small.populations


def test_icem_keeps_elites_within_and_across_decisions_and_adds_the_mean_last():
    planner = ICEM(ICEMConfig(horizon=4, candidates=30, elites=6, keep_fraction=0.5, iterations=3), 1)
    score, seen = recorder(total)
    plan = planner.improve(score, planner.init(1), rng=generator())
    for before, after in pairwise(seen[:-1]):
        kept = before[:, total(before)[0].argsort(descending=True)[:3]]
        assert torch.equal(after[:, :3], kept)
    kept = seen[1][:, total(seen[1])[0].argsort(descending=True)[:3]]
    assert torch.equal(seen[2][:, 1:4], kept)
    assert plan.elites.shape == planner.init(1).elites.shape == (1, 3, 4, 1)
    assert torch.equal(plan.elites[:, 0], plan.best)

    shifted = planner.shift(plan, 1)
    seen.clear()
    planner.improve(score, shifted, rng=generator(1))
    assert torch.equal(seen[0][:, :3], shifted.elites)


def test_icem_may_keep_nothing():
    planner = ICEM(ICEMConfig(horizon=4, keep_fraction=0.0), 1)
    plan = planner.improve(total, planner.shift(planner.init(2), 1), rng=generator())
    assert plan.elites.shape == (2, 0, 4, 1)


def improve_once(temperature, **changes):
    config = MPPIConfig(horizon=3, candidates=32, iterations=1, temperature=temperature, **changes)
    planner = MPPI(config, 2)
    score, seen = recorder(total)
    return planner.improve(score, planner.init(2), rng=generator()), seen[0]


def test_mppi_at_low_temperature_takes_the_best_candidate():
    plan, _ = improve_once(1e-4)
    torch.testing.assert_close(plan.mean, plan.best)
    assert (plan.std == 0.05).all()


def test_mppi_executes_the_weighted_average():
    planner = MPPI(MPPIConfig(horizon=3, candidates=16, iterations=1, temperature=1e6), 2)
    plan = planner.improve(lambda candidates: candidates.sum(dim=(2, 3)), planner.init(2), rng=generator())
    torch.testing.assert_close(planner.action(plan), plan.mean)


def test_mppi_at_high_temperature_takes_the_mean_of_all():
    plan, candidates = improve_once(1e6)
    torch.testing.assert_close(plan.mean, candidates.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(plan.std, candidates.std(1, correction=0), atol=1e-5, rtol=0)


def test_mppi_can_leave_the_spread_alone():
    plan, _ = improve_once(0.5, adapt_std=False)
    assert torch.equal(plan.std, torch.full((2, 3, 2), 0.5))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_mppi_weights_do_not_depend_on_the_scale_of_scores(scale):
    scores = torch.randn(3, 50, generator=generator())
    torch.testing.assert_close(softmax_weights(scores * scale, 0.3), softmax_weights(scores, 0.3))


def test_mppi_weights_mean_what_the_temperature_says():
    scores = torch.tensor([[1.0, 2.0, 5.0]])
    weights = softmax_weights(scores, 0.5)[0]
    assert (weights[1] / weights[2]).item() == pytest.approx(torch.tensor(-2.0).exp().item())
    assert weights.sum().item() == pytest.approx(1.0)


def test_mppi_weights_survive_failures_ties_and_outliers():
    inf = torch.inf
    assert softmax_weights(torch.full((1, 4), 3.0), 0.2).tolist() == [[0.25] * 4]
    assert softmax_weights(torch.tensor([[1.0, -inf, 1.0, -inf]]), 0.2).tolist() == [[0.5, 0.0, 0.5, 0.0]]
    assert softmax_weights(torch.tensor([[-inf, -inf, 4.0]]), 0.2).tolist() == [[0.0, 0.0, 1.0]]
    clean, diverged = torch.randn(1, 41, generator=generator()), torch.tensor([[-1e37, -1e38, -3e38, -inf]])
    weights = softmax_weights(torch.cat([clean, diverged], dim=1), 0.2)
    assert torch.isfinite(weights).all()
    assert (weights[:, 41:] == 0).all()
    assert weights.max() > 0.1
    extreme = softmax_weights(torch.tensor([[-3e38, -2e38, 3e38]]), 1e6)
    assert torch.isfinite(extreme).all()
    assert extreme.sum().item() == pytest.approx(1.0)


def test_random_shooting_proposes_uniformly_and_keeps_the_winner():
    planner = RandomShooting(RandomShootingConfig(horizon=2, candidates=4000), 1)
    score, seen = recorder(total)
    plan = planner.improve(score, planner.init(2), rng=generator())
    values = seen[0][0, 1:].flatten().sort().values
    torch.testing.assert_close(values, torch.linspace(-1, 1, len(values)), atol=0.05, rtol=0)
    assert torch.equal(plan.mean, plan.best)


def test_predictive_sampling_perturbs_the_best_with_constant_noise():
    config = PredictiveSamplingConfig(horizon=2, candidates=4000, iterations=2, initial_std=0.1)
    planner = PredictiveSampling(config, 1)
    score, seen = recorder(lambda candidates: -candidates.square().sum(dim=(-2, -1)))
    plan = planner.improve(score, planner.init(1), rng=generator())
    assert [candidates.std().item() for candidates in seen] == pytest.approx([0.1, 0.1], abs=0.005)
    assert torch.equal(plan.best, torch.zeros(1, 2, 1))
    assert torch.equal(plan.mean, plan.best)


@pytest.mark.parametrize(
    ("config_type", "field", "value"),
    [
        (PlannerConfig, "horizon", 0),
        (PlannerConfig, "candidates", 1),
        (PlannerConfig, "iterations", 0),
        (PlannerConfig, "initial_std", 0.0),
        (PlannerConfig, "initial_std", float("nan")),
        (PlannerConfig, "min_std", -0.1),
        (PlannerConfig, "min_std", 0.6),
        (PlannerConfig, "noise_exponent", float("inf")),
        (PlannerConfig, "noise_exponent", 10.5),
        (PlannerConfig, "execute", "first"),
        (CEMConfig, "elites", 0),
        (CEMConfig, "elites", 257),
        (CEMConfig, "momentum", 1.0),
        (CEMConfig, "momentum", -0.1),
        (ICEMConfig, "candidates", 19),
        (ICEMConfig, "keep_fraction", 1.1),
        (ICEMConfig, "keep_fraction", -0.1),
        (ICEMConfig, "population_decay", 0.9),
        (MPPIConfig, "temperature", 0.0),
        (MPPIConfig, "temperature", float("inf")),
        (RandomShootingConfig, "horizon", -3),
        (PredictiveSamplingConfig, "initial_std", -1.0),
    ],
)
def test_bad_settings_are_named(config_type, field, value):
    with pytest.raises(ValueError, match=rf"^planner\.{field}={value!r}: expected \S"):
        config_type(**{field: value})


@pytest.mark.parametrize(
    "config_type", [CEMConfig, ICEMConfig, MPPIConfig, RandomShootingConfig, PredictiveSamplingConfig]
)
def test_settings_survive_structured_configuration(config_type):
    structured = OmegaConf.merge(OmegaConf.structured(config_type), {"horizon": 20})
    assert OmegaConf.to_object(structured) == config_type(horizon=20)
