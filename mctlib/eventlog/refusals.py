"""People of whom nothing is kept: those who said no, and those who are to be forgotten."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from mctlib.contract import ABOUT_USERS
from mctlib.eventlog.identity import one_row
from mctlib.eventlog.pseudonyms import hashed
from mctlib.eventlog.rejecting import StagedRows
from mctlib.eventlog.sql import sql_text


def reject_refusals(rows: StagedRows, forgotten: Collection[str], salted: str) -> int:
    """Leave nothing of the people who said no or are to be forgotten.

    To be called after `stitch`. One row without consent is a no, whatever others say; so is a row
    of any other id of the same person. ``forgotten``: hashes, see `pseudonyms.hashed`. Returns how
    many of them were met.
    """
    con = rows.con
    _note_refusals(con, forgotten, salted)
    for (why,) in con.execute("SELECT DISTINCT why FROM refused ORDER BY why DESC").fetchall():
        theirs = f"(SELECT user_id FROM refused WHERE why = {sql_text(why)})"
        _drop_rejected(rows, why, theirs)
        for table in ("events", *ABOUT_USERS):
            rows.reject(
                table, f"CASE WHEN user_id IN {theirs} THEN {sql_text(why)} END", kept=False
            )
    return int(one_row(con, "SELECT count(DISTINCT hash) FROM met")[0])


def _note_refusals(con: duckdb.DuckDBPyConnection, forgotten: Collection[str], salted: str) -> None:
    """Make `refused`, every id of these people, with the reason."""
    ids = " UNION ".join(
        f"SELECT {column} AS id FROM {table}"
        for table, columns in (
            ("in_events", ("user_id", "anonymous_id")),
            ("rejected", ("user_id", "anonymous_id")),
            ("known", ("id", "user_id")),
            *((f"in_{table}", ("user_id",)) for table in ABOUT_USERS),
        )
        for column in columns
    )
    listed = ", ".join(f"({sql_text(one)})" for one in forgotten) or "(NULL)"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE met AS
        SELECT id, {hashed("id", salted)} AS hash FROM ({ids})
        WHERE {bool(forgotten)} AND hash IN (FROM (VALUES {listed}));
        CREATE OR REPLACE TEMP TABLE said AS
        SELECT user_id AS id, 'no consent' AS why FROM in_people WHERE consent = false
        UNION SELECT id, 'forgotten' FROM met;
        CREATE OR REPLACE TEMP TABLE persons AS
        SELECT id, why FROM said UNION SELECT known.user_id, why FROM said JOIN known USING (id);
        CREATE OR REPLACE TEMP TABLE theirs AS
        FROM persons UNION SELECT known.id, why FROM persons JOIN known ON persons.id = user_id;
        CREATE OR REPLACE TEMP TABLE refused AS
        SELECT id AS user_id, min(why) AS why FROM (
            FROM theirs
            -- an id that only a rejected row tells of
            UNION SELECT anonymous_id, why FROM theirs JOIN rejected ON theirs.id = user_id
            WHERE anonymous_id NOT IN (SELECT id FROM known)
        ) WHERE id <> '' GROUP BY ALL
    """)


def _drop_rejected(rows: StagedRows, why: str, theirs: str) -> None:
    """Let rows that were rejected before count as rejected for ``why``, and keep them no more."""
    of_them = f"coalesce(nullif(user_id, ''), anonymous_id) IN {theirs}"
    found = rows.con.execute(f"""
        SELECT canonical_table, reason, count(*) FROM rejected WHERE {of_them} GROUP BY ALL
    """).fetchall()
    rows.con.execute(f"DELETE FROM rejected WHERE {of_them}")
    for table, reason, n in found:
        n_rejected = rows.counts[table]["n_rejected"]
        n_rejected[why] = n_rejected.get(why, 0) + n
        n_rejected[reason] -= n
        if not n_rejected[reason]:
            del n_rejected[reason]
