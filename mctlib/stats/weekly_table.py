"""A weekly table of metrics, and the level that a week of one is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from mctlib.contract import DataError, ParameterError, as_timestamp, nearest
from mctlib.stats.student import FloatArray

BASE, LINE, SHORT = 12, 26, 8  # weeks of the baseline, of its line at most; least of a short one
QUARTER = 13  # weeks with a line of their own, where the scatter of a year is asked for
UNDER_LINE = 0.05  # so far beyond the forecast an alert must be, too
UNSEEN = 0.85  # a fall of more is not called detectable
NUMBERS = ["n", "n_success", "value", "variance"]
SIDES = {"down": (-1,), "up": (1,), "both": (-1, 1)}


@dataclass(frozen=True)
class Series:
    """One metric: number of the week, n, value, variance of one unit (None: of a rate)."""

    name: str
    week: FloatArray
    n: FloatArray
    value: FloatArray
    variance: FloatArray | None
    threshold: float = 0.10
    severe: float = 0.15
    sides: tuple[int, ...] = (-1,)

    @cached_property
    def rows(self) -> dict[float, int]:
        """Week -> row, where anything was counted."""
        known = (self.n > 0) & np.isfinite(self.value)
        return {week: i for i, week in enumerate(self.week) if known[i]}


@dataclass(frozen=True)
class Base:
    """What a week is held against.

    p0: pooled over the last 12 usable weeks, n units · spread: of one unit, with the scatter
    between weeks · df: of the scatter · start, slope: of the line through the 12 · short: fewer.
    """

    p0: float
    n: float
    spread: float
    df: float
    start: float
    slope: float
    short: bool
    is_rate: bool

    def forecast(self, week: float) -> float:
        """The line, one week further."""
        return self.start + self.slope * week

    def error(self, n: float) -> float:
        """Standard error of a week's distance from p0 where nothing changed."""
        return sqrt(self.spread * (1 / n + 1 / self.n))

    def pvalue(self, value: float, n: float, side: int) -> float:
        """One-sided: a value as far on this side."""
        from scipy.special import stdtr

        return float(stdtr(self.df, -side * (value - self.p0) / self.error(n)))

    def passes(
        self, s: Series, week: float, value: float, n: float, side: int, level: float
    ) -> bool:
        """The alert rule itself."""
        far = beyond(value, self.p0, side, s.threshold)
        if not self.short:
            far = far and beyond(value, self.forecast(week), side, UNDER_LINE)
        return far and self.pvalue(value, n, side) <= level

    def detectable(self, week: float, n: float, side: int, threshold: float, level: float) -> float:
        """Least relative change that is found in its first week with a power of 80 %.

        Relative to the forecast. NaN: it cannot be seen, or only above 85 %.
        """
        from scipy.special import stdtrit

        p, k = self.p0, -float(stdtrit(self.df, level))
        s0 = self.error(n) / p
        phi = self.spread / (p * (1 - p)) if self.is_rate and p < 1 else 1.0
        d = s1 = threshold
        for _ in range(30):
            moved = p * (1 + side * d)
            own = phi * moved * (1 - moved) if self.is_rate and 0 < moved < 1 else self.spread
            s1 = sqrt(own / n + self.spread / self.n) / p
            d, before = min(max(k * s0, threshold) + 0.84 * s1, 1.0), d
            if abs(d - before) < 1e-9:
                break
        ahead = p if self.short else self.forecast(week)
        if ahead > 0:
            d = max(side * ((1 + side * d) * p / ahead - 1), UNDER_LINE + 0.84 * s1)
        return d if 0 < d <= UNSEEN else np.nan


def beyond(value: float, level: float, side: int, by: float) -> bool:
    """Whether a value is as far from a level, relative to it, on this side."""
    return side * (value - (1 + side * by) * level) >= 0


def base_of(s: Series, usable: Sequence[int]) -> Base | None:
    """The baseline of the usable weeks (rows of the series); None where they are too few."""
    if len(usable) < SHORT:
        return None
    if len(usable) < BASE:
        return level_of(s, usable, usable)
    return level_of(s, usable[-BASE:], usable[-LINE:], line=True)


def level_of(
    s: Series, last: Sequence[int], around: Sequence[int], *, line: bool = False
) -> Base | None:
    """The level of the last weeks, and the scatter around it, or around the line."""
    last, around = list(last), list(around)
    n = float(s.n[last].sum())
    p0 = float(s.n[last] @ s.value[last]) / n
    if p0 <= 0:
        return None
    start, slope = _line(s, last) if line else (p0, 0.0)
    wide = _line(s, around) if line else (p0, 0.0)
    fit = wide[0] + wide[1] * s.week[around]
    df = len(around) - (2 if line else 1)
    squares = s.n[around] * (s.value[around] - fit) ** 2
    if s.variance is None:
        one = max(p0 * (1 - p0), 1 / n)  # also of a rate of 100 %
        phi = np.sum(squares / np.maximum(fit * (1 - fit), 1 / n)) / df
        spread = one * max(1.0, float(phi))
    else:  # of a ratio nobody knows the variance of one unit: the weeks alone tell it
        one = float(s.n[last] @ s.variance[last]) / n
        spread = float(np.nanmax([one, np.sum(squares) / df]))
    if not spread > 0:
        return None
    return Base(p0, n, spread, df, start, slope, not line, s.variance is None)


