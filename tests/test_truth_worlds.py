"""The worlds of `drift-wm truth`: measures of models with known faults, planning at the edge, and cost."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from drift_wm.acting.episodes import Rollouts, run_episodes
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import Moments, Statistics, compute_statistics
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.diagnosis.situations import Situations
from drift_wm.diagnosis.world import World, open_truth
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.interfaces import History, Prediction
from drift_wm.results import SIMULATOR
from drift_wm.speed import timing
from drift_wm.truth import cost, risk_case, world_cases
from drift_wm.truth.risk_case import EdgeReward, risk_rows
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.world_cases import Case, collect_case, training_file, world_rows

SLOW = 10  # control steps of a decision


def tiny_settings(**changed):
    settings = TruthSettings(**{"steps": 20, "width": 16, "states": 8, "samples": 39, "transitions": 5000} | changed)
    settings.transitions = 300  # 3 episodes, fewer than a person may ask for
    return settings


def tiny_case(disturbance, chunk=1):
    env = EnvSettings(action_repeat=SLOW, disturbance=DisturbanceConfig(name=disturbance))
    return Case(f"tiny {disturbance}", World("cartpole-swingup", env), chunk)


GUST, SLIP, CALM = tiny_case("gust"), tiny_case("slip"), tiny_case("none", chunk=5)


def briefly(decisions):
    """`run_episodes`, cut off."""
    return lambda *given, **named: run_episodes(*given, **named, max_decisions=decisions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recorded data of the three cases, the first two of which are stochastic."""
    folder = tmp_path_factory.mktemp("truth")
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world_cases, "_HELD_OUT_EPISODES", 2)
        patch.setattr(world_cases, "_AT_ONCE", 3)
        patch.setattr(world_cases, "run_episodes", briefly(30))
        patch.setattr(world_cases, "STOCHASTIC", (GUST, SLIP))
        for case in (GUST, SLIP, CALM):
            collect_case(case, folder, tiny_settings())
    return folder


@pytest.fixture
def stochastic(monkeypatch):
    monkeypatch.setattr(world_cases, "STOCHASTIC", (GUST, SLIP))


class Wrapped:
    """The true simulator in the place of a learned model; `change` spoils its predictions."""

    chunk = 1

    def __init__(self, simulator, change=lambda obs: obs, stochastic=True):
        self.simulator, self.change = simulator, change
        self.spec, self.history = simulator.spec, 1
        self.generator = SimpleNamespace(stochastic=stochastic)

    def rollout(self, history, actions, *, particles, rng, independent=False):
        found = self.simulator.rollout(history, actions, particles=particles, rng=rng, independent=independent)
        return Prediction(self.change(found.obs.clone()), found.reward)


def measure(case, folder, change=lambda obs: obs, *, stochastic=True, **changed):
    """Errors and distribution of the wrapped simulator."""
    settings = tiny_settings(**changed)
    situations = world_cases._situations(case, folder, settings)
    statistics = compute_statistics(read_episodes(str(training_file(case, folder))), chunk=1)
    with open_truth(case.world, threads=1) as truth:
        model = Wrapped(truth.observer, change, stochastic)
        metrics = world_cases._errors(world_cases._far_samples(model, situations), model, situations, statistics)
        if case is not CALM:
            true = torch.load(world_cases._truth_file(case, folder), weights_only=True)
            metrics |= world_cases._distribution(model, situations, statistics, true["samples"], true["ways"])
    return metrics


def test_data_are_recorded_once_and_cases_of_one_world_share_them(folder, monkeypatch):
    monkeypatch.setattr(world_cases, "run_episodes", None)
    before = training_file(CALM, folder).stat().st_mtime_ns
    other_chunk = Case("another question", CALM.world, chunk=10)
    monkeypatch.setattr(world_cases, "_HELD_OUT_EPISODES", 2)
    monkeypatch.setattr(world_cases, "_AT_ONCE", 1)
    collect_case(other_chunk, folder, tiny_settings())
    assert training_file(other_chunk, folder) == training_file(CALM, folder)
    assert training_file(CALM, folder).stat().st_mtime_ns == before
    episodes = read_episodes(str(training_file(CALM, folder)))
    assert [len(episode) for episode in episodes] == [30, 30, 30]
    assert len({episode.seed for episode in episodes}) == 3


def test_true_samples_are_kept_with_the_ways_of_a_gust(folder):
    kept = torch.load(world_cases._truth_file(GUST, folder), weights_only=True)
    assert kept["samples"].shape == (8, 39, world_cases.NEAR, 5)
    assert kept["ways"].shape == (8, 2, 5)
    assert torch.load(world_cases._truth_file(SLIP, folder), weights_only=True)["ways"] is None
    assert not world_cases._truth_file(CALM, folder).exists()


