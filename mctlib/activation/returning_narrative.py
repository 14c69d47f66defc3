"""Retention in words: what a director reads, and what an analyst has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.headlines import (
    ANALYST,
    Action,
    Against,
    Headline,
    brief,
    named,
    ranged,
    upper,
    whose,
)
from mctlib.phrases import DAY_US, called

TOLD = 4  # the period whose share is told, or the last one before it that enough users are through


@dataclass(frozen=True)
class Returns:
    """Tables of a `Retention`, and what sentences need beside them."""

    curve: pd.DataFrame
    intervals: pd.DataFrame
    apart: pd.DataFrame  # segments against all others
    start: str
    returns: str
    acts: str
    period: int  # microseconds
    at_least: int
    n_started: int
    by_account: bool
    said: tuple[str, ...]

    @staticmethod
    def told_period(curve: pd.DataFrame) -> int:
        """Which period is told; 0 where none is known."""
        known = curve.loc[(curve["segment"] == "all") & (curve["period"] <= TOLD), "period"]
        return int(known.max()) if len(known) else 0

    def name(self, k: int) -> str:
        """A period as people call it: "week 4"."""
        return phrases.period_name(self.period, k)


def told_returns(of: Returns) -> dict[str, Any]:
    """The fields of a `Result` that stand beside the tables."""
    k = of.told_period(of.curve)
    rule = _rule(of)
    if not k:
        finding = brief(f"Nobody can have come back for {named(of.returns)} yet", ": too few users")
        return {"finding": finding, "rule": rule, "caveats": of.said}
    row = of.curve[(of.curve["segment"] == "all") & (of.curve["period"] == k)].iloc[0]
    share = f"{100 * row['retained_rate']:.0f} of 100 users"
    worst = _worst(of)
    beside = ""
    if worst is not None:
        rate = 100 * worst["retained_rate"]
        beside = f"; of {whose('', worst['segment'])} {rate:.0f}"
    return {
        "finding": brief(f"{share} come back for {named(of.returns)} in {of.name(k)}", beside),
        "headlines": _headlines(of, row, worst, k),
        "actions": _actions(of, worst, k),
        "tells": _tells(of, row, k),
        "how_sure": phrases.that_hold([(of.by_account, "Counted per account.")]),
        "details": _details(of, row, k),
        "rule": rule,
        "caveats": (*of.said, *_caveats(of, row, k)),
    }


def _rule(of: Returns) -> str:
    often = f" at least {of.at_least} times" if of.at_least > 1 else ""
    return (
        f"Retained in period k: {of.returns}{often} from k to before k + 1 times "
        f"{phrases.window(of.period)} after the first {of.start}; of users whose period k is over."
    )


def _worst(of: Returns) -> pd.Series | None:
    """The segment that clearly comes back least, against all others; None without one."""
    if of.apart.empty:
        return None
    low, high = (of.apart[f"difference_rate_ci_{end}"] for end in ("lower", "upper"))
    less = of.apart[stats.differs(low, high, of.apart["qvalue"]) & (high < 0)]
    return less.loc[less["difference_rate"].idxmin()] if len(less) else None


def _headlines(
    of: Returns, row: pd.Series, worst: pd.Series | None, k: int
) -> tuple[Headline, ...]:
    label = f"Users who come back in {of.name(k)}"
    n_users = int(row["n_users"])
    level = Headline(
        name="retention", label=label, **ranged(row, "retained_rate", 100), unit="%", n=n_users
    )
    if worst is None:
        return (level,)
    others = worst["retained_rate"] - worst["difference_rate"]
    return (
        level,
        Headline(
            name="least retained",
            label=f"{upper(whose('', worst['segment']))} who come back in {of.name(k)}",
            **ranged(worst, "retained_rate", 100),
            unit="%",
            against=Against("group", 100 * others, "others"),
            verdict="sure",
            tone="unwanted",
        ),
    )


def _actions(of: Returns, worst: pd.Series | None, k: int) -> tuple[Action, ...]:
    if worst is None:
        return ()
    text = f"Find out why fewer {whose('', worst['segment'])} come back in {of.name(k)}."
    size = phrases.points(worst, "difference_rate").split(" (")[0]
    return (Action(text=text, role=of.acts or ANALYST, about="least retained", size=size),)


def _tells(of: Returns, row: pd.Series, k: int) -> dict[str, str]:
    told = {"curve": f"{100 * row['retained_rate']:.0f} % come back in {of.name(k)}"}
    cohorts = of.curve[(of.curve["segment"] != "all") & (of.curve["period"] == k)]
    if len(cohorts) > 1:
        first, last = cohorts["retained_rate"].iloc[[0, -1]]
        since, until = _cohorts(cohorts["segment"])
        told["cohorts"] = (
            f"in {of.name(k)} from {100 * first:.0f} % ({since}) to {100 * last:.0f} % ({until})"
        )
    return told


def _cohorts(segments: pd.Series) -> list[str]:
    """The first and the last cohort in words: "October 2025" where they are months."""
    days = pd.to_datetime(segments, format="%Y-%m-%d", errors="coerce")
    if (days.dt.day == 1).all():
        return [f"{day:%B %Y}" for day in days.iloc[[0, -1]]]
    return [called(name) for name in segments.iloc[[0, -1]]]


def _details(of: Returns, row: pd.Series, k: int) -> tuple[str, ...]:
    found = [f"In {of.name(k)} {phrases.share(row, 'retained_rate')} come back."]
    usual = of.intervals[of.intervals["segment"] == "all"]
    if len(usual):
        half, most = usual.iloc[0][["median_days", "p75_days"]]
        found.append(
            f"Of users with {of.returns} on two days or more, half come every "
            f"{phrases.duration(half)} or sooner, three quarters every {phrases.duration(most)}."
        )
    return tuple(found)


def _caveats(of: Returns, row: pd.Series, k: int) -> tuple[str, ...]:
    usual = of.intervals.loc[of.intervals["segment"] == "all", "median_days"]
    longer = bool(len(usual)) and usual.iloc[0] * DAY_US > of.period
    return phrases.that_hold(
        [
            (
                row["n_pending"],
                f"{row['n_pending']:,.0f} of {phrases.users(of.n_started)} are not through "
                f"{of.name(k)} yet and count neither as back nor as lost.",
            ),
            (
                longer,
                f"A period of {phrases.window(of.period)} is shorter than the usual time between "
                "two returns; a longer one would show more come back.",
            ),
            (
                np.isnan(row["retained_rate_ci_lower"]),
                phrases.too_few_accounts(""),
            ),
        ]
    )
