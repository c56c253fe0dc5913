"""Ratios of one run, kept from version to version: times are a machine's, how they compare is the software's."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from drift_wm.markdown import table_head, table_line
from drift_wm.speed.contenders import CONTENDERS, OURS
from drift_wm.speed.timing import SpeedRow

RATIOS = "ratios.json"
_LOST = 1.3  # what machines and neighbours change; beyond it, look


def ratios_of(rows: Sequence[SpeedRow]) -> dict[str, float]:
    """How many times as long each contender takes as ours, or as the first of its case, by part, case and name."""
    cases: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        cases[row.part, row.case][row.contender] = row.median
    ratios = {}
    for (part, case), medians in cases.items():
        reference = OURS if OURS in medians else next(iter(medians))
        for name, median in medians.items():
            if name != reference:
                ratios[f"{part}: {case}: {name} / {reference}"] = round(median / medians[reference], 3)
    return ratios


def read_ratios(path: Path) -> dict[str, float]:
    """Those of an earlier run.

    Raises:
        ValueError: the file does not exist, or holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"against={str(path)!r}: {error}; expected the {RATIOS} of an earlier drift-wm speed"
        ) from error
    numbers = isinstance(content, dict) and all(
        isinstance(value, float | int) and value > 0 for value in content.values()
    )
    if not numbers:
        raise ValueError(f"against={str(path)!r}: expected an object of positive ratios by name, as {RATIOS} is")
    return {name: float(value) for name, value in content.items()}


def compared(now: Mapping[str, float], before: Mapping[str, float]) -> str:
    """A table of the ratios that both runs measured, and whether ours was faster."""
    lines = ["### Compared with the earlier run", "", *table_head(["times as long as ours", "earlier", "now", ""])]
    for name in now:
        if name in before:
            mark = "SLOWER" if lost(name, now[name], before[name]) else ""
            lines.append(table_line([name, f"{before[name]:.2f}", f"{now[name]:.2f}", mark]))
    return "\n".join(lines) + "\n"


def lost(name: str, now: float, before: float) -> bool:
    """Whether our ratio worsened by more than noise explains."""
    contender = CONTENDERS.get(name.rpartition(" / ")[0].rpartition(": ")[2])
    if contender is not None and contender.is_ours:
        return now > before * _LOST  # what is divided is ours, too
    return now * _LOST < before
