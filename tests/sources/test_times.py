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


# Written time -> its UTC by the clock of Berlin (an hour ahead in winter, two in summer), and
# whether it carries no zone.
WRITTEN = {
    "2026/01/05 10:11:12": ("2026-01-05T09:11:12", True),
    "2026/01/05": ("2026-01-04T23:00:00", True),
    "2026.1.5 9:05": ("2026-01-05T08:05:00", True),
    "2026-01-05t10:11:12": ("2026-01-05T09:11:12", True),
    "2026-01-05 10:11:12,500": ("2026-01-05T09:11:12.500000", True),
    "2026-01-05T10:11:12.1234567": ("2026-01-05T09:11:12.123456", True),
    "2026-01-05 10:11:12 PM": ("2026-01-05T21:11:12", True),
    "2026-01-05 12:11\u202fa.m.": ("2026-01-04T23:11:00", True),
    "2026-01-05\u00a010:11": ("2026-01-05T09:11:00", True),
    "2026-01-05 24:00:00": ("2026-01-05T23:00:00", True),
    "20260105": ("2026-01-04T23:00:00", True),
    "2026010510": ("2026-01-05T09:00:00", True),
    "202607051011": ("2026-07-05T08:11:00", True),
    "20260105101112": ("2026-01-05T09:11:12", True),
    "20260105T101112": ("2026-01-05T09:11:12", True),
    "20260105T1011Z": ("2026-01-05T10:11:00", False),
    "2026-01-05 10:11:12 utc": ("2026-01-05T10:11:12", False),
    "2026-01-05 10:11:12 UTC": ("2026-01-05T10:11:12", False),
    "2026-01-05 10:11:12.5 +0000 UTC": ("2026-01-05T10:11:12.500000", False),
    "2026-01-05 10:11:12 +01:00": ("2026-01-05T09:11:12", False),
    "2026-01-05 10:11:12-0530": ("2026-01-05T15:41:12", False),
    "2026-01-05T10:11:12+01:00[Europe/Berlin]": ("2026-01-05T09:11:12", False),
    "2026-07-05 10:11:12 Europe/Berlin": ("2026-07-05T08:11:12", False),
    "2026-07-05 10:11:12 PST": ("2026-07-05T18:11:12", False),
    "2026-07-05 10:11:12 CEST": ("2026-07-05T08:11:12", False),
    "Mon, 05 Jan 2026 10:11:12 GMT": ("2026-01-05T10:11:12", False),
    "5 Jan 2026 10:11:12 -0800": ("2026-01-05T18:11:12", False),
    "Mon Jan 05 2026 10:11:12 GMT+0100 (CET)": ("2026-01-05T09:11:12", False),
    "Mon Jan 05 10:11:12 UTC 2026": ("2026-01-05T10:11:12", False),
    "1767607872.5": ("2026-01-05T10:11:12.500000", False),
    "1767607872123456789": ("2026-01-05T10:11:12.123456", False),
}


def times(folder, *written, **source):
    text = "user_id|event|timestamp\n" + "".join(f"u|e|{w}\n" for w in written)
    (folder / "t.csv").write_text(text)
    return [
        row.get("timestamp") for row in read("events", folder, path="t.csv", **source)["events"]
    ]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_time_in_every_spelling(tmp_path, written):
    expected, is_naive = WRITTEN[written]
    assert times(tmp_path, written, timezone="Europe/Berlin") == [at(expected)]
    if not is_naive:
        assert times(tmp_path, written) == [at(expected)]
        return
    with pytest.raises(DataError) as error:
        times(tmp_path, written)
    assert f'carry no time zone, for example "{written}"' in str(error.value)


def test_many_spellings_in_one_column(tmp_path):
    dated = [written for written in WRITTEN if "1767607872" not in written]
    expected = [at(WRITTEN[written][0]) for written in dated]
    assert times(tmp_path, *dated, timezone="Europe/Berlin") == expected


BOTH = ' Which number is the day? Add to this source the line  date_format: "{}"  or  date_format:'
UNKNOWN = " Write them like 2026-01-05T10:11:12Z, or say how by date_format (of strptime)."
UNREADABLE = {
    "03/04/2026 10:11:12": BOTH.format("%d/%m/%Y %H:%M:%S") + ' "%m/%d/%Y %H:%M:%S".',
    "3.4.26": BOTH.format("%d.%m.%y") + ' "%m.%d.%y".',
    "31/12/2025": ' Add to this source the line  date_format: "%d/%m/%Y".',
    "Jan 5, 2026 10:11 AM": ' Add to this source the line  date_format: "%b %d, %Y %I:%M %p".',
    "2026-W02-1": ' Add to this source the line  date_format: "%G-W%V-%u".',
    "46027.42444": ' Add to this source the line  date_format: "excel".',
    "2026-01-05 10:11:12 IST": ' "IST" means different hours in different places. Add to this'
    ' source the lines  date_format: "%Y-%m-%d %H:%M:%S IST"  and  timezone: the IANA name of the'
    " zone that is meant.",
    **dict.fromkeys(
        (
            *("2026-01", "2026-02-29", "0000-00-00 00:00:00", "2026-01-05 10:11:12 (local)"),
            *("1.76760E+12", "1767607872,5", "123456789", "0", "infinity", "10:11:12"),
            *("2026-01-05 13:11 PM", "2026-01-05 10:11:12+25:00", "639032147120000000"),
        ),
        UNKNOWN,
    ),
}


