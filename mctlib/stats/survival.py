"""Incidence under censoring: curves, their intervals, quantiles and restricted means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mctlib.contract import interval_columns
from mctlib.stats.student import FloatArray, Z

Curve: TypeAlias = Mapping[str, FloatArray] | pd.DataFrame
MIN_WAITING = 10  # no curve is read where fewer were followed and still waiting
MOST_UNSEEN = 0.01  # unless no more users than this share wait there out of view


def incidence(
    time: ArrayLike,
    n_event: ArrayLike,
    n_censored: ArrayLike,
    n_competing: ArrayLike | None = None,
    n_entering: ArrayLike | None = None,
) -> pd.DataFrame:
    """Share of users who had the event by each time; others count for as long as they were seen.

    Without a competing exit this is one minus Kaplan-Meier with Greenwood's variance; with one it
    is Aalen-Johansen with the delta-method variance that falls back to Greenwood's.

    Parameters
    ----------
    time : array
        Distinct or repeated durations, any unit.
    n_event, n_censored, n_competing : array
        Users who leave the risk set at that time; censored ones after the others.
    n_entering : array, optional
        Users who come into view just after that time and are at risk only from then on (left
        truncation); all others are at risk from the start.

    Returns
    -------
    DataFrame
        time, n_at_risk, n_event, n_competing, n_censored, rate, rate_se, rate_ci_lower,
        rate_ci_upper (complementary log-log); a row a distinct time.
    """
    curve = incidence_arrays(time, n_event, n_censored, n_competing, n_entering)
    low, high = cloglog_interval(curve["rate"], curve["rate_se"])
    return pd.DataFrame(curve | interval_columns("rate", curve["rate"], low, high))


def incidence_arrays(
    time: ArrayLike,
    n_event: ArrayLike,
    n_censored: ArrayLike,
    n_competing: ArrayLike | None = None,
    n_entering: ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """`incidence` without its interval, an array a column: for many curves shown in small part."""
    time, at = np.unique(np.asarray(time), return_inverse=True)
    d, c, censored, entering = (
        np.zeros(len(time))
        if n is None
        else np.bincount(at, weights=np.asarray(n, float), minlength=len(time))
        for n in (n_event, n_competing, n_censored, n_entering)
    )
    at_risk = (d + c + censored - entering)[::-1].cumsum()[::-1]
    n = np.where(at_risk > 0, at_risk, 1.0)  # nobody in view: nothing happens
    both = d + c
    before = np.r_[1.0, np.cumprod(1 - both / n)[:-1]]
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


class Influence:
    """What one user changes in sum(weight x rise of rate) of a curve from `incidence`.

    The derivative by the user's own weight (infinitesimal jackknife): summed within clusters and
    squared it gives cluster-robust variances, as R's survfit(..., cluster =) does. Weights (a row
    each) of ones up to t give the rate at t; max(tau - time, 0) the days that the event takes from
    tau. Answered are three lines: for a user who leaves at the row by the event, by a competing
    exit, or otherwise. One who came into view after row e has the third line's value at e less.
    """

    def __init__(self, curve: Curve) -> None:
        n, d, c = (np.asarray(curve[k], float) for k in ("n_at_risk", "n_event", "n_competing"))
        n, both = np.where(n > 0, n, 1.0), d + c
        self._own = np.concatenate([[1.0], np.cumprod(1 - both / n)[:-1]]) / n
        self._rise = self._own * d
        # what leaving takes from the share still waiting, relative to it; what staying gives it
        self._gone = np.divide(1.0, n - both, out=np.zeros_like(n), where=n > both)
        self._stayed = np.cumsum(both / n * self._gone)
        self._stayed_before = np.concatenate([[0.0], self._stayed[:-1]]) - 1 / n

    def __call__(self, weight: FloatArray) -> FloatArray:
        """The three lines for one weight a row."""
        rise = weight * self._rise
        rest = rise.sum() - np.cumsum(rise)
        stay = np.cumsum(self._stayed_before * rise) + self._stayed * rest
        gone = stay - self._gone * rest
        return np.vstack([gone + weight * self._own, gone, stay])


def cloglog_interval(
    f: FloatArray, se: FloatArray, z: FloatArray | float = Z
) -> tuple[FloatArray, FloatArray]:
    """Interval of a cumulative share on the scale log(-log(1 - f)); NaN at 0 and 1.

    The "log-log" interval of survival software. ``z``: standard errors to either side.
    """
    inside = (f > 0) & (f < 1 - 1e-12)
    s = np.where(inside, 1 - f, 0.5)
    width = np.exp(z * np.where(inside, se, np.nan) / (s * -np.log(s)))
    return 1 - s ** (1 / width), 1 - s**width


def at_time(curve: Curve, time: float, column: str = "rate") -> float:
    """A step function's value at ``time`` (the last row not later), before its first row 0."""
    i = int(np.searchsorted(np.asarray(curve["time"]), time, side="right")) - 1
    return float(np.asarray(curve[column])[i]) if i >= 0 else 0.0


