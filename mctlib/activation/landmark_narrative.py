"""What goes with a shorter wait, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.differences import clear, crosses
from mctlib.contract import ENDS
from mctlib.phrases import DAY_US


@dataclass(frozen=True, kw_only=True)
class Early:
    """What the sentences of `landmark_activation` are made of, beside its table."""

    roles: Mapping[str, str]  # role -> the event, in words
    landmark: int  # the first one, us
    horizon: int
    by_account: bool
    acts: Mapping[str, str] = field(default_factory=dict)  # signal -> who is told first of it
    said: tuple[str, ...] = ()  # caveats of the events asked for
    n_signals: int = 0  # events that are looked at
    n_more: int = 0  # events that are not
    n_waiting: int = 0
    n_started: int = 0
    strata: tuple[int, int] = (0, 0)  # at worst used, of how many
    too_few: str = ""  # accounts


def landmark_rule(table: pd.DataFrame, early: Early) -> str:
    """How the signals were compared."""
    tests = phrases.count(table["pvalue"].notna().sum(), "test")
    return (
        f"Landmark {phrases.window(early.landmark)} after the first {early.roles['start']}: users "
        "still waiting then, sorted by what they had done by then, and followed to "
        f"{phrases.window(early.horizon)} after the start; by the days not activated, 5 % false "
        f"discovery rate over {tests}{', errors by account' if early.by_account else ''}."
    )


def landmark_finding(table: pd.DataFrame, early: Early, why: str) -> str:
    """What goes with a shorter and what with a longer way; ``why``: nothing can be compared."""
    first = table["landmark_days"] == early.landmark / DAY_US
    head = table[first & table["pvalue"].notna()]
    within, goal = f"in the first {phrases.window(early.landmark)}", early.roles["activation"]
    if head.empty:
        if not why and table.empty:
            why = (
                f"{stats.MIN_USERS} users and {100 * stats.MIN_SHARE:.0f} % must have had it, and "
                "as many not; a later landmark may find some"
            )
        why = why or f"too few users are followed, or none of them reaches {goal} later"
        return f"No early micro-conversion {within} can be compared: {why}."
    named = head[clear(head)]
    if named.empty:
        return (
            f"None of the {len(head)} early micro-conversions {within} goes with a clearly shorter "
            f"or longer way to {goal}."
        )
    saves = named["rmst_difference_days"] < 0
    shorter, longer = named[saves], named[~saves].iloc[::-1]  # either by size
    main, way = (shorter, "shorter") if len(shorter) else (longer, "longer")
    text = (
        f"{len(main)} of {len(head)} early micro-conversions {within} go{'es' * (len(main) == 1)} "
        f"with a {way} way to {goal}"
    )
    if len(shorter) and len(longer):
        text += f", {len(longer)} with a longer one"
    text += f". The largest: {_told(main.iloc[0])}"
    if len(shorter) and len(longer):
        text += f"; the largest delay: {_told(longer.iloc[0])}"
    return f"{text}."


def _told(row: pd.Series) -> str:
    """The days that go with a signal, and how many reach the goal with it and without."""
    per_day = phrases.unit_of(row["horizon_days"]).per_day
    days = [abs(row[f"rmst_difference_days{end}"]) * per_day for end in ENDS]
    way = "fewer" if row["rmst_difference_days"] < 0 else "more"
    with_it, without = (
        f"{100 * row[f'{side}_rate']:.1f} %" if row[f"{side}_rate"] > 0 else "nobody"
        for side in ("exposed", "unexposed")
    )
    but = "but" if crosses(row, "effect_rate", named=True) else "and"
    return (
        f"users with {row['signal']} spend {days[0]:.1f} ({min(days[1:]):.1f} to "
        f"{max(days[1:]):.1f}) {way} of the next {phrases.duration(row['horizon_days'])} not "
        f"activated, {but} {with_it} of them reach{'es' * (with_it == 'nobody')} it, against "
        f"{without} without"
    )


def landmark_caveats(table: pd.DataFrame, early: Early) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    head = table[table["landmark_days"] == early.landmark / DAY_US]
    saves = clear(head) & (head["rmst_difference_days"] < 0)
    naive = head["naive_effect_rate_ci_lower"] > 0
    vanity = head[naive & ~saves & (head["effect_rate_ci_lower"] <= 0)]
    vanity = vanity.sort_values("naive_effect_rate", ascending=False)
    told = [
        f"{row['signal']} {100 * row['naive_effect_rate']:+.1f}, after the landmark "
        f"{phrases.points(row, 'effect_rate')}"
        for _, row in vanity.head(2).iterrows()
    ]
    used, n_strata = early.strata
    return (
        *early.said,
        *phrases.that_hold(
            [
                (
                    early.n_more,
                    f"Only the {early.n_signals} events that most users have are looked at; "
                    f"{early.n_more} are not.",
                ),
                (
                    early.n_waiting,
                    f"Compared are the {early.n_waiting:,} of {phrases.users(early.n_started)} "
                    f"still waiting and in view {phrases.window(early.landmark)} after "
                    f"{early.roles['start']}. Who acts early may differ in other ways: an "
                    "experiment would tell.",
                ),
                (
                    told,
                    "Good only while who ever did it is set against who never did, where staying "
                    f"long enough to do it counts in its favour: {'; '.join(told)}.",
                ),
            ]
        ),
        *_turning(table),
        *phrases.that_hold(
            [
                (
                    used < n_strata,
                    f"Strata with fewer than {stats.MIN_WAITING} users of one side still waiting "
                    f"then are left out of the stratified figures (at worst {used} of {n_strata} "
                    "are used).",
                ),
                (early.too_few, early.too_few),
            ]
        ),
    )


def _turning(table: pd.DataFrame) -> list[str]:
    """Signals that save days at one landmark and cost days at another."""
    out = []
    for signal, part in table.groupby("signal", sort=False):
        signs = part["rmst_difference_days"].dropna() > 0
        if signs.nunique() > 1 and clear(part).any():
            told = "; ".join(
                f"{row['rmst_difference_days']:+.1f} days at day {row['landmark_days']:g}"
                for _, row in part.iterrows()
            )
            out.append(
                f"{signal} points in different directions at different landmarks ({told}): no "
                "conclusion."
            )
    return out
