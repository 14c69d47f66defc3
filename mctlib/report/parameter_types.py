"""The types of parameters: what a notebook may be asked of the data that a log holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from mctlib.contract import (
    ParameterError,
    as_columns,
    as_window,
    nearest,
    number_meant,
)
from mctlib.eventlog.daily_metric import as_metric
from mctlib.eventlog.labels import named
from mctlib.eventlog.steps import MATCHERS
from mctlib.report.parameter_days import day_of_entry, day_within, period_in_order, weeks_told

# ---- rules: each gives what follows the parameter's name in a sentence, "" where nothing is wrong


def _checked(rule: Callable[[Any, Any], str], *, or_empty: bool = False) -> AfterValidator:
    """A rule as pydantic runs it, with the log as context and the parameters above as data.

    "" and None pass where a parameter need not be given.
    """

    def validate(value: Any, info: Any) -> Any:
        wrong = "" if or_empty and value in ("", None) else rule(value, info)
        if wrong:
            raise ValueError(wrong)
        return value

    return AfterValidator(validate)


def _wrong(word: str, read: Callable[[], Any]) -> str:
    """What a reader of the house says is wrong, without its own word for it."""
    try:
        read()
    except ParameterError as error:
        return f": {str(error).removeprefix(f'{word}: ')}"
    return ""


def _event(value: Any, info: Any) -> str:
    """A name, a mapping of `event` and `where`, or a list of these."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and (wrong := _keys(each, "an event", ("event", "where"))):
            return wrong
    if not _named(value):
        form = "a name, {event: name, where: {column: value}}, or a list of these"
        return f": {json.dumps(value)} names no event; write {form}."
    try:
        missing = info.context.missing_events([value])
    except ParameterError as error:
        return f": {str(error).removeprefix('event: ')}"
    return f": {' The '.join(missing)}" if missing else ""


def _named(event: Any) -> bool:
    if isinstance(event, list):
        return bool(event) and all(map(_named, event))
    if isinstance(event, dict):
        return _named(event.get("event"))
    return isinstance(event, str) and event != ""


def _keys(value: dict[str, Any], thing: str, keys: Collection[str]) -> str:
    for key in value:
        if key not in keys:
            *some, last = (f'"{known}"' for known in keys)
            known = f"{', '.join(some)} and {last}"
            return f': {thing} has the keys {known}, not "{key}".{nearest(key, keys)}'
    where = value.get("where", {})
    if isinstance(where, dict):
        return ""
    return f': "where" holds "column: value" lines, not {json.dumps(where)}.'


def _exclusion(value: Any, info: Any) -> str:
    """An event that must not happen between two steps, by their numbers."""
    if not isinstance(value, dict):
        return f": {json.dumps(value)} is no exclusion; write {{event: name, after: 1, before: 2}}."
    if wrong := _keys(value, "an exclusion", ("event", "after", "before", "where")):
        return wrong
    after, before = value.get("after", 1), value.get("before", 2)
    if wrong := _step_number(after, info) or _step_number(before, info):
        return wrong
    if after >= before:
        return ': "after" must be an earlier step than "before".'
    alone = "event" in value and "where" not in value  # a plan's name is meant
    step = {key: value[key] for key in ("event", "where") if key in value}
    return _event(value["event"] if alone else step, info)


def _step_number(value: Any, info: Any) -> str:
    """The number of a step, from 1."""
    n_steps = len(info.data.get("steps", ()))
    if type(value) is int and 1 <= value <= (n_steps or value):
        return ""
    steps = f"; the steps are 1 to {n_steps}" if n_steps else ""
    return f": {json.dumps(value)} is no number of a step{steps}."


def _drivers(value: Any, info: Any) -> str:
    """The step at which drivers are compared, by its number, and events."""
    if wrong := _keys(value, "what drivers are asked", ("step", "events")):
        return wrong
    if wrong := _step_number(value["step"], info) if "step" in value else "":
        return wrong
    return next(filter(None, (_event(event, info) for event in value.get("events", ()))), "")


def _funnel(value: Any, _: Any) -> str:
    if len(value) >= MATCHERS:
        return f" has {len(value)} steps; {MATCHERS - 1} is the most."
    return "" if len(value) >= 2 else f" needs at least two steps, not {json.dumps(value)}."


