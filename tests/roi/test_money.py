"""Money: amounts in words, a cost that goes with the gain, what an arm brought."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from mctlib import phrases, stats
from mctlib.contract import ParameterError
from mctlib.eventlog.daily_metric import Rate, daily_metric
from mctlib.eventlog.event_log import EventLog
from mctlib.roi import Money, compare_arms, compare_before_after, value_of_speed
from mctlib.roi.money import payback
from mctlib.roi.rung import Rung
from tests.support.series import series_of


def test_amounts_have_their_currency_and_cents_where_they_matter():
    say = phrases.amount
    assert [say(x, "EUR") for x in (12000, 45.0, 45.5, 99.999, 1683.7, -3.25)] == [
        "12,000 EUR",
        "45 EUR",
        "45.50 EUR",
        "100 EUR",
        "1,684 EUR",
        "-3.25 EUR",
    ]
    assert say(1684, "EUR", 459.2, 2908) == "1,684 EUR (459 to 2,908)"
    assert say(1684, "EUR", 459, 2908, per="day") == "1,684 EUR a day (459 to 2,908)"
    assert say(12, "EUR", signed=True) == "+12 EUR"
    assert say(45, "") == "45 units of money"  # never a bare number beside users


@pytest.mark.parametrize("covariance", [-900.0, 0.0, 900.0])
def test_the_ends_of_fieller_are_where_the_ratio_is_just_not_rejected(covariance):
    value, cost, v, c, q = 150.0, 100.0, 40.0**2, 25.0**2, 1.96
    low, high = stats.fieller(value, v, cost, c, q, covariance=covariance)

    def off(ratio):
        return (value - ratio * cost) ** 2 / (v - 2 * ratio * covariance + ratio**2 * c)

    assert [off(low), off(high)] == pytest.approx([q**2, q**2]) and low < 1.5 < high
    assert off(low - 0.01) > q**2 > off(low + 0.01)


def test_a_cost_that_goes_with_the_gain_makes_the_return_surer():
    """Gain 100 +- 20, cost 50 +- 10: with correlation 1 they are always in the ratio of 2."""
    effect = Rung("x", effect=1.0, se=0.2, low=0.608, high=1.392, df=np.inf)
    exposed = pd.Series(1.0, pd.date_range("2026-01-01", periods=10))
    gain = pd.DataFrame(dict.fromkeys(["gain_amount", "gain_amount_ci_lower"], 0.0), exposed.index)
    gain["gain_amount_ci_upper"] = 0.0
    widths = []
    for correlation in (-0.9, 0.0, 0.9, 0.999999):
        money = Money(10.0, (50.0, 10.0, correlation), currency="EUR")
        row = payback(effect, exposed, gain, money).iloc[0]
        assert row["roi"] == pytest.approx(1.0) and row["currency"] == "EUR"
        widths.append(row["roi_ci_upper"] - row["roi_ci_lower"])
        spread = np.sqrt(20**2 + 10**2 - 2 * correlation * 20 * 10)
        assert row["p_positive"] == pytest.approx(ndtr(50 / spread))
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.01
    plain = payback(effect, exposed, gain, Money(10.0, (50.0, 10.0))).iloc[0]
    assert plain["roi_ci_upper"] - plain["roi_ci_lower"] == pytest.approx(widths[1])
    for wrong in ((50, 10, 2), (50, 10, "much"), (50, 10, 0, 0), (50,)):
        with pytest.raises(ParameterError, match="may have the correlation with the gain"):
            Money(10.0, wrong)


# ---- randomised arms on top of the ladder


def launched(lift, seed=1, n=16_000, share=0.8):
    """Sign-ups of 250 days; from day 200 on users are put into arms when they come."""
    rng = np.random.default_rng(seed)
    came = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.uniform(0, 250, n), "D")
    new = rng.random(n) < share
    arm = np.where(came < pd.Timestamp("2024-07-19", tz="UTC"), None, np.where(new, "new", "old"))
    did = rng.random(n) < np.where(arm == "new", 0.3 + lift, 0.3)
    user = np.array([f"u{i}" for i in range(n)])
    start = pd.DataFrame({"user_id": user, "event": "signed_up", "timestamp": came})
    acts = came + pd.to_timedelta(rng.exponential(1, n), "D")
    posted = pd.DataFrame({"user_id": user, "event": "posted", "timestamp": acts})[did]
    people = pd.DataFrame({"user_id": user, "channel": arm})
    return EventLog.from_frame(pd.concat([start, posted]), people=people)


def both(log, *, shares=None, **more):
    ask = {"change_at": "2024-07-19", "as_of": "2024-09-06"}
    series = daily_metric(log, Rate("posted", of="signed_up", window="7d"), as_of=ask["as_of"])
    arms = compare_arms(
        log,
        "posted",
        of="signed_up",
        by="channel",
        window="7d",
        reference="old",
        shares=shares or {"new": 0.8, "old": 0.2},
        kind="rate",
        wish=3.0,
        **ask,
    )
    found = compare_before_after(series, change_at=ask["change_at"], arms=arms, wish=3.0, **more)
    return arms, found


def test_the_arms_speak_where_there_are_any_and_money_is_theirs():
    log = launched(0.08)
    arms, found = both(log, money=Money(45, 1000, currency="EUR"))
    top, row = found.rungs.iloc[-1], arms.arms.iloc[0]
    assert top["rung"] == "randomised arms" and (found.comparison, found.effect) == (
        "supported",
        "shown",
    )
    columns = ["effect", "effect_ci_lower", "effect_ci_upper", "pvalue", "detectable_effect"]
    assert top[columns].tolist() == row[columns].tolist()
    assert found.details[1].startswith("By randomised arms, new against old, +")
    paid = found.money.iloc[0]
    assert paid["n"] == row["n_users"] == arms.days.query("segment == 'new'")["n_users"].sum()
    assert paid["incremental"] == pytest.approx(row["effect"] * row["n_users"])
    assert paid["value_amount"] == pytest.approx(45 * paid["incremental"])
    ends = [paid[f"roi_ci_{end}"] for end in ("lower", "upper")]
    lifts = [row[f"effect_ci_{end}"] for end in ("lower", "upper")]
    centre = sum(ends) / 2
    assert ends[1] - ends[0] == pytest.approx((lifts[1] - lifts[0]) * 45 * row["n_users"] / 1000)
    assert centre == pytest.approx(paid["roi"])  # a normal error: half of the interval each way
    assert found.details[2] == (
        f"For the users of the arm that is {paid['incremental']:+,.0f} successes, at 45 EUR a "
        "success and a cost of 1,000 EUR."
    )
    gain = found.path["gain_amount"].dropna()
    assert gain.is_monotonic_increasing and 0 < gain.iloc[-1] <= paid["value_amount"]
    assert not any("No control group" in c for c in found.caveats)
    assert any("3.0 percentage points, as wished" in c for c in found.caveats)


def test_arms_that_cannot_be_compared_leave_the_word_to_the_next_comparison():
    log = launched(0.08)
    arms, found = both(log, shares={"new": 0.5, "old": 0.5})
    assert arms.comparison == "not supported" and not found.rungs["supported"].iloc[-1]
    assert found.reason.startswith("Interrupted time series")
    assert any(d.startswith("Not used was randomised arms: the arms hold") for d in found.details)
    series = daily_metric(log, Rate("posted", of="signed_up", window="7d"), as_of="2024-09-06")
    nobody = compare_arms(log, "posted", of="signed_up", by="", window="7d", change_at="", as_of="")
    plain = compare_before_after(series, change_at="2024-07-19", arms=nobody)
    assert plain.rungs["reason"].iloc[-1].startswith("nothing here says that chance decided")
    means = compare_before_after(
        series.table.drop(columns=["n_success", "kind"]), change_at="2024-07-19", arms=arms
    )
    assert means.kind == "mean" and "compared by a rate of users" in means.rungs["reason"].iloc[-1]


# ---- days on which nothing was recorded


def holed(weekly, silent):
    """A daily count of these weekly means, low on Sundays, unknown on some days."""
    frame = series_of(weekly, kind="count")
    low = frame["day"].dt.dayofweek == 6
    value = frame["value"].where(~low, frame["value"] / 4)
    unknown = frame["day"].isin(pd.to_datetime(silent))
    return frame.assign(value=value.where(~unknown), n=value.where(~unknown, 0))


def test_days_without_any_record_do_not_make_a_fall():
    """A level of 100 with noise; two days of week 28 and the Sunday of week 29 are lost."""
    weekly = 100 + np.random.default_rng(2).normal(0, 2, 40)
    silent = ["2025-07-29", "2025-07-30", "2025-08-10"]
    whole, lost = (
        compare_before_after(holed(weekly, days), change_at="2025-07-21") for days in ([], silent)
    )
    assert whole.kind == lost.kind == "count"
    observed = lost.path["observed"].to_numpy()
    np.testing.assert_allclose(observed, whole.path["observed"], rtol=0.01)
    # five of six usual days and a Sunday of a quarter; and a week without that quarter
    weekday, sunday = 7 / 6.25, 7 * 0.25 / 6.25
    n = lost.path["n"].to_numpy()
    assert n[29] == pytest.approx(7 - 2 * weekday, rel=0.01)
    assert n[30] == pytest.approx(7 - sunday, rel=0.01) and n[31] == pytest.approx(7, rel=0.01)
    told = "Nothing at all was recorded on 29 July 2025, 30 July 2025 and 10 August 2025"
    assert any(told in c for c in lost.caveats)
    assert not any("Nothing at all" in c for c in whole.caveats)
    zeros = holed(weekly, silent).fillna({"value": 0.0})
    naive = compare_before_after(zeros, change_at="2025-07-21")
    assert naive.path["observed"].min() < 0.75 * observed.min()


def test_what_slowness_cost_leaves_them_out_too():
    weekly = np.r_[np.full(17, 100.0), np.full(7, 80.0)]
    responses = pd.DataFrame({"alert_id": ["booked-2025-05-05"], "detected_on": ["2025-05-19"]})
    frame = holed(weekly, ["2025-05-06", "2025-05-07"]).assign(events="booked")
    found = value_of_speed(frame, responses, money=Money(3.0, currency="EUR"))
    # 20 of 100 a day, but on Sundays 5, of two weeks
    assert found.stages["missed"].iloc[0] == pytest.approx(2 * (6 * 20 + 5), rel=0.01)
    assert found.stages["currency"].eq("EUR").all() and " EUR a day (" in found.details[0]
    assert any("Nothing at all was recorded on 6 May 2025" in c for c in found.caveats)
    bare = value_of_speed(frame, responses, money=Money(3.0))
    assert "units of money" in bare.finding and "EUR" not in bare.finding
