"""The loops of the funnel walk: one over users, one over a user's rows, the rule in between.

Numba compiles them when this module is first imported and keeps what it compiled; with
NUMBA_DISABLE_JIT=1 the same loops run as Python.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from mctlib.eventlog.journeys import MASKS, NEVER, Bools, Ints

Rows: TypeAlias = NDArray[np.int32]  # half the memory of other integers, and a walk is mostly that


class Rule(NamedTuple):
    """What makes an attempt (see `walk.walk_funnel`); arrays are by step, counted from 1."""

    n_steps: int
    window: int
    strict: bool
    in_order: bool
    concerns: Ints  # bits of the events that an attempt waiting for the step must know of
    bars: Ints  # bits of the exclusions that spoil an attempt waiting for the step
    optional: Bools  # the step may be skipped

    @property
    def starts(self) -> int:
        """Bits of the steps that an attempt may begin with."""
        return 1 if self.in_order else (1 << self.n_steps) - 1


class Event(NamedTuple):
    """A row in its turn. ``tied``: its moment holds other events."""

    row: int
    time: int
    bits: int
    tied: bool


class Moment(NamedTuple):
    """The rows of one user and time. ``counts``: the bits that count."""

    begin: int
    end: int
    time: int
    alike: bool
    any_bits: int
    counts: int


class Chains(NamedTuple):
    """By step, the attempt that was the last to get there; in a last line the deepest one."""

    start: Ints
    spoilt: Bools
    rows: Ints


MOST_STEPS = 16  # of a walk that looks them up

# compiled into the loop that calls it: a call for every row would cost more than the rule
inlined = njit(inline="always")
COLUMN = types.Array(types.int64, 1, "C", readonly=True)
SHORT = types.Array(types.uint8, 1, "C", readonly=True)
NUMBERS = types.Array(types.float64, 1, "C", readonly=True)
BOOLEANS = types.Array(types.boolean, 1, "C", readonly=True)
ROWS = types.int32[:, ::1]
INTS, BOOLS = types.int64[::1], types.boolean[::1]
NUMBER, FLAG = types.int64, types.boolean
RULE = types.NamedTuple((NUMBER, NUMBER, FLAG, FLAG, INTS, INTS, BOOLS), Rule)
WALK = (COLUMN, COLUMN, COLUMN, COLUMN, RULE, FLAG)


@njit(
    [(COLUMN, COLUMN, mask, SHORT, NUMBER, ROWS, ROWS, types.int32[::1]) for mask in MASKS],
    cache=True,
    nogil=True,
)
def walk_plainly(
    user: Ints,
    time: Ints,
    mask: NDArray[Any],
    step_of: NDArray[np.uint8],
    window: int,
    first: Rows,
    deepest: Rows,
    came_from: NDArray[np.int32],
) -> tuple[Bools, Bools, NDArray[Any]]:
    """Write rows of the first and the deepest attempt of every user who enters, a line each.

    Returns, by line: who enters again; whose attempts `walk_in_order` must find, because events of
    one moment do not stand in step order; the bits of all steps that they ever did. The common
    case, and the rule at its barest: every row is one of the steps, which ``step_of`` gives for
    each mask. Of rows that take an attempt on ``came_from`` keeps the one before.
    """
    n = first.shape[1]
    again, knotted = np.empty(len(first), np.bool_), np.empty(len(first), np.bool_)
    ever = np.empty(len(first), mask.dtype)
    start = np.empty(n + 1, np.int64)  # of the attempt that was the last to get to the step
    there = np.empty(n + 1, np.int32)  # its row
    line = row = 0
    while row < len(user):
        begin = row
        start[:] = NEVER
        first[line], deepest[line] = -1, -1
        again[line], knotted[line], ever[line] = False, False, 0
        entry, n_first, depth, deep_row = NEVER, 0, 0, -1
        while row < len(user) and user[row] == user[begin]:
            now, step = time[row], int(step_of[mask[row]])
            ever[line] |= mask[row]
            if row > begin and now == time[row - 1] and mask[row] < mask[row - 1]:
                knotted[line] = True
            if step == 1:
                entry = now if n_first == 0 else entry
                again[line] |= now > entry
            if step == n_first + 1 and now - entry <= window:
                first[line, n_first] = row
                n_first += 1
            start[0] = now
            if now - window <= start[step - 1] != start[step]:
                start[step], there[step] = start[step - 1], row
                came_from[row] = there[step - 1]
                if step > depth:
                    depth, deep_row = step, row
            row += 1
        for step in range(depth, 0, -1):
            deepest[line, step - 1] = deep_row
            deep_row = came_from[deep_row]
        line += n_first > 0
    return again[:line], knotted[:line], ever[:line]


@inlined
def _go_on(before: int, to: int, step: int, row: int, chains: Chains) -> None:
    """Write the attempt of line ``before``, with a row for the step, into another line."""
    chains.start[to] = chains.start[before]
    chains.spoilt[to] = chains.spoilt[before]
    for k in range(step - 1):
        chains.rows[to, k] = chains.rows[before, k]
    chains.rows[to, step - 1] = row


@njit()
def _among(row: int, rows: Ints) -> bool:
    for other in rows:  # noqa: SIM110 - numba compiles no generator
        if other == row:
            return True
    return False


@inlined
def _read(event: Event, depth: int, rule: Rule, chains: Chains) -> int:
    """Let an event go on with the attempts that wait for it; returns the deepest step so far.

    Steps are gone through from the last, so that one event fills one step.
    """
    start, spoilt, rows = chains
    best = rule.n_steps + 1
    earliest = event.time - rule.window
    start[0] = event.time
    for step in range(rule.n_steps, 0, -1):
        if not event.bits & rule.concerns[step]:
            continue
        before = step - 1
        while start[before] < earliest and rule.optional[before]:
            before -= 1
        if start[before] < earliest or start[before] == start[step]:
            continue
        if event.bits & rule.bars[step] and not spoilt[before]:
            spoilt[before] = True
            spoilt[best] |= before == depth and start[best] >= earliest
        fits = event.bits >> (step - 1) & 1
        if not fits or (event.tied and _among(event.row, rows[before])):
            continue
        if step > depth or (step == depth and spoilt[best]):
            depth = step
            _go_on(before, best, step, event.row, chains)
        if not spoilt[before]:
            _go_on(before, step, step, event.row, chains)
    return depth


@inlined
def _break_off(event: Event, rule: Rule, chains: Chains) -> None:
    """Strict order: whatever an event does not go on with is over."""
    if rule.strict:
        for step in range(1, rule.n_steps + 1):
            if not event.bits >> (step - 1) & 1:
                chains.start[step] = NEVER
                chains.spoilt[step] = False


@njit()
def _fill(step: int, moment: Moment, bits: Ints, depth: int, rule: Rule, chains: Chains) -> int:
    """Let the events of a moment go on with the attempts that wait for one step."""
    own = 1 << (step - 1)
    for row in range(moment.begin, moment.end):
        if bits[row] & moment.counts & own:
            depth = _read(Event(row, moment.time, own, True), depth, rule, chains)
    return depth


@njit()
def _read_tied(moment: Moment, bits: Ints, depth: int, rule: Rule, chains: Chains) -> int:
    """Read different events of one moment: in step order, and exclusions do not count.

    If one of them matches several steps, the steps are gone through from the last one before: what
    continues an earlier moment must not be lost to an attempt begun in this one.
    """
    several = False
    for row in range(moment.begin, moment.end):
        steps = bits[row] & moment.counts & ((1 << rule.n_steps) - 1)
        several |= steps & (steps - 1) != 0
    if several:
        for step in range(rule.n_steps, 0, -1):
            depth = _fill(step, moment, bits, depth, rule, chains)
    for step in range(1, rule.n_steps + 1):
        depth = _fill(step, moment, bits, depth, rule, chains)
    return depth


@inlined
def _moment(row: int, end: int, time: Ints, bits: Ints, counts: int) -> Moment:
    """The moment that begins with a row."""
    any_bits = bits[row]
    alike = True
    after = row + 1
    while after < end and time[after] == time[row]:
        any_bits |= bits[after]
        alike &= (bits[after] ^ bits[row]) & counts == 0
        after += 1
    return Moment(row, after, time[row], alike, any_bits, counts)


@njit(WALK, cache=True, nogil=True)
def walk_in_order(
    begin: Ints, end: Ints, time: Ints, bits: Ints, rule: Rule, first_only: bool
) -> tuple[Rows, Bools, Bools]:
    """Rows of every user's best attempt, who is taken out by an exclusion, and who enters again.

    ``first_only``: only step 1 at the moment of a user's first entry is a start.
    """
    n = rule.n_steps
    best = n + 1
    rows = np.full((len(begin), n), -1, np.int32)
    excluded = np.zeros(len(begin), np.bool_)
    again = np.zeros(len(begin), np.bool_)
    chains = Chains(np.empty(n + 2, np.int64), np.empty(n + 2, np.bool_), np.full((n + 2, n), -1))
    for u in range(len(begin)):
        chains.start[:] = NEVER
        chains.spoilt[:] = False
        depth = 0
        counts = ~0
        until = NEVER  # the end of the last window
        row = begin[u]
        while row < end[u] and chains.start[n] == NEVER:  # a clean finish is final
            moment = _moment(row, end[u], time, bits, counts)
            row = moment.end
            if moment.time > until and not moment.any_bits & 1:
                continue  # no attempt waits, and none begins
            again[u] |= depth > 0 and moment.any_bits & 1
            if moment.any_bits & counts & 1:
                until = moment.time + rule.window
            if moment.alike:
                for r in range(moment.begin, moment.end):
                    event = Event(r, moment.time, bits[r] & counts, False)
                    depth = _read(event, depth, rule, chains)
                    _break_off(event, rule, chains)
            else:
                depth = _read_tied(moment, bits, depth, rule, chains)
            if first_only and depth:
                counts = ~1
        excluded[u] = chains.spoilt[best]
        if not excluded[u]:
            for k in range(depth):
                rows[u, k] = chains.rows[best, k]
    return rows, excluded, again


@njit()
def _look_back(row: int, time: Ints, bits: Ints, window: int, fills: Ints) -> int:
    """Move ``fills`` to the first row of each step in the window that ends here; count them.

    A step that no row fills stands after this one. Of equal steps each takes a row of its own.
    """
    earliest = time[row] - window
    n_filled = 0
    for k in range(len(fills)):
        at = fills[k]
        while at <= row and (time[at] < earliest or not bits[at] >> k & 1 or _among(at, fills[:k])):
            at += 1
        fills[k] = at
        n_filled += at <= row
    return n_filled


@njit()
def _alone(row: int, begin: int, end: int, time: Ints, bits: Ints, steps: int) -> bool:
    """Whether no step lies at the moment of a row."""
    while row > begin and time[row - 1] == time[row]:
        row -= 1
    moment = time[row]
    while row < end and time[row] == moment:
        if bits[row] & steps:
            return False
        row += 1
    return True


@njit(WALK, cache=True, nogil=True)
def walk_in_any_order(
    begin: Ints, end: Ints, time: Ints, bits: Ints, rule: Rule, first_only: bool
) -> tuple[Rows, Bools, Bools]:
    """`walk_in_order` where steps may come in any order; the rows of an attempt stand by time.

    Looks back from every event: most steps within one window count. An exclusion resets what is
    under way (an attempt neither complete nor past its window), as if it had not been; a user of
    whom nothing is left is taken out.
    """
    n = rule.n_steps
    steps = (1 << n) - 1
    rows = np.full((len(begin), n), -1, np.int32)
    excluded = np.zeros(len(begin), np.bool_)
    again = np.zeros(len(begin), np.bool_)
    fills = np.empty(n, np.int64)
    for u in range(len(begin)):
        fills[:] = begin[u]
        until = NEVER  # the end of the first window
        bar = begin[u]  # the next exclusion
        depth = 0
        for row in range(begin[u], end[u]):
            if not bits[row] & steps:
                if row == bar:
                    fills[:] = row + 1
                continue
            excluded[u] |= depth == 0
            again[u] |= depth > 0 and time[row] > until
            if depth == n or (first_only and again[u]):
                break
            while bar < end[u] and (
                bar < row or not _alone(bar, begin[u], end[u], time, bits, steps)
            ):
                bar += 1
            n_filled = _look_back(row, time, bits, rule.window, fills)
            attempt = np.sort(fills[fills <= row])
            last = time[attempt[0]] + rule.window
            if n_filled <= depth or (n_filled < n and bar < end[u] and time[bar] <= last):
                continue
            if depth == 0:
                until = last
            depth = n_filled
            excluded[u] = False
            rows[u, :depth] = attempt
    return rows, excluded, again
