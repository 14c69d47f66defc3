"""The tracking plan: the one place where a micro-conversion is defined, labelled and owned.

`reading.read_plan` reads it from params/plan.<dataset>.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from mctlib.contract import CANONICAL, as_timestamp, as_window, nearest
from mctlib.eventlog.steps import Step, as_step

# ---- fields


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


def _filter(where: Any) -> Any:
    """What columns or properties must be: a value, or a list of accepted ones."""
    for key, value in where.items():
        if value in (None, []) or any(isinstance(v, (dict, list)) for v in _listed(value)):
            raise ValueError(f"where {key} is {shown(value)}; write a value, or a list of them")
    return where


def _event(value: Any, name: str) -> None:
    _filter(as_step(value, name).where)


def _day(value: Any, name: str) -> None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)):
        raise ValueError(f'{name} {shown(value)} is no day; write it like "2026-01-05"'.strip())
    as_timestamp(value, name)


def _since(value: Any) -> Any:
    """A day, or the day and the first version of each platform."""
    if not isinstance(value, dict):
        return {"day": value}
    return {key: _text(version) for key, version in value.items()}


def _since_day(value: dict[str, str]) -> dict[str, str]:
    if "day" in value:
        _day(value["day"], "")
    return value


def _words(value: Any) -> Any:
    """YAML reads null as no value, and true as the answer yes."""
    return {None: "null"}.get(value, value) if not isinstance(value, (list, dict)) else value


def _sorted_types(value: Any) -> Any:
    return sorted({_words(v) for v in _listed(value)}) if value else []


def _yes_or_no(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _moves(value: Any) -> Any:
    if isinstance(value, bool) or value == []:
        return bool(value)
    if not all(isinstance(move, str) and move for move in _listed(value)):
        raise ValueError(f"must be true, false, or a list of competitor moves, not {shown(value)}")
    return _listed(value)


def _text(value: Any) -> Any:
    """A version may look like a number; it is spelled as it was written."""
    return getattr(value, "text", str(value)) if isinstance(value, (int, float)) else value


def _apart(value: Any) -> Any:
    if isinstance(value, str) and re.search(r"@|://", value):
        raise ValueError("looks like an address; addresses stand in the pack alone, under alerts")
    return value


Text = Annotated[str, Field(min_length=1)]
Event = Annotated[Any, _read(_event)]  # of a plan's name, its meaning; {event: x} is the raw event
Events = Annotated[list[Event], BeforeValidator(_listed)]
Duration = Annotated[Any, _read(as_window)]
Day = Annotated[Any, _read(_day)]
Share = Annotated[float, Field(gt=0, le=1)]
Where = Annotated[dict[str, Any], AfterValidator(_filter), Field(min_length=1)]
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

    type: Annotated[list[Type], BeforeValidator(_sorted_types)] = []
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
    platforms: Annotated[list[Text], BeforeValidator(_listed)] = []
    properties: dict[str, Property] = {}
    additional: Literal["allow", "flag"] = "allow"
    implies: Events = []
    backend: bool = False
    survey: str = ""
    exposed: Annotated[Any, BeforeValidator(_moves)] = False
    target: Target | None = None
    threshold: Threshold = Threshold()
    bad: Bad = "down"
    since: Annotated[dict[str, Text], BeforeValidator(_since), AfterValidator(_since_day)] = {}
    version: Annotated[str, BeforeValidator(_text)] = ""
    other: dict[str, Any] = {}

    def step(self, name: str) -> Step:
        """What a row must be to count, under a name."""
        steps = [as_step(event) for event in self.events]
        if len(steps) == 1:
            found = steps[0]
        elif any(step.filtered for step in steps):
            found = Step(steps)
        else:
            found = Step([each for step in steps for each in step.names])
        return replace(found, name=name, title=self.label, within=self.within, acts=self.acts)


class Role(_Part):
    """Who acts. Where messages go is said in a pack."""

    label: Annotated[str, BeforeValidator(_apart)] = ""
    team: Annotated[str, BeforeValidator(_apart)] = ""


ROLES = {
    "data_collector": Role(label="Data collector"),
    "analyst": Role(label="Analyst"),
    "response_coordinator": Role(label="Response coordinator"),
}


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
        """A micro-conversion without label or events is named as its event is."""
        named = content.get("micro_conversions") if isinstance(content, Mapping) else None
        if not isinstance(named, Mapping):
            return content
        full = dict(named)
        for name, given in named.items():
            if given is None or isinstance(given, Mapping):
                said = dict(given or {})
                for key, otherwise in (("label", in_words(str(name))), ("events", [str(name)])):
                    if said.get(key) is None:
                        said[key] = otherwise
                full[name] = said
        return {**content, "micro_conversions": full}

    @model_validator(mode="after")
    def _whole(self) -> Plan:
        if wrong := [*_unknown(self), *_same_labels(self), *_circles(self)]:
            raise ValueError("\n".join(wrong))
        return self

    def meanings(self) -> dict[str, Step]:
        """Name -> what it means, with the role in people's words."""
        found = {name: each.step(name) for name, each in self.micro_conversions.items()}
        label = {role: known.label or role for role, known in self.roles.items()}
        return {name: replace(s, acts=label.get(s.acts, "")) for name, s in found.items()}

    def rules(self) -> dict[str, EventRules]:
        """What the plan asks of each of its events."""
        found: dict[str, EventRules] = {}
        for name, step in self.meanings().items():
            each = self.micro_conversions[name]
            for part in step.parts:
                filters = {key.removeprefix("properties.") for key in part.where}
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


def in_words(name: str) -> str:
    """What people read where nothing else is said: "Profile completed"."""
    words = re.sub(r"[_\s]+", " ", name).strip() or name
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
    """Implications that come back to where they began, each told once."""
    named = {
        name: [e for e in each.implies if isinstance(e, str) and e in plan.micro_conversions]
        for name, each in plan.micro_conversions.items()
    }
    seen: set[str] = set()

    def walk(path: list[str]) -> Iterator[str]:
        for name in named[path[-1]]:
            if name in path:
                circle = [*path[path.index(name) :], name]
                yield f'"implies" goes in a circle: {" > ".join(circle)}; one must come first.'
            elif name not in seen:
                yield from walk([*path, name])
        seen.add(path[-1])

    for name in named:
        if name not in seen:
            yield from walk([name])
