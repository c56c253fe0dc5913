"""What `drift-wm bench suite=demonstrations` makes of its rows: tables, and verdicts on claims."""

import pytest

from drift_wm.demonstrations.rivals import ALONE, RANKINGS
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.tables import markdown
from drift_wm.demonstrations.verdicts import verdicts
from drift_wm.speed.readers import OUR_READER, ROBOMIMIC


def acted(part, name, wins, *, nfe=1, seed=1, episodes=10, returned=5.0, **metrics):
    outcomes = [1.0] * wins + [0.0] * (episodes - wins)
    return Row(part, name, nfe, seed, metrics, {"success": outcomes, "return": [returned] * episodes})


def robot(name, error, *, score=1.0, seed=1):
    return Row("robot", name, 1, seed, {"error": error, "energy_score": score})


def timed(part, name, ms, *, nfe=1, **metrics):
    return Row(part, name, nfe, 0, metrics, {"ms": ms})


def one(rows, words):
    """The verdict whose claim has these words in it."""
    (found,) = (verdict for verdict in verdicts(rows) if words in verdict.claim)
    return found


@pytest.mark.parametrize(("own", "rival", "holds"), [(6, 6, True), (7, 6, True), (5, 6, False)])
def test_drifting_must_succeed_as_often_as_diffusion_in_16_steps(own, rival, holds):
    rows = [acted("policies", "drifting", own), acted("policies", "diffusion", rival, nfe=16)]
    rows.append(acted("policies", "diffusion", 10, nfe=100))
    verdict = one(rows, "noise 1")
    assert (verdict.holds, verdict.found) == (holds, f"{own}/10 against {rival}/10"), "one seed tells of no other"


def test_intervals_are_over_seeds():
    rows = [acted("policies", "drifting", wins, seed=seed) for seed, wins in ((1, 2), (2, 9), (3, 4))]
    rows += [acted("policies", "diffusion", 5, nfe=16, seed=seed) for seed in (1, 2)]
    verdict = one(rows, "noise 1")
    # 0.5 and 4.303 standard errors of 0.208 to each side, at most all; and Wilson's of 10 in 20, as both seeds agree
    assert (verdict.holds, verdict.found) == (True, "15/30 (0% to 100%) against 10/20 (30% to 70%)")
    rows = [acted("policies", "drifting", wins, seed=wins) for wins in (4, 5, 6)]
    assert "| 15/30 | 25% to 75% | 4, 5, 6 |" in markdown(rows), "0.5 and 4.303 standard errors of 0.058"


def test_the_best_way_of_acting_is_compared_with_the_best():
    ways = {"": (1, 9), ", noise 0.5": (2, 2), ", centre": (8, 3)}
    rows = [acted("policies", f"drifting{way}", own) for way, (own, _) in ways.items()]
    rows += [acted("policies", f"diffusion{way}", rival, nfe=16) for way, (_, rival) in ways.items()]
    assert [verdict.holds for verdict in verdicts(rows)] == [False, True, True, False]
    assert verdicts(rows)[-1].found == "80% against 90%"


def test_ranking_must_beat_the_policy_alone():
    first, second = RANKINGS
    rows = [acted("ranking", ALONE, 5), acted("ranking", first, 5), acted("ranking", second, 6)]
    assert [one(rows, f"({name})").holds for name in (first, second)] == [False, True]


@pytest.mark.parametrize(
    ("rival", "own", "others", "holds"),
    [
        ("persistence", 0.6, 1.0, True),
        ("persistence", 0.61, 1.0, False),
        ("linear", 1.0, 1.0, True),
        ("linear", 1.01, 1.0, False),
        ("regression", 1.0, 1.0, True),
        ("regression", 1.01, 1.0, False),
        ("regression, chunks of 5", 1.01, 1.0, False),
    ],
)
def test_open_loop_errors_have_their_bounds(rival, own, others, holds):
    assert one([robot("drifting", own), robot(rival, others)], f"of {rival}").holds is holds


@pytest.mark.parametrize(("score", "holds"), [(0.9, True), (0.91, False)])
@pytest.mark.parametrize("name", ["drifting", "drifting ensemble"])
def test_energy_scores_are_compared_with_the_gaussians(name, score, holds):
    rows = [robot(name, 1.0, score=score), robot("gaussian ensemble", 1.0)]
    assert one(rows, f"of {name} is").holds is holds


@pytest.mark.parametrize(("ms", "holds"), [([9.0, 10.0, 99.0], True), ([9.0, 9.9, 99.0], False)])
def test_times_are_compared_by_their_medians(ms, holds):
    rows = [timed("latency", "drifting", [1.0, 1.0, 5.0]), timed("latency", "diffusion", ms, nfe=16)]
    assert one(rows, "in 16 steps takes").holds is holds


def test_a_hundred_steps_take_at_least_sixty_times_as_long():
    rows = [timed("latency", "drifting", [1.0]), timed("latency", "diffusion", [59.0], nfe=100)]
    assert not one(rows, "in 100 steps").holds


@pytest.mark.parametrize(("theirs", "holds"), [(10.0, True), (9.0, False)])
def test_readers_are_compared_by_windows_a_second(theirs, holds):
    rows = [timed("readers", OUR_READER, [1.0], windows=500.0), timed("readers", ROBOMIMIC, [theirs], windows=500.0)]
    assert one(rows, "times as many windows").holds is holds
    assert f"| {OUR_READER} | 500,000 |" in markdown(rows)


def test_nothing_is_claimed_of_what_was_not_measured():
    rows = [acted("policies", "drifting", 5), robot("drifting", 1.0), timed("latency", "drifting", [1.0])]
    assert verdicts([*rows, acted("ranking", ALONE, 3)]) == []


def test_the_table_of_policies():
    rows = [acted("policies", "drifting", wins, seed=seed, energy_score=2.0) for seed, wins in ((2, 4), (1, 3))]
    text = markdown([*rows, acted("policies", "drifting, centre", 10, returned=7.0)])
    assert "| drifting | 1 | 7/20 | 0% to 99% | 3, 4 | 5 ± 0 | 2.000 ± 0.000 |" in text
    assert "| drifting, centre | 1 | 10/10 | - | 10 | 7 | - |" in text
    assert "Intervals are over training seeds" in text, "which differ by more than episodes do"


def test_a_world_that_tells_nothing_of_success_has_returns_alone():
    text = markdown([Row("policies", "regression", 1, 1, {}, {"return": [1.0, 3.0]})])
    assert "| regression | 1 | - | - | - | 2 | - |" in text


def test_the_table_of_times_and_of_the_robot():
    rows = [timed("latency", "drifting", [2.0]), timed("latency", "diffusion", [50.0], nfe=16)]
    text = markdown([*rows, robot("drifting", 0.5), robot("drifting", 0.7, seed=2), robot("persistence", 2.0)])
    assert "| diffusion | 16 | 50.000 | 25.0 |" in text
    assert "| drifting | 0.600 ± 0.100 |" in text
    assert text.index("| persistence |") < text.index("| drifting | 0.600"), "what has to be beaten comes first"
    assert "* holds: drifting's open-loop error of the robot is at most 0.6 times that of persistence" in text
