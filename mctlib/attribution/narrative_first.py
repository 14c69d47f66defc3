"""What a director reads first of `attribution_windows`: one sentence, its numbers, what to do."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from mctlib import phrases
from mctlib.attribution.counting import Counts
from mctlib.attribution.incrementality import EARNS, MORE
from mctlib.attribution.narrative import order_in_words
from mctlib.attribution.narrative_flips import Told, windows_in_words
from mctlib.headlines import (
    Action,
    Against,
    Headline,
    brief,
    money,
    ranged,
    told,
    upper,
)

MANAGER, COLLECTOR = "Partner manager", "Data collector"  # who acts where no plan names anybody
WORTH_MOVING = 0.02  # of the money: from here on another window is worth a word


def read_first(said: Told, counts: Counts) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {
        "finding": _finding(said),
        "headlines": (*_anyway(said), _window(said), *_idle(said), *_best(said)),
        "actions": tuple(_actions(said, counts)),
        "tells": _tells(said),
        "how_sure": _how_sure(said),
    }


def _in_use(said: Told) -> float:
    return float(said.question.days[said.question.clock.reference])


def _right(said: Told) -> list[float]:
    """The windows that are right."""
    return list(said.windows.loc[said.windows["usable"], "window_days"])


def _inside(said: Told) -> bool:
    """Whether the window in use is among those that are right."""
    right = _right(said)
    return bool(right) and right[0] <= _in_use(said) <= right[-1]


def _span(days: list[float]) -> str:
    ends = dict.fromkeys([days[0], days[-1]])
    about = "about " if len(ends) == 1 else ""
    return f"{about}{windows_in_words(*ends, last='to')}"


def _of_idle(said: Told) -> pd.DataFrame:
    """Partners that cost money and show no effect, the dearest first."""
    partners = said.partners
    mine = partners.iloc[:, 0].isin(said.idle) & (partners["spend_amount"] > 0)
    return partners[mine].sort_values("spend_amount", ascending=False)


def _finding(said: Told) -> str:
    right, idle = _right(said), _of_idle(said)
    currency = said.question.currency
    first = f"Count {_span(right)} after a partner's touch" if right else ""
    first = first or "How many days to count after a partner's touch cannot be told"
    if _inside(said):
        first = f"{upper(_span(right))} after a partner's touch are right; you use {said.now}"
    elif idle.empty and right:
        first = f"{first}; {said.now} are in use"
    if idle.empty:
        return brief(first)
    spent = money(idle["spend_amount"].sum(), currency)
    who = phrases.titled(str(idle.iloc[0, 0])) if len(idle) == 1 else f"{len(idle)} partners"
    return brief(first, f"; {who} cost {spent}, with no effect seen")


def _anyway(said: Told) -> list[Headline]:
    """What of the credit for later touches would have come anyway."""
    at = said.question.clock.reference
    row = said.windows.iloc[at]
    if pd.isna(row["dilution_rate"]):
        return []
    share = row.filter(like="dilution_rate").clip(0, 1)
    return [
        Headline(
            name="anyway",
            label="After later touches: would have come anyway",
            **ranged(share, "dilution_rate", 100),
            unit="%",
            n=int(said.found.n_later[-1, at]),
            n_noun="conversions",
        )
    ]


def _window(said: Told) -> Headline:
    """Days to count after a touch, and whether those in use are among them."""
    right, now, inside = _right(said), _in_use(said), _inside(said)
    ends = dict.fromkeys([*right[:1], *right[-1:]])
    return Headline(
        name="window",
        label="Days to count after a touch",
        value=told(right[0]) if right else None,
        unit="days",
        text="\u2013".join(f"{days:g}" for days in ends),
        verdict="sure" if right else "too few",
        tone="wanted" if inside else "unwanted" if right else "neutral",
        act=bool(right) and not inside,
        note=f"you use {now:g}" + (f": {'inside' if inside else 'outside'}" if right else ""),
    )


def _idle(said: Told) -> list[Headline]:
    for _, row in _of_idle(said).head(1).iterrows():
        label, unit, number = _of_effect(row, said.question.currency)
        sure = number.get("high") is not None and number["high"] < 0
        return [
            Headline(
                name="idle",
                label=label.format(phrases.titled(str(row.iloc[0]))),
                **number,
                unit=unit,
                against=Against("zero") if "high" in number else None,
                verdict="sure" if sure else "not clear",
                tone="unwanted" if sure else "neutral",
                act=True,
                note="no effect seen",
            )
        ]
    return []


def _of_effect(row: pd.Series, currency: str) -> tuple[str, str, dict[str, Any]]:
    """What is known of a partner's effect: label, unit, number; else what it cost."""
    if pd.notna(row["roi"]):
        return "Return of {}", "%", ranged(row, "roi", 100)
    if pd.notna(row["n_beyond_chance_ci_lower"]):
        return "Added by touches of {}", "conversions", ranged(row, "n_beyond_chance")
    return "Spent on {}", currency, {"value": told(row["spend_amount"])}


