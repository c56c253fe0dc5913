"""Who is compared: the same network, data, number of steps and settings of training."""

from __future__ import annotations

from dataclasses import dataclass

from drift_wm.generators import GeneratorConfig
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.objective_settings import RiskSettings

POLICY_CHUNK, POLICY_EXECUTED = 8, 4
"""Actions sampled at once, and how many of them are executed before the next are sampled."""
LONGEST_CHUNK = 10
"""Steps of the robot that one network evaluation predicts, where nothing else is said."""
ADVISORS = 3
"""Members of the ensemble of world models that ranks chunks."""
DRIFTING, REGRESSION, DIFFUSION = "drifting", "regression", "diffusion"
GAUSSIAN_ENSEMBLE, DRIFTING_ENSEMBLE = "gaussian ensemble", "drifting ensemble"
ALONE = "the first chunk sampled"
"""What a policy without a world model executes."""
REHEARSED = "the best by the simulator's return"
"""What a perfect world model would execute."""
PERSISTENCE, LINEAR = "persistence", "linear"
UNTRAINED = (PERSISTENCE, LINEAR)
"""What a world model has to beat: the robot stays where it is; a step is linear, by least squares."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """A way in which a trained policy acts."""

    steps: int = 0
    """Of methods that leave the choice; 0: as configured."""
    noise: float = 1.0
    """Its scale; see `PolicySettings.noise`."""

    def label(self, name: str) -> str:
        """What tables call a policy that acts like this."""
        return name + {1.0: "", 0.0: ", centre"}.get(self.noise, f", noise {self.noise:g}")


@dataclass(frozen=True, slots=True)
class PolicyRival:
    """A generator that acts."""

    generator: GeneratorConfig
    samplings: tuple[Sampling, ...] = (Sampling(), Sampling(noise=0.5), Sampling(noise=0.0))
    """Each makes a row of its own from the same trained model."""
    few_seeds: bool = False
    """Whether it is there for orientation, as no claim is about it: with fewer seeds than the others."""


@dataclass(frozen=True, slots=True)
class WorldModelRival:
    """A generator that predicts the robot."""

    generator: GeneratorConfig
    chunk: int = LONGEST_CHUNK
    self_rollout: int = 1
    """Chunks that training predicts in a row; 3 of 10 steps are the second that is judged."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a world model chooses among a policy's chunks, by predicted return."""

    particles: int
    """Futures of each chunk; 0: the central one of the first member."""
    risk: RiskSettings


POLICIES: dict[str, PolicyRival] = {
    DRIFTING: PolicyRival(GeneratorConfig("drifting")),
    "published field": PolicyRival(
        GeneratorConfig("drifting", field="kernel", siblings=4, mean_weight=0.0),
        (Sampling(), Sampling(noise=0.0)),
        few_seeds=True,
    ),
    REGRESSION: PolicyRival(GeneratorConfig("regression"), (Sampling(),), few_seeds=True),
    "gaussian": PolicyRival(GeneratorConfig("gaussian")),
    DIFFUSION: PolicyRival(
        GeneratorConfig("diffusion", steps=16),
        (Sampling(16), Sampling(16, 0.5), Sampling(16, 0.0), Sampling(1), Sampling(100)),
    ),
}
"""Who acts. Regression is behaviour cloning."""
WORLD_MODELS: dict[str, WorldModelRival] = {
    DRIFTING: WorldModelRival(GeneratorConfig("drifting"), self_rollout=3),
    REGRESSION: WorldModelRival(GeneratorConfig("regression"), self_rollout=3),
    f"{REGRESSION}, chunks of 5": WorldModelRival(GeneratorConfig("regression"), chunk=5, self_rollout=3),
    f"{REGRESSION}, chunk by chunk": WorldModelRival(GeneratorConfig("regression")),
    f"{DRIFTING}, chunk by chunk": WorldModelRival(GeneratorConfig("drifting")),
    # Five times the parameters and the training of the others, as has the drifting ensemble.
    GAUSSIAN_ENSEMBLE: WorldModelRival(GeneratorConfig("gaussian", members=5)),
    DRIFTING_ENSEMBLE: WorldModelRival(GeneratorConfig("drifting", members=5)),
}
"""Who predicts the robot. A likelihood is of one chunk, so the Gaussians learn chunk by chunk."""
RANKINGS: dict[str, Ranking] = {
    "the best by predicted return": Ranking(0, RiskSettings("mean")),
    "the same, less the spread of 6 futures": Ranking(6, RiskSettings("mean_minus_spread", 1.0)),
}
"""The second holds the ensemble's disagreement against a chunk: two futures from each member."""


def policy_training() -> TrainingConfig:
    """Of every policy, and of the world model that ranks."""
    return TrainingConfig(batch_size=128, learning_rate=1e-3)
