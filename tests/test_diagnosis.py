"""What a diagnosis finds in models of known faults, dressed up from the true simulator itself."""

import itertools
import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from drift_wm.build import make_env
from drift_wm.datasets.episodes import Episode
from drift_wm.diagnosis.answers import Example
from drift_wm.diagnosis.distribution import TwoModes, distribution_of
from drift_wm.diagnosis.groups import Group, entry_names, groups_of_env, single_entries
from drift_wm.diagnosis.material import Material
from drift_wm.diagnosis.measures import energy_distance
from drift_wm.diagnosis.modes import weaker_mass
from drift_wm.diagnosis.open_loop import ErrorCurve, LinearModel, OpenLoop, doubling_steps
from drift_wm.diagnosis.plots import example_figure, open_loop_figure, returns_figure
from drift_wm.diagnosis.questions import ask
from drift_wm.diagnosis.rankings import auroc
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.diagnosis.situations import draw_situations, sample_model, true_samples
from drift_wm.diagnosis.summary import cautions, number, ranking_sentence, tables, verdict
from drift_wm.diagnosis.uncertainty import (
    UncertaintyMeasures,
    Warnings,
    _warnings,
    beyond_range,
    member_disagreement,
)
from drift_wm.diagnosis.value import Exploitation, Ranking, Returns, ValueMeasures, compare_returns, measure_value
from drift_wm.diagnosis.world import Truth, World, open_truth
from drift_wm.env_settings import EnvSettings
from drift_wm.envs.disturbances import DisturbanceConfig
from drift_wm.interfaces import History, Prediction, Spec
from helpers import rng

CPU = torch.device("cpu")
SETTINGS = {
    "checkpoint": "x",
    "data": "x",
    "windows": 64,
    "particles": 39,
    "true_samples": 39,
    "horizon": 6,
    "distribution_steps": 3,
    "states": 4,
    "candidates": 12,
    "value_horizon": 4,
    "threads": 1,
}


def world(name="none", **amounts):
    return World("cartpole-swingup", EnvSettings(action_repeat=5, disturbance=DisturbanceConfig(name, **amounts)))


def record(world, episodes=3):
    """Episodes of uniform actions, with the states."""
    env = make_env(world.task, world.env)
    recorded = []
    for seed in range(episodes):
        generator = np.random.default_rng(seed)
        obs, states, rewards = [env.reset(seed=seed)[0]], [env.physics_state()], []
        actions = generator.uniform(-1, 1, (60, 1)).astype(np.float32)
        for action in actions:
            after, reward, *_ = env.step(action)
            obs.append(after)
            states.append(env.physics_state())
            rewards.append(reward)
        recorded.append(
            Episode(np.stack(obs), actions, np.asarray(rewards, np.float32), terminated=False, states=np.stack(states))
        )
    groups = groups_of_env(env)
    env.close()
    return Material(Path("x"), None, tuple(recorded[:1]), tuple(recorded[1:]), "for tests"), groups


class Dressed:
    """The simulator as if it were learned, with a fault: functions of actions, and of the prediction."""

    history, chunk = 1, 2

    def __init__(self, simulator, *, acting=lambda actions: actions, predicting=lambda prediction: prediction):
        self.simulator, self.acting, self.predicting = simulator, acting, predicting
        self.spec = simulator.spec

    def rollout(self, history, actions, *, particles, rng, independent=False):
        acted = self.acting(actions)
        return self.predicting(
            self.simulator.rollout(history, acted, particles=particles, rng=rng, independent=independent)
        )


def diagnose(name="none", changes=(), **fault):
    the_world = world(name)
    material, groups = record(the_world)
    with open_truth(the_world, threads=1) as truth:
        model = Dressed(truth.observer, **fault)
        settings = DiagnoseSettings(**{**SETTINGS, **dict(changes)})
        return ask(model, material, groups, truth, settings, members=1, device=CPU)


@pytest.fixture(scope="module")
def perfect():
    return diagnose()


@pytest.fixture(scope="module")
def perfect_in_gusts():
    return diagnose("gust")


def curve(answers, name):
    return {curve.name: curve for curve in answers.open_loop.curves}[name].overall


