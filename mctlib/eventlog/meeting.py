"""Whether the tables of a log speak of the same users."""

from __future__ import annotations

import duckdb

from mctlib.contract import ABOUT_USERS, DataError
from mctlib.eventlog.identity import one_row
from mctlib.phrases import count

# What two spellings of an id may differ by, what would undo it, and what to do about it.
SPELLINGS = (
    ("case", "lower({})", "add to the data YAML  ids_ignore_case: true"),
    ("leading zeros", "ltrim({}, '0')", "write them alike in both"),
    ("dashes and spaces", "translate({}, '- ', '')", "write them alike in both"),
)


def meeting(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Table beside the events -> n_users it is about, and n_met, those of them who have events.

    ``refused``: of people those without consent; ``events``: who has events, and how many of them
    are among people. Tables without rows are left out.
    """
    met = {}
    con.execute("CREATE OR REPLACE TEMP TABLE active AS SELECT DISTINCT user_id FROM in_events")
    rows = {table: f"in_{table}" for table in ABOUT_USERS}
    rows["refused"] = "in_people WHERE consent = false"
    for table, those in rows.items():
        n_users, n_met = one_row(
            con,
            f"""SELECT count(*), count(active.user_id) FROM (SELECT DISTINCT user_id FROM {those})
            LEFT JOIN active USING (user_id)""",
        )
        if n_users:
            met[table] = {"n_users": n_users, "n_met": n_met}
    if "people" in met:
        n_active = one_row(con, "SELECT count(*) FROM active")[0]
        met["events"] = {"n_users": n_active, "n_met": met["people"]["n_met"]}
    return met


def check_meeting(con: duckdb.DuckDBPyConnection, name: str, people: str, events: str) -> None:
    """Raise DataError where both tables (SQL) have users, and none of people has an event."""

    def n_meeting(spelt: str) -> int:
        of_people, of_events = spelt.format("user_id"), spelt.format("a.user_id")
        n: int = one_row(
            con,
            f"""SELECT count(*) FROM (SELECT DISTINCT user_id FROM {people}) WHERE {of_people} IN
            (SELECT {of_events} FROM {events} a)""",
        )[0]
        return n

    first = f"SELECT 1 FROM {events} a SEMI JOIN {people} USING (user_id) LIMIT 1"
    n_people = one_row(con, f"SELECT count(DISTINCT user_id) FROM {people}")[0]
    if not n_people or con.execute(first).fetchall():
        return
    n_users = one_row(con, f"SELECT count(DISTINCT user_id) FROM {events}")[0]
    if not n_users:
        return
    for what, spelt, remedy in SPELLINGS:
        if n := n_meeting(spelt):
            hint = f"But for {what}, {count(n, 'of them')[:-1]} would: {remedy}."
            break
    else:
        hint = (
            f'Those of people look like "{_shape(con, people)}", those of events like '
            f'"{_shape(con, events)}": map user_id to the column that holds the same ids.'
        )
    raise DataError(
        f"{name}: none of {n_people:,} user_ids of people is among the {n_users:,} of events, so "
        f"they tell nothing of each other. {hint}"
    )


def _shape(con: duckdb.DuckDBPyConnection, table: str) -> str:
    """How most ids of a table look: a for letters, 9 for digits; no id is shown."""
    shape = "regexp_replace(regexp_replace(user_id, '[0-9]', '9', 'g'), '[A-Za-z]', 'a', 'g')"
    ids = f"(SELECT user_id FROM {table} WHERE user_id <> '' LIMIT 10000)"
    return str(one_row(con, f"SELECT mode({shape}) FROM {ids}")[0])
