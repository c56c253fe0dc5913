"""What is still to come after a planning horizon: critics of actions, and the actor that is greedy in them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from drift_wm.generators.nets import MLP

_WIDTH = 128
_CRITICS = 2
_STEPS = 3  # of rewards before a target bootstraps; more leave too much to the actions of whoever collected the data
_UNIT = 10  # what critics predict of a constant reward of 1: an optimiser's steps jitter, and must be small beside it
_SLOW = 0.02  # share of the way that the bootstrapping networks follow in a step
_NOISE, _NOISE_LIMIT = 0.2, 0.5  # of the actions that targets are smoothed over, and of those that are imagined
_LARGE = 2.0  # root mean square of rewards from which critics count in units of their own
_TINY = 1e-3  # below this mean size of what a critic predicts, the actor's loss is no longer scaled


@dataclass(frozen=True, slots=True)
class Steps:
    """What critics learn from: B observations, what was done there, and what came of it some steps later."""

    obs: Tensor
    """(B, D) standardised."""
    actions: Tensor
    """(B, A)"""
    paid: Tensor
    """(B,) rewards on the way, discounted."""
    remaining: Tensor
    """(B,) discount of what comes after it; less by the probability that the world ended on the way."""
    after: Tensor
    """(B, D) standardised, where it led."""

    @classmethod
    def of(cls, obs: Tensor, actions: Tensor, reward: Tensor, ended: Tensor | None, *, discount: float) -> Steps:
        """The first of k steps, with the rewards of up to `_STEPS` of them.

        Args:
            obs: (B, k + 1, D) standardised, of consecutive steps.
            actions: (B, k, A) between them.
            reward: (B, k).
            ended: (B, k) 1, or the probability, that the world ended with a step or before; nothing comes after that.
            discount: g, per step.
        """
        steps = min(_STEPS, reward.shape[1])
        paid, remaining = torch.zeros_like(reward[:, 0]), torch.ones_like(reward[:, 0])
        for step in range(steps):
            paid = paid + remaining * reward[:, step]
            remaining = discount * (remaining if ended is None else remaining * (1 - ended[:, step]))
        return cls(obs[:, 0], actions[:, 0], paid, remaining, obs[:, steps])

    def joined_to(self, others: Steps) -> Steps:
        """These, then the others."""
        return Steps(*(torch.cat([getattr(self, each.name), getattr(others, each.name)]) for each in fields(Steps)))


class ActorCritic(nn.Module):
    """V(o) = E[r_1 + g r_2 + g^2 r_3 + ...] under a policy that improves on whoever collected the data.

    A planner that looks H decisions ahead is blind to what its plan leads to after them; V judges the observation in
    which the plan leaves the robot, as the critics' value of the actor's action there. Learned off-policy from replay
    after Fujimoto et al. 2018 (TD3): two critics of which the lower one counts, targets of slow copies smoothed over
    actions, a deterministic actor, which here learns at every step, not at every other. Hidden layers are normalised,
    which keeps critics from running away where the data are few (Ball et al. 2023, section 4.2), and targets take
    several steps of recorded rewards. Critics learn at a steady rate from zero, so that large rewards would be out of
    their reach: such are counted in a unit of their own.

    Args:
        observation_size: D.
        action_size: A.
        discount: g, per decision, in (0, 1).
        rng: source of the initial weights.
    """

    reward_unit: Tensor

    def __init__(self, observation_size: int, action_size: int, *, discount: float, rng: torch.Generator) -> None:
        super().__init__()
        self.discount = discount
        self.register_buffer("reward_unit", torch.ones(()))
        inputs = observation_size + action_size
        self.critics = nn.ModuleList(
            MLP(inputs, 1, width=_WIDTH, depth=2, normalised=True, rng=rng) for _ in range(_CRITICS)
        )
        for critic in self.critics:
            assert isinstance(critic, MLP)
            critic.start_at_zero()
        self.actor = MLP(observation_size, action_size, width=_WIDTH, depth=2, normalised=True, rng=rng)
        self.slow_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.slow_actor = copy.deepcopy(self.actor).requires_grad_(False)

    def forward(self, obs: Tensor) -> Tensor:
        """Standardised observations (..., D) -> values (...), in units of rewards."""
        return _lowest(self.critics, obs, self.act(obs)) * self.reward_unit / (_UNIT * (1 - self.discount))

    def act(self, obs: Tensor) -> Tensor:
        """Standardised observations (..., D) -> the actor's actions (..., A) in [-1, 1]."""
        return torch.tanh(self.actor(obs))

    @torch.no_grad()
    def try_actions(self, obs: Tensor, *, rng: torch.Generator) -> Tensor:
        """Standardised observations (..., D) -> actions (..., A) about the actor's, in [-1, 1]."""
        return _smoothed(self.act(obs), rng)

    def loss(
        self, recorded: Steps, imagined: Steps | None = None, *, weight: float = 1.0, rng: torch.Generator
    ) -> Tensor:
        """Of the critics, on steps, and of the actor, on the observations before the recorded ones.

        Args:
            recorded: B steps.
            imagined: steps that nobody took, from which critics learn too.
            weight: of the mean error of these beside that of the recorded ones.
            rng: source of the noise on the targets' actions.
        """
        self._follow()
        return self._critics_loss(recorded, imagined, weight, rng) + self._actor_loss(recorded.obs)

    @torch.no_grad()
    def rebase(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the functions when observations are given as o' with o = scale * o' + shift, both (D,)."""
        for network in (*self.critics, self.actor, *self.slow_critics, self.slow_actor):
            assert isinstance(network, MLP)
            network.rebase(scale, shift)

    @torch.no_grad()
    def see_rewards(self, mean: Tensor, std: Tensor) -> None:
        """Count rewards of this mean and deviation in a unit that fits, if it is larger; values stay what they are."""
        unit = torch.maximum(self.reward_unit, (mean.square() + std.square()).sqrt() / _LARGE)
        for critic in (*self.critics, *self.slow_critics):
            assert isinstance(critic, MLP)
            critic.scale_output(self.reward_unit / unit)
        self.reward_unit.copy_(unit)

    def _critics_loss(self, recorded: Steps, imagined: Steps | None, weight: float, rng: torch.Generator) -> Tensor:
        """Squared errors, summed over critics; one pass for all steps, as larger products are faster."""
        every = recorded if imagined is None else recorded.joined_to(imagined)
        target, pairs = self._target(every, rng), _pairs(every.obs, every.actions)
        squared = torch.stack([critic(pairs).squeeze(-1) - target for critic in self.critics]).square()
        if imagined is None:
            return squared.mean(dim=1).sum()
        of_recorded, of_imagined = squared.tensor_split([len(recorded.obs)], dim=1)
        return of_recorded.mean(dim=1).sum() + weight * of_imagined.mean(dim=1).sum()

    @torch.no_grad()
    def _target(self, steps: Steps, rng: torch.Generator) -> Tensor:
        """(B,) what was paid and the slow critics' value after it.

        As critics predict them: a constant reward of one unit has the value `_UNIT`.
        """
        actions = _smoothed(torch.tanh(self.slow_actor(steps.after)), rng)
        later = _lowest(self.slow_critics, steps.after, actions)
        return _UNIT * (1 - self.discount) * steps.paid / self.reward_unit + steps.remaining * later

    def _actor_loss(self, obs: Tensor) -> Tensor:
        """Minus the first critic's value of the actor's actions, in units of its size; critics learn nothing by it."""
        fixed = {name: parameter.detach() for name, parameter in self.critics[0].named_parameters()}
        value: Tensor = torch.func.functional_call(self.critics[0], fixed, _pairs(obs, self.act(obs)))
        return -value.mean() / value.detach().abs().mean().clamp_min(_TINY)

    @torch.no_grad()
    def _follow(self) -> None:
        slow: list[Tensor] = [*self.slow_critics.parameters(), *self.slow_actor.parameters()]
        torch._foreach_lerp_(slow, [*self.critics.parameters(), *self.actor.parameters()], _SLOW)


def _smoothed(actions: Tensor, rng: torch.Generator) -> Tensor:
    """Actions (...) with noise, in [-1, 1]."""
    noise = _NOISE * torch.randn(actions.shape, generator=rng, device=actions.device)
    return (actions + noise.clamp_(-_NOISE_LIMIT, _NOISE_LIMIT)).clamp_(-1, 1)


def _pairs(obs: Tensor, actions: Tensor) -> Tensor:
    return torch.cat([obs, actions], dim=-1)


def _lowest(critics: nn.ModuleList, obs: Tensor, actions: Tensor) -> Tensor:
    """(...) the lowest of the critics' values."""
    pairs = _pairs(obs, actions)
    return torch.cat([critic(pairs) for critic in critics], dim=-1).amin(dim=-1)
