"""The funnel walk: public cases, and the rule for one user in plain Python."""

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from mctlib.eventlog.event_log import EventLog

CASES = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parents[1] / "reference" / "funnel_cases.json").read_text()
    )
}


def log_of_case(case):
    events = pd.DataFrame(case["events"]).rename(columns={"user": "user_id", "ts": "timestamp"})
    if case["mode"] == "ordered":
        # "step three" of nobody would pass for a misspelt "step two": who never enters does it
        lacking = [step for step in case["steps"][1:] if step not in events["event"].to_list()]
        never = events.head(len(lacking)).assign(user_id="never enters", event=lacking)
        events = pd.concat([events, never])
    return EventLog.from_frame(
        events.assign(timestamp=pd.to_datetime(events["timestamp"], format="ISO8601"))
    )


def attempt(events, n, window, order="ordered", exclude=(), optional=(), **_):
    """((time or None of each step), excluded) of one user's deepest attempt.

    None without an entry. events: (time, steps, bars), sorted by time.
    """
    chain = dict.fromkeys(
        range(n + 1)
    )  # the chain that last reached step s: [start, {step: event}, spoilt]
    best, best_chain, best_spoilt = 0, None, False

    def alive(s, now):
        return chain[s] is not None and now - chain[s][0] <= window

    for now, group in groupby(enumerate(events), key=lambda e: e[1][0]):
        group = list(group)
        different = len({(frozenset(e[1]), frozenset(e[2])) for _, e in group}) > 1
        if different:
            # one reading per event and step, in step order; exclusions and strictness do not apply
            # within the moment
            group.sort(
                key=lambda e: sorted(e[1][1], reverse=True)
            )  # for one step, the event without later uses before the one with
            readings = sorted(
                ((i, {s}, set()) for i, (_, steps, _) in group for s in steps),
                key=lambda r: min(r[1]),
            )
            if any(
                len(steps) > 1 for _, (_, steps, _) in group
            ):  # first whatever continues earlier moments
                readings = sorted(readings, key=lambda r: -min(r[1])) + readings
        else:
            readings = [(i, set(steps), set(bars)) for i, (_, steps, bars) in group]
        for i, steps, bars in readings:
            if chain[n] is not None:  # a clean finish is final
                break
            chain[0] = [now, {}, False]
            for s in range(n, 0, -1):
                before = s - 1
                while before in optional and not alive(before, now):
                    before -= 1
                if not alive(before, now) or (
                    chain[s] is not None and chain[s][0] == chain[before][0]
                ):
                    continue
                start, filled, spoilt = chain[before]
                if any(exclude[b][0] < s <= exclude[b][1] for b in bars) and not spoilt:
                    spoilt = chain[before][2] = True
                    if best == before and now - best_chain[0] <= window:
                        best_spoilt = True
                if s in steps and not (different and i in filled.values()):
                    grown = [start, {**filled, s: i}, False]
                    if s > best or (s == best and best_spoilt):
                        best, best_chain, best_spoilt = s, grown, spoilt
                    if not spoilt:
                        chain[s] = grown
            if order == "strict" and not different:
                for s in range(1, n + 1):
                    if s not in steps:
                        chain[s] = None
    if best == 0:
        return None
    return tuple(
        events[best_chain[1][s]][0] if s in best_chain[1] else None for s in range(1, n + 1)
    ), best_spoilt


def attempt_in_any_order(events, n, window, kinds, first_only=False, **_):
    """The same for the unordered rule, as PostHog's tests publish it: a queue of steps that moves.

    Steps wait in a queue; the oldest leaves when its window is over, and an exclusion empties it.
    An attempt counts when its oldest step leaves, at the end of the events, or when it is complete.
    """
    moments = {t for t, steps, _ in events if steps}
    queue, best = [], []

    def filled():
        return sorted(
            t for kind in kinds for t in [t for t, steps in queue if kind <= steps][: len(kind)]
        )

    for now, steps, _ in events:
        while queue and queue[0][0] + window < now:
            best = max(best, filled(), key=len)  # of equally many the first
            queue.pop(0)
        if first_only and best:
            break
        if steps:
            queue.append((now, steps))
        elif now not in moments:
            queue.clear()
        if len(filled()) == n:
            break
    best = max(best, filled(), key=len) if not (first_only and best) else best
    if not best:
        return ((), True) if moments else None
    return tuple(best + [None] * (n - len(best))), False


def times_of(walk):
    """Microseconds (users, steps) of a walk, NaN where the step was not reached."""
    return np.where(walk.rows >= 0, walk.journeys.time[walk.rows], np.nan)


def first_entry_only(events):
    """What is left of a user's events when only the first step 1 starts an attempt."""
    entries = [t for t, steps, _ in events if 1 in steps]
    return [
        (t, steps if t == entries[0] else steps - {1}, bars)
        for t, steps, bars in events
        if entries and t >= entries[0]
    ]


def row(result, step, segment="all"):
    return result.steps.set_index(["segment", "step"]).loc[(segment, step)]
