"""From counts to the rates, waits and curves of a funnel's segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import stats
from mctlib.contract import MISSING, interval_columns
from mctlib.funnel.counts import Rule
from mctlib.phrases import DAY_US

Floats: TypeAlias = NDArray[np.float64]
Curve: TypeAlias = Mapping[str, Floats]
MIN_FOLLOWED = 10  # a share is read no later than the time to which so many were followed
CURVE_POINTS = 60  # the printed curves are read at so many even times and so many even shares
QUANTILES = {"p25_days": 0.25, "median_days": 0.5, "p75_days": 0.75, "p90_days": 0.9}


class Share(NamedTuple):
    """A share with its interval."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan


class Waits(NamedTuple):
    """Users by how long a wait was, in ticks, and how it ended (see `count_funnel`)."""

    ticks: NDArray[np.int64]
    n_reached: NDArray[np.int64]
    n_left: NDArray[np.int64]
    n_stopped: NDArray[np.int64]
    n_pending: NDArray[np.int64]

    @property
    def curve(self) -> Curve:
        """Share that got there by each time."""
        n_waiting = self.n_stopped + self.n_pending
        return stats.incidence_arrays(self.ticks, self.n_reached, n_waiting, self.n_left)


@dataclass(frozen=True)
class Clusters:
    """What accounts do to the shares of one segment, from users by account, step and window."""

    n: NDArray[Any] | None  # (1 + accounts, steps, closed or open), the first without an account

    @classmethod
    def of(cls, passed: pd.DataFrame, rule: Rule) -> Clusters:
        """Clusters of the table "passed"."""
        if not rule.accounts:
            return cls(None)
        code = pd.factorize(passed["account"].where(passed["account"] != MISSING))[0]
        at = (code + 1, passed["step"] - 1)
        shape = (int(code.max(initial=-1)) + 2, rule.n_steps)
        both = [stats.dense(passed[n], *at, shape=shape) for n in ("n_closed", "n_open")]
        return cls(np.stack(both, axis=-1))

    def _entered(self, closed: bool) -> tuple[Floats, float]:
        assert self.n is not None
        users = self.n[:, 0, 0] if closed else self.n[:, 0].sum(axis=1)
        return users[1:], float(users[0])

    def alike(self, closed: bool = False) -> float:
        """The design effect if colleagues all did the same, of first entries (closed windows)."""
        if self.n is None:
            return np.nan
        n, alone = self._entered(closed)
        return float(stats.rate(n @ n + alone, n.sum() + alone))

    @property
    def n_clusters(self) -> float:
        """Clusters that the first entries tell as much as (`stats.count_clusters`)."""
        if self.n is None:
            return np.nan
        return float(stats.count_clusters(*self._entered(False), alike=False))

    @property
    def n_accounts(self) -> float:
        """Accounts in which first entries sit."""
        return np.nan if self.n is None else float(np.count_nonzero(self._entered(False)[0]))

    def design(self, step: int, base: int) -> tuple[float, float]:
        """Of those at ``base`` who got to ``step``, windows closed: design effect and clusters."""
        if self.n is None:
            return np.nan, np.nan
        y, n = self.n[:, step - 1, 0], self.n[:, base - 1, 0]
        # not by name: sums must round alike whatever the accounts are called
        order = 1 + np.lexsort((y[1:], n[1:]))
        found = stats.cluster_rate(y[order], n[order], alone=(y[0], n[0]))
        known = found.n_clusters >= stats.MIN_CLUSTERS
        return float(found.design_effect) if known else np.nan, float(found.n_clusters)


@dataclass(frozen=True)
class Counts:
    """The counts of one segment, or of everyone; lists are by step, from 1 at index 0."""

    reached: list[int]
    ever: list[int]
    n_closed: list[int]  # first entries that got there, of those whose window is closed
    n_open: list[int]
    horizon: float  # the longest time, in ticks, to which enough of them were followed
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
            columns = [tables[name][c].to_numpy() for c in Waits._fields]
            step = tables[name]["step"].to_numpy()
            return [Waits(*(c[step == k + 1] for c in columns)) for k in range(rule.n_steps)]

        return cls(
            reached=users("reached"),
            ever=users("ever"),
            n_closed=users("passed", "n_closed"),
            n_open=users("passed", "n_open"),
            horizon=_horizon(tables["followed"]),
            since_entry=waits("since_entry"),
            since_step=waits("since_step"),
            clusters=Clusters.of(tables["passed"], rule),
        )

    @property
    def n_entered(self) -> int:
        """Users with a first entry."""
        return self.n_closed[0] + self.n_open[0]


def _horizon(followed: pd.DataFrame) -> float:
    longest_first = followed.sort_values("ticks", ascending=False)
    enough = longest_first["n_users"].cumsum() >= MIN_FOLLOWED
    return float(longest_first["ticks"][enough].max())


