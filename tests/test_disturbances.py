"""Disturbed worlds: what chance does, that states restore them, and that the simulator samples the same law."""

from contextlib import closing
from dataclasses import asdict

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from drift_wm.envs.disturbances import Disturbance, DisturbanceConfig, Draw
from drift_wm.envs.disturbed_env import DisturbedEnv, make_disturbed
from drift_wm.envs.dm_control import make_dm_control
from drift_wm.envs.physics_state import StateLayout
from drift_wm.envs.rendering import choose_backend
from drift_wm.envs.rollout_pool import Push, RolloutPool
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import History

TASKS = ["cartpole-swingup", "walker-walk", "cheetah-run"]
GUST = DisturbanceConfig(name="gust")
SLIP = DisturbanceConfig(name="slip", probability=0.5)
PAYLOAD = DisturbanceConfig(name="payload")
SENSOR = DisturbanceConfig(name="sensor", strength=0.3, probability=0.2, delay=2)
LATE = DisturbanceConfig(name="sensor", strength=0.0, delay=2)
ALL = [GUST, SLIP, PAYLOAD, SENSOR]


def named(config):
    return config.name


def started(config, *, task="cartpole-swingup", seed=0, warm_up=0):
    env = make_disturbed(task, config)
    env.reset(seed=seed)
    for action in random_actions(env, warm_up, seed=seed).numpy():
        env.step(action)
    return env


def random_actions(env, *shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, env.task_spec.action_size, generator=rng) * 2 - 1


def history_of(*envs):
    spec, batch = envs[0].task_spec, len(envs)
    return History(
        obs=torch.zeros(batch, 1, spec.observation_size),
        actions=torch.zeros(batch, 0, spec.action_size),
        physics=torch.as_tensor(np.stack([env.physics_state() for env in envs])),
    )


def rollout(env, config, actions, *, particles=1, seed=0, task="cartpole-swingup", **keywords):
    with SimulatorWorldModel(task, threads=1, disturbance=config) as model:
        rng = torch.Generator().manual_seed(seed)
        return model.rollout(history_of(env), actions, particles=particles, rng=rng, **keywords)


def decision_of(draw: Draw, *index) -> Draw:
    """The draw of one decision."""
    parts = (draw.force, draw.lost, draw.noise, draw.dropped)
    return Draw(*(None if part is None else part[index] for part in parts))


# The configuration


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"name": "wind"}, "name='wind': expected one of none, gust, slip, payload, sensor"),
        ({"name": "gust", "strength": -1}, "strength=-1: expected a number of at least 0"),
        ({"name": "sensor", "strength": float("nan")}, "strength=nan: expected a number of at least 0"),
        ({"name": "payload", "strength": 1.0}, r"strength=1\.0: expected less than 1 for payload"),
        ({"name": "slip", "probability": 1.5}, r"probability=1\.5: expected a number from 0 to 1"),
        ({"name": "slip", "probability": -0.1}, r"probability=-0\.1: expected a number from 0 to 1"),
        ({"name": "sensor", "delay": -1}, "delay=-1: expected an integer of at least 0"),
        ({"strength": 0.3}, r"strength=0\.3: expected none with .*name=none; .*gust, payload, sensor"),
        ({"name": "gust", "probability": 0.1}, r"probability=0\.1: expected none with .*name=gust; .*slip, sensor"),
        ({"name": "slip", "delay": 1}, "delay=1: expected none with .*name=slip; .*sensor"),
        ({"name": "sensor", "body": "cart"}, "body='cart': expected none with .*name=sensor; .*gust, payload"),
    ],
)
def test_a_wrong_configuration_is_refused(config, match):
    with pytest.raises(ValueError, match=rf"^env\.disturbance\.{match}"):
        DisturbanceConfig(**config)


@pytest.mark.parametrize("config", [DisturbanceConfig(), *ALL], ids=named)
def test_a_configuration_is_itself_after_a_round_trip(config):
    assert DisturbanceConfig(**asdict(config)) == config


def test_amounts_left_open_are_those_of_the_name():
    assert (GUST.strength, GUST.probability, GUST.delay) == (0.5, None, None)
    assert DisturbanceConfig(name="sensor") == DisturbanceConfig(name="sensor", strength=0.05, probability=0, delay=2)


