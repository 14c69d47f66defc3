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
    reach: Reach
    by_account: bool
    said: tuple[str, ...]
    until: str

    @property
    def word(self) -> str:
        """The term as it stands in a sentence."""
        return named(self.term) if self.term != "the term" else self.term


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
    return {
        "finding": finding,
        "headlines": tuple(_headlines(of, everyone if known else None, row)),
        "actions": tuple(_actions(of, row)) if known else (),
        "tells": _tells(of, everyone if known else None),
        "how_sure": phrases.that_hold([(of.by_account, "Counted per account.")]),
        "details": tuple(_details(of)),
        "rule": _rule(of),
        "caveats": (*of.said, *_caveats(of)),
    }


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
    return [Action(text=f"{text}{tail}.", role="Team leads", about="disagreement")]


def _tells(of: Meanings, everyone: pd.Series | None) -> dict[str, str]:
    met = of.definitions.dropna(subset=["met_rate"])
    said = [f"{row['team']} {100 * row['met_rate']:.0f} %" for _, row in met.iterrows()]
    told = {"definitions": f"by {phrases.listed(said)} of users count" if said else "too few users"}
    if everyone is not None:
        told["overlap"] = f"teams disagree on {100 * everyone['disagreement_rate']:.0f} % of users"
    return told


def _details(of: Meanings) -> list[str]:
    found = []
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


def _rule(of: Meanings) -> str:
    return (
        f"Users with {of.start} up to {of.until} whose {phrases.window(of.outcome.until)} are "
        "over; a definition is met within its own time after the start. What comes after is asked "
        f"of those at risk {phrases.window(of.landmark)} after it: {of.outcome.rule}."
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
