"""Drawn futures of a learned world model in machine code, where a sample is one pass through the network."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from drift_wm.interfaces import History, Prediction
from drift_wm.models.one_pass import entries_read, machine_code, native_rollout, sequences
from drift_wm.models.world_model import LearnedWorldModel


class Drawn:
    """Predicts the futures that noise draws.

    Args:
        model: in deviations of one, on a CPU in float32.
        code: predicts.
        observe: predict all observations, not only those that the next chunk starts from.
    """

    def __init__(self, model: LearnedWorldModel, code: ctypes.CDLL, *, observe: bool) -> None:
        self._model, self._code, self._observe = model, code, observe
        kept = entries_read(model, observe=observe)
        networks = [member.backbone for member in model.members]
        self._members = [
            native_rollout(code, model, network, (network.output.weight[kept], network.output.bias[kept]))
            for network in networks
        ]
        self.outputs = len(kept)
        """Of the last layer."""

    @classmethod
    def of(cls, model: LearnedWorldModel, *, observe: bool) -> Drawn | None:
        """Of all members, or None where they sample otherwise, or torch has to."""
        code = machine_code(model) if model.members[0].samples_in_one_pass else None
        return None if code is None else cls(model, code, observe=observe)

    def rollout(self, history: History, actions: Tensor, noise: Tensor) -> Prediction:
        """See `WorldModel.rollout`; noise (H / k, B or 1, 1, P, Z)."""
        acted, parts = sequences(history, actions), [part for _, part in self._model.share_out(noise.squeeze(2))]
        pairs = zip(self._members, parts, strict=False)  # fewer particles than members ask the first of them
        futures = [predict(history.obs, acted, part) for predict, part in pairs]
        rewards, observations, newest = zip(*futures, strict=True)

        def together(parts: tuple[Tensor, ...]) -> Tensor:
            """(B * N * P of a member, ...) of each -> (B, N, P, ...)."""
            of_each = [part.view(*actions.shape[:2], -1, *part.shape[1:]) for part in parts]
            return of_each[0] if len(of_each) == 1 else torch.cat(of_each, dim=2)

        def obs() -> Tensor:
            with torch.inference_mode():
                if not self._observe:
                    return Drawn(self._model, self._code, observe=True).rollout(history, actions, noise).obs
                return together(observations)

        return Prediction(obs, together(rewards), final=together(newest)[..., -1, :])
