"""Where the time of a decision goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from drift_wm.interfaces import History, Prediction
from drift_wm.models.prepared import PreparedModel
from drift_wm.planners.factory import make_planner
from drift_wm.planners.loop import PlannerConfig
from drift_wm.planners.objectives import PredictedReturn
from drift_wm.planners.risk import Mean
from drift_wm.speed.contenders import Decider, make_policy
from drift_wm.speed.timing import now

_Result = TypeVar("_Result")
SHARES = ("sampling", "network", "objective", "rest")
"""Taking the proposals' noise from the stock; predicting; judging the futures; refitting and everything else."""


class _Watched:
    """A model whose predictions are timed."""

    def __init__(self, model: PreparedModel, watch: _Stopwatch) -> None:
        self._model, self._watch = model, watch
        self.spec, self.history, self.chunk = model.spec, model.history, model.chunk

    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """See `WorldModel.rollout`."""

        def predict() -> Prediction:
            return self._model.rollout(history, actions, particles=particles, rng=rng, independent=independent)

        return self._watch("network", predict)


class _Stopwatch:
    """Adds up the seconds of calls by name."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    def __call__(self, name: str, call: Callable[[], _Result]) -> _Result:
        start = now(self._device)
        result = call()
        self.seconds[name] += now(self._device) - start
        return result


def breakdown(
    model: PreparedModel, planner: PlannerConfig, *, particles: int, decisions: int, device: torch.device
) -> dict[str, float]:
    """Milliseconds of a decision by share: medians over decisions; each name of SHARES once."""
    watch = _Stopwatch(device)
    judge, reduce = PredictedReturn(), Mean()

    def objective(prediction: Prediction, actions: Tensor) -> Tensor:
        return watch("objective", lambda: judge(prediction, actions))

    def risk(values: Tensor) -> Tensor:
        return watch("objective", lambda: reduce(values))

    policy = make_policy(model, planner, particles=particles, device=device)
    policy.model, policy.objective, policy.risk = _Watched(model, watch), objective, risk
    searching = make_planner(planner, model.spec.action_size, device=device)
    rng = torch.Generator(device)
    decide = Decider(policy, device=device)
    found: dict[str, list[float]] = {name: [] for name in SHARES}
    for number in range(decisions + 1):
        watch.seconds.clear()
        start = now(device)
        decide()
        whole = now(device) - start
        watch("sampling", lambda: searching.noise.take(rng))  # once more, by itself
        watch.seconds["rest"] = whole - sum(watch.seconds.values())
        if number:
            for name in SHARES:
                found[name].append(watch.seconds[name] * 1e3)
    return {name: float(np.median(values)) for name, values in found.items()}
