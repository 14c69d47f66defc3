"""The kernels that walk users' events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mctlib.contract import MISSING
from mctlib.eventlog.journeys import NEVER, NOWHERE, Journeys, first_rows, rows_of
from mctlib.eventlog.steps import Order


@dataclass(frozen=True)
class FunnelWalk:
    """One attempt (the deepest, or the first) of every user who entered and was not excluded, one line a user, by ascending user.

    rows: (users, steps) row indices into ``journeys``, -1 where the step was not reached · excluded: the users an exclusion took out.
    """

    journeys: Journeys
    rows: np.ndarray
    excluded: np.ndarray

    @property
    def entry(self) -> np.ndarray:
        """Row of the attempt's first event (users,): step 1 is never skipped, and unordered steps stand in order of time."""
        return self.rows[:, 0]

    @property
    def user(self) -> np.ndarray:
        """The users (ascending)."""
        return self.journeys.user[self.entry]

    def times(self) -> np.ndarray:
        """(users, steps) microseconds as float, NaN where the step was not reached."""
        return np.where(self.rows >= 0, self.journeys.time[self.rows], np.nan)


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
    """The deepest attempt of every user.

    Bits 0..n_steps-1 of the mask are the steps, the next ones the exclusions, given as (after, before) with step numbers from 1.
    Rule (the one PostHog publishes with its tests): steps in order, other events may lie between; the window (microseconds) runs from step 1, its
    end included; a later step 1 starts a new attempt, deeper steps keep the start they were reached from; the deepest attempt counts, and of
    equally deep ones the first; events of one moment count in step order; one event fills one step; an exclusion at the very moment of a step
    event is ignored. ``strict``: no other event between two steps (all rows must be in the journeys). ``unordered``: most distinct steps within
    one window, whichever comes first. ``optional`` steps (numbers from 1) may be skipped. ``hold``: dims that must be present and stay equal
    along an attempt. ``first_only``: only the user's first step 1 starts an attempt.
    """
    if hold:
        return _walk_held(
            j,
            n_steps,
            hold,
            window=window,
            order=order,
            exclude=exclude,
            optional=optional,
            first_only=first_only,
        )
    if order == "ordered" and not exclude and not optional:
        return _walk_plain(j, n_steps, window)[0 if first_only else 1]
    j = _of_steps(j, n_steps + len(exclude), keep_others=order == "strict")
    if first_only:
        mask, since = _first_entries(j, n_steps, order)
        j = replace(j, mask=mask).take(
            (since >= 0) & (since <= window if order == "unordered" else True)
        )
    if order == "unordered":
        return _walk_unordered(j, n_steps, window, bool(exclude))
    return _walk_in_lockstep(j, n_steps, window, order == "strict", exclude, optional)


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
    """The attempts from the users' first step 1 and the deepest ones: `walk_funnel` with and without ``first_only``, one object where nobody has two starts.

    A user whose deepest attempt an exclusion takes out is in neither.
    """
    if order == "ordered" and not exclude and not optional and not hold:
        return _walk_plain(j, n_steps, window)
    rule = {
        "window": window,
        "order": order,
        "exclude": exclude,
        "optional": optional,
        "hold": hold,
    }
    first = walk_funnel(j, n_steps, **rule, first_only=True)
    begun = j.user[j.has(0)]
    once = order != "unordered" and (begun[1:] != begun[:-1]).all()
    if once:
        return first, first
    deepest = walk_funnel(j, n_steps, **rule)
    return replace(first, rows=first.rows[~np.isin(first.user, deepest.excluded)]), deepest


def _of_steps(j: Journeys, n_bits: int, keep_others: bool = False) -> Journeys:
    """The journeys with the first bits of the mask only, and without the rows that have none."""
    j = replace(j, mask=j.mask & j.mask.dtype.type((1 << n_bits) - 1))
    return j if keep_others or j.mask.all() else j.take(j.mask > 0)


def _walk_plain(j: Journeys, n_steps: int, window: int) -> tuple[FunnelWalk, FunnelWalk]:
    """Ordered steps and nothing else, first and deepest attempts: quick for all but the users whose ties need the state machine."""
    j = _of_steps(j, n_steps)
    tied = _tied(j)
    knotted = np.empty(0, np.int64)
    if tied.any():
        j = _in_step_order(j, tied)
        knotted = rows_of(j.user, _awkward_rows(j))
    if not len(knotted):
        first, deepest = (
            FunnelWalk(j, rows, np.empty(0, np.int64)) for rows in _walk_starts(j, n_steps, window)
        )
        return first, first if len(first.rows) == j.has(0).sum() else deepest
    rest, part = np.delete(np.arange(len(j)), knotted), j.take(knotted)
    parts = (replace(part, mask=_first_entries(part, n_steps)[0]), part)
    walks = [
        np.concatenate(
            [
                np.r_[rest, NOWHERE][rows],
                np.r_[knotted, NOWHERE][_walk_in_lockstep(p, n_steps, window).rows],
            ]
        )
        for rows, p in zip(_walk_starts(j.take(rest), n_steps, window), parts)
    ]
    first, deepest = (
        FunnelWalk(j, rows[np.argsort(rows[:, 0])], np.empty(0, np.int64)) for rows in walks
    )
    return first, deepest


