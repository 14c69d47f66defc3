"""Comparisons with several segments: synthetic control, and how far segments move by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib.roi.estimators import share_after

# Segments of a side from which on its own spread is taken (Welch); below, that of both (pooled t).
WELCH = 4


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

    weight: of the donors · gap: by week · rms_before: root mean square of the gap before ·
    effect: mean gap after.
    """

    weight: np.ndarray
    gap: np.ndarray
    rms_before: float
    effect: float

    @property
    def ratio(self) -> float:
        """How far the gap opened on the mean, for a unit that is followed so well."""
        if self.rms_before > 0:
            return abs(self.effect) / self.rms_before
        return np.inf if self.effect else 0.0


def synthetic_control(
    y: np.ndarray, donors: np.ndarray, before: np.ndarray, share: np.ndarray
) -> Synthetic:
    """Of y (weeks,) and donors (weeks, donors); ``share``: of the weeks in the mean after."""
    weight = simplex_weights(donors[before], y[before])
    gap = y - donors @ weight
    return Synthetic(weight, gap, float(np.sqrt(np.mean(gap[before] ** 2))), float(share @ gap))


@dataclass(frozen=True)
class Donors:
    """Synthetic controls of the treated unit and of its donors.

    own: the treated against all · others: each donor against the others · without: the treated
    without each donor.
    """

    own: Synthetic
    others: list[Synthetic]
    without: list[Synthetic]

    @property
    def pvalue(self) -> float:
        """Rank of the treated unit's `Synthetic.ratio` among the donors'.

        Of the mean gap after, since that is what is asked for (Abadie, Diamond & Hainmueller 2010
        rank the mean square); leave-two-out (Lei & Sudhof 2023): each donor is held against the
        treated unit with the same pool, which has neither of the two.
        """
        n_extreme = sum(o.ratio >= u.ratio for o, u in zip(self.others, self.without))
        return (1 + n_extreme) / (1 + len(self.others))

    @property
    def half_width(self) -> float:
        """From the effect to the farther end of the mean effects that the rank does not reject.

        A donor says no to those for which the treated gap would have opened less than its own; so
        many donors must say no as a rank above 5 % takes (Firpo & Possebom 2018). NaN below 19.
        """
        most = int(0.05 * (len(self.others) + 1) + 1e-9)
        if not most:
            return np.nan
        apart = np.array([u.effect - self.own.effect for u in self.without])
        reach = np.array([o.ratio * u.rms_before for o, u in zip(self.others, self.without)])
        return float(max(np.sort(reach - apart)[-most], np.sort(reach + apart)[-most]))


def synthetic(weeks: pd.DataFrame, donors: Sequence[str]) -> Donors:
    """Synthetic controls of the column y from the columns ``donors``."""
    y, others = weeks["y"].to_numpy(float), weeks[list(donors)].to_numpy(float)
    before, share = weeks.index < 0, share_after(weeks)
    pools = [np.delete(others, j, axis=1) for j in range(len(donors))]
    return Donors(
        synthetic_control(y, others, before, share),
        [synthetic_control(others[:, j], pool, before, share) for j, pool in enumerate(pools)],
        [synthetic_control(y, pool, before, share) for pool in pools],
    )


@dataclass(frozen=True)
class Side:
    """How sure the weighted mean of the changes of a side's segments is.

    variance: by the segments' own spread (HC2) · df: its degrees of freedom · trace: what it would
    be on average, and size: what it should be, where each change has variance 1.
    """

    variance: float
    df: float
    trace: float
    size: float


def side(change: np.ndarray, share: np.ndarray) -> Side:
    """The shares add up to 1; with equal ones variance is s2 / n and df n - 1, else fewer.

    df: of the variance's distribution where all changes have one variance (Bell & McCaffrey 2002).
    """
    mean = float(share @ change)
    weight = share**2 / (1 - share)
    off_mean = np.eye(len(share)) - share
    spread = off_mean.T * weight @ off_mean
    trace = np.trace(spread)
    return Side(
        float(weight @ (change - mean) ** 2),
        float(trace**2 / np.trace(spread @ spread)),
        float(trace),
        float((share**2).sum()),
    )


def apart(change: np.ndarray, share: np.ndarray, treated: np.ndarray) -> tuple[float, float]:
    """Error of the difference between the mean changes of both sides, and its degrees of freedom.

    A segment is taken together before and after (Bertrand, Duflo & Mullainathan 2004): Welch's t
    with four segments or more on either side, else a t pooled over both, who are taken to vary
    alike.
    """
    one, other = (side(change[s], share[s]) for s in (treated, ~treated))
    variance = one.variance + other.variance
    if min(treated.sum(), (~treated).sum()) >= WELCH:
        df = variance**2 / (one.variance**2 / one.df + other.variance**2 / other.df)
    else:
        df = one.df + other.df
        each = (one.df * one.variance / one.trace + other.df * other.variance / other.trace) / df
        variance = each * (one.size + other.size)
    return float(np.sqrt(variance)), float(df if variance > 0 else np.nan)
