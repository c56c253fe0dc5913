"""Calibration on laws with known answers: a perfect model, and ones that are too narrow, too wide or biased."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.diagnosis.measures import coverage, normalised_rmse, rank_histogram, spread_skill
from helpers import STATES, forecasts, normal
from helpers import rng as generator


@pytest.mark.parametrize("P", [2, 5, 20])
def test_spread_skill_of_a_perfect_model_is_one(P):
    assert spread_skill(*forecasts(P)).tolist() == pytest.approx([1, 1], abs=0.03)


def test_spread_skill_tells_too_narrow_from_too_wide():
    assert (spread_skill(*forecasts(20, spread=0.5)) < 0.6).all()
    assert (spread_skill(*forecasts(20, spread=2.0)) > 1.8).all()
    assert (spread_skill(*forecasts(20, bias=2.0)) < 0.6).all()


def test_spread_skill_without_spread_or_error():
    samples = torch.tensor([0.1, 0.1, 0.3]).expand(5, 7, 3).clone()
    samples[:, :3, 2] += 0.4  # symmetric around the truth: spread, but no error of the mean
    samples[:, 3:6, 2] -= 0.4
    samples[:, 6, 2] = 0.3
    truth = torch.tensor([0.1, 0.7, 0.3]).expand(5, 3)
    constant, certain, lucky = spread_skill(samples, truth).tolist()
    assert math.isnan(constant)
    assert certain == 0
    assert lucky > 1e5
    assert spread_skill(samples[:, :1], truth).tolist()[1] == 0
    hit = torch.tensor([[[-1.0], [1.0]]])
    assert spread_skill(hit, torch.zeros(1, 1)).tolist() == [math.inf]


def test_normalised_rmse_is_the_error_of_the_mean_in_units_of_the_scale():
    samples = torch.tensor([[[0.0, 1.0], [2.0, 1.0]], [[4.0, 1.0], [6.0, 1.0]]])  # means (1, 1) and (5, 1)
    truth = torch.tensor([[4.0, 1.0], [1.0, 1.0]])
    expected = [math.sqrt((9 + 16) / 2 - 2 / 2) / 2, 0]  # two samples of variance 2 have a mean of variance 1
    assert normalised_rmse(samples, truth, torch.tensor([2.0, 1.0])).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("bins", [1, 4, 7, 20, 21])
def test_rank_histogram_of_a_perfect_model_is_flat(bins):
    counts = rank_histogram(*forecasts(20), bins, rng=generator())
    assert counts.shape == (2, bins)
    assert counts.sum(dim=1).tolist() == [STATES, STATES]
    expected = STATES / bins
    assert ((counts - expected).abs() <= 5 * math.sqrt(expected)).all()


def test_rank_histogram_shows_the_shape_of_the_fault():
    narrow = rank_histogram(*forecasts(20, spread=0.4), 7, rng=generator())
    assert (narrow[:, [0, -1]].amin(dim=1) > 2 * narrow[:, 3]).all()
    wide = rank_histogram(*forecasts(20, spread=2.5), 7, rng=generator())
    assert (wide[:, [0, -1]].amax(dim=1) < wide[:, 3] / 2).all()
    biased = rank_histogram(*forecasts(20, bias=1.0), 7, rng=generator())
    assert (biased[:, 0] > 3 * biased[:, -1]).all()


def test_ranks_of_known_samples():
    samples = torch.tensor([10.0, 30.0, 20.0]).view(1, 3, 1)
    truth = torch.tensor([5.0, 15.0, 25.0, 26.0, 35.0]).view(1, 5, 1)
    assert rank_histogram(samples, truth, 4, rng=generator()).tolist() == [[1, 1, 2, 1]]


def test_ties_are_spread_over_all_their_ranks():
    samples = torch.tensor([0.0, 1.0, 1.0, 2.0]).view(1, 4, 1).expand(STATES, -1, -1)
    counts = rank_histogram(samples, torch.ones(STATES, 1), 5, rng=generator())[0] / STATES
    assert counts.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0], abs=0.04)


def test_the_same_generator_breaks_ties_the_same_way():
    samples, truth = torch.zeros(50, 9, 1), torch.zeros(50, 1)
    assert rank_histogram(samples, truth, 10, rng=generator(1)).equal(
        rank_histogram(samples, truth, 10, rng=generator(1))
    )
    assert not rank_histogram(samples, truth, 10, rng=generator(1)).equal(
        rank_histogram(samples, truth, 10, rng=generator(2))
    )


@pytest.mark.parametrize(("P", "level"), [(20, 0.9), (20, 0.5), (19, 0.9), (64, 0.95), (3, 0.5), (7, 0.4)])
def test_a_perfect_model_covers_the_nominal_level(P, level):
    assert coverage(*forecasts(P), level).tolist() == pytest.approx([level, level], abs=0.025)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8, 0.9])
def test_coverage_is_exactly_nominal_when_every_rank_occurs_once(level):
    samples = torch.arange(19.0).view(1, 19, 1).expand(20, -1, -1)
    truth = torch.arange(20.0)[:, None] - 0.5
    assert coverage(samples, truth, level).tolist() == pytest.approx([level])


def test_coverage_tells_too_narrow_from_too_wide():
    assert (coverage(*forecasts(20, spread=0.5), 0.9) < 0.7).all()
    assert (coverage(*forecasts(20, spread=2.0), 0.9) > 0.97).all()
    assert (coverage(*forecasts(20, bias=2.0), 0.9) < 0.6).all()


def test_coverage_of_identical_samples():
    samples = torch.zeros(4, 19, 2)
    truth = torch.tensor([0.0, 1.0]).expand(4, 2)
    assert coverage(samples, truth, 0.9).tolist() == pytest.approx([0.9, 0.0])


def test_coverage_counts_every_true_outcome():
    samples, truth = forecasts(20)
    outcomes = torch.stack([truth, truth + 100], dim=1)
    torch.testing.assert_close(coverage(samples, outcomes, 0.5), coverage(samples, truth, 0.5) / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 9), st.floats(0.1, 10))
def test_calibration_sees_neither_origin_nor_unit(seed, P, scale):
    x, y = normal(20, P, 2, seed=seed), normal(20, 2, 2, seed=seed + 1)
    shift = normal(2, seed=seed + 2)
    for measure in (spread_skill, lambda x, y: coverage(x, y, 0.5)):
        torch.testing.assert_close(measure(scale * x + shift, scale * y + shift), measure(x, y))
        torch.testing.assert_close(measure(x.flip(1), y), measure(x, y))
    torch.testing.assert_close(coverage(-x, -y, 0.5), coverage(x, y, 0.5))


def test_parameters_out_of_range_are_named():
    samples, truth = torch.zeros(4, 3, 2), torch.zeros(4, 2)
    for bins in (0, 5):
        with pytest.raises(ValueError, match=f"bins is {bins}; expected 1 to 4"):
            rank_histogram(samples, truth, bins, rng=generator())
    for level in (0.0, 1.0, 90.0, math.nan):
        with pytest.raises(ValueError, match="expected a probability"):
            coverage(samples, truth, level)
    with pytest.raises(ValueError, match=r"got 3 samples; a level of 0\.9 needs at least 19"):
        coverage(samples, truth, 0.9)
    for scale in (torch.ones(3), torch.tensor([1.0, 0.0]), torch.tensor([math.inf, 1.0])):
        with pytest.raises(ValueError, match="expected 2 positive numbers"):
            normalised_rmse(samples, truth, scale)
