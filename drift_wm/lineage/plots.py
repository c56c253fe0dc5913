"""The plot of a lineage: how far each round moved the model, and what that did to its predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drift_wm.lineage.measure import Lineage
from drift_wm.lineage.probe import Drift
from drift_wm.plots import BLUE, GREY, INK, VERMILION, markers, style


def lineage_figure(lineage: Lineage) -> Figure:
    """Two panels over training steps: drift from parent to child above, energy score and error below.

    Args:
        lineage: at least one model. A value that is not finite, or that was not measured, leaves a gap.
    """
    figure = Figure(figsize=(7.6, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    models, probe = lineage.models, lineage.probe
    steps = [model.member.steps for model in models]
    drifts = [model.drift or Drift(math.nan, math.nan) for model in models]
    first, whole = f"first {probe.chunk} steps", f"{probe.horizon} steps open loop"
    _draw(above, steps, [drift.chunk for drift in drifts], f"drift, {first}", BLUE, "o")
    _draw(above, steps, [drift.open_loop for drift in drifts], f"drift, {whole}", VERMILION, "s")
    _draw(below, steps, [model.quality.energy_score for model in models], f"energy score, {first}", BLUE, "o")
    _draw(below, steps, [model.quality.open_loop_error for model in models], f"error, {whole}", VERMILION, "s")
    if not any(model.drift for model in models):
        above.text(0.5, 0.5, "no model here has a parent beside it", transform=above.transAxes, ha="center", color=GREY)
    above.set_ylabel("parent to child\n(standard deviations)", color=INK)
    below.set_ylabel("prediction to data\n(standard deviations)", color=INK)
    below.set_xlabel("training steps", color=INK)
    for axes, title in ((above, f"Lineage of {lineage.run.resolve().name}"), (below, "")):
        _mark_runs(axes, lineage)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        style(axes, title=title)
    return figure


def _draw(axes: Axes, steps: Sequence[int], values: Sequence[float], name: str, colour: str, marker: str) -> None:
    shown = [value if math.isfinite(value) else math.nan for value in values]
    axes.plot(
        steps,
        shown,
        marker=marker,
        color=colour,
        lw=1.6,
        label=name,
        clip_on=False,
        zorder=3,
        **markers(len(steps)),
    )


def _mark_runs(axes: Axes, lineage: Lineage) -> None:
    """A line where a run ends, from whose last model the next goes on."""
    label = "next run"
    for model, before in zip(lineage.models[1:], lineage.models, strict=False):
        if model.member.run != before.member.run:
            axes.axvline(before.member.steps, color=GREY, lw=1.0, ls=":", zorder=1, label=label)
            label = "_"  # one entry in the legend stands for all
