"""Drawn futures of a learned world model in machine code."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from drift_wm.generators import ConditionalGenerator, DriftingGenerator
from drift_wm.generators.branching import BranchingGenerator
from drift_wm.generators.denoising import MultiStepGenerator
from drift_wm.generators.gaussian import GaussianGenerator
from drift_wm.interfaces import History, Prediction
from drift_wm.models.machine_code import entries_read, machine_code_for, native_rollout, sequences
from drift_wm.models.native import Deviations, NativeRollout, Passes, Ways
from drift_wm.models.normalisation import Normaliser
from drift_wm.models.world_model import LearnedWorldModel

_KNOWN = tuple(kind.decode for kind in (DriftingGenerator, BranchingGenerator, GaussianGenerator, MultiStepGenerator))
"""Ways of sampling that the machine code has; a generator derived from these may have one of its own."""


class Drawn:
    """Predicts the futures that noise draws.

    Args:
        model: in deviations of one, on a CPU in float32.
        code: predicts.
        observe: predict all observations, not only those that the next chunk starts from.
    """

    def __init__(self, model: LearnedWorldModel, code: ctypes.CDLL, *, observe: bool) -> None:
        in_passes = isinstance(model.members[0], MultiStepGenerator)
        self._model, self._code, self._observe = model, code, observe or in_passes  # each pass reads all of a sample
        kept = entries_read(model, observe=self._observe)
        self._members = [_of_member(code, model, member, kept) for member in model.members]
        self.outputs = model.members[0].backbone.output.out_features // model.members[0].output_size * len(kept)
        """Of the last layer."""

    @classmethod
    def of(cls, model: LearnedWorldModel, *, observe: bool) -> Drawn | None:
        """Of all members, or None where they sample otherwise, or torch has to."""
        code = machine_code_for(model) if type(model.members[0]).decode in _KNOWN else None
        return None if code is None else cls(model, code, observe=observe)

    def look_ahead(self, frames: Tensor, actions: Tensor) -> Tensor:
        """Of the first member, from noise of zero; shapes as `Centre.look_ahead`."""
        return self._members[0](frames, actions, self._no_noise(1))[1]

    def rollout(self, history: History, actions: Tensor, noise: Tensor | None, *, particles: int) -> Prediction:
        """See `WorldModel.rollout`; noise (H / k, B or 1, 1, P, Z), None: zero, of one future that stands for all."""
        (B, N, H, _), acted = actions.shape, sequences(history, actions)
        of_all = self._no_noise(H // self._model.chunk) if noise is None else noise.squeeze(2)
        pairs = zip(self._members, self._model.share_out(of_all), strict=False)  # first members, where noises are few
        futures = [predict(history.obs, acted, part) for predict, (_, part) in pairs]
        rewards, observations, newest = zip(*futures, strict=True)

        def together(parts: tuple[Tensor, ...]) -> Tensor:
            """(B * N * P of a member, ...) of each -> (B, N, P, ...)."""
            of_each = [part.view(B, N, -1, *part.shape[1:]) for part in parts]
            whole = of_each[0] if len(of_each) == 1 else torch.cat(of_each, dim=2)
            return whole.expand(B, N, particles, *whole.shape[3:])

        def obs() -> Tensor:
            with torch.inference_mode():
                if not self._observe:
                    everything = Drawn(self._model, self._code, observe=True)
                    return everything.rollout(history, actions, noise, particles=particles).obs
                return together(observations)

        return Prediction(obs, together(rewards), final=together(newest)[..., -1, :])

    def _no_noise(self, chunks: int) -> Tensor:
        """That of one future of the first member: (H / k, 1, 1, Z)."""
        return self._model.normaliser.obs_mean.new_zeros(chunks, 1, 1, self._model.generator.noise_size)


def _of_member(
    code: ctypes.CDLL, model: LearnedWorldModel, member: ConditionalGenerator, kept: Tensor
) -> NativeRollout:
    """Chunk after chunk as one member samples them, in entries `kept` of targets."""
    sampling: Passes | Deviations | Ways | None = None
    said = kept
    if isinstance(member, MultiStepGenerator):
        sampling = _passes(member, model.normaliser, kept)
    elif isinstance(member, GaussianGenerator):
        sampling = Deviations(kept, member.smallest[kept].exp(), (-member.largest[kept]).exp())
        said = torch.cat([kept, member.output_size + kept])
    elif isinstance(member, BranchingGenerator):
        sampling = Ways(member.odds.weight, member.odds.bias)
        said = torch.cat([way * member.output_size + kept for way in range(member.ways)])
    last = member.backbone.output
    return native_rollout(code, model, member.backbone, (last.weight[said], last.bias[said]), sampling=sampling)


def _passes(member: MultiStepGenerator, scales: Normaliser, kept: Tensor) -> Passes:
    """A sample's path, in entries `kept` of targets, from noise to targets in the units of the data."""
    path, mean, std = member.path(), scales.target_mean.flatten()[kept], scales.target_std.flatten()[kept]
    t, keep, add = torch.tensor(path, dtype=mean.dtype).unsqueeze(-1).unbind(1)
    last = torch.arange(len(path)).unsqueeze(-1) == len(path) - 1
    units, offset = torch.where(last, std, torch.ones_like(std)), torch.where(last, mean, torch.zeros_like(mean))
    return Passes(kept, member.time_features(t), keep * units, add * units, offset)
