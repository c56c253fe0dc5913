"""The plots of `drift-wm data inspect` and `drift-wm data replay`: trajectories, pictures, and divergence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from drift_wm.plots import BLUE, GREY, INK, VERMILION
from drift_wm.recordings.divergence import Replayed
from drift_wm.recordings.film_strips import Strip
from drift_wm.recordings.inspection import Inspection
from drift_wm.recordings.report import SINGLE, WHOLE

_MOST = 12  # entries in a column, those that vary most
_EXACT = 1e-17


def trajectories_figure(found: Inspection) -> Figure:
    """A row for each entry that varies most, observations on the left and actions on the right, a line an episode."""
    episodes = found.plotted
    actions = [f"action[{i}]" for i in range(episodes[0].actions.shape[1])]
    columns = [
        ("observations", found.entries, [e.obs for e in episodes]),
        ("actions", actions, [e.actions for e in episodes]),
    ]
    chosen = [_most_varied(arrays) for *_, arrays in columns]
    rows = max(len(entries) for entries in chosen)
    figure = Figure(figsize=(9.0, 0.9 * rows + 1.2), layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True, squeeze=False)
    shades = colormaps["viridis"](np.linspace(0.1, 0.85, len(episodes)))
    for column, ((kind, names, arrays), entries) in enumerate(zip(columns, chosen, strict=True)):
        for row, axes in enumerate(panels[:, column]):
            if row >= len(entries):
                axes.set_visible(False)
                continue
            for array, shade in zip(arrays, shades, strict=True):
                axes.plot(array[:, entries[row]], color=shade, lw=0.9)
            name = names[entries[row]]  # as a file has it: a $ in it begins no formula
            axes.set_ylabel(name, parse_math=False, fontsize=7, rotation=0, ha="right", va="center", color=INK)
            axes.tick_params(labelsize=7, colors=INK)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#E6E6E6", lw=0.6)
        panels[0, column].set_title(f"{kind} of {len(episodes)} demonstrations", loc="left", fontsize=10, color=INK)
        panels[len(entries) - 1, column].set_xlabel("step", fontsize=8, color=INK)
        panels[len(entries) - 1, column].tick_params(labelbottom=True)
    return figure


def _most_varied(arrays: Sequence[np.ndarray]) -> list[int]:
    """Entries that vary most in relation to their size, in their own order."""
    together = np.concatenate(arrays).astype(np.float64)  # in single, large numbers have infinite squares
    scale = np.abs(together).max(axis=0) + 1e-12
    return sorted(np.argsort(-together.std(axis=0) / scale)[:_MOST].tolist())


def strip_figure(strip: Strip, seconds: float) -> Figure:
    """Pictures of one camera side by side, each under the time at which it was taken.

    Args:
        strip: at least one picture.
        seconds: between two rows; 0: unknown.
    """
    height, width, _ = strip.frames[0].shape
    count = len(strip.frames)
    figure = Figure(figsize=(2.2 * count, 2.2 * height / width + 0.6), layout="constrained")
    for axes, row, frame in zip(figure.subplots(1, count, squeeze=False)[0], strip.rows, strip.frames, strict=True):
        axes.imshow(frame)
        axes.set_axis_off()
        axes.set_title(f"{row * seconds:.2f} s" if seconds else f"row {row}", fontsize=8, color=INK)
    title = f"{strip.camera}, {strip.episode}"
    figure.suptitle(title, parse_math=False, x=0.01, ha="left", fontsize=10, color=INK)
    return figure


def divergence_figure(found: Replayed) -> Figure:
    """How far replaying leads from the record, over time: states on the left, observations on the right."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    whole, single = found.whole, found.single
    for axes, title, lines in (
        (panels[0], "states", (whole.states, single.states)),
        (panels[1], "observations", (whole.obs, single.obs)),
    ):
        for divergence, words, colour in zip(lines, (WHOLE, SINGLE), (VERMILION, BLUE), strict=True):
            time = np.arange(1, len(divergence.rms) + 1) * (found.seconds or 1)
            for values, line, measure in ((divergence.largest, "-", "largest"), (divergence.rms, ":", "rms")):
                # A logarithmic axis has no zero, and where the world had ended there is nothing to draw.
                shown = np.where(np.isfinite(values), np.maximum(values, _EXACT), np.nan)
                axes.plot(time, shown, line, color=colour, lw=1.4, label=f"{words}, {measure}")
        axes.axhline(found.tolerance, color=GREY, lw=0.9, ls="--", label="tolerance")
        axes.set_yscale("log")
        axes.set_ylim(bottom=_EXACT / 3)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("time (s)" if found.seconds else "step", color=INK)
        axes.grid(axis="y", color="#E6E6E6", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
    panels[0].set_ylabel(f"deviation (standard deviations);\n{_EXACT:g} stands for none", fontsize=9, color=INK)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, fontsize=8)
    return figure
