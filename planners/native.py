"""What a planner does between two predictions, in machine code: as in torch, without its time for small operations."""

from __future__ import annotations

import ctypes
import math

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
        self._rank_and_refit = library.rank_and_refit
        self._propose.argtypes, self._propose.restype = [_INT] * 4 + [_POINTER] * 5, None
        self._rank.argtypes, self._rank.restype = [_INT] * 4 + [_POINTER] * 7, ctypes.c_bool
        self._refit.argtypes = [_INT] * 3 + [_POINTER] * 3 + [_FLOAT] * 2 + [_POINTER] * 2
        self._refit.restype = None
        self._rank_and_refit.argtypes = [_INT] * 4 + [_POINTER] * 9 + [_FLOAT] * 2 + [_POINTER] * 2
        self._rank_and_refit.restype = ctypes.c_bool

    def propose(self, plan: Plan, noise: Tensor, known: Tensor) -> Tensor:
        """See `SamplingPlanner.propose`."""
        (B, K), (N, *shape) = known.shape[:2], noise.shape
        noise, known = _read(noise, (N, *shape)), _read(known, (B, min(K, N), *shape))
        mean, std = _read(plan.mean, (B, *shape)), _read(plan.std, (B, *shape))
        candidates = noise.new_empty(B, N, *shape)
        self._propose(B, N, noise[0].numel(), K, *_pointers(noise, mean, std, known, candidates))
        return candidates

    def rank(self, plan: Plan, candidates: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Candidates (B, N, H, A) and scores (B, N) -> elites (B, S, H, A), `best` and `score`; or None, see below.

        Returns:
            None where a score is not finite: what that means is for torch to say.
        """
        sizes, given, found = _to_rank(plan, candidates, scores, count)
        return found if self._rank(*sizes, *_pointers(*given, *found)) else None

    def refit(self, plan: Plan, elites: Tensor, *, momentum: float, min_std: float) -> tuple[Tensor, Tensor]:
        """See `refit_gaussian`."""
        B, S, *shape = elites.shape
        elites = _read(elites, (B, S, *shape))
        old = _read(plan.mean, (B, *shape)), _read(plan.std, (B, *shape))
        mean, std = (torch.empty_like(each) for each in old)
        pointers = _pointers(elites, *old)
        self._refit(B, S, elites[0, 0].numel(), *pointers, momentum, min_std, *_pointers(mean, std))
        return mean, std

    def rank_and_refit(
        self, plan: Plan, candidates: Tensor, scores: Tensor, count: int, *, momentum: float, min_std: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None:
        """Both in one call: mean, standard deviation, `best`, `score` and elites; or None, as of `rank`."""
        sizes, given, found = _to_rank(plan, candidates, scores, count)
        elites, best, score = found
        shape = tuple(best.shape)
        mean, std = _read(plan.mean, shape), _read(plan.std, shape)
        new_mean, new_std = torch.empty_like(mean), torch.empty_like(std)
        pointers = _pointers(*given, *found, mean, std)
        if not self._rank_and_refit(*sizes, *pointers, momentum, min_std, *_pointers(new_mean, new_std)):
            return None
        return new_mean, new_std, best, score, elites


def _to_rank(
    plan: Plan, candidates: Tensor, scores: Tensor, count: int
) -> tuple[tuple[int, ...], tuple[Tensor, ...], tuple[Tensor, Tensor, Tensor]]:
    """Sizes, what is read, and room for what is found: elites, `best` and `score`."""
    B, N, *shape = candidates.shape
    candidates, scores = _read(candidates, (B, max(N, count), *shape)), _read(scores, (B, N))
    best, score = _read(plan.best, (B, *shape)), _read(plan.score, (B,))
    found = candidates.new_empty(B, count, *shape), torch.empty_like(best), torch.empty_like(score)
    return (B, N, math.prod(shape), count), (candidates, scores, best, score), found


def _read(given: Tensor, shape: tuple[int, ...]) -> Tensor:
    """What the machine code reads as it lies in memory: float32 on a CPU, row by row, in a shape it counts on."""
    if given.shape != shape or given.dtype != torch.float32 or not given.is_cpu:
        raise ValueError(
            f"a planner was given {tuple(given.shape)} of {given.dtype} on {given.device}; expected {shape} of "
            "torch.float32 on the CPU. Start from the planner's own init()."
        )
    return given.contiguous()


def _pointers(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
