"""What a director reads first of the waits of users: one sentence, its numbers, what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases
from mctlib.activation.differences import clear, compare_shares
from mctlib.activation.landmark_narrative import Early
from mctlib.activation.narrative import Waits
from mctlib.activation.survival_groups import Group
from mctlib.contract import ENDS, interval_columns
from mctlib.headlines import (
    ANALYST,
    Action,
    Against,
    Headline,
    Tone,
    brief,
    named,
    ranged,
    upper,
    whose,
)
from mctlib.results import TIME

ALIKE = 0.02  # a difference of shares below this is "about as many"
MOST_TOLD = 5  # curves; of more the first and the last
MOST_LETTERS = 54  # of two lines of a label


def read_first(waits: Waits, key: str) -> dict[str, Any]:
    """The fields of an `Activation` that stand above the tables."""
    row = _widest(waits)
    headlines = _level(waits) if row is None else _gap(waits, row, key)
    return {
        "finding": _finding(waits, row, key),
        "headlines": tuple(headlines),
        "actions": () if row is None else tuple(_actions(waits, row, key)),
        "tells": _tells(waits, row, key),
        "how_sure": _how_sure(waits),
    }


def _widest(waits: Waits) -> pd.Series | None:
    """The contrast that is told: the widest of those that are sure, else of all."""
    known = waits.contrasts[waits.contrasts["rmst_difference_days_ci_lower"].notna()]
    of = known[clear(known)] if clear(known).any() else known
    if of.empty:
        return None
    return of.loc[(of["rmst_difference_days"].abs() / of["horizon_days"]).idxmax()]


def _sure(waits: Waits, row: pd.Series) -> bool:
    return bool(clear(waits.contrasts)[row.name])


def _rate(group: Group, days: float) -> dict[str, float]:
    return interval_columns("rate", *group.rate(days))


def _goal(waits: Waits) -> str:
    return named(waits.roles["activation"])


def _level(waits: Waits) -> list[Headline]:
    group = waits.groups[waits.reference]
    if not group.last >= 0:
        return []
    return [
        Headline(
            name="activated",
            label=f"Users with {_goal(waits)} in {phrases.duration(group.last)}",
            **ranged(_rate(group, group.last), "rate", 100),
            unit="%",
            n=group.n_users,
        )
    ]


def _gap(waits: Waits, row: pd.Series, key: str) -> list[Headline]:
    """The extra wait, then who is there on the day of the widest gap, and at the end."""
    who, sure, slower = (
        whose(key, row["segment"]),
        _sure(waits, row),
        row["rmst_difference_days"] > 0,
    )
    tone: Tone = "neutral" if not sure else "unwanted" if slower else "wanted"
    per_day = phrases.unit_of(row["horizon_days"]).per_day
    days = phrases.duration(row["horizon_days"])
    wait = Headline(
        name="wait",
        label=f"Extra wait, {who}",
        **ranged(row, "rmst_difference_days", per_day),
        unit=f"{phrases.unit_of(row['horizon_days']).name}s",
        against=Against("zero"),
        verdict="sure" if sure else "not clear",
        tone=tone,
        act=bool(sure and slower),
        note=f"in the first {days}",
    )
    days_told = dict.fromkeys([_widest_day(waits, row), row["horizon_days"]])
    return [wait, *(_there(waits, row, who, day) for day in days_told if day > 0)]


def _there(waits: Waits, row: pd.Series, who: str, day: float) -> Headline:
    """Who of the segment is there by a day, against the reference."""
    segment, others = waits.groups[row["segment"]], waits.groups[waits.reference]
    apart = compare_shares([(segment, others)], day)
    # the day of the widest gap was sought: it is sure only where the whole of the wait is
    sure = _sure(waits, row) and _fewer_or_more(apart.value, apart.low, apart.high)
    more = "ahead" if apart.value > 0 else "behind"
    unit, theirs = phrases.unit_of(day), others.rate(day)[0]
    whom = "others" if len(waits.groups) == 2 else waits.reference
    by = f"by {unit.name} {day * unit.per_day:.0f}"
    label = f"{upper(who)} with {_goal(waits)} {by}"
    told = Headline(
        name="early" if day < row["horizon_days"] else "late",
        label=label if len(label) <= MOST_LETTERS else f"{upper(who)} who have it {by}",
        **ranged(_rate(segment, day), "rate", 100),
        unit="%",
        n=segment.n_users,
        against=Against("group", 100 * theirs, whom),
        verdict="sure" if sure else "not clear",
        tone="neutral" if not sure else "wanted" if apart.value > 0 else "unwanted",
        act=bool(sure and apart.value < 0),
        note=f"{phrases.count(round(abs(100 * apart.value)), 'point')} {more}",
    )
    if not sure:
        return replace(told, note="about as many" if abs(apart.value) < ALIKE else "")
    if not (told.low or 0) <= 100 * theirs <= (told.high or 0):
        return told
    # beside a range that holds the others' share, "sure" would read as a contradiction
    gap = interval_columns("gap", apart.value, apart.low, apart.high)
    note = f"{told.whole}, {whom} {100 * theirs:.1f} %"
    told = replace(told, name=f"{told.name} difference", against=Against("zero"), note=note)
    return replace(told, **ranged(gap, "gap", 100), unit="points", label=f"{told.label}, to others")


def _fewer_or_more(value: float, low: float, high: float) -> bool:
    """Whether a difference of shares is sure, and large enough for a word."""
    return bool(low * high > 0 and abs(value) >= ALIKE)


def _widest_day(waits: Waits, row: pd.Series) -> float:
    """The whole day on which the two curves lie farthest apart."""
    whole = np.arange(1, np.floor(row["horizon_days"]))
    sides = [waits.groups[label] for label in (row["segment"], waits.reference)]
    gaps = [abs(sides[0].share(day)[0] - sides[1].share(day)[0]) for day in whole]
    return float(whole[int(np.argmax(gaps))]) if len(whole) else 0.0


def _finding(waits: Waits, row: pd.Series | None, key: str) -> str:
    goal, reference = _goal(waits), waits.groups[waits.reference]
    if row is None:
        if not reference.last >= 0:
            return brief(f"How long {goal} takes is not known yet: too few users were followed")
        first = f"{100 * reference.rate(reference.last)[0]:.1f} % of users reach {goal}"
        median = waits.summary.set_index("segment")["median_days"][waits.reference]
        half = f", half of them all within {phrases.duration(median)}" if median >= 0 else ""
        return brief(f"{first} within {phrases.duration(reference.last)}", half)
    end = phrases.duration(row["horizon_days"])
    if not _sure(waits, row):
        n = len(waits.contrasts)
        share = reference.rate(row["horizon_days"])[0]
        shares = f"{100 * share:.1f} % of {phrases.called(waits.reference)}"
        who = "No group" if n > 1 else f"{upper(whose(key, row['segment']))} do not"
        verb = "clearly waits" if n > 1 else "clearly wait"
        return brief(f"{who} {verb} longer or shorter for {goal}", f"; {shares} reach it in {end}")
    days = row["rmst_difference_days"]
    wait = phrases.duration(abs(days))
    word = "longer" if days > 0 else "less"
    apart = _apart_at_end(row)
    fewer = "fewer" if row["difference_rate"] < 0 else "more"
    then = f"{fewer} of them have it" if apart else "about as many have it"
    who = upper(whose(key, row["segment"]))
    return brief(f"{who} wait {wait} {word} for {goal}", f"; after {end} {then}")


def _apart_at_end(row: pd.Series) -> bool:
    ends = (row[f"difference_rate{end}"] for end in ENDS)
    return _fewer_or_more(*ends)


def _actions(waits: Waits, row: pd.Series, key: str) -> list[Action]:
    days = row["rmst_difference_days"]
    if not _sure(waits, row):
        return []
    who, goal, role = whose(key, row["segment"]), _goal(waits), waits.acts or ANALYST
    if days < 0:
        text = f"Find out what brings {who} sooner to {goal}, and try it on others."
        return [Action(text=text, role=role, about="wait")]
    found = [
        Action(
            text=f"Find out what holds {who} up on the way to {goal}.",
            role=role,
            about="wait",
            size=f"{phrases.duration(days)} longer",
        )
    ]
    day = _widest_day(waits, row)
    if day and not (_apart_at_end(row) and row["difference_rate"] < 0):
        by = phrases.duration(day)
        text = f"Do not judge {who} by their first {by}: they come later, not fewer."
        found.append(Action(text=text, role=ANALYST))
    return found


def _tells(waits: Waits, row: pd.Series | None, key: str) -> dict[str, str]:
    known = waits.summary[waits.summary["activated_rate"].notna()]
    if len(known) > MOST_TOLD:
        known = known.iloc[[0, -1]]
    said = [
        f"{100 * r['activated_rate']:.1f} % ({phrases.called(r['segment'])})"
        for _, r in known.iterrows()
    ]
    curves = phrases.listed(said) if said else "too few to say"
    found = {"curves": f"in the end {curves} are there" if len(said) > 1 else curves}
    if row is not None:
        word = "clearly" if _sure(waits, row) else "not clearly"
        more = "longer" if row["rmst_difference_days"] > 0 else "shorter"
        days = abs(row["rmst_difference_days"])  # as the tile has them, unless that is nothing
        gap = f"{days:.1f} days" if days >= 0.1 else phrases.duration(days)
        who = phrases.called(row["segment"])
        if key in TIME:  # named by its first day
            who = who.partition(" ")[2] if key == "month" else f"week of {who}"
        found["contrasts"] = f"{who}: {gap} {more}, {word}"
    return found


def _how_sure(waits: Waits) -> tuple[str, ...]:
    groups = waits.groups.values()
    n_users, n_young = (sum(n) for n in zip(*((g.n_users, g.n_immature) for g in groups)))
    n_left = sum(g.n["competing"] for g in groups)
    span = phrases.window(waits.clock.horizon)
    seen = f"{n_young:,} of {phrases.users(n_users)} began less than {span} ago and count for as "
    return phrases.that_hold(
        [
            (any(g.cells is not None for g in groups), "Counted per account."),
            (n_young, f"{seen}long as they were seen."),
            (n_left, f"{n_left:,} left before."),
        ]
    )


# ------------------------------------------------------------------- what goes with a shorter wait


def early_first(table: pd.DataFrame, early: Early, why: str) -> dict[str, Any]:
    """The fields of a `Landmark` that stand above the table."""
    first = table[table["landmark_days"] == early.landmark / phrases.DAY_US]
    head = first[first["pvalue"].notna()]
    sure = head[clear(head)]
    within, goal = f"the first {phrases.window(early.landmark)}", named(early.roles["activation"])
    if head.empty:
        finding = brief(
            f"What users do in {within} cannot be compared yet", why and ": too few users"
        )
        return {"finding": finding, "tells": {"signals": "nothing can be compared yet"}}
    told = {"signals": f"{len(sure) or 'none'} of {len(head)} early steps clearly go with it"}
    if sure.empty:
        finding = brief(f"No early step in {within} clearly goes with a shorter wait for {goal}")
        return {"finding": finding, "tells": told}
    best = sure.iloc[0]
    helps = bool(best["rmst_difference_days"] < 0)
    days = phrases.duration(abs(best["rmst_difference_days"]))
    signal = named(best["signal"])
    unit = phrases.unit_of(best["horizon_days"])
    headline = Headline(
        name="early step",
        label=f"{signal} in {within} goes with",
        **ranged(best, "rmst_difference_days", unit.per_day),
        unit=f"{unit.name}s",
        against=Against("zero"),
        verdict="sure",
        tone="wanted" if helps else "unwanted",
        note="of waiting; no proof",
    )
    what = "shortens" if helps else "lengthens"
    text = f"Test whether {signal} in {within} {what} the wait."
    role = early.acts.get(best["signal"]) or ANALYST
    return {
        "finding": brief(
            f"{signal} in {within} goes with {days} {'less' if helps else 'more'} waiting",
            f" for {goal}",
        ),
        "headlines": (headline,),
        "actions": (Action(text=text, role=role, about="early step"),),
        "tells": told,
    }
