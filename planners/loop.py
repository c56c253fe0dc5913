"""The planning loop that all sampling-based planners share, and their common settings."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from drift_wm.compilation import machine_code
from drift_wm.interfaces import Plan, Score
from drift_wm.planners.native import NativeSearch
from drift_wm.planners.noise import NoiseStock
from drift_wm.planners.ranking import kept_where, rank
from drift_wm.requirements import require, require_at_least, require_one_of

EXECUTE = ("best", "mean")


@dataclass(kw_only=True)
class PlannerConfig:
    """What every sampling-based planner needs to know."""

    horizon: int = 50
    """H: actions in a sequence, in decisions; a model may ask for a multiple of its chunk."""
    candidates: int = 256
    """N: sequences scored per iteration, those carried over from earlier included."""
    iterations: int = 4
    """Rounds of proposing, scoring and refitting per decision."""
    initial_std: float = 0.5
    """Standard deviation of the proposals at the start of a decision, in units of the action range [-1, 1]."""
    min_std: float = 0.05
    """Floor of the refitted standard deviation."""
    noise_exponent: float = 0.0
    """beta of the proposals' power-law noise along the horizon; 0 is white, larger is smoother."""
    execute: str = "best"
    """What to execute: `best`, the best sequence seen for the decision, or `mean`, the refitted centre."""

    def __post_init__(self) -> None:
        """Reject settings no planner can work with."""
        require_at_least(1, self, "horizon", "iterations", group="planner.")
        require_at_least(2, self, "candidates", group="planner.")
        require(0 < self.initial_std < math.inf, "planner.initial_std", self.initial_std, "a positive number")
        expected = f"a number from 0 to initial_std = {self.initial_std}"
        require(0 <= self.min_std <= self.initial_std, "planner.min_std", self.min_std, expected)
        require(
            abs(self.noise_exponent) <= 10, "planner.noise_exponent", self.noise_exponent, "a number from -10 to 10"
        )
        require_one_of(EXECUTE, "planner.execute", self.execute)

    @property
    def selected(self) -> int:
        """S: the best candidates of an iteration that the update rule is shown."""
        return 1

    @property
    def unread(self) -> tuple[str, ...]:
        """Names of settings that this planner does not read."""
        return ()

    def without_effect(self) -> dict[str, str]:
        """Settings other than their defaults that this planner does not read, and why."""
        changed = {each.name for each in fields(self) if getattr(self, each.name) != each.default}
        return {name: "this planner does not read it" for name in self.unread if name in changed}


ConfigT_co = TypeVar("ConfigT_co", bound=PlannerConfig, covariant=True)


