"""What `drift-wm data-inspect` and `drift-wm data-convert` can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from drift_wm.settings import require


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
    """Leave out episodes that a LeRobot dataset announces and does not hold."""
    run_dir: str | None = None
    """Folder of the run."""

    def __post_init__(self) -> None:
        require(bool(self.data), "data", self.data, "a file or folder, for example drift-wm data inspect demos.hdf5")


@dataclass
class InspectSettings(DataSettings):
    """`drift-wm data inspect FILE`: what is in a file of demonstrations, and what is missing."""

    skip_missing: bool = True
    """Look at what is there, and name what a LeRobot dataset announces and does not hold."""
    plotted: int = 8
    """Demonstrations drawn in the plot of trajectories, evenly chosen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.plotted >= 1, "plotted", self.plotted, "an integer of at least 1")


@dataclass
class ConvertSettings(DataSettings):
    """`drift-wm data convert FILE out=NEW.hdf5`: any readable dataset as a robomimic HDF5 file."""

    out: str = ""
    """The new file; one that is there is not overwritten."""
    task: str = ""
    """What the file says of its environment (`env_name`); default: the name of the source."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.out), "out", self.out, "a file to write, for example out=demos.hdf5")