@pytest.mark.parametrize("written", UNREADABLE)
def test_what_cannot_be_known_is_asked(tmp_path, written):
    with pytest.raises(DataError) as error:
        times(tmp_path, written, timezone="Europe/Berlin")
    said = f't.csv: 1 of 1 values of "timestamp" cannot be read as times, for example "{written}".'
    assert str(error.value) == said + UNREADABLE[written]


SAID = {
    "day first": ("%d/%m/%Y %H:%M", "03/04/2026 10:11", "2026-04-03T08:11:00"),
    "month first": ("%m/%d/%y", "3/4/26", "2026-03-03T23:00:00"),
    "half days": ("%b %d, %Y, %I:%M %p", "Jan 5, 2026, 10:11\u202fPM", "2026-01-05T21:11:00"),
    # 46027 days after 1899-12-30 is 2026-01-05, as the standard library counts
    "a spreadsheet's": ("excel", "46027,75", "2026-01-05T17:00:00"),
    "its own offset": ("%d.%m.%Y %H:%M %z", "05.01.2026 10:11 +0530", "2026-01-05T04:41:00"),
    "letters": ("%Y-%m-%d %H:%M IST", "2026-01-05 10:11 IST", "2026-01-05T09:11:00"),
    "several": (["%d/%m/%Y", "%d/%m/%Y %H:%M"], "05/01/2026", "2026-01-04T23:00:00"),
    "before any other": ("%Y%d%m", "20260501", "2026-01-04T23:00:00"),
    "another": ("%d/%m/%Y", "2026-01-05T10:11:12Z", "2026-01-05T10:11:12"),
}


@pytest.mark.parametrize(("format", "written", "expected"), SAID.values(), ids=SAID)
def test_a_date_format_says_what_cannot_be_known(tmp_path, format, written, expected):
    source = {"date_format": format, "timezone": "Europe/Berlin"}
    assert times(tmp_path, written, **source) == [at(expected)]


def test_a_format_of_four_digits_takes_no_year_of_two(tmp_path):
    with pytest.raises(DataError, match="1 of 1 values .* cannot be read as times"):
        times(tmp_path, "5/1/26", date_format="%d/%m/%Y", timezone="UTC")


def test_every_table_reads_its_times_by_the_same_rule(tmp_path):
    """Europe/Berlin for moments; a day is a day."""
    heads = {
        "people": ("user_id,signed_up_at", "signed_up_at"),
        "surveys": ("user_id,submitted_at,micro_conversion,answer", "submitted_at"),
        "backend": ("user_id,timestamp,event", "timestamp"),
        "spend": ("amount,day", "day"),
        "timeline": ("kind,day,label", "day"),
        "responses": ("alert_id,decided_on", "decided_on"),
    }
    for table, (head, column) in heads.items():
        n = head.count(",") + 1
        (tmp_path / "t.csv").write_text(f"{head}\n" + ",".join(["1", "13/01/2026", "x", "yes"][:n]))
        with pytest.raises(DataError, match='date_format: "%d/%m/%Y"'):
            read(table, tmp_path, path="t.csv", timezone="Europe/Berlin")
        source = {"path": "t.csv", "timezone": "Europe/Berlin", "date_format": "%d/%m/%Y"}
        value = read(table, tmp_path, **source)[table][0][column]
        is_day = column in ("day", "decided_on")
        assert value == (dt.date(2026, 1, 13) if is_day else at("2026-01-12T23:00:00"))


def test_a_day_and_its_clock_are_joined(tmp_path):
    (tmp_path / "t.csv").write_text(
        "user_id,event,Date,Time\nu,e,2026-01-05,10:11\nu,e,2026-01-05,9:05 PM\nu,e,2026-01-05,\n"
    )
    expected = [at("2026-01-05T09:11"), at("2026-01-05T20:05"), at("2026-01-04T23:00")]
    for columns in ({}, {"timestamp": ["Date", "Time"]}):
        source = {"path": "t.csv", "timezone": "Europe/Berlin", "columns": columns}
        rows = read("events", tmp_path, **source)["events"]
        assert [row["timestamp"] for row in rows] == expected
    with pytest.raises(DataError, match='no column "Tme", mapped to timestamp. Did you mean "Time'):
        read("events", tmp_path, path="t.csv", columns={"timestamp": ["Date", "Tme"]})
