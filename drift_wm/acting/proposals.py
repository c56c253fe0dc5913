"""What a learned actor would do, as candidates for a planner to start from."""

from __future__ import annotations

import torch
from torch import Tensor

from drift_wm.interfaces import History
from drift_wm.models.prepared import PreparedModel

_STD = 0.2


class ActorProposals:
    """Action sequences that a model's actor chooses in the model's own central futures.

    The first of them follows the actor, the others with Gaussian noise on every action; all environments meet the same
    noise, so a batch is planned as each of its environments would be alone.

    Args:
        model: predicts observations and has an actor.
        horizon: H.
        count: M sequences.
    """

    def __init__(self, model: PreparedModel, *, horizon: int, count: int) -> None:
        self._model, self._horizon, self._count = model, horizon, count

    @torch.inference_mode()
    def __call__(self, history: History, *, rng: torch.Generator) -> Tensor:
        """What is known, for B environments -> (B, M, H, A) in [-1, 1].

        An actor must see what it acts on, but a chunk is predicted from all its actions. So a chunk's actions are
        guessed and corrected: after k - 1 corrections each answers to the observation that is predicted before it, as
        far as a model's earlier steps do not depend on later actions.
        """
        model, B, M, H = self._model, len(history.obs), self._count, self._horizon
        K, k, A = model.history, model.chunk, model.spec.action_size
        noise = torch.randn(M, H, A, generator=rng, device=rng.device).to(history.obs.device) * _STD
        noise[0] = 0
        frames = history.obs.repeat_interleave(M, dim=0)  # (B * M, K, D), the newest
        acted = history.actions.repeat_interleave(M, dim=0)  # (B * M, K - 1, A), growing by chunks
        for wobble in torch.split(noise.repeat(B, 1, 1), k, dim=1):
            past, seen = acted[:, acted.shape[1] - (K - 1) :], frames[:, -1:].expand(-1, k, -1)
            for _ in range(k):
                actions = (model.act(seen) + wobble).clamp_(-1, 1)
                predicted = model.look_ahead(frames, torch.cat([past, actions], dim=1))
                seen = torch.cat([frames[:, -1:], predicted[:, :-1]], dim=1)
            frames, acted = torch.cat([frames, predicted], dim=1)[:, -K:], torch.cat([acted, actions], dim=1)
        return acted[:, K - 1 :].view(B, M, H, A)
