"""What one weekly series would have done without a change, and dates without one.

Numbers only. Weeks are a frame with index week (0: the change) and columns y, weight, n. The effect
is everywhere the mean over the weeks after, weighted with n, whatever its course.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mctlib import stats

PLACEBO_DRAWS = 10_000
# Of the square of the weeks before: how much larger the error is than so few of them make it.
FEW_WEEKS = 50


@dataclass(frozen=True)
class Estimate:
    """Observed minus counterfactual, averaged over the weeks after with the weights n.

    ``counterfactual`` (of y) and ``sd`` (of observed minus counterfactual, a week's own noise
    included) have one entry a week, ``cov``, of the same, one a week after; ``sigma2`` is the error
    variance at weight 1. What it does to noise: ``weights``, what each week counts for in the
    effect, and ``noise``, the covariance of the weeks without a change, in any unit.
    """

    effect: float
    se: float
    df: float
    pvalue: float
    counterfactual: np.ndarray
    sd: np.ndarray
    cov: np.ndarray
    sigma2: float
    rho: float
    weights: np.ndarray
    noise: np.ndarray

    def widened(self, n_pre: int) -> Estimate:
        """The same with the error that the few weeks before leave: 1 + 50 / n^2 times as large.

        From few weeks rho comes out too small: of series of 14 + 6 weeks with rho 0.6 to 0.9, and
        nothing else, 8 to 9 % would show an effect, with this 5 to 7 %.
        """
        se = self.se * (1 + FEW_WEEKS / n_pre**2)
        return replace(self, se=se, pvalue=float(stats.t_pvalue(self.effect, se, self.df)))


# None where the weeks are too few to fit.
Estimator = Callable[[pd.DataFrame], "Estimate | None"]


def share_after(weeks: pd.DataFrame) -> np.ndarray:
    """What each week counts for in the mean over the weeks after the change."""
    n = weeks["n"].to_numpy(float) * (weeks.index >= 0)
    share: np.ndarray = n / n.sum()
    return share


def against_trend(weeks: pd.DataFrame, *, beside: Sequence[str] = ()) -> Estimate | None:
    """Of an interrupted series: against its trend before, and what the columns ``beside`` explain.

    A column that the weeks before do not tell from the others explains nothing.
    """
    x = np.c_[np.ones(len(weeks)), weeks.index.to_numpy(float)]
    before = weeks.index < 0
    for column in beside:
        more = np.c_[x, weeks[column].to_numpy(float)]
        if np.linalg.matrix_rank(more[before]) == more.shape[1]:
            x = more
    return against(weeks, x)


def against_level(weeks: pd.DataFrame) -> Estimate | None:
    """Of a gap between two sides: against its mean before."""
    return against(weeks, np.ones((len(weeks), 1)))


def against(weeks: pd.DataFrame, x: np.ndarray) -> Estimate | None:
    """Against what the weeks before, explained by ``x`` (weeks, columns), go on to.

    ``x`` is fitted to the weeks before alone, by least squares weighted with n, so that the mean is
    right for an effect of any course. Its error is the one that it has under (x, `after_model`)
    with AR(1) errors by REML; the estimate of that fit itself leans on the weeks near the change
    (10 % off for an effect that comes a month late, 26 + 12 weeks, rho 0.6).
    """
    week, before = weeks.index.to_numpy(float), weeks.index < 0
    y, n, weight = (weeks[c].to_numpy(float) for c in ("y", "n", "weight"))
    n_coef, n_pre = x.shape[1], before.sum()
    if n_pre <= n_coef or len(weeks) < max(n_pre + 2, n_coef + 4):
        return None
    found = stats.fit_ar1(y, np.c_[x, after_model(y, x, weight, week)], weight, week)
    noise = found.rho ** np.abs(week[:, None] - week) / np.sqrt(np.outer(weight, weight))
    root = np.sqrt(n[before])
    carry = x @ np.linalg.pinv(x[before] * root[:, None]) * root
    apart = np.eye(len(week))
    apart[:, before] -= carry
    share = share_after(weeks)
    weights, spread = share @ apart, found.sigma2 * apart @ noise @ apart.T
    effect, se = float(weights @ y), float(np.sqrt(share @ spread @ share))
    # a week as if it were none of those before
    alone = np.diag(noise) + np.diag(carry @ noise[np.ix_(before, before)] @ carry.T)
    return Estimate(
        effect,
        se,
        found.df,
        pvalue=float(stats.t_pvalue(effect, se, found.df)),
        counterfactual=carry @ y[before],
        sd=np.sqrt(found.sigma2 * alone),
        cov=spread[np.ix_(~before, ~before)],
        sigma2=found.sigma2,
        rho=found.rho,
        weights=weights,
        noise=noise,
    )


def after_model(y: np.ndarray, x: np.ndarray, weight: np.ndarray, week: np.ndarray) -> np.ndarray:
    """How the weeks after differ, for the sake of the error: by a line (post, week x post).

    Or by two levels, where they leave less than half of the squares that a line leaves: of an
    effect that comes late all that a line misses would pass for noise, however large it is.
    """
    post, root = week >= 0, np.sqrt(weight)[:, None]

    def left(model: np.ndarray) -> float:
        q = np.linalg.qr(np.c_[x, model] * root)[0]
        rest = y * root[:, 0]
        return float(((rest - q @ (q.T @ rest)) ** 2).sum())

    line = np.c_[post, week * post]
    levels = [np.c_[post, week >= late] for late in week[post][2:-1]]
    best = min(levels, key=left, default=line)
    return best if left(best) < left(line) / 2 else line


def drift(gap: pd.DataFrame) -> tuple[float, float]:
    """Did a gap drift before the change: p-value, and the drift that would go unnoticed.

    Joint F test of a linear and a quadratic drift. Unnoticed: what adds up by the middle of the
    weeks after to less than the test finds with a power of 80 % (Roth 2022).
    """
    from scipy.special import fdtrc

    before, after = gap[gap.index < 0], gap[gap.index >= 0]
    week = before.index.to_numpy(float)
    y, weight = before["y"].to_numpy(float), before["weight"].to_numpy(float)
    one = np.ones(len(week))
    curve = stats.fit_ar1(y, np.c_[one, week, week**2], weight, week)
    bends = curve.coef[1:]
    wald = float(bends @ np.linalg.pinv(curve.cov[1:, 1:]) @ bends) / 2
    line = stats.fit_ar1(y, np.c_[one, week], weight, week)
    distance = np.average(after.index, weights=after["n"]) - week.mean()
    # 80 % power at 5 %: 1.96 + 0.84 standard errors
    unnoticed = 2.8 * np.sqrt(line.cov[1, 1]) * distance
    return float(fdtrc(2, curve.df, wald)), float(unnoticed)


def placebo_dates(
    weeks: pd.DataFrame, estimator: Estimator, *, min_pre: int, min_post: int, wanted: int
) -> list[tuple[pd.DataFrame, Estimate]]:
    """The estimator at every earlier date whose window ends before the change.

    Gives the weeks of each, counted from that date, and what it found. A placebo date has all weeks
    before it (at least ``min_pre``) and as many after it as the change has, fewer (at least
    ``min_post``) where only that makes room for ``wanted`` dates.
    """
    before = weeks[weeks.index < 0]
    room = len(before) - min_pre - wanted + 1
    n_post = min(len(weeks) - len(before), max(min_post, room))
    found = []
    for start in range(min_pre, len(before) - n_post + 1):
        window = before.iloc[: start + n_post]
        window = window.set_axis(window.index - before.index[start])
        estimate = estimator(window)
        if estimate is not None:
            found.append((window, estimate))
    return found


def placebo_pvalues(found: Estimate, placebos: Sequence[Estimate], *, seed: int = 1) -> np.ndarray:
    """P-value of the change, by how many placebo dates look as extreme: none, one, ... all.

    Dates share weeks, and the last date of a series is more often its most extreme one than 1 / (1
    + number of dates), the share among unrelated dates: 7 % where that says 3 (50 weeks before, 8
    after). So the chance is taken from draws (seeded) of noise with the covariance ``found.noise``,
    judged at all these dates; it is never put below (1 + those) / (1 + all). NaN where weeks do not
    differ.
    """
    n_dates, n_weeks = 1 + len(placebos), len(found.weights)
    if not found.noise.any():
        return np.full(n_dates, np.nan)
    weights = np.zeros((n_dates, n_weeks))
    for row, estimate in zip(weights, (found, *placebos)):
        row[: len(estimate.weights)] = estimate.weights
    weights = weights @ np.linalg.cholesky(found.noise)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    draws = np.random.default_rng(seed).standard_normal((PLACEBO_DRAWS, n_weeks))
    effect = np.abs(draws @ weights.T)
    n_extreme = (effect[:, 1:] >= effect[:, :1]).sum(axis=1)
    drawn = np.bincount(n_extreme, minlength=n_dates).cumsum() / PLACEBO_DRAWS
    return np.maximum(drawn, np.arange(1, n_dates + 1) / n_dates)
