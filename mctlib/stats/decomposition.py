"""Additive parts of a change of rates."""

from __future__ import annotations

import numpy as np

from mctlib.stats.proportions import rate
from mctlib.stats.student import FloatArray


def kitagawa(
    n_0: FloatArray, factors_0: FloatArray, n_1: FloatArray, factors_1: FloatArray
) -> FloatArray:
    """Change of an overall rate, split by segment into mix and the factors of each own rate.

    Kitagawa 1955, symmetric; mix is centred on the mean overall rate. A factor missing in one
    period is taken as unchanged, so a segment absent from one has only a mix part. ``n``: users
    (..., segments) · ``factors``: (..., segments, factors), whose product is a segment's rate.
    Returned are (..., segments, 1 + factors), mix, then what each factor adds; their sum is exactly
    the change, NaN where a period is empty.
    """
    w_0, w_1 = (rate(n, np.sum(n, axis=-1, keepdims=True)) for n in (n_0, n_1))
    x_0 = np.nan_to_num(np.where(np.isnan(factors_0), factors_1, factors_0))
    x_1 = np.nan_to_num(np.where(np.isnan(factors_1), factors_0, factors_1))
    r_0, r_1 = x_0.prod(axis=-1), x_1.prod(axis=-1)
    overall = (w_0 * r_0 + w_1 * r_1).sum(axis=-1, keepdims=True) / 2
    mix = (w_1 - w_0) * ((r_0 + r_1) / 2 - overall)
    rates = shapley_product(x_0, x_1) * ((w_0 + w_1) / 2)[..., None]
    return np.concatenate([mix[..., None], rates], axis=-1)


def shapley_product(x_0: FloatArray, x_1: FloatArray) -> FloatArray:
    """What each factor (last axis) adds to the change of their product, over all orders of change.

    Das Gupta 1993; Shapley 1953. Exact, zeros allowed: the mean over all orders is the integral of
    the multilinear extension along its diagonal (Owen 1972), a polynomial that Gauss-Legendre nodes
    integrate without error.
    """
    n = x_0.shape[-1]
    node, weight = np.polynomial.legendre.leggauss(n // 2 + 1)
    change = x_1 - x_0
    way = x_0[..., None] + change[..., None] * (node + 1) / 2  # (..., factors, nodes)
    others = np.stack([np.delete(way, i, axis=-2).prod(axis=-2) for i in range(n)], axis=-2)
    return change * (others @ weight) / 2
