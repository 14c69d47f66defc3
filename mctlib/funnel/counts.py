"""What `diagnose_funnel` counts of every user: how far, how long, and who counts otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.eventlog.journeys import FOREVER, NEVER, Bools, Ints, Journeys, lines_of, number
from mctlib.eventlog.steps import Order, Step, may_meet
from mctlib.eventlog.walk import FunnelWalk, walk_attempts, walk_funnel
from mctlib.funnel.count_kernels import (
    WAYS,
    Terms,
    deeds,
    list_waits,
    moments,
    tally_passed,
    tally_steps,
    tally_waits,
)
from mctlib.phrases import DAY_US

MOST_CELLS = 2**22  # that counts of waits may hold at once
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
    unit: int  # resolution of durations, microseconds; 1 is exact
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

    @property
    def exact(self) -> bool:
        """Whether every duration is a count of its own."""
        return self.unit == 1

    def ticks(self, span: Any) -> Any:
        """A duration in units, to the nearest."""
        return (span + self.unit // 2) // self.unit

    def days(self, ticks: Any) -> Any:
        """Days in a number of units."""
        return ticks * self.unit / DAY_US


class Segments(NamedTuple):
    """A code for each user, and the codes' labels."""

    code: Ints
    labels: NDArray[Any]

    def table(self, code: Ints, columns: Mapping[str, Any], rule: Rule) -> pd.DataFrame:
        """Counts by segment; a key that is the same everywhere is left out: it adds up slowly."""
        named = {"segment": self.labels[code]} if rule.by else {}
        return pd.DataFrame(named | dict(columns))


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
    """Count users of whole journeys, in tables that add up over users.

    All but "checks" are by segment too, where there is a ``by``.

    * passed: step (and account, where users sit in some) -> n_reached, deepest attempts that got
      there, n_closed and n_open, first entries that did, whose window is closed or open;
    * ever: step -> n_users, of those with step 1, who did it and all before it at any time;
    * since_entry, since_step: step, ticks -> n_reached, n_left, n_stopped, n_pending, how waits for
      a step ended and how long they were, since entry and since the step before it that is not
      optional (where that is the entry, only the one table has them);
    * checks: check, number -> n_users, of whom a row of `Funnel.checks` speaks.
    """
    first, deepest = walk_attempts(j, rule.n_steps, **rule.of_walk)
    where = Segments(*first.journeys.segments(first.entry, rule.by))
    deepest_where = where
    if deepest is not first:
        deepest_where = Segments(*deepest.journeys.segments(deepest.entry, rule.by))
    leaves = np.full(len(first.rows), FOREVER)
    if rule.competing:
        start = first.journeys.time[first.entry]
        leaves = exits(j, rule.n_steps + len(rule.exclude), first.user, start)
    reached, n_tied = moments(first.journeys.time, first.rows, leaves)
    checks = _attempt_checks(j, first, deepest, rule)
    waits = _exact_waits if rule.exact else _waits
    there = deepest.rows >= 0

    def by_depth(place: Ints, n_places: int) -> Ints:
        return tally_steps(there, place, n_places)[..., None]

    def by_window(place: Ints, n_places: int) -> Ints:
        return tally_passed(reached, place, n_places, j.as_of - rule.window)

    passed = [
        _passed(deepest, deepest_where, rule, ("n_reached",), by_depth),
        _passed(first, where, rule, ("n_closed", "n_open"), by_window),
    ]
    tables = {
        "passed": pd.concat(passed),
        **waits(reached, leaves, where, Terms(rule.window, j.as_of, rule.unit), rule),
    }
    ever = there
    if rule.order != "unordered":
        did, furthest, n_events = _deeds(j, deepest, rule)
        ever = _ever(did, n_events, rule)
        checks += [("tied", 0, n_tied), *_skipped(did, furthest, rule)]
    tables["ever"] = _by_step(ever, deepest_where, rule)
    tables["checks"] = pd.DataFrame(checks, columns=["check", "number", "n_users"])
    return tables


def exits(j: Journeys, bit: int, user: Ints, start: Ints) -> Ints:
    """Moment of each user's first row of the exit at or after the start, else FOREVER."""
    rows = np.flatnonzero(j.has(bit))
    line = lines_of(j.user[rows], user)
    entered = line >= 0
    rows, line = rows[entered], line[entered]
    after = j.time[rows] >= start[line]
    found = np.full(len(user), FOREVER)
    np.minimum.at(found, line[after], j.time[rows[after]])
    return found


def _by_step(fits: Bools, where: Segments, rule: Rule) -> pd.DataFrame:
    """How many users fit at each step; ``fits`` is (users, steps)."""
    n_users = tally_steps(fits, where.code, len(where.labels))
    segment, step = np.indices(n_users.shape).reshape(2, -1)
    return where.table(segment, {"step": step + 1, "n_users": n_users.ravel()}, rule)


def _passed(
    walk: FunnelWalk,
    where: Segments,
    rule: Rule,
    names: Sequence[str],
    tally: Callable[[Ints, int], Ints],
) -> pd.DataFrame:
    """Attempts that got to each step, by account where users sit in some.

    ``tally``: each user's place, and how many there are -> counts (places, steps, names).
    """
    place, segment = where.code, np.arange(len(where.labels))
    known: dict[str, NDArray[Any]] = {}
    if rule.accounts:
        name = rule.accounts[0]
        account = walk.journeys.dims[name][walk.entry]
        place, pairs = number(segment=where.code, account=account)
        segment = pairs["segment"]
        known["account"] = np.asarray(walk.journeys.levels[name], object)[pairs["account"]]
    n_users = tally(place, len(segment))
    place, step = np.nonzero(n_users.any(axis=2))
    columns = {name: labels[place] for name, labels in known.items()} | {"step": step + 1}
    columns |= dict.fromkeys(("n_reached", "n_closed", "n_open"), np.zeros(len(step), np.int64))
    columns |= dict(zip(names, n_users[place, step].T))
    return where.table(segment[place], columns, rule)


