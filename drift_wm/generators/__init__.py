"""Conditional generators p(y | c), one file each, all on the backbone of `drift_wm.nets`."""

from __future__ import annotations

import torch

from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.drifting import DriftingGenerator
from drift_wm.generators.regression import RegressionGenerator

AnyGenerator = DriftingGenerator | RegressionGenerator


def make_generator(
    config: GeneratorConfig, condition_size: int, output_size: int, *, blocks: int, rng: torch.Generator
) -> AnyGenerator:
    """Build the generator that a configuration names; see `DriftingGenerator` for the arguments."""
    if config.name == "drifting":
        return DriftingGenerator(condition_size, output_size, blocks=blocks, config=config, rng=rng)
    assert config.name == "regression", config.name
    return RegressionGenerator(condition_size, output_size, config=config, rng=rng)


__all__ = ["AnyGenerator", "DriftingGenerator", "GeneratorConfig", "RegressionGenerator", "make_generator"]
