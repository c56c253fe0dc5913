"""The answers as tables of text and in sentences, for the terminal and for the page."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from drift_wm.diagnosis.answers import Answers
from drift_wm.diagnosis.distribution import DistributionMeasures, TwoModes
from drift_wm.diagnosis.value import ELITE_SHARE, Exploitation, ValueMeasures
from drift_wm.wording import counted, value_and_error

TOLERATED_REPLAY_ERROR = 0.01
"""Standard deviations; a simulator of the recording's own world is closer."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    """How to read it."""


def tables(answers: Answers) -> list[Table]:
    """All measures."""
    return [_error_table(answers), _distribution_table(answers), _use_table(answers)]


def verdict(answers: Answers) -> str:
    """The answers in two sentences, or in three where a linear model is better."""
    loop = answers.open_loop
    model, persistence, linear = (curve.overall[-1] for curve in loop.curves)
    text = [
        f"Predicting {counted(loop.steps[-1], 'step')} from its own predictions, the model errs by {number(model)} "
        f"standard deviations ({number(persistence)} if nothing changed)."
    ]
    if linear < model:
        text.append(f"A linear model is better: it errs by {number(linear)}.")
    if answers.value is not None:
        text.append(ranking_sentence(answers.value))
    return " ".join(text)


def ranking_sentence(value: ValueMeasures) -> str:
    """What the ranking of action sequences is worth, or why that cannot be told."""
    correlation, regret = value.model.rank_correlation, value.model.regret
    if math.isnan(regret):
        return (
            "How well it ranks action sequences cannot be told: in each of these situations all of them truly return "
            "the same."
        )
    return (
        f"Its ranking of action sequences has a correlation of {number(correlation)} with that of their true returns "
        f"({number(value.attainable.rank_correlation)} attainable), and its favourite costs {number(regret)} of what "
        "random choice costs."
    )


def cautions(answers: Answers) -> list[str]:
    """What a reader must know before the numbers are believed, and what could not be measured."""
    found = []
    if answers.diverged:
        of = answers.situations + answers.diverged
        found.append(f"{answers.diverged} of {of} situations are left out: their predictions are not finite.")
    if 0 < answers.truth_diverged < answers.situations:
        found.append(
            f"Of the distributions, {answers.truth_diverged} of {answers.situations} situations are left out: the "
            "simulator diverged there."
        )
    error = answers.replay_error
    if error is not None and error > TOLERATED_REPLAY_ERROR:
        found.append(
            f"The recorded next observations lie {number(error)} standard deviations from the nearest that the "
            "simulator samples from the recorded states. Noise of sensors does that; otherwise the task, its action "
            "repeat or its disturbance is not that of the recording."
        )
    found += [
        f"Not measured: {missing.question}. {missing.reason[:1].upper()}{missing.reason[1:]}."
        for missing in answers.unmeasured
    ]
    return found


