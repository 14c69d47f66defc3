"""Days and periods as a notebook is asked for them: told in words, or by the timeline."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pandas as pd

from mctlib.contract import ENTRIES, ParameterError, as_timestamp, as_window, nearest
from mctlib.eventlog.calendar import weeks_before
from mctlib.eventlog.observed import last_day

NO_TIMELINE = (
    "it is empty. Give it one in the data YAML:  timeline: {path: file with day, kind, label}"
)


def weeks_told(value: Any, info: Any) -> Any:
    """A period that is told in whole weeks, as its first and last day."""
    if not isinstance(value, str) or not value:
        return value or []
    told = re.fullmatch(r"(last|previous) ([1-9]\d*)w", value)
    word = {"after": "last", "before": "previous"}[info.field_name]
    if not told or told[1] != word:
        raise ValueError(f': "{value}" is no period; write [first day, last day] or {word} 4w.')
    log, after, n = info.context, info.data.get("after"), int(told[2])
    if word == "previous" and after is None:  # a wrong one is told already
        return []
    if word == "previous" and not after:
        raise ValueError(f': {value} of what? "after" names no period.')
    if after:
        days = weeks_before(after[0], n)
    else:
        steps = info.data.get("steps")
        window = info.data.get("window") or (log.step(steps[-1]).within if steps else "")
        closed = log.as_of(info.data["as_of"]) - (as_window(window) if window else 0)
        days = log.calendar.last_weeks(closed, n)
    if as_timestamp(days[0]) < log.first_event.normalize():
        begin = f"{log.first_event:%Y-%m-%d}"
        raise ValueError(
            f": {value} would begin on {days[0]}, before the data ({begin}), for its windows must "
            "have closed; take fewer weeks or a shorter window."
        )
    return days


def day_of_entry(value: Any, info: Any) -> Any:
    """The day of the timeline's entry that is told by its kind and a part of its label."""
    told = re.fullmatch(r"([A-Za-z]+)(?: +(.+))?", value) if isinstance(value, str) else None
    if not told:
        return value
    kind, label = told[1].lower(), (told[2] or "").strip()
    timeline = info.context.table("timeline").sort_values("day").astype({"day": "datetime64[s]"})
    if not label and kind not in (*ENTRIES, *timeline["kind"].str.lower()):
        return value
    of_kind = timeline[timeline["kind"].str.strip().str.lower() == kind]
    near = of_kind[of_kind["label"].str.contains(label, case=False, regex=False)]
    if near["day"].nunique() == 1:
        return f"{near['day'].iloc[0]:%Y-%m-%d}"
    listed = next((t for t in (near, of_kind, timeline) if len(t)), timeline)
    entries = [f"{e.day:%Y-%m-%d} {e.kind} {e.label}" for e in listed.itertuples()]
    known = f"it has {'; '.join(entries)}." if entries else NO_TIMELINE
    many = f"{len(near)} entries" if len(near) else "no entry"
    meant = "" if len(of_kind) else nearest(kind, timeline["kind"].unique())
    raise ValueError(f': "{value}" names {many} of the timeline; {known}{meant}')


def day_within(value: Any, info: Any) -> str:
    """An ISO day or timestamp within the data."""
    first, last = info.context.first_event.normalize(), last_day(info.context)
    if first <= read_day("", value, last).normalize() <= last:
        return ""
    run = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f": {value} lies outside the data, which run from {run}."


def period_in_order(value: Any, _: Any) -> str:
    """Two days, the earlier first, or none."""
    if value and len(value) != 2:
        return f" must be a first and a last day, not {json.dumps(value)}."
    if value and as_timestamp(value[0]) > as_timestamp(value[1]):
        return f": {value[0]} comes after {value[1]}; write the earlier day first."
    return ""


def read_day(what: str, text: Any, example: pd.Timestamp, otherwise: str = "") -> pd.Timestamp:
    """Read a day, or a moment with its zone; an ``example`` of the data's own says how."""
    with contextlib.suppress(ParameterError):
        stamp = as_timestamp(text)
        if not re.search(r"[T ]\d\d:[\d:.]+$", text):
            return stamp
    day = f"{example:%Y-%m-%d}"
    said = f'a day like "{day}" or a timestamp like "{day}T12:00:00Z"'
    raise ParameterError(f"{what} is {json.dumps(text)}; write {otherwise}{said}.")
