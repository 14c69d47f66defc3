"""Days at risk and conversions by tenure, calendar and time since a touch, as plain loops."""

from __future__ import annotations

from typing import Annotated, NamedTuple, get_type_hints

import numpy as np
from numba import njit, types

from mctlib.attribution.touchpoints import INTS, Array, Touches, Users, record
from mctlib.eventlog.journeys import NEVER
from mctlib.phrases import DAY_US

TENURE_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365)


class Tally(NamedTuple):
    """What is counted of the users of one bucket, and by what.

    Lags are bins between the windows, the last lag is beyond them all.
    """

    risk_n: Annotated[Array, "stratum", "lag"]  # conversions, since any touch
    risk_days: Annotated[Array, "stratum", "lag"]
    once_n: Annotated[Array, "stratum", "lag"]  # at the very begin of the counted time at risk
    alone_n: Annotated[Array, "partner", "stratum", "window"]  # no other partner's touch beside
    alone_days: Annotated[Array, "partner", "stratum", "window"]
    placebo_n: Annotated[Array, "stratum", "window"]
    placebo_days: Annotated[Array, "stratum", "window"]
    partner_n: Annotated[Array, "partner"]  # with a touch in the reference window
    partner_once: Annotated[Array, "partner"]  # those of them that are in once_n
    partner_days: Annotated[Array, "partner", "stratum", "one"]  # exposed
    overlap_days: Annotated[Array, "partner", "other"]  # exposed to both
    credit: Annotated[Array, "what", "rule", "window", "partner"]  # conversions, money


AXES: dict[str, tuple[str, ...]] = {
    name: hint.__metadata__ for name, hint in get_type_hints(Tally, include_extras=True).items()
}


class Clock(NamedTuple):
    """How time is cut, in microseconds, and how credit is shared."""

    windows: Array  # ascending
    reference: int  # index of the reference window
    origin: int  # conversions and days at risk count from here
    end: int  # and up to here
    tenure: Array
    periods: Array  # calendar edges
    rules: Array  # indices of `credit_rules.RULES`
    half_life: int  # of time decay

    @property
    def n_strata(self) -> int:
        """Bands of tenure times bands of the calendar; a band holds its begin, not its end."""
        return (len(self.tenure) + 1) * (len(self.periods) + 1)


TALLY = record([types.Array(types.float64, len(axes), "C") for axes in AXES.values()], Tally)
CLOCK = record([INTS, *[types.int64] * 3, INTS, INTS, INTS, types.int64], Clock)


@njit(cache=True, nogil=True)
def add_days(days: Array, clock: Clock, start: int, since: int, a: int, b: int) -> None:
    """Add the days of [a, b) to their strata and lags since a touch; NEVER: the last lag."""
    periods, tenure, windows = clock.periods, clock.tenure, clock.windows
    while a < b:
        band = np.searchsorted(tenure, a - start, side="right")
        period = np.searchsorted(periods, a, side="right")
        lag, upto = days.shape[1] - 1, b
        if band < len(tenure):
            upto = min(upto, start + tenure[band])
        if period < len(periods):
            upto = min(upto, periods[period])
        if since != NEVER and a - since < windows[-1]:
            lag = np.searchsorted(windows, a - since, side="right")
            upto = min(upto, since + windows[lag])
        days[band * (len(periods) + 1) + period, lag] += (upto - a) / DAY_US
        a = upto


@njit(cache=True, nogil=True)
def add_conversion(n: Array, clock: Clock, start: int, since: int, conversion: int) -> None:
    """Add a conversion to its stratum and lag since a touch; NEVER: the last lag."""
    band = np.searchsorted(clock.tenure, conversion - start, side="right")
    period = np.searchsorted(clock.periods, conversion, side="right")
    lag = n.shape[1] - 1
    if since != NEVER:
        lag = np.searchsorted(clock.windows, conversion - since, side="right")
    n[band * (len(clock.periods) + 1) + period, lag] += 1


