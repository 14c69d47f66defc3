"""What would another tool count? The same funnel under the documented rules of PostHog, ClickHouse, Mixpanel and Amplitude, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import MISSING, ParameterError, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import NOWHERE, Journeys, first_rows
from mctlib.eventlog.walk import walk_funnel

SECOND = 1_000_000
GRACE = 2 * SECOND
OURS, TOGETHER = "this workbook", "several together"
SWITCHES = {  # what may be set otherwise than in our rule
    "first": "only a user's first step 1 starts an attempt",
    "grace": "an event up to two seconds before the step it follows counts as after it",
    "reuse": "one event may fill several steps",
    "second": "times are rounded to seconds, and events of one second count in the order of the steps",
    "repeats": "events of one second that fit the same several steps count once",
}
TOOLS = {
    OURS: (),
    "PostHog": (),
    "ClickHouse": ("reuse",),
    "Mixpanel": ("first", "grace"),
    "Amplitude": ("second", "repeats"),
}
VERIFIED, DOCUMENTED = (
    "verified against public tests",
    "documented rule, not verified against the product",
)
STATUS = {
    tool: VERIFIED if tool in (OURS, "PostHog", "ClickHouse") else DOCUMENTED for tool in TOOLS
}
POSTHOG = "https://github.com/PostHog/posthog/blob/master/funnel-udf/src/steps.rs"
POSTHOG_TESTS = "https://github.com/PostHog/posthog/blob/master/posthog/hogql_queries/insights/funnels/test/test_funnel.py"
CLICKHOUSE = "https://clickhouse.com/docs/sql-reference/aggregate-functions/parametric-functions#windowfunnel"
CLICKHOUSE_CODE = "https://github.com/ClickHouse/ClickHouse/blob/master/src/AggregateFunctions/AggregateFunctionWindowFunnel.cpp"
MIXPANEL = "https://docs.mixpanel.com/docs/reports/funnels/funnels-advanced"
MIXPANEL_FAQ = "https://docs.mixpanel.com/docs/reports/funnels/funnels-faq#how-does-the-funnel-handle-simultaneous-events"
AMPLITUDE = (
    "https://amplitude.com/docs/analytics/charts/funnel-analysis/funnel-analysis-how-amplitude"
)
START, TIES, REUSE, EDGE = (
    "which step 1 starts the attempt",
    "events close in time",
    "one event for two steps",
    "end of the window",
)
RULES = (
    (
        OURS,
        START,
        "Every step 1 starts an attempt, and a user's deepest attempt counts.",
        "mctlib/journeys.py",
    ),
    (OURS, TIES, "Events of one moment count in the order of the steps.", "mctlib/journeys.py"),
    (
        OURS,
        REUSE,
        "An event fills one step: a step that is asked for twice needs two events.",
        "mctlib/journeys.py",
    ),
    (
        OURS,
        EDGE,
        "The window runs from step 1 of the attempt, its last moment included.",
        "mctlib/journeys.py",
    ),
    (
        "PostHog",
        START,
        "A later step 1 starts a new attempt, deeper steps keep the start they were reached from, and the furthest step counts.",
        POSTHOG,
    ),
    (
        "PostHog",
        TIES,
        "Events with the same timestamp are read in the order of the steps.",
        POSTHOG,
    ),
    (
        "PostHog",
        REUSE,
        "An event fills one step: a step that is asked for twice needs two events.",
        POSTHOG_TESTS,
    ),
    (
        "PostHog",
        EDGE,
        "The window runs from step 1 of the attempt, its last moment included.",
        POSTHOG_TESTS,
    ),
    (
        "ClickHouse",
        START,
        "Every event of the first condition moves the start of the window, and the longest chain counts.",
        CLICKHOUSE,
    ),
    (
        "ClickHouse",
        TIES,
        "Events of one time are read in the order of the conditions; strict_increase, which refuses equal times, is off by default.",
        CLICKHOUSE_CODE,
    ),
    (
        "ClickHouse",
        REUSE,
        "One event may fill several conditions in a row; strict_once, which forbids it, is off by default.",
        CLICKHOUSE_CODE,
    ),
    (
        "ClickHouse",
        EDGE,
        "The last moment is included, in the unit of the time column: microseconds here, whole seconds in a DateTime column.",
        CLICKHOUSE,
    ),
    (
        "Mixpanel",
        START,
        "Unique users enter once, at their first step 1; a later one starts nothing (Optimized Re-entry, which would change that, is off by default).",
        f"{MIXPANEL}#conversion-window",
    ),
    (
        "Mixpanel",
        TIES,
        "Consecutive steps within two seconds of one another count in either order.",
        MIXPANEL_FAQ,
    ),
    (
        "Mixpanel",
        REUSE,
        "The pages do not say whether one event may fill two steps; it is read as filling one.",
        MIXPANEL,
    ),
    (
        "Mixpanel",
        EDGE,
        "The window runs from the first step 1; the pages do not say whether its last moment counts, it is read as included.",
        f"{MIXPANEL}#conversion-window",
    ),
    (
        "Amplitude",
        START,
        "A user's earliest and most complete path counts, so a later step 1 may start it.",
        f"{AMPLITUDE}-computes-conversions",
    ),
    (
        "Amplitude",
        TIES,
        "Times are rounded to the nearest second, and different events of one second convert in either order (millisecond resolution is off by default).",
        f"{AMPLITUDE}-handles-simultaneous-events",
    ),
    (
        "Amplitude",
        REUSE,
        "An event fills one step of a path, and events of one type within one second count once; here: events that fit the same steps.",
        f"{AMPLITUDE}-handles-simultaneous-events",
    ),
    (
        "Amplitude",
        EDGE,
        "A day of the window is 24 hours; the pages do not say whether its last moment counts, it is read as included.",
        "https://amplitude.com/docs/analytics/charts/funnel-analysis/faq",
    ),
)


@dataclass(frozen=True)
class RuleComparison:
    """What `compare_rules` found; the columns of its tables are described there."""

    counts: pd.DataFrame
    differences: pd.DataFrame
    rules: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def compare_rules(
    log: EventLog, steps: Sequence[Any], *, window: str, as_of: Any
) -> RuleComparison:
    """One funnel of ordered steps under five rules: ours, PostHog's (sequential), ClickHouse's (windowFunnel without a mode), Mixpanel's (uniques, specific order)
    and Amplitude's (unique users, this order), each with its tool's defaults.

    ``steps``, ``window``, ``as_of``: see `diagnose_funnel`. Every rule is our walk with some switches set otherwise (`SWITCHES`, `TOOLS`), so that
    all tools count the same users at step 1. As on the tools' screens, users whose window is still open count as not there.

    ``.counts``: tool, step (from 1), event, n_reached (users whose attempt reached the step), reached_rate (of step 1, Wilson interval), design_effect, status,
    n_accounts (of the users at step 1). Where users sit in accounts (`log.accounts`), intervals are by hash bucket, where all users of an account are together
    (`stats.cluster_rate`); below 10 clusters (`stats.count_clusters`) there is none. `diagnose_funnel` goes by the accounts themselves: its intervals may differ a little ·
    ``.differences``: tool, reason, step, event, n_gained, n_lost: users whom the tool counts at the step and we do not, and the other way round; no row
    where both are 0. A user's reason is the first switch that, set alone, leads from our depth to the tool's; "several together" where none does. Over the
    reasons, gained minus lost is the difference of n_reached · ``.rules``: tool, aspect, rule, source (a public page or public code). Raises ParameterError.
    """
    matchers = log.steps(steps)
    window_us, end = as_window(window), log.as_of(as_of)
    kernel = partial(_count, n_steps=len(matchers), window=window_us, accounts=log.accounts)
    counts = log.reduce(kernel, events=matchers, by=log.accounts, as_of=as_of)
    accounts, counts = (counts[(counts["reason"] == "account") == which] for which in (True, False))
    labels = [m.label for m in matchers]
    ours = _by_bucket(counts[counts["reason"] == "reached"], "n_users", len(labels))
    if not ours.any():
        raise ParameterError(
            f"steps: nobody did step 1 ({matchers[0].label}) up to {phrases.day(end)}."
        )
    n_accounts = (accounts["tool"] != MISSING).sum() if log.accounts else np.nan
    table = pd.concat(
        [_reached(tool, ours, counts, labels, n_accounts) for tool in TOOLS], ignore_index=True
    )
    differences = counts.groupby(["tool", "reason", "step"], as_index=False)[
        ["n_gained", "n_lost"]
    ].sum()
    differences = differences[differences["n_gained"] + differences["n_lost"] > 0].assign(
        event=lambda d: [labels[k - 1] for k in d["step"]],
        reason=lambda d: d["reason"].map(SWITCHES).fillna(TOGETHER),
        order=lambda d: d["tool"].map(list(TOOLS).index),
    )
    differences = differences.sort_values(["order", "step", "reason"])[
        ["tool", "reason", "step", "event", "n_gained", "n_lost"]
    ].reset_index(drop=True)
    caveats = [f"The {s}" for s in log.missing_events(matchers)]
    said = counts.groupby("reason")["n_users"].sum()
    if said["open"]:
        caveats.append(
            f"Still inside the window of their first entry on {phrases.day(end)} and not at the last step: {phrases.users(said['open'])}. Every rule here counts them as "
            "not there, as the tools' screens do."
        )
    if said["knotted"]:
        caveats.append(
            f"Different events at one moment, and events that fit several steps: {phrases.users(said['knotted'])}. PostHog reads such a moment once and may lose an "
            "attempt that we keep; that is not imitated here."
        )
    if table["reached_rate_ci_lower"].isna().any():
        caveats.append(phrases.too_few_accounts(f" ({n_accounts})"))
    caveats.append(
        "The rules of Mixpanel and Amplitude are taken from their public pages; the products themselves were not asked."
    )
    rules = pd.DataFrame(RULES, columns=["tool", "aspect", "rule", "source"])
    return RuleComparison(
        table, differences, rules, _finding(table, differences, window_us), tuple(caveats)
    )


def _by_bucket(counts: pd.DataFrame, column: str, n_steps: int) -> np.ndarray:
    """What a column adds up to, (buckets, steps); one bucket where counts are not by bucket."""
    clustered = "bucket" in counts
    out = np.zeros((stats.N_BUCKETS if clustered else 1, n_steps), int)
    np.add.at(
        out,
        (counts["bucket"].to_numpy() if clustered else 0, counts["step"].to_numpy() - 1),
        counts[column].to_numpy(),
    )
    return out


def _reached(
    tool: str, ours: np.ndarray, counts: pd.DataFrame, labels: Sequence[str], n_accounts: float
) -> pd.DataFrame:
    """The rows of one tool in ``counts``."""
    gained, lost = (
        _by_bucket(counts[counts["tool"] == tool], column, len(labels))
        for column in ("n_gained", "n_lost")
    )
    by_bucket = ours + gained - lost
    low, high, effect = stats.share_interval(by_bucket, by_bucket[:, :1], n_accounts=n_accounts)
    low[0] = high[0] = 1.0  # everyone is at step 1: nothing was estimated
    n = by_bucket.sum(axis=0)
    return pd.DataFrame(
        {
            "tool": tool,
            "step": np.arange(1, len(n) + 1),
            "event": labels,
            "n_reached": n,
            "reached_rate": n / n[0],
            "reached_rate_ci_lower": low,
            "reached_rate_ci_upper": high,
            "design_effect": effect,
            "status": STATUS[tool],
            "n_accounts": n_accounts,
        }
    )


# ------------------------------------------------------------------------------------------------------------------------- counting


def _count(j: Journeys, *, n_steps: int, window: int, accounts: Sequence[str] = ()) -> pd.DataFrame:
    """tool, reason, step -> n_users, n_gained, n_lost. Our own rows hold n_users: reached (each step), open and knotted, see the caveats.

    Where users sit in ``accounts``: by bucket too, and rows of the reason "account", whose n_users with a step 1 stand under the account instead of a tool.
    """
    begun = np.flatnonzero(j.has(0))
    entry = begun[first_rows(j.user[begun])]
    start, (account, names) = j.time[entry], j.segments(entry, accounts)
    j = replace(j, dims={})  # nothing to carry along
    user, ours = _depth(j, n_steps, window)
    bucket = j.bucket_of(user) if accounts else np.zeros(len(user), np.int64)
    n_buckets = stats.N_BUCKETS if accounts else 1
    count = lambda some: np.bincount(bucket[some], minlength=n_buckets)  # noqa: E731
    none = np.zeros(n_buckets, int)
    several = j.mask & (j.mask - j.mask.dtype.type(1)) > 0
    mixed = (j.user[1:] == j.user[:-1]) & (j.time[1:] == j.time[:-1]) & (j.mask[1:] != j.mask[:-1])
    knotted = np.zeros(n_buckets, int)
    knotted[0] = len(np.intersect1d(j.user[several], j.user[1:][mixed]))
    rows = [(OURS, "reached", k, count(ours >= k), none, none) for k in range(1, n_steps + 1)]
    rows += [
        (OURS, "open", 1, count((start + window > j.as_of) & (ours < n_steps)), none, none),
        (OURS, "knotted", 1, knotted, none, none),
    ]
    for tool, switches in TOOLS.items():
        depth = _depth(j, n_steps, window, switches)[1] if switches else ours
        differ = np.flatnonzero(depth != ours)
        part, reason = j.take(np.isin(j.user, user[differ])), np.full(len(differ), TOGETHER, object)
        for switch in reversed(switches):
            alone = (
                _depth(part, n_steps, window, (switch,))[1] if len(switches) > 1 else depth[differ]
            )
            reason[alone == depth[differ]] = switch
        for why in sorted(set(reason)):
            mine = differ[reason == why]
            rows += [
                (
                    tool,
                    why,
                    k,
                    none,
                    count(mine[(depth[mine] >= k) & (ours[mine] < k)]),
                    count(mine[(depth[mine] < k) & (ours[mine] >= k)]),
                )
                for k in range(2, n_steps + 1)
            ]
    *keys, n_users, n_gained, n_lost = zip(*rows)
    table = pd.DataFrame(
        {
            **{
                name: np.repeat(key, n_buckets)
                for name, key in zip(("tool", "reason", "step"), keys)
            },
            "bucket": np.tile(np.arange(n_buckets), len(rows)),
            "n_users": np.concatenate(n_users),
            "n_gained": np.concatenate(n_gained),
            "n_lost": np.concatenate(n_lost),
        }
    )
    if not accounts:
        return table.drop(columns="bucket")
    own = pd.DataFrame(
        {
            "tool": names,
            "reason": "account",
            "step": 1,
            "bucket": 0,
            "n_users": np.bincount(account, minlength=len(names)),
            "n_gained": 0,
            "n_lost": 0,
        }
    )
    return pd.concat([table, own], ignore_index=True)


def _depth(
    j: Journeys, n_steps: int, window: int, switches: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The users with a step 1, ascending, and the step each of them reached, under our rule with some switches set."""
    if "repeats" in switches:
        j = _once_a_second(j)
    if "second" in switches:
        j = replace(j, time=_second(j.time) * SECOND)
    if "reuse" in switches:
        j = _one_row_a_step(j, n_steps)
    first = "first" in switches
    walk = walk_funnel(j, n_steps, window=window, first_only=first)
    depth = (walk.rows >= 0).sum(axis=1)
    return walk.user, np.maximum(
        depth, _depth_with_grace(j, n_steps, window, first)
    ) if "grace" in switches else depth


