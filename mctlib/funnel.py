"""Where do users stop, for whom, and when it moved: was it behaviour, mix, or lost tracking?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, get_args

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.journeys import ANY, Exclusion, FunnelWalk, Journeys, Order, Step, first_rows, walk_attempts
from mctlib.log import EventLog, as_columns, as_window
from mctlib.store import ParameterError, nearest
from mctlib.words import day, in_words, share, users

UNITS = np.array([1, 5, 15, 60, 300, 900, 3600])  # seconds; the resolutions of durations, none as coarse as the tenths of days that are printed
SMALL_SEGMENT = 30  # entrants below which a segment's rates are not worth comparing
SKIPPED_SHARE = 0.01  # of the entrants: from here on a step that users pass without ever doing it is worth a caveat
DAY_US = 86_400_000_000
KINDS = ("attempt", "entry", "gap", "later", "excluded", "tied", "skipped")  # of counts, see `_count`
BINS, STEPS = 1 << 32, 65  # room for a duration and for a step in a cell's number (`reduce` takes 64 matchers)


@dataclass(frozen=True)
class Funnel:
    """What `diagnose_funnel` found; the columns of ``steps`` are described there."""

    steps: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def diagnose_funnel(
    log: EventLog, steps: Sequence[Any], *, window: str, as_of: Any, by: str | Sequence[str] | None = None, order: Order = "ordered",
    exclude: Sequence[Exclusion] = (), optional: Sequence[int] = (), hold: Sequence[str] = (),
) -> Funnel:
    """How many users reach each step of a funnel, how fast, and where they stop.

    ``steps``: names, lists of names (any of them) or Steps. ``window``: from step 1, its end included. ``as_of``: last observed day; later rows
    are not read. ``by``: columns that split the users, read at the entry of the attempt. ``order``, ``exclude``, ``optional`` (step numbers from 1)
    and ``hold`` (columns or properties that must stay equal along an attempt): see `journeys.walk_funnel`. With ``order="unordered"`` step k means
    any k of the steps, and an exclusion holds from the first of them to the last.

    ``.steps`` has one row a segment ("all" first, then the largest) and step:
    segment, step (from 1), event · n_reached: users whose deepest attempt reached the step, any attempt · n_pending: users not (yet) at the step
    whose first entry's window is still open at ``as_of`` · naive_rate: n_reached over those of step 1 · conversion_rate: share who reach the step
    within the window of their FIRST entry, pending users counted for as long as they were seen (Kaplan-Meier read at the window; NaN while no window has
    closed), Wilson interval on the effective sample size p(1 - p) / Var, which is the plain one when nobody is pending · step_rate: of the users with a
    closed window who reached the previous step that is not optional, the share who reached this one, Wilson interval · median_days, p90_days: time
    from that previous step, Kaplan-Meier with those who did not go on as censored, NaN where so large a share never goes on.

    Durations are counted to the nearest second, minute, 5 or 15 minutes, ...: the largest such unit not above a 2,000th of the window (14 days: 5 minutes), so that
    counts of any number of users stay small and add up. Raises ParameterError: see the messages.
    """
    matchers = log.steps(steps, any_order=order == "unordered")
    exclude = [Exclusion(**e) if isinstance(e, Mapping) else e for e in exclude]
    by, hold = as_columns(by), as_columns(hold)
    _check(matchers, order, exclude, optional)
    n_steps, window_us, end = len(matchers), as_window(window), log.as_of(as_of)
    unit = _unit(window_us)
    rule = {"window": window_us, "order": order, "exclude": [(e.after, e.before) for e in exclude], "optional": tuple(optional), "hold": hold}
    events = [*matchers, *(e.step for e in exclude), *([Step(ANY)] if order == "strict" else [])]
    counts = _decoded(log.reduce(partial(_count, n_steps=n_steps, unit=unit, by=by, rule=rule), events=events, by=list(dict.fromkeys([*by, *hold])), as_of=as_of))
    reached = counts[counts["kind"] == "attempt"]
    if reached.empty:
        if order != "unordered":
            _check_filter(log, matchers[0])
        raise ParameterError(f"steps: nobody did step 1 ({matchers[0].label}) up to {day(end)}{' without being excluded' if exclude else ''}.")
    labels = [f"any {k} of {n_steps}" for k in range(1, n_steps + 1)] if order == "unordered" else [m.label for m in matchers]
    size = reached[reached["step"] == 1].set_index("segment")["n_users"].sort_values(ascending=False, kind="stable")
    parts = [("all", counts), *((s, counts[counts["segment"] == s]) for s in size.index if by)]
    table = pd.concat([_table(part, segment, labels, unit) for segment, part in parts], ignore_index=True)
    caveats = _caveats(counts, table, log.missing_events(events), labels, bool(exclude), day(end))
    return Funnel(table, _finding(table, order, window_us), tuple(caveats))


def _unit(window: int) -> int:
    """Resolution of the durations, microseconds."""
    return int(UNITS[max(np.searchsorted(UNITS, window / 2e9, side="right") - 1, 0)]) * 1_000_000


def _check(steps: Sequence[Step], order: str, exclude: Sequence[Exclusion], optional: Sequence[int]) -> None:
    n = len(steps)
    if order not in get_args(Order):
        raise ParameterError(f'order: "{order}" is not one of {", ".join(get_args(Order))}.{nearest(order, get_args(Order))}')
    for e in exclude:
        if not 1 <= e.after < e.before <= n:
            raise ParameterError(f'exclude: "{e.step.label}" lies after step {e.after} and before step {e.before}; '
                                 f"with {n} steps it must hold that 1 <= after < before <= {n}.")
    for k in optional:
        if not 2 <= k <= n:
            raise ParameterError(f"optional: step {k} cannot be optional; step 1 never can, and there are {n} steps.")
    if order == "unordered":
        if optional:
            raise ParameterError('optional: steps cannot be optional when order is "unordered".')
        for a, b in combinations(steps, 2):
            if a != b and _may_meet(a, b):
                raise ParameterError(f'steps: one event could be both "{a.label}" and "{b.label}"; '
                                     'with order "unordered" two steps must be the same or never meet.')


def _check_filter(log: EventLog, step: Step) -> None:
    """Raises ParameterError when the step's event occurs, but nowhere with the properties it asks for."""
    here = [f'"{name}"' for name in step.names if name in log.event_names]
    if step.where and log.counts(events=[step]).empty:
        values = {k: v if isinstance(v, (list, tuple, set)) else [v] for k, v in step.where.items()}
        asked = " and ".join(f"{k} = {' or '.join('any value' if v is ANY else str(v) for v in some)}" for k, some in values.items())
        occurs = f"{' and '.join(here)} occur{'s' if len(here) == 1 else ''}" if here else "other events occur"
        raise ParameterError(f"steps: step 1 ({step.label}) matches no event; {occurs}, but never with {asked}.")


