"""What a notebook may be asked: one model a notebook, whose types know the data."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, BaseModel, Field

from mctlib.contract import ParameterError, as_columns, as_timestamp, as_window, nearest
from mctlib.eventlog.observed import last_day

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


def _event(value: Any, info: Any) -> str:
    """A name, a list of names, or a mapping of `event` and `where`."""
    if isinstance(value, dict) and (wrong := _keys(value, "an event", ("event", "where"))):
        return wrong
    event = value.get("event") if isinstance(value, dict) else value
    names = event if isinstance(event, list) else [event]
    if not names or not all(isinstance(name, str) and name for name in names):
        form = "a name, a list of names, or {event: name, where: {column: value}}"
        return f": {json.dumps(value)} names no event; write {form}."
    try:
        missing = info.context.missing_events([value])
    except ParameterError as error:
        return f": {str(error).removeprefix('event: ')}"
    return f": {' The '.join(missing)}" if missing else ""


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
    return "" if len(value) >= 2 else f" needs at least two steps, not {json.dumps(value)}."


def _not_the_start(value: Any, info: Any) -> str:
    start, stop = (v if isinstance(v, list) else [v] for v in (info.data.get("start"), value))
    if start != stop:
        return ""
    return f" is the start as well, {json.dumps(value)}; they must be different events."


def _name(value: Any, info: Any) -> str:
    """A column's name."""
    if not isinstance(value, str):
        return f" must be a column's name, not {json.dumps(value)}."
    return _column(value, info)


def _column(value: Any, info: Any) -> str:
    """A column's name, or columns whose numbers are binned: {seats: [1, 10, 50]}."""
    if not isinstance(value, (str, dict)):
        return f" must be a column's name or {{name: [bins]}}, not {json.dumps(value)}."
    try:
        for column in as_columns(value):
            info.context.check_column(column)
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

    try:
        info.context.check_column(Tags.dim(read_by(info.context, value)))
    except ParameterError as error:
        return f": {str(error).removeprefix('by: ')}"
    return ""


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


def _funnel_window(value: Any, info: Any) -> str:
    """May be left to the tracking plan, where it says how long the last step may take."""
    steps = info.data.get("steps")
    if value == "" and steps and info.context.step(steps[-1]).within:
        return ""
    return _duration(value, info)


def _durations(value: Any, _: Any) -> str:
    return "" if value else " names no duration; write at least one."


def _day(value: Any, info: Any) -> str:
    """An ISO day or timestamp within the data."""
    first, last = info.context.first_event.normalize(), last_day(info.context)
    if first <= read_day("", value, last).normalize() <= last:
        return ""
    run = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f": {value} lies outside the data, which run from {run}."


def _period(value: Any, _: Any) -> str:
    if value and len(value) != 2:
        return f" must be a first and a last day, not {json.dumps(value)}."
    if value and as_timestamp(value[0]) > as_timestamp(value[1]):
        return f": {value[0]} comes after {value[1]}; write the earlier day first."
    return ""


def _money(value: Any, _: Any) -> str:
    if isinstance(value, (int, float)) and 0 <= value < float("inf"):
        return ""
    return f" is an amount of money; write a number of 0 or more, not {json.dumps(value)}."


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


def _share(value: Any, _: Any) -> str:
    if 0 < value <= 1:
        return ""
    return f" must be a share above 0 and at most 1, not {json.dumps(value)}."


def one_of(*words: str) -> AfterValidator:
    """One of some words."""

    def rule(value: Any, _: Any) -> str:
        said = f" must be one of {', '.join(filter(None, words))}, not {json.dumps(value)}."
        return "" if value in words else said + nearest(value, words)

    return _checked(rule)


def segment_of(parameter: str) -> AfterValidator:
    """A segment, several, or numbers by them, of the column that another parameter names."""

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

    return _checked(rule)


def read_day(what: str, text: Any, example: pd.Timestamp, otherwise: str = "") -> pd.Timestamp:
    """Read a day, or a moment with its zone; an ``example`` of the data's own says how."""
    with contextlib.suppress(ParameterError):
        stamp = as_timestamp(text)
        if not re.search(r"[T ]\d\d:[\d:.]+$", text):
            return stamp
    day = f"{example:%Y-%m-%d}"
    said = f'a day like "{day}" or a timestamp like "{day}T12:00:00Z"'
    raise ParameterError(f"{what} is {json.dumps(text)}; write {otherwise}{said}.")


