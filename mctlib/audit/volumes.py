"""How many events came from which device and when, and which of them were sent twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from mctlib import stats
from mctlib.audit.late_start import CHANCE
from mctlib.audit.witnesses import ALL, DEVICE
from mctlib.contract import MISSING, interval_columns
from mctlib.eventlog.journeys import Bools, Ints, Journeys, number
from mctlib.eventlog.steps import Step
from mctlib.phrases import DAY_US

SECOND = 1_000_000
WITHIN = 2  # seconds in which an event that says the same again is the same one, sent twice
FARTHEST = 10  # seconds to which the curve goes on


def count_volumes(
    j: Journeys, n_steps: int, week_of: Callable[[Ints], Ints], dated: Bools
) -> dict[str, pd.DataFrame]:
    """Events of whole journeys, by the first micro-conversion that they are (n_steps: of none).

    Of rows that are ``dated``, with a day alone, none is the twin of another.

    "events": what, platform, app_version, week -> n_events, n_doubled, and n_mixed, those of them
    whose twin came from another platform or version · "users": what, platform, app_version ->
    n_users, app_version ALL too · "gaps": what, platform, seconds since an alike one -> n_events.
    """
    bits = j.bits
    what = np.full(len(j), n_steps, np.int64)
    for bit in range(n_steps - 1, -1, -1):
        what[bits & (1 << bit) != 0] = bit
    device, labels = [], []
    for name in DEVICE:
        known = f"event.{name}" in j.dims
        device.append(j.dims[f"event.{name}"] if known else np.zeros(len(j), np.int64))
        labels.append(np.asarray(j.levels[f"event.{name}"] if known else [MISSING], object))
    assert j.value is not None
    gap, mixed = _twins(j.user, j.time, j.value, *device)
    gap[dated] = -1
    doubled = (gap >= 0) & (gap <= WITHIN * SECOND)
    week = week_of(j.time)
    first = int(week.min(initial=np.iinfo(np.int64).max)) if len(j) else 0
    place, cells = number(
        what=what, platform=device[0], version=device[1], week=(week - first) // 7
    )

    def named(cells: dict[str, NDArray]) -> dict[str, NDArray]:
        found = {"what": cells["what"]}
        for name, key, label in zip(DEVICE, ("platform", "version"), labels):
            if key in cells:
                found[name] = label[cells[key]]
        return found

    n = len(cells["what"])
    events = pd.DataFrame(named(cells) | {"week": cells["week"] * 7 + first})
    for name, those in (("n_events", None), ("n_doubled", doubled), ("n_mixed", doubled & mixed)):
        events[name] = np.bincount(place, those, n).astype(np.int64)
    users = []
    for keys in (("what", "platform", "version"), ("what", "platform")):
        of_cell, wide = number(**{name: cells[name] for name in keys})
        table = pd.DataFrame({"app_version": ALL} | named(wide), index=range(len(wide["what"])))
        users.append(table.assign(n_users=_users(j.user, of_cell[place], len(table))))
    near = np.flatnonzero(gap >= 0)
    columns = {"what": what[near], "platform": device[0][near]}
    at, cells = number(**columns, seconds=-(-gap[near] // SECOND))
    gaps = pd.DataFrame(named(cells) | {"seconds": cells["seconds"]})
    gaps["n_events"] = np.bincount(at, minlength=len(gaps)).astype(np.int64)
    return {"events": events, "users": pd.concat(users), "gaps": gaps}


@njit(cache=True, nogil=True)
def _twins(
    user: Ints, time: Ints, value: NDArray[np.float64], platform: Ints, version: Ints
) -> tuple[Ints, NDArray[np.bool_]]:
    """Microseconds since the user's last event that says the same, if at most FARTHEST; else -1.

    And whether that one came from another platform or version.
    """
    gap, mixed = np.full(len(user), -1), np.zeros(len(user), np.bool_)
    for row in range(len(user)):
        for other in range(row - 1, -1, -1):
            since = time[row] - time[other]
            if user[other] != user[row] or since > FARTHEST * SECOND:
                break
            if value[other] == value[row]:
                gap[row] = since
                mixed[row] = platform[other] != platform[row] or version[other] != version[row]
                break
    return gap, mixed


@njit(cache=True, nogil=True)
def _users(user: Ints, place: Ints, n: int) -> Ints:
    """Users with rows at each place."""
    last, found = np.full(n, -1), np.zeros(n, np.int64)
    for row in range(len(user)):
        if last[place[row]] != user[row]:
            last[place[row]] = user[row]
            found[place[row]] += 1
    return found


def in_order_of_release(events: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
    """Platform -> its versions and the weeks in which they came, the oldest first.

    A version came when 1 % of its events had: a clock that is wrong does not release one.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for platform, part in events[events["app_version"] != MISSING].groupby("platform"):
        weeks = part.pivot_table(
            "n_events", "week", "app_version", "sum", fill_value=0
        ).sort_index()
        share = weeks.cumsum() / weeks.sum()
        came = {
            str(version): int(share.index[(share[version] > 0.01).argmax()]) for version in share
        }
        found[str(platform)] = sorted(came.items(), key=lambda item: (item[1], _numbers(item[0])))
    return found


