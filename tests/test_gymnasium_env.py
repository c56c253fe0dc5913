"""Environments of gymnasium: scaled actions, held actions, time limits apart from terminations, states restored."""

import sys
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from drift_wm.envs import gymnasium_env
from drift_wm.envs.gymnasium_env import GymnasiumEnv, is_gymnasium_id, make_gymnasium, plain_name
from drift_wm.envs.rendering import RenderingUnavailableError, choose_backend


class Counter(gymnasium.Env):
    """Counts its steps; ends at 7 where `ends`."""

    observation_space = gymnasium.spaces.Dict(
        count=gymnasium.spaces.Box(0, np.inf, (1,)), acted=gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    )
    action_space = gymnasium.spaces.Box(np.array([0.0, -2.0], np.float32), np.array([10.0, 2.0], np.float32))

    def __init__(self, ends=False):
        self.ends = ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._obs(np.zeros(2)), {}

    def step(self, action):
        self.count += 1
        return self._obs(action), 1.0, self.ends and self.count == 7, False, {"count": self.count}

    def _obs(self, action):
        return {"count": np.array([self.count], np.float32), "acted": np.asarray(action, np.float32)}


class Task(Counter):
    """Is solved at its second step alone, and tells it as `told`."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def step(self, action):
        *outcome, info = super().step(action)
        return *outcome, {**info, self.told: np.float32(self.count == 2)}


class Careless(Counter):
    """Scales the action that it is given in place."""

    def step(self, action):
        action *= 2
        return super().step(action)


class Boasts(Counter):
    """Says that it draws, and takes no render mode."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium's own way

    def __init__(self):
        super().__init__()


class Steps(Counter):
    action_space = gymnasium.spaces.Box(-2, 2, (2,), np.int64)


class Timed(Counter):
    metadata = {"render_modes": [], "render_fps": 20}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, dt):
        super().__init__()
        self.dt = dt


class Broken(Counter):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def render(self):
        raise AttributeError("no context")


class Pixels(Counter):
    observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)


class Buttons(Counter):
    action_space = gymnasium.spaces.Discrete(3)


@pytest.fixture(scope="module", autouse=True)
def registered():
    gymnasium.register("test/Counter-v0", Counter, max_episode_steps=9)
    gymnasium.register("test/Ends-v0", Counter, kwargs={"ends": True})
    gymnasium.register("test/Adroit-v0", Task, kwargs={"told": "success"})
    gymnasium.register("test/Fetch-v0", Task, kwargs={"told": "is_success"})
    gymnasium.register("test/Broken-v0", Broken)
    gymnasium.register("test/Factory-v0", lambda **options: Broken(**options))
    gymnasium.register("test/Curt-v0", lambda: Broken())
    gymnasium.register("test/Boasts-v0", Boasts)
    gymnasium.register("test/Careless-v0", Careless)
    gymnasium.register("test/Steps-v0", Steps)
    gymnasium.register("test/Pixels-v0", Pixels)
    gymnasium.register("test/Buttons-v0", Buttons)
    yield
    for name in [name for name in gymnasium.registry if name.startswith("test/")]:
        gymnasium.registry.pop(name)


def test_actions_are_scaled_to_the_bounds_and_held():
    env = make_gymnasium("test/Counter-v0", action_repeat=3)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float32
    assert env.task_spec.observation_size == 3
    obs, reward, terminated, truncated, info = env.step(np.array([-1.0, 1.0], np.float32))
    count, acted = obs[0], obs[1:]
    assert (reward, terminated, truncated, info["count"], count) == (3.0, False, False, 3, 3)
    np.testing.assert_allclose(acted, [0.0, 2.0])
    np.testing.assert_allclose(env.step(np.zeros(2, np.float32))[0][1:], [5.0, 0.0])