def _not_the_start(value: Any, info: Any) -> str:
    step = info.context.step
    if "start" not in info.data or step(info.data["start"]).parts != step(value).parts:
        return ""
    return f" is the start as well, {json.dumps(value)}; they must be different events."


def _name(value: Any, info: Any) -> str:
    """A column's name."""
    if not isinstance(value, str):
        return f" must be a column's name, not {json.dumps(value)}."
    return _column(value, info)


def _arms(value: Any, info: Any) -> str:
    """A column's name; arms are compared by the success alone."""
    if info.data.get("metric"):
        return ' compares users by "success" and not by "metric"; leave one of the two empty.'
    return _name(value, info)


def _column(value: Any, info: Any) -> str:
    """A column's name, or columns whose numbers are binned: {seats: [1, 10, 50]}."""
    if not isinstance(value, (str, dict)):
        return f" must be a column's name or {{name: [bins]}}, not {json.dumps(value)}."
    try:
        for column in as_columns(value):
            info.context.segments(column)
    except ParameterError as error:
        return f": {error}"
    return ""


def _kinds(value: Any, info: Any) -> str:
    """By the first credit is given, so touches must have it; the last may be of users."""
    return _partner(value[0], info) if value else ""


def _sources(value: Any, info: Any) -> str:
    """One alone is a column whose own values are credited."""
    alone = len(value) == 1 and not value[0].startswith("survey:")
    return _partner(value[0], info) if alone else ""


def _partner(value: Any, info: Any) -> str:
    """A column of events that says whom a touch names."""
    from mctlib.attribution.question import read_by
    from mctlib.attribution.touchpoints import Tags

    log = info.context
    return _wrong("by", lambda: log.segments(Tags.dim(read_by(log, value))))


def _apart(value: Any, info: Any) -> str:
    """Columns that no other parameter names already: each is held equal once, or compared."""
    value = as_columns(value)
    for name in ("by", "adjust"):
        columns = as_columns(info.data.get(name))
        both = [column for column in value if column in columns]
        if both:
            return f': "{both[0]}" stands under "{name}" already; name it in one of them only.'
    twice = [column for column in value if value.count(column) > 1]
    return f': "{twice[0]}" stands there twice.' if twice else ""


def _duration(value: Any, _: Any) -> str:
    as_window(value, "")  # whose error begins with the colon after the name
    return ""


def _planned_window(value: Any, info: Any) -> str:
    """May be left to the tracking plan, where it says how long the last event may take."""
    last = info.data.get("success") or info.data.get("steps", [""])[-1]
    if value == "" and last and info.context.step(last).within:
        return ""
    return _duration(value, info)


def _metric(value: Any, info: Any) -> str:
    return _wrong("metric", lambda: as_metric(info.context, value))


def _durations(value: Any, _: Any) -> str:
    return "" if value else " names no duration; write at least one."


def _money(value: Any, _: Any) -> str:
    if isinstance(value, (int, float)) and 0 <= value < float("inf"):
        return ""
    said = f" is an amount of money; write a number of 0 or more, not {json.dumps(value)}."
    return said + number_meant(value)


def _cost_error(value: Any, _: Any) -> str:
    """A standard deviation, and a correlation."""
    sd, correlation = (*value, *[0.0] * (2 - len(value)))[:2]
    numbers = len(value) <= 2 and all(isinstance(x, (int, float)) for x in value)
    if numbers and 0 <= sd < float("inf") and -1 <= correlation <= 1:
        return ""
    return (
        ": write a standard deviation of 0 or more and, behind it, a correlation from -1 to 1, "
        f"not {json.dumps(value)}."
    )


def _worth(value: Any, info: Any) -> str:
    """The number of each conversion that says its money, or people's revenue."""
    from mctlib.attribution.question import read_value

    try:
        log = info.context
        read_value(log, value, log.step(info.data["conversion"]))
    except ParameterError as error:
        return str(error).removeprefix("value")
    except KeyError:  # a wrong conversion is told already
        pass
    return ""


