"""What an event must be to count: steps and exclusions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from mctlib.contract import ParameterError, as_window, one_of
from mctlib.eventlog import filters

ANY = filters.ANY
Order = Literal["ordered", "strict", "unordered"]
MATCHERS = 64  # that a row's bit mask has room for


class Aim(NamedTuple):
    """A share of the users with the event ``start`` to be reached, and by which day ("": none)."""

    rate: float
    by: str
    start: Step


@dataclass(frozen=True)
class Step:
    """What a row must be to count.

    Attributes
    ----------
    event : str, list of str or Step, or ANY
        One name, several of which any will do, or every event.
    where : mapping
        A column of the event (``platform``), a property (``role``) or else a column of people
        (``plan``; ``event.``, ``properties.`` or ``people.`` before a name says which) -> the value
        it must have, a list of accepted values, ANY, or a mapping of tests that must all hold:
        ``not``, ``>=``, ``>``, ``<=``, ``<``, ``contains``, ``present`` (true or false).
    name, title, within, acts, target : str, str, str, str, Aim
        Of a tracking plan's micro-conversion: its name, what people read, how long it may take, who
        is told first, and what is to be reached.

    Examples
    --------
    >>> android = Step("profile_completed", {"platform": "android"})
    >>> log.counts(events=[android])["n_users"].item()
    20
    """

    event: Any
    where: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(default="", compare=False)
    title: str = field(default="", compare=False)
    within: str = field(default="", compare=False)
    acts: str = field(default="", compare=False)
    target: Aim | None = field(default=None, compare=False)

    @property
    def parts(self) -> tuple[Step, ...]:
        """Steps of names and filters alone, of which any will do."""
        if self.event is ANY or isinstance(self.event, str):
            return (Step(self.event, self.where),)
        plain = [event for event in self.event if isinstance(event, str)]
        found = [Step(plain, self.where)] if plain else []
        for step in self.event:
            if isinstance(step, Step):
                found += [Step(p.event, _both(self.where, p.where)) for p in step.parts]
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """Accepted event names; empty when every event is accepted."""
        if self.event is ANY:
            return ()
        if isinstance(self.event, str):
            return (self.event,)
        of_each = [e.names if isinstance(e, Step) else (e,) for e in self.event]
        return tuple(dict.fromkeys(name for names in of_each for name in names))

    @property
    def all_names(self) -> list[str]:
        """By which a timeline or a response log may call it: the plan's name, and the events'."""
        return list(dict.fromkeys(filter(None, (self.name, *self.names))))

    @property
    def filtered(self) -> bool:
        """Whether more than the event's name decides."""
        return any(part.where for part in self.parts)

    @property
    def label(self) -> str:
        """The step in a reader's words."""
        return self.title or self.said({})

    def said(self, labels: Mapping[str, str]) -> str:
        """The events, by their labels where these say one, and the filter in a reader's words."""
        if self.event is ANY:
            text = "any event"
        else:
            events = [self.event] if isinstance(self.event, str) else self.event
            text = " or ".join(e.label if isinstance(e, Step) else labels.get(e, e) for e in events)
        for key, value in self.where.items():
            text += f" [{filters.words(key, value)}]"
        return text

    def __str__(self) -> str:
        return self.label


Meanings = Mapping[str, Step]  # the micro-conversions of a tracking plan, by name


@dataclass(frozen=True)
class Exclusion:
    """An event that must not happen between two steps, by their numbers from 1.

    A user whose deepest attempt holds it is taken out of the funnel; with steps in any order it
    takes back what the user has done of the attempt so far.

    Examples
    --------
    >>> from mctlib import diagnose_funnel
    >>> asked = {"window": "7d", "as_of": "2026-02-08", "exclude": [Exclusion("profile_completed")]}
    >>> steps = diagnose_funnel(log, ["signed_up", "interview_scheduled"], **asked).steps
    >>> steps["n_reached"].tolist()  # three of four of the 40 complete their profile, and are out
    [10, 0]
    """

    event: Any
    after: int = 1
    before: int = 2
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> Step:
        """The exclusion as a matcher."""
        return self.event if isinstance(self.event, Step) else Step(self.event, self.where)


