"""What `diagnose_funnel` counts of every user: how far, how long, and who counts otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from mctlib.eventlog.journeys import NEVER, Journeys, first_rows, lines_of, tally
from mctlib.eventlog.steps import Order, Step, may_meet
from mctlib.eventlog.walk import FunnelWalk, walk_attempts, walk_funnel
from mctlib.phrases import DAY_US

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Segments: TypeAlias = tuple[Ints, NDArray[Any]]  # a code for each user, and the codes' labels
NOT_YET = np.iinfo(np.int64).max  # "at no time that we know of"
WAITING, REACHED, LEFT = range(3)  # how a wait ended: not in the time seen, in the step, by exit
MOST_SETS = 1000  # of steps that may share events; ten that all do are more than anyone asks for


@dataclass(frozen=True)
class Rule:
    """A funnel as the kernel reads it; matchers by bit: the steps, the exclusions, the exit."""

    n_steps: int
    window: int  # microseconds
    order: Order
    exclude: tuple[tuple[int, int], ...]
    optional: tuple[int, ...]
    hold: tuple[str, ...]
    competing: bool
    shared: tuple[int, ...]  # see `shared_steps`
    unit: int  # resolution of durations, microseconds
    by: tuple[str, ...]
    accounts: tuple[str, ...]

    @property
    def of_walk(self) -> dict[str, Any]:
        """The arguments of `walk_attempts`."""
        names = ("window", "order", "exclude", "optional", "hold")
        return {name: getattr(self, name) for name in names}

    @property
    def previous(self) -> Ints:
        """For each step, from 0, the last one before it that is not optional (0 for the first)."""
        last, found = 0, np.zeros(self.n_steps, np.int64)
        for k in range(1, self.n_steps):
            found[k] = last
            if k + 1 not in self.optional:
                last = k
        return found

    def ticks(self, span: Any) -> Any:
        """A duration in units, to the nearest."""
        return (span + self.unit // 2) // self.unit

    def days(self, ticks: Any) -> Any:
        """Days in a number of units."""
        return ticks * self.unit / DAY_US


def shared_steps(steps: Sequence[Step]) -> tuple[int, ...]:
    """Sets of steps, as bits, that must find as many events between them as they are.

    These are equal steps, and such as hang together by events that could be both.
    """
    kinds: dict[int, int] = {}  # the first of equal steps -> the bits of all of them
    for k, step in enumerate(steps):
        first = next(i for i, other in enumerate(steps) if other == step)
        kinds[first] = kinds.get(first, 0) | 1 << k
    found: set[frozenset[int]] = set()
    new = {frozenset([kind]) for kind in kinds}
    while new and len(found) < MOST_SETS:  # every set grows by each kind that meets one of its own
        found |= new
        new = {
            some | {kind}
            for some in new
            for kind in kinds
            if any(may_meet(steps[kind], steps[other]) for other in some)
        } - found
    bits = (sum(kinds[kind] for kind in some) for some in found)
    return tuple(sorted(b for b in bits if b.bit_count() > 1))


def count_funnel(j: Journeys, rule: Rule) -> dict[str, pd.DataFrame]:
    """Count users (n_users) of whole journeys; the tables add up over users.

    * reached: segment, step - deepest attempts that got there;
    * ever: segment, step - of those with step 1, who did this step and all before it at any time;
    * followed: segment, closed, ticks - first entries by how long they were seen;
    * since_entry, since_step: segment, step, outcome, closed, ticks - how each wait for a step
      ended, and how long it was since entry, and since the previous step that is not optional;
    * accounts: segment, step, closed, account - first entries that got there, where users sit in
      accounts; those whose window is open at step 1 only;
    * checks: check, number - users of whom a row of `Funnel.checks` speaks.
    """
    first, deepest = walk_attempts(j, rule.n_steps, **rule.of_walk)
    where = first.journeys.segments(first.entry, rule.by)
    deepest_where = where
    if deepest is not first:
        deepest_where = deepest.journeys.segments(deepest.entry, rule.by)
    reached = np.where(first.rows >= 0, first.journeys.time[first.rows], NEVER)
    leaves = np.full(len(reached), NOT_YET)
    if rule.competing:
        leaves = _exits(j, rule.n_steps + len(rule.exclude), first.user, reached[:, 0])
    closed = reached[:, 0] + rule.window <= j.as_of
    outcome, since_entry, since_step = _follow(
        np.ascontiguousarray(reached), leaves, rule.previous, rule.window, j.as_of
    )
    tables = {
        "reached": _by_step(deepest_where, (deepest.rows >= 0).T),
        "followed": _followed(where, j.as_of - reached[:, 0], closed, rule),
        "since_entry": _waits(where, outcome, closed, since_entry, rule),
        "since_step": _waits(where, outcome, closed, since_step, rule),
        "accounts": _accounts(first, where, outcome == REACHED, closed, rule),
    }
    checks = _attempt_checks(j, first, deepest, rule)
    if rule.order == "unordered":
        tables["ever"] = tables["reached"]
    else:
        tied = _tied(np.where(outcome.T == REACHED, reached, NEVER))
        did, beyond, n_events = _deeds(j, rule, deepest.user)
        tables["ever"] = _by_step(deepest_where, _ever(did, n_events, rule))
        checks += [("tied", 0, tied), *_skipped(did, beyond, rule)]
    tables["checks"] = pd.DataFrame(checks, columns=["check", "number", "n_users"])
    return tables


def _exits(j: Journeys, bit: int, user: Ints, start: Ints) -> Ints:
    """Moment of each user's first row of the exit at or after the start, else NOT_YET."""
    rows = np.flatnonzero(j.has(bit))
    line = lines_of(j.user[rows], user)
    entered = line >= 0
    rows, line = rows[entered], line[entered]
    after = j.time[rows] >= start[line]
    found = np.full(len(user), NOT_YET)
    np.minimum.at(found, line[after], j.time[rows[after]])
    return found


