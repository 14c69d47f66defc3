"""Whether the tables of a log speak of the same users."""

from __future__ import annotations

import string
from collections.abc import Mapping

from mctlib.contract import ABOUT_USERS, DataError
from mctlib.eventlog.identity import some
from mctlib.eventlog.ids import Ask, asking
from mctlib.eventlog.rejecting import StagedRows

# What two spellings of an id may differ by, SQL that undoes it, and what to do about it.
SPELLINGS = (
    ("case", "lower({})", "say that case does not matter (ids_ignore_case: true in the data YAML)"),
    ("leading zeros", "regexp_extract({}, '^0*(.*)$', 1)", "write them alike"),
    ("dashes and spaces", "translate({}, '- ', '')", "write them alike"),
)


def staged_refusers(rows: StagedRows, name: str) -> dict[str, dict[str, int]]:
    """The `meeting` of people without consent ("refused"), before they leave the staged tables.

    Raises DataError: see `check_meeting`, which is about ids, so that people who are to leave count
    too.
    """
    if not _anybody(rows):
        return {}
    ask = asking(rows.con)
    check_meeting(ask, name, "in_people", "active")
    return meeting(ask, {"refused": "in_people WHERE consent = false"}, "active", "user_id")


def staged_meeting(rows: StagedRows) -> dict[str, dict[str, int]]:
    """The `meeting` of the staged tables, once those who refused have left."""
    if not _anybody(rows):
        return {}
    tables = {table: f"in_{table}" for table in ABOUT_USERS}
    return meeting(asking(rows.con), tables, "active", "user_id")


def _anybody(rows: StagedRows) -> bool:
    """Whether anything is known of users beside the events, which may be many; if so, `active`."""
    anybody = any(some(rows.con, f"in_{table}") for table in ABOUT_USERS)
    if anybody:
        rows.active()
    return anybody


def meeting(
    ask: Ask, tables: Mapping[str, str], events: str, user: str
) -> dict[str, dict[str, int]]:
    """How many users of some tables have events, and how many who have events are among people.

    ``tables``: name -> SQL of a table · ``user``: the column that names users. Returns name (also
    events, where there are people) -> n_users it is about, n_met; tables without users are left
    out.
    """
    found = {}
    for table, rows in tables.items():
        users = f"SELECT DISTINCT {user} FROM {rows}"
        active = f"SELECT count(*) FROM ({users}) WHERE {user} IN (SELECT {user} FROM {events})"
        if n_users := ask(f"SELECT count(*) FROM ({users})")[0][0]:
            found[table] = {"n_users": n_users, "n_met": ask(active)[0][0]}
    if "people" in found:
        ((n_active,),) = ask(f"SELECT count(DISTINCT {user}) FROM {events}")
        found["events"] = {"n_users": n_active, "n_met": found["people"]["n_met"]}
    return found


def check_meeting(ask: Ask, name: str, people: str, events: str) -> None:
    """Raise DataError where both tables (SQL) have users, and none of people has an event."""
    known = f"SELECT user_id FROM {people}"
    n_people = ask(f"SELECT count(DISTINCT user_id) FROM {people}")[0][0]
    # of nobody nothing is asked of the events, which may be many
    if not n_people or ask(f"SELECT 1 FROM {events} a WHERE user_id IN ({known}) LIMIT 1"):
        return
    n_users = ask(f"SELECT count(DISTINCT user_id) FROM {events}")[0][0]
    if not n_users:
        return
    hint = (
        f'Those of people look like "{_shape(ask, people)}", those of events like '
        f'"{_shape(ask, events)}": map user_id to the column that holds the same ids.'
    )
    for what, spelt, remedy in SPELLINGS:
        known = f"SELECT {spelt.format('user_id')} FROM {people}"
        of_events = f"SELECT DISTINCT user_id FROM {events} a"
        alike = f"({of_events}) WHERE {spelt.format('user_id')} IN ({known})"
        if n := ask(f"SELECT count(*) FROM {alike}")[0][0]:
            hint = f"But for {what} {n:,} of these would be: {remedy}."
            break
    raise DataError(
        f"{name}: none of {n_people:,} user_ids of people is among the {n_users:,} of events, so "
        f"they tell nothing of each other. {hint}"
    )


def _shape(ask: Ask, table: str) -> str:
    """How most ids of a table look: a for letters, 9 for digits; no id is shown."""
    letters = string.ascii_letters
    alike = f"'{letters}{string.digits}', '{'a' * len(letters)}{'9' * len(string.digits)}'"
    ids = f"SELECT user_id FROM {table} WHERE user_id <> '' LIMIT 10000"
    return str(ask(f"SELECT mode(translate(user_id, {alike})) FROM ({ids})")[0][0])
