"""The learned world model: a generator, its normaliser, and the roll-out that a planner pays for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.interfaces import Batch, History, Prediction, Spec
from drift_wm.normalisation import Normaliser, Scales

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass
class WorldModelConfig:
    """Shape of a learned world model."""

    history: int = 1
    """K, frames the model reads; 1 where the observation is the state."""
    chunk: int = 5
    """k, steps predicted by one network evaluation; a planning horizon must be a multiple of it."""
    precision: str = "auto"
    """Of the network while planning: `auto` takes bfloat16 where the hardware multiplies it natively."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

    def __post_init__(self) -> None:
        for name in ("history", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name}={getattr(self, name)}: expected an integer of at least 1")
        if self.precision not in PRECISIONS:
            raise ValueError(f"model.precision={self.precision!r}: expected one of {', '.join(PRECISIONS)}")


class LearnedWorldModel(nn.Module):
    """p(next k observations and rewards | K observations, the actions between and after them).

    Args:
        spec: sizes of the task.
        config: shape of the model.
        rng: source of the initial weights.
    """

    def __init__(self, spec: Spec, config: WorldModelConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.history = config.history
        self.chunk = config.chunk
        D, A, K, k = spec.observation_size, spec.action_size, config.history, config.chunk
        self.normaliser = Normaliser(D, k)
        self.generator = make_generator(config.generator, K * D + (K - 1 + k) * A, k * (D + 1), blocks=k, rng=rng)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.normaliser.obs_mean.device

    def loss(self, batch: Batch, *, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss on a batch of windows, in standardised units."""
        frames, future = batch.obs[:, : self.history], batch.obs[:, self.history :]
        c = self._condition(frames, batch.actions)
        y = self.normaliser.target(frames[:, -1], future, batch.reward)
        return self.generator.loss(c, y.flatten(1), rng=rng)

    @torch.inference_mode()
    def rollout(self, history: History, actions: Tensor, *, particles: int, rng: torch.Generator) -> Prediction:
        """See `WorldModel.rollout`: H / k network evaluations for all B * N * P futures together."""
        self._check(history, actions)
        B, N, H, _ = actions.shape
        K, k, D = self.history, self.chunk, self.spec.observation_size
        P = particles if self.generator.stochastic else 1
        obs = history.obs[:, None, None].expand(B, N, P, K, D)
        future = actions.new_empty(B, N, P, H, D + 1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._use_bfloat16()):
            net = self.generator.backbone
            known = self._known_first_layer(history, actions, P, rng)
            for i, layer in enumerate(known):
                # What is left of the first layer depends on the predictions so far.
                x = layer + net.first_layer_of(slice(0, K * D), self.normaliser.obs(obs).flatten(-2))
                target = net.after_first_layer(x).float().view(B, N, P, k, D + 1)
                change = torch.addcmul(self.normaliser.target_mean, target, self.normaliser.target_std)
                change[..., :D] += obs[..., -1:, :]
                future[..., i * k : (i + 1) * k, :] = change
                obs = change[..., -K:, :D] if k >= K else torch.cat([obs[..., k:, :], change[..., :D]], dim=3)
        future = future.expand(B, N, particles, H, D + 1)
        return Prediction(obs=future[..., :D], reward=future[..., D])

    def _known_first_layer(self, history: History, actions: Tensor, P: int, rng: torch.Generator) -> Iterator[Tensor]:
        """The share of actions, noise and bias in the first layer, known before anything is predicted.

        Yields (B, N, P, width) for each of the H / k chunks: actions are multiplied once for all particles, and
        noise once for all candidates.
        """
        B, N, H, A = actions.shape
        K, k = self.history, self.chunk
        net = self.generator.backbone
        acted = torch.cat([history.actions[:, None].expand(B, N, K - 1, A), actions], dim=2)
        chunks = acted.unfold(2, K - 1 + k, k).transpose(-1, -2).flatten(-2)
        from_actions = net.first_layer_of(slice(K * self.spec.observation_size, None), chunks) + net.from_condition.bias
        if not self.generator.stochastic or net.from_noise is None:
            yield from from_actions.unsqueeze(3).unbind(2)
            return
        noise = torch.randn(H // k, 1, 1, P, self.generator.noise_size, generator=rng, device=rng.device)
        for layer, from_noise in zip(from_actions.unbind(2), net.from_noise(noise.to(self.device)), strict=True):
            yield layer.unsqueeze(2) + from_noise

    @torch.no_grad()
    def rescale(self, scales: Scales) -> None:
        """Adopt the scales of new data without changing what the model predicts.

        Training is a sequence of models in which each continues the last; the network's first and last
        layers absorb the change of units, so a child starts exactly where its parent stood.
        """
        scales, old, K = scales.to(self.device), self.normaliser, self.history
        backbone = self.generator.backbone
        unscaled = backbone.from_condition.in_features - K * self.spec.observation_size
        scale, shift = scales.obs_std / old.obs_std, (scales.obs_mean - old.obs_mean) / old.obs_std
        backbone.rebase_condition(
            torch.cat([scale.repeat(K), scale.new_ones(unscaled)]),
            torch.cat([shift.repeat(K), shift.new_zeros(unscaled)]),
        )
        backbone.rebase_output(
            (scales.target_std / old.target_std).flatten(),
            ((scales.target_mean - old.target_mean) / old.target_std).flatten(),
        )
        self.normaliser.set(scales)

    def _condition(self, frames: Tensor, actions: Tensor) -> Tensor:
        """Frames (B, K, D) and actions (B, K - 1 + k, A) -> conditions (B, C)."""
        return torch.cat([self.normaliser.obs(frames).flatten(1), actions.flatten(1)], dim=1)

    def _check(self, history: History, actions: Tensor) -> None:
        B, _, H, A = actions.shape
        if H % self.chunk:
            raise ValueError(
                f"horizon {H} is not a multiple of the model's chunk of {self.chunk} steps; "
                f"set planner.horizon to {-(-H // self.chunk) * self.chunk}"
            )
        expected = (B, self.history, self.spec.observation_size)
        if tuple(history.obs.shape) != expected:
            raise ValueError(f"history.obs has shape {tuple(history.obs.shape)}, this model expects {expected}")
        if self.spec.action_size != A:
            raise ValueError(f"actions have size {A}, this model was built for {self.spec.action_size}")

    def _use_bfloat16(self) -> bool:
        if self.config.precision == "auto":
            return multiplies_bfloat16(self.device)
        return self.config.precision == "bfloat16"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())
