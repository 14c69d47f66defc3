"""PostHog's batch export."""

import shutil

from mctlib import open_log
from tests.sources.reading import EXPORTS, at, pick, read


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


def test_posthog_people_are_stitched_over_the_merge(project):
    shutil.copytree(EXPORTS / "posthog", "posthog")
    people = {"crm__csv": "user_id,plan\nu-100,growth\n"}
    opened = open_log(
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


def test_posthog_without_person_ids_events_say_who_is_who(project):
    rows = read("events", path="posthog/unmerged.json", format="posthog")["events"]
    assert pick(rows, "event_id", "user_id", "anonymous_id") == [
        ("q0", None, "anon-1"),
        ("q1", "u-100", "anon-1"),
        ("q2", None, "u-100"),
        ("q3", "u-100", "crm-7"),
        ("q4", None, "crm-7"),
        ("q5", None, "anon-2"),
    ]
    # the id of an alias is kept nowhere else, a property of that name is
    assert pick(rows, "properties")[0] == ('{"alias":"a nickname"}',)
    assert not any("crm-7" in str(row.get("properties")) for row in rows)
    log = open_log(project(f"events: {{path: '{EXPORTS}/posthog/unmerged.json', format: posthog}}"))
    users = log.counts()
    assert log.load["n_users"] == 2 and users["n_events"].sum() == 6
