"""Who comes back: users who do something again, by how many periods after their start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numba import njit

from mctlib import stats
from mctlib.activation.clocks import known_step, rows_of
from mctlib.activation.returning_narrative import Returns, told_returns
from mctlib.contract import ParameterError, as_window, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import ROWS, Journeys, count_accounts, first_rows
from mctlib.phrases import DAY_US, day, told_together
from mctlib.results import MIN_USERS, TIME, Groups, Result, together

MOST_PERIODS = 60
SHORTEST, LONGEST = DAY_US, 366 * DAY_US
WITHIN = (0.25, 0.5, 0.75)  # of users, by how often they come


@dataclass(frozen=True, kw_only=True, repr=False)
class Retention(Result):
    """Answer of `retention`.

    ``curve``: one row a segment ("all" first) and period; of weeks or months it is the grid of
    cohorts, and the rows of one period are its course.

    ================ ===== =======================================================================
    column           unit  meaning
    ================ ===== =======================================================================
    segment, period        period k begins k periods after the user's start, and ends before k + 1
    n_users                whose period k is over at as_of; fewer than 10 have no row
    n_returned             of them, who did it in that very period
    retained_rate ±  0-1   their share
    n_pending              users whose period k is not over: known apart, neither back nor lost
    ================ ===== =======================================================================

    ``intervals``: segment; n_users, who did it on two days or more; p25_days, median_days,
    p75_days: so many days lie between two of them for a quarter, half and three quarters of these
    users (of each the own median). A period much shorter than that sees few come back.

    ``told_period``: the one whose share is the headline; 0 where none is known.

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %), by account where people sit in accounts; NaN
    below 10 accounts.
    """

    curve: pd.DataFrame
    intervals: pd.DataFrame
    told_period: int

    main: ClassVar[str] = "curve"


def retention(
    log: EventLog,
    *,
    start: Any,
    returns: Any,
    period: str = "1w",
    as_of: Any,
    by: str | Sequence[str] | None = None,
    at_least: int = 1,
) -> Retention:
    """Share of users who come back in each period after their start.

    A user is in period k from k periods after the first ``start`` on until k + 1 periods after it;
    who comes later is not back in k. Counted are users whose period is over at ``as_of``.

    Parameters
    ----------
    log : EventLog
        Events, and perhaps accounts (``log.accounts``), by which intervals are made.
    start, returns : str, list of str, or Step
        Where a user's periods begin, and what counts as coming back.
    period : str
        Its length, a day to a year: "1d", "1w", "30d". At most 60 periods are counted.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC.
    by : str or list of str, optional
        Columns that split the users, taken at the start; "month" gives the grid of cohorts.
    at_least : int
        How often they must do it in a period.

    Returns
    -------
    Retention
        ``curve`` and ``intervals`` (columns: see `Retention`).

    Raises
    ------
    ParameterError
        An event that does not occur, a period below a day or above a year, no such column.

    Examples
    --------
    >>> ask = {"start": "signed_up", "returns": "interview_scheduled", "as_of": "2026-01-31"}
    >>> list(retention(log, **ask, period="7d").curve)[:4]
    ['segment', 'period', 'n_users', 'n_returned']
    """
    length, by = as_window(period, "period"), log.columns(by)
    if not SHORTEST <= length <= LONGEST:
        raise ParameterError(f'period: "{period}" must last from a day to a year (366d).')
    if type(at_least) is not int or at_least < 1:
        raise ParameterError(f"at_least: {at_least!r} must be a whole number from 1.")
    found = [known_step(log, *asked) for asked in ((start, "start"), (returns, "returns"))]
    steps = [step for step, _ in found]
    dims = [*by, *log.accounts]
    kernel = partial(count_returns, period=length, at_least=at_least, by=by, accounts=log.accounts)
    counts = log.reduce(kernel, events=steps, by=dims, as_of=as_of)
    key = " · ".join(by)
    sizes = counts["started"].groupby("segment")["n_users"].sum()
    names = together(sizes, key) if by else {}
    population = f"users with {steps[0].label} up to {day(log.as_of(as_of))}"
    told = {name: _under(table, names, bool(by)) for name, table in counts.items()}
    n_accounts = count_accounts(told["accounts"])
    curve = _curve(told["periods"], told["started"], n_accounts)
    groups = Groups(population, key, sizes, names)
    answer = Returns(
        curve=curve,
        intervals=_intervals(told["gaps"]),
        apart=pd.DataFrame() if key in TIME else _apart(told["periods"], curve, n_accounts),
        start=steps[0].label,
        returns=steps[1].label,
        acts=steps[1].acts,
        period=length,
        at_least=at_least,
        n_started=int(sizes.sum()),
        by_account=bool(log.accounts),
        said=(
            *log.caveats(as_of),
            *(sentence for _, said in found for sentence in said),
            *told_together(names, MIN_USERS),
        ),
    )
    return Retention(
        curve=curve,
        intervals=answer.intervals,
        told_period=answer.told_period(curve),
        groups=(groups,),
        **told_returns(answer),
    )


@njit(
    f"void({ROWS}, int64[::1], int64, int64, int64, uint8[:, ::1], float64[::1])",
    cache=True,
    nogil=True,
)
def walk_returns(
    user: np.ndarray,
    time: np.ndarray,
    mask: np.ndarray,
    start: np.ndarray,
    period: int,
    at_least: int,
    day_us: int,
    came: np.ndarray,
    gap: np.ndarray,
) -> None:
    """For each start whether its user came in the periods after it, and the usual days between.

    ``came``: a column a period, the first is period 1. ``gap``: median of the days from one day
    with a return to the next one, NaN of fewer than two days. Bit 1 of the mask is the return.
    """
    for i in range(len(start)):
        row = start[i]
        began, whose = time[row], user[row]
        gaps = []
        now, n, last = 0, 0, -1
        while row < len(user) and user[row] == whose:
            if mask[row] & 2:
                k = (time[row] - began) // period
                n = n + 1 if k == now else 1
                now = k
                if n == at_least and 1 <= k <= came.shape[1]:
                    came[i, k - 1] = 1
                today = time[row] // day_us
                if last >= 0 and today > last:
                    gaps.append(today - last)
                last = today
            row += 1
        gap[i] = np.median(np.array(gaps)) if len(gaps) else np.nan


def count_returns(
    j: Journeys, *, period: int, at_least: int, by: Sequence[str], accounts: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Kernel: matcher 0 is the start, 1 the return.

    "periods": segment, bucket, period -> n_users whose period is over, n_returned · "started":
    segment -> n_users · "gaps": segment, days -> n_users · "accounts": account -> n_users.
    """
    start = np.flatnonzero(j.has(0))
    start = start[first_rows(j.user[start])]
    over = np.minimum((j.as_of + 1 - j.time[start]) // period - 1, MOST_PERIODS)
    came = np.zeros((len(start), MOST_PERIODS), np.uint8)
    gap = np.empty(len(start))
    walk_returns(*rows_of(j), start, period, at_least, DAY_US, came, gap)
    code, labels = j.segments(start, by)
    bucket = j.bucket_of(j.user[start]) if accounts else np.zeros(len(start), np.int64)
    place = code * stats.N_BUCKETS + bucket
    periods = []
    for k in range(1, int(over.max(initial=0)) + 1):
        mine = over >= k
        n_users = np.bincount(place[mine])
        cells = np.flatnonzero(n_users)
        keys = {"segment": labels[cells // stats.N_BUCKETS], "bucket": cells % stats.N_BUCKETS}
        back = np.bincount(place[mine], came[mine, k - 1])[cells].astype(int)
        counts = {"n_users": n_users[cells], "n_returned": back}
        periods.append(pd.DataFrame(keys | {"period": k} | counts))
    twice = ~np.isnan(gap)
    gaps = pd.DataFrame({"segment": labels[code[twice]], "days": gap[twice], "n_users": 1})
    none = {"segment": pd.Series(dtype=object), "bucket": 0, "period": 0}
    return {
        "periods": pd.concat(periods or [pd.DataFrame(none | {"n_users": 0, "n_returned": 0})]),
        "started": pd.DataFrame({"segment": labels, "n_users": np.bincount(code)}),
        "gaps": gaps.groupby(["segment", "days"], as_index=False)["n_users"].sum(),
        "accounts": j.accounts(start, accounts),
    }


def _under(table: pd.DataFrame, names: dict[str, str], split: bool) -> pd.DataFrame:
    """The counts under the names that are told, those of all users before them."""
    if "segment" not in table:
        return table
    parts = [table.assign(segment=table["segment"].replace(names))] if split else []
    return add_up([table.assign(segment="all"), *parts])


def _all_first(segments: pd.Series) -> pd.Series:
    """A sorting key: all users, then the others by name."""
    return segments.where(segments != "all", "")


def _curve(periods: pd.DataFrame, started: pd.DataFrame, n_accounts: float) -> pd.DataFrame:
    """`Retention.curve`."""
    keys = ["segment", "period"]
    rows = periods.groupby(keys, as_index=False)[["n_users", "n_returned"]].sum()
    rows = rows[rows["n_users"] >= MIN_USERS].sort_values(keys, key=_by_key, ignore_index=True)
    k, n = _dense(periods, pd.MultiIndex.from_frame(rows[keys]))
    low, high, _ = stats.share_interval(k, n, n_accounts=n_accounts)
    rate = interval_columns("retained_rate", rows["n_returned"] / rows["n_users"], low, high)
    size = started.set_index("segment")["n_users"]
    return rows.assign(**rate, n_pending=rows["segment"].map(size) - rows["n_users"])


def _by_key(column: pd.Series) -> pd.Series:
    return _all_first(column) if column.name == "segment" else column


def _dense(periods: pd.DataFrame, rows: pd.MultiIndex) -> tuple[np.ndarray, np.ndarray]:
    """n_returned and n_users (buckets, rows)."""
    at = rows.get_indexer(pd.MultiIndex.from_frame(periods[rows.names]))
    mine = periods[at >= 0]
    shape = (stats.N_BUCKETS, len(rows))
    place = (mine["bucket"], at[at >= 0])
    n_returned, n_users = (
        stats.dense(mine[column], *place, shape=shape) for column in ("n_returned", "n_users")
    )
    return n_returned, n_users


def _apart(periods: pd.DataFrame, curve: pd.DataFrame, n_accounts: float) -> pd.DataFrame:
    """Each segment against all others in the period that is told: difference_rate, qvalue."""
    k = Returns.told_period(curve)
    here = curve[(curve["period"] == k) & (curve["segment"] != "all")]
    if len(here) < 2:
        return pd.DataFrame()
    mine = periods[(periods["period"] == k) & periods["segment"].isin(here["segment"])]
    came, n = _dense(mine, pd.MultiIndex.from_frame(here[["segment", "period"]]))
    sides = [a[..., None] for a in (came, n)]
    sides += [a.sum(axis=1, keepdims=True) - a for a in sides]
    design = None
    if not np.isnan(n_accounts):
        design = stats.difference_design(*sides, n_accounts=n_accounts)
    found = stats.mantel_haenszel(*(a.sum(axis=0) for a in sides), design=design)
    ends = interval_columns("difference_rate", found.value, found.low, found.high)
    return here.assign(**ends, qvalue=stats.fdr(found.pvalue))


def _intervals(gaps: pd.DataFrame) -> pd.DataFrame:
    """`Retention.intervals`."""
    rows = []
    for segment, part in gaps.sort_values(["segment", "days"], key=_by_key).groupby(
        "segment", sort=False
    ):
        n = part["n_users"].sum()
        if n >= MIN_USERS:
            reached = part["n_users"].cumsum().to_numpy() / n
            days = [part["days"].iloc[np.argmax(reached >= share)] for share in WITHIN]
            rows.append((segment, n, *days))
    return pd.DataFrame(rows, columns=["segment", "n_users", "p25_days", "median_days", "p75_days"])
