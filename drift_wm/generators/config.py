"""Settings of the generators, as they stand in configuration files and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, fields

from drift_wm.requirements import require, require_at_least, require_one_of

GENERATORS = ("drifting", "regression", "gaussian", "diffusion", "flow", "consistency", "distilled")
OWN_GENERATORS: set[str] = set()
"""Names of those that `drift_wm.generators.register_generator` was given."""
FIELDS = ("energy", "kernel", "kernel_per_condition", "attraction")
PREDICTIONS = ("v", "eps")
_DRIFTING = ("drifting",)
_READERS = {
    "ways": _DRIFTING,
    "noise_size": ("drifting", "regression", "gaussian"),  # at rest in the last two: all have one network
    "field": _DRIFTING,
    "siblings": ("drifting", "diffusion", "flow", "consistency", "distilled"),
    "exponent": _DRIFTING,
    "smoothing": _DRIFTING,
    "mean_weight": _DRIFTING,
    "per_step": _DRIFTING,
    "steps": ("diffusion", "flow", "distilled"),
    "prediction": ("diffusion", "distilled"),
}
"""Which generators read a setting; the others all do."""
_OF_ENERGY = ("exponent", "smoothing")
"""Settings of the energy field."""


@dataclass
class GeneratorConfig:
    """One conditional generator and the network it shares with its rivals."""

    name: str = "drifting"
    """`drifting`, or one of its rivals on the same network: `regression`, `gaussian`, `diffusion`, `flow`,
    `consistency`, `distilled`."""
    width: int = 128
    """Units of each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    shortcut: float = 1.0
    """Share of the first layer, linear in all inputs, among the last features: where learning begins, and what weight
    decay pulls it to. 1 errs less where little is left to chance, or few episodes show it; 0 tells modes apart best."""
    noise_size: int = 8
    """Length of the noise that a drifting sample is made from."""
    ways: int = 1
    """Drifting with the energy field only: M outcomes of one noise, of which chance takes one by learned odds. 2 where
    a world goes one way or another, by a gust or a lost action: samples of 1 leave some between the two."""
    members: int = 1
    """Generators of an ensemble, each with a network of its own."""
    field: str = "energy"
    """Drifting only: `energy`, `kernel` (published), `kernel_per_condition` or `attraction`."""
    siblings: int = 2
    """G, network rows per training condition, at least 2: generated samples (drifting) or noise levels (diffusion,
    flow, consistency, distilled)."""
    exponent: float = 0.7
    """Energy field only: b of the kernel -|x - y|^b, in (0, 2). 1 is the energy score; less learns small spreads
    faster."""
    smoothing: float = 0.02
    """Energy field only: distance below which the field fades, in standard deviations of the targets."""
    mean_weight: float = 0.2
    """Drifting only: pull of a second output layer towards the mean, as a share of the drift; 0 leaves it out."""
    per_step: bool = True
    """Drifting only: score each step of a chunk besides the chunk as a whole."""
    steps: int = 20
    """Network evaluations of a sample, 1 to 1000: `diffusion` and `flow`. `distilled` begins with so many and ends with
    one; a power of two there."""
    prediction: str = "v"
    """Diffusion only: what the network predicts, `v` or `eps`."""

    def __post_init__(self) -> None:
        require_one_of((*GENERATORS, *sorted(OWN_GENERATORS)), "model.generator.name", self.name)
        require_one_of(FIELDS, "model.generator.field", self.field)
        require_at_least(2, self, "siblings", group="model.generator.")
        require(self.prediction in PREDICTIONS, "model.generator.prediction", self.prediction, "v or eps")
        require(1 <= self.steps <= 1000, "model.generator.steps", self.steps, "an integer from 1 to 1000")
        halves = self.name != "distilled" or self.steps.bit_count() == 1
        require(halves, "model.generator.steps", self.steps, "a power of two, which distillation can halve down to 1")
        distillable = self.name != "distilled" or self.prediction == "v"
        require(distillable, "model.generator.prediction", self.prediction, "v: one step from pure noise needs it")
        alone = f"1 for field={self.field}: only the energy field scores several ways"
        require(self.ways == 1 or self.field == "energy", "model.generator.ways", self.ways, alone)
        require(0 < self.exponent < 2, "model.generator.exponent", self.exponent, "a number above 0 and below 2")
        require(self.mean_weight >= 0, "model.generator.mean_weight", self.mean_weight, "a number of at least 0")
        require(0 <= self.shortcut <= 1, "model.generator.shortcut", self.shortcut, "a number from 0 to 1")
        require(self.smoothing >= 0, "model.generator.smoothing", self.smoothing, "a number of at least 0")
        require_at_least(1, self, "width", "depth", "noise_size", "ways", "members", group="model.generator.")

    def without_effect(self) -> dict[str, str]:
        """Settings other than their defaults that this generator does not read, and why."""
        changed = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        if self.name in OWN_GENERATORS:
            return {}
        unread = {name: _READERS.get(name, GENERATORS) for name in changed}
        found = {
            name: f"name={self.name} does not read it, only {', '.join(readers)}"
            for name, readers in unread.items()
            if self.name not in readers
        }
        if self.name == "drifting" and self.field != "energy":
            found |= {
                name: f"field={self.field} does not read it, only energy" for name in changed if name in _OF_ENERGY
            }
        return found
