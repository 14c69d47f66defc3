"""A first plan, from the log or from other tools' plans; what it guesses is marked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import MISSING, DataError, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import FOREVER, Journeys, first_rows
from mctlib.phrases import alike
from mctlib.tracking_plan.formats import read_file
from mctlib.tracking_plan.imported import Content, Imported
from mctlib.tracking_plan.plan import MicroConversion, in_words
from mctlib.tracking_plan.reading import as_plan
from mctlib.tracking_plan.spreadsheets import platform_of

MOST_EVENTS = 30  # in a draft, those of most users
ENOUGH_USERS = 50  # to see an order in
TIMES = ("1d", "3d", "7d", "14d", "30d", "60d", "90d")
SOON = 0.8  # of an event's users, who had it in its usual time
MOST_ACTIVE = 3  # events by which users are active
OFTEN = 3  # events a user, from which on it is no step that one takes
IMPLIED_SHARE = 0.9  # of an event's users who did another before it
KINDS = {
    "VARCHAR": "string",
    "NUMBER AS TEXT": "",  # all that a CSV holds is text: a number, or a postcode?
    "BOOLEAN": "boolean",
    "DOUBLE": "number",
    "BIGINT": "integer",
    "UBIGINT": "integer",
    "ARRAY": "array",
    "OBJECT": "object",
    "NULL": "null",
}
# What a field is for, said where it stands first.
COMMENTS = {
    "label": "what people read",
    "owner": "the team whose number it is",
    "outcome": "activation, engagement, retention or revenue",
    "within": "time from `start` in which it should happen, such as 7d",
    "platforms": "where it is tracked",
    "properties": "type; required: yes, no or unknown; enum: [accepted values]",
    "implies": "what must have happened before",
}
GUESSES = {
    "start": "most others come after it; `within` counts from it",
    "active": "done often: what an active user does",
}
HEAD = """\
# The tracking plan of {name}: what each micro-conversion is, whose it is, and what it is for.
# Drafted from {source}.
# Delete what is no micro-conversion, fill in what is empty, look at every question mark; then:
#   python -m mctlib check plan {name}
version: 1
"""
FOOT = """\
# What else a micro-conversion may say:
#   description: a sentence     events: [name, {event: name, where: {role: candidate}}]
#   acts: analyst               the role that is told first
#   priority: 1                 survey: the question that asks for it
#   backend: true               the server knows it too
#   additional: flag            a property that is not named is a violation
#   exposed: true               a competitor could move it; or a list of the moves
#   bad: down                   or up, or both
#   target: {rate: 0.65, by: "2026-12-31"}
#   threshold: {warn: 0.1, severe: 0.15}               relative change of its weekly rate
#   since: {day: "2026-01-05", android: "4.0.0"}       version: "2"
# What else the plan may hold:
#   active: [session_ended]     what an active user does
#   teams: [growth, product]    where it stands, an owner must be one of them
#   roles: {analyst: {label: Analyst, team: data}}
#   terms: {activated: {product: {is: name, within: 30d}, support: {is: {event: name}}}}
#   metrics: {logins: {label: Users with a login, kind: rate, of: name, per: active}}
#                               kind: rate, ratio, count or mean (of: name, property: minutes)
#   segments: {creators: {label: Creator partners, where: {channel: creator}}}
#                               of one value: so it is called wherever its column splits users
"""
OF_THE_TOOL = "$"  # how names begin that a tool gives, such as $screen
OFFERED = ("label", "owner", "outcome", "within")  # fields that stand in a draft even if empty


def draft_of_files(name: str, files: Iterable[Path]) -> tuple[str, list[Imported]]:
    """The YAML of other tools' plans, and what was read in each file.

    Raises DataError: a file cannot be read, two define an event differently, a field is wrong.
    """
    found: dict[str, Content] = {}
    stands: dict[str, Path] = {}
    other: Content = {}
    read = []
    for path in files:
        said = read_file(path)
        for key, content in said.micro_conversions.items():
            if found.setdefault(key, content) != content:
                raise DataError(f'"{key}" is one thing in {stands[key]} and another in {path}.')
            stands.setdefault(key, path)
        other |= said.other
        read.append(said)
    source = " and ".join(dict.fromkeys(f"{said.format}" for said in read))
    body: Content = {"micro_conversions": _labelled(found)} | ({"other": other} if other else {})
    as_plan(body, ", ".join(str(path) for path in dict.fromkeys(stands.values())))
    return _written(name, source, body, {}), read


def draft_of_log(name: str, log: EventLog) -> str:
    """The YAML of what a log holds: events by users, platforms, properties, likely order."""
    counts = log.describe().sort_values(["n_users", "event"], ascending=[False, True])
    events = counts["event"]
    own = [name for name in events if not name.startswith(OF_THE_TOOL)] or list(events)
    names = own[:MOST_EVENTS]
    often = set(counts["event"][counts["n_events"] > OFTEN * counts["n_users"]])
    before, start = _orders(log, names, often)
    properties = log.words.properties()
    platforms = _platforms(log)
    found: dict[str, Content] = {}
    usual = _usual_times(log, names, start)
    guessed: dict[tuple[str, str], str] = {}
    for event in names:
        said: Content = {}
        if within := usual.get(event):
            said["within"] = within
            guessed["within", event] = f"guessed? {SOON:.0%} of its users had it by then"
        if on := platforms.get(event):
            said["platforms"] = on
        seen = properties[properties["event"] == event].groupby("property")["type"]
        if kinds := {key: _type(types) for key, types in seen if not key.startswith(OF_THE_TOOL)}:
            said["properties"] = {key: {"type": kind} for key, kind in kinds.items()}
        if earlier := before.get(event):
            said["implies"] = list(earlier)
            shares = ", ".join(f"{share:.0%}" for share in earlier.values())
            guessed["implies", event] = f"guessed? done before by {shares} of its users"
        found[event] = said
    rest = [name for name in events if name not in names]
    active = [name for name in names if name in often][:MOST_ACTIVE]
    body = {"start": start, "active": active, "micro_conversions": _labelled(found)}
    return _written(name, "the events of its log, those of most users first", body, guessed, rest)


def likely_path(
    log: EventLog, names: Sequence[str], *, start: Any = "", ends: Sequence[str] = ()
) -> list[str]:
    """Events of which each is mostly done after the one before it, from the start on.

    Of ``names``, those that users do about once. It goes to the furthest of the ``ends`` that
    mostly come after the start, else of all of them.
    """
    counts = log.describe()
    often = set(counts["event"][counts["n_events"] > OFTEN * counts["n_users"]])
    once = [name for name in names if name not in often][:MOST_EVENTS]
    names = [name for name in names if name in (*once, start, *ends)] or list(names)[:MOST_EVENTS]
    before, first = _orders(log, names)
    first = start if start in names else first
    for lasts in (ends, names):
        ways = [_way(before, first, last) for last in lasts if last != first]
        if path := max(ways, key=len, default=[]):
            return path
    return [first, *[name for name in (*ends, *names) if name != first][:1]]


def _way(before: Mapping[str, Collection[str]], first: str, last: str) -> list[str]:
    """The longest chain of events from one to another, [] where there is none."""
    if last == first:
        return [first]
    ways = [_way(before, first, between) for between in before.get(last, ())]
    way = max(ways, key=len, default=[])
    return [*way, last] if way else []


def _type(seen: Iterable[str]) -> Any:
    """What a property is; None where texts may be meant as numbers."""
    kinds = {KINDS[kind] for kind in seen}
    if kinds == {""}:
        return None
    first, *others = sorted({kind or "string" for kind in kinds})
    return [first, *others] if others else first


def _platforms(log: EventLog) -> dict[str, list[str]]:
    """Event -> the platforms on which it was seen, in the contract's words."""
    counts = log.counts(by="platform")
    seen = counts[counts["platform"] != MISSING].groupby("event")["platform"]
    return {str(event): sorted({platform_of(str(on)) for on in ons}) for event, ons in seen}


