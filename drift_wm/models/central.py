"""The central future of a learned world model, where one pass through the network and a linear layer give it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from drift_wm.generators.nets import ConditionalMLP
from drift_wm.interfaces import History, Prediction
from drift_wm.models.machine_code import chunks, entries_read, machine_code_for, native_rollout, sequences
from drift_wm.models.world_model import LearnedWorldModel


class Centre:
    """Predicts the central future where one pass through the network and a linear layer give it.

    Args:
        model: in deviations of one; its weights are kept in the type they are multiplied in.
        layer: weight (Y, width) and bias (Y,) of all that the network says of the centre.
        observe: predict all observations, not only those that the next chunk starts from.
        compile: predict by machine code where there is a compiler for it, on a CPU in float32.
    """

    def __init__(self, model: LearnedWorldModel, layer: tuple[Tensor, Tensor], *, observe: bool, compile: bool) -> None:
        self._model, self._layer, self._observe, self._compile = model, layer, observe, compile
        self._chunk = _CentralChunk(model, layer, observe=observe)
        self.outputs = len(self._chunk.bias)
        """Of the last layer."""
        code = machine_code_for(model) if compile else None
        last = self._chunk.weight, self._chunk.bias
        self._native = None if code is None else native_rollout(code, model, self._chunk.network, last)

    @classmethod
    def of(cls, model: LearnedWorldModel, *, observe: bool, compile: bool) -> Centre | None:
        """Of the first member, or None where its generator needs more than one pass."""
        layer = model.members[0].central_layer
        return None if layer is None else cls(model, layer, observe=observe, compile=compile)

    @property
    def is_compiled(self) -> bool:
        """Whether predictions come from machine code."""
        return self._native is not None

    def look_ahead(self, frames: Tensor, actions: Tensor) -> Tensor:
        """Frames (R, K, D) and all actions that a chunk depends on (R, K - 1 + k, A) -> its observations (R, k, D)."""
        if self._native is not None:
            return self._native(frames, actions)[1]
        observations: Tensor = self._chunk(frames, actions.flatten(1))[1]
        return observations

    def rollout(self, history: History, actions: Tensor, *, particles: int) -> Prediction:
        """See `WorldModel.rollout`."""
        B, N = actions.shape[:2]
        if self._native is not None:
            reward, observed, frames = self._native(history.obs, sequences(history, actions))
        else:
            reward, observed, frames = self._by_chunks(history, actions)

        def obs() -> Tensor:
            with torch.inference_mode():
                if not self._observe:
                    everything = Centre(self._model, self._layer, observe=True, compile=self._compile)
                    return everything.rollout(history, actions, particles=particles).obs
                return shown(observed)

        def shown(entries: Tensor) -> Tensor:
            """The same for all particles: (B * N, ...) -> (B, N, P, ...)."""
            return entries.view(B, N, 1, *entries.shape[1:]).expand(B, N, particles, *entries.shape[1:])

        return Prediction(obs, shown(reward), final=shown(frames[:, -1]))

    def _by_chunks(self, history: History, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rewards (B * N, H), the observations of each chunk that are predicted, the newest frames (B * N, K, D)."""
        frames = history.obs.repeat_interleave(actions.shape[1], dim=0)
        rewards, observations = [], []
        for acted in chunks(history, actions, self._model.chunk).contiguous():
            reward, predicted, frames = self._chunk(frames, acted)
            rewards.append(reward)
            observations.append(predicted)
        return torch.cat(rewards, dim=1), torch.cat(observations, dim=1), frames


class _CentralChunk(nn.Module):
    """One chunk of the central future; arguments as `Centre`."""

    weight: Tensor
    bias: Tensor
    obs_mean: Tensor
    mean: Tensor

    def __init__(self, model: LearnedWorldModel, layer: tuple[Tensor, Tensor], *, observe: bool) -> None:
        super().__init__()
        self._chunk, self._next_frames = model.chunk, model.next_frames
        self._dtype = torch.bfloat16 if model.uses_bfloat16() else torch.float32
        self.network: ConditionalMLP = copy.deepcopy(model.members[0].backbone).to(self._dtype)
        kept = entries_read(model, observe=observe)
        self.register_buffer("weight", layer[0][kept].to(self._dtype))
        self.register_buffer("bias", layer[1][kept].to(self._dtype))
        scales = model.normaliser
        self._has_means = bool(scales.obs_mean.any() or scales.target_mean.any())
        self._with_angles = scales.with_angles
        self.register_buffer("obs_mean", scales.obs_mean.clone())
        self.register_buffer("mean", scales.target_mean.flatten()[kept])

    def forward(self, frames: Tensor, acted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (R, K, D) and the chunk's actions (R, entries) -> rewards (R, k), observations, the next frames."""
        seen = self._with_angles(frames - self.obs_mean if self._has_means else frames, frames)
        condition = torch.cat([seen.flatten(1), acted], dim=1).to(self._dtype)
        features = self.network.features(self.network.from_condition(condition), None)
        predicted = nn.functional.linear(features, self.weight, self.bias).float()
        predicted = predicted + self.mean if self._has_means else predicted
        reward, changes = predicted[:, : self._chunk], predicted[:, self._chunk :]
        observations = changes.view(-1, changes.shape[1] // frames.shape[2], frames.shape[2]) + frames[:, -1:]
        newest = self._next_frames(frames, observations[:, -frames.shape[1] :])
        return reward, observations, newest.contiguous()
