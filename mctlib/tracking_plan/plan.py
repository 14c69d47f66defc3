"""The tracking plan: the one place where a micro-conversion is defined, labelled and owned.

`reading.read_plan` reads it from params/plan.<dataset>.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from mctlib.contract import CANONICAL, as_timestamp, as_window, nearest
from mctlib.eventlog.daily_metric import Count, Mean, Rate, Ratio
from mctlib.eventlog.steps import ANY, Aim, Step, as_step


def _read(rule: Callable[[Any, str], Any]) -> AfterValidator:
    """A value that one of the house's readers can read; its error begins after the name."""

    def validate(value: Any) -> Any:
        rule(value, "")
        return value

    return AfterValidator(validate)


def shown(value: Any) -> str:
    """A value as it was written, cut where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _day(value: Any, name: str) -> None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)):
        raise ValueError(f'{name} {shown(value)} is no day; write it like "2026-01-05"'.strip())
    as_timestamp(value, name)


def _since(value: Any) -> Any:
    """A day, or the day and the first version of each platform."""
    given = value if isinstance(value, dict) else {"day": value}
    if "day" in given:
        _day(given["day"], "")
    return {key: _text(version) for key, version in given.items()}


def _types(value: Any) -> Any:
    """A set, in order; YAML reads null as no value."""
    kinds = ["null" if kind is None else kind for kind in _listed(value or [])]
    return sorted((kind for i, kind in enumerate(kinds) if kind not in kinds[:i]), key=str)


def _yes_or_no(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _moves(value: Any) -> Any:
    value = {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value
    if isinstance(value, bool) or value == []:
        return bool(value)
    if not all(isinstance(move, str) and move for move in _listed(value)):
        raise ValueError(f"must be true, false, or a list of competitor moves, not {shown(value)}")
    return _listed(value)


def _text(value: Any) -> Any:
    """A version may look like a number; it is spelled as it was written."""
    return getattr(value, "text", str(value)) if isinstance(value, (int, float)) else value


def _one(value: str) -> str:
    if "," in value:
        several = ", ".join(part.strip() for part in value.split(","))
        raise ValueError(f"{shown(value)} is one text; write a list: [{several}]")
    return value


def _apart(value: Any) -> Any:
    if isinstance(value, str) and re.search(r"@|://", value):
        raise ValueError("looks like an address; addresses stand in the pack alone, under alerts")
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Event = Annotated[Any, _read(as_step)]  # of a plan's name, its meaning; {event: x} is the raw event
Events = Annotated[list[Event], BeforeValidator(_listed)]
Duration = Annotated[Any, _read(as_window)]
Day = Annotated[Any, _read(_day)]
Share = Annotated[float, Field(gt=0, le=1)]
Where = Annotated[
    dict[str, Any], _read(lambda where, name: as_step(Step(ANY, where), name)), Field(min_length=1)
]
Type = Literal["string", "number", "integer", "boolean", "object", "array", "null"]
Bad = Literal["down", "up", "both"]


class _Part(BaseModel):
    """A mapping of the plan. A field without a value is one that is not given."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            return {key: v for key, v in content.items() if v is not None or key not in known}
        return {} if content is None else content


class Property(_Part):
    """What an event says of itself. other: what a tool's plan said and ours has no word for."""

    type: Annotated[list[Type], BeforeValidator(_types)] = []
    required: Annotated[Literal["yes", "no", "unknown"], BeforeValidator(_yes_or_no)] = "unknown"
    enum: list[Any] = []
    description: str = ""
    other: dict[str, Any] = {}


class Target(_Part):
    """A rate to be reached by a day."""

    rate: Share
    by: Day = ""


class Threshold(_Part):
    """Relative fall (or rise) of a weekly rate that is told, and that is severe."""

    warn: Share = 0.10
    severe: Share = 0.15

    @model_validator(mode="after")
    def _in_order(self) -> Threshold:
        if self.warn > self.severe:
            raise ValueError(f"warn {self.warn} is more than severe {self.severe}")
        return self