def _orders(
    log: EventLog, names: list[str], often: Collection[str] = ()
) -> tuple[dict[str, dict[str, float]], str]:
    """Event -> the events that its users did before it, with their share; which most others follow.

    Of a chain only the nearest is named; what is done ``often`` proves nothing by having been
    before. Who is there in the log's first tenth may have come before it began and tells no order,
    unless most are.
    """
    settled = log.first_event + (log.last_event - log.first_event) / 10
    count = partial(_first_times, n_events=len(names), settled=settled.value // 1000)
    pairs = log.reduce(count, events=[log.step(name) for name in names])
    known = "n_later" if 2 * pairs["n_later"].sum() >= pairs["n_users"].sum() else "n_users"
    n_done = pairs[pairs["event"] == pairs["before"]].set_index("event")[known]
    near: dict[str, dict[str, float]] = {}
    for event, before, n in pairs[["event", "before", known]].itertuples(index=False):
        n_all = n_done[event]
        told = event != before and names[before] not in often
        if told and n_all >= ENOUGH_USERS and n >= IMPLIED_SHARE * n_all:
            near.setdefault(names[event], {})[names[before]] = n / n_all
    direct = {}
    for name, earlier in near.items():
        further = {first for between in earlier for first in near.get(between, ())}
        direct[name] = {first: part for first, part in earlier.items() if first not in further}
    followed = Counter(first for earlier in near.values() for first in earlier)
    return direct, max(names, key=lambda name: followed[name])


def _usual_times(log: EventLog, names: list[str], start: str) -> dict[str, str]:
    """Event -> the shortest of TIMES after the start in which most of its users had it."""
    spans = [*map(as_window, TIMES), FOREVER]
    count = partial(_waits, n_events=len(names), start=names.index(start), spans=spans)
    found = log.reduce(count, events=[log.step(name) for name in names])
    usual: dict[str, str] = {}
    for event, *n in found.itertuples(index=False):
        soon = [time for time, n_by_then in zip(TIMES, n) if n_by_then >= SOON * n[-1]]
        if soon and n[-1] >= ENOUGH_USERS:
            usual[names[event]] = soon[0]
    return usual


def _waits(j: Journeys, *, n_events: int, start: int, spans: list[int]) -> pd.DataFrame:
    """Kernel: event, and its users who had it first within each span after the start."""
    first = _firsts(j, n_events)
    rows = []
    for event in range(n_events):
        wait = (first[event] - first[start])[(first[event] < FOREVER) & (first[start] < FOREVER)]
        wait = wait[(wait >= 0) & (event != start)]
        rows.append((event, *(np.count_nonzero(wait <= span) for span in spans)))
    return pd.DataFrame(rows, columns=["event", *(f"n_{k}" for k in range(len(spans)))])


def _firsts(j: Journeys, n_events: int) -> NDArray[np.int64]:
    """When each user (columns) first did each event (rows), or FOREVER."""
    user, line = np.unique(j.user, return_inverse=True)
    first = np.full((n_events, len(user)), FOREVER)
    for i in range(n_events):
        rows = np.flatnonzero(j.has(i))
        rows = rows[first_rows(j.user[rows])]
        first[i, line[rows]] = j.time[rows]
    return first


def _first_times(j: Journeys, *, n_events: int, settled: int) -> pd.DataFrame:
    """Kernel: users who did one event before another; before itself: who did it.

    ``n_later``: of them those who did nothing before ``settled``.
    """
    first = _firsts(j, n_events)
    later = first.min(axis=0) >= settled
    pairs = []
    for a in range(n_events):
        done = first[a] < FOREVER
        for b in range(n_events):
            did = done if a == b else done & (first[b] < first[a])
            pairs.append((a, b, np.count_nonzero(did), np.count_nonzero(did & later)))
    return pd.DataFrame(pairs, columns=["event", "before", "n_users", "n_later"])


# ---- YAML


def _written(
    name: str,
    source: str,
    body: Content,
    guessed: Mapping[tuple[str, str], str],
    rest: Iterable[str] = (),
) -> str:
    """The plan as YAML, a field a line; a field is explained where it stands first."""
    top = {key: why for key, why in GUESSES.items() if body.get(key)}
    lines = [f"{key}: {_flow(body[key])}  # guessed? {why}" for key, why in top.items()]
    lines.append("micro_conversions:")
    explained: set[str] = set()
    same_as: dict[str, str] = {}
    for key, content in body["micro_conversions"].items():
        first = same_as.setdefault(re.sub(r"\W|_", "", key).lower(), key)
        same = (
            f"  # guessed? the same as {first}; then list both under events" if first != key else ""
        )
        if content.get("events") == [key]:
            del content["events"]
        lines.append(f"  {_flow(key)}:{same}")
        for f in MicroConversion.model_fields:
            if f not in content and f not in OFFERED:
                continue
            line = f"    {f}:" + (f" {_flow(content[f])}" if f in content else "")
            told = [] if f in explained else [COMMENTS.get(f, "")]
            told.append(guessed.get((f, key), ""))
            explained.add(f)
            comment = "; ".join(filter(None, told))
            lines.append(f"{line}  # {comment}" if comment else line)
    if body.get("other"):
        lines += ["# what no field holds", f"other: {_flow(body['other'])}"]
    if rest := list(rest):
        lines.append(f"# Seen too, by fewer users or a tool's own: {', '.join(rest)}")
    return HEAD.format(name=name, source=source) + "\n".join(lines) + "\n" + FOOT


def _labelled(found: Mapping[str, Content]) -> dict[str, Content]:
    """Micro-conversions with a label each, that no other has."""
    labels = {alike(str(content["label"])) for content in found.values() if "label" in content}
    named = {}
    for key, content in found.items():
        words = in_words(key)
        free = (words, key, *(f"{words} {n}" for n in range(2, len(found) + 2)))
        label = content.get("label") or next(name for name in free if alike(name) not in labels)
        labels.add(alike(str(label)))
        named[key] = {"label": label} | content
    return named


def _flow(value: Any) -> str:
    """A value on one line of YAML; a text in quotes unless it can be nothing else."""
    if isinstance(value, dict):
        said = [f"{_flow(key)}: {'' if v is None else _flow(v)}" for key, v in value.items()]
        return f"{{{', '.join(said)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w -]*\w|[A-Za-z]|\d+[a-z]+", value)
    if word and value.lower() not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n"):
        return str(value)
    return json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())
