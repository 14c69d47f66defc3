"""Users at landmarks: who is still at risk, what they had done by then, what came after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from mctlib.eventlog.journeys import Journeys, first_rows, number
from mctlib.phrases import DAY_US
from mctlib.signals.outcomes import FOREVER, Known, Outcome

START, FIRST_SIGNAL = 0, 1  # bits of the mask
ACTIVITY = 9  # classes of active hours: 0, 1, 2 to 3, 4 to 7, 8 to 15, ..., 128 and more
HOUR_US = DAY_US // 24
ALIKE = ["stratum", "cohort", "activity"]  # in which users are made alike
COUNTS = ["n_users", "sum_outcome", "sum_square"]


@dataclass(frozen=True)
class Landmarks:
    """What is counted: an outcome, and pairs of a signal and a landmark.

    ``pairs``: place of the signal, until when it must be had, and the landmark at which users are
    at risk (microseconds) · ``by``: columns in which users are made alike ·
    ``left``: when people left, as far as the table of people knows · ``bits``: of the exit, the
    outcome and what an active user does in the mask, 0 where no event is one.
    """

    outcome: Outcome
    pairs: Sequence[tuple[int, int, int]]
    n_signals: int
    by: Sequence[str]
    accounts: Sequence[str]
    left: Known | None = None
    bits: tuple[int, int, int] = (0, 0, 0)


ROWS = "int64[::1], int64[::1], uint64[::1]"  # user, time, mask


@njit(f"int64[:, ::1]({ROWS}, int64[::1], uint64[::1], int64, int64)", cache=True, nogil=True)
def walk_outcomes(
    user: np.ndarray,
    time: np.ndarray,
    mask: np.ndarray,
    start: np.ndarray,
    bits: np.ndarray,
    begin: int,
    until: int,
) -> np.ndarray:
    """Of each start a column: until the exit, until the first outcome, whether one lies in time.

    In time: from ``begin`` to before ``until`` after the start. And the signals ever had, as bits.
    """
    found = np.empty((4, len(start)), np.int64)
    for i in range(len(start)):
        row, began, whose = start[i], time[start[i]], user[start[i]]
        found[:, i] = FOREVER, FOREVER, 0, 0
        while row > 0 and user[row - 1] == whose and time[row - 1] == began:
            row -= 1
        while row < len(user) and user[row] == whose:
            passed = time[row] - began
            if mask[row] & bits[0] and found[0, i] == FOREVER:
                found[0, i] = passed
            if mask[row] & bits[1]:
                found[1, i] = min(found[1, i], passed)
                if begin <= passed < until:
                    found[2, i] = 1
            found[3, i] |= np.int64(mask[row])
            row += 1
    return found


@njit(
    f"void({ROWS}, int64[::1], uint64, uint64, int64, int64, int64, uint8[::1], uint8[::1])",
    cache=True,
    nogil=True,
)
def walk_to_landmark(
    user: np.ndarray,
    time: np.ndarray,
    mask: np.ndarray,
    start: np.ndarray,
    signal: int,
    active: int,
    within: int,
    until: int,
    hour_us: int,
    exposed: np.ndarray,
    activity: np.ndarray,
) -> None:
    """Of each start whether its user had the signal ``within`` a time, and how active they were.

    Activity until the landmark: in how many hours (from the start) they were active by another
    event, in classes that double.
    """
    for i in range(len(start)):
        row, began, whose = start[i], time[start[i]], user[start[i]]
        had, hours, last = 0, 0, -1
        while row > 0 and user[row - 1] == whose and time[row - 1] == began:
            row -= 1
        while row < len(user) and user[row] == whose and time[row] - began <= until:
            if mask[row] & signal:
                had |= time[row] - began <= within
            elif mask[row] & active:
                hour = (time[row] - began) // hour_us
                hours += hour != last
                last = hour
            row += 1
        exposed[i] = had
        level = 0
        while hours and level < ACTIVITY - 1:
            level += 1
            hours //= 2
        activity[i] = level


def count_landmarks(j: Journeys, *, ask: Landmarks) -> dict[str, pd.DataFrame]:
    """Kernel: matcher 0 is the start, then come the signals.

    "cells": pair, stratum, cohort (months from 1970 to the start), activity, bucket, exposed ->
    COUNTS of those at risk · "ever": pair (the signal), bucket, exposed (if ever) -> COUNTS of all
    whose time is over · "strata": stratum -> its value in each column · "started": n_users,
    n_pending, n_left (by the first landmark) · "accounts": account -> n_users.
    """
    of = Starts.of(j, ask)
    tables = []
    for at, pair in enumerate(ask.pairs):
        exposed, activity = of.at_landmark(ask, *pair)
        risk = of.at_risk(pair[2], ask.outcome)
        keys = {"activity": activity, "exposed": exposed}
        tables.append(of.cells(risk, alike=True, **keys).assign(pair=at))
    everyone = np.ones(len(of.start), bool)
    plain = []
    for signal in range(ask.n_signals):
        had = (of.ever >> (FIRST_SIGNAL + signal) & 1).astype(np.uint8)
        plain.append(of.cells(everyone, exposed=had).assign(pair=signal))
    return {
        "cells": pd.concat(tables, ignore_index=True),
        "ever": pd.concat(plain, ignore_index=True),
        **of.tables(min(us for *_, us in ask.pairs)),
    }


@dataclass(frozen=True)
class Starts:
    """Users whose time is over by their start, and what became of them, an entry each."""

    rows: tuple[np.ndarray, np.ndarray, np.ndarray]  # user, time and mask of all rows
    start: np.ndarray
    left: np.ndarray  # until the exit
    first: np.ndarray  # until the outcome
    value: np.ndarray  # of the outcome
    ever: np.ndarray  # signals, as bits of the mask
    stratum: tuple[np.ndarray, np.ndarray]  # codes, labels
    cohort: np.ndarray
    bucket: np.ndarray
    strata: pd.DataFrame
    accounts: pd.DataFrame
    n_started: int

    @classmethod
    def of(cls, j: Journeys, ask: Landmarks) -> Starts:
        """Of whole users."""
        rows = (np.array(j.user, np.int64), np.array(j.time, np.int64), np.array(j.mask, np.uint64))
        start = np.flatnonzero(j.has(START))
        start = start[first_rows(j.user[start])]
        accounts, n_started = j.accounts(start, ask.accounts), len(start)
        start = start[j.time[start] + ask.outcome.until <= j.as_of]
        code, names = j.segments(start, ask.by)
        strata = pd.DataFrame({"stratum": names})
        if len(names):
            some = start[np.unique(code, return_index=True)[1]]
            strata = strata.assign(**{column: j.segment(some, [column]) for column in ask.by})
        month = j.time[start].astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        bucket = j.bucket_of(j.user[start]).astype(np.int64)
        left, first, value, ever = _fates(j, start, rows, ask)
        return cls(
            rows=rows,
            start=start,
            left=left,
            first=first,
            value=value,
            ever=ever,
            stratum=(code, names),
            cohort=month,
            bucket=bucket,
            strata=strata,
            accounts=accounts,
            n_started=n_started,
        )

    def at_landmark(
        self, ask: Landmarks, signal: int, within: int, landmark: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether users had a signal ``within`` a time, and their activity until the landmark."""
        exposed, activity = np.empty(len(self.start), np.uint8), np.empty(len(self.start), np.uint8)
        bits = (np.uint64(1 << (FIRST_SIGNAL + signal)), np.uint64(ask.bits[2]))
        spans = (within, landmark, HOUR_US)
        walk_to_landmark(*self.rows, self.start, *bits, *spans, exposed, activity)
        return exposed, activity

    def at_risk(self, landmark: int, outcome: Outcome) -> np.ndarray:
        """Who has neither left nor had the outcome by the landmark."""
        risk = self.left > landmark
        return np.asarray(risk & (self.first > landmark) if outcome.once else risk)

    def cells(self, who: np.ndarray, alike: bool = False, **keys: np.ndarray) -> pd.DataFrame:
        """COUNTS of some users by keys and bucket; ``alike``: by stratum and cohort too."""
        code, names = self.stratum
        if alike:
            keys = {"stratum": code, "cohort": self.cohort, **keys}
        shown = {name: key[who] for name, key in keys.items()}
        place, found = number(bucket=self.bucket[who], **shown)
        n, y = len(found["bucket"]), self.value[who]
        sums = (np.bincount(place, y, n), np.bincount(place, y**2, n))
        table = pd.DataFrame(found | dict(zip(COUNTS, (np.bincount(place, minlength=n), *sums))))
        return table.assign(stratum=names[table["stratum"].to_numpy()]) if alike else table

    def tables(self, landmark: int) -> dict[str, pd.DataFrame]:
        """The last three tables of `count_landmarks`."""
        n = (self.n_started, self.n_started - len(self.start), int((self.left <= landmark).sum()))
        names = ("n_users", "n_pending", "n_left")
        started = pd.DataFrame({name: [count] for name, count in zip(names, n)})
        return {"strata": self.strata, "started": started, "accounts": self.accounts}


