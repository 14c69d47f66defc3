"""What shows that somebody did a thing, and whether it was tracked.

Three witnesses, side by side: the server's own records, later events that cannot be without it, and
people's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit, types
from numpy.typing import NDArray

from mctlib.audit.devices import DEVICE, devices_of, spans
from mctlib.eventlog.days import midnights
from mctlib.eventlog.journeys import NOWHERE, Bools, Ints, Journeys, lines_of, number
from mctlib.eventlog.late_start import ALL, LateStart
from mctlib.eventlog.steps import Step
from mctlib.eventlog.walk_kernels import BOOLEANS, COLUMN, NUMBER, NUMBERS
from mctlib.phrases import DAY_US

BACKEND, IMPLIED, YES, NO = range(4)
WITNESSES = ("back end", "implied", "survey")  # YES is the survey's; NO shows nothing missing
NEAR = DAY_US  # a server's record and the app's event are of one deed, however its clock goes
TWINS = 2_000_000  # microseconds: alike within so long, they are one deed sent twice
NONE = np.empty(0, np.int64)
# of a frame, whose columns need not lie together
ANY, SHARES = (types.Array(kind, 1, "A", readonly=True) for kind in (types.int64, types.float64))
ONE_OFF = 1 << 27  # more minutes than there are since 1970


@dataclass(frozen=True)
class Records:
    """Rows by user; those of a kind and micro-conversion stand together, by time."""

    user: Ints
    time: Ints
    what: Ints
    kind: Ints

    @classmethod
    def of(cls, *parts: tuple[Any, Any, Any, Any]) -> Records:
        """Rows of (user, time, what, kind), put in order."""
        user, time, what, kind = (
            np.concatenate([NONE, *(np.broadcast_to(p[i], np.shape(p[0])) for p in parts)])
            for i in range(4)
        )
        order = np.lexsort((time, what, kind, user))
        return cls(*(a[order].astype(np.int64) for a in (user, time, what, kind)))

    @property
    def again(self) -> Bools:
        """The server's that come again just after one alike, of the same user."""
        alike = [np.diff(column) == 0 for column in (self.user, self.kind, self.what)]
        near = np.all(alike, axis=0) & (np.diff(self.time) <= TWINS)
        return np.append(False, near)[: len(self.user)] & (self.kind == BACKEND)

    def by_day(self, what: Sequence[int], zones: Sequence[str]) -> Records:
        """The same with days as times of the server's records of ``what``."""
        time = self.time.copy()
        mine = np.isin(self.what, what) & (self.kind == BACKEND)
        time[mine] = midnights(time[mine], zones or ("UTC",))
        return Records(self.user, time, self.what, self.kind)

    def joined(self, others: Records) -> Records:
        """These and others, of other kinds."""
        if not len(self.user):
            return others
        both = [np.concatenate(pair) for pair in zip(vars(self).values(), vars(others).values())]
        order = np.argsort(both[0], kind="stable")
        return Records(*(column[order] for column in both))

    def take(self, rows: NDArray[Any]) -> Records:
        """Some of them."""
        return Records(self.user[rows], self.time[rows], self.what[rows], self.kind[rows])


@dataclass(frozen=True)
class Asked:
    """What the kernel holds rows against.

    steps: the micro-conversions, by their bit · records: of servers and surveys · implied: bit ->
    bits of later events that cannot be without it · old: users whose first steps may lie before the
    log (ascending) · start: the bit of the event with which all others begin, -1: none is named ·
    settled, begun: from when to when what has not come is missing · ripe: share of what happens
    that has arrived after a time (microseconds), by platform · week_of: of moments · n_again: the
    server's records that are there twice, and count once · by_day: bits that are counted by days ·
    dated: whether the matcher after the steps and ANY is of events that have a day alone ·
    late: what was done before its event was there at all · extra: events that the plan does not
    name.
    """

    steps: Sequence[Step]
    records: Records
    implied: Mapping[int, Sequence[int]]
    old: Ints | None
    start: int
    begun: int
    settled: int
    end: int
    ripe: Callable[[Ints, NDArray[Any], Ints], NDArray[np.float64]]
    week_of: Callable[[Ints], Ints]
    n_again: int
    by_day: frozenset[int]
    dated: bool
    late: LateStart
    extra: Sequence[str]


