"""Whose days and weeks are meant: a zone, and the day on which weeks begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import as_timestamp
from mctlib.phrases import DAY_US

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS = get_args(Weekday)


@dataclass(frozen=True)
class Calendar:
    """An IANA zone, and the first day of a week (a data YAML's reporting_timezone, week_starts)."""

    timezone: str = "UTC"
    week_starts: str = "monday"

    @property
    def _late(self) -> int:
        """Days from Monday to the first day of a week."""
        return WEEKDAYS.index(self.week_starts)

    def sql(self, unit: str) -> str:
        """SQL of the first day of an event's week or month."""
        at, late = "e.timestamp", self._late if unit == "week" else 0
        if self.timezone != "UTC":
            at = f"timezone('{self.timezone}', timezone('UTC', {at}))"
        if late:
            return f"(date_trunc('week', {at} - INTERVAL {late} DAY) + INTERVAL {late} DAY)::DATE"
        return f"date_trunc('{unit}', {at})::DATE"

    def period(self, first: Any, last: Any, name: str) -> tuple[int, int]:
        """First and last microsecond (UTC) from a day to another, both included."""
        days = [as_timestamp(day, name).tz_localize(None).normalize() for day in (first, last)]
        return self._begin(days[0]), self._begin(days[1] + pd.Timedelta("1D")) - 1

    def _begin(self, day: pd.Timestamp) -> int:
        """Microsecond (UTC) at which a day begins here."""
        here = day.tz_localize(self.timezone, nonexistent="shift_forward", ambiguous=True)
        return int(here.value // 1000)

    def week_of(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """First days, counted from 1970, of the weeks of some microseconds (UTC)."""
        if self.timezone != "UTC":
            here = pd.DatetimeIndex(moments.view("M8[us]"), tz="UTC").tz_convert(self.timezone)
            moments = here.tz_localize(None).to_numpy("M8[us]").view(np.int64)
        before = 3 - self._late  # days of its week before 1970, which began on a Thursday
        return (moments + before * DAY_US) // (7 * DAY_US) * 7 - before

    def last_weeks(self, moment: int, n: int) -> list[str]:
        """First and last day of the last ``n`` whole weeks that are over at a microsecond (UTC)."""
        now = pd.Timestamp(moment + 1, unit="us", tz="UTC").tz_convert(self.timezone)
        today = now.tz_localize(None).normalize()
        return weeks_before(today - pd.Timedelta(days=(today.dayofweek - self._late) % 7), n)


def weeks_before(day: Any, n: int) -> list[str]:
    """First and last day of the ``n`` weeks that end on the day before another."""
    end = as_timestamp(day).tz_localize(None)
    return [f"{end - pd.Timedelta(days=ago):%Y-%m-%d}" for ago in (7 * n, 1)]
