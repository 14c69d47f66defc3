"""What is looked at in every load, and told, though nothing is rejected for it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

import duckdb

from mctlib.contract import ENTRIES, nearest
from mctlib.eventlog.ids import Ask, asking
from mctlib.eventlog.sql import sql_name

# Pairs of a person's days of which the first cannot come after the second.
IN_ORDER = (
    *(("signed_up_at", later) for later in ("activated_at", "renewed_at", "upsold_at")),
    ("signed_up_at", "churned_at"),
    ("activated_at", "churned_at"),
)
# Rows that are hardly meant, by table: name of the check -> SQL that is true for them.
ROWS = {
    "spend": {
        "no amount": "amount IS NULL",
        "neither partner_id nor channel": "partner_id IS NULL AND channel IS NULL",
        "outside": "day NOT BETWEEN {first}::DATE AND {last}::DATE",
    },
    "backend": {"outside": "timestamp NOT BETWEEN {first} AND {last}"},
}
SAME = {"spend": "day, partner_id, channel", "backend": "user, event, timestamp"}


def look_over(
    con: duckdb.DuckDBPyConnection, first: Any, last: Any, events: Mapping[str, int]
) -> dict[str, Any]:
    """`look_alikes`, and checks of people, spend and backend: table, check, column, n, n_rows.

    Checks: "empty" (of a column that is not empty everywhere), "before" (``column`` lies before
    ``after``), "after all events" and "after own events" (``column`` does), "unknown word"
    (``column``, an event or kind; ``near`` the nearest), those of ROWS, and "again" (a row that
    says the same as one before it). ``first``, ``last``: of the events; these by name -> rows.
    """
    ask = asking(con)
    moments = {"first": f"TIMESTAMP '{first}'", "last": f"TIMESTAMP '{last}'"}
    found = [
        *_empty(ask),
        *_out_of_order(ask),
        *_late_sign_ups(ask, moments["last"]),
        *_unknown(ask, "backend", "event", events),
        *_unknown(ask, "timeline", "lower(trim(kind))", ENTRIES),
    ]
    for table, checks in ROWS.items():
        kinds = f"SELECT DISTINCT {SAME[table]} FROM store.{table}"
        again = f"count(*) - (SELECT count(*) FROM ({kinds}))"
        counts = [f"count(*) FILTER ({sql.format(**moments)})" for sql in checks.values()]
        (row,) = ask(f"SELECT count(*), {', '.join([again, *counts])} FROM store.{table}")
        for check, n in zip(("again", *checks), row[1:]):
            found += [{"table": table, "check": check, "n": n, "n_rows": row[0]}] if n else []
    return {"checks": found, "look_alikes": look_alikes(events)}


def _empty(ask: Ask) -> list[dict[str, Any]]:
    columns = [name for name, *_ in ask("DESCRIBE store.people") if name != "user"]
    counts = ", ".join(f"count(nullif({sql_name(c)}::VARCHAR, ''))" for c in columns)
    ((n_rows, *filled),) = ask(f"SELECT count(*), {counts} FROM store.people")
    return [
        {"table": "people", "check": "empty", "column": column, "n": n_rows - n, "n_rows": n_rows}
        for column, n in zip(columns, filled)
        if 0 < n < n_rows
    ]


def _out_of_order(ask: Ask) -> list[dict[str, Any]]:
    pairs = [
        f"count(*) FILTER ({later} < {earlier}), count({later} - {earlier})"
        for earlier, later in IN_ORDER
    ]
    (counts,) = ask(f"SELECT {', '.join(pairs)} FROM store.people")
    about = {"table": "people", "check": "before"}
    return [
        {**about, "column": later, "after": earlier, "n": n, "n_rows": n_rows}
        for (earlier, later), n, n_rows in zip(IN_ORDER, counts[::2], counts[1::2])
        if n
    ]


def _late_sign_ups(ask: Ask, end: str) -> list[dict[str, Any]]:
    """Who signed up after all events, or after all of their own.

    A day later at least, for days are written in many zones.
    """
    own = "SELECT user, max(timestamp) AS last FROM store.events GROUP BY user"
    after = "signed_up_at > {} + INTERVAL 1 DAY"
    late = f"count(*) FILTER ({after.format(end)})"
    late_for_them = (
        f"count(*) FILTER ({after.format('last')}) - count(last) FILTER ({after.format(end)})"
    )
    rows = f"store.people LEFT JOIN ({own}) USING (user) WHERE signed_up_at IS NOT NULL"
    (counts,) = ask(f"SELECT count(*), {late}, {late_for_them} FROM {rows}")
    return [
        {"table": "people", "check": check, "column": "signed_up_at", "n": n, "n_rows": counts[0]}
        for check, n in zip(("after all events", "after own events"), counts[1:])
        if n
    ]


def _unknown(ask: Ask, table: str, word: str, known: Collection[str]) -> list[dict[str, Any]]:
    """Words of a table (SQL of one of its columns) that are none of those known."""
    ((n_rows,),) = ask(f"SELECT count(*) FROM store.{table}")
    counts = ask(f"SELECT {word}, count(*) FROM store.{table} GROUP BY 1 ORDER BY 1")
    about = {"table": table, "check": "unknown word", "n_rows": n_rows}
    return [
        {**about, "column": said, "near": nearest(said, known), "n": n}
        for said, n in counts
        if said not in known
    ]


def look_alikes(events: Mapping[str, int]) -> list[dict[str, Any]]:
    """Names of events (name -> rows) that differ by case, spaces and the like only.

    event, n_events, like, n_like: each beside the most frequent one that it looks like.
    """
    alike: dict[str, list[str]] = {}
    for name in sorted(events, key=lambda name: (-events[name], name)):
        words = unicodedata.normalize("NFKC", name).casefold()
        alike.setdefault(re.sub(r"[\W_]+", " ", words).strip(), []).append(name)
    return [
        {"event": other, "n_events": events[other], "like": first, "n_like": events[first]}
        for first, *others in alike.values()
        for other in others
    ]
