"""An actor's candidates: what it would do in the model's own future."""

import pytest
import torch

from drift_wm.acting.proposals import ActorProposals
from drift_wm.build import make_policy
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import History, Spec
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.planners.icem import ICEM, ICEMConfig
from drift_wm.settings import PlanningSettings
from helpers import rng

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
H = 6


def make_model(*, chunk=3, history=1, value=0.9) -> LearnedWorldModel:
    generator = GeneratorConfig("regression", width=16, depth=2, noise_size=2)
    config = WorldModelConfig(
        chunk=chunk, history=history, value_discount=value, generator=generator, precision="float32"
    )
    model = LearnedWorldModel(SPEC, config, rng=rng())
    with torch.no_grad():
        model.generator.backbone.output.weight.mul_(30)  # a world in which actions matter
    return model


def past(model, B=2):
    K = model.history
    return History(torch.randn(B, K, 3, generator=rng(1)), torch.randn(B, K - 1, 2, generator=rng(2)).clamp(-1, 1))


@pytest.mark.parametrize("chunk", [1, 2, 3, 6])
@pytest.mark.parametrize("history", [1, 2])
def test_the_first_sequence_is_the_actors_answer_to_what_is_predicted(chunk, history):
    model = make_model(chunk=chunk, history=history)
    prepared, known = PreparedModel(model, central=True), past(model)
    found = ActorProposals(prepared, horizon=H, count=4)(known, rng=rng())
    assert found.shape == (2, 4, H, 2)
    future = prepared.rollout(known, found[:, :1], particles=1, rng=rng()).obs[:, 0, 0]
    seen = torch.cat([known.obs[:, -1:], future[:, :-1]], dim=1)
    # A chunk's observations hang on all its actions, later ones included, so corrections come close and no closer.
    tolerance = 1e-5 if chunk == 1 else 0.05
    torch.testing.assert_close(found[:, 0], model.value.act(seen), atol=tolerance, rtol=0)


def test_others_are_noisy_within_bounds_and_alike_for_all_environments():
    model = make_model()
    propose = ActorProposals(PreparedModel(model, central=True), horizon=H, count=8)
    known = past(model)
    twice = History(known.obs[:1].repeat(2, 1, 1), known.actions[:1].repeat(2, 1, 1))
    found = propose(twice, rng=rng())
    assert found.abs().max() <= 1
    assert (found[:, 1:] - found[:, :1]).abs().amax(dim=(2, 3)).min() > 0.05
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[:1], propose(History(twice.obs[:1], twice.actions[:1]), rng=rng()))


@pytest.mark.parametrize("rule", [ICEM(ICEMConfig(horizon=H), 2), CEM(CEMConfig(horizon=H), 2)])
def test_a_planner_tries_them_in_the_first_iteration(rule):
    asked = []

    def score(candidates):
        asked.append(candidates)
        return -candidates.square().sum(dim=(2, 3))

    proposals = torch.full((1, 3, H, 2), 2.0)  # out of bounds: clamped as any other
    rule.improve(score, rule.init(1), rng=rng(), proposals=proposals)
    among = [(candidates == 1).all(dim=(2, 3)).sum().item() for candidates in asked]
    assert among == [3] + [0] * (len(asked) - 1)


@pytest.mark.parametrize(
    "shape", [(2, 3, H, 2), (1, 3, H + 1, 2), (1, 3, H, 1), (1, 255, H, 2)], ids=["batch", "horizon", "action", "many"]
)
def test_proposals_that_do_not_fit_are_refused(shape):
    rule = ICEM(ICEMConfig(horizon=H), 2)
    with pytest.raises(ValueError, match=r"proposals have shape .*expected \(environments, at most 253"):
        rule.improve(
            lambda candidates: candidates.sum(dim=(2, 3)), rule.init(1), rng=rng(), proposals=torch.zeros(shape)
        )


def test_policies_propose_where_there_is_an_actor_and_it_is_wanted():
    cpu = torch.device("cpu")
    wanted = PlanningSettings(planner=ICEMConfig(horizon=H, candidates=32), proposals=5)
    policy = make_policy(make_model(), wanted, device=cpu)
    known = past(make_model())
    assert policy.proposals(known, rng=rng()).shape == (2, 5, H, 2)
    obs = known.obs[:, -1]
    action, _ = policy.act(obs, policy.reset(obs, seed=0))
    assert action.shape == (2, 2)
    assert make_policy(make_model(value=0.0), wanted, device=cpu).proposals is None
    wanted.proposals = 0
    assert make_policy(make_model(), wanted, device=cpu).proposals is None
    with pytest.raises(ValueError, match="proposals=-1"):
        PlanningSettings(proposals=-1)
