import mujoco
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from drift_wm.envs.dm_control import RenderConfig, make_dm_control
from drift_wm.envs.physics_state import StateLayout, find_layout
from drift_wm.envs.rendering import choose_backend

EXACT = ["cartpole-swingup", "reacher-hard", "finger-turn_hard", "humanoid-walk", "walker-walk", "cheetah-run"]
# Every kind of episode parameter, tendons and activations, and a terrain.
ALSO_EXACT = ["manipulator-insert_peg", "swimmer-swimmer6", "fish-swim", "point_mass-hard", "finger-spin", "dog-fetch"]


def layout_of(name):
    return find_layout(*name.split("-"))


def played(name, *, seed, steps):
    """An environment some random steps into an episode, and its action source."""
    environment = make_dm_control(name, action_repeat=1)
    environment.reset(seed=seed)
    environment.action_space.seed(seed)
    for _ in range(steps):
        environment.step(environment.action_space.sample())
    return environment


def situation(environment):
    """The task's float64 observation and its reward, at this moment."""
    physics, task = environment.suite_environment.physics, environment.suite_environment.task
    entries = [np.ravel(entry) for entry in task.get_observation(physics).values()]
    return np.concatenate([*entries, [task.get_reward(physics)]])


@pytest.mark.parametrize("warm_up", [0, 15])
@pytest.mark.parametrize("name", EXACT + ALSO_EXACT)
def test_restoring_in_another_environment_continues_bit_for_bit(name, warm_up):
    layout = layout_of(name)
    original, other = played(name, seed=1, steps=warm_up), played(name, seed=2, steps=7)
    state, seen = original.physics_state(), situation(original)
    assert state.shape == (layout.size,)
    assert state.dtype == np.float64
    other.set_physics_state(state)
    np.testing.assert_array_equal(other.physics_state(), state)
    np.testing.assert_array_equal(situation(other), seen)
    for _ in range(12):
        action = original.action_space.sample()
        original.step(action)
        other.step(action)
        np.testing.assert_array_equal(other.physics_state(), original.physics_state())
        np.testing.assert_array_equal(situation(other), situation(original))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cartpole-swingup", {}),
        ("humanoid-walk", {}),
        ("reacher-easy", {"geom_pos": 2}),
        ("reacher-hard", {"geom_pos": 2, "geom_size": 1}),
        ("finger-spin", {"dof_damping": 1}),
        ("finger-turn_easy", {"site_pos": 2, "site_size": 1}),
        ("finger-turn_hard", {"site_pos": 2}),
        ("fish-swim", {"geom_pos": 3}),
        ("swimmer-swimmer6", {"geom_pos": 2, "light_pos": 2}),
        ("manipulator-bring_ball", {"body_pos": 2, "body_quat": 2}),
        ("point_mass-hard", {"wrap_prm": 4}),
    ],
)
def test_the_parameters_are_what_the_task_sets_at_a_reset(name, parameters):
    assert {field: len(indices) for field, indices in layout_of(name).parameters} == parameters


def test_the_layout_is_found_once_and_does_not_depend_on_chance():
    assert layout_of("reacher-easy") is layout_of("reacher-easy")
    assert find_layout.__wrapped__("reacher", "easy") == layout_of("reacher-easy")


@pytest.mark.parametrize("name", ["acrobot-swingup", "humanoid-run", "lqr-lqr_6_2"])
def test_the_parts_have_the_sizes_of_the_model(name):
    layout = layout_of(name)
    model = make_dm_control(name).suite_environment.physics.model.ptr
    assert layout.full_physics == mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    assert (layout.warmstart, layout.control) == (model.nv, model.nu)


def test_splitting_keeps_leading_dimensions_and_the_order():
    layout = StateLayout(full_physics=3, warmstart=2, parameters=(("geom_pos", (4, 5)),), control=1, sensors=(7,))
    assert layout.size == 9
    full, warmstart, parameters = layout.split(np.broadcast_to(np.arange(9.0), (5, 6, 9)))
    assert full.shape == (5, 6, 3)
    np.testing.assert_array_equal(full[0, 0], [0, 1, 2])
    np.testing.assert_array_equal(warmstart[1, 2], [3, 4])
    np.testing.assert_array_equal(parameters[4, 5], [5, 6])


def test_parameters_move_the_target_of_a_model_that_was_never_reset():
    environment, layout = played("reacher-hard", seed=3, steps=2), layout_of("reacher-hard")
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody>"
        + "<geom size='1'/>" * environment.suite_environment.physics.model.ngeom
        + "</worldbody></mujoco>"
    )
    layout.apply_parameters(model, layout.split(environment.physics_state())[2])
    original = environment.suite_environment.physics.model
    target = original.name2id("target", "geom")
    np.testing.assert_array_equal(model.geom_pos[target, :2], original.geom_pos[target, :2])
    assert model.geom_size[target, 0] == original.geom_size[target, 0]


@pytest.mark.skipif(not choose_backend().renders, reason="the task renders at each reset, and nothing renders here")
def test_a_restored_terrain_is_simulated_and_drawn():
    environment = make_dm_control("quadruped-escape", render=RenderConfig(width=64, height=48))
    environment.reset(seed=0)
    state, drawn = environment.physics_state(), environment.render()
    environment.reset(seed=1)
    assert not np.array_equal(environment.render(), drawn)
    environment.set_physics_state(state)
    np.testing.assert_array_equal(environment.physics_state(), state)
    np.testing.assert_array_equal(environment.render(), drawn)
    environment.close()


def test_states_of_another_task_are_refused():
    layout, environment = layout_of("cartpole-swingup"), make_dm_control("cartpole-swingup")
    physics = environment.suite_environment.physics
    for wrong in (np.zeros(layout.size + 1), np.zeros((1, layout.size)), np.array(0.0)):
        with pytest.raises(ValueError, match=rf"expected \({layout.size},\)"):
            layout.write(physics, wrong)
    for wrong in (np.zeros((2, layout.size - 1)), np.array(0.0)):
        with pytest.raises(ValueError, match=rf"expected \(\.\.\., {layout.size}\)"):
            layout.split(wrong)
    with pytest.raises(ValueError, match=r"have shape \(1,\); expected \(0,\)"):
        layout.apply_parameters(physics.model.ptr, np.zeros(1))


def test_a_diverged_state_is_refused_and_changes_nothing():
    environment = played("cartpole-swingup", seed=0, steps=3)
    state = environment.physics_state()
    broken = state.copy()
    broken[1] = np.nan
    with pytest.raises(ValueError, match=r"not finite at entries \[1\]"):
        environment.set_physics_state(broken)
    np.testing.assert_array_equal(environment.physics_state(), state)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="jump"):
        find_layout("cartpole", "jump")


def test_a_restored_end_of_an_episode_is_an_end():
    environment, other = (make_dm_control("pendulum-swingup", action_repeat=500) for _ in range(2))
    environment.reset(seed=0)
    for _ in range(2):
        environment.step(np.zeros(1))
    other.set_physics_state(environment.physics_state())
    with pytest.raises(ResetNeeded):
        other.step(np.zeros(1))
