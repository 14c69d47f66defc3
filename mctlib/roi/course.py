"""How an effect went over the weeks after: whether it held, grew, faded or came late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mctlib import stats
from mctlib.roi.rung import Rung

Word = Literal["held", "grew", "faded", "came late"]


@dataclass(frozen=True)
class Course:
    """Change of an effect a week over the weeks after, with its interval; the weeks it came late.

    It grew or faded where the interval leaves out 0. It came late where, of an effect that grew, so
    many weeks of nothing and a level since fit better than a straight line.
    """

    word: Word
    slope: float
    low: float
    high: float
    n_late: int


def course(rung: Rung) -> Course:
    """Of the gaps after the change: their slope over the weeks, by least squares."""
    after = rung.path.iloc[-len(rung.cov) :]
    gap, n = after["gap"].to_numpy(float), after["n"].to_numpy(float)
    week = np.arange(len(gap)) - np.average(np.arange(len(gap)), weights=n)
    c = n * week / (n @ week**2)
    slope, se = float(c @ gap), float(np.sqrt(c @ rung.cov @ c))
    low, high = (float(end) for end in stats.t_interval(slope, se, rung.df))
    if low <= 0 <= high:
        return Course("held", slope, low, high, 0)
    if slope * rung.effect < 0:
        return Course("faded", slope, low, high, 0)
    n_late = _weeks_of_nothing(gap, n)
    return Course("came late" if n_late else "grew", slope, low, high, n_late)


def _weeks_of_nothing(gap: np.ndarray, n: np.ndarray) -> int:
    """The first weeks that, taken for 0 before a level, fit better than a line; 0: none do."""
    week = np.arange(len(gap))
    line = np.polyval(np.polyfit(week, gap, 1, w=np.sqrt(n)), week)
    best, least = 0, float(n @ (gap - line) ** 2)
    for late in range(2, len(gap) - 1):
        level = np.average(gap[late:], weights=n[late:])
        off = float(n @ (gap - level * (week >= late)) ** 2)
        if off < least:
            best, least = late, off
    return best
