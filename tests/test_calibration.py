"""The table of `tests/calibration.py` with 400 data sets a line."""

import pytest

from tests import calibration
from tests.support.calibration import Row, page_of


@pytest.mark.simulation
@pytest.mark.parametrize("function", calibration.ALL, ids=lambda f: f.__name__)
def test_intervals_and_tests_keep_their_promise(function):
    assert not [row for row in function(400) if not row.holds]


def test_the_page_tells_what_fails_first_and_asks_for_nothing():
    rows = [Row("Good <b>", "a world", 0.95, 0.93, 0.97), Row("Bad", "another", 0.5, 0.93, 0.97)]
    page = page_of(rows, 2000)
    assert "1 of 2 promises do not hold" in page
    assert page.index(">Bad<") < page.index("Good &lt;b&gt;")
    assert "http" not in page.replace("http-equiv", "")
    assert "All 1 promises hold." in page_of(rows[:1], 400)