def test_an_action_is_held_though_the_environment_writes_to_it():
    env = make_gymnasium("test/Careless-v0", action_repeat=3)
    env.reset(seed=0)
    np.testing.assert_allclose(env.step(np.array([1.0, 0.5], np.float32))[0][1:], [20.0, 2.0])


def test_whole_numbers_are_the_nearest():
    env = make_gymnasium("test/Steps-v0")
    env.reset(seed=0)
    units, wanted = np.linspace(-1, 1, 9), [-2, -2, -1, 0, 0, 0, 1, 2, 2]  # halves to the even one
    assert [int(env.step(np.array([unit, 0.0]))[0][1]) for unit in units] == wanted


@pytest.mark.parametrize(
    ("dt", "seconds"), [(0.01, 0.01), (np.float32(0.5), 0.5), (lambda: 0.01, 0.05), (np.array([0.1, 0.2]), 0.05)]
)
def test_the_seconds_of_a_step_are_told_by_the_environment(dt, seconds):
    gymnasium.register("test/Clock-v0", Timed, kwargs={"dt": dt})
    assert make_gymnasium("test/Clock-v0").task_spec.decision_seconds == seconds


@pytest.mark.parametrize("task", ["Pendulum-v1", "Hopper-v5"])
def test_passes_the_checker_of_gymnasium(task):
    check_env(make_gymnasium(task), skip_render_check=True)


def test_a_time_limit_truncates_within_a_held_action():
    env = make_gymnasium("test/Counter-v0", action_repeat=4)
    env.reset(seed=0)
    steps = [env.step(np.zeros(2, np.float32)) for _ in range(3)]
    assert [(reward, terminated, truncated) for _, reward, terminated, truncated, _ in steps] == [
        (4.0, False, False),
        (4.0, False, False),
        (1.0, False, True),
    ]
    assert (env.steps_per_episode, env.decisions_per_episode) == (9, 3)


def test_a_termination_is_no_truncation_and_an_environment_without_limit_gets_one():
    env = make_gymnasium("test/Ends-v0", action_repeat=2)
    assert env.steps_per_episode == 1000
    env.reset(seed=0)
    for _ in range(3):
        assert env.step(np.zeros(2, np.float32))[2:4] == (False, False)
    _, reward, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
    assert (reward, terminated, truncated) == (1.0, True, False)


def test_an_environment_without_physics_has_no_state():
    env = make_gymnasium("test/Counter-v0")
    env.reset(seed=0)
    assert env.physics_state().shape == (0,)
    with pytest.raises(ValueError, match="its state cannot be set"):
        env.set_physics_state(np.zeros(0))


