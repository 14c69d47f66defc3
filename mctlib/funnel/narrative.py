"""What `diagnose_funnel` says of its tables, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.eventlog import filters
from mctlib.eventlog.steps import Exclusion, Step
from mctlib.funnel.counts import Rule
from mctlib.funnel.rates import Counts

SKIPPED_SHARE = 0.01  # of the entrants: from here on a step that users pass is worth a caveat
WORTH_TELLING = 1.05  # design effect; below, users are as good as on their own, or tell even more
MOST_LISTED = 5
HOW = {
    "ordered": "steps in order",
    "strict": "steps in order with no other event between",
    "unordered": "steps in any order",
}


class Checks:
    """How many users a check speaks of, from the table "checks" of `count_funnel`."""

    def __init__(self, table: pd.DataFrame) -> None:
        keys = zip(table["check"], table["number"])
        self._n = dict(zip(keys, table["n_users"].tolist()))

    def n(self, check: str, number: int = 0) -> int:
        """Users; 0 where there is no such check."""
        return int(self._n.get((check, number), 0))

    def __contains__(self, check: tuple[str, int]) -> bool:
        return check in self._n


class Asked(NamedTuple):
    """The question in a person's words."""

    steps: Sequence[Step]
    exclusions: Sequence[Exclusion]
    leave: Step | None
    missing: Sequence[str]  # what is to be said of events that never occur
    day: str  # the last day that counts


@dataclass(frozen=True)
class Told:
    """What a funnel's sentences are made from."""

    asked: Asked
    counts: Mapping[str, Counts]  # by segment, "all" among them
    steps: pd.DataFrame
    checks: Checks
    rule: Rule

    @cached_property
    def total(self) -> pd.DataFrame:
        """The rows of everyone."""
        return self.steps.head(self.rule.n_steps)

    @cached_property
    def ends(self) -> pd.DataFrame:
        """The rows of the segments at the last step."""
        return self.steps[self.steps["step"] == self.rule.n_steps].iloc[1:]

    @property
    def n_entered(self) -> int:
        """Users with a first entry."""
        return self.counts["all"].n_entered

    @property
    def names(self) -> list[str]:
        """The steps in a sentence."""
        n = self.rule.n_steps
        if self.rule.order == "unordered":
            return [f"{k} of the {n} steps" for k in range(1, n + 1)]
        return list(self.total["event"])


def finding(told: Told) -> str:
    """Entrants, completion, the weakest step, the spread over segments."""
    parts = [_completion(told) + _weakest(told), _spread(told)]
    return ". ".join(filter(None, parts)) + "."


def _completion(told: Told) -> str:
    last = told.total.iloc[-1]
    first_name, last_name = told.names[0], told.names[-1]
    span = phrases.window(told.rule.window)
    entered = f"{phrases.users(told.n_entered)} with {first_name}"
    if not told.n_entered:
        return (
            f"An exclusion takes out the first attempt of everyone with {first_name}, so there is "
            "no rate"
        )
    if np.isnan(last["horizon_rate"]):
        return (
            f"Of {entered}, the share reaching {last_name} within {span} is not known yet: too few "
            "were followed"
        )
    reached = f"Of {entered}, {phrases.share(last, 'horizon_rate')} reached {last_name}"
    if np.isnan(last["conversion_rate"]):
        return (
            f"{reached} so far, within {phrases.duration(last['horizon_days'])}; too few were "
            f"followed longer to tell the share within {span}"
        )
    return f"{reached} within {span}"


def _weakest(told: Told) -> str:
    total = told.total
    known = total[total["n_closed"] >= (stats.MIN_WAITING if told.counts["all"].n_open[0] else 0)]
    if len(total) < 3 or known["step_rate"].isna().all():
        return ""
    k = int(known["step_rate"].idxmin())
    before = int(told.rule.previous[k])
    whom = "the step before" if before == k - 1 else f"step {before + 1}"
    return (
        f"; the weakest step is step {k + 1}, {told.names[k]}: of "
        f"{phrases.users(total.loc[k, 'n_closed'])} at {whom} with a closed window "
        f"{phrases.share(total.loc[k], 'step_rate')} go on"
    )


def _spread(told: Told) -> str:
    compared = told.ends[told.ends["difference_rate"].notna()].sort_values("difference_rate")
    named = compared[compared["differs"]]
    if compared.empty:
        return ""
    if named.empty:
        return "No segment clearly differs from the others"
    said: list[str] = []
    for word, row in (("least", named.iloc[0]), ("most", named.iloc[-1])):
        if (row["difference_rate"] < 0) == (word == "least"):
            than = f", {phrases.points(row, 'difference_rate')} against the others"
            if said and len(compared) == 2:
                than = ""  # that has been said
            share = phrases.share(row, "conversion_rate")
            said.append(f"{word} in {row['segment']}, {share}{than}")
    return f"By segment, {told.names[-1]} is reached {'; '.join(said)}"


