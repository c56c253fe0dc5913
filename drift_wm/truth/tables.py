"""The truth's rows as tables for people, and what they say of the claims."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from drift_wm.claims import Verdict, mean_and_error, page
from drift_wm.markdown import table_head, table_line
from drift_wm.results import SIMULATOR
from drift_wm.truth.laws import MAJOR_SHARE
from drift_wm.truth.rows import Row

COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "laws": (
        ("energy distance", "energy_distance"),
        ("std ratio", "std_ratio"),
        ("major mode", "major_mass"),
        ("between modes", "between"),
        ("training s", "train_seconds"),
    ),
    "stochastic": (
        ("energy distance", "energy_distance"),
        ("after 10", "energy_distance_10"),
        ("coverage 90 %", "coverage_90"),
        ("after 10", "coverage_90_10"),
        ("spread/skill", "spread_skill"),
        ("after 10", "spread_skill_10"),
        ("weaker mode", "weaker_mode"),
        ("between modes", "between"),
        ("error 1", "error_1"),
        ("spread 1", "spread_1"),
        ("error 20", "error_20"),
        ("training s", "train_seconds"),
    ),
    "deterministic": (
        ("error 1", "expected_1"),
        ("error 20", "expected_20"),
        ("of the mean fed with itself, 20", "central_20"),
        ("of the samples' mean, 1", "error_1"),
        ("20", "error_20"),
        ("spread 1", "spread_1"),
        ("spread 20", "spread_20"),
        ("training s", "train_seconds"),
    ),
    "chunks": (
        ("error 1", "expected_1"),
        ("error 20", "expected_20"),
        ("of the mean fed with itself, 20", "central_20"),
        ("of the samples' mean, 1", "error_1"),
        ("20", "error_20"),
        ("spread 20", "spread_20"),
        ("training s", "train_seconds"),
    ),
    "risk": (("return", "return"), ("share beyond the edge", "beyond")),
    "cost": (("ms a training step", "step_ms"), ("times regression", "ratio")),
}
"""(heading, metric) of each part's table."""

_TITLES = {
    "laws": "Known laws, one outcome per condition",
    "stochastic": "Stochastic worlds, against the simulator's Monte-Carlo",
    "deterministic": "Deterministic worlds",
    "chunks": "Steps per network evaluation, deterministic worlds",
    "risk": "Planning beside an edge in gusts, CVaR",
    "cost": "A training step, one thread",
}


class Table:
    """Mean values of rows by part, case and generator."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in rows:
            self.rows[row.part, row.case, row.label].append(row)

    def cases(self, part: str) -> list[str]:
        """In the order met."""
        return list(dict.fromkeys(case for found, case, _ in self.rows if found == part))

    def labels(self, part: str, case: str) -> list[str]:
        """Generators of a case, in the order met."""
        return [label for found, other, label in self.rows if (found, other) == (part, case)]

    def values(self, part: str, case: str, label: str, metric: str) -> list[float]:
        """Of each seed; empty where it was not measured."""
        found = self.rows.get((part, case, label), [])
        return [row.metrics[metric] for row in found if row.metrics.get(metric) is not None]

    def mean(self, part: str, case: str, label: str, metric: str) -> float:
        """Over seeds; nan where it was not measured."""
        values = self.values(part, case, label, metric)
        return float(np.mean(values)) if values else float("nan")


def markdown(rows: Sequence[Row]) -> str:
    """Every part's table, mean and standard error over seeds, and the verdicts."""
    table = Table(rows)
    parts = [_part(table, part) for part in COLUMNS if table.cases(part)]
    return page(parts, verdicts(rows))


