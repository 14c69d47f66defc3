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

from mctlib.contract import MISSING, DataError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.tracking_plan.formats import read_file
from mctlib.tracking_plan.imported import Content, Imported
from mctlib.tracking_plan.plan import MicroConversion, in_words
from mctlib.tracking_plan.reading import as_plan
from mctlib.tracking_plan.spreadsheets import platform_of

MOST_EVENTS = 30  # in a draft, those of most users
ENOUGH_USERS = 50  # to see an order in
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
    body: Content = {"micro_conversions": found} | ({"other": other} if other else {})
    as_plan(body, ", ".join(str(path) for path in dict.fromkeys(stands.values())))
    return _written(name, source, body, {}), read


def draft_of_log(name: str, log: EventLog) -> str:
    """The YAML of what a log holds: events by users, platforms, properties, likely order."""
    events = log.describe().sort_values(["n_users", "event"], ascending=[False, True])["event"]
    own = [name for name in events if not name.startswith(OF_THE_TOOL)] or list(events)
    names = own[:MOST_EVENTS]
    before, start = _orders(log, names)
    properties = log.words.properties()
    platforms = _platforms(log)
    found: dict[str, Content] = {}
    guessed = {"": "guessed? most others come after it; `within` counts from it"}
    for event in names:
        said: Content = {}
        if on := platforms.get(event):
            said["platforms"] = on
        seen = properties[properties["event"] == event].groupby("property")["type"]
        if kinds := {key: _type(types) for key, types in seen if not key.startswith(OF_THE_TOOL)}:
            said["properties"] = {key: {"type": kind} for key, kind in kinds.items()}
        if earlier := before.get(event):
            said["implies"] = list(earlier)
            shares = ", ".join(f"{share:.0%}" for share in earlier.values())
            guessed[event] = f"guessed? done before by {shares} of its users"
        found[event] = said
    rest = [name for name in events if name not in names]
    body = {"start": start, "micro_conversions": found}
    return _written(name, "the events of its log, those of most users first", body, guessed, rest)


def likely_path(
    log: EventLog, names: Sequence[str], *, start: Any = "", ends: Sequence[str] = ()
) -> list[str]:
    """Events of which each is mostly done after the one before it, from the start on.

    Of ``names``, those that users do about once. It goes to the furthest of the ``ends`` that
    mostly come after the start; else as far as it goes.
    """
    counts = log.describe()
    often = set(counts["event"][counts["n_events"] > OFTEN * counts["n_users"]])
    once = [name for name in names if name not in often][:MOST_EVENTS]
    names = [name for name in names if name in (*once, start, *ends)] or list(names)[:MOST_EVENTS]
    before, first = _orders(log, names)
    first = start if start in names else first
    ways = [_way(before, first, last) for last in ends if last != first]
    if path := max(ways, key=len, default=[]):
        return path
    path = [first]
    while follow := [name for name in names if path[-1] in before.get(name, ())]:
        path.append(follow[0])
    others = [name for name in (*ends, *names) if name not in path]
    return path if len(path) > 1 or not others else [*path, others[0]]


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


def _orders(log: EventLog, names: list[str]) -> tuple[dict[str, dict[str, float]], str]:
    """Event -> the events that its users did before it, with their share; which most others follow.

    Of a chain only the nearest is named. Who is there in the log's first tenth may have come before
    it began and tells no order, unless most are.
    """
    settled = log.first_event + (log.last_event - log.first_event) / 10
    count = partial(_first_times, n_events=len(names), settled=settled.value // 1000)
    pairs = log.reduce(count, events=[log.step(name) for name in names])
    known = "n_later" if 2 * pairs["n_later"].sum() >= pairs["n_users"].sum() else "n_users"
    n_done = pairs[pairs["event"] == pairs["before"]].set_index("event")[known]
    near: dict[str, dict[str, float]] = {}
    for event, before, n in pairs[["event", "before", known]].itertuples(index=False):
        n_all = n_done[event]
        if event != before and n_all >= ENOUGH_USERS and n >= IMPLIED_SHARE * n_all:
            near.setdefault(names[event], {})[names[before]] = n / n_all
    direct = {}
    for name, earlier in near.items():
        further = {first for between in earlier for first in near.get(between, ())}
        direct[name] = {first: part for first, part in earlier.items() if first not in further}
    followed = Counter(first for earlier in near.values() for first in earlier)
    return direct, max(names, key=lambda name: followed[name])


def _first_times(j: Journeys, *, n_events: int, settled: int) -> pd.DataFrame:
    """Kernel: users who did one event before another; before itself: who did it.

    ``n_later``: of them those who did nothing before ``settled``.
    """
    user, line = np.unique(j.user, return_inverse=True)
    never = np.iinfo(np.int64).max
    first = np.full((n_events, len(user)), never)
    for i in range(n_events):
        rows = np.flatnonzero(j.has(i))
        rows = rows[first_rows(j.user[rows])]
        first[i, line[rows]] = j.time[rows]
    later = first.min(axis=0) >= settled
    pairs = []
    for a in range(n_events):
        done = first[a] < never
        for b in range(n_events):
            did = done if a == b else done & (first[b] < first[a])
            pairs.append((a, b, np.count_nonzero(did), np.count_nonzero(did & later)))
    return pd.DataFrame(pairs, columns=["event", "before", "n_users", "n_later"])


# ---- YAML


def _written(
    name: str, source: str, body: Content, guessed: Mapping[str, str], rest: Iterable[str] = ()
) -> str:
    """The plan as YAML, a field a line; a field is explained where it stands first."""
    lines = []
    if "start" in body:
        lines.append(f"start: {_flow(body['start'])}  # {guessed['']}")
    lines.append("micro_conversions:")
    explained: set[str] = set()
    labels: set[str] = set()
    alike: dict[str, str] = {}
    for key, content in body["micro_conversions"].items():
        label = in_words(key)
        content = {"label": key if label in labels else label} | content
        labels.add(content["label"])
        first = alike.setdefault(re.sub(r"\W|_", "", key).lower(), key)
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
            told += [guessed[key]] if f == "implies" and key in guessed else []
            explained.add(f)
            comment = "; ".join(filter(None, told))
            lines.append(f"{line}  # {comment}" if comment else line)
    if body.get("other"):
        lines += ["# what no field holds", f"other: {_flow(body['other'])}"]
    if rest := list(rest):
        lines.append(f"# Seen too, by fewer users or a tool's own: {', '.join(rest)}")
    return HEAD.format(name=name, source=source) + "\n".join(lines) + "\n" + FOOT


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
