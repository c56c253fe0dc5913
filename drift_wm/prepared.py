"""A learned world model made ready to plan: what it predicts, without what a decision need not pay for."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from drift_wm.generators import ConditionalGenerator
from drift_wm.interfaces import History, Prediction
from drift_wm.nets import ConditionalMLP
from drift_wm.normalisation import Scales
from drift_wm.world_model import LearnedWorldModel


class PreparedModel:
    """The predictions of a learned world model as it is now, faster.

    * Scales are folded into the network's first and last layers, so nothing is standardised on the way.
    * The actions' share of the first layer is one product for all chunks of a horizon, and that of the frames is added
      to it in place.
    * Observations are put together only for an objective that reads them.

    `LearnedWorldModel.rollout` is the reference that tests hold it to. Training on does not reach a prepared model.

    Args:
        model: predicts; copied.
        central: of each generator only the central future is seen, the mean or the sample from noise of zero, for
            planning on a single future: a draw would add its chance to every score of a decision. On
            cartpole-swingup one trained model returned 818 instead of 680 (5 evaluation episodes, one seed). Where a
            world may go several ways, plan on several particles instead.
    """

    def __init__(self, model: LearnedWorldModel, *, central: bool = False) -> None:
        self.spec, self.history, self.chunk = model.spec, model.history, model.chunk
        self.central = central
        self._model = copy.deepcopy(model).requires_grad_(False).eval()
        self._model.rescale(_unit_scales(model))
        # Some generators keep the scales they were first given.
        self._scales_targets = self._model.normaliser.is_set

    @property
    def nfe(self) -> int:
        """Network evaluations for each chunk of a future."""
        return self._model.generator.nfe

    @property
    def network(self) -> ConditionalMLP:
        """Of the first member."""
        return self._model.members[0].backbone

    @torch.inference_mode()
    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """See `WorldModel.rollout`; of a central future all particles are the same, and `rng` is not read."""
        model = self._model
        model.check(history, actions)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.uses_bfloat16()):
            if self.central:
                futures = [self._futures(model.members[0], history, actions, None)]
            else:
                noise = model.draw_noise(actions, particles, rng=rng, independent=independent)
                futures = [self._futures(member, history, actions, part) for member, part in model.share_out(noise)]
        shape = (*actions.shape[:2], particles)
        return Prediction(
            obs=lambda: torch.cat([future.obs() for future in futures], dim=2).expand(*shape, -1, -1),
            reward=torch.cat([future.reward() for future in futures], dim=2).expand(*shape, -1),
        )

    def _futures(
        self, member: ConditionalGenerator, history: History, actions: Tensor, noise: Tensor | None
    ) -> _Futures:
        """The P futures of one member."""
        (B, N), A = actions.shape[:2], actions.shape[3]
        K, k, D, net = self.history, self.chunk, self.spec.observation_size, member.backbone
        P, scales = 1 if noise is None else noise.shape[3], self._model.normaliser
        acted = torch.cat([history.actions[:, None].expand(B, N, K - 1, A), actions], dim=2) if K > 1 else actions
        chunks = acted.unfold(2, K - 1 + k, k).permute(2, 0, 1, 4, 3).flatten(-2)  # (H / k, B, N, entries)
        from_actions = net.first_layer_of(slice(K * D, None), chunks).add_(net.from_condition.bias)
        from_frames = net.from_condition.weight[:, : K * D].t()
        frames = history.obs[:, None, None]  # (B, 1, 1, K, D), later (B, N, P, K, D)
        futures = _Futures([], [])
        for i, known in enumerate(from_actions.unsqueeze(3).unbind(0)):
            if i > 0 and P == 1 and known.dtype == frames.dtype:
                known.view(B * N, -1).addmm_(frames.reshape(B * N, K * D), from_frames)
            else:
                known = known + net.first_layer_of(slice(K * D), frames.flatten(-2))
            target = member.centre(known) if noise is None else member.decode(known, noise[i])
            change = target.float().view(B, N, P, k, D + 1)
            if self._scales_targets:
                change = torch.addcmul(scales.target_mean, change, scales.target_std)
            start = frames[..., -1:, :]
            futures.starts.append(start)
            futures.changes.append(change)
            frames = self._model.next_frames(frames, change[..., -min(K, k) :, :D] + start)
        return futures


@dataclass(frozen=True, slots=True)
class _Futures:
    """What a member predicted, chunk by chunk."""

    starts: list[Tensor]
    """The frame (B, N, P, 1, D) before each chunk; the first is the same for all candidates."""
    changes: list[Tensor]
    """(B, N, P, k, D + 1): changes of the observation since then, and rewards."""

    @torch.inference_mode()
    def obs(self) -> Tensor:
        """(B, N, P, H, D)."""
        return torch.cat(
            [start + change[..., :-1] for start, change in zip(self.starts, self.changes, strict=True)], dim=3
        )

    def reward(self) -> Tensor:
        """(B, N, P, H)."""
        return torch.cat([change[..., -1] for change in self.changes], dim=3)


def _unit_scales(model: LearnedWorldModel) -> Scales:
    """Those under which nothing is standardised."""
    scales = model.normaliser
    zeros, ones = torch.zeros_like, torch.ones_like
    return Scales(zeros(scales.obs_mean), ones(scales.obs_std), zeros(scales.target_mean), ones(scales.target_std))
