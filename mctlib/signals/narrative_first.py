"""What a director reads first of signals: a sentence, numbers, what to do."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mctlib import phrases
from mctlib.headlines import (
    ANALYST,
    TIGHT,
    Action,
    Against,
    Headline,
    brief,
    money,
    named,
    ranged,
    upper,
)
from mctlib.signals.candidates import Candidate
from mctlib.signals.narrative import Answer, caveats, details, rule, within
from mctlib.signals.verdicts import HARMFUL, LOOK, SIGNAL, STOP, VANITY

MOST_STOPPED = 3  # named in a sentence
MANY = 9.5  # times as many, from which on no decimal is said


def told_signals(answer: Answer) -> dict[str, Any]:
    """The fields of a `Result` beside the tables of `Signals`."""
    best, flattered, harm = (_first(answer, verdict) for verdict in (SIGNAL, VANITY, HARMFUL))
    return {
        "finding": _finding(answer, best, flattered, harm),
        "news": best is not None or harm is not None,
        "headlines": tuple(_headlines(answer, best, flattered, harm)),
        "actions": tuple(_actions(answer, best, flattered, harm)),
        "tells": _tells(answer),
        "how_sure": phrases.that_hold(
            [
                (
                    answer.alike,
                    "What users had done by a fixed day, then what came; like with like.",
                ),
                (not answer.alike, "Who is more active could not be told, so nothing is sure."),
                (True, "It goes together; only a test proves cause."),
                (answer.clock.accounts, "Counted per account."),
            ]
        ),
        "details": details(answer),
        "rule": rule(answer),
        "caveats": caveats(answer),
    }


def _first(answer: Answer, verdict: str) -> pd.Series | None:
    """The row of a verdict that is named: the surest, of vanity what flatters most."""
    rows = answer.head[answer.head["verdict"] == verdict]
    if rows.empty:
        return None
    if verdict == VANITY:
        ratio = rows["naive_risk_ratio"].fillna(1.0)
        rows = rows.loc[(ratio if answer.outcome.wanted else -ratio).nlargest(1).index]
        return rows.iloc[0] if rows["naive_only"].iloc[0] else None
    by = "e_value_limit"
    return rows.loc[rows[by].idxmax()] if rows[by].notna().any() else rows.iloc[0]


def _times(row: pd.Series, column: str = "risk_ratio") -> str:
    return f"{row[column]:.{int(row[column] < MANY)}f}"


def _finding(
    answer: Answer,
    best: pd.Series | None,
    flattered: pd.Series | None,
    harm: pd.Series | None,
) -> str:
    noun = answer.outcome.noun
    many = "as much" if answer.outcome.amount else "as many"
    only = ""
    if flattered is not None:
        only = f"; {named(flattered['signal'])} only looks good because those who stay do more"
    row = best if best is not None else harm
    if row is None:
        which = "No small step clearly goes with" if answer.outcome.wanted else "None cuts"
        return brief(f"{which} {'more ' * answer.outcome.wanted}{noun}", only)
    return brief(
        f"{named(row['signal'])} in {within(row)} goes with {_times(row)} times {many} {noun}", only
    )


def _headlines(
    answer: Answer,
    best: pd.Series | None,
    flattered: pd.Series | None,
    harm: pd.Series | None,
) -> list[Headline]:
    found = []
    for row, name in ((best, "signal"), (harm, "harm")):
        if row is not None:
            found.append(
                _tile(
                    answer,
                    row,
                    name,
                    verdict="sure",
                    tone="wanted" if name == "signal" else "unwanted",
                    act=name == "harm",
                    note=_against(answer, row),
                )
            )
    if flattered is not None:
        endless = flattered["naive_risk_ratio"] == float("inf")
        many = "no limit" if endless else f"{_times(flattered, 'naive_risk_ratio')}{TIGHT}\u00d7"
        note = f"counted plainly {many}"
        found.append(_tile(answer, flattered, "vanity", verdict="not clear", note=note))
    return found


def _tile(answer: Answer, row: pd.Series, name: str, **more: Any) -> Headline:
    span = within(row).removeprefix("the first ")
    return Headline(
        name=name,
        label=f"{upper(answer.outcome.done)} after {named(row['signal'])} in {span}",
        **ranged(row, "risk_ratio"),
        unit="\u00d7",
        against=Against("group", 1.0, "without it"),
        **more,
    )


def _against(answer: Answer, row: pd.Series) -> str:
    """With it against without it: "28 % against 10 %"."""
    pair = [row[f"{side}_rate"] for side in ("exposed", "unexposed")]
    if answer.outcome.amount:
        told = [money(value, answer.currency).replace(" ", TIGHT) for value in pair]
    else:
        told = [f"{100 * value:.0f}{TIGHT}%" for value in pair]
    return f"{told[0]} against {told[1]}"


def _actions(
    answer: Answer,
    best: pd.Series | None,
    flattered: pd.Series | None,
    harm: pd.Series | None,
) -> list[Action]:
    noun, found = answer.outcome.noun, []
    if best is not None:
        change = "more" if answer.outcome.wanted else "fewer"
        text = f"Test with a holdout whether more {named(best['signal'])} in {within(best)} brings"
        found.append(
            Action(
                text=f"{text} {change} {noun}.",
                role=_who(answer.candidates[best["signal"]]),
                about="signal",
                size=f"with it {_times(best)}{TIGHT}\u00d7",
            )
        )
    if harm is not None:
        less = "less" if answer.outcome.amount else "fewer"
        change = less if answer.outcome.wanted else "more"
        found.append(
            Action(
                text=f"Find out why {named(harm['signal'])} goes with {change} {noun}.",
                role=_who(answer.candidates[harm["signal"]]),
                about="harm",
                size=f"with it {_times(harm)}{TIGHT}\u00d7",
            )
        )
    stop = answer.watch.loc[answer.watch["act"] == STOP, "signal"]
    if len(stop) and flattered is not None:
        names = [flattered["signal"], *(s for s in stop if s != flattered["signal"])]
        told = phrases.listed(map(named, names), most=MOST_STOPPED)
        text = f"Stop reporting {told} as success."
        role = _who(answer.candidates[flattered["signal"]])
        found.append(Action(text=text, role=role, about="vanity"))
    return found


def _who(candidate: Candidate) -> str:
    """Who acts: the role that the plan names, else the lead of the team whose number it is."""
    return candidate.step.acts or (f"{upper(candidate.owner)} lead" if candidate.owner else ANALYST)


def _tells(answer: Answer) -> dict[str, str]:
    head = answer.head[answer.head["risk_ratio"].notna()]
    n = head["verdict"].value_counts()
    signals, vanity = int(n.get(SIGNAL, 0)), int(n.get(VANITY, 0))
    told = f"{signals or 'none'} of {len(head)} is a signal" if signals < 2 else ""
    told = told or f"{signals} of {len(head)} are signals"
    watch = answer.watch["act"].value_counts()
    keep = len(answer.watch) - watch.get(STOP, 0) - watch.get(LOOK, 0)
    many = "as much" if answer.outcome.amount else "as many"
    found = {
        "picture": f"With the step against without it: how many times {many} {answer.outcome.noun}",
        "signals": f"{told}, {vanity or 'none'} only look{'s' * (vanity == 1)} good",
        "watch": f"{keep or 'none'} to keep, {watch.get(STOP, 0) or 'none'} to stop",
    }
    others = []
    for name in list(answer.outcomes)[1:]:
        rows = answer.signals[answer.signals["outcome"] == name]
        sure = rows.loc[rows["verdict"].isin([SIGNAL, HARMFUL]), "signal"]
        others.append(f"{name}: {phrases.listed(sure, most=2) or 'nothing sure'}")
    return found | ({"outcomes": "; ".join(others)} if others else {})
