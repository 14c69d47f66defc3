"""What a director reads first of an audit: one sentence, its numbers, what to do and who."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mctlib.audit.narrative import Told
from mctlib.audit.verdicts import CORRECTABLE, TRUSTED, UNUSABLE
from mctlib.headlines import (
    Action,
    Headline,
    brief,
    day,
    named,
    ranged,
    upper,
)
from mctlib.phrases import called, count, listed, titled

COLLECTOR, MANAGER = "Data collector", "Partner manager"
ENOUGH_ANSWERS = 30


def read_first(told: Told) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {
        "finding": _finding(told),
        "news": len(told.lost) > 0,
        "headlines": (_usable(told), *_lost(told), *_twice(told), *_answers(told))[:4],
        "actions": tuple(_actions(told))[:3],
        "tells": _tells(told),
        "how_sure": tuple(_how_sure(told))[:3],
    }


def _finding(told: Told) -> str:
    n, good = len(told.worst), told.n(TRUSTED)
    if not n:
        return "Nothing shows what should have been recorded: the server's records would."
    first = f"{good} of {n} numbers that can be checked can be used"
    if good == n:
        numbers = f"All {n} numbers" if n > 1 else "The one number"
        first = f"{numbers} that can be checked can be used"
    if told.lost.empty:
        return brief(first)
    row = told.lost.iloc[0]
    together = told.lost[(told.lost[SPELL] == row[SPELL]).all(axis=1)]  # on several platforms
    device = listed([called(p) for p in together["platform"] if p not in ("all", "(none)")])
    loses = "lost" if row["until"] else "lose" if len(together) > 1 else "loses"
    kept = np.average(together["completeness_rate"], weights=together["n_checked"])
    return brief(
        first,
        f"; {device or 'tracking'} {loses} {100 * (1 - kept):.0f} % of {_named(told, row)}",
        _since(row),
    )


SPELL = ["micro_conversion", "app_version", "since", "until", "until_version"]


def _named(told: Told, row: Any) -> str:
    return named(told.label(row["micro_conversion"]))


def _since(row: Any) -> str:
    if row["until"]:
        version = row["until_version"]
        return f" until version {version}" if version else f" until {day(row['until'])}"
    if row["app_version"]:
        return f" since version {row['app_version']}"
    return f" since {day(row['since'])}" if row["since"] else ""


def _usable(told: Told) -> Headline:
    n, good = len(told.worst), told.n(TRUSTED)
    bad = told.n(CORRECTABLE, UNUSABLE)
    return Headline(
        name="usable",
        label="Numbers you can use",
        value=float(good) if n else None,
        text=f"{good} of {n}",
        verdict="sure" if bad else "" if good == n else "too few",
        tone="unwanted" if bad else "neutral",
        act=bad > 0,
        note=f"{told.n(CORRECTABLE)} to correct, {told.n(UNUSABLE)} unusable",
    )


def _lost(told: Told) -> list[Headline]:
    nouns = {"back end": "the server knows", "implied": "that must have been"}
    return [
        Headline(
            name="lost",
            label=_label(told, row),
            **ranged(row, "completeness_rate", 100),
            unit="%",
            n=int(row["n_checked"]),
            n_noun=nouns[row["witness"]],
            verdict="sure",
            tone="unwanted",
            act=not row["until"],
            note=_since(row).strip() or "no beginning dated",
        )
        for _, row in told.lost.head(1).iterrows()
    ]


def _label(told: Told, row: Any) -> str:
    device = told.where(row).removeprefix(" on ").strip()
    return (f"{upper(device)}: " if device else "") + f"{_named(told, row)} recorded"


def _twice(told: Told) -> list[Headline]:
    return [
        Headline(
            name="twice",
            label=f"Recorded twice{told.where(row)}",
            **ranged(row, "doubled_rate", 100),
            unit="%",
            n=int(row["n_events"]),
            n_noun="events",
            verdict="sure",
            tone="unwanted",
            act=True,
            note=f"from version {row['app_version']} on"
            if row["app_version"] != "all"
            else "in all versions",
        )
        for _, row in told.twice.head(1).iterrows()
    ]


def _answers(told: Told) -> list[Headline]:
    whole = told.answers[told.answers["n_answers"] >= ENOUGH_ANSWERS]
    rows = whole.sort_values("disagree_rate", ascending=False).head(1)
    return [
        Headline(
            name="answers",
            label=f"Survey and events disagree, {_named(told, row)}",
            **ranged(row, "disagree_rate", 100),
            unit="%",
            n=int(row["n_answers"]),
            n_noun="answers",
            note="wrong answers among them",
        )
        for _, row in rows.iterrows()
    ]


def _actions(told: Told) -> list[Action]:
    found = []
    lost = told.lost[told.lost["until"] == ""]
    alike: dict[Any, list[pd.DataFrame]] = {}  # what is lost, and from which version on
    for (_, version), rows in lost.groupby(["platform", "app_version"], sort=False):
        alike.setdefault((*rows["micro_conversion"].unique(), version), []).append(rows)
    for (*what, version), parts in alike.items():
        names = listed([named(told.label(name)) for name in what], most=3)
        where = " " + listed([told.where(rows.iloc[0]).strip() for rows in parts])
        from_version = f" from {version} on" if version else ""
        text = f"Mend {names}{where.rstrip()}{from_version}."
        size = f"{-100 * min(rows['moves_rate'].min() for rows in parts):.0f} % too low overall"
        found.append(Action(text=text, role=COLLECTOR, about="lost", size=size))
    for row in told.twice.head(1).to_dict("records"):
        text = f"Find what sends events twice{told.where(row)}, such as a second SDK."
        size = f"{100 * row['doubled_rate']:.1f} % twice"
        found.append(Action(text=text, role=COLLECTOR, about="twice", size=size))
    partners = told.tables["partners"]
    idle = partners[(partners["means"] != "") & (partners["n_without_credit"] > 0)]
    if len(idle):
        whose = listed([titled(name) for name in idle["means"].unique()], most=3)
        text = f"Give {whose} one spelling: the mending list has {len(idle)}."
        size = f"{count(idle['n_without_credit'].sum(), 'visit')} to give back"
        found.append(Action(text=text, role=MANAGER, size=size))
    violations = told.violations.query("kind != 'Unplanned-Event'")
    if len(violations):
        n = count(violations["n_violating"].sum(), "event")
        found.append(
            Action(text="Mend what breaks the tracking plan, or the plan.", role=COLLECTOR, size=n)
        )
    if told.worst.empty:
        text = "Name a witness in the plan: records of the server, or what implies what."
        found.append(Action(text=text, role=COLLECTOR))
    return found


def _tells(told: Told) -> dict[str, str]:
    tables, n = told.tables, len(told.worst)
    bad, partners = told.n(CORRECTABLE, UNUSABLE), tables["partners"]
    twice = [
        f"{100 * row['doubled_rate']:.1f} %{told.where(row)}"
        for row in told.twice.to_dict("records")
    ]
    said = told.answers
    gap = int((said["n_yes_without_event"] + said["n_no_with_event"]).sum())
    n_wrong = int(told.violations["n_violating"].sum())
    late = "nothing says when events came"
    if told.days_99 is not None:
        late = f"99 % are in after {told.days_99:.1f} days" if told.days_99 else "all come at once"
    return {
        "verdicts": f"{told.n(TRUSTED)} of {n} can be used, {bad} lost something"
        if n
        else "nothing shows what should be there",
        "completeness": "; ".join(_lines(told)) or "nothing is sure to be lost",
        "duplicates": listed(twice) or "hardly any event is sent twice",
        "violations": f"{count(n_wrong, 'event')} against the plan"
        if n_wrong
        else "the plan is kept",
        "answers": f"{gap:,} of {count(said['n_answers'].sum(), 'answer')} disagree"
        if len(said)
        else "nobody was asked",
        "partners": _spellings(partners),
        "drift": f"{count(len(tables['drift']), 'change')} of what events say",
        "delays": late,
        "outages": f"{count(len(tables['outages']), 'silence')} that chance does not explain"
        if len(tables["outages"])
        else "no event fell silent",
    }


def _spellings(partners: pd.DataFrame) -> str:
    mended = int((partners["mended"] == "yes").sum())
    n, idle = len(partners) - mended, partners["n_without_credit"].sum()
    said = [f"{count(n, 'spelling')} hide {count(idle, 'visit')}"] if n else []
    said += [f"{count(mended, 'spelling')} mended when loading"] if mended else []
    return "; ".join(said) or "every name is a partner's own"


def _lines(told: Told) -> list[str]:
    """What was lost where, a few words each."""
    rows = told.lost.head(2).to_dict("records")
    names = [f"{told.label(row['micro_conversion'])}{told.where(row)}" for row in rows]
    shares = [f"{100 * row['completeness_rate']:.0f} %" for row in rows]
    return [f"{name}: {share}" for name, share in zip(names, shares)]


def _how_sure(told: Told) -> list[str]:
    said = [*told.misfits, *told.late]
    if (told.verdicts["witness"] == "back end").any():
        said.append("Records of the server stand for what happened.")
    if told.days_99:
        late = f"99 % are in after {told.days_99:.1f} days"
        said.append(f"Late events are allowed for: {late}. Those {told.young} still arrive.")
    n = int((told.tables["verdicts"]["witness"] == "").sum())
    if n:
        said.append(f"Of {count(n, 'number')} nothing shows what should be there.")
    return said