class MicroConversion(_Part):
    """One micro-conversion; its fields are explained in a drafted plan (`draft.COMMENTS`)."""

    label: Text
    description: str = ""
    events: Annotated[Events, Field(min_length=1)]
    owner: Annotated[str, BeforeValidator(_apart)] = ""
    acts: str = ""
    outcome: Literal["activation", "engagement", "retention", "revenue"] | None = None
    priority: Annotated[int, Field(ge=1)] | None = None
    within: Duration = ""
    platforms: Annotated[list[Annotated[Text, AfterValidator(_one)]], BeforeValidator(_listed)] = []
    properties: dict[str, Property] = {}
    additional: Literal["allow", "flag"] = "allow"
    implies: Events = []
    backend: bool = False
    survey: str = ""
    exposed: Annotated[Any, BeforeValidator(_moves)] = False
    target: Target | None = None
    threshold: Threshold = Threshold()
    bad: Bad = "down"
    since: Annotated[dict[str, Text], BeforeValidator(_since)] = {}
    version: Annotated[str, BeforeValidator(_text)] = ""
    other: dict[str, Any] = {}

    def step(self, name: str) -> Step:
        """What a row must be to count, under a name."""
        found = as_step(self.events if len(self.events) > 1 else self.events[0])
        return replace(found, name=name, title=self.label, within=self.within, acts=self.acts)


class Role(_Part):
    """Who acts. Where messages go is said in a pack."""

    label: Annotated[str, BeforeValidator(_apart)] = ""
    team: Annotated[str, BeforeValidator(_apart)] = ""


ROLES = {role: Role() for role in ("data_collector", "analyst", "response_coordinator")}


class Meaning(_Part):
    """What one team means by a term."""

    what: Annotated[Event, Field(alias="is")]
    within: Duration = ""


class Metric(_Part):
    """rate: users of ``of`` per users of ``per``. ratio: events of both. count: users of ``of``.

    mean: of the number ``property`` over the events ``of``, its denominator.
    """

    label: str = ""
    kind: Literal["rate", "ratio", "count", "mean"]
    of: Event
    per: Event = ""
    property: str = ""
    within: Duration = ""
    bad: Bad = "down"
    threshold: Threshold = Threshold()
    alert: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Metric:
        if self.kind in ("rate", "ratio") and not self.per:
            raise ValueError(f"a {self.kind} needs its denominator; add  per: active  or an event")
        if (self.kind == "mean") != bool(self.property):
            raise ValueError("a mean needs the number it is of, as  property: , and only a mean")
        return self


class Segment(_Part):
    """Users or events that are looked at apart."""

    label: str = ""
    where: Where


@dataclass
class EventRules:
    """Of one event: the micro-conversions that it may be, each with what a row must be for that.

    named: properties of any of them. flags: whether a further one is a violation.
    """

    parts: list[tuple[str, Step]] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    flags: bool = False


