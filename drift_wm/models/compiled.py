"""Compilation of a module that predicts again and again, where that pays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from drift_wm.models.precision import has_amx

logger = logging.getLogger(__name__)

_FROZEN = {"freezing": True}
"""Weights become constants, packed once."""
_TILED = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
"""Fuse each product with its activation by the compiler's own GEMM: faster with AMX, slower without."""
_ROWS = 64  # of the example


@torch.no_grad()
def compiled(module: nn.Module, *shapes: tuple[int, ...]) -> Callable[..., Any] | None:
    """A module with its present weights as machine code, for any number of rows; None, with a warning, if in vain.

    Takes seconds, and a C++ compiler. The options are for bfloat16 on a CPU that multiplies it: nothing else that was
    measured paid (docs/speed/attempts.md). Exported first, because the guards of `torch.compile`, which check
    module and tensors before each call, take a quarter of the time of a call of these small networks.

    Args:
        module: predicts; float32 tensors of as many rows each in, such tensors out.
        shapes: of its arguments, without the rows.
    """
    example = tuple(torch.zeros(_ROWS, *shape) for shape in shapes)
    rows = torch.export.Dim("rows", min=2)
    options = _FROZEN | _TILED if has_amx() else _FROZEN
    try:
        program = torch.export.export(module, example, dynamic_shapes=tuple({0: rows} for _ in shapes)).module()
        symbolic = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"]
        fast: Callable[..., Any] = torch._inductor.compile(program, symbolic, options=options)
    except Exception as error:  # of many kinds: no compiler, one that fails, an operation that it does not know
        reason = str(error).strip().partition("\n")[0]
        logger.warning("compile=true: %s: %s; predicting without compilation", type(error).__name__, reason)
        return None

    def predict(*arguments: Tensor) -> Any:
        # A single row is the one number of rows that the code was not made for; nor does it know views of other rows.
        rows = [argument.contiguous() for argument in arguments]
        return fast(*rows) if len(rows[0]) > 1 else module(*rows)

    return predict
