"""From when an event is there at all: what was done before it came is not lost.

A server may have kept records for years when an app begins to track the same deed. Whether the
event began late, or was lost at first, nothing tells; so completeness counts from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import MISSING
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Bools, Ints
from mctlib.eventlog.steps import Step
from mctlib.phrases import DAY_US
from mctlib.results import MIN_USERS

ALL = "all"
BETWEEN = "(several)"  # a device of which a user's events on either side say another thing
STRAY = 0.001  # of events that came before an event did: somebody tried it out
CHANCE = float(np.log(1e6))  # events whose absence chance does not explain, once in a million
MONTH = 28
RARE = 0.05  # of the events that a version should have: it has none of its own
FEWEST = 30  # records of a witness before it


@dataclass(frozen=True)
class LateStart:
    """From when events of a micro-conversion (its bit) count, on platforms where they came late.

    days: (bit, platform, ALL too) -> the first whole day that has them, microseconds · versions:
    (bit, platform, version) of apps that never had them, since they are older.
    """

    days: Mapping[tuple[int, str], int]
    versions: frozenset[tuple[int, str, str]]

    def counted(
        self, what: Ints, platform: NDArray[Any], version: NDArray[Any], moment: Ints
    ) -> Bools:
        """Which of the records may be asked for their event."""
        found = np.ones(len(what), bool)
        for (bit, name), day in self.days.items():
            mine = what == bit
            if name != ALL:
                mine &= platform == name
                old = [v for b, p, v in self.versions if (b, p) == (bit, name)]
                if old:  # between two versions the event may not have been there yet
                    found &= ~(mine & np.isin(version, np.array([*old, BETWEEN], object)))
            found &= ~(mine & (moment < day))
        return found

    def unknown(self, before: pd.DataFrame) -> LateStart:
        """The same for users whose platform nothing tells: it may be one that began late.

        ``before``: records from before a start, as `count_witnesses` counts them.
        """
        told = before[before["n_users"] >= MIN_USERS]
        days = dict(self.days)
        for bit, platform in zip(told["what"], told["platform"]):
            day, known = days.get((bit, platform), 0), days.get((bit, MISSING), 0)
            days[bit, MISSING] = max(day, known)
        return LateStart(days, self.versions)


def count_days(log: EventLog, until: int) -> pd.DataFrame:
    """Events by event, platform, app_version and day (of UTC)."""
    device = ", ".join(
        f"coalesce({column}::VARCHAR, '{MISSING}') AS {column}"
        for column in ("platform", "app_version")
    )
    counts = log.sql(
        f"""SELECT event::VARCHAR AS event, {device}, day, n FROM (
            SELECT event, platform, app_version, epoch_us(timestamp) // {DAY_US} AS day,
                count(*) AS n
            FROM events WHERE timestamp <= make_timestamp({until}) GROUP BY ALL
        )"""
    )
    return counts.astype({"day": np.int64, "n": np.int64})


def read_late_start(
    counts: pd.DataFrame, steps: Sequence[Step], witnessed: Mapping[int, Sequence[Any]]
) -> LateStart:
    """Of which micro-conversions witnesses know more than chance before their events came.

    ``counts``: of `count_days` · ``witnessed``: bit -> days of the server's records, or the names
    of the later events that imply it.
    """
    days: dict[tuple[int, str], int] = {}
    versions: set[tuple[int, str, str]] = set()
    first = first_day(counts)
    for bit, known in witnessed.items():
        mine = counts[counts["event"].isin(steps[bit].names)]
        for platform in [ALL, *mine["platform"].unique()]:
            here = counts if platform == ALL else counts[counts["platform"] == platform]
            own = mine if platform == ALL else mine[mine["platform"] == platform]
            came = _late(own, first)
            if came is None or _before(here, known, came) < FEWEST:
                continue
            days[bit, str(platform)] = (came + 1) * DAY_US
            if platform != ALL:
                versions |= {(bit, str(platform), v) for v in _without(here, own, came)}
    return LateStart(days, frozenset(versions))


def _late(own: pd.DataFrame, first: int) -> int | None:
    """The day on which an event came, if that is later than the first by more than chance."""
    if own.empty:
        return None
    came = first_day(own)
    usual = own.loc[own["day"].between(came, came + MONTH - 1), "n"].sum() / MONTH
    return came if (came - first) * usual > CHANCE else None


def first_day(rows: pd.DataFrame) -> int:
    """The day up to which more than a stray few had come."""
    by_day = rows.groupby("day")["n"].sum().cumsum()
    return int(by_day.index[(by_day > STRAY * by_day.iloc[-1]).argmax()])


def _before(here: pd.DataFrame, known: Sequence[Any], came: int) -> int:
    """What a witness knows of the days before."""
    if len(known) and isinstance(known[0], str):
        return int(here.loc[here["event"].isin(known) & (here["day"] < came), "n"].sum())
    return int((np.asarray(known, float) < came).sum())


def _without(here: pd.DataFrame, own: pd.DataFrame, came: int) -> Iterator[str]:
    """Versions from before an event came that go on without it."""
    since = here[here["day"] > came].groupby("app_version")["n"].sum()
    had = own[own["day"] > came].groupby("app_version")["n"].sum().reindex(since.index).fillna(0)
    for version, n in since.drop(MISSING, errors="ignore").items():
        if first_day(here[here["app_version"] == version]) >= came:
            continue
        others = since.sum() - n
        expected = n * (had.sum() - had[version]) / others if others else 0.0
        if expected > CHANCE and had[version] < RARE * expected:
            yield str(version)
