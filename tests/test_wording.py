"""Amounts as people write them."""

import math

import pytest

from drift_wm.wording import counted, time_and_parts, two_digits, value_and_error, with_error


@pytest.mark.parametrize(
    ("amount", "shown"), [(0, "0 episodes"), (1, "1 episode"), (2, "2 episodes"), (1234, "1,234 episodes")]
)
def test_one_is_singular(amount, shown):
    assert counted(amount, "episode") == shown


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (112.8711, 0.0282, "112.871 ± 0.028"),
        (873.62, 0.172, "873.62 ± 0.17"),
        (845.0, 5.0, "845.0 ± 5.0"),
        (13672.5, 1327.5, "13,672.5 ± 1,327.5"),
        (-456.15, 56.15, "-456.1 ± 56.1"),
        (0.5, 0.25, "0.50 ± 0.25"),
        (0.012, 0.0034, "0.0120 ± 0.0034"),
        (-0.01, 5.0, "0.0 ± 5.0"),
        (112.9, 1e-9, "112.900 ± 0.000"),  # six digits are enough
        (112.9, 0.0, "112.9 ± 0.0"),
        (0.0, 0.0, "0.0 ± 0.0"),
        (37.6, None, "37.6"),
        (0.0, None, "0.0"),
        (-0.25, None, "-0.25"),
        (1000.0, None, "1,000.0"),
        (math.nan, 1.0, "nan ± 1.0"),
        (1.0, math.inf, "1.0 ± inf"),
    ],
)
def test_a_value_and_its_error_have_the_same_decimals(value, error, shown):
    assert value_and_error(value, error) == shown
    assert " ± ".join(filter(None, with_error(value, error))) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ({"collecting": 1.24, "training": 2.0}, "3.2 seconds, 1.2 of it collecting, 2.0 of it training"),
        ({"collecting": 30.0, "training": 89.4}, "119 seconds, 30 of it collecting, 89 of it training"),
        ({"collecting": 30.0, "training": 90.0}, "2.0 minutes, 0.5 of it collecting, 1.5 of it training"),
        ({"training": 600.0}, "10.0 minutes, 10.0 of it training"),
    ],
)
def test_short_times_are_told_in_seconds(seconds, shown):
    assert time_and_parts(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (872.5, "872"),
        (99.0, "99"),
        (4.04, "4.0"),
        (-0.31, "-0.31"),
        (-3.8, "-3.8"),
        (0.0, "0"),
        (-0.0, "0"),
        (1e-3, "0.0010"),
    ],
)
def test_a_small_value_is_not_rounded_to_nothing(value, shown):
    assert two_digits(value) == shown
