"""Training steps of our trainer, beside a plain loop of the same loss, written as one would write it first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import DriftingGenerator, GeneratorConfig
from drift_wm.interfaces import Batch, Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.speed.contenders import CONTENDERS, OURS, make_learned
from drift_wm.speed.made_up import made_up_episodes

OUR_TRAINING, PLAIN, PLAIN_GATHERED = "our trainer", "plain loop", "plain loop, batches gathered at once"
STEPS = 10
"""Training steps of one call."""
_EPISODES, _LENGTH = 20, 500
_HORIZON = 10**9  # steps of the round that is timed, never reached


def training_calls(spec: Spec, *, width: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """A call of each contender does `STEPS` steps of training on the same made-up episodes."""
    episodes = list(made_up_episodes(spec, count=_EPISODES, length=_LENGTH))
    config = TrainingConfig(log_every=_HORIZON, checkpoint_every=_HORIZON)
    model = make_learned(CONTENDERS[OURS], spec, width=width, device=device)
    windows = Windows(episodes, history=model.history, chunk=model.chunk, device=device)
    trainer = Trainer(spec, model.config, config, seed=0, device=device)
    scales = scales_of(compute_statistics(episodes, chunk=model.chunk))
    trainer.rescale(scales)

    def ours() -> None:
        for _ in range(STEPS):
            trainer.step(windows, _HORIZON)

    calls: dict[str, Callable[[], object]] = {OUR_TRAINING: ours}
    for name in (PLAIN, PLAIN_GATHERED):
        plain_model = make_learned(CONTENDERS[OURS], spec, width=width, device=device)
        plain_model.rescale(scales)
        batches = _loaded(episodes, plain_model, config) if name == PLAIN else _gathered(windows, config)
        calls[name] = PlainLoop(plain_model, batches, config)
    return calls


class PlainLoop:
    """Nothing shared, nothing fused: siblings and pairs one by one, the library's average, the loss read every step."""

    def __init__(self, model: LearnedWorldModel, batches: Iterator[Batch], config: TrainingConfig) -> None:
        self._model, self._batches, self._config = model.train(), batches, config
        self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))  # type: ignore[no-untyped-call]
        self._optimiser = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._rng = torch.Generator(model.device).manual_seed(0)
        self.losses: list[float] = []

    def __call__(self) -> None:
        """Train for `STEPS` steps."""
        for _ in range(STEPS):
            loss = plain_loss(self._model, next(self._batches), rng=self._rng)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._model.parameters(), self._config.clip)
            self._optimiser.step()
            self._average.update_parameters(self._model)
            self.losses = [*self.losses[-STEPS:], loss.item()]


def plain_loss(model: LearnedWorldModel, batch: Batch, *, rng: torch.Generator) -> Tensor:
    """The loss of `LearnedWorldModel.loss` for a drifting generator with the energy field, sibling by sibling."""
    (generator,) = model.members
    assert isinstance(generator, DriftingGenerator)
    c, y = model.pair(batch)
    z = torch.randn(len(c), generator.siblings, generator.noise_size, generator=rng, device=c.device)
    features = [generator.backbone.features(generator.backbone.from_condition(c), own) for own in z.unbind(1)]
    samples = [generator.backbone.read_out(found, own) for found, own in zip(features, z.unbind(1), strict=True)]
    losses = []
    for i, x in enumerate(samples):
        with torch.no_grad():
            siblings = [other for j, other in enumerate(samples) if j != i]
            pull = _force(y - x, generator.config, generator.blocks)
            push = sum(_force(other - x, generator.config, generator.blocks) for other in siblings) / len(siblings)
            target = x + pull - push
        losses.append((x - target).square().sum(dim=-1).mean())
    loss = torch.stack(losses).mean()
    return loss + generator.mean_loss(torch.stack(features).mean(dim=0), y, drift=loss)


def _force(difference: Tensor, config: GeneratorConfig, blocks: int) -> Tensor:
    """f(r) = r / (|r|^2 + d^2)^(1 - b/2) of the whole and of each part: (B, Y) -> (B, Y)."""
    parts = difference.chunk(blocks, dim=-1)
    of_parts = torch.cat([_unit_force(part, config) for part in parts], dim=-1)
    return _unit_force(difference, config) + of_parts if blocks > 1 else of_parts


def _unit_force(difference: Tensor, config: GeneratorConfig) -> Tensor:
    squared = difference.square().sum(dim=-1, keepdim=True) + config.smoothing**2
    return difference / squared ** (1 - config.exponent / 2)


class _EpisodeWindows(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A window for each decision, cut out when it is asked for."""

    def __init__(self, episodes: Sequence[Episode], chunk: int) -> None:
        self._episodes, self._chunk = episodes, chunk
        self._starts = [(i, t) for i, episode in enumerate(episodes) for t in range(len(episode) - chunk + 1)]

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        number, start = self._starts[index]
        episode, end = self._episodes[number], start + self._chunk
        return (
            torch.from_numpy(episode.obs[start : end + 1]),
            torch.from_numpy(episode.actions[start:end]),
            torch.from_numpy(episode.rewards[start:end]),
        )


def _loaded(episodes: Sequence[Episode], model: LearnedWorldModel, config: TrainingConfig) -> Iterator[Batch]:
    """Shuffled by a `DataLoader`, epoch after epoch."""
    loader = DataLoader(
        _EpisodeWindows(episodes, model.chunk), batch_size=config.batch_size, shuffle=True, drop_last=True
    )
    while True:
        for obs, actions, rewards in loader:
            yield Batch(obs.to(model.device), actions.to(model.device), rewards.to(model.device))


def _gathered(windows: Windows, config: TrainingConfig) -> Iterator[Batch]:
    rng = torch.Generator().manual_seed(0)
    while True:
        yield windows.sample(config.batch_size, rng)
