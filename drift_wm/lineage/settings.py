"""What `drift-wm lineage` can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from drift_wm.requirements import require, require_at_least
from drift_wm.run_settings import MachineSettings


@dataclass
class LineageSettings(MachineSettings):
    """`drift-wm lineage RUN`: how far predictions moved from each checkpoint of a run to the next."""

    run: str = ""
    """The run folder; on the command line `run=` may be left out. Results are written into the folder."""
    probe: str | None = None
    """File or folder of episodes on which all models are compared. Default: those that the run held out of its data, or
    its replay."""
    obs_keys: list[str] | None = None
    """Observation keys of the probe's episodes, concatenated; default: those that the newest model was trained on."""
    skip_missing: bool = False
    """Leave out episodes that a LeRobot dataset lists but does not contain, or only in part; as the run did."""
    windows: int = 512
    """Windows of the probe's episodes that the models are compared on."""
    horizon: int = 20
    """Steps of open-loop prediction, rounded up to whole chunks."""
    seed: int = 1
    """Seed of the choice of windows and of the noise that all models share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.run), "run", self.run, "a run folder, for example drift-wm lineage runs/mine")
        require_at_least(1, self, "windows", "horizon")
        require_at_least(0, self, "seed")
