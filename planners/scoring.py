"""From a world model, an objective and a risk rule to the score function that a planner sees."""

from __future__ import annotations

import torch
from torch import Tensor

from drift_wm.interfaces import History, Objective, Risk, Score, WorldModel

MAX_SEED = 2**63 - 1


def make_score(
    model: WorldModel,
    objective: Objective,
    risk: Risk,
    history: History,
    *,
    particles: int,
    rng: torch.Generator,
    max_rows: int = 65536,
) -> Score:
    """The score function of one decision.

    It has common random numbers: every call restarts the model's noise from one seed, so that all candidates
    of all iterations meet the same sampled futures and differ by their actions alone.

    Args:
        model: predicts.
        objective: judges each sampled future.
        risk: reduces a candidate's futures to one number.
        history: what is known at this decision, for B environments.
        particles: P sampled futures per candidate.
        rng: one seed is drawn from it; the model's noise comes from generators on the same device.
        max_rows: most sequences, B * N * P, predicted at once; more candidates are walked in slices.
            It bounds memory and does not change a score beyond the rounding of the model's arithmetic.

    Returns:
        A function from (B, N, H, A) action sequences to (B, N) scores.

    Raises:
        ValueError: `particles` or `max_rows` is not positive.
    """
    if particles < 1:
        raise ValueError(f"particles is {particles}; expected at least 1. Use 1 for a deterministic model.")
    if max_rows < 1:
        raise ValueError(f"max_rows is {max_rows}; expected at least 1. Use a few thousand to save memory.")
    seed = int(torch.randint(MAX_SEED, (), generator=rng, device=rng.device))
    width = max(1, max_rows // (history.obs.shape[0] * particles))
    noise = torch.Generator(device=rng.device)

    def score_slice(actions: Tensor) -> Tensor:
        noise.manual_seed(seed)
        prediction = model.rollout(history, actions, particles=particles, rng=noise)
        return risk(objective(prediction, actions))

    def score(actions: Tensor) -> Tensor:
        if actions.shape[1] <= width:
            return score_slice(actions)
        return torch.cat([score_slice(part) for part in torch.split(actions, width, dim=1)], dim=1)

    return score
