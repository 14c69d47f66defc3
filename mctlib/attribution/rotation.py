"""Users who convert against their own time: how their touches lie, and how they might lie.

The conversion is turned through the user's own time, from the start to the conversion, as if time
were a circle: the share of it in which a touch would lie within the window is what chance would
bring. Time passes as touches come to users who never convert and are seen later still (the
calendar's clock), or by the user's own visits.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, get_type_hints

import numpy as np
from numba import njit, types

from mctlib.attribution.person_time import CLOCK, PACES, Clock, Pace, Paces, passed
from mctlib.attribution.touchpoints import (
    FLAGS,
    INTS,
    TOUCHES,
    USERS,
    Array,
    Touches,
    Users,
    own_touches,
    record,
)
from mctlib.eventlog.journeys import NEVER, NOWHERE
from mctlib.phrases import DAY_US

LULL = 30 * 60_000_000  # microseconds without a row that end a visit
MOST = 0.9  # share of the own time within reach of a touch: above it there is no other to compare
CLOCKS = ("calendar", "visits", "other days")  # the last: the calendar without the conversion's day
CALENDAR, VISITS, OTHER_DAYS = range(len(CLOCKS))


class Rows(NamedTuple):
    """All rows of users, in order; ``other``: neither a touch nor the start or the conversion."""

    edges: Array
    time: Array
    other: Array


class Found(NamedTuple):
    """What is counted of the users of one bucket; the last partner is any.

    The last axis holds `COLUMNS`. ``own``, ``after``: see `add_chance` · ``later``: see
    `add_later` · ``reach``: credited,
    brought, users brought, those who convert, and how much of the conversions' pace passed for them
    · ``others``: the same of users whom nobody brought.
    """

    own: Annotated[Array, "clock", "partner", "window", "sum"]
    later: Annotated[Array, "clock", "partner", "window", "sum"]
    after: Annotated[Array, "control", "sum"]
    reach: Annotated[Array, "partner", "window", "count"]
    others: Annotated[Array, "one", "other"]
    kinds: Annotated[Array, "one", "kind"]


COLUMNS = {
    "sum": ("n_compared", "sum_room", "sum_chance", "n_users"),
    "count": ("n_attributed", "n_brought", "n_users", "n_converted", "sum_pace"),
    "other": ("n_converted", "sum_pace"),
    # of converters between start and conversion: touches, those beside other rows of a visit, other
    # rows, visits with a touch, those with several
    "kind": ("n_touches", "n_tied", "n_other", "n_visits", "n_repeated"),
}
TOUCH, TIED, OTHER, VISIT, REPEATED = range(len(COLUMNS["kind"]))
PLACES: dict[str, tuple[str, ...]] = {
    name: hint.__metadata__ for name, hint in get_type_hints(Found, include_extras=True).items()
}
ROWS = record([INTS, INTS, FLAGS], Rows)
FOUND = record([types.Array(types.float64, len(axes) + 1, "C") for axes in PLACES.values()], Found)


class Circle(NamedTuple):
    """A user's own time as a circle: where touches lie on it, in order, and how long it is."""

    place: Array
    partner: Array
    full: float


@njit(cache=True, nogil=True)
def add_chance(into: Array, touched: bool, chance: float) -> None:
    """Add one user: touched within the window or not, and the chance of it."""
    if 0 < chance < MOST:
        into[0] += touched
        into[1] += touched * (1 - chance)
        into[2] += (not touched) * chance
        into[3] += 1


@njit(cache=True, nogil=True)
def covered(circle: Circle, reach: float, others: float, alone: Array) -> float:
    """How much of the circle lies within reach after a touch, and after each partner's alone.

    Each touch covers what follows, up to its reach or the next touch. ``alone`` (zeros) becomes
    what lies within reach of a partner, and not within ``others``, at least as much, of another.
    """
    n, whole, since = len(circle.place), 0.0, 0.0
    turn = -1  # a touch before which another partner's lies
    for i in range(n):
        if circle.partner[i] != circle.partner[i - 1]:
            turn = i
    for i in range(max(turn, 0), max(turn, 0) + n):
        k = i % n
        before = circle.place[k] - circle.place[k - 1] + (k == 0) * circle.full
        after = circle.place[(k + 1) % n] - circle.place[k] + (k == n - 1) * circle.full
        since = before if circle.partner[k] != circle.partner[k - 1] else since + before
        from_others = max(others - since, 0.0) if turn >= 0 else 0.0
        whole += min(after, reach)
        alone[circle.partner[k]] += max(min(after, reach) - from_others, 0.0)
    return whole


