"""Parts `latency` and `readers`: times of a chunk of actions and of training windows, each in one interleaved run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from drift_wm.demonstrations.rivals import POLICIES, POLICY_CHUNK
from drift_wm.demonstrations.rows import Row
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.interfaces import Spec
from drift_wm.models.behaviour import LearnedPolicy, PolicyConfig
from drift_wm.speed.readers import BATCH, BATCHES, reader_calls
from drift_wm.speed.timing import interleave, one_thread

_HAND = Spec(observation_size=39, action_size=28, decision_seconds=0.0)
"""Sizes of the Adroit hand at its door."""
_CALLS = 30  # chunks sampled between two looks at the clock


def latency_rows(settings: DemonstrationsSettings) -> list[Row]:
    """Milliseconds of a chunk of actions for one robot, on one thread; the weights do not matter."""
    calls: dict[tuple[str, int], Callable[[], object]] = {}
    for name in settings.policies:
        rival = POLICIES[name]
        for sampling in rival.samplings:
            steps = sampling.steps or rival.generator.steps
            generator = replace(rival.generator, width=settings.policy_width, steps=steps)
            config = PolicyConfig(chunk=POLICY_CHUNK, noise=sampling.noise, generator=generator)
            policy = LearnedPolicy(_HAND, config, rng=torch.Generator().manual_seed(0)).eval()
            calls[sampling.label(name), policy.generator.nfe] = _sampler(policy)
    with one_thread():
        times = interleave(calls, repeats=settings.repeats, device=torch.device("cpu"))
    return [
        Row("latency", name, nfe, 0, {}, {"ms": [value / _CALLS for value in ms]}) for (name, nfe), ms in times.items()
    ]


def reader_rows(settings: DemonstrationsSettings) -> list[Row]:
    """Milliseconds of batches of windows, by our reader and by robomimic's, on one file; as `drift-wm speed` does."""
    with TemporaryDirectory() as folder:
        calls = reader_calls(Path(folder) / "demos.hdf5")
    times = interleave(calls, repeats=settings.repeats, device=torch.device("cpu"))
    windows = {"windows": float(BATCH * BATCHES)}
    return [Row("readers", name, 0, 0, windows, {"ms": list(ms)}) for name, ms in times.items()]


def _sampler(policy: LearnedPolicy) -> Callable[[], object]:
    obs, rng = torch.zeros(1, policy.history, _HAND.observation_size), torch.Generator()

    def sample() -> None:
        for _ in range(_CALLS):
            policy.sample(obs, rng=rng, noise=policy.config.noise)

    return sample
