"""Signals in words: how they were compared, and what an analyst has to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from mctlib import phrases
from mctlib.headlines import named
from mctlib.phrases import DAY_US
from mctlib.signals.candidates import USUAL, Candidate
from mctlib.signals.clock import Clock, Reach
from mctlib.signals.outcomes import Outcome
from mctlib.signals.verdicts import HARMFUL, SIGNAL, UNKNOWN

ALIKE_FROM = 0.95  # share of comparable users below which it is said
RIGHT = (0.8, 1.25)  # of later outcomes over predicted ones
MOST_NAMED = 4


@dataclass(frozen=True)
class Answer:
    """Tables of `Signals`, and what sentences need beside them."""

    signals: pd.DataFrame
    sensitivity: pd.DataFrame
    watch: pd.DataFrame
    outcomes: Mapping[str, Outcome]
    candidates: Mapping[str, Candidate]
    clock: Clock
    reach: Reach  # of the first outcome
    currency: str
    said: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """The first one, by which the page speaks."""
        return next(iter(self.outcomes.values()))

    @property
    def head(self) -> pd.DataFrame:
        """Its rows."""
        return self.signals[self.signals["outcome"] == self.outcome.name]


def within(row: pd.Series) -> str:
    """By when users had a signal: "the first 7 days"."""
    return f"the first {phrases.window(round(row['landmark_days'] * DAY_US))}"


def rule(answer: Answer) -> str:
    """How they were compared."""
    adjusted = [c.removeprefix("properties.") for c in map(str, answer.clock.adjust)]
    alike = phrases.listed([*adjusted, "month of the start", "days of other activity by then"])
    landmarks = {c.planned for c in answer.candidates.values()}
    own = "the time that the plan gives each" if True in landmarks else "one day for all"
    own += f" (where it gives none, {USUAL})" if landmarks == {True, False} else ""
    one = set(answer.head["landmark_days"])
    if len(one) == 1:
        own = phrases.window(round(one.pop() * DAY_US))
    tests = phrases.count(answer.signals["pvalue"].notna().sum(), "test")
    outcomes = "; ".join(outcome.rule for outcome in answer.outcomes.values())
    return (
        f"Landmark: {own} after the first {answer.clock.start.label}. Users neither gone by then "
        f"nor through, by what they had done; then {outcomes}. Standardised for {alike}; "
        f"{'errors by account; ' if answer.clock.accounts else ''}5 % false discovery rate over "
        f"{tests}; the last months stand for later users."
    )


def details(answer: Answer) -> tuple[str, ...]:
    """What goes with what, by how much; as an association."""
    found = []
    for _, row in answer.head[answer.head["verdict"].isin([SIGNAL, HARMFUL])].iterrows():
        found.append(_one(answer, row))
    if found:
        found.append("These go together; that one causes the other, only a test shows.")
    return tuple(found[-1 - MOST_NAMED :])


def _one(answer: Answer, row: pd.Series) -> str:
    outcome = answer.outcome
    if outcome.amount:
        point = phrases.amount(
            row["risk_difference"],
            answer.currency,
            row["risk_difference_ci_lower"],
            row["risk_difference_ci_upper"],
            signed=True,
        )
        size = f"{point} a user with {row['signal']} in {within(row)}"
    else:
        hundredth = row.filter(like="risk_difference") / 100
        point = phrases.points(hundredth.astype(float), "risk_difference")
        size = (
            f"{row['signal']} in {within(row)}: {phrases.times(row, 'risk_ratio')} {outcome.noun} "
            f"among like users. With one point more users of it go {point} more {outcome.noun}"
        )
    later = 100 * row["out_of_time_gain"]
    held = f"; for later users it takes {later:.1f} % off the error" if later > 0 else ""
    return f"{size}, as an association{held}."


def caveats(answer: Answer) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    reach, start = answer.reach, answer.clock.start.label
    return (
        *answer.said,
        *phrases.that_hold(
            [
                (
                    reach.n_pending,
                    f"{reach.n_pending:,} of {phrases.users(reach.n_users)} with {start} are left "
                    f"out: {phrases.window(answer.outcome.until)} are not over for them.",
                ),
                (
                    reach.n_left,
                    f"{phrases.users(reach.n_left)} had left by the first landmark and are not "
                    "compared.",
                ),
                (
                    any(o.amount for o in answer.outcomes.values()),
                    "Revenue has no date: what came before the landmark, or after the horizon, is "
                    "in it too.",
                ),
            ]
        ),
        *_of_rows(answer),
    )


def _of_rows(answer: Answer) -> Iterator[str]:
    table = answer.head
    known = table[table["risk_ratio"].notna()]
    few = table.loc[table["risk_ratio"].isna(), "signal"]
    if len(few):
        who = phrases.listed(few, most=MOST_NAMED)
        yield f"Too few users with or without it, or too few outcomes, for a comparison: {who}."
    unclear = known.loc[known["verdict"] == UNKNOWN, "signal"]
    if len(unclear):
        who = phrases.listed(unclear, most=MOST_NAMED)
        yield f"Neither an effect nor its absence is sure: {who}."
    partly = known[known["comparable_rate"] < ALIKE_FROM]
    if len(partly):
        who = [f"{r['signal']} ({100 * r['comparable_rate']:.0f} %)" for _, r in partly.iterrows()]
        yield (
            "Of some kinds of users all had it, or none, and these are left out; the share that is "
            f"compared: {phrases.listed(who, most=MOST_NAMED)}."
        )
    wrong = known[~known["calibration_ratio"].between(*RIGHT) & known["calibration_ratio"].notna()]
    if len(wrong):
        row = wrong.iloc[0]
        yield (
            f"Later users have {row['calibration_ratio']:.2f} times the outcomes that the earlier "
            "ones let expect: what held then may not hold now."
        )
    turning = known[~known["same_sign"] & known["verdict"].isin([SIGNAL, HARMFUL])]
    for name in turning["signal"]:
        yield f"{name} points the other way at another landmark; see the table of these."
    for _, row in known[known["verdict"] == SIGNAL].iterrows():
        yield (
            f"A hidden cause would have to go with both {named(row['signal'])} and the outcome "
            f"{row['e_value']:.1f}-fold ({row['e_value_limit']:.1f}-fold for the end of the range) "
            "to explain it away."
        )
    alone = known[known["without_use"]]
    if len(alone):
        who = phrases.listed(alone["signal"], most=MOST_NAMED)
        yield f"Most users with it had done nothing else by then: {who}."
    if known["out_of_time_gain"].isna().any():
        yield "All users began in one month: whether it holds for later users is not known."
