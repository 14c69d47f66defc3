"""What users of one arm do more than those of another: shares and means. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats


class Effect(NamedTuple):
    """A difference, its interval and test; ``base``: what would have been without it."""

    value: float
    low: float
    high: float
    se: float
    df: float
    pvalue: float
    base: float
    design_effect: float = np.nan


@dataclass(frozen=True)
class Side:
    """The users of an arm.

    counts: those whose window is over, n_users by before, after (events) and, where users sit in
    accounts, cluster (numbered for all arms alike) · waits: all, n_reached and n_waiting by ticks
    from their start; None where every window is over.
    """

    counts: pd.DataFrame
    waits: pd.DataFrame | None = None

    def of(self, column: str) -> np.ndarray:
        """A column of the counts."""
        return self.counts[column].to_numpy(float)

    def n_users(self, pending: bool) -> int:
        """How many there are, with the pending ones or without."""
        if self.waits is None or not pending:
            return int(self.of("n_users").sum())
        return int(self.waits[["n_reached", "n_waiting"]].sum().sum())

    def mean(self, column: str) -> float:
        """Events per user."""
        return float(np.average(self.of(column), weights=self.of("n_users")))

    @property
    def n_clusters(self) -> int:
        """Clusters up to the last one that has users here."""
        return int(self.counts["cluster"].max()) + 1

    def sums(self, column: str, n_clusters: int) -> np.ndarray:
        """By cluster: users, and the sums of x, y, x squared and x times y.

        x are the events before, y those of the column.
        """
        n, x, y = (self.of(c) for c in ("n_users", "before", column))
        of = [
            np.bincount(self.counts["cluster"], n * z, n_clusters) for z in (1, x, y, x * x, x * y)
        ]
        return np.stack(of, axis=-1)

    def share(self, end: int) -> tuple[float, float]:
        """Share with the event by ``end``, and so many users as tell as much, none of them pending.

        Kaplan-Meier's: who is pending counts for as long as he was seen. NaN where too few were
        followed so long (`stats.supported_until`).
        """
        if self.waits is None:
            return self.mean("after"), float(self.of("n_users").sum())
        curve = stats.incidence_arrays(
            *(self.waits[c] for c in ("ticks", "n_reached", "n_waiting"))
        )
        if not stats.supported_until(curve) >= end:
            return np.nan, np.nan
        p, se = (stats.at_time(curve, end, column) for column in ("rate", "rate_se"))
        if 0 < p < 1:
            return p, p * (1 - p) / se**2
        return p, curve["n_at_risk"][0] - curve["n_censored"][curve["time"] < end].sum()


def of_shares(arm: Side, base: Side, end: int, *, n_accounts: float = np.nan) -> Effect:
    """Difference of the shares with the event by ``end``.

    Newcombe's interval and the score test; with accounts both with the jackknife's design effect of
    those whose window is over (`stats.difference_design`).
    """
    (p, n), (p_0, n_0) = arm.share(end), base.share(end)
    counts = p * n, n, p_0 * n_0, n_0
    design = None
    if n_accounts == n_accounts:
        by_cluster = _sums(arm, base, "after")
        k_and_n = [by_cluster[:, side, [of]] for side in (0, 1) for of in (2, 0)]
        design = stats.difference_design(*k_and_n, n_accounts=n_accounts)
    low, high = (float(e) for e in stats.newcombe(*counts, design=design))
    found = stats.mantel_haenszel(*(np.array([x]) for x in counts), design=design)
    effect, df = (float(x) for x in design or (1.0, np.inf))
    se = float(np.sqrt((p * (1 - p) / n + p_0 * (1 - p_0) / n_0) * effect))
    wide = effect if design else np.nan
    return Effect(p - p_0, low, high, se, df, float(found.pvalue), p_0, wide)


def of_means(
    arm: Side,
    base: Side,
    *,
    adjust: bool = False,
    n_accounts: float = np.nan,
    column: str = "after",
) -> Effect:
    """Difference of events per user; of those of ``column``.

    Adjusted for those before by a regression in each arm, centred at the mean of both (Lin 2013),
    with HC2 errors; else Welch's. With accounts the jackknife over them.
    """
    value, variance, df, expected = _difference(arm, base, adjust, column)
    wide = np.nan
    if n_accounts == n_accounts:
        plain = variance
        variance, df = _jackknifed(arm, base, adjust, column, n_accounts)
        wide = variance / plain if plain > 0 else np.nan
    se = float(np.sqrt(variance))
    low, high = (float(end) for end in stats.t_interval(value, se, df))
    return Effect(value, low, high, se, df, float(stats.t_pvalue(value, se, df)), expected, wide)


def _difference(
    arm: Side, base: Side, adjust: bool, column: str
) -> tuple[float, float, float, float]:
    """Difference, its variance, Satterthwaite's degrees of freedom, the reference's mean."""
    both = [np.r_[arm.of(c), base.of(c)] for c in ("before", "n_users")]
    centre = float(np.average(both[0], weights=both[1])) if adjust else None
    (mean, v, df), (mean_0, v_0, df_0) = (_fitted(side, centre, column) for side in (arm, base))
    shared = v**2 / df + v_0**2 / df_0
    return mean - mean_0, v + v_0, (v + v_0) ** 2 / shared if shared > 0 else np.nan, mean_0


def _fitted(side: Side, centre: float | None, column: str) -> tuple[float, float, float]:
    """Mean of a column at before = ``centre`` by least squares, HC2 variance, degrees of freedom.

    The plain mean where there is no centre, or before is the same for all.
    """
    n, x, y = (side.of(c) for c in ("n_users", "before", column))
    design = np.ones((len(x), 1))
    if centre is not None and np.ptp(x) > 0:
        design = np.c_[design, x - centre]
    inverse = np.linalg.inv(design.T @ (n[:, None] * design))
    coef = inverse @ design.T @ (n * y)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    square = n * (y - design @ coef) ** 2 / np.maximum(1 - leverage, 1e-12)
    variance = (inverse @ (design.T * square) @ design @ inverse)[0, 0]
    return float(coef[0]), float(variance), float(n.sum() - design.shape[1])


def _jackknifed(
    arm: Side, base: Side, adjust: bool, column: str, n_accounts: float
) -> tuple[float, float]:
    """Variance of the difference by leaving out clusters, and t's degrees of freedom."""
    sums = _sums(arm, base, column)
    n = sums[..., 0]
    fewer = float(stats.count_clusters(n, n_accounts=n_accounts).min())
    if fewer < stats.MIN_CLUSTERS:
        return np.nan, np.nan
    whole = _from_sums(sums.sum(axis=0), adjust)
    without = _from_sums(sums.sum(axis=0) - sums, adjust)
    g = np.count_nonzero(n.sum(axis=1))
    return float((g - 1) / g * ((without - whole) ** 2).sum()), fewer - 1


def _sums(arm: Side, base: Side, column: str) -> np.ndarray:
    """`Side.sums` of both (clusters, sides, sums)."""
    n_clusters = max(arm.n_clusters, base.n_clusters)
    return np.stack([side.sums(column, n_clusters) for side in (arm, base)], axis=1)


def _from_sums(sums: np.ndarray, adjust: bool) -> np.ndarray:
    """`_difference` from `Side.sums` (..., sides, sums)."""
    n, x, y, xx, xy = np.moveaxis(sums, -1, 0)
    spread = xx - x**2 / n
    varies = adjust & (spread > 1e-9 * xx)  # not 0 but for rounding
    slope = np.where(varies, xy - x * y / n, 0.0) / np.where(varies, spread, 1.0)
    centre = x.sum(axis=-1, keepdims=True) / n.sum(axis=-1, keepdims=True)
    mean = y / n + slope * (centre - x / n)
    return mean[..., 0] - mean[..., 1]
