"""The funnel walk: how far users get, by which of their attempts (the loops: `walk_kernels`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mctlib.contract import MISSING
from mctlib.eventlog.journeys import (
    FOREVER,
    NOWHERE,
    Bools,
    Ints,
    Journeys,
    first_rows,
    ranges,
    user_lines,
)
from mctlib.eventlog.steps import Order
from mctlib.eventlog.walk_kernels import (
    MOST_STEPS,
    Rows,
    Rule,
    walk_in_any_order,
    walk_in_order,
    walk_plainly,
)


@dataclass(frozen=True)
class FunnelWalk:
    """One attempt of every user who entered and was not excluded, one line a user, ascending.

    Attributes
    ----------
    journeys : Journeys
        The rows that were walked.
    rows : array (users, steps)
        Row indices into ``journeys``, -1 where the step was not reached.
    excluded : array
        The users an exclusion took out.
    did : array, optional
        Bits of all steps that a user ever did; where events fit one step alone, the walk sees it in
        passing.
    """

    journeys: Journeys
    rows: Rows
    excluded: Ints
    did: NDArray[Any] | None = None

    @property
    def entry(self) -> Rows:
        """Row of the attempt's first event: step 1 is never skipped, unordered rows are by time."""
        return self.rows[:, 0]

    @property
    def finished(self) -> Bools:
        """Whose attempt reached the last step."""
        return self.rows[:, -1] >= 0

    @property
    def user(self) -> Ints:
        """The users, ascending."""
        return self.journeys.user[self.entry]

    def take(self, lines: Bools) -> FunnelWalk:
        """The attempts of some of the users."""
        did = None if self.did is None else self.did[lines]
        return FunnelWalk(self.journeys, self.rows[lines], self.excluded, did)


def walk_funnel(
    j: Journeys,
    n_steps: int,
    *,
    window: int,
    order: Order = "ordered",
    exclude: Sequence[tuple[int, int]] = (),
    optional: Sequence[int] = (),
    hold: Sequence[str] = (),
    first_only: bool = False,
) -> FunnelWalk:
    """Find the deepest attempt of every user.

    Parameters
    ----------
    j : Journeys
        Bits 0..n_steps-1 of the mask are the steps, the next ones the exclusions.
    n_steps, window : int
        The window (microseconds) runs from step 1, its end included.
    order : {"ordered", "strict", "unordered"}
        ``ordered``: other events may lie between two steps. ``strict``: none may, so all rows must
        be in the journeys. ``unordered``: most distinct steps within one window, whichever comes
        first; two steps must be the same or share no event.
    exclude : list of (after, before)
        Step numbers from 1 between which an exclusion must not happen; at the very moment of a step
        event it is ignored. A user whose deepest attempt holds one is taken out. Unordered, it lies
        between the first and the last step, and resets the attempt under way: what came before it
        counts no more, what comes after it does.
    optional : list of int
        Numbers of steps that may be skipped.
    hold : list of str
        Dims that must be present and stay equal along an attempt.
    first_only : bool
        Only the user's first step 1 starts an attempt.

    Notes
    -----
    The rule is the one that PostHog publishes with its tests: a later step 1 starts a new attempt,
    deeper steps keep the start they were reached from; the deepest attempt counts, and of equally
    deep ones the first; events of one moment count in step order; one event fills one step.
    """
    rule = _rule(n_steps, window, order, exclude, optional)
    j = _of_funnel(j, rule, len(exclude))
    if hold:
        return _walk_held(j, rule, hold, first_only)
    if _is_plain(j, rule):
        return _walk_plainly(j, rule)[0 if first_only else 1]
    begin, end = j.ranges
    rows, excluded, _ = _walk(begin, end, j.time, j.bits, rule, first_only)
    return _attempts(j, begin, rows, excluded)


def walk_attempts(
    j: Journeys,
    n_steps: int,
    *,
    window: int,
    order: Order = "ordered",
    exclude: Sequence[tuple[int, int]] = (),
    optional: Sequence[int] = (),
    hold: Sequence[str] = (),
) -> tuple[FunnelWalk, FunnelWalk]:
    """Find the attempts from the users' first step 1, and the deepest ones.

    That is `walk_funnel` with and without ``first_only``, one object where nobody enters again. A
    user whose deepest attempt an exclusion takes out is in neither.
    """
    rule = _rule(n_steps, window, order, exclude, optional)
    j = _of_funnel(j, rule, len(exclude))
    if _is_plain(j, rule) and not hold:
        return _walk_plainly(j, rule)
    if hold:
        first, deepest = (_walk_held(j, rule, hold, only) for only in (True, False))
        return first.take(~np.isin(first.user, deepest.excluded)), deepest
    begin, end = j.ranges
    rows, excluded, again = _walk(begin, end, j.time, j.bits, rule, True)
    if not again.any():
        first = _attempts(j, begin, rows, excluded)
        return first, first
    best, out = rows.copy(), excluded.copy()
    best[again], out[again], _ = _walk(begin[again], end[again], j.time, j.bits, rule, False)
    rows[out] = NOWHERE
    return _attempts(j, begin, rows, excluded), _attempts(j, begin, best, out)


def _rule(
    n_steps: int,
    window: int,
    order: Order,
    exclude: Sequence[tuple[int, int]],
    optional: Sequence[int],
) -> Rule:
    bars = np.zeros(n_steps + 1, np.int64)
    for bit, (after, before) in enumerate(exclude, start=n_steps):
        bars[after + 1 : before + 1] |= 1 << bit
    concerns = bars | np.r_[0, 1 << np.arange(n_steps)]
    may_skip = np.isin(np.arange(n_steps + 1), np.array(optional, np.int64))
    return Rule(n_steps, window, order == "strict", order != "unordered", concerns, bars, may_skip)


