"""The backbone that every generator shares, so that rivals differ by their method alone."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

SMALL = 0.02
"""Share of the fan-in bound within which weights of an output layer begin, so that training starts near the mean."""


class ConditionalMLP(nn.Module):
    """A multilayer perceptron y = f(c, z) whose first layer is a sum over its inputs.

    The first layer is linear in (c, z) separately, so the condition's part is computed once for all
    noises and the noise's part once for all conditions: siblings in training and candidates in
    planning share them by broadcasting.

    A share of the first layer, learned for each unit, is added to the last hidden features, past all activations, so
    that what is linear in (c, z) reaches the output in two products: much of what a robot does in a step is. Where that
    share begins at 1, little is learned by heart; where at 0, modes are told apart best (docs/bench/attempts.md).

    The noise also scales the last hidden features, x * (1 + gain z): the output is then bilinear in features of the
    condition and noise, and its spread full and under the condition's control from the first step on. With the sum
    alone, drifting to a four-dimensional Gaussian law left one of its directions with a tenth of its spread.

    Args:
        condition_size: C, length of the condition.
        noise_size: Z, length of the noise, or of whatever else it reads besides the condition.
        output_size: Y.
        width: units of each hidden layer.
        depth: hidden layers, the first included.
        shortcut: share of the first layer to begin with, towards which weight decay pulls what is learned of it.
        rng: source of the initial weights.
    """

    def __init__(
        self,
        condition_size: int,
        noise_size: int,
        output_size: int,
        *,
        width: int,
        depth: int,
        shortcut: float,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.from_condition = nn.Linear(condition_size, width)
        self.from_noise = nn.Linear(noise_size, width, bias=False)
        self.gain = nn.Linear(noise_size, width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.output = nn.Linear(width, output_size)
        self.shortcut = shortcut
        self.learned_shortcut = nn.Parameter(torch.zeros(width))
        self._initialise(rng)

    def forward(self, c: Tensor, z: Tensor | None = None) -> Tensor:
        """Conditions (..., C) and noise (..., Z), broadcast together -> (..., Y); without noise, as if it were zero."""
        return self.complete(self.from_condition(c), z)

    def first_layer_of(self, part: slice, c: Tensor) -> Tensor:
        """The first layer's share of some entries of the condition, without bias: (..., entries) -> (..., width)."""
        return nn.functional.linear(c, self.from_condition.weight[:, part])

    def complete(self, known: Tensor, z: Tensor | None) -> Tensor:
        """The condition's share of the first layer, bias included (..., width), and noise (..., Z) -> (..., Y)."""
        return self.read_out(self.features(known, z), z)

    def features(self, known: Tensor, z: Tensor | None) -> Tensor:
        """The last hidden features, before noise scales them: arguments as `complete` -> (..., width)."""
        in_place = not torch.is_grad_enabled()
        first = known if z is None else known + self.from_noise(z)
        x = nn.functional.silu(first)
        for layer in self.hidden:
            x = nn.functional.silu(layer(x), inplace=in_place)
        share = self.learned_shortcut + self.shortcut if self.shortcut else self.learned_shortcut
        return x.addcmul_(share, first) if in_place else torch.addcmul(x, share, first)

    def read_out(self, features: Tensor, z: Tensor | None) -> Tensor:
        """Last hidden features (..., width), overwritten where there is no gradient, and noise (..., Z) -> (..., Y)."""
        if z is not None:
            factor = self._factor(z)
            features = features * factor if torch.is_grad_enabled() else features.mul_(factor)
        y: Tensor = self.output(features)
        return y

    def mean_read_out(self, features: Tensor, z: Tensor) -> Tensor:
        """The mean of `read_out` over P noises: features (..., P, width) and noise (P, Z) -> (..., Y).

        The last layer is linear, so that the mean passes through it once.
        """
        y: Tensor = self.output((features * self._factor(z)).mean(dim=-2))
        return y

    def _factor(self, z: Tensor) -> Tensor:
        """By which noise (..., Z) scales the last hidden features: (..., width)."""
        return nn.functional.linear(z, self.gain.weight, z.new_ones(self.gain.out_features))  # 1 + gain z

    @torch.no_grad()
    def fold_shortcut(self) -> None:
        """Keep the function, and add up now what `features` adds up each time; what is learned later decays to zero."""
        self.learned_shortcut.add_(self.shortcut)
        self.shortcut = 0.0

    @torch.no_grad()
    def rebase_condition(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when its condition is given as c' with c = scale * c' + shift, both (C,)."""
        layer = self.from_condition
        layer.bias.add_(layer.weight @ shift)
        layer.weight.mul_(scale)

    @torch.no_grad()
    def _initialise(self, rng: torch.Generator) -> None:
        """Uniform fan-in weights drawn from `rng`.

        Gains have unit variance for noise of unit variance; a small output layer makes training start at the mean.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                initialise(layer, rng, factor={self.output: SMALL, self.gain: 3**0.5}.get(layer, 1.0))


class MLP(nn.Sequential):
    """A small network of observations, y = f(o).

    Args:
        inputs: D.
        outputs: Y.
        width: units of each hidden layer.
        depth: hidden layers, at least 1.
        rng: source of the initial weights, uniform by fan-in.
        normalised: whether each hidden layer is normalised before its activation (Ba et al. 2016).
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int, depth: int, rng: torch.Generator, normalised: bool = False
    ) -> None:
        sizes = [inputs, *[width] * depth, outputs]
        linear = [nn.Linear(before, after) for before, after in itertools.pairwise(sizes)]
        hidden: list[nn.Module] = []
        for layer in linear[:-1]:
            hidden += [layer, nn.LayerNorm(width), nn.SiLU()] if normalised else [layer, nn.SiLU()]
        super().__init__(*hidden, linear[-1])
        for layer in linear:
            initialise(layer, rng)

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Predict zero of everything until something is learned."""
        last = self[-1]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()
        last.bias.zero_()

    @torch.no_grad()
    def scale_output(self, factor: Tensor) -> None:
        """Predict `factor` times as much, a scalar."""
        last = self[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(factor)
        last.bias.mul_(factor)

    @torch.no_grad()
    def rebase(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when the first R inputs are given as c' with c = scale * c' + shift, both (R,)."""
        first = self[0]
        assert isinstance(first, nn.Linear)
        weight = first.weight[:, : len(scale)]
        first.bias.add_(weight @ shift)
        weight.mul_(scale)


@torch.no_grad()
def initialise(layer: nn.Linear, rng: torch.Generator, *, factor: float = 1.0) -> None:
    """Draw weights uniformly within `factor` times the fan-in bound, and no bias."""
    bound = factor * layer.in_features**-0.5
    layer.weight.uniform_(-bound, bound, generator=rng)
    if layer.bias is not None:
        layer.bias.zero_()


@torch.no_grad()
def rebase_output(layer: nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Keep a linear layer's function when its output is from now on read as y' with y = scale * y' + shift.

    Args:
        layer: of Y outputs.
        scale: (Y,); where it is infinite, the layer says 0 from now on.
        shift: (Y,).
    """
    layer.weight.div_(scale.unsqueeze(-1))
    layer.bias.copy_((layer.bias - shift) / scale)


def time_features_size(octaves: int) -> int:
    """F, length of `time_features`."""
    return 2 * octaves + 1


def time_features(t: Tensor, octaves: int) -> Tensor:
    """What a network is told of a time or noise level: (..., 1), about unit range -> (..., F).

    The number itself, and sines and cosines of 1/2, 1, 2, ... periods.
    """
    frequencies = math.pi * 2.0 ** torch.arange(octaves, device=t.device)
    phase = t * frequencies
    return torch.cat([t, phase.sin(), phase.cos()], dim=-1)
