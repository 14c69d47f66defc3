"""From counts to the rates, waits and curves of a funnel's segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.funnel.accounts import ANY, CLOSED, Clusters, Floats, Share
from mctlib.funnel.counts import Rule
from mctlib.phrases import DAY_US

Curve: TypeAlias = Mapping[str, Floats]
CURVE_POINTS = 60  # the printed curves are read at so many even times and so many even shares
QUANTILES = {"p25_days": 0.25, "median_days": 0.5, "p75_days": 0.75, "p90_days": 0.9}


@dataclass(frozen=True)
class Waits:
    """Users by how long a wait was, in ticks, and how it ended (see `count_funnel`)."""

    ticks: NDArray[np.int64]
    n_reached: NDArray[np.int64]
    n_left: NDArray[np.int64]
    n_stopped: NDArray[np.int64]
    n_pending: NDArray[np.int64]

    @cached_property
    def curve(self) -> Curve:
        """Share that got there by each time."""
        n_waiting = self.n_stopped + self.n_pending
        return stats.incidence_arrays(self.ticks, self.n_reached, n_waiting, self.n_left)

    @cached_property
    def supported(self) -> float:
        """The longest wait, in ticks, to which the curve may be read; any where all is seen."""
        if self.n_pending.any() or self.curve["n_censored"][:-1].any():
            return stats.supported_until(self.curve)
        return np.inf if len(self.curve["time"]) else np.nan


@dataclass(frozen=True)
class Counts:
    """The counts of one segment, or of everyone; lists are by step, from 1 at index 0."""

    reached: list[int]
    ever: list[int]
    n_closed: list[int]  # first entries that got there, of those whose window is closed
    n_open: list[int]
    since_entry: list[Waits]
    since_step: list[Waits]
    clusters: Clusters

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame], rule: Rule) -> Counts:
        """Counts of the tables of `count_funnel`, all or one segment's rows of each."""

        def users(name: str, column: str = "n_users") -> list[int]:
            table = tables[name]
            n = np.bincount(table["step"], table[column], minlength=rule.n_steps + 1)
            return [int(users) for users in n[1:]]

        def waits(name: str) -> list[Waits]:
            columns = [tables[name][field.name].to_numpy() for field in fields(Waits)]
            step = tables[name]["step"].to_numpy()
            return [Waits(*(c[step == k + 1] for c in columns)) for k in range(rule.n_steps)]

        since_entry, since_step = waits("since_entry"), waits("since_step")
        steps = zip(since_entry, since_step, rule.previous)

        return cls(
            reached=users("passed", "n_reached"),
            ever=users("ever"),
            n_closed=users("passed", "n_closed"),
            n_open=users("passed", "n_open"),
            since_entry=since_entry,
            since_step=[own if previous else entry for entry, own, previous in steps],
            clusters=Clusters.of(tables["passed"], rule),
        )

    @property
    def n_entered(self) -> int:
        """Users with a first entry."""
        return self.n_closed[0] + self.n_open[0]


def by_segment(tables: Mapping[str, pd.DataFrame], rule: Rule) -> dict[str, Counts]:
    """Counts of each segment with entrants, the largest first."""
    rows = {
        name: dict(list(table.groupby("segment")))
        for name, table in tables.items()
        if name != "checks"
    }
    found = {}
    for segment in sorted(rows["passed"]):
        mine = {name: parts.get(segment, tables[name].head(0)) for name, parts in rows.items()}
        found[segment] = Counts.of(mine, rule)
    return dict(sorted(found.items(), key=lambda item: -item[1].reached[0]))


