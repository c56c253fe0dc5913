"""What `drift-wm bench suite=demonstrations` can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift_wm.demonstrations.rivals import LONGEST_CHUNK, POLICIES, WORLD_MODELS

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
    """`policies` (in closed loop), `ranking` (of their chunks by a world model), `robot` (open-loop errors of world
    models), `latency` (of a chunk of actions), `readers` (beside robomimic's). Empty: all whose data are given and
    whose packages are installed; the others are named."""
    door: str = ""
    """HDF5 file of demonstrations in `task`, for `policies` and `ranking`."""
    robot: str = ""
    """LeRobot folder of a robot's logs, for `robot`. No simulator is needed."""
    task: str = "gymnasium_robotics:AdroitHandDoor-v1"
    """World of `door`, with action repeat 1: a name of gymnasium, or a `domain-task` of the dm_control suite."""
    policies: list[str] = field(default_factory=lambda: list(POLICIES))
    """Which generators act."""
    world_models: list[str] = field(default_factory=lambda: list(WORLD_MODELS))
    """Which generators predict the robot."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    """Training seeds: weights, batches, noise and, of `door`, the demonstrations that are held out."""
    policy_steps: int = 5000
    """Training steps of every policy, and of the world model that ranks."""
    policy_width: int = 256
    """Units of each hidden layer of both."""
    episodes: int = 50
    """Of every policy and seed, on reset seeds apart from all training."""
    proposals: int = 16
    """Chunks that the world model ranks."""
    robot_training: int = 26
    """Episodes of `robot` to learn from, the first ones; the others validate."""
    robot_steps: int = 2000
    """Training steps of every model of the robot."""
    robot_width: int = 128
    """Units of each hidden layer of every model of the robot."""
    robot_horizon: int = 30
    """Steps that are predicted open loop, a multiple of 10: at 30 rows a second, one second."""
    repeats: int = 15
    """Interleaved measurements of each time, of which the median counts."""
    workers: int = 0
    """Processes, each with one thread; 0: one for each core."""

    def __post_init__(self) -> None:
        for name, known in (("parts", PARTS), ("policies", tuple(POLICIES)), ("world_models", tuple(WORLD_MODELS))):
            given = getattr(self, name)
            if any(value not in known for value in given) or not (given or name == "parts"):
                raise ValueError(f"{name}={given!r}: expected some of {', '.join(map(repr, known))}")
        for part in self.parts:
            if (data := NEEDS.get(part)) and not getattr(self, data):
                raise ValueError(f"{data}='': expected, for part {part!r}, {DATA[data]}")
        for name in (
            "policy_steps",
            "policy_width",
            "episodes",
            "robot_training",
            "robot_steps",
            "robot_width",
            "robot_horizon",
            "repeats",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected an integer of at least 1")
        if self.robot_horizon % LONGEST_CHUNK:
            raise ValueError(
                f"robot_horizon={self.robot_horizon}: expected a multiple of {LONGEST_CHUNK}, as one network "
                "evaluation predicts so many"
            )
        if self.proposals < 2:
            raise ValueError(f"proposals={self.proposals}: expected at least 2 chunks to choose among")
        if self.workers < 0:
            raise ValueError(f"workers={self.workers}: expected an integer of at least 0")
        if not self.seeds:
            raise ValueError(f"seeds={self.seeds}: expected at least one")