def count_combinations(j: Journeys, *, ask: Landmarks) -> dict[str, pd.DataFrame]:
    """Kernel: which of several signals users had, each within its time, as bits (``had``).

    "all": had, cohort, stratum, bucket -> COUNTS of all whose time is over · "cells": the same and
    activity, of those at risk at the one landmark · and the tables of `count_landmarks`.
    """
    of, landmark = Starts.of(j, ask), ask.pairs[0][2]
    had, activity = np.zeros(len(of.start), np.int64), np.empty(0)
    for k, pair in enumerate(ask.pairs):
        exposed, activity = of.at_landmark(ask, *pair)
        had |= exposed.astype(np.int64) << k
    everyone = np.ones(len(of.start), bool)
    return {
        "all": of.cells(everyone, alike=True, had=had),
        "cells": of.cells(
            of.at_risk(landmark, ask.outcome), alike=True, had=had, activity=activity
        ),
        **of.tables(landmark),
    }


def _fates(
    j: Journeys, start: np.ndarray, rows: tuple[np.ndarray, ...], ask: Landmarks
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each start: until the exit, until the outcome, the outcome's value, the signals ever."""
    outcome, user, began = ask.outcome, j.user[start], j.time[start]
    left, first, in_time, ever = walk_outcomes(
        *rows, start, np.array(ask.bits, np.uint64), outcome.begin, outcome.until
    )
    if ask.left:
        gone = ask.left.of(user, FOREVER)
        left = np.minimum(left, np.where(gone == FOREVER, FOREVER, gone - began))
    if outcome.amount and outcome.known:
        return left, first, np.nan_to_num(outcome.known.of(user, 0.0)), ever
    if outcome.known:
        moment = outcome.known.of(user, FOREVER)
        first = np.where(moment == FOREVER, FOREVER, moment - began)
    value = in_time if outcome.begin else (first <= outcome.until)
    return left, first, value.astype(float), ever
