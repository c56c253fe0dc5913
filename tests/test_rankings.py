"""Value measures on rankings with known answers: perfect, reversed, random and constant models."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from drift_wm.diagnosis.rankings import auroc, elite_overlap, rank_correlation, regret
from helpers import normal

seeds = st.integers(0, 2**31)
quick = settings(max_examples=30, deadline=None)
RANKINGS = {
    "rank_correlation": rank_correlation,
    "elite_overlap": lambda predicted, true: elite_overlap(predicted, true, 3),
    "regret": regret,
}
each_ranking = pytest.mark.parametrize("measure", RANKINGS.values(), ids=RANKINGS.keys())


# --- rankings of candidates -------------------------------------------------------------------------------


def test_a_perfect_model_ranks_perfectly():
    true = normal(5, 20)
    predicted = true.exp() + 3  # the order is all that counts
    assert rank_correlation(predicted, true).tolist() == pytest.approx([1] * 5)
    assert elite_overlap(predicted, true, 4).tolist() == [1] * 5
    assert regret(predicted, true).tolist() == [0] * 5


def test_a_reversed_model_is_as_wrong_as_can_be():
    true = torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    assert rank_correlation(-true, true).tolist() == pytest.approx([-1])
    assert elite_overlap(-true, true, 2).tolist() == [0]
    assert regret(-true, true).tolist() == [(6 - 1) / (6 - 3)]


def test_a_model_of_another_state_ranks_as_chance_does():
    true = normal(4000, 20)
    shuffled = true.roll(1, dims=0)
    assert float(rank_correlation(shuffled, true).mean()) == pytest.approx(0, abs=0.02)
    assert float(elite_overlap(shuffled, true, 5).mean()) == pytest.approx(0.25, abs=0.02)
    assert float(regret(shuffled, true).mean()) == pytest.approx(1, abs=0.05)


def test_a_constant_model_is_expected_to_choose_at_random():
    true = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    constant = torch.zeros(1, 4)
    assert rank_correlation(constant, true).isnan().tolist() == [True]
    assert elite_overlap(constant, true, 2).tolist() == [0.5]
    assert regret(constant, true).tolist() == [1]


def test_partly_tied_predictions_share_the_places_that_are_left():
    true = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])
    predicted = torch.tensor([[9.0, 5.0, 5.0, 5.0, 1.0]])
    assert elite_overlap(predicted, true, 2).tolist() == pytest.approx([(1 + 1 / 3) / 2])
    assert regret(torch.tensor([[0.0, 7.0, 7.0, 0.0, 0.0]]), true).tolist() == pytest.approx([1.5 / 2])


def test_where_no_choice_matters():
    predicted, true = normal(1, 6), torch.full((1, 6), 0.1)
    assert rank_correlation(predicted, true).isnan().all()
    assert regret(predicted, true).isnan().all()
    assert elite_overlap(predicted, true, 2).tolist() == [1]  # all candidates are among the best


def test_candidates_tied_with_the_last_elite_are_as_good():
    true = torch.tensor([[5.0, 2.0, 2.0, 1.0]])
    assert elite_overlap(torch.tensor([[9.0, 0.0, 8.0, 1.0]]), true, 2).tolist() == [1]
    assert elite_overlap(torch.tensor([[9.0, 0.0, 0.0, 1.0]]), true, 2).tolist() == [0.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_diverged_candidates_are_ranked_last(value):
    true = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    diverged = torch.tensor([[value, 5.0, 4.0, 3.0]])
    assert elite_overlap(diverged, true, 1).tolist() == [0]
    assert regret(diverged, true).tolist() == pytest.approx([1 / 1.5])
    expected = rank_correlation(torch.tensor([[-100.0, 5.0, 4.0, 3.0]]), true)
    torch.testing.assert_close(rank_correlation(diverged, true), expected)


@quick
@given(seeds, st.integers(2, 12))
def test_rank_correlation_is_scipys(seed, N):
    predicted, true = normal(3, N, seed=seed).mul(2).round(), normal(3, N, seed=seed + 1)
    for row, value in enumerate(rank_correlation(predicted, true).tolist()):
        if predicted[row].unique().numel() > 1:
            assert value == pytest.approx(stats.spearmanr(predicted[row], true[row]).statistic)
        else:
            assert math.isnan(value)


@quick
@given(seeds, st.integers(3, 12), st.floats(0.1, 10), st.floats(-5, 5))
def test_rankings_see_neither_scale_nor_order_of_candidates(seed, N, scale, shift):
    predicted, true = normal(3, N, seed=seed), normal(3, N, seed=seed + 1)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    for measure in RANKINGS.values():
        value = measure(predicted, true)
        torch.testing.assert_close(measure(scale * predicted + shift, true), value)
        torch.testing.assert_close(measure(predicted, scale * true + shift), value)
        torch.testing.assert_close(measure(predicted[:, order], true[:, order]), value)


@quick
@given(seeds, st.integers(2, 8))
def test_rankings_stay_within_their_bounds(seed, N):
    predicted, true = normal(4, N, seed=seed).round(), normal(4, N, seed=seed + 1)
    correlation = rank_correlation(predicted, true)
    assert (correlation.isnan() | (correlation.abs() <= 1)).all()
    assert (regret(predicted, true) >= 0).all()
    for elites in range(1, N + 1):
        overlap = elite_overlap(predicted, true, elites)
        assert ((overlap >= 0) & (overlap <= 1)).all()
    torch.testing.assert_close(elite_overlap(predicted, true, N), torch.ones(4, dtype=torch.float64))


@each_ranking
def test_bad_returns_are_named(measure):
    with pytest.raises(ValueError, match=r"predicted has shape \(5,\); expected 2 dimensions"):
        measure(torch.zeros(5), torch.zeros(5))
    with pytest.raises(ValueError, match=r"predicted has shape \(0, 5\)"):
        measure(torch.zeros(0, 5), torch.zeros(0, 5))
    with pytest.raises(ValueError, match=r"true has shape \(3, 4\); expected \(3, 5\)"):
        measure(torch.zeros(3, 5), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="at least 2 candidates"):
        measure(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="true holds 15 values that are not finite, of 15"):
        measure(torch.zeros(3, 5), torch.full((3, 5), math.nan))


@pytest.mark.parametrize("elites", [0, 6])
def test_elites_out_of_range_are_named(elites):
    with pytest.raises(ValueError, match=f"elites is {elites}; expected 1 to 5"):
        elite_overlap(torch.zeros(3, 5), torch.zeros(3, 5), elites)


# --- warnings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "expected"),
    [([0, 1, 2, 3], 1.0), ([3, 2, 1, 0], 0.0), ([0, 2, 1, 3], 0.75), ([5, 5, 5, 5], 0.5), ([0, 1, 2, math.inf], 1.0)],
)
def test_auroc_of_known_scores(score, expected):
    assert auroc(torch.tensor(score, dtype=torch.float32), torch.tensor([False, False, True, True])) == expected


@quick
@given(seeds, st.integers(1, 6), st.integers(1, 6))
def test_auroc_is_the_share_of_pairs_in_order(seed, bad, good):
    score = normal(bad + good, seed=seed).mul(2).round()
    is_bad = torch.arange(bad + good) < bad
    pairs = [(b > g) + (b == g) / 2 for b in score[is_bad].tolist() for g in score[~is_bad].tolist()]
    assert auroc(score, is_bad) == pytest.approx(np.mean(pairs))
    assert auroc(-score, is_bad) == pytest.approx(1 - np.mean(pairs))
    assert auroc(score, is_bad) == pytest.approx(
        stats.mannwhitneyu(score[is_bad], score[~is_bad], method="asymptotic").statistic / (bad * good)
    )


@pytest.mark.parametrize("value", [True, False])
def test_auroc_needs_both_kinds(value):
    assert math.isnan(auroc(torch.arange(3.0), torch.full((3,), value)))


def test_auroc_rejects_bad_inputs():
    with pytest.raises(ValueError, match=r"torch\.int64; expected torch\.bool"):
        auroc(torch.zeros(3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"is_bad has shape \(2,\); expected \(3,\)"):
        auroc(torch.zeros(3), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"score has shape \(\)"):
        auroc(torch.tensor(1.0), torch.tensor(True))
    with pytest.raises(ValueError, match="score holds 1 nan"):
        auroc(torch.tensor([1.0, math.nan]), torch.tensor([True, False]))
