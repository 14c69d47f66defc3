"""Whether a plan holds together (`check_plan`), and a captured batch keeps it (`check_events`).

Violations have RudderStack's five names.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mctlib.contract import CANONICAL, MISSING, PLATFORMS, DataError, ParameterError, nearest
from mctlib.eventlog import filters
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import ANY, Step, as_step, may_meet
from mctlib.eventlog.vocabulary import CALENDAR
from mctlib.phrases import alike, count
from mctlib.tracking_plan.plan import EventRules, Plan, Property, of_property
from mctlib.tracking_plan.spreadsheets import platform_of

# ---- the plan


class Remark(NamedTuple):
    """One thing to look at. kind: clash, unknown, orphan, never seen, not planned.

    wrong: it must be put right; else it may be meant.
    """

    kind: str
    sentence: str
    wrong: bool = False


def check_plan(plan: Plan, log: EventLog | None = None) -> list[Remark]:
    """What does not hold together in a plan that could be read, and how it meets the data.

    Circular implications and unknown roles and teams are no plan: `read_plan` refuses them.
    """
    found = [*_clashes(plan, log), *_unknown(plan, log), *_orphans(plan)]
    return found + ([*_seen(plan, log), *_filtered(plan, log)] if log else [])


def _clashes(plan: Plan, log: EventLog | None) -> Iterator[Remark]:
    """One event, two meanings; one property, two types."""
    for (a, of_a), (b, of_b) in combinations(plan.meanings().items(), 2):
        if may_meet(of_a, of_b):
            both = ", ".join(sorted(set(of_a.names) & set(of_b.names)))
            narrower = of_a.filtered != of_b.filtered
            rule = "one is the other with a filter" if narrower else "tell them apart by a filter"
            said = f'"{a}" and "{b}" may both be the event {both}; {rule}.'
            yield Remark("clash", said, wrong=not narrower)
    for event, rules in plan.rules().items():
        for (a, of_a), (b, of_b) in combinations(rules.parts, 2):
            said_by_a, said_by_b = (plan.micro_conversions[name].properties for name in (a, b))
            for key in sorted(said_by_a.keys() & said_by_b.keys()) if may_meet(of_a, of_b) else ():
                if said_by_a[key].type != said_by_b[key].type:
                    said = f'"{key}" of the event {event} has one type in "{a}", another in "{b}"'
                    yield Remark("clash", f"{said}.", wrong=True)
    events = {*plan.rules(), *(log.event_names if log else ())}
    for said in (*_two_meanings(plan, events), *_read_as_one(plan)):
        yield Remark("clash", f"{said}; name one otherwise.", wrong=True)


def _two_meanings(plan: Plan, events: Collection[str]) -> Iterator[str]:
    """One name, two meanings."""
    for name, step in plan.meanings().items():
        if name in events and name not in step.names:
            yield f'"{name}" is an event, but means {" or ".join(step.names)}'
        if name in plan.terms:
            yield f'"{name}" is both a term of several teams and a micro-conversion'
    for name in plan.segments:
        if name in (*CANONICAL["events"], *CANONICAL["people"], *CALENDAR):
            yield f'"{name}" is both a segment and a column'


def _read_as_one(plan: Plan) -> Iterator[str]:
    """Two names that people take for one."""
    labels = {name: each.label for name, each in plan.micro_conversions.items()}
    for (a, label), (b, other) in combinations(labels.items(), 2):
        if alike(label) == alike(other):
            yield f'the labels of "{a}" and "{b}" read alike, "{label}" and "{other}"'
    for term, teams in plan.terms.items():
        for team, other in combinations(teams, 2):
            if alike(team) == alike(other):
                yield f'"{team}" and "{other}" of the term {term} read as one team'


def _unknown(plan: Plan, log: EventLog | None) -> Iterator[Remark]:
    """Names that neither the plan nor the data hold, and platforms that are none."""
    known = {*plan.micro_conversions, *plan.rules()}
    for where, event in plan.references():
        for name in as_step(event).names if event else ():
            words = ["active"] if where.startswith("metric ") else []
            near = nearest(name, [*known, *words, *(log.event_names if log else ())])
            # without data, what is near to no name of the plan may be an event of its own
            if name not in known and (name not in log.event_names if log else near):
                said = f'{where}: "{name}" is neither a micro-conversion nor an event.{near}'
                yield Remark("unknown", said, wrong=True)
    for name, each in plan.micro_conversions.items():
        for platform in (*each.platforms, *each.since):
            if platform not in (*PLATFORMS, "day") and (near := nearest(platform, PLATFORMS)):
                said = f'{name}: "{platform}" is no platform.{near}'
                yield Remark("unknown", said, wrong=True)


def _orphans(plan: Plan) -> Iterator[Remark]:
    """What nobody owns, and what is tied to nothing."""
    for field_, said in (("owner", "have no owner"), ("outcome", "are tied to no outcome")):
        alone = [n for n, m in plan.micro_conversions.items() if not getattr(m, field_)]
        every = len(alone) == len(plan.micro_conversions)
        if alone:
            yield Remark("orphan", f"{'all of them' if every else ', '.join(alone)} {said}.")
    acting = {each.acts for each in plan.micro_conversions.values()}
    teamless = sorted(role for role in acting if role and not plan.roles[role].team)
    if any(role.team for role in plan.roles.values()) and teamless:
        yield Remark("orphan", f"{', '.join(teamless)} must act, but no team is named for it.")
    if any(acting) and (idle := [role for role in plan.roles if role not in acting]):
        yield Remark("orphan", f"nobody acts as {', '.join(idle)}.")


def _filtered(plan: Plan, log: EventLog) -> Iterator[Remark]:
    """Segments and numbers of metrics that the data do not hold."""
    asked = {f"segment {name}": step for name, step in plan.asked_segments().items()}
    for name, metric in plan.metrics.items():
        if metric.property:
            of = as_step(metric.of, meanings=plan.meanings())
            asked[f"metric {name}"] = Step([of], {f"event.{metric.property}": ANY})
    for name, step in asked.items():
        try:
            sentences = log.missing_events([replace(step, title="")])
        except ParameterError as error:
            sentences = [str(error)]
        yield from (Remark("unknown", f"{name}: {said}", wrong=True) for said in sentences)


def _seen(plan: Plan, log: EventLog) -> Iterator[Remark]:
    """Events of the plan that the data do not hold, and the other way round."""
    for name, step in plan.meanings().items():
        for sentence in log.missing_events([step]):
            yield Remark("never seen", f"{name}: {sentence}")
    planned = plan.rules()
    rest = []
    for event in log.event_names:
        near = nearest(event, planned)
        if event not in planned and near:
            yield Remark("not planned", f'the event "{event}" is seen.{near}')
        elif event not in planned:
            rest.append(event)
    if rest:
        yield Remark("not planned", f"{', '.join(rest)}: seen.")


# ---- a captured batch

KINDS = (
    "Unplanned-Event",
    "Required-Missing",
    "Datatype-Mismatch",
    "Additional-Properties",
    "Unknown-Violation",
)
OF_TYPE: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}
LONGEST_LINE = 1 << 24  # characters; it may hold a batch
NOT_TRACKED = ("identify", "page", "screen", "group", "alias")
# Where messages say on which platform they were made, the first that does.
PLATFORM_AT = (
    ("platform",),
    ("context", "device", "type"),
    ("context", "library", "name"),
    ("context", "os", "name"),
    ("properties", "mp_lib"),
    ("properties", "$lib"),
    ("properties", "$os"),
)


class Violation(NamedTuple):
    """Its kind, the property (or the event) and what the plan says."""

    kind: str
    what: str
    rule: str


@dataclass
class Batch:
    """What was found in a batch: events and violations are counted apart, by event and platform.

    lines: violation -> the first line that has it.
    """

    n_not_tracked: int = 0
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    violating: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: Counter[tuple[str, str, Violation]] = field(default_factory=Counter)
    lines: dict[tuple[str, str, Violation], int] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """All of it as JSON holds it. No value of a property is repeated: it may be personal."""
        rows = [
            {"event": event, "platform": platform, "n_events": n}
            | {"n_violating": self.violating[event, platform]}
            | {kind: self._times(event, platform, kind) for kind in KINDS}
            for (event, platform), n in sorted(self.events.items())
        ]
        told = [
            {"event": event, "platform": platform, **violation._asdict(), "n_events": n}
            | {"first_line": self.lines[event, platform, violation]}
            for (event, platform, violation), n in self.violations.most_common()
        ]
        return {
            "n_events": self.events.total(),
            "n_violating": self.violating.total(),
            "n_violations": self.violations.total(),
            "n_not_tracked": self.n_not_tracked,
            "events": rows,
            "violations": told,
        }

    def _times(self, *place: str) -> int:
        return sum(n for (*at, v), n in self.violations.items() if (*at, v.kind) == place)

    def lines_of_table(self) -> list[str]:
        """The report as text: a row an event and platform, then what is violated."""
        report = self.report()
        heads = {"n_events": "events", "n_violating": "violating"}
        table = pd.DataFrame(report["events"], columns=["event", "platform", *heads, *KINDS])
        said = [
            f"{v['event']} on {v['platform']}: {v['kind']}, {v['what']} ({v['rule']}), "
            f"{count(v['n_events'], 'event')}, first in line {v['first_line']}"
            for v in report["violations"]
        ]
        n = f"{count(report['n_events'], 'event')}, {report['n_violating']:,} of them violating"
        total = f"{n}; {count(report['n_violations'], 'violation')}"
        if self.n_not_tracked:
            total += f"; {count(self.n_not_tracked, 'message')} without an event"
        rows = table.rename(columns=heads).to_string(index=False).splitlines()
        return [*rows, "", *said, f"{total}."]


def check_events(path: Path, plan: Plan) -> Batch:
    """Hold JSON lines, an event a line, against a plan. Raises DataError: a line is none."""
    rules, found = plan.rules(), Batch()
    for number, message in _messages(path):
        if message.get("type") in NOT_TRACKED:
            found.n_not_tracked += 1
            continue
        event = next((message[k] for k in ("event", "event_type") if message.get(k)), None)
        if not isinstance(event, str):
            raise DataError(f'{path}, line {number}: it has no "event", which names what happened.')
        platform = _platform(message)
        found.events[event, platform] += 1
        violations = judge(message | {"platform": platform}, event, rules.get(event), plan)
        found.violating[event, platform] += bool(violations)
        for violation in violations:
            found.violations[event, platform, violation] += 1
            found.lines.setdefault((event, platform, violation), number)
    if not found.events and not found.n_not_tracked:
        raise DataError(f"{path} holds no event.")
    return found


def _messages(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file by their lines; a line may hold several, as ``batch``."""
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            json.dumps(content, ensure_ascii=False).encode()  # half a character is no text
        except (ValueError, RecursionError):
            content = None
        several = content.get("batch") if isinstance(content, dict) else content
        for message in several if isinstance(several, list) else [content]:
            if not isinstance(message, dict):
                raise DataError(f"{path}, line {number}: it is no JSON object, one event a line.")
            yield number, message


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, also of one in gzip. Raises DataError: it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig") as text:
            while line := text.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise DataError(f"{path} has a line of more than {LONGEST_LINE >> 20} MB.")
                yield line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "its gzip is cut short or damaged"
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else reason
        raise DataError(f"{path} cannot be read ({reason}).") from None


