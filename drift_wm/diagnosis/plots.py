"""The plots of a diagnosis: growth of errors, calibration, returns, and one situation as it may go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from drift_wm.diagnosis.answers import Answers, DistributionAt, Example
from drift_wm.diagnosis.diagnose import Diagnosis
from drift_wm.diagnosis.open_loop import OpenLoop
from drift_wm.plots import BLUE, GREY, INK, VERMILION, plain_log, quiet, save, style
from drift_wm.wording import counted

LINE_COLOURS = (BLUE, VERMILION, "#007A5A", "#A8527F", "#8A6D00", "#56B4E9", "#000000", GREY)
MOST_HISTOGRAMS, MOST_GROUPS, MOST_FANS = 6, len(LINE_COLOURS), 3
PREDICTORS = {"model": (BLUE, "o-"), "persistence": (GREY, "s--"), "linear": (VERMILION, "^--")}


def save_plots(diagnosis: Diagnosis, folder: Path) -> list[tuple[Path, str]]:
    """Write all plots; returns the files, and what each shows."""
    answers, names = diagnosis.answers, diagnosis.names
    plots = [
        ("open_loop.png", "Growth of errors", open_loop_figure(answers.open_loop)),
        ("calibration.png", "Calibration", calibration_figure(answers.distributions)),
        ("ranks.png", "Ranks of what happened among samples", ranks_figure(answers.distributions, names)),
        ("example.png", "One situation as it may go on", example_figure(answers.example, names)),
    ]
    if answers.returns is not None or answers.exploitation is not None:
        plots.insert(3, ("returns.png", "Predicted and true returns", returns_figure(answers)))
    for name, _, figure in plots:
        save(figure, folder / name)
    return [(folder / name, title) for name, title, _ in plots]


def open_loop_figure(loop: OpenLoop) -> Figure:
    """Errors over steps on logarithmic axes: the predictors, and the model group by group."""
    several = 1 < len(loop.groups) <= MOST_GROUPS
    figure = Figure(figsize=(9.6 if several else 5.4, 4.0), layout="constrained")
    panels = figure.subplots(1, 2 if several else 1, sharey=True, squeeze=False)[0]
    for curve in loop.curves:
        colour, line = PREDICTORS[curve.name]
        _draw_line(panels[0], loop.steps, curve.overall, curve.name, colour, line)
    titles = ["all entries"]
    if several:
        titles.append("the model, by group")
        for group, errors, colour in zip(loop.groups, loop.curves[0].by_group, LINE_COLOURS, strict=False):
            _draw_line(panels[1], loop.steps, errors, group, colour, "o-")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_xscale("log")
        style(axes, title=title, size=11)
        axes.set_xticks(loop.steps, [str(step) for step in loop.steps])
        axes.minorticks_off()
        axes.set_xlabel("steps predicted open loop", color=INK)
        if (legend := axes.get_legend()) is not None:
            for text in legend.get_texts():
                text.set_parse_math(False)  # a key of a file may have a $ in its name
    plain_log(panels[0], "y")
    panels[0].set_ylabel("error of the mean (standard deviations)", color=INK)
    return figure


def calibration_figure(distributions: Sequence[DistributionAt]) -> Figure:
    """Nominal against observed coverage: a thick line over all entries, thin ones for each."""
    figure = Figure(figsize=(4.6 * len(distributions), 4.4), layout="constrained")
    for axes, at in zip(figure.subplots(1, len(distributions), squeeze=False)[0], distributions, strict=True):
        measures = at.measures
        axes.plot([0, 1], [0, 1], color=GREY, lw=1.0, ls="--", label="calibrated", zorder=1)
        for number, entry in enumerate(zip(*measures.coverage, strict=True)):
            label = "_" if number else "each entry"
            axes.plot(measures.levels, entry, color=BLUE, lw=0.8, alpha=0.4, label=label, zorder=2)
        axes.plot(measures.levels, measures.mean_coverage, "o-", color=BLUE, lw=2, ms=5, label="mean", zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("nominal coverage", color=INK)
        axes.set_ylabel("outcomes inside", color=INK)
        axes.set_title(_after(at.steps), loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.legend(frameon=False, fontsize=9, loc="upper left")
        quiet(axes, grid="both")
    return figure


def ranks_figure(distributions: Sequence[DistributionAt], names: Sequence[str]) -> Figure:
    """Rank histograms, a row for each number of steps; of many entries, those that are farthest from flat."""
    chosen = _least_flat(distributions[-1], MOST_HISTOGRAMS)
    size = (1.3 + 1.75 * len(chosen), 0.5 + 1.7 * len(distributions))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(distributions), len(chosen), squeeze=False, sharex=True)
    for row, at in zip(panels, distributions, strict=True):
        for axes, entry in zip(row, chosen, strict=True):
            counts = np.asarray(at.measures.rank_histogram[entry])
            density = counts * len(counts) / counts.sum()
            axes.bar((np.arange(len(counts)) + 0.5) / len(counts), density, width=0.9 / len(counts), color=BLUE)
            axes.axhline(1, color=VERMILION, lw=1.0, ls="--")
            axes.set_xticks([0, 1], ["low", "high"])
            axes.locator_params(axis="y", nbins=3)
            quiet(axes, grid="both")
        row[0].set_ylabel(f"{_after(at.steps)}\ndensity", color=INK)
    for axes, entry in zip(panels[0], chosen, strict=True):
        axes.set_title(names[entry], parse_math=False, fontsize=10, color=INK)
    figure.supxlabel(
        "rank of what happened among the samples (flat: calibrated; U: too narrow)", fontsize=10, color=INK
    )
    return figure


def returns_figure(answers: Answers) -> Figure:
    """Predicted against true returns: of the candidates, less the mean of their state, and of the chosen plans."""
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    if answers.returns is not None:
        predicted, true = (_less_state_mean(x) for x in (answers.returns.predicted, answers.returns.true))
        left.scatter(true, predicted, s=7, color=BLUE, alpha=0.35, lw=0)
    if answers.exploitation is not None:
        found = answers.exploitation
        right.scatter(found.realised, found.predicted, s=32, color=VERMILION, alpha=0.8, lw=0)
    for axes, title, label in (
        (left, "candidates, less the mean of their state", "true return"),
        (right, "plans chosen in the model", "realised return"),
    ):
        axes.axline((0, 0), slope=1, color=GREY, lw=1.0, ls="--", zorder=1, label="predicted = true")
        above = (-0.01, 1.0)  # points may lie anywhere within
        axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=above, borderaxespad=0.2)
        axes.set_xlabel(label, color=INK)
        axes.set_ylabel("predicted return", color=INK)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=22)
        axes.locator_params(nbins=5, steps=[1, 2, 5, 10])  # labels of small values, such as -0.075, are long
        quiet(axes, grid="both")
    return figure


def example_figure(example: Example, names: Sequence[str]) -> Figure:
    """Samples of the model over time beside those of the simulator, for the entries that are least certain."""
    spread = example.samples.std(dim=0).mean(dim=0)
    if example.truth is not None:
        spread = spread + example.truth.std(dim=0).mean(dim=0)
    chosen = (spread / example.scale).topk(min(MOST_FANS, len(names))).indices.sort().values.tolist()
    columns = [("model", example.samples, BLUE)]
    if example.truth is not None:
        columns.append(("simulator", example.truth, VERMILION))
    size = (4.6 * len(columns), 0.6 + 1.9 * len(chosen))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(chosen), len(columns), squeeze=False, sharex=True, sharey="row")
    steps = np.arange(1, len(example.recorded) + 1)
    for row, entry in zip(panels, chosen, strict=True):
        for axes, (title, samples, colour) in zip(row, columns, strict=True):
            axes.plot(steps, samples[:, :, entry].T, color=colour, lw=0.7, alpha=0.3, zorder=2)
            axes.plot(steps, example.recorded[:, entry], color="#000000", lw=1.4, ls=(0, (4, 2)), zorder=3)
            quiet(axes, grid="both")
            if entry == chosen[0]:
                axes.set_title(f"{title} (dashed: recorded)", loc="left", fontsize=11, fontweight="bold", color=INK)
        row[0].set_ylabel(names[entry], parse_math=False, color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("steps", color=INK)
    return figure


def _draw_line(axes: Axes, steps: Sequence[int], errors: Sequence[float], label: str, colour: str, line: str) -> None:
    shown = [error if math.isfinite(error) and error > 0 else math.nan for error in errors]  # 0 has no logarithm
    axes.plot(steps, shown, line, color=colour, lw=1.6, ms=5, mec="white", mew=0.7, label=label, zorder=3)


def _least_flat(at: DistributionAt, most: int) -> list[int]:
    counts = torch.tensor(at.measures.rank_histogram, dtype=torch.float64)
    uneven = counts.var(dim=1)
    return sorted(uneven.topk(min(most, len(uneven))).indices.tolist())


def _less_state_mean(returns: Tensor) -> Tensor:
    """(B, N) -> (B * N,), so that states of high returns do not hide the order within one."""
    return (returns - returns.mean(dim=1, keepdim=True)).flatten()


def _after(steps: int) -> str:
    return f"after {counted(steps, 'step')}"
