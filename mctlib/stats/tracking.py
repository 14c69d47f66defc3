"""How much was recorded: two lists of one population, late arrivals, a share that changes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mctlib.stats.proportions import rate, wilson
from mctlib.stats.student import FloatArray, Z, t_point


class Capture(NamedTuple):
    """How many there are, by two lists that each hold some of them."""

    n: FloatArray
    low: FloatArray
    high: FloatArray


def chapman(n_1: ArrayLike, n_2: ArrayLike, both: ArrayLike) -> Capture:
    """Size of a population of which two lists hold n_1 and n_2, and both of them ``both``.

    Chapman 1951, with Seber's variance; the interval is log-normal in those on neither list (Chao
    1989), so that it never ends below those seen. It holds where being on one list says nothing of
    being on the other.
    """
    n_1, n_2, both = (np.asarray(a, float) for a in (n_1, n_2, both))
    found = (n_1 + 1) * (n_2 + 1) / (both + 1) - 1
    variance = (n_1 + 1) * (n_2 + 1) * (n_1 - both) * (n_2 - both) / ((both + 1) ** 2 * (both + 2))
    seen = n_1 + n_2 - both
    unseen = found - seen
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.exp(Z * np.sqrt(np.log1p(variance / unseen**2)))
        low, high = seen + unseen / factor, seen + unseen * factor
    known = unseen > 0
    return Capture(found, np.where(known, low, seen), np.where(known, high, seen))


def mcnemar(only_1: ArrayLike, only_2: ArrayLike) -> FloatArray:
    """Exact two-sided p-value that of those who are on one list alone both have as many."""
    from scipy.special import bdtr

    only_1, only_2 = np.asarray(only_1, float), np.asarray(only_2, float)
    fewer = np.minimum(only_1, only_2)
    return np.minimum(1.0, 2 * bdtr(fewer, (only_1 + only_2).astype(int), 0.5))


def arrived(counts: ArrayLike) -> FloatArray:
    """Share of what ever arrives that is there after each delay, from a run-off triangle.

    Right-truncated delays: of young origins only short ones are seen. The chain ladder, which is
    the reverse-time product limit of Kalbfleisch & Lawless 1989: a delay's share of all that came
    by then is taken over the origins old enough to have shown it.

    Parameters
    ----------
    counts : array (origins, delays)
        Arrivals; NaN where an origin is too young for a delay. Of delays beyond the last one
        nothing is known.
    """
    counts = np.asarray(counts, float)
    by_then = np.cumsum(np.nan_to_num(counts), axis=1)
    seen = ~np.isnan(counts)
    at = np.where(seen, counts, 0).sum(axis=0)
    there = np.where(seen, by_then, 0).sum(axis=0)
    before = 1 - rate(at, there)  # came earlier, of all that came by then
    before = np.where(np.isnan(before), 1.0, before)
    return np.append(np.cumprod(before[:0:-1])[::-1], 1.0)


class Spread(NamedTuple):
    """A share over several cells, its interval, and how much more cells vary than by chance."""

    value: float
    low: float
    high: float
    dispersion: float


def quasi_binomial(
    n_success: ArrayLike, n: ArrayLike, *, at_least: float = 1.0, ripe: float = 1.0
) -> Spread:
    """A share over cells that may differ by more than chance (Pearson's dispersion, 1 or more).

    Parameters
    ----------
    n_success, n : array
        By cell; cells without any do not count.
    at_least : float
        A design effect that is known otherwise.
    ripe : float
        Share of the n that could be a success by now; the share told is that of those.
    """
    k, n = np.asarray(n_success, float).ravel(), np.asarray(n, float).ravel()
    k, n = k[n > 0], n[n > 0]
    if not len(n):
        return Spread(np.nan, np.nan, np.nan, np.nan)
    p, df = k.sum() / n.sum(), len(n) - 1
    wide = 1.0
    if df and 0 < p < 1:
        wide = max(wide, float(((k - n * p) ** 2 / (n * p * (1 - p))).sum() / df))
    dispersion = max(wide, at_least)
    worth = n.sum() / dispersion
    if df and wide > max(1.0, at_least):  # it is estimated from these few cells
        worth *= (Z / float(t_point(df))) ** 2
    low, high = wilson(p * worth, worth)
    told, least, most = (min(float(x) / ripe, 1.0) for x in (p, low, high))
    return Spread(told, least, most, dispersion)


PLENTY = 10  # draws that gain as much as what was seen


class Split(NamedTuple):
    """Where a share changes: the first cell after, twice the log-likelihood gained, its p-value."""

    at: int
    gain: float
    pvalue: float


def change_point(
    n_success: ArrayLike, n: ArrayLike, *, seed: int, draws: int = 999, least: float = 10
) -> Split:
    """Where a share over ordered cells changes once, by profile likelihood.

    Every cell with ``least`` or more on either side is tried. The p-value is the parametric
    bootstrap's of the greatest gain, from cells that share one rate, over-dispersed as neighbouring
    cells are (Hinkley & Hinkley 1970; Worsley 1983). p is 1 where there is nothing to try. It draws
    no more once PLENTY draws gained as much, which no change does (Besag & Clifford 1991).
    """
    k, n = np.asarray(n_success, float), np.asarray(n, float)
    gain = _gains(k[None], n, least)[0]
    if not np.isfinite(gain).any():
        return Split(0, 0.0, 1.0)
    at, wide = int(np.nanargmax(gain)) + 1, max(1.0, _dispersion(k, n))
    best = float(gain[at - 1]) / wide
    rng = np.random.default_rng(seed)
    worth = np.maximum(np.rint(n / wide), n > 0).astype(int)
    n_drawn = n_greater = 0
    while n_drawn < draws and n_greater < PLENTY:
        size = min(5 * PLENTY, draws - n_drawn)
        drawn = rng.binomial(worth, k.sum() / n.sum(), size=(size, len(n))).astype(float)
        by_chance = np.nanmax(_gains(drawn, worth.astype(float), least / wide), axis=1)
        n_greater += int((by_chance >= best - 1e-9).sum())
        n_drawn += size
    return Split(at, best, (1 + n_greater) / (1 + n_drawn))


def _gains(k: FloatArray, n: FloatArray, least: float) -> FloatArray:
    """Twice the log-likelihood gained by a split after each cell but the last; NaN: not tried."""
    before, n_before = np.cumsum(k, axis=1)[:, :-1], np.cumsum(n)[:-1]
    total, n_total = k.sum(axis=1, keepdims=True), n.sum()
    sides = _loglik(before, n_before) + _loglik(total - before, n_total - n_before)
    fit = (n_before >= least) & (n_total - n_before >= least)
    return np.where(fit, 2 * (sides - _loglik(total, n_total)), np.nan)


def _loglik(k: FloatArray, n: FloatArray | float) -> FloatArray:
    """Binomial log-likelihood at the share itself."""
    from scipy.special import xlogy

    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = xlogy(k, k / n) + xlogy(n - k, 1 - k / n)
    return found


def _dispersion(k: FloatArray, n: FloatArray) -> float:
    """How much more neighbours differ than by chance: another change hardly counts.

    Of chi-squared differences the largest tenth, where changes are, is left out; the mean of the
    others would be .623 if they differed by chance alone.
    """
    k, n = k[n > 0], n[n > 0]
    p = (k[1:] + k[:-1]) / (n[1:] + n[:-1])
    apart = (k[1:] / n[1:] - k[:-1] / n[:-1]) ** 2
    by_chance = p * (1 - p) * (1 / n[1:] + 1 / n[:-1])
    ratio = np.sort(np.divide(apart, by_chance, out=np.zeros(len(p)), where=by_chance > 0))
    rest = ratio[: len(ratio) - max(len(ratio) // 10, 1)]
    return float(rest.mean() / 0.623) if len(rest) else 1.0
