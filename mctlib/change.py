"""Why did a funnel's rate change between two periods: behaviour, mix, or lost tracking?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.journeys import Journeys, walk_funnel
from mctlib.log import EventLog, as_columns, as_timestamp, as_window
from mctlib.store import ParameterError
from mctlib.words import day, in_words, points, share

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Change:
    """What `explain_change` found; the columns of ``parts`` and ``total`` are described there."""

    parts: pd.DataFrame
    total: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def explain_change(
    log: EventLog, steps: Sequence[Any], *, window: str, before: Sequence[Any], after: Sequence[Any], by: str | Sequence[str] | None, as_of: Any = None,
) -> Change:
    """Split the change of a funnel's conversion rate between two periods into mix, behaviour and tracking.

    ``before``, ``after``: (first day, last day) of the users' first entry, UTC. The rate is the share who reach the last step within ``window`` of that
    entry; every window must have closed by ``as_of`` (None: the end of the last event's day). ``by`` gives the segments, read at entry.

    Kitagawa's symmetric identity (1955): mix = users moved between segments, the rest = the segments' own rates. Where ``backend`` holds events of steps
    after the first, completeness = of the users with all of these in ``backend`` within the window, the share with all of them tracked; a segment's rate is
    its completeness times its true rate, and tracking is the part of its change that the completeness explains. Unknown tracking is NaN and then
    stays inside behaviour. The parts add up exactly to the change.

    ``.parts``: segment ("all" first: the sums), part (mix, behaviour, tracking), n_before, n_after, effect_rate + interval (seeded bootstrap of user
    buckets) · ``.total``: one row, n_before, before_rate, n_after, after_rate with Wilson intervals, change_rate with the interval
    of the same bootstrap draws as the parts, so that a lone part and the total agree. Raises ParameterError.
    """
    matchers = log.steps(steps)
    window_us, by = as_window(window), as_columns(by)
    periods = [_period(before, "before"), _period(after, "after")]
    if periods[0][1] >= periods[1][0]:
        raise ParameterError(f"before: it must end before the period after begins ({day(periods[1][0])}).")
    end = log.as_of(as_of) if as_of is not None else log.as_of(f"{log.last_event:%Y-%m-%d}")
    if periods[1][1] + window_us > end:
        raise ParameterError(f"after: users who entered on {day(periods[1][1])} were still inside their window of {in_words(window_us)} on {day(end)}; "
                             f"the last usable day is {day((end - window_us + 1) // DAY_US * DAY_US - 1)}.")
    backend = log.table("backend")
    backend["mask"] = np.bitwise_or.reduce([np.where(backend["event"].isin(m.names) & (not m.where), np.uint64(1 << k), np.uint64(0))
                                            for k, m in enumerate(matchers) if k], axis=0)
    checked = [m.label for k, m in enumerate(matchers) if (backend["mask"].to_numpy(np.uint64) & np.uint64(1 << k)).any()]
    counts = log.reduce(partial(_cohorts, n_steps=len(matchers), window=window_us, periods=periods, by=by, backend=backend), events=matchers, by=by, as_of=as_of)
    columns = ["n_users", "n_converted", "n_checked", "n_tracked"]
    segments = counts.groupby("segment")["n_users"].sum().sort_values(ascending=False, kind="stable").index
    cells = np.zeros((stats.N_BUCKETS, 2, len(segments), 4))
    cells[counts["bucket"], counts["period"], segments.get_indexer(counts["segment"])] = counts[columns]
    whole = cells.sum(axis=0)
    (n_0, k_0, *_), (n_1, k_1, *_) = whole.sum(axis=1)
    for n, name in ((n_0, "before"), (n_1, "after")):
        if not n:
            raise ParameterError(f"{name}: nobody entered the funnel in that period.")
    known = (whole[:, :, 3] > 0).all(axis=0)  # with nobody tracked a rate cannot be corrected
    effect = _parts(whole)
    draws = stats.bucket_draws(cells, _parts, seed=1)
    low, high = stats.percentile_interval(draws)
    (change_low,), (change_high,) = stats.percentile_interval(draws[:, 0].sum(axis=1, keepdims=True))  # before unknown parts are blanked
    for part in (effect, low, high):
        part[1:, 2][~known] = np.nan
        part[0, 2] = part[0, 2] if known.any() else np.nan
    sizes = np.vstack([whole[:, :, 0].sum(axis=1), whole[:, :, 0].T]).astype(int)
    parts = pd.DataFrame({
        "segment": np.repeat(["all", *segments], 3), "part": ["mix", "behaviour", "tracking"] * (len(segments) + 1),
        "n_before": np.repeat(sizes[:, 0], 3), "n_after": np.repeat(sizes[:, 1], 3),
        "effect_rate": effect.ravel(), "effect_rate_ci_lower": low.ravel(), "effect_rate_ci_upper": high.ravel()})
    parts = parts if by else parts.head(3)  # one segment is the sum itself
    lows, highs = stats.wilson([k_0, k_1], [n_0, n_1])
    total = pd.DataFrame([{
        "n_before": int(n_0), "before_rate": k_0 / n_0, "before_rate_ci_lower": lows[0], "before_rate_ci_upper": highs[0],
        "n_after": int(n_1), "after_rate": k_1 / n_1, "after_rate_ci_lower": lows[1], "after_rate_ci_upper": highs[1],
        "change_rate": k_1 / n_1 - k_0 / n_0, "change_rate_ci_lower": change_low, "change_rate_ci_upper": change_high}])
    unchecked = [m.label for m in matchers[1:] if m.label not in checked]
    caveats = [f"The {s}" for s in log.missing_events(matchers)]
    if not known.all():
        caveats.append(f"Tracking loss is not known{'' if not known.any() else ' for ' + ', '.join(segments[~known])}: backend has no users with "
                       f"{'these steps' if not checked else ', '.join(checked)} in both periods. Behaviour may hold it.")
    elif unchecked:
        caveats.append(f"Tracking is checked on {', '.join(checked)} only; backend does not hold {', '.join(unchecked)}.")
    return Change(parts, total, _change_finding(parts, total.iloc[0], matchers[-1].label, window_us), tuple(caveats))


def _period(days: Sequence[Any], name: str) -> tuple[int, int]:
    """First and last microsecond of a period given by its first and last day."""
    if isinstance(days, str) or len(days) != 2:
        raise ParameterError(f"{name}: give two days, the first and the last.")
    first, last = (int(as_timestamp(d, name).normalize().value // 1000) for d in days)
    if last < first:
        raise ParameterError(f"{name}: the last day ({days[1]}) lies before the first ({days[0]}).")
    return first, last + DAY_US - 1


def _cohorts(j: Journeys, *, n_steps: int, window: int, periods: Sequence[tuple[int, int]], by: Sequence[str], backend: pd.DataFrame) -> pd.DataFrame:
    """segment, period (0, 1), bucket -> n_users, n_converted, n_checked (all steps that backend knows are in it), n_tracked (and in the events)."""
    walk = walk_funnel(j, n_steps, window=window, first_only=True)
    here, entry, user = walk.journeys, walk.entry, walk.user
    start = here.time[entry]
    steps_in_backend = np.bitwise_or.reduce(backend["mask"].to_numpy(np.uint64))

    def seen(owner: np.ndarray, time: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Whether each user has all of these steps within the window."""
        at = np.searchsorted(user, owner)
        mine = np.flatnonzero(np.r_[user, -1][at] == owner)
        mine = mine[(time[mine] >= start[at[mine]]) & (time[mine] <= start[at[mine]] + window)]
        did = np.zeros(len(user), np.uint64)
        np.bitwise_or.at(did, at[mine], mask[mine])
        return (steps_in_backend > 0) & (did & steps_in_backend == steps_in_backend)

    checked = seen(backend["user"].to_numpy(), backend["timestamp"].to_numpy("datetime64[us]").astype(np.int64), backend["mask"].to_numpy(np.uint64))
    period = np.select([(start >= first) & (start <= last) for first, last in periods], [0, 1], -1)
    frame = pd.DataFrame({
        "segment": here.segment(entry), "period": period, "bucket": here.bucket[entry], "n_users": 1, "n_converted": (walk.rows[:, -1] >= 0).astype(int),
        "n_checked": checked.astype(int), "n_tracked": (checked & seen(here.user, here.time, here.mask)).astype(int)})
    return frame[period >= 0].groupby(["segment", "period", "bucket"], as_index=False).sum()


def _parts(cells: np.ndarray) -> np.ndarray:
    """(2 periods, segments, 4 counts) -> (1 + segments, 3): mix, behaviour, tracking; the sums first."""
    n, k, checked, tracked = np.moveaxis(cells, -1, 0)
    rate, complete = stats.rate(k, n), stats.rate(tracked, checked)
    split = stats.kitagawa(n[0], rate[0], n[1], rate[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        true = rate / complete
        tracking = (complete[1] - complete[0]) * (true[0] + true[1]) / 2 * (n[0] / n[0].sum() + n[1] / n[1].sum()) / 2
    tracking = np.where(np.isfinite(tracking), tracking, 0.0)
    out = np.column_stack([split["mix"], split["behaviour"] - tracking, tracking])
    return np.vstack([out.sum(axis=0), out])


def _change_finding(parts: pd.DataFrame, total: pd.Series, label: str, window: int) -> str:
    sums = ", ".join(f"{r['part']} {points(r, 'effect_rate')}" if r["effect_rate"] == r["effect_rate"] else f"{r['part']} not known"
                     for _, r in parts[parts["segment"] == "all"].iterrows())
    each = parts[(parts["segment"] != "all") & parts["effect_rate"].notna()]
    most = ""
    if len(each):
        row = each.loc[each["effect_rate"].abs().idxmax()]
        most = f" The largest single part is {row['part']} in {row['segment']}, {points(row, 'effect_rate')}."
    return (f"The share of users reaching {label} within {in_words(window)} went from {share(total, 'before_rate')} to {share(total, 'after_rate')}, "
            f"{points(total, 'change_rate')}: {sums}.{most} (Rule: first entries with a closed window, {total['n_before']:,.0f} before and "
            f"{total['n_after']:,.0f} after; 95 % intervals.)")