def step_rows(
    counts: Counts,
    segment: str,
    labels: Sequence[str],
    rule: Rule,
    stand_in: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """The rows of one segment in `Funnel.steps`.

    ``stand_in``: correlations within accounts by step, where the segment's own is not known.
    """
    clusters = counts.clusters
    same = {
        "segment": segment,
        "n_entered": counts.n_entered,
        "n_accounts": clusters.n_accounts,
        "window_days": rule.window / DAY_US,
    }
    rows = [_first_row(counts) | {"horizon_days": rule.window / DAY_US}]
    icc = 1.0
    for step in range(2, len(labels) + 1):
        effect, _ = clusters.design(step, 1)
        own = _icc(effect, clusters.alike(closed=True))
        icc = _first_known(own, stand_in[step - 1] if stand_in else np.nan, icc)
        in_use = effect
        if not effect < 1:  # with those whose window is open there are more users an account
            in_use = float(np.fmax(effect, 1 + (clusters.alike() - 1) * icc))
        row = _since_entry(counts, step, rule, in_use)
        row |= _step_rate(counts, step, int(rule.previous[step - 1]) + 1)
        row |= _waiting_times(counts.since_step[step - 1], rule)
        rows.append(row | {"design_effect": effect, "design_in_use": in_use})
    for k, row in enumerate(rows):
        row |= same | {"step": k + 1, "event": labels[k]}
        row |= {"n_reached": counts.reached[k], "n_any_order": counts.ever[k]}
    return rows


def curves(counts: Counts, rows: Sequence[dict[str, Any]], rule: Rule) -> pd.DataFrame:
    """`Funnel.times` of the segment that has these counts and rows."""
    found = []
    for row in rows[1:]:
        step = row["step"]
        effect, n_clusters = counts.clusters.design(step, int(rule.previous[step - 1]) + 1)
        effect = _first_known(effect, row["design_in_use"])
        printed = _printed(counts.since_step[step - 1].curve, rule, effect, n_clusters)
        same = {name: row[name] for name in ("segment", "step", "event")}
        found.append(pd.DataFrame(same | printed))
    return pd.concat(found, ignore_index=True)[TIME_COLUMNS]


def _columns(*names: str) -> list[str]:
    """Names in order, an interval's two ends after a rate."""
    found: list[str] = []
    for name in names:
        found += interval_columns(name, 0, 0, 0) if name.endswith("_rate") else [name]
    return found


STEP_COLUMNS = [
    *_columns("segment", "step", "event", "n_entered", "n_reached", "n_any_order", "n_pending"),
    *_columns("n_competing", "conversion_rate", "difference_rate", "qvalue", "differs"),
    *_columns("design_effect", "n_accounts", "window_days", "horizon_days", "horizon_rate"),
    *_columns("naive_rate", "n_closed", "step_rate", *QUANTILES),
]
TIME_COLUMNS = _columns("segment", "step", "event", "days", "reached_rate", "n_at_risk")


def _first_row(counts: Counts) -> dict[str, Any]:
    """Step 1: everyone who entered is there."""
    all_of = Share(1.0, 1.0, 1.0)
    return {
        "n_pending": 0,
        "n_competing": 0,
        **_rate("conversion_rate", all_of if counts.n_entered else Share()),
        **_rate("horizon_rate", all_of if counts.n_entered else Share()),
        **_rate("naive_rate", all_of if counts.reached[0] else Share()),
        **_rate("step_rate", Share()),
        "n_closed": np.nan,
        **dict.fromkeys(QUANTILES, np.nan),
        "design_effect": np.nan,
    }


def _since_entry(counts: Counts, step: int, rule: Rule, design_effect: float) -> dict[str, Any]:
    """Who waits or left, and the shares of first entries and of any attempt."""
    waits = counts.since_entry[step - 1]
    curve, end = waits.curve, rule.ticks(rule.window)
    horizon = float(np.minimum(end, waits.supported))  # NaN where it is
    so_far = _share(curve, horizon, design_effect, counts.clusters.n_clusters)
    conversion = so_far if horizon == end else Share()
    naive = counts.clusters.share(counts.reached[step - 1], counts.reached[0], step, 1, ANY)
    return {
        "n_pending": int(waits.n_pending.sum()),
        "n_competing": int(waits.n_left.sum()),
        "n_effective": conversion.n,
        "horizon_days": rule.days(horizon),
        **_rate("conversion_rate", conversion),
        **_rate("horizon_rate", so_far),
        **_rate("naive_rate", naive),
    }


def _rate(name: str, share: Share) -> dict[str, float]:
    return interval_columns(name, share.value, share.low, share.high)


def _step_rate(counts: Counts, step: int, base: int) -> dict[str, float]:
    """Of users with a closed window at the step before (``base``), the share who went on."""
    n = counts.n_closed[base - 1]
    share = counts.clusters.share(counts.n_closed[step - 1], n, step, base, CLOSED)
    return {"n_closed": n, **_rate("step_rate", share)}


def _waiting_times(waits: Waits, rule: Rule) -> dict[str, float]:
    """Quantiles of the wait since the step before, as far as it is known."""
    curve = waits.curve
    until = waits.supported
    found = {name: stats.quantile(curve, at) for name, at in QUANTILES.items()}
    return {name: rule.days(tick if tick <= until else np.nan) for name, tick in found.items()}


def against_others(rows: pd.DataFrame) -> pd.DataFrame:
    """`Funnel.steps` with each segment's conversion rate less that of all other users.

    The others' rate is what everyone's leaves for them, of as many independent users as they are
    among everyone; then Newcombe's interval, the score test, and Benjamini-Hochberg over the
    segments. Where a side has fewer than 30 entrants, or its rate is not known, nothing is said.
    """
    names = interval_columns("difference_rate", 0, 0, 0)
    rows = rows.assign(**dict.fromkeys([*names, "qvalue"], np.nan), differs=False)
    total = rows[rows["segment"] == "all"]
    if len(total) == len(rows):
        return rows
    used = ["n_entered", "conversion_rate", "n_effective"]
    everyone = total.set_index("step")[used].reindex(rows["step"])
    (n, p, worth), (n_all, p_all, worth_all) = (t.to_numpy(float).T for t in (rows[used], everyone))
    others = n_all - n
    large = (np.minimum(n, others) >= stats.MIN_USERS) & (rows["step"] > 1)
    at = np.flatnonzero(large & (worth > 0) & (worth_all > 0))
    if not len(at):
        return rows
    n, p, worth, n_all, others = (a[at] for a in (n, p, worth, n_all, others))
    p_0 = np.clip((n_all * p_all[at] - n * p) / others, 0, 1)
    sides = p * worth, worth, p_0 * worth_all[at] * others / n_all, worth_all[at] * others / n_all
    low, high = stats.newcombe(*sides)
    pvalue = pd.Series(stats.mantel_haenszel(*(a[:, None] for a in sides)).pvalue)
    qvalue = pvalue.groupby(rows["step"].to_numpy()[at]).transform(stats.fdr)
    found = rows.columns.get_indexer([*names, "qvalue"])
    rows.iloc[at, found] = np.c_[p - p_0, low, high, qvalue]
    rows.iloc[at, rows.columns.get_loc("differs")] = stats.differs(low, high, qvalue)
    return rows


def correlations(rows: Sequence[dict[str, Any]], clusters: Clusters) -> list[float]:
    """Correlation within accounts at each step of a segment's rows."""
    alike = clusters.alike(closed=True)
    return [_icc(row["design_effect"], alike) for row in rows]


def _icc(design_effect: float, alike: float) -> float:
    """Correlation of colleagues: 0 where they are like any others, 1 where they do the same."""
    if alike > 1:
        return float(np.clip((design_effect - 1) / (alike - 1), 0, 1))
    return 0.0 if alike == 1 else np.nan


def _first_known(*values: float) -> float:
    return next((v for v in values if v == v), np.nan)


def _share(curve: Curve, tick: float, design_effect: float, n_clusters: float) -> Share:
    """Share who get there by then, and its interval.

    Wilson's, or by account, on the effective size p (1 - p) / Var, which is the plain one where
    nobody is pending.
    """
    time = curve["time"]
    if not len(time) or np.isnan(tick):
        return Share()
    p = stats.at_time(curve, tick)
    se = stats.at_time(curve, tick, "rate_se")
    if 0 < p < 1 and se > 0:
        n = p * (1 - p) / se**2
    else:
        n = curve["n_at_risk"][0] - curve["n_censored"][time < tick].sum()
    ends, worth = stats.wilson(p * n, n), float(n)
    if not np.isnan(n_clusters):
        ends = stats.cluster_interval(p, n, design_effect, n_clusters)
        worth = float(n / design_effect * (stats.Z / stats.t_point(n_clusters - 1)) ** 2)
    low, high = map(float, ends)
    return Share(p, low, high, np.nan if np.isnan(low) else worth)


def _printed(
    curve: Curve, rule: Rule, design_effect: float, n_clusters: float
) -> dict[str, Floats]:
    """The curve at even times and at even shares, from 0 on, while enough users are at risk.

    Its bands are as wide as the design effect asks.
    """
    n_at_risk = curve["n_at_risk"]
    n_rows = np.count_nonzero(n_at_risk >= stats.MIN_WAITING)  # they grow fewer with time
    time, rate, se = (np.r_[0.0, curve[c][:n_rows]] for c in ("time", "rate", "rate_se"))
    even = np.linspace(0, 1, CURVE_POINTS + 1)
    at_times = np.searchsorted(time, even * time[-1], side="right") - 1
    at_shares = np.searchsorted(rate, even * rate[-1])
    at = np.unique(np.r_[at_times, at_shares])
    at = at[np.diff(time[at], append=np.inf) > 0]  # of one time the last row
    if not np.isnan(n_clusters):
        se = se * np.sqrt(design_effect if n_clusters >= stats.MIN_CLUSTERS else np.nan)
    band = stats.cloglog_interval(rate[at], se[at])
    return {
        "days": rule.days(time[at]),
        **interval_columns("reached_rate", rate[at], *band),
        "n_at_risk": np.r_[n_at_risk[:1].sum(), n_at_risk][at],
    }