def rule(told: Told) -> str:
    """How it was counted."""
    span = phrases.window(told.rule.window)
    text = ", ".join([HOW[told.rule.order], *_options(told), f"{span} from a user's first entry"])
    if not told.n_entered:
        return f"{text}."
    last = told.total.iloc[-1]
    if last["n_pending"]:
        pending = f"{phrases.users(last['n_pending'])} still inside the window counted as pending"
    else:
        pending = "nobody is pending" if told.counts["all"].n_open[0] else "every window has closed"
    left = f"leaving by {told.asked.leave.label} ends the wait, " if told.asked.leave else ""
    unit = told.rule.unit
    rounded = f"times to {phrases.window(unit)}, " if unit > 1 else ""
    clusters = told.counts["all"].clusters
    intervals = "95 % intervals"
    if clusters.n_clusters < stats.MIN_CLUSTERS:
        intervals = "too few accounts for intervals"
    elif clusters.n_accounts:
        intervals += phrases.in_accounts(clusters.n_accounts, last["design_effect"])
    return f"{text}, {left}{pending}; {rounded}{intervals}."


def _options(told: Told) -> list[str]:
    """What else the attempts are held to."""
    found = [
        f"{e.step.label} takes back the steps before it"
        if told.rule.order == "unordered"
        else f"users with {e.step.label} between steps {e.after} and {e.before} taken out"
        for e in told.asked.exclusions
    ]
    if told.rule.optional:
        numbers = phrases.listed(map(str, told.rule.optional), last="or")
        found.append(f"step {numbers} may be skipped")
    if told.rule.hold:
        found.append(f"the same {phrases.listed(told.rule.hold)} throughout")
    return found


def caveats(told: Told) -> tuple[str, ...]:
    """What a reader must know, the missing events first."""
    return (
        *(_never_done(sentence) for sentence in told.asked.missing),
        *phrases.that_hold(_of_counting(told)),
        *_skipped(told),
        *phrases.that_hold(_of_intervals(told)),
    )


def _of_counting(told: Told) -> list[tuple[object, str]]:
    """Users who are counted in some numbers and not in others: condition, sentence."""
    n_exclusions = len(told.asked.exclusions)
    last, later = told.total.iloc[-1], told.checks.n("later")
    pending, n_reached = int(last["n_pending"]), int(last["n_reached"])
    gone = told.checks.n("excluded", n_exclusions)
    spoilt, tied = told.checks.n("excluded", n_exclusions + 1), told.checks.n("tied")
    unforeseen = " Exclusions that are still to come are not foreseen." if n_exclusions else ""
    return [
        (
            pending,
            f"Still inside their window on {told.asked.day}: {phrases.users(pending)} "
            f"({100 * pending / max(told.n_entered, 1):.1f} %). naive_rate counts them as lost "
            f"({n_reached:,} of {told.n_entered:,}, {100 * last['naive_rate']:.1f} %), "
            f"conversion_rate does not.{unforeseen}",
        ),
        (
            later,
            f"Reached the last step only on a later attempt: {phrases.users(later)}. They are in "
            "n_reached and naive_rate, not in conversion_rate.",
        ),
        (gone, f"Taken out by an exclusion: {phrases.users(gone)}. They are in no count."),
        (
            spoilt and told.rule.order != "unordered",
            "Taken out by an exclusion on the first attempt, but not on the deepest: "
            f"{phrases.users(spoilt)}. They are in n_reached and naive_rate, not in "
            "conversion_rate and step_rate.",
        ),
        (
            spoilt and told.rule.order == "unordered",
            f"Set back by an exclusion: {phrases.users(spoilt)}. What they did before it counts "
            "for nothing, what they did after it counts.",
        ),
        (
            tied,
            f"Two steps at the very same time: {phrases.users(tied)}. These were read in the "
            "order of the steps.",
        ),
    ]