@pytest.mark.parametrize("name", ["drifting", "regression", "gaussian"])
def test_a_rival_is_trained_and_measured_in_a_stochastic_world(folder, stochastic, name):
    (row,) = world_rows("stochastic", GUST, name, 1, folder, tiny_settings())
    assert (row.part, row.case, row.label, row.seed, row.nfe) == ("stochastic", "tiny gust", name, 1, 1)
    calibration = {"spread_skill", "coverage_90", "spread_skill_10", "coverage_90_10"}
    assert calibration & set(row.metrics) == (set() if name == "regression" else calibration)
    assert {"error_1", "error_20", "energy_distance", "energy_distance_10", "weaker_mode", "between"} < set(row.metrics)
    assert row.metrics["energy_distance"] > 0
    assert (row.metrics["spread_20"] == 0) == (name == "regression")
    assert row.metrics["train_seconds"] > 0


def test_diffusion_has_a_row_for_each_number_of_sampling_steps(folder, stochastic):
    rows = world_rows("stochastic", SLIP, "diffusion", 1, folder, tiny_settings())
    assert [row.label for row in rows] == ["diffusion 5", "diffusion 20", "diffusion 100"]
    assert len({row.metrics["train_seconds"] for row in rows}) == 1, "one training"
    assert "weaker_mode" not in rows[0].metrics, "a slip has no two ways"


def test_a_deterministic_world_is_measured_by_errors_and_spread_alone(folder):
    (row,) = world_rows("chunks", CALM, "drifting", 2, folder, tiny_settings())
    assert (row.part, row.seed) == ("chunks", 2)
    kinds = {f"{kind}_{steps}" for kind in ("error", "central", "expected", "spread") for steps in (1, 20)}
    assert set(row.metrics) == kinds | {"diverged", "train_seconds"}


def test_the_true_world_is_measured_as_perfect_where_it_is_deterministic(folder):
    metrics = measure(CALM, folder)
    assert [metrics[name] for name in ("error_1", "error_20", "diverged")] == pytest.approx([0, 0, 0], abs=1e-4)
    assert [metrics["central_1"], metrics["central_20"]] == pytest.approx([0, 0], abs=1e-4)
    assert [metrics["spread_1"], metrics["spread_20"]] == pytest.approx([0, 0], abs=1e-4)


def test_the_true_world_is_measured_as_calibrated_where_it_is_stochastic(folder):
    metrics = measure(GUST, folder)
    assert metrics["energy_distance"] == pytest.approx(0, abs=0.02)
    assert metrics["energy_distance_10"] == pytest.approx(0, abs=0.05)
    assert metrics["coverage_90"] == pytest.approx(0.9, abs=0.04)
    assert metrics["spread_skill"] == pytest.approx(1, abs=0.05)
    assert metrics["coverage_90_10"] == pytest.approx(0.9, abs=0.06)
    assert metrics["spread_skill_10"] == pytest.approx(1, abs=0.12)
    (ceiling,) = world_rows("stochastic", GUST, SIMULATOR, 1, folder, tiny_settings())
    assert metrics["spread_1"] == pytest.approx(ceiling.metrics["spread_1"], rel=0.05)
    assert metrics["weaker_mode"] == pytest.approx(ceiling.metrics["weaker_mode"], abs=0.1)
    assert metrics["between"] == 0


def test_the_simulator_is_its_own_ceiling(folder):
    (row,) = world_rows("stochastic", GUST, SIMULATOR, 1, folder, tiny_settings())
    assert (row.label, row.nfe) == (SIMULATOR, 0)
    assert row.metrics["energy_distance"] == pytest.approx(0, abs=0.1)
    assert row.metrics["between"] == 0
    assert 0.85 < row.metrics["coverage_90"] <= 1


def test_the_average_outcome_is_far_from_the_truth_between_modes_and_has_no_calibration(folder):
    metrics = measure(GUST, folder, lambda obs: obs.mean(dim=2, keepdim=True).expand_as(obs), stochastic=False)
    assert metrics["energy_distance"] > 0.3
    assert metrics["between"] == 1
    assert metrics["spread_1"] == pytest.approx(0, abs=1e-6)
    assert "coverage_90" not in metrics


