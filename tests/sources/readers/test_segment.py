"""Segment's warehouse tables."""

from tests.sources.reading import at, pick, read


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