@njit(cache=True, nogil=True)
def whose_touch(circle: Circle, near: tuple[int, int]) -> tuple[int, bool]:
    """Whose touches are near, NOWHERE: nobody's; and whether they are of several partners."""
    first, last = near
    whose, mixed = int(circle.partner[first]) if last > first else int(NOWHERE), False
    for i in range(first, last):
        mixed |= circle.partner[i] != whose
    return whose, mixed


@njit(cache=True, nogil=True)
def add_window(
    circle: Circle, near: tuple[int, int], reach: float, alone: Array, own: Array
) -> None:
    """Add the user to the sums of any partner, and of each while no other's touch is near.

    ``near``: the first of the touches within the window, and the one after the last · ``own``:
    (partner, sum) · ``alone``: zeros.
    """
    whole = covered(circle, reach, reach, alone)
    whose, mixed = whose_touch(circle, near)
    add_chance(own[-1], whose != NOWHERE, whole / circle.full)
    for partner in circle.partner:
        mine = alone[partner]
        room = circle.full - (whole - mine)
        if mine > 0 and room > 0 and not mixed and whose in (NOWHERE, partner):
            add_chance(own[partner], whose == partner, mine / room)
        alone[partner] = 0  # each partner once


@njit(cache=True, nogil=True)
def add_later(
    circle: Circle, first: Array, last: int, reach: Array, alone: Array, later: Array
) -> None:
    """Add the user to the sums by which shorter windows are told from what the longest one leaves.

    Only users who can be compared at the longest window, and of them those touched within the
    window, or not even within the longest. ``first``, ``reach``: by window · ``later``: (partner,
    window, sum) · ``alone``: two rows of zeros.
    """
    most = len(reach) - 1
    whole = covered(circle, reach[most], reach[most], alone[0])
    whose, mixed = whose_touch(circle, (first[most], last))
    for w in range(most + 1):
        part = covered(circle, reach[w], reach[most], alone[1])
        near = last > first[w]
        if near or whose == NOWHERE:
            add_share(later[-1, w], near, part, circle.full - whole, circle.full)
        for partner in circle.partner:
            mine, room = alone[0, partner], circle.full - (whole - alone[0, partner])
            concerned = whose == NOWHERE or (near and whose == partner)
            if alone[1, partner] > 0 and concerned and not mixed:
                add_share(later[partner, w], near, alone[1, partner], room - mine, room)
            alone[1, partner] = 0  # each partner once
    for partner in circle.partner:
        alone[0, partner] = 0


@njit(cache=True, nogil=True)
def add_share(into: Array, touched: bool, part: float, free: float, room: float) -> None:
    """Add one user by the part of the room within the window, and the one free of the longest."""
    if 1 - MOST < free / room < 1:
        into[0] += touched
        into[1] += touched * free / (part + free)
        into[2] += (not touched) * part / (part + free)
        into[3] += 1


