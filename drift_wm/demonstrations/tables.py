"""The rows as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from drift_wm.claims import mean_and_error, page
from drift_wm.demonstrations.rivals import ALONE, DRIFTING, POLICIES, RANKINGS, REHEARSED, UNTRAINED, WORLD_MODELS
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.verdicts import Table, interval_over_seeds, succeeded, verdicts
from drift_wm.markdown import table_head, table_line

_POLICIES = [sampling.label(name) for name, rival in POLICIES.items() for sampling in rival.samplings]


def markdown(rows: Sequence[Row]) -> str:
    """Every part's table, and the verdicts."""
    table = Table(rows)
    writers: dict[str, Callable[[Table], list[str]]] = {
        "policies": _policies,
        "ranking": _ranking,
        "robot": _robot,
        "latency": _latency,
        "readers": _readers,
    }
    parts = ["\n".join(write(table)) for part, write in writers.items() if table.of(part)]
    return page(parts, verdicts(rows))


def _policies(table: Table) -> list[str]:
    return [
        "### Policies in closed loop",
        "",
        *_acted(table, "policies", "policy", dict.fromkeys(_POLICIES)),
        "",
        "Network evaluations are those of a chunk of actions; noise is scaled where said, down to the centre. Energy "
        "score: of held-out demonstrations, in standard deviations of the actions; - where none was held out.",
    ]


_QUALITY = (("rank correlation", "rank_correlation"), ("gain", "gain"))


def _ranking(table: Table) -> list[str]:
    lines = ["### Which chunk is executed", "", *_acted(table, "ranking", "executed", (ALONE, *RANKINGS, REHEARSED))]
    if not table.of("ranking", REHEARSED):
        return lines
    cells = [mean_and_error(table.values("ranking", REHEARSED, metric)) for _, metric in _QUALITY]
    return [
        *lines,
        "",
        "How the world model, by predicted return, would have ranked the chunks that the simulator tried out:",
        "",
        *table_head([heading for heading, _ in _QUALITY]),
        table_line(cells),
        "",
        "Gain: what its choice would have earned above the chunks' mean, as a share of the best chunk's.",
    ]


def _acted(table: Table, part: str, what: str, names: Iterable[str]) -> list[str]:
    """Successes and returns, by contender, and what the intervals do not tell."""
    heading = [
        what,
        "network evaluations",
        "success",
        "95 % interval",
        "by seed",
        "mean return",
        "energy score",
    ]
    lines = table_head(heading)
    for name in names:
        for nfe in table.evaluations(part, name):
            rows = table.of(part, name, nfe)
            by_seed = table.successes(part, name, nfe)
            cells = [
                name,
                str(nfe),
                succeeded(by_seed) if by_seed else "-",
                interval_over_seeds(by_seed) or "-",
                ", ".join(str(sum(each)) for each in by_seed) or "-",
                mean_and_error([float(np.mean(row.each["return"])) for row in rows], digits=0),
                mean_and_error(table.values(part, name, "energy_score", nfe)),
            ]
            lines.append(table_line(cells))
    return [*lines, "", "Intervals are over training seeds: Student's of the share that each succeeds in."]


_ROBOT_COLUMNS = (
    ("error, all steps", "error"),
    ("after the last", "error_end"),
    ("of the central future", "central"),
    ("after the last", "central_end"),
    ("spread after the last", "spread_end"),
    ("energy score, all steps", "energy_score"),
    ("after the last", "energy_score_end"),
    ("training, CPU s", "cpu_seconds"),
)


def _robot(table: Table) -> list[str]:
    lines = table_head(["world model", *(heading for heading, _ in _ROBOT_COLUMNS), "seeds"])
    for name in [name for name in (*UNTRAINED, *WORLD_MODELS) if table.of("robot", name)]:
        cells = [mean_and_error(table.values("robot", name, metric)) for _, metric in _ROBOT_COLUMNS]
        lines.append(table_line([name, *cells, str(len(table.of("robot", name)))]))
    return [
        "### A robot's logs, open loop",
        "",
        *lines,
        "",
        "Episodes that no model saw, their logged actions given; in standard deviations of the observations. Errors "
        "are those of the samples' mean.",
    ]


def _latency(table: Table) -> list[str]:
    medians = {(row.contender, row.nfe): float(np.median(row.each["ms"])) for row in table.of("latency")}
    ours = medians.get((DRIFTING, 1))
    lines = table_head(["policy", "network evaluations", "ms a chunk, median", f"times {DRIFTING}"])
    for (name, nfe), median in medians.items():
        times = f"{median / ours:.1f}" if ours else "-"
        lines.append(table_line([name, str(nfe), f"{median:.3f}", times]))
    return ["### Time of a chunk of actions, one thread, interleaved", "", *lines]


def _readers(table: Table) -> list[str]:
    lines = table_head(["reader", "windows a second"])
    for row in table.of("readers"):
        per_second = row.metrics["windows"] / float(np.median(row.each["ms"])) * 1e3
        lines.append(table_line([row.contender, f"{per_second:,.0f}"]))
    return ["### Training windows from memory, one file", "", *lines]
