"""Intervals and p-values of an estimate with a standard error: Student's t, normal at inf df."""

from __future__ import annotations

from typing import Any

import numpy as np

Z = 1.959963984540054  # 97.5 % point of the standard normal: every interval here is a 95 % interval
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def t_point(df: FloatArray | float) -> FloatArray:
    """97.5 % point of Student's t."""
    from scipy.special import stdtrit

    return np.where(np.isinf(df), Z, stdtrit(df, 0.975))


def t_interval(
    value: FloatArray | float, se: FloatArray | float, df: FloatArray | float = np.inf
) -> tuple[FloatArray, FloatArray]:
    """95 % interval of an estimate with its standard error: low, high."""
    half = t_point(df) * np.asarray(se, float)
    return value - half, value + half


def t_pvalue(
    value: FloatArray | float, se: FloatArray | float, df: FloatArray | float = np.inf
) -> FloatArray:
    """Two-sided p-value of "the value is 0"; NaN where the standard error is not above 0."""
    from scipy.special import ndtr, stdtr

    value, se = np.asarray(value, float), np.asarray(se, float)
    known = se > 0
    t = -np.abs(
        np.divide(value, se, out=np.full(np.broadcast(value, se).shape, np.nan), where=known)
    )
    return 2 * np.where(np.isinf(df), ndtr(t), stdtr(df, t))
