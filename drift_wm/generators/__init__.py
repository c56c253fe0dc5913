"""Conditional generators p(y | c), one file each, all on the backbone of `drift_wm.nets`."""

from __future__ import annotations

import torch

from drift_wm.generators.base import ConditionalGenerator, one_member_each, sample_scores
from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.consistency import ConsistencyGenerator
from drift_wm.generators.diffusion import DiffusionGenerator
from drift_wm.generators.distilled import DistilledGenerator
from drift_wm.generators.drifting import DriftingGenerator
from drift_wm.generators.ensemble import Ensemble
from drift_wm.generators.flow import FlowGenerator
from drift_wm.generators.gaussian import GaussianGenerator
from drift_wm.generators.regression import RegressionGenerator

AnyGenerator = ConditionalGenerator | Ensemble

_UNBLOCKED: dict[str, type[ConditionalGenerator]] = {
    "regression": RegressionGenerator,
    "gaussian": GaussianGenerator,
    "diffusion": DiffusionGenerator,
    "flow": FlowGenerator,
    "consistency": ConsistencyGenerator,
    "distilled": DistilledGenerator,
}
"""Generators whose loss does not depend on how y divides into the steps of a chunk."""


def make_generator(
    config: GeneratorConfig, condition_size: int, output_size: int, *, blocks: int, rng: torch.Generator
) -> AnyGenerator:
    """Build the generator that a configuration names; see `DriftingGenerator` for the arguments."""
    members = [_make_one(config, condition_size, output_size, blocks, rng) for _ in range(config.members)]
    return members[0] if len(members) == 1 else Ensemble(members)


def _make_one(
    config: GeneratorConfig, condition_size: int, output_size: int, blocks: int, rng: torch.Generator
) -> ConditionalGenerator:
    if config.name == "drifting":
        return DriftingGenerator(condition_size, output_size, blocks=blocks, config=config, rng=rng)
    return _UNBLOCKED[config.name](condition_size, output_size, config=config, rng=rng)


__all__ = [
    "AnyGenerator",
    "ConditionalGenerator",
    "DriftingGenerator",
    "Ensemble",
    "GeneratorConfig",
    "RegressionGenerator",
    "make_generator",
    "one_member_each",
    "sample_scores",
]
