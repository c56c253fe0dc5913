"""Part `robot`: world models of a real robot, along the actions it logged in episodes that they never saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.readers import read_demonstrations
from drift_wm.demonstrations.rivals import PERSISTENCE, UNTRAINED, WORLD_MODELS
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.diagnosis.measures import energy_score
from drift_wm.diagnosis.open_loop import LinearModel
from drift_wm.diagnosis.situations import Situations, draw_situations, sample_model
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.futures import error_of_mean
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.truth.training import train_on

_SITUATIONS, _SAMPLES = 256, 64
_SITUATIONS_SEED = 900_000


def read_robot(settings: DemonstrationsSettings) -> tuple[list[Episode], list[Episode]]:
    """The episodes to learn from, and those that validate.

    Raises:
        ValueError: the data cannot be read, or leave too few to validate.
    """
    episodes = read_demonstrations(settings.robot, allow_missing_rewards=True, skip_missing=True)
    training, validation = episodes[: settings.robot_training], episodes[settings.robot_training :]
    if not any(len(episode) >= settings.robot_horizon for episode in validation):
        raise ValueError(
            f"robot_training={settings.robot_training}: expected fewer than the {len(episodes)} episodes of "
            f"{settings.robot}, so that one of robot_horizon={settings.robot_horizon} steps or more is left to validate"
        )
    return training, validation


def robot_rows(name: str, seed: int, settings: DemonstrationsSettings) -> list[Row]:
    """Fit one rival and predict whole windows of the validation episodes, whose actions alone it is given.

    Raises:
        FloatingPointError: what it predicts runs away beyond all numbers; other rivals are compared all the same.
    """
    training, validation = read_robot(settings)
    situations = draw_situations(
        validation,
        history=1,
        horizon=settings.robot_horizon,
        count=_SITUATIONS,
        device=torch.device("cpu"),
        rng=torch.Generator().manual_seed(_SITUATIONS_SEED),
    )
    unit = compute_statistics(training, chunk=1).obs.unit
    if name in UNTRAINED:
        future = _untrained(name, training, situations)
        return [Row("robot", name, 0, seed, _errors(future.unsqueeze(1), situations, unit))]
    start = time.process_time()
    model = train_robot(training, name, seed, settings)
    seconds = time.process_time() - start
    rng = torch.Generator().manual_seed(_SITUATIONS_SEED)
    steps = settings.robot_horizon
    samples = sample_model(model, situations, steps, particles=_SAMPLES, rng=rng)
    if not torch.isfinite(samples).all():
        raise FloatingPointError(f"{name}, seed {seed}: predicted futures of {steps} steps contain NaN or infinity")
    metrics = _errors(samples, situations, unit)
    central = PreparedModel(model, central=True)
    planned_on = _errors(sample_model(central, situations, steps, particles=1, rng=rng), situations, unit)
    metrics |= {"central": planned_on["error"], "central_end": planned_on["error_end"], "cpu_seconds": seconds}
    return [Row("robot", name, model.generator.nfe, seed, metrics)]


def _untrained(name: str, training: Sequence[Episode], situations: Situations) -> Tensor:
    """What a rival without a network predicts (W, H, D)."""
    now = situations.history.obs[:, -1]
    if name == PERSISTENCE:
        return now.unsqueeze(1).expand_as(situations.future)
    return LinearModel.fit(training).rollout(now, situations.actions).to(now)


def train_robot(
    episodes: Sequence[Episode], name: str, seed: int, settings: DemonstrationsSettings
) -> LearnedWorldModel:
    """A rival's world model of the robot."""
    rival = WORLD_MODELS[name]
    config = WorldModelConfig(
        chunk=rival.chunk,
        self_rollout=rival.self_rollout,
        generator=replace(rival.generator, width=settings.robot_width),
    )
    training = TrainingConfig(weight_decay=settings.robot_weight_decay)
    return train_on(episodes, config, training, settings.robot_steps, seed=seed)


def _errors(samples: Tensor, situations: Situations, unit: Tensor) -> dict[str, float]:
    """Of samples (W, P, H, D), in standard deviations of the observations: over all steps, and after the last.

    Errors are those of the samples' mean, over what varies in training, which has a finite unit (D,): what never does
    is predicted by saying what it is.
    """
    varies = unit.isfinite()
    predicted, seen = ((each / unit)[..., varies] for each in (samples, situations.future))
    metrics = {}
    for suffix, part in (("", slice(None)), ("_end", slice(-1, None))):
        x, y = predicted[:, :, part], seen[:, part]
        metrics[f"error{suffix}"] = error_of_mean(x, y)
        metrics[f"spread{suffix}"] = float(x.var(dim=1).mean()) ** 0.5 if x.shape[1] > 1 else 0.0
        metrics[f"energy_score{suffix}"] = float(energy_score(x.flatten(2), y.flatten(1)).mean())
    return metrics
