"""Shares and their differences, users alone or in clusters (accounts): intervals and tests.

Where counts are by cluster, clusters are the first axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mctlib.stats.student import FloatArray, Z, t_point

MIN_CLUSTERS = 10  # below it no interval is given
MIN_USERS, MIN_SHARE = 30, 0.02  # on either side of a comparison; below, no test is worth it
MAX_FALSE = 0.05  # of what is named, at most this share is expected to be chance


class Design(NamedTuple):
    """What clusters do to a difference: its design effect, and the degrees of freedom of its t."""

    effect: FloatArray
    df: FloatArray


class ClusterRate(NamedTuple):
    """Interval of a share by cluster, its design effect, and how many clusters it rests on."""

    low: FloatArray
    high: FloatArray
    design_effect: FloatArray
    n_clusters: FloatArray


class Difference(NamedTuple):
    """A difference of two shares, its interval, and the p-value of its test."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    pvalue: FloatArray


def rate(n_success: ArrayLike, n: ArrayLike) -> FloatArray:
    """n_success / n (shapes may broadcast), NaN where n is 0."""
    k, n = np.broadcast_arrays(np.asarray(n_success, float), np.asarray(n, float))
    return np.divide(k, n, out=np.full(n.shape, np.nan), where=n > 0)


def wilson(n_success: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Wilson's score interval of a share: low, high; NaN where n is 0.

    Counts may be fractional (effective sizes). Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    n = np.asarray(n, float)
    p = rate(n_success, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = p + Z**2 / (2 * n)
        half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        low, high = ((centre + sign * half) / (1 + Z**2 / n) for sign in (-1, 1))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def newcombe(
    n_success: ArrayLike,
    n: ArrayLike,
    n_success_0: ArrayLike,
    n_0: ArrayLike,
    *,
    design: Design | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Interval of the difference of two independent shares, p - p_0 (Newcombe 1998, method 10).

    With ``design`` n users tell as much as n / design effect, and t takes the place of the normal.
    """
    k, n, k_0, n_0 = (np.asarray(a, float) for a in (n_success, n, n_success_0, n_0))
    if design is not None:
        fewer = design.effect * (t_point(design.df) / Z) ** 2
        k, n, k_0, n_0 = (a / fewer for a in (k, n, k_0, n_0))
    (low, low_0), (high, high_0) = wilson(np.array([k, k_0]), np.array([n, n_0]))
    p, p_0 = k / n, k_0 / n_0
    below, above = np.hypot(p - low, high_0 - p_0), np.hypot(high - p, p_0 - low_0)
    return p - p_0 - below, p - p_0 + above


def count_clusters(
    n: ArrayLike,
    n_alone: ArrayLike = 0,
    *,
    n_accounts: ArrayLike = np.inf,
    alike: bool = True,
) -> FloatArray:
    """How many clusters users tell as much as, from users (clusters, ...) and users without one.

    A few large accounts beside many users without one are not many clusters, though each such user
    is one: then it is the effective number (sum n)^2 / sum n^2 (Carter, Schnepel & Steigerwald
    2017), where that is above the number of accounts. Without such users it is the number of
    accounts that have users. ``n_accounts``: where ``n`` is by hash bucket, accounts in all of
    them; a bucket beyond that holds users without an account. Not ``alike``: accounts of unlike
    sizes too count as their effective number, but for the first `MIN_CLUSTERS`.
    """
    n, n_alone = np.asarray(n, float), np.asarray(n_alone, float)
    effective = rate((n.sum(axis=0) + n_alone) ** 2, (n**2).sum(axis=0) + n_alone)
    accounts = np.minimum((n > 0).sum(axis=0), n_accounts)
    return np.fmax(effective, accounts if alike else np.minimum(accounts, MIN_CLUSTERS))


def cluster_rate(
    n_success: ArrayLike,
    n: ArrayLike,
    *,
    alone: tuple[ArrayLike, ArrayLike] = (0, 0),
    n_accounts: float = np.inf,
) -> ClusterRate:
    """Interval of a share whose users sit in clusters.

    The variance is the jackknife's on the logit scale, (G - 1) / G times the sum over clusters of
    the squared change of the logit when a cluster is left out; that of the share itself where one
    cluster holds all successes, or all but them. Unlike a linearised variance, which lets a large
    account pull the share towards its own, it holds where sizes are very unlike (MacKinnon, Nielsen
    & Webb 2023), and so do t's degrees of freedom, one less than the effective number of clusters
    (`count_clusters`). The interval is `cluster_interval`'s. The design effect is that variance
    over that of n users alone: how many times more users it takes to know as much. It is NaN where
    clusters do not vary (at a share of 0 or 1, say); the interval then counts n^2 / sum n_g^2
    users, as if colleagues all did the same.

    Parameters
    ----------
    n_success, n : array (clusters, ...)
        Users; clusters without any do not count.
    alone : pair of arrays (...)
        n_success and n of the users who sit in no cluster.
    n_accounts : float
        See `count_clusters`.
    """
    k, n = np.asarray(n_success, float), np.asarray(n, float)
    k_alone, n_alone = (np.asarray(a, float) for a in alone)
    success, total = k.sum(axis=0) + k_alone, n.sum(axis=0) + n_alone
    squares = (n**2).sum(axis=0) + n_alone
    g = (n > 0).sum(axis=0) + n_alone
    p = rate(success, total)

    def changes(scale: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Sum over clusters, and users alone, of the squared change on a scale."""
        without = scale(rate(success - k, total - n)) - scale(p)
        goes, stays = (scale(rate(success - a, total - 1)) - scale(p) for a in (1, 0))
        by_cluster = np.where(n > 0, without**2, 0).sum(axis=0)
        rest = np.where(k_alone > 0, k_alone * goes**2, 0)
        rest = rest + np.where(n_alone > k_alone, (n_alone - k_alone) * stays**2, 0)
        return (g - 1) / g * (by_cluster + rest)

    with np.errstate(divide="ignore", invalid="ignore"):
        known = p * (1 - p)
        on_logit, plain = changes(lambda x: np.log(x / (1 - x))), changes(np.asarray) / known**2
        effect = np.where(np.isfinite(on_logit), on_logit, plain) * total * known
    effect = np.where(effect > 1e-9, effect, np.nan)  # not 0 but for rounding
    counted = count_clusters(n, n_alone, n_accounts=n_accounts, alike=False)
    in_use = np.where(np.isnan(effect), rate(squares, total), effect)
    return ClusterRate(*cluster_interval(p, total, in_use, counted), effect, counted)


def share_interval(
    n_success: ArrayLike, n: ArrayLike, *, n_accounts: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Interval of a share from users by hash bucket (axis 0): low, high, design effect.

    An account lies in one bucket whole, so buckets are clusters too, only fewer. ``n_accounts``:
    NaN where there are none; then Wilson's interval of all users, and no design effect. Below
    `MIN_CLUSTERS` clusters there is neither.
    """
    k, n = np.broadcast_arrays(np.asarray(n_success, float), np.asarray(n, float))
    if np.isnan(n_accounts):
        low, high = wilson(k.sum(axis=0), n.sum(axis=0))
        return low, high, np.full(low.shape, np.nan)
    low, high, effect, n_clusters = cluster_rate(k, n, n_accounts=n_accounts)
    return low, high, np.where(n_clusters >= MIN_CLUSTERS, effect, np.nan)


def cluster_interval(
    p: ArrayLike, n: ArrayLike, design_effect: ArrayLike, n_clusters: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Interval of a share p of n users that are worth n / design_effect independent ones.

    t with n_clusters - 1 degrees of freedom on the logit scale; Wilson at 0 and 1. NaN below
    `MIN_CLUSTERS`, where the variance itself is hardly known. n may be fractional (effective).
    """
    from scipy.special import expit, logit

    p, g = np.asarray(p, float), np.asarray(n_clusters, float)
    n = np.asarray(n, float) / design_effect
    edges = wilson(p * n, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = t_point(g - 1) / np.sqrt(n * p * (1 - p))
        inside = (p > 0) & (p < 1)
        low = np.where(inside, expit(logit(p) - half), edges[0])
        high = np.where(inside, expit(logit(p) + half), edges[1])
    enough = g >= MIN_CLUSTERS
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def fdr(pvalue: ArrayLike) -> FloatArray:
    """Benjamini-Hochberg q-values; missing p-values stay missing and do not count as tests."""
    p = np.asarray(pvalue, float)
    q, known = np.full(p.shape, np.nan), ~np.isnan(p)
    # as scipy.stats.false_discovery_control, which takes most of a second to import
    falling = np.argsort(p[known])[::-1]
    n = len(falling)
    least = np.minimum.accumulate(p[known][falling] * (n / np.arange(n, 0, -1)))
    q[known] = np.minimum(least, 1)[np.argsort(falling)]
    return q


def differs(
    low: ArrayLike, high: ArrayLike, qvalue: ArrayLike, *, same: float = 0.0
) -> NDArray[np.bool_]:
    """Whether a thing may be named: both its own interval and its q-value say that it differs.

    The interval, which stands beside the name, leaves out what would be the ``same``; the q-value
    (`fdr`) keeps it so among many things that were tried.
    """
    low, high = np.asarray(low, float) - same, np.asarray(high, float) - same
    apart: NDArray[np.bool_] = (low * high > 0) & (np.asarray(qvalue, float) <= MAX_FALSE)
    return apart


def risk_ratio(
    k: ArrayLike, n: ArrayLike, k_0: ArrayLike, n_0: ArrayLike, *, design: Design | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ratio of two shares (k / n) / (k_0 / n_0) over strata (the last axis), and its interval.

    Mantel-Haenszel weights with the variance of Greenland & Robins 1985, on the log scale; with one
    stratum Katz's. Ends are NaN where nobody or no one else had the event. ``design``: see
    `mantel_haenszel`.
    """
    k, n, k_0, n_0 = (np.asarray(a, float) for a in (k, n, k_0, n_0))
    both = n + n_0
    some: dict[str, Any] = {"axis": -1, "where": both > 0}
    with np.errstate(divide="ignore", invalid="ignore"):
        own, others = (k * n_0 / both).sum(**some), (k_0 * n / both).sum(**some)
        slope = ((n * n_0 * (k + k_0) - k * k_0 * both) / both**2).sum(**some)
        half = Z * np.sqrt(slope / (own * others))
        ratio = np.where(others > 0, own / others, np.nan)
        if design is not None:
            half = half * np.sqrt(design.effect) * t_point(design.df) / Z
        width = np.where((own > 0) & (others > 0), np.exp(half), np.nan)
        return ratio, ratio / width, ratio * width


def mantel_haenszel(
    k: ArrayLike, n: ArrayLike, k_0: ArrayLike, n_0: ArrayLike, *, design: Design | None = None
) -> Difference:
    """Difference of two shares k / n - k_0 / n_0 over strata (the last axis, which it takes away).

    Mantel-Haenszel weights with Sato's variance, right for few large and for many small strata
    (Greenland & Robins 1985; Sato 1989); the p-value is the Cochran-Mantel-Haenszel test's, without
    continuity correction. A stratum that lacks one side says nothing; NaN where all do.
    With ``design`` the variances are multiplied by the design effect, and t and F take the places
    of the normal and chi-squared.
    """
    from scipy.special import chdtrc, fdtrc

    k, n, k_0, n_0 = (np.asarray(a, float) for a in (k, n, k_0, n_0))
    both, on = n + n_0, k + k_0
    some: dict[str, Any] = {"axis": -1, "where": both > 0}
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (n * n_0 / both).sum(**some)
        difference = ((k * n_0 - k_0 * n) / both).sum(**some) / weight
        slope = (n**2 * k_0 - n_0**2 * k + n * n_0 * (n_0 - n) / 2) / both**2
        level = (k * (n_0 - k_0) + k_0 * (n - k)) / (2 * both)
        half = Z * np.sqrt(difference * slope.sum(**some) + level.sum(**some)) / weight
        variance = n * n_0 * on * (both - on) / (both**2 * (both - 1))
        chi2 = (difference * weight) ** 2 / variance.sum(axis=-1, where=both > 1)
        if design is None:
            pvalue = chdtrc(1, chi2)
        else:
            half = half * np.sqrt(design.effect) * t_point(design.df) / Z
            pvalue = fdtrc(1, design.df, chi2 / design.effect)
    return Difference(difference, difference - half, difference + half, pvalue)


def difference_design(
    k: ArrayLike, n: ArrayLike, k_0: ArrayLike, n_0: ArrayLike, *, n_accounts: float = np.inf
) -> Design:
    """What clusters do to a difference of `mantel_haenszel`, from counts (clusters, ..., strata).

    The design effect is the jackknife's variance, (G - 1) / G times the sum over clusters of the
    squared change of the difference when a cluster is left out, over Sato's. The jackknife holds
    its level where the scores of a cluster-robust regression do not: accounts of very different
    sizes, few of them in a stratum or on a side (MacKinnon, Nielsen & Webb 2023). It may be below
    1: colleagues on both sides of a comparison make it surer. Degrees of freedom: the clusters
    (`count_clusters`) of the side that has fewer, less one. NaN below `MIN_CLUSTERS` of them, and
    where leaving one out changes nothing.
    """
    own = [np.asarray(a, float) for a in (k, n, k_0, n_0)]
    total = [a.sum(axis=0) for a in own]
    whole = mantel_haenszel(*total)
    without = mantel_haenszel(*(t - a for t, a in zip(total, own))).value
    # users in strata that have both sides
    side = (own[1] * (total[3] > 0)).sum(axis=-1)
    side_0 = (own[3] * (total[1] > 0)).sum(axis=-1)
    fewer = np.minimum(*(count_clusters(s, n_accounts=n_accounts) for s in (side, side_0)))
    g = (side + side_0 > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        jackknife = (g - 1) / g * ((without - whole.value) ** 2).sum(axis=0)
        effect = jackknife / ((whole.value - whole.low) / Z) ** 2
    return Design(np.where((fewer >= MIN_CLUSTERS) & (effect > 1e-9), effect, np.nan), fewer - 1)