def by_segment(tables: Mapping[str, pd.DataFrame], rule: Rule) -> dict[str, Counts]:
    """Counts of each segment with entrants, the largest first."""
    rows = {
        name: dict(list(table.groupby("segment")))
        for name, table in tables.items()
        if name != "checks"
    }
    names = sorted(set(rows["reached"]) | set(rows["followed"]))
    found = {}
    for segment in names:
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
        "horizon_days": rule.days(counts.horizon),
    }
    rows = [_first_row(counts)]
    icc = 1.0
    for step in range(2, len(labels) + 1):
        effect, _ = clusters.design(step, 1)
        own = _icc(effect, clusters.alike(closed=True))
        icc = _first_known(own, stand_in[step - 1] if stand_in else np.nan, icc)
        in_use = effect
        if not effect < 1:  # with those whose window is open there are more users an account
            in_use = float(np.fmax(effect, 1 + (clusters.alike() - 1) * icc))
        row = _since_entry(counts, step, rule, in_use)
        step_effect, n_clusters = clusters.design(step, int(rule.previous[step - 1]) + 1)
        row |= _step_rate(counts, step, rule, _first_known(step_effect, in_use), n_clusters)
        curve = counts.since_step[step - 1].curve
        row |= {q: rule.days(stats.quantile(curve, at)) for q, at in QUANTILES.items()}
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
        found.append(printed.assign(**{name: row[name] for name in ("segment", "step", "event")}))
    return pd.concat(found, ignore_index=True)[TIME_COLUMNS]


def _columns(*names: str) -> list[str]:
    """Names in order, an interval's two ends after a rate."""
    found: list[str] = []
    for name in names:
        found += interval_columns(name, 0, 0, 0) if name.endswith("_rate") else [name]
    return found


STEP_COLUMNS = [
    *_columns("segment", "step", "event", "n_entered", "n_reached", "n_any_order", "n_pending"),
    *_columns("n_competing", "conversion_rate", "design_effect", "n_accounts", "window_days"),
    *_columns("horizon_days", "horizon_rate", "naive_rate", "step_rate", *QUANTILES),
]
TIME_COLUMNS = _columns("segment", "step", "event", "days", "reached_rate", "n_at_risk")


def _first_row(counts: Counts) -> dict[str, Any]:
    """Step 1: everyone who entered is there."""
    all_of = Share(1.0, 1.0, 1.0)
    return {
        "n_pending": 0,
        "n_competing": 0,
        **interval_columns("conversion_rate", *(all_of if counts.n_entered else Share())),
        **interval_columns("horizon_rate", *(all_of if counts.horizon >= 0 else Share())),
        **interval_columns("naive_rate", *(all_of if counts.reached[0] else Share())),
        **interval_columns("step_rate", *Share()),
        **dict.fromkeys(QUANTILES, np.nan),
        "design_effect": np.nan,
    }


def _since_entry(counts: Counts, step: int, rule: Rule, design_effect: float) -> dict[str, Any]:
    """Who waits or left, and the shares of first entries and of any attempt."""
    waits = counts.since_entry[step - 1]
    end, horizon = rule.ticks(rule.window), counts.horizon
    n_clusters = counts.clusters.n_clusters
    curve = waits.curve
    known = counts.n_closed[0] > 0 or not waits.n_pending.any()
    conversion = _share(curve, end, design_effect, n_clusters) if known else Share()
    so_far = conversion
    if horizon != end:
        so_far = _share(curve, horizon, design_effect, n_clusters)
    base = counts.reached[0]
    naive = float(stats.rate(counts.reached[step - 1], base))
    return {
        "n_pending": int(waits.n_pending.sum()),
        "n_competing": int(waits.n_left.sum()),
        **interval_columns("conversion_rate", *conversion),
        **interval_columns("horizon_rate", *so_far),
        **interval_columns("naive_rate", naive, *_ends(naive, base, design_effect, n_clusters)),
    }


def _step_rate(
    counts: Counts, step: int, rule: Rule, design_effect: float, n_clusters: float
) -> dict[str, float]:
    """Of users with a closed window at the step before, the share who went on."""
    n = counts.n_closed[rule.previous[step - 1]]
    value = float(stats.rate(counts.n_closed[step - 1], n))
    return interval_columns("step_rate", value, *_ends(value, n, design_effect, n_clusters))


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
    return Share(p, *_ends(p, n, design_effect, n_clusters))


def _ends(p: float, n: float, design_effect: float, n_clusters: float) -> tuple[float, float]:
    """Interval of a share of n users, effective; by account where there are any."""
    if np.isnan(n_clusters):
        low, high = stats.wilson(p * n, n)
    else:
        low, high = stats.cluster_interval(p, n, design_effect, n_clusters)
    return float(low), float(high)


def _printed(curve: Curve, rule: Rule, design_effect: float, n_clusters: float) -> pd.DataFrame:
    """The curve at even times and at even shares, from 0 on, while enough users are at risk.

    Its bands are as wide as the design effect asks.
    """
    n_at_risk = curve["n_at_risk"]
    n_rows = np.count_nonzero(n_at_risk >= MIN_FOLLOWED)  # they grow fewer with time
    time, rate, se = (np.r_[0.0, curve[c][:n_rows]] for c in ("time", "rate", "rate_se"))
    even = np.linspace(0, 1, CURVE_POINTS + 1)
    at_times = np.searchsorted(time, even * time[-1], side="right") - 1
    at_shares = np.searchsorted(rate, even * rate[-1])
    at = np.unique(np.r_[at_times, at_shares])
    at = at[np.diff(time[at], append=np.inf) > 0]  # of one time the last row
    if not np.isnan(n_clusters):
        se = se * np.sqrt(design_effect if n_clusters >= stats.MIN_CLUSTERS else np.nan)
    band = stats.cloglog_interval(rate[at], se[at])
    return pd.DataFrame(
        {
            "days": rule.days(time[at]),
            **interval_columns("reached_rate", rate[at], *band),
            "n_at_risk": np.r_[n_at_risk[:1].sum(), n_at_risk][at],
        }
    )
