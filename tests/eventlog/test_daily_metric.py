"""The metric by day: hand counts."""

import numpy as np
import pandas as pd
import pytest

from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.daily_metric import Count, DailyMetric, Mean, Rate, Ratio, daily_metric
from tests.support.logs import frame_of, log_of

SIGN_UPS = [
    ("a", "signed_up", "2026-03-01 10:00"),
    ("a", "booked", "2026-03-03 10:00"),  # at the very end of the window: counts
    ("b", "signed_up", "2026-03-01 11:00"),
    ("b", "booked", "2026-03-03 11:00:01"),  # a second late
    ("c", "booked", "2026-03-01 08:00"),
    ("c", "signed_up", "2026-03-01 09:00"),  # only before: does not count
    ("d", "booked", "2026-03-03 09:00"),
    ("d", "signed_up", "2026-03-03 09:00"),  # the same moment counts
    ("d", "signed_up", "2026-03-04 09:00"),  # only the first sign-up is a start
    ("e", "signed_up", "2026-03-04 23:00"),
    ("e", "booked", "2026-03-05 01:00"),  # its day is not known at the 5th
]
PEOPLE = pd.DataFrame({"user_id": list("abcde"), "plan": ["x", "y", "x", "x", "y"]})


def test_rate_counts_users_by_day_of_their_first_start():
    series = daily_metric(
        log_of(SIGN_UPS), Rate("booked", of="signed_up", window="2d"), as_of="2026-03-05"
    )
    found = series.table
    facts = ["metric", "kind", "events", "n_pending", "caveats", "joined"]
    assert list(found.columns) == ["day", "segment", "n", "value", "n_success", *facts]
    assert found["day"].dt.strftime("%m-%d").tolist() == [
        "03-01",
        "03-02",
        "03-03",
    ]  # the 4th closes with the 6th
    assert found["n"].tolist() == [3, 0, 1] and found["n_success"].tolist() == [1, 0, 1]
    np.testing.assert_equal(found["value"].to_numpy(), [1 / 3, np.nan, 1.0])
    assert series.n_pending == 1 and series.events == ["signed_up", "booked"]


def test_rate_by_segment_has_every_day_of_every_segment():
    found = daily_metric(
        log_of(SIGN_UPS, people=PEOPLE),
        Rate("booked", of="signed_up", window="2d"),
        as_of="2026-03-06",
        by="plan",
    ).table
    table = found.pivot(index="day", columns="segment", values=["n", "n_success"])
    assert table["n"].to_numpy().tolist() == [[2, 1], [0, 0], [1, 0], [0, 1]]
    assert table["n_success"].to_numpy().tolist() == [[1, 0], [0, 0], [1, 0], [0, 1]]


def test_segments_below_ten_users_share_a_name_and_the_metric_says_which():
    """30 users on the web, 20 on ios, 6 on a television: 26 are others."""
    users = [("web", 30), ("ios", 20), ("tv", 6)]
    rows = [(f"{p} {i}", "signed_up", "2026-01-01", p) for p, n in users for i in range(n)]
    found = daily_metric(
        log_of(rows, "platform"), Count("signed_up"), as_of="2026-01-01", by="platform"
    )
    assert found.table.set_index("segment")["n"].to_dict() == {"others": 26, "web": 30}
    assert found.joined == {"tv": "others", "ios": "others"}


def test_rate_of_the_same_event_means_a_second_one():
    rows = [
        ("a", "visit", "2026-03-01 10:00"),
        ("a", "visit", "2026-03-02 10:00"),
        ("b", "visit", "2026-03-01 10:00"),
    ]
    found = daily_metric(log_of(rows), Rate("visit", of="visit", window="3d"), as_of="2026-03-04")
    found = found.table
    assert found[["n", "n_success"]].to_numpy().tolist() == [[2, 1]]


