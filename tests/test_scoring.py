"""The score of a decision: common random numbers, slices, and what a planner makes of it."""

import pytest
import torch

from drift_wm.interfaces import History, Prediction, Spec
from drift_wm.planners.cem import CEM, CEMConfig
from drift_wm.planners.objectives import ActionPenalty, PredictedReturn, Sum
from drift_wm.planners.risk import Mean, Worst
from drift_wm.planners.scoring import make_score
from helpers import rng as generator


class GustyPoint:
    """A point pushed by actions and by a gust per particle; the reward is minus its distance to 0."""

    spec = Spec(observation_size=1, action_size=1, decision_seconds=0.1)
    history = 1
    chunk = 1

    def __init__(self):
        self.rows = []

    def rollout(self, history, actions, *, particles, rng):
        batch_size, count, horizon, _ = actions.shape
        self.rows.append(batch_size * count * particles)
        gust = torch.randn(particles, horizon, 1, generator=rng, device=rng.device)
        start = history.obs[:, None, None, -1:]
        position = start + (actions.unsqueeze(2) + 0.5 * gust).cumsum(dim=-2)
        return Prediction(obs=position, reward=-position[..., 0].abs())


def history(batch_size=2):
    return History(obs=torch.arange(batch_size).float()[:, None, None], actions=torch.zeros(batch_size, 0, 1))


def random_actions(count=7, batch_size=2, seed=1):
    return torch.rand(batch_size, count, 4, 1, generator=generator(seed)) * 2 - 1


def score_of(model, *, seed=0, particles=3, risk=None, **options):
    options |= {"particles": particles, "rng": generator(seed)}
    return make_score(model, PredictedReturn(), risk or Mean(), history(), **options)


def test_a_score_is_the_risk_of_the_objective_of_the_prediction():
    rng = generator(6)
    objective = Sum((PredictedReturn(), ActionPenalty(0.1)))
    score = make_score(GustyPoint(), objective, Worst(), history(), particles=3, rng=rng)
    actions = random_actions()
    seed = int(torch.randint(2**63 - 1, (), generator=generator(6)))
    prediction = GustyPoint().rollout(history(), actions, particles=3, rng=generator(seed))
    assert torch.equal(score(actions), objective(prediction, actions).amin(-1))


def test_equal_candidates_score_equally_in_every_place_and_call():
    score = score_of(GustyPoint())
    actions = random_actions()
    first = score(actions)
    assert torch.equal(score(actions), first)
    assert torch.equal(score(actions.flip(1)), first.flip(1))
    assert torch.equal(score(actions[:, 3:5]), first[:, 3:5])


def test_decisions_differ_and_repeat_with_their_generator():
    actions = random_actions()
    assert torch.equal(score_of(GustyPoint(), seed=5)(actions), score_of(GustyPoint(), seed=5)(actions))
    assert not torch.equal(score_of(GustyPoint(), seed=5)(actions), score_of(GustyPoint(), seed=6)(actions))
    rng, model = generator(), GustyPoint()
    objective, risk = PredictedReturn(), Mean()
    first = make_score(model, objective, risk, history(), particles=2, rng=rng)
    second = make_score(model, objective, risk, history(), particles=2, rng=rng)
    assert not torch.equal(first(actions), second(actions))


@pytest.mark.parametrize("max_rows", [1, 6, 13, 25, 42])
def test_slices_bound_the_rows_and_change_nothing(max_rows):
    whole, sliced = GustyPoint(), GustyPoint()
    actions = random_actions()
    expected = score_of(whole)(actions)
    assert torch.equal(score_of(sliced, max_rows=max_rows)(actions), expected)
    assert whole.rows == [42]
    assert sum(sliced.rows) == 42
    # One candidate of all environments and particles, 6 rows, is the least that can be predicted.
    assert max(sliced.rows) <= max(max_rows, 6)


def test_a_planner_steers_the_point_to_the_middle():
    planner = CEM(CEMConfig(horizon=4, candidates=64, elites=8), 1)
    rng, start = generator(), History(obs=torch.tensor([[[1.5]], [[-0.5]]]), actions=torch.zeros(2, 0, 1))
    score = make_score(GustyPoint(), PredictedReturn(), Mean(), start, particles=8, rng=rng)
    plan = planner.improve(score, planner.init(2), rng=rng)
    first = planner.action(plan)[:, 0, 0]
    assert first[0] < -0.8
    assert first[1] > 0.2
    torch.testing.assert_close(score(plan.best.unsqueeze(1))[:, 0], plan.score)


def test_bad_budgets_are_refused():
    with pytest.raises(ValueError, match="particles is 0"):
        score_of(GustyPoint(), particles=0)
    with pytest.raises(ValueError, match="max_rows is 0"):
        score_of(GustyPoint(), max_rows=0)
