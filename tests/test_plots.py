import itertools
import math
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from drift_wm.plots import _apart, learning_curve, plain_log, save
from drift_wm.results import CurvePoint, Evaluation
from drift_wm.storage.writing import beside

POINTS = [CurvePoint(1000, 40.0, "noise"), CurvePoint(3000, 700.0, "planner"), CurvePoint(2000, 300.0, "planner")]
FINAL = Evaluation("drifting world model", (850.0, 860.0), (1, 2), 1.0, 1.0, 1)
REFERENCES = [Evaluation("random", (30.0,), (1,), 1.0, 1.0, 1), Evaluation("true simulator", (860.0,), (1,), 1, 1, 1)]


def draw(points=POINTS, references=REFERENCES, final=FINAL) -> Figure:
    return learning_curve(points, references=references, task="cartpole-swingup", final=final)


def texts(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_draws_every_episode_in_order_and_every_reference():
    (axes,) = draw().axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["exploring episode (pink noise)"] == [[1000, 40]]
    assert drawn["planner episode"] == [[2000, 300], [3000, 700]]
    heights = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert heights == [30, 860]
    assert texts(draw()) == ["random  30.0", "drifting world model  855.0 ± 5.0", "true simulator  860.0"]


def legend(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_legend_says_what_stands_for_returns_of_episodes_that_were_cut():
    assert legend(draw()) == [
        "exploring episode (pink noise)",
        "planner episode",
        "final model, mean of 2 ± standard error",
    ]
    cut = [replace(point, cut=True) for point in POINTS]
    options = {"references": REFERENCES, "task": "cartpole-swingup"}
    doubled = learning_curve(cut, **options, final=FINAL, decisions=(250, 500))
    assert legend(doubled) == [
        "exploring episode (pink noise): return of the first 250 of 500 decisions, doubled",
        "planner episode: return of the first 250 of 500 decisions, doubled",
        "final model, mean of 2 whole episodes ± standard error",
    ]
    single = Evaluation("model", (70.0,), (1,), 1.0, 1.0, 1)
    some = learning_curve([*POINTS[:2], cut[2]], **options, final=single, decisions=(200, 500))
    assert legend(some) == [
        "exploring episode (pink noise)",
        "planner episode: return of the first 200 of 500 decisions, times 2.5; all of it where it ended before",
        "final model, 1 whole episode",
    ]


def test_title_and_legend_of_cut_episodes_lie_apart_and_in_the_picture():
    points = [*POINTS, CurvePoint(4000, 500.0, "planner", cut=True)]
    figure = learning_curve(points, references=REFERENCES, task="cartpole-swingup", final=FINAL, decisions=(250, 500))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    title, box = (part.get_window_extent(canvas.get_renderer()) for part in (axes._left_title, axes.get_legend()))
    assert not title.overlaps(box)
    assert box.y0 >= axes.bbox.y1
    assert title.y1 <= figure.bbox.y1
    assert box.x1 <= figure.bbox.x1


def test_labels_of_near_values_keep_apart():
    (axes,) = draw().axes
    bottom, top = axes.get_ylim()
    heights = sorted(text.get_position()[1] for text in axes.texts)
    gaps = [(b - a) / (top - bottom) for a, b in itertools.pairwise(heights)]
    assert min(gaps) > 0.06


@pytest.mark.parametrize("means", [(850, 851, 852, 853), (0, 0, 0, 0), (1000, 1000, 999, 990), (-3.0, 7.0, 7.0, 8.0)])
def test_labels_do_not_overlap_as_drawn_and_stay_in_the_picture(means):
    references = [Evaluation(f"policy {mean}", (float(mean),), (1,), 1, 1, 1) for mean in means]
    figure = draw(references=references)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # an annotation's own extent includes its leader
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    whole = figure.bbox
    assert all(box.x0 >= 0 and box.x1 <= whole.x1 and box.y0 >= 0 and box.y1 <= whole.y1 for box in boxes)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8).map(sorted))
def test_moved_labels_keep_their_order_their_gap_and_the_top(values):
    heights = _apart(values, gap=65, top=1020)
    assert heights[-1] <= 1020
    assert all(b - a > 65 - 1e-6 for a, b in itertools.pairwise(heights))
    if all(b - a >= 65 for a, b in itertools.pairwise(values)):
        assert heights == values


def test_the_final_evaluation_has_its_standard_error():
    (axes,) = draw().axes
    (bar,) = axes.containers
    (low, high) = bar.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((850, 860))
    assert bar.lines[0].get_xdata()[0] > 3000


