"""The learning curve, and what all plots look like. Figures are objects of their own: pyplot's state is not touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from drift_wm.results import CurvePoint, Evaluation
from drift_wm.storage.writing import replacing
from drift_wm.wording import counted, value_and_error, with_error

# Okabe and Ito's palette, which stays distinct under the common colour vision deficiencies; the shapes of
# the markers say the same once more.
BLUE, VERMILION, GREY, INK = "#0072B2", "#D55E00", "#767676", "#333333"
REFERENCE_COLOURS = ("#000000", "#007A5A", "#A8527F", "#8A6D00")

SUITE_RANGE = (0.0, 1000.0)
"""What a return of the DeepMind Control Suite can be."""

DPI = 160

_MOST_TICKS, _MARGIN = 10, 1.02
_EXPLORING = ("noise", "random")
"""Sources of episodes that nothing planned: earlier versions called pink noise random, too."""


class _Label(NamedTuple):
    text: str
    value: float
    colour: str


def learning_curve(
    points: Sequence[CurvePoint],
    *,
    references: Sequence[Evaluation],
    task: str,
    final: Evaluation | None = None,
    decisions: tuple[int, int] | None = None,
) -> Figure:
    """Episode return over environment frames.

    Args:
        points: episodes of training, in any order; the legend says of those that were cut how their return was scaled.
        references: policies to compare with, each a labelled dashed line at its mean return.
        task: what was learned, for the title.
        final: evaluation of the model after training, drawn after the last episode.
        decisions: of an episode that was cut, and of a whole one; needed where any was cut.

    Raises:
        ValueError: there are no points, a value is not finite, or a point's source is unknown.
    """
    _check(points, [*references, *([final] if final else [])])
    cut = any(point.cut for point in points)
    figure = Figure(figsize=(7.6, 4.6 if cut else 4.2), layout="constrained")
    axes = figure.add_subplot()
    _draw_episodes(axes, points, decisions)
    labels = _draw_references(axes, references)
    if final is not None:
        labels.append(_draw_final(axes, final, last_frame=max(point.frames for point in points), beside_cut=cut))
    _set_range(axes, points, labels)
    _label_right(axes, labels)
    style(axes, title=task, legend_columns=1 if cut else 3)
    axes.set_xlabel("environment frames", color=INK)
    axes.set_ylabel("episode return", color=INK)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG beside the target, then rename it, so that a reader never sees half a picture.

    Raises:
        ValueError: the name does not end in .png.
    """
    if path.suffix != ".png":
        raise ValueError(f"plot path is {path}, expected a name that ends in .png: rename it")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def _check(points: Sequence[CurvePoint], evaluations: Sequence[Evaluation]) -> None:
    if not points:
        raise ValueError("the learning curve has no points, expected at least one finished episode: train longer")
    for point in points:
        if point.source not in (*_EXPLORING, "planner"):
            raise ValueError(
                f'source is {point.source!r} at frame {point.frames}, expected "noise" or "planner": say who acted'
            )
        if not math.isfinite(point.value):
            raise ValueError(
                f"return is {point.value} at frame {point.frames}, expected a finite number: "
                "leave out the episode, and look for the reward that made it"
            )
    for evaluation in evaluations:
        if not math.isfinite(evaluation.mean):
            raise ValueError(
                f"mean return of {evaluation.name!r} is {evaluation.mean}, expected a finite number: "
                "leave it out, and look for the reward that made it"
            )


def _draw_episodes(axes: Axes, points: Sequence[CurvePoint], decisions: tuple[int, int] | None) -> None:
    ordered = sorted(points, key=lambda point: point.frames)
    exploring = [point for point in ordered if point.source in _EXPLORING]
    planner = [point for point in ordered if point.source == "planner"]
    circles: dict[str, Any] = {"ls": "", "mfc": "white", "mec": GREY, "mew": 1.3, "ms": 6, "zorder": 3}
    line: dict[str, Any] = {"color": BLUE, "lw": 1.6, "zorder": 4, **markers(len(planner))}
    for shown, name, look in (
        (exploring, "exploring episode (pink noise)", circles),
        (planner, "planner episode", line),
    ):
        if shown:
            frames, values = [point.frames for point in shown], [point.value for point in shown]
            axes.plot(frames, values, marker="o", label=name + _drawn(shown, decisions), **look)


def _drawn(points: Sequence[CurvePoint], decisions: tuple[int, int] | None) -> str:
    """What stands for the return of episodes that were cut, for the legend; nothing where none was."""
    if not any(point.cut for point in points):
        return ""
    assert decisions is not None, "points that were cut, without how many decisions were left"
    first, whole = decisions
    times = "doubled" if whole == 2 * first else f"times {whole / first:.3g}"
    ended = "" if all(point.cut for point in points) else "; all of it where it ended before"
    return f": return of the first {first} of {whole} decisions, {times}{ended}"


def _draw_references(axes: Axes, references: Sequence[Evaluation]) -> list[_Label]:
    labels = []
    for number, reference in enumerate(references):
        colour = REFERENCE_COLOURS[number % len(REFERENCE_COLOURS)]
        axes.axhline(reference.mean, color=colour, lw=1.1, ls=(0, (5, 3)), zorder=1)
        shown, _ = with_error(reference.mean, reference.standard_error)
        labels.append(_Label(f"{reference.name}  {_with_minus(shown)}", reference.mean, colour))
    return labels


