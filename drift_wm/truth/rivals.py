"""Who is compared: the same network, data, number of steps and learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drift_wm.generators import GeneratorConfig

LEARNING_RATE = 8e-3
"""For all. On gusty cartpole, 2,000 steps, drifting, regression, gaussian and diffusion were each better at 8e-3 than
at 4e-3; at 1.6e-2 three of them gained a little more, but on gusty walker drifting lost after ten steps."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A generator to compare, where, and how it is sampled."""

    generator: GeneratorConfig
    every_seed: tuple[str, ...] = ()
    """Parts for which it is trained with every seed, as a claim is about it."""
    first_seed: tuple[str, ...] = ()
    """Parts for which it is trained once, for orientation."""
    sampling_steps: tuple[int, ...] = (0,)
    """Each makes a row of its own from the same trained model; 0: as configured."""
    law_sampling_steps: tuple[int, ...] = (0,)
    """The same on known laws."""
    branches: bool = False
    """Whether its samples go several ways where the law or the world may."""

    def parts(self, *, first: bool) -> tuple[str, ...]:
        """Where it is compared with the first seed, or with any other."""
        return self.every_seed + self.first_seed * first

    def sized(self, width: int, *, shortcut: float | None = None, ways: int = 1) -> GeneratorConfig:
        """Its configuration with the common width and, if given, share of the first layer among the last features."""
        return replace(
            self.generator,
            width=width,
            shortcut=self.generator.shortcut if shortcut is None else shortcut,
            ways=ways if self.branches else 1,
        )


_DISTRIBUTIONS = ("laws", "stochastic")

RIVALS: dict[str, Rival] = {
    "drifting": Rival(
        GeneratorConfig("drifting"),
        ("laws", "stochastic", "deterministic", "risk"),
        first_seed=("chunks",),
        branches=True,
    ),
    "regression": Rival(GeneratorConfig("regression"), ("stochastic", "deterministic", "risk"), first_seed=("laws",)),
    # Five times the parameters and the training of the others, as has the drifting ensemble.
    "gaussian": Rival(GeneratorConfig("gaussian", members=5), ("stochastic", "risk"), first_seed=("laws",)),
    "gaussian, one network": Rival(GeneratorConfig("gaussian"), ("stochastic", "risk")),
    "drifting ensemble": Rival(GeneratorConfig("drifting", members=5), ("stochastic", "risk"), branches=True),
    "drifting, one way": Rival(GeneratorConfig("drifting"), _DISTRIBUTIONS),
    "diffusion": Rival(
        GeneratorConfig("diffusion"), _DISTRIBUTIONS, sampling_steps=(5, 20, 100), law_sampling_steps=(1, 50)
    ),
    "flow": Rival(
        GeneratorConfig("flow"), first_seed=_DISTRIBUTIONS, sampling_steps=(5, 20), law_sampling_steps=(1, 20)
    ),
    "consistency": Rival(GeneratorConfig("consistency"), first_seed=_DISTRIBUTIONS),
    "distilled": Rival(GeneratorConfig("distilled", steps=16), first_seed=_DISTRIBUTIONS),
    "published field": Rival(
        GeneratorConfig("drifting", field="kernel", siblings=4, mean_weight=0.0), first_seed=_DISTRIBUTIONS
    ),
    "drifting, no mean": Rival(
        GeneratorConfig("drifting", mean_weight=0.0), first_seed=(*_DISTRIBUTIONS, "deterministic"), branches=True
    ),
    "drifting, exponent 1": Rival(
        GeneratorConfig("drifting", exponent=1.0, smoothing=0.0), first_seed=("laws",), branches=True
    ),
    "drifting, 4 siblings": Rival(GeneratorConfig("drifting", siblings=4), first_seed=("laws",), branches=True),
    "attraction only": Rival(GeneratorConfig("drifting", field="attraction"), first_seed=("laws",)),
}
