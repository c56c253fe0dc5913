"""The backbone that every generator shares, so that rivals differ by their method alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConditionalMLP(nn.Module):
    """A multilayer perceptron y = f(c, z) whose first layer is a sum over its inputs.

    The first layer is linear in (c, z) separately, so the condition's part is computed once for all
    noises and the noise's part once for all conditions: siblings in training and candidates in
    planning share them by broadcasting.

    Args:
        condition_size: C, length of the condition.
        noise_size: Z, length of the noise; 0 for a network without noise.
        output_size: Y.
        width: units of each hidden layer.
        depth: hidden layers, the first included.
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
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.from_condition = nn.Linear(condition_size, width)
        self.from_noise = nn.Linear(noise_size, width, bias=False) if noise_size else None
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.output = nn.Linear(width, output_size)
        self._initialise(rng)

    def forward(self, c: Tensor, z: Tensor | None = None) -> Tensor:
        """Conditions (..., C) and noise (..., Z), broadcast together -> (..., Y)."""
        x = self.from_condition(c)
        if self.from_noise is not None and z is not None:
            x = x + self.from_noise(z)
        return self.after_first_layer(x)

    def first_layer_of(self, part: slice, c: Tensor) -> Tensor:
        """The first layer's share of some entries of the condition, without bias: (..., entries) -> (..., width)."""
        return nn.functional.linear(c, self.from_condition.weight[:, part])

    def after_first_layer(self, x: Tensor) -> Tensor:
        """Sum of the first layer's shares (..., width) -> (..., Y). Overwrites its argument when no gradient flows."""
        in_place = not torch.is_grad_enabled()
        x = nn.functional.silu(x, inplace=in_place)
        for layer in self.hidden:
            x = nn.functional.silu(layer(x), inplace=in_place)
        y: Tensor = self.output(x)
        return y

    @torch.no_grad()
    def rebase_condition(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when its condition is from now on given as c' with c = scale * c' + shift.

        Args:
            scale: (C,).
            shift: (C,).
        """
        self.from_condition.bias.add_(self.from_condition.weight @ shift)
        self.from_condition.weight.mul_(scale)

    @torch.no_grad()
    def rebase_output(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function when its output is from now on read as y' with y = scale * y' + shift.

        Args:
            scale: (Y,).
            shift: (Y,).
        """
        self.output.weight.div_(scale.unsqueeze(-1))
        self.output.bias.copy_((self.output.bias - shift) / scale)

    @torch.no_grad()
    def _initialise(self, rng: torch.Generator) -> None:
        """Uniform fan-in weights drawn from `rng`; a small output layer, so that training starts at the mean."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5 * (0.1 if layer is self.output else 1.0)
                layer.weight.uniform_(-bound, bound, generator=rng)
                if layer.bias is not None:
                    layer.bias.zero_()
