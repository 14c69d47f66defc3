"""The loops behind `counts`: over users whose attempts are known, into arrays that add up."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from mctlib.eventlog.journeys import FOREVER, MASKS, NEVER, Bools, Ints
from mctlib.eventlog.walk_kernels import COLUMN, NUMBER, Rows, inlined

# how a wait ends: in the step, by the exit, with the window, or where the data end
REACHED, LEFT, STOPPED, PENDING = range(4)
WAYS = ("n_reached", "n_left", "n_stopped", "n_pending")


class Terms(NamedTuple):
    """On what terms users are watched, in microseconds: ``unit`` is the resolution of waits."""

    window: int
    as_of: int
    unit: int


TABLE = types.Array(types.int64, 2, "C", readonly=True)
ROWS = types.Array(types.int32, 2, "C", readonly=True)
FLAGS = types.Array(types.boolean, 2, "C", readonly=True)
TERMS = types.NamedUniTuple(NUMBER, 3, Terms)


def moments(time: Ints, rows: Rows, leaves: Ints) -> tuple[Ints, int]:
    """When users got to each step (users, steps), and how many did two in a row at once.

    NEVER: not before leaving; a step at the very moment of the exit comes first.
    """
    reached = np.empty(rows.shape, np.int64)  # numpy's, and so in large pages
    return reached, _moments(time, rows, leaves, reached)


@njit((COLUMN, ROWS, COLUMN, types.int64[:, ::1]), cache=True, nogil=True)
def _moments(time: Ints, rows: Rows, leaves: Ints, reached: Ints) -> int:
    n_tied = 0
    for u in range(len(rows)):
        tied = False
        for k in range(rows.shape[1]):
            reached[u, k] = NEVER
            if rows[u, k] >= 0 and time[rows[u, k]] <= leaves[u]:
                reached[u, k] = time[rows[u, k]]
                tied |= k > 0 and reached[u, k] == reached[u, k - 1]
        n_tied += tied
    return n_tied


@inlined
def _wait(reached: int, start: int, leaves: int, terms: Terms) -> tuple[int, int]:
    """How a wait ends, and when: in the step, by the exit, with the window, or with the data."""
    end = start + terms.window
    if reached != NEVER:
        way, until = REACHED, reached
    elif leaves <= end:
        way, until = LEFT, leaves
    elif end <= terms.as_of:
        way, until = STOPPED, end
    else:
        way, until = PENDING, terms.as_of
    return way, until


@inlined
def _ticks(span: int, unit: int) -> int:
    # a float's division is the quicker one, and exact as long as waits are shorter than a century
    return int((span + unit // 2) / unit)


@njit((TABLE, COLUMN, COLUMN, NUMBER, COLUMN, TERMS), cache=True, nogil=True)
def tally_waits(
    reached: Ints, leaves: Ints, segment: Ints, n_segments: int, previous: Ints, terms: Terms
) -> tuple[Ints, Ints]:
    """Waits for each step since entry, and since the step before (segments, steps, ticks, ways).

    ``previous``: for each step the last one before it that is not optional; where that is the entry
    there is but one wait.
    """
    n_users, n_steps = reached.shape
    shape = (n_segments, n_steps, _ticks(terms.window, terms.unit) + 1, 4)
    since_entry = np.zeros(shape, np.int64)
    since_step = np.zeros(shape, np.int64)
    for u in range(n_users):
        start = reached[u, 0]
        for k in range(1, n_steps):
            way, until = _wait(reached[u, k], start, leaves[u], terms)
            since_entry[segment[u], k, _ticks(until - start, terms.unit), way] += 1
            begun = reached[u, previous[k]]
            if previous[k] > 0 and begun != NEVER:
                since_step[segment[u], k, _ticks(until - begun, terms.unit), way] += 1
    return since_entry, since_step


@njit((TABLE, COLUMN, COLUMN, TERMS), cache=True, nogil=True)
def list_waits(
    reached: Ints, leaves: Ints, previous: Ints, terms: Terms
) -> tuple[Ints, Ints, Ints]:
    """The same user by user (steps, users): how waits ended, and how long they were, exactly.

    A wait since a step that was not reached is NEVER, as is any for step 1.
    """
    n_users, n_steps = reached.shape
    ended = np.full((n_steps, n_users), REACHED)
    since_entry = np.full((n_steps, n_users), NEVER)
    since_step = np.full((n_steps, n_users), NEVER)
    for u in range(n_users):
        start = reached[u, 0]
        for k in range(1, n_steps):
            ended[k, u], until = _wait(reached[u, k], start, leaves[u], terms)
            since_entry[k, u] = until - start
            begun = reached[u, previous[k]]
            if previous[k] > 0 and begun != NEVER:
                since_step[k, u] = until - begun
    return ended, since_entry, since_step


@njit((TABLE, COLUMN, NUMBER, NUMBER), cache=True, nogil=True)
def tally_passed(reached: Ints, place: Ints, n_places: int, last_closed: int) -> Ints:
    """Users who reached each step (places, steps, 2): first those whose window is closed.

    It is if they entered at ``last_closed`` or before.
    """
    n_users, n_steps = reached.shape
    passed = np.zeros((n_places, n_steps, 2), np.int64)
    for u in range(n_users):
        is_open = int(reached[u, 0] > last_closed)
        for k in range(n_steps):
            passed[place[u], k, is_open] += reached[u, k] != NEVER
    return passed


@njit((FLAGS, COLUMN, NUMBER), cache=True, nogil=True)
def tally_steps(fits: Bools, segment: Ints, n_segments: int) -> Ints:
    """Count who fits at each step (segments, steps); ``fits`` is (users, steps)."""
    n_users = np.zeros((n_segments, fits.shape[1]), np.int64)
    for u in range(len(fits)):
        for k in range(fits.shape[1]):
            n_users[segment[u], k] += fits[u, k]
    return n_users


@njit([(COLUMN, COLUMN, m, COLUMN, NUMBER) for m in MASKS], cache=True, nogil=True)
def deeds(
    user: Ints, entered: Ints, mask: NDArray[Any], shared: Ints, n_steps: int
) -> tuple[Ints, Ints, Ints]:
    """What those who entered ever did; ``user`` and ``mask`` are by row, both lists ascending.

    Bits of all their steps; of the events each by the first step it fits, the bit of the last one;
    and how many events they have for each set of ``shared`` steps (users, sets).
    """
    steps = (1 << n_steps) - 1
    everyone = np.append(entered, FOREVER)
    did = np.zeros(len(everyone), np.int64)
    furthest = np.zeros(len(everyone), np.int64)
    n_events = np.zeros((len(everyone), len(shared)), np.int64)
    u = 0
    for row in range(len(user)):
        # without a branch, for no processor foresees where a user ends; each of those who entered
        # has rows
        u += everyone[u] < user[row]
        mine = np.int64(mask[row]) & steps * (everyone[u] == user[row])
        did[u] |= mine
        furthest[u] = max(furthest[u], mine & -mine)  # the lowest bit
        for i in range(len(shared)):
            n_events[u, i] += mine & shared[i] != 0
    return did[:-1], furthest[:-1], n_events[:-1]