@dataclass(frozen=True)
class Scatter:
    """How weeks lie around their level: errors times sqrt(n) follow an AR(1).

    spread: variance of one unit, of a rate as a multiple of p (1 - p) · rho: between neighbouring
    weeks · df: effective, for t.
    """

    spread: float
    rho: float
    df: float

    def variance(self, s: Series, rows: Sequence[int]) -> float:
        """That of the pooled value of some weeks."""
        n, week, p = s.n[rows], s.week[rows], pooled(s, rows)
        if s.variance is None:
            one = max(p * (1 - p), 1 / n.sum()) * self.spread
        else:  # of a ratio nobody knows the variance of one unit: the weeks alone tell it
            one = float(np.nanmax([n @ s.variance[rows] / n.sum(), self.spread]))
        alike = self.rho ** np.abs(np.subtract.outer(week, week))
        return float(one * (np.sqrt(n) @ alike @ np.sqrt(n)) / n.sum() ** 2)


def scatter_of(s: Series, rows: Sequence[int]) -> Scatter | None:
    """The scatter of weeks around a line of each quarter; None where they are too few.

    Lines take away what residuals next to each other have in common: rho is the one of which as
    much would be left. Below its own standard error it is 0, mostly chance. Of a rate that scatters
    no more than chance the variance is chance's, known and without runs.
    """
    grid = np.linspace(0.0, 0.9, 19)
    found, expected, df = np.zeros(2), np.zeros((2, len(grid))), 0
    for some in np.array_split(np.array(rows, int), max(len(rows) // QUARTER, 1)):
        root, week, p = np.sqrt(s.n[some]), s.week[some], pooled(s, list(some))
        if len(some) < 3 or p <= 0:
            continue
        unit = max(p * (1 - p), 1 / s.n[some].sum()) if s.variance is None else 1.0
        line = np.c_[root, root * (week - week.mean())]
        rest = np.eye(len(some)) - line @ np.linalg.pinv(line)
        next_to = np.subtract.outer(week, week) == 1
        gap = np.abs(np.subtract.outer(week, week))
        left = rest @ grid[:, None, None] ** gap @ rest
        error = rest @ (root * s.value[some]) / sqrt(unit)
        found += error @ error, error @ next_to @ error
        expected += np.trace(left, axis1=1, axis2=2), (left * next_to).sum(axis=(1, 2))
        df += len(some) - 2
    if df < 1:
        return None
    rho = float(np.interp(found[1] / (found[0] or 1.0), expected[1] / expected[0], grid))
    rho = rho if rho * sqrt(df) > 1 else 0.0
    spread = float(found[0] / np.interp(rho, grid, expected[0]))
    if s.variance is None and spread <= 1:
        return Scatter(1.0, 0.0, np.inf)
    return Scatter(spread, rho, max(df * (1 - rho) / (1 + rho), 2.0))


def _line(s: Series, rows: Sequence[int]) -> tuple[float, float]:
    """Start and slope of the line through some weeks, weighted with n."""
    week, value, n = s.week[rows], s.value[rows], s.n[rows]
    middle, level = n @ week / n.sum(), n @ value / n.sum()
    slope = (n * (week - middle)) @ value / (n @ (week - middle) ** 2)
    return float(level - slope * middle), float(slope)


def pooled(s: Series, rows: Sequence[int]) -> float:
    """The value of some weeks together."""
    return float(s.n[list(rows)] @ s.value[list(rows)] / s.n[list(rows)].sum())


def read_weekly(
    weekly: pd.DataFrame,
    threshold: float | Mapping[str, float],
    severe: float | Mapping[str, float],
    bad: str | Mapping[str, str],
) -> tuple[list[Series], pd.Timestamp]:
    """The metrics of a weekly table, and its first week. Raises DataError, ParameterError."""
    numbers = [column for column in NUMBERS if column in weekly]
    lacking = {"metric", "week", "n"} - {*weekly}
    if "n_success" not in weekly:
        lacking |= {"value", "variance"} - {*weekly}
    for column in sorted(lacking):
        raise DataError(
            f'weekly: column "{column}" is missing; it takes metric, week, n, and n_success '
            f"of rates or value and variance of means.{nearest(column, weekly.columns)}"
        )
    for name, asked in (("threshold", threshold), ("severe", severe), ("bad", bad)):
        _check_mapping(name, asked, weekly["metric"])
    week = _days(weekly["week"])
    table = weekly[["metric", *numbers]].assign(week=week).reset_index(drop=True)
    try:
        table = table.astype(dict.fromkeys(numbers, float)).reindex(
            columns=["metric", "week", *NUMBERS]
        )
    except (TypeError, ValueError):
        raise DataError(f"weekly: {', '.join(numbers)} must hold numbers.") from None
    _check(table)
    origin = table["week"].min()
    found = []
    for name, rows in table.sort_values("week").groupby("metric", sort=True):
        n = rows["n"].to_numpy()
        is_rate = bool(rows["n_success"].notna().any())
        side = _of(bad, name, "down")
        if not isinstance(side, str) or side not in SIDES:
            known = ", ".join(SIDES)
            raise ParameterError(f'bad: "{side}" is none of {known}.{nearest(str(side), SIDES)}')
        share = rows["n_success"].to_numpy() / np.where(n > 0, n, np.nan)
        found.append(
            Series(
                str(name),
                ((rows["week"] - origin).dt.days // 7).to_numpy(float),
                n,
                share if is_rate else rows["value"].to_numpy(),
                None if is_rate else rows["variance"].to_numpy(),
                _share(_of(threshold, name, 0.10), "threshold"),
                _share(_of(severe, name, 0.15), "severe"),
                SIDES[side],
            )
        )
    return found, origin


def _days(week: pd.Series) -> pd.Series:
    """Days without a zone, as they stand in their own; NaT: no day."""
    if isinstance(week.dtype, pd.DatetimeTZDtype):
        return week.dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(week):
        return week
    told = week.mask(np.array([isinstance(day, Real) for day in week], bool))
    days = pd.to_datetime(told, errors="coerce", format="mixed", utc=True)
    return days.dt.tz_localize(None)


def _check_mapping(name: str, asked: Any, metrics: pd.Series) -> None:
    """Raise a ParameterError where a mapping names a metric that a table does not hold."""
    known = list(metrics.unique())
    for metric in asked if isinstance(asked, Mapping) else ():
        if metric not in known:
            near = nearest(str(metric), map(str, known))
            raise ParameterError(f'{name}: there is no metric "{metric}".{near}')


def _check(table: pd.DataFrame) -> None:
    """Raise a DataError where a row cannot be."""
    if table["metric"].isna().any():
        raise DataError('weekly: "metric" is missing in a row.')
    if np.isinf(table[NUMBERS].to_numpy(float)).any() or (table["variance"] < 0).any():
        raise DataError("weekly: numbers must be finite, and a variance 0 or more.")
    if table["week"].isna().any():
        raise DataError('weekly: "week" must hold days, such as 2026-06-29.')
    if ((table["week"] - table["week"].min()) % pd.Timedelta("7D") != pd.Timedelta(0)).any():
        raise DataError('weekly: "week" must hold the first days of weeks, 7 days apart.')
    if table.duplicated(["metric", "week"]).any():
        raise DataError("weekly: a week stands twice within a metric.")
    success = table["n_success"]
    if not ((table["n"] >= 0) & (success.between(0, table["n"]) | success.isna())).all():
        raise DataError("weekly: n must be 0 or more, and n_success between 0 and n.")
    is_rate = table["metric"].isin(table.loc[success.notna(), "metric"])
    lost = (table["n"] > 0) & success.isna() & (is_rate | table["value"].isna())
    for metric in table.loc[lost, "metric"]:
        raise DataError(
            f'weekly: "{metric}" has a week with n and without n_success (of a mean: value); a '
            "metric is a rate in all of its weeks, or a mean, and n is 0 where nothing is known."
        )


def _of(given: Any, metric: Any, otherwise: Any) -> Any:
    """What is asked of a metric."""
    return given.get(metric, otherwise) if isinstance(given, Mapping) else given


def _share(value: Any, name: str) -> float:
    if isinstance(value, Real) and 0 <= float(value) < 1:
        return float(value)
    raise ParameterError(f"{name}: {value!r} is no share; write a number such as 0.10.")


def check_level(level: Any) -> None:
    """Raise a ParameterError where this is no p-value of one side."""
    if not (isinstance(level, Real) and 0 < float(level) <= 0.5):
        raise ParameterError(f"level: {level!r} is no p-value up to 0.5, such as 0.005.")


def weeks_of(days: Iterable[Any], origin: pd.Timestamp) -> set[float]:
    """The weeks that hold these days."""
    if isinstance(days, str) or not isinstance(days, Iterable):
        raise ParameterError('skip: must be a list of days, such as ["2026-06-29"].')
    stamps = [as_timestamp(str(day)[:10], "skip").tz_localize(None) for day in days]
    return {float((stamp - origin.normalize()).days // 7) for stamp in stamps}