def test_an_offset_is_an_error_of_that_many_deviations(folder):
    statistics = compute_statistics(read_episodes(str(training_file(CALM, folder))), chunk=1)
    metrics = measure(CALM, folder, lambda obs: obs + 0.5 * statistics.obs.std)
    assert metrics["error_20"] == pytest.approx(0.5, abs=1e-3)
    assert metrics["central_20"] == pytest.approx(0.5, abs=1e-3)


class Walk:
    """Every observation goes up by one or by three a step, and by two on average."""

    history, chunk = 1, 4
    generator = SimpleNamespace(stochastic=True)

    def __init__(self, *, central=False, offset=0.0):
        self.central, self.offset = central, offset

    def rollout(self, history, actions, *, particles, rng, independent=False):
        shape = (*actions.shape[:2], particles, actions.shape[2], history.obs.shape[-1])
        steps = torch.full(shape, 2.0) if self.central else 1 + 2 * torch.randint(0, 2, shape, generator=rng).float()
        return Prediction(history.obs[:, -1, None, None, None] + self.offset + steps.cumsum(dim=3), steps[..., 0])


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_the_mean_proper_starts_its_last_chunk_from_sampled_futures(offset):
    W, D = 400, 2
    start = torch.randn(W, D, generator=torch.Generator().manual_seed(1))
    future = start[:, None] + 2.0 * torch.arange(1, 21)[:, None]
    situations = Situations(History(start[:, None], torch.zeros(W, 0, 1)), torch.zeros(W, 20, 1), future)
    one = SimpleNamespace(mean=torch.zeros(D), std=torch.ones(D))
    units = SimpleNamespace(obs=one, changes=SimpleNamespace(std=torch.ones(1, D)))
    samples = world_cases._far_samples(Walk(), situations)
    found = world_cases._errors_of_mean(samples, Walk(central=True, offset=offset), situations, units)
    assert found["expected_1"] == pytest.approx(offset, abs=1e-5)
    assert found["expected_20"] == pytest.approx(offset, abs=0.1), "the walk's own spread after 16 steps is 4"


def test_futures_that_run_away_are_counted_and_held_at_the_bound(folder):
    def run_away(obs):
        obs[:, :, :, 10:] = torch.nan
        return obs

    metrics = measure(CALM, folder, run_away)
    assert metrics["diverged"] == pytest.approx(0.5), "half of the steps of all futures"
    assert metrics["error_1"] == pytest.approx(0, abs=1e-4)
    assert metrics["error_20"] == pytest.approx(100, rel=0.05), "held at 100 deviations"


def test_samples_beyond_all_numbers_are_held_at_a_hundred_deviations():
    obs = Moments(
        mean=torch.tensor([1.0, 0.0]), std=torch.tensor([0.5, 2.0]), largest=torch.ones(2), constant=torch.zeros(2)
    )
    statistics = Statistics(obs=obs, actions=obs, rewards=obs, changes=obs)
    samples = torch.tensor([[torch.nan, torch.inf], [-torch.inf, -1e30], [2.0, -3.0], [1e30, torch.nan]])
    bounded = world_cases._bounded(samples, statistics)
    assert bounded.tolist() == [[51.0, 200.0], [-49.0, -200.0], [2.0, -3.0], [51.0, 200.0]]


def test_every_entry_is_a_forecast_of_its_own():
    samples = torch.arange(24.0).view(2, 4, 3)
    entries = world_cases._entries(samples)
    assert entries.shape == (6, 4, 1)
    assert entries[4, :, 0].equal(samples[1, :, 1])


def test_named_cases_are_of_the_kind_that_they_stand_under():
    assert all(case.world.env.disturbance.name in ("gust", "slip") for case in world_cases.STOCHASTIC)
    assert all(case.world.env.disturbance.name == "none" for case in world_cases.DETERMINISTIC + world_cases.CHUNKS)
    assert all(world_cases.FAR % case.chunk == 0 for case in world_cases.CHUNKS)


def test_the_reward_grows_to_the_edge_and_falls_beyond_it_the_more_the_farther():
    reward = EdgeReward()
    x = torch.tensor([0.15, 0.15 - 0.03, 0.15 + 1e-7, 0.3, -10.0, -10.0])
    obs = torch.stack([x, torch.full_like(x, 99.0)], dim=-1)
    assert reward.of(obs).tolist() == pytest.approx([1.0, np.exp(-1), -2.0, -4.0, 0.0, 0.0], abs=1e-5)
    futures = obs.view(1, 1, 3, 2, 2)  # three futures of two steps
    values = reward(Prediction(obs=futures, reward=torch.zeros(1, 1, 3, 2)), torch.zeros(1, 1, 2, 1))
    assert values.flatten().tolist() == pytest.approx([1 + np.exp(-1), -6.0, 0.0], abs=1e-5)


