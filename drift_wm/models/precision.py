"""The type that networks are multiplied in while planning."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "bfloat16")
WIDE = 256
"""Units from which bfloat16 was never slower on a CPU that multiplies it (docs/speed/attempts.md): below, setting a
product up may cost more than it saves."""


def takes_bfloat16(precision: str, device: torch.device, *, worth_it: bool) -> bool:
    """Whether a precision of `PRECISIONS` means bfloat16 on a device; for a CPU, say whether that is worth it."""
    if precision == "auto":
        return (worth_it or device.type == "cuda") and multiplies_bfloat16(device)
    return precision == "bfloat16"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or _amd_has_avx512_bf16())


def _amd_has_avx512_bf16() -> bool:
    """Whether this is an AMD CPU with such vectors, twice as fast as float32's; an Intel one's took twice as long."""
    # Early versions of torch do not tell.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16")) and str(capabilities.get("cpu_name")).startswith("AMD")