def _walk_held(j: Journeys, n_steps: int, hold: Sequence[str], **rule: Any) -> FunnelWalk:
    """Walk every value of the held dims as a user of its own, then keep each user's deepest (then earliest) attempt."""
    value, present = np.zeros(len(j), np.int64), np.ones(len(j), bool)
    for name in hold:
        present &= np.asarray([level != MISSING for level in j.levels[name]], bool)[j.dims[name]]
        value = value * len(j.levels[name]) + j.dims[name]
    rows = np.flatnonzero(present)
    rows = rows[np.lexsort((rows, value[rows], j.user[rows]))]
    if rule["first_only"] and len(rows):  # only the values that a user's very first entry has
        starts = (
            j.mask[rows]
            & j.mask.dtype.type((1 << n_steps) - 1 if rule["order"] == "unordered" else 1)
            > 0
        )
        spread = lambda v, at: np.repeat(np.minimum.reduceat(v, at), np.diff(np.r_[at, len(v)]))  # noqa: E731
        begun = np.where(starts, j.time[rows], np.iinfo(np.int64).max)
        begun = spread(
            begun,
            np.flatnonzero(np.r_[True, (np.diff(j.user[rows]) != 0) | (np.diff(value[rows]) != 0)]),
        )
        rows = rows[begun == spread(begun, first_rows(j.user[rows]))]
    held = j.take(rows)
    own = np.cumsum((np.diff(held.user, prepend=-1) != 0) | (np.diff(value[rows], prepend=-1) != 0))
    real = np.r_[NOWHERE, held.user[first_rows(own)]]  # real user behind each (user, value)
    walk = walk_funnel(replace(held, user=own), n_steps, **rule)
    user, depth = real[walk.user], (walk.rows >= 0).sum(axis=1)
    best = np.lexsort((walk.journeys.time[walk.rows.max(axis=1)], -depth, user))
    best = best[first_rows(user[best])]
    excluded = np.setdiff1d(real[walk.excluded], user)
    return FunnelWalk(
        replace(walk.journeys, user=real[walk.journeys.user]), walk.rows[best], excluded
    )


def _first_entries(
    j: Journeys, n_steps: int, order: Order = "ordered"
) -> tuple[np.ndarray, np.ndarray]:
    """Masks in which nothing stands before the moment of a user's first entry and, ordered, no later step 1 is a start; microseconds since that moment."""
    entry = np.flatnonzero(
        j.mask & j.mask.dtype.type((1 << n_steps) - 1 if order == "unordered" else 1)
    )
    entry = np.r_[entry[first_rows(j.user[entry])], len(j)]
    row = entry[np.searchsorted(j.user[entry[:-1]], j.user)]  # the user's entry, or a later user's
    since = np.where(np.r_[j.user, NOWHERE][row] == j.user, j.time - np.r_[j.time, 0][row], NOWHERE)
    mask = np.where(since >= 0, j.mask, 0).astype(j.mask.dtype)
    return mask if order == "unordered" else np.where(
        since > 0, mask & ~mask.dtype.type(1), mask
    ), since


def _lowest_bit(mask: np.ndarray) -> np.ndarray:
    return mask & (~mask + mask.dtype.type(1))


def _tied(j: Journeys) -> np.ndarray:
    """Rows of the same user and moment as the row before (len - 1)."""
    return (j.user[1:] == j.user[:-1]) & (j.time[1:] == j.time[:-1])


def _in_step_order(j: Journeys, tied: np.ndarray) -> Journeys:
    """Rows of one user and moment (`_tied`), re-ordered by the first step they match (the log's own order means nothing there)."""
    order, moved = (
        np.arange(len(j)),
        np.flatnonzero(np.r_[tied, False] | np.r_[False, tied]),
    )  # every other row stays in its place
    low = _lowest_bit(j.mask[moved])
    order[moved] = moved[np.lexsort((low, j.time[moved], j.user[moved]))]
    return j.take(order)


def _awkward_rows(j: Journeys) -> np.ndarray:
    """Some row of every user for whom some moment holds different events and some event matches several steps: sorting alone does not settle who fills what."""
    tied = np.flatnonzero(_tied(j) & (j.mask[1:] != j.mask[:-1]))
    several = np.flatnonzero(j.mask != _lowest_bit(j.mask))
    return several[np.isin(j.user[several], j.user[tied])]


