"""Objectives: known answers, sums and refusals."""

import pytest
import torch

from drift_wm.interfaces import Prediction
from drift_wm.planners.novelty import Novelty
from drift_wm.planners.objectives import ActionPenalty, ActionRatePenalty, GoalDistance, PredictedReturn, Sum, following

B, N, P, H, D, A = 2, 3, 4, 5, 6, 2
rng = torch.Generator().manual_seed(0)
OBS = torch.randn(B, N, P, H, D, generator=rng)
PREDICTION = Prediction(obs=OBS, reward=torch.randn(B, N, P, H, generator=rng))
ACTIONS = torch.rand(B, N, H, A, generator=rng) * 2 - 1


def test_return_is_the_discounted_sum():
    reward = PREDICTION.reward
    torch.testing.assert_close(PredictedReturn()(PREDICTION, ACTIONS), reward.sum(-1))
    expected = sum(0.9**step * reward[..., step] for step in range(H))
    torch.testing.assert_close(PredictedReturn(0.9)(PREDICTION, ACTIONS), expected)


def test_action_penalty_is_the_sum_of_squares_for_every_future():
    value = ActionPenalty(0.5)(PREDICTION, ACTIONS)
    assert value.shape == (B, N, P)
    expected = -0.5 * (ACTIONS**2).flatten(2).sum(-1)
    for future in range(P):
        torch.testing.assert_close(value[..., future], expected)


def test_action_rate_penalty_is_zero_for_constant_actions():
    constant = torch.full((B, N, H, A), 0.7)
    assert (ActionRatePenalty(3.0)(PREDICTION, constant) == 0).all()
    bang = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])[:, None].expand(B, N, H, A)
    # Four jumps of 2, each squared, in each of the A entries.
    expected = torch.full((B, N, P), -0.5 * 4 * 4 * A)
    torch.testing.assert_close(ActionRatePenalty(0.5)(PREDICTION, bang), expected)
    assert (ActionRatePenalty(3.0)(PREDICTION, ACTIONS[:, :, :1]) == 0).all()


def test_the_change_to_the_first_action_of_a_sequence_is_charged_too():
    executed = torch.randn(B, A, generator=torch.Generator().manual_seed(1))
    objective = Sum((ActionPenalty(1.0), Sum((ActionRatePenalty(0.5),)), PredictedReturn()))
    told = following(executed, objective)(PREDICTION, ACTIONS)
    whole = torch.cat([executed[:, None, None].expand(B, N, 1, A), ACTIONS], dim=2)
    change = ActionRatePenalty(0.5)(PREDICTION, whole) - ActionRatePenalty(0.5)(PREDICTION, ACTIONS)
    torch.testing.assert_close(told, objective(PREDICTION, ACTIONS) + change)
    plain = PredictedReturn()
    assert following(executed, plain) is plain


def test_goal_distance_of_one_goal_and_of_one_goal_each():
    goals = torch.randn(B, D, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 3.0])
    each = GoalDistance(goals, weights)(PREDICTION, ACTIONS)
    assert each.shape == (B, N, P)
    for environment in range(B):
        expected = -(weights * (PREDICTION.obs[environment] - goals[environment]) ** 2).sum(dim=(-2, -1))
        torch.testing.assert_close(each[environment], expected)
        one = GoalDistance(goals[environment], weights)(PREDICTION, ACTIONS)
        torch.testing.assert_close(one[environment], expected)


def test_goal_distance_at_the_end_only():
    goal = torch.zeros(D, dtype=torch.float64)
    value = GoalDistance(goal, 2.0, terminal_only=True)(PREDICTION, ACTIONS)
    torch.testing.assert_close(value, -2.0 * PREDICTION.obs[..., -1, :].square().sum(-1))


def test_goal_distance_does_not_write_to_the_prediction():
    before = PREDICTION.obs.clone()
    GoalDistance(torch.ones(D))(PREDICTION, ACTIONS)
    assert torch.equal(PREDICTION.obs, before)


def test_sum_adds_its_terms():
    terms = (PredictedReturn(), ActionPenalty(0.1), GoalDistance(torch.ones(D)))
    expected = sum(term(PREDICTION, ACTIONS) for term in terms)
    torch.testing.assert_close(Sum(terms)(PREDICTION, ACTIONS), expected)
    torch.testing.assert_close(Sum(terms[:1])(PREDICTION, ACTIONS), PREDICTION.reward.sum(-1))


