"""The table of `tests/calibration.py` with 400 data sets a line."""

import pytest

from tests import calibration


@pytest.mark.simulation
@pytest.mark.parametrize("function", calibration.ALL, ids=lambda f: f.__name__)
def test_intervals_and_tests_keep_their_promise(function):
    assert not [row for row in function(400) if not row.holds]
