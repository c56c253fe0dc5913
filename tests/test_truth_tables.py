"""What `drift-wm truth` makes of its rows: tables, and verdicts on claims."""

import numpy as np
import pytest

from drift_wm.truth.laws import LAWS
from drift_wm.truth.rows import Row, Table
from drift_wm.truth.tables import markdown
from drift_wm.truth.verdicts import _episode_interval, verdicts


def row(part, case, generator, *, nfe=1, seed=1, **metrics):
    return Row(part, case, generator, nfe, seed, metrics)


def judged(rows):
    return {verdict.claim: verdict.holds for verdict in verdicts(rows)}


def one(rows, words):
    """The verdict whose claim has these words in it."""
    (found,) = (verdict for verdict in verdicts(rows) if words in verdict.claim)
    return found


def laws(*, std=1.0, mass=0.8, own=0.1, diffusion=0.1, steps=50):
    metrics = {"std_ratio": std, "major_mass": mass}
    rows = [row("laws", law, "drifting", energy_distance=own, **metrics) for law in LAWS]
    return rows + [row("laws", law, "diffusion", nfe=steps, energy_distance=diffusion, **metrics) for law in LAWS]


@pytest.mark.parametrize(
    ("changed", "words", "holds"),
    [
        ({"std": 0.96}, "std ratio", True),
        ({"std": 0.94}, "std ratio", False),
        ({"std": 1.06}, "std ratio", False),
        ({"mass": 0.785}, "major mode", True),
        ({"mass": 0.75}, "major mode", False),
        ({"mass": 0.85}, "major mode", False),
        ({"own": 0.14}, "50 steps", True),
        ({"own": 0.16}, "50 steps", False),
    ],
)
def test_claims_about_known_laws(changed, words, holds):
    assert one(laws(**changed), words).holds is holds


def test_every_seed_must_hold():
    rows = [*laws(), row("laws", "gaussian", "drifting", seed=2, energy_distance=0.1, std_ratio=0.9)]
    verdict = one(rows, "std ratio")
    assert not verdict.holds
    assert verdict.found == "0.900 to 1.000"


def test_what_was_not_measured_does_not_hold():
    rows = [row("laws", "gaussian", "drifting", energy_distance=0.1, std_ratio=None)]
    verdict = one(rows, "std ratio")
    assert (verdict.holds, verdict.found) == (False, "not measured")


@pytest.mark.parametrize(
    ("own", "holds", "said"),
    [
        ((0.6, 0.7, 0.8), True, "0.700 times"),  # beside the rival's 1 each time: below it by 0.3, and by 0.05 to 0.55
        ((0.6, 1.0, 1.1), True, "0.900 times, which 3 seeds cannot tell from 1"),  # by -0.56 to 0.76
        ((1.0, 1.4), False, "1.200 times, which 2 seeds cannot tell from 1"),
        ((1.2, 1.3, 1.4), False, "1.300 times"),
        ((0.9,), True, "0.900 times"),
    ],
)
def test_what_chance_leaves_open_is_told_beside_the_verdict(own, holds, said):
    rows = []
    for seed, value in enumerate(own):
        rows += [row("stochastic", "gust", "drifting", seed=seed, energy_distance=value)]
        rows += [row("stochastic", "gust", "regression", seed=seed, energy_distance=1.0)]
    verdict = one(rows, "drifting below that of regression")
    assert (verdict.holds, verdict.found) == (holds, said)


def test_no_distance_is_below_an_equal_one():
    assert not one(stochastic(own=2.0), "drifting below that of regression").holds


@pytest.mark.parametrize(("own", "holds"), [(-0.002, True), (-0.001, False), (0.001, False)])
def test_a_distance_that_is_estimated_below_zero_bounds_as_any_other(own, holds):
    """Of a perfect sampler it may be; 1.5 times -0.001 is -0.0015."""
    assert one(laws(own=own, diffusion=-0.001), "50 steps").holds is holds


def stochastic(*, own=1.0, coverage=0.9, skill=1.0, far=0.9, far_skill=1.0, **others):
    others = {"regression": 2.0, "gaussian": 2.0, "diffusion": {5: 1.2, 20: 1.0, 100: 1.0}} | others
    calibration = {"coverage_90": coverage, "spread_skill": skill, "coverage_90_10": far, "spread_skill_10": far_skill}
    rows = [row("stochastic", "gust", "drifting", energy_distance=own, **calibration)]
    for name, distance in others.items():
        for nfe, value in (distance if isinstance(distance, dict) else {1: distance}).items():
            rows.append(row("stochastic", "gust", name, nfe=nfe, energy_distance=value))
    return rows


