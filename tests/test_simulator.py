from contextlib import closing

import numpy as np
import pytest
import torch

from drift_wm.envs.dm_control import make_dm_control
from drift_wm.envs.rollout_pool import RolloutPool
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import History

# One task of every domain that has batched rewards, those with episode parameters, and tasks that have none.
BATCHED = [
    "acrobot-swingup",
    "ball_in_cup-catch",
    "cartpole-swingup",
    "cheetah-run",
    "finger-spin",
    "finger-turn_easy",
    "hopper-stand",
    "humanoid-stand",
    "pendulum-swingup",
    "point_mass-easy",
    "reacher-easy",
    "walker-walk",
]
STATE_BY_STATE = ["fish-swim", "swimmer-swimmer6", "quadruped-walk", "point_mass-hard", "cartpole-two_poles"]
RNG = torch.Generator()


def played(task, *, seed=0, action_repeat=2, warm_up=3):
    """An environment some random steps into an episode."""
    environment = make_dm_control(task, action_repeat=action_repeat)
    environment.reset(seed=seed)
    environment.action_space.seed(seed)
    for _ in range(warm_up):
        environment.step(environment.action_space.sample())
    return environment


def history_of(*environments):
    """The history of environments, as far as the simulator reads it."""
    physics = torch.as_tensor(np.stack([environment.physics_state() for environment in environments]))
    spec = environments[0].task_spec
    return History(
        obs=torch.zeros(len(environments), 1, spec.observation_size),
        actions=torch.zeros(len(environments), 0, spec.action_size),
        physics=physics,
    )


def random_actions(environment, *shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, environment.task_spec.action_size, generator=rng) * 2 - 1


def check_equal_to_stepping(environment, obs, reward, actions):
    """Predicted (N, H, D), (N, H) of (N, H, A) actions, each replayed in the environment from where it is."""
    start = environment.physics_state()
    for candidate in range(len(actions)):
        environment.set_physics_state(start)
        for step, action in enumerate(actions[candidate]):
            seen, gained, *_ = environment.step(action.numpy())
            np.testing.assert_allclose(obs[candidate, step].numpy(), seen, atol=1e-6, rtol=1e-6)
            assert reward[candidate, step].item() == pytest.approx(gained, abs=1e-6)
    environment.set_physics_state(start)


@pytest.mark.parametrize("task", BATCHED + STATE_BY_STATE)
def test_a_prediction_is_what_stepping_the_environment_gives(task):
    environment = played(task)
    actions = random_actions(environment, 1, 2, 6)
    with SimulatorWorldModel(task, threads=2) as model:
        assert model.spec == environment.task_spec
        prediction = model.rollout(history_of(environment), actions, particles=1, rng=RNG)
    assert prediction.obs.shape == (1, 2, 1, 6, model.spec.observation_size)
    assert prediction.obs.dtype == prediction.reward.dtype == torch.float32
    check_equal_to_stepping(environment, prediction.obs[0, :, 0], prediction.reward[0, :, 0], actions[0])
    environment.close()


@pytest.mark.parametrize("action_repeat", [1, 3])
def test_the_action_repeat_is_the_environments(action_repeat):
    environment = played("cheetah-run", action_repeat=action_repeat)
    actions = random_actions(environment, 1, 2, 4)
    with SimulatorWorldModel("cheetah-run", action_repeat=action_repeat, threads=1) as model:
        prediction = model.rollout(history_of(environment), actions, particles=1, rng=RNG)
    check_equal_to_stepping(environment, prediction.obs[0, :, 0], prediction.reward[0, :, 0], actions[0])


def test_a_prediction_from_the_first_state_of_an_episode():
    environment = played("hopper-hop", warm_up=0)
    actions = random_actions(environment, 1, 1, 5)
    with SimulatorWorldModel("hopper-hop", threads=1) as model:
        prediction = model.rollout(history_of(environment), actions, particles=1, rng=RNG)
    check_equal_to_stepping(environment, prediction.obs[0, :, 0], prediction.reward[0, :, 0], actions[0])


