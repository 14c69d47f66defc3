"""What a weekly series would have done without a change: regressions, and dates without one.

Numbers only. Weeks are a frame with index week (0: the change) and columns y, weight, n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib import stats

PLACEBO_DRAWS = 10_000


@dataclass(frozen=True)
class Estimate:
    """Observed minus counterfactual, averaged over the weeks after with the weights n.

    ``counterfactual`` (of y) and ``cov`` (of observed minus counterfactual, a week's own noise
    included) have one entry a week; ``sigma2`` is the error variance at weight 1, ``told`` what a
    reader should know of the fit. What it does to noise: ``weights``, what each week counts for in
    the effect, and ``noise``, the covariance of the weeks without a change, in any unit.
    ``extremity`` compares dates, the smaller the more extreme: the p-value where not given.
    """

    effect: float
    se: float
    df: float
    pvalue: float
    counterfactual: np.ndarray
    cov: np.ndarray
    sigma2: float
    told: str
    weights: np.ndarray
    noise: np.ndarray
    extremity: float = np.nan

    def __post_init__(self) -> None:
        if np.isnan(self.extremity):
            object.__setattr__(self, "extremity", self.pvalue)


# None where the weeks are too few to fit.
Estimator = Callable[[pd.DataFrame], "Estimate | None"]
# Of the weeks: a model with the change, and the same without it.
Design = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def trend(week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design of a change of level and slope. Time is 0 at the change, so `post` is the jump."""
    post = week >= 0
    with_change = np.c_[np.ones(len(week)), week, post, week * post]
    return with_change, with_change * [1, 1, 0, 0]


def level(week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design of a change of level only."""
    with_change = np.c_[np.ones(len(week)), week >= 0]
    return with_change, with_change * [1, 0]


def fit(
    weeks: pd.DataFrame, design: Design, *, rho: float | None = None
) -> tuple[stats.Fit, np.ndarray]:
    """Fit of weeks, and the contrast that averages the effect over the weeks after."""
    week = weeks.index.to_numpy(float)
    y, weight, n = (weeks[c].to_numpy(float) for c in ("y", "weight", "n"))
    with_change, without = design(week)
    after = week >= 0
    contrast = np.average((with_change - without)[after], axis=0, weights=n[after])
    return stats.fit_ar1(y, with_change, weight, week, rho=rho), contrast


def regression(weeks: pd.DataFrame, *, design: Design) -> Estimate | None:
    """Generalised least squares with AR(1) errors by REML (`stats.fit_ar1`)."""
    week, weight = weeks.index.to_numpy(float), weeks["weight"].to_numpy(float)
    with_change, without = design(week)
    # half of the coefficients describe the weeks before, half what the change added
    n_coef = with_change.shape[1]
    n_pre, n_post = (week < 0).sum(), (week >= 0).sum()
    if n_pre < max(2, n_coef // 2 + 1) or n_post < n_coef // 2 or len(weeks) < n_coef + 2:
        return None
    found, contrast = fit(weeks, design)
    effect, se, pvalue = found.contrast(contrast)
    noise = ar1(week, found.rho) / np.sqrt(np.outer(weight, weight))
    x = np.linalg.solve(noise, with_change)
    return Estimate(
        effect,
        se,
        found.df,
        pvalue,
        counterfactual=without @ found.coef,
        cov=without @ found.cov @ without.T + found.sigma2 * noise,
        sigma2=found.sigma2,
        told=f"rho {found.rho:.2f}",
        weights=x @ np.linalg.solve(with_change.T @ x, contrast),
        noise=noise,
    )


def ar1(week: np.ndarray, rho: float) -> np.ndarray:
    """Correlation of the weeks of a first-order autoregression."""
    correlation: np.ndarray = rho ** np.abs(week[:, None] - week)
    return correlation


def slope_of_effect(weeks: pd.DataFrame, *, design: Design) -> tuple[float, float, float]:
    """Change of the effect a week over the weeks after, standard error, degrees of freedom.

    The slope is in the model: left out of it, it would pass for autocorrelation.
    """
    week = weeks.index.to_numpy(float)
    post, without = week >= 0, design(week)[1]
    x = np.c_[without[:, without.any(axis=0)], post, week * post]
    found = stats.fit_ar1(weeks["y"].to_numpy(float), x, weeks["weight"].to_numpy(float), week)
    slope, se, _ = found.contrast(np.eye(x.shape[1])[-1])
    return slope, se, found.df


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
