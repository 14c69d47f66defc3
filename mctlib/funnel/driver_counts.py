"""Who goes on to the next step: users with a segment's value, or with an event done in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import stats
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import (
    FOREVER,
    NEVER,
    NOWHERE,
    Bools,
    Ints,
    Journeys,
    lines_of,
    number,
)
from mctlib.eventlog.steps import MATCHERS, Step
from mctlib.eventlog.walk import FunnelWalk, walk_funnel
from mctlib.funnel.count_kernels import moments
from mctlib.funnel.counts import exits

Codes = tuple[Ints, NDArray[np.object_]]  # a code a user, and the codes' labels

TENTHS = 10  # of the window, in which the step before was reached


@dataclass(frozen=True)
class Rule:
    """How users are counted: steps, window (microseconds), strata, accounts, exit."""

    steps: Sequence[Step]
    window: int
    adjust: Sequence[str] = ()
    accounts: Sequence[str] = ()
    leave: Step | None = None

    @property
    def events(self) -> list[Step]:
        """The matchers of every walk, by bit: the steps, then the exit."""
        return [*self.steps, *([self.leave] if self.leave else [])]

    @property
    def landmark(self) -> int:
        """How long after the step before users are looked at: a tenth of the window."""
        return self.window // 10

    def label(self, step: int) -> str:
        """Name of a step, counted from 1."""
        return self.steps[step - 1].label

    @property
    def own(self) -> set[str]:
        """The funnel's own events."""
        return {name for step in self.events for name in step.names}


def _entries(j: Journeys, rule: Rule) -> FunnelWalk:
    """First attempts."""
    return walk_funnel(j, len(rule.steps), window=rule.window, first_only=True)


def _matured(j: Journeys, walk: FunnelWalk, rule: Rule) -> tuple[FunnelWalk, Ints, Ints]:
    """Those with their whole window behind them, when they got to each step, and left.

    The former NEVER, the latter FOREVER where they did not.
    """
    time = walk.journeys.time
    walk = walk.take(time[walk.entry] + rule.window <= j.as_of)
    leaves = np.full(len(walk.rows), FOREVER)
    if rule.leave:
        leaves = exits(j, len(rule.steps), walk.user, time[walk.entry])
    return walk, moments(time, walk.rows, leaves)[0], leaves


def _buckets(j: Journeys, user: Ints, rule: Rule) -> Ints:
    """Users' hash buckets, one for all where nobody sits in accounts."""
    return j.bucket_of(user) if rule.accounts else np.zeros(len(user), np.int64)


def _tally(driver: Codes, stratum: Codes, bucket: Ints, on: Bools) -> pd.DataFrame:
    """driver, stratum, bucket -> n_users, n_on of the users' lines."""
    users = {"driver": driver[0], "stratum": stratum[0], "bucket": bucket, "n_users": 1, "n_on": on}
    cells = pd.DataFrame(users).astype({"n_on": int})
    cells = cells.groupby(["driver", "stratum", "bucket"], as_index=False).sum()
    return cells.assign(driver=driver[1][cells["driver"]], stratum=stratum[1][cells["stratum"]])


