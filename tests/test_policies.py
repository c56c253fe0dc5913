import pytest
import torch

from drift_wm.acting.policies import PinkNoisePolicy, PlanningPolicy, RandomPolicy
from drift_wm.interfaces import History, Prediction, Spec
from drift_wm.planners.icem import ICEM, ICEMConfig
from drift_wm.planners.objectives import ActionRatePenalty, PredictedReturn, Sum
from drift_wm.planners.risk import Mean


class ReachTarget:
    """A world whose reward is minus the squared distance of each action to the first observation entry."""

    def __init__(self, history: int = 1, chunk: int = 1) -> None:
        self.spec, self.history, self.chunk = Spec(2, 1, 0.1), history, chunk
        self.seen: list[History] = []

    def rollout(self, history, actions, *, particles, rng):
        self.seen.append(history)
        target = history.obs[:, -1, 0][:, None, None]
        reward = -(actions[..., 0] - target).square()
        B, N, H, _ = actions.shape
        return Prediction(torch.zeros(B, N, particles, H, 2), reward.unsqueeze(2).expand(B, N, particles, H))


def policy(model, exploration_std: float = 0.0) -> PlanningPolicy:
    planner = ICEM(ICEMConfig(horizon=4, candidates=256, iterations=6), 1)
    return PlanningPolicy(model, planner, PredictedReturn(), Mean(), exploration_std=exploration_std)


def test_planning_finds_the_best_action_of_every_environment():
    obs = torch.tensor([[0.5, 0.0], [-0.7, 0.0]])
    chosen = policy(ReachTarget())
    action, _ = chosen.act(obs, chosen.reset(obs, seed=0))
    torch.testing.assert_close(action, torch.tensor([[0.5], [-0.7]]), atol=0.1, rtol=0)


def test_a_change_from_what_was_executed_last_costs_what_the_penalty_says():
    """Least squares: sum over the plan of (a_t - target)^2 + (a_t - a_{t-1})^2, from the action before it on."""
    chosen = policy(ReachTarget())
    chosen.objective = Sum((PredictedReturn(), ActionRatePenalty(1.0)))
    before, state = chosen.act(torch.tensor([[0.5, 0.0]]), chosen.reset(torch.tensor([[0.5, 0.0]]), seed=0))
    torch.testing.assert_close(before, torch.tensor([[0.5]]), atol=0.1, rtol=0)
    action, _ = chosen.act(torch.tensor([[-0.5, 0.0]]), state)
    system = 3 * torch.eye(4) - torch.diag(torch.ones(3), 1) - torch.diag(torch.ones(3), -1)
    system[-1, -1] = 2
    right = torch.full((4, 1), -0.5) + torch.eye(4)[:, :1] * before
    torch.testing.assert_close(action, torch.linalg.solve(system, right)[:1], atol=0.1, rtol=0)


def test_history_holds_the_last_frames_and_the_actions_between_them():
    model = ReachTarget(history=3)
    chosen = policy(model)
    frames = [torch.tensor([[0.1 * t, float(t)]]) for t in range(5)]
    state = chosen.reset(frames[0], seed=0)
    actions = []
    for frame in frames:
        action, state = chosen.act(frame, state)
        actions.append(action)
    first, last = model.seen[0], model.seen[-1]
    assert first.obs[0, :, 1].tolist() == [0, 0, 0]
    assert first.actions.tolist() == [[[0.0], [0.0]]]
    assert last.obs[0, :, 1].tolist() == [2, 3, 4]
    torch.testing.assert_close(last.actions[0], torch.cat(actions[2:4]))


def test_state_is_a_value():
    obs = torch.tensor([[0.5, 0.0]])
    chosen = policy(ReachTarget(), exploration_std=0.2)
    start = chosen.reset(obs, seed=3)
    first, after = chosen.act(obs, start)
    again, _ = chosen.act(obs, start)
    assert torch.equal(first, again)
    second, _ = chosen.act(obs, after)
    assert not torch.equal(first, second)
    other, _ = chosen.act(obs, chosen.reset(obs, seed=4))
    assert not torch.equal(first, other)


def test_a_batch_is_planned_as_its_members_alone():
    obs = torch.tensor([[0.5, 0.0], [-0.7, 0.0], [0.2, 0.0]])
    chosen = policy(ReachTarget())
    together, _ = chosen.act(obs, chosen.reset(obs, seed=0))
    alone = [chosen.act(o[None], chosen.reset(o[None], seed=0))[0] for o in obs]
    torch.testing.assert_close(together, torch.cat(alone))


