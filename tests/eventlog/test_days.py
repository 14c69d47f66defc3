"""Times that are days: found where they lie, and moments as days."""

import datetime as dt
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pytest

from mctlib.eventlog.days import by_day, known_by_day, midnights
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys
from tests.support.logs import frame_of

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata"]


def day_in(zone, us):
    """The day of a moment by the clock of a zone, as microseconds: Python's own calendar."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(us))
    return (moment.astimezone(ZoneInfo(zone)).date() - dt.date(1970, 1, 1)).days * 86_400_000_000


@pytest.mark.parametrize("zone", ZONES)
def test_moments_as_days_by_pythons_calendar(zone):
    first = pd.Timestamp("2018-01-01").value // 1000  # a year with clocks that skip a midnight
    moments = first + np.random.default_rng(1).integers(0, 365 * 24, 500) * 3_600_000_000
    assert midnights(moments, [zone]).tolist() == [day_in(zone, us) for us in moments]


def test_a_midnight_in_any_of_the_zones_is_the_day_that_begins_there():
    stamps = pd.to_datetime(["2026-01-04T23:00", "2026-01-05T05:00", "2026-01-05T04:59"])
    for zones, days in (
        (["America/New_York", "Europe/Berlin"], ["2026-01-05", "2026-01-05", "2026-01-04"]),
        (["Europe/Berlin", "America/New_York"], ["2026-01-05"] * 3),
    ):
        found = midnights(stamps.as_unit("us").asi8, zones).view("datetime64[us]")
        assert found.astype("datetime64[D]").astype(str).tolist() == days


def test_journeys_by_day_keep_their_users_and_the_order_of_their_days():
    time = pd.to_datetime(["2026-01-05T23:00", "2026-01-06T03:00", "2026-01-04T12:00"])
    j = Journeys(np.array([0, 0, 1]), time.as_unit("us").asi8, np.array([1, 2, 1], np.uint8), 0)
    assert by_day(j, ()) is j
    # in Berlin a day begins at the first moment, which New York has not reached at the second
    found = by_day(j, ("America/New_York", "Europe/Berlin"))
    assert found.mask.tolist() == [2, 1, 1] and found.user.tolist() == [0, 0, 1]
    days = found.time.view("datetime64[us]").astype("datetime64[D]").astype(str)
    assert days.tolist() == ["2026-01-05", "2026-01-06", "2026-01-04"]


@pytest.mark.parametrize(
    ("times", "zone", "found"),
    [
        (["2026-01-05 00:00", "2026-07-06 00:00"], "UTC", "UTC"),
        (["2026-01-05 00:00", "2026-07-06 00:00:01"], "UTC", None),
        (["2026-01-04 23:00", "2026-07-05 22:00"], "Europe/Berlin", "Europe/Berlin"),
        (["2026-01-04 23:00", "2026-07-05 23:00"], "Europe/Berlin", None),
        # the clocks of Sao Paulo skipped the midnight of this Sunday, which is loaded as 1 o'clock
        (["2018-11-03 03:00", "2018-11-04 03:00"], "America/Sao_Paulo", "America/Sao_Paulo"),
        # written with their zone: the source's does not apply
        (["2026-01-05 00:00", "2026-07-06 00:00"], "Europe/Berlin", "UTC"),
    ],
)
def test_a_source_is_known_by_day_where_all_its_rows_lie_at_midnight(times, zone, found):
    rows = ", ".join(f"('e', TIMESTAMP '{time}')" for time in [*times, *times])
    exact = "SELECT 'f' AS event, TIMESTAMP '2026-01-05 10:00' AS timestamp"
    select = f"FROM (VALUES {rows}, ('none', NULL), (NULL, NULL)) AS t(event, timestamp)"
    got = known_by_day(duckdb.connect(), [exact, select, exact], ["UTC", zone, "UTC"])
    assert got == ({"e": [found]} if found else {})


def test_a_log_knows_which_events_have_no_time_of_day(tmp_path):
    bare = frame_of([("u", "a", "2026-01-05"), ("v", "b", "2026-01-06")])
    some = pd.concat([bare, frame_of([("v", "c", "2026-01-06T10:00:00")])])
    known = {"a": ["UTC"], "b": ["UTC"]}
    for frame, days in ((bare, known), (some, {})):
        typed = frame.assign(timestamp=pd.to_datetime(frame["timestamp"], format="ISO8601"))
        typed.to_parquet(tmp_path / "e.parquet")
        for log in (EventLog.from_frame(frame), EventLog.from_parquet(tmp_path / "e.parquet")):
            assert log.day_resolution == log.load["day_resolution"] == days
    aware = bare.assign(timestamp=pd.to_datetime(bare["timestamp"]).dt.tz_localize("Asia/Tokyo"))
    assert EventLog.from_frame(aware).day_resolution == {}, (
        "of a frame only UTC's days are looked at"
    )
