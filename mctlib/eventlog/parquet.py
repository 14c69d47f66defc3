"""The store's tables laid over rows that stay where they are (Parquet files, the Arrow tables of a cluster): `events` is a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pandas as pd

from mctlib.contract import CANONICAL, REQUIRED, DataError, column_type, nearest
from mctlib.eventlog.store import BUCKET, FAULTY_SHARE, PERSONAL, faults, hashed, sql_name, sql_text

OF_USERS = ("people", "surveys", "backend")


def verdict(refused: str) -> str:
    """SQL of the reason why a row of events is left out, NULL for the others; ``refused``: SQL that is true for users without consent."""
    return f"CASE {faults()} WHEN coalesce(user_id, '') = '' THEN 'no user' WHEN {refused} THEN 'no consent' END"


def headers(
    table: str, present: Any, columns: Mapping[str, str] | None, label: str
) -> dict[str, str]:
    """Canonical column -> the column of ``present`` that fills it. Raises DataError: an unknown or missing column."""
    chosen = {c: (columns or {}).get(c, c) for c in CANONICAL[table]}
    for column in columns or ():
        if column not in chosen:
            raise DataError(
                f'{label}: "{column}" in columns is not a column of {table}.{nearest(column, chosen)}'
            )
    for column, header in chosen.items():
        if header not in present and (column in (columns or ()) or column in REQUIRED[table]):
            raise DataError(f'{label}: column "{header}" is missing.{nearest(header, present)}')
    return {c: header for c, header in chosen.items() if header in present}


def canonical_select(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    table: str,
    *,
    columns: Mapping[str, str] | None = None,
    label: str,
) -> str:
    """SELECT of all canonical columns, in the types of the store, over what follows a FROM; naive times are UTC, absent columns NULL."""
    kinds = {name: kind for name, kind, *_ in con.sql(f"DESCRIBE FROM {relation}").fetchall()}
    found, parts = headers(table, kinds, columns, label), []
    for column in CANONICAL[table]:
        name = sql_name(found.get(column, ""))
        kind, wanted = kinds.get(found.get(column, ""), ""), column_type(column)
        if not kind:
            sql = f"NULL::{wanted}"
        elif wanted == "TIMESTAMP":
            if kind.split("(")[0] in ("BIGINT", "INTEGER", "UBIGINT", "DOUBLE", "DECIMAL"):
                raise DataError(
                    f'{label}: "{column}" holds {kind}, not times; give a column of timestamps.'
                )
            zoned = kind == "VARCHAR" or "TZ" in kind or "TIME ZONE" in kind
            sql = (
                f"make_timestamp(epoch_us(try_cast({name} AS TIMESTAMPTZ)))"
                if zoned
                else f"{name}::TIMESTAMP"
            )
        else:
            sql = (
                f"to_json({name})::VARCHAR"
                if column == "properties" and kind != "VARCHAR"
                else f"{name}::{wanted}"
            )
        parts.append(f"{sql} AS {column}")
    return f"SELECT {', '.join(parts)} FROM {relation}"


def lay_over(
    con: duckdb.DuckDBPyConnection,
    selects: Mapping[str, str],
    *,
    salted: str,
    names: Sequence[str] | None = None,
) -> pd.DataFrame | None:
    """Give ``con`` the tables of a store over canonical SELECTs (table -> SELECT, see `canonical_select`); only the small tables are copied.

    A user's integer is 63 bits of a salted hash: it needs no look at the other users, so `events` and `users` are views. (DuckDB's own hash of an id
    is quicker, but gives similar ids the same number; of an MD5 it does not.) That any two of 5 million users share one: 1 in 700,000.
    `events` has one column more than in a store, ``name``: the event as text, by which Parquet is filtered before anything is computed.
    ``names``: the names of all events, in order, when the rows have been judged before. None: they are looked up, rows with a `verdict` are left out,
    and returned is what `load_report` counts: event, verdict, n_events, first_at and last_at in microseconds (where nothing is left out: of all events).
    """
    con.execute("SET GLOBAL TimeZone = 'UTC'")  # for the cursors too
    user = f"(hash(md5({sql_text(salted)} || user_id)) >> 1)::BIGINT AS user"
    kept = lambda c: f"{hashed(c, salted)} AS {c}" if c in PERSONAL else c  # noqa: E731
    for table, columns in CANONICAL.items():
        nothing = (
            f"SELECT {', '.join(f'NULL::{column_type(c)} AS {c}' for c in columns)} WHERE false"
        )
        con.execute(
            f"CREATE {'VIEW' if table == 'events' else 'TABLE'} given_{table} AS {selects.get(table, nothing)}"
        )
    con.execute(
        "CREATE TABLE refused AS SELECT DISTINCT user_id FROM given_people WHERE consent = false AND user_id <> ''"
    )
    refused = (
        "user_id IN (FROM refused)"
        if con.execute("SELECT 1 FROM refused LIMIT 1").fetchall()
        else "false"
    )
    sound = (
        names is not None
        or refused == "false"
        and con.execute("""SELECT count(*) = least(count(user_id), count(event), count(timestamp))
        AND least(min(user_id), min(event)) > '' AND max(timestamp) < now()::TIMESTAMP FROM given_events""").fetchall()[
            0
        ][0]
    )  # of Parquet files the footers tell, no row is read
    con.execute(
        f"CREATE VIEW judged AS SELECT *, {'NULL' if sound else verdict(refused)}::VARCHAR AS verdict FROM given_events"
    )
    con.execute(
        "DELETE FROM given_people WHERE rowid NOT IN (SELECT min(rowid) FROM given_people GROUP BY user_id)"
    )  # of several rows of one user the first stands
    for table in OF_USERS:
        columns = ", ".join(kept(c) for c in CANONICAL[table] if c not in ("user_id", "consent"))
        con.execute(f"DELETE FROM given_{table} WHERE coalesce(user_id, '') = '' OR {refused}")
        con.execute(
            f"CREATE TABLE {table} AS SELECT {user}, {columns} FROM given_{table} ORDER BY user"
        )
    ids = " UNION ".join(
        [
            "SELECT user_id FROM judged WHERE verdict IS NULL",
            *(f"SELECT user_id FROM given_{t}" for t in OF_USERS),
        ]
    )
    con.execute(
        f"CREATE VIEW users AS SELECT {user}, {BUCKET} AS bucket FROM ({ids}) LEFT JOIN given_people USING (user_id)"
    )
    for table in ("spend", "timeline", "responses"):
        con.execute(f"CREATE TABLE {table} AS FROM given_{table}")
    tally, faulty = None, False
    if names is None:
        times = "epoch_us(min(timestamp)) AS first_at, epoch_us(max(timestamp)) AS last_at"
        by_event = f"(SELECT event, NULL::VARCHAR AS verdict, count(*) AS n_events FROM given_events GROUP BY event), (SELECT {times} FROM given_events)"
        tally = con.sql(
            f"FROM {by_event if sound else f'(SELECT event, verdict, count(*) AS n_events, {times} FROM judged GROUP BY ALL)'} ORDER BY ALL"
        ).df()
        names, faulty = tally.loc[tally["verdict"].isna(), "event"], tally["verdict"].notna().any()
    con.execute(
        f"CREATE TYPE event_names AS ENUM ({', '.join(map(sql_text, names if len(names) else ['']))})"
    )
    columns = ", ".join(
        f"{c} AS name, {c}::event_names AS {c}" if c == "event" else kept(c)
        for c in CANONICAL["events"]
        if c != "user_id"
    )
    con.execute(
        f"CREATE VIEW events AS SELECT {user}, {columns} FROM judged {'WHERE verdict IS NULL' if faulty else ''}"
    )
    return tally


def load_report(name: str, tally: pd.DataFrame) -> dict[str, Any]:
    """The load report of a log that was not loaded, but for its n_users. Raises DataError: more than one row in ten wrong in one way, nothing left."""
    kept, n_read = tally[tally["verdict"].isna()], int(tally["n_events"].sum())
    rejected = {str(why): int(n) for why, n in tally.groupby("verdict")["n_events"].sum().items()}
    for why in ("no event", "unreadable timestamp", "timestamp in the future"):
        if rejected.get(why, 0) > FAULTY_SHARE * n_read:
            raise DataError(
                f"{name}: {rejected[why]:,} of {n_read:,} rows of events have the fault: {why}; "
                "more than one row in ten wrong in one way means the data is misread."
            )
    if kept.empty:
        raise DataError(f"{name}: no event is left; rejected were {rejected or 'none'}.")
    first, last = (
        str(pd.Timestamp(int(us), unit="us"))
        for us in (kept["first_at"].min(), kept["last_at"].max())
    )
    events = {"n_read": n_read, "n_kept": int(kept["n_events"].sum()), "n_rejected": rejected}
    return {
        "name": name,
        "fingerprint": "",
        "tables": {"events": events},
        "first_event": first,
        "last_event": last,
    }
