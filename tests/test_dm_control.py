"""The suite as gymnasium environments, and the state that is complete."""

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from drift_wm.envs.dm_control import RenderConfig, make_dm_control, task_names
from drift_wm.envs.physics_state import find_layout
from drift_wm.envs.rendering import choose_backend, import_suite
from drift_wm.envs.spaces import check_action, require_box_action, rescale_actions

BENCHMARK = [f"{domain}-{task}" for domain, task in import_suite().BENCHMARKING]
renders = pytest.mark.skipif(not choose_backend().renders, reason="no OpenGL backend on this machine")


def acted(env, steps, seed=0):
    """Observations, rewards and ends of random actions from where the environment is."""
    rng = np.random.default_rng(seed)
    return [env.step(rng.uniform(-1, 1, env.action_space.shape)) for _ in range(steps)]


def assert_same(one, other):
    for (obs, reward, *ends, _), (other_obs, other_reward, *other_ends, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(obs, other_obs)
        assert reward == other_reward
        assert ends == other_ends


@pytest.mark.parametrize("task", BENCHMARK)
def test_every_benchmark_task_loads_and_steps(task):
    env = make_dm_control(task)
    assert env.task_name == task
    obs, info = env.reset(seed=0)
    assert info == {"frames": 0}
    for array, reward, *_ in [(obs, 0.0), *acted(env, 2)]:
        assert array.dtype == np.float32
        assert array.shape == (env.task_spec.observation_size,) == env.observation_space.shape
        assert np.isfinite(array).all()
        assert np.isfinite(reward)


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
@pytest.mark.parametrize(
    "task", ["cartpole-swingup", "reacher-easy", "humanoid-stand", "ball_in_cup-catch", "finger-turn_hard"]
)
def test_passes_gymnasiums_own_check(task):
    check_env(make_dm_control(task), skip_render_check=not choose_backend().renders)


def test_seeds_reproduce_and_streams_go_on():
    env, other = make_dm_control("reacher-easy"), make_dm_control("reacher-easy")
    first, same = env.reset(seed=3)[0], other.reset(seed=3)[0]
    np.testing.assert_array_equal(first, same)
    assert_same(acted(env, 20), acted(other, 20))
    second, also = env.reset()[0], other.reset()[0]
    np.testing.assert_array_equal(second, also)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, env.reset(seed=4)[0])


def test_action_repeat_holds_actions_and_sums_rewards():
    once, twice = make_dm_control("cheetah-run", action_repeat=1), make_dm_control("cheetah-run", action_repeat=2)
    once.reset(seed=0)
    twice.reset(seed=0)
    assert twice.task_spec.decision_seconds == 2 * once.task_spec.decision_seconds
    for action in np.random.default_rng(0).uniform(-1, 1, (30, 6)):
        steps = [once.step(action), once.step(action)]
        obs, reward, _, _, info = twice.step(action)
        np.testing.assert_array_equal(obs, steps[1][0])
        assert reward == pytest.approx(steps[0][1] + steps[1][1], abs=1e-12)
        assert info == {"frames": 2}


def test_time_limit_truncates_also_inside_a_repeat():
    env = make_dm_control("pendulum-swingup", action_repeat=300)
    env.reset(seed=0)
    assert (env.frames_per_episode, env.decisions_per_episode) == (1000, 4)
    results = acted(env, 4)
    assert [info["frames"] for *_, info in results] == [300, 300, 300, 100]
    assert [(terminated, truncated) for _, _, terminated, truncated, _ in results] == [(False, False)] * 3 + [
        (False, True)
    ]
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(np.zeros(1))


def test_a_discount_of_zero_terminates(monkeypatch):
    env = make_dm_control("pendulum-swingup")
    env.reset(seed=0)
    monkeypatch.setattr(env.suite_environment.task, "get_termination", lambda physics: 0.0)
    _, _, terminated, truncated, info = env.step(np.zeros(1))
    assert (terminated, truncated, info) == (True, False, {"frames": 1})


def test_actions_reach_the_bounds_of_the_actuators():
    env = make_dm_control("quadruped-walk")
    spec = env.suite_environment.action_spec()
    assert not np.array_equal(spec.maximum, np.ones(spec.shape))
    env.reset(seed=0)
    env.step(np.ones(spec.shape))
    np.testing.assert_array_equal(env.suite_environment.physics.control(), spec.maximum)
    np.testing.assert_array_equal(rescale_actions([[-1, 0, 5]], np.zeros(3), np.full(3, 4.0)), [[0, 2, 4]])


