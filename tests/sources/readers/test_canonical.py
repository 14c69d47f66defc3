"""Files whose headers are canonical already."""

import datetime as dt
import json

from tests.sources.reading import at, pick, read


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
    assert json.loads(people[0]["properties"])["favourite_colour"] == "green"
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
