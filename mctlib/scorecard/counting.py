"""From the log to weekly tables: who did what, who came back, what the server knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mctlib.contract import ParameterError
from mctlib.eventlog.completeness import Proof, proofs
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import (
    FOREVER,
    NOWHERE,
    Ints,
    Journeys,
    first_rows,
    lines_of,
    number,
    ranges,
)
from mctlib.eventlog.steps import Step
from mctlib.phrases import DAY_US, SECOND_US
from mctlib.scorecard.meters import Meter, Meters

WEEK_US = 7 * DAY_US
MONTH = 4  # weeks: active in one of them is active in the month
NEAR_US = DAY_US  # of a record of the server: how far from it the event may lie
SETTLED = 5  # weeks after which what is late has come
LIFE = ["n_new", "n_returning", "n_resurrected", "n_dormant"]
# numbers of every log; no name of a plan looks like these
DAYS, STAYED = "week.days_active", "week.stayed"
AT = " @ "  # between a micro-conversion and a platform


@dataclass(frozen=True)
class Weeks:
    """Whole weeks of a log, from ``first`` (a day, in the log's calendar) on.

    counts: week, segment, platform, metric, kind (rate, mean, ratio, count), n_units, n_users,
    n_success, sum_value, sum_square · life: week, segment and `LIFE`, which add up to the users
    active in the month · cells: metric (micro-conversion @ platform), week, n, n_success: of what
    the server knows, what was tracked.
    """

    first: pd.Timestamp
    n: int
    counts: pd.DataFrame
    life: pd.DataFrame
    cells: pd.DataFrame

    def day(self, week: float) -> pd.Timestamp:
        """First day of a week."""
        return self.first + pd.Timedelta(days=7 * int(week))

    def of(self, segment: str | None = None, without: Sequence[str] = ()) -> pd.DataFrame:
        """metric, week, n, n_users, n_success, value, variance: of all or of a segment."""
        rows = self.counts if segment is None else self.counts[self.counts["segment"] == segment]
        if without:
            rows = rows[~rows["platform"].isin(without)]
        sums = rows.groupby(["metric", "kind", "week"], as_index=False)[SUMS].sum()
        kind = sums["kind"]
        sums.loc[kind == "count", "n_units"] = 1  # a count is one number a week
        n = sums["n_units"].where(sums["n_units"] > 0)
        value = sums["sum_value"] / n
        table = pd.DataFrame({"metric": sums["metric"], "n": sums["n_units"].astype(float)})
        table["week"] = self.first + pd.to_timedelta(7 * sums["week"], unit="D")
        table["n_users"] = sums["n_users"]
        table["n_success"] = sums["n_success"].where(kind == "rate")
        table["value"] = (sums["n_success"] / n).where(kind == "rate", value)
        table["variance"] = (sums["sum_square"] / n - value**2).where(kind == "mean")
        return table


SUMS = ["n_units", "n_users", "n_success", "sum_value", "sum_square"]


def count(
    log: EventLog, meters: Meters, *, as_of: str, by: Sequence[str], daily: bool = False
) -> Weeks:
    """Count all whole weeks up to ``as_of``; ``daily``: weeks that end on its day, not the log's.

    Raises ParameterError: there is none.
    """
    until, zone = log.as_of(as_of), log.calendar.timezone
    if daily:
        end = pd.Timestamp(until + 1, unit="us", tz="UTC").tz_convert(zone).normalize()
    else:
        end = pd.Timestamp(log.calendar.last_weeks(until, 1)[1]) + pd.Timedelta("1D")
    end = end.tz_localize(None)
    n = (end - log.first_event.tz_convert(zone).tz_localize(None).normalize()).days // 7
    if n < 1:
        raise ParameterError(f"as_of: no whole week of the data is over at {as_of}.")
    days = [end - pd.Timedelta(days=7 * ago) for ago in range(n, -1, -1)]
    first = days[0]
    bounds = np.array([log.calendar.period(day, day, "week")[0] for day in days])
    dims = [*by, *(["platform"] if "platform" not in by and _filled(log, "platform") else [])]
    steps = [meters.active]
    for meter in meters.all:
        steps += [step for step in (meter.of, meter.per) if step and step not in steps]
    kernel = partial(
        _count_weeks,
        bounds=bounds,
        bits=[_bits(steps, meter) for meter in meters.all if meter.kind != "mean"],
        proofs=proofs(log, steps, implied={}),
        by=tuple(by),
    )
    found = log.reduce(kernel, events=steps, by=dims, as_of=as_of)
    tables = [found["counts"]]
    for meter in meters.all:
        if meter.kind == "mean":
            kernel = partial(_sum_values, name=meter.name, bounds=bounds, by=tuple(by))
            tables.append(
                log.reduce(kernel, events=[meter.of], by=dims, as_of=as_of, values=meter.number)
            )
    micro = {steps.index(meter.of): meter.micro for meter in meters.all if meter.micro}
    cells = found["cells"]
    cells = cells[cells["bit"].isin(list(micro))]
    name = cells["bit"].map(micro).astype(str) + AT + cells["platform"]
    cells = cells.assign(metric=name, week=first + pd.to_timedelta(7 * cells["week"], unit="D"))
    counts = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return Weeks(first, n, counts, found["life"], _ripened(log, cells, until))


def _filled(log: EventLog, column: str) -> bool:
    try:
        log.segments(column)
    except ParameterError:
        return False
    return True


def _bits(steps: Sequence[Step], meter: Meter) -> tuple[str, str, int, int]:
    """Name and kind of a number, and the matchers that count it."""
    return meter.name, meter.kind, steps.index(meter.of), steps.index(meter.per or steps[0])


def _count_weeks(
    j: Journeys,
    *,
    bounds: Ints,
    bits: Sequence[tuple[str, str, int, int]],
    proofs: Sequence[Proof],
    by: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Kernel: a user's rows of one week are one; the first says the platform."""
    of_row = _week_of(j.time, bounds)
    start, _ = ranges(j.user, of_row)
    mask = np.bitwise_or.reduceat(j.mask, start) if len(start) else j.mask
    week, n_weeks = of_row[start], len(bounds) - 1
    segment, labels = j.segments(start, by)
    inside = week >= 0
    place, frame = _places(j, start[inside], week[inside], by)

    def sums(of: np.ndarray) -> np.ndarray:
        return np.bincount(place, weights=of[inside], minlength=len(frame))

    def has(bit: int) -> np.ndarray:
        return mask & mask.dtype.type(1 << bit) != 0

    def rows(bit: int) -> np.ndarray:
        return np.add.reduceat(j.has(bit).astype(float), start) if len(start) else np.zeros(0)

    active = has(0)
    days = _days(j, start)
    tables = [_table(frame, DAYS, "mean", sums(active), value=sums(days), square=sums(days**2))]
    for name, kind, of, per in bits:
        if kind == "ratio":
            n, value, users = sums(rows(per)), sums(rows(of)), sums(has(per))
            tables.append(_table(frame, name, kind, n, users=users, value=value))
        elif kind == "count":
            tables.append(_table(frame, name, kind, sums(has(of)), value=sums(has(of))))
        else:
            both = sums(has(per) & has(of))
            tables.append(_table(frame, name, kind, sums(has(per)), success=both))
    lived = _life(j.user[start], week, active & inside, segment, n_weeks)
    life, stayed = (table.assign(segment=labels[table["segment"]]) for table in lived)
    tables.append(_table(stayed, STAYED, "rate", stayed["n"], success=stayed["n_stayed"]))
    return {
        "counts": pd.concat(tables, ignore_index=True),
        "life": life,
        "cells": _cells(j, proofs, bounds),
    }


def _places(j: Journeys, rows: Ints, week: Ints, by: Sequence[str]) -> tuple[Ints, pd.DataFrame]:
    """Week, segment and platform of some rows: of each its line in a table of those that occur."""
    segment, labels = j.segments(rows, by)
    platform = j.dims.get("platform", np.zeros(len(j), int))[rows]
    place, keys = number(week=week, segment=segment, platform=platform)
    frame = pd.DataFrame({"week": keys["week"], "segment": labels[keys["segment"]]})
    return place, frame.assign(platform=_labels(j, "platform")[keys["platform"]])


def _week_of(time: Ints, bounds: Ints) -> Ints:
    """The week of each moment, -1 where it lies in none of them."""
    week = np.searchsorted(bounds, time, "right") - 1
    return np.where(week == len(bounds) - 1, -1, week)


def _table(
    frame: pd.DataFrame,
    metric: str,
    kind: str,
    n: ArrayLike,
    *,
    users: ArrayLike | None = None,
    success: ArrayLike = 0.0,
    value: ArrayLike = 0.0,
    square: ArrayLike = 0.0,
) -> pd.DataFrame:
    """Rows of `Weeks.counts`."""
    keys = frame[["week", "segment", "platform"]].assign(metric=metric, kind=kind)
    keys = keys.assign(n_units=n, n_users=n if users is None else users)
    return keys.assign(n_success=success, sum_value=value, sum_square=square)


def _labels(j: Journeys, name: str) -> NDArray[np.object_]:
    return np.asarray(j.levels.get(name, [""]), object)


def _days(j: Journeys, start: Ints) -> NDArray[np.float64]:
    """Days on which a user was active, of each user's week."""
    rows = np.flatnonzero(j.has(0))
    rows = rows[first_rows(j.user[rows], j.time[rows] // DAY_US)]
    run = np.searchsorted(start, rows, "right") - 1
    return np.bincount(run, minlength=len(start)).astype(float)


def _life(
    user: Ints, week: Ints, active: NDArray[np.bool_], segment: Ints, n_weeks: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of each user's active weeks: what the user was then, and whether the week before was one.

    Who was active in the month but not in the week is dormant in it.
    """
    user, week, segment = user[active], week[active], segment[active]
    first = np.ones(len(user), bool)
    first[1:] = user[1:] != user[:-1]
    gap = np.diff(week, prepend=-1)
    next_one = np.append(week[1:], n_weeks)
    next_one[np.append(first[1:], True)] = n_weeks
    kinds = {"n_new": first, "n_returning": ~first & (gap < MONTH)}
    kinds |= {"n_resurrected": ~first & (gap >= MONTH), "n_dormant": np.zeros(len(user), bool)}
    tables = [pd.DataFrame({"week": week, "segment": segment, **kinds})]
    for later in range(1, MONTH):
        idle = week + later < next_one
        frame = tables[0][["segment"]][idle].assign(**dict.fromkeys(LIFE, False))
        tables.append(frame.assign(week=week[idle] + later, n_dormant=True))
    life = pd.concat(tables).astype(dict.fromkeys(LIFE, "int64"))
    before = pd.DataFrame({"week": week + 1, "segment": segment, "n": 1.0})
    before["n_stayed"] = (next_one == week + 1).astype(float)
    before = before[before["week"] < n_weeks]
    stayed = before.groupby(["week", "segment"], as_index=False).sum().assign(platform="")
    return life.groupby(["week", "segment"], as_index=False).sum(), stayed


def _cells(j: Journeys, proofs: Sequence[Proof], bounds: Ints) -> pd.DataFrame:
    """Of the server's records of an event in a week: how many were tracked within a day."""
    first = first_rows(j.user)
    users, platform = j.user[first], j.dims.get("platform", np.zeros(len(j), int))[first]
    tables = []
    for bit, proof in enumerate(proofs):
        if proof.source != "backend":
            continue
        line = lines_of(proof.user, users)
        week = _week_of(proof.time, bounds)
        mine = (line != NOWHERE) & (week >= 0)
        line, time = line[mine], proof.time[mine]
        row = np.flatnonzero(j.has(bit))
        tracked = np.searchsorted(users, j.user[row]), j.time[row]
        table = {"bit": bit, "platform": _labels(j, "platform")[platform[line]]}
        table |= {"week": week[mine], "n": 1.0, "n_success": _near(line, time, *tracked)}
        tables.append(pd.DataFrame(table))
    columns = {"n": "n_units"}
    keys = ["bit", "platform", "week"]
    if not tables:
        return pd.DataFrame(columns=[*keys, "n_units", "n_success"])
    cells = pd.concat(tables).rename(columns=columns)
    return cells.groupby(keys, as_index=False).sum()


def _near(line: Ints, time: Ints, owner: Ints, at: Ints) -> NDArray[np.float64]:
    """Whether each (user, time) has one of the (owner, at), which are sorted, within a day."""
    origin = min(time.min(initial=0), at.min(initial=0)) - 2 * NEAR_US
    span = (max(time.max(initial=0), at.max(initial=0)) - origin + 2 * NEAR_US) // SECOND_US
    known = owner * span + (at - origin) // SECOND_US
    low = line * span + (time - NEAR_US - origin) // SECOND_US
    place = np.searchsorted(known, low)
    following = np.append(known, FOREVER)[place]
    return (following <= low + 2 * NEAR_US // SECOND_US).astype(float)


def _ripened(log: EventLog, cells: pd.DataFrame, until: int) -> pd.DataFrame:
    """The cells with what is still under way put in: of a platform whose rows come late.

    By the share of its rows of older weeks that had come so long after their week's end.
    """
    cells = cells.rename(columns={"n_units": "n"})
    newest = cells["week"].max()
    if cells.empty or isinstance(newest, float):
        return cells[["metric", "week", "n", "n_success"]]
    end = log.calendar.period(newest, newest + pd.Timedelta("6D"), "week")[1]
    share = _arrived(log, end) if until - end < SETTLED * WEEK_US else {}
    ripe = cells["platform"].map(share).fillna(1.0).where(cells["week"] == newest, 1.0)
    success = (cells["n_success"] / ripe).clip(upper=cells["n"])
    return cells.assign(n_success=success)[["metric", "week", "n", "n_success"]]


def _arrived(log: EventLog, end: int) -> dict[str, float]:
    """Platform -> share of a week's rows that have come as long after it as now after ``end``."""
    try:
        late = log.sql(
            f"""SELECT platform::VARCHAR AS platform, avg((epoch_us(received_at) <= {end}
                - ({end} - epoch_us(timestamp)) // {WEEK_US} * {WEEK_US} + now.after)::INT) AS share
            FROM events, (SELECT max(epoch_us(received_at)) - {end} AS after FROM events) AS now
            WHERE received_at IS NOT NULL AND epoch_us(timestamp) <= {end - SETTLED * WEEK_US}
            AND epoch_us(timestamp) > {end - (SETTLED + 12) * WEEK_US} GROUP BY 1"""
        )
    except ParameterError:  # of a log whose rows stay elsewhere
        return {}
    return dict(zip(late["platform"], late["share"]))


def _sum_values(j: Journeys, *, name: str, bounds: Ints, by: Sequence[str]) -> pd.DataFrame:
    """Kernel: rows with a number, their users, their sum, and that of their squares."""
    assert j.value is not None
    week = _week_of(j.time, bounds)
    rows = np.flatnonzero(~np.isnan(j.value) & (week >= 0))
    value = j.value[rows]
    place, frame = _places(j, rows, week[rows], by)
    n, total, square = (np.bincount(place, of, len(frame)) for of in (value**0, value, value**2))
    first, _ = ranges(j.user[rows], week[rows])  # of a user's week
    users = np.bincount(place[first], minlength=len(frame))
    return _table(frame, name, "mean", n, users=users, value=total, square=square)
