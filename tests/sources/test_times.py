"""How times are written."""

import datetime as dt
from zoneinfo import ZoneInfo

import duckdb
import pytest

from mctlib.contract import DataError
from tests.sources.reading import at, pick, read


def test_parquet_times(tmp_path):
    columns = "'ada' AS user_id, 'x' AS event"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'Asia/Tokyo'")
        con.execute(
            f"COPY (SELECT {columns}, TIMESTAMPTZ '2026-01-05 10:00:00+00' AS timestamp) TO"
            f" '{tmp_path}/zoned.parquet'"
        )
        con.execute(
            f"COPY (SELECT {columns}, TIMESTAMP '2026-01-05 10:00:00' AS timestamp) TO"
            f" '{tmp_path}/naive.parquet'"
        )
        con.execute(
            f"COPY (SELECT {columns}, 1767607200000 AS timestamp) TO '{tmp_path}/count.parquet'"
        )
    for name, zone in (("zoned", None), ("count", None), ("naive", "UTC")):
        row = read("events", tmp_path, path=f"{name}.parquet", timezone=zone)["events"][0]
        assert row["timestamp"] == at("2026-01-05T10:00:00")
    with pytest.raises(DataError, match="carry no time zone"):
        read("events", tmp_path, path="naive.parquet")


def test_an_infinite_time_in_parquet_is_none(tmp_path):
    with duckdb.connect() as con:
        con.execute(
            f"COPY (FROM (VALUES ('ada', 'x', TIMESTAMP 'infinity'), ('bo', 'x', '2026-01-05'))"
            f" AS t(user_id, event, timestamp)) TO '{tmp_path}/t.parquet'"
        )
    assert pick(
        read("events", tmp_path, path="t.parquet", timezone="UTC")["events"], "timestamp"
    ) == [(None,), (at("2026-01-05"),)]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_times_agree_with_the_standard_library(tmp_path, zone):
    moment = dt.datetime(2026, 3, 29, 0, 30, 15, 250000)
    moments = [
        moment + dt.timedelta(hours=7 * n) for n in range(60)
    ]  # over the change to summer time in Berlin
    written = [
        m.strftime(form)
        for form in ("%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
        for m in moments
    ]
    naive = moments + [m.replace(second=0, microsecond=0) for m in moments]
    naive += [m.replace(hour=0, minute=0, second=0, microsecond=0) for m in moments]
    expected = [
        m.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).replace(tzinfo=None) for m in naive
    ]
    written += [f"{m.isoformat()}+05:30" for m in moments]
    expected += [m - dt.timedelta(hours=5, minutes=30) for m in moments]
    (tmp_path / "t.csv").write_text(
        "user_id,event,timestamp\n" + "".join(f"u,e,{w}\n" for w in written)
    )
    assert [
        row["timestamp"] for row in read("events", tmp_path, path="t.csv", timezone=zone)["events"]
    ] == expected


@pytest.mark.parametrize(
    ("unit", "factor"), [("seconds", 1), ("milliseconds", 1_000), ("microseconds", 1_000_000)]
)
def test_counts_since_1970_by_magnitude(tmp_path, unit, factor):
    (tmp_path / "t.csv").write_text(
        f"user_id,event,timestamp\nu,e,{1767607200 * factor}\nu,e,{1000000000 * factor}.0\n"
    )
    rows = read("events", tmp_path, path="t.csv")["events"]
    assert pick(rows, "timestamp") == [(at("2026-01-05T10:00:00"),), (at("2001-09-09T01:46:40"),)]
