"""The measured times as tables for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from drift_wm.markdown import table_head, table_line
from drift_wm.speed.breakdown import SHARES
from drift_wm.speed.contenders import OURS
from drift_wm.speed.readers import OUR_READER
from drift_wm.speed.timing import SpeedRow
from drift_wm.speed.training_loops import OUR_TRAINING

Rows = dict[str, list[SpeedRow]]
"""Of one part, by case."""


def markdown(rows: Sequence[SpeedRow]) -> str:
    """Every part's table, and above them what a number is."""
    writers: dict[str, Callable[[Rows], list[str]]] = {
        "decisions": _decisions,
        "simulator": _simulator,
        "mppi": _mppi,
        "batch": _batch,
        "training": _training,
        "readers": _readers,
        "scaling": _scaling,
        "suite": _suite,
    }
    parts = ["Medians of interleaved repetitions ± half the distance between their quartiles."]
    for part, write in writers.items():
        cases: Rows = defaultdict(list)
        for row in rows:
            if row.part == part:
                cases[row.case].append(row)
        if cases:
            parts.append("\n".join(write(cases)))
    return "\n\n".join(parts) + "\n"


def ratio(rows: Sequence[SpeedRow], slower: str, faster: str) -> float:
    """How many times as long one contender takes as another in the same case."""
    medians = {row.contender: row.median for row in rows}
    return medians[slower] / medians[faster]


def _decisions(cases: Rows) -> list[str]:
    lines = ["### A decision, by model", ""]
    for case, rows in cases.items():
        lines += _table(
            ["contender", "ms", f"times {OURS}"],
            [[row.contender, _ms(row), f"{ratio(rows, row.contender, OURS):.2f}"] for row in rows],
            title=case,
        )
        limit = min((row for row in rows if "flops" in row.facts), key=lambda row: row.median)
        lines += [
            f"The network's {limit.facts['flops'] / 1e9:.2f} GFLOP take {limit.median:.2f} ms alone "
            f"({limit.facts['flops'] / limit.median / 1e6:.0f} GFLOP/s).",
            "",
        ]
        for row in rows:
            if "network" in row.facts:
                whole = sum(row.facts[name] for name in SHARES)
                shown = ", ".join(f"{name} {row.facts[name]:.2f} ms" for name in SHARES)
                lines += [
                    f"Where the time of {row.contender} goes: {shown}; outside the network "
                    f"{1 - row.facts['network'] / whole:.0%}. A decision reaches {limit.median / row.median:.0%} of "
                    "the products' speed.",
                    "",
                ]
    return lines[:-1]


def _simulator(cases: Rows) -> list[str]:
    return ["### One planner iteration, in the simulator and in the model", "", *_comparison(cases)]


def _mppi(cases: Rows) -> list[str]:
    return _beside(cases, OURS, title="MPPI, ours and another package's", what="contender")


def _training(cases: Rows) -> list[str]:
    return _beside(cases, OUR_TRAINING, title="A training step", what="loop")


def _readers(cases: Rows) -> list[str]:
    lines = ["### Training windows of a file, from memory", ""]
    for case, rows in cases.items():
        body = [
            [
                row.contender,
                _ms(row),
                f"{row.facts['windows'] / row.median * 1e3:,.0f}",
                f"{ratio(rows, row.contender, OUR_READER):.1f}",
            ]
            for row in rows
        ]
        lines += _table(["reader", "ms", "windows a second", f"times {OUR_READER}"], body, title=case)
    return lines[:-1]


def _beside(cases: Rows, ours: str, *, title: str, what: str) -> list[str]:
    """Each case's contenders, and how many times as long as ours they take."""
    lines = [f"### {title}", ""]
    for case, rows in cases.items():
        body = [[row.contender, _ms(row), f"{ratio(rows, row.contender, ours):.2f}"] for row in rows]
        lines += _table([what, "ms", f"times {ours}"], body, title=case)
    return lines[:-1]


def _batch(cases: Rows) -> list[str]:
    return ["### Several environments, together and one by one", "", *_comparison(cases)]


def _comparison(cases: Rows) -> list[str]:
    """Two contenders per case: the first, the second, and how many times as long the second takes."""
    first, second = (row.contender for row in next(iter(cases.values())))
    body = [[case, _ms(a), _ms(b), f"{b.median / a.median:.1f}"] for case, (a, b) in cases.items()]
    return _table(["case", f"{first}, ms", f"{second}, ms", "ratio"], body)[:-1]


def _scaling(cases: Rows) -> list[str]:
    names = [row.contender for row in next(iter(cases.values()))]
    body = [[case, *(_ms(row) for row in rows)] for case, rows in cases.items()]
    return ["### One iteration, against candidates and horizon, ms", "", *_table(["budget", *names], body)[:-1]]


def _suite(cases: Rows) -> list[str]:
    body = []
    for case, (row,) in cases.items():
        period = row.facts["decision_seconds"] * 1e3
        body.append([case, _ms(row), f"{period:.0f}", "yes" if row.median <= period else "NO"])
    heading = ["task", "decision, ms", "time between decisions, ms", "in time"]
    return ["### The default planner on every benchmark task", "", *_table(heading, body)[:-1]]


def _table(heading: Sequence[str], body: Sequence[Sequence[str]], *, title: str = "") -> list[str]:
    lines = [f"**{title}**", ""] if title else []
    lines += [*table_head(heading), *(table_line(cells) for cells in body), ""]
    return lines


def _ms(row: SpeedRow) -> str:
    digits = 1 if row.median >= 10 else 2
    median = f"{row.median:.{digits}f}"
    return median if row.spread is None else f"{median} ± {row.spread:.{digits}f}"