def _exact_waits(
    reached: Ints, leaves: Ints, where: Segments, terms: Terms, rule: Rule
) -> dict[str, pd.DataFrame]:
    """The tables since_entry and since_step, a row a wait: no two are alike in microseconds."""
    tables = {}
    ended, since_entry, since_step = list_waits(reached, leaves, rule.previous, terms)
    for name, since in (("since_entry", since_entry), ("since_step", since_step)):
        step, user = np.nonzero(since != NEVER)
        columns = {"step": step + 1, "ticks": since[step, user]}
        for way, n in enumerate(WAYS):
            columns[n] = (ended[step, user] == way).astype(np.int64)
        tables[name] = where.table(where.code[user], columns, rule)
    return tables


def _waits(
    reached: Ints, leaves: Ints, where: Segments, terms: Terms, rule: Rule
) -> dict[str, pd.DataFrame]:
    """The tables since_entry and since_step, counted for some segments at a time."""
    n_segments = max(len(where.labels), 1)
    at_once = max(MOST_CELLS // (len(WAYS) * rule.n_steps * (rule.ticks(rule.window) + 1)), 1)
    found: list[dict[str, pd.DataFrame]] = []
    for low in range(0, n_segments, at_once):
        n_here = min(at_once, n_segments - low)
        users = (reached, leaves, where.code)
        if n_here < n_segments:
            mine = np.flatnonzero((where.code >= low) & (where.code < low + n_here))
            users = (reached[mine], leaves[mine], where.code[mine] - low)
        waits = tally_waits(*users, n_here, rule.previous, terms)
        tables = {}
        for name, n_users in zip(("since_entry", "since_step"), waits):
            segment, step, ticks = np.nonzero(n_users.any(axis=3))
            columns = {"step": step + 1, "ticks": ticks}
            columns |= dict(zip(WAYS, n_users[segment, step, ticks].T))
            tables[name] = where.table(segment + low, columns, rule)
        found.append(tables)
    return {name: pd.concat(part[name] for part in found) for name in found[0]}


# ------------------------------------------------------------------- users who count otherwise


def _attempt_checks(
    j: Journeys, first: FunnelWalk, deepest: FunnelWalk, rule: Rule
) -> list[tuple[str, int, int]]:
    """Later attempts, exclusions (each, any, who is counted all the same), and what is not held."""
    n_later = int(deepest.finished.sum() - first.finished.sum())
    spoilt = np.setdiff1d(first.excluded, deepest.excluded)
    if rule.order == "unordered" and rule.exclude:
        loose = walk_funnel(j, rule.n_steps, **rule.of_walk | {"exclude": ()})
        as_deep = loose.rows[lines_of(deepest.user, loose.user)]
        spoilt = deepest.user[((as_deep >= 0) & (deepest.rows < 0)).any(axis=1)]
    alone = _taken_out(j, deepest.excluded, rule)
    found = [("later", 0, n_later)]
    for i, n in enumerate([*alone, len(deepest.excluded), len(spoilt)]):
        found.append(("excluded", i, n))
    if rule.hold:
        loose = walk_funnel(j, rule.n_steps, **rule.of_walk | {"hold": ()})
        done = loose.user[loose.finished]
        found.append(("hold", 0, len(np.setdiff1d(done, deepest.user[deepest.finished]))))
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


def _deeds(j: Journeys, walk: FunnelWalk, rule: Rule) -> tuple[NDArray[Any], NDArray[Any], Ints]:
    """What users ever did (`count_kernels.deeds`), as the walk saw it or by a look of its own."""
    if walk.did is None or rule.shared:
        shared = np.array(rule.shared, np.int64)
        return deeds(j.user, walk.user, j.mask, shared, rule.n_steps)
    return walk.did, walk.did, np.empty((len(walk.rows), 0), np.int64)


def _ever(did: NDArray[Any], n_events: Ints, rule: Rule) -> Bools:
    """Whether (users, steps) a user ever did the step and all before it, an event for each.

    Steps that share events need as many of them as they are (Hall's theorem).
    """
    fits = np.zeros((len(did), rule.n_steps), bool)
    for k in range(rule.n_steps):
        need = 1 << k
        for i in range(k):
            if i + 1 not in rule.optional:
                need |= 1 << i
        fits[:, k] = did & need == need
        for bits, n in zip(rule.shared, n_events.T):
            fits[:, k] &= n >= (bits & need).bit_count()
    return fits


def _skipped(did: NDArray[Any], furthest: NDArray[Any], rule: Rule) -> list[tuple[str, int, int]]:
    """Users who did a later step but never this one, for steps that are not optional.

    An event that is also this step or an earlier one does not show that a later one was done.
    """
    found = []
    for k in range(1, rule.n_steps - 1):
        if k + 1 not in rule.optional:
            skipped = (furthest >> k + 1 > 0) & (did >> k & 1 == 0)
            found.append(("skipped", k + 1, int(skipped.sum())))
    return found