def _part(table: Table, part: str) -> str:
    columns = COLUMNS[part]
    header = ["case", "generator", *(heading for heading, _ in columns), "seeds"]
    lines = [f"### {_TITLES[part]}", "", *table_head(header)]
    for case in table.cases(part):
        for label in table.labels(part, case):
            cells = [_cell(table.values(part, case, label, metric)) for _, metric in columns]
            lines.append(table_line([case, label, *cells, str(len(table.rows[part, case, label]))]))
    if held := _held(table, part):
        told = "Predictions that diverged and were clipped at 100 standard deviations"
        lines += ["", f"{told}: {'; '.join(held)}."]
    return "\n".join(lines)


def _held(table: Table, part: str) -> list[str]:
    """Whose errors and distances would be larger, or infinite, and how much of what it predicted that concerns."""
    shares = {
        f"{label} on {case}": max(
            (value for metric in ("diverged", "diverged_10") for value in table.values(part, case, label, metric)),
            default=0.0,
        )
        for case in table.cases(part)
        for label in table.labels(part, case)
    }
    return [f"{100 * share:.2g} % of {who} at most" for who, share in shares.items() if share > 0]


def _cell(values: Sequence[float]) -> str:
    return mean_and_error(values, digits=1 if values and abs(np.mean(values)) >= 10 else 3)