@pytest.mark.parametrize("task", ["walker-run", "humanoid-walk", "finger-turn_hard", "reacher-hard", "dog-stand"])
def test_simulated_states_and_sensors_equal_the_environments_bit_for_bit(task):
    environment = played(task, action_repeat=1)
    physics = environment.suite_environment.physics
    full, warmstart, _ = environment.state_layout.split(environment.physics_state()[None])
    controls = np.random.default_rng(0).uniform(-1, 1, size=(1, 20, physics.model.nu))
    with closing(RolloutPool(physics.model.ptr, threads=1, sub_steps=environment.sub_steps)) as pool:
        run = pool.run([physics.model.ptr], full, warmstart, controls)
    for step in range(20):
        environment.suite_environment.step(controls[0, step])
        np.testing.assert_array_equal(run.states[0, step], environment.physics_state()[: full.shape[1]])
        np.testing.assert_array_equal(run.sensordata[0, step], physics.data.sensordata)
    assert run.valid.all()


def test_simulating_in_blocks_changes_nothing(monkeypatch):
    environments = [played("reacher-easy", seed=seed) for seed in range(2)]
    history, actions = history_of(*environments), random_actions(environments[0], 2, 5, 3)
    with SimulatorWorldModel("reacher-easy", threads=2) as model:
        whole = model.rollout(history, actions, particles=1, rng=RNG)
        monkeypatch.setattr("drift_wm.envs.rollout_pool._RECORDING_BYTES", 1)
        blocks = model.rollout(history, actions, particles=1, rng=RNG)
    torch.testing.assert_close(blocks.obs, whole.obs, rtol=0, atol=0)
    torch.testing.assert_close(blocks.reward, whole.reward, rtol=0, atol=0)


@pytest.mark.parametrize("task", ["reacher-easy", "finger-turn_easy", "fish-swim", "walker-walk"])
def test_a_batch_of_environments_is_its_members_alone(task):
    environments = [played(task, seed=seed) for seed in range(3)]
    actions = random_actions(environments[0], 3, 2, 4)
    with SimulatorWorldModel(task, threads=2) as model:
        together = model.rollout(history_of(*environments), actions, particles=1, rng=RNG)
        for row, environment in enumerate(environments):
            alone = model.rollout(history_of(environment), actions[row : row + 1], particles=1, rng=RNG)
            torch.testing.assert_close(together.obs[row], alone.obs[0], rtol=0, atol=0)
            torch.testing.assert_close(together.reward[row], alone.reward[0], rtol=0, atol=0)
            check_equal_to_stepping(environment, alone.obs[0, :, 0], alone.reward[0, :, 0], actions[row])


def test_particles_are_one_future_without_copies():
    environment = played("cartpole-swingup")
    with SimulatorWorldModel("cartpole-swingup", threads=1) as model:
        prediction = model.rollout(history_of(environment), random_actions(environment, 1, 3, 4), particles=5, rng=RNG)
    assert prediction.obs.shape == (1, 3, 5, 4, 5)
    assert prediction.reward.shape == (1, 3, 5, 4)
    assert prediction.obs.stride(2) == prediction.reward.stride(2) == 0


@pytest.mark.parametrize("task", ["cartpole-swingup", "fish-swim"])
def test_without_observing_the_reward_is_the_same_and_observations_are_nan(task):
    environment = played(task)
    history, actions = history_of(environment), random_actions(environment, 1, 2, 3)
    with SimulatorWorldModel(task, threads=1) as seeing, SimulatorWorldModel(task, observe=False) as blind:
        seen = seeing.rollout(history, actions, particles=2, rng=RNG)
        unseen = blind.rollout(history, actions, particles=2, rng=RNG)
    torch.testing.assert_close(unseen.reward, seen.reward, rtol=0, atol=0)
    assert unseen.obs.shape == seen.obs.shape
    assert unseen.obs.isnan().all()


def test_the_number_of_threads_changes_nothing():
    environment = played("humanoid-run")
    history, actions = history_of(environment), random_actions(environment, 1, 8, 3)
    with SimulatorWorldModel("humanoid-run", threads=1) as one, SimulatorWorldModel("humanoid-run", threads=3) as three:
        first = one.rollout(history, actions, particles=1, rng=RNG)
        second = three.rollout(history, actions, particles=1, rng=RNG)
    torch.testing.assert_close(first.obs, second.obs, rtol=0, atol=0)
    torch.testing.assert_close(first.reward, second.reward, rtol=0, atol=0)