def _may_meet(a: Step, b: Step) -> bool:
    """Could one event match both?"""
    values = [{k: set(v) if isinstance(v, (list, tuple, set)) else {v} for k, v in s.where.items()} for s in (a, b)]
    apart = any(values[0][k].isdisjoint(values[1][k]) for k in values[0].keys() & values[1].keys() if ANY not in values[0][k] | values[1][k])
    return not apart and (not a.names or not b.names or not set(a.names).isdisjoint(b.names))


# ------------------------------------------------------------------------------------------------------------------------- counting


def _count(j: Journeys, *, n_steps: int, unit: int, by: Sequence[str], rule: Mapping[str, Any]) -> pd.DataFrame:
    """segment, cell -> n_users, over whole users; a cell's number holds kind, step, reached, closed, bin (`_decoded`).

    kind "attempt": deepest attempts that reached the step · "entry" and "gap": first entries by time since entry and since the previous required step, to the
    step or to the end of observation; closed = the window has passed · "later", "excluded", "tied", "skipped" (step): users a caveat speaks of.
    """
    first, deepest = walk_attempts(j, n_steps, **rule)
    code, labels = _segments(first, by)
    deepest_code, deepest_labels = (code, labels) if deepest is first else _segments(deepest, by)
    start, there = first.journeys.time[first.entry], first.rows >= 0
    time = np.where(there, first.journeys.time[first.rows], 0)
    closed = start + rule["window"] <= j.as_of
    later = np.setdiff1d(deepest.user[deepest.rows[:, -1] >= 0], first.user[there[:, -1]])
    notes = [("later", 0, len(later)), ("excluded", 0, len(deepest.excluded))]
    previous, cells = _previous(n_steps, rule["optional"]), []
    for k in range(n_steps):
        cells.append(_cells("attempt", k, deepest_labels, deepest_code[deepest.rows[:, k] >= 0]))
        lost = ~there[:, k] & closed  # all at the same duration, the window
        some = np.flatnonzero(~lost)
        stop = np.where(there[some, k], time[some, k], j.as_of)
        cells += [_cells("entry", k, labels, code[lost], rule["window"], unit, False, True),
                  _cells("entry", k, labels, code[some], stop - start[some], unit, there[some, k], closed[some])]
        if k > 1:  # at step 2 the gap is the time since entry
            on = np.flatnonzero(there[:, previous[k]])
            stop = np.where(there[on, k], time[on, k], np.minimum(j.as_of, start[on] + rule["window"]))
            cells.append(_cells("gap", k, labels, code[on], stop - time[on, previous[k]], unit, there[on, k], closed[on]))
    if rule["order"] != "unordered":
        tied = (there[:, 1:] & there[:, :-1] & (time[:, 1:] == time[:, :-1])).any(axis=1)
        notes.append(("tied", 0, int(tied.sum())))
        did = np.bitwise_or.reduceat(j.mask, first_rows(j.user)) if len(j) else j.mask
        did = did[did & did.dtype.type(1) > 0]
        for k in set(range(2, n_steps)) - set(rule["optional"]):
            beyond, own = (did.dtype.type(bits) for bits in ((1 << n_steps) - (1 << k), 1 << (k - 1)))
            notes.append(("skipped", k, int(((did & beyond > 0) & (did & own == 0)).sum())))
    cells += [(np.array(["all"], object), [_cell(kind, k)], [n]) for kind, k, n in notes]
    return pd.DataFrame({c: np.concatenate(parts) for c, parts in zip(("segment", "cell", "n_users"), zip(*cells))})