def number(value: float) -> str:
    """Three significant digits, two below a thousandth; never in scientific notation where the value is large.

    So that seven errors, of up to 50 steps, and their names fit into 80 columns.
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.2g}"


def _error_table(answers: Answers) -> Table:
    loop = answers.open_loop
    rows = [(curve.name, *map(number, curve.overall)) for curve in loop.curves]
    if len(loop.groups) > 1:
        named = zip(loop.groups, loop.curves[0].by_group, strict=True)
        rows += [(f"model: {group}", *map(number, errors)) for group, errors in named]
    return Table(
        title="Error of open-loop prediction",
        header=("after steps", *map(str, loop.steps)),
        rows=tuple(rows),
        note="Root mean square error of the mean of the samples, in standard deviations of the observations. "
        "Persistence: nothing changes. Linear: least squares on other data than these, where there are any.",
    )


def _distribution_table(answers: Answers) -> Table:
    measured = [at.measures for at in answers.distributions]

    def row(name: str, right: str, value: Callable[[DistributionMeasures], str]) -> tuple[str, ...]:
        return (name, *map(value, measured), right)

    rows = [row("energy score", "low", lambda m: number(m.energy_score))]
    if measured[0].energy_distance is not None:
        rows.append(row("energy distance to the truth", "0", _energy_distance))
        rows.append(row("... if nothing changed", "", lambda m: _number_or_dash(m.energy_distance_of_persistence)))
    rows.append(row("spread / error, median entry", "1", lambda m: number(_median(m.spread_skill))))
    rows += [row(f"inside the {level:.0%} interval", f"{level:.0%}", partial(_covered, level)) for level in (0.5, 0.9)]
    modes = measured[0].two_modes
    if modes is not None:
        right = number(modes.weaker_mass_of_truth)
        rows.append(row("weaker of a gust's two ways", right, lambda m: _of_modes(m, lambda two: two.weaker_mass)))
        rows.append(row("between the two ways", "0", lambda m: _of_modes(m, lambda two: two.between)))
    note = "Spread / error below 1, and too few outcomes inside: the prediction is too narrow."
    if measured[0].energy_distance is not None:
        note += " Energy distances are to samples of the simulator, ± standard error over situations."
    return Table(
        title="Predicted distribution",
        header=("after", *(counted(at.steps, "step") for at in answers.distributions), "right"),
        rows=tuple(rows),
        note=note,
    )


def _use_table(answers: Answers) -> Table:
    actions = answers.actions
    rows = [("error factor under exchanged actions", number(actions.ratio), "> 1", "1")]
    rows += _value_rows(answers.value) if answers.value else []
    rows += _exploitation_rows(answers.exploitation) if answers.exploitation else []
    if (warned := answers.uncertainty) is not None:
        rows += [
            (question, number(getattr(warned.disagreement, name)), "1", number(getattr(warned.chance, name)))
            for question, name in (
                ("disagreement warns of large errors, AUROC", "auroc_of_errors"),
                ("disagreement and error, rank correlation", "rank_correlation"),
                ("AUROC: disagreement detects out-of-range states", "auroc_of_strange"),
            )
        ]
    return Table(
        title="Action use, ranking and uncertainty",
        header=("", "value", "ideal", "chance"),
        rows=tuple(rows),
        note=_use_note(answers),
    )


def _use_note(answers: Answers) -> str:
    text = [
        "Chance: what a model scores that ignores actions, or guesses. Exchanged actions are those of another "
        f"situation; the error is that after {counted(answers.actions.steps, 'step')}."
    ]
    if answers.value is not None:
        value = answers.value
        left_out = f" ({value.diverged} left out, where the simulation diverged)" if value.diverged else ""
        text.append(
            f"Ranked are {value.candidates} sequences of {counted(value.horizon, 'step')} in each of "
            f"{counted(value.states, 'state')}{left_out}; regret is the loss by the predicted best, in units of the "
            "loss by random choice. Ideal is what the simulator's own samples score."
        )
    if answers.exploitation is not None:
        found = answers.exploitation
        without = f", without {counted(found.diverged, 'state')} where a return was no number" if found.diverged else ""
        text.append(
            f"A planner that exploits the model's errors predicts more than it realises; plans of "
            f"{counted(found.states, 'state')}{without}."
        )
    if answers.uncertainty is not None:
        text.append(
            "Disagreement is that of the members' means, less what chance in a mean of few samples adds. Errors hold "
            "the world's chance, of which no member can warn. Out of range: one entry of the observation moved by the "
            "whole range of the data."
        )
    return " ".join(text)


def _value_rows(value: ValueMeasures) -> list[tuple[str, str, str, str]]:
    chance = number(max(1, value.candidates // ELITE_SHARE) / value.candidates)
    model, right = value.model, value.attainable
    return [
        ("returns: rank correlation", number(model.rank_correlation), number(right.rank_correlation), "0"),
        ("returns: predicted elites that are elites", number(model.elite_overlap), number(right.elite_overlap), chance),
        ("returns: regret of the predicted best", number(model.regret), number(right.regret), "1"),
    ]


def _exploitation_rows(found: Exploitation) -> list[tuple[str, str, str, str]]:
    return [
        ("plans: predicted less realised return", _with_error(found.excess, found.standard_error), "0", ""),
        ("plans: realised return", number(statistics.fmean(found.realised)), "high", ""),
        ("recorded actions: realised return", number(found.realised_by_recorded), "", ""),
    ]


def _energy_distance(measures: DistributionMeasures) -> str:
    assert measures.energy_distance is not None
    return _with_error(measures.energy_distance, measures.energy_distance_standard_error)


def _covered(level: float, measures: DistributionMeasures) -> str:
    return f"{measures.mean_coverage[measures.levels.index(level)]:.0%}"


def _of_modes(measures: DistributionMeasures, share: Callable[[TwoModes], float]) -> str:
    return number(share(measures.two_modes)) if measures.two_modes else "-"


def _median(values: tuple[float, ...]) -> float:
    """Of the values that are defined."""
    defined = [value for value in values if not math.isnan(value)]
    return statistics.median(defined) if defined else math.nan


def _number_or_dash(value: float | None) -> str:
    return "-" if value is None else number(value)


def _with_error(value: float, error: float | None) -> str:
    return number(value) if error is None or not math.isfinite(value) else value_and_error(value, error)
