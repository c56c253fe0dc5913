"""Angles that wrap: where a full turn is a step from pi to -pi, which a model takes for a leap."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from drift_wm.datasets.episodes import Float32Array, Float64Array

_JUMP = 4.0
"""Radians: a step beyond it may be a turn that was left out."""
_LARGEST, _USUAL = 1.0, 0.5
"""Radians: the largest other step of an angle, and the root mean square of them; speeds and forces that leap do so by
any size, also by those between."""
_NOISE = 0.05
"""Radians that a sensor may add to a step."""


class StepSizes:
    """How far entries (D,) move from row to row, seen an episode at a time."""

    def __init__(self) -> None:
        self._jumps: NDArray[np.int64] = np.zeros((), np.int64)
        self._others: NDArray[np.int64] = np.zeros((), np.int64)
        self._squares: Float64Array = np.zeros(())
        self._largest: Float64Array = np.zeros(())
        self._off: Float64Array = np.zeros(())

    def add(self, obs: Float32Array) -> None:
        """Rows (T, D) that follow each other."""
        steps = np.abs(np.diff(obs.astype(np.float64), axis=0))
        jumps = steps > _JUMP
        others = np.where(jumps, 0.0, steps)
        self._jumps = self._jumps + jumps.sum(axis=0)
        self._others = self._others + (~jumps).sum(axis=0)
        self._squares = self._squares + np.square(others).sum(axis=0)
        self._largest = np.maximum(self._largest, others.max(axis=0))
        self._off = np.maximum(self._off, np.where(jumps, np.abs(steps - math.tau), 0.0).max(axis=0))

    def turns(self, span: Float64Array) -> NDArray[np.int64]:
        """(D,) how often each entry jumps by a turn, more or less the step that it makes anyway; 0: no such angle.

        Args:
            span: (D,) from the lowest to the highest value; of an angle that wraps it is a turn.
        """
        usual = np.sqrt(self._squares / np.maximum(self._others, 1))
        steady = (usual <= _USUAL) & (self._largest <= _LARGEST)
        fits = (self._off <= self._largest + _NOISE) & (span <= math.tau + 2 * _NOISE)
        return np.where(steady & fits, self._jumps, 0)
