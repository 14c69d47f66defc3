"""Google Analytics 4 as BigQuery exports it."""

import duckdb

from tests.sources.reading import EXPORTS, at, pick, read


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


def test_ga4_flattened_to_a_column_a_parameter():
    """A column that is only called source may be the first touch: a property."""
    rows = read("events", path="ga4/flat.csv", format="ga4")["events"]
    assert pick(rows, "user_id", "anonymous_id", "event", "timestamp", "utm_source") == [
        (None, "555.111", "page_view", at("2026-01-05T10:00:00"), "creator"),
        ("u-100", "555.111", "signed_up", at("2026-01-05T10:00:01.5"), None),
    ]
    assert pick(rows, "session_id", "platform", "app_version")[1] == (
        "555.111.1767607200",
        "web",
        "2.4.0",
    )
    assert '"page_location":"https://example.org/"' in rows[0]["properties"]


def test_ga4_flattened_to_a_row_a_parameter_is_one_row_an_event_again():
    rows = read("events", path="ga4/unnested.csv", format="ga4")["events"]
    rows = sorted(rows, key=lambda row: row["timestamp"])
    assert pick(rows, "user_id", "anonymous_id", "event", "utm_source", "session_id") == [
        (None, "555.111", "page_view", None, "555.111.1767607200"),
        ("u-100", "555.111", "signed_up", "mail", "555.111.1767607200"),
        (None, "555.222", "job_saved", None, None),
    ]
    assert pick(rows, "properties") == [
        ('{"page_location":"https://example.org/"}',),
        ('{"score":1.5}',),
        (None,),
    ]
