"""Two groups made alike: a model of who succeeds, read as if all were in one group or the other.

Arrays are counts by (bucket, side, stratum); side 0 is unexposed, side 1 exposed. An account lies
in one bucket whole, so leaving out bucket after bucket gives errors by account.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mctlib.stats.proportions import (
    MIN_CLUSTERS,
    Design,
    count_clusters,
    difference_design,
    mantel_haenszel,
    rate,
)
from mctlib.stats.student import FloatArray, t_interval, t_pvalue

RIDGE = 1e-6  # so light that it only keeps a level finite in which nobody or everybody succeeds
MOST_STEPS, LONGEST_STEP, CLOSE = 40, 4.0, 1e-8


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


NOT_KNOWN = Estimate(np.nan, np.nan, np.nan)


class Standardised(NamedTuple):
    """Share (or mean) if all were exposed, if nobody were, and how these differ."""

    exposed: Estimate
    unexposed: Estimate
    ratio: Estimate
    difference: Estimate
    pvalue: float


class Later(NamedTuple):
    """What knowing the exposure adds for later users, and whether the model is right for them.

    gain: share of the squared error of the covariates' model that vanishes · ratio: successes over
    predicted ones · slope: of the outcome on the prediction, 1 where it is neither too bold nor
    too timid.
    """

    gain: Estimate
    ratio: float
    slope: float


def standardise(
    n: FloatArray, y: FloatArray, x: FloatArray, *, n_accounts: float, logistic: bool = True
) -> Standardised:
    """Marginal standardisation (the parametric g-formula) of a model without interactions.

    Robins 1986; Hernan & Robins, What If, chapter 13. Errors by the delete-a-bucket jackknife, the
    model one Newton step from that of all (of a linear one that is exact; MacKinnon, Nielsen & Webb
    2023), ratio and shares on their log and logit scales, and t with one degree of freedom less
    than the clusters of the side that has fewer.

    Parameters
    ----------
    n, y : array (buckets, 2, strata)
        Users, and their successes or the sum of their amounts.
    x : array (strata, covariates)
        Of the strata, without a column of ones.
    n_accounts : float
        Accounts in which users sit; NaN where there are none.
    logistic : bool
        False: a linear model, of amounts.
    """
    sizes, sums = n.sum(axis=0), y.sum(axis=0)
    df = clusters(n, n_accounts) - 1
    if not (sizes.sum(axis=1).all() and sums.any()):
        return Standardised(NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, np.nan)
    if logistic and _one_sided(sizes, sums):
        return _of_nobody(n, y, n_accounts)
    design = _design(x)
    whole = fit(design, sizes.ravel(), sums.ravel(), logistic)
    means = _means(design, whole[None], sizes[None], logistic)[:, 0]
    kept = np.flatnonzero(n.sum(axis=(1, 2)))
    without = np.full((2, 1), np.nan)  # of one bucket alone nothing is left without it
    if len(kept) > 1:
        without = _without_each(design, whole, n[kept], y[kept], logistic)
    logits = [_logit(each, logistic) for each in (means, without)]
    unexposed, exposed = (
        _jackknifed(value, values, df, lambda end: _back(end, logistic))
        for value, values in zip(*logits)
    )
    log, logs = _log_ratio(means), _log_ratio(without)
    ratio = _jackknifed(log, logs, df, np.exp)
    difference = _jackknifed(means[1] - means[0], without[1] - without[0], df, np.asarray)
    pvalue = t_pvalue(log, _error(log, logs), df) if df + 1 >= MIN_CLUSTERS else np.nan
    return Standardised(exposed, unexposed, ratio, difference, float(pvalue))


def _error(value: Any, values: FloatArray) -> float:
    """The jackknife's standard error, of the values without each bucket."""
    g = len(values)
    return float(np.sqrt((g - 1) / g * ((values - value) ** 2).sum()))


def _jackknifed(
    value: Any, values: FloatArray, df: float, back: Callable[[FloatArray], FloatArray]
) -> Estimate:
    """An estimate on the scale on which it is shown; without ends where clusters are too few."""
    low, high = t_interval(value, _error(value, values), df)
    if not df + 1 >= MIN_CLUSTERS:
        low = high = np.array(np.nan)
    return Estimate(*(float(back(np.asarray(end))) for end in (value, low, high)))


def clusters(n: FloatArray, n_accounts: float) -> float:
    """Of the side that has fewer, see `count_clusters`."""
    accounts = np.inf if np.isnan(n_accounts) else n_accounts
    return float(count_clusters(n.sum(axis=2), n_accounts=accounts).min())


