"""What a planner does between two predictions, in machine code: as in torch, without its time for small operations."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from drift_wm.interfaces import Plan

_INT, _FLOAT, _POINTER = ctypes.c_int, ctypes.c_float, ctypes.c_void_p


class NativeSearch:
    """Calls ranking.cpp on float32 tensors in the CPU's memory.

    Args:
        library: of `drift_wm.compilation.machine_code`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._propose, self._rank, self._refit = library.propose, library.rank, library.refit
        self._propose.argtypes, self._propose.restype = [_INT] * 4 + [_POINTER] * 5, None
        self._rank.argtypes, self._rank.restype = [_INT] * 4 + [_POINTER] * 7, ctypes.c_bool
        self._refit.argtypes = [_INT] * 3 + [_POINTER] * 3 + [_FLOAT] * 2 + [_POINTER] * 2
        self._refit.restype = None

    def propose(self, plan: Plan, noise: Tensor, known: Tensor) -> Tensor:
        """See `SamplingPlanner.propose`."""
        (B, K), N, size = known.shape[:2], len(noise), noise[0].numel()
        candidates = torch.empty(B, N, *noise.shape[1:])
        given = [each.contiguous() for each in (noise, plan.mean, plan.std, known)]
        self._propose(B, N, size, K, *[each.data_ptr() for each in given], candidates.data_ptr())
        return candidates

    def rank(self, plan: Plan, candidates: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Candidates (B, N, H, A) and scores (B, N) -> elites (B, S, H, A), `best` and `score`; or None, see below.

        Returns:
            None where a score is not finite: what that means is for torch to say.
        """
        (B, N), shape = candidates.shape[:2], candidates.shape[2:]
        elites, best, score = torch.empty(B, count, *shape), torch.empty(B, *shape), torch.empty(B)
        given = [each.contiguous() for each in (candidates, scores, plan.best, plan.score)]
        pointers = [each.data_ptr() for each in (*given, elites, best, score)]
        ranked = self._rank(B, N, shape.numel(), count, *pointers)
        return (elites, best, score) if ranked else None

    def refit(self, plan: Plan, elites: Tensor, *, momentum: float, min_std: float) -> tuple[Tensor, Tensor]:
        """See `refit_gaussian`."""
        (B, S), size = elites.shape[:2], elites.shape[2:].numel()
        given = [each.contiguous() for each in (elites, plan.mean, plan.std)]
        mean, std = torch.empty_like(given[1]), torch.empty_like(given[2])
        pointers = [each.data_ptr() for each in given]
        self._refit(B, S, size, *pointers, momentum, min_std, mean.data_ptr(), std.data_ptr())
        return mean, std