def _numbers(version: str) -> list[tuple[int, int | str]]:
    """4.10 comes after 4.9."""
    parts = version.replace("-", ".").split(".")
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def duplicates_table(
    events: pd.DataFrame, users: pd.DataFrame, releases: Mapping[str, Any], seed: int
) -> pd.DataFrame:
    """`Audit.duplicates`: how many events say again what one said within WITHIN seconds."""
    events = events.assign(n_tracked=events["n_doubled"], n_checked=events["n_events"])
    cells = events.groupby([*DEVICE, "week"], as_index=False)[
        ["n_events", "n_doubled", "n_mixed"]
    ].sum()
    rows = []
    for platform, part in cells.groupby("platform"):
        order = [version for version, _ in releases.get(str(platform), ())]
        by_version = part.groupby("app_version")[["n_doubled", "n_events"]].sum().reindex(order)
        split = stats.change_point(
            by_version["n_doubled"], by_version["n_events"], seed=seed, draws=499, least=100
        )
        since = order[split.at] if split.pvalue <= 0.01 else ""
        for version, mine in [(ALL, part), *part.groupby("app_version")]:
            sums = mine[["n_events", "n_doubled", "n_mixed"]].sum()
            share = stats.quasi_binomial(
                *(mine.groupby("week")[c].sum() for c in ("n_doubled", "n_events"))
            )
            own = users[(users["platform"] == platform) & (users["app_version"] == version)]
            rows.append(
                {
                    "platform": platform,
                    "app_version": version,
                    "n_users": int(own["n_users"].max()),
                    **sums.to_dict(),
                    **interval_columns("doubled_rate", share.value, share.low, share.high),
                    "since": since if version == ALL else "",
                }
            )
    return pd.DataFrame(rows)


def curve_table(events: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """`Audit.curve`: of all events, the share that says the same again within so many seconds."""
    n = events.groupby("platform")["n_events"].sum()
    by_second = gaps.pivot_table("n_events", "platform", "seconds", "sum", fill_value=0)
    by_second = by_second.reindex(index=n.index, columns=range(FARTHEST + 1), fill_value=0)
    within = by_second.cumsum(axis=1).stack().rename("n_doubled").reset_index()
    within["n_events"] = n.reindex(within["platform"]).to_numpy()
    within["doubled_rate"] = stats.rate(within["n_doubled"], within["n_events"])
    return within[["platform", "seconds", "n_events", "n_doubled", "doubled_rate"]]


def outages(counts: pd.DataFrame, steps: Mapping[str, Step], until: int) -> pd.DataFrame:
    """Runs of days without an event that its own weekdays would not leave empty by chance.

    Columns: micro_conversion, day (the first), n_days, n_expected. One run in a million is chance.
    ``counts``: of `count_days`.
    """
    counts = counts.groupby(["event", "day"], as_index=False)["n"].sum()
    counts["day"] = pd.to_datetime(counts["day"], unit="D")
    rows = []
    days_over = pd.date_range(
        counts["day"].min(), pd.Timestamp((until + 1) // DAY_US * DAY_US, unit="us")
    )
    for name, step in steps.items():
        part = counts[counts["event"].isin(step.names)]
        n = part.groupby("day")["n"].sum()
        n = n.reindex(days_over[:-1], fill_value=0).loc[n.index.min() :] if len(n) else n
        if len(n) < 28:
            continue
        usual = n.groupby(n.index.dayofweek).transform("median")
        run = (n > 0).cumsum()[n == 0]
        for _, days_of in n[n == 0].groupby(run):
            expected = float(usual[days_of.index].sum())
            if expected > CHANCE:
                rows.append((name, days_of.index[0], len(days_of), expected))
    return pd.DataFrame(rows, columns=["micro_conversion", "day", "n_days", "n_expected"])
