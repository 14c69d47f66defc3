"""Which effect could be shown, and how long to wait for a smaller one. Numbers only."""

from __future__ import annotations

import numpy as np

from mctlib import stats
from mctlib.roi.rung import DID, ITS, Rung
from mctlib.roi.weeks import MIN_POST, MIN_PRE

POWER = 0.8
MOST_WEEKS = 104  # to wait; what takes longer is no plan


def detectable(se: float, df: float = np.inf) -> float:
    """The smallest effect that a test at 5 % shows with a power of 80 %.

    ``se``: standard error of an effect · ``df``: degrees of freedom of its t.
    """
    from scipy.special import ndtri, stdtrit

    more = ndtri(POWER) if np.isinf(df) else stdtrit(df, POWER)
    return float((stats.t_point(df) + more) * se)


def more_weeks(now: float, wish: float, weeks: float) -> float:
    """How many more weeks of as many new users each it takes to detect ``wish``; whole ones.

    ``now``: what the users of the ``weeks`` so far detect. NaN where nothing is wished.
    """
    if not wish > 0:
        return np.nan
    return float(np.ceil(max(weeks * ((now / wish) ** 2 - 1), 0.0)))


def outlook(rung: Rung, wish: float) -> dict[str, float]:
    """Columns of a rung: what its weeks detect, and how many more a wish takes; NaN: not known."""
    known = rung.name in (ITS, DID) and rung.se > 0
    more = np.nan
    if known:
        n_pre, n_post = int((rung.weeks.index < 0).sum()), int((rung.weeks.index >= 0).sum())
        trend, least = rung.name == ITS, MIN_POST
        more = weeks_to_wait(
            rung.se, rung.df, n_pre, n_post, wish, trend=trend, rho=rung.rho, least=least
        )
        more = more if n_pre >= MIN_PRE or np.isnan(more) else np.inf
    reach = detectable(rung.se, rung.df) if known else np.nan
    return {"detectable_effect": reach, "more_weeks": more}


def weeks_to_wait(
    se: float,
    df: float,
    n_pre: int,
    n_post: int,
    wish: float,
    *,
    trend: bool = False,
    rho: float = 0.0,
    least: int = 0,
) -> float:
    """How many more weeks after a change it takes to detect a ``wish`` of its mean effect.

    ``se``, ``df``: of the effect after ``n_post`` weeks · ``trend``: the weeks before go on as a
    line, not as a level; then a later week is told ever less surely, and waiting may not help ·
    ``rho``: of a week with the next · ``least``: weeks after below which nothing is shown. 0 where
    these are enough, infinity where no `MOST_WEEKS` are, NaN where nothing is wished.
    """
    if not (wish > 0 and se > 0):
        return np.nan
    now = _variance(n_pre, n_post, trend, rho)
    for more in range(max(least - n_post, 0), MOST_WEEKS + 1):
        then = se * np.sqrt(_variance(n_pre, n_post + more, trend, rho) / now)
        if detectable(then, df) <= wish:
            return float(more)
    return np.inf


def _variance(n_pre: int, n_post: int, trend: bool, rho: float) -> float:
    """Of the mean of the weeks after, less what those before go on to, at a week's variance 1."""
    week = np.arange(-n_pre, n_post)
    x = np.c_[np.ones(len(week)), week][:, : 1 + trend]
    before = x[n_pre:].mean(axis=0) @ np.linalg.pinv(x[:n_pre])
    share = np.r_[-before, np.full(n_post, 1 / n_post)]
    return float(share @ rho ** np.abs(week[:, None] - week) @ share)
