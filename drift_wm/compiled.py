"""Compilation of a module that predicts again and again, by `torch.compile`, where that pays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)

_OPTIONS = {"freezing": True, "max_autotune": True, "max_autotune_gemm_backends": "CPP"}
"""Weights become constants, packed once, and products take the activations that follow them along."""
_ROWS = 64  # of the first call


@torch.inference_mode()
def compiled(module: nn.Module, *shapes: tuple[int, ...]) -> Callable[..., Any]:
    """The module with its present weights as machine code, for any number of rows; itself, with a warning, if in vain.

    Takes seconds, and a C++ compiler. These options are for bfloat16 on a CPU that multiplies it: nothing else that
    was measured paid (docs/speed/attempts.md).

    Args:
        module: predicts. To be called in inference mode with contiguous float32 tensors that were made in it: anything
            else, or a single row, is compiled once more, without these options.
        shapes: of its arguments, without the rows.
    """
    example = [torch.zeros(_ROWS, *shape) for shape in shapes]
    for argument in example:
        torch._dynamo.mark_dynamic(argument, 0)
    try:
        with torch._inductor.config.patch(_OPTIONS):
            fast: Callable[..., Any] = torch.compile(  # type: ignore[call-overload]  # knows less than the function
                module,
                fullgraph=True,
                # Nobody changes the module, and to look for that at every call would take a tenth of it. Then, though,
                # nothing but this keeps one module's code from another of its class.
                isolate_recompiles=True,
                options={"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe},
            )
            fast(*example)
    except Exception as error:  # of many kinds: no compiler, one that fails, a version without one of these options
        reason = str(error).strip().partition("\n")[0]
        logger.warning("compile=true: %s: %s; predicting without compilation", type(error).__name__, reason)
        return module
    return fast
