"""Which effect could be shown, and how long to wait for a smaller one. Numbers only."""

from __future__ import annotations

import numpy as np

from mctlib.stats import t_point

POWER = 0.8


def detectable(se: float, df: float = np.inf) -> float:
    """The smallest effect that a test at 5 % shows with a power of 80 %.

    ``se``: standard error of the effect · ``df``: degrees of freedom of its t.
    """
    from scipy.special import stdtrit

    df = min(df, 1e9)
    return float((t_point(df) + stdtrit(df, POWER)) * se)


def more_weeks(now: float, wish: float, weeks: float) -> float:
    """How many more weeks of as many users each it takes to detect ``wish``; whole ones.

    ``now``: what the ``weeks`` so far detect. NaN where nothing is wished.
    """
    if not wish > 0:
        return np.nan
    return float(np.ceil(max(weeks * ((now / wish) ** 2 - 1), 0.0)))
