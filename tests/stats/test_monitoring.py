"""The weekly alert against its rule written out, on hand-made series, and by simulation.

How often it is false, and what it finds: `tests/calibration.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from mctlib.contract import DataError, ParameterError
from mctlib.stats.monitoring import change_between, slow_drift, tracking_gate, weekly_alerts
from tests.support.weeks import (
    MONDAY,
    false_alarms,
    found_in_time,
    hand_made,
    opened,
    world,
)

QUIET = [0.2] * 16


def states(table: pd.DataFrame) -> list[str]:
    return table["state"].tolist()


# ------------------------------------------------------------------------------------- the oracle


def naive(value, n, variance=None) -> list[int]:
    """The rule for one metric, as its definition reads: the weeks in which an alert opens."""
    usable, found, base = [], [], None
    for week in range(len(value)):
        if base is None and len(usable) >= 12:
            last, line = usable[-12:], usable[-26:]
            p0 = np.average(value[last], weights=n[last])
            fit = np.polyval(np.polyfit(line, value[line], 1, w=np.sqrt(n[line])), line)
            ahead = np.polyval(np.polyfit(last, value[last], 1, w=np.sqrt(n[last])), week)
            one = p0 * (1 - p0) if variance is None else np.average(variance[last], weights=n[last])
            around = fit * (1 - fit) if variance is None else one
            phi = max(1, np.sum(n[line] * (value[line] - fit) ** 2 / around) / (len(line) - 2))
            z = (value[week] - p0) / np.sqrt(phi * one * (1 / n[week] + 1 / n[last].sum()))
            low = value[week] <= 0.9 * p0 and value[week] <= 0.95 * ahead
            if student.cdf(z, len(line) - 2) <= 0.005 and low:
                found.append(week)
                base = p0
                continue
        if base is None:
            usable.append(week)
        elif (value[week - 1 : week + 1] >= 0.95 * base).all() and week > found[-1] + 1:
            base = None
        elif week - found[-1] >= 12:
            usable, base = list(range(found[-1], week + 1)), None
    return found


def test_a_metric_alone_is_alerted_as_the_rule_reads():
    """Each metric by itself, from 12 weeks on; those that fall again soon are left out here."""
    rng = np.random.default_rng(5)
    seen = 0
    for phi, fall in ((1, 0.0), (2, 0.25), (4, 0.2)):
        table = world(rng, metrics=6, phi=phi, fall=fall, holiday=0.2, season=0.12)
        for name, rows in table.groupby("metric"):
            value = (rows["n_success"] / rows["n"]).to_numpy()
            found = weekly_alerts(rows)
            late = [week for week in opened(found, name) if week >= 12]
            expected = naive(value, rows["n"].to_numpy(float))
            if len(expected) <= 1 and not (found["alert"] & found["short_history"]).any():
                assert late == expected
                seen += len(expected)
    assert seen >= 5


def test_a_mean_is_alerted_as_the_rule_reads():
    rng = np.random.default_rng(6)
    n = rng.integers(800, 1_200, 60)
    value = 9 + rng.normal(0, 0.15, 60)
    value[40:] *= 0.75
    variance = np.full(60, 16.0)
    week = MONDAY + pd.to_timedelta(7 * np.arange(60), unit="D")
    rows = {"metric": "m", "week": week, "n": n, "value": value, "variance": variance}
    assert opened(weekly_alerts(pd.DataFrame(rows))) == naive(value, n, variance) == [40]


def test_a_ratio_is_judged_by_its_own_weeks_scatter():
    """Weeks 5 % apart: a fall of 12 % may be chance, one of 30 % is not; n says nothing of it."""
    rng = np.random.default_rng(7)
    value = 2.0 * (1 + 0.05 * rng.standard_normal(40))
    week = MONDAY + pd.to_timedelta(7 * np.arange(40), unit="D")
    for last, state in ((0.88, "may be chance"), (0.7, "open")):
        value[39] = last * value[27:39].mean()
        rows = {"metric": "m", "week": week, "n": 10**6, "value": value, "variance": np.nan}
        assert states(weekly_alerts(pd.DataFrame(rows)))[-1] == state


def test_the_numbers_of_a_week_are_those_of_a_hand_count():
    """12 weeks of 200 in 1,000, then 160: p0 .2, z = -.04 / sqrt(.16 (1/1000 + 1/12000))."""
    week = MONDAY + pd.to_timedelta(7 * np.arange(13), unit="D")
    success = [200] * 12 + [160]
    rows = pd.DataFrame({"metric": "m", "week": week, "n": 1000, "n_success": success})
    last = weekly_alerts(rows).iloc[-1]
    error = np.sqrt(0.16 * (1 / 1000 + 1 / 12000))
    assert last["p0"] == pytest.approx(0.2)
    assert last["forecast"] == pytest.approx(0.2)
    assert last["pvalue"] == pytest.approx(student.cdf(-0.04 / error, 10))
    half = student.ppf(0.975, 10) * error / 0.2
    assert last["rel_change"] == pytest.approx(-0.2)
    assert last["rel_change_ci_lower"] == pytest.approx(-0.2 - half)
    # d = max(k s0, .10) + .84 s1 holds for the fall that is printed
    d, k = last["detectable_fall"], student.ppf(0.995, 10)
    s0 = np.sqrt(0.8 / 0.2 * 13 / 12 / 1000)
    s1 = np.sqrt(((1 - d) * (1 - 0.2 * (1 - d)) + 0.8 / 12) / 200)
    assert d == pytest.approx(max(k * s0, 0.10) + 0.84 * s1, rel=1e-6)


def test_detectable_falls_are_those_of_the_published_table():
    """In per cent, for n, p and phi 1; "cannot be seen" above 85 %. Rounded there, and of df 24."""
    for n, p, said in ((1_000, 0.05, 49), (1_000, 0.2, 23), (5_000, 0.2, 12), (20_000, 0.05, 13)):
        week = MONDAY + pd.to_timedelta(7 * np.arange(27), unit="D")
        rows = pd.DataFrame({"metric": "m", "week": week, "n": n, "n_success": round(n * p)})
        found = weekly_alerts(rows)["detectable_fall"].iloc[-1]
        assert 100 * found == pytest.approx(said, abs=0.6)
    few = pd.DataFrame({"metric": "m", "week": week, "n": 100, "n_success": 2})
    assert np.isnan(weekly_alerts(few)["detectable_fall"].iloc[-1])


# ------------------------------------------------------------------------------- states, by hand


def test_an_alert_opens_is_severe_and_recovers_after_two_weeks_back():
    found = weekly_alerts(hand_made([*QUIET, 0.16, 0.16, 0.196, 0.196, 0.2]))
    assert states(found)[-5:] == ["open", "open", "open", "recovered", ""]
    assert opened(found) == [16]
    assert set(found["severity"][16:20]) == {"severe"}
    assert found["p0"][16:20].nunique() == 1, "the level before it stays while it is open"
    assert found["since"][16:20].nunique() == 1


def test_one_week_back_does_not_close_an_alert():
    found = weekly_alerts(hand_made([*QUIET, 0.16, 0.2, 0.16, 0.2, 0.16]))
    assert states(found)[-5:] == ["open"] * 5
    assert opened(found) == [16]


def test_a_fall_of_twelve_weeks_is_the_new_level_and_not_told_again():
    found = weekly_alerts(hand_made([*QUIET, *[0.16] * 25, 0.128]))
    assert states(found)[16:28] == ["open"] * 12
    assert states(found)[28:41] == ["new level", *[""] * 12]
    assert opened(found) == [16, 41]
    assert found["p0"].iloc[-1] == pytest.approx(0.16, rel=0.01)


def test_an_alert_that_comes_back_within_eight_weeks_keeps_its_name_and_is_no_news():
    back = [0.2, 0.2]
    for quiet, news in ((6, [16]), (8, [16, 27])):
        found = weekly_alerts(hand_made([*QUIET, 0.16, *back, *[0.2] * quiet, 0.16]))
        last = found.iloc[-1]
        assert last["state"] == "open"
        assert opened(found) == news
        assert (last["since"] == MONDAY + pd.Timedelta(weeks=16)) == (news == [16])


def test_weeks_that_are_left_out_neither_alert_nor_count():
    holiday = MONDAY + pd.Timedelta(days=7 * 16 + 3)
    values = [*QUIET, 0.1, 0.2]
    found = weekly_alerts(hand_made(values), skip=[holiday])
    assert states(found)[-2:] == ["left out", ""]
    assert found["p0"].iloc[-1] == pytest.approx(0.2, rel=0.001)
    assert opened(weekly_alerts(hand_made(values))) == [16]


def test_short_history_is_said_and_with_less_nothing_is_alerted():
    found = weekly_alerts(hand_made([*[0.2] * 8, 0.16]))
    assert found["short_history"].iloc[-1]
    assert opened(found) == [8]
    found = weekly_alerts(hand_made([*[0.2] * 7, 0.1]))
    assert states(found)[-1] == "no baseline"
    assert found["p0"].iloc[-1] == pytest.approx(0.2, rel=0.01)
    assert found["rel_change"].iloc[-1] == pytest.approx(-0.5, abs=0.01)


def test_a_fall_of_a_mean_without_scatter_is_shown_though_it_cannot_be_judged():
    week = MONDAY + pd.to_timedelta(7 * np.arange(17), unit="D")
    rows = {"metric": "m", "week": week, "n": 500, "value": [10.0] * 16 + [5.0], "variance": 0.0}
    last = weekly_alerts(pd.DataFrame(rows)).iloc[-1]
    assert (last["state"], last["p0"], last["rel_change"]) == ("no baseline", 10.0, -0.5)
    assert np.isnan(last["rel_change_ci_lower"])


def test_a_fall_that_may_be_chance_is_shown_as_such():
    found = weekly_alerts(hand_made([*QUIET, 0.175], n=500))
    assert states(found)[-1] == "may be chance"
    assert not found["alert"].any()


def test_a_steep_trend_is_no_fall_where_the_line_foresaw_it():
    values = [0.4 * 0.98**week for week in range(30)]
    assert not weekly_alerts(hand_made(values))["alert"].any()
    assert opened(weekly_alerts(hand_made([*values[:29], 0.88 * values[29]]))) == [29]


def test_rises_are_alerted_where_they_are_bad():
    rise = hand_made([*QUIET, 0.24])
    assert not weekly_alerts(rise)["alert"].any()
    for bad in ("up", "both", {"m": "up"}):
        last = weekly_alerts(rise, bad=bad).iloc[-1]
        assert (last["alert"], last["side"]) == (True, 1)
    assert not weekly_alerts(hand_made([*QUIET, 0.16]), bad="up")["alert"].any()


def test_thresholds_are_each_metrics_own():
    fall = pd.concat([hand_made([*QUIET, 0.17], metric=name) for name in "ab"])
    found = weekly_alerts(fall, threshold={"a": 0.2}, severe={"b": 0.12})
    assert opened(found, "a") == []
    assert found[found["alert"]]["severity"].tolist() == ["severe"]


def everything(last: dict[str, list[float]]) -> pd.DataFrame:
    return pd.concat([hand_made([*QUIET, *end], metric=name) for name, end in last.items()])


def test_where_everything_moved_a_metric_alerts_only_beside_the_others():
    fall = [0.17]
    found = weekly_alerts(everything({"a": fall, "b": fall, "c": fall, "d": fall, "e": [0.12]}))
    now = found[found["week"] == found["week"].max()].set_index("metric")
    assert now["common_cause"].all()
    assert now.index[now["alert"]].tolist() == ["e"]
    assert now.loc["a", "state"] == "everything moved"
    three = weekly_alerts(everything(dict.fromkeys("abc", fall)))
    assert not three["common_cause"].any()
    assert three["alert"].sum() == 3


def test_a_shift_of_everything_that_lasts_is_learnt():
    """At most two of its weeks are no baseline: after 12 more the level is the new one."""
    found = weekly_alerts(everything(dict.fromkeys("abcd", [0.17] * 26)))
    assert found.loc[found["metric"] == "a", "p0"].iloc[-1] == pytest.approx(0.17, rel=0.01)
    assert not found["alert"].any()


def test_weeks_without_a_row_or_without_users_are_no_weeks():
    table = hand_made([*QUIET, 0.2, 0.16])
    assert opened(weekly_alerts(table.drop(index=[3, 9]))) == [17]
    empty = table.assign(n=table["n"].where(table.index != 9, 0))
    empty["n_success"] = empty["n_success"].where(empty["n"] > 0, 0)
    assert opened(weekly_alerts(empty)) == [17]


def test_a_week_may_be_written_as_a_day_and_in_utc():
    table = hand_made([*QUIET, 0.16])
    plain = weekly_alerts(table, skip=["2025-02-05"])
    texts = table.assign(week=table["week"].dt.strftime("%Y-%m-%d"))
    for other in (texts, table.assign(week=table["week"].dt.tz_localize("UTC"))):
        pd.testing.assert_frame_equal(weekly_alerts(other, skip=["2025-02-05"]), plain)
    assert weekly_alerts(table.head(0)).empty


def test_an_order_of_rows_does_not_matter():
    table = everything({"a": [0.16, 0.16], "b": [0.2, 0.2]})
    mixed = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(weekly_alerts(table), weekly_alerts(mixed))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="n"), '"n" is missing'),
        (lambda t: t.assign(n_success=2 * t["n"]), "n_success between 0 and n"),
        (lambda t: pd.concat([t, t]), "twice"),
        (lambda t: t.assign(week="soon"), "must hold days"),
        (lambda t: t.assign(week=MONDAY + pd.to_timedelta(range(len(t)), unit="D")), "7 days"),
        (lambda t: t.assign(n="many"), "must hold numbers"),
        (lambda t: t.assign(metric=["m", None] * 8), '"metric" is missing'),
        (lambda t: t.assign(n=np.inf), "must be finite"),
        (lambda t: t.assign(variance=-1.0), "a variance 0 or more"),
        (lambda t: t.assign(week=range(len(t))), "must hold days"),
        (lambda t: t.assign(week=t["week"] + pd.to_timedelta([0, 6] * 8, unit="h")), "7 days"),
        (lambda t: t.assign(n_success=[1.0, np.nan] * 8), "without n_success"),
        (lambda t: t.assign(n_success=np.nan, value=np.nan, variance=1.0), "of a mean: value"),
    ],
)
def test_a_table_that_cannot_be_is_refused(change, said):
    with pytest.raises(DataError, match=said):
        weekly_alerts(change(hand_made(QUIET)))


def test_what_is_asked_must_be_known():
    with pytest.raises(ParameterError, match='"donw" is none.*Did you mean "down"'):
        weekly_alerts(hand_made(QUIET), bad="donw")
    with pytest.raises(ParameterError, match="threshold: 10 is no share"):
        weekly_alerts(hand_made(QUIET), threshold=10)
    for asked in ({"threshold": {"mm": 0.1}}, {"severe": {"mm": 0.1}}, {"bad": {"mm": "up"}}):
        with pytest.raises(ParameterError, match='no metric "mm".*Did you mean "m"'):
            weekly_alerts(hand_made(QUIET), **asked)
    for level in (0, 0.6, 5, "0.005"):
        with pytest.raises(ParameterError, match="level: .* is no p-value"):
            weekly_alerts(hand_made(QUIET), level=level)
    for skip in (None, "2026-06-29", 5):
        with pytest.raises(ParameterError, match="skip: must be a list of days"):
            weekly_alerts(hand_made(QUIET), skip=skip)
    with pytest.raises(ParameterError, match="is none of down"):
        weekly_alerts(hand_made(QUIET), bad=["down"])
    assert not weekly_alerts(hand_made(QUIET), threshold=np.float32(0.1), level=0.005).empty


def test_weeks_may_begin_at_another_hour_or_in_a_zone():
    table = hand_made([*QUIET, 0.16])
    plain = weekly_alerts(table, skip=["2025-02-05"])
    at_six = table.assign(week=table["week"] + pd.Timedelta("6h"))
    local = table.assign(week=table["week"].dt.tz_localize("Europe/Berlin"))
    for other in (at_six, local):
        found = weekly_alerts(other, skip=["2025-02-03"])
        assert found["state"].tolist() == plain["state"].tolist()


# ---------------------------------------------------------------------------------------- beside it


def test_a_slow_drift_is_a_note_and_last_years_same_movement_is_none():
    slide = [0.2] * 20 + [0.2 * 0.97**k for k in range(1, 9)]
    noted = slow_drift(hand_made(slide))
    assert noted["metric"].tolist() == ["m"]
    now, before = np.mean(slide[-4:]), np.mean(slide[-16:-4])
    assert noted["rel_change"][0] == pytest.approx(now / before - 1, rel=0.05)
    assert slow_drift(hand_made([0.2] * 30)).empty
    assert not slow_drift(hand_made([*slide, *[0.2] * 44, *slide])).empty, "not in that week"
    every_year = [0.2] * 44 + slide[20:]
    assert slow_drift(hand_made([*every_year, *every_year])).empty
    new_a_year_ago = [0.0] * 40 + [0.2] * 36
    assert slow_drift(hand_made([*new_a_year_ago, *[0.2] * 4])).empty
    assert not slow_drift(hand_made([*new_a_year_ago, *[0.15] * 4])).empty


def test_the_gate_dates_a_loss_and_learns_it_after_twelve_weeks():
    share = [0.9] * 16 + [0.7] * 20
    found = tracking_gate(hand_made(share, n=400, metric="profile_completed android"))
    lost = found[found["lost"]]
    assert len(lost) == 13
    assert (lost["since"] == MONDAY + pd.Timedelta(weeks=16)).all()
    assert not tracking_gate(hand_made([*[0.9] * 16, 0.7], n=40))["lost"].any(), "too few"
    assert not tracking_gate(hand_made([*[0.9] * 16, 0.87], n=9_000))["lost"].any(), "3 points"
    assert tracking_gate(hand_made([*[1.0] * 16, 0.9], n=500))["lost"].iloc[-1]


# ------------------------------------------------------- simulation; more in tests/calibration.py


def test_false_alarms_and_falls_of_a_few_worlds():
    each, weeks = false_alarms(2)
    assert each <= 0.012
    assert weeks <= 0.14
    assert found_in_time(25) >= 0.75


YEAR = pd.date_range("2025-01-06", periods=56, freq="7D")


def on_a_year_before(value, apart=(), **more):
    """Ends of the change between the first and the last four of 56 weeks."""
    about = {"metric": "x", "week": YEAR, "n": 2000.0, "value": value, "variance": np.nan}
    found = change_between(pd.DataFrame(about | more), YEAR[:4], YEAR[-4:], apart)
    return np.array([found["change_ci_lower"], found["change_ci_upper"]])


def test_a_change_on_a_year_before_is_that_of_a_hand_count():
    """A share of 25 and then 30 %, which scatters less than chance: chance's variance is known."""
    half = 1.959964 * np.sqrt((0.25 * 0.75 + 0.3 * 0.7) / 8000)
    found = on_a_year_before(0.0, n_success=np.repeat([500.0, 600.0], 28))
    assert found == pytest.approx([0.05 - half, 0.05 + half], rel=1e-6)


def test_runs_of_good_and_bad_weeks_make_a_change_on_a_year_before_less_sure():
    runs = 0.25 + 0.02 * np.sin(2 * np.pi * np.arange(56) / 7)
    mixed = np.random.default_rng(4).permutation(runs)
    assert np.ptp(on_a_year_before(runs)) > 1.5 * np.ptp(on_a_year_before(mixed))


def test_weeks_of_an_alert_do_not_widen_a_change_on_a_year_before():
    value = 0.25 + np.random.default_rng(5).normal(0, 0.002, 56)
    value[30:36] -= 0.1
    alone = on_a_year_before(value, apart=YEAR[30:36])
    assert np.ptp(alone) < np.ptp(on_a_year_before(value)) / 5
