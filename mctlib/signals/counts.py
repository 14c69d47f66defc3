"""Users at landmarks: who is still at risk, what they had done by then, what came after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from mctlib.eventlog.journeys import FOREVER, ROWS, Journeys, first_rows, number
from mctlib.phrases import HOUR_US
from mctlib.signals.outcomes import Known, Outcome

START, FIRST_SIGNAL = 0, 1  # bits of the mask
ACTIVITY = 9  # classes of active hours: 0, 1, 2 to 3, 4 to 7, 8 to 15, ..., 128 and more
ALIKE = ["stratum", "cohort", "activity"]  # in which users are made alike
COUNTS = ["n_users", "sum_outcome", "sum_square"]  # the last where the outcome is an amount


class Group(NamedTuple):
    """Signals that are looked at by one landmark (microseconds), by their places.

    ``own``: of which signal the events are no activity, for they would be its own; bits of it.
    """

    landmark: int
    signals: tuple[int, ...]
    own: int = 0


@dataclass(frozen=True)
class Landmarks:
    """What is counted: an outcome, and groups of signals.

    ``within``: where it is less than the landmark, until when each must be had (microseconds) ·
    ``by``: columns in which users are made alike · ``left``: when people left, as far as the table
    of people knows · ``bits``: of the exit, the outcome and what an active user does in the mask,
    0 where no event is one.
    """

    outcome: Outcome
    groups: Sequence[Group]
    n_signals: int
    by: Sequence[str]
    accounts: Sequence[str]
    within: Sequence[int] = ()
    left: Known | None = None
    bits: tuple[int, int, int] = (0, 0, 0)


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
    f"void({ROWS}, int64[::1], uint64, uint64, int64, int64, uint64[::1], uint8[::1])",
    cache=True,
    nogil=True,
)
def walk_to_landmark(
    user: np.ndarray,
    time: np.ndarray,
    mask: np.ndarray,
    start: np.ndarray,
    own: int,
    active: int,
    until: int,
    hour_us: int,
    had: np.ndarray,
    activity: np.ndarray,
) -> None:
    """Of each start what its user had until the landmark, as bits, and how active they were.

    Activity: in how many hours (from the start) they were active by an event that is not ``own``,
    in classes that double.
    """
    for i in range(len(start)):
        row, began, whose = start[i], time[start[i]], user[start[i]]
        hours, last = 0, -1
        had[i] = 0
        while row > 0 and user[row - 1] == whose and time[row - 1] == began:
            row -= 1
        while row < len(user) and user[row] == whose and time[row] - began <= until:
            had[i] |= mask[row]
            if mask[row] & active and not mask[row] & own:
                hour = (time[row] - began) // hour_us
                hours += hour != last
                last = hour
            row += 1
        level = 0
        while hours and level < ACTIVITY - 1:
            level += 1
            hours //= 2
        activity[i] = level


@njit(
    "void(int64[::1], uint64[::1], float64[::1], uint64[::1], int64[:, ::1], float64[:, :, ::1])",
    cache=True,
    nogil=True,
)
def add_exposed(
    place: np.ndarray,
    had: np.ndarray,
    value: np.ndarray,
    bits: np.ndarray,
    users: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add the users who had each signal, and their outcomes' powers, at their places."""
    for i in range(len(place)):
        for k in range(len(bits)):
            if had[i] & bits[k]:
                users[k, place[i]] += 1
                power = 1.0
                for p in range(len(sums)):
                    power *= value[i]
                    sums[p, k, place[i]] += power


def count_landmarks(j: Journeys, *, ask: Landmarks) -> dict[str, pd.DataFrame]:
    """Kernel: matcher 0 is the start, then come the signals.

    "0", "1", ... (the groups): stratum, cohort (months from 1970 to the start), activity, bucket ->
    COUNTS of those at risk, and of those of them who had each signal (``n_users_3``, ...) · "ever":
    bucket -> the same of all whose time is over, if they ever had it · "strata": stratum -> its
    value in each column · "started": n_users, n_pending, n_left (by the first landmark) ·
    "accounts": account -> n_users.
    """
    of = Starts.of(j, ask)
    tables = {}
    for at, group in enumerate(ask.groups):
        had, activity = of.at_landmark(ask, group.landmark, group.own)
        who = of.at_risk(group.landmark, ask.outcome)
        tables[f"{at}"] = of.cells(who, had, group.signals, alike=True, activity=activity)
    everyone = np.ones(len(of.start), bool)
    tables["ever"] = of.cells(everyone, signals=range(ask.n_signals))
    return tables | of.tables(min(group.landmark for group in ask.groups))


