"""Typeform's response CSV."""

from tests.sources.reading import at, pick, read

TYPEFORM = {
    "user_id": "user_id",
    "profile_completed": "Did you finish your profile?",
    "resume_uploaded": "Did you upload a résumé,\nor paste one?",
    "reason": "What stopped you?",
}


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
