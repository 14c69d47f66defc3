"""What an audit found, in sentences for an analyst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from mctlib import phrases
from mctlib.audit.delays import young_days
from mctlib.audit.verdicts import TOO_FEW
from mctlib.audit.witnesses import Asked
from mctlib.contract import MISSING
from mctlib.eventlog.late_start import ALL, BETWEEN
from mctlib.headlines import day
from mctlib.results import MIN_USERS, OTHERS
from mctlib.tracking_plan.plan import Plan

KNOWN = {"back end": "the server knows", "implied": "later events imply"}


@dataclass(frozen=True)
class Told:
    """What the sentences are about.

    days_99: days until 99 % are in, None where nothing tells · n_users: of the log ·
    asked: of the witnesses · unheard: micro-conversions (their numbers) whose
    records meet no event, and what does not fit: "ids" or "clock" · before: records from before
    their event was there at all (`count_witnesses`).
    """

    tables: Mapping[str, pd.DataFrame]
    plan: Plan
    days_99: float | None
    n_users: int
    asked: Asked
    unheard: Mapping[int, str]
    before: pd.DataFrame

    def label(self, name: str) -> str:
        """A micro-conversion as people read it."""
        known = self.plan.micro_conversions.get(name)
        return known.label if known else name

    def where(self, row: Mapping[str, Any] | pd.Series) -> str:
        """A platform, to follow a word: " on Android"; "" where the log knows none."""
        unknown = {ALL, MISSING}
        if row["platform"] not in unknown:
            return f" on {phrases.called(row['platform'])}"
        seen = self.tables["presence"].query("n_events > 0")["platform"]
        return "" if unknown.issuperset(seen) else " without a platform"

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Of micro-conversions that something can be said of by a witness."""
        table = self.tables["verdicts"]
        return table[table["witness"] != ""]

    @cached_property
    def violations(self) -> pd.DataFrame:
        """Those of so many users that they may be told."""
        table = self.tables["violations"]
        return table[table["n_users"] >= MIN_USERS]

    @cached_property
    def answers(self) -> pd.DataFrame:
        """Answers to each question, of so many users that they may be told."""
        table = self.tables["answers"]
        return table[(table["platform"] == ALL) & (table["n_answers"] >= MIN_USERS)]

    @cached_property
    def lost(self) -> pd.DataFrame:
        """What is lost, what goes on before what is over, and what moves its number most first."""
        table = self.tables["verdicts"]
        lost = table[table["moves_rate"] < 0].sort_values("moves_rate", kind="stable")
        return lost.sort_values("until", key=lambda until: until != "", kind="stable")

    def n(self, *verdicts: str) -> int:
        """Micro-conversions with one of these verdicts, the worst of each."""
        return int(self.worst.isin(verdicts).sum())

    @cached_property
    def worst(self) -> pd.Series:
        """Micro-conversion -> its worst verdict, of those that have a witness."""
        return self.verdicts.drop_duplicates("micro_conversion").set_index("micro_conversion")[
            "verdict"
        ]

    @cached_property
    def misfits(self) -> tuple[str, ...]:
        """A sentence a micro-conversion of which the server is not heard."""
        names = [*self.plan.micro_conversions]
        why = {"ids": "ids of users differ", "clock": "times differ by more than a day"}
        return tuple(
            f"Records of the server and events of {self.label(names[bit])} do not meet, for their "
            f"{why[reason]}; the server is not heard."
            for bit, reason in self.unheard.items()
        )

    @cached_property
    def late(self) -> tuple[str, ...]:
        """A sentence a micro-conversion and platform whose events came later than its witness."""
        names, days = [*self.plan.micro_conversions], self.asked.late.days
        told = self.before[self.before["n_users"] >= MIN_USERS]
        began = [
            days.get((what, on), days.get((what, ALL)))
            for what, on in zip(told["what"], told["platform"])
        ]
        said = []
        for (what, us), rows in told.assign(day=began).groupby(["what", "day"], sort=False):
            n = phrases.count(rows["n_checked"].sum(), "record")
            where = phrases.listed([self.where(row).strip() for row in rows.to_dict("records")])
            name = " ".join(filter(None, [self.label(names[what]), where]))
            said.append(
                f"{name} counts from {phrases.day(us)} on, when its event first came: {n} of "
                "before may be of a late start or of a loss, which cannot be told apart."
            )
        return tuple(said)

    @cached_property
    def young(self) -> str:
        """From which days on events are still arriving, by platform; "" where all are in."""
        table = self.tables["delays"]
        days = young_days(table, self.asked.end)
        told = [f"since {day(us * 1000)}{self.where(table.loc[row])}" for row, us in days.items()]
        return phrases.listed(told)

    @cached_property
    def twice(self) -> pd.DataFrame:
        """Platforms of which more than 1 % of the events are sure to be sent twice."""
        table = self.tables["duplicates"]
        return table[doubled_since(table)].sort_values("doubled_rate", ascending=False)


