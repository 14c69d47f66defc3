"""Why did a funnel's rate change between two periods: behaviour, mix, or lost tracking?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import MISSING, ParameterError, as_columns, as_timestamp, as_window
from mctlib.eventlog.completeness import Proof, check, completeness, proofs
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.steps import Step, may_meet
from mctlib.eventlog.walk import walk_funnel

DAY_US = 86_400_000_000
PARTS = ["mix", "behaviour", "tracking"]
MEANING = {  # of a part that adds to the rate, and of one that takes from it
    "mix": (
        "more of the users were of kinds that convert often",
        "more of the users were of kinds that convert seldom",
    ),
    "behaviour": ("users went on more often", "users went on less often"),
    "tracking": ("fewer events were lost", "events were lost"),
}
MIN_CELL = 30  # users in each period from which on a segment's parts are tested
FALSE_DISCOVERIES = 0.1
ACCOUNTS = 2  # stands where a period's number does, in counts by account


@dataclass(frozen=True)
class Change:
    """What `explain_change` found; the columns of the tables are described there."""

    parts: pd.DataFrame
    total: pd.DataFrame
    steps: pd.DataFrame
    completeness: pd.DataFrame
    timeline: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def explain_change(
    log: EventLog,
    steps: Sequence[Any],
    *,
    window: str,
    before: Sequence[Any],
    after: Sequence[Any],
    by: str | Sequence[str] | None,
    as_of: Any = None,
    required: Sequence[int] = (),
) -> Change:
    """Split the change of a funnel's conversion rate between two periods into mix, behaviour and tracking, as a whole and for each step.

    ``before``, ``after``: (first day, last day) of the users' first entry, UTC. The rate is the share who reach the last step within ``window`` of that
    entry; every window must have closed by ``as_of`` (None: the end of the last event's day). ``by`` gives the segments, read at entry.
    ``required``: numbers of steps that cannot be left out by who does a later one, so that a later one proves them where ``backend`` does not hold them;
    not one that an event of the step or of an earlier one may meet too, for it shows nothing.

    A segment's rate is the product of its step rates, and a step's rate is its completeness times its true rate. Completeness: of the users at the step before
    who did this one for certain within the window (a record in ``backend``, else a later step that requires it), the share whose event is there. Mix =
    users moved between segments (Kitagawa's symmetric identity, 1955); the change of the segments' own rates is shared out over true rates (behaviour) and
    completenesses (tracking) of all steps by Shapley's rule for a product (Das Gupta 1993), whatever the order. The parts add up exactly to the change. Unknown
    tracking is NaN and stays inside behaviour. What is known in one period only is taken as unchanged: where no event at all is tracked any more, the
    fall is tracking. Step 1 cannot be checked: who is not seen there is in no count.

    Intervals: 1000 bootstrap draws of the users' hash buckets, seeded, the same for every number; users of one account share a bucket, so that they count as
    alike as they are. Those of single rates are Wilson's, where users sit in accounts (`log.accounts`) `stats.cluster_rate`'s over the buckets. With users
    in fewer than 10 buckets, or where they sit in accounts fewer than 10 clusters (`stats.count_clusters`) in a period, there is no bootstrap interval and no test;
    a rate by bucket then has no interval either.
    ``.total``: one row, n_before, before_rate + interval, before_design_effect, n_after, after_rate + interval, after_design_effect, change_rate + interval,
    n_accounts (of the users of both periods) ·
    ``.parts``: segment ("all" first: the sums), part (mix, behaviour, tracking), n_before, n_after, effect_rate + interval, qvalue: of the tests that
    the part is 0 in a segment with 30 users or more in both periods (normal, with the draws' standard error; Benjamini-Hochberg over segments and
    parts), NaN elsewhere ·
    ``.steps``: step, event, part, n_before, n_after (users at the step before), before_rate, after_rate (those of them who reach this one) with
    intervals, change_rate + interval; effect_rate + interval: what the part adds to the step's own rate, its mix weighted by the users at the
    step before; total_effect_rate + interval: what it adds to the overall rate. The mix of the entrants stands at step 1, which has no rate of its
    own, and that of later steps follows from what is counted elsewhere (NaN), so total_effect_rate sums to the overall change ·
    ``.completeness``: step, event, segment ("all" first), period (before, after), source (backend, implied, none), n_checked, n_tracked,
    completeness_rate + interval ·
    ``.timeline``: what the timeline holds from the start of ``before`` to the end of ``after``: day, kind, label, distance_days from the start of
    ``after`` (negative: earlier), names_step: whether the entry names an event of the steps. Raises ParameterError.
    """
    matchers = log.steps(steps)
    window_us, by = as_window(window), as_columns(by)
    periods = [_period(before, "before"), _period(after, "after")]
    if periods[0][1] >= periods[1][0]:
        raise ParameterError(
            f"before: it must end before the period after begins ({phrases.day(periods[1][0])})."
        )
    end = log.as_of(as_of) if as_of is not None else log.as_of(f"{log.last_event:%Y-%m-%d}")
    if periods[1][1] + window_us > end:
        raise ParameterError(
            f"after: users who entered on {phrases.day(periods[1][1])} were still inside their window of {phrases.window(window_us)} on {phrases.day(end)}; "
            f"the last usable day is {phrases.day((end - window_us + 1) // DAY_US * DAY_US - 1)}."
        )
    n_steps = len(matchers)
    for k in required:
        if not 2 <= k < n_steps:
            raise ParameterError(
                f"required: step {k} has no later step that could prove it; the steps are numbered from 1, so 2 to {n_steps - 1} are possible."
            )
    proof = proofs(
        log,
        matchers,
        implied={
            k - 1: [
                n
                for n in range(k, n_steps)
                if not any(may_meet(m, matchers[n]) for m in matchers[:k])
            ]
            for k in required
        },
    )
    kernel = partial(
        _cohorts, window=window_us, periods=periods, proof=proof, by=by, accounts=log.accounts
    )
    counts = log.reduce(
        kernel, events=matchers, by=list(dict.fromkeys([*by, *log.accounts])), as_of=as_of
    )
    n_accounts = (
        (counts.loc[counts["period"] == ACCOUNTS, "segment"] != MISSING).sum()
        if log.accounts
        else np.nan
    )
    counts = counts[counts["period"] != ACCOUNTS]
    segments = (
        counts.groupby("segment")["n_1_0"].sum().sort_values(ascending=False, kind="stable").index
    )
    cells = np.zeros((stats.N_BUCKETS, 2, len(segments), n_steps - 1, 4))
    cells[counts["bucket"], counts["period"], segments.get_indexer(counts["segment"])] = (
        counts.filter(like="n_").to_numpy().reshape(-1, n_steps - 1, 4)
    )
    whole = cells.sum(axis=0)
    for n, name in zip(whole[:, :, 0, 0].sum(axis=1), ("before", "after")):
        if not n:
            raise ParameterError(f"{name}: nobody entered the funnel in that period.")
    drawn = stats.bucket_draws(cells, seed=1)
    size = cells[..., 0, 0].sum(axis=2)  # buckets, periods
    if (
        stats.count_clusters(size, n_accounts=n_accounts).min()
        if log.accounts
        else size.any(axis=1).sum()
    ) < stats.MIN_CLUSTERS:
        drawn = np.full_like(drawn, np.nan)
    total, parts, table = _tables(
        cells, drawn, list(segments), [m.label for m in matchers], n_accounts
    )
    parts = parts if by else parts.head(3)  # one segment is the sum itself
    checks = _checks(cells, list(segments) if by else [], matchers, proof, n_accounts)
    timeline = _timeline(log.table("timeline"), matchers, periods)
    caveats = [
        *(f"The {s}" for s in log.missing_events(matchers)),
        *_tracking_caveats(whole, segments, matchers, proof, required),
        *_test_caveats(parts),
        *_account_caveats(total.iloc[0]),
        *_timeline_caveats(timeline),
    ]
    return Change(
        parts,
        total,
        table,
        checks,
        timeline,
        _change_finding(parts, table, total.iloc[0], matchers[-1].label, window_us),
        tuple(caveats),
    )


def _period(days: Sequence[Any], name: str) -> tuple[int, int]:
    """First and last microsecond of a period given by its first and last day."""
    if isinstance(days, str) or len(days) != 2:
        raise ParameterError(f"{name}: give two days, the first and the last.")
    first, last = (int(as_timestamp(d, name).normalize().value // 1000) for d in days)
    if last < first:
        raise ParameterError(f"{name}: the last day ({days[1]}) lies before the first ({days[0]}).")
    return first, last + DAY_US - 1


def _cohorts(
    j: Journeys,
    *,
    window: int,
    periods: Sequence[tuple[int, int]],
    proof: Sequence[Proof],
    by: Sequence[str],
    accounts: Sequence[str],
) -> pd.DataFrame:
    """segment, period (0, 1), bucket -> for each step after the first, n_<step>_0 to _3: users at the step before, at this one; of the former
    those who did this one for certain, and of these those whose event is there. Where users sit in ``accounts``, these too, in the place of segments, with their users
    as n_1_0 of the period ACCOUNTS.
    """
    walk = walk_funnel(j, len(proof), window=window, first_only=True)
    start = walk.journeys.time[walk.entry]
    period = np.select([(start >= first) & (start <= last) for first, last in periods], [0, 1], -1)
    mine = np.flatnonzero(period >= 0)
    start, entry, there = start[mine], walk.entry[mine], walk.rows[mine] >= 0
    columns = {
        "segment": walk.journeys.segment(entry, by),
        "period": period[mine],
        "bucket": walk.journeys.bucket[entry],
    }
    for k in range(1, len(proof)):
        did, tracked = check(
            j, k, proof[k], user=walk.user[mine], since=start, until=start + window
        )
        on = there[:, k - 1]
        columns |= {
            f"n_{k}_{i}": n.astype(int)
            for i, n in enumerate((on, there[:, k], on & did, on & tracked))
        }
    table = pd.DataFrame(columns).groupby(["segment", "period", "bucket"], as_index=False).sum()
    if not accounts:
        return table
    account, names = walk.journeys.segments(entry, accounts)
    own = pd.DataFrame(0, index=range(len(names)), columns=table.columns).assign(
        segment=names, period=ACCOUNTS, n_1_0=np.bincount(account, minlength=len(names))
    )
    return pd.concat([table, own], ignore_index=True)


# ------------------------------------------------------------------------------------------------------------------- the split


def _known(cells: np.ndarray) -> np.ndarray:
    """(..., segments, steps): whether completeness is known in both periods. Where no event of the users checked is there but some of others are, it is not."""
    _, k, checked, tracked = np.moveaxis(cells, -1, 0)
    return ((checked > 0) & ((tracked > 0) | (k == 0))).all(axis=-3)


def _split(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of counts (..., 2 periods, segments, steps after the first, 4 as in `_cohorts`) what is added to the overall rate, (..., segments, 1 + 2 steps):
    mix, behaviour of each step, tracking of each step; and what to each step's own rate, (..., steps, 3): mix, behaviour, tracking.
    """
    n, k, checked, tracked = np.moveaxis(cells, -1, 0)
    complete = np.where(_known(cells)[..., None, :, :], stats.rate(tracked, checked), 1.0)
    true = stats.rate(
        stats.rate(k, n), complete
    )  # missing, and so taken as unchanged, where nothing is tracked any more
    periods = [[a[..., p, :, :] for a in (n, true, complete)] for p in (0, 1)]
    overall = stats.kitagawa(
        *(x for n, b, c in periods for x in (n[..., 0], np.concatenate([b, c], axis=-1)))
    )
    own = stats.kitagawa(
        *(
            x
            for n, b, c in periods
            for x in (n.swapaxes(-1, -2), np.stack([b, c], axis=-1).swapaxes(-2, -3))
        )
    )
    return overall, own.sum(axis=-2)


def _tables(
    cells: np.ndarray,
    drawn: np.ndarray,
    segments: Sequence[str],
    labels: Sequence[str],
    n_accounts: float,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """total, parts and steps of the counts (buckets, 2, segments, steps, 4) and the bootstrap draws of their sums (draws, 2, ...)."""
    whole = cells.sum(axis=0)
    overall, own = _split(np.concatenate([whole[None], drawn]))  # the first is what was found
    n_draws, m = len(overall), whole.shape[2]
    unknown = ~_known(whole)
    split = np.stack(
        [overall[..., 0], overall[..., 1 : m + 1].sum(axis=-1), overall[..., m + 1 :].sum(axis=-1)],
        axis=-1,
    )
    split = np.concatenate([split.sum(axis=1, keepdims=True), split], axis=1)
    sizes = whole[:, :, 0, 0].astype(int)
    sizes = np.c_[sizes.sum(axis=1), sizes]
    blank = np.zeros(split.shape[1:], bool)
    blank[:, 2] = np.r_[unknown.all(), unknown.all(axis=1)]
    tested = ~blank & (sizes.min(axis=0) >= MIN_CELL)[:, None]
    tested[0] = False  # the sums are no tests of their own
    parts = pd.DataFrame(
        {
            "segment": np.repeat(["all", *segments], 3),
            "part": PARTS * (len(segments) + 1),
            "n_before": np.repeat(sizes[0], 3),
            "n_after": np.repeat(sizes[1], 3),
            **_with_interval("effect_rate", split, blank),
            "qvalue": stats.fdr(np.where(tested, _pvalue(split), np.nan).ravel()),
        }
    )

    none, each = np.full((n_draws, m), np.nan), overall.sum(axis=1)
    change = np.c_[none[:, 0], own.sum(axis=-1)]
    inside = np.c_[none[:, 0], own.reshape(n_draws, -1)]
    adds = np.c_[
        each[:, 0],
        np.stack([none, each[:, 1 : m + 1], each[:, m + 1 :]], axis=-1).reshape(n_draws, -1),
    ]
    blank = np.r_[False, ((np.arange(3) == 2) & unknown.all(axis=0)[:, None]).ravel()]
    n, k = (cells[..., i].sum(axis=2) for i in (0, 1))  # buckets, periods, steps
    n_0, n_1 = np.c_[sizes[:, 0], whole[..., 0].sum(axis=1)].astype(int)
    rates = {}  # of each step, there is none of step 1
    for p, name in enumerate(("before", "after")):
        rates |= {
            column: np.r_[np.nan, values]
            for column, values in _rates(f"{name}_rate", k[:, p], n[:, p], n_accounts)[0].items()
        }
    at = np.repeat(np.arange(m + 1), [1, *[3] * m])
    steps = pd.DataFrame(
        {
            "step": at + 1,
            "event": np.asarray(labels, object)[at],
            "part": ["mix", *PARTS * m],
            "n_before": n_0[at],
            "n_after": n_1[at],
            **{column: values[at] for column, values in rates.items()},
            **_with_interval("change_rate", change[:, at]),
            **_with_interval("effect_rate", inside, blank),
            **_with_interval("total_effect_rate", adds, blank),
        }
    )
    (before, effect_0), (after, effect_1) = (
        _rates(f"{name}_rate", k[:, p, -1:], n[:, p, :1], n_accounts)
        for p, name in enumerate(("before", "after"))
    )
    total = pd.DataFrame(
        {
            "n_before": n_0[:1],
            **before,
            "before_design_effect": effect_0,
            "n_after": n_1[:1],
            **after,
            "after_design_effect": effect_1,
            **_with_interval("change_rate", each.sum(axis=1, keepdims=True)),
            "n_accounts": n_accounts,
        }
    )
    return total, parts, steps


def _rates(
    name: str, k: np.ndarray, n: np.ndarray, n_accounts: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of a rate with its interval, and its design effect, from counts by bucket."""
    low, high, effect = stats.share_interval(k, n, n_accounts=n_accounts)
    return {
        name: stats.rate(k.sum(axis=0), n.sum(axis=0)),
        f"{name}_ci_lower": low,
        f"{name}_ci_upper": high,
    }, effect


def _with_interval(name: str, values: np.ndarray, blank: Any = False) -> dict[str, np.ndarray]:
    """Columns of what was found (the first of the values) with the interval of the draws (the others); NaN where ``blank``."""
    low, high = stats.percentile_interval(values[1:])
    return {
        name + end: np.where(blank, np.nan, v).ravel()
        for end, v in (("", values[0]), ("_ci_lower", low), ("_ci_upper", high))
    }


def _pvalue(values: np.ndarray) -> np.ndarray:
    """Two-sided p-value that what was found (the first) is 0, normal with the standard deviation of the draws (the others); 1 where these never differ, NaN where there are none."""
    from scipy.special import ndtr

    se = values[1:].std(axis=0)
    return 2 * ndtr(-np.divide(abs(values[0]), se, out=np.zeros_like(se), where=se != 0))


def _checks(
    cells: np.ndarray,
    segments: Sequence[str],
    steps: Sequence[Step],
    proof: Sequence[Proof],
    n_accounts: float,
) -> pd.DataFrame:
    """`Change.completeness`."""
    counts = (
        np.concatenate([cells.sum(axis=2, keepdims=True), cells[:, :, : len(segments)]], axis=2)[
            ..., 2:
        ]
        .astype(int)
        .transpose(0, 3, 2, 1, 4)
    )
    k, segment, period = (i.ravel() for i in np.indices(counts.shape[1:4]))
    keys = pd.DataFrame(
        {
            "step": k + 2,
            "event": [steps[i + 1].label for i in k],
            "segment": np.array(["all", *segments], object)[segment],
            "period": np.array(["before", "after"], object)[period],
            "source": [proof[i + 1].source for i in k],
        }
    )
    return completeness(
        keys, *counts.reshape(len(cells), len(keys), 2).transpose(2, 0, 1), n_accounts=n_accounts
    )


def _timeline(
    timeline: pd.DataFrame, steps: Sequence[Step], periods: Sequence[tuple[int, int]]
) -> pd.DataFrame:
    """`Change.timeline`."""
    first, change, last = (
        pd.Timestamp(us, unit="us").normalize()
        for us in (periods[0][0], periods[1][0], periods[1][1])
    )
    at = pd.to_datetime(timeline["day"])
    names = {n for s in steps for n in s.names}
    table = timeline[["day", "kind", "label"]].assign(
        distance_days=(at - change) / pd.Timedelta("1D"),
        names_step=[
            isinstance(e, str) and not names.isdisjoint(w.strip() for w in e.split(","))
            for e in timeline["micro_conversions"]
        ],
    )
    return table[(at >= first) & (at <= last)].sort_values(
        ["day", "kind", "label"], ignore_index=True
    )


# ------------------------------------------------------------------------------------------------------------------- words


def _listed(words: Sequence[str], most: int = 5) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _tracking_caveats(
    whole: np.ndarray,
    segments: Sequence[str],
    steps: Sequence[Step],
    proof: Sequence[Proof],
    required: Sequence[int],
) -> list[str]:
    """What is not known of the tracking, and what its estimates rest on."""
    known = _known(whole)
    labels = [s.label for s in steps[1:]]
    none, implied = (
        [label for label, p in zip(labels, proof[1:]) if p.source == source]
        for source in ("none", "implied")
    )
    hollow = [label for k, label in enumerate(labels, start=2) if label in none and k in required]
    out = []
    if asked := [label for label in none if label not in hollow]:
        out.append(
            f"Lost tracking of {_listed(asked)} is not known: backend has no record of it and no later step is said to require it. Behaviour may hold it."
        )
    if hollow:
        out.append(
            f"Lost tracking of {_listed(hollow)} is not known: backend has no record of it, and an event of this step or an earlier one may meet every later step too, "
            "so that none proves it. Behaviour may hold it."
        )
    if implied:
        out.append(
            f"Tracking of {_listed(implied)} is judged by later steps that require it, as if its events were lost alike for users who go on and "
            "users who stop."
        )
    for k, label in enumerate(labels):
        if label not in none and not known[:, k].all():
            where = f" in {_listed(segments[~known[:, k]])}" if known[:, k].any() else ""
            out.append(
                f"Lost tracking of {label} is not known{where}: too few users are known to have done it in both periods. Behaviour may hold it."
            )
        if len(gone := segments[known[:, k] & (whole[:, :, k, 3] == 0).any(axis=0)]):
            where = "" if len(gone) == len(segments) else f" in {_listed(gone)}"
            out.append(
                f"In one of the periods no {label} was tracked at all{where}: what users did at this step is not known there and taken as unchanged."
            )
    return out


def _account_caveats(total: pd.Series) -> list[str]:
    """Why there are no intervals."""
    if total["change_rate_ci_lower"] == total["change_rate_ci_lower"]:
        return []
    if total["n_accounts"] == total["n_accounts"]:
        return [
            phrases.too_few_accounts(
                f" ({total['n_accounts']:,.0f})"
                if total["n_accounts"] < stats.MIN_CLUSTERS
                else " before or after"
            )
        ]
    return [
        f"Fewer than {stats.MIN_CLUSTERS} groups of users: too few to say how far chance goes, so no interval is given."
    ]


def _test_caveats(parts: pd.DataFrame) -> list[str]:
    """How many tests were made and which of them hold."""
    tested = parts[parts["qvalue"].notna()]
    if tested.empty:
        return []
    held = tested[tested["qvalue"] < FALSE_DISCOVERIES].sort_values("qvalue", kind="stable")
    words = [
        f"{r['part']} in {r['segment']} (q = {r['qvalue']:.3f})".replace("q = 0.000", "q < 0.001")
        for _, r in held.iterrows()
    ]
    return [
        f"{len(tested)} tests were made, one for each part in each segment of {MIN_CELL} users or more in both periods; with false discoveries held to "
        f"{100 * FALSE_DISCOVERIES:.0f} %, {_listed(words) or 'none'} can be told from chance."
    ]


def _timeline_caveats(timeline: pd.DataFrame) -> list[str]:
    """The entries that name a step, else all of them, the nearest to the change first."""
    if timeline.empty:
        return []
    near = timeline[timeline["names_step"]] if timeline["names_step"].any() else timeline
    near = near.sort_values("distance_days", key=abs, kind="stable")
    said = [f"{r['kind']} on {r['day']:%Y-%m-%d} ({r['label']})" for _, r in near.iterrows()]
    return [f"Near in time, a coincidence and not a cause: {_listed(said, 3)}."]


def _change_finding(
    parts: pd.DataFrame, steps: pd.DataFrame, total: pd.Series, label: str, window: int
) -> str:
    """The change, its parts, and of the clear ones in words what they are and where they are strongest, the largest first."""
    whole = parts[parts["segment"] == "all"]
    sums = ", ".join(
        f"{r['part']} {phrases.points(r, 'effect_rate')}"
        if r["effect_rate"] == r["effect_rate"]
        else f"{r['part']} not known"
        for _, r in whole.iterrows()
    )
    unknown = whole["effect_rate_ci_lower"].isna().all()
    said = [
        MEANING[r["part"]][r["effect_rate"] < 0] + _where(r, parts, steps)
        for _, r in _clear(whole, "effect_rate").iterrows()
    ]
    if whole["effect_rate"].isna().any():  # no tracking is known
        said = [
            words.replace("less often", "less often, or their events were lost") for words in said
        ]
    return (
        f"The share of users reaching {label} within {phrases.window(window)} went from {phrases.share(total, 'before_rate')} to {phrases.share(total, 'after_rate')}, "
        f"{phrases.points(total, 'change_rate')}: {sums}. {'What moved it: ' + '; '.join(said) if said else 'What moved it cannot be told from chance' if unknown else 'No part is clear: every interval includes 0'}. "
        f"(Rule: first entries with a closed window, {total['n_before']:,.0f} before and {total['n_after']:,.0f} after; 95 % intervals"
        f"{phrases.in_accounts(total['n_accounts'], total['before_design_effect'], total['after_design_effect'])}.)"
    )


def _where(row: pd.Series, parts: pd.DataFrame, steps: pd.DataFrame) -> str:
    """The step and the segment in which a part pulls the same way most clearly strong; mix has no such place."""
    if row["part"] == "mix":
        return ""
    alike = lambda table, column: _clear(
        table[(table["part"] == row["part"]) & (table[column] * row["effect_rate"] > 0)], column
    ).head(1)  # noqa: E731
    places = (
        [
            f"at step {r['step']}, {r['event']},"
            for _, r in alike(steps, "total_effect_rate").iterrows()
        ]
        if steps["step"].max() > 2
        else []
    )
    places += [
        f"in {r['segment']}"
        for _, r in alike(parts[parts["qvalue"] < FALSE_DISCOVERIES], "effect_rate").iterrows()
    ]
    return f", most {' '.join(places).removesuffix(',')}" if places else ""


def _clear(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows whose interval leaves 0 out, the largest effect first."""
    apart = table[f"{column}_ci_lower"] * table[f"{column}_ci_upper"] > 0
    return table[apart].sort_values(column, key=abs, ascending=False, kind="stable")
