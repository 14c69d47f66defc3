"""Raw logs of Segment and RudderStack."""

from mctlib import open_log
from tests.sources.reading import EXPORTS, at, pick, read


def test_raw_logs_of_segment_and_rudderstack():
    tables = read("events", path="segment/raw_*.jsonl", format="segment")
    rows = sorted(tables["events"], key=lambda row: row["timestamp"])
    assert pick(rows, "event_id", "user_id", "anonymous_id", "event", "timestamp", "platform") == [
        ("ajs-1", None, "anon-1", "Job Viewed", at("2026-01-05T09:50:01"), "web"),
        ("ajs-2", None, "anon-1", "page", at("2026-01-05T09:55:01"), "web"),
        ("ios-4", "u-100", None, "Resume Uploaded", at("2026-01-05T10:05:01"), "ios"),
        ("srv-6", None, "old-9", "Job Saved", at("2026-01-05T10:07:01"), None),
        ("rs-1", "u-200", "anon-7", "signed_up", at("2026-01-05T11:00:01.5"), "android"),
    ]
    # the line's own channel is a kind of library; the property's is one
    assert pick(rows, "utm_source", "utm_campaign", "channel")[0] == ("creator", "spring", "mail")
    assert pick(rows, "utm_source", "session_id", "app_version")[4] == (
        "search",
        "1767607200",
        "2.3.9",
    )
    assert pick(rows, "properties")[:3] == [
        ('{"job_id":"j7"}',),
        ('{"path":"/","title":"Home","page_name":"Home"}',),
        ('{"pages":2}',),
    ]
    assert sorted(pick(tables["identities"], "anonymous_id", "user_id")) == [
        ("anon-1", "u-100"),
        ("old-9", "u-100"),
    ]
    assert "example.org" not in str(tables) and "203.0.113" not in str(tables)


def test_an_identify_and_an_alias_stitch(project):
    log = open_log(project(f"events: {{path: '{EXPORTS}/segment/raw_*.jsonl', format: segment}}"))
    assert log.load["n_users"] == 2
    assert log.load["tables"]["events"]["n_kept"] == 5


def test_raw_logs_beside_the_warehouse_tables(tmp_path):
    for name in ("segment/tracks.csv", "segment/identifies.csv", "segment/raw_segment.jsonl"):
        (tmp_path / name.rpartition("/")[2]).write_bytes((EXPORTS / name).read_bytes())
    tables = read("events", tmp_path, path=["*.csv", "*.jsonl"], format="segment")
    assert len(tables["events"]) == 11 + 4
    assert ("anon-2", "u-200") in pick(tables["identities"], "anonymous_id", "user_id")