def count_segments(j: Journeys, *, rule: Rule, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Who goes on, by the values of columns at entry.

    "counts": step to be reached, column ("" for all users), driver (value), stratum (values of
    ``adjust`` but for the column itself), bucket -> n_users at the step before, n_on who reach it ·
    "accounts": the same by account in the place of stratum and bucket, where users sit in some ·
    "entered": column, driver -> n_users with a first entry, their window closed or open.
    """
    entries = _entries(j, rule)
    entered = [_entered(entries, column) for column in ("", *columns)]
    walk, reached, _ = _matured(j, entries, rule)
    counts, accounts = [], []
    for step in range(2, len(rule.steps) + 1):
        there = np.flatnonzero(reached[:, step - 2] != NEVER)
        entry, on = walk.entry[there], reached[there, step - 1] != NEVER
        bucket = _buckets(j, walk.user[there], rule)
        for column in ("", *columns):
            driver = walk.journeys.segments(entry, [column] if column else [])
            others = [a for a in rule.adjust if column not in ("", a)]
            stratum = walk.journeys.segments(entry, others)
            cells = _tally(driver, stratum, bucket, on)
            counts.append(cells.assign(step=step, column=column))
            own = _by_account(walk.journeys, entry, driver, on, rule)
            accounts.append(own.assign(step=step, column=column))
    tables = {"counts": counts, "accounts": accounts, "entered": entered}
    return {name: pd.concat(parts) for name, parts in tables.items()}


def _entered(entries: FunnelWalk, column: str) -> pd.DataFrame:
    """column, driver -> n_users."""
    code, labels = entries.journeys.segments(entries.entry, [column] if column else [])
    n_users = np.bincount(code, minlength=len(labels))
    return pd.DataFrame({"column": column, "driver": labels, "n_users": n_users})


def _by_account(
    j: Journeys, entry: NDArray[Any], driver: Codes, on: Bools, rule: Rule
) -> pd.DataFrame:
    """driver, account -> n_users, n_on of users by their entry; empty where nothing says which."""
    if not rule.accounts:
        return pd.DataFrame({"driver": [], "account": [], "n_users": [], "n_on": []})
    name = rule.accounts[0]
    place, found = number(driver=driver[0], account=j.dims[name][entry])
    return pd.DataFrame(
        {
            "driver": driver[1][found["driver"]],
            "account": np.asarray(j.levels[name], object)[found["account"]],
            "n_users": np.bincount(place),
            "n_on": np.bincount(place, on).astype(int),
        }
    )


def count_events(
    j: Journeys, *, rule: Rule, step: int, labels: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Who goes on, by what users had done at a landmark (Anderson, Cain & Gelber 1983).

    Of those who have not gone on at the landmark, a time after the step before, and have time left:
    who did it between entry and landmark, and who goes on later within the window? Asking who ever
    did it would only say who stayed. The matchers after the steps are the events, ``labels`` their
    names. Strata are the values of ``adjust`` and the tenth of the window in which the step before
    was reached: who took longer has had more time to do anything, and has less left to go on.

    "at_risk": driver ("all"), stratum, bucket -> n_users, n_on · "done": the same of those who did
    an event (driver) · "at_landmark": n_at_risk, n_sooner (had gone on), n_late (no time left),
    n_left (had left).
    """
    walk, when, leaves = _matured(j, _entries(j, rule), rule)
    there = np.flatnonzero(when[:, step - 2] != NEVER)
    start, reached = walk.journeys.time[walk.entry[there]], when[there, step - 2]
    on, mark = when[there, step - 1] != NEVER, reached + rule.landmark
    sooner = on & (when[there, step - 1] <= mark)
    late = ~sooner & (mark >= start + rule.window)
    left = ~sooner & ~late & (leaves[there] <= mark)
    risk = ~sooner & ~late & ~left

    there, start, mark, on = there[risk], start[risk], mark[risk], on[risk]
    tenth = (reached[risk] - start) * TENTHS // rule.window
    code, names = walk.journeys.segments(walk.entry[there], rule.adjust)
    strata = np.array([f"{name} · tenth {t + 1}" for name in names for t in range(TENTHS)], object)
    stratum = code * TENTHS + tenth
    user = walk.user[there]
    bucket = _buckets(j, user, rule)

    def tally(label: str, who: Bools) -> pd.DataFrame:
        driver = np.zeros(who.sum(), np.int64), np.array([label], object)
        return _tally(driver, (stratum[who], strata), bucket[who], on[who])

    line, in_time = _rows_between(j, user, start, mark, rule)
    done = []
    for bit, label in enumerate(labels, start=len(rule.events)):
        did = np.zeros(len(user), bool)
        did[line[in_time.has(bit)]] = True
        done.append(tally(label, did))
    sums = {"n_at_risk": risk, "n_sooner": sooner, "n_late": late, "n_left": left}
    return {
        "at_risk": tally("all", np.ones(len(user), bool)),
        "done": pd.concat(done),
        "at_landmark": pd.DataFrame({name: [who.sum()] for name, who in sums.items()}),
    }


def _rows_between(
    j: Journeys, user: Ints, start: Ints, mark: Ints, rule: Rule
) -> tuple[Ints, Journeys]:
    """Rows of other events than ours between start and mark of their user: whose, and which."""
    line = lines_of(j.user, user)
    rows = np.flatnonzero((line != NOWHERE) & (j.mask >= j.mask.dtype.type(1 << len(rule.events))))
    line = line[rows]
    between = (j.time[rows] >= start[line]) & (j.time[rows] <= mark[line])
    return line[between], j.take(rows[between])


def count_all_events(
    log: EventLog, asked: Sequence[Step], rule: Rule, step: int, as_of: Any
) -> tuple[list[str], int, dict[str, pd.DataFrame]]:
    """`count_events` of those that are no steps, as many at a time as a row's mask holds.

    Labels of the events that enough users did, how many others there are, and the tables.
    """
    steps_are_named = all(matcher.names for matcher in rule.events)
    others = {
        e.label: e for e in asked if e.names and steps_are_named and rule.own.isdisjoint(e.names)
    }
    n_users = log.describe().set_index("event")["n_users"]
    labels = [
        label
        for label, e in others.items()
        if n_users.reindex(e.names, fill_value=0).sum() >= stats.MIN_USERS
    ]
    walks, room = [], MATCHERS - len(rule.events)
    for first in range(0, len(labels), room):
        block = labels[first : first + room]
        kernel = partial(count_events, rule=rule, step=step, labels=block)
        events = [*rule.events, *(others[label] for label in block)]
        walks.append(log.reduce(kernel, events=events, by=rule.adjust, as_of=as_of))
    if not walks:
        return [], len(others), {}
    done = pd.concat([walk["done"] for walk in walks])
    # every walk counts the same users
    return labels, len(others) - len(labels), walks[0] | {"done": done}