Event = Annotated[Any, _checked(_event)]
EventOrNone = Annotated[Any, _checked(_event, or_empty=True)]
Funnel = Annotated[list[Event], _checked(_funnel)]
StepNumber = Annotated[Any, _checked(_step_number)]
Exclusion = Annotated[Any, _checked(_exclusion)]
Name = Annotated[Any, _checked(_name)]
NameOrNone = Annotated[Any, _checked(_name, or_empty=True)]
Column = Annotated[Any, _checked(_column)]
ColumnOrNone = Annotated[Any, _checked(_column, or_empty=True)]
Duration = Annotated[Any, _checked(_duration)]
Durations = Annotated[list[Duration], _checked(_durations)]
Day = Annotated[Any, _checked(_day)]
Period = Annotated[list[Day], _checked(_period)]
Money = Annotated[Any, _checked(_money)]
Worth = Annotated[str, _checked(_worth, or_empty=True)]
Share = Annotated[float, _checked(_share)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


# ---- one model a notebook; a parameter that the notebook does not declare is not asked for


class FunnelParameters(BaseModel):
    """Of notebooks/funnel.ipynb."""

    steps: Funnel = []
    window: Annotated[Any, _checked(_funnel_window)] = ""
    order: Annotated[str, one_of("ordered", "strict", "unordered")] = "ordered"
    competing: EventOrNone = ""
    exclude: list[Exclusion] = []
    optional: list[StepNumber] = []
    hold: list[Name] = []
    by: ColumnOrNone = ""
    cohorts: Annotated[str, one_of("week", "month")] = "week"
    before: Period = []
    after: Period = []
    change_by: ColumnOrNone = ""
    required: list[StepNumber] = []
    drivers: Annotated[dict[str, Any], _checked(_drivers)] = {}


class ActivationParameters(BaseModel):
    """Of notebooks/activation.ipynb."""

    start: Event = ""
    activation: Annotated[Event, _checked(_not_the_start)] = ""
    competing: EventOrNone = ""
    censor: EventOrNone = ""
    observed_from: EventOrNone = ""
    by: ColumnOrNone = ""
    adjust: Annotated[list[Column], _checked(_apart)] = []
    strata: Annotated[list[Column], _checked(_apart)] = []
    horizon: Duration = ""
    reference: Annotated[list[Any], segment_of("by")] = []
    landmark: Durations = []


class AttributionParameters(BaseModel):
    """Of notebooks/attribution.ipynb."""

    conversion: Event = ""
    start: list[Event] = []
    competing: EventOrNone = ""
    windows: Durations = []
    rule: Annotated[
        str, one_of("first", "last", "linear", "time_decay", "position", "markov", "shapley")
    ] = "linear"
    sources: Annotated[list[str], _checked(_sources)] = []
    aliases: dict[str, str] = {}
    half_life: Duration = ""
    touches: list[Event] = []
    value: Money = 0
    value_of: Worth = ""
    steps: Funnel = []
    kinds: Annotated[list[Name], _checked(_kinds)] = []


class RoiParameters(BaseModel):
    """Of notebooks/roi.ipynb."""

    start: Event = ""
    success: Event = ""
    window: Duration = ""
    by: ColumnOrNone = ""
    treated: Annotated[Any, segment_of("by")] = ""
    change_at: Day = ""
    covariates: list[Event] = []
    value: Money = 0
    margin: Share = 1
    cost: Money = 0
    cost_error: Annotated[list[Any], _checked(_cost_error)] = []
    wish: NotNegative = 0
    arms: NameOrNone = ""
    arms_reference: Annotated[Any, segment_of("arms")] = ""
    arms_users: Annotated[str, one_of("", "new", "known")] = ""
    shares: Annotated[dict[str, Positive], segment_of("arms")] = {}


MODELS: dict[str, type[BaseModel]] = {
    "funnel": FunnelParameters,
    "activation": ActivationParameters,
    "attribution": AttributionParameters,
    "roi": RoiParameters,
}
