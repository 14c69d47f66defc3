"""Zigpoll's answers, directly and through Segment."""

from tests.sources.reading import at, pick, read

ZIGPOLL = {
    "user_id": "Customer ID",
    "submitted_at": "Date",
    "interview_scheduled": "Response",
    "reason": "Comment",
}


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