@njit(
    "Tuple((int64[:,::1], int64[:,::1], int64[:,::1]))"
    "(int64[:,::1], int64[::1], int64[::1], int64, int64)",
    cache=True,
    nogil=True,
)
def _follow(
    reached: Ints, leaves: Ints, previous: Ints, window: int, as_of: int
) -> tuple[Ints, Ints, Ints]:
    """How each user's wait for each step ended, and how long it was (steps, users).

    A wait ends in the step, by the exit, with the window, or where the data end; a step at the very
    moment of the exit comes first. The wait since the previous step is NEVER where that was not
    reached.
    """
    n_users, n_steps = reached.shape
    outcome = np.full((n_steps, n_users), REACHED)
    since_entry = np.zeros((n_steps, n_users), np.int64)
    since_step = np.zeros((n_steps, n_users), np.int64)
    for u in range(n_users):
        start = reached[u, 0]
        end = start + window
        left = leaves[u] <= end
        seen = leaves[u] if left else min(end, as_of)
        for k in range(1, n_steps):
            until = reached[u, k]
            if until == NEVER or until > leaves[u]:
                until = seen
                outcome[k, u] = LEFT if left else WAITING
            since_entry[k, u] = until - start
            if outcome[previous[k], u] == REACHED:
                since_step[k, u] = until - reached[u, previous[k]]
            else:
                since_step[k, u] = NEVER
    return outcome, since_entry, since_step


def _by_step(where: Segments, fits: Bools) -> pd.DataFrame:
    """How many users of each segment fit at each step; ``fits`` is (steps, users)."""
    code, labels = where
    tables = []
    for k, fit in enumerate(fits):
        found = tally(segment=code[fit])
        tables.append(_labelled(found, labels, step=k + 1))
    return pd.concat(tables, ignore_index=True)