FAR = 0.05  # between two witnesses: from here on it is told
FAR_SHARE = 0.1  # of a group's share of answers from that of all
SURE = 0.01  # q-value from which on a group stands out
TWICE = 0.01  # of events that are sent twice: from here on it is told


def doubled_since(table: pd.DataFrame) -> pd.Series:
    """Rows of `Audit.duplicates` that tell a platform's doubles: its first version that has them.

    The platform as a whole where no version began it.
    """
    whole = table["app_version"] == "all"
    since = table["platform"].map(table[whole].set_index("platform")["since"])
    first = (table["app_version"] == since) | (whole & (since == ""))
    return first & (table["doubled_rate_ci_lower"] > TWICE)


def when(row: Mapping[str, Any] | pd.Series) -> str:
    """Since when, by version and week; that it cannot be dated where it cannot."""
    version = f"version {row['app_version']}" if row["app_version"] else ""
    week = f"the week of {row['since']}" if row["since"] else ""
    since = ", ".join(filter(None, [version, week]))
    ended = f"version {row['until_version']}, " if row["until_version"] else ""
    until = f" until {ended}the week of {row['until']}" if row["until"] else ""
    if since:
        return f"since {since}{until}"
    return f"from the first on{until}" if until else "no beginning can be dated"


def details(told: Told) -> tuple[str, ...]:
    """One sentence a loss, then duplicates, answers and the plan."""
    said = [_loss(told, row) for row in told.lost.to_dict("records")]
    said += [_doubled(told, row) for row in told.twice.to_dict("records")]
    said += [_answers(told, row) for row in told.answers.to_dict("records")]
    kinds = told.violations.groupby("kind", sort=False)["n_violating"].sum()
    said += [f"{kind}: {phrases.count(n, 'event')} against the plan." for kind, n in kinds.items()]
    said += [
        f"{row['property']} of {row['event']} {row['drift']} on {row['since']}."
        for row in told.tables["drift"].head(3).to_dict("records")
    ]
    return tuple(said)


def _loss(told: Told, row: Mapping[str, Any]) -> str:
    name, known = told.label(row["micro_conversion"]), KNOWN[row["witness"]]
    return (
        f"{name}{told.where(row)}: {phrases.share(row, 'completeness_rate')} of what {known} is "
        f"recorded ({row['n_checked']:,} records), {when(row)}; the number as a whole "
        f"{'was' if row['until'] else 'is'} {-100 * row['moves_rate']:.1f} % too low in that time."
    )


def _doubled(told: Told, row: Mapping[str, Any]) -> str:
    version = "all versions" if row["app_version"] == "all" else f"version {row['app_version']}"
    return (
        f"Of the events{told.where(row)}, {version}, {phrases.share(row, 'doubled_rate')} say "
        "again what one said within two seconds; numbers of events are too high by it, shares of "
        "users are not, unless a funnel asks for the same event twice."
    )


def _answers(told: Told, row: Mapping[str, Any]) -> str:
    gap = row["n_yes_without_event"] + row["n_no_with_event"]
    return (
        f"{told.label(row['micro_conversion'])}: {gap:,} of {row['n_answers']:,} answers disagree "
        f"with the events, {phrases.share(row, 'disagree_rate')}: {row['n_yes_without_event']:,} "
        f"say yes without an event, {row['n_no_with_event']:,} say no with one.{_most(told, row)} "
        f"{100 * row['n_answers'] / told.n_users:.0f} % of all users answered."
    )


def _most(told: Told, row: Mapping[str, Any]) -> str:
    """On which platform and version they disagree most, where that is sure."""
    table = told.tables["answers"]
    mine = table[(table["micro_conversion"] == row["micro_conversion"]) & (table["qvalue"] <= SURE)]
    mine = mine[mine["disagree_rate"] > row["disagree_rate"]]
    mine = mine[~mine["app_version"].isin([BETWEEN, MISSING, OTHERS])]
    if mine.empty:
        return ""
    worst = mine.loc[mine["disagree_rate"].idxmax()]
    version = f", version {worst['app_version']}" if worst["app_version"] != ALL else ""
    return f" Most disagree{told.where(worst)}{version}: {phrases.share(worst, 'disagree_rate')}."


