"""The central future in machine code, compiled for the processor at hand where it has a compiler."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("central.cpp")
_PANEL = 32  # of which the columns of its layers are multiples
_SECONDS = 120  # that compiling may take
_OPTIONS = ("-O3", "-march=native", "-fPIC", "-fopenmp")


class _Network(ctypes.Structure):
    """`Network` of central.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("history", "chunk", "observation", "action", "shown")),
        *((name, ctypes.c_int) for name in ("width", "outputs", "hidden")),
        ("parameters", ctypes.POINTER(ctypes.c_void_p)),
        ("share", ctypes.c_void_p),
    )


class NativeRollout:
    """Predicts central futures as `Centre` describes them, in float32 on a CPU.

    Args:
        library: of `library`.
        layers: weight and bias of the first layer, the hidden ones and the last, which says rewards, then the changes
            of the frames shown.
        share: (width,) of the first layer, among the last features.
        history: K, frames that a chunk starts from.
        chunk: k.
        observation_size: D.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        layers: Sequence[tuple[Tensor, Tensor]],
        *,
        share: Tensor,
        history: int,
        chunk: int,
        observation_size: int,
    ) -> None:
        self._rollout = library.rollout
        K, k, D = history, chunk, observation_size
        (first, _), (last, _) = layers[0], layers[-1]
        self._chunk, self._shown = k, (len(last) - k) // D
        self._kept = [_padded(share)]  # what the machine code points to
        for number, (weight, bias) in enumerate(layers):
            self._kept += [_in_panels(weight, pad_inputs=number > 0), _padded(bias)]
        pointers = [each.data_ptr() for each in self._kept]
        self._network = _Network(
            history=K,
            chunk=k,
            observation=D,
            action=(first.shape[1] - K * D) // (K - 1 + k),
            shown=self._shown,
            width=len(self._kept[0]),
            outputs=len(self._kept[-1]),
            hidden=len(layers) - 2,
            parameters=(ctypes.c_void_p * (2 * len(layers)))(*pointers[1:]),
            share=pointers[0],
        )

    def __call__(self, frames: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Chunk after chunk.

        Args:
            frames: (B, K, D), each the start of R / B rows.
            actions: (R, K - 1 + H, A), those before the newest frame included.

        Returns:
            Rewards (R, H), the observations shown (R, H / k * shown, D), and the newest frames (R, K, D).

        Raises:
            ValueError: they are of another type, or not in this memory.
        """
        for given in (frames, actions):  # whose memory is read as it is
            if not given.is_cpu or given.dtype != torch.float32:
                raise ValueError(f"given {given.dtype} on {given.device}; expected torch.float32 on the CPU")
        frames, actions = frames.contiguous(), actions.contiguous()
        (B, K, D), (R, steps) = frames.shape, actions.shape[:2]
        H = steps - (K - 1)
        chunks = H // self._chunk
        out = torch.empty(R, H), torch.empty(R, chunks * self._shown, D), torch.empty(R, K, D)
        pointers = [ctypes.c_void_p(each.data_ptr()) for each in (frames, actions, *out)]
        self._rollout(ctypes.byref(self._network), R, R // B, chunks, torch.get_num_threads(), *pointers)
        return out


@functools.cache
def library() -> ctypes.CDLL | None:
    """The machine code, compiled at a process's first call, in about a second; None, with a warning, if in vain."""
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    with tempfile.TemporaryDirectory(prefix="drift-wm-") as folder:
        compiled, linked = f"{folder}/central.o", f"{folder}/central.so"
        try:
            _run([*compiler, *_OPTIONS, "-c", str(_SOURCE), "-o", compiled])
            # Not linked with OpenMP: threads are then those that torch has loaded, and two pools do not compete.
            _run([*compiler, "-shared", compiled, "-o", linked])
            return ctypes.CDLL(linked)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            reason = next(iter(said.strip().splitlines()), type(error).__name__)
            logger.warning(
                "compile=true: %s: %s; predicting without, which takes twice as long or more (install g++, or set CXX; "
                "compile=false does not ask)",
                shlex.join(compiler),
                reason,
            )
            return None


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)


def _padded(vector: Tensor) -> Tensor:
    return torch.nn.functional.pad(vector.detach().float(), (0, -len(vector) % _PANEL)).contiguous()


def _in_panels(weight: Tensor, *, pad_inputs: bool) -> Tensor:
    """(outputs, inputs) -> (columns / _PANEL, inputs, _PANEL), with columns, and inputs if asked, padded by zeros."""
    outputs, inputs = weight.shape
    pad = (0, -inputs % _PANEL if pad_inputs else 0, 0, -outputs % _PANEL)
    padded = torch.nn.functional.pad(weight.detach().float(), pad)
    return padded.view(-1, _PANEL, padded.shape[1]).mT.contiguous()
