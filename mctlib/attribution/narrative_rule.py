"""How credit was counted, and what the times and values of the data did to it, in sentences."""

from __future__ import annotations

from dataclasses import replace

from mctlib import phrases
from mctlib.attribution.counting import Counts
from mctlib.attribution.question import Question
from mctlib.eventlog.steps import ANY, Step


def rule(question: Question) -> str:
    """Which conversions count, what a touch is, how windows are cut, and how weights fall."""
    clock, (conversion, start, *others) = question.clock, question.events
    # what users answered is a touch of their start, where no column is asked
    touched = [*question.events[question.n_moments :], start][0]
    chosen = replace(touched, where={k: v for k, v in touched.where.items() if v is not ANY})
    sources = phrases.listed(question.tags.sources, last="or")
    several = ", in a conflict the first of these" if len(question.tags.sources) > 1 else ""
    begins = "their first event" if start == Step(ANY) else start.label
    until = f" until {others[0].label}" if question.has_exit else ""
    windows = phrases.windows([int(window) for window in clock.windows])
    halves = f"time decay halves in {phrases.window(clock.half_life)}"
    parts = [
        f"The first {conversion.label} of each user counts, from {phrases.day(clock.origin)} on; "
        f"users are at risk from {begins}{until}",
        f"a touch is {chosen.label} whose {sources} names a partner{several}",
        f"windows are [0, W), W {windows}: a touch at the conversion's moment is in, one W before "
        "it is out",
        *phrases.that_hold(
            [
                ("time_decay" in question.rules, halves),
                (question.zones, f"{by_days(question)}, and W days are W whole days"),
            ]
        ),
    ]
    return f"{'; '.join(parts)}."


def by_days(question: Question) -> str:
    """That moments are days, and by whose clock."""
    return f"moments are days by the clock of {phrases.listed(question.zones)}"


def caveats(counts: Counts) -> tuple[str, ...]:
    """What the data leave open: the time of day, what conversions bring."""
    question = counts.question
    longest = phrases.window(int(question.clock.windows[-1]))
    days = (
        f"Conversions or touches are known by their day only, so {by_days(question)}: within "
        f"{longest} means on the day of the conversion or on the days before it, {longest} in all, "
        "and a touch on that day counts as one before it."
    )
    unknown, n = counts.note("n_without_value"), counts.note("n_counted")
    no_value = (
        f"{unknown:,} of {n:,} conversions carry no number as {question.value}: they are credited, "
        "but bring no money."
    )
    own = isinstance(question.value, str)
    return phrases.that_hold([(question.zones, days), (own and unknown, no_value)])
