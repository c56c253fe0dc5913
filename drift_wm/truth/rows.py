"""The truth's raw results, line by line and by case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Row:
    """What one trained model showed in one case."""

    part: str
    case: str
    generator: str
    nfe: int
    """Network evaluations per sample."""
    seed: int
    metrics: dict[str, float]

    @property
    def label(self) -> str:
        """The generator, with its steps where there are several to compare."""
        several = self.generator in ("diffusion", "flow") and self.nfe > 0  # 0: a row that is not about samples
        return f"{self.generator} {self.nfe}" if several else self.generator


class Table:
    """Values of rows by part, case and generator."""

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
        return list(self.by_seed(part, case, label, metric).values())

    def by_seed(self, part: str, case: str, label: str, metric: str) -> dict[int, float]:
        """The same by their seeds."""
        found = self.rows.get((part, case, label), [])
        return {row.seed: row.metrics[metric] for row in found if row.metrics.get(metric) is not None}

    def mean(self, part: str, case: str, label: str, metric: str) -> float:
        """Over seeds; nan where it was not measured."""
        values = self.values(part, case, label, metric)
        return float(np.mean(values)) if values else float("nan")
