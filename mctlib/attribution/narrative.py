"""What the tables of `attribution_windows` say, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.attribution.counting import Counts
from mctlib.attribution.incrementality import (
    ALIKE,
    EARNS,
    ENOUGH,
    FEW,
    FOLLOWED,
    KEEP_COMPANY,
    LESS,
    MORE,
    NONE_ABOVE,
    NONE_ENOUGH,
    SAME_DAY,
    STILL_RISES,
    UNTOLD,
)
from mctlib.attribution.narrative_flips import Told, windows_in_words
from mctlib.attribution.touchpoints import UNRESOLVED
from mctlib.contract import ENDS
from mctlib.headlines import upper

MOST_NAMED = 8  # partners in a sentence


def details(told: Told) -> tuple[str, ...]:
    """What depends on the window and whose touches show no effect, in one piece; then the rest.

    How much would have come anyway, whose touches move users, and whom partners bring.
    """
    first = _said(order_in_words(told), fit_in_words(told), idle_in_words(told))
    rest = (anyway_in_words(told), *moved_in_words(told), *brought_in_words(told))
    return " ".join(first), *_said(*rest)


def _said(*sentences: str) -> list[str]:
    return [f"{upper(sentence)}." for sentence in sentences if sentence]


def moved_in_words(told: Told) -> Iterator[str]:
    """After whose touches users convert, or conversions follow."""
    others = "more often than at other times of the same users"
    for verdict, what in ((EARNS, "users convert"), (FOLLOWED, "conversions follow")):
        if moved := told.who("verdict", verdict):
            yield f"After touches of {phrases.listed(moved, most=MOST_NAMED)} {what} {others}"


def idle_in_words(told: Told) -> str:
    """Whose touches show no effect, and what they cost."""
    spent = told.partners.set_index(told.question.by)["spend_amount"]
    idle = [
        f"{name} ({told.amount(spent[name])} spent)" if spent[name] > 0 else name
        for name in told.idle
    ]
    return f"No effect is shown by {phrases.listed(idle, most=MOST_NAMED)}" if idle else ""


def brought_in_words(told: Told) -> Iterator[str]:
    """How users convert whom partners brought."""
    for verdict, how in (
        (MORE, "more than"),
        (LESS, "less than"),
        (ALIKE, "no differently from"),
    ):
        if who := told.who("brings", verdict):
            whose = phrases.listed(who, most=MOST_NAMED)
            yield f"Users whom {whose} brought convert {how} users whom nobody brought"


def order_in_words(told: Told) -> str:
    """Who changes ranks from the shortest to the longest window."""
    credit, n = told.credit.by(told.rule), len(told.credit.names)
    if len(told.full) < 2 or n < 2:
        who = f"{phrases.count(n, 'partner')} with {FEW} or more"
        return f"There are too few conversions to compare ranks between windows ({who})"
    ends = [told.full[0], told.full[-1]]
    span = windows_in_words(*told.question.days[ends], last="to")
    rank = pd.DataFrame(credit.found[ends]).rank(axis=1, ascending=False, method="min").to_numpy()
    most = np.abs(rank[0] - rank[1]).argmax()
    before, after = rank[:, most]
    if before == after:
        return f"The partners keep their ranks from {span} ({told.question.rule} rule)"
    return (
        f"Credit depends on the window: from {span}, {credit.names[most]} moves from rank "
        f"{before:.0f} to rank {after:.0f} ({told.question.rule} rule)"
    )


def fit_in_words(told: Told) -> str:
    """Which windows are to be used."""
    windows = told.windows
    days, fit = windows["window_days"], np.flatnonzero(windows["admissible"])
    if not len(fit):
        return f"No window can be recommended: {why_none(told)}"
    first, last = days[fit[0]], days[fit[-1]]
    if len(fit) > 1:
        return f"Use a window of {windows_in_words(first, last, last='to')}"
    # never a bare number: the right one lies somewhere between the neighbours that were tried
    between = windows_in_words(days.get(fit[0] - 1, 0.0), days.get(fit[0] + 1, first))
    return (
        f"Of the windows tried, use {windows_in_words(first)}; the right one lies between {between}"
    )


def why_none(told: Told) -> str:
    """Why no window can be recommended."""
    if told.few:
        return f"fewer than {stats.MIN_CLUSTERS} {told.few} are too few to say how far chance goes"
    known = np.flatnonzero(told.found.both_told[-1])
    longest = told.question.days[known[-1] if len(known) else -1]
    beyond = "take longer windows"
    if longest < told.question.days[-1]:
        beyond = "of longer windows too little can be compared"
    return {
        KEEP_COMPANY: "users are touched more often around conversions, after them too, so that "
        "touches cannot be told from the users' own activity",
        SAME_DAY: "times are days, and what exceeds chance lies on the conversion's own day, of "
        "which nobody knows what came first",
        UNTOLD: "too few conversions can be compared with other times of the same users",
        NONE_ABOVE: "after touches users convert no more often than at other times of their own",
        STILL_RISES: f"what touches bring still grows at {windows_in_words(longest)}; {beyond}",
        NONE_ENOUGH: f"none holds {100 * ENOUGH:.0f} % of what touches bring and stops growing",
    }.get(told.found.refused or told.reason, "")


def anyway_in_words(told: Told) -> str:
    """How many of the conversions after touches would have come anyway; "" where unknown."""
    at = told.question.clock.reference
    window, n = told.windows.iloc[at], told.found.n_later[-1, at]
    if np.isnan(window["dilution_rate"]):
        return ""
    of = f"of {n:,} conversions credited at {told.now}"
    if window["n_brought"]:
        of = (
            f"of {window['n_attributed']:,} conversions credited at {told.now}, "
            f"{window['n_brought']:,} follow the touch that brought the user; of the other {n:,}"
        )
    anyway = np.clip(n - window["n_excess"], 0, n)
    how = "would have come anyway" if told.found.able else "would lie as near by chance"
    return f"{of}, {anyway:,.0f} ({at_most_all(window, 'dilution_rate')}) {how}"


def at_most_all(row: pd.Series, column: str) -> str:
    """A share with its interval in whole per cent, none of it above 100."""
    value, low, high = (100 * min(row[column + end], 1) for end in ENDS)
    return f"{value:.0f} %" + (f", {low:.0f} to {high:.0f}" if low == low else "")


def caveats(told: Told, counts: Counts, *, unnamed: float) -> tuple[str, ...]:
    """What to know before acting; ``unnamed``: money spent on nobody."""
    no_intervals = (
        f"Fewer than {stats.MIN_CLUSTERS} {told.few} are too few to say how far chance goes, so no "
        "interval is given and no partner is judged."
    )
    money = (
        f"{told.amount(unnamed)} of the money spent names no {counts.question.by}, or ourselves; "
        "it stands in no row."
    )
    return (
        *method_caveats(counts),
        *phrases.that_hold([(told.few, no_intervals)]),
        *comparison_caveats(told),
        *touch_caveats(counts),
        *conversion_caveats(counts),
        *phrases.that_hold([(unnamed, money)]),
    )


def method_caveats(counts: Counts) -> list[str]:
    """What holds of every answer."""
    clock = counts.question.clock
    return [
        "No rule is causal: Markov and Shapley too only share out what happened together. A "
        "holdout is the test of a partner.",
        "Touches after the start are judged by other times of the same user: had the conversion "
        "come at another moment since the start, would a touch lie within the window? What is "
        "said of all conversions takes it that those who cannot be compared are like the others.",
        "A touch up to the start brought the user. Users brought are compared with users whom "
        "nobody brought, of the same age and week; whether they would have come anyway needs a "
        "holdout.",
        "Only each user's first conversion counts, from "
        f"{pd.Timestamp(clock.origin, unit='us'):%Y-%m-%d %H:%M} on: the first "
        f"{phrases.window(int(clock.windows[-1]))} of the log cannot be looked back on "
        f"({counts.note('n_too_early'):,} conversions left out).",
    ]


def comparison_caveats(told: Told) -> tuple[str, ...]:
    """How far the comparisons reach."""
    found, at = told.found, told.question.clock.reference
    n, compared = found.n_later[-1, at], found.n_compared[-1, at]
    upper = found.upper or found.own
    value, (low, high) = upper.value[-1, at], (end[-1, at] for end in upper.ends)
    pairs = [
        (
            found.refused,
            f"No partner is judged by touches after the start: {why_none(told)}.",
        ),
        (
            not found.able and not found.refused,
            "Hardly anybody is touched after the conversion, so nothing shows whether touches only "
            "keep company with activity: conversions follow them, more is not said, and no return "
            "is given.",
        ),
        (
            found.upper is not None,
            "Touches come with visits, so the user's own visits are the clock. By the calendar, "
            f"the upper reading, {value:,.0f} ({low:,.0f} to {high:,.0f}) of the {compared:,} "
            f"compared at {told.now} would exceed chance.",
        ),
        (
            not found.enough[-1, at] and not found.refused and not told.few,
            f"Of {n:,} conversions within {told.now} of a touch after the start {compared:,} can "
            "be compared with other times of the same users: too few to say how many of all would "
            "have come anyway.",
        ),
    ]
    return phrases.that_hold(pairs)


def touch_caveats(counts: Counts) -> tuple[str, ...]:
    """Touches that are left out, or named with doubt."""
    sources = counts.question.tags.sources
    after, carried, own, _ = counts.left_out
    conflicts = counts.tables["conflicts"]["n_touches"].sum()
    pairs = [
        (after, f"Touches after the user's first conversion earn nothing: {after:,}."),
        (
            carried,
            f"Conversion events that carry {phrases.listed(sources, last='or')} themselves are not "
            f"counted as touches: {carried:,}.",
        ),
        (own, f"Touches that name nobody but ourselves (self-referrals) are left out: {own:,}."),
        (
            conflicts,
            f"Touches whose tags name different partners: {conflicts:,}; "
            f"{' stands before '.join(sources)}.",
        ),
        (
            counts.n_unresolved,
            "Touches with a utm_source that names no known partner are shown as "
            f'"{UNRESOLVED}" until aliases resolve them: {counts.n_unresolved:,}.',
        ),
    ]
    return phrases.that_hold(pairs)


def conversion_caveats(counts: Counts) -> tuple[str, ...]:
    """Conversions that are not counted."""
    outside = counts.note("n_outside")
    said = "Conversions of users without a start, before it, or after the user left are not counted"
    return phrases.that_hold([(outside, f"{said}: {outside:,}.")])
