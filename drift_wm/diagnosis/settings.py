"""What `drift-wm diagnose` can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from drift_wm.diagnosis.distribution import FEWEST_PARTICLES
from drift_wm.requirements import require, require_at_least
from drift_wm.run_settings import RunSettings, TaskSettings, require_seed


@dataclass
class DiagnoseSettings(RunSettings, TaskSettings):
    """`drift-wm diagnose`: how well a world model predicts recorded episodes."""

    task: str = ""
    """A `domain-task` of the dm-control suite; empty: the one that the file or else the checkpoint records."""
    checkpoint: str = ""
    """A world model's checkpoint, or the run folder that holds it."""
    data: str = ""
    """File or folder of episodes, best some that the model was not trained on; of its training file, those held out are
    used."""
    obs_keys: list[str] | None = None
    """Observation keys, concatenated; default: those that the model was trained on."""
    mask: str | None = None
    """Name of a subset in the file's `mask/` group."""
    skip_missing: bool = False
    """Leave out episodes that a LeRobot dataset lists but does not contain, or only in part; as the model's run did."""
    windows: int = 256
    """W, situations that are drawn from the episodes."""
    particles: int = 64
    """P, sampled futures of the model."""
    true_samples: int = 64
    """M, outcomes that the simulator samples."""
    horizon: int = 50
    """Decisions of open-loop prediction; fewer where the episodes or whole chunks allow no more."""
    distribution_steps: int = 10
    """Decisions after which distributions are compared, besides 1."""
    states: int = 16
    """Situations in which candidates are ranked and plans are made; they need the simulator."""
    candidates: int = 64
    """N, action sequences that are ranked in each of the `states`."""
    value_horizon: int = 20
    """Decisions of ranked sequences and of plans, rounded down to whole chunks."""
    sampling_steps: int = 0
    """Steps of each sample of a diffusion or flow model; 0: as it was trained."""
    seed: int = 1
    """Seed of the situations, the candidates and all noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.seed)
        for name, example in (("checkpoint", "runs/mine"), ("data", "demos.hdf5")):
            require(bool(getattr(self, name)), name, "", f"a path, for example {name}={example}")
        require_at_least(FEWEST_PARTICLES, self, "particles")
        require_at_least(2, self, "windows", "true_samples", "candidates")
        require_at_least(1, self, "horizon", "distribution_steps", "states", "value_horizon")
        require_at_least(0, self, "sampling_steps")
