"""From a planner's settings to the planner."""

from __future__ import annotations

import torch

from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.planners.icem import ICEM, ICEMConfig
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner
from drift_wm.planners.mppi import MPPI, MPPIConfig
from drift_wm.planners.predictive_sampling import PredictiveSampling, PredictiveSamplingConfig
from drift_wm.planners.random_shooting import RandomShooting, RandomShootingConfig


def make_planner(
    config: PlannerConfig,
    action_size: int,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SamplingPlanner[PlannerConfig]:
    """Build the planner that a configuration belongs to; see `SamplingPlanner` for the arguments.

    Raises:
        ValueError: no planner belongs to the configuration's type, or `action_size` is not positive.
    """
    # iCEM's settings are CEM's and more, so they are asked first.
    if isinstance(config, ICEMConfig):
        return ICEM(config, action_size, device=device, dtype=dtype)
    if isinstance(config, CEMConfig):
        return CEM(config, action_size, device=device, dtype=dtype)
    if isinstance(config, MPPIConfig):
        return MPPI(config, action_size, device=device, dtype=dtype)
    if isinstance(config, RandomShootingConfig):
        return RandomShooting(config, action_size, device=device, dtype=dtype)
    if isinstance(config, PredictiveSamplingConfig):
        return PredictiveSampling(config, action_size, device=device, dtype=dtype)
    raise ValueError(
        f"config is a {type(config).__name__}; expected CEMConfig, ICEMConfig, MPPIConfig, "
        "RandomShootingConfig or PredictiveSamplingConfig. Use one of them."
    )
