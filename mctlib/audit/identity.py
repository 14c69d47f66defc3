"""Who is who and when is when: what the load found, and clocks that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mctlib import stats
from mctlib.contract import MISSING
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
    names = ", ".join(map(sql_text, later))
    checks = {
        "received before it happened": (
            "events e",
            "e.received_at IS NOT NULL",
            f"e.received_at < e.timestamp - INTERVAL {AHEAD_MINUTES} MINUTE",
            "e.timestamp - e.received_at",
        ),
        "a day or more before sign-up": (
            'events e JOIN people p USING ("user")',
            f"e.event IN ({names}) AND p.signed_up_at IS NOT NULL" if names else "false",
            "e.timestamp < p.signed_up_at - INTERVAL 1 DAY",
            "p.signed_up_at - e.timestamp",
        ),
    }
    rows = []
    for check, (of, known, wrong, gap) in checks.items():
        some = f"FROM {of} WHERE {known} AND e.timestamp <= make_timestamp({until})"
        found = log.sql(
            f"""SELECT e.platform, count(DISTINCT "user") AS n_users, count(*) AS n_events,
                median(epoch({gap}) / 86400) AS median_days {some} AND {wrong} GROUP BY 1"""
        )
        n = (
            log.sql(f"SELECT e.platform, count(*) AS n_of {some} GROUP BY 1")
            if len(found)
            else found
        )
        rows.append(found.merge(n).assign(check=check) if len(found) else found)
    table = pd.concat(rows, ignore_index=True)
    columns = ["platform", "check", "n_users", "n_events", "n_of", "median_days"]
    table = table.reindex(columns=columns).sort_values("n_events", ascending=False)
    table.insert(5, "share_rate", stats.rate(table["n_events"], table["n_of"]))
    return table.astype({"platform": object}).fillna({"platform": MISSING}).reset_index(drop=True)
