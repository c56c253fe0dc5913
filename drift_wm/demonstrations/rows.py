"""One line of the comparison's raw results."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """What one contender showed with one training seed."""

    part: str
    contender: str
    """What acted, predicted or was timed, as tables call it."""
    nfe: int
    """Network evaluations per sample; 0 where there is no network."""
    seed: int
    metrics: dict[str, float]
    each: dict[str, list[float]] = field(default_factory=dict)
    """Values of every episode or repetition, by name: `success` (0 or 1), `return`, `ms`."""