def test_exploration_noise_stays_in_bounds_and_is_absent_by_default():
    obs = torch.tensor([[1.0, 0.0]]).expand(200, 2)
    noisy = policy(ReachTarget(), exploration_std=0.5)
    action, _ = noisy.act(obs, noisy.reset(obs, seed=0))
    assert action.abs().max() <= 1
    assert action.std() > 0.1
    calm, _ = policy(ReachTarget()).act(obs, policy(ReachTarget()).reset(obs, seed=0))
    assert calm.std() < 1e-6


def test_where_a_model_diverges_the_plan_before_goes_on_and_that_is_said_once(caplog):
    chosen = policy(ReachTarget())
    near, far = torch.tensor([[0.5, 0.0]]), torch.tensor([[torch.nan, 0.0]])
    _, state = chosen.act(near, chosen.reset(near, seed=0))
    with caplog.at_level("WARNING"):
        action, state = chosen.act(far, state)
        chosen.act(far, state)
    torch.testing.assert_close(action, torch.tensor([[0.5]]), atol=0.1, rtol=0)
    (message,) = caplog.messages
    assert message.startswith("decision 2: every candidate's score is NaN or infinite; continuing the previous plan")


def test_a_model_that_diverges_from_the_start_is_an_error():
    chosen, broken = policy(ReachTarget()), torch.full((2, 2), torch.nan)
    with pytest.raises(FloatingPointError, match="Check the observations"):
        chosen.act(broken, chosen.reset(broken, seed=0))


def test_a_model_that_stands_nothing_but_rest_is_planned_in(caplog):
    class Fragile(ReachTarget):
        def rollout(self, history, actions, **others):
            prediction = super().rollout(history, actions, **others)
            moves = actions.abs().amax(dim=(2, 3))[:, :, None, None] > 0
            return Prediction(prediction.obs, prediction.reward.where(~moves, torch.nan))

    # Of iCEM's iterations the last alone tries the mean, which is to rest.
    resting = PlanningPolicy(
        Fragile(), ICEM(ICEMConfig(horizon=4, candidates=32, keep_fraction=0.0), 1), PredictedReturn(), Mean()
    )
    obs = torch.tensor([[0.5, 0.0]])
    action, _ = resting.act(obs, resting.reset(obs, seed=0))
    assert action.item() == 0
    assert not caplog.messages


def test_a_horizon_the_chunk_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"planner\.horizon=4.*chunk of 3 steps, such as 6"):
        policy(ReachTarget(chunk=3))


def test_random_policy_is_uniform_and_reproducible():
    random = RandomPolicy(2)
    obs = torch.zeros(4000, 5)
    action, state = random.act(obs, random.reset(obs, seed=1))
    assert action.shape == (4000, 2)
    assert action.abs().max() <= 1
    torch.testing.assert_close(action.mean(0), torch.zeros(2), atol=0.05, rtol=0)
    torch.testing.assert_close(action.square().mean(0), torch.full((2,), 1 / 3), atol=0.02, rtol=0)
    assert torch.equal(action, random.act(obs, random.reset(obs, seed=1))[0])
    assert not torch.equal(action, random.act(obs, state)[0])


def test_pink_noise_pushes_for_longer_than_white_noise_does():
    pink, obs = PinkNoisePolicy(1, 256), torch.zeros(400, 5)
    state = pink.reset(obs, seed=0)
    actions = []
    for _ in range(256):
        action, state = pink.act(obs, state)
        actions.append(action)
    series = torch.stack(actions, dim=1)[..., 0]
    assert series.abs().max() <= 1
    white_variance_of_means = 1 / 3 / 16
    blocks = series.view(400, 16, 16).mean(-1)
    assert blocks.var() > 4 * white_variance_of_means
    again, _ = pink.act(obs, pink.reset(obs, seed=0))
    assert torch.equal(again, actions[0])


@pytest.mark.parametrize("policy", [RandomPolicy(2), PinkNoisePolicy(2, 8)], ids=["random", "pink"])
def test_chance_does_not_depend_on_who_acts_beside(policy):
    """So that an evaluation that is stopped and gone on with, in other batches, is the same."""

    def actions(first, count):
        obs, found = torch.zeros(count, 3), []
        state = policy.reset(obs, seed=first)
        for _ in range(5):
            action, state = policy.act(obs, state)
            found.append(action)
        return torch.stack(found, dim=1)

    together = actions(10, 4)
    assert torch.equal(torch.cat([actions(10, 1), actions(11, 3)]), together)
    assert not torch.equal(together[0], together[1])
