"""What every sampling-based planner must do, whatever its rule: one parametrised suite over all of them."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.planners.cem import CEMConfig
from drift_wm.planners.factory import make_planner
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.loop import PlannerConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.planners.predictive_sampling import PredictiveSamplingConfig
from drift_wm.planners.random_shooting import RandomShootingConfig
from helpers import rng as generator

CONFIGS = [CEMConfig, ICEMConfig, MPPIConfig, RandomShootingConfig, PredictiveSamplingConfig]
every_rule = pytest.mark.parametrize("config_type", CONFIGS)


def quadratic(target):
    """Score with its optimum, 0, at a target (B, H, A)."""
    return lambda candidates: -(candidates - target.unsqueeze(1)).square().sum(dim=(-2, -1))


def small(config_type, **changes):
    return config_type(**({"horizon": 5, "candidates": 64} | changes))


def same_plan(left, right):
    tensors = ("mean", "std", "best", "score", "elites")
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in tensors)


@every_rule
@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_of_a_quadratic_is_found(config_type, seed):
    config = config_type(horizon=2, candidates=256, iterations=6, noise_exponent=0.0)
    planner = make_planner(config, action_size=2)
    target = torch.tensor([[[0.7, -0.3], [0.1, 0.9]], [[-0.8, 0.0], [0.5, -0.5]]])
    plan = planner.improve(quadratic(target), planner.init(2), rng=generator(seed))
    # Uniform sampling covers 4 dimensions with 1536 points: about a tenth of the range in each.
    tolerance = 0.4 if config_type is RandomShootingConfig else 0.12
    torch.testing.assert_close(planner.action(plan), target, atol=tolerance, rtol=0)
    assert plan.non_finite == 0


@every_rule
def test_an_optimum_out_of_bounds_is_met_at_the_bound(config_type):
    planner = make_planner(small(config_type, horizon=1, execute="mean", iterations=5), action_size=1)
    plan = planner.improve(lambda candidates: candidates.sum(dim=(-2, -1)), planner.init(1), rng=generator())
    assert plan.best.item() == pytest.approx(1.0, abs=0.05)
    assert planner.action(plan).item() == pytest.approx(1.0, abs=0.15)


@every_rule
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), std=st.floats(0.01, 50), exponent=st.floats(-2, 4), size=st.integers(1, 3))
def test_candidates_and_plans_stay_within_bounds(config_type, seed, std, exponent, size):
    config = small(config_type, initial_std=std, min_std=0.0, noise_exponent=exponent, iterations=2)
    planner = make_planner(config, action_size=size)
    seen = []

    def score(candidates):
        seen.append(candidates.abs().max().item())
        return candidates.sum(dim=(-2, -1))

    plan = planner.improve(score, planner.init(2), rng=generator(seed))
    plan = planner.improve(score, planner.shift(plan, 1), rng=generator(seed))
    assert max(seen) <= 1.0
    assert max(tensor.abs().max().item() for tensor in (plan.mean, plan.best)) <= 1.0
    assert (plan.std >= 0).all()


@every_rule
def test_one_seed_gives_one_plan(config_type):
    planner = make_planner(small(config_type), action_size=2)
    score = quadratic(torch.ones(1, 5, 2))
    first, again, other = (planner.improve(score, planner.init(1), rng=generator(seed)) for seed in (3, 3, 4))
    assert same_plan(first, again)
    assert not torch.equal(first.best, other.best)


@every_rule
def test_a_batch_is_planned_as_its_members_alone(config_type):
    planner = make_planner(small(config_type), action_size=2)
    targets = torch.rand(3, 5, 2, generator=generator(9)) * 2 - 1

    def two_decisions(target):
        rng = generator(5)
        plan = planner.improve(quadratic(target), planner.init(len(target)), rng=rng)
        return planner.improve(quadratic(target), planner.shift(plan, 2), rng=rng)

    together = two_decisions(targets)
    for environment in range(3):
        alone = two_decisions(targets[environment : environment + 1])
        for name in ("mean", "std", "best", "score", "elites"):
            batch_part = getattr(together, name)[environment : environment + 1]
            torch.testing.assert_close(batch_part, getattr(alone, name), atol=1e-6, rtol=0)


@every_rule
def test_the_best_never_gets_worse_and_is_what_was_scored(config_type):
    planner = make_planner(small(config_type, iterations=1), action_size=1)
    target = torch.rand(2, 5, 1, generator=generator(1)) * 2 - 1
    score, rng, plan = quadratic(target), generator(2), planner.init(2)
    for _ in range(6):
        better = planner.improve(score, plan, rng=rng)
        assert (better.score >= plan.score).all()
        assert torch.equal(better.score, score(better.best.unsqueeze(1)).squeeze(1))
        plan = better


@every_rule
def test_the_mean_is_among_the_candidates(config_type):
    planner = make_planner(small(config_type, iterations=1), action_size=1)
    target = torch.rand(1, 5, 1, generator=generator(1)) * 2 - 1
    start = dataclasses.replace(planner.init(1), mean=target)
    plan = planner.improve(quadratic(target), start, rng=generator())
    assert torch.equal(plan.best, target)
    assert plan.score.item() == 0.0


@every_rule
def test_shift_moves_the_plan_and_forgets_the_decision(config_type):
    planner = make_planner(small(config_type), action_size=2)
    plan = planner.improve(quadratic(torch.full((2, 5, 2), 0.5)), planner.init(2), rng=generator())
    shifted = planner.shift(plan, 2)
    assert torch.equal(shifted.mean[:, :3], plan.mean[:, 2:])
    assert torch.equal(shifted.mean[:, 3:], plan.mean[:, 4:].expand(-1, 2, -1))
    assert torch.equal(shifted.elites[:, :, :3], plan.elites[:, :, 2:])
    assert torch.equal(shifted.elites[:, :, 3:], plan.elites[:, :, 4:].expand(-1, -1, 2, -1))
    fresh = planner.init(2)
    for name in ("std", "best", "score"):
        assert torch.equal(getattr(shifted, name), getattr(fresh, name))
    assert torch.equal(planner.shift(plan, 0).mean, plan.mean)
    assert torch.equal(planner.shift(plan, 5).mean, plan.mean[:, 4:].expand(-1, 5, -1))


@every_rule
def test_non_finite_scores_rank_last_and_are_counted(config_type):
    config = small(config_type, iterations=3)
    planner = make_planner(config, action_size=1)
    broken = [0]

    def score(candidates):
        first = candidates[:, :, 0, 0]
        values = -(first + 0.5).square()
        values = torch.where(first > 0.0, torch.nan, values)
        values = torch.where(first > 0.3, torch.inf, values)
        values = torch.where(first < -0.9, -torch.inf, values)
        broken[0] += int((~torch.isfinite(values)).sum())
        return values

    plan = planner.improve(score, planner.init(2), rng=generator())
    assert plan.non_finite == broken[0] > 0
    assert torch.isfinite(plan.score).all()
    assert (plan.best[:, 0] + 0.5).abs().max() < 0.1
    assert torch.isfinite(plan.mean).all()
    assert (plan.mean[:, 0] <= 0.0).all()
    calm = planner.improve(quadratic(plan.best), planner.shift(plan, 1), rng=generator())
    assert calm.non_finite == 0


@every_rule
def test_a_single_finite_score_decides(config_type):
    planner = make_planner(small(config_type, iterations=1), action_size=1)

    def score(candidates):
        values = candidates.new_full(candidates.shape[:2], torch.nan)
        values[:, 7] = -1e30
        return values

    plan = planner.improve(score, planner.init(1), rng=generator())
    assert plan.score.item() == pytest.approx(-1e30)
    if config_type in (MPPIConfig, RandomShootingConfig, PredictiveSamplingConfig):
        torch.testing.assert_close(plan.mean, plan.best)
    else:
        torch.testing.assert_close(plan.mean, 0.9 * plan.best)


@every_rule
@pytest.mark.parametrize("execute", ["best", "mean"])
def test_an_environment_without_finite_scores_goes_on_as_planned_and_is_named(config_type, execute):
    planner = make_planner(small(config_type, execute=execute), action_size=1)

    def score(candidates):
        return candidates.sum(dim=(-2, -1))

    def lost_in(row):
        def scored(candidates):
            values = score(candidates)
            values[row] = torch.nan
            return values

        return scored

    start = planner.shift(planner.improve(score, planner.init(3), rng=generator()), 1)
    plan = planner.improve(lost_in(1), start, rng=generator())
    sound = planner.improve(score, start, rng=generator())
    assert (plan.lost, sound.lost) == ((1,), ())
    assert torch.equal(planner.action(plan)[1], start.mean[1])
    others = [0, 2]
    for name in ("mean", "std", "best", "score", "elites"):
        assert torch.equal(getattr(plan, name)[others], getattr(sound, name)[others]), name
        if name != "best":
            assert torch.equal(getattr(plan, name)[1], getattr(start, name)[1]), name
    assert planner.improve(score, planner.shift(plan, 1), rng=generator()).lost == ()
    calls, rounds = iter([lost_in(1), lost_in(0)]), planner.config.iterations
    in_turn = planner.improve(lambda candidates: next(calls, score)(candidates), start, rng=generator())
    assert in_turn.lost == ((1,) if rounds == 1 else (0, 1))
    assert (in_turn.score[1] == -torch.inf) == (rounds == 1), "found in a later iteration"


@every_rule
def test_a_proposal_that_is_no_number_spoils_no_plan(config_type):
    planner = make_planner(small(config_type, execute="mean"), action_size=1)

    def score(candidates):
        return -(candidates - 0.5).square().sum(dim=(-2, -1))

    start = planner.init(1)
    proposals = torch.full((1, 2, *start.mean.shape[1:]), 0.4)
    proposals[0, 1, 2] = torch.nan
    plan = planner.improve(score, start, rng=generator(), proposals=proposals)
    assert plan.mean.isfinite().all()
    assert plan.best.isfinite().all()
    assert (plan.non_finite, plan.lost) == (0, ())


@every_rule
def test_plans_are_of_float32_whatever_type_scores_have(config_type):
    planner = make_planner(small(config_type), action_size=1)
    plan = planner.improve(lambda c: c.sum(dim=(-2, -1)).double(), planner.init(1), rng=generator())
    assert {plan.mean.dtype, plan.std.dtype, plan.best.dtype, plan.score.dtype} == {torch.float32}


@every_rule
def test_scores_are_asked_for_without_gradients_and_the_plan_is_not_written_to(config_type):
    planner = make_planner(small(config_type), action_size=1)
    weight = torch.ones(1, requires_grad=True)
    start = planner.init(1)
    plan = planner.improve(lambda c: (c * weight).sum(dim=(-2, -1)), start, rng=generator())
    assert not plan.score.requires_grad
    assert same_plan(start, planner.init(1))


def test_what_to_execute_is_configured():
    best, mean = (make_planner(CEMConfig(horizon=5, execute=execute), 1) for execute in ("best", "mean"))
    plan = best.improve(quadratic(torch.full((1, 5, 1), 0.5)), best.init(1), rng=generator())
    assert best.action(plan) is plan.best
    assert mean.action(plan) is plan.mean


def test_wrong_shapes_are_refused():
    planner = make_planner(small(CEMConfig), action_size=2)
    other = make_planner(small(CEMConfig, horizon=4), action_size=2)
    with pytest.raises(ValueError, match=r"mean has shape \(1, 4, 2\); this planner expects \(1, 5, 2\)"):
        planner.improve(quadratic(torch.zeros(1, 5, 2)), other.init(1), rng=generator())
    foreign = make_planner(ICEMConfig(horizon=5, elites=30, keep_fraction=1.0), action_size=2)
    with pytest.raises(ValueError, match=r"elites has shape \(1, 30, 5, 2\); this planner expects \(1, 0, 5, 2\)"):
        planner.improve(quadratic(torch.zeros(1, 5, 2)), foreign.init(1), rng=generator())
    one_for_all = dataclasses.replace(planner.init(3), std=torch.ones(1, 5, 2))
    with pytest.raises(ValueError, match=r"std has shape \(1, 5, 2\); this planner expects \(3, 5, 2\)"):
        planner.improve(quadratic(torch.zeros(3, 5, 2)), one_for_all, rng=generator())
    with pytest.raises(ValueError, match="Reduce futures"):
        planner.improve(lambda candidates: candidates.sum(dim=-1), planner.init(1), rng=generator())
    with pytest.raises(ValueError, match=r"mean has shape \(1, 4, 2\); this planner expects \(1, 5, 2\)"):
        planner.shift(other.init(1), 1)
    for steps in (-1, 6):
        with pytest.raises(ValueError, match=f"steps is {steps}"):
            planner.shift(planner.init(1), steps)
    with pytest.raises(ValueError, match="action_size is 0"):
        make_planner(CEMConfig(), action_size=0)
    with pytest.raises(ValueError, match="PlannerConfig"):
        make_planner(PlannerConfig(), action_size=1)
