"""The value of speed: a fall of known size, weighed by hand. Coverage: tests/calibration.py."""

import numpy as np
import pandas as pd
import pytest

from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.daily_metric import Count, Mean, daily_metric
from mctlib.roi import Money, value_of_speed
from mctlib.tracking_plan.reading import as_plan
from tests.support.logs import log_of

LOG = pd.DataFrame(
    {
        "alert_id": ["booked-2025-05-05", "other-2025-05-05", "booked-2025-13-05"],
        "detected_on": ["2025-05-12", "2025-05-06", None],
        "decided_on": ["2025-05-15", None, None],
        "shipped_on": ["2025-05-26", None, None],
    }
)


def daily(weekly, kind="count", n=100):
    """A daily series from Monday 2025-01-06 on with these weeks; week 17 begins on 2025-05-05."""
    value = np.repeat(np.asarray(weekly, float), 7)
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2025-01-06", periods=len(value)),
            "n": value if kind == "count" else n,
            "value": value,
        }
    )
    if kind == "rate":
        frame["n_success"] = value * n
    return frame.assign(events="booked", metric="the daily users of booked")


def test_a_known_fall_is_weighed_stage_by_stage():
    week = np.arange(24)
    trend = 100 + 2 * week
    lost = np.r_[np.zeros(17), 20, 10, 5, 0, 0, 0, 0]
    found = value_of_speed(daily(trend - lost), LOG, money=Money(3.0, margin=0.5)).stages
    assert found["stage"].tolist() == [
        "until noticed",
        "until decided",
        "until answered",
    ] and found["lasted_days"].tolist() == [7, 3, 11]
    assert found["missed"].tolist() == pytest.approx(
        [7 * 20, 3 * 10, 4 * 10 + 7 * 5]
    )  # the answer is shipped after week 19
    assert found["lost_amount"].tolist() == pytest.approx(
        [1.5 * 140, 1.5 * 30, 1.5 * 75]
    ) and found["per_day_amount"].tolist() == pytest.approx([30, 15, 1.5 * 75 / 11])


@pytest.mark.parametrize(("kind", "level"), [("rate", 0.5), ("mean", 9.0)])
def test_rates_and_means_are_weighed_by_their_users(kind, level):
    found = value_of_speed(
        daily(np.r_[np.full(17, level), np.full(7, 0.8 * level)], kind), LOG
    ).stages
    assert (
        found["missed"].iloc[0] == pytest.approx(7 * 100 * 0.2 * level)
        and found["lost_amount"].isna().all()
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("booked-fall-2025-05-05", True),  # the scorecard's, of a micro-conversion
        ("booked-rise-2025-05-05", True),
        ("booked-loss-web-2025-05-05", False),  # what was not recorded is not lost
        ("unbooked-fall-2025-05-05", False),
        ("booked-fell-2025-05-05", False),
    ],
)
def test_the_ids_of_alerts_are_read_as_they_are_written(name, told):
    course = daily(np.r_[np.full(17, 100), np.full(7, 60)])
    found = value_of_speed(course, LOG[:1].assign(alert_id=name)).stages
    assert set(found["alert_id"]) == ({name} if told else set())
    assert not told or found["missed"].iloc[0] == pytest.approx(7 * 40)


def test_an_alert_on_a_metric_of_the_plan_is_of_its_event():
    """Of a mean only where the same number is meant."""
    days = pd.date_range("2025-01-06", "2025-06-22")
    rows = [(f"u{k}", "booked", day, {"minutes": "3"}) for day in days for k in range(9)]
    log = log_of(rows, "properties")
    metrics = {
        "bookings": {"kind": "rate", "of": "booked", "per": "booked", "within": "7d"},
        "length": {"kind": "mean", "of": "booked", "property": "minutes"},
    }
    plan = as_plan({"micro_conversions": {"booked": {}}, "metrics": metrics}, "plan")
    log.planned_metrics.update(plan.asked_metrics())
    log_of_ids = pd.concat([LOG[:1].assign(alert_id=f"{n}-fall-2025-05-05") for n in metrics])
    for metric, name in ((Count("booked"), "bookings"), (Mean("booked", "minutes"), "length")):
        series = daily_metric(log, metric, as_of="2025-06-22")
        found = value_of_speed(series, log_of_ids).stages
        assert set(found["alert_id"]) == {f"{name}-fall-2025-05-05"}


def test_an_unanswered_alert_is_counted_to_the_end_of_the_data():
    result = value_of_speed(
        daily(np.r_[np.full(17, 100), np.full(4, 80)]), LOG.assign(decided_on=None, shipped_on=None)
    )
    assert result.stages["lasted_days"].tolist() == [7, 21] and result.stages["stage"].tolist() == [
        "until noticed",
        "until decided (open)",
    ]
    assert result.stages["missed"].iloc[1] == pytest.approx(21 * 20)


