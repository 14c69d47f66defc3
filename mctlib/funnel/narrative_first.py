"""What a director reads first of `diagnose_funnel`: one sentence, its numbers, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import as_window
from mctlib.eventlog.steps import Aim, Step
from mctlib.funnel.narrative import Told
from mctlib.headlines import (
    ANALYST,
    TIGHT,
    Action,
    Against,
    Headline,
    brief,
    day,
    named,
    ranged,
    upper,
    whose,
)
from mctlib.results import TIME

MOST_GO_ON = 0.995  # from here on nobody stops at a step
MOST_STEPS = 4  # named in a row


def read_first(funnel: Told) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    apart = _apart(funnel)
    return {
        "finding": _finding(funnel, apart),
        "headlines": (_level(funnel), *map(_behind, apart)),
        "actions": _actions(funnel, apart),
        "tells": _tells(funnel),
        "how_sure": _how_sure(funnel),
    }


def _known(last: pd.Series) -> str:
    """The column of the share that can be told: of the whole window, else so far."""
    return "horizon_rate" if np.isnan(last["conversion_rate"]) else "conversion_rate"


def _span(funnel: Told, last: pd.Series) -> str:
    if np.isnan(last["conversion_rate"]) and not np.isnan(last["horizon_rate"]):
        return f"{phrases.duration(last['horizon_days'])}, so far"
    return phrases.window(funnel.rule.window)


def aim(steps: Sequence[Step], window: int) -> Aim | None:
    """The plan's target of the last step, where just that is asked: from where, how long."""
    first, last = steps[0], steps[-1]
    asked = last.target and first == last.target.start and as_window(last.within) == window
    return last.target if asked else None


def held_against(level: Headline, goal: Aim | None) -> Headline:
    """A share, compared with the target."""
    if goal is None or level.value is None or level.low is None or level.high is None:
        return level
    want = 100 * goal.rate
    apart = round(level.value - want)
    sure = not level.low <= want <= level.high
    said = f"{phrases.count(abs(apart), 'point')} {'above' if apart > 0 else 'below'}"
    return replace(
        level,
        against=Against("target", want, "target"),
        verdict="sure" if sure else "not clear",
        tone=("wanted" if level.value > want else "unwanted") if sure else "neutral",
        note=f"{said if apart else 'at'} the target: {want:.0f}{TIGHT}%",
    )


def _level(funnel: Told) -> Headline:
    last = funnel.total.iloc[-1]
    level = Headline(
        name="rate",
        label=f"Users with {named(funnel.names[-1])} in {_span(funnel, last)}",
        **ranged(last, _known(last), 100),
        unit="%",
        n=funnel.n_entered,
    )
    return held_against(level, aim(funnel.asked.steps, funnel.rule.window))


def _apart(funnel: Told) -> list[pd.Series]:
    """The segment that falls behind most among those that surely do; none, or one."""
    ends = funnel.ends
    if ends.empty or set(funnel.rule.by) & set(TIME):  # weeks and months follow each other
        return []
    behind = ends[ends["differs"].eq(True) & (ends["difference_rate"] < 0)]
    lowest = behind.nsmallest(1, "difference_rate")
    return [row for _, row in lowest.assign(key=" \u00b7 ".join(funnel.rule.by)).iterrows()]


def _behind(row: pd.Series) -> Headline:
    others = row["conversion_rate"] - row["difference_rate"]
    return Headline(
        name="behind",
        label=f"{upper(whose(row['key'], row['segment']))} with {named(row['event'])}",
        **ranged(row, "conversion_rate", 100),
        unit="%",
        n=int(row["n_entered"]),
        against=Against("group", 100 * others, "others"),
        verdict="sure",
        tone="unwanted",
        act=True,
        note=f"{phrases.count(round(-100 * row['difference_rate']), 'point')} behind",
    )


def _finding(funnel: Told, apart: list[pd.Series]) -> str:
    last, goal = funnel.total.iloc[-1], named(funnel.names[-1])
    if not funnel.n_entered:
        return brief("Nobody is left to count: the exclusion takes out every first attempt")
    rate = last[_known(last)]
    if np.isnan(rate):
        return brief(f"How many users reach {goal} is not known yet: too few were followed")
    first = f"{100 * rate:.1f} % of users reach {goal} within {_span(funnel, last)}"
    more = []
    k = _weakest(funnel)
    if k:
        more.append(f"; fewest go on from {_between(funnel, k)}")
    more += [f", {whose(row['key'], row['segment'])} least" for row in apart]
    return brief(first, *more)