def test_a_state_of_mujoco_is_restored():
    env = make_gymnasium("Hopper-v5", action_repeat=2)
    assert env.task_spec.decision_seconds == pytest.approx(2 * 0.008)
    env.reset(seed=1)
    kept = env.physics_state()
    action = np.array([0.3, -0.2, 0.1], np.float32)
    there = env.step(action)[0]
    env.step(action)
    env.set_physics_state(kept)
    np.testing.assert_allclose(env.step(action)[0], there, atol=1e-5)
    for _ in range(env.steps_per_episode // 2 + 1):  # no time limit comes from steps before
        env.set_physics_state(kept)
        assert not env.step(action)[3]
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(12,\)"):
        env.set_physics_state(np.zeros(3))
    env.close()


def test_a_seed_fixes_the_episode():
    env = make_gymnasium("InvertedPendulum-v5")
    assert isinstance(env, GymnasiumEnv)
    first, again, other = (env.reset(seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    env.close()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("Hoper-v5", "the nearest are Hopper-v5"),
        ("os:Hopper-v5", "expected a name without ':', or gymnasium_robotics before it"),
        ("os:gymnasium_robotics:Hopper-v5", "expected a name without ':'"),
        (":Hopper-v5", "expected a name without ':'"),
        ("test/Pixels-v0", "expected vectors of numbers"),
        ("test/Buttons-v0", "expected a continuous one"),
    ],
)
def test_what_cannot_be_planned_in_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        make_gymnasium(task)


def test_no_module_is_imported_by_a_task_s_name():
    assert "this" not in sys.modules
    with pytest.raises(ValueError, match="expected a name without ':'"):
        make_gymnasium("this:Hopper-v5")
    assert "this" not in sys.modules


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(gymnasium_env, "find_spec", lambda name: None)
    for task in ("gymnasium_robotics:AdroitHandDoor-v1", "gymnasium_robotics:Hopper-v5", "NoSuchRobot-v1"):
        with pytest.raises(ValueError, match=r"pip install 'drift-wm\[robotics\]'"):
            make_gymnasium(task)


@pytest.mark.skipif(find_spec("gymnasium_robotics") is None, reason="needs gymnasium-robotics")
@pytest.mark.parametrize("task", ["gymnasium_robotics:AdroitHandDoor-v1", "AdroitHandDoor-v1"])
def test_environments_of_gymnasium_robotics_tell_of_success(task):
    env = make_gymnasium(task)
    assert env.task_name == "AdroitHandDoor-v1"
    assert (env.task_spec.observation_size, env.task_spec.action_size) == (39, 28)
    env.reset(seed=0)
    assert env.step(np.zeros(28, np.float32))[4]["success"] is False
    env.close()


@pytest.mark.parametrize("task", ["test/Adroit-v0", "test/Fetch-v0"])
def test_success_counts_at_every_step_of_a_held_action(task):
    env = make_gymnasium(task, action_repeat=3)
    env.reset(seed=0)
    told = [env.step(np.zeros(2, np.float32))[4]["success"] for _ in range(2)]
    assert told == [True, False]


def test_a_world_that_tells_nothing_of_success_is_not_made_to():
    env = make_gymnasium("test/Counter-v0")
    env.reset(seed=0)
    assert "success" not in env.step(np.zeros(2, np.float32))[4]


@pytest.mark.parametrize("task", ["test/Counter-v0", "test/Curt-v0", "test/Broken-v0", "test/Factory-v0"])
def test_what_cannot_be_drawn_says_so(task):
    env = make_gymnasium(task)
    env.reset(seed=0)
    silent = task in ("test/Counter-v0", "test/Curt-v0")
    reason = "draws no pictures" if silent else "failed to draw: no context"
    if not choose_backend().renders:
        reason = "Nothing can be rendered here"
    with pytest.raises(RenderingUnavailableError, match=reason):
        env.render()


def test_the_package_is_no_part_of_a_plain_name():
    assert plain_name("gymnasium_robotics:FetchReach-v4") == plain_name("FetchReach-v4") == "FetchReach-v4"


def test_an_action_repeat_of_zero_is_refused():
    with pytest.raises(ValueError, match="action_repeat is 0"):
        make_gymnasium("Hopper-v5", action_repeat=0)


@pytest.mark.parametrize(
    ("task", "is_one"), [("Hopper-v5", True), ("cartpole-swingup", False), ("a/B-v12", True), ("dog-walk", False)]
)
def test_names_of_gymnasium_are_told_from_those_of_the_suite(task, is_one):
    assert is_gymnasium_id(task) is is_one


def test_a_version_that_gymnasium_has_given_up_is_refused_and_not_proposed():
    with pytest.raises(ValueError, match=r"task='Hopper-v3': gymnasium cannot make it: "):
        make_gymnasium("Hopper-v3")
    with pytest.raises(ValueError, match=r"the nearest are Hopper-v5(?!.*Hopper-v[234])"):
        make_gymnasium("Hoper-v0")


def test_a_class_that_says_it_draws_and_takes_no_render_mode_acts_all_the_same():
    env = make_gymnasium("test/Boasts-v0")
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.float32))[1] == 1.0
    with pytest.raises(RenderingUnavailableError, match="draws no pictures"):
        env.render()
