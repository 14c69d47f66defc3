"""Comparisons with several segments: synthetic control, clustered errors, permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.roi.estimators import Estimate, ar1
from mctlib.roi.structural import share_after

# Below them errors clustered by segment reject far too often (one treated of 27: 70 % of nulls).
FEW_TREATED, FEW_UNITS = 10, 30
MOST_DRAWS = 1000


def simplex_weights(donors: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Shares w >= 0, adding up to 1, for which ``donors`` (weeks, donors) @ w is near ``target``.

    Nearest by least squares, exact: with v = s w, |(donors - target) v|^2 + (sum v - 1)^2 is least
    at the same w for any s, and that is a plain non-negative least squares problem.
    """
    from scipy.optimize import nnls

    apart = donors - target[:, None]
    scale = np.abs(apart).max() or 1.0
    rows = np.vstack([apart / scale, np.ones(donors.shape[1])])
    v, _ = nnls(rows, np.r_[np.zeros(len(target)), 1.0])
    share: np.ndarray = v / v.sum()
    return share


@dataclass(frozen=True)
class Synthetic:
    """A unit against its synthetic control.

    weight: of the donors · gap: by week · rms_before, rms_after: root mean squares of the gap.
    """

    weight: np.ndarray
    gap: np.ndarray
    rms_before: float
    rms_after: float

    @property
    def ratio(self) -> float:
        """How far the gap opened for a unit that fits so well (Abadie et al. 2010)."""
        if self.rms_before > 0:
            return self.rms_after / self.rms_before
        return np.inf if self.rms_after > 0 else 0.0


def synthetic_control(
    y: np.ndarray, donors: np.ndarray, before: np.ndarray, share: np.ndarray
) -> Synthetic:
    """Of y (weeks,) and donors (weeks, donors); ``share``: of the weeks after in their mean."""
    weight = simplex_weights(donors[before], y[before])
    gap = y - donors @ weight
    rms_before = float(np.sqrt(np.mean(gap[before] ** 2)))
    return Synthetic(weight, gap, rms_before, float(np.sqrt(share @ gap[~before] ** 2)))


def synthetic_units(
    weeks: pd.DataFrame, donors: Sequence[str]
) -> tuple[Synthetic, list[Synthetic], list[Synthetic]]:
    """The treated (y) against all donors; each donor against the others; y without each donor."""
    y, others = weeks["y"].to_numpy(float), weeks[list(donors)].to_numpy(float)
    before = weeks.index < 0
    share = share_after(weeks)[~before]
    pools = [np.delete(others, j, axis=1) for j in range(len(donors))]
    return (
        synthetic_control(y, others, before, share),
        [synthetic_control(others[:, j], pool, before, share) for j, pool in enumerate(pools)],
        [synthetic_control(y, pool, before, share) for pool in pools],
    )


def synthetic(weeks: pd.DataFrame, *, donors: Sequence[str]) -> Estimate | None:
    """Synthetic control; p = rank of the treated unit's `Synthetic.ratio` among the donors'.

    The usual rank (Abadie, Diamond & Hainmueller 2010), but leave-two-out (Lei & Sudhof 2023): each
    donor is held against the treated unit with the same pool, which has neither of the two. A
    donor's pool never has the treated unit, so that one must not profit from the donor. The
    interval spans the constant effects that the rank does not reject (Firpo & Possebom 2018); below
    19 donors it rejects none, and se is NaN.
    """
    before = weeks.index < 0
    if before.sum() < 3 or before.all() or len(donors) < 2:
        return None
    own, others, without = synthetic_units(weeks, donors)
    share, week = share_after(weeks), weeks.index.to_numpy(float)
    effect = float(share @ own.gap)
    half = _half_width(effect, np.array([share @ u.gap for u in without]), others, without)
    se = half / stats.Z if half > 0 else np.nan
    n_extreme = sum(o.ratio >= u.ratio for o, u in zip(others, without))
    rho = 0.0
    if own.rms_before > 0:
        one = np.ones(before.sum())
        rho = stats.fit_ar1(own.gap[before], one[:, None], one, week[before]).rho
    return Estimate(
        effect,
        se,
        df=np.inf,
        pvalue=(1 + n_extreme) / (1 + len(donors)),
        counterfactual=weeks["y"].to_numpy(float) - own.gap,
        cov=np.full((len(week), len(week)), se**2),
        sigma2=own.rms_before**2,
        told=f"{len(donors)} donors",
        weights=share,
        noise=ar1(week, rho),
        extremity=-abs(effect) / max(own.rms_before, 1e-300),
    )