def _outcomes(value: Any, info: Any) -> str:
    """What of people, which event, or which return a micro-conversion may be a signal of."""
    from mctlib.signals.outcomes import read_outcome

    span = info.data.get("horizon", "60d")
    asked = [partial(read_outcome, info.context, outcome, span, None) for outcome in value]
    return next(filter(None, (_wrong("outcome", ask) for ask in asked)), "")


def _term(value: Any, info: Any) -> str:
    """A word of the plan that teams define differently."""
    from mctlib.signals.definitions import read_meanings

    return _wrong("definitions", lambda: read_meanings(info.context, value))


def _share(value: Any, _: Any) -> str:
    if 0 < value <= 1:
        return ""
    meant = number_meant(f"{value:g} %") if 1 < value <= 100 else ""
    return f" must be a share above 0 and at most 1, not {json.dumps(value)}.{meant}"


def one_of(*words: str) -> AfterValidator:
    """One of some words."""

    def rule(value: Any, _: Any) -> str:
        said = f" must be one of {', '.join(filter(None, words))}, not {json.dumps(value)}."
        return "" if value in words else said + nearest(value, words)

    return _checked(rule)


def segment_of(parameter: str) -> AfterValidator:
    """A segment, several, or numbers by them, of the column that another parameter names.

    By its value, or as the tracking plan calls it; read as the latter.
    """

    def validate(value: Any, info: Any) -> Any:
        value = named(info.context.planned_segments, info.data.get(parameter), value)
        if wrong := rule(value, info):
            raise ValueError(wrong)
        return value

    def rule(value: Any, info: Any) -> str:
        if not value or parameter not in info.data:  # a wrong column is told already
            return ""
        asked = list(value) if isinstance(value, (list, dict)) else [value]
        columns = as_columns(info.data[parameter])
        if not columns:
            lack = f'but "{parameter}" names no column whose segments these could be'
            return f" is {json.dumps(value)}, {lack}."
        if len(columns) > 1:  # their segments are the combinations that occur
            return ""
        column, levels = columns[0], info.context.segments(columns[0])
        unknown = [s for s in asked if s not in levels]
        if not unknown:
            return ""
        some = f" It has {', '.join(levels[:8])}{', ...' if len(levels) > 8 else ''}."
        near = nearest(unknown[0], levels) or some
        return f': {json.dumps(unknown[0])} is no segment of "{column}".{near}'

    return AfterValidator(validate)


Event = Annotated[Any, _checked(_event)]
EventOrNone = Annotated[Any, _checked(_event, or_empty=True)]
Funnel = Annotated[list[Event], _checked(_funnel)]
StepNumber = Annotated[Any, _checked(_step_number)]
Exclusion = Annotated[Any, _checked(_exclusion)]
Name = Annotated[Any, _checked(_name)]
Column = Annotated[Any, _checked(_column)]
ColumnOrNone = Annotated[Any, _checked(_column, or_empty=True)]
Duration = Annotated[Any, _checked(_duration)]
Window = Annotated[Any, _checked(_planned_window)]
Durations = Annotated[list[Duration], _checked(_durations)]
Day = Annotated[Any, _checked(day_within)]
Moment = Annotated[Day, BeforeValidator(day_of_entry)]
Period = Annotated[list[Day], BeforeValidator(weeks_told), _checked(period_in_order)]
Money = Annotated[Any, _checked(_money, or_empty=True)]
Worth = Annotated[str, _checked(_worth, or_empty=True)]
Share = Annotated[float, _checked(_share)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Drivers = Annotated[dict[str, Any], _checked(_drivers)]
Later = Annotated[Event, _checked(_not_the_start)]
Apart = Annotated[list[Column], _checked(_apart)]
Metric = Annotated[str, _checked(_metric, or_empty=True)]
CostError = Annotated[list[Any], _checked(_cost_error)]
Arms = Annotated[Any, _checked(_arms, or_empty=True)]
Sources = Annotated[list[str], _checked(_sources)]
Kinds = Annotated[list[Name], _checked(_kinds)]
Outcomes = Annotated[list[Any], Field(min_length=1), _checked(_outcomes)]
Term = Annotated[str, _checked(_term, or_empty=True)]
