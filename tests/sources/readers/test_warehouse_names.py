"""The tools' events as Fivetran and Airbyte name their columns."""

import pytest

from tests.sources.reading import at, pick, read

AMPLITUDE = ("i1", "u-100", "9001", "resume_uploaded", "ios", "2.4.0")


@pytest.mark.parametrize("loader", ["fivetran", "airbyte"])
def test_amplitude(loader):
    (row,) = read("events", path=f"amplitude/{loader}.csv", format="amplitude")["events"]
    assert pick(
        [row], "event_id", "user_id", "anonymous_id", "event", "platform", "app_version"
    ) == [AMPLITUDE]
    assert row["timestamp"].replace(microsecond=0) == at("2026-01-05T10:11:12")
    assert row["received_at"] == at("2026-01-05T10:11:12.9")
    assert '"plan":"growth","pages":2' in row["properties"]
    assert (
        "_fivetran" not in str(row) and "_airbyte" not in str(row) and "242501284" not in str(row)
    )


def test_mixpanel_by_fivetran():
    rows = read("events", path="mixpanel/fivetran.csv", format="mixpanel")["events"]
    names = ("event_id", "user_id", "anonymous_id", "event", "timestamp", "platform", "app_version")
    assert pick(rows, *names) == [
        ("m1", "u-100", "dev-1", "signed_up", at("2026-01-05T10:00:00"), "web", None),
        ("m2", "u-200", None, "signed_up", at("2026-01-05T10:01:00"), "android", "2.4.0"),
    ]
    assert rows[0]["received_at"] == at("2026-01-05T10:00:03")
    assert pick(rows, "properties") == [('{"city":"Ulm","plan":"growth"}',), (None,)]


def test_mixpanel_by_airbyte_and_by_singer(tmp_path):
    rows = read("events", path="mixpanel/airbyte.csv", format="mixpanel")["events"]
    assert pick(rows, "event_id", "user_id", "anonymous_id", "event", "properties") == [
        ("m1", "u-100", "dev-1", "signed_up", '{"browser":"Chrome","plan":"growth"}'),
        ("m0", None, "dev-1", "job_viewed", '{"browser":"Chrome"}'),
    ]
    (tmp_path / "e.jsonl").write_text(
        '{"event":"a","time":1767607200,"distinct_id":"u","mp_reserved_insert_id":"m1",'
        '"mp_reserved_os":"iOS","_sdc_batched_at":"2026-01-06T00:00:00Z"}\n'
    )
    (row,) = read("events", tmp_path, path="e.jsonl", format="mixpanel")["events"]
    assert pick([row], "event_id", "user_id", "timestamp", "platform", "properties") == [
        ("m1", "u", at("2026-01-05T10:00:00"), "ios", None)
    ]


def test_posthog_by_airbyte():
    rows = read("events", path="posthog/airbyte.json", format="posthog")["events"]
    assert pick(rows, "event_id", "user_id", "anonymous_id", "event", "properties") == [
        ("e0", "anon-1", "anon-1", "job_viewed", None),
        ("e1", "anon-1", "u-100", "signed_up", None),
    ]
    assert "example.org" not in str(rows)


def test_ga4_by_fivetran():
    rows = read("events", path="ga4/fivetran.csv", format="ga4")["events"]
    assert pick(rows, "user_id", "anonymous_id", "event", "timestamp", "session_id") == [
        (None, "555.111", "page_view", at("2026-01-05T10:00:00"), "555.111.1767607200"),
        ("u-100", "555.111", "signed_up", at("2026-01-05T10:00:01"), "555.111.1767607200"),
    ]
    assert pick(rows, "utm_source", "utm_medium", "utm_campaign", "platform") == [
        ("creator", "video", None, "web"),
        ("mail", None, "remind", "web"),
    ]
    assert '"param_method":"link"' in rows[1]["properties"]
