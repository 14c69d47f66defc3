"""What goes with a shorter wait, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.narrative import ENDS
from mctlib.phrases import DAY_US


@dataclass(frozen=True, kw_only=True)
class Early:
    """What the sentences of `landmark_activation` are made of, beside its table."""

    roles: Mapping[str, str]  # role -> the event, in words
    landmark: int  # the first one, us
    horizon: int
    by_account: bool
    said: tuple[str, ...] = ()  # caveats of the events asked for
    n_signals: int = 0  # events that are looked at
    n_more: int = 0  # events that are not
    n_waiting: int = 0
    n_started: int = 0
    strata: tuple[int, int] = (0, 0)  # at worst used, of how many
    too_few: str = ""  # accounts


def landmark_rule(table: pd.DataFrame, early: Early) -> str:
    """How the signals were compared."""
    tests = phrases.count(table["logrank_pvalue"].notna().sum(), "test")
    return (
        f"Landmark {phrases.window(early.landmark)} after the first {early.roles['start']}: users "
        "still waiting then, sorted by what they had done by then, and followed to "
        f"{phrases.window(early.horizon)} after the start; log-rank, 5 % false discovery rate over "
        f"{tests}{', errors by account' if early.by_account else ''}."
    )


def landmark_finding(table: pd.DataFrame, early: Early, why: str) -> str:
    """The clearest saving, or that there is none; ``why``: nothing can be compared."""
    first = table["landmark_days"] == early.landmark / DAY_US
    head = table[first & table["logrank_pvalue"].notna()]
    within, goal = f"in the first {phrases.window(early.landmark)}", early.roles["activation"]
    if head.empty:
        if not why and table.empty:
            why = (
                f"{stats.MIN_USERS} users and {stats.MIN_SHARE:.0%} must have had it, and as many "
                "not; a later landmark may find some"
            )
        why = why or f"too few users are followed, or none of them reaches {goal} later"
        return f"No early micro-conversion {within} can be compared: {why}."
    sooner = head[_clear(head) & (head["rmst_difference_days"] < 0)]
    if sooner.empty:
        return (
            f"None of the {len(head)} early micro-conversions {within} goes with a clearly shorter "
            f"way to {goal}."
        )
    row = sooner.iloc[0]
    per_day = phrases.unit_of(row["horizon_days"]).per_day
    value, high, low = (-row[f"rmst_difference_days{end}"] * per_day for end in ENDS)
    saved = f"{value:.1f}" + (f" ({low:.1f} to {high:.1f})" if low == low else "")
    without = f"{100 * row['unexposed_rate']:.1f} % without"
    if not row["unexposed_rate"] > 0:
        of = phrases.users(row["n_unexposed"])
        without = f"nobody without (of {of}; so the days have no interval)"
    return (
        f"{len(sooner)} of {len(head)} early micro-conversions {within} "
        f"go{'es' * (len(sooner) == 1)} with a shorter way to {goal}. The largest: users with "
        f"{row['signal']} spend {saved} fewer of the next "
        f"{phrases.duration(row['horizon_days'])} not activated, and "
        f"{100 * row['exposed_rate']:.1f} % of them reach it, against {without}."
    )


def landmark_caveats(table: pd.DataFrame, early: Early) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    head = table[table["landmark_days"] == early.landmark / DAY_US]
    saves = _clear(head) & (head["rmst_difference_days"] < 0)
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
                    "Strata with fewer than 10 users on one side are left out of the stratified "
                    f"figures (at worst {used} of {n_strata} are used).",
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
        if signs.nunique() > 1 and _clear(part).any():
            told = "; ".join(
                f"{row['rmst_difference_days']:+.1f} days at day {row['landmark_days']:g}"
                for _, row in part.iterrows()
            )
            out.append(
                f"{signal} points in different directions at different landmarks ({told}): no "
                "conclusion."
            )
    return out


def _clear(table: pd.DataFrame) -> pd.Series:
    """Rows whose difference in days stands.

    By the log-rank test after false-discovery control, and an interval that does not hold zero; a
    side without an activation has none.
    """
    ends = table["rmst_difference_days_ci_lower"] * table["rmst_difference_days_ci_upper"]
    return (table["qvalue"] < 0.05) & ~(ends <= 0)
