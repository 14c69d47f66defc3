"""Days and weeks by the clock and the calendar of whoever reads the report."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mctlib import open_log
from mctlib.eventlog.calendar import WEEKDAYS, Calendar

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland"])
MOMENTS = st.datetimes(dt.datetime(2025, 1, 1), dt.datetime(2027, 1, 1), timezones=st.just(dt.UTC))


@given(MOMENTS, ZONES, st.sampled_from(WEEKDAYS), st.integers(1, 9))
def test_the_last_whole_weeks_day_by_day(moment, zone, starts, n):
    us = int(moment.timestamp()) * 1_000_000 - 1  # the last microsecond that is over
    first, last = Calendar(zone, starts).last_weeks(us, n)
    here = dt.datetime.fromtimestamp(int(moment.timestamp()), ZoneInfo(zone)).date()
    end = here - dt.timedelta(1)  # today is not over, or has just begun
    while WEEKDAYS[(end + dt.timedelta(1)).weekday()] != starts:
        end -= dt.timedelta(1)
    assert last == str(end)
    assert first == str(end - dt.timedelta(7 * n - 1))


@given(st.dates(dt.date(2025, 1, 1), dt.date(2027, 1, 1)), ZONES, st.integers(0, 40))
def test_a_period_begins_and_ends_at_midnight_there(day, zone, length):
    last = day + dt.timedelta(length)
    found = Calendar(zone).period(str(day), str(last), "after")
    midnights = (
        dt.datetime.combine(d, dt.time(), ZoneInfo(zone)).timestamp()
        for d in (day, last + dt.timedelta(1))
    )
    begins, ends = (int(moment) * 1_000_000 for moment in midnights)
    assert found == (begins, ends - 1)


def test_cohorts_follow_the_calendar_of_the_data(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    rows = ["user_id,event,timestamp"]
    # Saturday evening and Sunday morning in New York; in UTC both are Sunday, 8 March 2026
    rows += ["ann,begin,2026-03-08T02:00:00Z", "ben,begin,2026-03-08T15:00:00Z"]
    (tmp_path / "events.csv").write_text("\n".join(rows))
    data = tmp_path / "params/data.mine.yaml"
    data.write_text("name: mine\nevents: {path: events.csv}\n")
    assert set(open_log("mine").counts(by="week")["week"].astype(str)) == {"2026-03-02"}
    data.write_text(
        data.read_text() + "reporting_timezone: America/New_York\nweek_starts: sunday\n"
    )
    found = open_log("mine").counts(by="week")["week"].astype(str)
    assert sorted(found) == ["2026-03-01", "2026-03-08"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("reporting_timezone: Europe/Berln", 'the reporting_timezone "Europe/Berln" is no IANA'),
        ("week_starts: Sunday", '"week_starts" must be one of monday'),
    ],
)
def test_a_calendar_that_is_none(tmp_path, monkeypatch, line, said):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params/data.mine.yaml").write_text(
        f"name: mine\nevents: {{path: events.csv}}\n{line}\n"
    )
    with pytest.raises(ValueError, match=said):
        open_log("mine")
