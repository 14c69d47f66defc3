"""A metric by day and segment: the series that the comparisons before and after a change read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from mctlib import box, cells, phrases, stats
from mctlib.contract import DataError, ParameterError, as_columns, as_window, nearest
from mctlib.eventlog.completeness import Proof, check, proofs
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import ANY, Step, window_of
from mctlib.phrases import DAY_US
from mctlib.results import SHOWN_ROWS, suppress, together


@dataclass(frozen=True)
class Rate:
    """Share of the users whose first ``of`` falls on a day who do ``event`` within ``window``.

    The window's end and its very start are included; "" is how long a plan gives the event.

    Examples
    --------
    >>> rate = Rate("profile_completed", of="signed_up", window="2d")
    >>> daily_metric(log, rate, as_of="2026-02-08").table["value"].head(4).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """

    event: Any
    of: Any
    window: str = ""
    label: str = ""


@dataclass(frozen=True)
class Count:
    """Distinct users who do ``event`` on a day."""

    event: Any
    label: str = ""


@dataclass(frozen=True)
class Mean:
    """Mean of the numeric ``property`` over a day's ``event`` rows that have it.

    Examples
    --------
    >>> mean = daily_metric(log, Mean("interview_scheduled", "minutes"), as_of="2026-01-09")
    >>> mean.table["value"].dropna().tolist()
    [30.0, 60.0]
    """

    event: Any
    property: str
    label: str = ""


@dataclass(frozen=True)
class Ratio:
    """A day's ``event`` rows for each of its ``per`` rows, as a mean of these."""

    event: Any
    per: Any
    label: str = ""


Metric: TypeAlias = Rate | Count | Mean | Ratio
BELOW = {Rate: "of", Ratio: "per"}  # what a metric is counted over, where that is an event


