"""What the truth's rows say of the claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from drift_wm.claims import Verdict
from drift_wm.results import SIMULATOR
from drift_wm.truth.laws import MAJOR_SHARE
from drift_wm.truth.rows import Row, Table

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
    own, other = (_over_laws(table, label) for label in ("drifting", "diffusion 50"))
    if own and other:
        claim = "energy distance, mean over laws, at most 1.5 times diffusion's with 50 steps"
        found.append(_compared(claim, own, other, most=1.5))
    return found


def _over_laws(table: Table, label: str) -> dict[int, float]:
    """The mean energy distance by seed; of none that lacks a law."""
    laws = [table.by_seed("laws", case, label, "energy_distance") for case in table.cases("laws")]
    return {seed: float(np.mean([law[seed] for law in laws])) for seed in laws[0] if all(seed in law for law in laws)}


def _compared(
    claim: str, own: dict[int, float], other: dict[int, float], *, most: float, strictly: bool = False
) -> Verdict:
    """Whether the mean is at most so many times the other's, and whether the seeds of both can tell.

    Args:
        claim: that it is.
        own: by seed.
        other: by seed; a distance that is estimated without bias may be below zero.
        most: factor.
        strictly: whether it must be less.
    """
    mean, bound = _mean(own), most * _mean(other)
    beyond = [value - most * other[seed] for seed, value in own.items() if seed in other]
    unsure = f", which {len(beyond)} seeds cannot tell from {most:g}" if _interval_holds_zero(beyond) else ""
    shown = f"{mean / _mean(other):.3f} times{unsure}"
    return Verdict(claim, shown, mean < bound if strictly else mean <= bound)


def _mean(by_seed: dict[int, float]) -> float:
    """Nan of nothing."""
    return float(np.mean(list(by_seed.values()))) if by_seed else math.nan


def _interval(differences: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of at least two."""
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    return float(low), float(high)


def _interval_holds_zero(differences: Sequence[float]) -> bool:
    """Whether the mean's does; of one, or of equal ones, none is known."""
    if len(set(differences)) < 2:
        return False
    low, high = _interval(differences)
    return low <= 0 <= high


def _stochastic(table: Table) -> list[Verdict]:
    found = []
    for case in table.cases("stochastic"):
        distance = {
            label: table.by_seed("stochastic", case, label, "energy_distance")
            for label in table.labels("stochastic", case)
        }
        for name, rival in _DUELS:
            if {name, rival} <= distance.keys():
                claim = f"{case}: energy distance of {name} below that of {rival}"
                found.append(_compared(claim, distance[name], distance[rival], most=1.0, strictly=True))
        multi = [distance[label] for label in ("diffusion 5", "diffusion 20", "diffusion 100") if label in distance]
        if multi:
            best = min(multi, key=_mean)
            claim = f"{case}: energy distance at most 1.1 times that of the best diffusion"
            found.append(_compared(claim, distance["drifting"], best, most=1.1))
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
                own, other = (table.by_seed("deterministic", case, name, f"{metric}_{steps}") for name in names)
                if own and other:
                    claim = f"{case}: error of {whose} after {steps} at most {most} times regression's"
                    found.append(_compared(claim, own, other, most=most))
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
    own, other = (table.by_seed("risk", case, each, "return") for each in (name, rival))
    differences = [own[seed] - other[seed] for seed in own if seed in other]
    if len(differences) < 2:
        return []
    low, high = _interval(differences)
    shown = f"{np.mean(differences):.2f}, 95 % interval over {len(differences)} models of each {low:.2f} to {high:.2f}"
    return [Verdict(f"{case}: return of {name} above that of {rival} in the same episodes", shown, low > 0)]


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
    found = []
    for name in ("drifting", "drifting, one way"):
        ratios = [value for case in table.cases("cost") for value in table.values("cost", case, name, "ratio")]
        if ratios:
            claim = f"a training step of {name} takes at most 2 times regression's"
            found.append(Verdict(claim, _span(ratios), max(ratios) <= 2.0))
    return found


def _within(values: Sequence[float], low: float, high: float) -> bool:
    return bool(values) and min(values) >= low and max(values) <= high


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}" if values else "not measured"
