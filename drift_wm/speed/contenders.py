"""Who is timed: the same planner with each kind of model, untrained, as weights do not change times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from drift_wm import build
from drift_wm.acting.policies import PlanningPolicy
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Spec
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.planners.loop import PlannerConfig
from drift_wm.settings import PlanningSettings


@dataclass(frozen=True, slots=True)
class Contender:
    """A kind of model, and how a planner samples it."""

    generator: GeneratorConfig
    chunk: int = 5
    particles: int = 0
    """Sampled futures per candidate; 0: the central one."""
    compile: bool = True
    """Predict by machine code, which all contenders have."""

    @property
    def is_ours(self) -> bool:
        """Whether this is the method itself in one of its ways, and no rival of it."""
        return self.generator.name == "drifting"


OURS, UNCOMPILED = "drifting, k = 5", "drifting, k = 5, not compiled"
CONTENDERS: dict[str, Contender] = {
    "drifting, k = 1": Contender(GeneratorConfig("drifting"), chunk=1),
    OURS: Contender(GeneratorConfig("drifting")),
    UNCOMPILED: Contender(GeneratorConfig("drifting"), compile=False),
    "drifting, k = 10": Contender(GeneratorConfig("drifting"), chunk=10),
    "drifting, one draw": Contender(GeneratorConfig("drifting"), particles=1),
    "regression": Contender(GeneratorConfig("regression")),
    "diffusion, 5 steps": Contender(GeneratorConfig("diffusion", steps=5)),
    "diffusion, 20 steps": Contender(GeneratorConfig("diffusion", steps=20)),
    "diffusion, 100 steps": Contender(GeneratorConfig("diffusion", steps=100)),
    "Gaussian, 5 members, 20 particles": Contender(GeneratorConfig("gaussian", members=5), particles=20),
}
"""With k = 5 where not said."""


def make_learned(contender: Contender, spec: Spec, *, width: int, device: torch.device) -> LearnedWorldModel:
    """An untrained model of a task's sizes; a width of 0 leaves the default."""
    generator = replace(contender.generator, width=width or contender.generator.width)
    config = WorldModelConfig(chunk=contender.chunk, generator=generator)
    return LearnedWorldModel(spec, config, rng=torch.Generator().manual_seed(0)).to(device).eval()


def make_model(contender: Contender, spec: Spec, *, width: int, device: torch.device) -> PreparedModel:
    """The same, made ready to plan."""
    model = make_learned(contender, spec, width=width, device=device)
    return PreparedModel(model, central=contender.particles == 0, observe=False, compile=contender.compile)


def make_models(names: Iterable[str], spec: Spec, *, width: int, device: torch.device) -> dict[str, PreparedModel]:
    """The same for some of the contenders."""
    return {name: make_model(CONTENDERS[name], spec, width=width, device=device) for name in names}


def make_policy(
    model: PreparedModel, planner: PlannerConfig, *, particles: int, device: torch.device
) -> PlanningPolicy:
    """The planner in a model, after the predicted return; both by machine code, or neither."""
    settings = PlanningSettings(planner=planner, particles=particles, compile=model.is_compiled)
    return build.make_policy(model, settings, device=device)


class Decider:
    """Decides again and again in the same situation; each call costs what a decision of an episode does.

    Args:
        policy: decides.
        environments: B, planned together.
        device: of the observations.
    """

    def __init__(self, policy: PlanningPolicy, *, environments: int = 1, device: torch.device) -> None:
        self.policy = policy
        self._obs = torch.zeros(environments, policy.model.spec.observation_size, device=device)
        self._state = policy.reset(self._obs, seed=0)

    def __call__(self) -> None:
        """Decide once."""
        _, self._state = self.policy.act(self._obs, self._state)