@dataclass(frozen=True)
class DailyMetric:
    """A metric by day and segment, from `daily_metric` or from a table of one's own.

    ``table``: a row for every segment and day. What is true of the whole metric stands in every
    row, so that a table saved and read again says the same (with ``dtype={"segment": str}`` where
    segments look like numbers or truth values); only day, n and value are needed.

    ============ ===== ===========================================================================
    column       unit  meaning
    ============ ===== ===========================================================================
    day, segment       UTC day; segment "all" without ``by``
    n                  a rate's users, a count's (= value), a mean's events, a ratio's ``per``
    value              the metric; on a day without data NaN, a count 0, but for days on which the
                       log has no event of any kind: these are missing
    n_success    users of a rate
    n_checked    users whose success the server knows of, where ``backend`` holds a rate's event
    n_tracked    users among these: the events hold the success too
    metric             in words
    kind               rate (has n_success), count (value = n everywhere), mean or ratio (as a mean)
    events             their names and those in the plan, of metrics of it too, as a JSON list
    n_pending    users (of a mean: events) left out, since their outcome is not known yet
    caveats      what every answer from the log must say, as a JSON list
    joined             segments of fewer than 10 -> the name they share, as JSON (`together`)
    ============ ===== ===========================================================================
    """

    table: pd.DataFrame

    @classmethod
    def of(cls, series: DailyMetric | pd.DataFrame) -> DailyMetric:
        """The same, or the metric of a table. Raises DataError: a column is missing."""
        if isinstance(series, DailyMetric):
            return series
        for column in ("day", "n", "value"):
            if column not in series:
                raise DataError(
                    f'series: column "{column}" is missing; it takes day, n, value, and segment '
                    f"and n_success where they apply.{nearest(column, series.columns)}"
                )
        return cls(series)

    @property
    def title(self) -> str:
        """The metric in words."""
        return str(self._fact("metric", "the metric"))

    @property
    def kind(self) -> str:
        """Rate, count or mean: by the columns, since counts have value = n everywhere."""
        if "n_success" in self.table:
            return "rate"
        n, value = (pd.to_numeric(self.table[c], errors="coerce") for c in ("n", "value"))
        is_count = ((n == value) | value.isna()).all() and self._fact("kind", "count") == "count"
        return "count" if is_count else "mean"

    @property
    def events(self) -> list[str]:
        """Names of the metric's events; none where the table does not say them."""
        told = str(self._fact("events", "[]"))
        return json.loads(told) if told.startswith("[") else [told]

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the log it was counted from obliges every answer to say."""
        return tuple(json.loads(self._fact("caveats", "[]")))

    @property
    def joined(self) -> dict[str, str]:
        """Segments of too few users to be told, and the name that they share with others."""
        names: dict[str, str] = json.loads(self._fact("joined", "{}"))
        return names

    @property
    def n_pending(self) -> int:
        """Users or events left out, since their outcome is not known yet."""
        return int(self._fact("n_pending", 0))

    @property
    def silent(self) -> list[pd.Timestamp]:
        """Days of a count on which nothing at all was recorded: missing, not 0."""
        if self.kind != "count":
            return []
        missing = self.table.loc[pd.isna(self.table["value"]), "day"]
        return sorted(pd.to_datetime(missing.drop_duplicates(), utc=True).dt.tz_localize(None))

    def _repr_html_(self) -> str:
        """What it is, over which days, the last of them and the first caveat."""
        of_users = {"n": "n_users", "value": "rate"} if self.kind != "mean" else {"n": "n_events"}
        columns = ["day", "segment", "n", "n_success", *(["value"] if self.kind != "count" else [])]
        whole, masked = suppress(self.table.filter(columns).rename(columns=of_users))
        days = self.table["day"]
        title = f"{self.title[0].upper()}{self.title[1:]}"
        told = f"{title}, by day from {cells.day(days.min())} to {cells.day(days.max())}."
        last = cells.readable(whole.tail(SHOWN_ROWS), masked.tail(SHOWN_ROWS))
        caption = f"table (last {min(SHOWN_ROWS, len(whole))} of {len(whole)} rows)"
        sizes = [f".table {len(whole)}\u00d7{self.table.shape[1]}"]
        return box.of(told, (), (caption, *last), self.caveats[:1], sizes)

    def _fact(self, column: str, otherwise: Any) -> Any:
        """What all rows say, as far as they say anything."""
        said = self.table[column].dropna().unique() if column in self.table else []
        return said[0] if len(said) == 1 else otherwise


def daily_metric(
    log: EventLog, metric: Metric | str, *, as_of: Any, by: str | None = None
) -> DailyMetric:
    """Count a metric by UTC day and segment.

    Only days that are over at ``as_of`` are counted, and for a rate only those whose window has
    closed for everyone. Every segment has every day from the first one with data.

    Parameters
    ----------
    log : EventLog
        Events; where its ``backend`` holds a rate's event, the tracked share is counted too.
    metric : Rate, Count, Mean, Ratio or str
        What is counted, or its name in the tracking plan.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC.
    by : str, optional
        Column that splits the users.

    Returns
    -------
    DailyMetric
        ``table`` (columns: see `DailyMetric`), ``title``, ``kind``, ``events``, ``n_pending``.

    Raises
    ------
    ParameterError
        Not a metric, an event that does not occur, a property of which none of the event's rows
        has a number, no day known yet.

    Examples
    --------
    >>> series = daily_metric(log, Count("signed_up"), as_of="2026-01-31")
    >>> series.title
    'the daily users of signed_up'
    """
    metric, events = as_metric(log, metric)
    window = as_window(metric.window) if isinstance(metric, Rate) else 0
    found = log.reduce(
        _kernel(log, metric, window),
        events=events,
        by=log.columns(by),
        as_of=as_of,
        values=getattr(metric, "property", None),
    )
    if isinstance(metric, Mean) and found.empty:
        raise ParameterError(
            f"metric: no {metric.event.label} event up to {as_of} has a number in "
            f'"{metric.property}".{nearest(metric.property, log.words.property_keys())}'
        )
    sizes = found.groupby("segment")["n_units"].sum()
    joined = together(sizes, "") if as_columns(by) else {}
    found = add_up([found.assign(segment=found["segment"].replace(joined))])
    end = log.as_of(as_of)
    known = (found["day"].astype("int64") + 1) * DAY_US - 1 + window <= end
    if not known.any():
        raise ParameterError(
            f"as_of: no day of this metric is known at {as_of}; a rate's days are known once their "
            "window has closed."
        )
    table = _every_day(found[known], until=(end + 1 - window) // DAY_US)
    n = table["n"]
    if isinstance(metric, Count):
        value = n.where(~table["day"].isin(_silent(log, table, end)), np.nan)
    elif isinstance(metric, Rate):
        value = stats.rate(table["n_success"], n)
    else:
        value = stats.rate(table.pop("sum_value"), n)
    table.insert(3, "value", value)
    return DailyMetric(
        table.assign(
            metric=_title(metric),
            kind=type(metric).__name__.lower(),
            events=json.dumps([*(n for e in events for n in e.all_names), *_called(log, metric)]),
            n_pending=int(found.loc[~known, "n_units"].sum()),
            caveats=json.dumps(log.caveats(as_of)),
            joined=json.dumps(joined),
        )
    )


def as_metric(log: EventLog, metric: Any) -> tuple[Metric, list[Step]]:
    """A metric, or the plan's of this name, with its window; and its events, as Steps.

    Raises ParameterError: it is none, an event does not occur, nobody says its window.
    """
    if isinstance(metric, str) and metric in log.planned_metrics:
        metric = log.planned_metrics[metric]
    if not isinstance(metric, Metric):
        near = nearest(metric, log.planned_metrics) if isinstance(metric, str) else ""
        raise ParameterError(
            f"metric: {metric!r} is none; give Rate(event, of=..., window=...), Count(event), "
            f"Mean(event, property), Ratio(event, per), or a metric of the tracking plan.{near}"
        )
    metric = replace(metric, event=log.step(metric.event))
    events = [metric.event]
    if isinstance(metric, Rate):
        window_of(events, metric.window)
        metric = replace(metric, window=metric.window or metric.event.within)
    if below := BELOW.get(type(metric)):
        events = [log.step(getattr(metric, below)), metric.event]
        metric = replace(metric, **{below: events[0]})
    if missing := log.missing_events(events):
        raise ParameterError(f"metric: {missing[0]}")
    return metric, events


def _called(log: EventLog, metric: Metric) -> list[str]:
    """What the plan calls the metrics of the same event, of a mean of the same property."""
    about = metric.event, getattr(metric, "property", "")
    return [
        name
        for name, other in log.planned_metrics.items()
        if (log.step(other.event), getattr(other, "property", "")) == about
    ]


def _silent(log: EventLog, table: pd.DataFrame, end: int) -> pd.DatetimeIndex:
    """Days of a count without an event of any kind."""
    n = table.groupby("day")["n"].sum()
    empty = n.index[n == 0]
    if not len(empty):
        return empty  # the usual case: the log is not read once more
    found = log.reduce(_days, events=[ANY], as_of=pd.Timestamp(end, unit="us", tz="UTC"))
    return empty.difference(pd.to_datetime(found["day"].astype("int64"), unit="D"))


def _days(j: Journeys) -> pd.DataFrame:
    """Kernel: days with an event of any kind."""
    day, n = np.unique(j.time // DAY_US, return_counts=True)
    return pd.DataFrame({"day": day, "n_rows": n})


def _title(metric: Metric) -> str:
    """The metric in words."""
    event = metric.event.label
    if isinstance(metric, Count):
        counted = f"the daily users of {event}"
    elif isinstance(metric, Mean):
        counted = f"the mean {metric.property} of {event}"
    elif isinstance(metric, Ratio):
        counted = f"the number of {event} for each {metric.per.label}"
    else:
        within = phrases.window(as_window(metric.window))
        counted = f"the share of {metric.of.label} users with {event} within {within}"
    return f'"{metric.label}" ({counted})' if metric.label else counted


def _every_day(seen: pd.DataFrame, *, until: int) -> pd.DataFrame:
    """The counts of every segment on every day before ``until``, 0 where nothing was counted."""
    days = np.arange(seen["day"].min(), until)
    segments = sorted(seen["segment"].unique())
    grid = pd.MultiIndex.from_product([days, segments], names=["day", "segment"])
    table = seen.set_index(["day", "segment"]).reindex(grid, fill_value=0).reset_index()
    day = pd.to_datetime(table["day"].astype("int64"), unit="D")
    counts = {column: "int64" for column in table if column.startswith("n_")}
    return table.astype(counts).assign(day=day).rename(columns={"n_units": "n"})


def _kernel(log: EventLog, metric: Metric, window: int) -> Callable[[Journeys], pd.DataFrame]:
    """What counts the metric: day, segment -> n_units and what its value is made of."""
    if isinstance(metric, Count):
        return _count_users
    if isinstance(metric, Mean):
        return _sum_values
    if isinstance(metric, Ratio):
        return _count_rows
    (proof,) = proofs(log, [metric.event], implied={})
    return partial(_count_rates, window=window, proof=proof)


def _count_rates(j: Journeys, *, window: int, proof: Proof) -> pd.DataFrame:
    """Kernel: matcher 0 is the start, 1 the success."""
    entry = np.flatnonzero(j.has(0))
    entry = entry[first_rows(j.user[entry])]
    row = np.flatnonzero(j.has(1))
    at = np.minimum(np.searchsorted(j.user[entry], j.user[row]), max(len(entry) - 1, 0))
    begun = entry[at] if len(entry) else row
    since = j.time[row] - j.time[begun]
    in_window = (since >= 0) & (since <= window)
    good = in_window & (j.user[begun] == j.user[row]) & (row != begun)
    success = np.isin(j.user[entry], j.user[row[good]])
    counts = {"n_units": 1, "n_success": success}
    if proof.source == "backend":
        start = j.time[entry]
        counts["n_checked"], counts["n_tracked"] = check(
            j, 1, proof, user=j.user[entry], since=start, until=start + window
        )
    frame = pd.DataFrame({"day": j.time[entry] // DAY_US, "segment": j.segment(entry)} | counts)
    return frame.groupby(["day", "segment"], as_index=False).sum()


def _count_users(j: Journeys) -> pd.DataFrame:
    """Kernel: a user counts once a day."""
    rows = np.arange(len(j))
    frame = pd.DataFrame({"day": j.time // DAY_US, "segment": j.segment(rows), "user": j.user})
    by_day = frame.drop_duplicates().groupby(["day", "segment"])
    return by_day.size().reset_index(name="n_units")


def _count_rows(j: Journeys) -> pd.DataFrame:
    """Kernel: rows of matcher 0, and of matcher 1."""
    day, segment = j.time // DAY_US, j.segment(np.arange(len(j)))
    counts = {"n_units": j.has(0).astype(int), "sum_value": j.has(1).astype(float)}
    frame = pd.DataFrame({"day": day, "segment": segment} | counts)
    return frame.groupby(["day", "segment"], as_index=False).sum()


def _sum_values(j: Journeys) -> pd.DataFrame:
    """Kernel: rows with a value, and the sum of these."""
    value = np.asarray(j.value, float)
    rows = np.flatnonzero(~np.isnan(value))
    day, segment = j.time[rows] // DAY_US, j.segment(rows)
    frame = pd.DataFrame({"day": day, "segment": segment, "n_units": 1, "sum_value": value[rows]})
    return frame.groupby(["day", "segment"], as_index=False).sum()
