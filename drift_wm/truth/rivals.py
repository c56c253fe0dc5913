"""Who is compared: the same network, data and number of steps, each method with the learning rate that suits it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drift_wm.generators import GeneratorConfig


@dataclass(frozen=True, slots=True)
class Rival:
    """A generator to compare, and how it is trained and sampled."""

    generator: GeneratorConfig
    learning_rate: float
    """The best of 2e-3, 4e-3 and 8e-3 in one-step energy distance (regression: error) on gusty cartpole, seed 1."""
    sampling_steps: tuple[int, ...] = (0,)
    """Each makes a row of its own from the same trained model; 0: as configured."""

    def of_width(self, width: int) -> GeneratorConfig:
        """Its configuration with the common width."""
        return replace(self.generator, width=width)


RIVALS: dict[str, Rival] = {
    "drifting": Rival(GeneratorConfig("drifting"), 8e-3),
    "regression": Rival(GeneratorConfig("regression"), 8e-3),
    "gaussian": Rival(GeneratorConfig("gaussian", members=5), 4e-3),
    "diffusion": Rival(GeneratorConfig("diffusion"), 4e-3, (5, 20, 50, 100)),
    "flow": Rival(GeneratorConfig("flow"), 4e-3, (1, 5, 20)),
    "consistency": Rival(GeneratorConfig("consistency"), 4e-3),
    "distilled": Rival(GeneratorConfig("distilled", steps=16), 4e-3),
    "published field": Rival(GeneratorConfig("drifting", field="kernel", siblings=4), 4e-3),
}
