"""Results of evaluations: records that become tables, JSON and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Returns of one policy over several episodes."""

    name: str
    """What acted, as people call it: "random", "drifting world model", "true simulator"."""
    returns: tuple[float, ...]
    """Undiscounted return of each episode."""
    seeds: tuple[int, ...]
    """Reset seed of each episode."""
    decision_ms_p50: float
    """Median milliseconds of one decision."""
    decision_ms_p95: float
    environments_per_decision: int
    """How many environments each of those decisions was for."""
    note: str = ""
    """What a reader must know to compare, e.g. fewer episodes than the other rows."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean; None for a single episode."""
        return standard_error(self.returns)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the derived ones included."""
        return {
            **asdict(self),
            "mean": self.mean,
            "standard_error": self.standard_error,
            "n": len(self.returns),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """The inverse of `as_dict`, also of what JSON made of it."""
        own = {item.name: values[item.name] for item in fields(cls)}
        return cls(**{**own, "returns": tuple(own["returns"]), "seeds": tuple(own["seeds"])})


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One episode of training."""

    frames: int
    """Environment frames (action repeat included) seen when the episode ended."""
    value: float
    """Its return, exploration included; scaled to a full episode where it was cut short."""
    source: str
    """Who acted: "random" or "planner"."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean; None for a single value."""
    n = len(values)
    return float(np.std(values, ddof=1) / n**0.5) if n > 1 else None


def summarise(
    name: str,
    returns: Sequence[float],
    seeds: Sequence[int],
    decision_ms: Sequence[float],
    *,
    environments: int,
    note: str = "",
) -> Evaluation:
    """An `Evaluation` of recorded episodes; `decision_ms` are the milliseconds of every decision."""
    p50, p95 = np.percentile(decision_ms, [50, 95])
    return Evaluation(name, tuple(returns), tuple(seeds), float(p50), float(p95), environments, note)