@pytest.mark.parametrize("task", ["walker-walk", "swimmer-swimmer6"])
def test_a_diverged_simulation_is_nan_and_leaves_the_others_alone(task):
    environments = [played(task, seed=seed) for seed in range(2)]
    history, actions = history_of(*environments), random_actions(environments[0], 2, 2, 3)
    with SimulatorWorldModel(task, threads=1) as model:
        before = model.rollout(history, actions, particles=1, rng=RNG)
        history.physics[0, 1] = 1e12  # a position beyond what MuJoCo accepts
        after = model.rollout(history, actions, particles=1, rng=RNG)
    assert after.reward[0].isnan().all()
    assert after.obs[0].isnan().all()
    torch.testing.assert_close(after.reward[1], before.reward[1], rtol=0, atol=0)
    torch.testing.assert_close(after.obs[1], before.obs[1], rtol=0, atol=0)


def test_a_simulation_that_diverges_on_the_way_is_nan_from_there_on():
    environment = played("cartpole-swingup")
    actions = random_actions(environment, 1, 2, 6)
    actions[0, 1, 3] = torch.nan
    with SimulatorWorldModel("cartpole-swingup", threads=1) as model:
        prediction = model.rollout(history_of(environment), actions, particles=1, rng=RNG)
    assert prediction.reward[0, 0].isfinite().all()
    assert prediction.reward[0, 1, 0].isnan().tolist() == [False] * 3 + [True] * 3
    assert prediction.obs[0, 1, 0].isnan().any(dim=-1).tolist() == [False] * 3 + [True] * 3


@pytest.fixture(scope="module")
def cartpole():
    with SimulatorWorldModel("cartpole-swingup", threads=1) as model:
        yield model


def test_a_history_without_physics_is_refused(cartpole):
    history = History(obs=torch.zeros(1, 1, 5), actions=torch.zeros(1, 0, 1))
    with pytest.raises(ValueError, match=r"history.physics is None.*physics_state\(\)"):
        cartpole.rollout(history, torch.zeros(1, 2, 3, 1), particles=1, rng=RNG)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 2, 3, 2), (1, 0, 3, 1), (1, 2, 0, 1)])
def test_actions_of_another_shape_are_refused(cartpole, shape):
    with pytest.raises(ValueError, match="actions have shape"):
        cartpole.rollout(history_of(played("cartpole-swingup")), torch.zeros(shape), particles=1, rng=RNG)


def test_physics_of_another_shape_or_type_is_refused(cartpole):
    history, actions = history_of(played("cartpole-swingup")), torch.zeros(2, 2, 3, 1)
    with pytest.raises(ValueError, match=r"history.physics is torch.float64 of shape"):
        cartpole.rollout(history, actions, particles=1, rng=RNG)
    rounded = History(history.obs, history.actions, history.physics.float())
    with pytest.raises(ValueError, match=r"history.physics is torch.float32"):
        cartpole.rollout(rounded, actions[:1], particles=1, rng=RNG)


def test_no_particles_are_refused(cartpole):
    with pytest.raises(ValueError, match="particles is 0"):
        cartpole.rollout(history_of(played("cartpole-swingup")), torch.zeros(1, 2, 3, 1), particles=0, rng=RNG)


def test_no_threads_and_an_unknown_task_are_refused():
    with pytest.raises(ValueError, match="threads is 0"):
        SimulatorWorldModel("cartpole-swingup", threads=0)
    with pytest.raises(ValueError, match="cartpole-swingdown"):
        SimulatorWorldModel("cartpole-swingdown")


def test_a_closed_simulator_says_so():
    environment = played("cartpole-swingup")
    model = SimulatorWorldModel("cartpole-swingup", threads=1)
    model.close()
    model.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        model.rollout(history_of(environment), torch.zeros(1, 2, 3, 1), particles=1, rng=RNG)
