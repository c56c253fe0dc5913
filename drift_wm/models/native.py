"""Futures in machine code."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from drift_wm.generators.nets import ConditionalMLP

_PANEL = 32  # of which the columns of its layers are multiples


class _Passes(ctypes.Structure):
    """`Passes` of rollout.cpp."""

    _fields_ = (
        ("count", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("weight", "biases", "keep", "add", "offset")),
    )


class _Ways(ctypes.Structure):
    """`Ways` of rollout.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("count", "entries", "columns")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias")),
    )


class _Network(ctypes.Structure):
    """`Network` of rollout.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("history", "chunk", "observation", "action", "shown")),
        *((name, ctypes.c_int) for name in ("width", "outputs", "hidden", "turning")),
        ("parameters", ctypes.POINTER(ctypes.c_void_p)),
        ("share", ctypes.c_void_p),
        ("angles", ctypes.POINTER(ctypes.c_int)),
        ("targets", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("smallest", "precision")),
        ("passes", _Passes),
        ("ways", _Ways),
    )


class _Futures(ctypes.Structure):
    """`Futures` of rollout.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("environments", "candidates", "particles", "chunks", "noises")),
        *((name, ctypes.c_void_p) for name in ("frames", "actions", "biases", "factors", "chances", "drawn")),
        *((name, ctypes.c_void_p) for name in ("rewards", "observations", "newest")),
    )


class Deviations(NamedTuple):
    """How noise enters where a network says means, and then logarithms of variances between soft limits."""

    order: Tensor
    """(Y,): of which entries of the noise the means are, in the order of the last layer."""
    smallest: Tensor
    """(Y,): limit of the variance from below."""
    precision: Tensor
    """(Y,): the inverse of that from above."""


class Passes(NamedTuple):
    """What a sample takes where a network gives it in S passes, each of which reads the sample so far: x.

    It becomes keep * x + add * what the network says + offset.
    """

    order: Tensor
    """(Y,): which entries of x, as the network reads them, are those that the last layer says."""
    times: Tensor
    """(S, F): what the network reads besides x."""
    keep: Tensor
    """(S, Y), in the order of the last layer; so are `add` and `offset`."""
    add: Tensor
    offset: Tensor


class Ways(NamedTuple):
    """What chance chooses from, where the last layer says several outcomes, one after the other, of the same noise.

    The noise has an entry more then, the last, which makes the choice.
    """

    weight: Tensor
    """(M, width): of the layer that says the logarithms of the odds, up to a constant, of the first layer."""
    bias: Tensor
    """(M,)"""