def test_a_body_that_does_not_move_or_exist_is_refused():
    for name in ("cat", "world"):
        with pytest.raises(ValueError, match=f"^env.disturbance.body={name!r}: expected one that .*: cart, pole_1"):
            make_disturbed("cartpole-swingup", DisturbanceConfig(name="gust", body=name))


def test_no_disturbance_is_the_bare_environment():
    assert type(make_disturbed("cartpole-swingup", DisturbanceConfig())) is type(make_dm_control("cartpole-swingup"))


# The law of the draws


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5))
def test_draws_are_a_function_of_the_seed_and_have_their_shapes(seed, particles, horizon):
    disturbance = Disturbance(3, force=2.0, loss=0.5, noise=1.0, dropout=0.5)
    one, other = (disturbance.draw(np.random.default_rng(seed), (particles, horizon)) for _ in range(2))
    for part, same in zip((one.force, one.lost), (other.force, other.lost), strict=True):
        assert part.shape == (particles, horizon)
        np.testing.assert_array_equal(part, same)
    for part, same in zip((one.noise, one.dropped), (other.noise, other.dropped), strict=True):
        assert part.shape == (particles, horizon, 3)
        np.testing.assert_array_equal(part, same)
    assert set(np.abs(one.force).ravel()) == {2.0}


def test_frequencies_are_the_probabilities():
    disturbance = Disturbance(2, force=1.0, loss=0.3, noise=0.5, dropout=0.1)
    draw = disturbance.draw(np.random.default_rng(0), (20_000,))
    assert np.mean(draw.force > 0) == pytest.approx(0.5, abs=0.02)
    assert draw.lost.mean() == pytest.approx(0.3, abs=0.02)
    assert draw.dropped.mean() == pytest.approx(0.1, abs=0.02)
    assert draw.noise.std() == pytest.approx(0.5, abs=0.02)
    # Each entry by itself, not one chance for all.
    assert abs(np.corrcoef(draw.noise.T)[0, 1]) < 0.03
    loads = [Disturbance(2, load=0.5).draw_load(np.random.default_rng(seed)) for seed in range(500)]
    assert min(loads) >= 0.5
    assert max(loads) <= 1.5
    assert np.mean(loads) == pytest.approx(1.0, abs=0.05)


def test_nothing_is_drawn_where_nothing_disturbs():
    rng = np.random.default_rng(0)
    assert Disturbance(2).draw(rng, (4,)) == Draw()
    assert rng.random() == np.random.default_rng(0).random()


# The environment


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
@pytest.mark.parametrize("config", ALL, ids=named)
def test_passes_gymnasiums_own_check(config):
    check_env(make_disturbed("cartpole-swingup", config), skip_render_check=not choose_backend().renders)


@pytest.mark.parametrize("config", ALL, ids=named)
def test_a_seed_fixes_the_chance_and_streams_go_on(config):
    env, other = make_disturbed("cartpole-swingup", config), make_disturbed("cartpole-swingup", config)
    actions = random_actions(env, 6).numpy()
    seen = []
    for world in (env, other):
        observed = [world.reset(seed=5)[0], *(world.step(action)[0] for action in actions)]
        seen.append([*observed, world.reset()[0], *(world.step(action)[0] for action in actions)])
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0][:7], seen[0][7:])


@pytest.mark.parametrize("config", [GUST, SLIP, LATE], ids=["gust", "slip", "late"])
def test_the_initial_state_is_the_undisturbed_tasks(config):
    plain = make_dm_control("cartpole-swingup")
    obs, info = make_disturbed("cartpole-swingup", config).reset(seed=7)
    np.testing.assert_array_equal(obs, plain.reset(seed=7)[0])
    assert info == {"frames": 0}


