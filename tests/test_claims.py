"""Cells of the tables that comparisons write."""

import pytest

from drift_wm.claims import mean_and_error


@pytest.mark.parametrize(
    ("values", "digits", "shown"),
    [
        ([], 3, "-"),
        ([0.25, 0.25], 3, "0.250 ± 0.000"),
        ([10.0, 14.0], 1, "12.0 ± 2.0"),
        ([0.4948, 0.4958, 0.4968], 3, "0.4958 ± 0.0006"),
        ([0.0009, 0.0011], 3, "0.0010 ± 0.0001"),
        ([-44.1, -43.7], 0, "-43.9 ± 0.2"),
        ([0.00002], 3, "0.00002"),
        ([-0.0004], 3, "-0.0004"),
        ([0.004], 3, "0.004"),
        ([0.0], 3, "0.000"),
        ([-1e-9], 3, "0.000"),
        ([7.0], 0, "7"),
        ([float("nan")], 3, "nan"),
    ],
)
def test_a_mean_has_the_decimals_that_show_something_of_its_error(values, digits, shown):
    assert mean_and_error(values, digits=digits) == shown
