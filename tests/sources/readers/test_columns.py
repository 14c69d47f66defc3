"""Files of no known tool, mapped in the YAML."""

from tests.sources.reading import at, pick, read

APP_LOG = {
    "user_id": "User ID",
    "event": "What happened",
    "timestamp": "When",
    "platform": "Device",
}


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