class Plan(_Part):
    """A tracking plan. start: ``within`` counts from it. active: what an active user does."""

    version: Literal[1] = 1
    start: Event = ""
    active: Events = []
    teams: list[Text] = []
    roles: dict[str, Role] = ROLES
    micro_conversions: Annotated[dict[Text, MicroConversion], Field(min_length=1)]
    terms: dict[str, dict[str, Meaning]] = {}
    metrics: dict[str, Metric] = {}
    segments: dict[str, Segment] = {}
    other: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        """A micro-conversion without label or events is named as its event is, no two alike."""
        named = content.get("micro_conversions") if isinstance(content, Mapping) else None
        if not isinstance(named, Mapping):
            return content
        full, labels = dict(named), set[str]()
        for name, given in named.items():
            if given is None or isinstance(given, Mapping):
                label = str(name) if in_words(str(name)) in labels else in_words(str(name))
                labels.add(label)
                own = {"label": label, "events": [str(name)]}
                said = {k: v for k, v in (given or {}).items() if v is not None or k not in own}
                full[name] = own | said
        return {**content, "micro_conversions": full}

    @model_validator(mode="after")
    def _whole(self) -> Plan:
        if wrong := [*_unknown(self), *_same_labels(self), *_circles(self)]:
            raise ValueError("\n".join(wrong))
        return self

    def meanings(self) -> dict[str, Step]:
        """Name -> what it means, with the role in people's words."""
        found = {name: each.step(name) for name, each in self.micro_conversions.items()}
        for name, each in self.micro_conversions.items():
            if each.target and self.start:
                aim = Aim(each.target.rate, each.target.by, as_step(self.start, "start", found))
                found[name] = replace(found[name], target=aim)
        label = {role: known.label or in_words(role) for role, known in self.roles.items()}
        return {name: replace(s, acts=label.get(s.acts, "")) for name, s in found.items()}

    def asked_segments(self) -> dict[str, Step]:
        """Name -> which events, for ``by``."""
        named = [(name, s.where, s.label or in_words(name)) for name, s in self.segments.items()]
        return {name: Step(ANY, where, name, label) for name, where, label in named}

    def asked_metrics(self) -> dict[str, Rate | Ratio | Count | Mean]:
        """Name -> what a day of it is."""
        found: dict[str, Rate | Ratio | Count | Mean] = {}
        for name, m in self.metrics.items():
            label, per = m.label or in_words(name), self.active if m.per == "active" else m.per
            if m.kind == "rate":
                found[name] = Rate(m.of, per, m.within, label)
            elif m.kind == "ratio":
                found[name] = Ratio(m.of, per, label)
            else:
                found[name] = Mean(m.of, m.property, label) if m.property else Count(m.of, label)
        return found

    def rules(self) -> dict[str, EventRules]:
        """What the plan asks of each of its events."""
        found: dict[str, EventRules] = {}
        for name, step in self.meanings().items():
            each = self.micro_conversions[name]
            for part in step.parts:
                filters = {of_property(key) for key in part.where}
                for event in part.names:
                    rules = found.setdefault(event, EventRules())
                    rules.parts.append((name, part))
                    rules.named |= {*each.properties, *filters.difference(CANONICAL["events"])}
                    rules.flags |= each.additional == "flag"
        return found

    def references(self) -> Iterator[tuple[str, Any]]:
        """Where the plan names events or micro-conversions of its own, and what stands there."""
        yield "start", self.start
        yield from (("active", event) for event in self.active)
        for name, each in self.micro_conversions.items():
            yield from ((f"implies of {name}", event) for event in each.implies)
        for term, teams in self.terms.items():
            yield from ((f"term {term} of {team}", m.what) for team, m in teams.items())
        for name, metric in self.metrics.items():
            yield f"metric {name}", metric.of
            if metric.per != "active":
                yield f"metric {name}", metric.per


def of_property(key: str) -> str:
    """The property that a filter's key means, where it means none of the columns."""
    return key.removeprefix("event.").removeprefix("properties.")


def in_words(name: str) -> str:
    """What people read where nothing else is said: "Profile completed"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\s.]+", " ", name).strip(" $") or name
    return words[:1].upper() + words[1:]


# ---- what only the whole plan shows


def _unknown(plan: Plan) -> Iterator[str]:
    """Roles and teams that the plan does not name; teams are checked where it names any."""
    owners = [(f"micro_conversions.{n}.owner", m.owner) for n, m in plan.micro_conversions.items()]
    owners += [(f"roles.{name}.team", role.team) for name, role in plan.roles.items()]
    owners += [(f"terms.{term}", team) for term, teams in plan.terms.items() for team in teams]
    for where, team in owners if plan.teams else ():
        if team and team not in plan.teams:
            yield f'"{where}": the team "{team}" is not among teams.{nearest(team, plan.teams)}'
    for name, each in plan.micro_conversions.items():
        if each.acts and each.acts not in plan.roles:
            near = nearest(each.acts, plan.roles) or f" Known are {', '.join(plan.roles)}."
            where = f"micro_conversions.{name}.acts"
            yield f'"{where}": "{each.acts}" is not among roles.{near}'
    for name, metric in plan.metrics.items():
        if metric.per == "active" and not plan.active:
            yield f'"metrics.{name}.per": say what active is; add  active: [event].'


def _same_labels(plan: Plan) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, each in plan.micro_conversions.items():
        other = first.setdefault(each.label, name)
        if other != name:
            yield f'"{other}" and "{name}" have the same label, "{each.label}"; people read labels.'


def _circles(plan: Plan) -> Iterator[str]:
    """Implications that come back to where they began."""
    meanings = plan.meanings()
    of_event = {
        event: n for n, step in meanings.items() if not step.filtered for event in step.names
    }
    earlier: dict[str, list[str]] = {name: [] for name in meanings}
    for name, each in plan.micro_conversions.items():
        for event in each.implies:
            planned = {} if isinstance(event, Mapping) else meanings  # in a mapping: the raw event
            for word in as_step(event).names:
                earlier[name] += [word] if word in planned else [of_event.get(word, "")]
    try:
        TopologicalSorter(earlier).prepare()
    except CycleError as error:
        circle = " > ".join(reversed(error.args[1]))
        yield f'"implies" goes in a circle: {circle}; one must come first.'
