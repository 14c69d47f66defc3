"""Every reader against its tool's traps, every bad input against its one sentence.

The fixtures in exports/ are written by hand from the tools' public documentation; all people in them are invented. Expected
values are read off the fixtures by hand. Binary forms (gzip, zip, Parquet) are made here from the text fixtures.
"""

import datetime as dt
import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from mctlib import contract
from mctlib.attribution.windows import attribution_windows
from mctlib.eventlog.store import sql_name, sql_text
from mctlib.sources import dataset as sources
from mctlib.sources import staging
from mctlib.sources.draft import draft
from mctlib.sources.readers import READERS, snowplow

EXPORTS = Path(__file__).parents[1] / "exports"
TYPEFORM = {
    "user_id": "user_id",
    "profile_completed": "Did you finish your profile?",
    "resume_uploaded": "Did you upload a résumé,\nor paste one?",
    "reason": "What stopped you?",
}
ZIGPOLL = {
    "user_id": "Customer ID",
    "submitted_at": "Date",
    "interview_scheduled": "Response",
    "reason": "Comment",
}
APP_LOG = {
    "user_id": "User ID",
    "event": "What happened",
    "timestamp": "When",
    "platform": "Device",
}


def read(table, root=EXPORTS, **source):
    """{canonical table: rows as dicts without their empty values} of one source."""
    with staging.workbench(None) as (con, folder):
        selects = sources.read_source(
            con, sources.Source(**source), table, root=root, folder=folder
        )
        found = {target: con.sql(select) for target, select in selects.items()}
        rows = {
            target: [zip(relation.columns, row) for row in relation.fetchall()]
            for target, relation in found.items()
        }
        return {
            target: [{k: v for k, v in row if v is not None} for row in rows[target]]
            for target in rows
        }


def pick(rows, *columns):
    return [tuple(row.get(column) for column in columns) for row in rows]


