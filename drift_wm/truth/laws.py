"""Conditional laws that are known exactly: what a world shows once per condition, and what a model must make of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LAWS = ("near-deterministic", "gaussian", "two modes 50/50", "two modes 80/20")
SHARES = (0.7, 0.1, 0.1, 0.1)
"""How often each law is met in training: most of a robot's world is almost deterministic."""
OUTPUT_SIZE, POSITION_SIZE = 4, 3
CONDITION_SIZE = POSITION_SIZE + len(LAWS)
DETERMINISTIC_STD, GAUSSIAN_STD, MODE_STD = 0.02, 0.5, 0.05
MODE_DISTANCE = 1.0
"""Of each mode from the middle, in every entry of y."""
MAJOR_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where the laws are asked."""

    law: Tensor
    """(B,) int64, index into LAWS."""
    position: Tensor
    """(B, POSITION_SIZE) in [-1, 1]."""

    def encoded(self) -> Tensor:
        """(B, CONDITION_SIZE): the position, then the law one-hot."""
        return torch.cat([self.position, torch.nn.functional.one_hot(self.law, len(LAWS)).float()], dim=1)

    def middle(self) -> Tensor:
        """(B, OUTPUT_SIZE): the law's centre, a smooth function of the position."""
        frequencies = torch.linspace(0.5, 2.0, POSITION_SIZE * OUTPUT_SIZE).view(POSITION_SIZE, OUTPUT_SIZE)
        return (self.position @ frequencies + torch.arange(OUTPUT_SIZE)).sin()


def draw_conditions(count: int, rng: torch.Generator) -> Conditions:
    """As training meets them."""
    law = torch.multinomial(torch.tensor(SHARES), count, replacement=True, generator=rng)
    return Conditions(law, torch.rand(count, POSITION_SIZE, generator=rng) * 2 - 1)


def draw_outcomes(conditions: Conditions, count: int, rng: torch.Generator) -> Tensor:
    """(B, count, OUTPUT_SIZE) samples of the laws."""
    law = conditions.law.view(-1, 1, 1)
    shape = (law.shape[0], count)
    std = torch.tensor([DETERMINISTIC_STD, GAUSSIAN_STD, MODE_STD, MODE_STD])[law]
    share = torch.tensor([0.0, 0.0, 0.5, MAJOR_SHARE])[law]
    sign = torch.where(torch.rand(*shape, 1, generator=rng) < share, 1.0, -1.0)
    offset = torch.where(law >= 2, MODE_DISTANCE * sign, 0.0)
    noise = torch.randn(*shape, OUTPUT_SIZE, generator=rng)
    return conditions.middle().unsqueeze(1) + offset + std * noise
