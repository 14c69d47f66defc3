"""Signals in words: how they were compared, and what an analyst has to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib import phrases
from mctlib.contract import ENDS, as_window
from mctlib.headlines import named
from mctlib.phrases import DAY_US
from mctlib.signals.candidates import USUAL, Candidate
from mctlib.signals.clock import UNLIKE, Clock, Reach
from mctlib.signals.outcomes import Outcome
from mctlib.signals.verdicts import HARMFUL, SIGNAL, UNKNOWN

ALIKE_FROM = 0.95  # share of comparable users below which it is said
RIGHT = (0.8, 1.25)  # of later outcomes over predicted ones
MOST_NAMED = 4
FEW = "Too few users with or without it, or too few outcomes, for a comparison: {}."
NO_RATIO = (
    "With or without it users bring nothing or cost money, which has no ratio: {}; the table of "
    "numbers holds the difference."
)


@dataclass(frozen=True)
class Answer:
    """Tables of `Signals`, and what sentences need beside them."""

    signals: pd.DataFrame
    watch: pd.DataFrame
    outcomes: Mapping[str, Outcome]
    candidates: Mapping[str, Candidate]
    clock: Clock
    reaches: Mapping[str, Reach]
    alike: bool  # whether activity was made so, for the first outcome
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
    activity = ["hours of activity by then"] * answer.alike
    alike = phrases.listed([*adjusted, "month of the start", *activity])
    landmarks = {c.planned for c in answer.candidates.values()}
    own = "the time that the plan gives each" if True in landmarks else "one day for all"
    own += (
        f" (where it gives none, {phrases.window(as_window(USUAL))})"
        if landmarks == {True, False}
        else ""
    )
    one = set(answer.head["landmark_days"])
    if len(one) == 1:
        own = phrases.window(round(one.pop() * DAY_US))
    tests = phrases.count(answer.signals["pvalue"].notna().sum(), "test")
    outcomes = "; ".join(
        f"{outcome.rule}, of users whose {phrases.window(outcome.until)} are over"
        for outcome in answer.outcomes.values()
    )
    errors = "errors by account; " if answer.clock.accounts else ""
    return (
        f"Landmark: {own} after the first {answer.clock.start.label}. Users who by then had "
        f"neither left nor had the outcome, by what they had done; then {outcomes}. Standardised "
        f"for {alike}; {errors}5 % false discovery rate over {tests}; the last months stand for "
        "later users."
    )


def details(answer: Answer) -> tuple[str, ...]:
    """What goes with what, by how much; as an association."""
    sure = answer.head[answer.head["verdict"].isin([SIGNAL, HARMFUL])].head(MOST_NAMED)
    found = [_one(answer, row) for _, row in sure.iterrows()]
    if found:
        found.append("These go together; that one causes the other, only a test shows.")
    return tuple(found)


def _one(answer: Answer, row: pd.Series) -> str:
    outcome = answer.outcome
    ends = [float(row[f"risk_difference{end}"]) for end in ENDS]
    text = f"{row['signal']} in {within(row)}: {phrases.times(row, 'risk_ratio')}"
    if outcome.amount:
        text = text.replace("as many", "as much")
        money = phrases.amount(ends[0], answer.currency, *ends[1:], signed=True)
        point = f"{money} a user with it"
    else:
        value, low, high = (phrases.nought(f"{end:+.2f}") for end in ends)
        point = f"with one point more users of it go {value} points ({low} to {high})"
    later = 100 * row["out_of_time_gain"]
    held = f"; for later users it takes {later:.1f} % off the error" if later > 0 else ""
    return f"{text} {outcome.noun} among like users; {point}, as an association{held}."


def caveats(answer: Answer) -> tuple[str, ...]:
    """What a reader must know about these numbers."""
    dateless = "Revenue has no date: what came before the landmark, or after the horizon, is in it"
    return (
        *answer.said,
        *_of_reaches(answer),
        *phrases.that_hold([(any(o.amount for o in answer.outcomes.values()), f"{dateless} too.")]),
        *_not_compared(answer.head),
        *_of_rows(answer),
    )


def _of_reaches(answer: Answer) -> Iterator[str]:
    """Who is not compared, and why; of each outcome, where they are not the same users."""
    start = answer.clock.start.label
    pending: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    for name, reach in answer.reaches.items():
        until = phrases.window(answer.outcomes[name].until)
        of = f"{reach.n_pending:,} of {phrases.users(reach.n_users)} with {start}"
        if reach.n_pending:
            pending.setdefault(f"{of} are left out: {until} are not over for them", []).append(name)
        if reach.n_left:
            who = phrases.users(reach.n_left)
            said = f"{who} had left by the first landmark and are not compared"
            left.setdefault(said, []).append(name)
    for sentences in (pending, left):
        for said, names in sentences.items():
            of = "" if names == list(answer.reaches) else f" ({phrases.listed(names)})"
            yield f"{said}{of}."


def _not_compared(table: pd.DataFrame) -> Iterator[str]:
    unknown, differs = table["risk_ratio"].isna(), table["risk_difference"].notna()
    for which, said in ((unknown & differs, NO_RATIO), (unknown & ~differs, FEW)):
        if which.any():
            yield said.format(phrases.listed(table.loc[which, "signal"], most=MOST_NAMED))


def _of_rows(answer: Answer) -> Iterator[str]:
    known = answer.head[answer.head["risk_ratio"].notna()]
    unclear = known.loc[known["verdict"] == UNKNOWN, "signal"]
    if not answer.alike:
        yield f"{UNLIKE} Active users do more of everything, so none is called a signal."
    elif len(unclear):
        who = phrases.listed(unclear, most=MOST_NAMED)
        yield f"Neither an effect nor its absence is sure: {who}."
    partly = known[known["comparable_rate"] < ALIKE_FROM]
    if len(partly):
        some = [f"{r['signal']} ({100 * r['comparable_rate']:.0f} %)" for _, r in partly.iterrows()]
        yield (
            "Of some kinds of users all had it, or none, and these are left out; the share that is "
            f"compared: {phrases.listed(some, most=MOST_NAMED)}."
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
    for _, row in known[known["verdict"] == SIGNAL].head(1).iterrows():
        yield (
            f"A hidden cause would have to go with both {named(row['signal'])} and the outcome "
            f"{row['e_value']:.1f}-fold ({row['e_value_limit']:.1f}-fold for the end of the range) "
            "to explain it away."
        )
    alone = known[known["without_use"]]
    if len(alone):
        who = phrases.listed(alone["signal"], most=MOST_NAMED)
        yield f"Most users with it had not been active by then: {who}."
    if known["out_of_time_gain"].isna().any():
        yield "All users began in one month: whether it holds for later users is not known."


def worth(row: pd.Series) -> str:
    """What the best threshold is worth where it was looked for, and for later users."""
    early, late = (row[f"{name}_difference_rate"] for name in ("early", "late"))
    text = f"{phrases.points(row, 'early_difference_rate')} where it was looked for"
    if np.isnan(late):
        return f"{text}; all began in one month, so no later users are known"
    excess = 100 * (early - late) * (1 if early > 0 else -1)
    text += f", {phrases.points(row, 'late_difference_rate')} for later users"
    if excess < 0:
        return f"{text}, which is {-excess:.1f} points stronger"
    return f"{text}; the search made it look {excess:.1f} points too strong"