def _of_intervals(told: Told) -> list[tuple[object, str]]:
    """What accounts and small segments do to intervals: condition, sentence."""
    last = told.total.iloc[-1]
    few = [s for s, c in told.counts.items() if c.clusters.n_clusters < stats.MIN_CLUSTERS]
    in_few = "" if few == ["all"] else f" in {phrases.listed(few, most=MOST_LISTED)}"
    entered = told.steps[told.steps["step"] == 1].iloc[1:]
    small = entered.loc[entered["n_entered"] < stats.MIN_USERS, "segment"]
    large = told.ends["n_entered"] >= stats.MIN_USERS
    young = told.ends.loc[large & told.ends["conversion_rate"].isna(), "segment"]
    return [
        (
            last["design_effect"] >= WORTH_TELLING and last["n_accounts"],
            f"Users of one account act alike. Theirs are {last['n_accounts']:,.0f} accounts, and "
            f"at the last step {last['design_effect']:.1f} users tell as much as one would on "
            "their own (the design effect); the intervals allow for it.",
        ),
        (few, phrases.too_few_accounts(in_few)),
        (
            len(small),
            f"Fewer than {stats.MIN_USERS} users entered in "
            f"{phrases.listed(small, most=MOST_LISTED)}: too few to compare.",
        ),
        (
            len(young) and last["n_entered"],
            "Too few were followed for the whole window, so not compared: "
            f"{phrases.listed(young, most=MOST_LISTED)}.",
        ),
    ]


def _never_done(missing: str) -> str:
    return f"The {missing[:-1]}; it counts as never done."


def _skipped(told: Told) -> list[str]:
    found = []
    for k, event in enumerate(told.total["event"], start=1):
        n = told.checks.n("skipped", k)
        if n > SKIPPED_SHARE * told.n_entered:
            found.append(
                f"A later step but never {event} (step {k}): {phrases.users(n)}. Either it is not "
                "always needed or its tracking loses events."
            )
    return found


def checks_table(told: Told) -> pd.DataFrame:
    """`Funnel.checks`: each reason in words, and how many users it is about."""
    n_steps, events = told.rule.n_steps, told.total["event"].tolist()
    unordered = told.rule.order == "unordered"
    last = (n_steps, events[-1])
    n_pending = int(told.total["n_pending"].iloc[-1])
    rows: list[tuple[str, int | None, str, int]] = [
        ("window still open, step not reached", *last, n_pending),
        ("reached only on a later attempt", *last, told.checks.n("later")),
    ]
    out, n_exclusions = "taken out by an exclusion", len(told.asked.exclusions)
    for i, e in enumerate(told.asked.exclusions):
        number = None if unordered else e.before
        where = e.step.label if unordered else f"{e.step.label} after step {e.after}"
        rows.append((out, number, where, told.checks.n("excluded", i)))
    if n_exclusions > 1:
        rows.append((out, None, "any of these", told.checks.n("excluded", n_exclusions)))
    if n_exclusions:
        spoilt = told.checks.n("excluded", n_exclusions + 1)
        counted = "set back by an exclusion" if unordered else f"{out} on the first attempt only"
        rows.append((counted, None, "", spoilt))
    if told.rule.hold:
        held = " and ".join(told.rule.hold)
        rows.append((f"reached, but not with the same {held}", *last, told.checks.n("hold")))
    if not unordered:
        rows.append(("two steps at the very same time", None, "", told.checks.n("tied")))
    for k in range(2, n_steps):
        if ("skipped", k) in told.checks:
            n = told.checks.n("skipped", k)
            rows.append(("a later step, but never this one", k, events[k - 1], n))
    table = pd.DataFrame(rows, columns=["check", "step", "event", "n_users"])
    return table.astype({"step": "Int64"})


def filter_meets_nothing(step: Step, event_names: Sequence[str]) -> str:
    """Why nobody did a first step whose event occurs: it does not with what the filter asks for."""
    here = [f'"{name}"' for name in step.names if name in event_names]
    asked = [filters.words(*item) for part in step.parts for item in part.where.items()]
    occurs = "other events occur"
    if here:
        occurs = f"{' and '.join(here)} occur{'s' if len(here) == 1 else ''}"
    return (
        f"steps: step 1 ({step.label}) matches no event; {occurs}, but never with "
        f"{' and '.join(asked)}."
    )


def corrected(table: pd.DataFrame) -> tuple[str, ...]:
    """What the last step's rate would be, had tracking lost nothing; nothing where it did not."""
    if table.empty:
        return ()
    row = table.iloc[-1]
    if pd.isna(row["corrected_rate"]):
        return (f"So much of the way to {row['event']} is lost that its rate cannot be corrected.",)
    return (
        f"Corrected for what tracking lost, {row['event']}: {phrases.share(row, 'corrected_rate')} "
        f"in place of {phrases.share(row, 'conversion_rate')}; the interval is wider by what is "
        "not known of the loss.",
    )
