"""Two groups, or pairs of them by stratum, compared: mean waits, shares and their ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.activation.survival_groups import Group, Rare, bounds, critical_of, n_clusters

Pairs = Sequence[tuple[Group, Group]]


class Difference(NamedTuple):
    """First group minus second, its 95 % interval, and the p-value that this interval implies."""

    value: float
    low: float
    high: float
    pvalue: float


def compare_days(pairs: Pairs, day: float) -> Difference:
    """Mean days not activated until ``day``; see `_difference`."""
    return _difference(pairs, lambda g: g.mean(day), lambda g: g.weight(day), day, mean=True)


def compare_shares(pairs: Pairs, day: float) -> Difference:
    """Share activated by ``day``; see `_difference`."""
    return _difference(pairs, lambda g: g.share(day), lambda g: g.until(day), day)


def _difference(
    pairs: Pairs,
    estimate: Callable[[Group], tuple[float, float]],
    weight: Callable[[Group], np.ndarray],
    day: float,
    *,
    mean: bool = False,
) -> Difference:
    """Mean over strata of first group minus second.

    ``estimate``: with its standard error; ``weight``: what `Group.effects` needs for it. The ends
    come from those of either side (Zou & Donner 2008; Newcombe's method 10 is one of these), which
    is value -+ z x se where these are: `bounds` of the sides' means over strata. Errors are by
    account where there are any.
    """
    sides = [_side(pairs, k, estimate, day) for k in (0, 1)]
    groups = [group for pair in pairs for group in pair]
    z = critical_of(pairs)
    difference = sides[0][0] - sides[1][0]
    (low, high), (low_0, high_0) = (bounds(*side, z, day if mean else None) for side in sides)
    below = np.hypot(sides[0][0] - low, high_0 - sides[1][0])
    above = np.hypot(high - sides[0][0], sides[1][0] - low_0)
    apart = sides[0][1] ** 2 + sides[1][1] ** 2
    if groups[0].cells is not None and apart > 0:  # the sides may share accounts
        alike = np.sqrt(_variance(pairs, weight) / apart)
        below, above = below * alike, above * alike
    nearest = below if difference > 0 else above
    df = n_clusters(groups) - 1 if groups[0].cells is not None else np.inf
    pvalue = stats.t_pvalue(difference, nearest / stats.t_point(df), df)
    return Difference(difference, difference - below, difference + above, float(pvalue))


def _weights(pairs: Pairs) -> np.ndarray:
    """Of strata, n_1 n_0 / (n_1 + n_0) as Mantel & Haenszel's, adding up to 1."""
    size = np.array([g.n_users * h.n_users / (g.n_users + h.n_users) for g, h in pairs])
    return np.asarray(size / size.sum())


def _side(
    pairs: Pairs, k: int, estimate: Callable[[Group], tuple[float, float]], day: float
) -> tuple[float, float, Rare]:
    """Mean over strata of the first or second groups, its standard error, and how rare it is."""
    weights = _weights(pairs)
    found = np.array([estimate(pair[k]) for pair in pairs])
    rare = np.array([pair[k].rare(day) for pair in pairs])
    n_hit, n_users, _ = rare.sum(axis=0)
    alike = 1 / (weights**2 / np.maximum(rare[:, 2], 1)).sum()
    se = np.sqrt(weights**2 @ found[:, 1] ** 2)
    return float(weights @ found[:, 0]), float(se), Rare(n_hit, n_users, alike)


def _variance(
    pairs: Pairs,
    weight: Callable[[Group], np.ndarray],
    scale: tuple[float, float] = (1.0, 1.0),
) -> float:
    """By account, of the mean over strata of first group minus second, each times its scale."""
    sums, variance = np.zeros(pairs[0][0].n_accounts), 0.0
    for share, pair in zip(_weights(pairs), pairs):
        (mine, alone), (theirs, alone_too) = (g.effects(weight(g)) for g in pair)
        sums += share * (scale[0] * mine - scale[1] * theirs)
        variance += share**2 * (scale[0] ** 2 * alone + scale[1] ** 2 * alone_too)
    return variance + float((sums**2).sum())


def risk_ratio(pairs: Pairs, day: float) -> tuple[float, float, float]:
    """Share activated by ``day``, first group over second, of means over strata, and its interval.

    By the delta method on the logarithm, with the curves' errors; NaN where a side has none.
    """
    (share, se, _), (share_0, se_0, _) = (
        _side(pairs, k, lambda g: g.share(day), day) for k in (0, 1)
    )
    if not (share > 0 and share_0 > 0):
        return np.nan, np.nan, np.nan
    variance = (se / share) ** 2 + (se_0 / share_0) ** 2
    groups = [group for pair in pairs for group in pair]
    if groups[0].cells is not None:
        variance = _variance(pairs, lambda g: g.until(day), (1 / share, 1 / share_0))
    factor = np.exp(critical_of(pairs) * np.sqrt(variance))
    return share / share_0, share / share_0 / factor, share / share_0 * factor


def clear(table: pd.DataFrame) -> pd.Series:
    """Rows that sentences name: their interval of days does not hold nought.

    Nor would it after the false discovery rate of all that were tried. Either way counts.
    """
    ends = table["rmst_difference_days_ci_lower"] * table["rmst_difference_days_ci_upper"]
    return (table["qvalue"] < 0.05) & (ends > 0)


def crosses(row: pd.Series, share: str, named: bool) -> bool:
    """Whether the shares clearly differ and the days do not, or the other way round."""
    differs = row[f"{share}_ci_lower"] * row[f"{share}_ci_upper"] > 0
    return bool(differs and (not named or row[share] * row["rmst_difference_days"] > 0))