class NativeRollout:
    """Predicts futures chunk by chunk, each by a network and a linear layer, in float32 on a CPU.

    Args:
        library: of `drift_wm.compilation.machine_code`.
        network: that passes; copied.
        last: weight and bias of the layer that says rewards, then the changes of the frames shown.
        history: K, frames that a chunk starts from.
        chunk: k.
        observation_size: D.
        angles: entries of observations whose cosine and sine are read besides.
        sampling: what noise is of, if not of the first layer and the last features, or what it chooses besides.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        network: ConditionalMLP,
        last: tuple[Tensor, Tensor],
        *,
        history: int,
        chunk: int,
        observation_size: int,
        angles: Sequence[int],
        sampling: Passes | Deviations | Ways | None = None,
    ) -> None:
        self._rollout = library.rollout
        K, k, D = history, chunk, observation_size
        acting = network.from_condition.in_features - K * (D + 2 * len(angles))
        self._sizes = K, D, (A := acting // (K - 1 + k))
        self._chooses, of_targets = isinstance(sampling, Ways), isinstance(sampling, Passes | Deviations)
        self._noise_size = k * (D + 1) if of_targets else network.from_noise.in_features + self._chooses
        layers = [*((layer.weight, layer.bias) for layer in (network.from_condition, *network.hidden)), last]
        self._order = sampling.order if isinstance(sampling, Passes | Deviations) else None
        of_each = len(sampling.bias) if isinstance(sampling, Ways) else 1
        entries = len(last[0]) // of_each if self._order is None else len(self._order)
        self._chunk, self._shown = k, (entries - k) // D
        self._kept = [_padded(network.learned_shortcut + network.shortcut)]  # what the machine code points to
        for number, (weight, bias) in enumerate(layers):
            self._kept += [_in_panels(weight, pad_inputs=number > 0), _padded(bias)]
        pointers = [each.data_ptr() for each in self._kept]
        self._network = _Network(
            history=K,
            chunk=k,
            observation=D,
            action=A,
            shown=self._shown,
            width=len(self._kept[0]),
            outputs=len(self._kept[-1]),
            hidden=len(layers) - 2,
            turning=len(angles),
            parameters=(ctypes.c_void_p * (2 * len(layers)))(*pointers[1:]),
            share=pointers[0],
            angles=(ctypes.c_int * len(angles))(*angles),
        )
        shift, gain = (_padded(layer.weight.mT).mT for layer in (network.from_noise, network.gain))
        self._of_noise = (shift, _padded(network.from_condition.bias)), (gain, torch.ones(len(gain)))
        """Weight and bias of what noise says: the first layer's bias, and the factor of the last features."""
        self._network.targets = entries if of_targets else 0
        if isinstance(sampling, Passes):
            self._network.passes = self._in_passes(sampling)
        elif isinstance(sampling, Deviations):
            self._kept += sampling
            self._network.smallest, self._network.precision = (each.data_ptr() for each in sampling[1:])
        elif isinstance(sampling, Ways):
            odds = [_in_panels(sampling.weight, pad_inputs=True), _padded(sampling.bias)]
            self._kept += odds
            self._network.ways = _Ways(of_each, entries, len(odds[1]), *(each.data_ptr() for each in odds))

    def _in_passes(self, passes: Passes) -> _Passes:
        """The same for the machine code: a sample says what noise does, times say it of all samples."""
        targets, by_x, by_times = len(passes.order), [], []
        for weight, bias in self._of_noise:
            by_x.append(weight[:, passes.order])
            by_times.append(nn.functional.linear(passes.times, weight[:, targets:], bias))
        kept = [_in_panels(torch.cat(by_x), pad_inputs=False), torch.cat(by_times, dim=1).contiguous(), *passes[2:]]
        self._kept += kept
        return _Passes(len(passes.times), *(each.data_ptr() for each in kept))

    def __call__(self, frames: Tensor, actions: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Chunk after chunk.

        Args:
            frames: (B, K, D), each the start of R / B sequences.
            actions: (R, K - 1 + H, A), those before the newest frame included.
            noise: (H / k, B or 1, P, Z) of P futures of each sequence; None: of one, without.

        Returns:
            Rewards (R * P, H), the observations shown (R * P, H / k * shown, D), and the newest frames (R * P, K, D).

        Raises:
            ValueError: they are of other shapes or another type, or not in this memory.
        """
        B, R, (K, D, A) = len(frames), len(actions), self._sizes
        chunks = max(1, (actions.shape[1] - (K - 1)) // self._chunk)
        H, P = chunks * self._chunk, 1 if noise is None else noise.shape[2]
        frames = _readable(frames, (B, K, D))
        actions = _readable(actions, (R // B * B if B else 0, K - 1 + H, A))
        if noise is not None:
            noise = _readable(noise, (chunks, B if noise.shape[1] > 1 else 1, P, self._noise_size))
        rewards, observations = frames.new_empty(R * P, H), frames.new_empty(R * P, chunks * self._shown, D)
        newest = frames.new_empty(R * P, K, D)
        futures = _Futures(
            environments=B,
            candidates=R // max(B, 1),
            particles=P,
            chunks=chunks,
            frames=frames.data_ptr(),
            actions=actions.data_ptr(),
            rewards=rewards.data_ptr(),
            observations=observations.data_ptr(),
            newest=newest.data_ptr(),
        )
        if noise is not None:
            futures.noises = noise.shape[1]
            if self._chooses:
                chances = torch.special.ndtr(noise[..., -1]).contiguous()
                futures.chances, noise = chances.data_ptr(), noise[..., :-1]
            if self._order is None:
                biases, factors = (nn.functional.linear(noise, *layer).contiguous() for layer in self._of_noise)
                futures.biases, futures.factors = biases.data_ptr(), factors.data_ptr()
            else:
                drawn = noise[..., self._order].contiguous()
                futures.drawn = drawn.data_ptr()
        self._rollout(ctypes.byref(self._network), ctypes.byref(futures), torch.get_num_threads())
        return rewards, observations, newest


def _readable(given: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same row by row, where the machine code may read its memory as it is."""
    if given.shape != shape or not given.is_cpu or given.dtype != torch.float32:
        raise ValueError(
            f"given {tuple(given.shape)} of {given.dtype} on {given.device}; expected {shape} of torch.float32 on "
            "the CPU"
        )
    return given.contiguous()


def _padded(columns: Tensor) -> Tensor:
    """(..., columns), with these padded by zeros."""
    return nn.functional.pad(columns.detach().float(), (0, -columns.shape[-1] % _PANEL)).contiguous()


def _in_panels(weight: Tensor, *, pad_inputs: bool) -> Tensor:
    """(outputs, inputs) -> (columns / _PANEL, inputs, _PANEL), with columns, and inputs if asked, padded by zeros."""
    outputs, inputs = weight.shape
    pad = (0, -inputs % _PANEL if pad_inputs else 0, 0, -outputs % _PANEL)
    padded = nn.functional.pad(weight.detach().float(), pad)
    return padded.view(-1, _PANEL, padded.shape[1]).mT.contiguous()