class SamplingPlanner(ABC, Generic[ConfigT_co]):
    """Proposes action sequences, scores them and refits the proposal; a subclass adds the rule of refitting.

    The noise of a decision is shared by all environments of a batch, so a batch is planned as each of its
    environments would be alone.
    """

    def __init__(
        self,
        config: ConfigT_co,
        action_size: int,
        *,
        device: torch.device | str = "cpu",
        compile: bool = True,
    ) -> None:
        """Set up a planner.

        Args:
            config: settings of the loop and of the rule.
            action_size: A.
            device: where plans and candidates live, in float32.
            compile: search by machine code, where the device is a CPU and has a compiler.

        Raises:
            ValueError: `action_size` is not positive.
        """
        if action_size < 1:
            raise ValueError(f"action_size is {action_size}; expected at least 1. Pass Spec.action_size.")
        self.config = config
        self.action_size = action_size
        self.device = torch.device(device)
        code = machine_code() if compile and self.device.type == "cpu" else None
        self.native = None if code is None else NativeSearch(code)
        """Proposes, ranks and refits in place of torch, if anything does."""
        self.horizon = config.horizon
        self.noise = NoiseStock(
            sum(self.populations),
            config.horizon,
            action_size,
            config.noise_exponent,
            device=self.device,
        )
        """Where the proposals of all iterations of a decision come from."""

    @property
    def populations(self) -> tuple[int, ...]:
        """Sequences scored in each iteration of a decision."""
        return (self.config.candidates,) * self.config.iterations

    @property
    def carried_elites(self) -> int:
        """E: sequences that a plan carries to the next decision."""
        return 0

    @property
    def most_proposals(self) -> int:
        """Sequences from elsewhere that the first iteration of a decision has room for."""
        return self._room(self.init(1))

    def propose(self, plan: Plan, noise: Tensor, known: Tensor) -> Tensor:
        """Noise (N, H, A), whose first M give way to known (B, M, H, A) -> candidates (B, N, H, A)."""
        if self.native is not None:
            return self.native.propose(plan, noise, known)
        return with_known(torch.addcmul(plan.mean.unsqueeze(1), noise, plan.std.unsqueeze(1)), known)

    def incumbents(self, plan: Plan, iteration: int) -> Tensor:
        """(B, M, H, A): known sequences that take the place of the first M proposals of an iteration."""
        return plan.mean.unsqueeze(1)

    def update(self, plan: Plan, candidates: Tensor, scores: Tensor) -> Plan:
        """Rank an iteration's candidates (B, N, H, A) by their scores (B, N), and refit the plan."""
        ranked = rank(plan, candidates, scores, self.config.selected, native=self.native)
        updated = self.refit(ranked.plan, candidates, ranked.scores, ranked.elites)
        if ranked.failures:
            updated = replace(updated, non_finite=updated.non_finite + ranked.failures)
        return kept_where(ranked.lost, plan, updated) if ranked.lost else updated

    @abstractmethod
    def refit(self, plan: Plan, candidates: Tensor, scores: Tensor, elites: Tensor) -> Plan:
        """The update rule.

        Args:
            plan: the plan so far; `best` and `score` already account for these candidates.
            candidates: (B, N, H, A) in [-1, 1].
            scores: (B, N), finite or -inf, at least one finite per environment.
            elites: (B, S, H, A) the best of them, best first.

        Returns:
            The plan with a new mean, standard deviation and elites.
        """

    def init(self, batch_size: int) -> Plan:
        """The plan of someone who knows nothing yet: zero actions, the initial spread, no score."""
        mean = torch.zeros(batch_size, self.horizon, self.action_size, device=self.device)
        return Plan(
            mean=mean,
            std=torch.full_like(mean, self.config.initial_std),
            best=torch.zeros_like(mean),
            score=mean.new_full((batch_size,), -torch.inf),
            elites=mean.new_zeros(batch_size, self.carried_elites, self.horizon, self.action_size),
        )

    # inference_mode would save a tenth of the loop's own time, but its tensors cannot enter training later.
    @torch.no_grad()
    def improve(self, score: Score, plan: Plan, *, rng: torch.Generator, proposals: Tensor | None = None) -> Plan:
        """Spend one decision's budget of candidates on the plan.

        `best` and `score` of the plan are kept where nothing better is found: call `shift`, with 0 steps if
        need be, whenever the score function has changed. An environment none of whose candidates has a finite score
        goes on with the plan that it had, and is named in `Plan.lost`.

        Args:
            score: (B, N, H, A) -> (B, N), higher is better; called without gradients. Scores that are NaN or
                infinite rank last and are counted in `Plan.non_finite`.
            plan: where to start from.
            rng: on any device; it chooses which part of the planner's stock of noise the proposals take.
            proposals: (B, M, H, A) sequences from elsewhere, a policy's perhaps, that take the place of as many drawn
                ones in the first iteration.

        Raises:
            ValueError: the plan or the proposals were made for another horizon or action size, there are too many
                proposals, or the scores' shape is wrong.
        """
        self._check(plan)
        self._check_proposals(plan, proposals)
        plan = replace(plan, non_finite=0, lost=())
        noise = self.noise.take(rng)
        for iteration, draw in enumerate(torch.split(noise, list(self.populations))):
            known = self.incumbents(plan, iteration)
            if iteration == 0 and proposals is not None:
                # Who proposes may be lost where a world goes wild: a NaN has no weight, but poisons a weighted mean.
                known = torch.cat([known, proposals.to(known).nan_to_num(nan=0.0)], dim=1)
            candidates = self.propose(plan, draw, known)
            scores = score(candidates)
            if scores.shape != candidates.shape[:2]:
                raise ValueError(
                    f"the score function returned shape {tuple(scores.shape)}; expected (environments, candidates) = "
                    f"{tuple(candidates.shape[:2])}. Reduce futures by an objective and a risk rule, as make_score "
                    "does."
                )
            plan = self.update(plan, candidates, scores.to(candidates.dtype))
        return plan

    def shift(self, plan: Plan, steps: int) -> Plan:
        """The warm start of the next decision, after the first `steps` actions were executed.

        Mean and elites move forward by `steps` and repeat their last action at the end; the standard
        deviation returns to its initial value; `best` and `score` are as in a new plan.

        Raises:
            ValueError: `steps` is negative or larger than the horizon.
        """
        self._check(plan)
        if not 0 <= steps <= self.horizon:
            raise ValueError(f"steps is {steps}; expected 0 to horizon = {self.horizon}. Replan sooner.")
        return Plan(
            mean=_moved(plan.mean, steps),
            std=torch.full_like(plan.std, self.config.initial_std),
            best=torch.zeros_like(plan.best),
            score=torch.full_like(plan.score, -torch.inf),
            elites=_moved(plan.elites, steps),
        )

    def action(self, plan: Plan) -> Tensor:
        """(B, H, A): the sequence to execute now, `best` or `mean` as configured."""
        return plan.best if self.config.execute == "best" else plan.mean

    def _room(self, plan: Plan) -> int:
        return self.populations[0] - self.incumbents(plan, 0).shape[1]

    def _check_proposals(self, plan: Plan, proposals: Tensor | None) -> None:
        if proposals is None:
            return
        expected = (plan.mean.shape[0], self.horizon, self.action_size)
        found = (proposals.shape[0], *proposals.shape[2:])
        room = self._room(plan)
        if found != expected or proposals.shape[1] > room:
            raise ValueError(
                f"proposals have shape {tuple(proposals.shape)}; expected (environments, at most {room}, horizon, "
                f"action_size) = ({expected[0]}, M, {self.horizon}, {self.action_size}). Propose fewer, or raise "
                "planner.candidates."
            )

    def _check(self, plan: Plan) -> None:
        B, sequence = len(plan.mean), (self.horizon, self.action_size)
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(("mean", "std", "best"), (B, *sequence))
        expected |= {"score": (B,), "elites": (B, self.carried_elites, *sequence)}
        for name, shape in expected.items():
            if (found := getattr(plan, name).shape) != shape:
                raise ValueError(
                    f"the plan's {name} has shape {tuple(found)}; this planner expects {shape}. Start from its own "
                    "init()."
                )


def with_known(candidates: Tensor, known: Tensor) -> Tensor:
    """Candidates (B, N, H, A), brought within [-1, 1] in place, with the known (B, M, H, A) instead of the first M."""
    candidates[:, : known.shape[1]] = known
    return candidates.clamp_(-1.0, 1.0)


def _moved(sequences: Tensor, steps: int) -> Tensor:
    """Sequences (..., H, A) without their first steps, and with as many of the last again."""
    return torch.cat([sequences[..., steps:, :], *[sequences[..., -1:, :]] * steps], dim=-2)