def test_a_perfect_model_of_a_deterministic_world_is_perfect(perfect):
    assert perfect.replay_error == pytest.approx(0, abs=1e-5)
    assert max(curve(perfect, "model")) < 1e-5
    assert min(curve(perfect, "persistence")) > 0.05
    for at in perfect.distributions:
        assert at.measures.energy_distance == pytest.approx(0, abs=1e-6)
        assert at.measures.energy_distance_of_persistence > 0.1
    assert perfect.value.model.rank_correlation == pytest.approx(1)
    assert perfect.value.model.elite_overlap == pytest.approx(1)
    assert perfect.value.model.regret == 0
    assert perfect.value.model == perfect.value.attainable
    value, plans = perfect.value, perfect.exploitation
    assert (value.states, value.candidates, value.horizon, plans.states, plans.horizon) == (4, 12, 4, 4, 4)
    assert perfect.exploitation.excess == 0
    assert np.mean(perfect.exploitation.realised) > perfect.exploitation.realised_by_recorded
    assert perfect.actions.ratio > 1000
    assert [missing.question for missing in perfect.unmeasured] == ["uncertainty"]


def test_a_perfect_model_of_a_stochastic_world_is_calibrated(perfect_in_gusts):
    for at in perfect_in_gusts.distributions:
        measures = at.measures
        assert abs(measures.energy_distance) < 4 * measures.energy_distance_standard_error
        assert measures.mean_coverage == pytest.approx(measures.levels, abs=0.1)
        assert measures.spread_skill == pytest.approx([1] * 5, abs=0.2)
        counts = np.asarray(measures.rank_histogram)
        assert counts.sum(axis=1).tolist() == [64] * 5
    first, later = (at.measures for at in perfect_in_gusts.distributions)
    assert later.two_modes is None
    assert first.two_modes.weaker_mass == pytest.approx(first.two_modes.weaker_mass_of_truth, abs=0.03)
    assert first.two_modes.between == 0
    value = perfect_in_gusts.value
    assert value.model.rank_correlation > 0.7
    assert value.model.rank_correlation == pytest.approx(value.attainable.rank_correlation, abs=0.1)
    assert perfect_in_gusts.value.model.regret < 0.1
    found = perfect_in_gusts.exploitation
    assert abs(found.excess) < 0.1 * np.mean(found.realised)
    excess = np.subtract(found.predicted, found.realised)
    assert found.standard_error == pytest.approx(excess.std(ddof=1) / len(excess) ** 0.5)


def test_diagnoses_repeat():
    few = {"windows": 5, "particles": 19, "true_samples": 3, "states": 1, "candidates": 4}
    first, again = diagnose("gust", few), diagnose("gust", few)
    assert first.distributions == again.distributions
    assert (first.value, first.exploitation) == (again.value, again.exploitation)
    assert diagnose("gust", {**few, "seed": 2}).exploitation != first.exploitation


def narrowed(prediction):
    middle = prediction.obs.mean(dim=2, keepdim=True)
    return Prediction(middle + 0.2 * (prediction.obs - middle), prediction.reward)


def test_a_narrow_model_is_found_out(perfect_in_gusts):
    narrow = diagnose("gust", {"states": 1, "candidates": 2}, predicting=narrowed)
    for at, honest in zip(narrow.distributions, perfect_in_gusts.distributions, strict=True):
        assert max(at.measures.spread_skill) < 0.4
        assert at.measures.mean_coverage[-1] < 0.6
        assert at.measures.energy_distance > 4 * at.measures.energy_distance_standard_error
        assert at.measures.energy_score > honest.measures.energy_score
    assert narrow.distributions[0].measures.two_modes.between > 0.9
    assert curve(narrow, "model") == pytest.approx(curve(perfect_in_gusts, "model"), rel=0.15)


def test_a_model_that_ignores_actions_is_found_out():
    deaf = diagnose(acting=torch.zeros_like)
    assert deaf.actions.ratio == pytest.approx(1, abs=1e-6)
    assert deaf.value.model.regret > 0.2
    assert deaf.value.model.rank_correlation == 0, "all its predictions of one state are equal"


def test_a_model_that_wants_the_opposite_is_found_out(perfect):
    liar = diagnose(predicting=lambda prediction: Prediction(prediction.obs, -prediction.reward))
    assert liar.value.model.rank_correlation == pytest.approx(-1)
    assert liar.value.model.elite_overlap == 0
    assert liar.value.model.regret > 1
    assert np.mean(liar.exploitation.realised) < np.mean(perfect.exploitation.realised)


def test_a_boaster_is_exploited():
    boaster = diagnose(predicting=lambda prediction: Prediction(prediction.obs, prediction.reward + 1))
    assert boaster.exploitation.excess == pytest.approx(4)  # 1 for each of the steps of a plan
    assert boaster.value.model.rank_correlation == pytest.approx(1)


