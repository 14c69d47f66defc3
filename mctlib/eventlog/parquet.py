"""A store's tables laid over rows that stay where they are (Parquet files, Arrow tables)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from mctlib.contract import ABOUT_USERS, CANONICAL, REQUIRED, DataError, column_type, nearest
from mctlib.eventlog import plausible
from mctlib.eventlog.checks import look_alikes
from mctlib.eventlog.days import known_by_day
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.identity import some
from mctlib.eventlog.ids import asking, called, find_impossible, fine_at_a_glance, look_at, one_of
from mctlib.eventlog.meeting import check_meeting
from mctlib.eventlog.own_columns import fill_gaps, own_columns
from mctlib.eventlog.pseudonyms import bucket, kept, salt, shown_names, yes_or_no
from mctlib.eventlog.rejecting import FAULTY_SHARE
from mctlib.eventlog.spellings import platform
from mctlib.eventlog.sql import sql_name, sql_object, sql_text

NUMBERS = ("BIGINT", "INTEGER", "UBIGINT", "DOUBLE", "DECIMAL")


def read_in_place(
    con: duckdb.DuckDBPyConnection,
    sources: Mapping[str, str | Path | pd.DataFrame],
    *,
    columns: Mapping[str, str] | None,
    name: str,
    ignore_case: bool = False,
) -> dict[str, Any]:
    """Give ``con`` the tables of a log over files or frames (table -> source); the load report."""
    selects = {}
    for table, source in sources.items():
        mapped = columns if table == "events" else None
        selects[table] = _select_of(con, table, source, mapped)
    try:
        tally = lay_over(con, selects, salted=salt(), ignore_case=ignore_case)
        check_meeting(asking(con), name, "given_people", "(FROM judged WHERE verdict IS NULL)")
        days = known_by_day(con, ["SELECT name AS event, timestamp FROM events"])
    except duckdb.Error as error:
        raise _unreadable(sources["events"], error) from error
    # the order of the files would be kept in memory, for nothing
    con.execute("SET preserve_insertion_order = false")
    return load_report(name, tally, days)


def verdict(refused: str, nobody: str = "false", near: tuple[date, date] | None = None) -> str:
    """SQL of the reason why a row of events is left out, NULL for the others.

    ``refused``, ``nobody``: SQL that is true for users without consent, and for impossible ids.
    ``near``: see `plausible`.
    """
    no_user = "WHEN coalesce(user_id, '') = '' THEN 'no user'"
    no_user += f" WHEN {nobody} THEN {called('user_id', 'user_id')}"
    whose = f"coalesce(CASE {plausible.faults(near=near)} END, CASE {no_user} END)"
    return f"CASE WHEN {refused} THEN 'no consent' ELSE {whose} END"


def headers(
    table: str, present: Collection[str], columns: Mapping[str, str] | None, label: str
) -> dict[str, str]:
    """Canonical column -> the column of ``present`` that fills it.

    Raises DataError: ``columns`` names an unknown one, or a required one is missing.
    """
    mapped = columns or {}
    chosen = {c: mapped.get(c, c) for c in CANONICAL[table]}
    for column in mapped:
        if column not in chosen:
            raise DataError(
                f'{label}: "{column}" in columns is not a column of {table}.'
                f"{nearest(column, chosen)}"
            )
    for column, header in chosen.items():
        needed = column in mapped or column in REQUIRED[table]
        if needed and header not in present:
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
    """SELECT of all canonical columns, in the types of the store, over what follows a FROM.

    Times without a zone are UTC, absent columns NULL. Where properties are text, ``unread`` tells
    which are no JSON object. People's own columns are their properties.
    """
    kinds = {name: kind for name, kind, *_ in con.sql(f"DESCRIBE FROM {relation}").fetchall()}
    found = headers(table, kinds, columns, label)
    parts = []
    for column in CANONICAL[table]:
        sql = f"NULL::{column_type(column)}"
        if column in found:
            sql = _cast(column, sql_name(found[column]), kinds[found[column]], label)
            if column == "platform":
                sql = platform(f"({sql})")
            if column in plausible.beside(table):
                sql = f"CASE WHEN {plausible.believed(f'({sql})')} THEN {sql} END"
        elif table == "people" and column == "properties":
            sql = _others([header for header in kinds if header not in found.values()])
        parts.append(f"{sql} AS {column}")
    if kinds.get(found.get("properties", "")) == "VARCHAR":
        bag = sql_name(found["properties"])
        parts.append(f"{bag} <> '' AND {sql_object(bag)} IS NULL AS unread")
    return f"SELECT {', '.join(parts)} FROM {relation}"


def _cast(column: str, name: str, kind: str, label: str) -> str:
    """SQL of a column, called ``name`` and of a type ``kind``, in the type of the store."""
    wanted = column_type(column)
    if wanted == "TIMESTAMP":
        if kind.split("(")[0] in NUMBERS:
            raise DataError(
                f'{label}: "{column}" holds {kind}, not times; give a column of timestamps.'
            )
        if kind == "VARCHAR" or "TZ" in kind or "TIME ZONE" in kind:
            return f"make_timestamp(epoch_us(try_cast({name} AS TIMESTAMPTZ)))"
    if column == "properties":
        return sql_object(name) if kind == "VARCHAR" else f"to_json({name})::VARCHAR"
    if column == "consent" and kind != "BOOLEAN":
        return yes_or_no(f"{name}::VARCHAR", label)
    return f"{name}::{wanted}"


def _others(headers: Sequence[str]) -> str:
    """SQL of further columns as one JSON text."""
    pairs = [f"{sql_text(header)}, {sql_name(header)}::VARCHAR" for header in headers]
    return f"json_object({', '.join(pairs)})::VARCHAR"


def _select_of(
    con: duckdb.DuckDBPyConnection, table: str, source: Any, columns: Mapping[str, str] | None
) -> str:
    """The `canonical_select` of a frame, or of a path or glob of Parquet files."""
    if isinstance(source, pd.DataFrame):
        con.register(f"frame_{table}", canonical_frame(source, table))
        return canonical_select(con, f"frame_{table}", table, label=f"{table} frame")
    files = f"read_parquet({sql_text(str(source))})"
    try:
        return canonical_select(con, files, table, columns=columns, label=str(source))
    except duckdb.Error as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Any, error: duckdb.Error) -> DataError:
    return DataError(f"{source}: {str(error).splitlines()[0]}")


def lay_over(
    con: duckdb.DuckDBPyConnection,
    selects: Mapping[str, str],
    *,
    salted: str,
    names: Sequence[str] | None = None,
    own: Collection[str] = (),
    ignore_case: bool = False,
) -> pd.DataFrame:
    """Give ``con`` the tables of a store over canonical SELECTs; only the small ones are copied.

    `events` has one column more than in a store, ``name``: the event as text. ``salted``: what is
    put before an id that is hashed · ``names``: of all events, in order, when the rows have been
    judged before; else they are looked up, and rows with a `verdict` are left out · ``own``:
    people's own columns, where some of them may not be among those selected.

    Returned is what `load_report` counts: event, verdict, n_events, first_at and last_at in
    microseconds (where nothing is left out, of all events); empty with ``names``.

    A user's integer is 63 bits of a salted hash: it needs no look at the other users, so `events`
    and `users` are views. (DuckDB's own hash of an id is quicker, but gives similar ids the same
    number; of an MD5 it does not.) That any two of 5 million users share one: 1 in 700,000.
    """
    suspected: list[str] = []
    for table, columns in CANONICAL.items():
        nulls = ", ".join(f"NULL::{column_type(c)} AS {c}" for c in columns)
        rows = selects.get(table, f"SELECT {nulls} WHERE false")
        kind = "VIEW" if table == "events" else "TABLE"
        if table in selects and (names is None or table != "events"):
            looked = dict.fromkeys(columns)
            if table == "events" and fine_at_a_glance(con, f"({rows})", ignore_case=ignore_case):
                del looked["user_id"]
            odd, suspicious = look_at(asking(con), f"({rows})", looked, ignore_case=ignore_case)
            written = ", ".join(f"{sql} AS {column}" for column, sql in odd.items())
            rows = f"SELECT * REPLACE ({written}) FROM ({rows})" if odd else rows
            suspected += [f"given_{table}"] if suspicious and "user_id" in columns else []
        con.execute(f"CREATE {kind} given_{table} AS {rows}")
    impossible = find_impossible(asking(con), "user_id", suspected)
    for table in ABOUT_USERS:
        con.execute(f"DELETE FROM given_{table} WHERE {one_of('user_id', impossible)}")
    con.execute("""CREATE TABLE refused AS SELECT DISTINCT user_id FROM given_people
        WHERE consent = false AND user_id <> ''""")
    anybody = some(con, "refused")
    refused = "user_id IN (FROM refused)" if anybody else "false"
    sound = names is not None or not (anybody or impossible) and _all_sound(con)
    near = None if sound else plausible.near(con, "given_events")
    why = "NULL" if sound else verdict(refused, one_of("user_id", impossible), near)
    con.execute(f"CREATE VIEW judged AS SELECT *, {why}::VARCHAR AS verdict FROM given_events")
    user = f"(hash(md5({sql_text(salted)} || user_id)) >> 1)::BIGINT AS user"
    _lay_small_tables(con, user, salted, refused, own)

    tally = _tally(con, sound) if names is None else pd.DataFrame({"event": names, "verdict": None})
    events = tally.loc[tally["verdict"].isna(), "event"]
    shown = shown_names(con, events)
    enum = ", ".join(map(sql_text, sorted(set(shown.values())))) or "''"
    con.execute(f"CREATE TYPE event_names AS ENUM ({enum})")
    # a filter on the files' own column reads less
    renamed = "".join(
        f" WHEN {sql_text(event)} THEN {sql_text(name)}"
        for event, name in shown.items()
        if event != name
    )
    event = f"CASE event{renamed} ELSE event END" if renamed else "event"
    others = _kept([c for c in CANONICAL["events"] if c != "event"], salted)
    only = "WHERE verdict IS NULL" if tally["verdict"].notna().any() else ""
    con.execute(f"""CREATE VIEW events AS
        SELECT {user}, {event} AS name, ({event})::event_names AS event, {others}
        FROM judged {only}""")
    return tally


def _all_sound(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether all rows of events can stay; of Parquet files the footers tell, no row is read."""
    found = con.execute(f"""
        SELECT count(*) = least(count(user_id), count(event), count(timestamp))
            AND least(min(user_id), min(event)) > '' AND max(timestamp) < now()::TIMESTAMP
            AND min(timestamp) >= TIMESTAMP '{plausible.FLOOR}'
            AND max(timestamp) < min(timestamp) + INTERVAL 5 YEARS
        FROM given_events""")
    return bool(found.fetchall()[0][0])