def _second(time: np.ndarray) -> np.ndarray:
    return (time + SECOND // 2) // SECOND


def _once_a_second(j: Journeys) -> Journeys:
    """Of rows of one user and second that fit the same several steps, only the first."""
    rows = np.flatnonzero(j.mask & (j.mask - j.mask.dtype.type(1)))
    keys = [j.mask[rows], _second(j.time[rows]), j.user[rows]]
    order = np.lexsort(keys)
    again = (
        np.logical_and.reduce([np.r_[False, key[order][1:] == key[order][:-1]] for key in keys])
        if len(rows)
        else []
    )
    return j.take(np.delete(np.arange(len(j)), rows[order][again])) if np.any(again) else j


def _one_row_a_step(j: Journeys, n_steps: int) -> Journeys:
    """Every row once for each step it fits."""
    one = j.mask.dtype.type(1)
    row, step = np.nonzero(j.mask[:, None] >> np.arange(n_steps, dtype=j.mask.dtype) & one)
    return replace(j.take(row), mask=one << step.astype(j.mask.dtype))


def _depth_with_grace(j: Journeys, n_steps: int, window: int, first_only: bool) -> np.ndarray:
    """The step that users reach when the next step may lie up to GRACE before the last one: from each start the first row that is left, step by step."""
    begun = np.flatnonzero(j.has(0))
    if first_only:
        begun = begun[first_rows(j.user[begun])]
    user, time = np.r_[j.user, NOWHERE], np.r_[j.time, 0]
    chain, who = np.full((n_steps, len(begun)), NOWHERE), np.arange(len(begun))
    chain[0] = begun
    for k in range(1, n_steps):
        rows = np.r_[np.flatnonzero(j.has(k)), len(j)]
        at = np.searchsorted(rows, _not_long_before(j, chain[k - 1, who]))
        while (used := (chain[:k, who] == rows[at]).any(axis=0)).any():
            at += used
        start, here = begun[who], rows[at]
        good = (user[here] == user[start]) & (time[here] - time[start] <= window)
        who = who[good]
        chain[k, who] = here[good]
    depth = (chain >= 0).sum(axis=0)
    return np.maximum.reduceat(depth, first_rows(j.user[begun])) if len(begun) else depth


def _not_long_before(j: Journeys, rows: np.ndarray) -> np.ndarray:
    """For each row the first row of its user that is not more than GRACE older."""
    low, active = rows.copy(), np.arange(len(rows))
    while len(active):
        row, before = rows[active], low[active] - 1
        active = active[
            (before >= 0)
            & (j.user[before] == j.user[row])
            & (j.time[before] >= j.time[row] - GRACE)
        ]
        low[active] -= 1
    return low


# ---------------------------------------------------------------------------------------------------------------------------- words


def _finding(counts: pd.DataFrame, differences: pd.DataFrame, window: int) -> str:
    last = counts[counts["step"] == counts["step"].max()].set_index("tool")
    ours = last.loc[OURS]
    more = last["n_reached"] - ours["n_reached"]
    said = ", ".join(
        f"{tool} {'the same' if not n else f'{abs(n):,} ' + ('more' if n > 0 else 'fewer')}"
        for tool, n in more.drop(OURS).items()
    )
    moved = differences.assign(n=differences["n_gained"] + differences["n_lost"])
    most = moved.loc[moved["n"].idxmax()] if len(moved) else None
    why = (
        "no user is counted differently by any of them"
        if most is None
        else (
            f"the largest single difference is {phrases.users(most['n'])} at {most['event']} in {most['tool']}, because {most['reason']}"
        )
    )
    return (
        f"Of {phrases.users(counts['n_reached'].iloc[0])} with {counts['event'].iloc[0]}, our rule counts {ours['n_reached']:,} at {ours['event']} within {phrases.window(window)}, "
        f"{phrases.share(ours, 'reached_rate')}; {said}; {why}. (Rule: any attempt, steps in order, each tool with its defaults; 95 % intervals{phrases.in_accounts(ours['n_accounts'], ours['design_effect'])}.)"
    )
