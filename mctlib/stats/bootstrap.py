"""Bootstrap over hash buckets of users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

N_BUCKETS = 100
BLOCK = 2**22  # numbers that a block of draws may hold


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
