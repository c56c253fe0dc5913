"""What a learned world model is made of: its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from drift_wm.generators import GeneratorConfig
from drift_wm.models.precision import PRECISIONS
from drift_wm.requirements import require, require_at_least, require_one_of


@dataclass
class WorldModelConfig:
    """Shape of a learned world model."""

    history: int = 1
    """K, frames the model reads; 1 where the observation is the state."""
    chunk: int = 5
    """k, steps predicted by one network evaluation; a planning horizon must be a multiple of it. 1 for logs of someone
    who looks and reacts (a person, a policy) to a world of chance, or one that observations show in part: later actions
    of a chunk then answer to its outcome and give it away, which those of a plan cannot do."""
    self_rollout: int = 1
    """Chunks that training predicts in a row, each from the model's own samples of the one before, and scores as one
    trajectory; `drifting` and `regression` only."""
    value_discount: float = 0.0
    """Discount per decision of an actor and critics, which learn along with the model; critics value the state in which
    a plan ends. 0: neither."""
    value_imagined: float = 0.0
    """Weight of what critics learn from actions that nobody recorded: the actor tries its own in recorded observations,
    and the model says what a step of them leads to. 1 counts them like recorded ones."""
    angles: list[int] = field(default_factory=list)
    """Entries of the observation, from 0 on, that are angles in radians, of joints perhaps: networks read their cosine
    and sine besides. On few data, where an arm's hand goes is learned several times as well."""
    precision: str = "auto"
    """Precision of the network while planning: `auto` takes bfloat16 where that is faster: on a GPU that has it, and
    for networks of at least 256 units on a CPU that has it."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

    def __post_init__(self) -> None:
        require_at_least(1, self, "history", "chunk", "self_rollout", group="model.")
        require(
            self.self_rollout == 1 or self.generator.name in ("drifting", "regression"),
            "model.self_rollout",
            self.self_rollout,
            f"1 for model.generator.name={self.generator.name}; only drifting and regression learn from their own "
            "rollouts",
        )
        require(
            self.self_rollout == 1 or self.generator.ways == 1,
            "model.self_rollout",
            self.self_rollout,
            f"1 for model.generator.ways={self.generator.ways}: odds are learned of a single chunk",
        )
        discount, imagined = self.value_discount, self.value_imagined
        require(0 <= discount < 1, "model.value_discount", discount, "a number in [0, 1), such as 0.97")
        require(0 <= imagined < math.inf, "model.value_imagined", imagined, "a number of at least 0, such as 1")
        expected = "0 where there are no critics; set model.value_discount=0.97 to have them"
        require(not imagined or bool(discount), "model.value_imagined", imagined, expected)
        require_one_of(PRECISIONS, "model.precision", self.precision)
        is_set = len(set(self.angles)) == len(self.angles) and min(self.angles, default=0) >= 0
        require(is_set, "model.angles", self.angles, "different numbers from 0 on, such as [0,1]")
