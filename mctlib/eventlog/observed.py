"""Up to when a log was observed, and what every answer from it must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from mctlib.contract import ABOUT_USERS, ParameterError, as_timestamp
from mctlib.eventlog.ids import asking
from mctlib.eventlog.meeting import meeting
from mctlib.phrases import count

if TYPE_CHECKING:
    from mctlib.eventlog.event_log import EventLog
    from mctlib.eventlog.reader import StoreReader


def complete(load: dict[str, Any], reader: StoreReader) -> dict[str, Any]:
    """The load report, with what a log in place counts only when it is asked."""
    if "n_users" not in load:
        load["n_users"] = reader.n_users()
    if "met" not in load:
        beside = {table: table for table in ABOUT_USERS}
        load["met"] = meeting(asking(reader.con), beside, "events", "user")
    events = load["tables"]["events"]
    if "n_identical" not in events:
        events["n_identical"] = n_identical(reader.con, "events")
        events["n_unread"] = n_unread(reader.con)
    return load


def told(observed_until: Any) -> str | None:
    """How the load report keeps that collection went on until then; None where nobody said so."""
    if observed_until is None:
        return None
    return str(as_timestamp(observed_until, "observed_until").tz_localize(None))


def end(load: dict[str, Any]) -> pd.Timestamp:
    """The midnight after the last event, or when collection ended, where that is later."""
    night = pd.Timestamp(load["last_event"]).normalize() + pd.Timedelta("1D")
    return max(night, pd.Timestamp(load.get("observed_until") or night)).tz_localize("UTC")


def last_day(log: EventLog) -> pd.Timestamp:
    """The last day of which anything is known."""
    return (log.observed_until - pd.Timedelta("1us")).normalize()


def last_moment(log: EventLog, as_of: Any) -> int:
    """See `EventLog.as_of`."""
    stamp = log.last_event if as_of is None else as_timestamp(as_of)
    if stamp < log.first_event:
        raise ParameterError(
            f"as_of: {as_of} lies before the first event of {log.name} "
            f"({log.first_event:%Y-%m-%d %H:%M})."
        )
    return int(min(stamp, log.observed_until).value // 1000)


def caveats(log: EventLog, as_of: Any) -> tuple[str, ...]:
    """See `EventLog.caveats`. In a large log in place identical rows are not counted for it."""
    found = []
    late = as_of is not None and as_timestamp(as_of) > log.observed_until
    if late:
        found.append(
            f"as_of {as_timestamp(as_of):%Y-%m-%d} lies after the end of the data and is read as "
            f"{last_day(log):%Y-%m-%d}: what happened since is not known. If events were collected "
            "until then and none came, say so by observed_until in the data YAML."
        )
    events = (log.load if log.small else log._load)["tables"]["events"]
    if n := events.get("n_unread", 0):
        found.append(
            f"The properties of {count(n, 'event')} of {events['n_kept']:,} are not JSON and were "
            "not read."
        )
    if n := events.get("n_apart", 0):
        found.append(
            f"{count(n, 'event')} of {events['n_kept']:,} {'has' if n == 1 else 'have'} the "
            "event_id of an earlier one, but too long after it to be sent again: kept. How long "
            "that is, resent_within in the data YAML says."
        )
    if n := events.get("n_identical", 0):
        found.append(
            f"{count(n, 'event')} of {events['n_kept']:,} {'is' if n == 1 else 'are'} identical to "
            "another one and without event_id: kept, for it cannot be told whether they were sent "
            "twice or happened twice."
        )
    return tuple(found)


def n_identical(con: duckdb.DuckDBPyConnection, events: str, *, in_order: bool = False) -> int:
    """Rows without event_id of a table that are in every column as another row.

    ``in_order``: whether such rows lie one after the other.
    """
    columns = {name for name, *_ in con.execute(f"DESCRIBE FROM {events}").fetchall()}
    unnamed = "WHERE e.event_id IS NULL" if "event_id" in columns else ""

    def n_again(what: str) -> int:
        rows = f"SELECT hash({what}) AS row FROM {events} e {unnamed}"
        rows += "" if in_order else " ORDER BY row"
        again = f"SELECT row = lag(row) OVER () AS again FROM ({rows})"
        return int(con.execute(f"SELECT count(*) FROM ({again}) WHERE again").fetchall()[0][0])

    # most logs have none even by these three
    return n_again("e") if n_again("e.user, e.timestamp, e.event") else 0


def n_unread(con: duckdb.DuckDBPyConnection) -> int:
    """Rows in place (`parquet.lay_over`) whose properties are text and no JSON object."""
    if "unread" not in {name for name, *_ in con.execute("DESCRIBE judged").fetchall()}:
        return 0
    unread = "SELECT count_if(unread) FROM judged WHERE verdict IS NULL"
    return int(con.execute(unread).fetchall()[0][0])
