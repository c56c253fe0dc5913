"""Short training of models for comparison, without a run folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import AnyGenerator, GeneratorConfig
from drift_wm.interfaces import Spec
from drift_wm.learning.optimisation import Average, Descent, TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.truth.rivals import LEARNING_RATE

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""(size, rng) -> conditions (B, C) and one outcome each (B, Y)."""


def train_generator(
    generator: AnyGenerator, draw: Draw, config: TrainingConfig, *, steps: int, seed: int
) -> AnyGenerator:
    """Train a bare generator through one round, as `Trainer` trains a model; returns the averaged one."""
    averaged = copy.deepcopy(generator).requires_grad_(False)
    average, descent = Average(averaged, generator, config), Descent([generator], config)
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rate = config.rate(step, generator.begin_step(step, steps))
        c, y = draw(config.batch_size, rng)
        descent.step(generator.loss(c, y, rng=rng), rate=rate)
        average.update(step, steps)
    return averaged.eval()


def train_world_model(
    episodes: Sequence[Episode], generator: GeneratorConfig, *, chunk: int, steps: int, seed: int
) -> LearnedWorldModel:
    """A rival's world model of a data set."""
    config = WorldModelConfig(chunk=chunk, generator=generator)
    return train_on(episodes, config, TrainingConfig(learning_rate=LEARNING_RATE, log_every=steps), steps, seed=seed)


def train_on(
    episodes: Sequence[Episode], config: WorldModelConfig, training: TrainingConfig, steps: int, *, seed: int
) -> LearnedWorldModel:
    """A world model of a data set, after one round of so many steps."""
    spec = Spec(*episodes[0].sizes, decision_seconds=0.0)
    trainer = Trainer(spec, config, training, seed=seed)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=config.chunk)))
    trainer.train_round(Windows(episodes, history=1, chunk=trainer.model.training_steps), steps)
    return trainer.world_model.eval()