@dataclass(frozen=True)
class Starts:
    """Users whose time is over by their start, and what became of them, an entry each."""

    rows: tuple[np.ndarray, np.ndarray, np.ndarray]  # user, time and mask of all rows
    start: np.ndarray
    left: np.ndarray  # until the exit
    first: np.ndarray  # until the outcome
    value: np.ndarray  # of the outcome
    amount: bool  # whether that is money
    ever: np.ndarray  # signals, as bits of the mask
    stratum: tuple[np.ndarray, np.ndarray]  # codes, and numbers that are theirs in every part
    cohort: np.ndarray
    bucket: np.ndarray
    strata: pd.DataFrame
    accounts: pd.DataFrame
    n_started: int

    @classmethod
    def of(cls, j: Journeys, ask: Landmarks) -> Starts:
        """Of whole users."""
        rows = (j.user.astype(np.int64, copy=False), j.time, j.mask.astype(np.uint64))
        start = np.flatnonzero(j.has(START))
        start = start[first_rows(j.user[start])]
        accounts, n_started = j.accounts(start, ask.accounts), len(start)
        start = start[j.time[start] + ask.outcome.until <= j.as_of]
        code, names = j.segments(start, ask.by)
        names = pd.util.hash_array(names).view(np.int64)
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
            amount=ask.outcome.amount,
            ever=ever,
            stratum=(code, names),
            cohort=month,
            bucket=bucket,
            strata=strata,
            accounts=accounts,
            n_started=n_started,
        )

    def at_landmark(
        self, ask: Landmarks, until: int, own: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """What users had by then, as bits of the mask, and their activity, see `Group`."""
        had, activity = np.empty(len(self.start), np.uint64), np.empty(len(self.start), np.uint8)
        bits = (np.uint64(own), np.uint64(ask.bits[2]))
        walk_to_landmark(*self.rows, self.start, *bits, until, HOUR_US, had, activity)
        return had, activity

    def at_risk(self, landmark: int, outcome: Outcome) -> np.ndarray:
        """Who has neither left nor had the outcome by the landmark."""
        risk = self.left > landmark
        return np.asarray(risk & (self.first > landmark) if outcome.once else risk)

    def cells(
        self,
        who: np.ndarray,
        seen: np.ndarray | None = None,
        signals: Sequence[int] = (),
        *,
        alike: bool = False,
        **keys: np.ndarray,
    ) -> pd.DataFrame:
        """COUNTS of some users by keys and bucket, and of those who had each signal.

        ``seen``: what users had, as bits · ``alike``: by stratum and cohort too.
        """
        code, names = self.stratum
        if alike:
            keys = {"stratum": code, "cohort": self.cohort, **keys}
        shown = {name: key[who] for name, key in keys.items()}
        place, found = number(bucket=self.bucket[who], **shown)
        if alike:
            found["stratum"] = names[found["stratum"]]
        had = (self.ever if seen is None else seen)[who]
        # everybody had the start
        bits = {START: "", **{FIRST_SIGNAL + k: f"_{k}" for k in signals}}
        n = (len(bits), len(found["bucket"]))
        users, sums = np.zeros(n, np.int64), np.zeros((1 + self.amount, *n))
        each = np.array([1 << bit for bit in bits], np.uint64)
        add_exposed(place, had, self.value[who], each, users, sums)
        for name, counts in zip(COUNTS, (users, *sums)):
            found |= {f"{name}{of}": row for of, row in zip(bits.values(), counts)}
        return pd.DataFrame(found)

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
    of, group = Starts.of(j, ask), ask.groups[0]
    had = np.zeros(len(of.start), np.int64)
    for k, within in enumerate(ask.within):
        bits, _ = of.at_landmark(ask, within)
        had |= (bits.astype(np.int64) >> (FIRST_SIGNAL + k) & 1) << k
    _, activity = of.at_landmark(ask, group.landmark, group.own)
    everyone = np.ones(len(of.start), bool)
    return {
        "all": of.cells(everyone, alike=True, had=had),
        "cells": of.cells(
            of.at_risk(group.landmark, ask.outcome), alike=True, had=had, activity=activity
        ),
        **of.tables(group.landmark),
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
        amounts = np.nan_to_num(outcome.known.of(user, 0.0))
        return left, first, amounts, ever.view(np.uint64)
    if outcome.known:
        moment = outcome.known.of(user, FOREVER)
        first = np.where(moment == FOREVER, FOREVER, moment - began)
    value = in_time if outcome.begin else (first <= outcome.until)
    return left, first, value.astype(float), ever.view(np.uint64)
