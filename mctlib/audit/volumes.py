"""How many events came from which device and when, and which of them were sent twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numba import njit, types
from numpy.typing import NDArray

from mctlib import stats
from mctlib.audit.devices import DEVICE
from mctlib.contract import MISSING, interval_columns
from mctlib.eventlog.journeys import NOWHERE, Bools, Ints, Journeys, number
from mctlib.eventlog.late_start import ALL, CHANCE
from mctlib.eventlog.steps import Step
from mctlib.eventlog.walk_kernels import BOOLEANS, COLUMN, NUMBER, NUMBERS
from mctlib.phrases import DAY_US, QUARTER_US, SECOND_US

WITHIN = 2  # seconds in which an event that says the same again is the same one, sent twice
FARTHEST = 10  # seconds to which the curve goes on
EVENT = "event.event"
NOT_KNOWN = np.array([MISSING], object)
TABLE, CUBE, CUBE4 = (types.Array(types.int64, n, "C") for n in (2, 3, 4))  # written by kernels


def count_volumes(
    j: Journeys,
    n_steps: int,
    week_of: Callable[[Ints], Ints],
    dated: Bools,
    extra: Sequence[str] = (),
) -> dict[str, pd.DataFrame]:
    """Events of whole journeys, by the first micro-conversion that they are (n_steps: of none).

    Of rows that are ``dated``, with a day alone, none is the twin of another.

    "events": what, platform, app_version, week -> n_events, n_doubled, and n_mixed, those of them
    whose twin came from another platform or version · "users": what, platform, app_version ->
    n_users, app_version ALL too · "gaps": what, platform, seconds since an alike one -> n_events ·
    "extra": of the ``extra`` events event, platform, app_version, and the first and last moment of
    these users -> n_users, n_events.
    """
    (platform, platforms), (version, versions) = (_codes(j, f"event.{name}") for name in DEVICE)
    event, names = _codes(j, EVENT) if extra else (platform, NOT_KNOWN)
    assert j.value is not None
    gap, mixed = _twins(j.user, j.time, j.value, platform, version)
    gap[dated] = -1
    device = _devices(platform, version, np.full((len(platforms), len(versions)), NOWHERE))
    at = np.nonzero(device != NOWHERE)
    of_device = np.array(at)[:, np.argsort(device[at])]
    first, week_at, weeks = _weeks(j.time, week_of)
    place = {name: n for n, name in enumerate(extra)}
    of_event = np.array([place.get(name, NOWHERE) for name in names], np.int64)
    sizes = n_steps + 1, of_device.shape[1]
    events = np.zeros((*sizes, len(weeks), 3), np.int64)
    users, wide = np.zeros(sizes, np.int64), np.zeros((n_steps + 1, len(platforms)), np.int64)
    others = np.zeros((len(extra), sizes[1], 4), np.int64)
    rows = (j.user, j.time, j.bits, platform, version, event, gap, mixed)
    _add_rows(*rows, device, first, week_at, of_event, events, users, wide, others)

    def named(of: Ints) -> dict[str, Any]:
        return {n: w[c] for n, w, c in zip(DEVICE, (platforms, versions), of_device[:, of])}

    what, of, week = np.nonzero(events[..., 0])
    table = pd.DataFrame({"what": what, **named(of), "week": weeks[week]})
    for k, name in enumerate(("n_events", "n_doubled", "n_mixed")):
        table[name] = events[what, of, week, k]
    what, of = np.nonzero(users)
    each = pd.DataFrame({"what": what, **named(of), "n_users": users[what, of]})
    what, of = np.nonzero(wide)
    whole = {"what": what, "platform": platforms[of], "app_version": ALL}
    whole = pd.DataFrame(whole | {"n_users": wide[what, of]})
    which, of = np.nonzero(others[..., 1])
    unplanned = {"event": np.array(extra, object)[which], **named(of)}
    for k, name in enumerate(("n_users", "n_events", "first", "last")):
        unplanned[name] = others[which, of, k]
    return {
        "events": table,
        "users": pd.concat([each, whole], ignore_index=True),
        "gaps": _gaps(j, n_steps, gap, (platform, platforms)),
        "extra": pd.DataFrame(unplanned),
    }


def _codes(j: Journeys, column: str) -> tuple[Ints, NDArray[Any]]:
    """A column of the rows as codes and labels; where the log does not know it, all is MISSING."""
    if column not in j.dims:
        return np.zeros(len(j), np.int64), NOT_KNOWN
    return j.dims[column], np.asarray(j.levels[column], object)


def _weeks(time: Ints, week_of: Callable[[Ints], Ints]) -> tuple[int, Ints, Ints]:
    """The first quarter of an hour, the week's place of each from there on, and the weeks."""
    low, high = (time.min() // QUARTER_US, time.max() // QUARTER_US) if len(time) else (0, 0)
    weeks, place = np.unique(week_of(np.arange(low, high + 1) * QUARTER_US), return_inverse=True)
    return int(low), place, weeks


def _gaps(
    j: Journeys, n_steps: int, gap: Ints, platform: tuple[Ints, NDArray[Any]]
) -> pd.DataFrame:
    near = np.flatnonzero(gap >= 0)
    what = np.full(len(near), n_steps, np.int64)
    for bit in range(n_steps - 1, -1, -1):
        what[j.bits[near] & (1 << bit) != 0] = bit
    seconds = -(-gap[near] // SECOND_US)
    at, cells = number(what=what, platform=platform[0][near], seconds=seconds)
    table = pd.DataFrame(cells | {"platform": platform[1][cells["platform"]]})
    return table.assign(n_events=np.bincount(at, minlength=len(table)).astype(np.int64))


@njit((COLUMN, COLUMN, TABLE), cache=True, nogil=True)
def _devices(platform: Ints, version: Ints, device: Ints) -> Ints:
    """The pairs of platforms and versions that there are, numbered as they come."""
    n = 0
    for row in range(len(platform)):
        if device[platform[row], version[row]] < 0:
            device[platform[row], version[row]] = n
            n += 1
    return device


@njit(
    (*[COLUMN] * 7, BOOLEANS, TABLE, NUMBER, COLUMN, COLUMN, CUBE4, TABLE, TABLE, CUBE),
    cache=True,
    nogil=True,
)
def _add_rows(  # noqa: PLR0913 - numba takes arrays, not records of them
    user: Ints,
    time: Ints,
    bits: Ints,
    platform: Ints,
    version: Ints,
    event: Ints,
    gap: Ints,
    mixed: Bools,
    device: Ints,
    first: int,
    week_at: Ints,
    of_event: Ints,
    events: Ints,
    users: Ints,
    wide: Ints,
    others: Ints,
) -> None:
    """Add every row to what `count_volumes` counts; ``device``, ``of_event``: places of codes."""
    n_steps = len(events) - 1
    last, last_wide = np.full(users.shape, -1), np.full(wide.shape, -1)
    last_other = np.full(others.shape[:2], -1)
    for row in range(len(user)):
        who, on, what = user[row], device[platform[row], version[row]], n_steps
        if bits[row] & ((1 << n_steps) - 1):
            what = 0
            while not bits[row] >> what & 1:
                what += 1
        cell = events[what, on, week_at[time[row] // QUARTER_US - first]]
        cell[0] += 1
        if 0 <= gap[row] <= WITHIN * SECOND_US:
            cell[1] += 1
            cell[2] += mixed[row]
        if last[what, on] != who:
            last[what, on] = who
            users[what, on] += 1
        if last_wide[what, platform[row]] != who:
            last_wide[what, platform[row]] = who
            wide[what, platform[row]] += 1
        if len(others) and of_event[event[row]] >= 0:
            which = of_event[event[row]]
            other = others[which, on]
            other[0] += last_other[which, on] != who
            last_other[which, on] = who
            other[2] = min(time[row], other[2]) if other[1] else time[row]
            other[3] = max(time[row], other[3]) if other[1] else time[row]
            other[1] += 1


@njit((COLUMN, COLUMN, NUMBERS, COLUMN, COLUMN), cache=True, nogil=True)
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
            if user[other] != user[row] or since > FARTHEST * SECOND_US:
                break
            if value[other] == value[row]:
                gap[row] = since
                mixed[row] = platform[other] != platform[row] or version[other] != version[row]
                break
    return gap, mixed


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
