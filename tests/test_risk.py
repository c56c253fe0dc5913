"""Risk rules: limits, orderings and laws."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.planners.risk import CVaR, Mean, MeanMinusSpread, Worst

RULES = [Mean(), Worst(), CVaR(0.3), CVaR(1.0), MeanMinusSpread(0.5)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
futures = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=12)
shares = st.floats(0.01, 1.0)


def reduce(rule, values):
    return rule(torch.tensor([[values]], dtype=torch.float64)).item()


@every_rule
def test_shapes_and_independence_of_candidates(rule):
    values = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    worth = rule(values)
    assert worth.shape == (2, 3)
    torch.testing.assert_close(worth[1:, 2:], rule(values[1:, 2:]))


def test_known_answers():
    values = [4.0, 1.0, 3.0, 2.0]
    assert reduce(Mean(), values) == 2.5
    assert reduce(Worst(), values) == 1.0
    assert reduce(CVaR(0.5), values) == 1.5
    # The tail holds 1.5 of 4 futures: all of the worst and half of the second.
    assert reduce(CVaR(0.375), values) == pytest.approx((1.0 + 0.5 * 2.0) / 1.5)
    assert reduce(MeanMinusSpread(2.0), values) == pytest.approx(2.5 - 2.0 * math.sqrt(1.25))


@every_rule
@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf])
def test_a_future_that_is_not_finite_makes_the_worth_not_finite(rule, wild):
    assert not math.isfinite(reduce(rule, [wild, 1.0, 2.0, 3.0]))


@every_rule
@given(value=st.floats(-100, 100, width=32), count=st.integers(1, 8))
def test_certain_futures_are_worth_their_value(rule, value, count):
    assert reduce(rule, [value] * count) == pytest.approx(value)


@settings(deadline=None)
@given(values=futures, low=shares, high=shares)
def test_cvar_lies_between_worst_and_mean_and_grows_with_alpha(values, low, high):
    low, high = sorted((low, high))
    worths = [reduce(rule, values) for rule in (Worst(), CVaR(low), CVaR(high), Mean())]
    assert all(left <= right + 1e-9 for left, right in pairwise(worths))


@settings(deadline=None)
@given(values=futures)
def test_cvar_limits(values):
    assert reduce(CVaR(1.0), values) == pytest.approx(reduce(Mean(), values), abs=1e-9)
    assert reduce(CVaR(1.0 / len(values)), values) == pytest.approx(min(values), abs=1e-9)
    assert reduce(CVaR(1e-6), values) == min(values)


@settings(deadline=None)
@given(values=futures, coefficient=st.floats(0, 10))
def test_spread_only_costs(values, coefficient):
    mean = reduce(Mean(), values)
    assert reduce(MeanMinusSpread(0.0), values) == pytest.approx(mean)
    assert reduce(MeanMinusSpread(coefficient), values) <= mean + 1e-9


@every_rule
@settings(deadline=None)
@given(values=futures, offset=st.floats(-50, 50), scale=st.floats(0.01, 10), seed=st.integers(0, 1000))
def test_worth_moves_with_units_and_ignores_order(rule, values, offset, scale, seed):
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed)).tolist()
    moved = [scale * values[index] + offset for index in order]
    assert reduce(rule, moved) == pytest.approx(scale * reduce(rule, values) + offset, abs=1e-6)


@every_rule
@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_a_broken_future_is_not_hidden(rule, broken):
    assert not math.isfinite(reduce(rule, [1.0, 2.0, broken, 3.0, 5.0]))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1, math.nan])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha is"):
        CVaR(alpha)


@pytest.mark.parametrize("coefficient", [-1.0, math.inf, math.nan])
def test_bad_coefficient_is_refused(coefficient):
    with pytest.raises(ValueError, match="coefficient is"):
        MeanMinusSpread(coefficient)