@pytest.mark.parametrize(
    ("last", "goes_on", "note", "act"),
    [
        (60, True, "it goes on", "Answer the fall of 5 May: it goes on."),
        (100, False, "alert not closed", "Close the alert of 5 May: the number is not clearly"),
    ],
)
def test_an_open_alert_is_told_from_a_fall_that_goes_on(last, goes_on, note, act):
    """40 of 100 are gone for five weeks; then, for two, they are still gone or are back."""
    noise = np.random.default_rng(1).normal(0, 2, 24)
    course = np.r_[np.full(17, 100), np.full(5, 60), np.full(2, last)] + noise
    result = value_of_speed(daily(course), LOG.assign(decided_on=None, shipped_on=None))
    assert result.stages["goes_on"].tolist() == [False, goes_on]
    (told,) = result.headlines
    assert told.act == goes_on and told.note == note and told.cumulative
    assert result.actions[0].text.startswith(act)
    answered = value_of_speed(daily(course), LOG)
    assert not answered.stages["goes_on"].any() and not answered.actions
    assert not answered.headlines[0].cumulative, "what a closed alert cost does not grow"


def test_the_finding_names_a_loss_only_where_it_is_more_than_noise():
    rng = np.random.default_rng(1)
    clear = value_of_speed(
        daily(np.r_[np.full(17, 100), np.full(7, 60)] + rng.normal(0, 2, 24)), LOG, money=Money(2.0)
    )
    assert (
        clear.details[0].startswith("The fall of the daily users of booked cost ")
        and "one day sooner would have saved at most a day of that" in clear.details[0]
    )
    assert "overstated" in clear.caveats[0]
    noise = value_of_speed(daily(100 + rng.normal(0, 10, 24)), LOG)
    assert noise.details[0].startswith(
        "That an earlier answer would have saved anything is not shown"
    )


def test_what_cannot_be_said_is_said():
    nothing = value_of_speed(daily(np.full(24, 100)), LOG[1:])
    assert (
        nothing.stages.empty
        and "the response log holds no alert on the daily users of booked" in nothing.details[0]
        and nothing.caveats == ()
    )
    assert value_of_speed(daily(np.full(24, 100)), LOG[:0]).stages.empty
    short = value_of_speed(
        daily(np.r_[np.full(17, 100), np.full(7, 60)])[56:], LOG
    )  # nine weeks before
    assert (
        "Descriptive only, with fewer than 12 weeks before the fall: booked-2025-05-05."
        in short.caveats
    )
    with pytest.raises(ParameterError, match="one metric of all users"):
        value_of_speed(pd.concat([daily([1, 2]).assign(segment=s) for s in "ab"]), LOG)
    for options, message in (
        ({"value": -1}, "value: -1 must be 0 or more"),
        ({"margin": 3}, "margin: 3 must be a share"),
    ):
        with pytest.raises(ParameterError, match=message):
            value_of_speed(daily([1] * 24), LOG, money=Money(**options))
    with pytest.raises(DataError, match='column "alert_id" is missing'):
        value_of_speed(daily([1] * 24), LOG.drop(columns="alert_id"))
    with pytest.raises(DataError, match='responses: detected_on: "soon" is not a day'):
        value_of_speed(daily([1] * 24), LOG.assign(detected_on="soon"))
    assert value_of_speed(daily([1] * 24), LOG.assign(alert_id=np.nan)).stages.empty


FALL = np.r_[np.full(17, 100), np.full(7, 80)]


@pytest.mark.parametrize(
    "stamps",
    [
        {"detected_on": "2025-05-12T15:00:00Z", "decided_on": "2025-05-15T08:00:00Z"},
        {"detected_on": pd.Timestamp("2025-05-12 23:00", tz="UTC")},
        {"detected_on": pd.Timestamp("2025-05-13 01:00", tz="Europe/Berlin")},
        {"detected_on": pd.Timestamp("2025-05-12").date()},
    ],
)
def test_times_are_read_as_their_utc_day(stamps):
    expected = value_of_speed(daily(FALL), LOG[:1], money=Money(2.0)).stages
    pd.testing.assert_frame_equal(
        value_of_speed(daily(FALL), LOG[:1].assign(**stamps), money=Money(2.0)).stages, expected
    )


def test_a_stage_of_hours_lasts_no_day():
    found = value_of_speed(
        daily(FALL),
        LOG[:1].assign(detected_on="2025-05-06T09:00:00", decided_on="2025-05-06T18:00:00"),
        money=Money(2.0),
    )
    assert found.stages["lasted_days"].tolist() == [1, 0, 20] and np.isnan(
        found.stages["missed"].iloc[1]
    )
    one = value_of_speed(
        daily(FALL),
        LOG[:1].assign(**dict.fromkeys(["detected_on", "decided_on", "shipped_on"], "2025-05-06")),
        money=Money(2.0),
    )
    assert "in the 1 day until noticed" in one.details[0]


