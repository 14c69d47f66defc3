"""Where do users stop, for whom, and when it moved: was it behaviour, mix, or lost tracking?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, get_args

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import MISSING, ParameterError, as_columns, as_timestamp, as_window, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import ANY, Exclusion, Order, Step, as_exclusion, as_step, may_meet
from mctlib.eventlog.walk import walk_attempts, walk_funnel

UNITS = np.array(
    [1, 5, 15, 60, 300, 900, 3600]
)  # seconds; the resolutions of durations, none as coarse as the tenths of days that are printed
SMALL_SEGMENT = 30  # entrants below which a segment's rates are not worth comparing
SKIPPED_SHARE = 0.01  # of the entrants: from here on a step that users pass without ever doing it is worth a caveat
DAY_US = 86_400_000_000
MIN_FOLLOWED = (
    10  # a share is read no later than the time to which this many entrants were followed
)
CURVE_POINTS = 60  # the printed curves are read at so many even times and at so many even shares
KINDS = (
    "attempt",
    "any",
    "entry",
    "gap",
    "account",
    "later",
    "excluded",
    "hold",
    "tied",
    "skipped",
)  # of counts, see `_count`
BINS, STEPS = (
    1 << 50,
    66,
)  # room for a duration and for a step in a cell's number (`reduce` takes 64 matchers)
QUANTILES = {"p25_days": 0.25, "median_days": 0.5, "p75_days": 0.75, "p90_days": 0.9}
WAITING, REACHED, LEFT = range(
    3
)  # how a wait for a step ended: not within the time seen, in the step, by the competing exit


@dataclass(frozen=True)
class Funnel:
    """What `diagnose_funnel` found; the columns of the tables are described there."""

    steps: pd.DataFrame
    times: pd.DataFrame
    checks: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def diagnose_funnel(
    log: EventLog,
    steps: Sequence[Any],
    *,
    window: str,
    as_of: Any,
    by: str | Sequence[str] | None = None,
    order: Order = "ordered",
    exclude: Sequence[Exclusion] = (),
    optional: Sequence[int] = (),
    hold: Sequence[str] = (),
    competing: str | Sequence[str] | Step | None = None,
) -> Funnel:
    """How many users reach each step of a funnel, how fast, and where they stop.

    ``steps``: names, lists of names (any of them) or Steps. ``window``: from step 1, its end included. ``as_of``: last observed day; later rows
    are not read. ``by``: columns that split the users, read at the entry of the attempt. ``order``, ``exclude``, ``optional`` (step numbers from 1)
    and ``hold`` (columns or properties that must stay equal along an attempt): see `journeys.walk_funnel`. With ``order="unordered"`` step k means
    any k of the steps, and an exclusion holds from the first of them to the last. ``competing``: an event by which users leave, say that they close their
    account; at or after the first entry it ends the wait (a step at the very same time comes first).

    ``.steps`` has one row a segment ("all" first, then the largest) and step:
    segment, step (from 1), event · n_entered: users whose first entry lies in the segment, of whom conversion_rate is a share · n_reached: users whose deepest attempt reached the step, any attempt, left or not · n_any_order: those of step 1
    who did this step and all before it (optional ones aside) at any time, in whatever order and however far apart, an event for each · n_pending: users not (yet) at the step whose first entry's window is still open at ``as_of`` · n_competing: users who left before the step, within
    the window of their first entry · naive_rate:
    n_reached over those of step 1, + ci · conversion_rate: share who reach the step within the window of their FIRST entry, before they leave; pending users counted for as
    long as they were seen (Kaplan-Meier, Aalen-Johansen where exits compete, read at the window; NaN while no window has closed) · design_effect, n_accounts: see
    below · horizon_days: the longest time, at most the window, to which at least 10 of the segment's entrants were followed · horizon_rate: the same share within
    horizon_days, which is what can be said already of a cohort whose window is open, and conversion_rate when it has closed · step_rate: of the users
    with a closed window who reached the previous step that is not optional, the share who reached this one · p25_days, median_days, p75_days, p90_days: time
    from that previous step, by the same curves with those who did not go on counted for as long as they waited within the window; NaN where the curve does not rise so
    high. Whoever came late to that step waits for a short time only, so a share may be given that is larger than step_rate.

    ``.times``: that time for all users: segment, step, event, days, reached_rate + ci, n_at_risk (users who wait for at least so long); at most 2 x 61 rows a step, where
    at least 10 users are at risk. ``.checks``: check, step, event, n_users: users whom the counts above leave out or would count otherwise, a row a reason.

    Intervals are Wilson's on the effective sample size p(1 - p) / Var, which is the plain one when nobody is pending. Where users sit in accounts (`log.accounts`), those of
    one account are alike and count for less: the design effect, measured on first entries whose window has closed (`stats.cluster_rate`; a user without an account
    is one of its own), multiplies the variance, and the interval is `stats.cluster_interval`'s. With open windows there are more users an account than it was measured on, and it
    is taken as 1 + (m - 1) r for all m users an account (weighted by users) and the correlation r within accounts; where r cannot be measured (a share of 0 or 1, fewer
    than 10 accounts with closed windows) that of all users at that step stands in, else of the step before, else 1. n_accounts: accounts the segment's first entries sit in.
    There is no interval where these users make fewer than 10 clusters (`stats.count_clusters`; without users that have no account, these are the accounts).

    A user whose deepest attempt an exclusion takes out is in no count. Whose first attempt it takes out, but not the deepest, is in n_reached, n_any_order and naive_rate alone.

    Durations are exact in logs of up to 200,000 events. In larger ones they are counted to the nearest second, minute, 5 or 15 minutes, ...: the largest such unit not above
    a 2,000th of the window (14 days: 5 minutes), so that counts of any number of users stay small and add up. Raises ParameterError: see the messages.
    """
    matchers = log.steps(steps, any_order=order == "unordered")
    exclude, optional = (
        [as_exclusion(e) for e in _list("exclude", exclude, "exclusions")],
        _list("optional", optional, "step numbers"),
    )
    by, hold = as_columns(by), as_columns(hold, ids=True)
    leave = None if competing is None else as_step(competing, "competing")
    as_timestamp(as_of)  # a log would read None as its last event
    _check(matchers, order, exclude, optional, leave)
    n_steps, window_us, end = len(matchers), as_window(window), log.as_of(as_of)
    unit = 1 if log.small and window_us < BINS else _unit(window_us)
    rule = {
        "window": window_us,
        "order": order,
        "exclude": [(e.after, e.before) for e in exclude],
        "optional": tuple(optional),
        "hold": hold,
    }
    events = [
        *matchers,
        *(e.step for e in exclude),
        *([leave] if leave else []),
        *([Step(ANY)] if order == "strict" else []),
    ]
    kernel = partial(
        _count,
        n_steps=n_steps,
        unit=unit,
        by=by,
        accounts=log.accounts,
        competing=leave is not None,
        shared=_shared(matchers),
        rule=rule,
    )
    counts = log.reduce(
        kernel, events=events, by=list(dict.fromkeys([*by, *hold, *log.accounts])), as_of=as_of
    )
    everyone = _Cells.of(counts)
    if not everyone.users("attempt", 1).sum() + everyone.users("excluded", len(exclude)).sum():
        if order != "unordered":
            _check_filter(log, matchers[0])
            raise ParameterError(
                f"steps: nobody did step 1 ({matchers[0].label}) up to {phrases.day(end)}."
            )
        raise ParameterError(
            f"steps: nobody did any of them up to {phrases.day(end)}."
            + "".join(f" The {s}" for s in log.missing_events(matchers))
        )
    labels = (
        [f"any {k} of {n_steps}" for k in range(1, n_steps + 1)]
        if order == "unordered"
        else [m.label for m in matchers]
    )
    asked = {
        "labels": labels,
        "previous": _previous(n_steps, optional),
        "unit": unit,
        "window": window_us,
    }
    total, curves = _table(everyone, "all", **asked)
    parts = {s: _Cells.of(part) for s, part in counts.groupby("segment", sort=True)} if by else {}
    icc = [_icc(effect, everyone.alike(closed=True)[0]) for effect in total["design_effect"]]
    names = sorted(
        (s for s in parts if len(parts[s].users("attempt", 1)) or len(parts[s].users("entry", 1))),
        key=lambda s: -parts[s].users("attempt", 1).sum(),
    )
    parts = {s if s != "all" else f"all ({by[0]})": parts[s] for s in names}
    table = pd.concat(
        [total, *(_table(part, s, **asked, stand_in=icc)[0] for s, part in parts.items())],
        ignore_index=True,
    )
    table.attrs["window_days"] = window_us / DAY_US
    if order == "unordered":
        table["n_any_order"] = table["n_reached"]
    checks = _checks(everyone, total, labels, exclude, hold)
    caveats = _caveats(
        {"all": everyone} | parts,
        total,
        table,
        log.missing_events(events),
        labels,
        len(exclude),
        phrases.day(end),
    )
    return Funnel(
        table,
        curves,
        checks,
        _finding(everyone, total, table, order, window_us, unit, leave),
        tuple(caveats),
    )


def _unit(window: int) -> int:
    """Resolution of the durations, microseconds."""
    return int(UNITS[max(np.searchsorted(UNITS, window / 2e9, side="right") - 1, 0)]) * 1_000_000


def _list(name: str, given: Any, what: str) -> list[Any]:
    if isinstance(given, (str, Mapping)) or not isinstance(given, Collection):
        raise ParameterError(f"{name}: {given!r} is not a list; give a list of {what}.")
    return list(given)


def _check(
    steps: Sequence[Step],
    order: str,
    exclude: Sequence[Exclusion],
    optional: Sequence[int],
    leave: Step | None,
) -> None:
    n = len(steps)
    if order not in get_args(Order):
        raise ParameterError(
            f'order: "{order}" is not one of {", ".join(get_args(Order))}.{nearest(order, get_args(Order))}'
        )
    for e in exclude:
        if (
            not all(isinstance(k, (int, np.integer)) for k in (e.after, e.before))
            or not 1 <= e.after < e.before <= n
        ):
            raise ParameterError(
                f'exclude: "{e.step.label}" lies after step {e.after} and before step {e.before}; '
                f"with {n} steps it must hold that 1 <= after < before <= {n}."
            )
    for k in optional:
        if not isinstance(k, (int, np.integer)) or not 2 <= k <= n:
            raise ParameterError(
                f"optional: step {k} cannot be optional; step 1 never can, and there are {n} steps."
            )
    for step in steps:
        if leave and may_meet(step, leave):
            raise ParameterError(
                f'competing: one event could be both the exit "{leave.label}" and the step "{step.label}"; name an event that is no step.'
            )
    if order == "unordered":
        if optional:
            raise ParameterError('optional: steps cannot be optional when order is "unordered".')
        for a, b in combinations(steps, 2):
            if a != b and may_meet(a, b):
                raise ParameterError(
                    f'steps: one event could be both "{a.label}" and "{b.label}"; '
                    'with order "unordered" two steps must be the same or never meet.'
                )


def _check_filter(log: EventLog, step: Step) -> None:
    """Raises ParameterError when the step's event occurs, but nowhere with the properties it asks for."""
    here = [f'"{name}"' for name in step.names if name in log.event_names]
    if step.where and log.counts(events=[step]).empty:
        values = {k: v if isinstance(v, (list, tuple, set)) else [v] for k, v in step.where.items()}
        asked = " and ".join(
            f"{k} = {' or '.join('any value' if v is ANY else str(v) for v in some)}"
            for k, some in values.items()
        )
        occurs = (
            f"{' and '.join(here)} occur{'s' if len(here) == 1 else ''}"
            if here
            else "other events occur"
        )
        raise ParameterError(
            f"steps: step 1 ({step.label}) matches no event; {occurs}, but never with {asked}."
        )


