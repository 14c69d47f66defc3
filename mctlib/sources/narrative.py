"""What a load found, in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mctlib.contract import ENTRIES
from mctlib.phrases import count, listed

MOSTLY = 0.5  # share of empty rows from which on a column is named
ABOUT = {
    "no amount": "no amount, so nothing is added",
    "neither partner_id nor channel": "neither a partner_id nor a channel, so nobody is charged",
    "outside": "outside the period of the events",
    "after all events": "signed_up_at lies after the last of all events",
    "after own events": "signed_up_at lies after all events of the same user",
    "again": "the same as another row; is it meant to count again?",
}


def told(load: dict[str, Any]) -> Iterator[str]:
    """Sentences about a load report: who met whom, ids that are none, odd rows, names alike."""
    yield from _met(load["met"])
    people = load["tables"].get("people", {"n_rejected": {}})
    if n := people["n_rejected"].get("same user_id again"):
        yield (
            f"people: {count(n, 'row')} {'names' if n == 1 else 'name'} a user again; from there "
            "was taken what the first row of the user leaves empty"
        )
    for lost, n in load["identity"]["n_impossible"].items():
        yield f"{count(n, 'row')} kept without the {lost}"
    for column, names in load["mended"].items():
        yield (
            f"{column}: {count(sum(names.values()), 'row')} with {count(len(names), 'spelling')} "
            "mended by aliases"
        )
    yield from map(_checked, filter(_worth_telling, load["checks"]))
    for pair in load["look_alikes"]:
        yield (
            f"the event {json.dumps(pair['event'])} ({count(pair['n_events'], 'row')}) looks like "
            f"{json.dumps(pair['like'])} ({count(pair['n_like'], 'row')}) and is counted apart"
        )


def _met(met: dict[str, dict[str, int]]) -> Iterator[str]:
    for table, found in met.items():
        n, n_met = found["n_users"], found["n_met"]
        if table == "events":
            yield f"{n_met:,} of {n:,} users with events are among people"
        elif table != "refused":
            yield f"{n_met:,} of {n:,} users of {table} have events"
        elif n_met < n:
            yield (
                f"{n - n_met:,} of {n:,} people without consent meet no event: are their ids "
                "written as in the events? Else events of theirs are still there"
            )


def _worth_telling(check: dict[str, Any]) -> bool:
    if check["check"] != "empty":
        return True
    # a day on which something happened is empty where it has not
    happens = check["column"] in ("activated_at", "renewed_at", "upsold_at", "churned_at")
    return not happens and bool(check["n"] >= MOSTLY * check["n_rows"])


def _checked(found: dict[str, Any]) -> str:
    n, n_rows, table = found["n"], found["n_rows"], found["table"]
    if found["check"] == "empty":
        share = f"{100 * n / n_rows:.0f} %"
        return f'{table}: "{found["column"]}" is empty in {share} of {n_rows:,} rows'
    if found["check"] == "before":
        return (
            f"{table}: {found['column']} lies before {found['after']} in {n:,} of {n_rows:,} rows"
        )
    if found["check"] == "unknown word":
        word = f"{json.dumps(found['column'], ensure_ascii=False)} ({count(n, 'row')})"
        if table == "timeline":
            known = found["near"] or f" Known are {listed(ENTRIES)}."
            return f"{table}: the kind {word} is not known.{known}"
        return f"{table}: the event {word} is none of the events'{found['near']}"
    return f"{table}, {n:,} of {n_rows:,} rows: {ABOUT[found['check']]}"
