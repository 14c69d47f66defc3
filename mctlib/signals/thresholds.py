"""So many actions in so many days: which threshold holds, and how much of it is the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import ParameterError, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, lines_of
from mctlib.eventlog.steps import may_meet
from mctlib.headlines import brief, named
from mctlib.phrases import DAY_US
from mctlib.results import Result
from mctlib.signals import narrative
from mctlib.signals.alike import late_of
from mctlib.signals.candidates import plan_of
from mctlib.signals.clock import Clock, Reach, after_start, count, not_alike, read_clock, too_many
from mctlib.signals.counts import COUNTS, FIRST_SIGNAL, Group, Landmarks, Starts
from mctlib.signals.outcomes import Outcome, read_outcome

ACTIONS, DAYS = (1, 2, 3, 5, 10), (3, 7, 14, 30)


@dataclass(frozen=True, kw_only=True, repr=False)
class Thresholds(Result):
    """Answer of `scan_thresholds`.

    ``thresholds``: one row a threshold: at_least (how often), within_days; n_exposed,
    n_unexposed; early_difference_rate ±, of the earlier users, among whom the best is looked for;
    late_difference_rate ±, of the later ones; pvalue, that of the search (max statistic); best.

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %), by account where people sit in accounts.
    """

    thresholds: pd.DataFrame

    main: ClassVar[str] = "thresholds"


def scan_thresholds(
    log: EventLog,
    event: Any,
    outcome: Any,
    *,
    horizon: str,
    as_of: Any,
    start: Any = None,
    competing: Any = None,
    adjust: Any = (),
) -> Thresholds:
    """Try 1, 2, 3, 5, 10 actions within 3, 7, 14, 30 days, and say what holds for later users.

    All are compared at one landmark, the longest of these times before the horizon, among users of
    the same kind (``adjust``, month, activity). The best is looked for among the earlier users; its
    p-value allows for the search (the largest score under random signs of whole buckets of users),
    and what it is worth is read among the later ones (the last months).

    Parameters
    ----------
    log, outcome, horizon, as_of, start, competing, adjust
        See `signal_value`; not of revenue.
    event : str, mapping or Step
        The action.

    Returns
    -------
    Thresholds
        ``thresholds`` (columns: see `Thresholds`).

    Raises
    ------
    ParameterError
        An event or outcome that is not there.

    Examples
    --------
    >>> asked = {"horizon": "20d", "as_of": "2026-01-31", "start": "signed_up"}
    >>> found = scan_thresholds(log, "profile_completed", "interview_scheduled", **asked)
    >>> "late_difference_rate" in found.thresholds
    True
    """
    plan = plan_of(log)
    clock = read_clock(log, start, competing, adjust, plan)
    asked, step = read_outcome(log, outcome, horizon, plan), log.step(event)
    if missing := log.missing_events([step]):
        raise ParameterError(f"event: {missing[0]}")
    after_start(clock, asked)
    taken = [*clock.steps, *([asked.step] if asked.step and asked.once else [])]
    if any(may_meet(step, other) for other in taken):
        raise ParameterError(
            f"event: “{step.label}” can have no threshold: the start, the exit or the outcome is "
            "the same event."
        )
    days = [d for d in DAYS if d * DAY_US < asked.before]
    if asked.amount or not days:
        raise ParameterError(
            f"outcome: {asked.name} cannot be held against thresholds; take one that users have or "
            f"have not, more than {DAYS[0]} days after the start."
        )
    group, within = (
        Group(days[-1] * DAY_US, (0,), own=1 << FIRST_SIGNAL),
        [d * DAY_US for d in days],
    )
    counts = count(
        log, clock, asked, [step], [group], within=within, as_of=as_of, kernel=count_actions
    )
    reach, cells = Reach.of(counts), counts["cells"]
    table = _scan(cells, days, reach.n_accounts)
    said = (*log.caveats(as_of), *too_many(log, clock), *not_alike(log, clock, asked, [step]))
    told = _told(table, step.label, asked, clock, days[-1])
    return Thresholds(thresholds=table, caveats=said, **told)


def count_actions(j: Journeys, *, ask: Landmarks) -> dict[str, pd.DataFrame]:
    """Kernel: how often users at risk did it, by several times.

    "cells": stratum, cohort, activity, bucket and, for each time in days, how many of ACTIONS were
    reached (``d3``, ...) -> COUNTS; and the last tables of `count_landmarks`.
    """
    of, group = Starts.of(j, ask), ask.groups[0]
    rows = np.flatnonzero(j.has(1))
    line = lines_of(j.user[rows], j.user[of.start])
    rows, line = rows[line >= 0], line[line >= 0]
    passed = j.time[rows] - j.time[of.start][line]
    reached: dict[str, Any] = {}
    for within in ask.within:
        n = np.bincount(line[(passed >= 0) & (passed <= within)], minlength=len(of.start))
        reached[f"d{within // DAY_US}"] = np.searchsorted(ACTIONS, n, side="right")
    _, activity = of.at_landmark(ask, group.landmark, group.own)
    risk = of.at_risk(group.landmark, ask.outcome)
    table = of.cells(risk, alike=True, activity=activity, **reached)
    return {"cells": table, **of.tables(group.landmark)}


def _scan(cells: pd.DataFrame, days: list[int], n_accounts: float) -> pd.DataFrame:
    """`Thresholds.thresholds`."""
    kind, _ = pd.factorize(pd.MultiIndex.from_frame(cells[["stratum", "cohort", "activity"]]))
    users = cells["n_users"].to_numpy(float)
    late = late_of(cells["cohort"].to_numpy(), users)
    rows, scores = [], []
    enough = _clusters(cells, n_accounts) >= stats.MIN_CLUSTERS
    for d in days if enough else ():
        for least, actions in enumerate(ACTIONS, start=1):
            exposed = (cells[f"d{d}"] >= least).to_numpy()
            n = [users[exposed == side].sum() for side in (False, True)]
            if min(n) < max(stats.MIN_USERS, stats.MIN_SHARE * sum(n)):
                continue
            row = {"at_least": actions, "within_days": d}
            row |= {"n_exposed": n[1], "n_unexposed": n[0]}
            for name, who in (("early", ~late), ("late", late)):
                ends = _difference(cells[who], kind[who], exposed[who], n_accounts)
                row |= interval_columns(f"{name}_difference_rate", *ends)
            rows.append(row)
            scores.append(_score(cells[~late], kind[~late], exposed[~late]))
    names = [f"{name}_difference_rate" for name in ("early", "late")]
    columns = [c for name in names for c in interval_columns(name, 0, 0, 0)]
    head = ["at_least", "within_days", "n_exposed", "n_unexposed", *columns]
    table = pd.DataFrame(rows, columns=head)
    pvalue, largest = (
        stats.search_pvalues(np.array(scores).T) if rows else (np.empty(0), np.empty(0))
    )
    best = np.arange(len(rows)) == (largest.argmax() if rows else 0)  # of equal ones the first
    return table.assign(pvalue=pvalue, best=best)


def _clusters(cells: pd.DataFrame, n_accounts: float) -> float:
    """How many accounts, or users of none, all tell as much as."""
    accounts = np.inf if np.isnan(n_accounts) else n_accounts
    users = np.bincount(cells["bucket"], cells["n_users"])
    if np.isnan(n_accounts):
        return float(users.sum())
    return float(stats.count_clusters(users, n_accounts=accounts))


def _sides(cells: pd.DataFrame, kind: np.ndarray, exposed: np.ndarray) -> list[np.ndarray]:
    """Successes and users (buckets, kinds), exposed and not."""
    places, at = np.unique(kind, return_inverse=True)
    shape = (stats.N_BUCKETS, 2, len(places))
    where = (cells["bucket"], exposed.astype(int), at)
    n, y = (stats.dense(cells[column], *where, shape=shape) for column in COUNTS[:2])
    return [a[:, side] for side in (1, 0) for a in (y, n)]


def _difference(
    cells: pd.DataFrame, kind: np.ndarray, exposed: np.ndarray, n_accounts: float
) -> tuple[float, float, float]:
    """Of shares among users of one kind (Mantel-Haenszel), errors by bucket."""
    if cells.empty or not 0 < exposed.sum() < len(exposed):
        return (np.nan, np.nan, np.nan)
    sides = _sides(cells, kind, exposed)
    accounts = np.inf if np.isnan(n_accounts) else n_accounts
    design = stats.difference_design(*sides, n_accounts=accounts)
    found = stats.mantel_haenszel(*(a.sum(axis=0) for a in sides), design=design)
    return float(found.value), float(found.low), float(found.high)


def _score(cells: pd.DataFrame, kind: np.ndarray, exposed: np.ndarray) -> np.ndarray:
    """By bucket, how much oftener the exposed succeed than their kind does: 0 where none is."""
    k, n, k_0, n_0 = _sides(cells, kind, exposed)
    size = np.maximum((n + n_0).sum(axis=0), 1)
    rate, share = (k + k_0).sum(axis=0) / size, n.sum(axis=0) / size
    found = (k - n * rate) * (1 - share) - (k_0 - n_0 * rate) * share
    return np.asarray(found.sum(axis=1))


def _told(
    table: pd.DataFrame, label: str, outcome: Outcome, clock: Clock, landmark: int
) -> dict[str, Any]:
    """The words of a `Thresholds`."""
    rule = (
        f"{label} at least {phrases.listed(map(str, ACTIONS), last='or')} times within "
        f"{phrases.listed([str(d) for d in DAYS if d <= landmark], last='or')} days after "
        f"{clock.start.label}; users at risk on day {landmark}, among those of one kind; then "
        f"{outcome.rule}. The best is looked for among the earlier users and read among the later."
    )
    best = table[table["best"]]
    if best.empty:
        few = "too few users or accounts" if clock.accounts else "too few users"
        finding = brief(f"No threshold of {named(label)} can be tried", f": {few}")
        return {"finding": finding, "rule": rule, "tells": {"thresholds": few}}
    row = best.iloc[0]
    what = f"{row['at_least']:.0f} or more {named(label)} in {row['within_days']:.0f} days"
    low, high = (row[f"late_difference_rate_ci_{end}"] for end in ("lower", "upper"))
    found = row["pvalue"] <= stats.MAX_FALSE and low * high > 0
    turns = found and row["early_difference_rate"] * row["late_difference_rate"] < 0
    holds = found and not turns
    lost = "turns round for later users" if turns else "may be chance"
    p = "p below 0.001" if row["pvalue"] < 0.001 else f"p {row['pvalue']:.3f}"
    often = "more" if row["late_difference_rate"] > 0 else "less"
    finding = (
        brief(f"Users with {what} {outcome.done} {often} often", ", later ones too")
        if holds
        else brief(f"No threshold of {named(label)} holds", f": the best, {what}, {lost}")
    )
    return {
        "finding": finding,
        "rule": rule,
        "tells": {"thresholds": f"{what}: {'holds' if holds else 'no threshold holds'}"},
        "details": (
            f"The best of {len(table)} thresholds tried, {what}: {narrative.worth(row)} "
            f"({p}, the search allowed for).",
        ),
    }
