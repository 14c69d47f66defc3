"""What a query gives is what the same rows give as CSV files, cell by cell."""

import csv
import datetime as dt
import json
from pathlib import Path

import pandas as pd
import pytest

from mctlib import diagnose_funnel, open_log
from tests.sources.postgresql.asking import literal, source
from tests.sources.reading import stored
from tests.support.stores import store_of

pytestmark = pytest.mark.integration


EVENTS = {
    "user_id": "text",
    "anonymous_id": "text",
    "event": "text",
    "timestamp": "timestamptz",
    "event_id": "uuid",
    "platform": "text",
    "utm_source": "text",
    "minutes": "double precision",
    "score": "numeric(9,2)",
    "tested": "boolean",
    "properties": "jsonb",
}
PEOPLE = {
    "user_id": "text",
    "signed_up_at": "timestamptz",
    "plan": "varchar(20)",
    "revenue": "numeric",
    "consent": "boolean",
}
SPEND = {"day": "date", "amount": "numeric(9,2)", "channel": "text"}
MANUAL = {"user_id": "text", "partner_id": "text", "day": "date"}
STEPS = ["signed_up", "profile_completed", "interview_scheduled"]


def rows_of_a_product():
    """300 users sign up; 200 of them complete their profile, 100 schedule an interview.

    With a twin row, odd texts, a personal datum.
    """
    rows = []
    for user in range(300):
        start = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
        start += dt.timedelta(hours=user, microseconds=user * 7)
        bag = {"a": [1, None, "x"], "to": f"mail u{user}@example.org now", "work_phone": "030 123"}
        n_steps = {0: 3, 1: 2, 2: 1}[user % 3]
        for step, event in enumerate(STEPS[:n_steps]):
            row = {
                "user_id": f"u{user}",
                "anonymous_id": f"a{user}" if step == 0 else None,
                "event": event,
                "timestamp": start + dt.timedelta(days=step),
                "event_id": f"00000000-0000-4000-8000-{user * 10 + step:012d}",
                "platform": ["web", "iOS", 'Ünï, "quoted"', "it's;"][user % 4],
                "utm_source": "creator" if user % 5 == 0 else None,
                "minutes": user / 8 if step else None,
                "score": f"{user}.50",
                "tested": "true" if user % 2 == 0 else "false",
                "properties": json.dumps(bag) if user % 7 == 0 else None,
            }
            rows.append(row)
    return [*rows, rows[5]]


@pytest.fixture
def both(server, project):
    """The names of two datasets of the same rows, one from CSV files and one by query."""
    people = [
        {
            "user_id": f"u{i}",
            "signed_up_at": f"2026-01-05 09:00:0{i % 10}+00",
            "plan": "growth",
            "revenue": f"{i}.25",
            "consent": i != 7,
        }
        for i in range(300)
    ]
    manual = [
        {"user_id": f"u{i}", "partner_id": "coach", "day": f"2026-01-{i % 28 + 1:02d}"}
        for i in range(0, 300, 50)
    ]
    spend = [
        {"day": f"2026-01-{day:02d}", "amount": f"{day}.10", "channel": "creator"}
        for day in range(1, 29)
    ]
    tables = {
        "events": (rows_of_a_product(), EVENTS),
        "people": (people, PEOPLE),
        "spend": (spend, SPEND),
        "manual": (manual, MANUAL),
    }
    by_file, by_query = [], []
    for table, (rows, types) in tables.items():
        with Path(f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, types)
            writer.writeheader()
            writer.writerows(rows)
        columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
        values = ", ".join("(" + ", ".join(map(literal, row.values())) + ")" for row in rows)
        server.run(
            "CREATE SCHEMA IF NOT EXISTS product",
            f"DROP TABLE IF EXISTS product.{table}",
            f"CREATE TABLE product.{table} ({columns})",
            f"INSERT INTO product.{table} VALUES {values}",
        )
        by_file.append(f"{table}: {{path: {table}.csv}}")
        by_query.append(source(f"SELECT * FROM product.{table}", table))
    return project("\n".join(by_file), "files"), project("\n".join(by_query), "queries")


def test_a_query_gives_the_same_store_as_a_file_cell_by_cell(both):
    by_file, by_query = map(open_log, both)
    one, other = (stored(store_of(name)) for name in both)
    assert one.keys() == other.keys() >= {"events", "people", "spend", "manual", "users"}
    for table in one.keys() - {"load"}:
        pd.testing.assert_frame_equal(one[table], other[table], obj=table)
        assert len(one[table]) or table in ("surveys", "backend", "timeline", "responses")
    # 600 rows of 300 users (300 + 200 + 100), a twin among them and user 7 without consent, who
    # signed up and completed.
    assert by_query.load["tables"]["events"] == by_file.load["tables"]["events"]
    assert by_query.load["tables"]["events"] == {
        "n_read": 601,
        "n_rejected": {"same event_id again": 1, "no consent": 2},
        "n_kept": 598,
        "n_identical": 0,
        "n_apart": 0,
        "n_unread": 0,
    }
    properties = other["events"].properties.dropna()
    mailed = properties[properties.str.contains("mail")].iloc[0]
    assert "[e-mail removed]" in mailed and "030" not in mailed and "@" not in mailed


def test_a_query_gives_the_same_funnel_as_a_file(both):
    asked = {"steps": STEPS, "window": "14d", "as_of": "2026-02-28"}
    by_file, by_query = (diagnose_funnel(open_log(name), **asked) for name in both)
    pd.testing.assert_frame_equal(by_file.steps, by_query.steps)
    # Without user 7: 299 sign up, 199 complete, 100 schedule.
    assert list(by_query.steps["n_reached"]) == [299, 199, 100]
    assert by_query.finding == by_file.finding