def at(text):
    return dt.datetime.fromisoformat(text)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project to write into, as the working directory."""
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(yaml, name="x", **files):
        for path, content in files.items():
            Path(path.replace("__", ".")).write_bytes(
                content.encode() if isinstance(content, str) else content
            )
        Path(f"params/data.{name}.yaml").write_text(f"name: {name}\n{yaml}\n", encoding="utf-8")
        return name

    write.root = tmp_path
    return write


# ---------------------------------------------------------------------------------------------------------- the canonical tables


def test_canonical_events():
    rows = read("events", path="canonical/events.csv")["events"]
    assert len(rows) == 11
    # Three ways to write a zone, a zone behind UTC, and one value that is no time.
    assert pick(rows, "event_id", "timestamp")[:5] == [
        ("e1", at("2026-01-05T09:00:00")),
        ("e2", at("2026-01-05T09:30:00")),
        ("e3", at("2026-01-05T09:45:00.250000")),
        ("e4", at("2026-01-04T20:00:00")),
        ("e5", at("2026-01-06T05:00:00")),
    ]
    assert pick(rows, "timestamp", "timestamp_raw")[9] == (None, "yesterday")
    assert pick(rows, "user_id", "anonymous_id", "utm_source", "partner_id")[3] == (
        None,
        "a1",
        "creator",
        "p7",
    )
    assert rows[8]["event"] == "feedback, given"
    # Unknown columns become properties, empty ones do not, and the e-mail column goes altogether.
    assert pick(rows, "properties") == [(None,)] * 5 + [('{"minutes":"12.5"}',)] * 2 + [(None,)] * 4


def test_the_other_canonical_tables():
    people = read("people", path="canonical/people.csv")["people"]
    assert pick(people, "user_id", "signed_up_at", "channel", "plan", "revenue", "consent") == [
        ("ada", at("2026-01-05T09:00:00"), "creator", "growth", 120.5, True),
        ("bo", at("2026-01-06T05:00:00"), "search", "starter", None, True),
        ("cy", at("2026-01-07T08:00:00"), None, "starter", 0.0, None),
        ("dee", at("2026-01-09T08:00:00"), "search", "growth", None, False),
    ]
    assert "favourite_colour" not in people[0]
    surveys = read("surveys", path="canonical/surveys.csv")["surveys"]
    assert pick(surveys, "user_id", "answer") == [("ada", "yes"), ("bo", "no"), ("cy", "yes")]
    # 1767606300 s = 2026-01-05 09:45:00 UTC (date -u -d @1767606300)
    backend = read("backend", path="canonical/backend.csv")["backend"]
    assert pick(backend, "timestamp") == [
        (at("2026-01-05T09:45:00"),),
        (at("2026-01-06T05:30:00"),),
    ]
    spend = read("spend", path="canonical/spend.csv")["spend"]
    assert pick(spend, "day", "amount") == [
        (dt.date(2026, 1, 5), 250.0),
        (dt.date(2026, 1, 6), 99.9),
    ]
    timeline = read("timeline", path="canonical/timeline.csv")["timeline"]
    assert pick(timeline, "day", "kind") == [
        (dt.date(2026, 1, 6), "competitor"),
        (dt.date(2026, 1, 8), "release"),
    ]
    responses = read("responses", path="canonical/responses.csv")["responses"]
    assert pick(responses, "detected_on", "decided_on", "shipped_on") == [
        (dt.date(2026, 1, 7), dt.date(2026, 1, 8), None)
    ]


def test_mapped_columns_with_byte_order_mark_semicolons_and_a_zone():
    rows = read(
        "events",
        path="columns/app_log.csv",
        format="columns",
        columns=APP_LOG,
        timezone="Europe/Berlin",
    )["events"]
    # 10:00 in Berlin is 09:00 UTC in winter, 08:00 in summer.
    assert pick(rows, "user_id", "event", "timestamp", "properties") == [
        ("u1", "Signed up", at("2026-01-05T09:00:00"), None),
        ("u1", "Uploaded résumé", at("2026-01-05T09:20:00"), '{"Session length":"20"}'),
        ("u2", "Signed up", at("2026-07-05T08:00:00"), None),
    ]
    mapped = {"user_id": "User ID", "signed_up_at": "Created", "plan": "Plan"}
    people = read(
        "people", path="columns/crm.csv", format="columns", columns=mapped, timezone="UTC"
    )["people"]
    assert pick(people, "user_id", "signed_up_at", "plan") == [
        ("u1", at("2026-01-05"), "growth"),
        ("u2", at("2026-07-05"), "starter"),
    ]


# --------------------------------------------------------------------------------------------------------------------- the tools


def test_mixpanel():
    rows = read("events", path="mixpanel/export.jsonl", format="mixpanel")["events"]
    assert pick(rows, "event_id", "user_id", "anonymous_id", "timestamp") == [
        ("m1", "u-100", "dev-1", at("2026-01-05T10:00:00")),
        ("m0", None, "dev-1", at("2026-01-05T09:50:00")),
        ("m2", "u-100", "dev-1", at("2026-01-05T10:01:00")),
        ("m2", "u-100", "dev-1", at("2026-01-05T10:01:00")),  # twice
        ("m3", "u-100", None, at("2026-01-05T10:02:00")),
        ("m4", "u-200", None, at("2026-01-05T10:05:00")),
        ("m5", "u-200", None, at("2026-01-05T10:06:00")),
        ("m6", "u-200", None, at("2026-01-05T10:15:00")),
        ("m7", None, None, at("2026-01-05T10:16:40")),  # an empty distinct_id is nobody
        ("m8", None, "dev-3", at("2026-01-05T10:18:20")),
        ("m9", "u-200", None, at("2026-01-05T10:20:00")),
    ]
    assert rows[0]["received_at"] == at("2026-01-05T10:00:03")
    assert pick(rows, "platform")[0:8] == [("web",)] * 4 + [("ios",)] + [("android",)] * 2 + [
        ("api",)
    ]
    assert pick(rows, "app_version", "utm_source", "partner_id", "promo_code")[:2] == [
        (None, "newsletter", None, None),
        (None, "creator", "p7", None),
    ]
    assert (rows[4]["app_version"], rows[5]["promo_code"]) == ("2.4.0", "HELLO")
    assert pick(rows, "properties") == [
        ('{"plan":"growth"}',),
        (None,),
        (None,),
        (None,),
        ('{"pages":2}',),
        (None,),
        ('{"note":"call [e-mail removed] back","tags":["a","b"]}',),
        ('{"minutes":9.5}',),
        (None,),
        (None,),
        (None,),
    ]


def test_mixpanel_times_of_an_older_project_follow_its_clock():
    rows = read(
        "events", path="mixpanel/export.jsonl", format="mixpanel", timezone="America/New_York"
    )["events"]
    assert rows[0]["timestamp"] == at("2026-01-05T15:00:00")  # 10:00 in New York
    assert rows[0]["received_at"] == at("2026-01-05T10:00:03")  # the server's own clock is UTC


def test_mixpanel_in_milliseconds(tmp_path):
    first = (EXPORTS / "mixpanel/export.jsonl").read_text().split("\n")[0]
    (tmp_path / "new.jsonl").write_text(
        first.replace('"time": 1767607200', '"time": 1767607200123')
    )
    row = read(
        "events", tmp_path, path="new.jsonl", format="mixpanel", columns={"channel": "plan"}
    )["events"][0]
    assert row["timestamp"] == at("2026-01-05T10:00:00.123")
    assert (
        row["channel"] == "growth" and "properties" not in row
    )  # a property can be mapped like a column


AMPLITUDE = [
    ("i0", None, "9001", at("2026-01-05T10:00:00.123456"), "creator", "web"),
    (
        "i1",
        "u-100",
        "9001",
        at("2026-01-05T10:11:12.123456"),
        None,
        "web",
    ),  # initial_utm_source is not the event's
    ("i2", "u-100", "9001", at("2026-01-05T10:12:00.123456"), None, "ios"),  # utm_source "EMPTY"
    ("i3", "u-200", "9002", at("2026-01-05T11:00:00.123456"), "search", "android"),
    ("i3", "u-200", "9002", at("2026-01-05T11:00:00.123456"), "search", "android"),
    ("i4", None, "dev-c", at("2026-01-05T12:00:00.123456"), None, "web"),
]


def test_amplitude_as_the_zip_of_gzipped_members_it_comes_in(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for part in sorted((EXPORTS / "amplitude").glob("*.json")):
            archive.writestr(f"412/{part.name}.gz", gzip.compress(part.read_bytes()))
    for root, path in ((EXPORTS, "amplitude/*.json"), (tmp_path, "export.zip")):
        rows = read("events", root, path=path, format="amplitude")["events"]
        assert (
            pick(rows, "event_id", "user_id", "anonymous_id", "timestamp", "utm_source", "platform")
            == AMPLITUDE
        )
        assert pick(rows, "partner_id", "app_version", "session_id")[:3] == [
            ("p7", None, None),
            (None, None, "1767607272000"),
            (None, "2.4.0", None),
        ]
        assert '"plan":"growth","pages":2' in rows[2]["properties"]
        assert '"initial_utm_source":"creator"' in rows[0]["properties"] and "EMPTY" not in str(
            rows
        )


def test_segment():
    tables = read("events", path="segment/*.csv", format="segment")
    rows = tables["events"]
    assert len(rows) == 11
    assert pick(rows, "event_id", "user_id", "anonymous_id", "event", "timestamp", "platform")[
        :6
    ] == [
        (
            "s0",
            None,
            "anon-1",
            "job_viewed",
            at("2026-01-05T09:50:01"),
            "web",
        ),  # not the device's original_timestamp
        ("s1", "u-100", "anon-1", "signed_up", at("2026-01-05T10:00:01"), "web"),
        ("s2", "u-100", None, "resume_uploaded", at("2026-01-05T10:05:01"), "ios"),
        (
            "s3",
            None,
            None,
            "survey_completed",
            at("2026-01-05T10:06:01"),
            "unknown",
        ),  # an e-mail in anonymous_id is no id
        ("s4", None, "anon-2", "job_viewed", at("2026-01-05T10:07:01"), "android"),
        ("s5", "u-300", None, "signed_up", at("2026-01-05T10:08:01"), "api"),
    ]
    # The UTM column has a zero-width space in its name; no app version was ever sent.
    touched = pick(rows, "utm_source", "utm_medium", "utm_campaign", "partner_id")
    assert touched[:2] == [("creator", "video", "spring", "p7"), (None,) * 4]
    assert not any("app_version" in row for row in rows)
    assert pick(tables["identities"], "anonymous_id", "user_id") == [
        ("anon-1", "u-100"),
        ("anon-2", "u-200"),
    ]


def test_posthog_merges_come_from_the_persons_model():
    tables = read("events", path="posthog/*.jsonl", format="posthog")
    assert pick(
        tables["events"], "event_id", "user_id", "anonymous_id", "timestamp", "platform"
    ) == [
        (
            "p0",
            "person-2",
            "018f-anon-1",
            at("2026-01-05T09:50:00"),
            "web",
        ),  # the event itself still says person-1
        ("p1", "person-2", "u-100", at("2026-01-05T10:00:00.5"), "web"),
        ("p2", "person-2", "u-100", at("2026-01-05T10:05:00"), "ios"),
        (
            "p3",
            "person-9",
            "018f-anon-9",
            at("2026-01-05T11:00:00"),
            "android",
        ),  # unknown to persons: kept with its own
    ]
    assert sorted(pick(tables["identities"], "anonymous_id", "user_id")) == [
        ("018f-anon-1", "person-2"),
        ("u-100", "person-2"),
    ]
    assert tables["events"][1]["properties"] == '{"$set":{"plan":"growth"}}'
    alone = read("events", path="posthog/events.jsonl", format="posthog")
    assert pick(alone["events"], "user_id") == [
        ("person-1",),
        ("person-2",),
        ("person-2",),
        ("person-9",),
    ]


def test_ga4_takes_the_events_own_campaign_and_no_event_id(tmp_path):
    parquet = tmp_path / "events.parquet"  # as exported to Parquet: true lists and structs
    duckdb.sql(f"COPY (FROM read_json('{EXPORTS}/ga4/*.jsonl')) TO '{parquet}' (FORMAT parquet)")
    for root, path in ((EXPORTS, "ga4/*.jsonl"), (tmp_path, "events.parquet")):
        rows = read("events", root, path=path, format="ga4")["events"]
        assert pick(
            rows,
            "user_id",
            "anonymous_id",
            "event",
            "timestamp",
            "utm_source",
            "utm_medium",
            "utm_campaign",
        ) == [
            (None, "555.111", "page_view", at("2026-01-05T10:00:00"), "creator", "video", "spring"),
            (
                "u-100",
                "555.111",
                "signed_up",
                at("2026-01-05T10:00:01.5"),
                None,
                None,
                None,
            ),  # traffic_source is first touch
            (
                "u-100",
                "555.111",
                "resume_uploaded",
                at("2026-01-05T10:00:02.5"),
                "mail",
                "email",
                "remind",
            ),
            (
                "u-100",
                "555.111",
                "resume_uploaded",
                at("2026-01-05T10:00:02.5"),
                "mail",
                "email",
                "remind",
            ),
            (None, "555.222", "signed_up", at("2026-01-05T10:00:09"), None, None, None),
        ]
        assert pick(rows, "session_id", "platform", "app_version")[3:] == [
            ("555.111.1767607200", "web", None),
            (None, "android", "2.4.0"),
        ]
        assert (
            rows[1]["properties"] == '{"method":"link","score":1.5}'
            and rows[2]["properties"] == '{"pages":2}'
        )
        assert not any("event_id" in row for row in rows)


def test_snowplow_with_and_without_a_header(tmp_path):
    body = (EXPORTS / "snowplow/enriched.tsv").read_text()
    body = body.replace('"', '""').replace("\t{", '\t"{').replace("}\t", '}"\t')
    (tmp_path / "headed.tsv").write_text("\t".join(snowplow.COLUMNS) + "\n" + body)
    assert len(snowplow.COLUMNS) == 131
    rows = read("events", path="snowplow/enriched.tsv", format="snowplow")["events"]
    assert pick(
        rows, "event_id", "user_id", "anonymous_id", "event", "timestamp", "platform", "utm_source"
    ) == [
        ("sp-0", None, "dom-1", "page_view", at("2026-01-05T10:00:04"), "web", "creator"),
        ("sp-1", "u-100", "dom-1", "resume_uploaded", at("2026-01-05T10:01:04"), "web", None),
        (
            "sp-2",
            "u-200",
            "dom-2",
            "job_saved",
            at("2026-01-05T10:02:05"),
            "android",
            None,
        ),  # no derived time: the collector's
        ("sp-3", "u-200", "net-2", "signed_up", at("2026-01-05T10:03:05"), "api", None),
    ]
    assert (
        '"pages":2' in rows[1]["properties"]
        and '"se_label":"a \\"good\\" one"' in rows[2]["properties"]
    )
    headed = read("events", tmp_path, path="headed.tsv", format="snowplow")["events"]
    assert (
        pick(headed, "event_id", "event", "timestamp")[:2]
        == pick(rows, "event_id", "event", "timestamp")[:2]
    )


def test_typeform_questions_are_the_headers():
    rows = read("surveys", path="typeform/responses.csv", format="typeform", columns=TYPEFORM)[
        "surveys"
    ]
    assert pick(
        rows, "user_id", "submitted_at", "micro_conversion", "answer", "reason", "tool"
    ) == [
        ("u-100", at("2026-01-10T12:00:00"), "profile_completed", "yes", None, "typeform"),
        (
            "u-200",
            at("2026-01-10T12:03:00"),
            "profile_completed",
            "no",
            "Too many fields",
            "typeform",
        ),
        (
            "u-300",
            at("2026-01-10T12:06:00"),
            "profile_completed",
            "yes",
            "Write to [e-mail removed]",
            "typeform",
        ),
        ("u-100", at("2026-01-10T12:00:00"), "resume_uploaded", "yes", None, "typeform"),
        (
            "u-300",
            at("2026-01-10T12:06:00"),
            "resume_uploaded",
            "no",
            "Write to [e-mail removed]",
            "typeform",
        ),
    ]  # u-200 left the second question blank


def test_zigpoll_directly_and_through_segment():
    rows = read("surveys", path="zigpoll/responses.csv", format="zigpoll", columns=ZIGPOLL)[
        "surveys"
    ]
    assert pick(rows, "user_id", "submitted_at", "micro_conversion", "answer", "reason") == [
        ("u-100", at("2026-01-10T12:00:00"), "interview_scheduled", "yes", None),
        ("u-200", at("2026-01-10T12:05:00"), "interview_scheduled", "no", "No free slot"),
        (None, at("2026-01-10T12:06:00"), "interview_scheduled", "yes", None),
    ]
    where = {"path": "zigpoll_segment/*.csv", "format": "zigpoll_segment"}
    rows = read("surveys", **where, columns={"interview_scheduled": "scheduled_an_interview"})[
        "surveys"
    ]
    assert pick(rows, "user_id", "answer") == [("u-100", "yes"), ("u-200", "no"), (None, "yes")]
    assert "@" not in str(rows)
    by_mail = read(
        "surveys",
        **where,
        columns={"interview_scheduled": "scheduled_an_interview", "user_id": "email"},
    )["surveys"]
    assert by_mail[2]["user_id"] == "cem@example.org"  # asked for in the YAML; the store hashes it


# -------------------------------------------------------------------------------------------------------- packing, times, privacy


def test_packed_files_read_like_plain_ones(tmp_path):
    plain = EXPORTS / "canonical/events.csv"
    expected = read("events", path="canonical/events.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "no_suffix").write_bytes(gzip.compress(plain.read_bytes()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(plain, "in/events.csv")
        archive.writestr("__MACOSX/._events.csv", b"\0")
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS FROM read_csv('{plain}', all_varchar=true)")
        con.execute(f"COPY t TO '{tmp_path}/a.parquet' (FORMAT parquet)")
        con.execute(f"COPY t TO '{tmp_path}/a.jsonl' (FORMAT json)")
        con.execute(f"COPY t TO '{tmp_path}/array.json' (FORMAT json, ARRAY true)")
    for name in ("a.csv.gz", "no_suffix", "a.zip", "a.parquet", "a.jsonl", "array.json"):
        assert read("events", tmp_path, path=name) == expected, name


def test_files_of_one_source_may_differ_in_columns(tmp_path):
    (tmp_path / "1.csv").write_text("user_id,event,timestamp\nada,x,2026-01-05T00:00:00Z\n")
    (tmp_path / "2.csv").write_text(
        "timestamp;event;user_id;channel\n2026-01-06T00:00:00Z;y;bo;search\n"
    )
    rows = read("events", tmp_path, path=["1.csv", "2.csv", "*.csv"])[
        "events"
    ]  # a file named twice is read once
    assert pick(rows, "user_id", "event", "channel") == [("ada", "x", None), ("bo", "y", "search")]


def test_parquet_times(tmp_path):
    columns = "'ada' AS user_id, 'x' AS event"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'Asia/Tokyo'")
        con.execute(
            f"COPY (SELECT {columns}, TIMESTAMPTZ '2026-01-05 10:00:00+00' AS timestamp) TO '{tmp_path}/zoned.parquet'"
        )
        con.execute(
            f"COPY (SELECT {columns}, TIMESTAMP '2026-01-05 10:00:00' AS timestamp) TO '{tmp_path}/naive.parquet'"
        )
        con.execute(
            f"COPY (SELECT {columns}, 1767607200000 AS timestamp) TO '{tmp_path}/count.parquet'"
        )
    for name, zone in (("zoned", None), ("count", None), ("naive", "UTC")):
        row = read("events", tmp_path, path=f"{name}.parquet", timezone=zone)["events"][0]
        assert row["timestamp"] == at("2026-01-05T10:00:00")
    with pytest.raises(contract.DataError, match="carry no time zone"):
        read("events", tmp_path, path="naive.parquet")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_parquet_that_is_read_where_it_lies_gives_what_its_text_gives(tmp_path, zone):
    """Columns that need no cleaning are taken bare, and times as they are; each column here has one value that forbids it, or none."""
    events = """VALUES ('ada', 'join', 'tidy one', TIMESTAMP '2026-03-29 00:30:15.25', DATE '2026-01-05', TIMESTAMPTZ '2026-07-05 10:00:00+02'),
        (' bo ', 'null', 'tidy', '2026-07-05', NULL, NULL), (chr(160) || 'cy', 'join', 'ab', NULL, '2026-07-05', '2026-01-05 10:00:00.123456+00'),
        ('é', '', chr(9) || 'tab', '1999-12-31 23:59:59.999999', NULL, NULL), ('NaN', 'NaT', NULL, '2026-01-05 10:00:00', '2026-01-06', NULL)"""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            f"CREATE TABLE t AS FROM ({events}) AS t(user_id, event, channel, timestamp, received_at, seen)"
        )
        con.execute(f"COPY t TO '{tmp_path}/t.parquet'")
        con.execute(f"COPY (SELECT COLUMNS(*)::VARCHAR FROM t) TO '{tmp_path}/t.csv'")
    typed, texts = (
        read("events", tmp_path, path=f"t.{kind}", timezone=zone)["events"]
        for kind in ("parquet", "csv")
    )
    assert typed == texts
    assert pick(typed, "user_id", "event", "channel")[:2] == [
        ("ada", "join", "tidy one"),
        ("bo", None, "tidy"),
    ]
    zoned = [
        read("events", tmp_path, path=f"t.{kind}", timezone=zone, columns={"timestamp": "seen"})[
            "events"
        ]
        for kind in ("parquet", "csv")
    ]
    assert (
        pick(zoned[0], "timestamp")[:3]
        == pick(zoned[1], "timestamp")[:3]
        == [(at("2026-07-05T08:00:00"),), (None,), (at("2026-01-05T10:00:00.123456"),)]
    )


def test_an_infinite_time_in_parquet_is_none(tmp_path):
    with duckdb.connect() as con:
        con.execute(
            f"COPY (FROM (VALUES ('ada', 'x', TIMESTAMP 'infinity'), ('bo', 'x', '2026-01-05')) AS t(user_id, event, timestamp)) TO '{tmp_path}/t.parquet'"
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
        m.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.timezone.utc).replace(tzinfo=None)
        for m in naive
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


def test_regulated_values_never_pass(tmp_path):
    (tmp_path / "t.jsonl").write_text(
        '{"user_id":"u","event":"e","timestamp":"2026-01-05T00:00:00Z","User Name":"Ada L","phone":"+491701234",'
        '"context":{"ip":"203.0.113.1","traits":{"firstName":"Ada","email":"ada@example.org","ok":1}},"plan_name":"growth",'
        '"$set":{"name":{"first":"Ada"},"$email":"ada@example.org"},"url":"https://example.org/x?m=ada%40example.org&y=1"}\n'
    )
    row = read("events", tmp_path, path="t.jsonl")["events"][0]["properties"]
    assert row == (
        '{"context":{"traits":{"ok":1}},"plan_name":"growth","$set":{},"url":"https://example.org/x?m=[e-mail removed]&y=1"}'
    )


# ---------------------------------------------------------------------------------------------------------------- whole datasets

CANONICAL = "\n".join(f"{table}: {{path: canonical/{table}.csv}}" for table in contract.TABLES)


def test_load_accounts_for_every_row(project):
    shutil.copytree(EXPORTS / "canonical", "canonical")
    opened = sources.open_log(project(CANONICAL))
    events = opened.load["tables"]["events"]
    # 11 rows: one unreadable time, one technical duplicate, dee (one event) refused consent.
    assert (events["n_read"], events["n_kept"]) == (11, 8)
    assert events["n_rejected"] == {
        "unreadable timestamp": 1,
        "same event_id again": 1,
        "no consent": 1,
    }
    for table in opened.load["tables"].values():
        assert table["n_read"] == table["n_kept"] + sum(table["n_rejected"].values())
    counts = dict(opened.describe()[["event", "n_users"]].itertuples(index=False, name=None))
    assert counts["signed_up"] == 3 and counts["job_viewed"] == 1
    assert opened.load["n_users"] == 3  # ada with her anonymous visit, bo, cy
    assert list(opened.table("surveys").answer) and len(opened.table("spend")) == 2


def test_posthog_people_are_stitched_over_the_merge(project):
    shutil.copytree(EXPORTS / "posthog", "posthog")
    people = {"crm__csv": "user_id,plan\nu-100,growth\n"}
    opened = sources.open_log(
        project(
            "events: {path: posthog/*.jsonl, format: posthog}\npeople: {path: crm.csv}", **people
        )
    )
    assert opened.load["n_users"] == 2
    assert list(opened.counts(by="plan").query("plan == 'growth'").n_events) == [
        1,
        1,
        1,
    ]  # the CRM's id is a distinct_id


@pytest.mark.parametrize(
    "format", ["mixpanel", "amplitude", "segment", "posthog", "ga4", "snowplow"]
)
def test_no_address_reaches_a_store(project, format):
    shutil.copytree(EXPORTS / format, "in")
    opened = sources.open_log(project(f'events: {{path: "in/*", format: {format}}}'))
    kept = str(opened._con.sql("FROM events").fetchall()) + str(
        duckdb.sql("FROM 'outputs/store/x.rejected.parquet'").fetchall()
    )
    assert (
        "Ada" not in kept
        and 'example.org"' not in kept
        and "203.0.113" not in kept
        and "u-100" not in kept
    )
    assert all(word not in kept for word in ("ada@", "ben@", "cem@"))


def test_same_inputs_no_work_changed_inputs_loaded_anew(project, monkeypatch):
    name = project(
        "events: {path: e.csv}", e__csv="user_id,event,timestamp\nu,a,2026-01-05T00:00:00Z\n"
    )
    sources.open_log(name)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "load", lambda *args, **kwargs: pytest.fail("loaded again"))
        assert sources.open_log(name).event_names == ["a"]
        assert sources.open_log(Path("params/data.x.yaml")).event_names == ["a"]
    Path("e.csv").write_text("user_id,event,timestamp\nu,b,2026-01-05T00:00:00Z\n")
    assert sources.open_log(name).event_names == ["b"]
    Path("outputs/store/x.duckdb").write_bytes(b"damaged")
    assert sources.open_log(name).event_names == ["b"]
    assert sorted(p.name for p in Path("outputs/store").iterdir()) == [
        "x.duckdb",
        "x.load.json",
        "x.rejected.parquet",
    ]


def test_demo(project):
    opened = sources.open_log(project("demo: {seed: 3, users: 300}"))
    assert "signed_up" in opened.event_names and opened.load["tables"]["people"]["n_read"] == 300


FIXTURES = [
    [
        "canonical/events.csv",
        "canonical/people.csv",
        "canonical/surveys.csv",
        "canonical/spend.csv",
        "canonical/timeline.csv",
    ],
    ["columns/app_log.csv", "columns/crm.csv"],
    ["mixpanel/export.jsonl"],
    ["amplitude/part_0.json", "amplitude/part_1.json"],
    ["segment/tracks.csv", "segment/identifies.csv"],
    ["posthog/events.jsonl", "posthog/persons.jsonl"],
    ["ga4/events_20260105.jsonl"],
    ["snowplow/enriched.tsv"],
    ["canonical/events.csv", "canonical/responses.csv", "typeform/responses.csv"],
    [
        "canonical/events.csv",
        "canonical/backend.csv",
        "zigpoll/responses.csv",
        "zigpoll_segment/survey_completed.csv",
    ],
]


@pytest.mark.parametrize("files", FIXTURES, ids=lambda files: files[-1].split("/")[0])
def test_a_drafted_yaml_is_valid_and_its_sources_read(project, files):
    text = draft("mine", [str(EXPORTS / file) for file in files])
    Path("params/data.mine.yaml").write_text(text)
    dataset = sources.read_dataset(Path("params/data.mine.yaml")) if "events:" in text else None
    formats = {file.split("/")[0] for file in files} - {"zigpoll"}
    drafted = list(dataset.sources())
    assert {source.format for _, source in drafted} >= formats - {"canonical"}
    for table, source in drafted:
        assert read(table, **source.model_dump())[table]


def test_a_drafted_yaml_in_full(project):
    for name in ("app_log", "crm"):
        shutil.copy(EXPORTS / f"columns/{name}.csv", f"{name}.csv")
    assert draft("talent", ["app_log.csv", "crm.csv"]) == (
        "# Drafted from the files; look at every line marked with a question mark.\n"
        "name: talent\n"
        "events:\n"
        '  - path: "app_log.csv"\n'
        "    format: columns\n"
        "    columns:\n"
        '      "user_id": "User ID"  # guessed?\n'
        '      "event": "What happened"  # guessed?\n'
        '      "timestamp": "When"  # guessed?\n'
        '      "platform": "Device"  # guessed?\n'
        "    timezone: UTC  # guessed? the times carry no zone\n"
        "people:\n"
        '  - path: "crm.csv"\n'
        "    format: columns\n"
        "    columns:\n"
        '      "user_id": "User ID"  # guessed?\n'
        '      "signed_up_at": "Created"  # guessed?\n'
        '      "plan": "Plan"  # guessed?\n'
        "    timezone: UTC  # guessed? the times carry no zone\n"
    )


# ------------------------------------------------------------------------------------------------------------------- bad input

HEAD = "user_id,event,timestamp\n"
ROW = "u,a,2026-01-05T00:00:00Z\n"
PACKED = gzip.compress(
    (HEAD + "".join(f"u{n},a,2026-01-05T00:00:{n % 60:02}Z\n" for n in range(5000))).encode()
)
MIXPANEL = '{"event":"a","properties":{"time":1767607200,"distinct_id":"u"}}\n'
BAD_FILES = {
    "missing": (
        "{path: evnts.csv}",
        {"events__csv": HEAD},
        'The file "evnts.csv" does not exist in {root}. Did you mean "events.csv"?',
    ),
    "glob": ('{path: "e/*.csv"}', {}, 'No file matches "e/*.csv" in {root}.'),
    "empty": ("{path: e.csv}", {"e__csv": ""}, "e.csv is empty."),
    "empty gzip": ("{path: e.csv}", {"e__csv": gzip.compress(b"")}, "e.csv is empty."),
    "web page": (
        "{path: e.csv}",
        {
            "e__csv": '\n<!-- login -->\n<!DOCTYPE html><html lang="en"><body>Sign in</body></html>\n'
        },
        "e.csv is a web page (HTML), not an export. Download it again, signed in.",
    ),
    "header only": ("{path: e.csv}", {"e__csv": HEAD}, "e.csv has a header and no rows."),
    "column missing": (
        "{path: e.csv}",
        {"e__csv": "user_id,event,time_stamp\n" + ROW},
        'e.csv has no column "timestamp" for events. Did you mean "time_stamp"?'
        ' Map it with columns: {{timestamp: "its header"}}.',
    ),
    "mapped column missing": (
        "{path: e.csv, format: columns, columns: {user_id: User Id}}",
        {"e__csv": "User_ID,event,timestamp\n" + ROW},
        'e.csv has no column "User Id", mapped to user_id. Did you mean "User_ID"?',
    ),
    "map to nowhere": (
        "{path: e.csv, format: columns, columns: {userid: user_id}}",
        {"e__csv": HEAD + ROW},
        'e.csv: "userid" in columns is not a column of events. Did you mean "user_id"?',
    ),
    "no map": (
        "{path: e.csv, format: columns}",
        {"e__csv": HEAD + ROW},
        "e.csv: format columns needs a map, columns: {{canonical column: its header}}.",
    ),
    "column doubled": (
        "{path: e.csv}",
        {"e__csv": "user_id,event,timestamp,Event\nu,a,2026-01-05T00:00:00Z,b\n"},
        'e.csv has the column "event" twice. Rename or remove one of them.',
    ),
    "ragged": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW + "u,a\n"},
        "e.csv has in line 3 2 columns instead of 3. Check the separators and quotes there.",
    ),
    "open quote": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW + 'u,"a,2026\nu,b,2026\n'},
        "e.csv has from line 3 a quote that is never closed.",
    ),
    "unreadable times": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW * 5 + "u,a,01/05/2026\n"},
        'e.csv: 1 of 6 values of "timestamp" cannot be read as times, for example "01/05/2026".'
        " Write them like 2026-01-05T10:11:12Z.",
    ),
    "no zone": (
        "{path: e.csv}",
        {"e__csv": HEAD + "u,a,2026-01-05 10:00:00\n"},
        'e.csv: the times in "timestamp" carry no time zone, for example "2026-01-05 10:00:00". Add to this source the line'
        "  timezone: UTC  (or the IANA name of the zone they were written in).",
    ),
    "bare days": (
        "{path: e.csv}",
        {"e__csv": HEAD + "u,a,2026-01-05\n"},
        'e.csv: the times in "timestamp" carry no time zone, for example "2026-01-05". Add to this source the line'
        "  timezone: UTC  (or the IANA name of the zone they were written in).",
    ),
    "units mixed": (
        "{path: e.csv}",
        {"e__csv": HEAD + "u,a,1767607200\nu,a,1767607201\nu,b,1767607200000\n"},
        'e.csv: the times in "timestamp" mix seconds (2 rows) and milliseconds (1 rows). Split the file by unit.',
    ),
    "future": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW + "u,a,2101-01-05T00:00:00Z\n"},
        'e.csv: 1 of 2 rows of events have a timestamp in the future (for example "2101-01-05T00:00:00Z");'
        " more than one row in ten wrong in one way means the file is misread, so nothing was loaded.",
    ),
    "not UTF-8": (
        "{path: e.csv}",
        {"e__csv": (HEAD + ROW + "José,a,2026-01-05T00:00:00Z\n").encode("latin-1")},
        "e.csv is not UTF-8 in line 3. Save it as UTF-8.",
    ),
    "not UTF-8 late": (
        "{path: e.csv}",
        {"e__csv": (HEAD + ROW * 5000 + "José,a,2026-01-05T00:00:00Z\n").encode("latin-1")},
        "e.csv is not UTF-8 in line 5002. Save it as UTF-8.",
    ),
    "gzip cut": (
        "{path: e.csv.gz}",
        {"e__csv__gz": PACKED[:-200]},
        "e.csv.gz is cut short: the gzip stream ends too early. Copy or export it again.",
    ),
    "zip cut": (
        "{path: e.zip}",
        {"e__zip": b"PK\x03\x04" + b"0" * 50},
        "e.zip is cut short or damaged: it is no complete zip archive. Copy or export it again.",
    ),
    "parquet cut": (
        "{path: e.parquet}",
        {"e__parquet": b"PAR1" + b"0" * 50},
        "e.parquet is not a complete Parquet file. Copy or export it again.",
    ),
    "JSON key doubled": (
        "{path: e.jsonl, format: mixpanel}",
        {"e__jsonl": MIXPANEL + '{"event":"a","event":"b"}\n'},
        'e.jsonl has in line 2 the key "event" twice.',
    ),
    "JSON cut": (
        "{path: e.jsonl, format: mixpanel}",
        {"e__jsonl": MIXPANEL * 2 + MIXPANEL[:30]},
        "e.jsonl is not valid JSON in line 3: the line is cut or damaged. Export it again or remove the line.",
    ),
    "Excel": ("{path: e.xlsx}", {}, "e.xlsx is an Excel workbook. Save the sheet as CSV."),
    "wrong format": (
        "{path: e.csv, format: mixpannel}",
        {"e__csv": HEAD + ROW},
        'data.x.yaml: the format "mixpannel" of events is not known. Did you mean "mixpanel"?',
    ),
    "CSV for mixpanel": (
        "{path: e.csv, format: mixpanel}",
        {"e__csv": HEAD + ROW},
        'e.csv is no mixpanel export: "properties" is missing (of event, properties).',
    ),
    "amplitude for mixpanel": (
        "{path: e.json, format: mixpanel}",
        {"e__json": (EXPORTS / "amplitude/part_0.json").read_bytes()},
        'e.json is no mixpanel export: "event" is missing (of event, properties). It looks like format: amplitude.',
    ),
}


@pytest.mark.parametrize(("source", "files", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_give_one_sentence(project, source, files, sentence):
    if "xlsx" in source:
        with zipfile.ZipFile("e.xlsx", "w") as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(contract.DataError) as error:
        sources.open_log(project(f"events: {source}", **files))
    assert str(error.value) == sentence.format(root=project.root)
    assert not list(Path("outputs/store").glob(".staging*"))


def test_numbers_that_are_none(project):
    files = {"e__csv": HEAD + ROW, "s__csv": 'day,amount,partner_id\n2026-01-05,"1.234,50",p\n'}
    with pytest.raises(contract.DataError) as error:
        sources.open_log(project("events: {path: e.csv}\nspend: {path: s.csv}", **files))
    assert (
        str(error.value)
        == 's.csv: 1 of 1 values of "amount" are no numbers like 1234.50, for example "1.234,50".'
    )


def test_a_consent_nobody_understands_is_refused(project):
    files = {"e__csv": HEAD + ROW, "p__csv": "user_id,consent\nu,yes\nv,withdrawn\n"}
    with pytest.raises(
        contract.DataError,
        match='1 of 2 values of "consent" are neither yes nor no, for example "withdrawn"',
    ):
        sources.open_log(project("events: {path: e.csv}\npeople: {path: p.csv}", **files))


def test_answers_that_are_neither_yes_nor_no(tmp_path):
    write = (tmp_path / "s.csv").write_text
    write(
        "uid,at,q1\nu,2026-01-05T00:00:00Z,7\nv,2026-01-05T00:00:00Z,\nw,2026-01-05T00:00:00Z,yes\n"
    )
    mapped = {
        "path": "s.csv",
        "format": "columns",
        "columns": {"user_id": "uid", "submitted_at": "at", "job_saved": "q1"},
    }
    with pytest.raises(contract.DataError) as error:
        read("surveys", tmp_path, **mapped)
    assert (
        str(error.value)
        == 's.csv: 1 of 2 values of "answer" are neither yes nor no, for example "7".'
    )
    write("uid,at,q1\n" + "w,2026-01-05T00:00:00Z,no\n" * 10 + "u,2026-01-05T00:00:00Z,maybe\n")
    rows = read("surveys", tmp_path, **mapped)["surveys"]
    assert pick(rows, "answer") == [("no",)] * 10 + [(None,)]  # kept, to be counted


LONG = {
    "user_id": "Customer ID",
    "submitted_at": "Date",
    "micro_conversion": "Question",
    "answer": "Response",
    "reason": "Comment",
}
WIDE = {
    "user_id": "user_id",
    "profile_completed": "Did you finish your profile?",
    "heard": "How did you hear about us?",
    "reason": "What stopped you?",
}
OPEN = {
    "long": {"path": "zigpoll/heard.csv", "format": "zigpoll", "columns": LONG},
    "one column a question": {"path": "typeform/heard.csv", "format": "typeform", "columns": WIDE},
    "zigpoll, one column a question": {
        "path": "typeform/heard.csv",
        "format": "zigpoll",
        "columns": WIDE | {"submitted_at": "Submit Date (UTC)"},
        "timezone": "UTC",
    },
    "any CSV": {"path": "zigpoll/heard.csv", "format": "columns", "columns": LONG},
}


@pytest.mark.parametrize("source", OPEN.values(), ids=OPEN)
def test_answers_to_an_open_question_name_partners(project, source):
    rows = read("surveys", **source)["surveys"]
    assert pick(
        [row for row in rows if row["micro_conversion"] == "heard" and row["user_id"] != "u-400"],
        "user_id",
        "answer",
        "reason",
    ) == [
        ("u-100", None, "Bee's podcast"),
        ("u-200", None, "Somebody else"),
        ("u-300", None, "from [e-mail removed]"),
    ]  # the answer, not u-200's comment on another question
    assert len(rows) == (
        6 if source["columns"] == LONG else 7
    )  # u-400's blank answer is a row of the long export only
    answered = [row for row in rows if row["micro_conversion"] != "heard"]
    assert pick(answered, "user_id", "answer")[0] == ("u-100", "yes") and all(
        row["answer"] for row in answered
    )
    users = ("u-100", "u-200", "u-300", "u-400")
    events = "".join(
        f"{user},signed_up,2026-01-25T00:00:00Z\n{user},paid,2026-01-31T00:00:00Z\n"
        for user in users
    )
    surveys = json.dumps(source | {"path": str(EXPORTS / source["path"])})
    log = sources.open_log(
        project(
            f"events: {{path: e.csv}}\nsurveys: {surveys}",
            e__csv=HEAD + "u-0,visit,2026-01-01T00:00:00Z\n" + events,
        )
    )
    assert log.load["tables"]["surveys"]["n_kept"] == len(rows)
    credit = attribution_windows(
        log,
        "paid",
        windows=["7d"],
        as_of="2026-02-10",
        seed=1,
        start="signed_up",
        rules=["last"],
        sources=["survey:heard"],
        aliases={"bee's podcast": "b", "somebody else": "a"},
    ).credit
    assert dict(zip(credit["partner_id"], credit["credit"])) == {
        "a": 1,
        "b": 1,
    }  # u-200 and u-100, six days before they paid


def test_open_questions_leave_the_others_to_be_judged_by_themselves(tmp_path):
    write = (tmp_path / "s.csv").write_text
    head, row = (
        "user_id,submitted_at,micro_conversion,answer\n",
        "u,2026-01-05T00:00:00Z,{},{}\n".format,
    )
    open_ones = row("heard", "a friend") * 20 + row(
        "wish", "dark mode"
    )  # neither helps nor hurts the other questions
    write(head + open_ones + row("saved", "yes") * 8 + row("saved", "maybe"))
    with pytest.raises(contract.DataError) as error:
        read("surveys", tmp_path, path="s.csv")
    assert (
        str(error.value)
        == 's.csv: 1 of 9 values of "answer" are neither yes nor no, for example "maybe".'
    )
    write(head + open_ones + row("saved", "yes") * 9 + row("saved", "maybe"))
    rows = read("surveys", tmp_path, path="s.csv")["surveys"]
    assert pick(rows, "micro_conversion", "answer", "reason") == (
        [("heard", None, "a friend")] * 20
        + [("wish", None, "dark mode")]
        + [("saved", "yes", None)] * 9
        + [("saved", None, None)]
    )
    write(
        head + row("heard", "a friend") * 5 + row("heard", "No idea") * 4
    )  # most, so the four that look like a no are text too
    assert (
        pick(read("surveys", tmp_path, path="s.csv")["surveys"], "answer", "reason")
        == [(None, "a friend")] * 5 + [(None, "No idea")] * 4
    )
    write(head + row("heard", "a friend") * 5 + row("heard", "yes") * 5)
    with pytest.raises(
        contract.DataError,
        match='5 of 10 values of "answer" are neither yes nor no, for example "a friend"',
    ):
        read("surveys", tmp_path, path="s.csv")


BAD_YAML = {
    "field": (
        "events: {path: e.csv, fromat: columns}",
        'data.x.yaml: "events.fromat" is not a field. Did you mean "format"?',
    ),
    "table": (
        "event: {path: e.csv}",
        'data.x.yaml: "event" is not a field. Did you mean "events"?',
    ),
    "type": (
        "events: {path: e.csv, columns: {user_id: 3}}",
        'data.x.yaml: "events.columns.user_id" should be a valid string.',
    ),
    "no events": (
        "people: {path: e.csv}",
        "data.x.yaml names no events. Add  events: {path: ...}.",
    ),
    "no path": (
        "events: {format: mixpanel}",
        "data.x.yaml: events needs either a path or a query.",
    ),
    "zone": (
        "events: {path: e.csv, timezone: Europe/Berln}",
        'data.x.yaml: the timezone "Europe/Berln" of events is no IANA name. Did you mean "Europe/Berlin"',
    ),
    "wrong table": (
        "events: {path: e.csv}\npeople: {path: e.csv, format: ga4}",
        "data.x.yaml: format ga4 fills events or backend, not people.",
    ),
    "not YAML": (
        "events: {path: e.csv",
        "data.x.yaml is not valid YAML in line 3: expected ',' or '}', but got '<stream end>'.",
    ),
}


@pytest.mark.parametrize(("yaml", "sentence"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_bad_yaml_gives_one_sentence(project, yaml, sentence):
    with pytest.raises(contract.DataError) as error:
        sources.open_log(project(yaml, e__csv=HEAD + ROW))
    assert str(error.value).startswith(sentence)


WHOLE_YAML = {
    "empty": ("", "data.x.yaml is empty. Write into it  name: ..., events: {path: ...}."),
    "a comment": (
        "# later\n",
        "data.x.yaml is empty. Write into it  name: ..., events: {path: ...}.",
    ),
    "name": (
        "name: a b\nevents: {path: e.csv}\n",
        'data.x.yaml: the name "a b" may hold only letters, digits, - and _, for it names the store.',
    ),
    "a list": (
        "- name: x\n",
        "data.x.yaml must be a mapping such as  name: ..., events: {path: ...}.",
    ),
    "key again": (
        "name: x\nevents: {path: e.csv}\nevents: {path: f.csv}\n",
        'data.x.yaml is not valid YAML in line 3: the key "events" stands here again.',
    ),
    "inner key again": (
        "name: x\nevents:\n  path: e.csv\n  path: f.csv\n",
        'data.x.yaml is not valid YAML in line 4: the key "path" stands here again.',
    ),
}


@pytest.mark.parametrize(("whole", "sentence"), WHOLE_YAML.values(), ids=WHOLE_YAML)
def test_a_bad_whole_yaml_gives_one_sentence(project, whole, sentence):
    Path("params/data.x.yaml").write_text(whole)
    with pytest.raises(contract.DataError) as error:
        sources.open_log("x")
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "error",
    [
        duckdb.TransactionException(
            "Failed to commit: Could not write file: No space left on device"
        ),
        OSError(28, "No space left on device"),
    ],
    ids=["staging", "unpacking"],
)
def test_a_disk_that_fills_while_files_are_read_is_not_the_fault_of_the_files(
    project, monkeypatch, error
):
    def full(*args):
        raise error

    monkeypatch.setattr(staging.Stage, "select", full)
    with pytest.raises(contract.DataError) as raised:
        sources.open_log(project("events: {path: e.csv}", e__csv=HEAD + ROW))
    path = project.root / "outputs/store/x.duckdb"
    assert str(raised.value) == f"{path}: the disk is full, so the store could not be written."
    assert not list(path.parent.iterdir())


def test_a_killed_load_leaves_nothing_behind_after_the_next_one(project):
    name = project("events: {path: e.csv}", e__csv=HEAD + ROW)
    killed = (
        "import os, signal\nfrom mctlib.sources import dataset as sources\n"
        "sources.build_store = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)\nsources.open_log('x')"
    )
    subprocess.run([sys.executable, "-c", killed])
    assert len(list(Path("outputs/store").glob(".staging-*/staging.duckdb"))) == 1
    sources.open_log(name)
    assert sorted(p.name for p in Path("outputs/store").iterdir()) == [
        "x.duckdb",
        "x.load.json",
        "x.rejected.parquet",
    ]


@pytest.mark.parametrize("name", ["x/y", "a b", "../x", ""])
def test_a_drafted_name_must_name_a_store(project, name):
    with pytest.raises(contract.ParameterError) as error:
        draft(name, ["e.csv"])
    assert (
        str(error.value)
        == f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'
    )


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ("talant", ' Did you mean "talent"?'),
        ("params/data.talant.yaml", ' Did you mean "talent"?'),
        ("nope", " Its datasets are: jobs, talent."),
    ],
)
def test_a_dataset_that_is_not_there(project, asked, advice):
    for name in ("talent", "jobs"):
        project("demo: {}", name)
    with pytest.raises(contract.ParameterError) as error:
        sources.open_log(asked)
    assert (
        str(error.value) == f'dataset: there is no "{asked}" in params/ of {project.root}.{advice}'
    )


def test_two_datasets_of_one_name_and_no_dataset(project):
    project("events: {path: e.csv}", e__csv=HEAD + ROW)
    Path("params/data.y.yaml").write_text("name: x\nevents: {path: e.csv}\n")
    with pytest.raises(contract.DataError) as error:
        sources.open_log("x")
    assert (
        str(error.value) == 'Two datasets are named "x": data.x.yaml and data.y.yaml. Rename one.'
    )
    with pytest.raises(contract.ParameterError, match='there is no "xx" in params/'):
        sources.open_log("xx")


def test_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(contract.ParameterError, match="No project found"):
        sources.open_log("x")


def test_every_reader_has_a_fixture_and_a_docstring():
    assert {path.name for path in EXPORTS.iterdir()} == set(READERS)
    assert all(reader.read.__doc__ for reader in READERS.values())


def test_the_sql_names_are_safe():
    assert sql_name('a"b') == '"a""b"' and sql_text("a'b") == "'a''b'"
