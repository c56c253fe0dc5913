"""What the comparisons of `drift-wm truth` and `bench suite=demonstrations` write alike: claims and cells of tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from drift_wm.results import standard_error
from drift_wm.wording import magnitude

_MOST_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, and whether the rows bear it out."""

    claim: str
    found: str
    holds: bool


def page(tables: Iterable[str], verdicts: Iterable[Verdict]) -> str:
    """The tables, and the claims below them, as Markdown."""
    lines = [f"* {'holds' if each.holds else 'FAILS'}: {each.claim}. Found: {each.found}" for each in verdicts]
    return "\n\n".join([*tables, "### Claims\n\n" + "\n".join(lines)]) + "\n"


def mean_and_error(values: Sequence[float], *, digits: int = 3) -> str:
    """Mean and standard error over seeds; a dash where nothing was measured.

    With more decimals, up to six, where `digits` of them would show nothing of the error, or of a value alone.
    """
    if not values:
        return "-"
    mean, error = float(np.mean(values)), standard_error(values)
    telling = abs(mean) if error is None else error
    needed = -magnitude(telling)
    decimals = max(digits, needed) if needed <= _MOST_DECIMALS else digits
    return " ± ".join(f"{x:z.{decimals}f}" for x in (mean, error) if x is not None)
