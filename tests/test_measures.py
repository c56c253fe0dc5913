"""Distribution measures on laws with known answers: a perfect model, and models that are wrong in one way."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.diagnosis.measures import (
    coverage,
    crps,
    energy_distance,
    energy_score,
    normalised_rmse,
    rank_histogram,
    spread_skill,
)
from drift_wm.diagnosis.modes import between_modes, mode_mass, weaker_mass
from helpers import STATES, forecasts, normal
from helpers import rng as generator

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 6)
quick = settings(max_examples=30, deadline=None)


def mean_pair_distance(x: torch.Tensor) -> float:
    """Over pairs of different points, by loops; a single point is a point mass."""
    pairs = [(x[i] - x[j]).norm() for i in range(len(x)) for j in range(len(x)) if i != j]
    return float(sum(pairs)) / max(len(pairs), 1)


def mean_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(sum((a - b).norm() for a in x for b in y)) / (len(x) * len(y))


# --- scores -----------------------------------------------------------------------------------------------


@quick
@given(seeds, sizes, sizes, st.integers(1, 3))
def test_scores_and_distance_are_their_brute_force_loops(seed, P, M, D):
    x, y = normal(2, P, D, seed=seed), normal(2, M, D, seed=seed + 1)
    score, distance, per_entry = energy_score(x, y), energy_distance(x, y), crps(x, y)
    for b in range(2):
        cross, within = mean_distance(x[b], y[b]), mean_pair_distance(x[b])
        assert float(score[b]) == pytest.approx(cross - within / 2)
        assert float(distance[b]) == pytest.approx(2 * cross - within - mean_pair_distance(y[b]))
        for d in range(D):
            column, outcomes = x[b, :, d : d + 1], y[b, :, d : d + 1]
            expected = mean_distance(column, outcomes) - mean_pair_distance(column) / 2
            assert float(per_entry[b, d]) == pytest.approx(expected)


@pytest.mark.parametrize("outcome", [0.0, 1.0, -2.0])
def test_scores_of_a_gaussian_have_their_closed_form(outcome):
    density, below = math.exp(-(outcome**2) / 2) / math.sqrt(2 * math.pi), (1 + math.erf(outcome / math.sqrt(2))) / 2
    expected = outcome * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)
    if outcome == 0:
        assert expected == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi))
    samples, truth = normal(STATES, 20, 1), torch.full((STATES, 1), outcome, dtype=torch.float64)
    assert float(crps(samples, truth).mean()) == pytest.approx(expected, abs=0.01)
    assert float(energy_score(samples, truth).mean()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("P", [2, 3, 30])
def test_scores_do_not_depend_on_the_number_of_samples_on_average(P):
    expected = 1 / math.sqrt(math.pi)  # E|X - Y| / 2 for independent standard normal X and Y
    samples, truth = forecasts(P)
    assert float(crps(samples, truth).mean()) == pytest.approx(expected, abs=0.03)
    # In two dimensions |X - Y| / sqrt(2) has a Rayleigh distribution, of mean sqrt(pi / 2).
    assert float(energy_score(samples, truth).mean()) == pytest.approx(math.sqrt(math.pi) / 2, abs=0.03)


def test_the_score_of_a_point_forecast_is_its_distance():
    truth = torch.tensor([[3.0, 4.0]])
    assert energy_score(torch.zeros(1, 1, 2), truth).tolist() == [5.0]
    assert crps(torch.zeros(1, 1, 2), truth).tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("wrong", [{"spread": 0.3}, {"spread": 2.5}, {"bias": 1.0}], ids=["narrow", "wide", "biased"])
def test_a_perfect_model_scores_better_than_a_wrong_one(wrong):
    samples, truth = forecasts(16)
    worse, _ = forecasts(16, **wrong)
    assert energy_score(samples, truth).mean() < energy_score(worse, truth).mean() - 0.05
    assert (crps(samples, truth).mean(dim=0) < crps(worse, truth).mean(dim=0) - 0.05).all()


def test_a_model_of_another_state_scores_worse():
    samples, truth = forecasts(16)
    shuffled = samples.roll(1, dims=0)
    assert energy_score(samples, truth).mean() < energy_score(shuffled, truth).mean() / 2
    assert energy_distance(shuffled, samples).mean() > 1


def test_predicting_the_average_of_two_outcomes_scores_worse_than_both_outcomes():
    truth = torch.where(torch.rand(STATES, 1, generator=generator()) < 0.5, -1.0, 1.0)
    both = torch.tensor([[-1.0], [1.0]]).repeat(STATES, 10, 1)
    average = torch.zeros(STATES, 1, 1)
    assert energy_score(average, truth).mean() == 1
    assert float(energy_score(both, truth).mean()) < 0.5


# --- energy distance --------------------------------------------------------------------------------------


def test_energy_distance_of_equal_laws_is_zero_on_average_and_sometimes_negative():
    distance = energy_distance(normal(STATES, 8, 2, seed=1), normal(STATES, 5, 2, seed=2))
    assert float(distance.mean()) == pytest.approx(0, abs=0.02)
    assert distance.min() < 0


@pytest.mark.parametrize(("mean", "std"), [(1.5, 1.0), (0.0, 2.0), (0.5, 0.5)])
def test_energy_distance_of_two_gaussians_has_its_closed_form(mean, std):
    def folded(mu: float, sigma: float) -> float:
        """E|Z| for Z ~ N(mu, sigma^2)."""
        density = sigma * math.sqrt(2 / math.pi) * math.exp(-(mu**2) / (2 * sigma**2))
        return density + mu * math.erf(mu / (sigma * math.sqrt(2)))

    expected = 2 * folded(mean, math.hypot(1, std)) - folded(0, math.sqrt(2)) - folded(0, std * math.sqrt(2))
    distance = energy_distance(normal(STATES, 16, 1, seed=1), mean + std * normal(STATES, 16, 1, seed=2))
    assert float(distance.mean()) == pytest.approx(expected, abs=0.03)


def test_energy_distance_sees_what_every_single_entry_hides():
    independent = normal(STATES, 8, 2, seed=1)
    correlated = normal(STATES, 8, 1, seed=2).expand(-1, -1, 2)
    assert float(energy_distance(independent[..., :1], correlated[..., :1]).mean()) == pytest.approx(0, abs=0.02)
    assert float(energy_distance(independent, correlated).mean()) > 0.05


def test_a_deterministic_model_of_a_deterministic_world_is_at_distance_zero():
    truth = normal(3, 1, 4)
    assert energy_distance(truth, truth).tolist() == [0, 0, 0]
    torch.testing.assert_close(energy_distance(truth + 1, truth), 2 * energy_score(truth + 1, truth[:, 0]))


@quick
@given(seeds, sizes, sizes, st.floats(0.1, 10))
def test_laws_of_the_distances(seed, P, M, scale):
    x, y = normal(3, P, 2, seed=seed), normal(3, M, 2, seed=seed + 1)
    shift, order = normal(2, seed=seed + 2), torch.randperm(P, generator=generator(seed))
    torch.testing.assert_close(energy_distance(x, y), energy_distance(y, x))
    for measure in (energy_score, crps, energy_distance):
        torch.testing.assert_close(measure(x + shift, y + shift), measure(x, y))
        torch.testing.assert_close(measure(scale * x, scale * y), scale * measure(x, y))
        torch.testing.assert_close(measure(x[:, order], y), measure(x, y))
    rotation = torch.linalg.qr(normal(2, 2, seed=seed)).Q
    torch.testing.assert_close(energy_distance(x @ rotation, y @ rotation), energy_distance(x, y))
    torch.testing.assert_close(energy_score(x[..., :1], y[..., :1]), crps(x, y)[:, 0])


def test_single_precision_far_from_the_origin_costs_no_accuracy():
    samples, truth = normal(4, 40, 3).float() + 1000, normal(4, 3, seed=1).float() + 1000
    torch.testing.assert_close(energy_score(samples, truth), energy_score(samples - 1000, truth - 1000))
    torch.testing.assert_close(crps(samples, truth), crps(samples - 1000, truth - 1000))
    assert energy_distance(samples[:, :1].expand(-1, 40, -1), samples[:, :1]).tolist() == [0, 0, 0, 0]


# --- modes ------------------------------------------------------------------------------------------------

ANCHORS = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]])


def test_mode_mass_counts_the_nearest_anchors():
    samples = torch.tensor([[[-1.2, 0.1], [-0.3, 5.0], [0.9, 0.0], [0.0, 3.0]]])
    assert mode_mass(samples, ANCHORS).tolist() == [[0.625, 0.375]]
    third = torch.cat([ANCHORS, torch.tensor([[[0.0, 5.0]]])], dim=1)
    assert mode_mass(samples, third).tolist() == [[0.25, 0.25, 0.5]]


def test_the_weaker_mode_is_that_of_each_state_where_there_are_two():
    anchors = torch.tensor([[[0.0], [1.0]], [[0.0], [1.0]], [[5.0], [5.0]]])
    samples = torch.tensor([[[0.1], [0.2], [0.1], [0.9]], [[1.0], [1.1], [0.0], [0.1]], [[5.0], [5.0], [5.0], [5.0]]])
    assert weaker_mass(samples, anchors) == pytest.approx((0.25 + 0.5) / 2)
    assert math.isnan(weaker_mass(samples[2:], anchors[2:]))


def test_between_modes_is_the_middle_half_of_the_segment():
    along = torch.tensor([-2.0, -1.0, -0.6, -0.5, 0.0, 0.5, 0.6, 1.0])
    samples = torch.stack([along, torch.full_like(along, 7.0)], dim=1)[None]
    assert between_modes(samples, ANCHORS).tolist() == [3 / 8]


def test_modes_tell_a_model_that_averages_from_one_that_does_not():
    both = ANCHORS.repeat(1, 10, 1) + 0.1 * normal(1, 20, 2).float()
    average = 0.1 * normal(1, 20, 2).float()
    lost = ANCHORS[:, :1].expand(1, 20, 2)
    assert mode_mass(both, ANCHORS).tolist() == [[0.5, 0.5]]
    assert mode_mass(lost, ANCHORS).tolist() == [[1, 0]]
    assert between_modes(both, ANCHORS).tolist() == [0]
    assert between_modes(average, ANCHORS).tolist() == [1]


def test_nothing_lies_between_coinciding_anchors():
    assert between_modes(torch.zeros(1, 3, 2), torch.ones(1, 2, 2)).isnan().tolist() == [True]


@quick
@given(seeds, sizes, st.integers(1, 4))
def test_mode_masses_sum_to_one(seed, P, M):
    mass = mode_mass(normal(3, P, 2, seed=seed), normal(3, M, 2, seed=seed + 1))
    torch.testing.assert_close(mass.sum(dim=1), torch.ones(3, dtype=torch.float64))


# --- bad inputs -------------------------------------------------------------------------------------------

WITH_TRUTH = {
    "energy_score": energy_score,
    "crps": crps,
    "energy_distance": energy_distance,
    "spread_skill": spread_skill,
    "normalised_rmse": lambda x, y: normalised_rmse(x, y, torch.ones(x.shape[-1])),
    "rank_histogram": lambda x, y: rank_histogram(x, y, 1, rng=generator()),
    "coverage": lambda x, y: coverage(x, y, 0.1),
    "mode_mass": mode_mass,
    "between_modes": between_modes,
}
each_measure = pytest.mark.parametrize("measure", WITH_TRUTH.values(), ids=WITH_TRUTH.keys())


@each_measure
def test_wrong_shapes_are_named(measure):
    for samples in (torch.zeros(4, 3), torch.zeros(4, 0, 2), torch.zeros(2, 4, 3, 2)):
        with pytest.raises(ValueError, match=r"samples has shape \(\d.*expected \(B, P, D\)"):
            measure(samples, torch.zeros(4, 2, 2))
    for truth in (torch.zeros(5, 2, 2), torch.zeros(4, 2, 3)):
        with pytest.raises(ValueError, match=r"has shape .*expected \(B, D\) = \(4, 2\)"):
            measure(torch.zeros(4, 3, 2), truth)
    for truth in (torch.zeros(4), torch.zeros(4, 0, 2), torch.zeros(4, 1, 1, 2)):
        with pytest.raises(ValueError, match="has shape"):
            measure(torch.zeros(4, 3, 2), truth)


@each_measure
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_predictions_are_not_scored(measure, value):
    samples = torch.zeros(4, 3, 2)
    samples[1, 2, 0] = value
    with pytest.raises(ValueError, match="samples holds 1 values that are not finite, of 24"):
        measure(samples, torch.zeros(4, 2, 2))
    with pytest.raises(ValueError, match="not finite"):
        measure(torch.zeros(4, 3, 2), torch.full((4, 2, 2), value))


def test_sets_are_not_guessed_from_single_outcomes():
    for measure, name in ((energy_distance, "true_samples"), (mode_mass, "anchors"), (between_modes, "anchors")):
        with pytest.raises(ValueError, match=rf"{name} has shape \(4, 2\).*unsqueeze"):
            measure(torch.zeros(4, 3, 2), torch.zeros(4, 2))


def test_modes_are_measured_in_pairs():
    with pytest.raises(ValueError, match="got 3 anchors per state; expected 2"):
        between_modes(torch.zeros(4, 3, 2), torch.zeros(4, 3, 2))