@pytest.mark.parametrize(
    ("task", "nearest"),
    [("carpole-swingup", "cartpole-swingup"), ("walker-wlk", "walker-walk"), ("cheetah", "cheetah-run")],
)
def test_unknown_tasks_are_answered_with_the_nearest(task, nearest):
    with pytest.raises(ValueError, match=f"no task '{task}'.*{nearest}"):
        make_dm_control(task)


def test_hyphens_may_stand_for_underscores():
    assert make_dm_control("ball-in-cup-catch").task_name == "ball_in_cup-catch"
    assert make_dm_control("cartpole-swingup-sparse").task_name == "cartpole-swingup_sparse"
    assert len(task_names()) > len(BENCHMARK)
    with pytest.raises(ValueError, match=r"there are .*cartpole-swingup, "):
        make_dm_control("zzzzzzzz")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: make_dm_control("cartpole-swingup", action_repeat=0), "action_repeat is 0"),
        (lambda: RenderConfig(width=0), "width is 0"),
        (lambda: make_dm_control("cartpole-swingup").reset(seed=-1), "seed is -1"),
        (lambda: make_dm_control("cartpole-swingup").step(np.zeros(2)), r"shape \(2,\); expected \(1,\)"),
        (lambda: make_dm_control("cartpole-swingup").step(np.array([np.nan])), "expected finite numbers"),
    ],
)
def test_wrong_requests_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    "task",
    ["cartpole-swingup", "reacher-easy", "finger-turn_hard", "humanoid-stand", "walker-walk", "hopper-stand"],
)
def test_a_restored_state_continues_bit_for_bit(task):
    env, other = make_dm_control(task), make_dm_control(task)
    env.reset(seed=1)
    acted(env, 5)
    state = env.physics_state()
    expected = acted(env, 10, seed=2)
    env.set_physics_state(state)
    assert_same(expected, acted(env, 10, seed=2))
    other.set_physics_state(state)  # never reset, and another target until now
    np.testing.assert_array_equal(other.physics_state(), state)
    assert_same(expected, acted(other, 10, seed=2))


def test_a_restored_state_brings_its_observation_reward_and_time():
    env = make_dm_control("hopper-stand", action_repeat=4)
    env.reset(seed=0)
    obs, *_ = acted(env, 249)[-1]
    state = env.physics_state()
    task, physics = env.suite_environment.task, env.suite_environment.physics
    reward = task.get_reward(physics)
    env.reset(seed=5)
    env.set_physics_state(state)
    entries = task.get_observation(physics).values()
    np.testing.assert_array_equal(np.concatenate([np.ravel(e) for e in entries]).astype(np.float32), obs)
    assert task.get_reward(physics) == reward
    assert acted(env, 1)[0][3], "the time limit is one decision away"


def test_wrong_states_are_refused():
    env = make_dm_control("cartpole-swingup")
    env.reset(seed=0)
    state = env.physics_state()
    with pytest.raises(ValueError, match=rf"shape \(3,\); expected \({state.size},\)"):
        env.set_physics_state(np.zeros(3))
    with pytest.raises(ValueError, match=r"not finite at entries \[1\]"):
        env.set_physics_state(np.where(np.arange(state.size) == 1, np.nan, state))
    with pytest.raises(ValueError, match="states have shape"):
        env.state_layout.split(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="parameters have shape"):
        env.state_layout.apply_parameters(env.suite_environment.physics.model.ptr, np.zeros(99))


def test_episode_parameters_are_found():
    reacher = find_layout("reacher", "easy")
    assert "geom_pos" in dict(reacher.parameters)
    assert find_layout("cheetah", "run").parameters == ()
    assert find_layout("finger", "turn_hard").parameter_count > 0
    assert find_layout("hopper", "stand").sensors


