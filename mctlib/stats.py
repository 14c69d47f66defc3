"""Intervals, incidence under censoring, decompositions, false discovery: thin names over scipy, closed forms where a library has none or takes a second to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

Z = 1.959963984540054  # 97.5 % point of the standard normal: every interval here is a 95 % interval
N_BUCKETS = 100
BLOCK = 2**22  # numbers that a block of draws may hold
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


def incidence(
    time: np.ndarray,
    n_event: np.ndarray,
    n_censored: np.ndarray,
    n_competing: np.ndarray | None = None,
    n_entering: np.ndarray | None = None,
) -> pd.DataFrame:
    """Share of users who had the event by each time, censored users counted for as long as they were seen.

    ``time``: distinct or repeated durations, any unit; the counts leave the risk set at that time, censored ones after the others. ``n_entering``: users
    who come into view just after that time and are at risk only from then on (left truncation; all others are from the start). Without a competing exit
    this is one minus Kaplan-Meier with Greenwood's variance; with one it is Aalen-Johansen with the delta-method variance that falls back to Greenwood's.
    Returns time, n_at_risk, n_event, n_competing, n_censored, rate, rate_se, rate_ci_lower, rate_ci_upper (complementary log-log).
    """
    curve = incidence_arrays(time, n_event, n_censored, n_competing, n_entering)
    low, high = cloglog_interval(curve["rate"], curve["rate_se"])
    return pd.DataFrame(curve | {"rate_ci_lower": low, "rate_ci_upper": high})


def incidence_arrays(
    time: np.ndarray,
    n_event: np.ndarray,
    n_censored: np.ndarray,
    n_competing: np.ndarray | None = None,
    n_entering: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """`incidence` without its interval, an array a column: for many curves of which little is shown."""
    time, at = np.unique(np.asarray(time), return_inverse=True)
    d, c, censored, entering = (
        np.zeros(len(time))
        if counts is None
        else np.bincount(at, weights=counts, minlength=len(time)).astype(float)
        for counts in (n_event, n_competing, n_censored, n_entering)
    )
    at_risk = (d + c + censored - entering)[::-1].cumsum()[::-1]
    n = np.where(at_risk > 0, at_risk, 1.0)  # nobody in view: nothing happens
    both = d + c
    after = np.cumprod(1 - both / n)
    before = np.r_[1.0, after[:-1]]
    f = np.cumsum(before * d / n)
    g = np.divide(both, n * (n - both), out=np.zeros_like(n), where=n > both)
    own = before * d / n**2
    variance = (
        f**2 * np.cumsum(g)
        - 2 * f * np.cumsum(f * g)
        + np.cumsum(f**2 * g)
        + np.cumsum(before**2 * (n - d) * d / n**3)
        - 2 * (f * np.cumsum(own) - np.cumsum(f * own))
    )
    return {
        "time": time,
        "n_at_risk": at_risk,
        "n_event": d,
        "n_competing": c,
        "n_censored": censored,
        "rate": f,
        "rate_se": np.sqrt(np.maximum(variance, 0)),
    }


def influence(curve: pd.DataFrame, weight: np.ndarray) -> np.ndarray:
    """What one user changes in sum(weight x rise of rate) of a curve from `incidence`: (3, rows) for a user who leaves at the row by the event, by a competing
    exit, or otherwise; one who came into view after row e has the third line's value at e less.

    ``weight``: one value a row; ones up to t give the rate at t, max(tau - time, 0) the days that the event takes from tau. The derivative by the user's own
    weight (infinitesimal jackknife): summed within clusters and squared it gives cluster-robust variances, as R's survfit(..., cluster =) does.
    """
    n, d, c = (curve[k].to_numpy(float) for k in ("n_at_risk", "n_event", "n_competing"))
    n, both = np.where(n > 0, n, 1.0), d + c
    before = np.r_[1.0, np.cumprod(1 - both / n)[:-1]]
    rise = weight * before * d / n
    gone = np.divide(
        1.0, n - both, out=np.zeros_like(n), where=n > both
    )  # what leaving takes from the share still waiting, relative to it
    stayed = np.cumsum(both / n * gone)  # and what staying gives it
    rest = rise.sum() - np.cumsum(rise)
    stay = np.cumsum(np.r_[0.0, stayed[:-1]] * rise) - np.cumsum(rise / n) + stayed * rest
    return np.vstack([stay + weight * before / n - gone * rest, stay - gone * rest, stay])


def cloglog_interval(f: np.ndarray, se: np.ndarray, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a cumulative share on the scale log(-log(1 - f)), the "log-log" of survival software; NaN at 0 and 1. ``z``: standard errors to either side."""
    inside = (f > 0) & (f < 1 - 1e-12)
    s = np.where(inside, 1 - f, 0.5)
    width = np.exp(z * np.where(inside, se, np.nan) / (s * -np.log(s)))
    return 1 - s ** (1 / width), 1 - s**width


