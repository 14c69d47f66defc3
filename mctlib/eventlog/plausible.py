"""Which times are believed: some clocks stand in 1970, some in the year 9999."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import duckdb
import pandas as pd

from mctlib.contract import CANONICAL, REQUIRED, as_timestamp, column_type
from mctlib.eventlog.identity import one_row, some

FLOOR = pd.Timestamp("2000-01-01")
FAR = pd.DateOffset(years=5)
RARE = 0.001  # as many rows are no error
EDGE = 0.005  # what lies before, and after, the middle 99 %
# Columns of what has happened; others may be planned ahead, by FAR.
HAPPENED = ("timestamp", "received_at", "submitted_at", "signed_up_at", "activated_at")


def beside(table: str) -> list[str]:
    """The columns of a table that hold times but need not: what is not believed is left empty."""
    optional = [column for column in CANONICAL[table] if column not in REQUIRED[table]]
    return [column for column in optional if column_type(column) in ("TIMESTAMP", "DATE")]


def first_of(earliest: Any) -> pd.Timestamp:
    """The first moment of events that is believed, by what the data YAML says of it."""
    if earliest is None:
        return FLOOR
    return as_timestamp(earliest, "earliest").tz_localize(None).normalize()


def last_of(column: str) -> pd.Timestamp:
    """The last moment of a column that is believed.

    A day ahead of now is some clock's error, not the future.
    """
    soon = pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta("1D")
    return (soon if column in HAPPENED else soon + FAR).floor("s")


def believed(column: str, earliest: Any = None) -> str:
    """SQL of whether a time beside the events' own is believed; of none, NULL.

    Users may be older than the events that are wanted, so ``earliest`` only lowers the floor.
    """
    first = min(FLOOR, first_of(earliest))
    return f"{column} BETWEEN {_sql(first)} AND {_sql(last_of(column))}"


def implausible(column: str, first: pd.Timestamp, near: tuple[date, date] | None = None) -> str:
    """Branches of an SQL CASE that say why a time is not believed, for DuckDB and Spark.

    ``near``: see `near_the_middle`.
    """
    last = last_of(column)
    ahead = "in the future" if column in HAPPENED else "more than 5 years ahead"
    low, end = map(pd.Timestamp, near or (first, last))
    # what is believed goes first: reading a time anew for every branch would cost more than this
    return f"""
        WHEN {column} BETWEEN {_sql(max(first, low))} AND {_sql(min(last, end))} THEN NULL
        WHEN {column} < {_sql(first)} THEN '{column} before {first:%Y-%m-%d}'
        WHEN {column} > {_sql(last)} THEN '{column} {ahead}'
        WHEN {column} IS NOT NULL THEN '{column} more than 5 years from nearly all others'
    """


def faults(first: pd.Timestamp = FLOOR, near: tuple[date, date] | None = None) -> str:
    """Branches of an SQL CASE that say what is wrong with a timed row, for DuckDB and Spark.

    ``first``, ``near``: which times are believed, see `implausible`.
    """
    return f"""
        WHEN coalesce(event, '') = '' THEN 'no event'
        {implausible("timestamp", first, near)}
        ELSE 'unreadable timestamp'
    """


def near_the_middle(counts: Iterable[tuple[date, int]]) -> tuple[date, date] | None:
    """The first day that is believed, and the one after the last, by how many rows each day has.

    Not believed are days more than FAR from the middle 99 % of the rows, if they have fewer than
    RARE of these. None where there are no such days.
    """
    days = pd.Series(dict(counts), dtype="int64").sort_index()
    if days.empty:
        return None
    before = days.cumsum() - days
    first = days.index[before + days > EDGE * days.sum()][0]
    last = days.index[before < (1 - EDGE) * days.sum()][-1]
    low = (pd.Timestamp(first) - FAR).date()
    end = (pd.Timestamp(last) + FAR + pd.Timedelta("1D")).date()
    n_far = days[(days.index < low) | (days.index >= end)].sum()
    return (low, end) if 0 < n_far < RARE * days.sum() else None


def near(
    con: duckdb.DuckDBPyConnection, rows: str, earliest: Any = None
) -> tuple[date, date] | None:
    """As `near_the_middle`, of the rows of a table; they are counted only where any may be far.

    Who says what is the earliest has looked at what lies far from the others: there all is near.
    """
    if earliest is not None:
        return None
    wide = f"SELECT min(timestamp) + INTERVAL 5 YEARS < max(timestamp) FROM {rows}"
    if not con.execute(wide).fetchall()[0][0]:
        return None
    counts = (
        f"SELECT timestamp::DATE, count(*) FROM {rows} WHERE {believed('timestamp')} GROUP BY 1"
    )
    return near_the_middle(con.execute(counts).fetchall())


def empty(con: duckdb.DuckDBPyConnection, earliest: Any) -> dict[str, dict[str, int]]:
    """Empty the staged times `beside` the rows' own that are not believed.

    Returns how many, by table and column. Events show only what is believed, see `_stage_events`.
    """
    found: dict[str, dict[str, int]] = {}
    for table in CANONICAL:
        staged = "given_events" if table == "events" else f"in_{table}"
        there = con.sql(f"FROM {staged}").columns if some(con, staged) else []
        wrong = {c: f"NOT {believed(c, earliest)}" for c in beside(table) if c in there}
        if not wrong:
            continue
        counts = ", ".join(f"count(*) FILTER ({sql})" for sql in wrong.values())
        for column, n in zip(wrong, one_row(con, f"SELECT {counts} FROM {staged}")):
            if n:
                found.setdefault(table, {})[column] = n
            if n and table != "events":
                con.execute(f"UPDATE {staged} SET {column} = NULL WHERE {wrong[column]}")
    return found


def _sql(moment: date) -> str:
    # the zone is for Spark, which takes its session's
    return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%SZ}'"