@pytest.mark.parametrize("task", TASKS)
def test_a_gust_pushes_for_one_whole_decision_and_is_gone_after_it(task):
    env, plain = started(GUST, task=task), make_dm_control(task)
    assert isinstance(env, DisturbedEnv)
    data, masses = env.suite_environment.physics.data, env.suite_environment.physics.model.body_mass
    assert env.disturbance.force == pytest.approx(0.5 * 9.81 * masses.sum())
    action, start = random_actions(env).numpy(), env.physics_state()
    env.step(action)
    assert not data.xfrc_applied.any()
    env.set_physics_state(start)
    env.step_under(Draw(force=np.array(env.disturbance.force)), action)
    plain.set_physics_state(start)
    plain.suite_environment.physics.data.xfrc_applied[1, 0] = env.disturbance.force
    plain.step(action)
    np.testing.assert_array_equal(env.physics_state(), plain.physics_state())


def test_what_stands_in_the_world_does_not_count_for_a_gust():
    env = started(GUST, task="manipulator-bring_ball")
    masses, base = env.suite_environment.physics.model.body_mass, env.suite_environment.physics.model.body_weldid
    assert masses[base == 0].sum() > 0
    assert env.disturbance.force == pytest.approx(0.5 * 9.81 * masses[base != 0].sum())


def test_another_body_may_be_pushed():
    env = started(DisturbanceConfig(name="gust", body="pole_1"))
    assert env.disturbance.body == env.suite_environment.physics.model.body("pole_1").id


def test_a_gust_is_gone_even_after_a_failure():
    env = make_disturbed("cartpole-swingup", GUST)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(1, np.float32))
    assert not env.suite_environment.physics.data.xfrc_applied.any()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_slip_is_a_zero_action_always_or_never(probability):
    env = started(DisturbanceConfig(name="slip", probability=probability))
    plain = make_dm_control("cartpole-swingup")
    plain.reset(seed=0)
    for action in random_actions(env, 10).numpy():
        obs, reward, *_ = env.step(action)
        expected, gained, *_ = plain.step(np.zeros_like(action) if probability else action)
        np.testing.assert_array_equal(obs, expected)
        assert reward == gained


def test_a_wrong_action_is_refused_even_if_it_would_be_lost():
    env = started(DisturbanceConfig(name="slip", probability=1.0))
    with pytest.raises(ValueError, match="action is"):
        env.step(np.full(1, np.nan, np.float32))


@pytest.mark.parametrize("task", TASKS)
def test_a_payload_is_drawn_per_episode_and_restored_with_the_state(task):
    env, other = started(PAYLOAD, task=task, seed=1, warm_up=3), started(PAYLOAD, task=task, seed=2)
    models = [world.suite_environment.physics.model.ptr for world in (env, other)]
    state, actions = env.physics_state(), random_actions(env, 5).numpy()
    assert models[0].body_mass[1] != models[1].body_mass[1]
    first = [env.step(action) for action in actions]
    other.set_physics_state(state)
    np.testing.assert_array_equal(other.physics_state(), state)
    second = [other.step(action) for action in actions]
    for (obs, reward, *_), (same, gained, *_) in zip(first, second, strict=True):
        np.testing.assert_array_equal(obs, same)
        assert reward == gained
    for field in ("body_mass", "body_inertia", "body_subtreemass"):
        np.testing.assert_array_equal(getattr(models[0], field), getattr(models[1], field))


def test_a_payload_is_refused_where_rewards_weigh_the_body():
    with pytest.raises(ValueError, match="payload with task=dog-stand: rewards of dogs are measured in the weight"):
        make_disturbed("dog-stand", PAYLOAD)


@pytest.mark.parametrize("task", TASKS)
def test_a_payload_scales_one_body_and_keeps_the_masses_consistent(task):
    env, plain = started(PAYLOAD, task=task, seed=3), make_dm_control(task).suite_environment.physics.model.ptr
    model = env.suite_environment.physics.model.ptr
    factor = model.body_mass[1] / plain.body_mass[1]
    assert 0.5 <= factor <= 1.5
    np.testing.assert_allclose(model.body_inertia[1], factor * plain.body_inertia[1])
    np.testing.assert_array_equal(model.body_mass[2:], plain.body_mass[2:])
    assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum())
    assert model.body_subtreemass[1] == pytest.approx(model.body_mass.sum())


