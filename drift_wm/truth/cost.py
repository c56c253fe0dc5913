"""Part `cost`: what a training step of each method takes, beside regression's, in one interleaved run."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from drift_wm.generators import make_generator
from drift_wm.learning.optimisation import Descent, TrainingConfig
from drift_wm.speed.timing import interleave, one_thread
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.rows import Row
from drift_wm.truth.settings import TruthSettings

_REPEATS, _STEPS = 15, 10
SHAPES = {
    "cartpole, k = 5": (10, 30, 5),
    "walker, k = 1": (30, 25, 1),
    "walker, k = 5": (54, 125, 5),
}
"""(C, Y, k): sizes of conditions and targets, and steps of a chunk."""


def cost_rows(settings: TruthSettings) -> list[Row]:
    """Median milliseconds of a training step on one thread, and their ratio to regression's."""
    names = [name for name in RIVALS if name in settings.rivals or name == "regression"]
    rows = []
    for case, (condition_size, output_size, blocks) in SHAPES.items():
        rounds = {name: _round(name, condition_size, output_size, blocks, settings) for name in names}
        with one_thread():
            times = interleave(rounds, repeats=_REPEATS, device=torch.device("cpu"))
        medians = {name: statistics.median(values) / _STEPS for name, values in times.items()}
        for name, median in medians.items():
            ratio = median / medians["regression"]
            metrics = {"step_ms": median, "ratio": ratio, "least_ms": min(times[name]) / _STEPS}
            rows.append(Row("cost", case, name, 0, 0, metrics))
    return rows


def _round(
    name: str, condition_size: int, output_size: int, blocks: int, settings: TruthSettings
) -> Callable[[], None]:
    """A whole round of `_STEPS` on a fixed batch, in which distillation changes: loss, gradient, clipping, update."""
    rng, network = torch.Generator().manual_seed(0), settings.for_chance(RIVALS[name])
    generator = make_generator(network, condition_size, output_size, blocks=blocks, rng=rng)
    config = TrainingConfig()
    descent = Descent([generator], config)
    c = torch.randn(config.batch_size, condition_size, generator=rng)
    y = torch.randn(config.batch_size, output_size, generator=rng)

    def train() -> None:
        for done in range(_STEPS):
            generator.begin_step(done, _STEPS)
            descent.step(generator.loss(c, y, rng=rng), rate=config.learning_rate)

    return train
