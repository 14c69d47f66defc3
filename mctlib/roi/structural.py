"""Structural time series: what a local level would have done without the change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.roi.estimators import Estimate

# Of the pinned level's weekly step, in standard deviations of the weeks before (Brodersen 2015).
PINNED = 0.01


def structural(weeks: pd.DataFrame) -> Estimate | None:
    """Local level from the weeks before, and the column ``control`` as a regressor if there.

    The wider of a free and a pinned level. The model of CausalImpact (Brodersen et al. 2015) and of
    statsmodels' UnobservedComponents with the level and the coefficients diffuse, in closed form
    (`forecast`). Free: averaged over the share r of the level in the variance of a week, each share
    as likely beforehand as any other; a plugged-in estimate of it leaves out its own error
    (coverage 88 % where averaging has 96 %; 40 weeks before, steps of 0.4 of the noise). Pinned:
    the level's weekly step is 0.01 standard deviations. t with n - k degrees of freedom.
    """
    before = weeks.index.to_numpy() < 0
    if "control" in weeks and not np.ptp(weeks["control"][before]) > 0:
        # it tells nothing that the level does not
        weeks = weeks.drop(columns="control")
    n_coef = 2 if "control" in weeks else 1
    if before.sum() < n_coef + 3 or before.all():
        return None
    model = level_model(weeks)
    free, pinned = _free(weeks, model), _pinned(weeks, model)
    names, wide, other = ("free", "pinned"), free, pinned
    if pinned.se > free.se:
        names, wide, other = ("pinned", "free"), pinned, free
    if not wide.se > 0:
        return wide
    ratio = other.se / wide.se
    told = f"{names[0]} level, the wider; a {names[1]} one has {ratio:.2f} of its standard error"
    return replace(wide, told=told)


@dataclass(frozen=True)
class LevelModel:
    """y: before the change · before: whether a week is · x: regressors, a row a week.

    d: noise variance of each week, 1 for one of mean weight · walk: covariance of a random walk
    with steps of variance 1.
    """

    y: np.ndarray
    before: np.ndarray
    x: np.ndarray
    d: np.ndarray
    walk: np.ndarray


def level_model(weeks: pd.DataFrame) -> LevelModel:
    """The model of weeks (y, weight and perhaps control)."""
    week, weight = weeks.index.to_numpy(float), weeks["weight"].to_numpy(float)
    before = week < 0
    x = np.ones((len(week), 1))
    if "control" in weeks:
        x = np.c_[x, weeks["control"]]
    return LevelModel(
        y=weeks["y"].to_numpy(float)[before],
        before=before,
        x=x,
        d=weight[before].mean() / weight,
        walk=np.minimum.outer(week, week) - week[0],
    )


def _free(weeks: pd.DataFrame, model: LevelModel) -> Estimate:
    """Averaged over the level's share of the variance."""
    log_q = np.linspace(-8, 5, 14)
    fit = deviance(model, log_q)
    share = 1 / (1 + np.exp(-log_q))
    weight = np.exp((fit.min() - fit) / 2) * share * (1 - share)
    weight = np.where(weight > 1e-3 * weight.max(), weight, 0.0)
    weight /= weight.sum()
    parts = [(w, *forecast(model, np.exp(g))) for w, g in zip(weight, log_q) if w]
    hat = np.sum([w * hat for w, hat, _, _ in parts], axis=0)
    noise = np.sum([w * noise for w, _, _, noise in parts], axis=0)
    cov = np.zeros_like(noise)
    for w, one_hat, one_cov, _ in parts:
        apart = (one_hat - hat) @ model.y
        cov += w * (one_cov + np.outer(apart, apart))
    return mean_gap(weeks, model, (hat, cov, noise))