def _draw_final(axes: Axes, final: Evaluation, *, last_frame: int, beside_cut: bool) -> _Label:
    error = final.standard_error
    x = last_frame * 1.03  # beside the last episode, which it would hide
    axes.errorbar(
        x,
        final.mean,
        yerr=error,
        fmt="D",
        color=VERMILION,
        ms=7,
        mec="white",
        mew=0.8,
        capsize=4,
        label=f"final model, {_episodes(final, whole=beside_cut)}",
        zorder=5,
    )
    return _Label(f"{final.name}  {_with_minus(value_and_error(final.mean, error))}", final.mean, VERMILION)


def _with_minus(text: str) -> str:
    """A number with the sign that the axis shows."""
    return text.replace("-", "\N{MINUS SIGN}")


def _episodes(evaluation: Evaluation, *, whole: bool) -> str:
    n, noun = len(evaluation.returns), "whole episode" if whole else "episode"
    return counted(n, noun) if n == 1 else f"mean of {counted(n, noun) if whole else n} ± standard error"


def _set_range(axes: Axes, points: Sequence[CurvePoint], labels: Sequence[_Label]) -> None:
    """The whole range of the suite where the returns look like its own, so that curves can be compared."""
    values = [point.value for point in points] + [label.value for label in labels]
    low, high = SUITE_RANGE
    if low <= min(values) and 0.02 * high <= max(values) <= high:
        axes.set_ylim(low - 0.02 * high, high * 1.02)  # room for markers at the ends
        axes.set_yticks(range(0, 1001, 200))
    else:
        axes.margins(y=0.08)
    axes.set_xlim(left=0)


def _label_right(axes: Axes, labels: Sequence[_Label]) -> None:
    """Name the values to the right of the plot; labels that would overlap are moved apart, with a leader."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top)  # the labels must not move what they are fitted to
    ordered = sorted(labels, key=lambda label: label.value)
    leader = {"arrowstyle": "-", "lw": 0.7, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}
    heights = _apart([label.value for label in ordered], gap=0.065 * (top - bottom), top=top)
    for label, height in zip(ordered, heights, strict=True):
        axes.annotate(
            label.text,
            xy=(1.0, label.value),
            xytext=(1.035, height),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            color=label.colour,
            fontsize=9,
            va="center",
            arrowprops=leader | {"color": label.colour},
            annotation_clip=False,
        )


def _apart(values: Sequence[float], *, gap: float, top: float) -> list[float]:
    """Ascending values, moved as little as a sweep up and a sweep down need to keep `gap` between them."""
    heights: list[float] = []
    for value in values:
        heights.append(value if not heights else max(value, heights[-1] + gap))
    ceiling = top
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    return heights


def plain_log(axes: Axes, which: Literal["x", "y"], *, least: float = 1.0) -> None:
    """A logarithmic axis from tick to tick, with 1, 2, 5, 10, ... as people write them; after everything is drawn.

    Args:
        axes: of the axis, or of one of those that share it.
        which: of its axes.
        least: how many times its low end its high end is at least, so that near values do not look far apart.
    """
    axes.set(**{f"{which}scale": "log"})
    shared = axes.get_shared_x_axes() if which == "x" else axes.get_shared_y_axes()
    drawn = [each.dataLim for each in shared.get_siblings(axes)]
    low = min(each.minposx if which == "x" else each.minposy for each in drawn) / _MARGIN
    high = max(each.x1 if which == "x" else each.y1 for each in drawn) * _MARGIN
    if not low <= high < math.inf:
        return  # nothing is drawn
    wider = max(1.0, least * low / high) ** 0.5
    low, high = low / wider, high * wider
    ticks = _ticks(low, high)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}lim": (ticks[0], ticks[-1])})
    axis.set_ticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers of which the first and the last enclose both."""
    if high < 2 * low:
        return list(map(float, MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)))
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        first = max(tick for tick in ticks if tick <= low)
        last = min(tick for tick in ticks if tick >= high)
        shown = [tick for tick in ticks if first <= tick <= last]
        if len(shown) <= _MOST_TICKS:
            break
    return shown


def markers(count: int) -> dict[str, Any]:
    """Of a line of so many points: those that would touch are drawn small."""
    return {"mec": "white", "ms": 2.5, "mew": 0} if count > 60 else {"mec": "white", "ms": 6, "mew": 0.8}


def quiet(axes: Axes, *, grid: Literal["both", "x", "y"] = "y") -> None:
    """A grid, edges and numbers that stay behind what is drawn."""
    axes.grid(axis=grid, color="#E6E6E6", lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(colors=INK, labelsize=9)


def style(axes: Axes, *, title: str = "", size: int = 12, legend: bool = True, legend_columns: int = 3) -> None:
    """What all plots look like: thousands separated, a quiet grid, the legend above, unless the figure has one.

    After everything is drawn: a title, of that size, stands above all rows of the legend. A $ in it begins no formula.
    """
    axes.xaxis.set_major_formatter(lambda x, position: f"{x:,.0f}")
    quiet(axes)
    if not legend:
        return
    if title:
        rows = -(-len(axes.get_legend_handles_labels()[1]) // legend_columns)
        axes.set_title(title, loc="left", size=size, weight="bold", color=INK, pad=12 + 14 * rows, parse_math=False)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=legend_columns,
        frameon=False,
        fontsize=9,
        handletextpad=0.4,
        columnspacing=1.4,
        borderaxespad=0.2,
    )
