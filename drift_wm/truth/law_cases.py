"""Part `laws`: generators against conditional laws that are known, with one outcome per condition to learn from."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from drift_wm.diagnosis.measures import energy_distance
from drift_wm.generators import AnyGenerator, make_generator, one_member_each
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.truth.laws import (
    CONDITION_SIZE,
    DETERMINISTIC_STD,
    GAUSSIAN_STD,
    LAWS,
    MODE_DISTANCE,
    OUTPUT_SIZE,
    POSITION_SIZE,
    Conditions,
    draw_conditions,
    draw_outcomes,
)
from drift_wm.truth.rivals import LEARNING_RATE, RIVALS
from drift_wm.truth.rows import Row
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.training import train_generator

_POSITIONS, _SAMPLES = 256, 256
_MEASURING_SEED = 1_000_000  # apart from the training seeds
_STDS = (DETERMINISTIC_STD, GAUSSIAN_STD)


def law_rows(name: str, seed: int, settings: TruthSettings) -> list[Row]:
    """Train one rival on all laws together; a row for each law and number of sampling steps."""
    rival = RIVALS[name]
    generator = make_generator(
        settings.for_chance(rival),
        CONDITION_SIZE,
        OUTPUT_SIZE,
        blocks=1,
        rng=torch.Generator().manual_seed(seed),
    )
    start = time.perf_counter()
    config = TrainingConfig(learning_rate=LEARNING_RATE)
    generator = train_generator(generator, _draw, config, steps=2 * settings.steps, seed=seed)
    seconds = time.perf_counter() - start
    rows = []
    for steps in rival.law_sampling_steps:
        generator.set_sampling_steps(steps)
        for law, case in enumerate(LAWS):
            metrics = {**_measure(generator, law, seed), "train_seconds": seconds}
            rows.append(Row("laws", case, name, generator.nfe, seed, metrics))
    return rows


def _draw(size: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    conditions = draw_conditions(size, rng)
    return conditions.encoded(), draw_outcomes(conditions, 1, rng)[:, 0]


@torch.inference_mode()
def _measure(generator: AnyGenerator, law: int, seed: int) -> dict[str, float]:
    """Energy distance to the law, and what is peculiar to it: the spread's ratio, or the modes' masses."""
    rng = torch.Generator().manual_seed(_MEASURING_SEED + seed)
    position = torch.rand(_POSITIONS, POSITION_SIZE, generator=rng) * 2 - 1
    conditions = Conditions(torch.full((_POSITIONS,), law), position)
    truth = draw_outcomes(conditions, _SAMPLES, rng)
    members = len(generator.each())
    noise = torch.randn(_POSITIONS, members * _SAMPLES, generator.noise_size, generator=rng)
    sampled = generator.sample(conditions.encoded().unsqueeze(1).expand(-1, members * _SAMPLES, -1), noise)
    samples = one_member_each(sampled, members, rng=rng)
    metrics = {"energy_distance": float(energy_distance(samples, truth).mean())}
    if law < len(_STDS):
        return metrics | {"std_ratio": float(samples.std(dim=1).mean() / _STDS[law])}
    along = (samples - conditions.middle().unsqueeze(1)).mean(dim=-1) / MODE_DISTANCE
    return metrics | {
        "major_mass": float((along > 0).double().mean()),
        "between": float((along.abs() < 0.5).double().mean()),
    }