def count_witnesses(j: Journeys, asked: Asked) -> dict[str, pd.DataFrame]:
    """What witnesses say of whole journeys, in counts that add up over users.

    "said": what, kind, platform, app_version, week -> n_users, n_checked (records), n_tracked,
    sum_ripe and sums of squares by user (see `tally`) · "server": what -> n_events, n_alone, those
    that the server has no record of · "before": what, platform -> n_users, n_checked that are not
    counted, for the event began later.
    """
    records = _mine(j, asked)
    begin, end = spans(j, records.user)
    tracked = _tracked(j, asked, records, begin, end)
    device = devices_of(j, begin, end, records.time, records.what)
    ripe = np.ones(len(records.user))
    young = records.kind == BACKEND
    age, platform = asked.end - records.time[young], device["platform"][young]
    ripe[young] = asked.ripe(age, platform, records.what[young])
    frame = pd.DataFrame(
        {
            "what": records.what,
            "kind": records.kind,
            **device,
            "week": asked.week_of(records.time),
            "user": records.user,
            "tracked": tracked,
            "ripe": ripe,
        }
    )
    # when others did it we do not know
    moment = np.where(records.kind == BACKEND, records.time, j.time[begin])
    counted = asked.late.counted(records.what, device["platform"], device["app_version"], moment)
    before = frame[~counted].groupby(["what", "platform"], as_index=False, observed=True)
    return {
        "said": tally(frame[counted]),
        "server": _gaps(j, asked),
        "before": before.agg(n_users=("user", "nunique"), n_checked=("user", "size")),
    }


LEVELS = (
    (),
    ("platform",),
    ("platform", "app_version"),
    ("platform", "week"),
    ("platform", "app_version", "week"),
)
WHOLE = -1  # the week of rows that are of all weeks


def tally(frame: pd.DataFrame) -> pd.DataFrame:
    """Records by what and kind, at each of the LEVELS: a column that a row is not about is ALL.

    The records of a user, what and kind stand together. sum_tt, sum_tn and sum_nn, over users, of
    tracked and checked records: what a share's variance is made of where one user has many of them.
    """
    told = {key: pd.factorize(frame[key]) for key in ("what", "kind", *DEVICE, "week")}
    finest, cells = number(**{key: code for key, (code, _) in told.items()})
    values = {key: words.take(cells[key]) for key, (_, words) in told.items()}
    given = [frame[column].to_numpy(kind) for column, kind in (("user", int), ("tracked", int))]
    found = []
    for level in LEVELS:
        keys = ["what", "kind", *level]
        place, _ = number(**{key: cells[key] for key in keys})
        first = np.unique(place, return_index=True)[1]
        sums = np.zeros((len(COUNTS), len(first)))
        _add_records(place[finest], *given, frame["ripe"].to_numpy(float), sums)
        each = {key: values[key][first] for key in keys} | dict(zip(COUNTS, sums))
        rest: dict[str, Any] = {name: ALL for name in DEVICE if name not in level}
        rest |= {} if "week" in level else {"week": WHOLE}
        found.append(pd.DataFrame(each).assign(**rest))
    table = pd.concat(found, ignore_index=True)[["what", "kind", *DEVICE, "week", *COUNTS]]
    return table.astype({name: int for name in COUNTS if name != "sum_ripe"})


@njit((COLUMN, ANY, ANY, SHARES, types.float64[:, ::1]), cache=True, nogil=True)
def _add_records(
    place: Ints, user: Ints, tracked: Ints, ripe: NDArray[np.float64], sums: NDArray[np.float64]
) -> None:
    """Add records to the COUNTS of their places: to squares, what one more record adds."""
    n, t = np.zeros(sums.shape[1], np.int64), np.zeros(sums.shape[1], np.int64)
    last = np.full(sums.shape[1], -1)
    for r in range(len(user)):
        at = place[r]
        if last[at] != user[r]:
            last[at], n[at], t[at] = user[r], 0, 0
            sums[0, at] += 1
        sums[1, at] += 1
        sums[2, at] += tracked[r]
        sums[3, at] += ripe[r]
        sums[4, at] += tracked[r] * (2 * t[at] + 1)
        sums[5, at] += t[at] + tracked[r] * (n[at] + 1)
        sums[6, at] += 2 * n[at] + 1
        n[at] += 1
        t[at] += tracked[r]


COUNTS = ["n_users", "n_checked", "n_tracked", "sum_ripe", "sum_tt", "sum_tn", "sum_nn"]


def _mine(j: Journeys, asked: Asked) -> Records:
    """The records of these users, and those that their own later events make."""
    everybody = j.user[j.ranges[0]]
    given = asked.records
    low, high = np.searchsorted(given.user, [everybody[0], everybody[-1] + 1] if len(j) else [0, 0])
    known = given.take(np.arange(low, high))
    known = known.take(lines_of(known.user, everybody) >= 0)
    implied = sorted(asked.implied)
    masks = [sum(1 << b for b in asked.implied[bit]) for bit in implied]
    start = 1 << asked.start if asked.start >= 0 else 0
    found = _first_of(*j.ranges, j.bits, np.array([*masks, start], np.int64))
    first, begins = found[:, :-1], found[:, -1]
    survey, line = known.kind >= YES, lines_of(known.user, everybody)
    new = _new(j, asked, begins)[line]
    known = known.take(~survey | (new & (known.time <= asked.settled)))
    fit = (first != NOWHERE) & (j.time[first] <= asked.settled)
    for place, bit in enumerate(implied):
        fit[:, place] &= _new(j, asked, begins, bit)
        if asked.old is None and bit == asked.start:
            fit[:, place] &= j.time[first[:, place]] > asked.begun
    rows, kind = first[fit], np.full(fit.sum(), IMPLIED)
    what = np.array(implied, np.int64)[np.nonzero(fit)[1]]
    return known.joined(Records(j.user[rows], j.time[rows], what, kind))