def at_time(curve: pd.DataFrame, time: float, column: str = "rate", default: float = 0.0) -> float:
    """A step function's value at ``time`` (the last row not later), ``default`` before its first row."""
    i = int(np.searchsorted(curve["time"].to_numpy(), time, side="right")) - 1
    return float(curve[column].iloc[i]) if i >= 0 else default


def quantile(
    curve: pd.DataFrame | Mapping[str, np.ndarray], share: float, column: str = "rate"
) -> float:
    """First time at which the curve reaches ``share``; NaN when it never does."""
    reached = np.flatnonzero(np.asarray(curve[column]) >= share - 1e-12)
    return float(np.asarray(curve["time"])[reached[0]]) if len(reached) else np.nan


def restricted_mean(curve: pd.DataFrame, tau: float) -> tuple[float, float]:
    """Mean time not yet in the event within ``tau`` (tau minus the area under rate, from `incidence`) and its standard error.

    Without competing exits Var = sum_i A_i^2 d_i / (n_i (n_i - d_i)), A_i = area under 1 - rate from t_i to tau (as R's survRM2). With them a user who
    exits stays out of the event until tau; the variance is the delta method over the multinomial increments d_i / n_i, c_i / n_i, and the same without.
    """
    part = curve[(curve["time"] < tau) & (curve["n_at_risk"] > 0)]
    n, d, c = (part[k].to_numpy(float) for k in ("n_at_risk", "n_event", "n_competing"))
    stay = 1 - (d + c) / n
    own = (tau - part["time"].to_numpy(float)) * np.r_[
        1.0, np.cumprod(stay)[:-1]
    ]  # what an event at t_i takes from the mean, per unit of hazard
    lost = own * d / n
    later = np.divide(
        lost[::-1].cumsum()[::-1] - lost, stay, out=np.zeros_like(n), where=stay > 1e-12
    )  # what leaving at t_i spares later on
    variance = (
        (own - later) ** 2 * d * (n - d)
        + later**2 * c * (n - c)
        + 2 * (own - later) * later * d * c
    ) / n**3
    return float(tau - lost.sum()), float(np.sqrt(variance.sum()))


def kitagawa(
    n_0: np.ndarray, factors_0: np.ndarray, n_1: np.ndarray, factors_1: np.ndarray
) -> np.ndarray:
    """Change of an overall rate split by segment into mix and the factors of the segments' own rates (Kitagawa 1955, symmetric; mix centred on the
    mean overall rate).

    ``n_*``: (..., segments) users; ``factors_*``: (..., segments, factors), a segment's rate is their product. A factor missing in one period is taken
    as unchanged, so a segment absent from one has only a mix part. Returns (..., segments, 1 + factors): mix, then what each factor adds; the sum is
    exactly the change, NaN where a period is empty.
    """
    w_0, w_1 = (rate(n, np.sum(n, axis=-1, keepdims=True)) for n in (n_0, n_1))
    x_0, x_1 = (
        np.nan_to_num(np.where(np.isnan(a), b, a))
        for a, b in ((factors_0, factors_1), (factors_1, factors_0))
    )
    r_0, r_1 = x_0.prod(axis=-1), x_1.prod(axis=-1)
    overall = (w_0 * r_0 + w_1 * r_1).sum(axis=-1, keepdims=True) / 2
    mix = (w_1 - w_0) * ((r_0 + r_1) / 2 - overall)
    return np.concatenate(
        [mix[..., None], shapley_product(x_0, x_1) * ((w_0 + w_1) / 2)[..., None]], axis=-1
    )


