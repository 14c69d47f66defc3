"""Teams' definitions in words: on how many users they disagree, and which meaning to begin from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib import phrases
from mctlib.headlines import Action, Against, Headline, brief, named, ranged
from mctlib.signals.clock import Reach
from mctlib.signals.outcomes import Outcome

PARTED = (
    " Months in which teams part are two, or all from one on, against up to 12 before; the larger "
    "change allows for all that were tried."
)


@dataclass(frozen=True)
class Meanings:
    """Tables of `Definitions`, and what sentences need beside them."""

    term: str
    definitions: pd.DataFrame
    overlap: pd.DataFrame
    disagreement: pd.DataFrame
    outcome: Outcome
    landmark: int
    cut: Sequence[str]  # definitions that the landmark cuts
    start: str
    lacking: tuple[str, str, float] | None  # of the first team's users so many are none of another
    parted: pd.DataFrame
    reach: Reach
    by_account: bool
    said: tuple[str, ...]
    until: str

    @property
    def word(self) -> str:
        """The term as it stands in a sentence."""
        return named(self.term) if self.term != "the term" else self.term

    @property
    def as_word(self) -> str:
        """What users count as, to follow "count"; "" where the term has no name."""
        return f" as {self.word}" if self.word != self.term else ""

    @property
    def apart(self) -> tuple[pd.Series, pd.Series, str] | None:
        """The team that counts more users than before, the one that counts fewer, and when."""
        if self.parted.empty:
            return None
        rows = self.parted.sort_values("change_rate")
        return rows.iloc[1], rows.iloc[0], _months(*rows.iloc[0][["since", "until"]])


def _months(since: str, until: str) -> str:
    """Months as people say them: "May and June 2026", "May to July 2026"."""
    first, last = pd.Timestamp(since), pd.Timestamp(until)
    between = " to " if last > first + pd.DateOffset(months=1) else " and "
    begins = f"{first:%B}" if first.year == last.year else f"{first:%B %Y}"
    return f"{last:%B %Y}" if first == last else f"{begins}{between}{last:%B %Y}"


def told_definitions(of: Meanings) -> dict[str, Any]:
    """The fields of a `Result` beside the tables."""
    best = of.definitions[of.definitions["foretells"] == "best"]
    row = best.iloc[0] if len(best) else None
    everyone = of.disagreement.iloc[0]
    rate = everyone["disagreement_rate"]
    known = rate == rate
    finding = brief(f"How far teams disagree about {of.word} cannot be told", ": too few users")
    if known:
        tail = ""
        if row is not None:
            tail = f"; {row['team']}'s meaning foretells {of.outcome.noun} best"
        finding = brief(f"Teams disagree about {of.word} on {100 * rate:.0f} of 100 users", tail)
    first = [finding] if of.apart else []
    if of.apart:
        more, fewer, when = of.apart
        counts = f"More users count{of.as_word} for {_from_to(more)}, fewer for {_from_to(fewer)}"
        finding = brief(counts, f", in {when}")
    return {
        "finding": finding,
        "headlines": tuple(_headlines(of, everyone if known else None, row)),
        "actions": tuple(_actions(of, row)) if known else (),
        "tells": _tells(of, everyone if known else None),
        "how_sure": phrases.that_hold([(of.by_account, "Counted per account.")]),
        "details": (*first, *_details(of)),
        "rule": _rule(of),
        "caveats": (*of.said, *_caveats(of)),
    }


def _from_to(row: pd.Series) -> str:
    """A team, and its share before and after: "Product (22.2 to 20.7 %)"."""
    return f"{row['team']} ({100 * row['before_rate']:.1f} to {100 * row['after_rate']:.1f} %)"


def _headlines(of: Meanings, everyone: pd.Series | None, best: pd.Series | None) -> list[Headline]:
    found = []
    if everyone is not None:
        found.append(
            Headline(
                name="disagreement",
                label=f"Users on whom teams disagree about {of.word}",
                **ranged(everyone, "disagreement_rate", 100),
                unit="%",
                n=int(everyone["n_users"]),
                note=f"{len(of.definitions)} definitions",
            )
        )
    if of.apart:
        more, fewer, when = of.apart
        found.append(
            Headline(
                name="definitions apart",
                label=f"Users who count{of.as_word} for {fewer['team']}, {when}",
                **ranged(fewer, "change_rate", 100),
                unit="points",
                against=Against("zero"),
                verdict="sure",
                tone="unwanted",
                act=True,
                note=f"{more['team']} {100 * more['change_rate']:+.1f} points",
            )
        )
    if best is not None:
        found.append(
            Headline(
                name="best definition",
                label=f"Best at foretelling {of.outcome.noun}: {best['team']}'s definition",
                **ranged(best, "risk_ratio"),
                unit="\u00d7",
                against=Against("group", 1.0, "without it"),
                verdict="sure",
                tone="wanted",
                note=f"in {phrases.window(of.landmark)}",
            )
        )
    return found


def _actions(of: Meanings, best: pd.Series | None) -> list[Action]:
    text = f"Agree on one meaning of {of.word}"
    tail = f": begin from {best['team']}'s definition" if best is not None else ""
    if not of.apart:
        return [Action(text=f"{text}{tail}.", role="Team leads", about="disagreement")]
    more, fewer, when = of.apart
    rose, fell = (f"{100 * abs(row['change_rate']):.1f} points" for row in (more, fewer))
    moved = f"in {when} {more['team']}'s share rose {rose} while {fewer['team']}'s fell {fell}"
    return [Action(text=f"{text}{tail}; {moved}.", role="Team leads", about="definitions apart")]


def _tells(of: Meanings, everyone: pd.Series | None) -> dict[str, str]:
    met = of.definitions.dropna(subset=["met_rate"])
    said = [f"{row['team']} {100 * row['met_rate']:.0f} %" for _, row in met.iterrows()]
    told = {"definitions": f"by {phrases.listed(said)} of users count" if said else "too few users"}
    told["months"] = told["definitions"]
    if of.apart:
        more, fewer, when = of.apart
        told["months"] = f"in {when} more count for {_from_to(more)}, fewer for {_from_to(fewer)}"
    if everyone is not None:
        told["overlap"] = f"teams disagree on {100 * everyone['disagreement_rate']:.0f} % of users"
    return told


def _details(of: Meanings) -> list[str]:
    found = [_course(row, of.apart[2]) for row in of.apart[:2]] if of.apart else []
    if of.lacking:
        first, second, share = of.lacking
        means = of.definitions.set_index("team")["means"]
        found.append(
            f"Of 100 users whom {first} counts, {100 * share:.0f} have no {named(means[second])}, "
            f"which is what {second} means: begin the talk with them."
        )
    for _, row in of.definitions.iterrows():
        ratio = phrases.times(row, "risk_ratio")
        ratio = ratio.replace("as many", "as much") if of.outcome.amount else ratio
        if row["met_rate"] == row["met_rate"]:
            with_it = f"; with it {ratio} {of.outcome.noun} among like users" if ratio else ""
            text = f"{row['team']} ({row['means']}): {phrases.share(row, 'met_rate')}{with_it}."
            found.append(text)
    return found


def _course(row: pd.Series, when: str) -> str:
    """How a team's share moved, with all numbers."""
    relative = 100 * (row["after_rate"] / row["before_rate"] - 1)
    return (
        f"Of {phrases.users(row['n_users'])} who began in {when} {100 * row['after_rate']:.1f} % "
        f"count for {row['team']}, of the {row['n_before']:,.0f} before them "
        f"{100 * row['before_rate']:.1f} %: {phrases.points(row, 'change_rate')}, that is "
        f"{abs(relative):.0f} % {'more' if relative > 0 else 'fewer'}."
    )