@njit(cache=True, nogil=True)
def add_risk(user: int, users: Users, touches: Touches, clock: Clock, found: Tally) -> None:
    """From a touch to the next one the lag runs; before the first touch it is the last lag.

    While no other partner has touched within the longest window, what follows a touch is that
    partner's alone.
    """
    start, low, end = users.start[user], users.low[user], users.end[user]
    begin, stop = touches.edges[user], touches.edges[user + 1]
    longest, conversion = clock.windows[-1], users.conversion[user]
    first = touches.time[begin] if begin < stop else end
    add_days(found.risk_days, clock, start, NEVER, low, min(first, end))
    last, other, partner = NEVER, NEVER, 0
    for i in range(begin, stop):
        if i > begin and touches.partner[i] != partner:
            other = last
        last, partner = touches.time[i], touches.partner[i]
        until = min(touches.time[i + 1], end) if i + 1 < stop else end
        add_days(found.risk_days, clock, start, last, max(last, low), until)
        alone = max(last, low) if other == NEVER else max(last, low, other + longest)
        days = found.alone_days[partner]
        add_days(days, clock, start, last, alone, min(until, last + longest))
    if not users.counted[user]:
        return
    if end == low:
        add_conversion(found.once_n, clock, start, last, conversion)
        return
    add_conversion(found.risk_n, clock, start, last, conversion)
    near = last != NEVER and conversion - last < longest
    if near and (other == NEVER or conversion - other >= longest):
        add_conversion(found.alone_n[partner], clock, start, last, conversion)


@njit(cache=True, nogil=True)
def add_partners(user: int, users: Users, touches: Touches, clock: Clock, found: Tally) -> None:
    """Each partner's exposure, the union of its touches' windows, and what two have in common."""
    begin, stop = touches.edges[user], touches.edges[user + 1]
    low, end, reach = users.low[user], users.end[user], clock.windows[clock.reference]
    n, most = 0, stop - begin
    whose = np.empty(most, np.int64)
    opens, closes = np.empty(most, np.int64), np.empty(most, np.int64)
    for i in range(begin, stop):
        k = n - 1
        while k >= 0 and whose[k] != touches.partner[i]:
            k -= 1
        if k < 0 or touches.time[i] > closes[k]:
            k = n
            n += 1
            whose[k], opens[k] = touches.partner[i], touches.time[i]
        closes[k] = touches.time[i] + reach
    for k in range(n):
        partner = whose[k]
        # no touch is later than the conversion, so only a partner's last union can hold it
        if users.counted[user] and closes[k] > users.conversion[user]:
            found.partner_n[partner] += 1
            found.partner_once[partner] += end == low
        opens[k], closes[k] = max(opens[k], low), min(closes[k], end)
        days = found.partner_days[partner]
        add_days(days, clock, users.start[user], NEVER, opens[k], closes[k])
        for m in range(k):
            common = (min(closes[k], closes[m]) - max(opens[k], opens[m])) / DAY_US
            if common > 0 and whose[m] != partner:
                found.overlap_days[partner, whose[m]] += common
                found.overlap_days[whose[m], partner] += common


@njit(cache=True, nogil=True)
def add_placebo(
    user: int, users: Users, touches: Touches, clock: Clock, later: int, found: Tally
) -> None:
    """Add what follows the same touches ``later``, where no true touch is in the longest window."""
    begin, stop = touches.edges[user], touches.edges[user + 1]
    start, low, end = users.start[user], users.low[user], users.end[user]
    longest, conversion = clock.windows[-1], users.conversion[user]
    row, true, sham = begin, NEVER, NEVER
    for i in range(begin, stop):
        moment = touches.time[i] + later
        until = min(moment + longest, end)
        if i + 1 < stop:
            until = min(until, touches.time[i + 1] + later)
        if users.counted[user] and moment <= conversion:
            sham = moment
        since = moment
        while moment < until:
            while row < stop and touches.time[row] <= moment:
                true = touches.time[row]
                row += 1
            upto = min(until, touches.time[row]) if row < stop else until
            free = max(moment, low, true + longest)
            add_days(found.placebo_days, clock, start, since, free, upto)
            moment = upto
    if sham == NEVER or end == low or conversion - sham >= longest:
        return
    if conversion - touches.time[stop - 1] >= longest:
        add_conversion(found.placebo_n, clock, start, sham, conversion)
