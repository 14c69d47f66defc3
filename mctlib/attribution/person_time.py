"""Time by tenure and calendar: how often things happen to whom, counted once over all users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit, types

from mctlib.attribution.touchpoints import INTS, TOUCHES, USERS, Array, Touches, Users, record
from mctlib.eventlog.journeys import NEVER
from mctlib.phrases import DAY_US

TENURE_DAYS = (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 28, 38, 50, 70, 100, 150)  # ends of bands
ROUNDS = 80  # of proportional fitting
SPELL = 7 * DAY_US  # touches closer than this may come together


class Clock(NamedTuple):
    """How time is cut, in microseconds, and how credit is shared."""

    windows: Array  # ascending
    reference: int  # index of the reference window
    origin: int  # conversions and days at risk count from here
    end: int  # and up to here
    tenure: Array  # ends of bands
    periods: Array  # begins of calendar periods, the log's first moment among them
    rules: Array  # indices of `credit_rules.RULES`
    half_life: int  # of time decay
    resolution: int  # how long a moment is: a day where moments are days, else a microsecond


class Background(NamedTuple):
    """Things and days by cohort (of starts in one period), band and period; see `fit_pace`.

    ``touch_*``: of users who never convert, from their start on · ``seen_*``: of those while they
    surely were still there, up to the band of a `SPELL` before the last touch, and a cohort for
    each such band ·
    ``other_*``: conversions and days at risk of users whom no partner brought, all in one cohort.
    """

    touch_n: Array
    touch_days: Array
    seen_n: Array
    seen_days: Array
    other_n: Array
    other_days: Array


CELLS = types.Array(types.float64, 3, "C")
CLOCK = record([INTS, *[types.int64] * 3, INTS, INTS, INTS, *[types.int64] * 2], Clock)
BACKGROUND = record([CELLS] * 6, Background)


@njit(cache=True, nogil=True)
def period_of(periods: Array, moment: int) -> int:
    """The period that holds a moment; the first one holds what lies before it too."""
    return max(int(np.searchsorted(periods, moment, side="right")) - 1, 0)


@njit(cache=True, nogil=True)
def cell(clock: Clock, start: int, moment: int) -> tuple[int, int]:
    """The band of tenure and the calendar period of a moment (of its noon where it is a day)."""
    moment += clock.resolution // 2
    band = int(np.searchsorted(clock.tenure, moment - start, side="right"))
    return band, period_of(clock.periods, moment)


@njit(cache=True, nogil=True)
def add_days(days: Array, clock: Clock, start: int, a: int, b: int) -> None:
    """Add the days of [a, b) to their bands and periods."""
    band = int(np.searchsorted(clock.tenure, a - start, side="right"))
    period = period_of(clock.periods, a)
    while a < b:
        upto = b
        if band < len(clock.tenure):
            upto = min(upto, start + clock.tenure[band])
        if period + 1 < len(clock.periods):
            upto = min(upto, clock.periods[period + 1])
        days[band, period] += (upto - a) / DAY_US
        if band < len(clock.tenure) and upto == start + clock.tenure[band]:
            band += 1
        if period + 1 < len(clock.periods) and upto == clock.periods[period + 1]:
            period += 1
        a = upto


@njit(cache=True, nogil=True)
def add_untaken(user: int, users: Users, touches: Touches, clock: Clock, found: Background) -> None:
    """Add the touches of a user who never converts, and the days on which they might come."""
    start, end = users.start[user], users.end[user]
    begin, stop = touches.edges[user], touches.edges[user + 1]
    cohort = cell(clock, start, start)[1]
    add_days(found.touch_days[cohort], clock, start, start + clock.resolution, end)
    if begin == stop or touches.time[stop - 1] <= start:
        return
    last = int(np.searchsorted(clock.tenure, touches.time[stop - 1] - SPELL - start, side="right"))
    still = cohort * (len(clock.tenure) + 1) + last
    if last > 0:
        until = start + clock.tenure[last - 1]
        add_days(found.seen_days[still], clock, start, start + clock.resolution, until)
    for i in range(begin, stop):
        if touches.time[i] > start:
            band, period = cell(clock, start, touches.time[i])
            found.touch_n[cohort, band, period] += 1
            found.seen_n[still, band, period] += band < last


@njit(types.void(USERS, TOUCHES, CLOCK, BACKGROUND), cache=True, nogil=True)
def count_background(users: Users, touches: Touches, clock: Clock, found: Background) -> None:
    """Count what happens to users where nothing is to be explained (see `Background`)."""
    for user in range(len(users.start)):
        start, conversion, end = users.start[user], users.conversion[user], users.end[user]
        if end == NEVER:
            continue
        if conversion == NEVER:
            add_untaken(user, users, touches, clock, found)
        begin, low = touches.edges[user], max(start + clock.resolution, clock.origin)
        brought = begin < touches.edges[user + 1] and touches.time[begin] <= start
        if low < end and not brought:
            add_days(found.other_days[0], clock, start, low, end)
            if users.counted[user] and low <= conversion:
                band, period = cell(clock, start, conversion)
                found.other_n[0, band, period] += 1


class Pace(NamedTuple):
    """How often something happens, relatively: by band of tenure times by calendar period."""

    tenure: Array  # ends of bands, microseconds
    by_tenure: Array
    periods: Array  # begins, microseconds
    by_period: Array
    before: Array  # days of ``by_period`` up to each period's begin


PACE = record(
    [INTS, types.float64[::1], INTS, types.float64[::1], types.float64[::1]],
    Pace,
)


class Paces(NamedTuple):
    """What paces the users' time: who is known to be still there is touched at a pace of its own.

    Users who convert are there up to the conversion; afterwards they may leave unseen, as others.
    """

    before: Pace  # of touches of users who are there
    after: Pace  # of touches of any users
    others: Pace  # of conversions of users whom nobody brought


PACES = record([PACE] * 3, Paces)


def fit_pace(counted: pd.DataFrame, clock: Clock, by_period: Array | None = None) -> Pace:
    """The pace of things n_rows in sum_days by cohort, band and period, each cohort at its level.

    Poisson by proportional fitting; ``by_period``: where that is known. A little is added to both,
    so that a band of few days has some pace; bands without a day go on as the one before.
    """
    cohort, band, period = (counted[c].to_numpy(np.int64) for c in ("cohort", "band", "period"))
    n, days = (counted[c].to_numpy(float) for c in ("n_rows", "sum_days"))
    known, by_tenure = by_period is not None, np.ones(len(clock.tenure) + 1)
    by_period = np.ones(len(clock.periods)) if by_period is None else by_period
    n_cohort, n_tenure = np.bincount(cohort, n), np.bincount(band, n, len(by_tenure))
    n_period = np.bincount(period, n, len(by_period))
    for _ in range(ROUNDS):
        paced = days * by_period[period]
        level = n_cohort / np.maximum(np.bincount(cohort, paced * by_tenure[band]), 1e-9)
        expected = np.bincount(band, level[cohort] * paced, len(by_tenure))
        by_tenure = (n_tenure + 0.1 * by_tenure.min()) / (expected + 0.1)
        seen = np.flatnonzero(expected > 1e-6)
        if len(seen):
            by_tenure[expected <= 1e-6] = by_tenure[seen[-1]]
        if not known:
            expected = np.bincount(period, level[cohort] * days * by_tenure[band], len(by_period))
            by_period = (n_period + 0.5) / (expected + 0.5)
    lengths = np.diff(clock.periods) / DAY_US
    before = np.r_[0.0, np.cumsum(lengths * by_period[:-1])]
    return Pace(clock.tenure, by_tenure, clock.periods, by_period, before)


@njit(cache=True, nogil=True)
def passed(pace: Pace, start: int, moment: int) -> float:
    """How much of the pace's time has passed for a user from the start to a moment."""
    whole = 0.0
    low = start
    for band in range(len(pace.by_tenure)):
        if low >= moment:
            break
        high = moment
        if band < len(pace.tenure):
            high = min(moment, start + pace.tenure[band])
        whole += pace.by_tenure[band] * (in_calendar(pace, high) - in_calendar(pace, low))
        low = high
    return whole


@njit(cache=True, nogil=True)
def in_calendar(pace: Pace, moment: int) -> float:
    """The same of the calendar alone, from its begin."""
    period = period_of(pace.periods, moment)
    part: float = pace.by_period[period] * (moment - pace.periods[period]) / DAY_US
    return pace.before[period] + part
