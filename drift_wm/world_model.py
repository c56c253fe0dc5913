"""The learned world model: a generator, its normaliser, and the roll-out that a planner pays for."""

from __future__ import annotations

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
        self.generator = make_generator(
            config.generator, K * D + (K - 1 + k) * A, k * (D + 1), blocks=k, rng=rng
        )

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
        """See `WorldModel.rollout`: ceil(H / k) network evaluations for all B * N * P futures together."""
        B, N, H, A = actions.shape
        self._check(history, actions)
        K, k, D = self.history, self.chunk, self.spec.observation_size
        noise = torch.randn(H // k, 1, 1, particles, self.generator.noise_size, generator=rng, device=rng.device)
        noise = noise.to(self.device)
        obs = actions.new_empty(B, N, particles, H, D)
        reward = actions.new_empty(B, N, particles, H)
        # Singleton axes stand for candidates and particles until a chunk makes them differ.
        frames = history.obs[:, None, None]
        past = history.actions[:, None, None].expand(B, N, 1, K - 1, A)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._use_bfloat16()):
            for i, z in enumerate(noise):
                chunk = slice(i * k, (i + 1) * k)
                acted = torch.cat([past, actions[:, :, None, chunk]], dim=3)
                y = self.generator.sample(self._condition(frames, acted), z).float()
                obs[..., chunk, :], reward[..., chunk] = self.normaliser.prediction(
                    frames[..., -1, :], y.unflatten(-1, (k, D + 1))
                )
                frames = torch.cat([frames.expand(B, N, particles, K, D), obs[..., chunk, :]], dim=3)[..., -K:, :]
                past = acted[..., acted.shape[3] - (K - 1) :, :]
        return Prediction(obs=obs, reward=reward)

    @torch.no_grad()
    def rescale(self, scales: Scales) -> None:
        """Adopt the scales of new data without changing what the model predicts.

        Training is a sequence of models in which each continues the last; the network's first and last
        layers absorb the change of units, so a child starts exactly where its parent stood.
        """
        old, K = self.normaliser, self.history
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
        """Frames (..., K, D) and actions (..., K - 1 + k, A) -> conditions (..., C); frames broadcast."""
        x, a = self.normaliser.obs(frames).flatten(-2), actions.flatten(-2)
        lead = torch.broadcast_shapes(x.shape[:-1], a.shape[:-1])
        return torch.cat([x.expand(*lead, -1), a.expand(*lead, -1)], dim=-1)

    def _check(self, history: History, actions: Tensor) -> None:
        B, _, H, A = actions.shape
        if H % self.chunk:
            lower = H // self.chunk * self.chunk
            raise ValueError(
                f"horizon {H} is not a multiple of the model's chunk of {self.chunk} steps; "
                f"set planner.horizon to {lower or self.chunk} or {lower + self.chunk}"
            )
        expected = (B, self.history, self.spec.observation_size)
        if tuple(history.obs.shape) != expected:
            raise ValueError(f"history.obs has shape {tuple(history.obs.shape)}, this model expects {expected}")
        if A != self.spec.action_size:
            raise ValueError(f"actions have size {A}, this model was built for {self.spec.action_size}")

    def _use_bfloat16(self) -> bool:
        if self.config.precision == "auto":
            return multiplies_bfloat16(self.device)
        return self.config.precision == "bfloat16"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())