def later(
    n: FloatArray,
    y: FloatArray,
    yy: FloatArray,
    x: FloatArray,
    late: NDArray[np.bool_],
    *,
    n_accounts: float,
    logistic: bool = True,
) -> Later:
    """Fit with and without the exposure on early strata, and look at the ``late`` ones (booleans).

    ``yy``: sums of squares, of successes the successes. The interval is of the later users alone,
    by bucket.
    """
    early = ~late
    sizes, sums = n.sum(axis=0), y.sum(axis=0)
    if not (sizes[:, early].sum(axis=1).all() and sizes[:, late].sum(axis=1).all()):
        return Later(NOT_KNOWN, np.nan, np.nan)
    design, base = _design(x), _design(x, exposure=False)
    rows = np.tile(early, 2)
    mine = [np.compress(late, a, axis=2) for a in (n, y, yy)]
    error, predicted = [], np.empty(0)
    for columns in (base, design):
        cells = (columns[rows], sizes[:, early].ravel(), sums[:, early].ravel())
        predicted = _predict(columns, fit(*cells, logistic), logistic).reshape(2, -1)[:, late]
        squares = mine[2] - 2 * predicted * mine[1] + predicted**2 * mine[0]
        error.append(squares.sum(axis=(1, 2)))
    before, after = error
    if not before.sum() > 0:
        return Later(NOT_KNOWN, np.nan, np.nan)
    gain = 1 - after.sum() / before.sum()
    rest = 1 - rate(after.sum() - after, before.sum() - before)
    df = clusters(mine[0], n_accounts) - 1
    told = _jackknifed(gain, rest[before > 0], df, np.asarray)
    size, total = sizes[:, late].ravel(), sums[:, late].ravel()
    expected = float((size * predicted.ravel()).sum())
    scale = np.c_[np.ones(size.size), _logit(predicted.ravel(), logistic)]
    slope = fit(scale, size, total, logistic)[1]
    ratio = float(total.sum() / expected) if expected else np.nan
    return Later(told, ratio, float(slope))


def e_value(ratio: float) -> float:
    """How strong a hidden cause must be to explain a risk ratio away (VanderWeele & Ding 2017)."""
    far = max(ratio, 1 / ratio) if ratio > 0 else np.nan
    return float(far + np.sqrt(far * (far - 1)))


def _design(x: FloatArray, *, exposure: bool = True) -> FloatArray:
    """A row for every stratum without, then with the exposure: 1, exposed, covariates."""
    columns = [np.ones(2 * len(x)), np.repeat([0.0, 1.0], len(x))][: 1 + exposure]
    return np.column_stack([*columns, np.vstack([x, x])])


def fit(x: FloatArray, n: FloatArray, y: FloatArray, logistic: bool) -> FloatArray:
    """Coefficients by Newton's steps, of rows that count n users with the sum y."""
    coef = np.zeros(x.shape[1])
    coef[0] = _logit(y.sum() / n.sum(), logistic)
    filled, penalty = _filled(x), _penalty(x)
    for _ in range(MOST_STEPS):
        (slope,), (bend,) = _pulls(x, filled, n[None], y[None], coef, logistic)
        step = np.linalg.solve(bend + penalty, slope - penalty @ coef)
        size = np.abs(step).max()
        if logistic and size > LONGEST_STEP:
            step *= LONGEST_STEP / size
        coef = coef + step
        if size < CLOSE:
            break
    return coef


def _penalty(x: FloatArray) -> FloatArray:
    """Of all coefficients but that of the column of ones."""
    return np.diag(np.r_[0.0, np.full(x.shape[1] - 1, RIDGE)])


class _Filled(NamedTuple):
    """Which columns of each row are not 0: of row r ``column[begin[r] : begin[r + 1]]``."""

    begin: NDArray[np.int64]
    column: NDArray[np.int64]


def _filled(x: FloatArray) -> _Filled:
    row, column = np.nonzero(x)
    begin = np.searchsorted(row, np.arange(len(x) + 1))
    return _Filled(begin, np.ascontiguousarray(column))


def _pulls(
    x: FloatArray,
    filled: _Filled,
    n: FloatArray,
    y: FloatArray,
    coef: FloatArray,
    logistic: bool,
) -> tuple[FloatArray, FloatArray]:
    """Slope of the log likelihood at some coefficients, and how fast it falls.

    Of several groups of users apart: ``n`` and ``y`` are (groups, rows).
    """
    p = _predict(x, coef, logistic)
    spread = p * (1 - p) if logistic else np.ones(len(p))
    slope, bend = np.zeros((len(n), x.shape[1])), np.zeros((len(n), x.shape[1], x.shape[1]))
    _add_pulls(x, *filled, n, y - n * p, spread, slope, bend)
    return slope, bend


