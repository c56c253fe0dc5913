"""The truth's rows as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drift_wm.claims import mean_and_error, page
from drift_wm.markdown import table_head, table_line
from drift_wm.truth.rows import Row, Table
from drift_wm.truth.verdicts import verdicts

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