def test_count_is_distinct_users_and_days_of_other_events_are_zero():
    rows = [
        ("a", "visit", "2026-03-01 10:00"),
        ("a", "visit", "2026-03-01 12:00"),
        ("b", "visit", "2026-03-01 23:59"),
        ("c", "click", "2026-03-02 12:00"),
        ("a", "visit", "2026-03-03 00:00"),
    ]
    # the 4th is not over
    found = daily_metric(log_of(rows), Count("visit"), as_of="2026-03-04T12:00:00Z").table
    assert (
        found["value"].tolist() == [2, 0, 1]
        and found["n"].tolist() == [2, 0, 1]
        and found["segment"].unique().tolist() == ["all"]
    )


def test_days_on_which_nothing_at_all_was_recorded_are_missing_in_a_count(tmp_path):
    """The 2nd has another event; of the 3rd, and of the 6th before the next one, nobody knows."""
    rows = [("a", "visit", f"2026-03-{day:02d} 10:00") for day in (1, 4, 5)]
    rows += [("b", "visit", "2026-03-01 11:00"), ("b", "click", "2026-03-02 00:00")]
    log = log_of([*rows, ("a", "click", "2026-03-07 09:00")], people=PEOPLE)
    series = daily_metric(log, Count("visit"), as_of="2026-03-07")
    np.testing.assert_equal(series.table["value"].to_numpy(), [2, 0, np.nan, 1, 1, np.nan, 0])
    assert series.table["n"].tolist() == [2, 0, 0, 1, 1, 0, 0] and series.kind == "count"
    silent = [pd.Timestamp("2026-03-03"), pd.Timestamp("2026-03-06")]
    assert series.silent == silent
    series.table.to_csv(tmp_path / "count.csv", index=False)
    assert DailyMetric.of(pd.read_csv(tmp_path / "count.csv")).silent == silent
    by_plan = daily_metric(log, Count("visit"), as_of="2026-03-07", by="plan")
    missing = by_plan.table.loc[by_plan.table["value"].isna()]
    assert len(missing) == 4 and by_plan.silent == silent
    rate = daily_metric(log, Rate("click", of="visit", window="1d"), as_of="2026-03-07")
    assert rate.silent == []


def test_mean_leaves_out_rows_without_the_property():
    rows = [
        ("a", "visit", "2026-03-01 10:00", 4),
        ("b", "visit", "2026-03-01 12:00", 8),
        ("b", "visit", "2026-03-01 13:00", None),
        ("b", "visit", "2026-03-03 13:00", 5),
    ]
    found = daily_metric(
        log_of(rows, "minutes"), Mean("visit", "minutes"), as_of="2026-03-03"
    ).table
    assert found["n"].tolist() == [2, 0, 1]
    np.testing.assert_equal(found["value"].to_numpy(), [6.0, np.nan, 5.0])


def test_daily_metric_says_what_is_wrong():
    with pytest.raises(ParameterError, match='"bookd" does not occur.*"booked"'):
        daily_metric(
            log_of(SIGN_UPS), Rate("bookd", of="signed_up", window="2d"), as_of="2026-03-05"
        )
    log = log_of([("a", "visit", "2026-03-01 10:00", 4)], "minutes")
    with pytest.raises(
        ParameterError,
        match='no visit event up to 2026-03-05 has a number in "minuts". Did you mean "minutes"',
    ):
        daily_metric(log, Mean("visit", "minuts"), as_of="2026-03-05")
    with pytest.raises(ParameterError, match="metric: 'visit' is none; give Rate"):
        daily_metric(log, "visit", as_of="2026-03-05")
    with pytest.raises(ParameterError, match="no day of this metric is known"):
        daily_metric(
            log_of(SIGN_UPS), Rate("booked", of="signed_up", window="9d"), as_of="2026-03-05"
        )


