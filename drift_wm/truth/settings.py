"""What `drift-wm truth` can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift_wm.generators import GeneratorConfig
from drift_wm.requirements import require, require_at_least, require_entries, require_some_of
from drift_wm.truth.rivals import RIVALS, Rival

PARTS = ("laws", "stochastic", "deterministic", "chunks", "risk", "cost")


@dataclass
class TruthSettings:
    """`drift-wm truth`: every generator against known laws and the true simulator; finished units are skipped."""

    run_dir: str | None = None
    """Folder of the whole comparison; the same folder continues it."""
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    """What to compare: `laws` (known distributions), `stochastic` (worlds with gust or slip), `deterministic` (worlds
    without), `chunks` (steps per network evaluation), `risk` (planning), `cost` (of training)."""
    rivals: list[str] = field(default_factory=lambda: list(RIVALS))
    """Generators to compare. Those that no claim is about are trained with the first seed alone."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    """Training seeds: weights, batches and noise; the data are the same."""
    more_seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    """Training seeds of parts `laws`, `deterministic` and `risk`, in place of `seeds`: models there are cheap to
    train, and differ by less than seeds do."""
    steps: int = 5000
    """Training steps of every model; twice as many for the known laws."""
    width: int = 128
    """Units of each hidden layer of every network."""
    chance_shortcut: float = 0.0
    """`model.generator.shortcut` of every network that learns a law or a world of chance; others have its default."""
    chance_ways: int = 2
    """`model.generator.ways` of drifting there; it has one elsewhere, and as the rival `drifting, one way`."""
    transitions: int = 50_000
    """Training transitions of each task, collected by pink noise."""
    states: int = 128
    """Held-out states in which predictions are compared with the simulator."""
    samples: int = 64
    """Predicted and true samples in each of the held-out states."""
    episodes: int = 60
    """Episodes of the planning task, for each model and seed. With only 20, one bad episode would decide the result."""
    workers: int = 0
    """Processes, each with one thread; 0: one for each core."""

    def __post_init__(self) -> None:
        require_entries(self, "seeds", "more_seeds")
        require_some_of(PARTS, "parts", self.parts)
        require_some_of(RIVALS, "rivals", self.rivals)
        require_at_least(1, self, "steps", "width", "episodes", "states", "chance_ways")
        require(0 <= self.chance_shortcut <= 1, "chance_shortcut", self.chance_shortcut, "a number from 0 to 1")
        require(self.samples >= 38, "samples", self.samples, "at least 38: a 90 % interval needs 19, in each half")
        require(self.transitions >= 5000, "transitions", self.transitions, "at least 5000, 10 episodes")
        require_at_least(0, self, "workers")

    def for_chance(self, rival: Rival) -> GeneratorConfig:
        """A rival's network where it learns a law or a world of chance."""
        return rival.sized(self.width, shortcut=self.chance_shortcut, ways=self.chance_ways)
