"""Who is compared: the same network, data, number of steps and settings of training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drift_wm.generators import GeneratorConfig
from drift_wm.optimisation import TrainingConfig
from drift_wm.settings import RiskSettings

POLICY_CHUNK, POLICY_EXECUTED = 8, 4
"""Actions sampled at once, and how many of them are executed before the next are sampled."""
ROBOT_CHUNK = 5
"""Steps of the robot that one network evaluation predicts."""
ADVISORS = 3
"""Members of the ensemble of world models that ranks chunks."""
DRIFTING, REGRESSION, DIFFUSION = "drifting", "regression", "diffusion"
GAUSSIAN_ENSEMBLE = "gaussian ensemble"
ALONE = "the first chunk sampled"
"""What a policy without a world model executes."""
PERSISTENCE = "persistence"
"""The robot stays where it is: what a world model has to beat."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A generator to compare, and how it is sampled."""

    generator: GeneratorConfig
    sampling_steps: tuple[int, ...] = (0,)
    """Each makes a row of its own from the same trained model; 0: as configured."""

    def of_width(self, width: int) -> GeneratorConfig:
        """Its configuration with the common width."""
        return replace(self.generator, width=width)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a world model chooses among a policy's chunks, by predicted return."""

    particles: int
    """Futures of each chunk; 0: the central one of the first member."""
    risk: RiskSettings


POLICIES: dict[str, Rival] = {
    DRIFTING: Rival(GeneratorConfig("drifting")),
    REGRESSION: Rival(GeneratorConfig("regression")),
    "gaussian": Rival(GeneratorConfig("gaussian")),
    DIFFUSION: Rival(GeneratorConfig("diffusion", steps=16), sampling_steps=(1, 16, 100)),
}
"""Who acts. Regression is behaviour cloning."""
WORLD_MODELS: dict[str, Rival] = {
    DRIFTING: Rival(GeneratorConfig("drifting")),
    REGRESSION: Rival(GeneratorConfig("regression")),
    # Five times the parameters and the training of the others, as has the drifting ensemble.
    GAUSSIAN_ENSEMBLE: Rival(GeneratorConfig("gaussian", members=5)),
    "drifting ensemble": Rival(GeneratorConfig("drifting", members=5)),
}
"""Who predicts the robot."""
RANKINGS: dict[str, Ranking] = {
    "the best by predicted return": Ranking(0, RiskSettings("mean")),
    "the same, less the spread of 6 futures": Ranking(6, RiskSettings("mean_minus_spread", 1.0)),
}
"""The second holds the ensemble's disagreement against a chunk: two futures from each member."""


def policy_training() -> TrainingConfig:
    """Of every policy, and of the world model that ranks."""
    return TrainingConfig(batch_size=128, learning_rate=1e-3)


def robot_training() -> TrainingConfig:
    """Of every world model of the robot."""
    return TrainingConfig()
