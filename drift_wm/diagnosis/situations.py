"""Recorded situations, and what a model or the true simulator says will happen in them.

Every roll-out here draws noise for each situation by itself, so that averages over situations do not share the error
of one draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import History, WorldModel
from drift_wm.models.futures import draw_futures
from drift_wm.models.world_model import LearnedWorldModel

MAX_ROWS = 8192
"""Most sequences that are predicted at once; it bounds memory and changes no law."""


@dataclass(frozen=True, slots=True, eq=False)
class Situations:
    """W moments of recorded episodes, and what was done and seen after them."""

    history: History
    """B = W; with the simulator's states where they were recorded."""
    actions: Tensor
    """(W, H, A)"""
    future: Tensor
    """(W, H, D): the observation after each of these actions."""

    def __len__(self) -> int:
        """W."""
        return len(self.actions)

    @property
    def horizon(self) -> int:
        """H."""
        return self.actions.shape[1]

    def select(self, rows: Tensor | slice) -> Situations:
        """Some of the situations, by their numbers or a mask."""
        return Situations(rows_of(self.history, rows), self.actions[rows], self.future[rows])


def draw_situations(
    episodes: Sequence[Episode], *, history: int, horizon: int, count: int, device: torch.device, rng: torch.Generator
) -> Situations:
    """Draw situations without replacement, uniformly over all that the episodes hold.

    Args:
        episodes: those of fewer than `horizon` transitions give none.
        history: K.
        horizon: H.
        count: W; fewer where the episodes have no more.
        device: where the situations are kept; the physics states stay on the host.
        rng: of the choice.

    Raises:
        ValueError: no episode is long enough, or they differ in size.
    """
    windows = Windows(episodes, history=history, chunk=horizon)
    chosen = torch.randperm(len(windows), generator=rng)[:count]
    batch = windows.batch(chosen)
    obs, actions = batch.obs.to(device), batch.actions.to(device)
    physics = _states(episodes, horizon)
    return Situations(
        history=History(
            obs[:, :history], actions[:, : history - 1], None if physics is None else physics[chosen.numpy()]
        ),
        actions=actions[:, history - 1 :],
        future=obs[:, history:],
    )


def sample_model(
    model: WorldModel,
    situations: Situations,
    steps: int,
    *,
    particles: int,
    rng: torch.Generator,
    by_member: bool = False,
) -> Tensor:
    """What a model says will be seen after the recorded actions: (W, P, steps, D).

    Args:
        model: a learned one, or the simulator; the prediction is made in whole chunks and then cut.
        situations: of at least `steps` rounded up to whole chunks.
        steps: how far to predict.
        particles: P.
        rng: of the noise, by itself for each situation.
        by_member: of an ensemble, equal shares of all members in contiguous groups; by default, the member that gives
            each sample is drawn by chance.

    Raises:
        ValueError: the situations are too short, or do not fit the model.
    """
    whole = math.ceil(steps / model.chunk) * model.chunk
    if whole > situations.horizon:
        raise ValueError(
            f"steps is {steps}, {whole} in whole chunks of {model.chunk}; expected at most {situations.horizon}, the "
            "length of the recorded futures: predict fewer steps"
        )
    members = len(model.members) if isinstance(model, LearnedWorldModel) and not by_member else 1
    width = max(1, MAX_ROWS // (particles * members))
    parts = []
    for start in range(0, len(situations), width):
        part = situations.select(slice(start, start + width))
        actions = part.actions[:, :whole]
        if by_member:
            shared_out = model.rollout(part.history, actions[:, None], particles=particles, rng=rng, independent=True)
            futures = shared_out.obs[:, 0]
        else:
            futures = draw_futures(model, part.history, actions, particles=particles, rng=rng)
        parts.append(futures[:, :, :steps].clone())
    return torch.cat(parts)


def true_samples(
    simulator: WorldModel, states: Tensor, actions: Tensor, *, samples: int, rng: torch.Generator
) -> Tensor:
    """Independent outcomes of the true world: (B, M, H, D).

    Args:
        simulator: such as `SimulatorWorldModel`, which starts from physics states.
        states: (B, S) float64.
        actions: (B, H, A).
        samples: M; in a deterministic world they are equal.
        rng: of the world's chance.

    Raises:
        ValueError: shapes disagree with the simulator's task.
    """
    B, H, A = actions.shape
    unread = actions.new_zeros(B, 1, simulator.spec.observation_size)
    situations = Situations(History(unread, actions.new_zeros(B, 0, A), states), actions, unread.expand(B, H, -1))
    return sample_model(simulator, situations, H, particles=samples, rng=rng)


def mean_returns(
    model: WorldModel, history: History, actions: Tensor, *, particles: int, rng: torch.Generator
) -> Tensor:
    """(B, N) float64: the mean over P futures of the summed rewards of candidates (B, N, H, A)."""
    B, N = actions.shape[:2]
    width = max(1, MAX_ROWS // (N * particles))
    parts = []
    for start in range(0, B, width):
        rows = slice(start, start + width)
        prediction = model.rollout(
            rows_of(history, rows), actions[rows], particles=particles, rng=rng, independent=True
        )
        parts.append(prediction.reward.double().sum(dim=-1).mean(dim=-1))
    return torch.cat(parts)


def rows_of(history: History, rows: Tensor | slice) -> History:
    """The histories of some environments."""
    physics = history.physics
    if physics is not None:
        physics = physics[rows.to(physics.device) if isinstance(rows, Tensor) else rows]
    return replace(history, obs=history.obs[rows], actions=history.actions[rows], physics=physics)


def _states(episodes: Sequence[Episode], horizon: int) -> Tensor | None:
    """The physics state at the start of every window, in the order of `Windows`; None where one is missing."""
    starts = []
    for episode in episodes:
        if episode.states is None:
            return None
        starts.append(episode.states[: max(0, len(episode) - horizon + 1)])
    if len({part.shape[1] for part in starts}) > 1:
        return None
    return torch.from_numpy(np.concatenate(starts))
