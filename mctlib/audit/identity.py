"""Who is who and when is when: what the load found, and clocks that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mctlib import stats
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.sql import sql_text
from mctlib.results import MIN_USERS

AHEAD_MINUTES = 5  # a device's clock this far ahead of its receipt is wrong
WHO = {
    "n_ids_with_several_users": "devices with several users",
    "n_users_with_several_ids": "users with several devices",
    "n_chains": "devices known through another one",
}


def identity_table(load: Mapping[str, Any]) -> pd.DataFrame:
    """`Audit.identity`: check, n_found (10 or more), n_of, share_rate, from the load."""
    rows = [*_left_out(load), *_who(load)]
    table = pd.DataFrame(rows, columns=["check", "n_found", "n_of"])
    table = table[table["n_found"] >= MIN_USERS].reset_index(drop=True)
    return table.assign(share_rate=stats.rate(table["n_found"], table["n_of"]))


def _left_out(load: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, counts in load.get("tables", {}).items():
        for reason, n in (counts.get("n_rejected") or {}).items():
            yield f"rows of {name} left out: {reason}", n, counts.get("n_read", n)
        for column, n in (counts.get("n_emptied") or {}).items():
            yield f"implausible {column} of {name}", n, counts.get("n_read", n)
    events = load["tables"]["events"]
    if events.get("n_identical"):
        yield "events identical to another, without an id", events["n_identical"], events["n_kept"]


def _who(load: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    who = load.get("identity") or {}
    if who.get("n_anonymous_rows"):
        yield "anonymous events given a user", who["n_matched_rows"], who["n_anonymous_rows"]
    for key, words in WHO.items():
        if who.get(key):
            yield words, who[key], load.get("n_users")
    for table, met in (load.get("met") or {}).items():
        if table != "refused" and met["n_users"] > met["n_met"]:
            lack = "in no other table" if table == "events" else "who met no event"
            yield f"users of {table} {lack}", met["n_users"] - met["n_met"], met["n_users"]


def clocks_table(log: EventLog, later: Sequence[str], until: int) -> pd.DataFrame:
    """`Audit.clocks`: platform, check, n_users, n_events, n_of, share_rate, median_days.

    ``later``: events that come after a sign-up, so that none of them may lie a day before it.
    """
    names = ", ".join(map(sql_text, later)) or "''"
    ahead = f"e.received_at < e.timestamp - INTERVAL {AHEAD_MINUTES} MINUTE"
    early = f"e.event::VARCHAR IN ({names}) AND e.timestamp < p.signed_up_at - INTERVAL 1 DAY"
    rows = []
    for check, sql, gap, of in (
        ("received before it happened", ahead, "e.timestamp - e.received_at", "e.received_at"),
        ("a day or more before sign-up", early, "p.signed_up_at - e.timestamp", "p.signed_up_at"),
    ):
        rows.append(
            log.sql(
                f"""SELECT coalesce(e.platform::VARCHAR, '(none)') AS platform,
                    {sql_text(check)} AS "check",
                    count(DISTINCT e."user") FILTER ({sql}) AS n_users,
                    count(*) FILTER ({sql}) AS n_events, count({of}) AS n_of,
                    median(epoch({gap}) / 86400) FILTER ({sql}) AS median_days
                FROM events e LEFT JOIN people p USING ("user")
                WHERE e.timestamp <= make_timestamp({until}) GROUP BY 1"""
            )
        )
    table = pd.concat(rows, ignore_index=True)
    table = table[table["n_events"] > 0]
    table.insert(5, "share_rate", stats.rate(table["n_events"], table["n_of"]))
    return table.sort_values("n_events", ascending=False, ignore_index=True)