@pytest.mark.parametrize(
    ("changed", "words", "holds"),
    [
        ({}, "below that of regression", True),
        ({"regression": 0.5}, "below that of regression", False),
        ({"gaussian": 0.99}, "below that of gaussian", False),
        ({"gaussian, one network": 1.01}, "below that of gaussian, one network", True),
        ({"gaussian, one network": 0.99}, "below that of gaussian, one network", False),
        ({"own": 1.09}, "best diffusion", True),
        ({"own": 1.11}, "best diffusion", False),
        ({"diffusion": {5: 0.8, 20: 1.0}}, "best diffusion", False),
        ({"coverage": 0.86, "far": 0.5}, "coverage 90 of one step", True),
        ({"coverage": 0.84}, "coverage 90 of one step", False),
        ({"coverage": 0.5}, "coverage 90 of ten steps", True),
        ({"far": 0.96}, "coverage 90 of ten steps", False),
        ({"skill": 1.09, "far_skill": 2.0}, "spread skill of one step", True),
        ({"skill": 0.89}, "spread skill of one step", False),
        ({"far_skill": 1.11}, "spread skill of ten steps", False),
    ],
)
def test_claims_about_stochastic_worlds(changed, words, holds):
    assert one(stochastic(**changed), words).holds is holds


def deterministic(near, far, central_far, name="drifting", **expected):
    errors = {"error_1": near, "error_20": far, "central_1": 9.0, "central_20": central_far, **expected}
    return row("deterministic", "walker", name, **errors)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((1.04, 0.99, 0.99), [True, True, True]),
        ((1.06, 1.0, 1.1), [False, False, True]),
        ((1.0, 1.1, 1.0), [True, True, False]),
    ],
)
def test_claims_about_the_mean_and_about_that_of_samples_in_deterministic_worlds(errors, expected):
    rows = [deterministic(*errors), deterministic(1.0, 1.0, 1.0, "regression")]
    assert list(judged(rows).values()) == expected


@pytest.mark.parametrize(("near", "far", "verdicts"), [(1.05, 1.0, [True, True]), (1.06, 1.01, [False, False])])
def test_claims_about_the_mean_proper_come_first(near, far, verdicts):
    rows = [
        deterministic(1, 1, 1, expected_1=near, expected_20=far),
        deterministic(1, 1, 1, "regression", expected_1=1.0, expected_20=1.0),
    ]
    found = judged(rows)
    assert list(found.values())[:2] == verdicts
    assert next(iter(found)).startswith("walker: error of the mean after 1 at most 1.05")


def planning(name, *returns, seed=1):
    metrics = {f"return_{i:02d}": value for i, value in enumerate(returns)}
    return row("risk", "edge", name, seed=seed, **metrics, **{"return": sum(returns) / len(returns)})


def test_claims_about_planning_need_intervals_apart():
    rows = [planning("drifting", 9, 10, 11, 10), planning("regression", 1, 2, 3, 2), planning("gaussian", 1, 9, 12, 11)]
    rows.append(planning("true simulator", 12, 13))
    assert judged(rows) == {
        "edge: return of drifting above that of regression, intervals apart": True,
        "edge: return of drifting above that of gaussian, intervals apart": False,
    }


@pytest.mark.parametrize(("returns", "holds"), [((5, 5, 5), True), ((5,), False)])
def test_equal_episodes_have_an_interval_and_a_single_one_has_none(returns, holds):
    found = judged([planning("drifting", *returns), planning("regression", 1, 2, 3, 2)])
    assert found["edge: return of drifting above that of regression, intervals apart"] is holds


def test_the_interval_is_that_of_the_mean_and_repeatable():
    returns = np.random.default_rng(0).normal(size=400)
    table = Table([planning("drifting", *returns)])
    half = 1.96 * returns.std() / 20
    found = _episode_interval(table, "edge", "drifting")
    assert found == pytest.approx((returns.mean() - half, returns.mean() + half), abs=0.01)
    assert found == _episode_interval(table, "edge", "drifting")


@pytest.mark.parametrize(("other", "holds"), [((8, 4, 1), True), ((8, 4, 6), False)])
def test_models_that_met_the_same_gusts_are_compared_seed_by_seed(other, holds):
    own = (10, 6, 3)  # seeds differ more than models do
    rows = [planning("drifting", value, seed=seed) for seed, value in enumerate(own)]
    rows += [planning("gaussian", value + 0.01 * seed, seed=seed) for seed, value in enumerate(other)]
    found = judged(rows)
    assert found["edge: return of drifting above that of gaussian in the same episodes"] is holds
    assert found["edge: return of drifting above that of gaussian, intervals apart"] is False


