"""Part `risk`: planning beside an edge in a gusty world, where the best place is the one a gust must not take from you.

A point mass is worth more the closer it comes to an edge, and pays beyond it. Unseen gusts push it left or right. A
model of the mean stands on the edge and falls half of the time; a model that blurs the two outcomes keeps too far away.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from drift_wm.acting.env_workers import open_environments
from drift_wm.acting.episodes import run_episodes
from drift_wm.acting.policies import PlanningPolicy
from drift_wm.build import make_simulator
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.diagnosis.world import World
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import Prediction
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.planners.risk import CVaR
from drift_wm.results import SIMULATOR
from drift_wm.settings import EVALUATION_SEED
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.rows import Row
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.training import train_world_model
from drift_wm.truth.world_cases import Case, training_file

CASE = Case(
    "point mass at the edge",
    World("point_mass-easy", EnvSettings(action_repeat=20, disturbance=DisturbanceConfig(name="gust", strength=0.03))),
    chunk=1,
    data_share=0.2,
)
_EDGE, _SCALE, _PENALTY = 0.15, 0.03, 2.0
_LEVEL = 0.25  # of CVaR: the mean of the worst quarter of the sampled futures
_PARTICLES = 16
_SIMULATOR_SHARE = 5  # one episode of so many: planning in it takes many times as long


@dataclass(frozen=True, slots=True)
class EdgeReward:
    """exp((x - edge) / 0.03) up to the edge, -2 x / edge beyond it, with x the first entry of the observation.

    The penalty grows with the distance, or plans that are too short to come back from far out would all be alike.
    """

    def of(self, obs: Tensor) -> Tensor:
        """(..., D) -> (...)."""
        x = obs[..., 0]
        return torch.where(x > _EDGE, -_PENALTY * x / _EDGE, ((x - _EDGE) / _SCALE).exp())

    def __call__(self, prediction: Prediction, actions: Tensor) -> Tensor:
        """As an objective: (B, N, P)."""
        return self.of(prediction.obs).sum(dim=-1)


def risk_rows(name: str, seed: int, folder: Path, settings: TruthSettings) -> list[Row]:
    """Plan by CVaR in one rival's model, and act in the true world: the mean return over episodes."""
    count = settings.episodes if name != SIMULATOR else -(-settings.episodes // _SIMULATOR_SHARE)
    with ExitStack() as stack:
        if name == SIMULATOR:
            simulator = make_simulator(CASE.world.task, CASE.world.env, threads=1)
            model: PreparedModel | SimulatorWorldModel = stack.enter_context(simulator)
        else:
            model = PreparedModel(_learned(name, seed, folder, settings))
        policy = PlanningPolicy(
            model,
            CEM(CEMConfig(horizon=4, candidates=64, iterations=3, elites=8), model.spec.action_size),
            EdgeReward(),
            CVaR(_LEVEL),
            particles=_PARTICLES,
        )
        rollouts = run_episodes(
            policy,
            stack.enter_context(open_environments(CASE.world.task, CASE.world.env, count=count)),
            seeds=[EVALUATION_SEED + 1000 * seed + i for i in range(count)],
            policy_seed=seed,
            source=name,
            title=f"plan at the edge, {name}",
        )
    reward = EdgeReward()
    rewards = [reward.of(torch.from_numpy(episode.obs[1:])) for episode in rollouts.episodes]
    returns = [float(values.sum()) for values in rewards]
    falls = [float((values < 0).double().mean()) for values in rewards]
    metrics = {f"return_{i:02d}": value for i, value in enumerate(returns)}
    metrics |= {"return": sum(returns) / len(returns), "beyond": sum(falls) / len(falls)}
    nfe = model.nfe if isinstance(model, PreparedModel) else 0
    return [Row("risk", CASE.name, name, nfe, seed, metrics)]


def _learned(name: str, seed: int, folder: Path, settings: TruthSettings) -> LearnedWorldModel:
    episodes = read_episodes(training_file(CASE, folder))
    generator = settings.for_chance(RIVALS[name])
    return train_world_model(episodes, generator, chunk=CASE.chunk, steps=settings.steps, seed=seed)
