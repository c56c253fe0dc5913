"""Who is compared: the same network, data, number of steps and learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from drift_wm.generators import GeneratorConfig

LEARNING_RATE = 8e-3
"""For all. On gusty cartpole, 2,000 steps, drifting, regression, gaussian and diffusion were each better at 8e-3 than
at 4e-3; at 1.6e-2 three of them gained a little more, but on gusty walker drifting lost after ten steps."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A generator to compare, and how it is trained and sampled."""

    generator: GeneratorConfig
    sampling_steps: tuple[int, ...] = (0,)
    """Each makes a row of its own from the same trained model; 0: as configured."""
    law_sampling_steps: tuple[int, ...] = (0,)
    """The same on known laws."""
    every_seed: bool = True
    """False: trained with the first seed only, for orientation."""
    laws: bool = True
    """Compared on known laws."""
    only_laws: bool = False
    """Compared on known laws only: a variant of drifting, to show what a setting gives."""

    def of_width(self, width: int) -> GeneratorConfig:
        """Its configuration with the common width."""
        return replace(self.generator, width=width)


def _variant(**settings: Any) -> Rival:
    return Rival(GeneratorConfig("drifting", **settings), every_seed=False, only_laws=True)


RIVALS: dict[str, Rival] = {
    "drifting": Rival(GeneratorConfig("drifting")),
    "regression": Rival(GeneratorConfig("regression")),
    "gaussian": Rival(GeneratorConfig("gaussian", members=5)),  # five times the parameters of the others but the next
    "drifting ensemble": Rival(GeneratorConfig("drifting", members=5), laws=False),
    "diffusion": Rival(GeneratorConfig("diffusion"), (5, 20, 100), (1, 50)),
    "flow": Rival(GeneratorConfig("flow"), (5, 20), (1, 20), every_seed=False),
    "consistency": Rival(GeneratorConfig("consistency"), every_seed=False),
    "distilled": Rival(GeneratorConfig("distilled", steps=16), every_seed=False),
    "published field": Rival(GeneratorConfig("drifting", field="kernel", siblings=4), every_seed=False),
    "drifting, exponent 1": _variant(exponent=1.0, smoothing=0.0),
    "drifting, 4 siblings": _variant(siblings=4),
    "attraction only": _variant(field="attraction"),
}