def test_a_payload_changes_the_dynamics():
    seen = []
    for seed in (1, 2):
        env = started(PAYLOAD, seed=seed)
        model, data = env.suite_environment.physics.model.ptr, env.suite_environment.physics.data
        speed = data.qvel[0]
        env.step(np.ones(1, np.float32))
        seen.append((data.qvel[0] - speed) * model.body_mass[1])
    assert seen[0] == pytest.approx(seen[1], rel=0.1)  # the same force on another mass


@pytest.mark.parametrize("task", TASKS)
def test_no_first_observation_shows_a_payload(task):
    plain, loaded = make_dm_control(task), make_disturbed(task, PAYLOAD)
    action = random_actions(plain).numpy()
    for seed in (4, 5):  # the second one after a reset with a load
        np.testing.assert_array_equal(loaded.reset(seed=seed)[0], plain.reset(seed=seed)[0])
        assert not np.array_equal(loaded.step(action)[0], plain.step(action)[0])


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_late_sensors_show_what_was(delay):
    env = make_disturbed("cartpole-swingup", DisturbanceConfig(name="sensor", strength=0, delay=delay))
    plain = make_dm_control("cartpole-swingup")
    actions = random_actions(env, 8).numpy()
    true = [plain.reset(seed=1)[0], *(plain.step(action)[0] for action in actions)]
    seen = [env.reset(seed=1)[0], *(env.step(action)[0] for action in actions)]
    np.testing.assert_array_equal(seen, [true[max(0, step - delay)] for step in range(9)])


def test_noise_and_dropout_are_what_the_draw_says():
    env = started(SENSOR)
    first = make_dm_control("cartpole-swingup").reset(seed=0)[0]
    noise, dropped = np.linspace(-1, 1, 5), np.array([False, True, False, False, True])
    obs, *_ = env.step_under(Draw(noise=noise, dropped=dropped), np.zeros(1, np.float32))
    np.testing.assert_allclose(obs, np.where(dropped, 0, first + noise), rtol=1e-6)
    assert not np.isclose(env.reset(seed=0)[0], first).any(), "so is the first observation"


@pytest.mark.parametrize("config", [SENSOR, PAYLOAD], ids=named)
def test_a_wrong_state_is_refused(config):
    env = started(config)
    state = env.physics_state()
    with pytest.raises(ValueError, match=rf"the state has shape .*expected \({state.size},\)"):
        env.set_physics_state(state[:-1])
    state[-1] = np.nan
    with pytest.raises(ValueError, match="1 entries not finite"):
        env.set_physics_state(state)
    with pytest.raises(ValueError, match="5 observations under way"):
        Disturbance(5, delay=5).split(state[:3])


def test_parameters_that_a_task_has_already_are_kept(monkeypatch):
    layout = StateLayout(full_physics=5, warmstart=2, parameters=(("body_mass", (2,)), ("geom_size", (0,))))
    monkeypatch.setattr("drift_wm.envs.dm_control.find_layout", lambda *_: layout)
    found = dict(make_disturbed("cartpole-swingup", PAYLOAD).state_layout.parameters)
    assert found == {
        "body_mass": (1, 2),
        "geom_size": (0,),
        "body_inertia": (3, 4, 5),
        "body_subtreemass": (0, 1),
    }


# The simulator


@pytest.mark.parametrize("config", ALL, ids=named)
@pytest.mark.parametrize("task", TASKS)
def test_a_particle_is_what_stepping_under_its_draw_gives(task, config):
    envs = [started(config, task=task, seed=seed, warm_up=3) for seed in (1, 2)]
    particles, horizon = 2, 4
    actions = random_actions(envs[0], 2, 3, horizon)
    draw = envs[0].disturbance.draw(np.random.default_rng(0), (2, particles, horizon))
    with SimulatorWorldModel(task, threads=1, disturbance=config) as model:
        prediction = model.rollout_under(draw, history_of(*envs), actions, particles=particles)
    assert prediction.obs.shape == (2, 3, particles, horizon, envs[0].task_spec.observation_size)
    assert prediction.reward.shape == (2, 3, particles, horizon)
    for b, n, p in np.ndindex(2, 3, particles):
        start = envs[b].physics_state()
        for step in range(horizon):
            obs, reward, *_ = envs[b].step_under(decision_of(draw, b, p, step), actions[b, n, step].numpy())
            np.testing.assert_allclose(prediction.obs[b, n, p, step].numpy(), obs, atol=1e-5, rtol=1e-5)
            assert prediction.reward[b, n, p, step].item() == pytest.approx(reward, abs=1e-6)
        envs[b].set_physics_state(start)


