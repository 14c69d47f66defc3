"""Conclusions that flip with the window, the rule or the question, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.attribution.credit_rules import Credit, sure_order
from mctlib.attribution.incrementality import BELOW, MORE, NO_EFFECT, Comparison
from mctlib.attribution.question import Question
from mctlib.attribution.tables import shared_out
from mctlib.phrases import DAY_US

MOST_COMPARED = 50  # partners, the largest, whose places are compared in pairs
MOST_SAID = 12  # pairs of partners of which a sentence says that they change places


def windows_in_words(*days: float, last: str = "and") -> str:
    """Windows as a reader says them: "0, 1 and 30 days", "1 hour and 30 days"."""
    us = [round(d * DAY_US) for d in days]
    return phrases.windows(us, last=last)


@dataclass(frozen=True)
class Told:
    """What the sentences are made of; ``credit``: of the partners that can be ranked."""

    question: Question
    credit: Credit
    windows: pd.DataFrame
    full: np.ndarray  # windows with enough conversions; in shorter ones noise is ranked
    spent: np.ndarray  # by partner that can be ranked
    money: Credit  # what the credit by the rule that speaks stands for
    partners: pd.DataFrame
    budget: pd.DataFrame
    approaches: pd.DataFrame
    found: Comparison
    reason: str  # why no window is to be used, "" where some are
    few: str  # what there is too few of for intervals, "" where there is enough

    @property
    def rule(self) -> int:
        """Index of the rule that speaks."""
        return self.question.rules.index(self.question.rule)

    def amount(self, x: float, *, signed: bool = False) -> str:
        """Money in words."""
        return phrases.amount(x, self.question.currency, signed=signed)

    def who(self, column: str, *verdicts: str) -> list[str]:
        """Partners with one of some verdicts."""
        names: list[str] = self.partners.loc[self.partners[column].isin(verdicts)].iloc[:, 0]
        return list(names)

    @cached_property
    def largest(self) -> Credit:
        """The credit of the partners that hold most of it by the rule that speaks."""
        held = self.credit.by(self.rule).found[self.question.clock.reference]
        return self.credit.of(np.sort(np.argsort(-held, kind="stable")[:MOST_COMPARED]))

    @property
    def idle(self) -> list[str]:
        """Partners whose touches show no effect, and who bring nobody who converts more."""
        gainful = self.who("brings", MORE)
        return [name for name in self.who("verdict", NO_EFFECT, BELOW) if name not in gainful]

    @property
    def now(self) -> str:
        """The reference window."""
        return windows_in_words(self.question.days[self.question.clock.reference])


def flips(told: Told) -> pd.DataFrame:
    """kind, conclusion: what is sure under one window or rule, the contrary under another."""
    kinds = {
        "windows": window_flips(told),
        "rules": rule_flips(told),
        "cost": cost_flips(told),
        "cause": cause_flips(told),
        "budget": budget_flips(told),
        "approach": approach_flips(told.approaches),
    }
    said = [(kind, sentence) for kind, sentences in kinds.items() for sentence in sentences]
    return pd.DataFrame(said, columns=["kind", "conclusion"])


def window_flips(told: Told) -> list[str]:
    """Partners that change places between windows."""
    days, full = told.question.days, told.full

    def at(some: np.ndarray) -> str:
        return windows_in_words(*days[full[some]])

    ahead = sure_order(told.largest.by(told.rule).drawn[:, full])
    said = "{0} earns more credit than {1} at {2}, and less at {3}."
    return turned_pairs(told, ahead, at, said)


def rule_flips(told: Told) -> list[str]:
    """Partners that change places between rules."""

    def rules(some: np.ndarray) -> str:
        return phrases.listed(told.question.rules[i].replace("_", " ") for i in some)

    ahead = sure_order(told.largest.drawn[:, :, told.question.clock.reference])
    said = "{0} earns more credit than {1} when counted by {2}, and less when counted by {3}."
    return turned_pairs(told, ahead, rules, f"At {told.now} {said}")


def turned_pairs(
    told: Told, ahead: np.ndarray, name: Callable[[np.ndarray], str], said: str
) -> list[str]:
    """A sentence for every two partners that change places for sure, the largest pairs first.

    ``ahead``: (places, partner, partner); the one that leads first is named first.
    """
    share = shared_out(told.largest.by(told.rule).found[told.question.clock.reference])
    both = np.argwhere(np.triu(ahead.any(axis=0) & ahead.any(axis=0).T))
    both = both[np.argsort(-share[both].sum(axis=1), kind="stable")]
    found = []
    for p, q in both[:MOST_SAID]:
        if ahead[:, p, q].argmax() > ahead[:, q, p].argmax():
            p, q = q, p
        more, less = np.flatnonzero(ahead[:, p, q]), np.flatnonzero(ahead[:, q, p])
        names = told.largest.names[[p, q]]
        found.append(said.format(*names, name(more), name(less)))
    if len(both) > MOST_SAID:
        further = len(both) - MOST_SAID
        found.append(f"Further pairs of partners that change places so: {further:,}.")
    return found


def cost_flips(told: Told) -> Iterator[str]:
    """Partners that cost more than their credit is worth by one window, and less by another."""
    if not told.question.value:
        return
    money, days = told.money, told.question.days
    low, high = stats.percentile_interval(money.drawn)
    for p, spent in enumerate(told.spent):
        gains = [i for i in told.full if spent < low[i, p]]
        loses = [i for i in told.full if spent > high[i, p]]
        if gains and loses:
            dear, cheap = (
                f"{windows_in_words(days[i])} ({told.amount(money.found[i, p])})"
                for i in (loses[0], gains[-1])
            )
            yield (
                f"{money.names[p]} cost {told.amount(spent)}: more than its credited conversions "
                f"are worth at {dear}, and less at {cheap}."
            )


def cause_flips(told: Told) -> Iterator[str]:
    """Partners that are credited, and cause nothing."""
    credit = told.credit.by(told.rule)
    for name, held in zip(credit.names, shared_out(credit.found[told.question.clock.reference])):
        if name in told.idle:
            yield (
                f"{name} holds {100 * held:.0f} % of the credit at {told.now}, yet users convert "
                "no more often after its touches than at other times."
            )


def budget_flips(told: Told) -> Iterator[str]:
    """What another window would pay, the shortest and the longest one."""
    if not len(told.budget):
        return
    by, days = told.budget.columns[0], told.question.days
    plans = told.budget.pivot(index=by, columns="window_days", values="budget_amount")
    now = days[told.question.clock.reference]
    for day in dict.fromkeys(days[i] for i in (*told.full[:1], *told.full[-1:])):
        move, total = plans[day] - plans[now], plans[day].sum()
        moved = move.clip(lower=0).sum()
        if len(plans) > 1 and moved > 0:
            paid = windows_in_words(day, now, last="instead of")
            yield (
                f"Paid by {paid}, {told.amount(moved)} of {told.amount(total)} spent "
                f"({100 * moved / total:.0f} %) would go to others: most to {move.idxmax()} "
                f"({told.amount(move.max(), signed=True)}), most from {move.idxmin()} "
                f"({told.amount(move.min(), signed=True)})."
            )


def approach_flips(approaches: pd.DataFrame) -> Iterator[str]:
    """What each approach credits to another partner than multi-touch does."""
    others = approaches[approaches["approach"] != "multi-touch"].set_index("partner_id")
    for name, part in others.groupby("approach", sort=False):
        together, each = part.iloc[0], part["n_missing"].iloc[1:]
        yield (
            f"By the {name}, {together['n_missing']:,.0f} of "
            f"{together['n_missing'] + together['n_alike']:,.0f} conversions go to another partner "
            f"than by multi-touch, or to nobody; {each.idxmax()} loses most ({each.max():,.0f})."
        )
