"""Settings of the generators, as they stand in configuration files and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

GENERATORS = ("drifting", "regression")
FIELDS = ("energy", "kernel", "kernel_per_condition", "attraction")


@dataclass
class GeneratorConfig:
    """One conditional generator and the network it shares with its rivals."""

    name: str = "drifting"
    """`drifting` (one network evaluation per sample) or `regression` (the same network, mean squared error)."""
    width: int = 256
    """Units of each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    noise_size: int = 8
    """Length of the noise that a sample is made from."""
    field: str = "energy"
    """Drifting only: `energy`, `kernel` (published), `kernel_per_condition` or `attraction`."""
    siblings: int = 4
    """Drifting only: G, samples generated per condition and step of training; at least 2."""
    smoothing: float = 0.0
    """Energy field only: distance below which the field fades, in standard deviations of the targets."""
    per_step: bool = True
    """Drifting only: score each step of a chunk besides the chunk as a whole."""

    def __post_init__(self) -> None:
        _require(self.name in GENERATORS, "model.generator.name", self.name, f"one of {', '.join(GENERATORS)}")
        _require(self.field in FIELDS, "model.generator.field", self.field, f"one of {', '.join(FIELDS)}")
        _require(self.siblings >= 2, "model.generator.siblings", self.siblings, "an integer of at least 2")
        _require(self.smoothing >= 0, "model.generator.smoothing", self.smoothing, "a number of at least 0")
        for name in ("width", "depth", "noise_size"):
            _require(
                getattr(self, name) >= 1,
                f"model.generator.{name}",
                getattr(self, name),
                "an integer of at least 1",
            )


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name}={value!r}: expected {expected}")
