"""What a diagnosis shows: its verdict, its tables in a terminal, its plot of errors."""

import io
from types import SimpleNamespace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich import box
from rich.console import Console
from rich.table import Table

from drift_wm.diagnosis.open_loop import ErrorCurve, OpenLoop
from drift_wm.diagnosis.plots import MOST_GROUPS, open_loop_figure
from drift_wm.diagnosis.summary import number, verdict
from drift_wm.terminal import add_columns, show_whole


def open_loop(*errors: float, groups: int = 1) -> OpenLoop:
    """Of the model, of persistence and of the linear model after the last of two steps."""
    each = tuple((0.1, 0.2 + i) for i in range(groups))
    names = ("model", "persistence", "linear")
    curves = tuple(ErrorCurve(name, (0.1, error), each) for name, error in zip(names, errors, strict=True))
    return OpenLoop((1, 20), tuple(f"robot0_key_{i}" for i in range(groups)), curves)


@pytest.mark.parametrize("groups", [2, 3, 4, 5, 7, MOST_GROUPS])
def test_no_title_lies_over_its_legend(groups):
    figure = open_loop_figure(open_loop(0.2, 0.4, 0.3, groups=groups))
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        (title,) = [text for text in (axes.title, axes._left_title) if text.get_text()]
        assert title.get_window_extent().y0 > axes.get_legend().get_window_extent().y1
        assert title.get_window_extent().y1 <= figure.bbox.y1


@pytest.mark.parametrize(("linear", "told"), [(0.15, True), (0.3, False), (float("nan"), False)])
def test_the_verdict_tells_of_a_linear_model_that_is_better(linear, told):
    said = verdict(SimpleNamespace(open_loop=open_loop(0.2, 0.4, linear), value=None))
    assert "the model errs by 0.2 standard deviations (0.4 if nothing changed)." in said
    assert ("A linear model is better: it errs by 0.15." in said) == told


@pytest.mark.parametrize("width", [120, 80, 70, 30])  # the last two of which it does not fit into
def test_a_table_of_many_columns_breaks_between_words_alone(width):
    steps = ("1", "2", "4", "8", "16", "32", "64")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    add_columns(table, ("after steps", *steps), left=("after steps",))
    table.add_row("persistence", *["0.123"] * 7)
    table.add_row("model: obs[11]", *[number(5.54e-5)] * 7)
    console = Console(width=width, file=io.StringIO())
    show_whole(console, table)
    shown = console.file.getvalue()
    assert {"persistence", "model:", "obs[11]", "steps", "5.5e-05", "0.123", *steps} <= set(shown.split())
    assert shown.split().count("5.5e-05") == 7
    assert width < 80 or max(map(len, shown.splitlines())) <= width
