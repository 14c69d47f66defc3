"""What becomes of rows whose id is nobody's."""

from __future__ import annotations

from mctlib.contract import ABOUT_USERS
from mctlib.eventlog.identity import some
from mctlib.eventlog.ids import asking, called, find_impossible, one_of
from mctlib.eventlog.rejecting import StagedRows


def reject_impossible(rows: StagedRows, suspicious: bool) -> dict[str, int]:
    """Reject rows of impossible ids such as "undefined"; where a row has another id, only these go.

    After the other faults, before ids are stitched. ``suspicious``: whether events may hold any.
    Returns how many rows lost which id.
    """
    con, ask = rows.con, asking(rows.con)
    who = ["in_identities", *(["in_events"] if suspicious else [])]
    about = [f"in_{table}" for table in ABOUT_USERS]
    user, anonymous, account = (
        find_impossible(ask, column, [table for table in tables if some(con, table)])
        for column, tables in (
            ("user_id", [*who, *about]),
            ("anonymous_id", who),
            ("account_id", ["in_people"]),
        )
    )
    no_user, no_other = one_of("user_id", user), one_of("anonymous_id", anonymous)
    if user:
        for table in ABOUT_USERS:
            rows.reject(table, f"CASE WHEN {no_user} THEN {called('user_id', 'user_id')} END")
    if user or anonymous:
        rows.reject(
            "events",
            f"""CASE WHEN {no_user} AND (coalesce(anonymous_id, '') = '' OR {no_other})
            THEN {called("user_id", "user_id")}
            WHEN coalesce(user_id, '') = '' AND {no_other}
            THEN {called("anonymous_id", "anonymous_id")} END""",
        )
        con.execute(f"DELETE FROM in_identities WHERE {no_user} OR {no_other}")
    lost = {"account_id": ("in_people", account)}
    if rows.left_out is None:
        lost |= {"user_id": ("given_events", user), "anonymous_id": ("given_events", anonymous)}
    counts: dict[str, int] = {}
    for column, (table, ids) in lost.items():
        those = f"FROM {table} WHERE {one_of(column, ids)}"
        why = f"SELECT {called(column, column)}, count(*) {those} GROUP BY 1 ORDER BY 1"
        found = con.execute(why).fetchall() if ids else []
        if found:
            con.execute(f"UPDATE {table} SET {column} = NULL WHERE {one_of(column, ids)}")
        counts |= dict(found)
    return counts
