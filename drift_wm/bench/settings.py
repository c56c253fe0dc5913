"""What `drift-wm bench` can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift_wm.bench.tasks import SUITES
from drift_wm.requirements import require, require_at_least, require_entries

MAY_GROW = (
    *("tasks", "models", "planners", "seeds", "known", "run"),
    *("reference_random_episodes", "reference_simulator_episodes"),
)
"""What may be asked otherwise of the same folder: each cell has settings of its own to hold to."""

_AXES = {"task": "tasks", "model": "models", "model.generator.name": "models", "planner": "planners", "seed": "seeds"}
"""What tables call a run by, and the setting that lists it."""


@dataclass
class BenchSettings:
    """`drift-wm bench`: tasks x models x planners x seeds, each an online run; finished ones are skipped."""

    run_dir: str | None = None
    """Folder of the whole grid; the same folder continues it, and may be asked for further tasks, models or seeds. The
    table then shows what was asked last."""
    suite: str = ""
    """`dmc`: its ten tasks, each with its own number of frames and planning horizon, ten evaluation episodes and
    published returns to compare with; `gaussian` plans on a future of each member, `diffusion` in five steps. Empty:
    `tasks`, as `overrides` say. `demonstrations` is a comparison with settings of its own: `drift-wm bench
    suite=demonstrations --help`."""
    tasks: list[str] = field(default_factory=list)
    """Tasks (`domain-task` names); empty: those of the suite, or cartpole-swingup. With a suite, some of its tasks."""
    models: list[str] = field(default_factory=lambda: ["drifting", "regression"])
    """World models to compare: names of the `model` group, or of generators of your own that your program registered,
    which have the settings of the default model else."""
    planners: list[str] = field(default_factory=lambda: ["icem"])
    """Planners to compare: names of the `planner` group."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    """Training seeds."""
    overrides: list[str] = field(default_factory=list)
    """Further overrides of every online run, such as `episodes=20`; not of what a cell is called by."""
    known: list[str] = field(default_factory=list)
    """Paths of `results.json` of other grids: cells and references that this grid asks for, too, are taken from them
    instead of being run, if it has the same suite and overrides. If several hold a cell, the last one counts, and one
    that was finished in this grid's own folder before all of them."""
    run: bool = True
    """`false` runs nothing, and makes table, plots and page of the cells that are finished or known."""
    reference_random_episodes: int = 5
    """Episodes of the random policy for each task."""
    reference_simulator_episodes: int = 1
    """Episodes of each planner in the true simulator for each task, as the ceiling. In a suite they have a horizon of
    their own, as the simulator has no critics. An episode of the walker takes a core ten minutes."""
    workers: int = 0
    """Runs at once, each a process with one thread unless `overrides` set `threads`; 0: one for each core."""
    shards: int = 1
    """Shares into which the grid is dealt, one for each machine of a cluster; all write to the same `run_dir`."""
    shard: int = 0
    """Share of the grid to run here, from 0 on. The table holds all cells that are finished, whoever ran them."""

    def __post_init__(self) -> None:
        suites = ", ".join(SUITES)
        require(self.suite in ("", *SUITES), "suite", self.suite, f"empty, demonstrations, or one of {suites}")
        known = [task.name for task in SUITES.get(self.suite, ())]
        self.tasks = self.tasks or known or ["cartpole-swingup"]
        unknown = [task for task in self.tasks if known and task not in known]
        require(not unknown, "tasks", unknown, f"tasks of suite={self.suite}: {', '.join(known)}")
        require_entries(self, "models", "planners", "seeds")
        for override in self.overrides:
            if axis := _AXES.get(override.partition("=")[0].strip()):
                raise ValueError(
                    f"overrides=[{override}]: expected none of what the table names runs by, as something else would "
                    f"run under the names in {axis}=; name it there"
                )
        require_at_least(0, self, "reference_random_episodes", "reference_simulator_episodes", "workers")
        require_at_least(1, self, "shards")
        require(
            0 <= self.shard < self.shards, "shard", self.shard, f"an integer from 0 to shards - 1 = {self.shards - 1}"
        )
        shared = self.shards == 1 or self.run_dir is not None
        require(shared, "run_dir", self.run_dir, "a folder that all shards share")
