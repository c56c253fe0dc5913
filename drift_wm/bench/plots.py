"""Plots of `drift-wm bench`, a panel for each task: learning curves, and return against decision time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from drift_wm.bench.cells import CellResult, GridResults
from drift_wm.bench.tasks import PUBLISHED, suite_task
from drift_wm.plots import BLUE, GREY, INK, REFERENCE_COLOURS, VERMILION, plain_log, style
from drift_wm.results import SIMULATOR

_FINAL = -1  # evaluation of a run, the others being numbered from 0
_COLOURS = (BLUE, VERMILION, *REFERENCE_COLOURS[1:])
_MARKERS = "oDs^v*P"
_COLUMNS = 4
_PUBLISHED_LINES = (("#4D4D4D", (0, (6, 2))), ("#7A7A7A", (0, (2, 2))), ("#9A9A9A", (0, (6, 2, 1, 2))))
"""Colour and dashes of the first of PUBLISHED: greys, as colours are our models'."""
_BAND = 0.18  # opacity
_LEAST_WIDTH = 7.6  # inches, for the legend


def curves_figure(results: GridResults, *, suite: str) -> Figure:
    """A panel for each task: evaluations on the way over frames, mean and range over seeds, beside what others reach.

    Args:
        results: at least one cell, and what to compare with.
        suite: whose published returns are drawn as grey dashed lines.
    """
    tasks = list(dict.fromkeys(cell.task for cell in results.cells))
    figure, panels = _panels(tasks)
    for axes, task in zip(panels, tasks, strict=True):
        for name, look in _looks(results.cells).items():
            cells = [cell for cell in results.cells if (cell.task, _name(cell)) == (task, name)]
            _draw_curve(axes, cells, name, look)
        _draw_references(axes, results, task, suite)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        style(axes, legend=False)
    legend = _legend_of(panels)
    if len({cell.seed for cell in results.cells}) > 1:
        legend["band: lowest to highest seed"] = Patch(color=GREY, alpha=_BAND, lw=0)
    _add_legend(figure, legend)
    figure.supxlabel("environment frames", fontsize=9, color=INK)
    figure.supylabel("return", fontsize=9, color=INK)
    return figure


def decision_figure(results: Sequence[CellResult], *, suite: str) -> Figure:
    """A panel for each task: return over decision time, a point for each model.

    Args:
        results: at least one cell.
        suite: by whose published returns they are divided.
    """
    tasks = list(dict.fromkeys(result.task for result in results))
    figure, panels = _panels(tasks, sharex=True, sharey=bool(suite))  # returns of different tasks have no common unit
    for axes, task in zip(panels, tasks, strict=True):
        for name, look in _looks(results).items():
            cells = [result for result in results if (result.task, _name(result)) == (task, name)]
            if cells:
                value = float(np.mean([result.mean for result in cells])) / _unit(task, suite)
                time = float(np.median([result.decision_ms for result in cells]))
                (point,) = axes.plot(time, value, look.marker, color=look.colour, ms=7, label=name)
                point.set(mec="white", clip_on=False, zorder=look.order)
        style(axes, legend=False)
        axes.margins(y=0.15)
    for axes in panels:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    plain_log(panels[0], "x", least=2.0)
    _add_legend(figure, _legend_of(panels))
    figure.supxlabel("milliseconds of a decision, timed during the grid, beside other work", fontsize=9, color=INK)
    figure.supylabel(f"return / {PUBLISHED[0]}" if suite else "return", fontsize=9, color=INK)
    return figure


class _Look(NamedTuple):
    colour: str
    marker: str
    order: float
    """The higher, the later it is drawn."""


def _looks(results: Sequence[CellResult]) -> dict[str, _Look]:
    """Of every model and planner; the first one lies on top."""
    return {
        name: _Look(_COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)], 3 - 0.01 * number)
        for number, name in enumerate(dict.fromkeys(map(_name, results)))
    }


def _panels(tasks: Sequence[str], *, sharex: bool = False, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """One for each task, under its name."""
    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(max(3.4 * columns + 0.6, _LEAST_WIDTH), 2.7 * rows + 0.9), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).flat)
    for axes in panels[len(tasks) :]:
        axes.remove()
    for number, (axes, task) in enumerate(zip(panels, tasks, strict=False)):
        axes.set_title(task, loc="left", fontsize=10, color=INK)
        axes.tick_params(labelbottom=number + columns >= len(tasks) or not sharex)
    return figure, panels[: len(tasks)]


def _add_legend(figure: Figure, legend: Mapping[str, Artist]) -> None:
    ncols = max(3, int(figure.get_figwidth() // 2.6))
    figure.legend(legend.values(), legend.keys(), loc="outside upper left", ncols=ncols, frameon=False, fontsize=9)


def _draw_curve(axes: Axes, cells: Sequence[CellResult], name: str, look: _Look) -> None:
    """The mean over seeds of what each evaluation on the way found, and of the final one, and their range.

    Seeds meet evaluation by evaluation: where episodes end by themselves, no two have the same frames.
    """
    evaluations: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for result in cells:
        on_the_way = [point for point in result.progress if point[0] < result.frames]
        for number, (frames, returns) in (*enumerate(on_the_way), (_FINAL, (result.frames, result.returns))):
            evaluations[number].append((frames, float(np.mean(returns))))
    points = sorted((np.asarray(each).T for each in evaluations.values()), key=lambda point: float(point[0].mean()))
    places, means = ([float(np.mean(each[part])) for each in points] for part in (0, 1))
    (line,) = axes.plot(places, means, color=look.colour, marker=look.marker, ms=4, lw=1.5, label=name)
    line.set(mec="white", mew=0.5, zorder=look.order, clip_on=False, in_layout=False)
    low, high = ([bound(returns) for _, returns in points] for bound in (min, max))
    axes.fill_between(places, low, high, color=look.colour, alpha=_BAND, lw=0, zorder=look.order - 1)


def _draw_references(axes: Axes, results: GridResults, task: str, suite: str) -> None:
    for each in results.references:
        if (each.task, each.name) == (task, SIMULATOR):
            label = f"{each.planner} in the {SIMULATOR}"
            axes.axhline(float(np.mean(each.returns)), color=INK, lw=1.2, label=label, zorder=1)
    if found := suite_task(suite, task):
        for (colour, dashes), value, name in zip(_PUBLISHED_LINES, found.published, PUBLISHED, strict=False):
            axes.axhline(value, color=colour, lw=1.1, ls=dashes, label=name, zorder=1)


def _legend_of(panels: Sequence[Axes]) -> dict[str, Artist]:
    """Each name once, from whichever panel has it."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def _name(result: CellResult) -> str:
    return f"{result.model}, {result.planner}"


def _unit(task: str, suite: str) -> float:
    found = suite_task(suite, task)
    return found.published[0] if found else 1.0