def _platform(message: Mapping[str, Any]) -> str:
    for place in PLATFORM_AT:
        value: Any = message
        for key in place:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value:
            return platform_of(str(value))
    return MISSING


def judge(
    message: Mapping[str, Any], event: str, rules: EventRules | None, plan: Plan
) -> list[Violation]:
    """What one event violates. Two micro-conversions that it may be say the same thing once."""
    if rules is None:
        return [Violation("Unplanned-Event", event, "no event of the plan")]
    properties: Any = next((message[k] for k in PROPERTIES if k in message), {})
    if not isinstance(properties, dict):
        return [Violation("Datatype-Mismatch", "properties", "object")]
    found: dict[Violation, None] = {}
    for name, step in rules.parts:
        if _meets(message, properties, step.where):
            for key, asked in plan.micro_conversions[name].properties.items():
                found |= dict.fromkeys(_of_property(key, asked, properties))
    extra = [key for key in properties if rules.flags and key not in rules.named]
    return [*found, *(Violation("Additional-Properties", key, "no property") for key in extra)]


PROPERTIES = ("properties", "event_properties")


def _of_property(key: str, asked: Property, properties: Mapping[str, Any]) -> Iterator[Violation]:
    if key not in properties:
        if asked.required == "yes":
            yield Violation("Required-Missing", key, "required")
        return
    value = properties[key]
    if asked.type and not any(_is(value, kind) for kind in asked.type):
        yield Violation("Datatype-Mismatch", key, " or ".join(asked.type))
    if asked.enum and not any(_same(value, each) for each in asked.enum):
        yield Violation("Unknown-Violation", key, f"one of {json.dumps(asked.enum)}")


def _is(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a type: 1.0 is an integer, true is no number."""
    if isinstance(value, bool):
        return kind == "boolean"
    whole = kind == "integer" and isinstance(value, float) and value.is_integer()
    return whole or isinstance(value, OF_TYPE[kind])


def _same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, but not true."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _meets(
    message: Mapping[str, Any], properties: Mapping[str, Any], where: Mapping[str, Any]
) -> bool:
    """Whether an event meets a filter, as far as a batch knows, which holds no people."""
    for key, wanted in where.items():
        column = key.removeprefix("event.")
        of_event = column in CANONICAL["events"] and column != "properties"
        value = message.get(column) if of_event else properties.get(of_property(key))
        if key.startswith("people.") or not filters.holds(None if value == "" else value, wanted):
            return False
    return True