@renders
def test_pictures():
    config = RenderConfig(width=64, height=48)
    plain = make_dm_control("cartpole-swingup", render=config)
    fast = make_dm_control("cartpole-swingup", render=RenderConfig(width=64, height=48, fast=True))
    for env in (plain, fast):
        env.reset(seed=0)
    picture = plain.render()
    assert (picture.shape, picture.dtype) == ((48, 64, 3), np.uint8)
    np.testing.assert_array_equal(picture, plain.render())
    assert picture.std() > 5
    difference = np.abs(picture.astype(int) - fast.render().astype(int)).mean()
    assert 0 < difference < 60
    plain.close()
    fast.close()


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (gymnasium.spaces.Discrete(3), "expected a continuous one"),
        (gymnasium.spaces.Box(-1, 1, (2, 2)), r"shape \(2, 2\)"),
        (gymnasium.spaces.Box(-np.inf, np.inf, (2,)), "expected finite bounds"),
    ],
)
def test_an_action_space_that_is_no_bounded_box_is_refused(space, match):
    with pytest.raises(ValueError, match=match):
        require_box_action(space)


def test_a_bounded_box_passes():
    space = gymnasium.spaces.Box(-2, 3, (2,))
    assert require_box_action(space) is space
    np.testing.assert_array_equal(check_action([0.5, 1], 2), [0.5, 1.0])


@pytest.mark.parametrize("task", ["cartpole-swingup", "quadruped-walk", "humanoid-stand"])
def test_an_episode_is_that_of_the_suite(task):
    domain, name = task.split("-")
    ours, theirs = make_dm_control(task), import_suite().load(domain, name, task_kwargs={"random": 4})
    low, high = theirs.action_spec().minimum, theirs.action_spec().maximum
    obs, steps = ours.reset(seed=4)[0], [theirs.reset()]
    for action in np.random.default_rng(0).uniform(-1, 1, (10, low.size)):
        flat = np.concatenate([np.ravel(entry) for entry in steps[-1].observation.values()])
        np.testing.assert_allclose(obs, flat, rtol=1e-5, atol=1e-5)
        obs, reward, *_ = ours.step(action)
        steps = [theirs.step(low + (action + 1) / 2 * (high - low)) for _ in range(2)]
        assert reward == pytest.approx(sum(step.reward for step in steps))


def test_a_task_without_limits_gets_the_usual_ones_and_is_always_the_same():
    env, other = make_dm_control("lqr-lqr_2_1"), make_dm_control("lqr-lqr_2_1")
    assert env.frames_per_episode == 1000
    assert (env.control_low, env.control_high) == (-1.0, 1.0)
    stiffness, same = (e.suite_environment.physics.model.jnt_stiffness for e in (env, other))
    np.testing.assert_array_equal(stiffness, same)


def test_another_discount_than_zero_truncates(monkeypatch):
    env = make_dm_control("pendulum-swingup")
    env.reset(seed=0)
    monkeypatch.setattr(env.suite_environment.task, "get_termination", lambda physics: 0.5)
    assert env.step(np.zeros(1))[2:4] == (False, True)


def test_a_diverged_simulation_raises_and_ends_the_episode():
    env = make_dm_control("cartpole-swingup")
    env.reset(seed=0)
    state = env.physics_state()
    env.suite_environment.physics.data.qvel[:] = np.nan
    with pytest.raises(FloatingPointError, match=r"has diverged: .*invalid"):
        env.step(np.zeros(1))
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(1))
    env.set_physics_state(state)
    env.step(np.zeros(1))


def test_the_frame_rate_is_that_of_real_time_and_of_this_instance():
    cheetah, swimmer = make_dm_control("cheetah-run"), make_dm_control("swimmer-swimmer6")
    assert cheetah.metadata["render_fps"] == pytest.approx(50.0)
    assert swimmer.metadata["render_fps"] == pytest.approx(1 / 0.06)


@renders
def test_a_picture_may_be_larger_than_the_models_frame_buffer():
    env = make_dm_control("walker-walk", render=RenderConfig(width=700, height=20, fast=True))
    env.reset(seed=0)
    assert env.render().shape == (20, 700, 3)
    env.close()


@given(st.floats(-1, 1), st.floats(-10, 10), st.floats(-10, 10))
def test_rescaling_is_affine_and_exact_at_the_bounds(action, low, high):
    bounds = np.array([low]), np.array([high])
    assert rescale_actions([action], *bounds) == pytest.approx(low + (action + 1) / 2 * (high - low), abs=1e-13)
    assert rescale_actions([[-1], [1], [-7], [7]], *bounds).ravel().tolist() == [low, high, low, high]
