"""What `drift-wm speed` can be asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from drift_wm.planners.icem import ICEMConfig
from drift_wm.requirements import require, require_at_least, require_some_of
from drift_wm.run_settings import MachineSettings

PARTS = ("decisions", "simulator", "mppi", "batch", "training", "readers", "scaling", "suite")


@dataclass
class SpeedSettings(MachineSettings):
    """`drift-wm speed`: decision times with each kind of model on this machine, and the machine's limit."""

    run_dir: str | None = None
    """Folder of the measurement; parts that it holds are not measured again."""
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    """What to measure: `decisions` (every model on the budgets), `simulator` (one planner iteration in it and in the
    model), `mppi` (beside the package pytorch-mppi, where it is installed), `batch` (environments planned together),
    `training` (steps, beside a plain loop of the same loss), `readers` (windows of a file, beside the package
    robomimic, where it is installed), `scaling` (against candidates and horizon), `suite` (every benchmark task)."""
    budgets: list[str] = field(default_factory=lambda: ["cartpole-swingup:256x50x4", "walker-walk:512x20x6"])
    """Budgets of a decision, each task:CANDIDATESxHORIZONxITERATIONS, with horizons in multiples of 10 decisions."""
    simulator_tasks: list[str] = field(
        default_factory=lambda: ["walker-walk", "humanoid-stand", "quadruped-walk", "cheetah-run", "cartpole-swingup"]
    )
    """Tasks of part `simulator`, at 512 candidates of 20 decisions."""
    environments: int = 16
    """Environments planned together in part `batch`."""
    width: int = 0
    """Units of each hidden layer; 0: the default of the models."""
    against: str | None = None
    """The `ratios.json` of an earlier run: what became slower since, relative to its contenders, is marked."""
    repeats: int = 7
    """Interleaved measurements of each contender, of which the median counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_some_of(PARTS, "parts", self.parts)
        require(bool(self.budgets), "budgets", self.budgets, "at least one, such as walker-walk:512x20x6")
        for budget in self.budgets:
            Budget.read(budget)
        require_at_least(2, self, "environments")
        require_at_least(1, self, "repeats")
        require_at_least(0, self, "width")


@dataclass(frozen=True, slots=True)
class Budget:
    """What one decision of a task may spend."""

    task: str
    candidates: int
    horizon: int
    """Decisions."""
    iterations: int

    @classmethod
    def read(cls, text: str) -> Budget:
        """From task:NxHxI.

        Raises:
            ValueError: it is not of that form, or its horizon is no multiple of 10, the longest chunk compared.
        """
        found = re.fullmatch(r"([\w-]+):(\d+)x(\d+)x(\d+)", text)
        if not found or int(found[3]) % 10 or not int(found[3]):
            raise ValueError(
                f"budgets={text!r}: expected task:candidates x horizon x iterations with a horizon in multiples of 10, "
                "such as walker-walk:512x20x6"
            )
        budget = cls(found[1], int(found[2]), int(found[3]), int(found[4]))
        budget.planner()
        return budget

    def __str__(self) -> str:
        return f"{self.task}, {self.candidates} x {self.horizon} x {self.iterations}"

    def planner(self) -> ICEMConfig:
        """The default planner with this budget, its population constant."""
        return ICEMConfig(
            candidates=self.candidates, horizon=self.horizon, iterations=self.iterations, population_decay=1.0
        )
