"""What `drift-wm data-inspect`, `data-convert` and `data-replay` can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from drift_wm.requirements import require, require_at_least


@dataclass
class DataSettings:
    """Which demonstrations to read, and how much of them."""

    data: str = ""
    """A robomimic or Minari HDF5 file, or the folder of a Minari or LeRobot dataset; on the command line `data=` may be
    left out."""
    obs_keys: list[str] | None = None
    """Observation keys, concatenated, or patterns such as robot0_*; default: all that are low-dimensional."""
    mask: str | None = None
    """Name of a subset of the file."""
    skip_missing: bool = False
    """Leave out episodes that a LeRobot dataset lists but does not contain, or only in part."""
    run_dir: str | None = None
    """Folder of the run."""

    def __post_init__(self) -> None:
        require(bool(self.data), "data", self.data, "a file or folder, for example drift-wm data inspect demos.hdf5")


@dataclass
class InspectSettings(DataSettings):
    """`drift-wm data inspect FILE`: what is in a file of demonstrations, and what is missing."""

    skip_missing: bool = True
    """Read what is there, and name the episodes that a LeRobot dataset lists but does not contain."""
    plotted: int = 8
    """Demonstrations drawn in the plot of trajectories, evenly chosen."""
    pictures: int = 6
    """Pictures of one episode for each camera; 0: none are read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, self, "plotted")
        require_at_least(0, self, "pictures")


@dataclass
class ConvertSettings(DataSettings):
    """`drift-wm data convert FILE out=NEW.hdf5`: any readable dataset as a robomimic HDF5 file."""

    out: str = ""
    """File to write; an existing one is not overwritten."""
    task: str = ""
    """Name of the environment (`env_name`) in the new file; default: the source's, else `unknown`."""
    action_low: list[float] | None = None
    """The robot's lowest action, a number for each entry or one for all: written as -1, as planners search in [-1, 1].
    Default: actions are written as they are read."""
    action_high: list[float] | None = None
    """The robot's highest action, a number for each entry or one for all: written as 1."""
    skip_damaged: bool = False
    """Leave out demonstrations that cannot be read, or are not of the sizes of the first that can, each with a note of
    what is wrong with it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.out), "out", self.out, "a file to write, for example out=demos.hdf5")
        expected = "a value if and only if action_low has one, such as action_low=[-87] action_high=[87]"
        require((self.action_low is None) == (self.action_high is None), "action_high", self.action_high, expected)


@dataclass
class ReplaySettings:
    """`drift-wm data replay FILE`: act recorded actions again from recorded states, and compare."""

    data: str = ""
    """A robomimic HDF5 file with simulator states, such as those of `drift-wm collect`; on the command line `data=` may
    be left out."""
    mask: str | None = None
    """Name of a subset of the file."""
    demos: int = 0
    """Demonstrations to replay, from the first on; 0: all."""
    tolerance: float = 1e-5
    """Deviations up to this count as rounding, in standard deviations of each entry; observations are stored in single
    precision."""
    run_dir: str | None = None
    """Folder of the run."""

    def __post_init__(self) -> None:
        require(bool(self.data), "data", self.data, "a file, for example drift-wm data replay episodes.hdf5")
        require_at_least(0, self, "demos")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "a number of at least 0")
