"""A first pack, from a loaded log and its tracking plan; what it guesses is marked."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pandas as pd

from mctlib.contract import CANONICAL, MISSING, SOURCES, ParameterError, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.phrases import DAY_US
from mctlib.tracking_plan.draft import likely_path
from mctlib.tracking_plan.reading import read_plan

LEAVES = r"((account|user|profile)[\W_]*)?(deleted?|removed?|churned?|cancell?ed|closed)"
PAYS = r".*(subscri|paid|pay|purchas|order|upgrad|checkout|hired|placed).*"
SEGMENTS = ("channel", "plan", "platform", "country", "role", "utm_medium", "app_version")
GUESSED = ("steps", "activation", "conversion", "window", "sources")
MOST_STEPS, MOST_SEGMENTS = 4, 12
SHOWN_EVENTS = 40
HEAD = """\
# The reports of {name}, drafted from its events{plan}; look at every question mark.
# {run}
# Events (users): {events}
dataset: {name}
as_of: latest
keep: 26
notebooks:
"""
ROI = """\
#  Did a change pay? Only you know which: answer, and take the signs away.
#  roi:
#    set:
#      start: {start}
#      success: {last}
#      window: {window}
#      change_at: "?"  # its first day, or an entry of the timeline, such as release 4.2.0
#      by: "?"         # the column that tells who got it; "" where everybody did
#      treated: "?"    # who got it
#      value: "?"      # money per success; without it, and the cost, no money is told
#      cost: "?"       # money spent
"""


def draft_of_pack(log: EventLog, run: str) -> str:
    """The YAML of a pack with the questions that a log can answer; ``run``: how it is run."""
    counts = log.describe().sort_values(["n_users", "event"], ascending=[False, True])
    plan = read_plan(log.plan) if log.plan else None
    names = [*plan.micro_conversions] if plan else []
    path = likely_path(log, names, start=plan.start if plan else "")[:MOST_STEPS]
    days = (log.last_event - log.first_event) / pd.Timedelta("1D")
    window = log.step(path[-1]).within or f"{next((d for d in (14, 7, 3) if 4 * d <= days), 1)}d"
    leaves = next((e for e in log.event_names if re.fullmatch(LEAVES, e.lower())), "")
    columns = _segments(log)
    by = next(iter(columns), "")
    weeks = (days - as_window(window) / DAY_US) // 7
    periods = {"after": "last 4w", "before": "previous 4w"} if weeks >= 9 else {}
    found: dict[str, dict[str, Any]] = {
        "funnel": {
            "steps": path,
            "window": window,
            "competing": leaves,
            "by": by,
            **periods,
            "change_by": "platform" if "platform" in columns else by,
        },
        "activation": {
            "start": path[0],
            "activation": path[-1],
            "competing": leaves,
            "by": by,
            "horizon": f"{min(90, max(int(days / 2), 1))}d",
        },
    }
    # what stands in people alone is no touch
    if tags := [c for c in SOURCES if _levels(log, c) and not log.of_user(c)]:
        paid = (
            [n for n, m in plan.micro_conversions.items() if m.outcome == "revenue"] if plan else []
        )
        paid += [e for e in log.event_names if re.fullmatch(PAYS, e.lower())]
        found["attribution"] = {
            "conversion": (paid or path[-1:])[0],
            "start": path[:1],
            "competing": leaves,
            "windows": [f"{d}d" for d in (30, 7, 14, 60) if 3 * d <= days] or ["1d"],
            "sources": tags,
            "steps": path,
        }
    if days >= 14:  # a whole week and one before it
        found["scorecard"] = {"by": by}
    events = [f"{e.event} {e.n_events:,} ({e.n_users:,})" for e in counts.itertuples()]
    more = f" and {len(events) - SHOWN_EVENTS} more" if len(events) > SHOWN_EVENTS else ""
    text = HEAD.format(
        name=log.name,
        run=run,
        plan=" and its tracking plan" if plan else "",
        events=", ".join(events[:SHOWN_EVENTS]) + more,
    )
    for notebook, asked in found.items():
        text += f"  {notebook}:\n    set:\n"
        for key, value in asked.items():
            mark = "  # guessed?" if key in GUESSED else ""
            text += f"      {key}: {json.dumps(value, ensure_ascii=False)}{mark}\n"
    return text + ROI.format(start=json.dumps(path[0]), last=json.dumps(path[-1]), window=window)


def _segments(log: EventLog) -> list[str]:
    """Columns that split users into a few segments: the usual ones, then people's own."""
    own = [c for c in log.table("people").columns if c not in (*CANONICAL["people"], "user")]
    return [c for c in (*SEGMENTS, *own) if 1 < len(_levels(log, c)) <= MOST_SEGMENTS]


def _levels(log: EventLog, column: str) -> list[str]:
    """The values that a column has."""
    with suppress(ParameterError):
        return [level for level in log.segments(column) if level != MISSING]
    return []