_DUELS = (
    ("drifting", "regression"),
    ("drifting", "gaussian, one network"),
    ("drifting", "gaussian"),
    ("drifting ensemble", "gaussian"),
)
"""Who is claimed to be nearer to the truth than whom; `gaussian` has five networks, as has the ensemble."""


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The claims that the rows at hand can judge."""
    table = Table(rows)
    found: list[Verdict] = []
    judges: tuple[tuple[str, Callable[[Table], list[Verdict]]], ...] = (
        ("laws", _laws),
        ("stochastic", _stochastic),
        ("deterministic", _deterministic),
        ("risk", _risk),
        ("cost", _cost),
    )
    for part, judge in judges:
        if any("drifting" in table.labels(part, case) for case in table.cases(part)):
            found += judge(table)
    return found


def _laws(table: Table) -> list[Verdict]:
    ratios = table.values("laws", "gaussian", "drifting", "std_ratio")
    masses = table.values("laws", "two modes 80/20", "drifting", "major_mass")
    found = [
        Verdict("std ratio on the Gaussian within 0.95-1.05, every seed", _span(ratios), _within(ratios, 0.95, 1.05)),
        Verdict(
            "mass of the major mode 0.80 ± 0.02, every seed",
            _span(masses),
            _within(masses, MAJOR_SHARE - 0.02, MAJOR_SHARE + 0.02),
        ),
    ]
    own, other = (
        sum(table.mean("laws", case, label, "energy_distance") for case in table.cases("laws"))
        for label in ("drifting", "diffusion 50")
    )
    if not math.isnan(other):
        claim = "energy distance, mean over laws, at most 1.5 times diffusion's with 50 steps"
        found.append(Verdict(claim, f"{own / other:.2f} times", own <= 1.5 * other))
    return found


def _stochastic(table: Table) -> list[Verdict]:
    found = []
    for case in table.cases("stochastic"):
        distance = {
            label: table.mean("stochastic", case, label, "energy_distance")
            for label in table.labels("stochastic", case)
        }
        own = distance["drifting"]
        for name, rival in _DUELS:
            if {name, rival} <= distance.keys():
                shown = f"{distance[name]:.3f} against {distance[rival]:.3f}"
                claim = f"{case}: energy distance of {name} below that of {rival}"
                found.append(Verdict(claim, shown, distance[name] < distance[rival]))
        multi = [distance[label] for label in ("diffusion 5", "diffusion 20", "diffusion 100") if label in distance]
        if multi:
            shown = f"{own / min(multi):.2f} times"
            claim = f"{case}: energy distance at most 1.1 times that of the best diffusion"
            found.append(Verdict(claim, shown, own <= 1.1 * min(multi)))
        for metric, low, high in (("coverage_90", 0.85, 0.95), ("spread_skill", 0.9, 1.1)):
            for steps, suffix in (("one step", ""), ("ten steps", "_10")):
                values = table.values("stochastic", case, "drifting", metric + suffix)
                claim = f"{case}: {metric.replace('_', ' ')} of {steps} within {low}-{high}, mean over seeds"
                ceiling = table.mean("stochastic", case, SIMULATOR, metric + suffix)
                mean = table.mean("stochastic", case, "drifting", metric + suffix)
                shown = f"{mean:.3f}, seeds from {_span(values)}"
                shown += "" if math.isnan(ceiling) else f"; the simulator itself: {ceiling:.3f}"
                found.append(Verdict(claim, shown, _within([mean], low, high)))
    return found


def _deterministic(table: Table) -> list[Verdict]:
    found = []
    for case in table.cases("deterministic"):
        for metric, whose, bounds in (
            ("expected", "the mean", ((1, 1.05), (20, 1.0))),
            ("central", "the mean fed with itself", ((20, 1.0),)),  # after one step it is the mean
            ("error", "the samples' mean", ((1, 1.05), (20, 1.0))),
        ):
            for steps, most in bounds:
                names = ("drifting", "regression")
                own, other = (table.mean("deterministic", case, name, f"{metric}_{steps}") for name in names)
                if math.isnan(other):
                    continue
                claim = f"{case}: error of {whose} after {steps} at most {most} times regression's"
                found.append(Verdict(claim, f"{own / other:.3f} times", own <= most * other))
    return found


def _risk(table: Table) -> list[Verdict]:
    found = []
    for case in table.cases("risk"):
        intervals = {label: _episode_interval(table, case, label) for label in table.labels("risk", case)}
        for name, rival in _DUELS:
            if {name, rival} <= intervals.keys():
                (low, high), (_, other) = intervals[name], intervals[rival]
                shown = f"95 % intervals {low:.2f} to {high:.2f} against {intervals[rival][0]:.2f} to {other:.2f}"
                claim = f"{case}: return of {name} above that of {rival}, intervals apart"
                found.append(Verdict(claim, shown, low > other))
                found += _paired(table, case, name, rival)
    return found


def _paired(table: Table, case: str, name: str, rival: str) -> list[Verdict]:
    """Seed by seed, whose models meet the same resets and gusts: what is due to these falls out of the difference."""
    own, other = ({row.seed: row.metrics["return"] for row in table.rows["risk", case, each]} for each in (name, rival))
    differences = [own[seed] - other[seed] for seed in own if seed in other]
    if len(differences) < 2:
        return []
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    shown = f"{np.mean(differences):.2f}, 95 % interval over {len(differences)} models of each {low:.2f} to {high:.2f}"
    return [Verdict(f"{case}: return of {name} above that of {rival} in the same episodes", shown, bool(low > 0))]


def _episode_interval(table: Table, case: str, label: str) -> tuple[float, float]:
    """Of the mean over all episodes of the models at hand; it does not tell how other training seeds would do.

    Nan for a single episode, which tells nothing of its spread.
    """
    rows = table.rows["risk", case, label]
    returns = [value for row in rows for name, value in row.metrics.items() if name.startswith("return_")]
    if len(returns) == 1:
        return math.nan, math.nan
    if len(set(returns)) == 1:
        return returns[0], returns[0]  # the correction for bias is not defined here
    # `random_state` is the name that every supported SciPy knows; `rng` came with 1.15.
    found = stats.bootstrap((returns,), np.mean, random_state=np.random.default_rng(0)).confidence_interval
    return float(found.low), float(found.high)


def _cost(table: Table) -> list[Verdict]:
    ratios = [table.mean("cost", case, "drifting", "ratio") for case in table.cases("cost")]
    return [Verdict("a training step takes at most 2 times regression's", _span(ratios), max(ratios) <= 2.0)]


def _within(values: Sequence[float], low: float, high: float) -> bool:
    return bool(values) and min(values) >= low and max(values) <= high


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}" if values else "not measured"