@njit((COLUMN, COLUMN, COLUMN, COLUMN), cache=True, nogil=True)
def _first_of(begin: Ints, end: Ints, bits: Ints, masks: Ints) -> Ints:
    """Every user's first row that meets each of the masks, NOWHERE without one."""
    found = np.full((len(begin), len(masks)), NOWHERE)
    for user in range(len(begin)):
        for row in range(begin[user], end[user]):
            for k in range(len(masks)):
                if bits[row] & masks[k] and found[user, k] == NOWHERE:
                    found[user, k] = row
    return found


def _new(j: Journeys, asked: Asked, begins: Ints, bit: int = -1) -> Bools:
    """Users all of whose steps lie in the log: who signed up in it, or whose first row says so.

    ``begins``: the rows with which users begin, if an event is named for it.
    """
    first = j.ranges[0]
    if asked.old is not None:
        return np.asarray(lines_of(j.user[first], asked.old) < 0)
    if asked.start >= 0 and bit != asked.start:
        return begins != NOWHERE
    return j.time[first] > asked.begun


def _tracked(j: Journeys, asked: Asked, records: Records, begin: Ints, end: Ints) -> Bools:
    """Whether the event of each record is there, among its user's rows from begin to end.

    Of the server's each takes an event of its own, near it; of the others any up to then will do.
    """
    assert j.value is not None
    again = _again(j.user, j.time, j.value, j.bits, sum(1 << bit for bit in asked.by_day))
    found: Bools = _match(
        *(j.time, j.bits, again, begin, end),
        *(records.time, records.what, records.kind, records.user),
    )
    return found


@njit((COLUMN, COLUMN, NUMBERS, COLUMN, NUMBER), cache=True, nogil=True)
def _again(user: Ints, time: Ints, value: NDArray[np.float64], bits: Ints, by_day: int) -> Bools:
    """Rows that say again what one of their user said just before, or on that day, if ``by_day``.

    ``by_day``: mask of what is counted by days.
    """
    found = np.zeros(len(time), np.bool_)
    for row in range(len(time)):
        mine = bits[row] & by_day
        for other in range(row - 1, -1, -1):
            since = time[row] - time[other]
            if user[other] != user[row] or since > (DAY_US if mine else TWINS):
                break
            found[row] |= since <= TWINS and value[other] == value[row]
            if bits[other] & mine:
                found[row] |= time[row] // DAY_US == time[other] // DAY_US
    return found


@njit((COLUMN, COLUMN, BOOLEANS, *[COLUMN] * 6), cache=True, nogil=True)
def _match(
    time: Ints,
    bits: Ints,
    again: Bools,
    begin: Ints,
    end: Ints,
    at: Ints,
    what: Ints,
    kind: Ints,
    user: Ints,
) -> Bools:
    found = np.zeros(len(at), np.bool_)
    row = 0
    for r in range(len(at)):
        bit = 1 << what[r]
        first = r == 0 or user[r] != user[r - 1] or what[r] != what[r - 1] or kind[r] != kind[r - 1]
        if first:
            row = begin[r]
        if kind[r] != BACKEND:
            while row < end[r] and bits[row] & bit == 0:
                row += 1
            late = NEAR if kind[r] == IMPLIED else 0
            found[r] = row < end[r] and time[row] <= at[r] + late
            continue
        while row < end[r] and (bits[row] & bit == 0 or again[row] or time[row] < at[r] - NEAR):
            row += 1
        if row < end[r] and time[row] <= at[r] + NEAR:
            found[r] = True
            row += 1
    return found


def _gaps(j: Journeys, asked: Asked) -> pd.DataFrame:
    """Events of which the server should have a record, and those without one."""
    records = asked.records
    rows = []
    for bit in range(len(asked.steps)):
        mine = records.take((records.what == bit) & (records.kind == BACKEND))
        if not len(mine.user):
            continue
        at = j.has(bit) & (j.time >= mine.time.min()) & (j.time <= mine.time.max())
        event = j.user[at] * ONE_OFF + j.time[at] // 60_000_000
        known = np.sort(mine.user * ONE_OFF + mine.time // 60_000_000)
        place = np.searchsorted(known, event)
        near = np.minimum(
            np.abs(known[np.minimum(place, len(known) - 1)] - event),
            np.abs(known[np.maximum(place - 1, 0)] - event),
        )
        alone = near > NEAR // 60_000_000
        n_users = len(np.unique(j.user[at][alone]))
        rows.append((bit, n_users, len(event), int(alone.sum())))
    return pd.DataFrame(rows, columns=["what", "n_users", "n_events", "n_alone"])
