"""Part `cost`: what a training step of each method takes, beside regression's, in one interleaved run."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import torch

from drift_wm.generators import make_generator
from drift_wm.learning.optimisation import Descent, TrainingConfig
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for case, (condition_size, output_size, blocks) in SHAPES.items():
        steppers = {name: _stepper(name, condition_size, output_size, blocks, settings.width) for name in names}
        times: dict[str, list[float]] = {name: [] for name in steppers}
        for repeat in range(_REPEATS + 1):
            for name, step in steppers.items():
                start = time.perf_counter()
                for _ in range(_STEPS):
                    step()
                if repeat:  # the first warms up
                    times[name].append((time.perf_counter() - start) / _STEPS * 1e3)
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, median in medians.items():
            ratio = median / medians["regression"]
            metrics = {"step_ms": median, "ratio": ratio, "least_ms": min(times[name])}
            rows.append(Row("cost", case, name, 0, 0, metrics))
    torch.set_num_threads(threads)
    return rows


def _stepper(name: str, condition_size: int, output_size: int, blocks: int, width: int) -> Callable[[], None]:
    """The next step of a round of `_STEPS` on a fixed batch: loss, gradient, clipping, update."""
    rng = torch.Generator().manual_seed(0)
    generator = make_generator(RIVALS[name].of_width(width), condition_size, output_size, blocks=blocks, rng=rng)
    config = TrainingConfig()
    descent = Descent([generator], config)
    c = torch.randn(config.batch_size, condition_size, generator=rng)
    y = torch.randn(config.batch_size, output_size, generator=rng)

    done = itertools.count()

    def step() -> None:
        generator.begin_step(next(done) % _STEPS, _STEPS)  # of a whole round, in which distillation changes
        descent.step(generator.loss(c, y, rng=rng), rate=config.learning_rate)

    return step