def test_a_rate_says_how_much_of_what_the_server_knows_is_tracked():
    backend = frame_of(
        [
            ("a", "booked", "2026-03-03 10:00"),
            ("b", "booked", "2026-03-02 10:00"),
            ("d", "booked", "2026-03-09 10:00"),
        ],
    )  # b's is not in the events; d's comes after its window
    found = daily_metric(
        log_of(SIGN_UPS, backend=backend),
        Rate("booked", of="signed_up", window="2d"),
        as_of="2026-03-05",
    ).table
    assert found["n_checked"].tolist() == [2, 0, 0] and found["n_tracked"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("metric", "kind", "events"),
    [
        (Rate(["booked", "paid"], of="visit", window="1d"), "rate", ["visit", "booked", "paid"]),
        (Count("visit"), "count", ["visit"]),
        (Mean("visit", "minutes"), "mean", ["visit"]),
        (Ratio("booked", per="visit"), "mean", ["visit", "booked"]),
    ],
)
def test_a_saved_metric_says_the_same_when_it_is_read_again(metric, kind, events, tmp_path):
    # the mean of one visit of one minute a day looks like a count
    rows = [("a", "visit", f"2026-03-{day:02d} 10:00", 1) for day in range(1, 6)]
    rows += [("b", "booked", "2026-03-01", 1), ("b", "paid", "2026-03-01", 1)]
    log = log_of(rows, "minutes", observed_until="2026-03-05")
    series = daily_metric(log, metric, as_of="2026-04-01")
    (caveat,) = series.caveats
    assert "as_of 2026-04-01 lies after the end of the data" in caveat
    series.table.to_csv(tmp_path / "metric.csv", index=False)
    saved = DailyMetric.of(pd.read_csv(tmp_path / "metric.csv"))
    for one in (series, DailyMetric.of(series), saved):
        assert (one.kind, one.events) == (kind, events)
        assert one.title == series.title != "the metric"
        assert one.n_pending == series.n_pending and one.caveats == (caveat,)


def test_a_table_of_ones_own_needs_day_n_and_value():
    plain = pd.DataFrame({"day": ["2026-03-01"], "n": ["3"], "value": [3.0]})
    series = DailyMetric.of(plain)
    assert (series.title, series.kind, series.events) == ("the metric", "count", [])
    assert series.n_pending == 0 and DailyMetric.of(plain.assign(n=4)).kind == "mean"
    assert DailyMetric.of(plain.assign(n_success=1)).kind == "rate"
    with pytest.raises(DataError, match='column "value" is missing.*Did you mean "values"'):
        DailyMetric.of(plain.rename(columns={"value": "values"}))


def test_two_metrics_in_one_table_have_no_name_in_common():
    parts = [
        pd.DataFrame({"day": ["2026-03-01"], "segment": s, "n": 3, "value": 1.0, "metric": s})
        for s in "ab"
    ]
    assert DailyMetric.of(pd.concat(parts)).title == "the metric"


def test_an_event_keeps_its_name_whatever_stands_in_it():
    rows = [("u1", "a · b, c", "2026-01-01"), ("u2", "a · b, c", "2026-01-02")]
    series = daily_metric(log_of(rows), Count("a · b, c"), as_of="2026-01-02")
    saved = DailyMetric.of(series.table.copy())
    assert series.events == saved.events == ["a · b, c"]
    assert DailyMetric(series.table.assign(events="booked")).events == ["booked"]


def test_a_metric_shows_itself_in_a_cell_without_days_of_few_users():
    """12 users on the 1st of whom 3 book, 4 users on the 2nd: the second row is hidden."""
    rows = [(f"u{i}", "signed_up", f"2026-03-0{1 + (i >= 12)} 10:00") for i in range(16)]
    rows += [(f"u{i}", "booked", "2026-03-02 09:00") for i in range(3)]
    metric = Rate("booked", of="signed_up", window="2d", label="Booked <b>")
    page = daily_metric(log_of(rows), metric, as_of="2026-03-04")._repr_html_()
    assert "the share of signed_up users" in page and "1 March 2026 to 2 March 2026" in page
    assert "Booked &lt;b&gt;" in page and "<b>&quot;" not in page
    assert ">25.0\u00a0%<" in page and page.count(">hidden<") == 1 and ">4<" not in page
    count = daily_metric(log_of(rows), Count("signed_up"), as_of="2026-03-02")
    assert ">12<" in count._repr_html_() and "Rate" not in count._repr_html_()
