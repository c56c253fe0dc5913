"""Plots of `drift-wm bench`: learning curves of every task, and return against decision time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from drift_wm.bench_cells import CellResult, GridResults
from drift_wm.evaluate import SIMULATOR
from drift_wm.plots import BLUE, GREY, INK, REFERENCE_COLOURS, VERMILION, style
from drift_wm.suites import PUBLISHED, suite_task

_FINAL = -1  # evaluation of a run, the others being numbered from 0
_COLOURS = (BLUE, VERMILION, *REFERENCE_COLOURS[1:])
_MARKERS = "oDs^v*P"
_COLUMNS = 4
_DRAWN = (0, 1, 2)  # of PUBLISHED


def curves_figure(results: GridResults, *, suite: str) -> Figure:
    """A panel for each task: evaluations on the way over frames, mean and range over seeds, beside what others reach.

    Args:
        results: at least one cell, and what to compare with.
        suite: whose published returns are drawn as dashed lines.
    """
    tasks = list(dict.fromkeys(cell.task for cell in results.cells))
    names = _names(results.cells)
    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 2.7 * rows + 0.9), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, task in zip(panels.flat, tasks, strict=False):
        for number, name in enumerate(names):
            cells = [cell for cell in results.cells if (cell.task, _name(cell)) == (task, name)]
            _draw_curve(axes, cells, name, _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)])
        _draw_references(axes, results, task, suite)
        axes.set_title(task, loc="left", fontsize=10, color=INK)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        style(axes)
        axes.get_legend().remove()
    for axes in panels.flat[len(tasks) :]:
        axes.set_visible(False)
    legend = _legend_of(list(panels.flat))
    figure.legend(legend.values(), legend.keys(), loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    figure.supxlabel("environment frames", fontsize=9, color=INK)
    figure.supylabel("return", fontsize=9, color=INK)
    return figure


def decision_figure(results: Sequence[CellResult], *, suite: str) -> Figure:
    """Return of each model, divided by the suite's published one where there is a suite, over its decision time."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(_names(results)):
        cells = [result for result in results if _name(result) == name]
        by_task: dict[str, list[CellResult]] = defaultdict(list)
        for result in cells:
            by_task[result.task].append(result)
        axes.plot(
            [np.median([result.decision_ms for result in group]) for group in by_task.values()],
            [np.mean([result.mean for result in group]) / _unit(task, suite) for task, group in by_task.items()],
            _MARKERS[number % len(_MARKERS)],
            color=_COLOURS[number % len(_COLOURS)],
            ms=7,
            mec="white",
            label=name,
        )
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds of a decision", color=INK)
    axes.set_ylabel(f"return / {PUBLISHED[0]}" if suite else "return", color=INK)
    style(axes)
    return figure


def _draw_curve(axes: Axes, cells: Sequence[CellResult], name: str, colour: str, marker: str) -> None:
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
    axes.plot(places, means, color=colour, marker=marker, ms=4, lw=1.5, mec="white", mew=0.5, label=name)
    low, high = ([bound(returns) for _, returns in points] for bound in (min, max))
    axes.fill_between(places, low, high, color=colour, alpha=0.18, lw=0)


def _draw_references(axes: Axes, results: GridResults, task: str, suite: str) -> None:
    for each in results.references:
        if (each.task, each.name) == (task, SIMULATOR):
            axes.axhline(float(np.mean(each.returns)), color=INK, lw=1.2, label=f"{each.planner} in the {SIMULATOR}")
    if found := suite_task(suite, task):
        for number in _DRAWN:
            colour = REFERENCE_COLOURS[1 + number] if number < len(REFERENCE_COLOURS) - 1 else GREY
            axes.axhline(found.published[number], color=colour, lw=1.0, ls=(0, (5, 3)), label=PUBLISHED[number])


def _legend_of(panels: Sequence[Axes]) -> dict[str, Artist]:
    """Each name once, from whichever panel has it."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def _names(results: Sequence[CellResult]) -> list[str]:
    return list(dict.fromkeys(map(_name, results)))


def _name(result: CellResult) -> str:
    return f"{result.model}, {result.planner}"


def _unit(task: str, suite: str) -> float:
    found = suite_task(suite, task)
    return found.published[0] if found else 1.0