def test_situations_of_which_the_prediction_diverges_are_left_out_and_counted():
    def diverging(prediction):
        far = prediction.obs[..., :1].abs() > prediction.obs[..., :1].abs().median()
        return Prediction(torch.where(far, torch.inf, prediction.obs), prediction.reward)

    answers = diagnose(predicting=diverging)
    assert answers.diverged > 0
    assert answers.situations + answers.diverged == 64
    assert any("left out" in line for line in cautions(answers))


def test_nothing_finite_is_refused():
    with pytest.raises(ValueError, match="64 of 64 predictions are not finite"):
        diagnose(predicting=lambda p: Prediction(p.obs * torch.nan, p.reward))


@pytest.mark.parametrize("whatever_is_done", [False, True])
def test_plans_whose_judgement_is_no_number_are_counted(whatever_is_done):
    def doomed(prediction):
        if prediction.reward.shape[1] > 1 and not whatever_is_done:
            return prediction
        reward = prediction.reward.clone()  # of the chosen plans alone
        reward[0] = torch.nan
        return Prediction(prediction.obs, reward)

    answers = diagnose(predicting=doomed)
    assert answers.exploitation.diverged == 1
    assert len(answers.exploitation.predicted) == answers.exploitation.states == answers.value.states - 1
    assert any("without 1 state where a return was no number" in table.note for table in tables(answers))


def test_returns_that_are_never_finite_say_so():
    answers = diagnose(predicting=lambda p: Prediction(p.obs, p.reward * torch.nan))
    assert answers.exploitation is None
    assert ("exploitation", "the model or the simulation diverges whatever is done") in [
        (missing.question, missing.reason) for missing in answers.unmeasured
    ]
    assert returns_figure(answers)


def test_a_wrong_world_is_noticed():
    material, groups = record(world("gust"))
    with open_truth(world(), threads=1) as truth:
        settings = DiagnoseSettings(**SETTINGS)
        answers = ask(Dressed(truth.observer), material, groups, truth, settings, members=1, device=CPU)
    assert answers.replay_error > 0.05
    assert any("not that of the recording" in line for line in cautions(answers))


@pytest.mark.parametrize(("name", "hidden"), [("payload", "payload"), ("sensor", "sensors"), ("gust", None)])
def test_what_the_simulator_knows_and_no_observation_shows_is_said(name, hidden):
    found = world(name).hidden
    assert (found is None) if hidden is None else (hidden in found)


