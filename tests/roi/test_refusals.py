"""Before/after: what supports nothing is refused and said, and what a change was worth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

from mctlib import plots
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.daily_metric import DailyMetric
from mctlib.roi import Money, compare_before_after, value_of_speed
from mctlib.roi import rung as roi
from mctlib.roi.weeks import checked, weekly
from mctlib.stats.regression import fit_ar1
from tests.support.series import ar1, noise, panel, series_of

# ----------------------------------------------------------------------------------------- refusals


def test_a_short_history_is_descriptive_only():
    frame, change = series_of(0.2 + 0.01 * noise(1, 20) + 0.1 * (np.arange(20) >= 11), n_pre=11)
    result = compare_before_after(frame, change_at=change)
    assert result.verdict == "not supported" and not result.rungs["supported"].any()
    assert "descriptive only: 11 whole weeks before and 9 after" in result.details[0]
    assert result.money["incremental"].isna().all() and len(result.path) == 20


def test_groups_that_drifted_apart_before_are_no_control():
    frame, change = panel(2, apart=0.008, drift=0)
    result = compare_before_after(frame, change_at=change, treated="a")
    rungs = result.rungs.set_index("rung")
    assert not rungs.loc[roi.DID, "supported"] and "drifted apart" in rungs.loc[roi.DID, "reason"]
    assert rungs.loc[roi.ITS, "supported"] and result.reason.startswith("Interrupted time series")
    told = "Not used was difference-in-differences: treated and control drifted apart"
    assert any(text.startswith(told) for text in result.details)


def test_placebo_dates_that_look_alike_make_it_inconclusive():
    # what happened after the change happened before without one: twelve weeks nearly as high, half
    # a year earlier
    week = np.arange(78)
    bump = 0.04 * ((week >= 30) & (week < 42)) + 0.05 * (week >= 65)
    frame, change = series_of(0.3 + bump + 0.01 * noise(3, 78), n_pre=65)
    result = compare_before_after(frame, change_at=change)
    its = result.rungs.set_index("rung").loc[roi.ITS]
    assert its["pvalue"] < 0.05 < its["placebo_pvalue"] and its["supported"]
    assert its["verdict"] == result.effect == result.verdict == "inconclusive"
    assert result.details[0].startswith("Inconclusive") and "placebo dates" in result.details[0]
    told = "placebo dates look like effects although nothing changed: on this series effects are"
    assert any(told in caveat for caveat in result.caveats)


def test_placebo_pvalue_counted_naively():
    values = 0.3 + 0.01 * noise(5, 70, 0.4) + 0.02 * (np.arange(70) >= 60)
    frame, change = series_of(values, n_pre=60)

    def apart(part, n_pre):
        """Mean of the weeks after, less that of the line through those before, extended."""
        time = np.arange(len(part)) - n_pre
        line = np.polyval(np.polyfit(time[:n_pre], part[:n_pre], 1), time)
        return (part - line)[n_pre:].mean()

    def fit(part, n_pre):
        time = np.arange(len(part)) - float(n_pre)
        post = time >= 0
        x = np.c_[np.ones(len(part)), time, post, time * post]
        found = fit_ar1(part, x, np.full(len(part), 700.0), time)
        weights = np.array([apart(week, n_pre) for week in np.eye(len(part))])
        noise = found.sigma2 / 700 * found.rho ** np.abs(time[:, None] - time)
        t = apart(part, n_pre) / np.sqrt(weights @ noise @ weights)
        return 2 * sps.t.sf(abs(t), found.df), found.rho

    ends = [(60, 70), *((start, start + 10) for start in range(12, 51))]
    pvalue, rho = np.array([fit(values[:end], start) for start, end in ends]).T
    n_extreme = (pvalue[1:] <= pvalue[0]).sum()
    # what the estimate of each date makes of noise in which nothing changes
    draws = ar1(np.random.default_rng(8), (20_000, 70), rho[0])
    effect = np.array([[apart(d[:end], start) for start, end in ends] for d in np.eye(70)])
    effect = np.abs(draws @ np.where(np.isnan(effect), 0, effect))
    effect /= np.sqrt((effect**2).mean(axis=0))
    expected = ((effect[:, 1:] >= effect[:, :1]).sum(axis=1) <= n_extreme).mean()
    assert expected > 1.1 * (1 + n_extreme) / 40
    assert compare_before_after(frame, change_at=change).rungs.set_index("rung").loc[
        roi.ITS, "placebo_pvalue"
    ] == pytest.approx(expected, abs=0.015)


TIMELINE = pd.DataFrame(
    {
        "day": ["2025-03-03", "2025-03-10", "2020-01-01", "2025-03-11"],
        "kind": ["competitor", "release", "release", "release"],
        "label": ["rival", "new SDK", "old", "other"],
        "micro_conversions": [None, "booked", None, "unrelated"],
        "note": [None, "tracking rewritten", "tracking", "tracking"],
    }
)


def test_weeks_that_do_not_differ_support_nothing():
    nothing = pd.concat([series_of(np.zeros(24), segment=s) for s in "ab"])
    result = compare_before_after(nothing, change_at="2025-04-07", treated="a")
    assert result.verdict == "not supported" and "do not differ at all" in result.details[0]


@pytest.mark.parametrize("kind", ["rate", "count", "mean"])
@pytest.mark.parametrize("level", [0.1, 1 / 3, 0.25, 1.0])
def test_a_level_that_never_moves_supports_nothing_for_all_rounding(kind, level):
    result = compare_before_after(
        series_of(np.full(50, level), kind=kind), change_at="2025-10-13", money=Money(1, 1)
    )
    assert (
        result.verdict == "not supported"
        and "do not differ at all" in result.details[0]
        and not any("break even" in c for c in result.caveats)
    )


def test_controls_that_are_the_treated_support_nothing_against_them():
    own = series_of(0.2 + 0.01 * noise(2, 50) + 0.05 * (np.arange(50) >= 40), segment="t")
    result = compare_before_after(
        pd.concat([own, *(own.assign(segment=s) for s in "abcd")]),
        change_at="2025-10-13",
        treated="t",
        money=Money(1, 1),
    )
    rungs = result.rungs.set_index("rung")
    told = rungs.loc[[roi.DID, roi.SYNTHETIC]]
    assert not told["supported"].any() and told["reason"].str.contains("do not differ").all()
    assert rungs.loc[roi.ITS, "supported"] and rungs.loc[roi.ITS, "effect"] == pytest.approx(
        0.05, abs=0.02
    )  # its own trend can still be told


def test_an_exact_trend_is_no_effect_and_has_no_price():
    result = compare_before_after(
        series_of(np.linspace(0.1, 0.3, 50)), change_at="2025-10-13", money=Money(1, 1)
    )
    assert result.rungs.set_index("rung").loc[roi.ITS, "effect"] == 0 and result.details[
        0
    ].startswith("No effect of the change")
    assert result.effect == "not shown" and result.money.filter(like="amount").isna().all(axis=None)


def test_controls_without_a_level_are_said_to_have_none():
    own = series_of(100 + noise(1, 50), segment="t", kind="count")
    empty = [series_of(np.zeros(50), segment=s, kind="count") for s in "ab"]
    elsewhere = [
        series_of(100 + noise(k, 20), segment=str(k), kind="count", start="2020-01-06")
        for k in (3, 4)
    ]
    for others in (empty, elsewhere):
        rungs = compare_before_after(
            pd.concat([own, *others]), change_at="2025-10-13", treated="t"
        ).rungs.set_index("rung")
        told = "no control segment has users in the weeks that are compared"
        assert rungs.loc[roi.DID, "reason"] == told and rungs.loc[roi.ITS, "supported"]
        assert "none has them" in rungs.loc[roi.SYNTHETIC, "reason"]


def test_a_missing_day_of_a_count_is_not_taken_for_zero():
    full = series_of(np.full(50, 100.0), kind="count")
    weekdays = full[(full["day"] < "2025-10-13") | (full["day"].dt.dayofweek < 5)]
    with pytest.raises(DataError, match="row for every day.*; 2025-10-18 of segment all has none"):
        compare_before_after(weekdays, change_at="2025-10-13")
    late = series_of(
        np.full(30, 50.0), kind="count", start="2025-05-29", segment="late"
    )  # a segment that comes on a Thursday: its own whole weeks only
    daily = checked(DailyMetric.of(pd.concat([full, late])))
    weeks, _ = weekly(daily, pd.Timestamp("2025-10-13"), "count")
    own = weeks[weeks["segment"] == "late"]
    assert (own["total"] == 350).all() and own["week"].min() == -19 and (own["n"] == 7).all()
    sparse = series_of(np.full(50, 0.2) + 0.01 * noise(3, 50))[
        ::2
    ]  # users of a rate are there or not
    assert compare_before_after(sparse, change_at="2025-10-13").rungs["effect"].notna().any()


def test_a_timeline_is_read_as_people_write_it():
    frame, change = panel(1)

    fair = {"day": pd.Timestamp("2025-03-04").date(), "kind": "campaign", "label": "fair"}

    def ask(**entry):
        release = {"day": "2025-03-03", "kind": "release", "label": "new SDK"} | entry
        timeline = pd.DataFrame([fair, release])
        return compare_before_after(frame, change_at=change, treated="a", timeline=timeline)

    assert (
        "Coincidence, not cause: release on 3 March 2025, new SDK." in ask().caveats
        and ask().verdict == "supported"
    )
    assert ask(day=change).finding.startswith("The change of 7 July lifted"), (
        "a coincidence gives no name"
    )
    prompts = ask(kind="intervention", label="prompts", day=change)
    assert prompts.finding.startswith("Prompts (7 July) lifted")
    told = prompts.headlines[0]
    assert (told.name, told.label) == ("effect", "Effect of the change of 7 July")
    assert told.note == "a users, 12 weeks after"
    assert ask(kind="Outage", label="TRACKING lost").verdict == "not supported"
    assert "Coincidence, not cause: release on 3 March 2025." in ask(label=np.nan).caveats
    with pytest.raises(DataError, match='timeline: day: "soon" is not a day'):
        ask(day="soon")
    with pytest.raises(DataError, match='timeline: column "kind" is missing'):
        compare_before_after(
            frame, change_at=change, treated="a", timeline=TIMELINE.drop(columns="kind")
        )


def test_what_the_log_obliges_to_say_comes_first_in_every_answer():
    frame, change = series_of(100 + np.arange(30.0), n_pre=20, kind="count")
    frame["caveats"] = '["said"]'
    assert compare_before_after(frame, change_at=change).caveats[0] == "said"
    responses = pd.DataFrame({"alert_id": ["a"], "detected_on": [change]})
    assert value_of_speed(frame, responses).caveats[0] == "said"


def test_segments_may_be_numbers_named_twice_or_empty():
    frame, change = panel(1, controls="b")
    numbered = frame.assign(segment=frame["segment"].map({"a": 1, "b": 2}))
    expected = compare_before_after(frame, change_at=change, treated="a").rungs["effect"]
    for treated in (1, [1, "1"], np.int64(1)):
        pd.testing.assert_series_equal(
            compare_before_after(numbered, change_at=change, treated=treated).rungs["effect"],
            expected,
        )
    frame, change = panel(1)
    names = {s: s for s in "abcd"}
    nameless = compare_before_after(
        frame.assign(segment=frame["segment"].map(names)), change_at=change, treated="a"
    )
    told = " ".join((nameless.details[0], *nameless.details))
    assert "against (none), b, c and d," in told and "nan" not in told


def test_one_is_not_many():
    values = 0.2 + 0.01 * noise(1, 40)
    assert (
        "1 day at the ends that does not fill a week counted from the change is left out."
        in compare_before_after(series_of(values)[6:], change_at="2025-09-01").caveats
        + compare_before_after(series_of(values)[:-6], change_at="2025-09-01").caveats
    )
    short = compare_before_after(series_of(values[:2]), change_at="2025-01-13")
    assert "1 whole week before and 1 after the change are too few" in short.details[0]


def test_timeline_entries_are_coincidences_and_a_tracking_change_refuses():
    frame, change = panel(1)
    frame["events"] = '["signed_up", "booked"]'
    result = compare_before_after(frame, change_at=change, treated="a", timeline=TIMELINE)
    assert (
        result.verdict == "not supported"
        and "the tracking itself changed on 10 March 2025 (new SDK)" in result.details[0]
    )
    assert [c for c in result.caveats if c.startswith("Coincidence")] == [
        "Coincidence, not cause: competitor on 3 March 2025, rival.",
        "Coincidence, not cause: release on 10 March 2025, new SDK.",
    ]
    assert (
        compare_before_after(frame, change_at=change, treated="a", timeline=TIMELINE[:1]).verdict
        == "supported"
    )


@pytest.mark.parametrize(("share", "verdict"), [(0.68, "not supported"), (0.99, "supported")])
def test_tracking_that_moved_with_the_change_refuses_every_verdict(share, verdict):
    frame, change = panel(1)
    frame["n_checked"] = frame["n_success"]
    frame["n_tracked"] = (
        np.where((frame["day"] >= change) & (frame["segment"] == "a"), share, 1.0)
        * frame["n_checked"]
    )
    result = compare_before_after(frame, change_at=change, treated="a")
    assert result.verdict == verdict and result.rungs["supported"].any() == (verdict == "supported")
    said = (
        "of the successes the server knows, the events hold 100.0 % before the change and "
        f"{100 * share:.1f} % after it"
    )
    assert ("the tracking itself changed: " + said in result.details[0]) == (
        verdict == "not supported"
    )
    assert any(
        c == f"O{said[1:]}, 100.0 % before the change and 100.0 % after it (controls)."
        for c in result.caveats
    )


def test_errors_name_the_parameter():
    frame, change = panel(1)
    for message, options in [
        ("cost: -1 must be 0 or more", {"cost": -1}),
        ("cost: .* must be 0 or more", {"cost": (5, -1)}),
        ("value: -45 must be 0 or more", {"value": -45}),
        ("margin: 2 must be", {"margin": 2}),
        ("cost: '500' must be", {"cost": "500"}),
        (r"cost: \(1, 2, 3\) must be .*mean, standard deviation", {"cost": (1, 2, 3)}),
        ("value: '45' must be", {"value": "45"}),
    ]:
        with pytest.raises(ParameterError, match=message):
            Money(**options)
    for message, options in [
        ('treated: "A" is not a segment.*Did you mean "a"', {"treated": "A"}),
        ("none both", {"treated": "a", "control": ["a", "b"]}),
        ("no whole week before or after", {"change_at": "2024-01-01"}),
        ("money: give either", {"money": Money(1, 1), "cost": 1}),
    ]:
        with pytest.raises(ParameterError, match=message):
            compare_before_after(frame, **{"change_at": change} | options)
    with pytest.raises(DataError, match='column "value" is missing'):
        compare_before_after(frame.rename(columns={"value": "values"}), change_at=change)
    with pytest.raises(DataError, match="twice"):
        compare_before_after(pd.concat([frame, frame]), change_at=change)
    for message, columns in [
        ('"x" is not a day', {"day": "x"}),
        ("a row has no day", {"day": pd.NaT}),
        ('"value" must hold numbers', {"value": "a"}),
    ]:
        with pytest.raises(DataError, match=message):
            compare_before_after(frame.assign(**columns), change_at=change)
    with pytest.raises(DataError, match="n_success between"):
        compare_before_after(frame.assign(n_success=1000), change_at=change)


# ----------------------------------------------------------------------------------- support


def test_no_infinite_or_absurd_interval_is_supported():
    # one treated, 19 ordinary controls, 3 in which the feature was off before and a trickle came
    # after: their mix is followed without any error before, and infinitely badly after
    rng = np.random.default_rng(1)
    rates = [0.18 + 0.02 * rng.normal(size=24) for _ in range(20)]
    rates += [np.where(np.arange(24) < 16, 0, 0.01 + 0.002 * rng.normal(size=24)) for _ in range(3)]
    parts = [series_of(rate, segment=f"s{i:02d}") for i, rate in enumerate(rates)]
    result = compare_before_after(pd.concat(parts), change_at="2025-04-28", treated="s00")
    rungs = result.rungs.set_index("rung")
    ends = rungs.loc[rungs["supported"], ["effect_ci_lower", "effect_ci_upper"]]
    assert len(ends) == 3 and ends.abs().max(axis=None) < 0.1 and result.effect == "not shown"
    assert not {"s20", "s21", "s22"} & set(result.donors["segment"])


def test_an_interval_beyond_what_a_share_can_do_says_nothing():
    # a share that fell by 5 points a week cannot go on to do so for a year
    values = np.r_[np.linspace(0.8, 0.2, 12), np.full(52, 0.5)] + 0.01 * noise(1, 64)
    frame, change = series_of(values, n_pre=12)
    result = compare_before_after(frame, change_at=change)
    its = result.rungs.set_index("rung").loc[roi.ITS]
    assert its["effect_ci_upper"] > 1 and not its["supported"]
    assert its["reason"] == "its interval holds effects that cannot be"
    assert (result.comparison, result.effect) == ("not supported", "inconclusive")


# ------------------------------------------------------------------------- what stands beside it


def test_a_yearly_season_is_told_from_two_years_on():
    week = np.arange(-110, 20)
    start = pd.Timestamp("2023-01-02")
    year = 2 * np.pi * 7 * np.arange(130) / 365.25
    values = 0.3 + 0.05 * np.sin(year + 1) + 0.02 * np.cos(2 * year) + 0.004 * noise(1, 130)
    long = series_of(values, start=str(start.date()), n_pre=110)
    result = compare_before_after(long[0], change_at=long[1])
    its = result.rungs.set_index("rung").loc[roi.ITS]
    x = np.c_[np.ones(130), week, np.sin(year), np.cos(year), np.sin(2 * year), np.cos(2 * year)]
    line = x @ np.linalg.lstsq(x[:110], values[:110], rcond=None)[0]
    assert its["effect"] == pytest.approx((values - line)[110:].mean())
    assert result.effect == "not shown" and abs(its["effect"]) < 0.004
    assert "; allows for the yearly season;" in its["reason"]
    assert not any("yearly season" in c for c in result.caveats)
    # half a year of it looks like a trend
    short, change = long[0][7 * 84 :], long[1]
    told = compare_before_after(short, change_at=change)
    assert abs(told.rungs.set_index("rung").loc[roi.ITS, "effect"]) > 0.03
    assert any("less than two years" in c for c in told.caveats)


def test_holidays_of_the_timeline_explain_their_weeks():
    days_off = np.zeros(60)
    days_off[[10, 22, 31, 44, 47, 55]] = [1, 2, 1, 1, 2, 2]
    values = 0.3 - 0.02 * days_off + 0.002 * noise(2, 60)
    frame, change = series_of(values, n_pre=46)
    first = frame["day"].min()
    off = [first + pd.Timedelta(days=7 * w + d) for w in range(60) for d in range(int(days_off[w]))]
    timeline = pd.DataFrame({"day": off, "kind": "Holiday", "label": "bank holiday"})
    result = compare_before_after(frame, change_at=change, timeline=timeline)
    its = result.rungs.set_index("rung").loc[roi.ITS]
    x = np.c_[np.ones(60), np.arange(60), days_off]
    line = x @ np.linalg.lstsq(x[:46], values[:46], rcond=None)[0]
    assert its["effect"] == pytest.approx((values - line)[46:].mean())
    assert "allows for holidays" in its["reason"] and not any("oincid" in c for c in result.caveats)
    plain = compare_before_after(frame, change_at=change)
    width = [r.rungs.set_index("rung").loc[roi.ITS, "effect_ci_upper"] for r in (result, plain)]
    assert width[0] - its["effect"] < 0.6 * (width[1] - its["effect"])
    # in the weeks after alone nothing tells what they do
    later = timeline[timeline["day"] >= change]
    result = compare_before_after(frame, change_at=change, timeline=later)
    assert any(c.startswith("Holidays fall in the weeks after") for c in result.caveats)


def test_covariates_explain_what_the_change_cannot_touch():
    wave = noise(3, 60, 0.5)
    values = 0.3 + 0.01 * wave + 0.002 * noise(4, 60) + 0.01 * (np.arange(60) >= 46)
    frame, change = series_of(values, n_pre=46)
    other = series_of(500 + 40 * wave + 5 * noise(5, 60), kind="count").assign(metric="visits")
    result = compare_before_after(frame, change_at=change, covariates=[other])
    its = result.rungs.set_index("rung").loc[roi.ITS]
    plain = compare_before_after(frame, change_at=change).rungs.set_index("rung").loc[roi.ITS]
    assert its["effect_ci_lower"] < 0.01 < its["effect_ci_upper"]
    half, plain_half = (r["effect_ci_upper"] - r["effect"] for r in (its, plain))
    assert half < 0.7 * plain_half and "allows for visits" in its["reason"]
    moved = other.assign(n=other["n"] + 200 * (other["day"] >= change)).assign(
        value=lambda d: d["n"]
    )
    result = compare_before_after(frame, change_at=change, covariates=[moved])
    pd.testing.assert_series_equal(
        result.rungs["effect"], compare_before_after(frame, change_at=change).rungs["effect"]
    )
    assert any(
        c == "Not used as a covariate: visits, which moved at the change as well."
        for c in result.caveats
    )
    with pytest.raises(
        DataError, match="covariates: visits has no value in the week of 2025-01-06"
    ):
        compare_before_after(frame, change_at=change, covariates=[other[70:]])


# -------------------------------------------------------------------------------------------- money


def test_money_by_hand():
    week = np.arange(-14, 7)
    frame, change = series_of(np.where(week >= 0, 0.3, 0.2) + 0.004 * (-1.0) ** week, n_pre=14)
    result = compare_before_after(frame, change_at=change, money=Money(10, 1000, 0.5))
    its, money = result.rungs.set_index("rung").loc[roi.ITS], result.money.iloc[0]
    assert money["n"] == 4900 and money["incremental"] == pytest.approx(4900 * its["effect"])
    assert money["value_amount"] == pytest.approx(4900 * its["effect"] * 5)
    assert money["roi"] == pytest.approx((money["value_amount"] - 1000) / 1000)
    assert money["roi_ci_lower"] == pytest.approx((4900 * its["effect_ci_lower"] * 5 - 1000) / 1000)
    assert money["roi_ci_upper"] == pytest.approx((money["value_amount_ci_upper"] - 1000) / 1000)
    gap = result.path["gap"][14:].to_numpy()
    paid = next(
        d for d in range(1, 50) if 5 * 100 * sum(gap[(k - 1) // 7] for k in range(1, d + 1)) >= 1000
    )  # 100 users a day
    assert (
        money["payback_days"] == paid
        and money["payback_days_ci_lower"] <= paid <= money["payback_days_ci_upper"]
    )
    assert result.path["gain_amount"].iloc[-1] == pytest.approx(money["value_amount"])
    ends = result.path[["gain_amount_ci_lower", "gain_amount_ci_upper"]].iloc[-1].tolist()
    assert ends == pytest.approx(money[["value_amount_ci_lower", "value_amount_ci_upper"]].tolist())
    assert money["break_even_effect"] == pytest.approx(1000 / (4900 * 5)) and money[
        "break_even_value_amount"
    ] == pytest.approx(1000 / (4900 * its["effect"] * 0.5))
    assert money["break_even_days"] == pytest.approx(49 * 1000 / money["value_amount"])
    assert "): a return on investment of" in result.details[0]
    assert result.details[2] == (
        f"In the weeks seen that is {money['incremental']:+,.0f} successes, at 10 units of money a "
        "success, 50 % of it kept, and a cost of 1,000 units of money."
    )
    short = compare_before_after(frame, change_at=change, value=10, cost=1000)
    pd.testing.assert_frame_equal(
        short.money, compare_before_after(frame, change_at=change, money=Money(10, 1000)).money
    )
    dear = compare_before_after(frame, change_at=change, money=Money(10, 5000, 0.5))
    assert (
        np.isnan(dear.money["payback_days"].iloc[0])
        and "not paid back within the data" in dear.details[0]
    )
    unsure = compare_before_after(frame, change_at=change, money=Money(10, (1000, 800), 0.5))
    assert (
        unsure.money[["roi_ci_lower", "roi_ci_upper"]].isna().all(axis=None)
        and "not estimable" in unsure.details[0]
    )
    assert unsure.money["p_positive"].iloc[0] < money["p_positive"]


def test_days_are_counted_from_the_change_whatever_rows_are_missing():
    week = np.arange(-14, 7)
    frame, change = series_of(np.where(week >= 0, 0.3, 0.2) + 0.004 * (-1.0) ** week, n_pre=14)
    money = Money(10, 1000, 0.5)
    since = (frame["day"] - change).dt.days
    lost = since.isin([0, 2, 9])
    sparse = compare_before_after(frame[~lost], change_at=change, money=money)
    empty = frame.assign(n=frame["n"].mask(lost, 0), n_success=frame["n_success"].mask(lost, 0))
    full = compare_before_after(empty, change_at=change, money=money)
    pd.testing.assert_frame_equal(sparse.money, full.money)
    pd.testing.assert_frame_equal(sparse.path, full.path)
    assert sparse.money["payback_days"].iloc[0] > 7


def test_a_series_that_was_saved_and_read_again_gives_the_same_answer(tmp_path):
    frame, change = panel(1)
    frame = frame.assign(metric="the share", kind="rate", events="booked", n_pending=1470)
    frame.to_csv(tmp_path / "series.csv", index=False)
    ask = {"change_at": change, "treated": "a", "timeline": TIMELINE[:1]}
    expected = compare_before_after(DailyMetric(frame), **ask)
    found = compare_before_after(pd.read_csv(tmp_path / "series.csv"), **ask)
    assert found.metric == "the share" and "1,470 of the newest users" in " ".join(found.caveats)
    assert (found.details[0], found.caveats) == (expected.details[0], expected.caveats)
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(found.tables[name], table)


def test_a_cost_that_was_covered_and_lost_again_is_not_paid_back():
    values = np.r_[0.2 + 0.005 * noise(1, 40), 0.3, [0.12] * 7]
    frame, change = series_of(values, n_pre=40)
    result = compare_before_after(frame, change_at=change, money=Money(10, 300))
    assert result.money["payback_days"].iloc[0] <= 7 and result.money["roi"].iloc[0] < -1
    assert (
        f"it covered its cost by day {result.money['payback_days'].iloc[0]:.0f} but lost it again."
        in result.details[0]
        and "paid back" not in result.details[0]
    )
    texts = [
        t.get_text()
        for t in plots.plot_before_after(
            result.path, money=result.money, change_at=str(change.date())
        )
        .axes[2]
        .texts
    ]
    assert any(t.startswith("covered its cost by day") for t in texts) and not any(
        "paid back" in t for t in texts
    )


@pytest.mark.parametrize("given_", [{}, {"value": 45}, {"cost": 12000}])
def test_without_a_value_or_a_cost_only_the_extra_successes_are_given(given_):
    frame, change = panel(1)
    result = compare_before_after(frame, change_at=change, treated="a", money=Money(**given_))
    money = result.money.iloc[0]
    assert len(result.money) == 1 and money["incremental"] > 0
    assert (
        money.filter(like="amount").isna().all()
        and money[["roi", "roi_ci_lower", "roi_ci_upper", "payback_days", "p_positive"]]
        .isna()
        .all()
    )
    assert (
        "investment" not in result.details[0]
        and "In the weeks seen" not in result.details[0]
        and "p_positive" not in " ".join(result.caveats)
    )


def test_a_free_change_has_a_value_but_no_return():
    frame, change = panel(1)
    free = Money(45, 0, currency="EUR")
    result = compare_before_after(frame, change_at=change, treated="a", money=free)
    money = result.money.iloc[0]
    assert (
        money["value_amount"] == pytest.approx(45 * money["incremental"])
        and money["cost_amount"] == 0
        and money["p_positive"] > 0.99
    )
    assert money[["roi", "roi_ci_lower", "roi_ci_upper", "payback_days"]].isna().all()
    assert f"): a value of {money['value_amount']:,.0f} EUR (" in result.details[0]
    assert result.details[2].endswith("successes, at 45 EUR a success and a cost of 0 EUR.")
    assert any(
        c.startswith("The cost is 0: a return on investment is not defined") for c in result.caveats
    )
    costly = compare_before_after(frame, change_at=change, treated="a", money=Money(45, 12000))
    assert "): a return on investment of" in costly.details[0]
