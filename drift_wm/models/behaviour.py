"""Generators as policies: a behaviour learned from demonstrations, and how it acts.

The same conditional generators that predict the world imitate an actor in it: p(next k actions | K observations).
Chunks of actions keep a demonstration's choices consistent over time, and executing a part of each before the next
is sampled is a receding horizon (Chi et al. 2023, "Diffusion Policy", section 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from drift_wm.generators import ConditionalGenerator, GeneratorConfig, make_generator, sample_scores
from drift_wm.interfaces import Batch, History, Spec
from drift_wm.models.normalisation import (
    Scales,
    change_of_units,
    differ,
    join_changes,
    predicting_anew,
    reading_anew,
)
from drift_wm.random_streams import each_decision_rng
from drift_wm.requirements import require, require_at_least


@dataclass
class PolicySettings:
    """What a learned policy reads and does."""

    history: int = 1
    """Policies: K, observations the policy reads; 1 where the observation is the state."""
    chunk: int = 8
    """Policies: k, actions that are sampled at once."""
    execute: int | None = None
    """Policies: actions of each chunk that are executed before the next is sampled; default: half, rounded up."""
    noise: float = 1.0
    """Policies: scale of the noise that a chunk is sampled from. 1 varies as the demonstrators did; 0 executes the
    centre of what they did, without their jitter (with drifting, the mean of 16 samples). An evaluation may choose
    another."""

    def __post_init__(self) -> None:
        require_at_least(1, self, "history", "chunk", group="policy.")
        require(
            self.execute is None or 1 <= self.execute <= self.chunk,
            "policy.execute",
            self.execute,
            f"an integer from 1 to policy.chunk={self.chunk}, as no more actions than a chunk holds can be executed; "
            "lower it or raise policy.chunk",
        )
        require_noise("policy.noise", self.noise)

    @property
    def executed(self) -> int:
        """Actions of each chunk that are executed, at most k."""
        return self.execute or -(-self.chunk // 2)


def require_noise(name: str, noise: float) -> None:
    """Raise a ValueError unless a policy can act with noise of such a scale."""
    expected = "a number from 0 to 1, as nothing was learned of more noise than training had"
    require(0 <= noise <= 1, name, noise, expected)


@dataclass
class PolicyConfig(PolicySettings):
    """Shape of a learned policy."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)


