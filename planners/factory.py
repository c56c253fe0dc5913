"""From a planner's settings to the planner."""

from __future__ import annotations

from typing import Any

import torch

from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.planners.icem import ICEM, ICEMConfig
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner
from drift_wm.planners.mppi import MPPI, MPPIConfig
from drift_wm.planners.predictive_sampling import PredictiveSampling, PredictiveSamplingConfig
from drift_wm.planners.random_shooting import RandomShooting, RandomShootingConfig

_ALL: dict[str, tuple[type[PlannerConfig], type[SamplingPlanner[Any]]]] = {
    "cem": (CEMConfig, CEM),
    "icem": (ICEMConfig, ICEM),
    "mppi": (MPPIConfig, MPPI),
    "random_shooting": (RandomShootingConfig, RandomShooting),
    "predictive_sampling": (PredictiveSamplingConfig, PredictiveSampling),
}
PLANNERS: dict[str, type[PlannerConfig]] = {name: config for name, (config, _) in _ALL.items()}
"""Settings of each planner, by the name that people ask for."""
_CLASSES = dict(_ALL.values())


def make_planner(
    config: PlannerConfig,
    action_size: int,
    *,
    device: torch.device | str = "cpu",
    compile: bool = True,
) -> SamplingPlanner[PlannerConfig]:
    """Build the planner that a configuration belongs to; see `SamplingPlanner` for the arguments.

    Raises:
        ValueError: no planner belongs to the configuration's type, or `action_size` is not positive.
    """
    planner = _CLASSES.get(type(config))
    if planner is None:
        raise ValueError(
            f"config is a {type(config).__name__}; expected one of {', '.join(each.__name__ for each in _CLASSES)}"
        )
    made: SamplingPlanner[PlannerConfig] = planner(config, action_size, device=device, compile=compile)
    return made