@njit(cache=True, nogil=True)
def add_calendar(
    user: int, users: Users, touches: Touches, clock: Clock, pace: Pace, alone: Array, found: Found
) -> None:
    """Compare by the calendar's clock; of days also without the conversion's own."""
    start, conversion = users.start[user], users.conversion[user]
    a, b = own_touches(user, users, touches)
    if a == b:
        return
    begin, stop = start + clock.resolution, conversion + clock.resolution
    base, full = passed(pace, start, begin), passed(pace, start, stop)
    place = np.empty(b - a)
    for i in range(a, b):
        place[i - a] = passed(pace, start, touches.time[i]) - base
    circle = Circle(place, touches.partner[a:b], full - base)
    if circle.full <= 0:
        return
    today = b
    while today > a and touches.time[today - 1] > conversion - clock.resolution:
        today -= 1
    n_windows, n = len(clock.windows), b - a
    first, reach = np.empty(n_windows, np.int64), np.empty(n_windows)
    for w, window in enumerate(clock.windows):
        first[w] = b - a
        while first[w] > 0 and touches.time[a + first[w] - 1] > conversion - window:
            first[w] -= 1
        since = passed(pace, start, max(begin, stop - window))
        reach[w] = full - since
        add_window(circle, (first[w], n), reach[w], alone[0], found.own[CALENDAR, :, w])
        if clock.resolution > 1:
            free = max(passed(pace, start, conversion) - since, 0.0)
            near = (min(first[w], today - a), today - a)
            add_window(circle, near, free, alone[0], found.own[OTHER_DAYS, :, w])
    add_later(circle, first, n, reach, alone, found.later[CALENDAR])


@njit(cache=True, nogil=True)
def add_visits(
    user: int, users: Users, touches: Touches, rows: Rows, clock: Clock, alone: Array, found: Found
) -> None:
    """Compare by the user's own visits, and count how touches come with other rows.

    Of days, visits are rows, and a touch lies where its day begins.
    """
    start, conversion = users.start[user], users.conversion[user]
    a, b = own_touches(user, users, touches)
    place, windows = np.empty(b - a), clock.windows
    since = np.full(len(windows), -1)  # the first visit within the window
    n, row, i = 0, rows.edges[user], a
    while row < rows.edges[user + 1] and rows.time[row] <= conversion:
        if rows.time[row] <= start:
            row += 1
            continue
        last, n_other = rows.time[row], 0
        while row < rows.edges[user + 1] and rows.time[row] <= min(conversion, last + lull(clock)):
            last = rows.time[row]
            for w in range(len(windows)):
                if since[w] < 0 and last > conversion - windows[w]:
                    since[w] = n
            n_other += rows.other[row]
            row += 1
        first = i
        while i < b and touches.time[i] <= last:
            place[i - a] = n
            i += 1
        found.kinds[0, TOUCH] += i - first
        found.kinds[0, TIED] += (i - first) * (n_other > 0)
        found.kinds[0, OTHER] += n_other
        found.kinds[0, VISIT] += i > first
        found.kinds[0, REPEATED] += i > first + 1
        n += max(n_other, int(i > first or last == conversion)) if clock.resolution > 1 else 1
    if a == b:
        return
    circle = Circle(place, touches.partner[a:b], float(n))
    near, reach = np.empty(len(windows), np.int64), n - since.astype(np.float64)
    for w in range(len(windows)):
        near[w] = b - a
        while near[w] > 0 and place[near[w] - 1] >= since[w]:
            near[w] -= 1
        add_window(circle, (near[w], b - a), reach[w], alone[0], found.own[VISITS, :, w])
    add_later(circle, near, b - a, reach, alone, found.later[VISITS])


@njit(cache=True, nogil=True)
def lull(clock: Clock) -> int:
    """How long after a row the next one may come and be of the same visit."""
    return 0 if clock.resolution > 1 else LULL