def test_range_is_the_suites_where_returns_look_like_it():
    (axes,) = draw().axes
    assert axes.get_ylim() == pytest.approx((-20, 1020))
    (other,) = draw([CurvePoint(10, -500.0, "planner")], [], None).axes
    assert other.get_ylim()[0] < -500


def test_many_episodes_and_single_evaluations():
    points = [CurvePoint(i, float(i), "planner") for i in range(100)]
    single = Evaluation("model", (70.0,), (1,), 1.0, 1.0, 1)
    assert texts(draw(points, [], single)) == ["model  70.0"]


@pytest.mark.parametrize(
    ("points", "references", "match"),
    [
        ([], [], "no points"),
        ([CurvePoint(1, math.nan, "noise")], [], "return is nan at frame 1"),
        ([CurvePoint(1, 1.0, "ghost")], [], "source is 'ghost'"),
        (POINTS, [Evaluation("x", (math.inf,), (1,), 1, 1, 1)], "mean return of 'x' is inf"),
    ],
)
def test_what_cannot_be_drawn_is_refused(points, references, match):
    with pytest.raises(ValueError, match=match):
        draw(points, references, None)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.65, 7.5], ["0.5", "1", "2", "5", "10"]),
        ([3.0, 1500.0], ["2", "5", "10", "20", "50", "100", "200", "500", "1,000", "2,000"]),
        ([1e-3, 4e3], ["0.0001", "0.001", "0.01", "0.1", "1", "10", "100", "1,000", "10,000"]),
        ([1.3], ["1.26", "1.28", "1.3", "1.32", "1.34"]),
        ([0.0, math.nan, 3.0, 8.0], ["2", "5", "10"]),
    ],
)
@pytest.mark.parametrize("which", ["x", "y"])
def test_logarithmic_axes_go_from_one_plain_number_to_another(values, ticks, which):
    one, other = Figure().subplots(1, 2, sharex=True, sharey=True)
    for value in values:
        other.plot(value, value, "o")
    plain_log(one, which)
    axis, limits = (one.xaxis, other.get_xlim()) if which == "x" else (one.yaxis, other.get_ylim())
    assert [label.get_text() for label in axis.get_ticklabels()] == ticks
    assert limits == pytest.approx([float(ticks[end].replace(",", "")) for end in (0, -1)])


def test_a_logarithmic_axis_of_nothing_is_one_all_the_same():
    axes = Figure().subplots()
    axes.plot([1, 2], [math.nan, math.nan])
    plain_log(axes, "y")
    assert axes.get_yscale() == "log"


def test_saves_whole_pngs_only(tmp_path):
    save(draw(), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    with pytest.raises(ValueError, match=r"curve\.pdf.*ends in \.png"):
        save(draw(), tmp_path / "curve.pdf")


@pytest.mark.parametrize(
    ("returns", "shown"),
    [
        ((500.0, 900.0, 250.0, 610.0), "565.0 ± 134.7"),
        ((15000.0, 12345.0), "13,672.5 ± 1,327.5"),
        ((-512.3, -400.0), "\N{MINUS SIGN}456.1 ± 56.1"),
        ((0.25, 0.75), "0.50 ± 0.25"),
    ],
)
def test_labels_are_written_as_people_write_numbers(returns, shown):
    final = Evaluation("model", returns, tuple(range(len(returns))), 1.0, 1.0, 1)
    assert texts(draw(POINTS, [], final)) == [f"model  {shown}"]


def test_a_full_disk_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "curve.png"
    save(draw(), path)
    before = path.read_bytes()
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        save(draw(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("source", ["noise", "random"])
def test_a_run_stopped_before_it_planned_can_be_drawn_whatever_its_version_called_noise(source):
    (axes,) = draw([CurvePoint(1000, 40.0, source)], [], None).axes
    assert [line.get_label() for line in axes.lines] == ["exploring episode (pink noise)"]


def test_two_processes_do_not_take_each_others_half_written_picture(tmp_path, monkeypatch):
    """Shares of a grid draw into one folder: another one's rename must not carry this one's file away."""
    path, mine = tmp_path / "curve.png", beside(tmp_path / "curve.png")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert beside(path) != mine
    figure = draw()
    write = figure.savefig

    def saved_while_another_saves(*args, **options):
        write(*args, **options)
        monkeypatch.undo()
        save(draw(), path)

    figure.savefig = saved_while_another_saves
    save(figure, path)
    assert [each.name for each in tmp_path.iterdir()] == ["curve.png"]