def _lay_small_tables(
    con: duckdb.DuckDBPyConnection, user: str, salted: str, refused: str, own: Collection[str]
) -> None:
    """Make all tables but the events. Of several rows of a user the first stands.

    ``user``, ``refused``: SQL of a user's integer, and of whether there is no consent · ``own``:
    see `lay_over`.
    """
    fill_gaps(con, "given_people")
    con.execute("""DELETE FROM given_people
        WHERE rowid NOT IN (SELECT min(rowid) FROM given_people GROUP BY user_id)""")
    ids = ["SELECT user_id FROM judged WHERE verdict IS NULL"]
    for table in ABOUT_USERS:
        left_out = ("user_id", "consent", "properties")
        columns = [_kept([c for c in CANONICAL[table] if c not in left_out], salted)]
        rows = f"given_{table}"
        con.execute(f"DELETE FROM {rows} WHERE coalesce(user_id, '') = '' OR {refused}")
        if table == "people":
            more, rows = own_columns(con, rows, own)
            columns += more
        con.execute(f"""CREATE TABLE {table} AS
            SELECT {", ".join([user, *columns])} FROM {rows} ORDER BY user""")
        ids.append(f"SELECT user_id FROM given_{table}")
    con.execute(f"""CREATE VIEW users AS SELECT {user}, {bucket(salted)} AS bucket
        FROM ({" UNION ".join(ids)}) LEFT JOIN given_people USING (user_id)""")
    for table in ("spend", "timeline", "responses"):
        con.execute(f"CREATE TABLE {table} AS FROM given_{table}")