class LearnedPolicy(nn.Module):
    """p(next k actions | K observations), learned from demonstrations.

    The generator learns standardised actions, so that joints that move little count like the others, and so that
    actions beyond [-1, 1], which logs of robots hold, are learned as they were recorded.

    Args:
        spec: sizes of the task.
        config: shape of the policy.
        rng: source of the initial weights.
    """

    obs_mean: Tensor
    obs_std: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(self, spec: Spec, config: PolicyConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.history = config.history
        self.chunk = config.chunk
        D, A, K, k = spec.observation_size, spec.action_size, config.history, config.chunk
        self.register_buffer("obs_mean", torch.zeros(D))
        self.register_buffer("obs_std", torch.ones(D))
        self.register_buffer("action_mean", torch.zeros(A))
        self.register_buffer("action_std", torch.ones(A))
        self.generator = make_generator(config.generator, K * D, k * A, blocks=k, rng=rng)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.obs_mean.device

    @property
    def members(self) -> list[ConditionalGenerator]:
        """The generators of an ensemble; of a single one, itself."""
        return self.generator.each()

    @property
    def training_steps(self) -> int:
        """Steps of a training window after its history."""
        return self.chunk

    def loss(self, batch: Batch, *, rng: torch.Generator) -> Tensor:
        """The generator's loss on a batch of windows, whose actions are the demonstration."""
        return self.generator.loss(*self._pair(batch), rng=rng)

    def scores(self, batch: Batch, *, rng: torch.Generator) -> dict[str, Tensor]:
        """What to watch, equal for all generators, in standard deviations of the actions: see `sample_scores`."""
        with torch.no_grad():
            return sample_scores(self.generator, *self._pair(batch), rng=rng)

    @torch.inference_mode()
    def sample(
        self,
        obs: Tensor,
        *,
        rng: torch.Generator | Sequence[torch.Generator],
        noise: float = 1.0,
    ) -> Tensor:
        """Sample the next actions.

        Args:
            obs: (B, K, D) newest observations, newest last.
            rng: source of the noise, which is shared by all environments; or B sources, one for each of them. Of an
                ensemble, one member samples, chosen at random.
            noise: its scale, see `ConditionalGenerator.damped`; 0: the centre, or an estimate of it.

        Returns:
            (B, k, A) in the units of the demonstrations, and beyond [-1, 1] where those went beyond it.

        Raises:
            ValueError: the observations have another shape.
        """
        B, expected = obs.shape[0], (obs.shape[0], self.history, self.spec.observation_size)
        if tuple(obs.shape) != expected:
            raise ValueError(f"obs has shape {tuple(obs.shape)}, this policy expects {expected}: (B, K, D)")
        sources = [rng] if isinstance(rng, torch.Generator) else rng
        members = self.members
        size = (1, len(members), self.generator.noise_size)
        z = torch.cat([torch.randn(size, generator=source, device=source.device) for source in sources])
        z, condition = z.to(self.device), self._condition(obs)
        sampled = [
            member.damped(member.backbone.from_condition(condition), part, noise)
            for member, part in zip(members, z.unbind(1), strict=True)
        ]
        actions = sampled[0]
        if len(members) > 1:
            choices = [torch.randint(len(members), (1,), generator=each, device=each.device) for each in sources]
            chosen = torch.cat(choices).to(self.device).expand(B)
            actions = torch.stack(sampled, dim=1)[torch.arange(B, device=self.device), chosen]
        return actions.view(B, self.chunk, self.spec.action_size) * self.action_std + self.action_mean

    @torch.no_grad()
    def rescale(self, scales: Scales) -> bool:
        """Adopt the scales of new data without changing what a trained policy does, as `LearnedWorldModel.rescale`.

        Generators that mix actions with noise of unit scale keep that of an action until it is far from standard, and
        learn it anew.
        """
        scales, K, k, anew = scales.to(self.device), self.history, self.chunk, False
        is_set = bool((self.action_std != 1).any() or (self.action_mean != 0).any())
        if is_set and not self.generator.rebases_output:
            scales = scales.keeping_actions_of((self.action_mean, self.action_std))
        if is_set:
            scales = scales.keeping_observations_of(self.obs_std)
            seen = change_of_units((self.obs_mean, self.obs_std), (scales.obs_mean, scales.obs_std))
            acted = change_of_units((self.action_mean, self.action_std), (scales.action_mean, scales.action_std))
            exactly, seen, acted = (seen, acted), reading_anew(seen), predicting_anew(acted)
            anew = differ((seen, acted), exactly)
            for member in self.members:
                member.rebase(join_changes([seen] * K), join_changes([acted] * k))
        for name in ("obs_mean", "obs_std", "action_mean", "action_std"):
            getattr(self, name).copy_(getattr(scales, name))
        return anew

    def _pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Conditions (B, C) and standardised actions (B, Y) of each window."""
        K, k = self.history, self.chunk
        actions = (batch.actions[:, K - 1 : K - 1 + k] - self.action_mean) / self.action_std
        return self._condition(batch.obs[:, :K]), actions.flatten(1)

    def _condition(self, frames: Tensor) -> Tensor:
        """Frames (B, K, D) -> conditions (B, C)."""
        return ((frames - self.obs_mean) / self.obs_std).flatten(1)


@dataclass(frozen=True, slots=True)
class BehaviourState:
    """Memory of an acting policy: what it saw, and what is left to do of the last sampled chunk."""

    obs: Tensor
    """(B, K, D) newest frames, up to the last decision, as many as are read."""
    actions: Tensor
    """(B, K - 1, A) between them."""
    pending: Tensor
    """(B, n, A) actions to execute before the next chunk is sampled; n may be 0."""
    seed: int
    """Of the first environment's noise; each further one has the next."""
    step: int


class BehaviourPolicy:
    """Acts as a learned policy samples: part of a chunk, then part of the next.

    Actions are clipped to [-1, 1], as environments accept no others.

    Args:
        model: what samples the chunks.
        execute: actions of each chunk that are executed; default: as the model was configured.
        noise: scale of the noise that chunks are sampled from, from 0 to 1; default: as the model was configured.

    Raises:
        ValueError: a chunk does not hold that many actions, or the noise is out of range.
    """

    def __init__(self, model: LearnedPolicy, *, execute: int | None = None, noise: float | None = None) -> None:
        self.model = model
        self.noise = model.config.noise if noise is None else noise
        require_noise("noise", self.noise)
        self.execute = model.config.executed if execute is None else execute
        if not 1 <= self.execute <= model.chunk:
            raise ValueError(f"execute={self.execute}: expected an integer from 1 to the policy's chunk, {model.chunk}")

    @property
    def history(self) -> int:
        """K, frames that are read."""
        return self.model.history

    def reset(self, obs: Tensor, *, seed: int) -> BehaviourState:
        """Start B episodes from observations (B, D): the first frame stands for the frames before it.

        Episode i acts as it would alone with `seed` + i: episodes that shared their noise would be no independent
        evidence of how well the policy acts.
        """
        B, A = obs.shape[0], self.model.spec.action_size
        return BehaviourState(
            obs=obs.unsqueeze(1).expand(B, self.history, -1),
            actions=obs.new_zeros(B, self.history - 1, A),
            pending=obs.new_zeros(B, 0, A),
            seed=seed,
            step=0,
        )

    def act(
        self, obs: Tensor, state: BehaviourState, *, physics: Tensor | None = None
    ) -> tuple[Tensor, BehaviourState]:
        """Observations (B, D) -> actions (B, A) in [-1, 1]; samples a chunk where none is pending."""
        # Frames are rolled at the start of each call; the first call rolls a repeated frame.
        frames = torch.cat([state.obs[:, 1:], obs.unsqueeze(1)], dim=1)
        pending = state.pending
        if pending.shape[1] == 0:
            sources = each_decision_rng(state.seed, state.step, len(obs))
            pending = self.next_chunk(History(frames, state.actions, physics), sources)[:, : self.execute]
        action = pending[:, 0].clamp(-1, 1)
        actions = torch.cat([state.actions, action.unsqueeze(1)], dim=1)[:, 1:]
        return action, BehaviourState(frames, actions, pending[:, 1:], state.seed, state.step + 1)

    def next_chunk(self, history: History, sources: Sequence[torch.Generator]) -> Tensor:
        """What is known of B environments, and noise of each -> (B, k, A)."""
        return self.model.sample(history.obs, rng=sources, noise=self.noise)
