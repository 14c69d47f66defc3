"""A daily series by whole weeks counted from the change, and the panel that the rungs read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import MISSING, DataError
from mctlib.eventlog.daily_metric import DailyMetric

MIN_PRE, MIN_POST = 12, 6  # weeks; below them a comparison is described, not supported
MIN_SEASON = 104  # weeks before from which on a yearly season can be told
SEASON, HOLIDAYS = "the yearly season", "holidays"


def days(values: pd.Series, what: str) -> pd.Series:
    """UTC days of stamps, dates or text; an empty value stays empty."""
    stamps = pd.to_datetime(values, utc=True, errors="coerce", format="mixed")
    wrong = values[stamps.isna() & values.notna()]
    if len(wrong):
        raise DataError(f'{what}: "{wrong.iloc[0]}" is not a day; write 2026-06-30.')
    return stamps.dt.tz_localize(None).dt.normalize()


def checked(series: DailyMetric) -> pd.DataFrame:
    """The series as day, segment, n and total, whose sum over n is the metric.

    A count's n is how much of an average day a day is.

    Raises DataError: something in it is not a number or not a day, or cannot be.
    """
    table, kind = series.table, series.kind
    numbers: dict[str, pd.Series] = {}
    for column in ("n", "value", "n_success", "n_checked", "n_tracked"):
        try:
            numbers |= {column: table[column].astype(float)} if column in table else {}
        except (TypeError, ValueError):
            raise DataError(f'series: column "{column}" must hold numbers.') from None
    n, value = numbers["n"], numbers.pop("value")
    if kind == "rate":
        total = numbers.pop("n_success")
    else:
        total = value if kind == "count" else (value * n).fillna(0.0)
    segment = "all"
    if "segment" in table:
        segment = table["segment"].map(_as_text)
    day = days(table["day"], "series: day")
    daily = pd.DataFrame({"day": day, "segment": segment, "total": total} | numbers)
    if daily["day"].isna().any():
        raise DataError("series: a row has no day.")
    possible = (n >= 0) & (total.between(0, n) if kind == "rate" else True)
    if not (possible | total.isna()).all():
        raise DataError("series: n must be 0 or more, and n_success between 0 and n.")
    if daily.duplicated(["day", "segment"]).any():
        raise DataError("series: a day occurs twice within a segment.")
    if kind == "count":
        _check_every_day(daily)
        daily["n"] = _parts_of_days(daily)
    return daily


def _as_text(segment: Any) -> str:
    """A segment as the log names it, also where a reader of CSV took it for a number."""
    if pd.isna(segment):
        return MISSING
    if isinstance(segment, float) and segment.is_integer():
        return str(int(segment))
    return str(segment)


def _check_every_day(daily: pd.DataFrame) -> None:
    """Of a missing row of a count nobody knows whether nobody came or the day was lost."""
    for name, own in daily.groupby("segment")["day"]:
        missing = pd.date_range(own.min(), own.max()).difference(own)
        if len(missing):
            raise DataError(
                "series: a count needs a row for every day, with n and value 0 where nobody came "
                "and no value where nothing at all was recorded; "
                f"{missing[0]:%Y-%m-%d} of segment {name} has none."
            )


def _parts_of_days(daily: pd.DataFrame) -> pd.Series:
    """1 for every day of a count where none is missing.

    Else 0 for the missing ones, and its weekday's usual share of a week for each other day: a week
    that lacks its Sunday is not a stronger one.
    """
    known = daily["total"].notna()
    if known.all():
        return known.astype(float)
    weekday = daily["day"].dt.dayofweek
    usual = daily["total"].groupby(weekday).mean().fillna(0.0)
    share = usual / usual.sum() if usual.sum() > 0 else usual + 1 / len(usual)
    return (7 * weekday.map(share)).where(known, 0.0)


def weekly(daily: pd.DataFrame, change: pd.Timestamp, kind: str) -> tuple[pd.DataFrame, int]:
    """Whole weeks as segment, week (0 is the first since the change), n, total; days left out.

    Of a count's segment that comes later or ends sooner than the others only its own whole weeks
    are taken.
    """
    since = (daily["day"] - change).dt.days
    week = since // 7
    whole = (7 * week >= since.min()) & (7 * week + 6 <= since.max())
    by_week = daily[whole].assign(week=week[whole]).groupby(["segment", "week"])
    units = by_week[["n", "total"]].sum().reset_index()
    if kind == "count":
        units = units[by_week.size().to_numpy() == 7]
    return units, int(daily.loc[~whole, "day"].nunique())


def pooled(units: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Segments taken together: index week; n, total, value."""
    n = ("n", "max" if kind == "count" else "sum")
    out = units.groupby("week").agg(n=n, total=("total", "sum"))
    return out.assign(value=stats.rate(out["total"], out["n"]))


