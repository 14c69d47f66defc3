"""How long events take to arrive, by platform, and how much of the newest is still under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import stats
from mctlib.contract import MISSING
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Ints
from mctlib.eventlog.late_start import ALL
from mctlib.eventlog.sql import sql_text
from mctlib.phrases import DAY_US, HOUR_US, day

LONGEST_DAYS = 60  # of a delay that is waited for
BINS = 240  # into which delays are put, of an hour or more each
ALMOST = 0.99
UNKNOWN = 3 * DAY_US  # so long the newest is not judged where nothing tells how late events come
ENOUGH = 200  # events of one kind on one platform, to have a curve of their own
COLUMNS = ["platform", "n_events", "late_rate", "days_99", "longest_days"]


@dataclass(frozen=True)
class Delays:
    """The share that has arrived after each bin of time, by platform and micro-conversion.

    table: platform, n_events, late_rate (share that came more than a bin later), days_99 (when 99 %
    are in), longest_days; without rows where nothing tells when events came.
    """

    table: pd.DataFrame
    curves: Mapping[tuple[str, int], NDArray[np.float64]]
    bin_us: int
    end: int

    def ripe(
        self, age: Ints, platform: NDArray[np.object_], what: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Share of what happened so long ago that has arrived by now."""
        found = np.ones(len(age))
        for name, bit in {*zip(platform, what)} if self.curves else ():
            keys = (name, bit), (name, -1), (ALL, bit), (ALL, -1)
            curve = self.curves[next(key for key in keys if key in self.curves)]
            mine = (platform == name) & (what == bit)
            # what comes at once does not wait for the end of the first bin
            at = np.maximum(age[mine] / self.bin_us - 1, 0)
            found[mine] = np.interp(at, np.arange(len(curve)), curve)
        return np.maximum(found, 1e-3)

    @property
    def settled(self) -> int:
        """Up to when nearly all has arrived, on every platform."""
        return self.end - int(self.days_99 * DAY_US)

    @property
    def days_99(self) -> float:
        """Days until 99 % are in, of the platform and micro-conversion that takes longest."""
        if not self.curves:
            return UNKNOWN / DAY_US
        return max(map(self._wait, self.curves.values()))

    @property
    def last_settled_day(self) -> str:
        """The last whole day of which 99 % are in everywhere; "" where nothing tells."""
        young = young_days(self.table, self.end)
        return day(young.min() - 1) if len(young) else ""

    def _wait(self, curve: NDArray[np.float64]) -> float:
        at = int(np.argmax(curve >= ALMOST))
        return (at + 1) * self.bin_us / DAY_US if at else 0.0


def young_days(table: pd.DataFrame, end: int) -> pd.Series:
    """The midnight (microseconds) from which on less than 99 % are in, by row of `Delays.table`.

    Of platforms whose events take their time.
    """
    slow = table[table["days_99"] > 0]
    return (end + 1 - (slow["days_99"] * DAY_US).astype(np.int64)) // DAY_US * DAY_US


def read_delays(log: EventLog, events: Mapping[int, Sequence[str]]) -> Delays:
    """From when events are received; nothing where fewer than one in two says so.

    ``events``: of the micro-conversions (by their bits) that have curves of their own.
    """
    end = int(log.last_event.value // 1000)
    late = "epoch_us(received_at) - epoch_us(timestamp)"
    counts = f"count(*), count(received_at), max({late}), max(epoch_us(received_at))"
    ((n, known, longest, last),) = log.sql(f"SELECT {counts} FROM events").to_numpy()
    if not known or known < n / 2:
        return Delays(pd.DataFrame(columns=COLUMNS), {}, HOUR_US, end)
    end = max(int(last), end)
    longest = int(min(max(longest, 0), LONGEST_DAYS * DAY_US))
    bin_us = max(HOUR_US, -(-(longest + 1) // BINS))
    n_bins = longest // bin_us + 1
    of = " ".join(
        f"WHEN {sql_text(name)} THEN {bit}" for bit, names in events.items() for name in names
    )
    found = log.sql(
        f"""SELECT platform, {f"CASE event {of} ELSE -1 END" if of else "-1"} AS what,
            greatest({late}, 0) // {bin_us} AS delay,
            least(({end} - epoch_us(timestamp)) // {bin_us}, {n_bins}) AS age,
            count(*) AS n, max({late}) AS longest
        FROM events WHERE {late} < {n_bins * bin_us} GROUP BY ALL"""
    )
    found["platform"] = found["platform"].astype(object).fillna(MISSING)
    curves: dict[tuple[str, int], NDArray[np.float64]] = {}
    for name, part in [(ALL, found), *found.groupby("platform")]:
        curves[str(name), -1] = _arrived(part, n_bins)
        for bit in events:
            mine = part[part["what"] == bit]
            if mine["n"].sum() >= ENOUGH:
                curves[str(name), bit] = _arrived(mine, n_bins)
    delays = Delays(pd.DataFrame(columns=COLUMNS), curves, bin_us, end)
    rows = [
        {
            "platform": name,
            "n_events": int(part["n"].sum()),
            "late_rate": 1 - curves[str(name), -1][0],
            "days_99": max(delays._wait(c) for (p, _), c in curves.items() if p == name),
            "longest_days": part["longest"].max() / DAY_US,
        }
        for name, part in found.groupby("platform")
    ]
    return Delays(pd.DataFrame(rows, columns=COLUMNS), curves, bin_us, end)


def _arrived(part: pd.DataFrame, n_bins: int) -> NDArray[np.float64]:
    """Share that has arrived by the end of each bin of delay."""
    counts = stats.dense(part["n"], part["age"], part["delay"], shape=(n_bins + 1, n_bins))
    unseen = np.arange(n_bins) >= np.arange(n_bins + 1)[:, None]  # of an age no longer than that
    return stats.arrived(np.where(unseen, np.nan, counts))
