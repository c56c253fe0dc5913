"""Results of evaluations: records that become tables, JSON and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

CONFIDENCE = 0.95
"""Of the interval of a success rate."""
RANDOM, NOISE, SIMULATOR, SCRIPTED = "random", "noise", "true simulator", "scripted"
"""What tables call those who act without a learned model."""


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
    successes: tuple[bool, ...] | None = None
    """Whether each episode solved the task, where the world tells."""

    @property
    def success_rate(self) -> float | None:
        """Share of the episodes that solved the task."""
        return None if self.successes is None else sum(self.successes) / len(self.successes)

    @property
    def success_interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of that share."""
        return success_interval(self.successes or ())

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean; None for a single episode."""
        return standard_error(self.returns)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the derived ones included; those of success only where the world tells of it."""
        values = {
            **asdict(self),
            "mean": self.mean,
            "standard_error": self.standard_error,
            "n": len(self.returns),
        }
        if self.successes is None:
            del values["successes"]
            return values
        return values | {"success_rate": self.success_rate, "success_interval": self.success_interval}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """The inverse of `as_dict`, also of what JSON made of it."""
        own = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        own |= {name: tuple(own[name]) for name in ("returns", "seeds", "successes") if name in own}
        return cls(**own)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One episode of training."""

    frames: int
    """Environment frames (action repeat included) seen when the episode ended."""
    value: float
    """Its return, exploration included; scaled to a full episode where it was cut short."""
    source: str
    """Who acted: "noise" or "planner"; "random" stands for noise in runs of earlier versions."""
    cut: bool = False
    """Whether it was cut short, and its return scaled."""


def success_interval(successes: Sequence[bool]) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share, which holds its level for few episodes, and for shares near 0 and 1.

    None without episodes.
    """
    if not successes:
        return None
    interval = stats.binomtest(sum(successes), len(successes)).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def share_interval(successes: Sequence[Sequence[bool]]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean share of successes, within 0 and 1, by those of each training seed.

    That of all their episodes together would be too narrow, as episodes of one seed have its model in common; but where
    shares are the same with all seeds it is Wilson's of all episodes, as that is no certainty. None of fewer than two.
    """
    shares = [sum(of_seed) / len(of_seed) for of_seed in successes]
    if len(shares) < 2:
        return None
    if min(shares) == max(shares):
        return success_interval([each for of_seed in successes for each in of_seed])
    low, high = stats.ttest_1samp(shares, 0).confidence_interval(CONFIDENCE)
    return max(0.0, float(low)), min(1.0, float(high))


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
    successes: Sequence[bool] | None = None,
) -> Evaluation:
    """An `Evaluation` of recorded episodes; `decision_ms` are the milliseconds of every decision."""
    p50, p95 = np.percentile(decision_ms, [50, 95])
    return Evaluation(
        name,
        tuple(returns),
        tuple(seeds),
        float(p50),
        float(p95),
        environments,
        note,
        None if successes is None else tuple(successes),
    )
