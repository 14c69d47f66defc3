"""A first pack, from a loaded log and its tracking plan; what it guesses is marked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib.attribution.touchpoints import NOBODY
from mctlib.contract import CANONICAL, MISSING, SOURCES, ParameterError, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.phrases import DAY_US, listed
from mctlib.results import MIN_USERS
from mctlib.signals.candidates import USUAL
from mctlib.signals.outcomes import PEOPLE, known_of
from mctlib.sources.headers import LIKELY, word_of
from mctlib.tracking_plan.draft import OF_THE_TOOL, OFTEN, likely_path
from mctlib.tracking_plan.plan import Plan
from mctlib.tracking_plan.reading import read_plan

# Names of events, as `word_of` gives them: by which users leave, by which money comes in.
LEAVES = (
    r"((account|user|profile|subscription|membership|konto|abo)_)?"
    r"(deleted?|removed?|churned?|cancell?ed|closed|geloscht|gekundigt)"
)
PAYS = r".*(subscri|paid|pay|purchas|order|upgrad|checkout|hired|placed|bezahlt|gekauft|pago).*"
SEGMENTS = ("channel", "plan", "platform", "country", "role", "utm_medium", "app_version")
GUESSED = ("steps", "activation", "conversion", "window", "sources", "outcomes")
ALIKE = ("channel", "plan", "country", "role")  # columns in which users can be made alike
MOST_STEPS, MOST_SEGMENTS, MOST_SIGNALS = 5, 12, 20
SHOWN_EVENTS, FEW = 40, 5
MANY_EACH = 1.5  # users that an account has at least
HEAD = """\
# The reports of {name}, drafted from its events{plan}; look at every question mark.
# {run}
# Events (users): {events}
{unused}dataset: {name}
as_of: latest
keep: 26
notebooks:
"""
ROI = """\
#  Did a change pay? Only you know which: answer, and take the signs away.
#  roi:
#    set:
#      start: {start}
#      success: {last}
#      window: {window}
#      change_at: "?"  # its first day, or an entry of the timeline, such as release 4.2.0
#      by: "?"         # the column that tells who got it; "" where everybody did
#      treated: "?"    # who got it
#      value: "?"      # money per success; without it, and the cost, no money is told
#      cost: "?"       # money spent; the data YAML names the currency
"""


@dataclass(frozen=True)
class _Known:
    """What a draft stands on.

    events: those of most users first. leaves: by which users leave, "" for none. path: steps of a
    likely funnel. paid: what brings money. columns: what splits users into a few segments.
    """

    log: EventLog
    plan: Plan | None
    counts: pd.DataFrame
    events: list[str]
    leaves: str
    path: list[str]
    paid: list[str]
    columns: list[str]

    @property
    def days(self) -> float:
        """How long the log is."""
        return float((self.log.last_event - self.log.first_event) / pd.Timedelta("1D"))

    @property
    def window(self) -> str:
        """Of the funnel: what the plan says of its last step, else what a log so long can show."""
        usual = next((d for d in (14, 7, 3) if 4 * d <= self.days), 1)
        return self.log.step(self.path[-1]).within or f"{usual}d"

    @property
    def by(self) -> str:
        """What splits users, "" for nothing."""
        return next(iter(self.columns), "")

    def tied_to(self, *outcomes: str) -> list[str]:
        """What the plan ties to some outcomes."""
        planned = self.plan.micro_conversions if self.plan else {}
        return [name for name, each in planned.items() if each.outcome in outcomes]


def draft_of_pack(log: EventLog, run: str) -> tuple[str, list[str]]:
    """The YAML of a pack with the questions that a log can answer, and what it cannot use.

    ``run``: how it is run.
    """
    counts = log.describe().sort_values(["n_users", "event"], ascending=[False, True])
    events = [name for name in counts["event"] if not name.startswith(OF_THE_TOOL)]
    plan = read_plan(log.plan) if log.plan else None
    leaves = next((name for name in events if re.fullmatch(LEAVES, word_of(name))), "")
    path, paid = _path(log, plan, events, leaves)
    known = _Known(log, plan, counts, events, leaves, path, paid, _segments(log))
    named = _named(log)
    found = {
        "audit": {} if plan else None,  # what should be there is said in the plan
        "funnel": _funnel(known),
        "activation": _activation(known),
        "attribution": _attribution(known, named),
        "signals": _signals(known),
        "scorecard": {"by": known.by} if known.days >= 14 else None,  # two whole weeks
    }
    told = [f"{e.event} {e.n_events:,} ({e.n_users:,})" for e in counts.itertuples()]
    unused = list(_unused(log, named))
    text = HEAD.format(
        name=log.name,
        run=run,
        plan=" and its tracking plan" if plan else "",
        events=listed(told, most=SHOWN_EVENTS),
        unused="".join(f"# {sentence}\n" for sentence in unused),
    )
    text += "".join(_lines(found))
    first, last = (json.dumps(path[i], ensure_ascii=False) for i in (0, -1))
    return text + ROI.format(start=first, last=last, window=known.window), unused


def _funnel(known: _Known) -> dict[str, Any]:
    periods = {"after": "last 4w", "before": "previous 4w"} if _enter_still(known) else {}
    return {
        "steps": known.path,
        "window": known.window,
        "competing": known.leaves,
        "by": known.by,
        **periods,
        "change_by": "platform" if "platform" in known.columns else known.by,
    }


def _enter_still(known: _Known) -> bool:
    """Whether users enter the funnel in the last four weeks that are over, and in those before."""
    end = known.log.last_event - pd.Timedelta(as_window(known.window), "us")
    weeks = known.log.counts(events=known.path[:1], by="week")
    ago = (end.tz_localize(None) - pd.to_datetime(weeks["week"])) // pd.Timedelta("7D")
    # their ends may lie a week off, so that of each four weeks those are asked about that are sure
    return all(weeks["n_users"][ago.between(*span)].sum() >= MIN_USERS for span in ((2, 4), (6, 8)))


def _activation(known: _Known) -> dict[str, Any]:
    tied = known.tied_to("activation")
    return {
        "start": known.path[0],
        "activation": ([n for n in known.path[1:] if n in tied] or known.path)[-1],
        "competing": known.leaves,
        "by": known.by,
        "horizon": f"{min(90, max(int(known.days / 2), 1))}d",
    }


def _attribution(known: _Known, named: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """None where no column names a partner. named: values by column."""
    tags = [
        column
        for column, values in named.items()
        if not all(NOBODY.fullmatch(value.lower()) for value in values)
    ]
    likely = (known.paid or known.path[-1:])[0]
    asked = {
        "conversion": next(filter(known.paid.__contains__, reversed(known.path)), likely),
        "start": known.path[:1],
        "competing": known.leaves,
        "windows": [f"{d}d" for d in (30, 7, 14, 60) if 3 * d <= known.days] or ["1d"],
        "sources": tags,
        "steps": known.path,
    }
    return asked if tags else None


def _signals(known: _Known) -> dict[str, Any] | None:
    """None where no outcome is known: of people, else an event that the plan or its name tells."""
    start, weeks = known.path[0], min(9, int(known.days / 21))
    of_people = [name for name, of in PEOPLE.items() if known_of(known.log, of.column)]
    wanted = [name for name in of_people if PEOPLE[name].wanted]
    later = dict.fromkeys([*known.tied_to("retention", "revenue"), *known.paid])
    outcomes = wanted or of_people or [name for name in later if name != start][:FEW]
    if not outcomes or weeks < 2:
        return None
    leaves = known.leaves if outcomes != ["churned"] else ""  # else leaving is what is asked of
    others = [name for name in known.events if name not in (start, leaves, *outcomes)]
    counts = known.counts.set_index("event").loc[others]
    soon = [as_window(known.log.step(name).within or USUAL) < 7 * weeks * DAY_US for name in others]
    often = counts.index[counts["n_events"] > OFTEN * counts["n_users"]]
    return {
        "start": start,
        "events": [] if known.plan else others[:MOST_SIGNALS],
        "outcomes": outcomes,
        "horizon": f"{7 * weeks}d",
        "landmark": [] if any(soon) else [USUAL],  # what the plan gives each may be later
        "adjust": [column for column in ALIKE if column in known.columns],
        "competing": leaves,
        "term": "",
        "action": next(iter(often), "") if outcomes[0] != "revenue" else "",
    }


def _lines(found: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    """What each notebook is asked, a parameter a line; None: it is not in the pack."""
    for notebook, asked in found.items():
        if asked is None:
            continue
        yield f"  {notebook}:\n    set:\n" if asked else f"  {notebook}: {{}}\n"
        for key, value in asked.items():
            mark = "  # guessed?" if key in GUESSED else ""
            yield f"      {key}: {json.dumps(value, ensure_ascii=False)}{mark}\n"


def _path(
    log: EventLog, plan: Plan | None, events: list[str], leaves: str
) -> tuple[list[str], list[str]]:
    """Steps of a likely funnel, to an outcome of the plan or to money; and what brings money."""
    known = plan.micro_conversions if plan else {}
    names = [name for name in known or events if name != leaves]
    tied = [name for name, each in known.items() if each.outcome in ("activation", "revenue")]
    paid = [name for name, each in known.items() if each.outcome == "revenue"]
    paid += [name for name in names if re.fullmatch(PAYS, word_of(name)) and name not in paid]
    path = likely_path(log, names, start=plan.start if plan else "", ends=tied or paid)
    return [*path[: MOST_STEPS - 1], path[-1]] if len(path) > MOST_STEPS else path, paid


def _named(log: EventLog) -> dict[str, list[str]]:
    """What events say in each column that can name a partner; what people say is no touch."""
    levels = {column: _levels(log, f"event.{column}") for column in SOURCES}
    return {column: found for column, found in levels.items() if found}


def _unused(log: EventLog, named: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What the data hold and a pack cannot use as they are. named: values by column."""
    spend, people = log.table("spend"), log.table("people")
    words = {value.lower() for values in named.values() for value in values}
    paid = {str(v) for c in ("partner_id", "channel") if c in spend for v in spend[c].dropna()}
    if paid and not words & {name.lower() for name in paid}:
        yield (
            "No notebook uses the spend: attribution sets it against partners, and no event has "
            f"{listed(sorted(paid), most=FEW, last='or')} as its {listed(SOURCES, last='or')}."
        )
    for column in () if log.accounts else people.columns:
        several = people[column].nunique() * MANY_EACH < people[column].count()
        if several and any(
            re.fullmatch(likely, word_of(column)) for likely in LIKELY["account_id"]
        ):
            yield (
                f'Where colleagues of one "{column}" act alike, map it in the data YAML, '
                f'columns: {{account_id: "{column}"}}, so that ranges count per account.'
            )


def _segments(log: EventLog) -> list[str]:
    """Columns that split users into a few segments: the usual ones, then people's own."""
    own = [c for c in log.table("people").columns if c not in (*CANONICAL["people"], "user")]
    return [c for c in (*SEGMENTS, *own) if 1 < len(_levels(log, c)) <= MOST_SEGMENTS]


def _levels(log: EventLog, column: str) -> list[str]:
    """The values that a column has."""
    with suppress(ParameterError):
        return [level for level in log.segments(column) if level != MISSING]
    return []
