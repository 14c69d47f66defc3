"""Incidence under censoring: curves, their intervals, quantiles, restricted means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mctlib.stats.proportions import Z


def incidence(
    time: np.ndarray,
    n_event: np.ndarray,
    n_censored: np.ndarray,
    n_competing: np.ndarray | None = None,
    n_entering: np.ndarray | None = None,
) -> pd.DataFrame:
    """Share of users who had the event by each time, censored users counted for as long as they were seen.

    ``time``: distinct or repeated durations, any unit; the counts leave the risk set at that time, censored ones after the others. ``n_entering``: users
    who come into view just after that time and are at risk only from then on (left truncation; all others are from the start). Without a competing exit
    this is one minus Kaplan-Meier with Greenwood's variance; with one it is Aalen-Johansen with the delta-method variance that falls back to Greenwood's.
    Returns time, n_at_risk, n_event, n_competing, n_censored, rate, rate_se, rate_ci_lower, rate_ci_upper (complementary log-log).
    """
    curve = incidence_arrays(time, n_event, n_censored, n_competing, n_entering)
    low, high = cloglog_interval(curve["rate"], curve["rate_se"])
    return pd.DataFrame(curve | {"rate_ci_lower": low, "rate_ci_upper": high})


def incidence_arrays(
    time: np.ndarray,
    n_event: np.ndarray,
    n_censored: np.ndarray,
    n_competing: np.ndarray | None = None,
    n_entering: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """`incidence` without its interval, an array a column: for many curves of which little is shown."""
    time, at = np.unique(np.asarray(time), return_inverse=True)
    d, c, censored, entering = (
        np.zeros(len(time))
        if counts is None
        else np.bincount(at, weights=counts, minlength=len(time)).astype(float)
        for counts in (n_event, n_competing, n_censored, n_entering)
    )
    at_risk = (d + c + censored - entering)[::-1].cumsum()[::-1]
    n = np.where(at_risk > 0, at_risk, 1.0)  # nobody in view: nothing happens
    both = d + c
    after = np.cumprod(1 - both / n)
    before = np.r_[1.0, after[:-1]]
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


def influence(curve: pd.DataFrame, weight: np.ndarray) -> np.ndarray:
    """What one user changes in sum(weight x rise of rate) of a curve from `incidence`: (3, rows) for a user who leaves at the row by the event, by a competing
    exit, or otherwise; one who came into view after row e has the third line's value at e less.

    ``weight``: one value a row; ones up to t give the rate at t, max(tau - time, 0) the days that the event takes from tau. The derivative by the user's own
    weight (infinitesimal jackknife): summed within clusters and squared it gives cluster-robust variances, as R's survfit(..., cluster =) does.
    """
    n, d, c = (curve[k].to_numpy(float) for k in ("n_at_risk", "n_event", "n_competing"))
    n, both = np.where(n > 0, n, 1.0), d + c
    before = np.r_[1.0, np.cumprod(1 - both / n)[:-1]]
    rise = weight * before * d / n
    gone = np.divide(
        1.0, n - both, out=np.zeros_like(n), where=n > both
    )  # what leaving takes from the share still waiting, relative to it
    stayed = np.cumsum(both / n * gone)  # and what staying gives it
    rest = rise.sum() - np.cumsum(rise)
    stay = np.cumsum(np.r_[0.0, stayed[:-1]] * rise) - np.cumsum(rise / n) + stayed * rest
    return np.vstack([stay + weight * before / n - gone * rest, stay - gone * rest, stay])


def cloglog_interval(f: np.ndarray, se: np.ndarray, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a cumulative share on the scale log(-log(1 - f)), the "log-log" of survival software; NaN at 0 and 1. ``z``: standard errors to either side."""
    inside = (f > 0) & (f < 1 - 1e-12)
    s = np.where(inside, 1 - f, 0.5)
    width = np.exp(z * np.where(inside, se, np.nan) / (s * -np.log(s)))
    return 1 - s ** (1 / width), 1 - s**width


def at_time(curve: pd.DataFrame, time: float, column: str = "rate", default: float = 0.0) -> float:
    """A step function's value at ``time`` (the last row not later), ``default`` before its first row."""
    i = int(np.searchsorted(curve["time"].to_numpy(), time, side="right")) - 1
    return float(curve[column].iloc[i]) if i >= 0 else default


def quantile(
    curve: pd.DataFrame | Mapping[str, np.ndarray], share: float, column: str = "rate"
) -> float:
    """First time at which the curve reaches ``share``; NaN when it never does."""
    reached = np.flatnonzero(np.asarray(curve[column]) >= share - 1e-12)
    return float(np.asarray(curve["time"])[reached[0]]) if len(reached) else np.nan


def restricted_mean(curve: pd.DataFrame, tau: float) -> tuple[float, float]:
    """Mean time not yet in the event within ``tau`` (tau minus the area under rate, from `incidence`) and its standard error.

    Without competing exits Var = sum_i A_i^2 d_i / (n_i (n_i - d_i)), A_i = area under 1 - rate from t_i to tau (as R's survRM2). With them a user who
    exits stays out of the event until tau; the variance is the delta method over the multinomial increments d_i / n_i, c_i / n_i, and the same without.
    """
    part = curve[(curve["time"] < tau) & (curve["n_at_risk"] > 0)]
    n, d, c = (part[k].to_numpy(float) for k in ("n_at_risk", "n_event", "n_competing"))
    stay = 1 - (d + c) / n
    own = (tau - part["time"].to_numpy(float)) * np.r_[
        1.0, np.cumprod(stay)[:-1]
    ]  # what an event at t_i takes from the mean, per unit of hazard
    lost = own * d / n
    later = np.divide(
        lost[::-1].cumsum()[::-1] - lost, stay, out=np.zeros_like(n), where=stay > 1e-12
    )  # what leaving at t_i spares later on
    variance = (
        (own - later) ** 2 * d * (n - d)
        + later**2 * c * (n - c)
        + 2 * (own - later) * later * d * c
    ) / n**3
    return float(tau - lost.sum()), float(np.sqrt(variance.sum()))
