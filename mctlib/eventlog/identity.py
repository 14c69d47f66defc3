"""Who is who: one user_id for every row of a user, known or anonymous."""

from __future__ import annotations

from typing import Any

import duckdb

from mctlib.contract import ABOUT_USERS


def stitch(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Give every row one user_id: what an anonymous id is known to be, else the id itself.

    An anonymous id seen with several users belongs to the first of them; an id that is itself known
    to be another's is followed to the end. Returns the counts.
    """
    con.execute("""
        CREATE OR REPLACE TEMP TABLE pairs AS
        SELECT anonymous_id, user_id, min(seen_at) AS seen_at FROM (
            SELECT anonymous_id, user_id, timestamp AS seen_at
            FROM in_events WHERE anonymous_id <> user_id
            UNION ALL
            SELECT anonymous_id, user_id, NULL FROM in_identities WHERE anonymous_id <> user_id
        ) GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE known AS
        SELECT anonymous_id AS id, count(*) AS n,
            arg_min(user_id, (coalesce(seen_at, TIMESTAMP '1970-01-01'), user_id)) AS user_id
        FROM pairs GROUP BY ALL
    """)
    several = "SELECT user_id FROM pairs GROUP BY 1 HAVING count(*) > 1"
    n_ambiguous = one_row(con, "SELECT count(*) FROM known WHERE n > 1")[0]
    n_several = one_row(con, f"SELECT count(*) FROM ({several})")[0]
    n_chains = _follow_chains(con)
    n_anonymous, n_matched = one_row(
        con,
        """
        SELECT count(*), count(known.id) FROM in_events LEFT JOIN known ON known.id = anonymous_id
        WHERE in_events.user_id IS NULL
        """,
    )
    if n_anonymous:
        con.execute("UPDATE given_events SET user_id = anonymous_id WHERE user_id IS NULL")
    if some(con, "known"):
        for table in ("given_events", *(f"in_{table}" for table in ABOUT_USERS)):
            con.execute(f"""
                UPDATE {table} SET user_id = known.user_id FROM known
                WHERE {table}.user_id = known.id
            """)
    return {
        "n_anonymous_rows": n_anonymous,
        "n_matched_rows": n_matched,
        "match_rate": n_matched / n_anonymous if n_anonymous else None,
        "n_ids_with_several_users": n_ambiguous,
        "n_users_with_several_ids": n_several,
        "n_chains": n_chains,
    }


def _follow_chains(con: duckdb.DuckDBPyConnection) -> int:
    """Let `known` lead to the end of every chain of ids; returns how many there are."""
    linked = "SELECT count(*) FROM known a JOIN known b ON a.user_id = b.id"
    n_chains: int = one_row(con, linked)[0]
    # each round doubles the length that is followed; a ring keeps what it has after 20
    for _ in range(20):
        if not one_row(con, f"{linked} WHERE b.user_id <> a.user_id AND b.user_id <> a.id")[0]:
            break
        con.execute("""
            UPDATE known SET user_id = b.user_id FROM known b
            WHERE known.user_id = b.id AND b.user_id <> known.id
        """)
    return n_chains


def some(con: duckdb.DuckDBPyConnection, rows: str) -> bool:
    """Whether a table has rows; most loads are given few of the tables."""
    return bool(con.execute(f"SELECT 1 FROM {rows} LIMIT 1").fetchall())


def one_row(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """Ask for the one row that a query answers with."""
    return con.execute(sql).fetchall()[0]