def _cell(kind: str, step: int, reached: Any = 0, closed: Any = 0, ticks: Any = 0) -> Any:
    return (((KINDS.index(kind) * STEPS + step) * 2 + reached) * 2 + closed) * BINS + ticks


def _decoded(counts: pd.DataFrame) -> pd.DataFrame:
    """The counts with kind, step (from 1), reached, closed and bin in columns of their own."""
    cell = counts["cell"].to_numpy()
    rest, ticks = np.divmod(cell, BINS)
    kind, step = np.divmod(rest // 4, STEPS)
    return pd.DataFrame({"kind": pd.Categorical.from_codes(kind, KINDS), "segment": counts["segment"], "step": step, "reached": rest // 2 % 2 == 1,
                         "closed": rest % 2 == 1, "bin": ticks, "n_users": counts["n_users"]})


def _previous(n_steps: int, optional: Sequence[int]) -> list[int]:
    """Index of the last step before each one that is not optional (0 for the first)."""
    return [max(i for i in range(max(k, 1)) if i + 1 not in optional) for k in range(n_steps)]


def _segments(walk: FunnelWalk, by: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The segment of each attempt, read at its entry: code, labels."""
    return replace(walk.journeys, dims={b: walk.journeys.dims[b] for b in by}).segments(walk.entry)


def _cells(kind: str, step: int, labels: np.ndarray, code: np.ndarray, span: np.ndarray | int = 0, unit: int = 1, reached: np.ndarray | bool = True,
           closed: np.ndarray | bool = False) -> tuple[np.ndarray, ...]:
    """segment, cell, n_users of one kind and step; one entry a user in each array given."""
    ticks = (span + unit // 2) // unit
    shape = (max(len(labels), 1), 2, 2, int(np.max(ticks, initial=0)) + 1)
    key = ((code * 2 + reached) * 2 + closed) * shape[3] + ticks
    if np.prod(shape) <= 4 * len(key) + 100_000:
        n = np.bincount(key)
        found = np.flatnonzero(n)
        n = n[found]
    else:
        found, n = np.unique(key, return_counts=True)
    at = np.unravel_index(found, shape)
    return labels[at[0]], _cell(kind, step + 1, *at[1:]), n


# ------------------------------------------------------------------------------------------------------------------- rates and words


def _table(counts: pd.DataFrame, segment: str, labels: Sequence[str], unit: int) -> pd.DataFrame:
    """The rows of one segment."""
    at = counts["kind"].cat.codes.to_numpy() * (len(labels) + 1) + counts["step"].to_numpy()
    order = np.argsort(at, kind="stable")
    edges = np.searchsorted(at[order], np.arange(len(KINDS) * (len(labels) + 1) + 1))
    columns = [counts[c].to_numpy()[order] for c in ("reached", "closed", "bin", "n_users")]

    def cells(kind: str, step: int) -> tuple[np.ndarray, ...]:
        """reached, closed, bin, n_users"""
        i = KINDS.index(kind) * (len(labels) + 1) + step
        return tuple(c[edges[i]:edges[i + 1]] for c in columns)

    rows = []
    for k, label in enumerate(labels, start=1):
        n = cells("attempt", k)[3].sum()
        reached, closed, _, n_users = entry = cells("entry", k)
        on, over, _, n_gap = gap = cells("gap", k) if k != 2 else entry
        since_entry = _curve(*entry)
        n_on, n_over = n_gap[on & over].sum(), n_gap[over].sum()
        (step_low,), (step_high,) = stats.wilson([n_on], [n_over])
        curve = since_entry if k == 2 else _curve(*gap)
        rows.append({
            "segment": segment, "step": k, "event": label, "n_reached": int(n), "n_pending": int(n_users[~reached & ~closed].sum()),
            **dict(zip(("conversion_rate", "conversion_rate_ci_lower", "conversion_rate_ci_upper"), (1.0, 1.0, 1.0) if k == 1 else _conversion(since_entry, *entry))),
            "naive_rate": float(stats.rate(n, cells("attempt", 1)[3].sum())),
            "step_rate": float(stats.rate(n_on, n_over)), "step_rate_ci_lower": step_low, "step_rate_ci_upper": step_high,
            **{name: stats.quantile(curve, share) * unit / DAY_US for name, share in (("median_days", 0.5), ("p90_days", 0.9))},
        })
    return pd.DataFrame(rows)


def _curve(reached: np.ndarray, closed: np.ndarray, ticks: np.ndarray, n_users: np.ndarray) -> pd.DataFrame:
    return stats.incidence(ticks, np.where(reached, n_users, 0), np.where(reached, 0, n_users))


def _conversion(curve: pd.DataFrame, reached: np.ndarray, closed: np.ndarray, ticks: np.ndarray, n_users: np.ndarray) -> tuple[float, float, float]:
    """Share who reach the step within the window (where the curve ends, once one window has closed), and its interval."""
    known = reached | closed
    if not len(known) or not (closed.any() or known.all()):
        return np.nan, np.nan, np.nan
    p, se = float(curve["rate"].iloc[-1]), float(curve["rate_se"].iloc[-1])
    n = p * (1 - p) / se**2 if 0 < p < 1 and se > 0 else float(n_users[known].sum())
    (low,), (high,) = stats.wilson([p * n], [n])
    return p, low, high


def _finding(table: pd.DataFrame, order: Order, window: int) -> str:
    """Entrants, completion, weakest step, the spread over segments, the rule."""
    total = table[table["segment"] == "all"].reset_index(drop=True)
    last, n, span = total.iloc[-1], total.loc[0, "n_reached"], in_words(window)
    names = total["event"] if order != "unordered" else [f"{k} of the {len(total)} steps" for k in total["step"]]
    entered = f"{users(n)} with {names[0]}"
    if np.isnan(last["conversion_rate"]):
        text = f"Of {entered}, the share reaching {names[len(total) - 1]} within {span} is not known yet: no window has closed"
    else:
        text = f"Of {entered}, {share(last, 'conversion_rate')} reached {names[len(total) - 1]} within {span}"
    if total["step_rate"].notna().any() and len(total) > 2:
        k = int(total["step_rate"].idxmin())
        text += f"; the weakest step is step {k + 1}, {names[k]}: {share(total.loc[k], 'step_rate')} of those at the step before go on"
    ends = table[(table["segment"] != "all") & (table["step"] == last["step"])]
    if len(ends) > 1:
        entrants = table[table["step"] == 1].set_index("segment")["n_reached"]
        ends = ends[ends["segment"].map(entrants) >= SMALL_SEGMENT].dropna(subset="conversion_rate").sort_values("conversion_rate")
    if len(ends) > 1:
        text += (f". By segment it runs from {share(ends.iloc[0], 'conversion_rate')} in {ends.iloc[0]['segment']} "
                 f"to {share(ends.iloc[-1], 'conversion_rate')} in {ends.iloc[-1]['segment']}")
    how = {"ordered": "steps in order", "strict": "steps in order with no other event between", "unordered": "steps in any order"}[order]
    pending = f"{users(last['n_pending'])} still inside the window counted as pending" if last["n_pending"] else "every window has closed"
    return f"{text}. (Rule: {how}, {span} from a user's first entry, {pending}; times to {in_words(_unit(window))}, 95 % intervals.)"


def _caveats(counts: pd.DataFrame, table: pd.DataFrame, missing: Sequence[str], labels: Sequence[str], excluding: bool, day: str) -> list[str]:
    said = counts[counts["kind"].cat.codes >= KINDS.index("later")].groupby(["kind", "step"], observed=True)["n_users"].sum()
    total = table[table["segment"] == "all"]
    n, pending = int(total["n_reached"].iloc[0]), int(total["n_pending"].iloc[-1])
    out = [f"The {s} It counts as never done." if s.endswith("?") else f"The {s[:-1]}; it counts as never done." for s in missing]
    if pending:
        out.append(f"Still inside their window on {day}: {users(pending)} ({100 * pending / n:.1f} %). naive_rate counts them as lost, conversion_rate "
                   f"does not.{' Exclusions that are still to come are not foreseen.' if excluding else ''}")
    if later := said.get(("later", 0), 0):
        out.append(f"Reached the last step only on a later attempt: {users(later)}. They are in n_reached and naive_rate, not in conversion_rate.")
    if gone := said.get(("excluded", 0), 0):
        out.append(f"Taken out by an exclusion: {users(gone)}. They are in no count.")
    if tied := said.get(("tied", 0), 0):
        out.append(f"Two steps at the very same time: {users(tied)}. These were read in the order of the steps.")
    for (kind, k), skipped in said.items():
        if kind == "skipped" and skipped > SKIPPED_SHARE * n:
            out.append(f"A later step but never {labels[k - 1]} (step {k}): {users(skipped)}. Either it is not always needed or its tracking loses events.")
    small = table.loc[(table["step"] == 1) & (table["n_reached"] < SMALL_SEGMENT) & (table["segment"] != "all"), "segment"].tolist()
    if small:
        named = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if len(small) > 5 else "")
        out.append(f"Fewer than {SMALL_SEGMENT} users entered in {named}: too few to compare.")
    return out