def _rule(of: Meanings) -> str:
    parted = PARTED if of.apart else ""
    return (
        f"Users with {of.start} up to {of.until} whose {phrases.window(of.outcome.until)} are "
        "over; a definition is met within its own time after the start. What comes after is asked "
        f"of those at risk {phrases.window(of.landmark)} after it: {of.outcome.rule}."
        f"{parted}"
    )


def _caveats(of: Meanings) -> tuple[str, ...]:
    kappas = of.disagreement.dropna(subset=["kappa"])
    told = [f"{row['between']} {row['kappa']:.2f}" for _, row in kappas.iterrows()]
    hidden = of.definitions.loc[of.definitions["n_met"].isna(), "team"]
    return phrases.that_hold(
        [
            (
                of.reach.n_pending,
                f"{of.reach.n_pending:,} of {phrases.users(of.reach.n_users)} are left out: "
                f"{phrases.window(of.outcome.until)} are not over for them.",
            ),
            (
                of.cut,
                f"Cut at the landmark, which comes before their own time is over: "
                f"{phrases.listed(of.cut)}.",
            ),
            (len(hidden), f"Not told, so that no small group is: {phrases.listed(hidden)}."),
            (
                told,
                f"Agreement beyond chance (kappa): {phrases.listed(told)}; it depends on how many "
                "users count at all, so read the shares.",
            ),
        ]
    )
