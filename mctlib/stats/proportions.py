"""Intervals, incidence under censoring, decompositions, false discovery: thin names over scipy, closed forms where a library has none or takes a second to import."""

from __future__ import annotations

import numpy as np

Z = 1.959963984540054  # 97.5 % point of the standard normal: every interval here is a 95 % interval
MIN_CLUSTERS = 10  # below it no interval is given
MIN_USERS, MIN_SHARE = (
    30,
    0.02,
)  # on either side of a comparison; below, a difference is not worth a test
Design = tuple[
    np.ndarray, np.ndarray
]  # design effect of a difference and its degrees of freedom, from `difference_design`


def wilson(n_success: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a proportion (Wilson 1927; Brown, Cai & DasGupta 2001); NaN where n is 0. Counts may be fractional (effective sizes)."""
    n = np.asarray(n, float)
    p = rate(n_success, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        low, high = ((p + Z**2 / (2 * n) + sign * half) / (1 + Z**2 / n) for sign in (-1, 1))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def newcombe(
    n_success: float, n: float, n_success_0: float, n_0: float, *, design: Design | None = None
) -> tuple[float, float]:
    """Interval of the difference of two independent proportions, p - p_0 (Newcombe 1998, method 10).

    ``design``: where users sit in clusters; n users then tell as much as n / design effect, and t takes the place of the normal.
    """
    if design is not None:
        fewer = design[0] * (_t(design[1]) / Z) ** 2
        n_success, n, n_success_0, n_0 = (a / fewer for a in (n_success, n, n_success_0, n_0))
    (low, low_0), (high, high_0) = wilson(np.array([n_success, n_success_0]), np.array([n, n_0]))
    p, p_0 = n_success / n, n_success_0 / n_0
    return p - p_0 - np.hypot(p - low, high_0 - p_0), p - p_0 + np.hypot(high - p, p_0 - low_0)


def count_clusters(
    n: np.ndarray, n_alone: np.ndarray | float = 0, *, n_accounts: float = np.inf
) -> np.ndarray:
    """How many clusters users tell as much as: the accounts, ``n`` (..., accounts) users in each, and ``n_alone`` users without one.

    A few large accounts beside many users without one are not many clusters, though each such user is one: then it is the effective number (sum n)^2 / sum n^2
    (Carter, Schnepel & Steigerwald 2017), where that is above the number of accounts. Without such users it is the number of accounts with users.
    ``n_accounts``: where ``n`` are users of hash buckets, how many accounts there are in all of them; a bucket more than that holds users without one.
    """
    n = np.asarray(n, float)
    effective = rate((n.sum(axis=-1) + n_alone) ** 2, (n**2).sum(axis=-1) + n_alone)
    return np.fmax(effective, np.minimum((n > 0).sum(axis=-1), n_accounts))


def cluster_rate(
    n_success: np.ndarray,
    n: np.ndarray,
    *,
    alone: tuple[np.ndarray | float, np.ndarray | float] = (0, 0),
    n_accounts: float = np.inf,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Interval of a proportion whose users sit in clusters: low, high, design effect, number of clusters (`count_clusters`).

    ``n_success``, ``n``: (..., clusters) users; clusters without users do not count. ``alone``: n_success, n of users who sit in none; ``n_accounts``: see `count_clusters`. The variance is that of a ratio,
    G / (G - 1) sum (y_g - p n_g)^2 / n^2 (linearised), the interval `cluster_interval`'s. The design effect is that variance over p (1 - p) / n: how many times more users
    it takes to know as much. It is NaN where clusters do not vary (at a share of 0 or 1, say); the interval then counts n^2 / sum n_g^2 users, as if those of a
    cluster all did the same.
    """
    k, n, k_alone, n_alone = (np.asarray(a, float) for a in (n_success, n, *alone))
    total, clusters, squares = (
        n.sum(axis=-1) + n_alone,
        (n > 0).sum(axis=-1) + n_alone,
        (n**2).sum(axis=-1) + n_alone,
    )
    p = rate(k.sum(axis=-1) + k_alone, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (
            ((k - p[..., None] * n) ** 2).sum(axis=-1)
            + k_alone * (1 - p) ** 2
            + (n_alone - k_alone) * p**2
        )
        effect = clusters / (clusters - 1) * apart / (total * p * (1 - p))
    effect = np.where(effect > 1e-9, effect, np.nan)  # not 0 but for rounding
    counted = count_clusters(n, n_alone, n_accounts=n_accounts)
    low, high = cluster_interval(
        p, total, np.where(np.isnan(effect), rate(squares, total), effect), counted
    )
    return low, high, effect, counted


def share_interval(
    n_success: np.ndarray, n: np.ndarray, *, n_accounts: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interval of a proportion from counts by bucket, the first axis: low, high, design effect.

    ``n_accounts``: accounts in which users sit, NaN where there are none. One account lies in one bucket whole, so buckets are clusters too, only fewer: `cluster_rate`
    over them. Without accounts Wilson's interval of all users, and no design effect. Below `MIN_CLUSTERS` clusters (`count_clusters`) there is neither.
    """
    k, n = np.broadcast_arrays(n_success, n)
    if np.isnan(n_accounts):
        low, high = wilson(k.sum(axis=0), n.sum(axis=0))
        return low, high, np.full(low.shape, np.nan)
    low, high, effect, n_clusters = cluster_rate(
        np.moveaxis(k, 0, -1), np.moveaxis(n, 0, -1), n_accounts=n_accounts
    )
    return low, high, np.where(n_clusters >= MIN_CLUSTERS, effect, np.nan)


def cluster_interval(
    p: np.ndarray, n: np.ndarray, design_effect: np.ndarray, n_clusters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share p of n users (effective, may be fractional) that are worth n / design_effect independent ones.

    t with n_clusters - 1 degrees of freedom on the logit scale; Wilson at 0 and 1. NaN below `MIN_CLUSTERS`, where the variance itself is hardly known.
    """
    from scipy.special import expit, logit

    p, n, g = (
        np.asarray(p, float),
        np.asarray(n, float) / design_effect,
        np.asarray(n_clusters, float),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        half = _t(g - 1) / np.sqrt(n * p * (1 - p))
        inside = (p > 0) & (p < 1)
        ends = [
            np.where(inside, expit(logit(p) + sign * half), edge)
            for sign, edge in zip((-1, 1), wilson(p * n, n))
        ]
    low, high = (np.where(g >= MIN_CLUSTERS, end, np.nan) for end in ends)
    return low, high


def _t(df: np.ndarray) -> np.ndarray:
    """97.5 % point of Student's t."""
    from scipy.special import stdtrit

    return stdtrit(df, 0.975)


def rate(n_success: np.ndarray, n: np.ndarray) -> np.ndarray:
    """n_success / n (shapes may broadcast), NaN where n is 0."""
    k, n = np.broadcast_arrays(np.asarray(n_success, float), np.asarray(n, float))
    return np.divide(k, n, out=np.full(n.shape, np.nan), where=n > 0)


def fdr(pvalue: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q-values; missing p-values stay missing and do not count as tests."""
    from scipy.stats import false_discovery_control

    p = np.asarray(pvalue, float)
    q, known = np.full(p.shape, np.nan), ~np.isnan(p)
    q[known] = false_discovery_control(p[known]) if known.any() else []
    return q


def mantel_haenszel(
    k: np.ndarray,
    n: np.ndarray,
    k_0: np.ndarray,
    n_0: np.ndarray,
    *,
    design: Design | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Difference of two proportions k / n - k_0 / n_0 over strata (the last axis): estimate, interval, p-value, each without that axis.

    Mantel-Haenszel weights with Sato's variance, right for few large and for many small strata (Greenland & Robins 1985; Sato 1989); the p-value is the
    Cochran-Mantel-Haenszel test's, without continuity correction. A stratum that lacks one side says nothing; NaN where all do.
    ``design``: where users sit in clusters; the variances are multiplied by the design effect, and t and F take the places of the normal and chi-squared.
    """
    from scipy.special import chdtrc, fdtrc

    k, n, k_0, n_0 = (np.asarray(a, float) for a in (k, n, k_0, n_0))
    both, on = n + n_0, k + k_0
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (n * n_0 / both).sum(axis=-1, where=both > 0)
        difference = ((k * n_0 - k_0 * n) / both).sum(axis=-1, where=both > 0) / weight
        slope = ((n**2 * k_0 - n_0**2 * k + n * n_0 * (n_0 - n) / 2) / both**2).sum(
            axis=-1, where=both > 0
        )
        level = ((k * (n_0 - k_0) + k_0 * (n - k)) / (2 * both)).sum(axis=-1, where=both > 0)
        half = Z * np.sqrt(difference * slope + level) / weight
        variance = (n * n_0 * on * (both - on) / (both**2 * (both - 1))).sum(
            axis=-1, where=both > 1
        )
        chi2 = (difference * weight) ** 2 / variance
        if design is None:
            pvalue = chdtrc(1, chi2)
        else:
            effect, df = design
            half, pvalue = half * np.sqrt(effect) * _t(df) / Z, fdtrc(1, df, chi2 / effect)
    return difference, difference - half, difference + half, pvalue


def difference_design(
    k: np.ndarray, n: np.ndarray, k_0: np.ndarray, n_0: np.ndarray, *, n_accounts: float = np.inf
) -> Design:
    """What clusters do to a difference of `mantel_haenszel`: design effect and degrees of freedom, each without the first axis (clusters) and the last (strata).

    The design effect is the jackknife's variance, (G - 1) / G times the sum over clusters of the squared change of the difference when a cluster is left out, over Sato's.
    The jackknife holds its level where the scores of a cluster-robust regression do not: accounts of very different sizes, few of them in a stratum or on a side
    (MacKinnon, Nielsen & Webb 2023). It may be below 1: colleagues on both sides of a comparison make it surer. Degrees of freedom: the clusters with users
    on a side (`count_clusters`, ``n_accounts`` is of both sides), the fewer of the two, less one. NaN below `MIN_CLUSTERS` of them, and where leaving one out changes nothing.
    """
    own = [np.asarray(a, float) for a in (k, n, k_0, n_0)]
    total = [a.sum(axis=0) for a in own]
    difference, low, _, _ = mantel_haenszel(*total)
    without = mantel_haenszel(*(t - a for t, a in zip(total, own)))[0]
    sides = [
        (a * (other > 0)).sum(axis=-1) for a, other in ((own[1], total[3]), (own[3], total[1]))
    ]  # users in strata that have both sides
    clusters, fewer = (
        (sides[0] + sides[1] > 0).sum(axis=0),
        np.minimum(*(count_clusters(np.moveaxis(n, 0, -1), n_accounts=n_accounts) for n in sides)),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = (
            (clusters - 1)
            / clusters
            * ((without - difference) ** 2).sum(axis=0)
            / ((difference - low) / Z) ** 2
        )
    return np.where((fewer >= MIN_CLUSTERS) & (effect > 1e-9), effect, np.nan), fewer - 1