def _shared(steps: Sequence[Step]) -> list[int]:
    """Sets of steps, as bits, that must find as many events between them as they are: equal steps, and such as hang together by events that could be both."""
    kinds: list[tuple[Step, int]] = []
    for k, step in enumerate(steps):
        same = next((i for i, (other, _) in enumerate(kinds) if other == step), None)
        if same is None:
            kinds.append((step, 1 << k))
        else:
            kinds[same] = (step, kinds[same][1] | 1 << k)
    sets, new = set(), [frozenset([i]) for i in range(len(kinds))]
    while (
        new and len(sets) < 1000
    ):  # every set grows by each kind that meets one of its own; ten kinds that all meet are more than anyone asks for
        sets.update(new)
        new = {
            s | {i}
            for s in new
            for i in range(len(kinds))
            if i not in s and any(may_meet(kinds[i][0], kinds[m][0]) for m in s)
        } - sets
    bits = (sum(kinds[i][1] for i in s) for s in sets)
    return sorted(b for b in bits if b.bit_count() > 1)


# ------------------------------------------------------------------------------------------------------------------------- counting


def _count(
    j: Journeys,
    *,
    n_steps: int,
    unit: int,
    by: Sequence[str],
    accounts: Sequence[str],
    competing: bool,
    shared: Sequence[int],
    rule: Mapping[str, Any],
) -> pd.DataFrame:
    """cell, segment if there is a ``by`` and account where users sit in some -> n_users, over whole users; a cell's number holds kind, step, outcome, closed, bin (`_cell`).

    kind "attempt": deepest attempts that reached the step · "any": those of step 1 who ever did this step and all before it · "entry" and "gap": first entries by time since entry
    and since the previous required step, to the step, to the exit or to the end of observation; closed = the window has passed; "entry" of step 1: by the time they were
    followed, to the window at most · "account": first entries that reached the step, by account, those with a closed window and, at step 1, the others
    too · "later", "excluded" (step: which exclusion, then any, then any but in the first attempt only), "hold", "tied", "skipped" (step): users a row of `_checks` speaks of.
    ``shared``: see `_shared`.
    """
    first, deepest = walk_attempts(j, n_steps, **rule)
    code, labels = first.journeys.segments(first.entry, by)
    deepest_code, deepest_labels = (
        (code, labels) if deepest is first else deepest.journeys.segments(deepest.entry, by)
    )
    start, there = first.journeys.time[first.entry], first.rows >= 0
    time = np.where(there, first.journeys.time[first.rows], 0)
    closed, stop, left = (
        start + rule["window"] <= j.as_of,
        np.full(len(start), j.as_of),
        np.zeros(len(start), bool),
    )
    if competing:
        exit_ = _exits(j, n_steps + len(rule["exclude"]), first.user, start)
        there &= time <= exit_[:, None]
        stop, left = np.minimum(stop, exit_), exit_ <= start + rule["window"]
    last = deepest.user[deepest.rows[:, -1] >= 0]
    notes = [("later", 0, len(np.setdiff1d(last, first.user[first.rows[:, -1] >= 0])))]
    notes += [
        ("excluded", i, n)
        for i, n in enumerate(
            [
                *_taken_out(j, n_steps, deepest.excluded, rule),
                len(np.setdiff1d(first.excluded, deepest.excluded)),
            ]
        )
    ]
    if rule["hold"]:
        loose = walk_funnel(j, n_steps, **rule | {"hold": ()})
        notes.append(("hold", 0, len(np.setdiff1d(loose.user[loose.rows[:, -1] >= 0], last))))
    some_of = lambda code, labels, mask: (
        code[mask] if len(labels) > 1 else code[: np.count_nonzero(mask)]
    )  # noqa: E731 (of one segment all codes are 0)
    open_, over, tied = np.flatnonzero(~closed), closed & ~left, np.zeros(len(start), bool)
    previous = _previous(n_steps, rule["optional"])
    cells = [
        _cells(
            "entry", 0, labels, some_of(code, labels, closed), rule["window"], unit, REACHED, True
        ),
        _cells("entry", 0, labels, code[open_], j.as_of - start[open_] - unit // 2, unit),
    ]  # not rounded up: for so long they were followed in full
    for k in range(n_steps):
        cells.append(
            _cells(
                "attempt",
                k,
                deepest_labels,
                some_of(deepest_code, deepest_labels, deepest.rows[:, k] >= 0),
            )
        )
        if k:
            tied |= there[:, k] & there[:, k - 1] & (time[:, k] == time[:, k - 1])
            lost = ~there[:, k] & over  # all at the same duration, the window
            some = np.flatnonzero(~lost)
            done = there[some, k]
            span = np.where(done, time[some, k], stop[some]) - start[some]
            cells += [
                _cells(
                    "entry",
                    k,
                    labels,
                    some_of(code, labels, lost),
                    rule["window"],
                    unit,
                    WAITING,
                    True,
                ),
                _cells(
                    "entry",
                    k,
                    labels,
                    code[some],
                    span,
                    unit,
                    np.where(done, REACHED, LEFT * left[some]),
                    closed[some],
                ),
            ]
        if k > 1:  # at step 2 the gap is the time since entry
            on = np.flatnonzero(there[:, previous[k]])
            done = there[on, k]
            span = (
                np.where(done, time[on, k], np.minimum(stop[on], start[on] + rule["window"]))
                - time[on, previous[k]]
            )
            cells.append(
                _cells(
                    "gap",
                    k,
                    labels,
                    code[on],
                    span,
                    unit,
                    np.where(done, REACHED, LEFT * left[on]),
                    closed[on],
                )
            )
    if rule["order"] != "unordered":
        notes.append(("tied", 0, np.count_nonzero(tied)))
        each = first_rows(j.user)
        did = np.bitwise_or.reduceat(j.mask, each) if len(j) else j.mask
        begun = np.flatnonzero(did & did.dtype.type(1))
        mine = (
            begun
            if len(begun) == len(deepest.rows)
            else begun[np.searchsorted(j.user[each[begun]], deepest.user)]
        )  # without the excluded
        did = did[mine]
        needs = [
            1 << k | sum(1 << i for i in range(k) if i + 1 not in rule["optional"])
            for k in range(n_steps)
        ]
        fits = [did & did.dtype.type(need) == need for need in needs]
        for bits in shared if len(j) else ():  # one event fills one step (Hall's theorem)
            n_events = np.add.reduceat(j.mask & j.mask.dtype.type(bits) > 0, each, dtype=np.int64)[
                mine
            ]
            fits = [fit & (n_events >= (bits & need).bit_count()) for fit, need in zip(fits, needs)]
        cells += [
            _cells("any", k, deepest_labels, some_of(deepest_code, deepest_labels, fit))
            for k, fit in enumerate(fits)
        ]
        for k in set(range(2, n_steps)) - set(rule["optional"]):
            beyond, own, until = (
                did.dtype.type(bits)
                for bits in ((1 << n_steps) - (1 << k), 1 << (k - 1), (1 << k) - 1)
            )
            later = (
                np.bitwise_or.reduceat(np.where(j.mask & until > 0, 0, j.mask), each)[mine]
                if shared and len(j)
                else did
            )  # an event of an earlier step too shows no later one
            notes.append(("skipped", k, np.count_nonzero((later & beyond > 0) & (did & own == 0))))
    cells += [(np.array(["all"], object), [_cell(kind, k)], [n]) for kind, k, n in notes]
    frame = pd.DataFrame(
        {c: np.concatenate(parts) for c, parts in zip(("segment", "cell", "n_users"), zip(*cells))}
    )
    split = ["segment"] if by else []  # a key that is the same everywhere is slow to add up by
    if not accounts:
        return frame[[*split, "cell", "n_users"]]
    names = np.asarray(first.journeys.levels[accounts[0]], object)
    both = (
        code * len(names) + first.journeys.dims[accounts[0]][first.entry]
    )  # segment and account as one number
    index = np.arange(len(labels) * len(names))
    own = [
        _cells("account", k, index, both[there[:, k] & closed], closed=True) for k in range(n_steps)
    ] + [_cells("account", 0, index, both[~closed])]
    at, cell, n_users = (np.concatenate(part) for part in zip(*own))
    own = pd.DataFrame(
        {
            "segment": labels[at // len(names)],
            "cell": cell,
            "account": names[at % len(names)],
            "n_users": n_users,
        }
    )
    return pd.concat([frame.assign(account=MISSING), own], ignore_index=True)[
        [*split, "cell", "account", "n_users"]
    ]


def _exits(j: Journeys, bit: int, user: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Moment of each user's first row of the exit at or after the start; never is the largest integer. ``user``: ascending."""
    rows = np.flatnonzero(j.has(bit))
    at = np.searchsorted(user, j.user[rows])
    mine = (np.r_[user, -1][at] == j.user[rows]) & (j.time[rows] >= np.r_[start, 0][at])
    out = np.full(len(user), np.iinfo(np.int64).max)
    out[at[mine][::-1]] = j.time[rows[mine]][::-1]  # the first one is written last
    return out


def _taken_out(
    j: Journeys, n_steps: int, excluded: np.ndarray, rule: Mapping[str, Any]
) -> list[int]:
    """Of the excluded users, how many each exclusion alone takes out; then all of them."""
    part, steps = j.take(np.isin(j.user, excluded)), (1 << n_steps) - 1
    out = []
    for i, between in enumerate(rule["exclude"] if len(excluded) else ()):
        alone = replace(
            part,
            mask=part.mask & part.mask.dtype.type(steps)
            | part.has(n_steps + i).astype(part.mask.dtype) << part.mask.dtype.type(n_steps),
        )
        out.append(len(walk_funnel(alone, n_steps, **rule | {"exclude": [between]}).excluded))
    return [*(out or [0] * len(rule["exclude"])), len(excluded)]


def _cell(kind: str, step: int, outcome: Any = 0, closed: Any = 0, ticks: Any = 0) -> Any:
    return (((KINDS.index(kind) * STEPS + step) * 3 + outcome) * 2 + closed) * BINS + ticks


def _previous(n_steps: int, optional: Sequence[int]) -> list[int]:
    """Index of the last step before each one that is not optional (0 for the first)."""
    return [max(i for i in range(max(k, 1)) if i + 1 not in optional) for k in range(n_steps)]


def _cells(
    kind: str,
    step: int,
    labels: np.ndarray,
    code: np.ndarray,
    span: np.ndarray | int = 0,
    unit: int = 1,
    outcome: np.ndarray | int = REACHED,
    closed: np.ndarray | bool = False,
) -> tuple[np.ndarray, ...]:
    """segment, cell, n_users of one kind and step; one entry a user in each array given."""
    ticks = (span + unit // 2) // unit
    shape = (3, 2, int(np.max(ticks, initial=0)) + 1)
    size, key = 6 * shape[2], (outcome * 2 + closed) * shape[2] + ticks
    if max(len(labels), 1) * size <= 4 * len(code) + 100_000:
        n = np.bincount(code * size + key)
        found = np.flatnonzero(n)
        at, key, n = found // size, found % size, n[found]
    else:  # what occurs is numbered first: segment and exact duration might be too large for one integer
        seen, key = np.unique(np.broadcast_to(key, code.shape), return_inverse=True)
        found, n = np.unique(code * len(seen) + key, return_counts=True)
        at, key = found // max(len(seen), 1), seen[found % max(len(seen), 1)]
    return labels[at], _cell(kind, step + 1, *np.unravel_index(key, shape)), n


# ------------------------------------------------------------------------------------------------------------------- rates and words


@dataclass(frozen=True)
class _Cells:
    """The counts of one segment or of all: cell (ascending), n_users, account (numbers, -1 for users without one; None where there are no accounts)."""

    cell: np.ndarray
    n_users: np.ndarray
    account: np.ndarray | None

    @classmethod
    def of(cls, counts: pd.DataFrame) -> _Cells:
        cell, n_users = counts["cell"].to_numpy(), counts["n_users"].to_numpy()
        account = (
            pd.factorize(counts["account"].where(counts["account"] != MISSING))[0]
            if "account" in counts
            else None
        )
        order = slice(None) if (cell[1:] >= cell[:-1]).all() else np.argsort(cell, kind="stable")
        return cls(cell[order], n_users[order], None if account is None else account[order])

    def _at(self, kind: str, step: int) -> slice:
        return slice(*np.searchsorted(self.cell, [_cell(kind, step), _cell(kind, step + 1)]))

    def users(self, kind: str, step: int) -> np.ndarray:
        """n_users of the cells of a kind and step."""
        return self.n_users[self._at(kind, step)]

    def waits(self, kind: str, step: int) -> tuple[np.ndarray, ...]:
        """outcome, closed, ticks, n_users"""
        rest, ticks = np.divmod(self.cell[self._at(kind, step)], BINS)
        return rest // 2 % 3, rest % 2 == 1, ticks, self.users(kind, step)

    def clusters(self, step: int, closed: bool = True) -> tuple[np.ndarray, int]:
        """Users with a closed window who reached the step, in each account and those without one; not ``closed``: those of step 1, all windows."""
        at = self._at("account", step)
        fits = self.cell[at] // BINS % 2 == 1 if closed else slice(None)
        n = np.bincount(
            self.account[at][fits] + 1,
            self.n_users[at][fits],
            minlength=self.account.max(initial=-1) + 2,
        )
        return n[1:], int(n[0])

    def alike(self, closed: bool) -> tuple[float, float, float]:
        """Of the first entries: the design effect if users of one account all did the same, the number of clusters and of accounts; NaN where there are no accounts."""
        if self.account is None:
            return np.nan, np.nan, np.nan
        n, n_alone = self.clusters(1, closed)
        return (
            float(stats.rate(n @ n + n_alone, n.sum() + n_alone)),
            float(stats.count_clusters(n, n_alone)),
            float(np.count_nonzero(n)),
        )

    def design(self, step: int, base: int) -> tuple[float, float]:
        """Of the share of those at step ``base`` who reached ``step``, windows closed: the design effect (NaN where not known), the number of clusters."""
        if self.account is None:
            return np.nan, np.nan
        (y, y_alone), (n, n_alone) = self.clusters(step), self.clusters(base)
        order = np.lexsort(
            (y, n)
        )  # not by name: sums must round alike whatever the accounts are called
        _, _, effect, g = stats.cluster_rate(y[order], n[order], alone=(y_alone, n_alone))
        return float(effect) if g >= stats.MIN_CLUSTERS else np.nan, float(g)


def _table(
    cells: _Cells,
    segment: str,
    *,
    labels: Sequence[str],
    previous: Sequence[int],
    unit: int,
    window: int,
    stand_in: Sequence[float] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one segment in `Funnel.steps`, and its curves as in `Funnel.times`. ``stand_in``: correlations within accounts by step, for where its own is not known."""
    rows, curves, end, unknown = [], [], (window + unit // 2) // unit, (np.nan,) * 3
    reached = [int(cells.users("attempt", k).sum()) for k in range(1, len(labels) + 1)]
    _, _, followed, n_users = cells.waits("entry", 1)
    enough = np.flatnonzero(
        n_users[::-1].cumsum() >= MIN_FOLLOWED
    )  # who was followed longest stands last
    horizon = followed[::-1][enough[0]] if len(enough) else np.nan
    n_entered, (alike, n_clusters, n_accounts), (alike_closed, *_), icc = (
        int(n_users.sum()),
        cells.alike(closed=False),
        cells.alike(closed=True),
        1.0,
    )
    for k, label in enumerate(labels, start=1):
        n_pending = n_competing = 0
        conversion, so_far, naive = (
            (1.0,) * 3 if known else unknown for known in (n_entered, len(enough), reached[0])
        )
        step, effect, quantiles = unknown, np.nan, [np.nan] * len(QUANTILES)
        if k > 1:
            outcome, closed, _, n_users = entry = cells.waits("entry", k)
            n_pending, n_competing = (
                int(n_users[(outcome == WAITING) & ~closed].sum()),
                int(n_users[outcome == LEFT].sum()),
            )
            effect, _ = cells.design(k, 1)
            icc = _first_known(
                _icc(effect, alike_closed), np.nan if stand_in is None else stand_in[k - 1], icc
            )
            in_use = (
                effect if effect < 1 else np.fmax(effect, 1 + (alike - 1) * icc)
            )  # with those whose window is open there are more users an account
            since_entry = _curve(*entry)
            conversion = (
                _share(since_entry, end, in_use, n_clusters)
                if closed.any() or (outcome != WAITING).all()
                else unknown
            )
            so_far = (
                conversion if horizon == end else _share(since_entry, horizon, in_use, n_clusters)
            )
            naive = (
                float(stats.rate(reached[k - 1], reached[0])),
                *_interval(stats.rate(reached[k - 1], reached[0]), reached[0], in_use, n_clusters),
            )
            outcome, closed, _, n_users = gap = entry if k == 2 else cells.waits("gap", k)
            n_over, n_on = n_users[closed].sum(), n_users[closed & (outcome == REACHED)].sum()
            step_effect, step_clusters = cells.design(k, previous[k - 1] + 1)
            step_effect, rate = _first_known(step_effect, in_use), stats.rate(n_on, n_over)
            step = float(rate), *_interval(rate, n_over, step_effect, step_clusters)
            curve = since_entry if k == 2 else _curve(*gap)
            quantiles = [
                stats.quantile(curve, share) * unit / DAY_US for share in QUANTILES.values()
            ]
            curves.append(
                {"step": k, "event": label} | _printed(curve, unit, step_effect, step_clusters)
            )
        rows.append(
            {
                "segment": segment,
                "step": k,
                "event": label,
                "n_entered": n_entered,
                "n_reached": reached[k - 1],
                "n_any_order": int(cells.users("any", k).sum()),
                "n_pending": n_pending,
                "n_competing": n_competing,
                **_named("conversion_rate", conversion),
                "design_effect": effect,
                "n_accounts": n_accounts,
                "horizon_days": horizon * unit / DAY_US,
                **_named("horizon_rate", so_far),
                **_named("naive_rate", naive),
                **_named("step_rate", step),
                **dict(zip(QUANTILES, quantiles)),
            }
        )
    length = [len(c["days"]) for c in curves]
    columns = {
        c: np.repeat([curve[c] for curve in curves], length)
        if c in ("step", "event")
        else np.concatenate([curve[c] for curve in curves])
        for c in curves[0]
    }
    return pd.DataFrame(rows), pd.DataFrame({"segment": segment} | columns)


def _icc(design_effect: float, alike: float) -> float:
    """Correlation of users of one account: 0 where they are like any others, 1 where the design effect is as if they all did the same."""
    return (
        float(np.clip((design_effect - 1) / (alike - 1), 0, 1))
        if alike > 1
        else 0.0
        if alike == 1
        else np.nan
    )


def _named(name: str, values: Sequence[float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_ci_lower", f"{name}_ci_upper"), values))


def _first_known(*values: float) -> float:
    return next((v for v in values if v == v), np.nan)


def _curve(
    outcome: np.ndarray, closed: np.ndarray, ticks: np.ndarray, n_users: np.ndarray
) -> dict[str, np.ndarray]:
    return stats.incidence_arrays(
        ticks, *(np.where(outcome == ending, n_users, 0) for ending in (REACHED, WAITING, LEFT))
    )


def _share(
    curve: Mapping[str, np.ndarray], tick: float, design_effect: float, n_clusters: float
) -> tuple[float, float, float]:
    """Share who reach the step by then, and its interval."""
    time, n_at_risk, n_censored, rate, se = (
        curve[c] for c in ("time", "n_at_risk", "n_censored", "rate", "rate_se")
    )
    if not len(time) or np.isnan(tick):
        return np.nan, np.nan, np.nan
    i = np.searchsorted(time, tick, side="right")
    p, se = float(np.r_[0.0, rate][i]), float(np.r_[0.0, se][i])
    n = (
        p * (1 - p) / se**2
        if 0 < p < 1 and se > 0
        else n_at_risk[0] - n_censored[time < tick].sum()
    )
    return p, *_interval(p, n, design_effect, n_clusters)


def _interval(p: float, n: float, design_effect: float, n_clusters: float) -> tuple[float, float]:
    """Of a share of n users, effective; by account where there are any."""
    low, high = (
        stats.wilson([p * n], [n])
        if np.isnan(n_clusters)
        else stats.cluster_interval([p], [n], design_effect, n_clusters)
    )
    return float(low[0]), float(high[0])


def _printed(
    curve: Mapping[str, np.ndarray], unit: int, design_effect: float, n_clusters: float
) -> dict[str, np.ndarray]:
    """The curve at even times and at even shares, from 0 on, while enough users are at risk; its bands as wide as the design effect asks."""
    n_at_risk = curve["n_at_risk"]
    n_rows = np.count_nonzero(n_at_risk >= MIN_FOLLOWED)  # they grow fewer with time
    time, rate, se = (np.r_[0.0, curve[c][:n_rows]] for c in ("time", "rate", "rate_se"))
    even = np.linspace(0, 1, CURVE_POINTS + 1)
    at = np.unique(
        np.r_[
            np.searchsorted(time, even * time[-1], side="right") - 1,
            np.searchsorted(rate, even * rate[-1]),
        ]
    )
    at = at[np.diff(time[at], append=np.inf) > 0]  # of one time the last row
    if n_clusters == n_clusters:
        se = se * np.sqrt(design_effect if n_clusters >= stats.MIN_CLUSTERS else np.nan)
    return {
        "days": time[at] * unit / DAY_US,
        **_named("reached_rate", (rate[at], *stats.cloglog_interval(rate[at], se[at]))),
        "n_at_risk": np.r_[n_at_risk[:1].sum(), n_at_risk][at],
    }


def _checks(
    cells: _Cells,
    total: pd.DataFrame,
    labels: Sequence[str],
    exclude: Sequence[Exclusion],
    hold: Sequence[str],
) -> pd.DataFrame:
    """`Funnel.checks`."""
    found = lambda kind, k=0: int(cells.users(kind, k).sum())  # noqa: E731
    rows = [
        (
            "window still open, step not reached",
            len(labels),
            labels[-1],
            int(total["n_pending"].iloc[-1]),
        ),
        ("reached only on a later attempt", len(labels), labels[-1], found("later")),
    ]
    rows += [
        (
            "taken out by an exclusion",
            e.before,
            f"{e.step.label} after step {e.after}",
            found("excluded", i),
        )
        for i, e in enumerate(exclude)
    ]
    rows += (
        [("taken out by an exclusion", None, "any of these", found("excluded", len(exclude)))]
        if len(exclude) > 1
        else []
    )
    rows += (
        [
            (
                "taken out by an exclusion on the first attempt only",
                None,
                "",
                found("excluded", len(exclude) + 1),
            )
        ]
        if exclude
        else []
    )
    rows += (
        [
            (
                f"reached, but not with the same {' and '.join(hold)}",
                len(labels),
                labels[-1],
                found("hold"),
            )
        ]
        if hold
        else []
    )
    rows += (
        [("two steps at the very same time", None, "", found("tied"))]
        if len(cells.users("tied", 0))
        else []
    )
    rows += [
        ("a later step, but never this one", k, labels[k - 1], found("skipped", k))
        for k in range(2, len(labels))
        if len(cells.users("skipped", k))
    ]
    check, step, event, n_users = zip(*rows)
    return pd.DataFrame(
        {"check": check, "step": pd.array(step, "Int64"), "event": event, "n_users": n_users}
    )


def _finding(
    everyone: _Cells,
    total: pd.DataFrame,
    table: pd.DataFrame,
    order: Order,
    window: int,
    unit: int,
    leave: Step | None,
) -> str:
    """Entrants, completion, weakest step, the spread over segments, the rule."""
    last, n, span = total.iloc[-1], total.loc[0, "n_entered"], phrases.window(window)
    names = (
        total["event"]
        if order != "unordered"
        else [f"{k} of the {len(total)} steps" for k in total["step"]]
    )
    entered = f"{phrases.users(n)} with {names[0]}"
    if not n:
        text = f"An exclusion takes out the first attempt of everyone with {names[0]}, so there is no rate"
    elif np.isnan(last["conversion_rate"]):
        text = f"Of {entered}, the share reaching {names[len(total) - 1]} within {span} is not known yet: no window has closed"
    else:
        text = f"Of {entered}, {phrases.share(last, 'conversion_rate')} reached {names[len(total) - 1]} within {span}"
    if total["step_rate"].notna().any() and len(total) > 2:
        k = int(total["step_rate"].idxmin())
        text += f"; the weakest step is step {k + 1}, {names[k]}: {phrases.share(total.loc[k], 'step_rate')} of those at the step before go on"
    ends = table[(table["segment"] != "all") & (table["step"] == last["step"])]
    if len(ends) > 1:
        ends = (
            ends[ends["n_entered"] >= SMALL_SEGMENT]
            .dropna(subset="conversion_rate")
            .sort_values("conversion_rate")
        )
    if len(ends) > 1:
        text += (
            f". By segment it runs from {phrases.share(ends.iloc[0], 'conversion_rate')} in {ends.iloc[0]['segment']} "
            f"to {phrases.share(ends.iloc[-1], 'conversion_rate')} in {ends.iloc[-1]['segment']}"
        )
    how = {
        "ordered": "steps in order",
        "strict": "steps in order with no other event between",
        "unordered": "steps in any order",
    }[order]
    _, closed, _, n_users = everyone.waits("entry", 1)
    pending = (
        f"{phrases.users(last['n_pending'])} still inside the window counted as pending"
        if last["n_pending"]
        else "nobody is pending"
        if n_users[~closed].sum()
        else "every window has closed"
    )
    left = f"leaving by {leave.label} ends the wait, " if leave else ""
    rounded = f"times to {phrases.window(unit)}, " if unit > 1 else ""
    _, n_clusters, n_accounts = everyone.alike(closed=False)
    intervals = (
        "too few accounts for intervals"
        if n_clusters < stats.MIN_CLUSTERS
        else f"95 % intervals{phrases.in_accounts(n_accounts, last['design_effect']) if n_accounts else ''}"
    )
    return f"{text}. (Rule: {how}, {span} from a user's first entry{f', {left}{pending}; {rounded}{intervals}' if n else ''}.)"


def _caveats(
    parts: Mapping[str, _Cells],
    total: pd.DataFrame,
    table: pd.DataFrame,
    missing: Sequence[str],
    labels: Sequence[str],
    n_exclusions: int,
    day: str,
) -> list[str]:
    found = lambda kind, k=0: int(parts["all"].users(kind, k).sum())  # noqa: E731
    n, pending = int(total["n_entered"].iloc[0]), int(total["n_pending"].iloc[-1])
    out = [
        f"The {s} It counts as never done."
        if s.endswith("?")
        else f"The {s[:-1]}; it counts as never done."
        for s in missing
    ]
    if pending:
        out.append(
            f"Still inside their window on {day}: {phrases.users(pending)} ({100 * pending / n:.1f} %). naive_rate counts them as lost, conversion_rate "
            f"does not.{' Exclusions that are still to come are not foreseen.' if n_exclusions else ''}"
        )
    if later := found("later"):
        out.append(
            f"Reached the last step only on a later attempt: {phrases.users(later)}. They are in n_reached and naive_rate, not in conversion_rate."
        )
    if gone := found("excluded", n_exclusions):
        out.append(f"Taken out by an exclusion: {phrases.users(gone)}. They are in no count.")
    if spoilt := found("excluded", n_exclusions + 1):
        out.append(
            f"Taken out by an exclusion on the first attempt, but not on the deepest: {phrases.users(spoilt)}. They are in n_reached and naive_rate, not in conversion_rate and step_rate."
        )
    if tied := found("tied"):
        out.append(
            f"Two steps at the very same time: {phrases.users(tied)}. These were read in the order of the steps."
        )
    for k in range(2, len(labels)):
        if (skipped := found("skipped", k)) > SKIPPED_SHARE * n:
            out.append(
                f"A later step but never {labels[k - 1]} (step {k}): {phrases.users(skipped)}. Either it is not always needed or its tracking loses events."
            )
    last = total.iloc[-1]
    if (
        last["design_effect"] >= 1.05 and last["n_accounts"]
    ):  # below, users are as good as on their own, or tell even more
        out.append(
            f"Users of one account act alike. Theirs are {last['n_accounts']:,.0f} accounts, and at the last step {last['design_effect']:.1f} users tell as much as "
            "one would on their own (the design effect); the intervals allow for it."
        )
    if few := [
        segment
        for segment, cells in parts.items()
        if cells.alike(closed=False)[1] < stats.MIN_CLUSTERS
    ]:
        out.append(phrases.too_few_accounts("" if few == ["all"] else f" in {_listed(few)}"))
    small = table.loc[
        (table["step"] == 1) & (table["n_entered"] < SMALL_SEGMENT) & (table["segment"] != "all"),
        "segment",
    ].tolist()
    if small:
        out.append(
            f"Fewer than {SMALL_SEGMENT} users entered in {_listed(small)}: too few to compare."
        )
    return out


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
