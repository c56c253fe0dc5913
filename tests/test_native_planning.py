"""Machine code for proposing, ranking and refitting: plans are those that torch makes."""

import dataclasses
import shutil
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.compilation import machine_code
from drift_wm.planners.cem import CEM, CEMConfig, refit_gaussian
from drift_wm.planners.factory import PLANNERS, make_planner
from drift_wm.planners.native import NativeSearch
from drift_wm.planners.ranking import rank
from helpers import rng as generator

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")


def towards(target):
    return lambda candidates: -(candidates - target.unsqueeze(1)).square().sum(dim=(-2, -1))


def failing(score):
    """The same, but a third of each environment's candidates diverge, and all of the last environment's."""

    def failing(candidates):
        scores = score(candidates)
        scores[:, ::3] = torch.nan
        scores[-1] = torch.inf
        return scores

    return failing


def assert_alike(found, expected):
    for name in ("mean", "std", "best", "score", "elites"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    assert (found.non_finite, found.lost) == (expected.non_finite, expected.lost)


@pytest.mark.parametrize("config_type", PLANNERS.values())
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("diverging", [False, True])
def test_plans_are_those_of_torch(config_type, batch_size, diverging):
    config = config_type(horizon=4, candidates=60, iterations=3)
    fast, plain = (make_planner(config, 2, compile=asked) for asked in (True, False))
    assert fast.native is not None
    assert plain.native is None
    score = towards(torch.rand(batch_size, 4, 2, generator=generator(1)) * 2 - 1)
    score = failing(score) if diverging else score
    found, expected = fast.init(batch_size), plain.init(batch_size)
    for decision in range(3):
        proposals = torch.rand(batch_size, 5, 4, 2, generator=generator(decision))
        found = fast.improve(score, fast.shift(found, 1), rng=generator(decision), proposals=proposals)
        expected = plain.improve(score, plain.shift(expected, 1), rng=generator(decision), proposals=proposals)
        assert_alike(found, expected)
    assert found.lost == ((batch_size - 1,) if diverging else ())


def test_a_rule_of_ones_own_is_asked():
    class Cautious(CEM):
        def refit(self, plan, candidates, scores, elites):
            return dataclasses.replace(plan, mean=torch.full_like(plan.mean, 0.25), elites=elites[:, :0])

    planner = Cautious(CEMConfig(horizon=4, candidates=60), 2)
    plan = planner.improve(towards(torch.zeros(1, 4, 2)), planner.init(1), rng=generator())
    assert (plan.mean == 0.25).all()
    assert torch.isfinite(plan.score).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), batch_size=st.integers(1, 3), count=st.integers(1, 6), known=st.booleans())
def test_the_best_are_found_in_order(seed, batch_size, count, known):
    rng = generator(seed)
    scores = torch.randn(batch_size, 6, generator=rng)
    candidates = torch.randn(batch_size, 6, 2, 3, generator=rng)
    plan = make_planner(CEMConfig(horizon=2, candidates=6, elites=count), 3).init(batch_size)
    if known:
        plan = dataclasses.replace(plan, best=torch.randn(batch_size, 2, 3, generator=rng), score=scores.median(1)[0])
    found, expected = (
        rank(plan, candidates, scores, count, native=native) for native in (NativeSearch(machine_code()), None)
    )
    assert torch.equal(found.elites, expected.elites)
    assert_alike(found.plan, expected.plan)


@pytest.mark.parametrize("strange", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_are_left_to_torch(strange):
    plan = make_planner(CEMConfig(horizon=2, candidates=6, elites=2), 3).init(2)
    scores = torch.arange(12.0).view(2, 6)
    native = NativeSearch(machine_code())
    calls = native.rank, partial(native.rank_and_refit, momentum=0.1, min_std=0.0)
    assert all(call(plan, torch.zeros(2, 6, 2, 3), scores, 2) is not None for call in calls)
    scores[1, 4] = strange
    assert all(call(plan, torch.zeros(2, 6, 2, 3), scores, 2) is None for call in calls)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), batch_size=st.integers(1, 3), count=st.integers(1, 9), momentum=st.floats(0, 0.99))
