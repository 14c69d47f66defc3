"""A metric by day and segment: the series that the comparisons before and after a change read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import ParameterError, as_columns, as_window, nearest
from mctlib.eventlog.completeness import Proof, check, proofs
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import as_step

DAY = 86_400_000_000


@dataclass(frozen=True)
class Rate:
    """Share of the users whose first ``of`` falls on a day who then do ``event`` within ``window``, its end and its very start included."""

    event: Any
    of: Any
    window: str


@dataclass(frozen=True)
class Count:
    """Distinct users who do ``event`` on a day."""

    event: Any


@dataclass(frozen=True)
class Mean:
    """Mean of the numeric ``property`` over a day's ``event`` rows that have it."""

    event: Any
    property: str


def daily_metric(
    log: EventLog, metric: Rate | Count | Mean, *, as_of: Any, by: str | None = None
) -> pd.DataFrame:
    """A metric by UTC day and segment.

    Returns day (datetime64), segment ("all" without ``by``), n, value and, for rates, n_success; also, where ``backend`` holds a rate's event,
    n_checked (users whose success it knows of) and n_tracked (those of them whose success the events hold too). n: a rate's users, a count's users
    (= value), a mean's events. Every segment has every day from the first one with data; a day without data has value NaN, a count 0. Only days that
    are over at ``as_of`` are returned, and for a rate only those whose window has closed for everyone. ``attrs``: ``n_pending`` (what is left out
    for that reason: users, for means events), ``events``, ``metric`` (in words).
    Raises ParameterError: not a metric, an event that does not occur, a property of which none of the event's rows has a number, no day known yet.
    """
    if not isinstance(metric, (Rate, Count, Mean)):
        raise ParameterError(
            f"metric: {metric!r} is none; give Rate(event, of=..., window=...), Count(event) or Mean(event, property)."
        )
    events = [metric.of, metric.event] if isinstance(metric, Rate) else [metric.event]
    if missing := log.missing_events(events):
        raise ParameterError(f"metric: {missing[0]}")
    window = as_window(metric.window) if isinstance(metric, Rate) else 0
    proof = (
        proofs(log, [as_step(metric.event)], implied={})[0] if isinstance(metric, Rate) else None
    )
    kernel, total, size = {
        Rate: (partial(_count_rates, window=window, proof=proof), "n_success", "n_users"),
        Count: (_count_users, "n_users", "n_users"),
        Mean: (_sum_values, "sum_value", "n_events"),
    }[type(metric)]
    found = log.reduce(
        kernel,
        events=events,
        by=as_columns(by),
        as_of=as_of,
        values=getattr(metric, "property", None),
    )
    end = log.as_of(as_of)
    if isinstance(metric, Mean) and found.empty:
        raise ParameterError(
            f'metric: no {as_step(metric.event).label} event up to {as_of} has a number in "{metric.property}".{nearest(metric.property, log._property_keys())}'
        )
    known = (found["day"].astype("int64") + 1) * DAY - 1 + window <= end
    if not known.any():
        raise ParameterError(
            f"as_of: no day of this metric is known at {as_of}; a rate's days are known once their window has closed."
        )
    seen = found[known]
    days = np.arange(seen["day"].min(), (end + 1 - window) // DAY)
    grid = pd.MultiIndex.from_product(
        [days, sorted(seen["segment"].unique())], names=["day", "segment"]
    )
    table = seen.set_index(["day", "segment"]).reindex(grid, fill_value=0).reset_index()
    n, amount = table[size], table[total].astype(float)
    value = amount if isinstance(metric, Count) else stats.rate(amount, n)
    day = pd.to_datetime(table["day"].astype("int64"), unit="D")
    out = pd.DataFrame(
        {"day": day, "segment": table["segment"], "n": n.astype("int64"), "value": value}
    )
    if isinstance(metric, Rate):
        checked = ["n_checked", "n_tracked"] if proof.source == "backend" else []
        out[["n_success", *checked]] = table[["n_success", *checked]].astype("int64")
    names = [name for e in events for name in as_step(e).names]
    out.attrs = {
        "n_pending": int(found.loc[~known, size].sum()),
        "events": names,
        "metric": _title(metric),
    }
    return out


def _title(metric: Rate | Count | Mean) -> str:
    event = as_step(metric.event).label
    if isinstance(metric, Rate):
        return f"the share of {as_step(metric.of).label} users with {event} within {phrases.window(as_window(metric.window))}"
    return (
        f"the daily users of {event}"
        if isinstance(metric, Count)
        else f"the mean {metric.property} of {event}"
    )


def _count_rates(j: Journeys, *, window: int, proof: Proof) -> pd.DataFrame:
    """Kernel: matcher 0 is the start, 1 the success."""
    entry = np.flatnonzero(j.has(0))
    entry = entry[first_rows(j.user[entry])]
    row = np.flatnonzero(j.has(1))
    at = np.minimum(np.searchsorted(j.user[entry], j.user[row]), max(len(entry) - 1, 0))
    begun = entry[at] if len(entry) else row
    since = j.time[row] - j.time[begun]
    good = (j.user[begun] == j.user[row]) & (since >= 0) & (since <= window) & (row != begun)
    success = np.isin(j.user[entry], j.user[row[good]])
    done, tracked = check(
        j, 1, proof, user=j.user[entry], since=j.time[entry], until=j.time[entry] + window
    )
    frame = pd.DataFrame(
        {
            "day": j.time[entry] // DAY,
            "segment": j.segment(entry),
            "n_users": 1,
            "n_success": success.astype(np.int64),
            "n_checked": done.astype(np.int64),
            "n_tracked": tracked.astype(np.int64),
        }
    )
    return frame.groupby(["day", "segment"], as_index=False).sum()


def _count_users(j: Journeys) -> pd.DataFrame:
    rows = np.arange(len(j))
    frame = pd.DataFrame(
        {"day": j.time // DAY, "segment": j.segment(rows), "user": j.user}
    ).drop_duplicates()
    return frame.groupby(["day", "segment"]).size().reset_index(name="n_users")


def _sum_values(j: Journeys) -> pd.DataFrame:
    rows = np.flatnonzero(~np.isnan(j.value))
    frame = pd.DataFrame(
        {
            "day": j.time[rows] // DAY,
            "segment": j.segment(rows),
            "n_events": 1,
            "sum_value": j.value[rows],
        }
    )
    return frame.groupby(["day", "segment"], as_index=False).sum()
