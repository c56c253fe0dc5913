"""What all generators share: the backbone, and a sample that starts from the first layer's sum."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from drift_wm.generators.config import GeneratorConfig
from drift_wm.generators.nets import ConditionalMLP, rebase_output
from drift_wm.interfaces import Generator


class ConditionalGenerator(nn.Module, ABC):
    """A learned p(y | c) on the common backbone.

    Subclasses give a loss and `decode`. A sample starts from the condition's share of the first layer, because a
    planner can put that together from parts that it computes once: see `LearnedWorldModel.rollout`.

    Args:
        condition_size: C.
        output_size: Y.
        config: network and method.
        rng: source of the initial weights.
        input_size: what the network reads besides the condition; default: the noise of a one-step sample.
        network_output_size: of the network; default: Y.
    """

    stochastic = True
    """Whether samples of one condition differ."""
    rebases_output = True
    """Whether a change of the targets' units can be absorbed by the network; see `rebase`."""

    def __init__(
        self,
        condition_size: int,
        output_size: int,
        *,
        config: GeneratorConfig,
        rng: torch.Generator,
        input_size: int | None = None,
        network_output_size: int | None = None,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.noise_size = config.noise_size
        """Z, length of the noise that fixes a sample."""
        self.backbone = ConditionalMLP(
            condition_size,
            config.noise_size if input_size is None else input_size,
            output_size if network_output_size is None else network_output_size,
            width=config.width,
            depth=config.depth,
            shortcut=config.shortcut,
            rng=rng,
        )

    @property
    def nfe(self) -> int:
        """Network evaluations per sample."""
        return 1

    def each(self) -> list[ConditionalGenerator]:
        """The members of an ensemble; of a generator alone, itself."""
        return [self]

    def loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        """Conditions (B, C) with one positive each (B, Y) -> scalar.

        Raises:
            ValueError: one of them has another shape.
        """
        shapes = (c.shape[0], self.backbone.from_condition.in_features), (c.shape[0], self.output_size)
        if (tuple(c.shape), tuple(y.shape)) != shapes:
            raise ValueError(
                f"conditions have shape {tuple(c.shape)} and positives {tuple(y.shape)}; expected {shapes[0]} and "
                f"{shapes[1]}, one row each"
            )
        return self._loss(c, y, rng=rng)

    @abstractmethod
    def _loss(self, c: Tensor, y: Tensor, *, rng: torch.Generator) -> Tensor:
        """Of shapes that fit."""

    @abstractmethod
    def decode(self, known: Tensor, z: Tensor) -> Tensor:
        """The condition's share of the first layer (..., width) and noise (..., Z), broadcast together -> (..., Y)."""

    @property
    def central_layer(self) -> tuple[Tensor, Tensor] | None:
        """Weight (Y, width) and bias (Y,) that read the centre off `backbone.features(known, None)`.

        None where it takes more than one pass through the network.
        """
        return None

    def centre(self, known: Tensor) -> Tensor:
        """A single future that stands for all: (..., width) -> (..., Y); the mean, or the sample from noise of zero."""
        if self.central_layer is None:
            return self.decode(known, known.new_zeros(self.noise_size))
        return nn.functional.linear(self.backbone.features(known, None), *self.central_layer)

    def damped(self, known: Tensor, z: Tensor, noise: float) -> Tensor:
        """A sample with less noise than was learned: arguments as `decode`, and the noise's scale from 0 to 1.

        At 0 it is the centre of the samples, as near as one pass through the network knows it.
        """
        return self.decode(known, noise * z)

    def sample(self, c: Tensor, z: Tensor) -> Tensor:
        """Conditions (..., C) and standard normal noise (..., Z), broadcast together -> (..., Y)."""
        return self.decode(self.backbone.from_condition(c), z)

    def rebase(self, condition: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Keep the distribution when conditions and targets are from now on given in other units.

        Args:
            condition: scale and shift (C,) of c = scale * c' + shift.
            output: those (Y,) of y = scale * y' + shift; ones and zeros where `rebases_output` is false. Where a scale
                is infinite, what is known of that target is lost.
        """
        for network in self._networks():
            network.rebase_condition(*condition)
        if self.rebases_output:
            self._rebase_output(*output)

    def _networks(self) -> list[ConditionalMLP]:
        """Every network that reads the condition."""
        return [module for module in self.modules() if isinstance(module, ConditionalMLP)]

    def _rebase_output(self, scale: Tensor, shift: Tensor) -> None:
        rebase_output(self.backbone.output, scale, shift)

    def set_sampling_steps(self, steps: int) -> None:
        """Sample in so many network evaluations from now on, where the method leaves the choice; 0 changes nothing.

        Raises:
            ValueError: the method has no choice.
        """
        if steps:
            raise ValueError(
                f"sampling_steps={steps}: expected 0, as this generator takes {self.nfe} network evaluation(s) a sample"
                "; only diffusion and flow leave a choice"
            )

    def begin_step(self, done: int, steps: int) -> float:
        """Called before step `done` of a round of `steps`; returns how far the learning rate's schedule has come.

        Methods whose training has phases (consistency, distillation) know by it where they are.
        """
        return done / steps


def one_member_each(samples: Tensor, members: int, *, rng: torch.Generator) -> Tensor:
    """Independent samples of an ensemble's mixture: the member that gives each is drawn by chance.

    Equal shares of the members would differ more from each other than independent samples do, which flatters what is
    measured by their distances.

    Args:
        samples: (B, members * P, ...), of all members in equal, contiguous groups.
        members: of the ensemble; 1 of a single generator, whose samples are returned as they are.
        rng: of the choice.

    Returns:
        (B, P, ...).
    """
    if members == 1:
        return samples
    B, P = len(samples), samples.shape[1] // members
    choice = torch.randint(members, (B, P), generator=rng, device=rng.device).to(samples.device)
    rows, columns = torch.arange(B, device=samples.device)[:, None], torch.arange(P, device=samples.device)
    return samples.view(B, members, P, *samples.shape[2:])[rows, choice, columns]


@torch.no_grad()
def sample_scores(
    generator: Generator, c: Tensor, y: Tensor, *, rng: torch.Generator, samples: int = 8
) -> dict[str, Tensor]:
    """What to watch in training, for every generator alike: conditions (B, C) and data (B, Y) -> scalars.

    Losses cannot be compared between methods, and the drifting loss is flat by design. `energy_score` is proper:
    E|x - y| - E|x - x'|/2, lowest for the true law. `error` is the root mean square distance to the data of the
    mean that the samples estimate. `spread` is the root mean square standard deviation of the samples.

    The last two are over the entries that differ among these data, or over all where none does: what never changes is
    predicted by saying what it is, and would pass for skill. To the energy score it adds next to nothing.
    """
    members = len(generator.each())
    z = torch.randn(c.shape[0], members * samples, generator.noise_size, generator=rng, device=c.device)
    x = one_member_each(generator.sample(c.unsqueeze(1), z), members, rng=rng)
    to_data = (x - y.unsqueeze(1)).norm(dim=-1).mean()
    between = torch.cdist(x, x).sum(dim=(1, 2)).mean() / (samples * (samples - 1))
    if (varies := (y != y[0]).any(dim=0)).any():
        x, y = x[..., varies], y[:, varies]
    variance = x.var(dim=1).mean()
    # The samples' mean misses the law's own by a part of their variance, which is no error of the law.
    squared_error = (x.mean(dim=1) - y).square().mean() - variance / samples
    return {
        "energy_score": to_data - between / 2,
        "error": squared_error.clamp_min(0).sqrt(),
        "spread": variance.sqrt(),
    }
