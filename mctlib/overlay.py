"""The store's tables laid over rows that stay where they are (Parquet files, the Arrow tables of a cluster): `events` is a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pandas as pd

from mctlib.store import BUCKET, CANONICAL, FAULTY_SHARE, PERSONAL, REQUIRED, DataError, column_type, faults, hashed, nearest, quoted

OF_USERS = ("people", "surveys", "backend")
DENSE = "row_number() OVER (ORDER BY user_id) - 1"  # a user's integer, as in the store


def verdict(refused: str) -> str:
    """SQL of the reason why a row of events is left out, NULL for the others; ``refused``: SQL that is true for users without consent."""
    return f"CASE {faults()} WHEN coalesce(user_id, '') = '' THEN 'no user' WHEN {refused} THEN 'no consent' END"


def headers(table: str, present: Any, columns: Mapping[str, str] | None, label: str) -> dict[str, str]:
    """Canonical column -> the column of ``present`` that fills it. Raises DataError: an unknown or missing column."""
    chosen = {c: (columns or {}).get(c, c) for c in CANONICAL[table]}
    for column in columns or ():
        if column not in chosen:
            raise DataError(f'{label}: "{column}" in columns is not a column of {table}.{nearest(column, chosen)}')
    for column, header in chosen.items():
        if header not in present and (column in (columns or ()) or column in REQUIRED[table]):
            raise DataError(f'{label}: column "{header}" is missing.{nearest(header, present)}')
    return {c: header for c, header in chosen.items() if header in present}


def canonical_select(con: duckdb.DuckDBPyConnection, relation: str, table: str, *, columns: Mapping[str, str] | None = None, label: str) -> str:
    """SELECT of all canonical columns, in the types of the store, over what follows a FROM; naive times are UTC, absent columns NULL."""
    kinds = {name: kind for name, kind, *_ in con.sql(f"DESCRIBE FROM {relation}").fetchall()}
    found, parts = headers(table, kinds, columns, label), []
    for column in CANONICAL[table]:
        name = '"' + found.get(column, "").replace('"', '""') + '"'
        kind, wanted = kinds.get(found.get(column, ""), ""), column_type(column)
        if not kind:
            sql = f"NULL::{wanted}"
        elif wanted == "TIMESTAMP":
            if kind.split("(")[0] in ("BIGINT", "INTEGER", "UBIGINT", "DOUBLE", "DECIMAL"):
                raise DataError(f'{label}: "{column}" holds {kind}, not times; give a column of timestamps.')
            zoned = kind == "VARCHAR" or "TZ" in kind or "TIME ZONE" in kind
            sql = f"make_timestamp(epoch_us(try_cast({name} AS TIMESTAMPTZ)))" if zoned else f"{name}::TIMESTAMP"
        else:
            sql = f"to_json({name})::VARCHAR" if column == "properties" and kind != "VARCHAR" else f"{name}::{wanted}"
        parts.append(f"{sql} AS {column}")
    return f"SELECT {', '.join(parts)} FROM {relation}"


def lay_over(
    con: duckdb.DuckDBPyConnection, selects: Mapping[str, str], *, salted: str, user: str = DENSE, names: Sequence[str] | None = None,
) -> pd.DataFrame | None:
    """Give ``con`` the tables of a store over canonical SELECTs (table -> SELECT, see `canonical_select`); only users and small tables are copied.

    ``user``: SQL of a user's integer. ``names``: the names of all events, in order, when the rows have been judged before. None: they are looked up,
    rows with a `verdict` are left out, and returned is what `load_report` counts: event, verdict, n_events, first_at and last_at in microseconds.
    """
    con.execute("SET TimeZone = 'UTC'")
    kept = lambda c: f"{hashed(c, salted)} AS {c}" if c in PERSONAL else c  # noqa: E731
    for table, columns in CANONICAL.items():
        nothing = f"SELECT {', '.join(f'NULL::{column_type(c)} AS {c}' for c in columns)} WHERE false"
        con.execute(f"CREATE {'VIEW' if table == 'events' else 'TABLE'} given_{table} AS {selects.get(table, nothing)}")
    con.execute("CREATE TABLE refused AS SELECT DISTINCT user_id FROM given_people WHERE consent = false")
    con.execute(f"CREATE VIEW judged AS SELECT *, {verdict('user_id IN (FROM refused)')} AS verdict FROM given_events")
    ids = " UNION ".join(["SELECT user_id FROM judged WHERE verdict IS NULL", *(f"SELECT user_id FROM given_{t}" for t in OF_USERS)])
    con.execute(f"CREATE TABLE users AS SELECT ({user})::BIGINT AS user, user_id, {BUCKET} AS bucket "
                f"FROM ({ids}) WHERE coalesce(user_id, '') <> '' AND user_id NOT IN (FROM refused) ORDER BY 1")
    for table in OF_USERS:
        columns = ", ".join(kept(c) for c in CANONICAL[table] if c not in ("user_id", "consent"))
        once = "QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY g.rowid) = 1" if table == "people" else ""
        con.execute(f"CREATE TABLE {table} AS SELECT user, {columns} FROM given_{table} g JOIN users USING (user_id) {once} ORDER BY user")
    for table in ("spend", "timeline", "responses"):
        con.execute(f"CREATE TABLE {table} AS FROM given_{table}")
    tally, faulty = None, False
    if names is None:
        tally = con.sql("""SELECT event, verdict, count(*) AS n_events, epoch_us(min(timestamp)) AS first_at, epoch_us(max(timestamp)) AS last_at
            FROM judged GROUP BY ALL ORDER BY ALL""").df()
        names, faulty = tally.loc[tally["verdict"].isna(), "event"], tally["verdict"].notna().any()
    con.execute(f"CREATE TYPE event_names AS ENUM ({', '.join(map(quoted, names if len(names) else ['']))})")
    columns = ", ".join(f"{c}::event_names AS {c}" if c == "event" else kept(c) for c in CANONICAL["events"] if c != "user_id")
    con.execute(f"CREATE VIEW events AS SELECT user, {columns} FROM judged JOIN users USING (user_id) {'WHERE verdict IS NULL' if faulty else ''}")
    return tally


def load_report(name: str, tally: pd.DataFrame, *, n_users: int) -> dict[str, Any]:
    """The load report of a log that was not loaded. Raises DataError: more than one row in ten wrong in one way, nothing left."""
    kept, n_read = tally[tally["verdict"].isna()], int(tally["n_events"].sum())
    rejected = {str(why): int(n) for why, n in tally.groupby("verdict")["n_events"].sum().items()}
    for why in ("no event", "unreadable timestamp", "timestamp in the future"):
        if rejected.get(why, 0) > FAULTY_SHARE * n_read:
            raise DataError(f"{name}: {rejected[why]:,} of {n_read:,} rows of events have the fault: {why}; "
                            "more than one row in ten wrong in one way means the data is misread.")
    if kept.empty:
        raise DataError(f"{name}: no event is left; rejected were {rejected or 'none'}.")
    first, last = (str(pd.Timestamp(int(us), unit="us")) for us in (kept["first_at"].min(), kept["last_at"].max()))
    events = {"n_read": n_read, "n_kept": int(kept["n_events"].sum()), "n_rejected": rejected}
    return {"name": name, "fingerprint": "", "tables": {"events": events}, "n_users": n_users, "first_event": first, "last_event": last}