@pytest.mark.parametrize("config", [GUST, PAYLOAD], ids=named)
@pytest.mark.parametrize("task", TASKS)
def test_pushed_and_loaded_states_equal_the_environments_bit_for_bit(task, config):
    env = started(config, task=task, warm_up=3)
    physics, layout = env.suite_environment.physics, env.state_layout
    full, warmstart, _ = layout.split(env.physics_state()[None])
    forces = np.repeat(env.disturbance.force * np.array([[1.0, -1.0, -1.0, 1.0]]), env.action_repeat, axis=1)
    actions = random_actions(env, 1, 4).double().numpy()
    controls = np.repeat(actions, env.action_repeat, axis=1)  # these tasks' actuators have bounds of -1 and 1
    with closing(RolloutPool(physics.model.ptr, threads=1, sub_steps=env.sub_steps)) as pool:
        run = pool.run([physics.model.ptr], full, warmstart, controls, Push(env.disturbance.body, forces))
    for step in range(4):
        last = (step + 1) * env.action_repeat - 1
        env.step_under(Draw(force=forces[0, last]), actions[0, step])
        np.testing.assert_array_equal(run.states[0, last], env.physics_state()[: full.shape[1]])
        np.testing.assert_array_equal(run.sensordata[0, last], physics.data.sensordata)


def test_gusts_leave_two_next_states_of_equal_frequency():
    env = started(GUST, warm_up=2)
    next_obs = rollout(env, GUST, torch.zeros(1, 1, 1, 1), particles=1000).obs[0, 0, :, 0].numpy()
    values, counts = np.unique(next_obs, axis=0, return_counts=True)
    assert len(values) == 2
    assert counts[0] == pytest.approx(500, abs=80)
    state = env.physics_state()
    stepped = []
    for _ in range(20):
        env.set_physics_state(state)
        stepped.append(env.step(np.zeros(1, np.float32))[0])
    np.testing.assert_allclose(np.unique(stepped, axis=0), values, atol=1e-6)


def test_slips_in_the_simulator_are_zero_actions_always_or_never():
    plain = DisturbanceConfig()
    env = started(plain)
    actions = random_actions(env, 1, 3, 5)
    for probability, executed in ((1.0, torch.zeros_like(actions)), (0.0, actions)):
        config = DisturbanceConfig(name="slip", probability=probability)
        slipped = rollout(env, config, actions, particles=2)
        expected = rollout(env, plain, executed, particles=2)
        torch.testing.assert_close(slipped.obs, expected.obs, rtol=0, atol=0)
        torch.testing.assert_close(slipped.reward, expected.reward, rtol=0, atol=0)


def test_the_simulator_knows_the_payload_of_each_environment():
    envs = [started(PAYLOAD, seed=seed) for seed in (1, 2)]
    actions = random_actions(envs[0], 2, 2, 4)
    with SimulatorWorldModel("cartpole-swingup", threads=1, disturbance=PAYLOAD) as model:
        prediction = model.rollout(history_of(*envs), actions, particles=2, rng=torch.Generator())
    assert prediction.reward.stride(2) == prediction.obs.stride(2) == 0  # nothing is drawn
    for b, env in enumerate(envs):
        for step in range(4):
            obs, *_ = env.step(actions[b, 1, step].numpy())
            np.testing.assert_allclose(prediction.obs[b, 1, 0, step].numpy(), obs, atol=1e-6)


def test_delayed_observations_come_from_the_pending_ones():
    env = started(LATE, warm_up=3)
    actions = random_actions(env, 1, 1, 5)
    prediction = rollout(env, LATE, actions, particles=3)
    assert prediction.obs.stride(2) == 0  # late, but without noise
    for step in range(5):
        np.testing.assert_allclose(prediction.obs[0, 0, 0, step], env.step(actions[0, 0, step].numpy())[0], atol=1e-6)