def test_a_gaussian_is_refitted_as_in_torch(seed, batch_size, count, momentum):
    rng = generator(seed)
    elites = torch.randn(batch_size, count, 4, 2, generator=rng)
    plan = make_planner(CEMConfig(horizon=4), 2).init(batch_size)
    plan = dataclasses.replace(plan, mean=torch.randn(batch_size, 4, 2, generator=rng))
    for refit in (NativeSearch(machine_code()).refit, refit_gaussian):
        mean, std = refit(plan, elites, momentum=momentum, min_std=0.3)
        of_elites = elites.std(1, correction=0)
        torch.testing.assert_close(mean, momentum * plan.mean + (1 - momentum) * elites.mean(1), rtol=1e-5, atol=1e-5)
        expected = (momentum * plan.std + (1 - momentum) * of_elites).clamp_min(0.3)
        torch.testing.assert_close(std, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compile", [True, False])
def test_proposals_of_another_type_are_understood(compile):
    target = torch.full((1, 4, 2), 0.3)
    planner = make_planner(CEMConfig(horizon=4, candidates=60, iterations=1, elites=5), 2, compile=compile)
    proposals = target.double().unsqueeze(1)
    plan = planner.improve(towards(target), planner.init(1), rng=generator(), proposals=proposals)
    assert plan.score.item() == 0.0


def test_what_cannot_be_read_is_refused():
    planner = make_planner(CEMConfig(horizon=4, candidates=60, elites=5), 2)
    native, plan = planner.native, planner.init(3)
    candidates, scores = torch.zeros(3, 60, 4, 2), torch.zeros(3, 60)
    for call in (
        lambda: native.rank(plan, candidates.double(), scores, 5),
        lambda: native.rank(plan, candidates, scores.to("meta"), 5),
        lambda: native.rank(plan, candidates, scores, 61),
        lambda: native.rank(plan, candidates[:2], scores[:2], 5),
        lambda: native.propose(plan, candidates[0], torch.zeros(3, 61, 4, 2)),
        lambda: native.propose(dataclasses.replace(plan, std=plan.std[:1]), candidates[0], candidates[:, :2]),
        lambda: native.refit(plan, candidates[:, :5].double(), momentum=0.1, min_std=0.0),
        lambda: native.rank_and_refit(plan, candidates, scores.double(), 5, momentum=0.1, min_std=0.0),
    ):
        with pytest.raises(ValueError, match=r"a planner was given \(.*expected \("):
            call()


def test_what_lies_in_memory_otherwise_is_read_right():
    """Views of other tensors, whose rows are not side by side."""
    candidates = torch.randn(2, 3, 6, 8).permute(0, 2, 3, 1)  # (2, 6, 8, 3)
    scores = torch.randn(6, 2).mT
    plan = make_planner(CEMConfig(horizon=8, candidates=6, elites=3), 3).init(2)
    plan = dataclasses.replace(plan, mean=torch.randn(2, 3, 8).mT)
    native = NativeSearch(machine_code())
    found, expected = (rank(plan, candidates, scores, 3, native=way) for way in (native, None))
    assert torch.equal(found.elites, expected.elites)
    moments = refit_gaussian(plan, expected.elites, momentum=0.2, min_std=0.0)
    in_one_call = native.rank_and_refit(plan, candidates, scores, 3, momentum=0.2, min_std=0.0)
    right = *moments, expected.plan.best, expected.plan.score, expected.elites
    torch.testing.assert_close(in_one_call, right, rtol=1e-5, atol=1e-6)
    refitted = native.refit(plan, expected.elites.mT.contiguous().mT, momentum=0.2, min_std=0.0)
    torch.testing.assert_close(refitted, moments, rtol=1e-5, atol=1e-6)