def _of_funnel(j: Journeys, rule: Rule, n_exclusions: int) -> Journeys:
    """The rows that the rule looks at: those of a step or an exclusion; strict: all."""
    known = (1 << rule.n_steps + n_exclusions) - 1
    kind = j.mask.dtype.type
    if j.mask.max(initial=0) > known:
        j = replace(j, mask=j.mask & kind(known))
    if not rule.strict and not j.mask.all():
        j = j.take(np.flatnonzero(j.mask))
    steps = j.mask & kind((1 << rule.n_steps) - 1)
    if rule.in_order and _some_fit_several(steps):
        # of several events for one step the one with the fewest later uses goes first, so that
        # the log's own order within a moment means nothing
        j = j.take(_by_steps_within_moments(j, steps))
    return j


def _some_fit_several(steps: NDArray[Any]) -> bool:
    return bool(np.bitwise_count(steps).max(initial=0) > 1)


def _is_plain(j: Journeys, rule: Rule) -> bool:
    """Whether steps in order are all that is asked, and no event fits two of them."""
    asked = rule.in_order and not rule.strict and rule.n_steps <= MOST_STEPS
    more = rule.bars.any() or rule.optional.any()
    return asked and not more and not _some_fit_several(j.mask)


def _walk_plainly(j: Journeys, rule: Rule) -> tuple[FunnelWalk, FunnelWalk]:
    """First and deepest attempts, one object where nobody enters again."""
    step_of = np.zeros(1 << rule.n_steps, np.uint8)
    step_of[1 << np.arange(rule.n_steps)] = np.arange(1, rule.n_steps + 1)
    # numpy's arrays, unlike those a kernel makes, lie in large pages; a line to spare
    most = np.count_nonzero(j.mask == 1) + 1
    first, deepest = (np.empty((most, rule.n_steps), np.int32) for _ in range(2))
    came_from = np.empty(len(j), np.int32)
    given = (j.user, j.time, j.mask, step_of, rule.window)
    again, knotted, ever = walk_plainly(*given, first, deepest, came_from)
    first, deepest = first[: len(again)], deepest[: len(again)]
    lines = np.flatnonzero(knotted)
    if len(lines):
        user = j.user[first[lines, 0]]
        begin, end = (np.searchsorted(j.user, user, side) for side in ("left", "right"))
        own = (begin, end, j.time, j.bits, rule)
        first[lines], _, again[lines] = _walk(*own, True)
        deepest[lines], _, _ = _walk(*own, False)
    walk = FunnelWalk(j, first, np.empty(0, np.int64), ever)
    return walk, replace(walk, rows=deepest) if again.any() else walk


def _by_steps_within_moments(j: Journeys, steps: Ints) -> Ints:
    """Rows of one user and moment in the order of their steps; every other row in its place."""
    tied = (j.user[1:] == j.user[:-1]) & (j.time[1:] == j.time[:-1])
    moved = np.flatnonzero(np.r_[tied, False] | np.r_[False, tied])
    order = np.arange(len(j))
    order[moved] = moved[np.lexsort((steps[moved], j.time[moved], j.user[moved]))]
    return order


def _walk_held(j: Journeys, rule: Rule, hold: Sequence[str], first_only: bool) -> FunnelWalk:
    """Walk every value of the held dims as a user of its own, then keep each user's deepest.

    Of equally deep attempts the one that is there first.
    """
    value = np.zeros(len(j), np.int64)
    present = np.ones(len(j), bool)
    for name in hold:
        given = np.array([level != MISSING for level in j.levels[name]], bool)
        present &= given[j.dims[name]]
        value = value * len(j.levels[name]) + j.dims[name]
    some = np.flatnonzero(present)
    some = some[np.lexsort((value[some], j.user[some]))]
    j = j.take(some)
    begin, end = ranges(j.user, value[some])
    if first_only:
        stay = _with_very_first(j, begin, j.bits & rule.starts > 0)
        begin, end = begin[stay], end[stay]
    rows, excluded, _ = _walk(begin, end, j.time, j.bits, rule, first_only)
    held = _attempts(j, begin, rows, excluded)
    depth = (held.rows >= 0).sum(axis=1)
    reached = j.time[held.rows.max(axis=1)]
    best = np.lexsort((reached, -depth, held.user))
    best = best[first_rows(held.user[best])]
    return FunnelWalk(j, held.rows[best], np.setdiff1d(held.excluded, held.user))


def _with_very_first(j: Journeys, begin: Ints, starts: Bools) -> Bools:
    """Of the values of users, whose rows begin there, those with a start at the user's first."""
    if not len(begin):
        return np.empty(0, bool)
    start = np.minimum.reduceat(np.where(starts, j.time, FOREVER), begin)
    user = j.user[begin]
    return start == np.minimum.reduceat(start, first_rows(user))[user_lines(user)]


def _walk(
    begin: Ints, end: Ints, time: Ints, bits: Ints, rule: Rule, first_only: bool
) -> tuple[Rows, Bools, Bools]:
    walk = walk_in_order if rule.in_order else walk_in_any_order
    return walk(begin, end, time, bits, rule, first_only)


def _attempts(j: Journeys, begin: Ints, rows: Rows, excluded: Bools) -> FunnelWalk:
    entered = rows[:, 0] >= 0
    if not entered.all():
        rows = rows[entered]
    return FunnelWalk(j, rows, j.user[begin[excluded]])