@pytest.mark.parametrize("discount", [0.0, 1.01, float("nan")])
def test_bad_discount_is_refused(discount):
    with pytest.raises(ValueError, match="discount is"):
        PredictedReturn(discount)


@pytest.mark.parametrize("objective", [ActionPenalty, ActionRatePenalty])
@pytest.mark.parametrize("weight", [-0.1, float("inf"), float("nan")])
def test_bad_weight_is_refused(objective, weight):
    with pytest.raises(ValueError, match="weight is"):
        objective(weight)


def test_empty_sum_is_refused():
    with pytest.raises(ValueError, match="terms is empty"):
        Sum(())


def test_bad_goals_are_refused():
    with pytest.raises(ValueError, match=r"goal has shape \(\)"):
        GoalDistance(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"weights have shape \(2,\)"):
        GoalDistance(torch.zeros(D), torch.ones(2))
    with pytest.raises(ValueError, match="weights are -1"):
        GoalDistance(torch.zeros(D), -1.0)
    with pytest.raises(ValueError, match="observations of size 6"):
        GoalDistance(torch.zeros(D - 1))(PREDICTION, ACTIONS)
    with pytest.raises(ValueError, match="2 environments"):
        GoalDistance(torch.zeros(B + 1, D))(PREDICTION, ACTIONS)


def test_novelty_is_the_mean_distance_to_the_nearest_frame_seen_in_deviations():
    seen = torch.tensor([[0.0, 0.0], [2.0, 40.0]])  # deviations 1 and 20
    obs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 40.0], [2.0, 60.0]]).view(1, 1, 1, 4, 2)
    value = Novelty(seen)(Prediction(obs=obs, reward=torch.zeros(1, 1, 1, 4)), torch.zeros(1, 1, 4, 1))
    assert value.shape == (1, 1, 1)
    assert value.item() == pytest.approx((0 + 1 + 1 + 1) / 4)


def test_novelty_prefers_what_was_not_seen_and_looks_at_the_end_of_long_horizons():
    seen = torch.linspace(-1, 1, 5_000).unsqueeze(-1)  # more than are kept
    ends = torch.tensor([0.3, 1.0, 3.0])
    obs = (ends[:, None] * torch.arange(1, 46) / 45).view(1, 3, 1, 45, 1)
    value = Novelty(seen)(Prediction(obs=obs, reward=torch.zeros(1, 3, 1, 45)), torch.zeros(1, 3, 45, 1))
    assert value[0, :2].abs().max() < 0.01
    assert value[0, 2] > 0.5


def test_errors_in_an_entry_that_never_moved_are_no_news():
    seen = torch.cat([torch.linspace(-1, 1, 500).unsqueeze(-1), torch.full((500, 1), 0.7)], dim=1)
    obs = torch.tensor([[0.5, 0.71], [1.5, 0.7], [0.5, 2.7]]).view(1, 3, 1, 1, 2)  # an error, a news, and another
    value = Novelty(seen)(Prediction(obs=obs, reward=torch.zeros(1, 3, 1, 1)), torch.zeros(1, 3, 1, 1))[0, :, 0]
    assert value[0] < 0.02
    assert value[1:].tolist() == pytest.approx([0.5 / seen[:, 0].std().item(), 2.0], abs=0.02)


def test_novelty_is_the_same_wherever_zero_is():
    seen = torch.linspace(-1, 1, 500).unsqueeze(-1)
    obs = torch.linspace(0, 3, 40).view(1, 40, 1, 1, 1)  # of so many, distances are worked out from products
    found = [
        Novelty(0.1 * seen + zero)(Prediction(0.1 * obs + zero, torch.zeros(1, 40, 1, 1)), torch.zeros(1, 40, 1, 1))
        for zero in (0.0, 300.0)
    ]
    torch.testing.assert_close(found[1], found[0], atol=0.01, rtol=0)


@pytest.mark.parametrize("shape", [(0, 2), (3,), (1, 2, 3)])
def test_novelty_needs_frames(shape):
    with pytest.raises(ValueError, match=r"seen has shape.*at least one"):
        Novelty(torch.zeros(shape))