def _half_width(
    effect: float, effects: np.ndarray, others: list[Synthetic], without: list[Synthetic]
) -> float:
    """From the effect to the farther end of the set of constant effects that are not rejected.

    A donor j says no to the effects around ``effects[j]`` for which the treated gap would have
    opened less than its own; so many donors must say no as a rank above 5 % takes.
    """
    most = int(0.05 * (len(effects) + 1) + 1e-9)
    room = np.array(
        [(o.ratio * u.rms_before) ** 2 - u.rms_after**2 for o, u in zip(others, without)]
    )
    room += effects**2
    reach = np.sqrt(np.maximum(room, 0))
    known = room >= 0
    if not 0 < most <= known.sum():
        return np.nan
    below = np.sort((effect - effects + reach)[known])[-most]
    above = np.sort((effects + reach - effect)[known])[-most]
    return float(max(below, above))


def many_units(treated: np.ndarray) -> bool:
    """Whether errors may be clustered by unit: enough treated ones, enough in all."""
    return bool(treated.sum() >= FEW_TREATED and len(treated) >= FEW_UNITS)


def clustered(
    change: np.ndarray, weight: np.ndarray, treated: np.ndarray
) -> tuple[float, float, float, float]:
    """Difference of the units' weighted mean changes: effect, standard error, df, p-value.

    A unit is a cluster. Units of a panel taken together before and after (Bertrand, Duflo &
    Mullainathan 2004) with HC2 errors and Satterthwaite's degrees of freedom: with equal weights
    Welch's test, and the fixed-effects estimate of the panel.
    """
    (mean_1, v_1, n_1), (mean_0, v_0, n_0) = (
        _mean(change[side], weight[side]) for side in (treated, ~treated)
    )
    v = v_1 + v_0
    effect, se = mean_1 - mean_0, float(np.sqrt(v))
    df = v**2 / (v_1**2 / (n_1 - 1) + v_0**2 / (n_0 - 1)) if se > 0 else np.nan
    return effect, se, df, float(stats.t_pvalue(effect, se, df))


def _mean(change: np.ndarray, weight: np.ndarray) -> tuple[float, float, int]:
    """Weighted mean, its HC2 variance, number of units."""
    share = weight / weight.sum()
    mean = float(share @ change)
    variance = float((share**2 * (change - mean) ** 2 / (1 - share)).sum())
    return mean, variance, len(change)


def permutation(
    change: np.ndarray, weight: np.ndarray, treated: np.ndarray, *, seed: int = 1
) -> tuple[float, int]:
    """Share of the ways to choose as many treated units that differ at least as much; their number.

    All ways up to 1,000, else 999 drawn ones and the real one. The difference of weighted means is
    read in units of its own spread: small units, which move more, do not rank higher for it.
    """
    n, k = len(change), int(treated.sum())
    if comb(n, k) <= MOST_DRAWS:
        chosen = np.array([np.isin(np.arange(n), c) for c in combinations(range(n), k)])
    else:
        rng = np.random.default_rng(seed)
        drawn = rng.permuted(np.tile(treated, (MOST_DRAWS - 1, 1)), axis=1)
        chosen = np.vstack([treated, drawn])
    inside, moved = chosen @ weight, chosen @ (weight * change)
    outside, rest = weight.sum() - inside, weight @ change - moved
    apart = np.abs(moved / inside - rest / outside) / np.sqrt(1 / inside + 1 / outside)
    own = np.flatnonzero((chosen == treated).all(axis=1))[0]
    return float(np.mean(apart >= apart[own] * (1 - 1e-12))), len(chosen)