@dataclass(frozen=True)
class Panel:
    """The treated and the control segments by week; what every rung reads.

    units: segment, week, n, total · beside: what else moves the metric, a column each, by week ·
    refused: why no verdict may be given at all, "" for nothing · seed: of placebo draws.
    """

    kind: str
    change: pd.Timestamp
    treated: Sequence[str]
    control: Sequence[str]
    units: pd.DataFrame
    beside: pd.DataFrame = field(default_factory=pd.DataFrame)
    refused: str = ""
    seed: int = 1

    @property
    def allowed_for(self) -> list[str]:
        """What stands beside it and can be told from the weeks before, in words."""
        before = self.beside[self.beside.index < 0]
        told = before.columns[before.nunique() > 1]
        return list(dict.fromkeys(SEASON if c.startswith(SEASON) else c for c in told))

    @cached_property
    def own(self) -> pd.DataFrame:
        """The treated segments together: index week; n, total, value."""
        return pooled(self.units[self.units["segment"].isin(self.treated)], self.kind)

    @cached_property
    def weeks(self) -> pd.DataFrame:
        """Weeks in which the treated have users: n, total, observed, y, weight, start, beside."""
        own = self.own[self.own["n"] > 0].rename(columns={"value": "observed"})
        start = self.change + pd.to_timedelta(7 * own.index, unit="D")
        return own.assign(y=own["observed"], weight=own["n"], start=start).join(self.beside)

    @cached_property
    def values(self) -> pd.DataFrame:
        """Value of each segment (a column) by week; of counts as if it had the treated level."""
        seen = self.units[self.units["n"] > 0]
        by_week = seen.assign(value=seen["total"] / seen["n"])
        values = by_week.pivot(index="week", columns="segment", values="value")
        values = values.reindex(self.weeks.index)
        if self.kind != "count":
            return values
        before = values.index < 0
        level = self.weeks["observed"][before].mean() / values[before].mean()
        return values * level.where(np.isfinite(level))

    @cached_property
    def shares(self) -> pd.Series:
        """What the segments that can be compared count for within their side.

        They have users in 12 weeks before and 6 after, where there are as many. Treated ones count
        with their users after the change, who had the effect; controls with those before it.
        """
        after = self.values.index >= 0
        known = self.values.notna()
        enough = known[~after].sum() >= min(MIN_PRE, (~after).sum())
        enough &= known[after].sum() >= min(MIN_POST, after.sum())
        size = "total" if self.kind == "count" else "n"
        units = self.units[self.units["week"].isin(self.values.index)]
        n = units.groupby(["segment", units["week"] < 0])[size].sum().unstack(fill_value=0.0)
        n = n.reindex(columns=[False, True], fill_value=0.0)
        n = n[enough.reindex(n.index, fill_value=False)]
        treated, control = n.index.isin(self.treated), n.index.isin(self.control)
        n = n[True].where(control | (self.kind == "count"), n[False])
        n = n[(treated | control) & (n > 0)]
        return n / n.groupby(n.index.isin(self.treated)).transform("sum")

    @cached_property
    def gap(self) -> pd.DataFrame:
        """The weeks with y = treated minus control, its weight, and the control itself.

        Both are mixes of their segments in fixed shares, so that a mix that moves is no effect.
        """
        own, others = (self._mix(side) for side in (self.treated, self.control))
        weight, compared = self.weeks["n"], self.units["segment"].isin(self.shares.index)
        among = compared & self.units["segment"].isin(self.control)
        n = self.units[among].groupby("week")["n"].sum()
        if self.kind != "count":
            weight = 1 / (1 / weight + 1 / n.reindex(weight.index))
        gap = self.weeks.assign(weight=weight, control=others, y=own - others)
        return gap[np.isfinite(gap["y"]) & (gap["weight"] > 0)]

    def _mix(self, side: Sequence[str]) -> pd.Series:
        """Weekly mean of the segments of a side that can be compared."""
        share = self.shares[self.shares.index.isin(side)]
        values = self.values[share.index]
        return (values * share).sum(axis=1) / (values.notna() * share).sum(axis=1)

    @cached_property
    def changes(self) -> pd.DataFrame:
        """Of each segment that can be compared: change, share of its side, treated.

        Change of the mean over the weeks, weighted as the weeks of the gap are. It is measured
        from the controls' mean, which moves the difference of two segments only where one of them
        lacks weeks.
        """
        gap, share = self.gap, self.shares
        apart = self.values.loc[gap.index, share.index].sub(gap["control"], axis=0)
        after, before = (_mean_over(apart[s], gap["n"]) for s in (gap.index >= 0, gap.index < 0))
        each = pd.DataFrame({"change": after - before, "share": share}).dropna()
        each["treated"] = each.index.isin(self.treated)
        each["share"] /= each.groupby("treated")["share"].transform("sum")
        return each

    @cached_property
    def apart(self) -> pd.DataFrame:
        """Weekly gap of each control (a column) to the others, measured from its mean before."""
        gap, share = self.gap, self.shares[self.shares.index.isin(self.control)]
        values = self.values.loc[gap.index, share.index]
        known = values.notna() * share
        total, whole = (values * share).sum(axis=1), known.sum(axis=1)
        others = (-(values * share).fillna(0.0)).add(total, axis=0) / (-known).add(whole, axis=0)
        apart = values - others.where(np.isfinite(others))
        return apart - _mean_over(apart[gap.index < 0], gap["n"])

    @cached_property
    def moved(self) -> pd.Series:
        """How far each control moved against the others."""
        return _mean_over(self.apart[self.gap.index >= 0], self.gap["n"])


def _mean_over(values: pd.DataFrame, n: pd.Series) -> pd.Series:
    """Mean of each column over its rows, weighted with n."""
    weight = values.notna().mul(n.reindex(values.index), axis=0)
    return (values * weight).sum() / weight.sum()