@pytest.mark.parametrize(("slower", "holds"), [(1.9, True), (2.1, False)])
def test_the_claim_about_cost_is_about_the_worst_case(slower, holds):
    rows = [row("cost", "k = 1", "drifting", nfe=0, ratio=1.5), row("cost", "k = 5", "drifting", nfe=0, ratio=slower)]
    verdict = one(rows, "training step")
    assert verdict.holds is holds
    assert verdict.found == f"1.500 to {slower:.3f}"


def test_claims_against_rivals_that_are_missing_are_not_judged():
    """Neither held nor failed: nobody measured them."""
    rows = [
        *(row("laws", law, "drifting", energy_distance=0.1, std_ratio=1.0, major_mass=0.8) for law in LAWS),
        stochastic()[0],
        deterministic(1.0, 1.0, 1.0),
        planning("drifting", 1, 2),
        row("chunks", "walker, k = 1", "drifting", error_1=1.0),
    ]
    found = judged(rows)
    assert len(found) == 2 + 4, "those about drifting alone"
    assert all(found.values())
    assert not any("regression" in claim or "diffusion" in claim for claim in found)
    assert verdicts([deterministic(1.0, 1.0, 1.0, "regression")]) == [], "nothing is claimed of rivals alone"
    assert verdicts([]) == []


def test_a_table_shows_means_standard_errors_and_how_many_seeds():
    rows = [
        row("risk", "edge", "drifting", seed=1, **{"return": 10.0, "beyond": 0.25}),
        row("risk", "edge", "drifting", seed=2, **{"return": 14.0, "beyond": 0.25}),
        row("risk", "edge", "true simulator", nfe=0, **{"return": -2.0, "beyond": None}),
    ]
    rows = [Row(r.part, r.case, r.generator, r.nfe, r.seed, {**r.metrics, "return_00": 1.0}) for r in rows]
    lines = markdown(rows).splitlines()
    assert lines[0] == "### Planning beside an edge in gusts, CVaR"
    assert lines[2:6] == [
        "| case | generator | return | share beyond the edge | seeds |",
        "| --- | --- | --- | --- | --- |",
        "| edge | drifting | 12.0 ± 2.0 | 0.250 ± 0.000 | 2 |",
        "| edge | true simulator | -2.000 | - | 1 |",
    ]
    assert "### Claims" in lines


def test_tables_stand_in_the_order_of_the_parts_and_claims_come_last():
    text = markdown([*stochastic(own=5.0), *laws()])
    places = [text.index(words) for words in ("### Known laws", "### Stochastic worlds", "### Claims", "* holds: std")]
    assert places == sorted(places)
    assert "* FAILS: gust: energy distance of drifting below that of regression. Found: 2.500 times" in text
    assert text.endswith("\n")


def test_steps_tell_rows_of_one_generator_apart_and_only_where_there_are_several():
    assert row("laws", "gaussian", "diffusion", nfe=20).label == "diffusion 20"
    assert row("laws", "gaussian", "flow", nfe=1).label == "flow 1"
    assert row("laws", "gaussian", "drifting").label == "drifting"
    assert row("cost", "k = 1", "diffusion", nfe=0).label == "diffusion"


def test_a_value_that_was_lost_is_left_out_of_the_mean():
    table = Table(
        [row("laws", "gaussian", "flow", nfe=1, seed=seed, between=x) for seed, x in enumerate((1.0, None, 3.0))]
    )
    assert table.values("laws", "gaussian", "flow 1", "between") == [1.0, 3.0]
    assert table.mean("laws", "gaussian", "flow 1", "between") == 2.0
    assert table.values("laws", "elsewhere", "flow 1", "between") == []
    assert table.labels("laws", "gaussian") == ["flow 1"]


def test_predictions_that_were_held_are_told_below_the_table():
    rows = [
        row("stochastic", "walker", "consistency", seed=seed, energy_distance=44.0, diverged=0.0, diverged_10=share)
        for seed, share in ((1, 0.25), (2, 0.0))
    ]
    assert "clipped at 100 standard deviations: 25 % of consistency on walker at most." in markdown(rows)
    few = [row("stochastic", "walker", "consistency", energy_distance=4.0, diverged=0.0000244)]
    assert "clipped at 100 standard deviations: 0.0024 % of consistency on walker at most." in markdown(few)
    kept = [row("stochastic", "walker", "consistency", energy_distance=4.0, diverged=0.0, diverged_10=0.0)]
    assert "deviations" not in markdown(kept)
