"""One line of the truth's raw results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """What one trained model showed in one case."""

    part: str
    case: str
    generator: str
    nfe: int
    """Network evaluations per sample."""
    seed: int
    metrics: dict[str, float]

    @property
    def label(self) -> str:
        """The generator, with its steps where there are several to compare."""
        several = self.generator in ("diffusion", "flow") and self.nfe > 0  # 0: a row that is not about samples
        return f"{self.generator} {self.nfe}" if several else self.generator