@njit(
    "void(float64[:, ::1], int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], float64[::1],"
    " float64[:, ::1], float64[:, :, ::1])",
    cache=True,
    nogil=True,
)
def _add_pulls(
    x: FloatArray,
    begin: NDArray[np.int64],
    column: NDArray[np.int64],
    n: FloatArray,
    rest: FloatArray,
    spread: FloatArray,
    slope: FloatArray,
    bend: FloatArray,
) -> None:
    # most rows have none of a group's users, and a row has few columns that are not 0
    for group in range(len(n)):
        for row in range(len(x)):
            if n[group, row] == 0:
                continue
            weight = n[group, row] * spread[row]
            own = column[begin[row] : begin[row + 1]]
            for a in own:
                slope[group, a] += x[row, a] * rest[group, row]
                for b in own:
                    bend[group, a, b] += x[row, a] * x[row, b] * weight


def _without_each(
    design: FloatArray, whole: FloatArray, n: FloatArray, y: FloatArray, logistic: bool
) -> FloatArray:
    """`_means` (2, buckets) of the users outside each bucket."""
    sizes, flat = n.sum(axis=0), (n.reshape(len(n), -1), y.reshape(len(y), -1))
    slope, less = _pulls(design, _filled(design), *flat, whole, logistic)
    bend = less.sum(axis=0) + _penalty(design)
    coef = whole - np.linalg.solve(bend - less, slope[:, :, None])[:, :, 0]
    return _means(design, coef, sizes - n, logistic)


def _predict(x: FloatArray, coef: FloatArray, logistic: bool) -> FloatArray:
    return np.asarray(_back(x @ coef, logistic))


def _logit(p: FloatArray, logistic: bool) -> FloatArray:
    if not logistic:
        return p
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p / (1 - p)))


def _back(x: FloatArray, logistic: bool) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -35, 35)))) if logistic else x


def _log_ratio(means: FloatArray) -> FloatArray:
    """Of side 1 over side 0 (the first axis); NaN where a mean amount is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(means)  # of each, since two means below 0 would have a ratio
        return np.asarray(logs[1] - logs[0])


def _means(design: FloatArray, coef: FloatArray, n: FloatArray, logistic: bool) -> FloatArray:
    """Mean over all users if none were exposed, and if all were, of each group's coefficients.

    (2, groups) of users (groups, 2, strata).
    """
    weight = n.sum(axis=1)
    none = design[: len(design) // 2]
    totals = np.zeros((2, len(coef)))
    _add_means(none, *_filled(none), coef, weight, logistic, totals)
    return totals / weight.sum(axis=1)


@njit(
    "void(float64[:, ::1], int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], boolean,"
    " float64[:, ::1])",
    cache=True,
    nogil=True,
)
def _add_means(
    x: FloatArray,
    begin: NDArray[np.int64],
    column: NDArray[np.int64],
    coef: FloatArray,
    weight: FloatArray,
    logistic: bool,
    totals: FloatArray,
) -> None:
    # the second coefficient is that of being exposed
    for group in range(len(coef)):
        for row in range(len(x)):
            score = 0.0
            for a in column[begin[row] : begin[row + 1]]:
                score += x[row, a] * coef[group, a]
            for side in range(2):
                p = score + side * coef[group, 1]
                if logistic:
                    p = 1 / (1 + np.exp(-min(max(p, -35.0), 35.0)))
                totals[side, group] += p * weight[group, row]


def _one_sided(n: FloatArray, y: FloatArray) -> bool:
    """Whether of one side nobody or everybody succeeds, so that it has no finite model."""
    by_side, of = y.sum(axis=1), n.sum(axis=1)
    return bool(((by_side == 0) | (by_side == of)).any())


def _of_nobody(n: FloatArray, y: FloatArray, n_accounts: float) -> Standardised:
    """Where a side has none or all: the Mantel-Haenszel difference, and what it says of the ratio.

    The ratio is from the shares as they are, its ends are where the ends of the difference put the
    share of the exposed; of the others where nobody of these succeeds.
    """
    sides = [a[:, side] for side in (1, 0) for a in (y, n)]
    accounts = np.inf if np.isnan(n_accounts) else n_accounts
    design: Design = difference_design(*sides, n_accounts=accounts)
    found = mantel_haenszel(*(a.sum(axis=0) for a in sides), design=design)
    share, share_0 = (y[:, side].sum() / n[:, side].sum() for side in (1, 0))
    difference = Estimate(float(found.value), float(found.low), float(found.high))
    if share_0 > 0:
        ends = (max(share_0 + end, 0) / share_0 for end in difference[1:])
        ratio = Estimate(share / share_0, *ends)
    else:
        ratio = Estimate(np.inf, share / max(share - difference.low, 1e-12), np.inf)
    exposed, unexposed = (Estimate(float(s), np.nan, np.nan) for s in (share, share_0))
    return Standardised(exposed, unexposed, ratio, difference, float(found.pvalue))
