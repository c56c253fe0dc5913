"""The central future of a learned world model, where one pass through the network and a linear layer give it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from drift_wm.generators.nets import ConditionalMLP
from drift_wm.interfaces import History, Prediction
from drift_wm.models.compiled import compiled
from drift_wm.models.world_model import LearnedWorldModel


class Centre:
    """Predicts the central future where one pass through the network and a linear layer give it.

    Args:
        model: in deviations of one; its weights are kept in the type they are multiplied in.
        layer: weight (Y, width) and bias (Y,) of all that the network says of the centre.
        observe: predict all observations, not only those that the next chunk starts from.
        compile: predict by compiled code.
    """

    def __init__(
        self, model: LearnedWorldModel, layer: tuple[Tensor, Tensor], *, observe: bool, compile: bool = False
    ) -> None:
        self._model, self._layer, self._observe = model, layer, observe
        chunk = _CentralChunk(model, layer, observe=observe, bfloat16=model.uses_bfloat16())
        self.outputs = len(chunk.bias)
        """Of the last layer."""
        self._predict: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] = chunk
        self.is_compiled = False
        if compile:
            K, D, entries = model.history, model.spec.observation_size, chunk.network.from_condition.in_features
            coarse = _CentralChunk(model, layer, observe=observe, bfloat16=True)
            if (code := compiled(coarse, (K, D), (entries - K * D,))) is not None:
                self._predict, self.is_compiled = code, True

    @classmethod
    def of(cls, model: LearnedWorldModel, *, observe: bool, compile: bool) -> Centre | None:
        """Of the first member, or None where its generator needs more than one pass."""
        layer = model.members[0].central_layer
        return None if layer is None else cls(model, layer, observe=observe, compile=compile)

    def look_ahead(self, frames: Tensor, acted: Tensor) -> Tensor:
        """Frames (R, K, D) and all actions that a chunk depends on (R, entries) -> its observations (R, k, D)."""
        return self._predict(frames, acted)[1]

    def rollout(self, history: History, actions: Tensor, *, particles: int) -> Prediction:
        """See `WorldModel.rollout`."""
        B, N = actions.shape[:2]
        frames = history.obs.repeat_interleave(N, dim=0)  # (B * N, K, D)
        rewards, observations = [], []
        for acted in chunks(history, actions, self._model.chunk).contiguous():
            reward, predicted, frames = self._predict(frames, acted)
            rewards.append(reward)
            observations.append(predicted)

        def obs() -> Tensor:
            if not self._observe:
                everything = Centre(self._model, self._layer, observe=True)
                return everything.rollout(history, actions, particles=particles).obs
            return shown(torch.cat(observations, dim=1))

        def shown(entries: Tensor) -> Tensor:
            """The same for all particles: (B * N, ...) -> (B, N, P, ...)."""
            return entries.view(B, N, 1, *entries.shape[1:]).expand(B, N, particles, *entries.shape[1:])

        return Prediction(torch.inference_mode()(obs), shown(torch.cat(rewards, dim=1)), final=shown(frames[:, -1]))


class _CentralChunk(nn.Module):
    """One chunk of the central future; arguments as `Centre`, and whether to multiply in bfloat16."""

    weight: Tensor
    bias: Tensor
    obs_mean: Tensor
    mean: Tensor

    def __init__(
        self, model: LearnedWorldModel, layer: tuple[Tensor, Tensor], *, observe: bool, bfloat16: bool
    ) -> None:
        super().__init__()
        k, D = model.chunk, model.spec.observation_size
        self._chunk, self._next_frames = k, model.next_frames
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.network: ConditionalMLP = copy.deepcopy(model.members[0].backbone).to(self._dtype)
        entries = torch.arange(k * (D + 1), device=model.device).view(k, D + 1)
        frames = entries[:, :D] if observe else entries[-model.history :, :D]
        kept = torch.cat([entries[:, D], frames.flatten()])  # rewards first, the newest frame last
        self.register_buffer("weight", layer[0][kept].to(self._dtype))
        self.register_buffer("bias", layer[1][kept].to(self._dtype))
        scales = model.normaliser
        self._has_means = bool(scales.obs_mean.any() or scales.target_mean.any())
        self.register_buffer("obs_mean", scales.obs_mean.clone())
        self.register_buffer("mean", scales.target_mean.flatten()[kept])

    def forward(self, frames: Tensor, acted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (R, K, D) and the chunk's actions (R, entries) -> rewards (R, k), observations, the next frames."""
        seen = frames - self.obs_mean if self._has_means else frames
        condition = torch.cat([seen.flatten(1), acted], dim=1).to(self._dtype)
        features = self.network.features(self.network.from_condition(condition), None)
        predicted = nn.functional.linear(features, self.weight, self.bias).float()
        predicted = predicted + self.mean if self._has_means else predicted
        reward, changes = predicted[:, : self._chunk], predicted[:, self._chunk :]
        observations = changes.view(-1, changes.shape[1] // frames.shape[2], frames.shape[2]) + frames[:, -1:]
        newest = self._next_frames(frames, observations[:, -frames.shape[1] :])
        return reward, observations, newest.contiguous()


def chunks(history: History, actions: Tensor, k: int) -> Tensor:
    """The actions that each chunk's prediction depends on, those before it included: (H / k, B * N, entries)."""
    B, N, H, A = actions.shape
    past = history.actions.shape[1]
    if past == 0:
        return actions.reshape(B * N, H // k, k * A).transpose(0, 1)
    acted = torch.cat([history.actions[:, None].expand(B, N, past, A), actions], dim=2)
    return acted.view(B * N, past + H, A).unfold(1, past + k, k).permute(1, 0, 3, 2).flatten(-2)
