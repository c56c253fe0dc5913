"""What `drift-wm bench suite=demonstrations` can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift_wm.demonstrations.rivals import LONGEST_CHUNK, POLICIES, WORLD_MODELS
from drift_wm.requirements import require, require_at_least, require_entries, require_some_of

PARTS = ("policies", "ranking", "robot", "latency", "readers")
NEEDS = {"policies": "door", "ranking": "door", "robot": "robot"}
"""Setting that holds a part's data."""
DATA = {
    "door": "an HDF5 file of demonstrations with rewards, such as Adroit's: door=door.hdf5",
    "robot": "the folder of a LeRobot dataset, or another file of a robot's logs: robot=FOLDER",
}


@dataclass
class DemonstrationsSettings:
    """`drift-wm bench suite=demonstrations`: the generators on logged demonstrations; finished units are skipped."""

    run_dir: str | None = None
    """Folder of the whole comparison; the same folder continues it."""
    parts: list[str] = field(default_factory=list)
    """What to compare: `policies` (in closed loop), `ranking` (of their chunks by a world model), `robot` (open-loop
    errors of world models), `latency` (of a chunk of actions), `readers` (beside robomimic's). Empty: all whose data
    are given and whose packages are installed; the others are named."""
    door: str = ""
    """HDF5 file of demonstrations in `task`, for `policies` and `ranking`."""
    robot: str = ""
    """LeRobot folder of a robot's logs, for `robot`. No simulator is needed."""
    task: str = "gymnasium_robotics:AdroitHandDoor-v1"
    """World of `door`, with action repeat 1: a name of gymnasium, or a `domain-task` of the dm_control suite."""
    policies: list[str] = field(default_factory=lambda: list(POLICIES))
    """Generators that act as policies."""
    world_models: list[str] = field(default_factory=lambda: list(WORLD_MODELS))
    """Generators that predict the robot."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    """Training seeds: weights, batches, noise and, of `door`, the demonstrations that are held out."""
    policy_seeds: list[int] = field(default_factory=lambda: list(range(1, 11)))
    """Those of the policies that are compared with each other, in place of `seeds`: a third of a policy's successes
    may be due to its seed."""
    policy_steps: int = 5000
    """Training steps of every policy, and of the world model that ranks."""
    policy_width: int = 256
    """Units of each hidden layer of every policy, and of the world model that ranks."""
    episodes: int = 50
    """Episodes of every policy and seed, on reset seeds apart from all training."""
    proposals: int = 16
    """Chunks that the world model ranks."""
    robot_training: int = 26
    """Episodes of `robot` to learn from, the first ones; the others validate."""
    robot_steps: int = 2000
    """Training steps of every model of the robot."""
    robot_weight_decay: float = 1.0
    """Weight decay of every model of the robot: few episodes are learned by heart without much of it
    (docs/demonstrations/attempts.md)."""
    robot_width: int = 128
    """Units of each hidden layer of every model of the robot."""
    robot_horizon: int = 30
    """Steps that are predicted open loop, a multiple of 10: at 30 rows a second, one second."""
    repeats: int = 15
    """Interleaved measurements of each time, of which the median counts."""
    workers: int = 0
    """Processes, each with one thread; 0: one for each core."""

    def __post_init__(self) -> None:
        require_entries(self, "seeds", "policy_seeds")
        require_some_of(PARTS, "parts", self.parts, may_be_empty=True)
        require_some_of(POLICIES, "policies", self.policies)
        require_some_of(WORLD_MODELS, "world_models", self.world_models)
        for part in self.parts:
            if data := NEEDS.get(part):
                require(bool(getattr(self, data)), data, "", f"for part {part!r} {DATA[data]}")
        require_at_least(1, self, "policy_steps", "policy_width", "episodes", "repeats")
        require_at_least(1, self, "robot_training", "robot_steps", "robot_width", "robot_horizon")
        whole = f"a multiple of {LONGEST_CHUNK}, as one network evaluation predicts so many"
        require(self.robot_horizon % LONGEST_CHUNK == 0, "robot_horizon", self.robot_horizon, whole)
        require(self.proposals >= 2, "proposals", self.proposals, "at least 2 chunks to choose among")
        require(self.robot_weight_decay >= 0, "robot_weight_decay", self.robot_weight_decay, "a number of at least 0")
        require_at_least(0, self, "workers")
