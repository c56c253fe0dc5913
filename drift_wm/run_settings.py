"""Settings that several commands share. Each command takes those alone that it reads: what is asked counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from drift_wm.env_settings import EnvSettings
from drift_wm.requirements import require, require_at_least

LARGEST_SEED = 999_999


@dataclass
class MachineSettings:
    """On what to compute."""

    device: str = "auto"
    """Device to compute on: `auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int = 0
    """Threads of torch and the simulator; 0: all cores."""

    def __post_init__(self) -> None:
        require_at_least(0, self, "threads")


@dataclass
class RunSettings(MachineSettings):
    """Commands whose run goes on where it was stopped."""

    run_dir: str | None = None
    """Folder of the run; the same folder and settings continue it. Default: a new one below runs/<command>,
    named by task, data or run, and time."""


@dataclass
class TaskSettings:
    """Commands that act in a task."""

    task: str = "cartpole-swingup"
    """A `domain-task` of the dm_control suite, a name of gymnasium such as Hopper-v5, or robosuite:Lift."""
    env: EnvSettings = field(default_factory=EnvSettings)


def require_seed(seed: int) -> None:
    """Refuse a seed whose episodes would be reset by the seeds of evaluations."""
    require(0 <= seed <= LARGEST_SEED, "seed", seed, f"an integer from 0 to {LARGEST_SEED}")
