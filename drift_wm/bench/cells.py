"""The runs of a grid and what they are compared with, what came of both, and files of that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

NO_PLANNER = "-"

LAST = 0.2  # of training, in which no evaluation of a steady run falls below half of the best


@dataclass(frozen=True, slots=True)
class CellResult:
    """What one run of the grid reached."""

    task: str
    model: str
    planner: str
    seed: int
    frames: int
    """Collected for training, action repeat included."""
    returns: tuple[float, ...]
    """Of the evaluation episodes of the final model."""
    decision_ms: float
    """Median time of a decision for one environment."""
    learning_seconds: float | None
    """What it took to learn, evaluations on the way included, stops left out; None where that was not kept."""
    progress: tuple[tuple[int, tuple[float, ...]], ...]
    """Frames, and returns of the evaluation episodes, on the way."""
    commit: str | None = None
    """Revision of the code that ran it, where it is known."""

    @classmethod
    def of(cls, task: str, model: str, planner: str, seed: int, results: dict[str, Any]) -> CellResult:
        """From what `drift-wm online` wrote."""
        return cls(
            task,
            model,
            planner,
            seed,
            results["frames"],
            tuple(results["evaluations"][0]["returns"]),
            results["decision_ms"]["p50"],
            results["learning_seconds"],
            tuple((point["frames"], tuple(point["returns"])) for point in results["progress"]),
            results.get("environment", {}).get("git_commit"),
        )

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> CellResult:
        """The inverse of `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or not what it should be.
        """
        return cls(
            str(found["task"]),
            str(found["model"]),
            str(found["planner"]),
            int(found["seed"]),
            int(found["frames"]),
            _floats(found["returns"]),
            float(found["decision_ms"]),
            None if found["learning_seconds"] is None else float(found["learning_seconds"]),
            tuple((int(frames), _floats(returns)) for frames, returns in found["progress"]),
            found.get("commit"),
        )

    @property
    def mean(self) -> float:
        """Return of the final model."""
        return float(np.mean(self.returns))

    @property
    def steady(self) -> bool | None:
        """Whether no evaluation in the last fifth of training lies below half of the best; None without evaluations."""
        if not self.progress:
            return None
        means = {frames: float(np.mean(returns)) for frames, returns in self.progress}
        late = [value for frames, value in means.items() if frames >= (1 - LAST) * self.frames]
        best = max(*means.values(), self.mean)
        return min([*late, self.mean]) >= best - 0.5 * abs(best)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"mean": self.mean, "steady": self.steady}


@dataclass(frozen=True, slots=True)
class Reference:
    """What the runs of a task are compared with: chance, or a planner in the true simulator."""

    task: str
    name: str
    planner: str
    """`NO_PLANNER` of chance."""
    returns: tuple[float, ...]
    """Of its episodes."""

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Reference:
        """From its fields as JSON.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or not what it should be.
        """
        return cls(str(found["task"]), str(found["name"]), str(found["planner"]), _floats(found["returns"]))


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the grid."""

    task: str
    model: str
    planner: str
    seed: int

    @classmethod
    def of(cls, result: CellResult) -> Cell:
        """The one that a result is of."""
        return cls(result.task, result.model, result.planner, result.seed)

    @property
    def folder(self) -> Path:
        """Below the folder of the grid."""
        return Path(self.task) / f"{self.model}-{self.planner}" / f"seed{self.seed}"


@dataclass(frozen=True, slots=True)
class ReferenceCell:
    """One evaluation that the runs of a task are compared with."""

    task: str
    name: str
    planner: str

    @classmethod
    def of(cls, result: Reference) -> ReferenceCell:
        """The one that a result is of."""
        return cls(result.task, result.name, result.planner)

    @property
    def folder(self) -> Path:
        """Below the folder of the grid."""
        name = self.name.replace(" ", "-")
        return Path(self.task) / (name if self.planner == NO_PLANNER else f"{name}-{self.planner}")


@dataclass(frozen=True, slots=True)
class GridResults:
    """All that a grid has found."""

    cells: tuple[CellResult, ...]
    references: tuple[Reference, ...] = ()
    asked: tuple[str, tuple[str, ...]] | None = None
    """Suite and overrides that all of them ran with, where a file tells."""


def read_grid(path: Path) -> GridResults:
    """What a `results.json` holds that `bench` wrote.

    Raises:
        ValueError: no such file, or not such a file.
    """
    remedy = "expected a results.json that `drift-wm bench` wrote"
    if not path.is_file():
        raise ValueError(f"known={path}: no such file; {remedy}")
    try:
        found = json.loads(path.read_text())
        settings = found.get("settings")
        return GridResults(
            tuple(CellResult.from_dict(cell) for cell in found["cells"]),
            tuple(Reference.from_dict(reference) for reference in found.get("references", [])),
            asked=settings and (str(settings["suite"]), tuple(map(str, settings["overrides"]))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"known={path}: {type(error).__name__}: {error}; {remedy}") from error


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not found or not np.isfinite(found).all():
        raise ValueError(f"{found}: expected one finite return or more")
    return found