def _silent(told: Told) -> str:
    """Who answers seldom, or often, so that answers speak for others; "" where nobody does."""
    table = told.tables["respondents"]
    if table.empty:
        return ""
    whole = table[table["by"] == ALL].iloc[0]
    sure = table[(table["qvalue"] <= SURE) & (table["group"] != MISSING)]
    far = (sure["answered_rate"] / whole["answered_rate"] - 1).abs()
    odd = sure[far >= FAR_SHARE].sort_values("answered_rate")
    said = (
        [
            f"{100 * row['answered_rate']:.1f} % of {row['by']} {phrases.called(row['group'])}"
            for row in odd.iloc[[0, -1] if len(odd) > 1 else [0]].to_dict("records")
        ]
        if len(odd)
        else []
    )
    return (
        f"Who answers is not who uses: {phrases.listed(said)} answered, of all users "
        f"{100 * whole['answered_rate']:.1f} %."
        if said
        else ""
    )


def rule(told: Told) -> str:
    """How it was counted."""
    late = ""
    if told.days_99 is not None:
        late = "; young days are divided by the share that has arrived by their age"
    return (
        "A record of the server is there if an event of the same user lies within a day of it; a "
        "later event's prerequisite if it lies before. Version and platform are those of the "
        "user's events on either side. Changes are dated by profile likelihood and a bootstrap "
        f"(p <= .01){late}. Trusted: surely above 95 %; lost: surely below 97 %, and 1 % of the "
        "whole number or more."
    )


def caveats(told: Told) -> tuple[str, ...]:
    """What an analyst has to know."""
    table, names = told.tables["verdicts"], [*told.plan.micro_conversions]
    none = [told.label(name) for name in table.loc[table["witness"] == "", "micro_conversion"]]
    few = told.verdicts.loc[told.verdicts["verdict"] == TOO_FEW, "micro_conversion"].map(told.label)
    unknown = told.tables["unknown"]
    unknown = unknown[~unknown["micro_conversion"].isin([names[bit] for bit in told.unheard])]
    pairs = [
        (
            bool(none),
            f"Nothing shows what should be there of {phrases.listed(none, most=4)}: no record of "
            "the server, nothing that implies it in the plan.",
        ),
        (len(few) > 0, f"Too few records to say: {phrases.listed(few, most=4)}."),
        (
            told.days_99 is None,
            "Nothing says when events were received, so that the newest days cannot be corrected "
            "for late ones; implied events and answers of the last three are left out.",
        ),
        (
            bool(told.young),
            f"Events {told.young} still arrive: less than 99 % are in. Verdicts leave out weeks of "
            "which that is so; as_of: settled in a pack counts up to the day before.",
        ),
        (bool(_silent(told)), _silent(told)),
        (
            len(told.answers) > 0,
            "Answers decide no verdict: a wrong yes looks like a lost event.",
        ),
    ]
    gaps = [
        f"The server has no record of {row['n_alone']:,} of {row['n_events']:,} events of "
        f"{told.label(row['micro_conversion'])}: it has gaps of its own."
        for row in unknown[unknown["n_users"] >= MIN_USERS].to_dict("records")
    ]
    return (
        *told.misfits,
        *told.late,
        *_coarse(told),
        *phrases.that_hold(pairs),
        *gaps,
        *_quarrels(told),
    )


def _coarse(told: Told) -> tuple[str, ...]:
    """What records and events leave open: which of them are there twice, and days alone."""
    names, asked = [*told.plan.micro_conversions], told.asked
    days = [told.label(names[bit]) for bit in sorted(asked.by_day)]
    pairs = [
        (
            asked.n_again >= MIN_USERS,
            f"The server holds {asked.n_again:,} of its records again within two seconds; such "
            "records count once.",
        ),
        (
            bool(days),
            f"Of {phrases.listed(days, most=4)} the day alone is known: days of users are "
            "compared, however often something was done on them.",
        ),
        (asked.dated, "Events with a day alone are never told as sent twice."),
    ]
    return phrases.that_hold(pairs)


def _quarrels(told: Told) -> list[str]:
    """Where two witnesses cannot both be right."""
    table = told.tables["completeness"]
    whole = table[(table["app_version"] == "all") & (table["week"] == "all")]
    keys = ["micro_conversion", "platform"]
    server, later = (whole[whole["witness"] == word] for word in KNOWN)
    said = []
    for row in server.merge(later, on=keys, suffixes=("", "_2")).to_dict("records"):
        first, second = (
            {c: row[f"completeness_rate{c}{end}"] for c in ("", "_ci_lower", "_ci_upper")}
            for end in ("", "_2")
        )
        apart = first["_ci_upper"] < second["_ci_lower"] or second["_ci_upper"] < first["_ci_lower"]
        apart &= abs(first[""] - second[""]) >= FAR
        if apart and row["platform"] != "all" and row["n_checked"] >= 30 <= row["n_checked_2"]:
            said.append(
                f"{told.label(row['micro_conversion'])}{told.where(row)}: the server says "
                f"{100 * first['']:.0f} %, later events {100 * second['']:.0f} %; they are of "
                "different users and times."
            )
    return said[:4]