def test_returns_are_those_of_the_observations_seen(monkeypatch, tmp_path):
    def episode(*positions):
        obs = np.array([[0.15], *[[x] for x in positions]], dtype=np.float32)
        return Episode(obs, np.zeros((len(positions), 1), np.float32), np.ones(len(positions), np.float32), False)

    def acted(policy, envs, *, seeds, **_):
        asked.append((len(envs), seeds))
        return Rollouts((episode(0.15, 0.15), episode(0.3, 0.15)), np.zeros(2))

    asked = []
    monkeypatch.setattr(risk_case, "run_episodes", acted)
    (row,) = risk_rows(SIMULATOR, 2, tmp_path, TruthSettings(episodes=6))
    assert (row.part, row.case, row.generator, row.nfe) == ("risk", "point mass at the edge", SIMULATOR, 0)
    assert row.metrics == pytest.approx({"return_00": 2.0, "return_01": -3.0, "return": -0.5, "beyond": 0.25})
    assert asked == [(2, [4_000_002_000, 4_000_002_001])], "the simulator plays one episode of five, rounded up"


@pytest.mark.parametrize("name", ["gaussian", SIMULATOR])
def test_models_and_the_simulator_plan_at_the_edge(name, monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(world_cases, "run_episodes", briefly(2))
    monkeypatch.setattr(world_cases, "_AT_ONCE", 2)
    monkeypatch.setattr(risk_case, "run_episodes", briefly(2))
    monkeypatch.setattr(risk_case, "_PARTICLES", 5 if name == "gaussian" else 1)
    world_cases._record(risk_case.CASE, training_file(risk_case.CASE, tmp_path), 2, seed=1)
    (row,) = risk_rows(name, 1, tmp_path, tiny_settings(steps=2, width=8, episodes=2))
    assert row.nfe == (name == "gaussian")
    assert set(row.metrics) == {"return", "beyond"} | {f"return_{i:02d}" for i in range(2 if row.nfe else 1)}
    assert -8 <= row.metrics["return"] <= 2  # it starts at 0.3 at most


def test_cost_is_the_median_beside_regression_without_the_first_round(monkeypatch):
    """A clock that each step moves by a known time, the first round by much more."""
    seconds = dict.fromkeys(RIVALS, 0.002) | {"drifting": 0.003, "gaussian": 0.010}
    now, rounds = [0.0], {}

    def round_of(name, *_):
        def train():
            rounds[name] += 1
            now[0] += seconds[name] * cost._STEPS * (100 if rounds[name] == 1 else 1)

        rounds[name] = 0
        return train

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(cost, "_round", round_of)
    threads = torch.get_num_threads()
    rows = cost.cost_rows(TruthSettings())
    assert torch.get_num_threads() == threads
    assert [row.case for row in rows[:: len(RIVALS)]] == list(cost.SHAPES)
    found = {row.label: row.metrics for row in rows if row.case == "walker, k = 1"}
    assert set(found) == set(RIVALS)
    assert found["drifting"] == pytest.approx({"step_ms": 3.0, "ratio": 1.5, "least_ms": 3.0})
    assert found["gaussian"]["ratio"] == pytest.approx(5)
    assert found["regression"]["ratio"] == 1


def test_every_rival_can_take_a_step_of_training(monkeypatch):
    monkeypatch.setattr(cost, "_REPEATS", 1)
    monkeypatch.setattr(cost, "_STEPS", 1)
    monkeypatch.setattr(cost, "SHAPES", {"small": (4, 6, 2)})
    rows = cost.cost_rows(TruthSettings(width=4))
    assert [row.generator for row in rows] == list(RIVALS)
    assert all(row.metrics["step_ms"] > 0 for row in rows)


@pytest.mark.usefixtures("stochastic")
def test_networks_of_worlds_of_chance_begin_without_the_first_layer_and_go_several_ways(folder, monkeypatch):
    seen = {}

    def train(episodes, generator, **named):
        seen[named["chunk"]] = generator.shortcut, generator.ways
        raise InterruptedError

    monkeypatch.setattr(world_cases, "train_world_model", train)
    for part, case in (("stochastic", GUST), ("deterministic", CALM)):
        with pytest.raises(InterruptedError):
            world_rows(part, case, "drifting", 1, folder, tiny_settings(chance_shortcut=0.25, chance_ways=3))
    assert seen == {GUST.chunk: (0.25, 3), CALM.chunk: (1.0, 1)}
