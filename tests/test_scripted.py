"""The scripted demonstrator in a toy world with a hand, two fingers and a cube: it lifts, and tries again."""

import numpy as np
import pytest
import torch

from drift_wm.acting.scripted import ScriptedPolicy, lift

TABLE, LIFTED = 0.82, 0.86
WIDTH, OPEN = 0.042, 0.08


class Toy:
    """A hand that moves by 5 cm for an action of 1, fingers that close by 2 cm a step, and a cube that they hold."""

    def __init__(self, hand, cube, *, slips=0):
        self.hand, self.cube, self.width, self.slips = np.array(hand), np.array(cube), OPEN, slips
        self.held = False

    @property
    def obs(self):
        quaternion, fingers = [1.0, 0.0, 0.0, 0.0], [self.width / 2, -self.width / 2]
        return np.concatenate([self.hand, quaternion, fingers, self.cube, quaternion, self.cube - self.hand])

    def step(self, action):
        around = np.abs(self.cube - self.hand).max() < 0.015
        closing = action[6] > 0
        least = WIDTH if around and not (self.slips and self.held) else 0.0
        self.width = np.clip(self.width + (-0.02 if closing else 0.02), least, OPEN)
        if self.held and self.slips:
            self.held, self.slips = False, self.slips - 1
            self.cube[2] = TABLE
        else:
            self.held = closing and around and self.width == WIDTH
        before = self.hand.copy()
        self.hand = self.hand + 0.05 * np.clip(action[:3], -1, 1)
        if self.held:
            self.cube = self.cube + self.hand - before


def act(toy, policy=lift, steps=80):
    lowest_above = []
    for number in range(steps):
        action = policy(toy.obs)
        assert action.shape == (7,)
        assert np.abs(action).max() <= 1
        toy.step(action)
        if np.linalg.norm((toy.hand - toy.cube)[:2]) > 0.03:
            lowest_above.append(toy.hand[2] - toy.cube[2])
        if toy.cube[2] > LIFTED:
            return number, min(lowest_above, default=np.inf)
    return None, min(lowest_above, default=np.inf)


@pytest.mark.parametrize("cube", [(0.03, 0.03, TABLE), (-0.03, 0.02, TABLE), (0.0, -0.03, TABLE)])
@pytest.mark.parametrize("hand", [(-0.09, 0.0, 1.02), (0.1, 0.1, 0.95), (0.0, 0.0, 0.9)])
def test_it_lifts_the_cube_and_does_not_sweep_it_off(hand, cube):
    steps, lowest = act(Toy(hand, cube))
    assert steps is not None
    assert lowest > 0.02, "beside the cube the hand stays above it"


def test_the_fingers_are_open_until_the_hand_is_around_the_cube():
    toy = Toy((-0.09, 0.0, 1.02), (0.03, 0.03, TABLE))
    while np.linalg.norm(toy.hand - toy.cube) > 0.03:
        action = lift(toy.obs)
        assert action[6] == -1
        toy.step(action)


def test_a_cube_that_slips_is_grasped_again():
    toy = Toy((-0.09, 0.0, 1.02), (0.03, 0.03, TABLE), slips=1)
    steps, _ = act(toy)
    assert toy.slips == 0
    assert steps is not None


def test_fingers_closed_on_nothing_open_and_rise():
    toy = Toy((0.0, 0.0, TABLE), (0.0, 0.0, TABLE))
    toy.width = 0.0
    action = lift(toy.obs)
    assert action[6] == -1
    assert action[2] > 0


def test_noise_is_seeded_and_spares_the_gripper():
    obs = torch.tensor(Toy((-0.09, 0.0, 1.02), (0.03, 0.03, TABLE)).obs).float()[None].expand(2, -1)

    def first(seed, noise=0.1):
        policy = ScriptedPolicy("robosuite:Lift", noise=noise)
        action, _ = policy.act(obs, policy.reset(obs, seed=seed))
        return action

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert not torch.equal(first(1)[0], first(1)[1])
    assert (first(1)[:, 6] == -1).all()
    np.testing.assert_allclose(first(1, noise=0.0)[0], lift(obs[0].double().numpy()), atol=1e-6)


def test_a_task_without_a_controller_is_refused():
    with pytest.raises(ValueError, match="no controller for task='walker-walk'; expected one of robosuite:Lift"):
        ScriptedPolicy("walker-walk", noise=0.1)