def shapley_product(x_0: np.ndarray, x_1: np.ndarray) -> np.ndarray:
    """What each of the factors (last axis) adds to the change of their product, over all orders in which they could have changed (Das Gupta 1993; Shapley 1953).

    Exact, zeros allowed: the mean over all orders is the integral of the multilinear extension along its diagonal (Owen 1972), a polynomial that Gauss-Legendre
    nodes integrate without error.
    """
    n = x_0.shape[-1]
    node, weight = np.polynomial.legendre.leggauss(n // 2 + 1)
    change = x_1 - x_0
    way = x_0[..., None] + change[..., None] * (node + 1) / 2  # (..., factors, nodes)
    others = np.stack([np.delete(way, i, axis=-2).prod(axis=-2) for i in range(n)], axis=-2)
    return change * (others @ weight) / 2


def bucket_draws(
    by_bucket: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    draws: int = 1000,
) -> np.ndarray:
    """Bootstrap draws of a statistic of additive counts, (draws, ...); the same seed draws the same buckets for every statistic.

    ``by_bucket``: (100 buckets, ...) counts of the users of each hash bucket, users of one account in one bucket; whole buckets are drawn with replacement,
    their counts added up and given to ``statistic`` as an array (...,).
    """
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(
        len(by_bucket), np.full(len(by_bucket), 1 / len(by_bucket)), size=draws
    )
    drawn = np.tensordot(weight.astype(float), np.asarray(by_bucket, float), axes=1)
    return np.array([statistic(d) for d in drawn], float)


def draw_sums(
    by_bucket: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], *, seed: int
) -> np.ndarray:
    """`bucket_draws` of a statistic of many draws at once, (n, ...) -> (n, ...): some at a time, so that counts of many cells find room."""
    weight = bucket_draws(
        np.eye(len(by_bucket)), np.asarray, seed=seed
    )  # how often each bucket is drawn
    blocks = np.array_split(weight, -(-len(weight) * by_bucket[0].size // BLOCK))
    return np.concatenate([statistic(np.tensordot(block, by_bucket, axes=1)) for block in blocks])


def percentile_interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper 95 % percentiles over axis 0, missing draws left out; NaN where all are missing."""
    known = ~np.isnan(draws).all(axis=0)
    quantile = (
        np.nanquantile if np.isnan(draws[:, known]).any() else np.quantile
    )  # the former is many times slower
    low, high = quantile(np.where(known, draws, 0.0), [0.025, 0.975], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


@dataclass(frozen=True)
class Fit:
    """Weighted regression with AR(1) errors: coef (k,), cov (k, k), sigma2 (error variance at weight 1), rho, df (effective, for t)."""

    coef: np.ndarray
    cov: np.ndarray
    sigma2: float
    rho: float
    df: float

    def contrast(self, c: np.ndarray) -> tuple[float, float, float]:
        """Estimate, standard error and two-sided p-value of c'coef."""
        from scipy.special import stdtr

        effect, se = float(c @ self.coef), float(np.sqrt(c @ self.cov @ c))
        return effect, se, float(2 * stdtr(self.df, -abs(effect) / se)) if se > 0 else np.nan


def fit_ar1(
    y: np.ndarray, x: np.ndarray, weight: np.ndarray, time: np.ndarray, *, rho: float | None = None
) -> Fit:
    """Generalised least squares; errors times sqrt(weight) follow an AR(1), its rho by restricted maximum likelihood where not given.

    Prais-Winsten whitening over the real distance in ``time``, so gaps are harmless. rho is kept at 0 or above: a negative one, on short series
    mostly chance, would shrink the interval (false positives of an interrupted series of 26 + 8 points without autocorrelation: 6.8 % with
    negative values allowed, 4.2 % without). t with n (1 - rho) / (1 + rho) - k degrees of freedom, at least 2.
    Method: Turner et al. 2021, BMC Medical Research Methodology 21:181.
    """
    from scipy.optimize import minimize_scalar

    n, k = x.shape
    root = np.sqrt(weight)
    both = np.c_[x, y] * root[:, None]
    gap = np.diff(time)

    def whiten(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[x y] and its scale for every rho of an array, so that a grid costs one factorisation."""
        carry = np.concatenate([np.zeros((len(r), 1)), r[:, None] ** gap], axis=1)[..., None]
        scale = np.sqrt(1 - carry**2)
        return (both - carry * np.concatenate([both[:1], both[:-1]])) / scale, scale

    def deviance(r: np.ndarray) -> np.ndarray:
        white, scale = whiten(r)
        corner = np.abs(
            np.diagonal(np.linalg.qr(white, mode="r"), axis1=1, axis2=2)
        )  # of [x y]: the last one is the root of the residual squares
        return 2 * (
            np.log(scale).sum(axis=(1, 2))
            + np.log(corner[:, :k]).sum(axis=1)
            + (n - k) * np.log(np.maximum(corner[:, k], 1e-150))
        )

    if rho is None:
        grid = np.linspace(0, 0.95, 20)
        found = deviance(grid)
        i = int(np.argmin(found))
        around = (grid[max(i - 1, 0)], grid[min(i + 1, 19)])
        near = minimize_scalar(
            lambda r: deviance(np.array([r]))[0],
            bounds=around,
            method="bounded",
            options={"xatol": 1e-6},
        )
        rho = float(near.x) if near.fun < found[i] else float(grid[i])
    white = whiten(np.array([rho]))[0][0]
    q, r = np.linalg.qr(white[:, :k])
    coef = np.linalg.solve(r, q.T @ white[:, k])
    sigma2 = float(((white[:, k] - white[:, :k] @ coef) ** 2).sum() / (n - k))
    inverse = np.linalg.inv(r)
    return Fit(
        coef, sigma2 * inverse @ inverse.T, sigma2, rho, max(n * (1 - rho) / (1 + rho) - k, 2.0)
    )


def fieller(
    value: float, value_var: float, cost: float, cost_var: float, q: float
) -> tuple[float, float]:
    """Interval of value / cost, independent, with critical value q (Fieller 1954); (NaN, NaN) where the set is unbounded. A
    fixed cost has variance 0.
    """
    a = cost**2 - q**2 * cost_var
    if a <= 0:
        return np.nan, np.nan
    half = q * np.sqrt(value_var * a + value**2 * cost_var)
    return (value * cost - half) / a, (value * cost + half) / a
