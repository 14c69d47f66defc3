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
# Weeks before from which on rho is told well enough; what 14 of them fewer add to the error.
ENOUGH_PRE, WIDER = 26, 0.3


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


# None where the weeks are too few to fit.
Estimator = Callable[[pd.DataFrame], "Estimate | None"]


def share_after(weeks: pd.DataFrame) -> np.ndarray:
    """What each week counts for in the mean over the weeks after the change."""
    n = weeks["n"].to_numpy(float) * (weeks.index >= 0)
    share: np.ndarray = n / n.sum()
    return share


def ar1(week: np.ndarray, rho: float) -> np.ndarray:
    """Correlation of the weeks of a first-order autoregression."""
    correlation: np.ndarray = rho ** np.abs(week[:, None] - week)
    return correlation


def trend_of(weeks: pd.DataFrame, beside: Sequence[str]) -> np.ndarray:
    """Level, trend and the columns ``beside``; one that never varied before explains nothing."""
    more = weeks[list(beside)].to_numpy(float)
    more = more[:, np.ptp(more[weeks.index < 0], axis=0) > 0]
    return np.c_[np.ones(len(weeks)), weeks.index.to_numpy(float), more]


def against_trend(weeks: pd.DataFrame, *, beside: Sequence[str] = ()) -> Estimate | None:
    """Of an interrupted series: what the weeks before go on to, and how far the others are off.

    The error is that of (1, week, post, week x post) with AR(1) errors by REML. Under it the trend,
    and what the columns ``beside`` explain, are fitted to the weeks before alone (generalised least
    squares with every week after left free), so that the mean is right for an effect of any course:
    a line through the weeks after is 10 % off where it comes a month late (26 + 12 weeks, rho 0.6).
    """
    week, weight = weeks.index.to_numpy(float), weeks["weight"].to_numpy(float)
    y, post = weeks["y"].to_numpy(float), weeks.index >= 0
    n_pre, n_post = (~post).sum(), post.sum()
    if n_pre < 3 or n_post < 2:
        return None
    trend = trend_of(weeks, beside)
    n_coef = trend.shape[1]
    if n_pre <= n_coef or len(weeks) < n_coef + 4:
        return None
    found = stats.fit_ar1(y, np.c_[trend, post, week * post], weight, week)
    noise = ar1(week, found.rho) / np.sqrt(np.outer(weight, weight))
    free = np.c_[trend, np.eye(len(week))[:, post]]
    x = np.linalg.solve(noise, free)
    spread = np.linalg.inv(free.T @ x)
    each = spread @ x.T  # what every week counts for in a coefficient
    counterfactual = trend @ each[:n_coef] @ y
    counterfactual[post] = y[post] - each[n_coef:] @ y
    line = trend[~post] @ spread[:n_coef, :n_coef] @ trend[~post].T
    variance = np.r_[np.diag(line) + np.diag(noise)[~post], np.diag(spread)[n_coef:]]
    weights = share_after(weeks)[post] @ each[n_coef:]
    cov = spread[n_coef:, n_coef:]
    return _mean(found, weights @ y, weights, noise, counterfactual, (variance, cov))


def _mean(
    found: stats.Fit,
    effect: float,
    weights: np.ndarray,
    noise: np.ndarray,
    counterfactual: np.ndarray,
    of_gaps: tuple[np.ndarray, np.ndarray],
) -> Estimate:
    """An estimate from the fit that knows its error; ``of_gaps``: variances and cov at sigma2 1."""
    se = float(np.sqrt(found.sigma2 * weights @ noise @ weights))
    return Estimate(
        float(effect),
        se,
        found.df,
        pvalue=float(stats.t_pvalue(effect, se, found.df)),
        counterfactual=counterfactual,
        sd=np.sqrt(found.sigma2 * of_gaps[0]),
        cov=found.sigma2 * of_gaps[1],
        sigma2=found.sigma2,
        rho=found.rho,
        weights=weights,
        noise=noise,
    )


def widened(found: Estimate, n_pre: int) -> Estimate:
    """The same with the error that few weeks before leave: up to 1.3 times as large at 12 of them.

    From so few weeks rho comes out too small. Without this 9 % of the series of 14 + 6 weeks with
    rho 0.6 or 0.9, and nothing else, would show an effect; with it 5 to 6 %.
    """
    short = np.clip((ENOUGH_PRE - n_pre) / 14, 0, 1)
    se = found.se * (1 + WIDER * float(short))
    return replace(found, se=se, pvalue=float(stats.t_pvalue(found.effect, se, found.df)))


def against_level(weeks: pd.DataFrame) -> Estimate | None:
    """Of a gap between two sides: its mean after, less that before, the weeks weighted with n.

    The error is that of these means under (1, post, week x post) with AR(1) errors by REML.
    """
    week, weight = weeks.index.to_numpy(float), weeks["weight"].to_numpy(float)
    y, n, post = weeks["y"].to_numpy(float), weeks["n"].to_numpy(float), weeks.index >= 0
    if (~post).sum() < 2 or post.sum() < 2 or len(weeks) < 5:
        return None
    found = stats.fit_ar1(y, np.c_[np.ones(len(week)), post, week * post], weight, week)
    noise = ar1(week, found.rho) / np.sqrt(np.outer(weight, weight))
    before = n * ~post / n[~post].sum()
    apart = np.eye(len(week)) - before  # a week less the mean before
    weights = share_after(weeks) - before
    variance = np.diag(noise) + before @ noise @ before
    cov = apart[post] @ noise @ apart[post].T
    level = np.full(len(week), before @ y)
    return _mean(found, weights @ y, weights, noise, level, (variance, cov))


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
