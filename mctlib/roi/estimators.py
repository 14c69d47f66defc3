"""What weekly series would have done without a change: the estimators of the ladder that `compare_before_after` climbs. Numbers only, no words for readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import MISSING, DataError, ParameterError, nearest

MIN_PRE, MIN_POST = 12, 6  # weeks; below them a comparison is described, not supported
PINNED = 0.01  # standard deviation of the pinned level's weekly step, in standard deviations of the weeks before (Brodersen et al. 2015)
FEW_TREATED, FEW_UNITS = (
    10,
    30,
)  # below them errors clustered by segment reject far too often (one treated of 27: 70 % of nulls)
MOST_DRAWS = 1000
PLACEBO_DRAWS = 10_000


@dataclass(frozen=True)
class Estimate:
    """Observed minus counterfactual, averaged over the weeks after with the weights n.

    ``counterfactual`` (of y) and ``cov`` (of observed minus counterfactual, a week's own noise included) have one entry a week; ``sigma2`` is the error
    variance at weight 1, ``told`` what a reader should know of the fit. ``extremity`` compares dates, the smaller the more extreme: the p-value where no other is given.
    What it does to noise: ``weights``, what each week counts for in the effect, and ``noise``, the covariance of the weeks without a change, in any unit.
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


Estimator = Callable[
    [pd.DataFrame], "Estimate | None"
]  # weeks -> Estimate, None where they are too few to fit; weeks: index week (0: the change), y, weight, n


# -------------------------------------------------------------------------------------------------- the series by week


def days(values: pd.Series, what: str) -> pd.Series:
    """UTC days of stamps, dates or text; an empty value stays empty."""
    found = (
        pd.to_datetime(values, utc=True, errors="coerce", format="mixed")
        .dt.tz_localize(None)
        .dt.normalize()
    )
    if len(wrong := values[found.isna() & values.notna()]):
        raise DataError(f'{what}: "{wrong.iloc[0]}" is not a day; write 2026-06-30.')
    return found


def checked(series: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The series as day, segment, n, total (whose sum over n is the metric), and what kind of metric it is."""
    for column in ("day", "n", "value"):
        if column not in series:
            raise DataError(
                f'series: column "{column}" is missing; it takes day, n, value, and segment and n_success where they apply.'
                f"{nearest(column, series.columns)}"
            )
    numbers = {}
    for column in [c for c in ("n", "value", "n_success", "n_checked", "n_tracked") if c in series]:
        try:
            numbers[column] = series[column].astype(float)
        except (TypeError, ValueError):
            raise DataError(f'series: column "{column}" must hold numbers.') from None
    n, value = numbers["n"], numbers.pop("value")
    kind = "rate" if "n_success" in series else "count" if np.array_equal(n, value) else "mean"
    total = {
        "rate": lambda: numbers.pop("n_success"),
        "count": lambda: n,
        "mean": lambda: (value * n).fillna(0.0),
    }[kind]()
    segment = (
        series["segment"].where(series["segment"].notna(), MISSING).astype(str)
        if "segment" in series
        else "all"
    )
    daily = pd.DataFrame(
        {"day": days(series["day"], "series: day"), "segment": segment, "total": total} | numbers
    )
    if daily["day"].isna().any():
        raise DataError("series: a row has no day.")
    if not (daily["n"] >= 0).all() or (
        kind == "rate" and not daily["total"].between(0, daily["n"]).all()
    ):
        raise DataError("series: n must be 0 or more, and n_success between 0 and n.")
    if daily.duplicated(["day", "segment"]).any():
        raise DataError("series: a day occurs twice within a segment.")
    if kind == "count":  # of a missing row nobody knows whether nobody came or the day was lost
        for name, own in daily.groupby("segment")["day"]:
            if len(missing := pd.date_range(own.min(), own.max()).difference(own)):
                raise DataError(
                    f"series: a count needs a row for every day, with n and value 0 where nobody came; {missing[0]:%Y-%m-%d} of segment {name} has none."
                )
    return daily, kind


def check_money(value: Any, margin: Any) -> None:
    """Raises ParameterError: money per success below 0, a share of it that is kept outside 0 to 1."""
    if value is not None and not (isinstance(value, Real) and 0 <= value < np.inf):
        raise ParameterError(
            f"value: {value!r} must be 0 or more, a number; what a success brings cannot be negative."
        )
    if not (isinstance(margin, Real) and 0 < margin <= 1):
        raise ParameterError(f"margin: {margin!r} must be a share above 0 and at most 1.")


def weekly(daily: pd.DataFrame, change: pd.Timestamp, kind: str) -> tuple[pd.DataFrame, int]:
    """segment, week (0 = the first since the change), n, total, for whole weeks; and the number of days left out. A count's n is its days, and of a segment that
    comes later or ends sooner than the others only its own whole weeks are taken."""
    since = (daily["day"] - change).dt.days
    week = since // 7
    whole = (week * 7 >= since.min()) & (week * 7 + 6 <= since.max())
    by_week = daily[whole].assign(week=week[whole]).groupby(["segment", "week"])
    frame = by_week[["n", "total"]].sum().reset_index()
    return frame[by_week.size().to_numpy() == 7].assign(n=7.0) if kind == "count" else frame, int(
        daily.loc[~whole, "day"].nunique()
    )


def pooled(units: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Segments taken together: index week; n, total, value."""
    out = units.groupby("week").agg(
        n=("n", "max" if kind == "count" else "sum"), total=("total", "sum")
    )
    return out.assign(value=stats.rate(out["total"], out["n"]))


# -------------------------------------------------------------------------------------------------- one series


def trend(week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design of a change of level and slope, and the same without the change. Time is 0 at the change, so `post` is the jump there."""
    one, post = np.ones(len(week)), week >= 0
    with_change = np.c_[one, week, post, week * post]
    return with_change, with_change * [1, 1, 0, 0]


def level(week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design of a change of level only, and the same without it."""
    with_change = np.c_[np.ones(len(week)), week >= 0]
    return with_change, with_change * [1, 0]


def fit(
    weeks: pd.DataFrame, design: Callable, *, rho: float | None = None
) -> tuple[stats.Fit, np.ndarray, np.ndarray]:
    """Fit of weeks, the contrast that averages the effect over the weeks after, the design without the change."""
    week = weeks.index.to_numpy(float)
    x, x0 = design(week)
    after = week >= 0
    c = np.average((x - x0)[after], axis=0, weights=weeks["n"].to_numpy(float)[after])
    return (
        stats.fit_ar1(
            weeks["y"].to_numpy(float), x, weeks["weight"].to_numpy(float), week, rho=rho
        ),
        c,
        x0,
    )


def regression(weeks: pd.DataFrame, *, design: Callable) -> Estimate | None:
    """Generalised least squares with AR(1) errors by REML (`stats.fit_ar1`) of `trend` or `level`."""
    n_pre, n_post = int((weeks.index < 0).sum()), int((weeks.index >= 0).sum())
    n_coef = design(np.zeros(1))[0].shape[
        1
    ]  # half of them describe the weeks before, half what the change added
    if n_pre < max(2, n_coef // 2 + 1) or n_post < n_coef // 2 or len(weeks) < n_coef + 2:
        return None
    found, c, x0 = fit(weeks, design)
    effect, se, pvalue = found.contrast(c)
    week, root = weeks.index.to_numpy(float), np.sqrt(weeks["weight"].to_numpy(float))
    noise = _ar1(week, found.rho) / (root[:, None] * root)
    x = np.linalg.solve(noise, design(week)[0])
    return Estimate(
        effect,
        se,
        found.df,
        pvalue,
        x0 @ found.coef,
        x0 @ found.cov @ x0.T + found.sigma2 * noise,
        found.sigma2,
        f"rho {found.rho:.2f}",
        x @ np.linalg.solve(design(week)[0].T @ x, c),
        noise,
    )


def _ar1(week: np.ndarray, rho: float) -> np.ndarray:
    """Correlation of the weeks of a first-order autoregression."""
    return rho ** np.abs(week[:, None] - week)


def slope_of_effect(weeks: pd.DataFrame, *, design: Callable) -> tuple[float, float, float]:
    """Change of the effect a week over the weeks after, its standard error and degrees of freedom.

    The slope is in the model: left out of it, it would pass for autocorrelation.
    """
    week = weeks.index.to_numpy(float)
    post, without = week >= 0, design(week)[1]
    x = np.c_[without[:, without.any(axis=0)], post, week * post]
    found = stats.fit_ar1(weeks["y"].to_numpy(float), x, weeks["weight"].to_numpy(float), week)
    return (*found.contrast(np.eye(x.shape[1])[-1])[:2], found.df)


def structural(weeks: pd.DataFrame) -> Estimate | None:
    """Local level from the weeks before, with the column ``control`` as a regressor where there is one: the wider of a free and a pinned level.

    The model of CausalImpact (Brodersen et al. 2015) and of statsmodels' UnobservedComponents with the level and the coefficients diffuse, in closed form (`_forecast`).
    Free: averaged over the share r of the level in the variance of a week, each share as likely beforehand as any other; a plugged-in estimate of it leaves out its own
    error (coverage 88 % where averaging has 96 %; 40 weeks before, steps of 0.4 of the noise). Pinned: the level's weekly step is 0.01 standard deviations. t with n - k degrees of freedom.
    """
    pre = weeks.index.to_numpy() < 0
    if (
        "control" in weeks and not np.ptp(weeks["control"][pre]) > 0
    ):  # it tells nothing that the level does not
        weeks = weeks.drop(columns="control")
    k = 2 if "control" in weeks else 1
    if pre.sum() < k + 3 or pre.all():
        return None
    y = weeks["y"].to_numpy(float)[pre]
    log_q, model = np.linspace(-8, 5, 14), _level_model(weeks)
    free = _deviance(model, log_q)
    share = 1 / (1 + np.exp(-log_q))
    weight = np.exp((free.min() - free) / 2) * share * (1 - share)
    weight = (
        np.where(weight > 1e-3 * weight.max(), weight, 0.0)
        / weight[weight > 1e-3 * weight.max()].sum()
    )
    parts = [(w, *_forecast(model, np.exp(g))) for w, g in zip(weight, log_q) if w]
    hat, noise = (sum(w * a[i] for w, *a in parts) for i in (0, 2))
    cov = sum(w * (cov + np.outer((h - hat) @ y, (h - hat) @ y)) for w, h, cov, _ in parts)
    step, log_q = (PINNED * y.std(ddof=1)) ** 2, np.linspace(-14, 10, 121)
    q = float(np.exp(log_q[_deviance(model, log_q, step=step).argmin()])) if step > 0 else 0.0
    ends = [
        _estimate(weeks, k, hat, cov, noise),
        _estimate(weeks, k, *_forecast(model, q, noise=step / q if q else None)),
    ]
    wide, other = sorted(ends, key=lambda e: -e.se)
    names = ("free", "pinned") if wide is ends[0] else ("pinned", "free")
    return replace(
        wide,
        told=f"{names[0]} level, the wider; a {names[1]} one has {other.se / wide.se:.2f} of its standard error"
        if wide.se > 0
        else "",
    )


def _estimate(
    weeks: pd.DataFrame, k: int, hat: np.ndarray, cov: np.ndarray, noise: np.ndarray
) -> Estimate:
    """The mean gap after the change of a forecast (`_forecast`) from the weeks before with k coefficients."""
    from scipy.special import stdtr

    after, y = weeks.index.to_numpy() >= 0, weeks["y"].to_numpy(float)
    share = _share_after(weeks)
    weights = share.copy()
    weights[~after] -= share @ hat
    effect, se, df = (
        float(weights @ y),
        float(np.sqrt(share @ cov @ share)),
        float((~after).sum() - k),
    )
    return Estimate(
        effect,
        se,
        df,
        float(2 * stdtr(df, -abs(effect) / se)) if se > 0 else np.nan,
        hat @ y[~after],
        cov,
        noise[0, 0] * weeks["weight"].iloc[0],
        "",
        weights,
        noise,
    )


def _share_after(weeks: pd.DataFrame) -> np.ndarray:
    """What each week counts for in the mean over the weeks after the change."""
    n = weeks["n"].to_numpy(float) * (weeks.index >= 0)
    return n / n.sum()


def _level_model(weeks: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """y before the change; whether a week is before it; regressors; noise variance of each week, 1 for one of mean weight; covariance of a random walk with steps of
    variance 1."""
    week, weight = weeks.index.to_numpy(float), weeks["weight"].to_numpy(float)
    x = (
        np.c_[np.ones(len(week)), weeks["control"]]
        if "control" in weeks
        else np.ones((len(week), 1))
    )
    pre = week < 0
    return (
        weeks["y"].to_numpy(float)[pre],
        pre,
        x,
        weight[pre].mean() / weight,
        np.minimum.outer(week, week) - week[0],
    )


def _deviance(
    model: tuple[np.ndarray, ...], log_q: np.ndarray, *, step: float | None = None
) -> np.ndarray:
    """Minus twice the restricted log-likelihood of the weeks before, at every q = level variance / noise variance; ``step``: a level variance that is given."""
    y, pre, x, d, walk = model
    root = np.sqrt(d[pre])
    size, turn = np.linalg.eigh(
        walk[np.ix_(pre, pre)] / np.outer(root, root)
    )  # after which every candidate covariance is diagonal
    both = turn.T @ (np.c_[x[pre], y] / root[:, None])
    m, k = int(pre.sum()), x.shape[1]
    v = 1 + np.exp(log_q)[:, None] * np.maximum(size, 0)
    corner = np.abs(
        np.diagonal(np.linalg.qr(both / np.sqrt(v)[..., None], mode="r"), axis1=1, axis2=2)
    )
    rss = np.maximum(corner[:, k] ** 2, 1e-300)
    noise = (
        rss / (m - k) if step is None else step / np.exp(log_q)
    )  # profiled out, or what q says of it
    return (
        np.log(v).sum(axis=1)
        + 2 * np.log(corner[:, :k]).sum(axis=1)
        + (m - k) * np.log(noise)
        + rss / noise
    )


def _forecast(
    model: tuple[np.ndarray, ...], q: float, *, noise: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A local level with variance ratio ``q``: what each of the weeks before counts for in the counterfactual of every week (weeks, weeks before); covariance of
    its errors; covariance of the weeks around the regressors.

    A random walk is a covariance, and its diffuse start a constant among the regressors: best linear unbiased prediction by generalised least squares gives what the
    Kalman filter gives, for weeks of any weight, with the correlation of the errors. ``noise``: the noise variance of a week of mean weight, where it is given.
    """
    y, pre, x, d, walk = model
    whole = np.diag(d) + q * walk
    inverse = np.linalg.inv(whole[np.ix_(pre, pre)])
    spread = np.linalg.inv(x[pre].T @ inverse @ x[pre])
    coef = spread @ x[pre].T @ inverse
    rest = y - x[pre] @ (coef @ y)
    noise = float(rest @ inverse @ rest) / (pre.sum() - x.shape[1]) if noise is None else noise
    carry = q * walk[:, pre] @ inverse
    apart = x - carry @ x[pre]
    return (
        carry + apart @ coef,
        noise * (whole - carry @ (q * walk[pre]) + apart @ spread @ apart.T),
        noise * whole,
    )


def placebo_dates(
    weeks: pd.DataFrame, estimator: Estimator, *, min_pre: int, min_post: int, wanted: int
) -> list[tuple[pd.DataFrame, Estimate]]:
    """The estimator at every earlier date whose window ends before the change: (its weeks, counted from that date; what it found).

    A placebo date has all weeks before it (at least ``min_pre``) and as many after it as the change has, fewer (at least ``min_post``) where only that
    makes room for ``wanted`` dates.
    """
    before = weeks[weeks.index < 0]
    n_post = min(len(weeks) - len(before), max(min_post, len(before) - min_pre - wanted + 1))
    windows = [
        before.iloc[: start + n_post].set_axis(before.index[: start + n_post] - before.index[start])
        for start in range(min_pre, len(before) - n_post + 1)
    ]
    return [(window, found) for window in windows if (found := estimator(window)) is not None]


def placebo_pvalues(found: Estimate, placebos: Sequence[Estimate], *, seed: int = 1) -> np.ndarray:
    """P-value of the change among placebo dates, by how many of these look at least as extreme: none, one, ... all.

    Dates share weeks, and the last date of a series is more often its most extreme one than 1 / (1 + number of dates), the share among unrelated dates: 7 % where
    that says 3 (50 weeks before, 8 after). So the chance is taken from draws (seeded) of noise with the covariance ``found.noise``, judged at all these dates;
    it is never put below (1 + those) / (1 + all). NaN where weeks do not differ.
    """
    if not found.noise.any():
        return np.full(1 + len(placebos), np.nan)
    weights = np.array(
        [np.pad(e.weights, (0, len(found.weights) - len(e.weights))) for e in (found, *placebos)]
    ) @ np.linalg.cholesky(found.noise)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    effect = np.abs(
        np.random.default_rng(seed).standard_normal((PLACEBO_DRAWS, weights.shape[1])) @ weights.T
    )
    n_extreme = (effect[:, 1:] >= effect[:, :1]).sum(axis=1)
    return np.maximum(
        np.bincount(n_extreme, minlength=len(weights)).cumsum() / PLACEBO_DRAWS,
        np.arange(1, len(weights) + 1) / len(weights),
    )


# ----------------------------------------------------------------------------------------------------------------- several controls


def simplex_weights(donors: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Shares w >= 0, adding up to 1, for which ``donors`` (weeks, donors) @ w is nearest to ``target`` in least squares.

    Exact: with v = s w, |(donors - target) v|^2 + (sum v - 1)^2 is least at the same w for any s, and that is a plain non-negative least squares problem.
    """
    from scipy.optimize import nnls

    apart = donors - target[:, None]
    scale = np.abs(apart).max() or 1.0
    v, _ = nnls(
        np.vstack([apart / scale, np.ones(donors.shape[1])]), np.r_[np.zeros(len(target)), 1.0]
    )
    return v / v.sum()


@dataclass(frozen=True)
class Synthetic:
    """A unit against its synthetic control: weights of the donors, gap by week, root mean squares of the gap before and after."""

    weight: np.ndarray
    gap: np.ndarray
    rms_before: float
    rms_after: float

    @property
    def ratio(self) -> float:
        """After over before: how far the gap opened for a unit that fits this well (Abadie, Diamond & Hainmueller 2010)."""
        return (
            self.rms_after / self.rms_before
            if self.rms_before > 0
            else np.inf
            if self.rms_after > 0
            else 0.0
        )


def synthetic_control(
    y: np.ndarray, donors: np.ndarray, before: np.ndarray, share: np.ndarray
) -> Synthetic:
    """y (weeks,), donors (weeks, donors), before (weeks,) true before the change, share (weeks after,) of the weeks after in their mean."""
    weight = simplex_weights(donors[before], y[before])
    gap = y - donors @ weight
    return Synthetic(
        weight,
        gap,
        float(np.sqrt(np.mean(gap[before] ** 2))),
        float(np.sqrt(share @ gap[~before] ** 2)),
    )


def synthetic_units(
    weeks: pd.DataFrame, donors: Sequence[str]
) -> tuple[Synthetic, list[Synthetic], list[Synthetic]]:
    """The treated unit (y) against all donors (a column each); every donor against the other donors; the treated one against the donors without that one."""
    y, others, before = (
        weeks["y"].to_numpy(float),
        weeks[list(donors)].to_numpy(float),
        weeks.index < 0,
    )
    share = weeks["n"].to_numpy(float)[~before] / weeks["n"].to_numpy(float)[~before].sum()
    rest = [np.delete(others, j, axis=1) for j in range(len(donors))]
    return (
        synthetic_control(y, others, before, share),
        [synthetic_control(others[:, j], r, before, share) for j, r in enumerate(rest)],
        [synthetic_control(y, r, before, share) for r in rest],
    )


def synthetic(weeks: pd.DataFrame, *, donors: Sequence[str]) -> Estimate | None:
    """Synthetic control; p = rank of the treated unit's `Synthetic.ratio`, held against each donor's from the same pool, which has neither of the two.

    The usual rank (Abadie, Diamond & Hainmueller 2010), but leave-two-out (Lei & Sudhof 2023): a donor's pool never has the treated unit, so the treated one must not
    profit from that donor. The interval spans the constant effects that the rank does not reject (Firpo & Possebom 2018); below 19 donors it rejects none, and se is NaN.
    """
    if (weeks.index < 0).sum() < 3 or (weeks.index >= 0).sum() < 1 or len(donors) < 2:
        return None
    own, others, without = synthetic_units(weeks, donors)
    share, week = _share_after(weeks), weeks.index.to_numpy(float)
    effect, *effects = (float(share @ u.gap) for u in (own, *without))
    most = int(
        0.05 * (len(donors) + 1) + 1e-9
    )  # so many donors may look as extreme without a rejection
    room = np.array(
        [
            e**2 - u.rms_after**2 + (o.ratio * u.rms_before) ** 2
            for e, u, o in zip(effects, without, others)
        ]
    )
    ends = [
        np.sort(
            sign * (np.array(effects) + sign * np.sqrt(np.maximum(room, 0)) - effect)[room >= 0]
        )[::-1]
        for sign in (-1, 1)
    ]
    half = max(e[most - 1] for e in ends) if 0 < most <= (room >= 0).sum() else np.nan
    se = half / stats.Z if half > 0 else np.nan
    extreme = sum(o.ratio >= u.ratio for o, u in zip(others, without))
    before = week < 0
    rho = (
        stats.fit_ar1(
            own.gap[before], np.ones((before.sum(), 1)), np.ones(before.sum()), week[before]
        ).rho
        if own.rms_before > 0
        else 0.0
    )
    return Estimate(
        effect,
        se,
        np.inf,
        (1 + extreme) / (1 + len(donors)),
        weeks["y"].to_numpy(float) - own.gap,
        np.full((len(week), len(week)), se**2),
        own.rms_before**2,
        f"{len(donors)} donors",
        share,
        _ar1(week, rho),
        extremity=-abs(effect) / max(own.rms_before, 1e-300),
    )


def many_units(treated: np.ndarray) -> bool:
    """Whether errors may be clustered by unit: enough treated ones, enough in all."""
    return treated.sum() >= FEW_TREATED and len(treated) >= FEW_UNITS


def clustered(
    change: np.ndarray, weight: np.ndarray, treated: np.ndarray
) -> tuple[float, float, float, float]:
    """Difference of the units' weighted mean changes: effect, standard error, degrees of freedom, p-value; a unit is a cluster.

    Units of a panel taken together before and after (Bertrand, Duflo & Mullainathan 2004) with HC2 errors and Satterthwaite's degrees of freedom: with equal
    weights Welch's test, and the fixed-effects estimate of the panel.
    """
    from scipy.special import stdtr

    parts = []
    for side in (treated, ~treated):
        share = weight[side] / weight[side].sum()
        mean = share @ change[side]
        parts.append(
            (
                mean,
                float((share**2 * (change[side] - mean) ** 2 / (1 - share)).sum()),
                side.sum() - 1,
            )
        )
    (mean_1, v_1, df_1), (mean_0, v_0, df_0) = parts
    effect, se = float(mean_1 - mean_0), float(np.sqrt(v_1 + v_0))
    df = (v_1 + v_0) ** 2 / (v_1**2 / df_1 + v_0**2 / df_0) if se > 0 else np.nan
    return effect, se, float(df), float(2 * stdtr(df, -abs(effect) / se)) if se > 0 else np.nan


def permutation(
    change: np.ndarray, weight: np.ndarray, treated: np.ndarray, *, seed: int = 1
) -> tuple[float, int]:
    """Share of the ways to choose as many treated units in which their changes differ from the others' at least as much, and how many ways were tried.

    All ways up to 1,000, else 999 drawn ones and the real one. The difference of weighted means is read in units of its own spread, so that small units,
    which move more, do not rank higher for it.
    """
    g, k = len(change), int(treated.sum())
    if comb(g, k) <= MOST_DRAWS:
        chosen = np.array([np.isin(np.arange(g), c) for c in combinations(range(g), k)])
    else:
        rng = np.random.default_rng(seed)
        chosen = np.vstack([treated, rng.permuted(np.tile(treated, (MOST_DRAWS - 1, 1)), axis=1)])
    inside, moved = chosen @ weight, chosen @ (weight * change)
    outside, rest = weight.sum() - inside, weight @ change - moved
    apart = np.abs(moved / inside - rest / outside) / np.sqrt(1 / inside + 1 / outside)
    own = np.flatnonzero((chosen == treated).all(axis=1))[0]
    return float(np.mean(apart >= apart[own] * (1 - 1e-12))), len(chosen)
