"""What the runs of a grid add up to: cells, rows, aggregates and figures."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from drift_wm.bench.aggregates import (
    aggregates,
    improvements,
    interquartile_mean,
    probability_of_improvement,
    sentences,
    stratified_interval,
)
from drift_wm.bench.cells import CellResult, GridResults, Reference
from drift_wm.bench.plots import curves_figure, decision_figure
from drift_wm.bench.report import bench_tables, curves_caption
from drift_wm.bench.results import as_table, table
from drift_wm.bench.tasks import ANCHOR, PUBLISHED, SUITES


def cell(task="cartpole-swingup", value=100.0, *, seed=1, progress=(), frames=1000, model="drifting"):
    return CellResult(task, model, "icem", seed, frames, (value,), 20.0, 60.0, tuple(progress))


def simulated(value):
    return Reference("cartpole-swingup", "true simulator", "icem", (value,))


def test_rows_of_one_task_stand_together():
    assert [row.task for row in table(GridResults((cell("b-b"), cell("a-a"))), suite="")] == ["a-a", "b-b"]


@pytest.mark.parametrize(
    ("progress", "final", "steady"),
    [
        ([], 100, None),
        ([(100, 90.0), (900, 80.0)], 100, True),
        ([(100, 10.0), (900, 49.0)], 100, False),
        ([(700, 10.0), (900, 60.0)], 100, True),  # before the last fifth
        ([(700, 100.0), (900, 60.0)], 49, False),  # the final model
        ([(900, -100.0)], -100, True),  # half as much again is what may be lost of a negative return
        ([(900, -100.0)], -151, False),
    ],
)
def test_a_run_is_steady_if_nothing_late_falls_below_half_of_the_best(progress, final, steady):
    assert cell(value=final, progress=[(frames, (value,)) for frames, value in progress]).steady is steady


@pytest.mark.parametrize(
    ("found", "caption"),
    [
        (
            [(10, [3, 3]), (10, [3])],
            "The last point of a curve averages 10 episodes of each run, the points before it 3 episodes.",
        ),
        (
            [(1, [3]), (10, [1])],
            "The last point of a curve averages 1 to 10 episodes of each run, the points before it 1 to 3 episodes.",
        ),
        ([(5, [])], "Each point averages 5 episodes of each run, after its last episode of training."),
    ],
)
def test_the_caption_of_learning_curves_counts_episodes(found, caption):
    results = [
        replace(cell(progress=[(100 * n, (1.0,) * many) for n, many in enumerate(before)]), returns=(1.0,) * last)
        for last, before in found
    ]
    assert curves_caption(results) == caption


def test_a_last_evaluation_on_the_way_that_is_not_drawn_is_not_counted():
    assert curves_caption([cell(progress=[(1000, (1.0,) * 3)], frames=1000)]).startswith(
        "Each point averages 1 episode"
    )


def test_the_interquartile_mean_is_that_of_the_middle_half_of_all_runs():
    assert interquartile_mean([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 700.0]]) == 3.5


def test_every_task_counts_alike_in_a_grid_that_is_not_finished():
    """Else a model would gain by having run more seeds of what it is good at."""
    even = interquartile_mean([[100.0] * 2, [0.0] * 2])
    uneven = [interquartile_mean([[100.0] * 10, [0.0] * 2]), interquartile_mean([[100.0], [0.0] * 7])]
    assert uneven == pytest.approx([even] * 2)
    one, other = list(np.random.default_rng(0).normal(size=(2, 4)))
    twice = interquartile_mean([np.repeat(one, 2), other])
    assert twice == pytest.approx(interquartile_mean([np.repeat(one, 2), np.repeat(other, 2)]))


def test_the_interval_resamples_runs_within_tasks():
    assert stratified_interval([[1.0, 1.0], [5.0, 5.0], [2.0, 2.0, 2.0]], [[1.0]] * 3) == pytest.approx(
        (interquartile_mean([[1.0, 1.0], [5.0, 5.0], [2.0, 2.0, 2.0]]),) * 2
    ), "without spread within tasks there is none"
    assert stratified_interval([[1.0, 2.0], [5.0]], [[1.0]] * 2) is None, "one run tells nothing of spread"
    assert stratified_interval([[700.0, 750.0]], [[0.0, 900.0]]) is None, "both drawn episodes may return nothing"
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(4, 50))
    low, high = stratified_interval(runs.tolist(), [[1.0]] * 4)
    assert low < interquartile_mean(runs) < high
    wide = stratified_interval(runs[:, :5].tolist(), [[1.0]] * 4)
    assert wide[1] - wide[0] > 2 * (high - low)


def test_aggregates_divide_by_published_returns_and_by_the_simulator():
    anchor = SUITES["dmc"][0].published[0]
    cells = tuple(cell(value=anchor, seed=seed) for seed in (1, 2))
    results = GridResults(cells, (simulated(2 * anchor), Reference("cartpole-swingup", "random", "-", (1.0,))))
    published, ceiling = aggregates(results, suite="dmc")
    assert ceiling.left_out == ()
    nothing = Reference("walker-walk", "true simulator", "icem", (0.0,))
    more = GridResults((*cells, cell("walker-walk", seed=1)), (simulated(2 * anchor), nothing))
    _, without = aggregates(more, suite="dmc")
    assert (without.iqm, without.left_out) == (0.5, ("walker-walk",))
    assert "all seeds, without walker-walk, where that returned nothing; no interval" in without.sentence
    assert (published.yardstick, published.iqm, published.interval) == (ANCHOR, 1.0, (1.0, 1.0))
    assert (ceiling.iqm, ceiling.tasks, ceiling.interval) == (0.5, 1, None), "of a single episode of the simulator"
    several = Reference("cartpole-swingup", "true simulator", "icem", (1.6 * anchor, 2.4 * anchor))
    _, ceiling = aggregates(GridResults(cells, (several,)), suite="dmc")
    assert ceiling.iqm == pytest.approx(0.5)
    assert ceiling.interval == pytest.approx((1 / 2.4, 1 / 1.6)), "its episodes are drawn again as runs are"
    assert published.sentence.startswith(f"drifting, icem: 1.00 times {ANCHOR} (interquartile mean over 1 task and")
    assert published.sentence.endswith("with published means taken for exact)"), "which are of three runs themselves"
    assert "exact" not in ceiling.sentence
    assert [found.yardstick for found in aggregates(results, suite="")] == ["the planner in the true simulator"]
    assert aggregates(GridResults((cell(),)), suite="") == []


@pytest.mark.parametrize(
    ("pairs", "probability"),
    [
        ([([2.0, 3.0], [0.0, 1.0])], 1.0),
        ([([0.0], [1.0, 2.0])], 0.0),
        ([([1.0, 1.0], [1.0])], 0.5),
        ([([1.0, 3.0], [0.0, 2.0])], 0.75),
        ([([1.0], [0.0]), ([5.0, 7.0], [6.0, 9.0])], (1 + 0.25) / 2),  # a task counts once, whatever its runs
    ],
)
def test_a_model_improves_as_often_as_its_runs_return_more(pairs, probability):
    assert probability_of_improvement(pairs) == probability


def test_models_are_compared_over_the_tasks_that_both_ran():
    cells = [cell("a-a", value, seed=seed) for seed, value in enumerate((3.0, 3.0, 1.0))]
    cells += [cell("a-a", 2.0, model="regression"), cell("b-b", 9.0), cell("c-c", 9.0, model="gaussian")]
    (found,) = improvements(GridResults(tuple(cells)))
    assert (found.model, found.rival, found.tasks, found.runs) == ("drifting", "regression", 1, (3, 1))
    assert found.probability == pytest.approx(2 / 3)
    assert found.interval is None
    assert "no interval, as a task has a single run" in found.sentence
    assert sentences(GridResults(tuple(cells)), suite="") == [], "one run beside others is worth no sentence"
    more = GridResults((*cells, cell("a-a", 2.0, model="regression", seed=2)))
    (found,) = improvements(more)
    assert found.interval == (0.0, 1.0)
    assert sentences(more, suite="")[-1].startswith(
        "drifting over regression, icem: more return with probability 0.67 (mean over the 1 "
    )
    assert improvements(GridResults((cell("a-a"), cell("b-b", model="regression")))) == []
    further = GridResults((*more.cells, cell("b-b", 8.0, model="regression")))
    assert (
        "probability 0.83 (mean over the 2 tasks of both, 4 and 3 runs; no interval" in sentences(further, suite="")[-1]
    )


def test_curves_of_seeds_meet_evaluation_by_evaluation():
    cells = [
        cell("Hopper-v5", 900.0, seed=1, frames=3211, progress=[(1000, (100.0,)), (2000, (300.0,))]),
        cell("Hopper-v5", 500.0, seed=2, frames=3541, progress=[(1100, (200.0,)), (2300, (500.0,)), (3541, (7.0,))]),
    ]
    (axes,) = curves_figure(GridResults(tuple(cells)), suite="").axes
    (curve,) = axes.get_lines()
    assert curve.get_xydata().tolist() == [[1050, 150], [2150, 400], [3376, 700]]


def test_figures_show_every_task_and_model():
    cells = [
        cell(task, 500.0, seed=seed, model=model, progress=[(500, (200.0, 300.0))])
        for task in ("cartpole-swingup", "walker-walk")
        for model in ("drifting", "regression")
        for seed in (1, 2)
    ]
    figure = curves_figure(GridResults(tuple(cells), (simulated(870.0),)), suite="dmc")
    assert [axes.get_title("left") for axes in figure.axes] == ["cartpole-swingup", "walker-walk"]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [
        "drifting, icem",
        "regression, icem",
        "icem in the true simulator",
        *PUBLISHED[:3],
        "band: lowest to highest seed",
    ]
    (legend,) = curves_figure(GridResults(tuple(cells[:1])), suite="").legends
    assert [text.get_text() for text in legend.get_texts()] == ["drifting, icem"], "one seed has no band"


def test_models_lie_over_greys_and_the_first_of_them_on_top():
    cells = [cell("walker-walk", 500.0, model=model) for model in ("drifting", "regression", "gaussian", "diffusion")]
    (axes,) = curves_figure(GridResults(tuple(cells)), suite="dmc").axes
    *models, one, two, three = sorted(axes.get_lines(), key=lambda line: -line.get_zorder())
    assert [line.get_label().split(",")[0] for line in models] == ["drifting", "regression", "gaussian", "diffusion"]
    for line in (one, two, three):
        assert len(set(to_rgb(line.get_color()))) == 1
        assert line.get_zorder() < models[-1].get_zorder()
    assert len({line.get_color() for line in (*models, one, two, three)}) == 7


@pytest.mark.parametrize("tasks", [("walker-walk",), ("walker-walk", "cheetah-run", "finger-spin")])
def test_legends_fit_into_the_picture(tasks):
    cells = [
        cell(task, 500.0, seed=seed, model=model) for task in tasks for model in ("a", "b", "c") for seed in (1, 2)
    ]
    for figure in (
        curves_figure(GridResults(tuple(cells), (simulated(870.0),)), suite="dmc"),
        decision_figure(cells, suite="dmc"),
    ):
        FigureCanvasAgg(figure).draw()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize(("suite", "value"), [("", 500.0), ("dmc", 500.0 / 839.4)])
def test_decision_times_stand_under_their_task_in_plain_numbers(suite, value):
    cells = [cell(task, 500.0, model=model) for task in ("cartpole-swingup", "walker-walk") for model in ("a", "b")]
    figure = decision_figure(cells, suite=suite)
    one, other = figure.axes
    assert [axes.get_title("left") for axes in (one, other)] == ["cartpole-swingup", "walker-walk"]
    assert [line.get_ydata()[0] for line in one.lines] == pytest.approx([value] * 2)
    assert figure.get_supylabel() == (f"return / {ANCHOR}" if suite else "return")
    assert one.get_shared_y_axes().joined(one, other) == bool(suite), "raw returns have no common unit"
    assert all(re.fullmatch(r"[0-9.,]+", label.get_text()) for label in other.get_xticklabels())


@pytest.mark.parametrize("times", [(20.0, 20.6), (5.0, 5.0), (9.0, 11.0), (99.0, 101.0)])
def test_decision_times_that_are_equal_but_for_noise_do_not_look_far_apart(times):
    cells = [replace(cell(model=model), decision_ms=ms) for model, ms in zip(("a", "b"), times, strict=True)]
    (axes,) = decision_figure(cells, suite="").axes
    low, high = axes.get_xlim()
    assert low <= times[0] <= times[1] <= high
    assert high / low >= 2
    first, second = axes.lines
    assert first.zorder > second.zorder, "the first named lies on top"


def test_a_result_remembers_the_code_that_made_it():
    results = {
        "frames": 10,
        "evaluations": [{"name": "drifting", "returns": [1.0]}],
        "decision_ms": {"p50": 1.0},
        "learning_seconds": None,
        "progress": [{"frames": 5, "returns": [1.0, 2.0]}],
        "environment": {"git_commit": "abc"},
    }
    found = CellResult.of("a-b", "drifting", "icem", 1, results)
    assert found.commit == "abc"
    assert CellResult.from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize("returns", [[], [float("nan")], ["x"], None])
def test_known_returns_are_finite_numbers(returns):
    with pytest.raises((ValueError, TypeError)):
        CellResult.from_dict(cell().as_dict() | {"returns": returns})


def test_a_range_of_negative_returns_can_be_read():
    rows = table(GridResults((replace(cell(), returns=(-500.0, -99.0)),)), suite="")
    (shown,) = as_table(rows).columns[4].cells
    assert shown == "-500 to -99"


def test_runs_of_a_task_that_pays_little_are_told_apart():
    rows = table(GridResults((cell("Reacher-v5", -3.8, seed=1), cell("Reacher-v5", -4.4, seed=2))), suite="")
    (line,) = [line for line in bench_tables(rows, []).splitlines() if "Reacher" in line]
    assert "| -4.4 to -3.8 |" in line
    assert line.endswith("| -3.8, -4.4 |")
    (shown,) = as_table(rows).columns[4].cells
    assert shown == "-4.4 to -3.8"
