"""The package's records of tensors, and the protocols between its parts.

Shape legend, used everywhere in this package:

    B environments      K history frames     N candidate action sequences
    P particles         H horizon            k chunk (steps per network evaluation)
    D observation size  A action size        G generated siblings per condition
    S size of the simulator's full physics state

A planner sees nothing but a `Score`. A world model predicts and does not judge; an
`Objective` judges and does not predict. State is a value that is passed in and returned.
Actions are always scaled to [-1, 1]. Every source of randomness is a `torch.Generator` argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Metrics = dict[str, float]
"""Named scalars for logging, already detached and on the host."""

SMALL_ACTIONS = 0.05
"""Largest magnitude below which actions are in other units than a planner's [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a task and a model of it agree on. Compared when a checkpoint meets an environment."""

    observation_size: int
    """D: the length of the flat float32 observation."""
    action_size: int
    """A: the length of an action, each entry in [-1, 1]."""
    decision_seconds: float
    """Seconds of simulated or real time between two decisions (control period x action repeat)."""

    @property
    def sizes(self) -> tuple[int, int]:
        """(D, A)."""
        return self.observation_size, self.action_size


@dataclass(frozen=True, slots=True)
class History:
    """What a model may know when it predicts: the newest K observations and the actions between them."""

    obs: Tensor
    """(B, K, D) float32, newest last; the first frame is repeated where an episode is younger than K."""
    actions: Tensor
    """(B, K - 1, A) float32, the actions between those frames; zero where the frame is a repetition."""
    physics: Tensor | None = None
    """(B, S) float64 full physics state of the newest frame, for the true simulator; models never read it."""


class Prediction:
    """Sampled futures of every candidate.

    Args:
        obs: (B, N, P, H, D) the observation after each action, or what puts them together when they are asked for:
            most objectives read rewards alone.
        reward: (B, N, P, H) the reward of each step, times the probability that the world goes on to it.
        final: (B, N, P, D) the observation after the last action; default: the last of `obs`.
        terminal_value: (B, N, P) what is still to come after the last step, in rewards discounted to that step; None
            where nobody knows.
    """

    __slots__ = ("_final", "_obs", "reward", "terminal_value")

    def __init__(
        self,
        obs: Tensor | Callable[[], Tensor],
        reward: Tensor,
        *,
        final: Tensor | None = None,
        terminal_value: Tensor | None = None,
    ) -> None:
        self._obs = obs
        self._final = final
        self.reward = reward
        self.terminal_value = terminal_value

    @property
    def obs(self) -> Tensor:
        """(B, N, P, H, D): the observation after each action."""
        if not isinstance(self._obs, Tensor):
            self._obs = self._obs()
        return self._obs

    @property
    def final(self) -> Tensor:
        """(B, N, P, D): the observation after the last action."""
        return self.obs[..., -1, :] if self._final is None else self._final


@dataclass(frozen=True, slots=True)
class Batch:
    """Training windows; none crosses an episode boundary."""

    obs: Tensor
    """(B, K + k, D): K history frames, newest at index K - 1, then the k observations to predict."""
    actions: Tensor
    """(B, K - 1 + k, A): the actions between those frames."""
    reward: Tensor
    """(B, k): the rewards of the k predicted steps."""
    ended: Tensor | None = None
    """(B, k) float: 1 where the world ended with a step or before, 0 elsewhere; None if no episode ends by itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A planner's whole state between two calls."""

    mean: Tensor
    """(B, H, A): centre of the next proposals."""
    std: Tensor
    """(B, H, A): their standard deviation."""
    best: Tensor
    """(B, H, A): the best sequence seen for this decision."""
    score: Tensor
    """(B,): the score of `best`; -inf before the first evaluation."""
    elites: Tensor
    """(B, E, H, A): sequences carried to the next decision; E is 0 for rules that carry none."""
    non_finite: int = 0
    """Candidates whose score was NaN or infinite during the last `improve`; they were ranked last."""
    lost: tuple[int, ...] = ()
    """Environments of which some iteration of the last `improve` had no candidate with a finite score."""


Score = Callable[[Tensor], Tensor]
"""(B, N, H, A) action sequences -> (B, N) scores, higher is better."""

Objective = Callable[[Prediction, Tensor], Tensor]
"""(prediction, (B, N, H, A) actions) -> (B, N, P) value of every sampled future, higher is better."""

Risk = Callable[[Tensor], Tensor]
"""(B, N, P) -> (B, N): what a candidate is worth, given the values of its sampled futures."""


class Generator(Protocol):
    """A learned conditional distribution p(y | c)."""

    noise_size: int
    """Length of the noise z that fixes a sample."""
    stochastic: bool
    """Whether samples of one condition differ; if not, one of them stands for all particles."""

    @property
    def nfe(self) -> int:
        """Network evaluations per sample."""
        ...

    def each(self) -> Sequence[Generator]:
        """The members of an ensemble; of a generator alone, itself."""
        ...

    def loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        """Conditions (B, C) and one positive each (B, Y) -> scalar loss."""
        ...

    def sample(self, c: Tensor, z: Tensor) -> Tensor:
        """Conditions (..., C) and standard normal noise (..., Z), broadcast together -> (..., Y)."""
        ...


class WorldModel(Protocol):
    """Predicts futures of action sequences. Learned models and the true simulator both are one."""

    spec: Spec
    history: int
    """K: how many frames the model reads."""
    chunk: int
    """k: steps per evaluation; a horizon must be a multiple of it."""

    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """Predict `particles` futures of every candidate.

        Args:
            history: what is known, for B environments.
            actions: (B, N, H, A) candidate sequences in [-1, 1].
            particles: P sampled futures per candidate.
            rng: source of the noise, which is shared by all candidates and environments
                (common random numbers): two candidates differ by their actions alone, and a
                batch of environments is predicted as each of them would be alone.
            independent: draw noise for every environment by itself (still shared by its candidates), so that
                averages over environments do not share one draw's error: for measuring, not for planning.

        Raises:
            ValueError: H is not a multiple of the model's chunk, or a shape disagrees with `spec`.
        """
        ...


class Planner(Protocol):
    """Improves action sequences against a score. Knows nothing of models or environments."""

    horizon: int

    def init(self, batch_size: int) -> Plan:
        """The plan of someone who knows nothing yet, for B environments."""
        ...

    def improve(self, score: Score, plan: Plan, *, rng: torch.Generator, proposals: Tensor | None = None) -> Plan:
        """Spend one decision's budget of candidates on the plan; (B, M, H, A) proposals are among them."""
        ...

    def shift(self, plan: Plan, steps: int) -> Plan:
        """The plan after its first `steps` actions were executed: the warm start of the next decision."""
        ...

    def action(self, plan: Plan) -> Tensor:
        """(B, H, A): the sequence to execute now."""
        ...


PolicyState = TypeVar("PolicyState")


class Policy(Protocol[PolicyState]):
    """Chooses actions for B environments at once; its memory is a value, returned and passed back in."""

    def reset(self, obs: Tensor, *, seed: int) -> PolicyState:
        """Start B episodes from their first observations (B, D)."""
        ...

    def act(self, obs: Tensor, state: PolicyState, *, physics: Tensor | None = None) -> tuple[Tensor, PolicyState]:
        """Observations (B, D) -> actions (B, A) in [-1, 1].

        `physics` (B, S) is the simulator's own state; only a policy that plans in the true simulator reads it.
        """
        ...
