"""The record of a diagnosis: what was measured, and why some of it was not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from drift_wm.diagnosis.distribution import DistributionMeasures
from drift_wm.diagnosis.open_loop import ActionSensitivity, OpenLoop
from drift_wm.diagnosis.uncertainty import UncertaintyMeasures
from drift_wm.diagnosis.value import Exploitation, Returns, ValueMeasures


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A question without an answer, and why."""

    question: str
    reason: str


@dataclass(frozen=True, slots=True)
class DistributionAt:
    """The distribution after some steps."""

    steps: int
    measures: DistributionMeasures


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One situation as it may go on, for a picture; the E entries that change."""

    recorded: Tensor
    """(H, E)"""
    samples: Tensor
    """(P, H, E), of the model."""
    truth: Tensor | None
    """(M, H, E), of the simulator."""
    scale: Tensor
    """(E,) standard deviations over the data."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """All that was found out; None where `unmeasured` says why."""

    situations: int
    diverged: int
    """Situations left out because a prediction of them is not finite."""
    entries: tuple[int, ...]
    """E, those of an observation that change, and that all measures are of."""
    open_loop: OpenLoop
    actions: ActionSensitivity
    distributions: tuple[DistributionAt, ...]
    example: Example
    uncertainty: UncertaintyMeasures | None = None
    replay_error: float | None = None
    """Of the simulator against the recording, in standard deviations; should be near 0."""
    truth_diverged: int = 0
    """Situations left out of the distributions because the simulator diverged there."""
    returns: Returns | None = None
    value: ValueMeasures | None = None
    exploitation: Exploitation | None = None
    unmeasured: tuple[Unmeasured, ...] = ()
