"""What `drift-wm truth` can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift_wm.truth.rivals import RIVALS

PARTS = ("laws", "stochastic", "deterministic", "chunks", "risk", "cost")


@dataclass
class TruthSettings:
    """`drift-wm truth`: every generator against known laws and the true simulator; finished units are skipped."""

    run_dir: str | None = None
    """Folder of the whole comparison; the same folder continues it."""
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    """`laws` (known distributions), `stochastic` (gust, slip), `deterministic`, `chunks` (steps per evaluation), `risk`
    (planning), `cost` (of training)."""
    rivals: list[str] = field(default_factory=lambda: list(RIVALS))
    """Which generators. Those that no claim is about are trained with the first seed alone."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    """Training seeds: weights, batches and noise; the data are the same."""
    law_seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    """Training seeds of `laws`, which are cheap."""
    steps: int = 5000
    """Training steps of every model; twice as many for the known laws."""
    width: int = 128
    """Units of each hidden layer of every network."""
    transitions: int = 50_000
    """Training data of each task, collected by pink noise."""
    states: int = 128
    """Held-out states in which predictions are compared with the simulator."""
    samples: int = 64
    """Predicted and true samples of each."""
    episodes: int = 60
    """Of the planning task, for each model and seed. Of 20, a single one that loses much decides what is shown."""
    workers: int = 0
    """Processes, each with one thread; 0: one for each core."""

    def __post_init__(self) -> None:
        for name, known in (("parts", PARTS), ("rivals", tuple(RIVALS))):
            unknown = [value for value in getattr(self, name) if value not in known]
            if unknown or not getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)!r}: expected some of {', '.join(map(repr, known))}")
        for name in ("steps", "width", "episodes", "states"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected an integer of at least 1")
        if self.samples < 38:
            raise ValueError(f"samples={self.samples}: expected at least 38: a 90 % interval needs 19, in each half")
        if self.transitions < 5000:
            raise ValueError(f"transitions={self.transitions}: expected at least 5000, 10 episodes")
        if self.workers < 0:
            raise ValueError(f"workers={self.workers}: expected an integer of at least 0")
        for name in ("seeds", "law_seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)}: expected at least one")
