"""The plot of `drift-wm speed`: decision time against candidates and horizon."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from drift_wm.plots import BLUE, INK, REFERENCE_COLOURS, VERMILION, plain_log, style
from drift_wm.speed.timing import SpeedRow

_COLOURS = (BLUE, VERMILION, *REFERENCE_COLOURS)
_MARKERS = "osD^v*"


def speed_figure(rows: Sequence[SpeedRow], *, machine: str) -> Figure:
    """A panel for each horizon: milliseconds of an iteration over candidates, a line for each contender.

    Args:
        rows: those of part `scaling`, at least one, of whatever task or tasks.
        machine: on which they were measured, for the title.
    """
    horizons = sorted({row.facts["horizon"] for row in rows})
    tasks = dict.fromkeys(row.case.partition(",")[0] for row in rows)
    contenders = list(dict.fromkeys(row.contender for row in rows))
    figure = Figure(figsize=(3.2 * len(horizons) + 1.2, 4.1), layout="constrained")
    panels = figure.subplots(1, len(horizons), sharey=True, squeeze=False)[0]
    for axes, horizon in zip(panels, horizons, strict=True):
        for contender, colour, marker in zip(contenders, _COLOURS, _MARKERS, strict=False):
            line = [row for row in rows if (row.contender, row.facts["horizon"]) == (contender, horizon)]
            axes.plot(
                [row.facts["candidates"] for row in line],
                [row.median for row in line],
                color=colour,
                marker=marker,
                ms=5,
                lw=1.6,
                label=contender,
            )
        axes.set_xscale("log", base=2)
        axes.set_title(f"horizon of {horizon:.0f} decisions", loc="left", fontsize=10, color=INK)
        axes.set_xlabel("candidates", color=INK)
        style(axes, legend=False)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper left",
        ncols=4,
        frameon=False,
        fontsize=9,
        title=f"{', '.join(tasks)}, on {machine}",
        title_fontproperties={"weight": "bold", "size": 11},
        alignment="left",
    )
    plain_log(panels[0], "y")
    panels[0].set_ylabel("one planner iteration (ms)", color=INK)
    return figure
