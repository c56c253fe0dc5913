"""Real environments as a world model: what was proposed is tried out in a second copy of the world.

The ceiling of what a world model can tell, for worlds whose simulator is not ours to vectorise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from drift_wm.acting.episodes import Environment
from drift_wm.interfaces import History, Prediction


class RehearsedWorld:
    """Predicts by going to the present state in copies of the environments, and stepping there.

    Args:
        envs: one for each of B rows, in an episode of the same seed as its row, since what a reset draws beyond the
            state (where a door stands) cannot be set.
    """

    history, chunk = 1, 1

    def __init__(self, envs: Sequence[Environment]) -> None:
        self.spec = envs[0].task_spec
        self._envs = envs

    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """See `WorldModel.rollout`; all particles are the same. An episode that ends pays nothing from there on.

        Raises:
            ValueError: the history has no physics states, or those of another number of environments.
        """
        B, N, H, _ = actions.shape
        if history.physics is None or len(history.physics) != len(self._envs):
            found = "none" if history.physics is None else str(len(history.physics))
            raise ValueError(
                f"physics states of {found} environments: expected those of {len(self._envs)}, which are rehearsed in"
            )
        observations = np.zeros((B, N, H, self.spec.observation_size), dtype=np.float32)
        rewards = np.zeros((B, N, H), dtype=np.float32)
        for b, (env, state) in enumerate(zip(self._envs, history.physics.numpy(), strict=True)):
            for n in range(N):
                env.set_physics_state(state)
                for t, action in enumerate(actions[b, n].numpy()):
                    # At a time limit, which copies keep as well, one refuses to go on.
                    try:
                        observations[b, n, t:], rewards[b, n, t], terminated, *_ = env.step(action)
                    except ResetNeeded:
                        break
                    if terminated:
                        break
        shape = (B, N, particles, H)
        return Prediction(
            torch.from_numpy(observations).unsqueeze(2).expand(*shape, -1),
            torch.from_numpy(rewards).unsqueeze(2).expand(shape),
        )
