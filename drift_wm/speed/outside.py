"""A planner of another package, pytorch-mppi (extra `[mppi]`), with the same network."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from drift_wm.interfaces import Spec
from drift_wm.speed.contenders import CONTENDERS, make_learned
from drift_wm.speed.settings import Budget

PYTORCH_MPPI = "pytorch-mppi, drifting, k = 1"


def is_there() -> bool:
    """Whether pytorch-mppi is installed."""
    return find_spec("pytorch_mppi") is not None


def outside_decider(spec: Spec, budget: Budget, *, width: int, device: torch.device) -> Callable[[], object]:
    """Decides as pytorch-mppi's users do: a dynamics function of one step, and its reward carried in the state."""
    from pytorch_mppi import MPPI

    model = make_learned(CONTENDERS["drifting, k = 1"], spec, width=width, device=device)
    (member,), scales, D = model.members, model.normaliser, spec.observation_size

    def dynamics(state: Tensor, action: Tensor) -> Tensor:
        """(N, D + 1), the last entry the reward, and (N, A) -> the next (N, D + 1)."""
        obs = state[:, :D]
        condition = torch.cat([scales.obs(obs), action], dim=1)
        target = member.centre(member.backbone.from_condition(condition)).view(-1, 1, D + 1)
        future, reward = scales.prediction(obs, target)
        return torch.cat([future[:, 0], reward], dim=1)

    one = torch.ones(spec.action_size, device=device)
    planner = MPPI(
        dynamics,
        lambda state, action: -state[:, D],
        D + 1,
        torch.diag(0.25 * one),
        num_samples=budget.candidates,
        horizon=budget.horizon,
        device=device,
        u_min=-one,
        u_max=one,
    )
    start = torch.zeros(D + 1, device=device)

    @torch.inference_mode()
    def decide() -> None:
        for _ in range(budget.iterations):
            planner.command(start)

    return decide