class Toy:
    """o' = o + a on the first entries; P particles in groups of members that differ by how far out o is."""

    history, chunk, spec = 1, 1, Spec(3, 2, 0.0)

    def rollout(self, history, actions, *, particles, rng, independent=False):
        moved = actions.cumsum(dim=2).unsqueeze(2).expand(-1, -1, particles, -1, -1)
        start = history.obs[:, -1, None, None, None]
        obs = start + torch.nn.functional.pad(moved, (0, 1))
        sign = torch.where(torch.arange(particles) < particles // 2, 1.0, -1.0).view(-1, 1, 1)
        return Prediction(obs + sign * start.abs(), obs[..., 0])


@pytest.fixture
def toy_material(linear_episodes):
    return Material(Path("toy.hdf5"), None, tuple(linear_episodes[:2]), tuple(linear_episodes[2:]), "for tests")


class Agreeing(Toy):
    """Members of one law, which is wide where the first entry is far from zero."""

    def rollout(self, history, actions, *, particles, rng, independent=False):
        prediction = super().rollout(history, actions, particles=particles, rng=rng)
        start = history.obs[:, -1, None, None, None]
        noise = torch.randn(prediction.obs.shape, generator=rng) * start[..., :1].square()
        return Prediction(start + noise, prediction.reward)


class Padded(Toy):
    """The toy with two entries more, whose constant values it misses by a little."""

    spec = Spec(5, 2, 0.0)

    def rollout(self, history, actions, *, particles, rng, independent=False):
        inner = History(history.obs[..., :3], history.actions)
        found = super().rollout(inner, actions, particles=particles, rng=rng, independent=independent)
        constant = torch.tensor([1.0, 300.0]) + 1e-3
        return Prediction(torch.cat([found.obs, constant.expand(*found.obs.shape[:-1], 2)], dim=-1), found.reward)


def padded(episode):
    constant = np.tile(np.array([1, 300], np.float32), (len(episode.obs), 1))
    return replace(episode, obs=np.concatenate([episode.obs, constant], axis=1))


def test_entries_that_never_change_count_for_nothing(toy_material):
    """They have no unit: as predicted without error they would make errors small, as missed ones coverage, too."""
    settings = DiagnoseSettings(**{**SETTINGS, "windows": 40, "particles": 20, "horizon": 2})
    parts = (tuple(map(padded, part)) for part in (toy_material.fitted, toy_material.measured))
    more = Material(toy_material.file, None, *parts, "for tests")
    groups = (Group("pose", 0, 3), Group("unused", 3, 5))
    plain, found = (
        ask(model, material, groups[:count], None, settings, members=2, device=CPU)
        for model, material, count in ((Toy(), toy_material, 1), (Padded(), more, 2))
    )
    assert (found.entries, found.open_loop.groups) == ((0, 1, 2), ("pose",))
    for name in ("model", "persistence", "linear"):
        assert curve(found, name) == pytest.approx(curve(plain, name), rel=1e-4)
    assert found.actions.error == pytest.approx(plain.actions.error)
    assert [at.measures for at in found.distributions] == [at.measures for at in plain.distributions]
    assert found.uncertainty == plain.uncertainty
    assert found.example.recorded.shape == (2, 3)


def test_the_example_shows_what_is_uncertain_and_not_what_stands_still():
    recorded, scale = torch.zeros(5, 4), torch.ones(4)
    samples = torch.zeros(6, 5, 4)
    samples[..., 1:] = torch.randn(6, 5, 3, generator=rng())
    samples[..., 0] = 1e-3 * torch.randn(6, 5, generator=rng())  # stands still here, and is well predicted
    recorded[:, 1:] = torch.randn(5, 3, generator=rng())
    figure = example_figure(Example(recorded, samples, None, scale), ["still", "a", "b", "c"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "b", "c"]


def test_data_in_which_nothing_changes_are_refused(toy_material):
    still = [replace(e, obs=np.ones_like(e.obs)) for e in (*toy_material.fitted, *toy_material.measured)]
    material = Material(toy_material.file, None, tuple(still[:1]), tuple(still[1:]), "for tests")
    with pytest.raises(ValueError, match=r"no entry of the observations ever changes.*obs_keys="):
        ask(Toy(), material, single_entries(3), None, DiagnoseSettings(**SETTINGS), members=1, device=CPU)


def test_members_that_agree_warn_as_well_as_chance(linear_episodes):
    episodes = tuple(linear_episodes[2:])
    material = Material(Path("toy.hdf5"), None, tuple(linear_episodes[:2]), episodes, "for tests")
    found = []
    for seed in range(10):
        settings = DiagnoseSettings(**{**SETTINGS, "windows": 60, "particles": 20, "horizon": 2, "seed": seed})
        found.append(ask(Agreeing(), material, single_entries(3), None, settings, members=5, device=CPU).uncertainty)
    mean, by_chance = (
        np.mean([each.auroc_of_errors for each in kind])
        for kind in ([each.disagreement for each in found], [each.chance for each in found])
    )
    assert mean == pytest.approx(by_chance, abs=0.07)


def test_disagreement_that_grows_with_strangeness_tells_it(toy_material):
    settings = DiagnoseSettings(**{**SETTINGS, "windows": 40, "particles": 20, "horizon": 2})
    answers = ask(Toy(), toy_material, single_entries(3), None, settings, members=2, device=CPU)
    assert answers.uncertainty.disagreement.auroc_of_strange > 0.9
    assert answers.uncertainty.chance.auroc_of_strange < 0.8
    assert answers.uncertainty.members == 2
    assert {missing.question for missing in answers.unmeasured} == {
        "distance to the true distribution",
        "value",
        "exploitation",
    }
    assert "no task is known" in answers.unmeasured[0].reason
    assert answers.distributions[0].measures.energy_distance is None
    assert "warns" in " ".join(cell for table in tables(answers) for row in table.rows for cell in row)
    assert "standard deviations" in verdict(answers)
    assert returns_figure(answers), "also with nothing to show"
    assert len(example_figure(answers.example, ["a", "b", "c"]).axes) == 3


def test_a_constant_prediction_counts_as_random_choice_in_every_state():
    """Exact in one state of ten and constant in the others: not the rank correlation of that state."""
    true = torch.randn(10, 64, generator=rng())
    predicted = torch.zeros(10, 64)
    predicted[0] = true[0]
    found = measure_value(Returns(predicted, true, true), horizon=1)
    assert found.model.rank_correlation == pytest.approx(0.1)
    assert found.attainable.rank_correlation == pytest.approx(1)


def test_members_that_know_the_same_law_do_not_warn_of_its_width():
    """Five members of one law, wider in some states than in others: nobody disagrees, though errors differ."""
    W, P = 2000, 60
    width = torch.rand(W, generator=rng(1)) + 0.05
    samples = width.view(W, 1, 1, 1) * torch.randn(W, P, 1, 1, generator=rng(2))
    found = member_disagreement(samples, 5, torch.ones(1))
    outcome = (width * torch.randn(W, generator=rng(3))).abs()
    assert auroc(found, outcome > outcome.quantile(0.75)) == pytest.approx(0.5, abs=0.05)
    apart = samples + torch.linspace(-1, 1, 5).repeat_interleave(P // 5).view(1, P, 1, 1)
    assert float(member_disagreement(apart, 5, torch.ones(1)).mean()) == pytest.approx(0.625, abs=0.02)


def test_a_number_warns_that_is_large_where_errors_are_and_in_strange_situations():
    error = torch.rand(40, generator=rng())
    alarm = (error > error.quantile(0.75)).float()
    assert astuple(_warnings(error.exp(), error + 3, error)) == pytest.approx((1, 1, 1))
    assert astuple(_warnings(-error, -error - 3, error)) == pytest.approx((0, -1, 0))
    assert _warnings(alarm, alarm, error).auroc_of_errors == 1, "the quarter with the largest errors"


def test_members_of_a_single_sample_are_not_asked(toy_material):
    settings = DiagnoseSettings(**{**SETTINGS, "windows": 4, "particles": 20, "horizon": 2})
    answers = ask(Toy(), toy_material, single_entries(3), None, settings, members=11, device=CPU)
    assert answers.uncertainty is None
    assert "set particles=22" in " ".join(missing.reason for missing in answers.unmeasured)


def test_equal_members_do_not_disagree():
    samples = torch.randn(4, 1, 2, 3, generator=rng()).expand(-1, 6, -1, -1)
    assert member_disagreement(samples, 3, torch.ones(3)).tolist() == [0.0] * 4


def test_a_diverged_member_disagrees_without_bound():
    samples = torch.randn(4, 6, 1, 2, generator=rng())
    samples[2, 0, 0, 0], samples[3, 5, 0, 1] = math.nan, math.inf
    assert member_disagreement(samples, 3, torch.ones(2)).isinf().tolist() == [False, False, True, True]


def test_strange_situations_lie_beyond_the_data(toy_material):
    situations = draw_situations(toy_material.measured, history=2, horizon=3, count=20, device=CPU, rng=rng())
    data_range = torch.tensor([7.0, 0.0, 9.0])
    moved = beyond_range(situations, data_range, rng=rng()).history.obs - situations.history.obs
    assert (moved[:, 0] - moved[:, 1]).abs().max() < 1e-5, "both frames alike"
    assert moved[:, :, 1].abs().max() == 0, "what never varies stays"
    assert sorted(set(moved[:, 0].abs().sum(dim=1).round().tolist())) == [7.0, 9.0]
    with pytest.raises(ValueError, match="data_range is 0"):
        beyond_range(situations, torch.zeros(3), rng=rng())


def test_the_linear_model_is_exact_in_a_linear_world(toy_material):
    linear = LinearModel.fit(toy_material.fitted)
    episode = toy_material.measured[0]
    predicted = linear.rollout(torch.from_numpy(episode.obs[:1]), torch.from_numpy(episode.actions[None]))
    assert torch.allclose(predicted[0].float(), torch.from_numpy(episode.obs[1:]), atol=1e-3)


def test_sampling_in_slices_and_true_samples_agree(monkeypatch):
    material, _ = record(world())
    situations = draw_situations(material.measured, history=1, horizon=4, count=5, device=CPU, rng=rng())
    with open_truth(world(), threads=1) as truth:
        whole = sample_model(truth.observer, situations, 3, particles=2, rng=rng())
        monkeypatch.setattr("drift_wm.diagnosis.situations.MAX_ROWS", 4)
        states, actions = situations.history.physics, situations.actions[:, :3]
        assert torch.equal(whole, true_samples(truth.observer, states, actions, samples=2, rng=rng()))
        with pytest.raises(ValueError, match=r"steps is 5.*at most 4"):
            sample_model(Dressed(truth.observer), situations, 5, particles=2, rng=rng())
    assert torch.allclose(whole[:, 0], situations.future[:, :3], atol=1e-4)


def test_distances_to_the_truth_are_in_units_of_the_scale_and_their_error_is_over_situations():
    scale, x = torch.tensor([0.5, 4.0]), torch.randn(6, 20, 2, generator=rng())
    truth, before = torch.randn(6, 30, 2, generator=rng(1)), torch.randn(6, 2, generator=rng(2))
    ways = torch.randn(6, 2, 2, generator=rng(3))

    def measured(rows):
        known = {"true_samples": truth[rows], "before": before[rows], "anchors": ways[rows]}
        return distribution_of(x[rows], truth[rows, 0], scale=scale, rng=rng(), **known)

    each, still = (energy_distance(samples / scale, truth / scale) for samples in (x, before[:, None]))
    found = measured(slice(6))
    assert found.energy_distance == pytest.approx(each.mean().item())
    assert found.energy_distance_standard_error == pytest.approx(each.std().item() / 6**0.5)
    assert found.energy_distance_of_persistence == pytest.approx(still.mean().item())
    assert measured(slice(1)).energy_distance_standard_error is None
    for weaker, samples in ((found.two_modes.weaker_mass, x), (found.two_modes.weaker_mass_of_truth, truth)):
        assert weaker == weaker_mass(samples[:, :20] / scale, ways / scale), "of as many samples of both"


def test_what_is_attainable_has_as_many_samples_as_the_model():
    class Counting:
        def rollout(self, history, actions, *, particles, rng, independent):
            return Prediction(history.obs, torch.full((*actions.shape[:2], particles, 1), float(particles)))

    history = History(torch.zeros(2, 1, 3), torch.zeros(2, 0, 2))
    found = compare_returns(Counting(), Counting(), history, torch.zeros(2, 4, 1, 2), particles=3, samples=7, rng=rng())
    assert [set(each.flatten().tolist()) for each in (found.predicted, found.true, found.again)] == [{3}, {7}, {3}]


def test_states_that_some_episodes_lack_are_not_used():
    material, groups = record(world())
    first, second = material.measured
    without = Episode(second.obs, second.actions, second.rewards, terminated=False)
    mixed = Material(material.file, None, material.fitted, (first, without), "")
    settings = DiagnoseSettings(**SETTINGS)
    with open_truth(world(), threads=1) as truth:
        model = Toy()
        model.spec, model.history = truth.observer.spec, 1
        model.rollout = lambda history, actions, *, particles, rng, independent=False: Prediction(
            history.obs[:, :, None, None].expand(-1, actions.shape[1], particles, actions.shape[2], -1),
            torch.zeros(*actions.shape[:2], particles, actions.shape[2]),
        )
        answers = ask(model, mixed, groups, truth, settings, members=1, device=CPU)
    assert "does not hold the simulator's states" in answers.unmeasured[-1].reason
    assert curve(answers, "model") == pytest.approx(curve(answers, "persistence"), rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "chunk", "match"),
    [(Spec(4, 2, 0.0), 2, r"sizes \(3, 2\), the model expects \(4, 2\)"), (Spec(3, 2, 0.0), 41, "chunk of 41")],
)
def test_material_that_does_not_fit_the_model_is_refused(toy_material, spec, chunk, match):
    model = Toy()
    model.spec, model.chunk = spec, chunk
    with pytest.raises(ValueError, match=match):
        ask(model, toy_material, single_entries(3), None, DiagnoseSettings(**SETTINGS), members=1, device=CPU)


@pytest.mark.parametrize(("lengths", "horizon"), [([50], 34), ([50, 50], 42), ([40, 50, 50], 42), ([3, 3], 2)])
def test_the_horizon_leaves_enough_situations(toy_material, lengths, horizon):
    whole = linear_record(max(lengths))
    episodes = tuple(
        Episode(whole.obs[: n + 1], whole.actions[:n], whole.rewards[:n], terminated=False) for n in lengths
    )
    material = replace(toy_material, measured=episodes)
    settings = DiagnoseSettings(**{**SETTINGS, "horizon": 50})
    answers = ask(chunks_of_two(), material, single_entries(3), None, settings, members=1, device=CPU)
    assert answers.open_loop.steps[-1] == horizon
    assert answers.situations == min(settings.windows, sum(max(0, n - horizon + 1) for n in lengths))


def test_too_few_situations_are_not_called_divergence(toy_material):
    whole = linear_record(2)
    material = replace(toy_material, measured=(whole,))
    with pytest.raises(ValueError, match=r"hold 1 situation with 2 steps after it.*more or longer episodes"):
        ask(chunks_of_two(), material, single_entries(3), None, DiagnoseSettings(**SETTINGS), members=1, device=CPU)


def chunks_of_two():
    model = Toy()
    model.chunk = 2
    return model


def linear_record(length):
    rng = np.random.default_rng(0)
    obs, actions = rng.normal(size=(length + 1, 3)), rng.uniform(-1, 1, (length, 2))
    return Episode(obs.astype(np.float32), actions.astype(np.float32), np.zeros(length, np.float32), terminated=False)


def test_groups_name_the_entries():
    groups = (Group("position", 0, 3), Group("height", 3, 4))
    assert entry_names(groups) == ("position[0]", "position[1]", "position[2]", "height")
    assert entry_names(single_entries(2)) == ("obs[0]", "obs[1]")


@given(st.integers(1, 500))
def test_steps_double_up_to_the_horizon(horizon):
    steps = doubling_steps(horizon)
    assert steps[0] == 1
    assert steps[-1] == horizon
    assert list(steps) == sorted(set(steps))


def test_tables_show_each_number_in_its_place(toy_material):
    answers = ask(Toy(), toy_material, single_entries(3), None, DiagnoseSettings(**SETTINGS), members=1, device=CPU)
    first, later = answers.distributions
    measures = replace(
        first.measures,
        energy_score=1.01,
        spread_skill=(0.5, math.nan, 2.0, 4.0),
        coverage=((0.1, 0.1), (0.2, 0.2), (0.3, 0.4), (0.6, 0.6), (0.7, 0.8)),
        energy_distance=1.03,
        energy_distance_standard_error=None,
        energy_distance_of_persistence=1.04,
        two_modes=TwoModes(weaker_mass=0.41, weaker_mass_of_truth=0.45, between=0.02),
    )
    answers = replace(
        answers,
        distributions=(replace(first, measures=measures), replace(later, measures=replace(measures, two_modes=None))),
        uncertainty=UncertaintyMeasures(2, 4, Warnings(0.31, 0.32, 0.33), Warnings(0.41, 0.42, 0.43)),
        value=ValueMeasures(4, 1, 64, 5, model=Ranking(0.11, 0.12, 0.13), attainable=Ranking(0.21, 0.22, 0.23)),
        exploitation=Exploitation(2, 0, 5, (3.0, 5.0), (1.0, 2.0), 2.5, None, realised_by_recorded=0.75),
    )
    _, distribution, use = ({name: cells for name, *cells in table.rows} for table in tables(answers))
    assert distribution == {
        "energy score": ["1.01", "1.01", "low"],
        "energy distance to the truth": ["1.03", "1.03", "0"],
        "... if nothing changed": ["1.04", "1.04", ""],
        "spread / error, median entry": ["2", "2", "1"],
        "inside the 50% interval": ["35%", "35%", "50%"],
        "inside the 90% interval": ["75%", "75%", "90%"],
        "weaker of a gust's two ways": ["0.41", "-", "0.45"],
        "between the two ways": ["0.02", "-", "0"],
    }
    assert use == {
        "error factor under exchanged actions": [number(answers.actions.ratio), "> 1", "1"],
        "returns: rank correlation": ["0.11", "0.21", "0"],
        "returns: predicted elites that are elites": ["0.12", "0.22", "0.125"],
        "returns: regret of the predicted best": ["0.13", "0.23", "1"],
        "plans: predicted less realised return": ["2.5", "0", ""],
        "plans: realised return": ["1.5", "high", ""],
        "recorded actions: realised return": ["0.75", "", ""],
        "disagreement warns of large errors, AUROC": ["0.31", "1", "0.41"],
        "disagreement and error, rank correlation": ["0.32", "1", "0.42"],
        "AUROC: disagreement detects out-of-range states": ["0.33", "1", "0.43"],
    }


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_numbers_are_short_words(value):
    assert number(value) in ("undefined", "infinite") or "e+" not in number(value)


def test_plans_that_diverge_in_the_simulator_are_left_out():
    material, groups = record(world())
    with open_truth(world(), threads=1) as truth:
        broken = Dressed(truth.judge, predicting=lambda p: Prediction(p.obs, p.reward * torch.nan))
        evil = Truth(truth.observer, broken, gust=0.0)
        settings = DiagnoseSettings(**SETTINGS)
        answers = ask(Dressed(truth.observer), material, groups, evil, settings, members=1, device=CPU)
    assert answers.value is None
    assert answers.exploitation is None
    assert {missing.question for missing in answers.unmeasured} == {"uncertainty", "value", "exploitation"}


def answers_where_the_simulator_diverges(situations):
    """One true sample of each of these situations is not finite from the first step on, as the simulator writes it."""

    def broken(prediction):
        obs = prediction.obs.clone()
        obs[situations, :, -1] = torch.nan
        return Prediction(obs, prediction.reward)

    material, groups = record(world())
    with open_truth(world(), threads=1) as truth:
        observer = Dressed(truth.observer, predicting=broken)
        observer.chunk = 1  # as a simulator's
        evil, settings = Truth(observer, truth.judge, gust=0.0), DiagnoseSettings(**SETTINGS)
        return ask(Dressed(truth.observer), material, groups, evil, settings, members=1, device=CPU)


def test_situations_that_diverge_in_the_simulator_are_left_out_of_the_distributions():
    answers = answers_where_the_simulator_diverges(slice(0, 2))
    assert answers.truth_diverged == 2
    assert answers.replay_error == pytest.approx(0, abs=1e-6)
    assert all(each.measures.energy_distance == pytest.approx(0, abs=1e-6) for each in answers.distributions)
    (caution,) = [words for words in cautions(answers) if "simulator diverged" in words]
    assert caution.startswith(f"Of the distributions, 2 of {answers.situations} situations are left out")


def test_where_the_simulator_diverges_everywhere_its_samples_are_not_asked():
    answers = answers_where_the_simulator_diverges(slice(None))
    assert answers.replay_error is None
    assert all(each.measures.energy_distance is None for each in answers.distributions)
    assert "distance to the true distribution" in {missing.question for missing in answers.unmeasured}


def test_states_in_which_the_simulation_diverges_are_counted():
    true = torch.tensor([[1.0, 2.0, 3.0], [1.0, torch.nan, 3.0]])
    measured = measure_value(Returns(true.nan_to_num(), true, true), horizon=5)
    assert (measured.states, measured.diverged) == (1, 1)
    assert measured.model == measured.attainable


def test_states_where_nothing_matters_do_not_flatter_a_ranking():
    true = torch.zeros(16, 64)
    true[:2] = torch.randn(2, 64, generator=rng())
    by_chance, constant = torch.randn(16, 64, generator=rng(1)), torch.zeros(16, 64)
    found = measure_value(Returns(by_chance, true, constant), horizon=5)
    assert found.model.elite_overlap < 0.5
    nothing = measure_value(Returns(by_chance, torch.zeros(16, 64), constant), horizon=5)
    assert math.isnan(nothing.model.elite_overlap)


def test_errors_are_read_off_plain_numbers():
    curve = ErrorCurve("model", (0.65, 7.5), ((0.65, 7.5),))
    (axes,) = open_loop_figure(OpenLoop((1, 10), ("all",), (curve,))).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.5", "1", "2", "5", "10"]


def test_no_legend_lies_over_returns(toy_material):
    answers = ask(Toy(), toy_material, single_entries(3), None, DiagnoseSettings(**SETTINGS), members=1, device=CPU)
    figure = returns_figure(answers)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


@pytest.mark.parametrize("scale", [1e-4, 0.03, 0.1, 300.0])
def test_labels_of_small_returns_keep_apart(toy_material, scale):
    answers = ask(Toy(), toy_material, single_entries(3), None, DiagnoseSettings(**SETTINGS), members=1, device=CPU)
    true = scale * torch.randn(4, 30, generator=rng())
    figure = returns_figure(replace(answers, returns=Returns(true, true, true)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        boxes = [label.get_window_extent(canvas.get_renderer()) for label in axes.get_xticklabels()]
        assert all(b.x0 - a.x1 > a.width / 2 for a, b in itertools.pairwise(boxes))


def test_a_ranking_of_equal_returns_is_told_in_words():
    predicted, zeros = torch.rand(5, 8), torch.zeros(5, 8)  # as where every reward is zero
    sentence = ranking_sentence(measure_value(Returns(predicted, zeros, zeros), horizon=4))
    assert "undefined" not in sentence
    assert "all of them truly return the same" in sentence
