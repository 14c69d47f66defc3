"""What an event must be to count: steps and exclusions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mctlib.contract import ParameterError, nearest

ANY = ...  # as an event: every event; as a property's value: any value, as long as there is one
Order = Literal["ordered", "strict", "unordered"]
MATCHERS = 64  # that a row's bit mask has room for


@dataclass(frozen=True)
class Step:
    """What a row must be to count: its event (one name, several names = any of them, ANY) and its properties.

    ``where`` maps a column (``platform``) or a property (``role``) to the value it must have, to a list of accepted values, or to ANY.
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
        words = " or ".join(self.names) or "any event"
        return words + "".join(
            f" [{k}={'present' if v is ANY else v}]" for k, v in self.where.items()
        )


@dataclass(frozen=True)
class Exclusion:
    """An event that must not happen between two steps (step numbers from 1). A user whose deepest attempt holds it is taken out of the funnel."""

    event: Any
    after: int = 1
    before: int = 2
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> Step:
        """The exclusion as a matcher."""
        return Step(self.event, self.where)


def as_step(step: Any, name: str = "event") -> Step:
    """A name, a list of names, a mapping with ``event`` and ``where`` (as YAML gives it) or a Step, as a Step. Raises ParameterError, about ``name``: it is none of these."""
    step = (
        step
        if isinstance(step, Step)
        else _made(Step, step, name)
        if isinstance(step, Mapping)
        else Step(step)
    )
    event = [step.event] if isinstance(step.event, str) else step.event
    if event is not ANY and not (
        isinstance(event, Collection)
        and not isinstance(event, Mapping)
        and len(event)
        and all(isinstance(e, str) and e for e in event)
    ):
        raise ParameterError(
            f"{name}: {step.event!r} is not an event; give its name, a list of names (any of them), or ANY for every event."
        )
    if not isinstance(step.where, Mapping):
        raise ParameterError(
            f'{name}: where is {step.where!r}; it must map columns or properties to the values asked for, as in {{"platform": "ios"}}.'
        )
    return step


def may_meet(a: Step, b: Step) -> bool:
    """Could one event match both? Not with names that have none in common, or where a property must have other values in one than in the other."""
    values = [
        {
            k: set(map(_plain, v if isinstance(v, (list, tuple, set)) else [v]))
            for k, v in s.where.items()
        }
        for s in (a, b)
    ]
    apart = any(
        values[0][k].isdisjoint(values[1][k])
        for k in values[0].keys() & values[1].keys()
        if ANY not in values[0][k] | values[1][k]
    )
    return not apart and (not a.names or not b.names or not set(a.names).isdisjoint(b.names))


def _plain(value: Any) -> Any:
    """A value of a filter as filters compare it: 1, 1.0 and "1.0" are one number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def as_exclusion(given: Any) -> Exclusion:
    """An Exclusion, or a mapping of its fields (as YAML gives it), as an Exclusion. Raises ParameterError: it is neither, or its event is none."""
    if not isinstance(given, (Exclusion, Mapping)):
        raise ParameterError(
            f'exclude: {given!r} is not an exclusion; give Exclusion("event", after=1, before=2) or a mapping of these.'
        )
    given = _made(Exclusion, given, "exclude") if isinstance(given, Mapping) else given
    as_step(given.step, "exclude")
    return given


def _made(kind: type, given: Mapping[str, Any], name: str) -> Any:
    known = [f.name for f in fields(kind)]
    for key in given:
        if key not in known:
            raise ParameterError(
                f'{name}: "{key}" is not one of {", ".join(known)}.{nearest(key, known)}'
            )
    if "event" not in given:
        raise ParameterError(f"{name}: {dict(given)} says no event.")
    return kind(**given)
