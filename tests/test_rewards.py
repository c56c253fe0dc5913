import mujoco
import numpy as np
import pytest

from drift_wm.envs.dm_control import benchmark_tasks, task_names
from drift_wm.envs.kinematics import StateBatch
from drift_wm.envs.observations import batched_observation
from drift_wm.envs.rendering import import_suite
from drift_wm.envs.rewards import batched_reward

suite = import_suite()
TASKS = sorted(task for task in task_names() if batched_reward(task) is not None)
FULL_PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS


def load(task):
    environment = suite.load(*task.split("-"), task_kwargs={"random": 0})
    environment.reset()
    return environment


def record(environment):
    """The state, control, sensors, reward and observation that the environment is at."""
    physics, task = environment.physics, environment.task
    state = np.empty(mujoco.mj_stateSize(physics.model.ptr, FULL_PHYSICS))
    mujoco.mj_getState(physics.model.ptr, physics.data.ptr, state, FULL_PHYSICS)
    observation = np.concatenate([np.ravel(v) for v in task.get_observation(physics).values()])
    return (
        state,
        physics.data.ctrl.copy(),
        physics.data.sensordata.copy(),
        task.get_reward(physics),
        observation,
    )


def check(task, environment, records):
    states, ctrl, sensordata, reward, observation = (np.stack(column) for column in zip(*records, strict=True))
    batch = StateBatch(environment.physics.model.ptr, states, ctrl, sensordata)
    computed = batched_reward(task)(batch)
    assert computed.shape == reward.shape
    np.testing.assert_allclose(computed, reward, atol=1e-12, rtol=0)
    np.testing.assert_allclose(batched_observation(task)(batch), observation, atol=1e-12, rtol=0)
    return reward


@pytest.mark.parametrize("task", TASKS)
def test_reward_and_observation_along_random_actions(task):
    environment, rng = load(task), np.random.default_rng(0)
    spec = environment.action_spec()
    records = []
    for _ in range(40):
        environment.step(rng.uniform(spec.minimum, spec.maximum))
        records.append(record(environment))
    check(task, environment, records)


@pytest.mark.parametrize("task", TASKS)
def test_reward_where_there_is_some(task):
    """Random states from near the model's rest pose to far away, so that sparse rewards occur as well."""
    environment, rng = load(task), np.random.default_rng(0)
    physics = environment.physics
    if task.startswith("reacher"):  # within reach of many states: on the fingertip of the straight arm
        physics.named.model.geom_pos["target", :2] = 0.24, 0
    records = []
    for scale in np.tile([0.02, 0.2, 1.0], 80):
        physics.data.qpos[:] = physics.model.qpos0 + scale * rng.normal(size=physics.model.nq)
        physics.data.qvel[:] = 10 * scale * rng.normal(size=physics.model.nv)
        physics.data.ctrl[:] = rng.uniform(-1, 1, size=physics.model.nu)
        mujoco.mj_normalizeQuat(physics.model.ptr, physics.data.qpos)
        mujoco.mj_forward(physics.model.ptr, physics.data.ptr)
        records.append(record(environment))
    reward = check(task, environment, records)
    assert reward.min() < 0.5 < reward.max()


def test_a_batch_of_any_shape_is_its_states_alone():
    environment, rng = load("walker-walk"), np.random.default_rng(0)
    model = environment.physics.model.ptr
    size = mujoco.mj_stateSize(model, FULL_PHYSICS)
    states, ctrl, sensors = (rng.normal(size=(2, 3, n)) for n in (size, model.nu, model.nsensordata))
    together = batched_reward("walker-walk")(StateBatch(model, states, ctrl, sensors))
    alone = [
        batched_reward("walker-walk")(StateBatch(model, *(x[i, j] for x in (states, ctrl, sensors))))
        for i, j in np.ndindex(2, 3)
    ]
    np.testing.assert_allclose(together.ravel(), alone, atol=1e-15)


def test_the_benchmark_tasks_without_a_batched_reward_are_known():
    assert len(TASKS) > 20
    assert set(benchmark_tasks()) - set(TASKS) == {
        "fish-swim",
        "fish-upright",
        "manipulator-bring_ball",
        "swimmer-swimmer15",
        "swimmer-swimmer6",
    }


def test_a_task_without_a_batched_reward_has_none():
    assert batched_reward("fish-swim") is None
    assert batched_observation("fish-swim") is None