def _followed(where: Segments, seen: Ints, closed: Bools, rule: Rule) -> pd.DataFrame:
    """First entries by the time they were seen, at most the window; open ones not rounded up."""
    code, labels = where
    ticks = np.where(closed, rule.ticks(rule.window), seen // rule.unit)
    return _labelled(tally(segment=code, closed=closed, ticks=ticks), labels)


def _waits(where: Segments, outcome: Ints, closed: Bools, since: Ints, rule: Rule) -> pd.DataFrame:
    """Waits (steps, users) by how they ended and how long they were; NEVER is no wait."""
    code, labels = where
    tables = []
    for k in range(1, rule.n_steps):
        some = since[k] != NEVER
        of = slice(None) if some.all() else some
        found = tally(
            segment=code[of],
            outcome=outcome[k][of],
            closed=closed[of],
            ticks=rule.ticks(since[k][of]),
        )
        tables.append(_labelled(found, labels, step=k + 1))
    return pd.concat(tables, ignore_index=True)


def _accounts(
    first: FunnelWalk, where: Segments, reached: Bools, closed: Bools, rule: Rule
) -> pd.DataFrame:
    columns = ["segment", "step", "closed", "account", "n_users"]
    if not rule.accounts:
        return pd.DataFrame(
            {name: pd.Series(dtype=object) for name in columns[:-1]} | {"n_users": 0}
        )
    code, labels = where
    name = rule.accounts[0]
    account = first.journeys.dims[name][first.entry]
    names = np.asarray(first.journeys.levels[name], object)
    tables = []
    for k in range(rule.n_steps):
        some = reached[k] & (closed | (k == 0))
        found = tally(segment=code[some], closed=closed[some], account=account[some])
        found["account"] = names[found["account"]]
        tables.append(_labelled(found, labels, step=k + 1))
    return pd.concat(tables, ignore_index=True)[columns]


def _labelled(found: dict[str, Ints], labels: NDArray[Any], **same: int) -> pd.DataFrame:
    """A tally as a table: segments by name, and columns that are the same in every row."""
    named: dict[str, Any] = {"segment": labels[found["segment"]]} | same
    return pd.DataFrame(named | {c: v for c, v in found.items() if c != "segment"})


# ------------------------------------------------------------------- users who count otherwise


def _attempt_checks(
    j: Journeys, first: FunnelWalk, deepest: FunnelWalk, rule: Rule
) -> list[tuple[str, int, int]]:
    """Later attempts, exclusions (each, any, the first attempt only), and what is not held."""
    done = deepest.user[deepest.rows[:, -1] >= 0]
    at_once = first.user[first.rows[:, -1] >= 0]
    spoilt = np.setdiff1d(first.excluded, deepest.excluded)
    alone = _taken_out(j, deepest.excluded, rule)
    found = [("later", 0, len(np.setdiff1d(done, at_once)))]
    for i, n in enumerate([*alone, len(deepest.excluded), len(spoilt)]):
        found.append(("excluded", i, n))
    if rule.hold:
        loose = walk_funnel(j, rule.n_steps, **rule.of_walk | {"hold": ()})
        reached = loose.user[loose.rows[:, -1] >= 0]
        found.append(("hold", 0, len(np.setdiff1d(reached, done))))
    return found


def _taken_out(j: Journeys, excluded: Ints, rule: Rule) -> list[int]:
    """Of the excluded users, how many each exclusion alone takes out."""
    if not len(excluded):
        return [0] * len(rule.exclude)
    kind = j.mask.dtype.type
    part = j.take(np.isin(j.user, excluded))
    steps = part.mask & kind((1 << rule.n_steps) - 1)
    found = []
    for i, between in enumerate(rule.exclude):
        here = part.has(rule.n_steps + i).astype(part.mask.dtype)
        alone = replace(part, mask=steps | here << kind(rule.n_steps))
        walk = walk_funnel(alone, rule.n_steps, **rule.of_walk | {"exclude": [between]})
        found.append(len(walk.excluded))
    return found


def _tied(reached: Ints) -> int:
    """Users with two steps in a row at the very same time."""
    same = (reached[:, 1:] == reached[:, :-1]) & (reached[:, 1:] != NEVER)
    return int(same.any(axis=1).sum())


def _deeds(j: Journeys, rule: Rule, user: Ints) -> tuple[Ints, Ints, Ints]:
    """What the users ever did: bits of all steps, of steps beyond each, events of shared steps."""
    begin = first_rows(j.user)
    end = np.append(begin[1:], len(j))[: len(begin)]
    mine = np.searchsorted(j.user[begin], user)
    bits = j.mask.astype(np.int64) & (1 << rule.n_steps) - 1
    shared = np.array(rule.shared, np.int64)
    return _deeds_of(begin[mine], end[mine], bits, shared, rule.n_steps)


@njit(
    "Tuple((int64[::1], int64[:,::1], int64[:,::1]))"
    "(int64[::1], int64[::1], int64[::1], int64[::1], int64)",
    cache=True,
    nogil=True,
)
def _deeds_of(
    begin: Ints, end: Ints, bits: Ints, shared: Ints, n_steps: int
) -> tuple[Ints, Ints, Ints]:
    did = np.zeros(len(begin), np.int64)
    beyond = np.zeros((n_steps, len(begin)), np.int64)
    n_events = np.zeros((len(shared), len(begin)), np.int64)
    for u in range(len(begin)):
        for row in range(begin[u], end[u]):
            did[u] |= bits[row]
            for k in range(1, n_steps - 1):
                # an event of this step or an earlier one does not show that a later one was done
                if not bits[row] & (1 << k + 1) - 1:
                    beyond[k, u] |= bits[row]
            for i in range(len(shared)):
                if bits[row] & shared[i]:
                    n_events[i, u] += 1
    return did, beyond, n_events


def _ever(did: Ints, n_events: Ints, rule: Rule) -> Bools:
    """Whether (steps, users) a user ever did the step and all before it, an event for each.

    Steps that share events need as many of them as they are (Hall's theorem).
    """
    fits = np.zeros((rule.n_steps, len(did)), bool)
    for k in range(rule.n_steps):
        need = 1 << k
        for i in range(k):
            if i + 1 not in rule.optional:
                need |= 1 << i
        fits[k] = did & need == need
        for bits, n in zip(rule.shared, n_events):
            fits[k] &= n >= (bits & need).bit_count()
    return fits


def _skipped(did: Ints, beyond: Ints, rule: Rule) -> list[tuple[str, int, int]]:
    """Users who did a later step but never this one, for steps that are not optional."""
    found = []
    for k in range(1, rule.n_steps - 1):
        if k + 1 not in rule.optional:
            skipped = (beyond[k] != 0) & (did & 1 << k == 0)
            found.append(("skipped", k + 1, int(skipped.sum())))
    return found
