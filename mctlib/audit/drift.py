"""Whether events say other things than before: properties that came, went or changed their type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from mctlib import stats
from mctlib.audit.plan_kept import TYPES
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.late_start import CHANCE, first_day
from mctlib.eventlog.sql import sql_path, sql_text
from mctlib.phrases import DAY_US, day
from mctlib.results import MIN_USERS

RECENT = 56  # days in which a change is told
MOST_ROWS = 500_000  # events that are looked at, all those of some users
WORDS = {duck: word for word in ("number", "string", "boolean") for duck in TYPES[word]}
COLUMNS = ["event", "property", "drift", "since", "type_before", "type_after"]
COLUMNS += ["n_before", "before_rate", "n_after", "after_rate"]


def drift_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.drift`: what chance does not explain (1 in a million), the newest first."""
    if not log.words.filled("events", "properties"):
        return pd.DataFrame(columns=[*COLUMNS[:6], "n_users", *COLUMNS[6:]])
    n_rows = log.load["tables"]["events"]["n_kept"]
    some = ""
    if n_rows > MOST_ROWS:  # users have numbers that tell nothing of them: the first are like all
        last = int(log.sql('SELECT max("user") AS user FROM events')["user"].iloc[0])
        some = f'AND "user" <= {int(last * MOST_ROWS / n_rows)}'
    shapes = log.sql(
        f"""SELECT event::VARCHAR AS event, epoch_us(timestamp) // {DAY_US} AS day,
            json_structure(properties)::VARCHAR AS shape, count(*) AS n
        FROM events WHERE timestamp <= make_timestamp({until}) {some}
        GROUP BY ALL"""
    )
    types = {shape: _types(shape) for shape in shapes["shape"].unique()}
    rows = []
    for event, part in shapes.groupby("event"):
        said = [
            (key, kind, row.day, row.n)
            for row in part.itertuples()
            for key, kind in types[row.shape].items()
        ]
        seen = pd.DataFrame(said, columns=["key", "kind", "day", "n"])
        rows += [(event, *row) for row in _of_event(part[["day", "n"]], seen)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = table[table["since"] > day(until - RECENT * DAY_US)]
    n_users = [_users(log, *row, until) for row in zip(table["event"], table["property"])]
    table.insert(6, "n_users", n_users)
    table = table[table["n_users"] >= MIN_USERS]
    return table.sort_values("since", ascending=False, kind="stable", ignore_index=True)


def _users(log: EventLog, event: str, key: str, until: int) -> int:
    """Of whose events one has the property."""
    has = f"json_extract(properties, {sql_path(key)}) IS NOT NULL"
    found = log.sql(
        f"""SELECT count(DISTINCT "user") AS n FROM events
        WHERE event = {sql_text(event)} AND {has} AND timestamp <= make_timestamp({until})"""
    )
    return int(found["n"].iloc[0])


def _of_event(whole: pd.DataFrame, seen: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """What changed of one event, whose properties were seen on these days."""
    for key, mine in seen.groupby("key"):
        change, since = _change(whole, mine)
        if not change:
            found = [_change(whole, part) for _, part in mine.groupby("kind")]
            since = max(at for _, at in found)
            change = "changed type" if since else ""
        if change:
            old, new = (mine[mine["day"] < since], mine[mine["day"] >= since])
            n_old = whole.loc[whole["day"] < since, "n"].sum()
            n_new = whole["n"].sum() - n_old
            yield (
                *(key, change, day(since * DAY_US)),
                *(" or ".join(sorted(set(rows["kind"]))) for rows in (old, new)),
                *(int(old["n"].sum()), float(stats.rate(old["n"].sum(), n_old))),
                *(int(new["n"].sum()), float(stats.rate(new["n"].sum(), n_new))),
            )


def _change(whole: pd.DataFrame, mine: pd.DataFrame) -> tuple[str, int]:
    """Whether what was seen on some days came or went, and since which day; "" and 0 for neither.

    It went only if it had been there, and came only if it still is.
    """
    first = first_day(mine)
    last = -first_day(mine.assign(day=-mine["day"]))
    between = whole["day"].between(first, last)
    share = mine["n"].sum() / whole.loc[between, "n"].sum()
    before, after = (
        whole.loc[those, "n"].sum() * share > CHANCE
        for those in (whole["day"] < first, whole["day"] > last)
    )
    return ("vanished", last + 1) if after else ("appeared", first) if before else ("", 0)


def _types(shape: str | None) -> dict[str, str]:
    """Property -> the type of its value, in the words of a plan; without what is null."""
    found = json.loads(shape) if isinstance(shape, str) and shape.startswith("{") else {}
    kinds = {key: _word(kind) for key, kind in found.items()}
    return {key: kind for key, kind in kinds.items() if kind}


def _word(kind: Any) -> str:
    if isinstance(kind, str):
        return "" if kind == "NULL" else WORDS.get(kind, kind.lower())
    return "object" if isinstance(kind, dict) else "array"
