"""Which effect weeks could show, and how long to wait. By simulation: tests/calibration.py."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nct
from scipy.stats import t as student
from statsmodels.stats.power import TTestIndPower

from mctlib.roi import compare_before_after
from mctlib.roi.power import detectable, more_weeks, weeks_to_wait
from tests.support.series import panel, series_of


@pytest.mark.parametrize("n", [4, 10, 40, 1000])
def test_what_is_detectable_is_statsmodels_effect_of_a_power_of_80(n):
    """Two groups of n: the error of their difference is sqrt(2 / n), with 2 n - 2 degrees."""
    exact = TTestIndPower().solve_power(nobs1=n, alpha=0.05, power=0.8)
    found = detectable(np.sqrt(2 / n), 2 * n - 2)
    assert found == pytest.approx(exact, rel=0.03)
    power = nct.sf(student.ppf(0.975, 2 * n - 2), 2 * n - 2, found / np.sqrt(2 / n))
    assert power == pytest.approx(0.8, abs=0.02)
    assert detectable(1.0) == pytest.approx(1.959964 + 0.841621)


def errors(n_pre, n_post, trend):
    """Standard error of an effect by the textbook formulas, weeks independent."""
    if not trend:
        return np.sqrt(1 / n_pre + 1 / n_post)
    apart = (n_pre + n_post) / 2  # of the middles of the two spans
    return np.sqrt(1 / n_post + 1 / n_pre + apart**2 / ((n_pre**3 - n_pre) / 12))


@pytest.mark.parametrize("trend", [False, True])
def test_weeks_to_wait_are_counted_naively(trend):
    se, df, n_pre, n_post = 2.0, 30, 40, 6
    now = errors(n_pre, n_post, trend)
    for share in (1.0, 0.95, 0.85, 0.6, 0.4):
        wish = share * detectable(se, df) + 1e-9
        enough = [
            more
            for more in range(105)
            if detectable(se * errors(n_pre, n_post + more, trend) / now, df) <= wish
        ]
        expected = enough[0] if enough else np.inf
        assert weeks_to_wait(se, df, n_pre, n_post, wish, trend=trend) == expected
    assert weeks_to_wait(se, df, n_pre, n_post, 0.4 * detectable(se, df), trend=trend) == np.inf
    assert np.isnan(weeks_to_wait(se, df, n_pre, n_post, 0.0, trend=trend))
    assert np.isnan(weeks_to_wait(np.nan, df, n_pre, n_post, 1.0, trend=trend))


def test_weeks_that_resemble_each_other_take_longer():
    ask = 1.0, 30, 26, 8, 0.75 * detectable(1.0, 30)
    alone, alike = (weeks_to_wait(*ask, rho=rho) for rho in (0.0, 0.6))
    assert 0 < alone < alike < 104
    assert weeks_to_wait(1.0, 30, 26, 3, 100.0, least=6) == 3


def test_new_users_come_at_the_same_pace():
    """Half the effect takes four times the users: three times the weeks so far, again."""
    assert more_weeks(0.06, 0.03, 4.0) == 12 and more_weeks(0.06, 0.07, 4.0) == 0
    assert np.isnan(more_weeks(0.06, 0.0, 4.0))


def test_the_page_says_which_effect_its_weeks_could_show():
    frame, change = panel(1, n_post=8)
    found = compare_before_after(frame, change_at=change, treated="a", wish=1.0)
    row = found.rungs.set_index("rung").loc["difference-in-differences"]
    half = (row["effect_ci_upper"] - row["effect_ci_lower"]) / 2
    # a little less than half an interval more than it, by 0.84 standard errors
    assert 1.35 * half < row["detectable_effect"] < 1.5 * half
    more = row["more_weeks"]
    (told,) = (c for c in found.caveats if c.startswith("With a power of about 80 %"))
    reach = f"{100 * row['detectable_effect']:.1f} percentage points"
    begin = "With a power of about 80 % the 8 weeks after the change show an effect of "
    assert told.startswith(f"{begin}{reach}, by difference-in-differences; ")
    assert "1.0 percentage points, as wished" in told
    assert ("two more years of weeks would not" in told) == np.isinf(more)
    nothing = compare_before_after(frame, change_at=change, treated="a")
    assert nothing.rungs["more_weeks"].isna().all()
    assert "wished" not in " ".join(nothing.caveats)
    assert nothing.rungs.loc[0, ["detectable_effect"]].isna().all()  # before/after shows nothing


def test_a_count_is_wished_for_in_its_own_unit():
    rng = np.random.default_rng(3)
    frame = series_of(100 + rng.normal(0, 3, 40), kind="count")
    found = compare_before_after(frame, change_at=pd.Timestamp("2025-09-01"), wish=50.0)
    row = found.rungs.set_index("rung").loc["interrupted time series"]
    assert row["detectable_effect"] < 50 and row["more_weeks"] == 0
    assert any("50 a day, as wished, is no less" in c for c in found.caveats)


def test_an_effect_that_is_not_shown_is_ruled_out_or_too_small_for_these_weeks():
    """Stopping is advised only where the interval ends below what was wished for."""
    frame, change = panel(1, lift=0.0)
    for wish in (0.0, 0.5, 40.0):
        found = compare_before_after(frame, change_at=change, treated="a", wish=wish)
        assert found.effect == "not shown"
        best = found.rungs[found.rungs["supported"]].iloc[-1]
        ruled_out = wish / 100 > 0 and best["effect_ci_upper"] < wish / 100
        (action,) = found.actions
        said = "ruled out." if ruled_out else "these weeks show no less than"
        assert said in action.text, (wish, action.text)
    assert ruled_out, "no such change of 40 points"
