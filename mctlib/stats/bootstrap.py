"""Bootstrap and jackknife over hash buckets of users, and the dense arrays of counts they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from mctlib.stats.student import FloatArray

N_BUCKETS = 100
BLOCK = 2**22  # numbers that a block of draws may hold
FLIPS, SEED = 2000, 20260101  # of signs in a search


def dense(n: ArrayLike, *at: ArrayLike, shape: Sequence[int]) -> FloatArray:
    """Counts ``n`` added up at their places ``at`` (an index array an axis) in an array."""
    cells = np.ravel_multi_index(tuple(np.asarray(a) for a in at), tuple(shape))
    sums = np.bincount(cells, np.asarray(n, float), int(np.prod(shape)))
    return sums.reshape(shape).astype(float, copy=False)


def bucket_draws(
    by_bucket: ArrayLike,
    statistic: Callable[[FloatArray], FloatArray] = np.asarray,
    *,
    seed: int,
    draws: int = 1000,
) -> FloatArray:
    """Bootstrap draws (draws, ...) of additive counts, or of a statistic of them.

    Whole buckets (axis 0) are drawn with replacement and their counts added up; users of one
    account share a bucket. The same seed draws the same buckets, whatever is counted.
    ``statistic``: of many draws at once, (n, ...) -> (n, ...); given some at a time, so that counts
    of many cells find room.
    """
    by_bucket = np.asarray(by_bucket, float)
    n_blocks = max(-(-draws * by_bucket[0].size // BLOCK), 1)
    blocks = np.array_split(_times_drawn(len(by_bucket), seed, draws), n_blocks)
    return np.concatenate([statistic(np.tensordot(block, by_bucket, axes=1)) for block in blocks])


@lru_cache(maxsize=2)  # one answer draws the same buckets again and again
def _times_drawn(n: int, seed: int, draws: int) -> FloatArray:
    """How often each of ``n`` buckets is drawn, a row a draw."""
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return times.astype(float)


def pseudo_values(
    by_bucket: ArrayLike, statistic: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Jackknife pseudo-values (buckets, ...) of a statistic of additive counts.

    Their mean is the statistic, corrected for bias, their spread its error; so it is for what is
    added up of them. Buckets are left out one at a time, and the others stand for them: totals stay
    totals (Efron 1982).
    """
    by_bucket = np.asarray(by_bucket, float)
    n, whole = len(by_bucket), by_bucket.sum(axis=0)
    if n < 2:
        return np.full((n, *statistic(whole[None]).shape[1:]), np.nan)
    without = statistic((whole - by_bucket) * n / (n - 1))
    found: FloatArray = n * statistic(whole[None]) - (n - 1) * without
    return found


def percentile_interval(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """2.5 % and 97.5 % percentiles over axis 0; missing draws are left out, NaN where all are."""
    missing = np.isnan(draws)
    unknown = missing.all(axis=0)
    some_missing = (missing & ~unknown).any()
    quantile = np.nanquantile if some_missing else np.quantile  # the former is many times slower
    told = np.where(unknown, 0.0, draws) if unknown.any() else draws
    low, high = quantile(told, [0.025, 0.975], axis=0)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def search_pvalues(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """p-values that allow for the search, and the size of each score; ``scores``: (buckets, ...).

    Where nothing searched matters, a bucket's scores may as well have the other sign, all of them
    at once; the largest of all is compared with the largest under random signs (Westfall & Young).
    """
    scale = np.sqrt((scores**2).sum(axis=0))
    size = np.abs(scores.sum(axis=0)) / np.where(scale > 0, scale, np.inf)
    signs = np.random.default_rng(SEED).choice([-1.0, 1.0], (FLIPS, len(scores)))
    chance = np.abs(signs @ scores / np.where(scale > 0, scale, np.inf)).max(axis=1)
    return (1 + (chance[:, None] >= size).sum(axis=0)) / (1 + FLIPS), size