@njit(cache=True, nogil=True)
def add_after(
    user: int, users: Users, touches: Touches, clock: Clock, pace: Pace, found: Found
) -> None:
    """The same looking back: touches soon after a conversion, which they cannot cause.

    Only for conversions that no touch preceded within the window. By window, and at last within a
    day, of the reference window.
    """
    start, conversion = users.start[user], users.conversion[user]
    left = users.leave[user]
    stop = left + clock.resolution if left > conversion else clock.end + 1
    b = own_touches(user, users, touches)[1]
    before = touches.time[b - 1] if b > touches.edges[user] else NEVER
    end = b
    while end < touches.edges[user + 1] and touches.time[end] < stop:
        end += 1
    begin = conversion + clock.resolution
    if end == b or stop <= begin:
        return
    base, full = passed(pace, start, begin), passed(pace, start, stop)
    if full <= base:
        return
    place = np.empty(end - b)
    for i in range(b, end):
        place[i - b] = passed(pace, start, touches.time[i]) - base
    circle = Circle(place, np.zeros(end - b, np.int64), full - base)
    alone = np.zeros(1)
    for k in range(len(clock.windows) + 1):
        is_day = k == len(clock.windows)
        window = clock.windows[clock.reference if is_day else k]
        if before != NEVER and before > conversion - window:
            continue
        until = begin + (DAY_US if is_day else window)
        reach = passed(pace, start, min(until, stop)) - base
        alone[0] = 0
        chance = covered(circle, reach, reach, alone) / circle.full
        add_chance(found.after[k], touches.time[b] < until, chance)


@njit(cache=True, nogil=True)
def add_reach(
    user: int, users: Users, touches: Touches, clock: Clock, pace: Pace, found: Found
) -> None:
    """Add users whom a partner brought, and what the background did with them and the others.

    The last touch up to the start brought the user.
    """
    start, conversion, counted = users.start[user], users.conversion[user], users.counted[user]
    low, stop = max(start + clock.resolution, clock.origin), users.end[user]
    a, b = touches.edges[user], touches.edges[user + 1]
    while a < b and touches.time[a] <= start:
        a += 1
    if a > touches.edges[user]:
        bringer = touches.partner[a - 1]
        for w, window in enumerate(clock.windows):
            until = touches.time[a - 1] + window
            within = counted and conversion < until
            for partner in (bringer, -1):
                seen = found.reach[partner, w]
                seen[1] += within
                if low < min(until, stop):
                    seen[2] += 1
                    seen[3] += within and low <= conversion
                    since = passed(pace, start, low)
                    seen[4] += passed(pace, start, min(until, stop)) - since
        return
    if low < stop:
        found.others[0, 0] += counted and low <= conversion
        found.others[0, 1] += passed(pace, start, stop) - passed(pace, start, low)


@njit(cache=True, nogil=True)
def add_credited(
    user: int, users: Users, touches: Touches, clock: Clock, alone: Array, found: Found
) -> None:
    """Add the conversion to every partner with a touch within the window, and to any."""
    conversion, edge = users.conversion[user], touches.edges[user]
    b = own_touches(user, users, touches)[1]
    first = b
    for w, window in enumerate(clock.windows):
        while first > edge and touches.time[first - 1] > conversion - window:
            first -= 1
        found.reach[-1, w, 0] += first < b
        for i in range(first, b):
            found.reach[touches.partner[i], w, 0] += alone[0, touches.partner[i]] == 0
            alone[0, touches.partner[i]] = 1
        for i in range(first, b):
            alone[0, touches.partner[i]] = 0


@njit(types.void(INTS, USERS, TOUCHES, ROWS, CLOCK, PACES, FOUND), cache=True, nogil=True)
def compare_users(
    bucket: Array,
    users: Users,
    touches: Touches,
    rows: Rows,
    clock: Clock,
    paces: Paces,
    by_bucket: Found,
) -> None:
    """Compare users with themselves, and those whom partners brought with the others.

    ``bucket``: of each user · ``by_bucket``: arrays of `Found` with buckets on a first axis.
    """
    alone = np.zeros((2, by_bucket.own.shape[2]))
    for user, b in enumerate(bucket):
        if users.end[user] == NEVER:
            continue
        found = Found(
            by_bucket.own[b],
            by_bucket.later[b],
            by_bucket.after[b],
            by_bucket.reach[b],
            by_bucket.others[b],
            by_bucket.kinds[b],
        )
        add_reach(user, users, touches, clock, paces.others, found)
        if users.counted[user]:
            add_credited(user, users, touches, clock, alone, found)
            add_calendar(user, users, touches, clock, paces.before, alone, found)
            add_visits(user, users, touches, rows, clock, alone, found)
            add_after(user, users, touches, clock, paces.after, found)
