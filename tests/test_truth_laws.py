"""The known laws of `drift-wm truth`: what they are, and what is measured of a generator that knows them."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.truth import law_cases
from drift_wm.truth.law_cases import law_rows
from drift_wm.truth.laws import (
    CONDITION_SIZE,
    LAWS,
    MODE_DISTANCE,
    OUTPUT_SIZE,
    POSITION_SIZE,
    SHARES,
    Conditions,
    draw_conditions,
    draw_outcomes,
)
from drift_wm.truth.rivals import RIVALS
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.training import train_generator
from helpers import rng

NEAR_DETERMINISTIC, GAUSSIAN, EVEN, UNEVEN = range(4)


def conditions(law, count=2):
    return Conditions(torch.full((count,), law), torch.rand(count, POSITION_SIZE, generator=rng(7)) * 2 - 1)


class Oracle:
    """Samples the law itself: the first entry of the noise chooses the mode."""

    noise_size = 1 + OUTPUT_SIZE
    width = 1.0  # of the spread, relative to the law's

    def each(self):
        return [self]

    def sample(self, c, z):
        law, middle = self._read(c)
        std = torch.tensor([0.02, 0.5, 0.05, 0.05])[law]
        share = torch.tensor([0.0, 0.0, 0.5, 0.8])[law]
        sign = torch.where(torch.special.ndtr(z[..., :1]) < share, 1.0, -1.0)
        return middle + torch.where(law >= EVEN, sign, 0.0) + self.width * std * z[..., 1:]

    def _read(self, c):
        law = c[..., POSITION_SIZE:].argmax(dim=-1)
        middle = Conditions(law.flatten(), c[..., :POSITION_SIZE].flatten(0, -2)).middle()
        return law.unsqueeze(-1), middle.view(*law.shape, OUTPUT_SIZE)


class Wide(Oracle):
    width = 1.5


class Average(Oracle):
    """Says the centre of the law, whatever the noise."""

    def sample(self, c, z):
        return self._read(c)[1]


@pytest.mark.parametrize(("law", "std"), [(NEAR_DETERMINISTIC, 0.02), (GAUSSIAN, 0.5)])
def test_laws_of_one_mode_have_their_centre_and_spread(law, std):
    asked = conditions(law)
    outcomes = draw_outcomes(asked, 20_000, rng())
    assert outcomes.shape == (2, 20_000, OUTPUT_SIZE)
    torch.testing.assert_close(outcomes.mean(dim=1), asked.middle(), atol=5 * std / 20_000**0.5, rtol=0)
    torch.testing.assert_close(outcomes.std(dim=1), torch.full((2, OUTPUT_SIZE), std), atol=0, rtol=0.03)


@pytest.mark.parametrize(("law", "share"), [(EVEN, 0.5), (UNEVEN, 0.8)])
def test_laws_of_two_modes_have_their_masses_places_and_spread(law, share):
    asked = conditions(law)
    offset = draw_outcomes(asked, 20_000, rng()) - asked.middle().unsqueeze(1)
    major = offset[..., 0] > 0
    assert ((offset > 0) == major.unsqueeze(-1)).all(), "an outcome is in the same mode with all of its entries"
    assert major.double().mean(dim=1).tolist() == pytest.approx([share] * 2, abs=0.015)
    from_mode = offset.abs() - MODE_DISTANCE
    assert from_mode.mean().item() == pytest.approx(0, abs=0.001)
    assert from_mode.std().item() == pytest.approx(0.05, rel=0.03)


def test_training_meets_the_laws_in_their_shares_and_positions_within_bounds():
    drawn = draw_conditions(20_000, rng())
    met = torch.bincount(drawn.law, minlength=len(LAWS)) / 20_000
    assert met.tolist() == pytest.approx(SHARES, abs=0.015)
    assert drawn.position.shape == (20_000, POSITION_SIZE)
    assert -1 <= drawn.position.min() < -0.99
    assert 0.99 < drawn.position.max() <= 1


def test_a_condition_is_encoded_as_its_position_and_its_law():
    asked = Conditions(torch.tensor([2]), torch.tensor([[0.1, -0.2, 0.3]]))
    torch.testing.assert_close(asked.encoded(), torch.tensor([[0.1, -0.2, 0.3, 0, 0, 1, 0]]))
    assert asked.encoded().shape == (1, CONDITION_SIZE)


POSITIONS = st.lists(st.floats(-1, 1, width=32), min_size=POSITION_SIZE, max_size=POSITION_SIZE)


@given(POSITIONS, POSITIONS)
def test_the_centre_is_smooth_and_depends_on_the_position_alone(one, other):
    position = torch.tensor([one, one, other])
    middle = Conditions(torch.tensor([0, 3, 1]), position).middle()
    assert middle[0].equal(middle[1])
    steepest = 2.0 * POSITION_SIZE  # no frequency is above 2
    distance = (position[0] - position[2]).abs().max()
    assert (middle[0] - middle[2]).abs().max() <= steepest * distance + 1e-5


def test_the_law_itself_is_measured_as_perfect():
    found = [law_cases._measure(Oracle(), law, seed=1) for law in range(len(LAWS))]
    assert [metrics["energy_distance"] for metrics in found] == pytest.approx([0] * 4, abs=0.01)
    assert [found[law]["std_ratio"] for law in (NEAR_DETERMINISTIC, GAUSSIAN)] == pytest.approx([1, 1], abs=0.01)
    assert found[EVEN]["major_mass"] == pytest.approx(0.5, abs=0.02)
    assert found[UNEVEN]["major_mass"] == pytest.approx(0.8, abs=0.02)
    assert found[EVEN]["between"] == found[UNEVEN]["between"] == 0


def test_too_wide_a_law_has_that_ratio_of_spreads_and_a_distance():
    metrics = law_cases._measure(Wide(), GAUSSIAN, seed=1)
    assert metrics["std_ratio"] == pytest.approx(1.5, abs=0.02)
    assert metrics["energy_distance"] > 0.03


def test_the_average_of_two_modes_is_found_between_them():
    metrics = law_cases._measure(Average(), EVEN, seed=1)
    assert metrics["between"] == 1
    assert metrics["energy_distance"] > 1
    assert law_cases._measure(Average(), GAUSSIAN, seed=1)["std_ratio"] == 0


@pytest.fixture
def few(monkeypatch):
    """Few samples, and settings of little training."""
    monkeypatch.setattr(law_cases, "_POSITIONS", 4)
    monkeypatch.setattr(law_cases, "_SAMPLES", 16)
    return TruthSettings(steps=3, width=8)


def test_a_rival_has_a_row_for_each_law_and_number_of_sampling_steps(few):
    rows = law_rows("diffusion", 3, few)
    steps = RIVALS["diffusion"].law_sampling_steps
    assert [(row.nfe, row.case) for row in rows] == [(count, law) for count in steps for law in LAWS]
    assert rows[-1].label == "diffusion 50", "the claim is about 50 steps"
    assert {(row.part, row.generator, row.seed) for row in rows} == {("laws", "diffusion", 3)}
    assert set(rows[0].metrics) == {"energy_distance", "std_ratio", "train_seconds"}
    assert set(rows[3].metrics) == {"energy_distance", "major_mass", "between", "train_seconds"}


def test_an_ensemble_is_measured_like_any_other(few):
    rows = law_rows("gaussian", 1, few)
    assert [(row.label, row.nfe) for row in rows] == [("gaussian", 1)] * len(LAWS)


def test_a_seed_repeats_its_row_and_another_does_not(few):
    def without_time(seed):
        return [
            dataclasses.replace(row, metrics={k: v for k, v in row.metrics.items() if k != "train_seconds"}, seed=0)
            for row in law_rows("drifting", seed, few)
        ]

    first = without_time(1)
    torch.rand(1)  # global randomness is not asked
    assert without_time(1) == first
    assert without_time(2) != first


def test_a_trained_generator_has_learnt_a_function():
    def draw(size, rng):
        c = torch.rand(size, 2, generator=rng) * 2 - 1
        return c, c.sum(dim=1, keepdim=True)

    config = GeneratorConfig("regression", width=32)
    untrained = make_generator(config, 2, 1, blocks=1, rng=rng())
    generator = train_generator(untrained, draw, TrainingConfig(learning_rate=4e-3), steps=200, seed=1)
    assert not generator.training
    c, y = draw(256, rng(5))
    error = (generator.sample(c, torch.zeros(256, generator.noise_size)) - y).square().mean().sqrt()
    assert error < 0.05