def _kept(columns: Sequence[str], salted: str) -> str:
    """SQL of columns as they are `kept`, the user_id not."""
    return ", ".join(f"{kept(c, salted)} AS {c}" for c in columns if c != "user_id")


def _tally(con: duckdb.DuckDBPyConnection, sound: bool) -> pd.DataFrame:
    """Rows by event and verdict; where all are sound the period comes from the files' footers."""
    times = "epoch_us(min(timestamp)) AS first_at, epoch_us(max(timestamp)) AS last_at"
    if not sound:
        return con.sql(f"""SELECT event, verdict, count(*) AS n_events, {times}
            FROM judged GROUP BY ALL ORDER BY ALL""").df()
    return con.sql(f"""
        FROM (SELECT event, NULL::VARCHAR AS verdict, count(*) AS n_events
              FROM given_events GROUP BY event), (SELECT {times} FROM given_events)
        ORDER BY ALL""").df()


def load_report(name: str, tally: pd.DataFrame, days: Mapping[str, list[str]]) -> dict[str, Any]:
    """The load report of a log that was not loaded, but for its n_users.

    ``days``: see `known_by_day`.

    Raises DataError: more than one row in ten wrong in one way, nothing left.
    """
    kept = tally[tally["verdict"].isna()]
    n_read = int(tally["n_events"].sum())
    rejected = {str(why): int(n) for why, n in tally.groupby("verdict")["n_events"].sum().items()}
    for why, n in rejected.items():
        if ("event" in why or "timestamp" in why) and n > FAULTY_SHARE * n_read:
            raise DataError(
                f"{name}: {n:,} of {n_read:,} rows of events have the fault: {why}; "
                "more than one row in ten wrong in one way means the data is misread."
            )
    if kept.empty:
        raise DataError(f"{name}: no event is left; rejected were {rejected or 'none'}.")
    n_kept = int(kept["n_events"].sum())
    return {
        "name": name,
        "fingerprint": "",
        "tables": {"events": {"n_read": n_read, "n_kept": n_kept, "n_rejected": rejected}},
        "first_event": str(pd.Timestamp(int(kept["first_at"].min()), unit="us")),
        "last_event": str(pd.Timestamp(int(kept["last_at"].max()), unit="us")),
        "day_resolution": dict(days),
        "look_alikes": look_alikes(kept.groupby("event")["n_events"].sum().to_dict()),
    }
