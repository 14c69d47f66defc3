"""What another tool would count: one funnel under the documented rules of five tools.

Every rule is our walk with some switches set otherwise (`SWITCHES`, `TOOLS`), so that all tools
count the same users at step 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numba import njit, types
from numpy.typing import NDArray

from mctlib import phrases, stats
from mctlib.cells import View
from mctlib.contract import ParameterError, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Ints, Journeys, first_rows
from mctlib.eventlog.steps import window_of
from mctlib.eventlog.walk import walk_funnel
from mctlib.funnel import narrative_rules
from mctlib.funnel.accounts import account_share, by_account
from mctlib.phrases import SECOND_US
from mctlib.results import Groups, Result

GRACE = 2 * SECOND_US
OURS, TOGETHER = "this workbook", "several together"
SWITCHES = {  # what may be set otherwise than in our rule
    "first": "only a user's first step 1 starts an attempt",
    "grace": "an event up to two seconds before the step it follows counts as after it",
    "reuse": "one event may fill several steps",
    "second": "times are rounded to seconds, and events of one second count in the order of the "
    "steps",
    "repeats": "events of one second that fit the same several steps count once",
}
TOOLS: dict[str, tuple[str, ...]] = {
    OURS: (),
    "PostHog": (),
    "ClickHouse": ("reuse",),
    "Mixpanel": ("first", "grace"),
    "Amplitude": ("second", "repeats"),
}
VERIFIED = "verified against public tests"
DOCUMENTED = "documented rule, not verified against the product"
STATUS = {tool: DOCUMENTED if tool in ("Mixpanel", "Amplitude") else VERIFIED for tool in TOOLS}

START = "which step 1 starts the attempt"
TIES = "events close in time"
REUSE = "one event for two steps"
EDGE = "end of the window"
HERE = "mctlib/eventlog/walk.py"
POSTHOG = "https://github.com/PostHog/posthog/blob/master/"
POSTHOG_STEPS = f"{POSTHOG}funnel-udf/src/steps.rs"
POSTHOG_TESTS = f"{POSTHOG}posthog/hogql_queries/insights/funnels/test/test_funnel.py"
CLICKHOUSE = "https://clickhouse.com/docs/sql-reference/aggregate-functions/"
WINDOW_FUNNEL = f"{CLICKHOUSE}parametric-functions#windowfunnel"
CLICKHOUSE_CODE = (
    "https://github.com/ClickHouse/ClickHouse/blob/master/"
    "src/AggregateFunctions/AggregateFunctionWindowFunnel.cpp"
)
MIXPANEL = "https://docs.mixpanel.com/docs/reports/funnels/"
MIXPANEL_RULES = f"{MIXPANEL}funnels-advanced"
MIXPANEL_TIES = f"{MIXPANEL}funnels-faq#how-does-the-funnel-handle-simultaneous-events"
AMPLITUDE = "https://amplitude.com/docs/analytics/charts/funnel-analysis/"
AMPLITUDE_RULES = f"{AMPLITUDE}funnel-analysis-how-amplitude-computes-conversions"
AMPLITUDE_TIES = f"{AMPLITUDE}funnel-analysis-how-amplitude-handles-simultaneous-events"
RULES = {  # (tool, aspect, source): rule
    (OURS, START, HERE): "Every step 1 starts an attempt, and a user's deepest attempt counts.",
    (OURS, TIES, HERE): "Events of one moment count in the order of the steps.",
    (OURS, REUSE, HERE): "An event fills one step: a step that is asked for twice needs two "
    "events.",
    (OURS, EDGE, HERE): "The window runs from step 1 of the attempt, its last moment included.",
    ("PostHog", START, POSTHOG_STEPS): "A later step 1 starts a new attempt, deeper steps keep the "
    "start they were reached from, and the furthest step counts.",
    ("PostHog", TIES, POSTHOG_STEPS): "Events with the same timestamp are read in the order of the "
    "steps.",
    ("PostHog", REUSE, POSTHOG_TESTS): "An event fills one step: a step that is asked for twice "
    "needs two events.",
    ("PostHog", EDGE, POSTHOG_TESTS): "The window runs from step 1 of the attempt, its last moment "
    "included.",
    ("ClickHouse", START, WINDOW_FUNNEL): "Every event of the first condition moves the start of "
    "the window, and the longest chain counts.",
    ("ClickHouse", TIES, CLICKHOUSE_CODE): "Events of one time are read in the order of the "
    "conditions; strict_increase, which refuses equal times, is off by default.",
    ("ClickHouse", REUSE, CLICKHOUSE_CODE): "One event may fill several conditions in a row; "
    "strict_once, which forbids it, is off by default.",
    ("ClickHouse", EDGE, WINDOW_FUNNEL): "The last moment is included, in the unit of the time "
    "column: microseconds here, whole seconds in a DateTime column.",
    ("Mixpanel", START, f"{MIXPANEL_RULES}#conversion-window"): "Unique users enter once, at their "
    "first step 1; a later one starts nothing (Optimized Re-entry, which would change that, is off "
    "by default).",
    ("Mixpanel", TIES, MIXPANEL_TIES): "Consecutive steps within two seconds of one another count "
    "in either order.",
    ("Mixpanel", REUSE, MIXPANEL_RULES): "The pages do not say whether one event may fill two "
    "steps; it is read as filling one.",
    ("Mixpanel", EDGE, f"{MIXPANEL_RULES}#conversion-window"): "The window runs from the first "
    "step 1; the pages do not say whether its last moment counts, it is read as included.",
    ("Amplitude", START, AMPLITUDE_RULES): "A user's earliest and most complete path counts, so a "
    "later step 1 may start it.",
    ("Amplitude", TIES, AMPLITUDE_TIES): "Times are rounded to the nearest second, and different "
    "events of one second convert in either order (millisecond resolution is off by default).",
    ("Amplitude", REUSE, AMPLITUDE_TIES): "An event fills one step of a path, and events of one "
    "type within one second count once; here: events that fit the same steps.",
    ("Amplitude", EDGE, f"{AMPLITUDE}faq"): "A day of the window is 24 hours; the pages do not say "
    "whether its last moment counts, it is read as included.",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class RuleComparison(Result):
    """Answer of `compare_rules`.

    ``counts``: one row a tool and step.

    ============== ===== ==========================================================================
    column         unit  meaning
    ============== ===== ==========================================================================
    tool, status         whose rule, and whether it was verified against public tests
    step, event          step counts from 1
    n_reached            users whose attempt reached the step
    reached_rate ± 0-1   of those at step 1
    design_effect  x     how many colleagues tell as much as one independent user
    n_accounts           in which the users at step 1 sit; NaN where nothing says so
    ============== ===== ==========================================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %); NaN below 10 clusters.
    ``differences`` (tool, reason, step, event, n_gained, n_lost): users whom the tool counts at the
    step and we do not, and the other way round; no row where both are 0. Over the reasons, gained
    minus lost is the difference of n_reached. ``rules`` (tool, aspect, rule, source): what the
    tool's public pages or code say.
    """

    counts: pd.DataFrame
    differences: pd.DataFrame
    rules: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {
        "counts": View("counts", ("tool", "step", "event", "n_reached", "reached_rate ±")),
    }
    main: ClassVar[str] = "counts"


def compare_rules(
    log: EventLog, steps: Sequence[Any], *, window: str = "", as_of: Any
) -> RuleComparison:
    """Count one funnel of ordered steps under five tools' rules, and say why they differ.

    Ours, PostHog's (sequential), ClickHouse's (windowFunnel without a mode), Mixpanel's (uniques,
    specific order) and Amplitude's (unique users, this order), each with its tool's defaults. As on
    the tools' screens, users whose window is still open count as not there.

    Parameters
    ----------
    log : EventLog
        Events, and perhaps accounts (``log.accounts``), which widen the intervals.
    steps, window, as_of
        See `diagnose_funnel`.

    Returns
    -------
    RuleComparison
        ``counts``, ``differences``, ``rules`` (columns: see `RuleComparison`).

    Raises
    ------
    ParameterError
        Fewer than two steps, or nobody did the first one.

    Notes
    -----
    Our own counts and shares are n_reached and naive_rate of `diagnose_funnel`. What
    reason a user gets: see `_reasons`.

    Examples
    --------
    >>> steps = ["signed_up", "interview_scheduled"]
    >>> found = compare_rules(log, steps, window="5d", as_of="2026-01-31")
    >>> found.counts["tool"].unique()[:3].tolist()
    ['this workbook', 'PostHog', 'ClickHouse']
    """
    matchers = log.steps(steps)
    labels = [m.label for m in matchers]
    window_us, end = window_of(matchers, window), log.as_of(as_of)
    kernel = partial(count_depths, n_steps=len(labels), window=window_us, accounts=log.accounts)
    tables = log.reduce(kernel, events=matchers, by=log.accounts, as_of=as_of)
    depths = tables["depths"]
    if depths.empty:
        raise ParameterError(f"steps: nobody did step 1 ({labels[0]}) up to {phrases.day(end)}.")
    counts = [_reached(tool, depths, labels, bool(log.accounts)) for tool in TOOLS]
    table = pd.concat(counts, ignore_index=True)
    differences = tool_differences(depths, labels)
    rules = [(tool, aspect, rule, source) for (tool, aspect, source), rule in RULES.items()]
    details, rule = narrative_rules.details(table, differences, window_us)
    caveats = narrative_rules.caveats(table, tables["asides"].iloc[0], end)
    missing = [f"The {words}" for words in log.missing_events(matchers)]
    return RuleComparison(
        counts=table,
        differences=differences,
        rules=pd.DataFrame(rules, columns=["tool", "aspect", "rule", "source"]),
        finding=narrative_rules.finding(table),
        details=(details,),
        rule=rule,
        caveats=(*log.caveats(as_of), *missing, *caveats),
        groups=(Groups.whole(f"users with {labels[0]}", table["n_reached"].iloc[0]),),
    )


def _reached(
    tool: str, depths: pd.DataFrame, labels: Sequence[str], in_accounts: bool
) -> pd.DataFrame:
    """The rows of one tool in ``counts``."""
    mine = depths[depths["tool"] == tool]
    stopped = by_account(mine, "n_users", (mine["depth"] - 1, len(labels)))
    # who stopped at a step or later has reached it
    reached = stopped[:, ::-1].cumsum(axis=1)[:, ::-1]
    n = reached.sum(axis=0).astype(int)
    low, high = stats.wilson(n, n[0])
    effect, n_accounts = np.full(len(n), np.nan), np.nan
    if in_accounts:
        shares = [account_share(reached[:, k], reached[:, 0]) for k in range(len(n))]
        low, high, effect, _ = np.array(shares).T
        n_accounts = float(np.count_nonzero(reached[1:, 0]))
    low[0] = high[0] = 1.0  # everyone is at step 1: nothing was estimated
    return pd.DataFrame(
        {
            "tool": tool,
            "step": np.arange(1, len(n) + 1),
            "event": labels,
            "n_reached": n,
            **interval_columns("reached_rate", n / n[0], low, high),
            "design_effect": effect,
            "status": STATUS[tool],
            "n_accounts": n_accounts,
        }
    )


def tool_differences(depths: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """`RuleComparison.differences`: at each step, users on one side of it and not the other."""
    moved = depths[depths["reason"] != ""]
    steps = pd.DataFrame({"step": np.arange(2, len(labels) + 1), "event": labels[1:]})
    each = moved.merge(steps, how="cross")
    here, there = each["our_depth"] >= each["step"], each["depth"] >= each["step"]
    each["n_gained"] = each["n_users"].where(there & ~here, 0)
    each["n_lost"] = each["n_users"].where(here & ~there, 0)
    each["reason"] = each["reason"].replace(SWITCHES)
    each["order"] = each["tool"].map(list(TOOLS).index)
    keys = ["order", "step", "reason", "tool", "event"]
    table = each.groupby(keys, as_index=False)[["n_gained", "n_lost"]].sum()
    table = table[table["n_gained"] + table["n_lost"] > 0].reset_index(drop=True)
    return table[["tool", "reason", "step", "event", "n_gained", "n_lost"]]


def count_depths(
    j: Journeys, *, n_steps: int, window: int, accounts: Sequence[str] = ()
) -> dict[str, pd.DataFrame]:
    """How deep users come under each tool's rule and under ours.

    "depths": tool, reason ("" where both are equally deep), account ("all" where there are none),
    our_depth, depth -> n_users · "asides": n_open (users inside the window of their first step 1
    and not at the last step), n_knotted (users with different events at one moment, and an event
    that fits several steps).
    """
    begun = np.flatnonzero(j.has(0))
    entry = begun[first_rows(j.user[begun])]
    still_open = j.time[entry] + window > j.as_of
    account, names = j.segments(entry, accounts)
    j = replace(j, dims={})  # nothing to carry along
    user, ours = user_depths(j, n_steps, window)
    parts = []
    for tool, switches in TOOLS.items():
        depth = user_depths(j, n_steps, window, switches)[1] if switches else ours
        users = {"reason": "", "account": account, "our_depth": ours, "depth": depth}
        part = pd.DataFrame(users).assign(n_users=1)
        differs = depth != ours
        if differs.any():
            some = j.take(np.isin(j.user, user[differs]))
            part.loc[differs, "reason"] = _reasons(some, n_steps, window, switches, depth[differs])
        parts.append(part.groupby(list(users), as_index=False).sum().assign(tool=tool))
    several = j.mask & (j.mask - j.mask.dtype.type(1)) > 0
    same_moment = (j.user[1:] == j.user[:-1]) & (j.time[1:] == j.time[:-1])
    mixed = same_moment & (j.mask[1:] != j.mask[:-1])
    n_knotted = len(np.intersect1d(j.user[several], j.user[1:][mixed]))
    n_open = int((still_open & (ours < n_steps)).sum())
    depths = pd.concat(parts, ignore_index=True)
    return {
        "depths": depths.assign(account=names[depths["account"]]),
        "asides": pd.DataFrame({"n_open": [n_open], "n_knotted": [n_knotted]}),
    }


def _reasons(
    j: Journeys, n_steps: int, window: int, switches: Sequence[str], depth: Ints
) -> NDArray[np.object_]:
    """Why a tool with these switches comes to these depths of the users, and we do not.

    The first switch that, set alone, leads from our depth to the tool's; TOGETHER where none does.
    A tool with one switch has no other reason.
    """
    if len(switches) == 1:
        return np.full(len(depth), switches[0], object)
    reason = np.full(len(depth), TOGETHER, object)
    for switch in reversed(switches):  # so that the first one has the last word
        alone = user_depths(j, n_steps, window, (switch,))[1]
        reason[alone == depth] = switch
    return reason


def user_depths(
    j: Journeys, n_steps: int, window: int, switches: Sequence[str] = ()
) -> tuple[Ints, Ints]:
    """The users with a step 1, ascending, and the step each reached, with some switches set."""
    if "repeats" in switches:
        j = _once_a_second(j)
    if "second" in switches:
        j = replace(j, time=_second(j.time) * SECOND_US)
    if "reuse" in switches:
        j = _one_row_a_step(j, n_steps)
    first_only = "first" in switches
    walk = walk_funnel(j, n_steps, window=window, first_only=first_only)
    depth = (walk.rows >= 0).sum(axis=1)
    if "grace" in switches:
        rows = j.user.astype(np.int64), j.time, j.mask.astype(np.uint64)
        depth = np.maximum(depth, _depth_with_grace(*rows, n_steps, window, first_only))
    return walk.user, depth


def _second(time: Ints) -> Ints:
    return (time + SECOND_US // 2) // SECOND_US


def _once_a_second(j: Journeys) -> Journeys:
    """Of rows of one user and second that fit the same several steps, only the first."""
    rows = np.flatnonzero(j.mask & (j.mask - j.mask.dtype.type(1)))
    same = {"user": j.user[rows], "second": _second(j.time[rows]), "mask": j.mask[rows]}
    again = pd.DataFrame(same).duplicated().to_numpy()
    return j.take(np.delete(np.arange(len(j)), rows[again]))


def _one_row_a_step(j: Journeys, n_steps: int) -> Journeys:
    """Every row once for each step it fits."""
    row, step = np.nonzero(np.column_stack([j.has(k) for k in range(n_steps)]))
    return replace(j.take(row), mask=j.mask.dtype.type(1) << step.astype(j.mask.dtype))


# a log's columns may be read-only, and parts of larger arrays
ROWS = types.Array(types.int64, 1, "A", readonly=True)
MASKS = types.Array(types.uint64, 1, "C", readonly=True)


@njit(
    types.int64[:](ROWS, ROWS, MASKS, types.int64, types.int64, types.boolean),
    cache=True,
    nogil=True,
)
def _depth_with_grace(
    user: Ints, time: Ints, mask: NDArray[np.uint64], n_steps: int, window: int, first_only: bool
) -> Ints:
    """The deepest step of each user with a step 1 when steps may lie up to GRACE too early.

    From every step 1 (``first_only``: the first one) each step is the user's first row that fits
    it, fills no other step, lies at most GRACE before the last one and within the window.
    """
    depths = np.empty(len(user), np.int64)
    chain = np.empty(n_steps, np.int64)  # the rows that fill the steps
    n_users = 0
    last_user = np.int64(-1)
    for start in range(len(user)):
        if not mask[start] & np.uint64(1):
            continue
        if user[start] != last_user:
            last_user = user[start]
            depths[n_users] = 1
            n_users += 1
        elif first_only:
            continue
        chain[0] = start
        reached = 1
        found = True
        while found and reached < n_steps:
            row = chain[reached - 1]
            earliest = time[row] - GRACE
            while row > 0 and user[row - 1] == last_user and time[row - 1] >= earliest:
                row -= 1
            found = False
            while row < len(user) and user[row] == last_user and time[row] - time[start] <= window:
                fits = mask[row] >> np.uint64(reached) & np.uint64(1)
                if fits and not (chain[:reached] == row).any():
                    chain[reached] = row
                    reached += 1
                    found = True
                    break
                row += 1
        depths[n_users - 1] = max(depths[n_users - 1], reached)
    return depths[:n_users]