def as_step(step: Any, name: str = "event", meanings: Meanings = MappingProxyType({})) -> Step:
    """Read a name, a mapping of a Step's fields (as YAML gives it), a Step, or a list of these.

    A name means what ``meanings`` says; in a mapping or a Step it is the event's own. Raises
    ParameterError, about the argument ``name``: it is none of these.
    """
    if isinstance(step, Mapping):
        step = _made(Step, step, name)
    elif isinstance(step, str):
        step = meanings.get(step) or Step(step)
    elif not isinstance(step, Step):
        step = Step(_any_of(step, name, meanings) if isinstance(step, (list, tuple)) else step)
    if step.event is not ANY and not _names_events(step.event):
        raise ParameterError(
            f"{name}: {step.event!r} is not an event; give its name, {{event: name, where: "
            "{column: value}}, a list of these (any of them), or ANY for every event."
        )
    if not isinstance(step.where, Mapping) or not all(isinstance(k, str) for k in step.where):
        raise ParameterError(
            f"{name}: where is {step.where!r}; it must map columns or properties to the values "
            'asked for, as in {"platform": "ios"}.'
        )
    for key, wanted in step.where.items():
        if wrong := filters.fault(key, wanted):
            raise ParameterError(f'{name}: the filter of "{key}" {wrong}')
    # a raw event is called as people read it where it is a micro-conversion whatever it says
    whole = [m for m in meanings.values() if len(m.names) == 1 and not m.filtered]
    labels = {m.names[0]: m.title for m in whole if m.names[0] in step.names}
    return replace(step, title=step.said(labels)) if labels and not step.title else step


def _any_of(events: Sequence[Any], name: str, meanings: Meanings) -> list[Any]:
    """Events of which any will do, as a Step holds them: names, where a name is all there is."""
    found: list[Any] = []
    for event in events:
        step = as_step(event, name, meanings)
        found += [step] if step.title or step.filtered or step.event is ANY else step.names
    return found


def _names_events(event: Any) -> bool:
    names = [event] if isinstance(event, str) else event
    if not isinstance(names, Collection) or isinstance(names, Mapping) or not names:
        return False
    return all(isinstance(name, (str, Step)) and name for name in names)


def may_meet(a: Step, b: Step) -> bool:
    """Whether one event could match both.

    Not with names that have none in common, nor where a property must have other values in one
    than in the other.
    """
    return any(_may_meet(of_a, of_b) for of_a in a.parts for of_b in b.parts)


def _may_meet(a: Step, b: Step) -> bool:
    if a.names and b.names and set(a.names).isdisjoint(b.names):
        return False
    shared = a.where.keys() & b.where.keys()
    return all(filters.can_share(a.where[key], b.where[key]) for key in shared)


def _both(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The filter that asks for what two ask for."""
    shared = a.keys() & b.keys()
    return {**a, **b, **{key: filters.both(key, a[key], b[key]) for key in shared}}


def window_of(steps: Sequence[Step], window: Any) -> int:
    """A funnel's window in microseconds, as a plan gives it to the last step where it is not said.

    Raises ParameterError: neither says it, or it is none.
    """
    if window not in (None, ""):
        return as_window(window)
    if not steps[-1].within:
        raise ParameterError(
            'window: say within which time the steps must happen, such as "14d"; no plan says it '
            f'for "{steps[-1].label}".'
        )
    return as_window(steps[-1].within)


def refuse_misspelt(name: str, missing: Iterable[str]) -> None:
    """Raise ParameterError where a sentence about an event that does not occur has a near word."""
    if wrong := [f"{name}: {said}" for said in missing if said.endswith("?")]:
        raise ParameterError("\n".join(wrong))


def check_exit(steps: Sequence[Step], leave: Step | None) -> None:
    """Raise ParameterError where one event could be both a step and the exit."""
    for step in steps:
        if leave and may_meet(step, leave):
            raise ParameterError(
                f'competing: one event could be both the exit "{leave.label}" and the step '
                f'"{step.label}"; name an event that is no step.'
            )


def as_exclusion(given: Any, meanings: Meanings = MappingProxyType({})) -> Exclusion:
    """Read an Exclusion, or a mapping of its fields (as YAML gives it), as `as_step` reads a step.

    Raises ParameterError: it is neither, or its event is none.
    """
    if isinstance(given, Mapping):
        given = _made(Exclusion, given, "exclude")
    if not isinstance(given, Exclusion):
        raise ParameterError(
            f"exclude: {given!r} is not an exclusion; give "
            'Exclusion("event", after=1, before=2) or a mapping of these.'
        )
    step = as_step(given.event, "exclude", meanings)
    if given.where:
        step = as_step(Step([step], given.where), "exclude")
    return replace(given, event=step, where={})


def _made(kind: type, given: Mapping[str, Any], name: str) -> Any:
    known = [f.name for f in fields(kind) if f.compare]  # the rest comes from a plan alone
    for key in given:
        one_of(name, key, known)
    if "event" not in given:
        raise ParameterError(f"{name}: {dict(given)} says no event.")
    return kind(**given)