def test_a_stage_that_was_not_logged_ends_with_the_next_one():
    found = value_of_speed(
        daily(FALL), LOG[:1].assign(decided_on=None)
    ).stages  # decided on some day up to the answer of the 26th
    assert found["stage"].tolist() == [
        "until noticed",
        "until decided",
        "until answered",
    ] and found["lasted_days"].tolist() == [7, 14, 0]
    assert found["missed"].iloc[1] == pytest.approx(14 * 20)
    assert value_of_speed(daily(FALL), LOG[:1].assign(detected_on=None)).stages[
        "lasted_days"
    ].tolist() == [10, 0, 11]


def test_a_series_that_was_saved_and_read_again_gives_the_same_answer(tmp_path):
    rows = [
        (f"u{user}", "booked", day)
        for day in pd.date_range("2025-01-06", "2025-06-22")
        for user in range(20 if day < pd.Timestamp("2025-05-05") else 12)
    ]
    log = log_of(rows)
    series = daily_metric(log, Count("booked"), as_of="2025-06-22")
    expected = value_of_speed(series, LOG, money=Money(3.0))
    assert expected.stages["stage"].tolist() == ["until noticed", "until decided", "until answered"]
    series.table.to_csv(tmp_path / "series.csv", index=False)
    saved = pd.read_csv(tmp_path / "series.csv")
    weekdays = pd.DataFrame({"day": series.table["day"].unique()}).assign(weekday="some")
    facts = ["day", "metric", "events"]
    for same in (
        saved,
        series.table.merge(weekdays, on="day"),
        series.table.groupby(facts, as_index=False)[["n", "value"]].sum(),
    ):
        found = value_of_speed(same, LOG, money=Money(3.0))
        pd.testing.assert_frame_equal(found.stages, expected.stages)
        assert (found.details[0], found.caveats) == (expected.details[0], expected.caveats)


def test_what_came_back_is_the_level_since_the_answer_against_trend_and_fall():
    """A trend of 2 a week, 20 less for three weeks, then 12 of them back; the answer's week apart.

    The last four of eight whole weeks since are read: what comes in the first four is no part.
    """
    week = np.arange(17 + 3 + 1 + 8 + 2)
    course = 100 + 2 * week - 20 * (week >= 17) + 99.0 * (week == 20) - 5 * np.isin(week, (21, 22))
    course += 12 * np.isin(week, (25, 26, 27, 28)) + 0.01 * (-1.0) ** week
    answered = LOG[:1].assign(shipped_on="2025-05-28")  # a Wednesday, in the week from the 26th on
    (row,) = value_of_speed(daily(course), answered).answers.to_dict("records")
    assert (row["rung"], row["supported"], row["reason"]) == ("interrupted time series", True, "")
    assert row["recovered"] == pytest.approx(12, abs=0.05)
    without = np.mean(100 + 2 * np.arange(25, 29) - 20)
    assert row["rel_recovered"] == pytest.approx(12 / without, abs=0.001)
    assert row["recovered_ci_lower"] < 12 < row["recovered_ci_upper"]


@pytest.mark.parametrize(
    ("before", "shipped", "since", "why"),
    [
        (11, "2025-05-26", 6, "11 whole weeks before the fall, needed are 12"),
        (12, "2025-05-09", 6, "no whole week between the fall and its answer"),
        (12, "2025-05-12", 5, "5 whole weeks since it, needed are 6"),
        (12, "2025-05-12", 6, ""),
    ],
)
def test_what_came_back_is_refused_where_the_weeks_do_not_carry_it(before, shipped, since, why):
    fallen = (pd.Timestamp(shipped) - pd.Timestamp("2025-05-05")).days // 7
    since += shipped == "2025-05-09"  # the week of the answer, which counts nowhere
    course = np.repeat([100.0, 60.0, 80.0], [17, fallen, since])
    course += np.random.default_rng(1).normal(0, 1, len(course))
    table = daily(course, "mean")
    table = table[table["day"] >= pd.Timestamp("2025-05-05") - before * pd.Timedelta("7D")]
    (row,) = value_of_speed(table, LOG[:1].assign(shipped_on=shipped)).answers.to_dict("records")
    assert (row["supported"], row["reason"]) == (not why, why)
    assert np.isnan(row["recovered"]) == bool(why)
    nobody = value_of_speed(table, LOG[:1].assign(shipped_on=None)).answers
    assert nobody.empty, "nothing was answered"