def test_noisy_sensors_leave_one_simulation_and_its_rewards_alone():
    env = started(SENSOR)
    actions = random_actions(env, 1, 2, 3)
    noisy = rollout(env, SENSOR, actions, particles=4)
    assert noisy.reward.stride(2) == 0
    assert (noisy.obs[:, :, 0] != noisy.obs[:, :, 1]).any()
    assert (noisy.obs == 0).any()


@pytest.mark.parametrize("config", [GUST, SLIP, SENSOR], ids=named)
def test_candidates_and_environments_share_the_chance_unless_asked_otherwise(config):
    env = started(config)
    both = [env, started(config)]
    same = random_actions(env, 1, 1, 4).expand(2, 3, 4, 1)
    with SimulatorWorldModel("cartpole-swingup", threads=1, disturbance=config) as model:

        def predicted(independent):
            rng = torch.Generator().manual_seed(1)
            return model.rollout(history_of(*both), same, particles=8, rng=rng, independent=independent).obs

        shared, apart = predicted(False), predicted(True)
    torch.testing.assert_close(shared[0], shared[1], rtol=0, atol=0)
    assert (apart[0] != apart[1]).any()
    for obs in (shared, apart):
        torch.testing.assert_close(obs[:, 0], obs[:, 1], rtol=0, atol=0)
    assert (shared[:, :, 0] != shared[:, :, 1]).any()
    alone = rollout(env, config, same[:1], particles=8, seed=1).obs
    torch.testing.assert_close(alone[0], shared[0], rtol=0, atol=0)


def test_the_generator_decides_the_disturbance_and_an_undisturbed_world_leaves_it_alone():
    env = started(GUST)
    actions = random_actions(env, 1, 1, 6)
    first, same, other = (rollout(env, GUST, actions, particles=4, seed=seed).obs for seed in (1, 1, 2))
    torch.testing.assert_close(first, same, rtol=0, atol=0)
    assert (first != other).any()
    rng = torch.Generator().manual_seed(0)
    before = rng.get_state()
    with SimulatorWorldModel("cartpole-swingup", threads=1) as model:
        model.rollout(history_of(started(DisturbanceConfig())), actions, particles=4, rng=rng)
    assert torch.equal(rng.get_state(), before)


def test_simulating_gusts_in_blocks_changes_nothing(monkeypatch):
    env = started(GUST)
    actions = random_actions(env, 1, 5, 3)
    whole = rollout(env, GUST, actions, particles=3)
    monkeypatch.setattr("drift_wm.envs.rollout_pool._RECORDING_BYTES", 1)
    blocks = rollout(env, GUST, actions, particles=3)
    torch.testing.assert_close(blocks.obs, whole.obs, rtol=0, atol=0)


def test_a_task_without_batched_rewards_is_disturbed_as_well():
    env = started(GUST, task="fish-swim")
    actions = random_actions(env, 1, 1, 2)
    draw = env.disturbance.draw(np.random.default_rng(0), (1, 2, 2))
    with SimulatorWorldModel("fish-swim", threads=1, disturbance=GUST) as model:
        prediction = model.rollout_under(draw, history_of(env), actions, particles=2)
    for step in range(2):
        obs, reward, *_ = env.step_under(decision_of(draw, 0, 1, step), actions[0, 0, step].numpy())
        np.testing.assert_allclose(prediction.obs[0, 0, 1, step].numpy(), obs, atol=1e-5)
        assert prediction.reward[0, 0, 1, step].item() == pytest.approx(reward, abs=1e-6)


def test_states_of_another_disturbance_are_refused():
    with pytest.raises(ValueError, match=r"history\.physics is torch\.float64 of shape \(1, 8\); expected"):
        rollout(started(DisturbanceConfig()), SENSOR, torch.zeros(1, 1, 2, 1))


def test_a_gust_too_strong_for_the_simulation_is_told_as_such():
    env = make_disturbed("walker-walk", DisturbanceConfig("gust", strength=1e5))
    env.reset(seed=0)

    def act():
        for _ in range(50):
            env.step(np.zeros(6, np.float32))

    with pytest.raises(FloatingPointError, match=r"the simulation of walker-walk has diverged: .*mjWARN_BAD"):
        act()
