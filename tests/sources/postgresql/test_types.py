"""What only a database has."""

import json

import pytest

from tests.sources.postgresql.asking import read, refusal
from tests.sources.reading import at, pick

pytestmark = pytest.mark.integration


def test_timestamps_with_and_without_a_zone(project):
    rows = "SELECT 'ada' AS user_id, 'signed_up' AS event, {} AS timestamp"
    # 10:00 in Berlin is 09:00 UTC in winter, 08:00 in summer; a timestamptz knows, whatever
    # `timezone` says.
    zoned = rows.format("timestamptz '2026-01-05 10:00:00.25+01'")
    for zone in (None, "Europe/Berlin"):
        row = read(zoned, timezone=zone)[0]
        assert row["timestamp"] == at("2026-01-05T09:00:00.25")
    for day, hour in ("2026-01-05", 9), ("2026-07-05", 8):
        naive = rows.format(f"timestamp '{day} 10:00:00'")
        row = read(naive, timezone="Europe/Berlin")[0]
        assert row["timestamp"] == at(f"{day} {hour:02d}:00:00")
    assert refusal(read, naive) == (
        'The query of events at WAREHOUSE_URL: the times in "timestamp" carry no time zone, for'
        ' example "2026-07-05 10:00:00".'
        " Add to this source the line  timezone: UTC  (or the IANA name of the zone they were"
        " written in)."
    )


def test_columns_are_mapped_and_typed_values_become_properties_without_regulated_keys(
    project, server
):
    server.run("DROP TYPE IF EXISTS mood", "CREATE TYPE mood AS ENUM ('good', 'bad')")
    query = """
        SELECT 7 AS member, 'viewed' AS what, timestamptz '2026-01-05 09:00Z' AS "When",
        'good'::mood AS mood, 1.50::numeric AS score, ARRAY['x','y'] AS tags,
        date '2026-01-04' AS since, ARRAY[date '2026-01-04'] AS days,
        timestamptz 'infinity' AS until, 'a@example.org' AS email, NULL::text AS nothing,
        '{"Email": "a@example.org", "deep": {"user_name": "Ada", "kept": 1}}'::jsonb AS details,
        '{"note": "write to ada@example.org", "ip": "10.0.0.1", "n": 2}'::jsonb AS properties"""
    row = read(query, columns={"user_id": "member", "event": "what", "timestamp": "when"})[0]
    named = pick([row], "user_id", "event", "timestamp")
    assert named == [("7", "viewed", at("2026-01-05T09:00:00"))]
    assert json.loads(row["properties"]) == {
        "mood": "good",
        "score": "1.50",
        "tags": ["x", "y"],
        "since": "2026-01-04",
        "days": ["2026-01-04"],
        "details": {"deep": {"kept": 1}},
        "note": "write to [e-mail removed]",
        "n": 2,
    }


def test_a_tool_synced_to_the_warehouse_is_read_by_its_own_reader(project):
    query = """
        SELECT 's1' AS id, 'anon-1' AS anonymous_id, 'u-1' AS user_id, 'signed_up' AS event,
        now() AS received_at, timestamptz '2026-01-05 10:00Z' AS timestamp,
        'spring' AS context_campaign_name"""
    rows = read(query, format="segment")
    named = pick(rows, "event_id", "anonymous_id", "utm_campaign", "timestamp")
    assert named == [("s1", "anon-1", "spring", at("2026-01-05T10:00:00"))]


def test_nothing_a_query_does_stays(project, server):
    server.run(
        "DROP TABLE IF EXISTS kept",
        "CREATE TABLE kept AS SELECT 'ada' AS user_id, 'x' AS event, now() AS timestamp",
    )
    for _ in range(2):
        assert refusal(read, "DELETE FROM kept RETURNING *, 1/0")
        assert len(read("SELECT * FROM kept")) == 1
    assert (
        refusal(read, "CREATE TABLE made (a int)")
        == "The query of events at WAREHOUSE_URL gives no columns. Write a SELECT."
    )
    assert "does not exist" in refusal(read, "SELECT * FROM made")