def _weakest(funnel: Told) -> int | None:
    """The step to which the smallest share goes on, where there is a choice."""
    total = funnel.total
    least = stats.MIN_WAITING if funnel.counts["all"].n_open[0] else 0
    known = total["step_rate"].where(total["n_closed"] >= least)
    return None if len(total) < 3 or not known.min() < MOST_GO_ON else int(known.idxmin())


def _between(funnel: Told, k: int) -> str:
    before = int(funnel.rule.previous[k])
    return f"{named(funnel.names[before])} to {named(funnel.names[k])}"


def _actions(funnel: Told, apart: list[pd.Series]) -> tuple[Action, ...]:
    """Find out why the segment stops where it loses most, else why everybody does."""
    k = _weakest(funnel)
    for segment in apart:
        rows = funnel.steps[funnel.steps["segment"] == segment["segment"]]
        rows = rows.reset_index(drop=True)
        enough = rows["n_closed"] >= stats.MIN_USERS
        lost = (rows["step_rate"] - funnel.total["step_rate"]).where(enough)
        if lost.notna().any():
            at = int(lost.idxmin())
            of_all = f"of all users {100 * funnel.total['step_rate'][at]:.0f} %"
            who, share = whose(segment["key"], segment["segment"]), rows["step_rate"][at]
            return (_find_out(funnel, at, who, f"{100 * share:.0f} % go on, {of_all}"),)
    if k is None:
        return ()
    share = funnel.total["step_rate"][k]
    return (_find_out(funnel, k, "users", f"{100 * share:.0f} % go on"),)


def _find_out(funnel: Told, k: int, who: str, how_many: str) -> Action:
    before = named(funnel.names[int(funnel.rule.previous[k])])
    about = "" if who == "users" else "behind"
    role = funnel.asked.steps[k].acts or ANALYST
    text = f"Find out why {who} stop after {before}."
    return Action(text=text, role=role, about=about, size=how_many)


def _tells(funnel: Told) -> dict[str, str]:
    last = _known(funnel.total.iloc[-1])
    rates = 100 * funnel.total[last].iloc[1:]
    reached = [f"{rate:.0f} reach {named(name)}" for rate, name in zip(rates, funnel.names[1:])]
    said = {"steps": f"of 100 users {phrases.listed(reached[-MOST_STEPS:])}"}
    if rates.isna().any():
        said = {"steps": "too few were followed to tell yet"}
    ends = funnel.ends.dropna(subset="conversion_rate")
    if len(ends) and set(funnel.rule.by) & set(TIME):
        said["weeks"] = _course(ends.sort_values("segment"), funnel.rule.by[0])
    elif len(ends):
        told_apart = ends[ends["differs"].eq(True)]
        said["segments"] = _spread(ends) if len(told_apart) else "no clear difference"
    said["times"] = _waits(funnel)
    return said


def _spread(ends: pd.DataFrame) -> str:
    low = ends.loc[ends["conversion_rate"].idxmin()]
    high = ends.loc[ends["conversion_rate"].idxmax()]
    said = [
        f"{100 * row['conversion_rate']:.1f} % ({phrases.called(row['segment'])})"
        for row in (low, high)
    ]
    return f"from {said[0]} to {said[1]}"


def _course(ends: pd.DataFrame, key: str) -> str:
    first, last = ends.iloc[0], ends.iloc[-1]
    said = [
        f"{100 * row['conversion_rate']:.1f} % in the {key} of {day(row['segment'][:10])}"
        for row in (first, last)
    ]
    return f"from {said[0]} to {said[1]}"


def _waits(funnel: Told) -> str:
    """How long the slower half of a step takes, for the slowest that is known."""
    known = funnel.total["median_days"].iloc[1:].dropna()
    if known.empty:
        return "fewer than half go on to any step"
    k = int(known.idxmax())
    return f"half go on to {named(funnel.names[k])} within {phrases.duration(known[k])}"


def _how_sure(funnel: Told) -> tuple[str, ...]:
    last = funnel.total.iloc[-1]
    pending, window = int(last["n_pending"]), phrases.window(funnel.rule.window)
    still = (
        f"{phrases.users(pending)} still have time in their {window}; they are not counted as lost."
    )
    skipped = [
        f"{phrases.users(n)} did a later step but never {named(name)}: lost events?"
        for k, name in enumerate(funnel.total["event"], 1)
        if (n := funnel.checks.n("skipped", k)) > 0.01 * funnel.n_entered
    ]
    accounts = last["n_accounts"] > 0
    said = [(accounts, "Counted per account."), (pending, still), (skipped, " ".join(skipped[:1]))]
    return phrases.that_hold(said)
