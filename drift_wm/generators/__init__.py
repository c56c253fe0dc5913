"""Conditional generators p(y | c), one file each, all on the backbone of `drift_wm.generators.nets`."""

from __future__ import annotations

import torch

from drift_wm.generators.base import ConditionalGenerator, one_member_each, sample_scores
from drift_wm.generators.branching import BranchingGenerator
from drift_wm.generators.config import OWN_GENERATORS, GeneratorConfig
from drift_wm.generators.consistency import ConsistencyGenerator
from drift_wm.generators.diffusion import DiffusionGenerator
from drift_wm.generators.distilled import DistilledGenerator
from drift_wm.generators.drifting import DriftingGenerator
from drift_wm.generators.ensemble import Ensemble
from drift_wm.generators.flow import FlowGenerator
from drift_wm.generators.gaussian import GaussianGenerator
from drift_wm.generators.regression import RegressionGenerator

AnyGenerator = ConditionalGenerator | Ensemble

_CLASSES: dict[str, type[ConditionalGenerator]] = {
    "drifting": DriftingGenerator,
    "regression": RegressionGenerator,
    "gaussian": GaussianGenerator,
    "diffusion": DiffusionGenerator,
    "flow": FlowGenerator,
    "consistency": ConsistencyGenerator,
    "distilled": DistilledGenerator,
}
_BUILT_IN = frozenset(_CLASSES)


def register_generator(name: str, generator: type[ConditionalGenerator]) -> None:
    """Make a generator of your own known as `model.generator.name=name`, beside the rivals on the same network.

    It needs a `_loss` and a `decode`: see `ConditionalGenerator`. A program that loads its checkpoints registers it
    first, as does each process of a pool: call this where the class is defined.

    Args:
        name: not that of one that is there.
        generator: made from `(condition_size, output_size, config=..., rng=...)`.

    Raises:
        ValueError: the name belongs to another generator, or the class is none.
    """
    if not (isinstance(generator, type) and issubclass(generator, ConditionalGenerator)):
        raise ValueError(f"generator={generator!r}: expected a subclass of drift_wm.generators.ConditionalGenerator")
    another = name in _BUILT_IN or _CLASSES.get(name, generator).__qualname__ != generator.__qualname__
    if another or not name.isidentifier():
        raise ValueError(f"name={name!r}: expected an identifier that is not one of {', '.join(_CLASSES)}")
    _CLASSES[name] = generator
    OWN_GENERATORS.add(name)


def make_generator(
    config: GeneratorConfig, condition_size: int, output_size: int, *, blocks: int, rng: torch.Generator
) -> AnyGenerator:
    """Build the generator that a configuration names; see `DriftingGenerator` for the arguments."""
    members = [_make_one(config, condition_size, output_size, blocks, rng) for _ in range(config.members)]
    return members[0] if len(members) == 1 else Ensemble(members)


def _make_one(
    config: GeneratorConfig, condition_size: int, output_size: int, blocks: int, rng: torch.Generator
) -> ConditionalGenerator:
    branches = config.name == "drifting" and config.ways > 1
    generator = BranchingGenerator if branches else _CLASSES[config.name]
    if issubclass(generator, DriftingGenerator):  # the one whose loss depends on how y divides into steps
        return generator(condition_size, output_size, blocks=blocks, config=config, rng=rng)
    return generator(condition_size, output_size, config=config, rng=rng)


__all__ = [
    "AnyGenerator",
    "ConditionalGenerator",
    "DriftingGenerator",
    "Ensemble",
    "GeneratorConfig",
    "RegressionGenerator",
    "make_generator",
    "one_member_each",
    "register_generator",
    "sample_scores",
]
