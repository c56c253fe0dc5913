"""The machine's limit: the matrix products of a decision alone, in the same shapes and order."""

from __future__ import annotations

from collections.abc import Callable

import torch

from drift_wm.models.prepared import PreparedModel
from drift_wm.planners.loop import PlannerConfig, SamplingPlanner


def products_of(model: PreparedModel, planner: SamplingPlanner[PlannerConfig]) -> list[tuple[int, int, int]]:
    """(rows, inputs, outputs) of every product of a decision for one environment and one future per candidate."""
    chunks = planner.horizon // model.chunk
    return [(rows, *sizes) for rows in planner.populations for _ in range(chunks) for sizes in model.layer_sizes]


def flops_of(products: list[tuple[int, int, int]]) -> float:
    """Multiplications and additions."""
    return sum(2.0 * rows * inputs * outputs for rows, inputs, outputs in products)


def multiplier(products: list[tuple[int, int, int]], *, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """Does the products, into memory that is there, from operands that are there."""
    rng = torch.Generator().manual_seed(0)

    def operand(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=rng).to(device, dtype)

    operands = {
        shape: (operand(shape[0], shape[1]), operand(shape[1], shape[2]), operand(shape[0], shape[2]))
        for shape in set(products)
    }

    @torch.inference_mode()
    def multiply() -> None:
        for shape in products:
            left, right, out = operands[shape]
            torch.mm(left, right, out=out)

    return multiply