def supported_until(curve: Curve) -> float:
    """Longest time at which a curve from `incidence` may be read.

    That is the last time to which `MIN_WAITING` users were followed and still waiting. Beyond it
    the few who are left would speak for all who were lost from view: the curve is read on only
    while the share still waiting exceeds the share seen to wait by no more than `MOST_UNSEEN`. So
    it is infinite where hardly anybody is left whose end is unknown; NaN where there were never
    `MIN_WAITING` users.
    """
    n, d, c, lost = (
        np.asarray(curve[k], float) for k in ("n_at_risk", "n_event", "n_competing", "n_censored")
    )
    enough = np.flatnonzero(n >= MIN_WAITING)
    if not len(enough):
        return np.nan
    waiting = np.cumprod(1 - (d + c) / np.where(n > 0, n, 1.0))
    unseen = waiting - np.r_[n[1:], 0.0] / (d + c + lost).sum()  # after each row
    last = enough[-1] + np.argmax(np.r_[unseen[enough[-1] :] > MOST_UNSEEN, True])
    return float(np.asarray(curve["time"])[last]) if last < len(n) else np.inf


def quantile(curve: Curve, share: float, column: str = "rate") -> float:
    """First time at which the curve reaches ``share``; NaN when it never does."""
    reached = np.flatnonzero(np.asarray(curve[column]) >= share - 1e-12)
    return float(np.asarray(curve["time"])[reached[0]]) if len(reached) else np.nan


def restricted_mean(curve: Curve, tau: float) -> tuple[float, float]:
    """Mean time not yet in the event within ``tau``, and its standard error.

    That is tau minus the area under rate, from `incidence`. Without competing exits Var = sum_i
    A_i^2 d_i / (n_i (n_i - d_i)), A_i = area under 1 - rate from t_i to tau (as R's survRM2). With
    them a user who exits stays out of the event until tau; the variance is the delta method over
    the multinomial increments d_i / n_i, c_i / n_i, and the same without exits.
    """
    columns = ("n_at_risk", "n_event", "n_competing", "time")
    n, d, c, time = (np.asarray(curve[k], float) for k in columns)
    inside = (time < tau) & (n > 0)
    n, d, c, time = n[inside], d[inside], c[inside], time[inside]
    stay = 1 - (d + c) / n
    # what an event at t_i takes from the mean, per unit of hazard; what leaving there spares later
    own = (tau - time) * np.r_[1.0, np.cumprod(stay)[:-1]]
    lost = own * d / n
    later = lost[::-1].cumsum()[::-1] - lost
    later = np.divide(later, stay, out=np.zeros_like(n), where=stay > 1e-12)
    variance = (own - later) ** 2 * d * (n - d) + later**2 * c * (n - c)
    variance = (variance + 2 * (own - later) * later * d * c) / n**3
    return float(tau - lost.sum()), float(np.sqrt(variance.sum()))