def _pinned(weeks: pd.DataFrame, model: LevelModel) -> Estimate:
    """With a level that hardly moves."""
    step = (PINNED * model.y.std(ddof=1)) ** 2
    if not step > 0:
        return mean_gap(weeks, model, forecast(model, 0.0))
    log_q = np.linspace(-14, 10, 121)
    q = float(np.exp(log_q[deviance(model, log_q, step=step).argmin()]))
    return mean_gap(weeks, model, forecast(model, q, noise=step / q))


def mean_gap(
    weeks: pd.DataFrame, model: LevelModel, found: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Estimate:
    """The mean gap after the change of a `forecast`."""
    hat, cov, noise = found
    after, y = ~model.before, weeks["y"].to_numpy(float)
    share = share_after(weeks)
    weights = share.copy()
    weights[model.before] -= share @ hat
    effect, se = float(weights @ y), float(np.sqrt(share @ cov @ share))
    df = float(len(y) - after.sum() - model.x.shape[1])
    return Estimate(
        effect,
        se,
        df,
        pvalue=float(stats.t_pvalue(effect, se, df)),
        counterfactual=hat @ model.y,
        cov=cov,
        sigma2=noise[0, 0] * weeks["weight"].iloc[0],
        told="",
        weights=weights,
        noise=noise,
    )


def share_after(weeks: pd.DataFrame) -> np.ndarray:
    """What each week counts for in the mean over the weeks after the change."""
    n = weeks["n"].to_numpy(float) * (weeks.index >= 0)
    share: np.ndarray = n / n.sum()
    return share


def deviance(model: LevelModel, log_q: np.ndarray, *, step: float | None = None) -> np.ndarray:
    """Minus twice the restricted log-likelihood of the weeks before, at every q.

    q = level variance / noise variance; ``step``: a level variance that is given.
    """
    before, k, m = model.before, model.x.shape[1], len(model.y)
    root = np.sqrt(model.d[before])
    # after this turn every candidate covariance is diagonal
    size, turn = np.linalg.eigh(model.walk[np.ix_(before, before)] / np.outer(root, root))
    both = turn.T @ (np.c_[model.x[before], model.y] / root[:, None])
    v = 1 + np.exp(log_q)[:, None] * np.maximum(size, 0)
    r = np.linalg.qr(both / np.sqrt(v)[..., None], mode="r")
    corner = np.abs(np.diagonal(r, axis1=1, axis2=2))
    rss = np.maximum(corner[:, k] ** 2, 1e-300)
    # profiled out, or what q says of it
    noise = rss / (m - k) if step is None else step / np.exp(log_q)
    determinants = np.log(v).sum(axis=1) + 2 * np.log(corner[:, :k]).sum(axis=1)
    found: np.ndarray = determinants + (m - k) * np.log(noise) + rss / noise
    return found


def forecast(
    model: LevelModel, q: float, *, noise: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A local level with variance ratio ``q``.

    Gives what each of the weeks before counts for in the counterfactual of every week (weeks, weeks
    before); covariance of its errors; covariance of the weeks around the regressors. A random walk
    is a covariance, and its diffuse start a constant among the regressors: best linear unbiased
    prediction by generalised least squares gives what the Kalman filter gives, for weeks of any
    weight, with the correlation of the errors. ``noise``: the noise variance of a week of mean
    weight, where it is given.
    """
    y, before, x, walk = model.y, model.before, model.x, model.walk
    whole = np.diag(model.d) + q * walk
    inverse = np.linalg.inv(whole[np.ix_(before, before)])
    spread = np.linalg.inv(x[before].T @ inverse @ x[before])
    coef = spread @ x[before].T @ inverse
    if noise is None:
        rest = y - x[before] @ (coef @ y)
        noise = float(rest @ inverse @ rest) / (len(y) - x.shape[1])
    carry = q * walk[:, before] @ inverse
    apart = x - carry @ x[before]
    cov = whole - carry @ (q * walk[before]) + apart @ spread @ apart.T
    return carry + apart @ coef, noise * cov, noise * whole