def _best(said: Told) -> list[Headline]:
    sure = said.partners[said.partners["roi_ci_lower"] > 0]
    for _, row in sure.sort_values("roi", ascending=False).head(1).iterrows():
        return [
            Headline(
                name="best",
                label=f"Best return: {phrases.titled(str(row.iloc[0]))}",
                **ranged(row, "roi", 100),
                unit="%",
                against=Against("zero"),
                verdict="sure",
                tone="wanted",
                note=f"{money(row['spend_amount'], said.question.currency)} spent",
            )
        ]
    return []


def _actions(said: Told, counts: Counts) -> list[Action]:
    usable, currency = _right(said), said.question.currency
    found = []
    for _, row in _of_idle(said).head(1).iterrows():
        text = f"Test {phrases.titled(str(row.iloc[0]))} with a holdout before you pay it more."
        spent = f"{money(row['spend_amount'], currency)} spent"
        found.append(Action(text=text, role=MANAGER, about="idle", size=spent))
    if usable and not _inside(said):
        text = f"Count {_span(usable)} after a touch instead of {said.now}."
        found.append(Action(text=text, role=MANAGER, about="window"))
    elif usable and (moved := _moved(said)):
        found.append(Action(text=f"Stay with {said.now}: {moved}.", role=MANAGER, about="window"))
    if counts.n_unresolved:
        text = f"Mend the links of {counts.n_unresolved:,} visits whose tag names no known partner."
        found.append(Action(text=text, role=COLLECTOR))
    return found


def _moved(said: Told) -> str:
    """How much money the shortest window would pay to others; "" where it hardly matters."""
    budget = said.budget
    if budget.empty:
        return ""
    paid = budget.pivot(index=budget.columns[0], columns="window_days", values="budget_amount")
    apart = (paid[paid.columns[0]] - paid[_in_use(said)]).abs().sum() / 2
    share = apart / budget.groupby(budget.columns[0])["spend_amount"].first().sum()
    if not share >= WORTH_MOVING:
        return ""
    moved = f"{money(apart, said.question.currency)} ({100 * share:.0f} %)"
    return f"{windows_in_words(paid.columns[0])} would pay {moved} to other partners"


def _tells(said: Told) -> dict[str, str]:
    n_sure, n_more = len(said.who("verdict", EARNS)), len(said.who("brings", MORE))
    n = len(said.partners)
    right = _right(said)
    order = order_in_words(said)
    for name in said.credit.names:
        order = re.sub(rf"\b{re.escape(str(name))}\b", phrases.titled(str(name)), order)
    return {
        "windows": f"use {_span(right)}" if right else "no window can be recommended",
        "partners": f"touches of {n_sure} of {n} surely add; users of {n_more} convert more",
        "order": order[:1].lower() + order[1:],
        "money": _returns(said),
        "budget": _moved(said) or "the window hardly moves the money",
    }


def _returns(said: Told) -> str:
    known = said.partners[said.partners["roi_ci_lower"].notna()]
    if known.empty:
        return "no return can be told"
    earns = int((known["roi_ci_lower"] > 0).sum())
    return f"{earns} of {len(known)} surely earn their money"


def _how_sure(said: Told) -> tuple[str, ...]:
    at = said.question.clock.reference
    n, compared = said.found.n_later[-1, at], said.found.n_compared[-1, at]
    of = f"{compared:,} of {n:,} conversions after later touches could be compared."
    return phrases.that_hold(
        [(n, of), (True, "Sharing out credit proves no cause; a holdout does.")]
    )