def _walk_starts(j: Journeys, n_steps: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (users, steps) of the users' first and deepest ordered attempts: from every step 1 the first later row of the next step while the window lasts.

    A moment is one start, however many step 1 it holds. Of equally deep attempts the one that is there first counts, from its latest start.
    """
    begun = np.flatnonzero(j.has(0))
    begun = begun[
        np.r_[True, (np.diff(j.user[begun]) != 0) | (np.diff(j.time[begun]) != 0)][: len(begun)]
    ]
    user, end = j.user[begun], j.time[begun] + window
    out = np.full((n_steps, len(begun)), NOWHERE)  # a step's rows side by side
    out[0], who, rank = begun, np.arange(len(begun)), begun.copy()
    for k in range(1, n_steps):
        rows = np.flatnonzero(j.has(k))
        at = np.searchsorted(rows, out[k - 1, who], side="right")
        here = np.r_[rows, 0][at]
        good = np.flatnonzero(
            (at < len(rows)) & (j.user[here] == user[who]) & (j.time[here] <= end[who])
        )
        who, here = who[good], here[good]
        out[k, who] = here
        rank[who] = here - k * len(
            j
        )  # lower for deeper attempts, and of equally deep ones for those that are there earlier
    each = first_rows(user)
    if len(each) == len(begun):
        return out.T, out.T
    best = np.flatnonzero(
        rank == np.repeat(np.minimum.reduceat(rank, each), np.diff(np.r_[each, len(begun)]))
    )
    return out.take(each, axis=1).T, out.take(best[np.r_[np.diff(user[best]) != 0, True]], axis=1).T


def _unfold_ties(j: Journeys, n_steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, mask, tied) in the order in which the state machine reads them.

    A moment with different events is read as one line per event and step, its exclusions ignored; `tied` marks those lines. If one of them matches
    several steps, the same lines come before in falling step order: what continues an earlier moment must not be lost to an attempt begun in this one.
    """
    tied = _tied(j)
    group = np.cumsum(np.r_[0, ~tied]) if len(j) else np.empty(0, np.int64)
    mixed = np.isin(group, group[1:][tied & (j.mask[1:] != j.mask[:-1])])
    steps = j.mask & np.uint64((1 << n_steps) - 1)
    knotted = mixed & np.isin(group, group[mixed & (steps != _lowest_bit(steps))])
    rows, masks, turns = (
        [np.flatnonzero(~mixed)],
        [j.mask[~mixed]],
        [np.zeros(len(j) - mixed.sum(), np.int64)],
    )
    for which, sign in ((knotted, -1), (mixed, 1)):
        for s in range(n_steps):
            rows.append(np.flatnonzero(which & j.has(s)))
            masks.append(np.full(len(rows[-1]), 1 << s, np.uint64))
            turns.append(np.full(len(rows[-1]), sign * (s + 1)))
    row, mask = np.concatenate(rows), np.concatenate(masks)
    # of several events for one step the one with the fewest later uses goes first, so that the log's own order never decides
    order = np.lexsort((row, steps[row], np.concatenate(turns), group[row]))
    return row[order], mask[order], mixed[row[order]]


def _walk_in_lockstep(
    j: Journeys,
    n_steps: int,
    window: int,
    strict: bool = False,
    exclude: Sequence[tuple[int, int]] = (),
    optional: Sequence[int] = (),
) -> FunnelWalk:
    """The full rule as a state machine; all users advance together, one event at a time (as many passes as the busiest user has events)."""
    row, mask, tied = _unfold_ties(j, n_steps)
    bars = np.zeros(
        n_steps + 2, np.uint64
    )  # bars[s]: the exclusions that spoil a chain waiting for step s
    for bit, (after, before) in enumerate(exclude, start=n_steps):
        bars[after + 1 : before + 1] |= np.uint64(1 << bit)
    begin = first_rows(j.user[row])
    length = np.diff(np.r_[begin, len(row)])
    n = len(begin)
    chain = np.full(
        (n, n_steps + 1, n_steps), NOWHERE
    )  # rows of the chain that last reached each step, 0 = not yet begun
    start, spoilt = np.full((n, n_steps + 1), NEVER), np.zeros((n, n_steps + 1), bool)
    best, best_chain = np.zeros(n, np.int64), np.full((n, n_steps), NOWHERE)
    best_start, best_spoilt = np.full(n, NEVER), np.zeros(n, bool)
    active = np.argsort(-length, kind="stable")
    for i in range(int(length.max(initial=0))):
        active = active[: np.searchsorted(-length[active], -i)]
        active = active[start[active, n_steps] == NEVER]  # a clean finish is final
        at = begin[active] + i
        now, bits = j.time[row[at]], mask[at]
        start[active, 0] = now
        for s in range(n_steps, 0, -1):
            hit, bar = bits >> np.uint64(s - 1) & np.uint64(1) == 1, bits & bars[s] != 0
            sel = np.flatnonzero(hit | bar)
            u, prev = active[sel], np.full(len(sel), s - 1)
            earliest = now[sel] - window
            for p in range(s - 1, 0, -1):  # an optional step that was not reached is looked through
                if p not in optional:
                    break
                prev[(prev == p) & (start[u, p] < earliest)] -= 1
            begun = start[u, prev]
            live = (begun >= earliest) & (start[u, s] != begun)
            x = live & bar[sel] & ~spoilt[u, prev]
            spoilt[u[x], prev[x]] = True
            best_spoilt[u[x]] |= (best[u[x]] == prev[x]) & (best_start[u[x]] >= earliest[x])
            r = row[at[sel]]
            used = tied[at[sel]] & (chain[u, prev] == r[:, None]).any(axis=1)
            live &= hit[sel] & ~used
            u, prev, r, begun = u[live], prev[live], r[live], begun[live]
            new, clean = chain[u, prev], ~spoilt[u, prev]
            new[:, s - 1] = r
            deeper = (s > best[u]) | ((s == best[u]) & best_spoilt[u])
            best[u[deeper]], best_chain[u[deeper]] = s, new[deeper]
            best_start[u[deeper]], best_spoilt[u[deeper]] = begun[deeper], ~clean[deeper]
            start[u[clean], s], chain[u[clean], s], spoilt[u[clean], s] = (
                begun[clean],
                new[clean],
                False,
            )
        if strict:  # whatever this event does not continue is broken off
            for s in range(1, n_steps + 1):
                lost = active[~tied[at] & (bits >> np.uint64(s - 1) & np.uint64(1) == 0)]
                start[lost, s], spoilt[lost, s] = NEVER, False
    user = j.user[row[begin]]
    entered = best > 0
    return FunnelWalk(j, best_chain[entered & ~best_spoilt], user[entered & best_spoilt])


def _bisect(values: np.ndarray, low: np.ndarray, high: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Per element: the first index in [low, high) whose (there ascending) value is >= x, or high."""
    low, high = low.copy(), high.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        below = open_ & (np.r_[values, 0][middle] < x)
        low[below], high[open_ & ~below] = middle[below] + 1, middle[open_ & ~below]
    return low


def _walk_unordered(j: Journeys, n_steps: int, window: int, exclude: bool) -> FunnelWalk:
    """Most distinct steps within one window; columns of the result are the events in order of time. Steps must be disjoint or equal.

    An exclusion spoils an attempt between its first event and its completion (or, incomplete, the end of its window).
    """
    all_steps = np.uint64((1 << n_steps) - 1)
    at = np.flatnonzero(j.mask & all_steps)
    user_start = np.searchsorted(j.user, j.user[at])
    kinds: dict[bytes, list[int]] = {}
    for s in range(n_steps):
        kinds.setdefault(j.has(s).tobytes(), []).append(s)
    found = np.full((len(at), n_steps), NOWHERE)
    for same in kinds.values():
        rows = np.flatnonzero(j.has(same[0]))
        times, high = j.time[rows], np.searchsorted(rows, at, side="right")
        low = _bisect(times, np.searchsorted(rows, user_start), high, j.time[at] - window)
        for copy, s in enumerate(same):
            found[:, s] = np.where(
                low + copy < high, np.r_[rows, NOWHERE][np.minimum(low + copy, len(rows))], NOWHERE
            )
    depth = (found >= 0).sum(axis=1)
    first = first_rows(j.user[at])
    deepest = (
        np.repeat(np.maximum.reduceat(depth, first), np.diff(np.r_[first, len(at)]))
        if len(at)
        else depth
    )
    clean = depth == deepest
    if exclude:
        begun = j.time[np.where(found >= 0, found, len(j)).min(axis=1)]
        ends = np.where(depth == n_steps, j.time[at], begun + window + 1)
        bars = np.flatnonzero(j.mask & ~all_steps)
        low, high = (
            np.searchsorted(bars, user_start),
            np.searchsorted(bars, np.searchsorted(j.user, j.user[at], side="right")),
        )
        barred = _bisect(j.time[bars], low, high, ends) > _bisect(
            j.time[bars], low, high, begun + 1
        )
        clean &= ~barred
    kept = np.flatnonzero(clean)
    kept = kept[first_rows(j.user[at[kept]])]
    rows = np.sort(np.where(found[kept] >= 0, found[kept], len(j)), axis=1)
    return FunnelWalk(
        j, np.where(rows < len(j), rows, NOWHERE), np.setdiff1d(j.user[at], j.user[at[kept]])
    )
