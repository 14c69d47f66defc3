"""What an event must be to count: steps and exclusions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mctlib.contract import ParameterError, nearest
from mctlib.eventlog import filters

ANY = filters.ANY
Order = Literal["ordered", "strict", "unordered"]
MATCHERS = 64  # that a row's bit mask has room for


@dataclass(frozen=True)
class Step:
    """What a row must be to count.

    Attributes
    ----------
    event : str, list of str or ANY
        One name, several of which any will do, or every event.
    where : mapping
        A column of the event (``platform``), a property (``role``) or else a column of people
        (``plan``; ``event.``, ``properties.`` or ``people.`` before a name says which) -> the value
        it must have, a list of accepted values, ANY, or a mapping of tests that must all hold:
        ``not``, ``>=``, ``>``, ``<=``, ``<``, ``contains``, ``present`` (true or false).
    """

    event: Any
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Accepted event names; empty when every event is accepted."""
        if self.event is ANY:
            return ()
        return (self.event,) if isinstance(self.event, str) else tuple(self.event)

    @property
    def label(self) -> str:
        """The step in a reader's words."""
        text = " or ".join(self.names) or "any event"
        for key, value in self.where.items():
            text += f" [{filters.words(key, value)}]"
        return text


@dataclass(frozen=True)
class Exclusion:
    """An event that must not happen between two steps, by their numbers from 1.

    A user whose deepest attempt holds it is taken out of the funnel; with steps in any order it
    takes back what the user has done of the attempt so far.
    """

    event: Any
    after: int = 1
    before: int = 2
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> Step:
        """The exclusion as a matcher."""
        return Step(self.event, self.where)


def as_step(step: Any, name: str = "event") -> Step:
    """Read a name, a list of names, a mapping of a Step's fields (as YAML gives it) or a Step.

    Raises ParameterError, about the argument ``name``: it is none of these.
    """
    if isinstance(step, Mapping):
        step = _made(Step, step, name)
    elif not isinstance(step, Step):
        step = Step(step)
    if step.event is not ANY and not _names_events(step.event):
        raise ParameterError(
            f"{name}: {step.event!r} is not an event; give its name, a list of names (any of "
            "them), or ANY for every event."
        )
    if not isinstance(step.where, Mapping) or not all(isinstance(k, str) for k in step.where):
        raise ParameterError(
            f"{name}: where is {step.where!r}; it must map columns or properties to the values "
            'asked for, as in {"platform": "ios"}.'
        )
    for key, wanted in step.where.items():
        if wrong := filters.fault(key, wanted):
            raise ParameterError(f'{name}: the filter of "{key}" {wrong}')
    return step


def _names_events(event: Any) -> bool:
    names = [event] if isinstance(event, str) else event
    if not isinstance(names, Collection) or isinstance(names, Mapping) or not names:
        return False
    return all(isinstance(name, str) and name for name in names)


def may_meet(a: Step, b: Step) -> bool:
    """Whether one event could match both.

    Not with names that have none in common, nor where a property must have other values in one
    than in the other.
    """
    if a.names and b.names and set(a.names).isdisjoint(b.names):
        return False
    shared = a.where.keys() & b.where.keys()
    return all(filters.can_share(a.where[key], b.where[key]) for key in shared)


def check_exit(steps: Sequence[Step], leave: Step | None) -> None:
    """Raise ParameterError where one event could be both a step and the exit."""
    for step in steps:
        if leave and may_meet(step, leave):
            raise ParameterError(
                f'competing: one event could be both the exit "{leave.label}" and the step '
                f'"{step.label}"; name an event that is no step.'
            )


def as_exclusion(given: Any) -> Exclusion:
    """Read an Exclusion, or a mapping of its fields (as YAML gives it).

    Raises ParameterError: it is neither, or its event is none.
    """
    if isinstance(given, Mapping):
        given = _made(Exclusion, given, "exclude")
    if not isinstance(given, Exclusion):
        raise ParameterError(
            f"exclude: {given!r} is not an exclusion; give "
            'Exclusion("event", after=1, before=2) or a mapping of these.'
        )
    as_step(given.step, "exclude")
    return given


def _made(kind: type, given: Mapping[str, Any], name: str) -> Any:
    known = [f.name for f in fields(kind)]
    for key in given:
        if key not in known:
            near = nearest(key, known)
            raise ParameterError(f'{name}: "{key}" is not one of {", ".join(known)}.{near}')
    if "event" not in given:
        raise ParameterError(f"{name}: {dict(given)} says no event.")
    return kind(**given)
