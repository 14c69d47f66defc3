"""The checked question: how time is cut, what names a partner, and which events are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mctlib.attribution.credit_rules import RULES
from mctlib.attribution.person_time import TENURE_DAYS, Clock
from mctlib.attribution.touchpoints import SURVEY, Tags
from mctlib.contract import SOURCES, ParameterError, as_columns, as_window, nearest
from mctlib.eventlog.days import midnights
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import ANY, Step
from mctlib.eventlog.vocabulary import NAMED
from mctlib.phrases import DAY_US, listed

WEEK, MOST_PERIODS = 7 * DAY_US, 104  # periods of the calendar are weeks, or some weeks


NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Question:
    """What is asked of the log, every argument checked."""

    clock: Clock
    tags: Tags
    events: tuple[Step, ...]  # conversion, start, perhaps an exit, then the touches by tag
    has_crm: bool  # the dim partner_id holds what is on record of each user
    value: float | str | None = None  # what a conversion brings, or what says so of each
    amount: str | None = None  # this, where it is the conversion's, not the user's
    zones: tuple[str, ...] = ()  # where moments are days: by whose they are counted
    currency: str = ""  # of every amount
    # users of the sheet kept by hand (ascending), whose credit they are, and these words
    by_hand: tuple[np.ndarray, np.ndarray, tuple[str, ...]] = (NONE, NONE, ())

    @property
    def by(self) -> str:
        """The column that names partners in their own words."""
        return self.tags.by

    @property
    def n_moments(self) -> int:
        """How many of the events are no touches."""
        return len(self.events) - len(self.tags.columns)

    @property
    def has_exit(self) -> bool:
        """Whether users can leave."""
        return self.n_moments > 2

    @property
    def dims(self) -> list[str]:
        """What the kernel reads of each event."""
        crm = ["partner_id"] if self.has_crm else []
        worth = [self.value] if isinstance(self.value, str) and not self.amount else []
        return [*map(Tags.dim, self.tags.columns), *crm, *worth]

    @property
    def days(self) -> np.ndarray:
        """The windows, in days."""
        return self.clock.windows / DAY_US

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules."""
        return tuple(RULES[kind] for kind in self.clock.rules)

    @property
    def rule(self) -> str:
        """The rule that speaks where one must: linear, or the first one asked for."""
        return "linear" if "linear" in self.rules else self.rules[0]


def read_by(log: EventLog, by: Any) -> str:
    """The one column that holds the partner."""
    columns = log.columns(by)
    if len(columns) != 1:
        raise ParameterError("by: name the column that holds the partner.")
    column = columns[0]
    named = column in NAMED or column.startswith(("event.", "properties."))
    in_people = _of_people_alone(log, column) if named else column in log.table("people")
    if named and not in_people:
        return column
    fault = "is neither a column of the events nor written as properties.<key>"
    if in_people:
        fault = (
            "is a column of people, of which a touch says nothing: credit needs what events say, "
            f"such as {listed(SOURCES, last='or')}. The other notebooks split users by it"
        )
    keys = [f"properties.{key}" for key in log.words.property_keys()]
    near = "" if in_people else nearest(column, NAMED) or nearest(f"properties.{column}", keys)
    raise ParameterError(f'by: "{column}" {fault}.{near}')


def _of_people_alone(log: EventLog, column: str) -> bool:
    """Whether people have a column and no event does; partners are named by other columns too."""
    people = log.table("people")
    if column == "partner_id" or column not in people or people[column].isna().all():
        return False
    with suppress(ParameterError):
        log.segments(Tags.dim(column))
        return False
    return True


def read_rules(rules: str | Sequence[str]) -> np.ndarray:
    """The rules, each once, as indices of `RULES`."""
    asked = as_columns(rules)
    for rule in asked:
        if rule not in RULES:
            raise ParameterError(
                f'rules: "{rule}" is not one of {", ".join(RULES)}.{nearest(rule, RULES)}'
            )
    if not asked:
        raise ParameterError(f"rules: give at least one of {', '.join(RULES)}.")
    return np.array([RULES.index(rule) for rule in dict.fromkeys(asked)])


def read_windows(windows: Sequence[str], reference: str | None) -> tuple[np.ndarray, int]:
    """The windows, ascending, and which of them is the reference."""
    if isinstance(windows, str) or not windows:
        raise ParameterError('windows: give a list of durations, such as ["7d", "30d"].')
    lengths = np.unique([as_window(window, "windows") for window in windows])
    chosen = int(lengths[-1]) if reference is None else as_window(reference, "reference")
    if chosen not in lengths:
        told = ", ".join(map(str, windows))
        raise ParameterError(f'reference: "{reference}" is not one of the windows ({told}).')
    return lengths, int(np.searchsorted(lengths, chosen))


def read_clock(
    log: EventLog,
    windows: tuple[np.ndarray, int],
    *,
    as_of: Any,
    rules: np.ndarray,
    half_life: str,
    zones: tuple[str, ...],
) -> Clock:
    """How time is cut; conversions count once the longest window can be looked back on."""
    begin, end = int(log.first_event.value // 1000), log.as_of(as_of)
    if zones:
        if (windows[0] % DAY_US).any():
            raise ParameterError(
                "windows: conversions or touches are known by their day only; give whole days, "
                'such as "7d".'
            )
        begin, last = midnights(np.array([begin, end]), zones).tolist()
        end = last + DAY_US - 1
    tenure = np.array(TENURE_DAYS) * DAY_US
    period = WEEK * -(-(end - begin + 1) // (WEEK * MOST_PERIODS))
    periods = np.arange(begin, end + 1, period, dtype=np.int64)
    length, resolution = as_window(half_life, "half_life"), DAY_US if zones else 1
    origin = begin + int(windows[0][-1])
    return Clock(*windows, origin, end, tenure, periods, rules, length, resolution)


def read_zones(log: EventLog, conversion: Step, touches: Sequence[Step]) -> tuple[str, ...]:
    """By whose days moments are counted, because conversions or touches are known by day only."""
    known = log.day_resolution
    found = []
    for zone in dict.fromkeys(zone for zones in known.values() for zone in zones):
        names = [event for event, zones in known.items() if zone in zones]
        for step in (part for each in (conversion, *touches) for part in each.parts):
            mine = [name for name in names if name in (step.names or names)]
            if mine and not log.counts(events=[Step(mine, step.where)]).empty:
                found.append(zone)
    return tuple(dict.fromkeys(found))


def read_events(log: EventLog, **events: Any) -> dict[str, Step]:
    """The events by the argument that names them; all of them occur, None is left out."""
    for name, event in events.items():
        if event is not None and (missing := log.missing_events([event])):
            raise ParameterError(f"{name}: {missing[0]}")
    return {name: log.step(event) for name, event in events.items() if event is not None}


def read_value(log: EventLog, value: Any, conversion: Step) -> str | None:
    """The numeric property or column of conversions that says what each brings, if that is it."""
    if value is None:
        return None
    if not isinstance(value, str):
        if not 0 <= value < np.inf:
            raise ParameterError(
                f"value: {value} must be 0 or more; what a conversion brings cannot be negative."
            )
        return None
    own = value if value.startswith(("event.", "properties.")) else f"event.{value}"
    missing = log.missing_events([Step(conversion.event, {**conversion.where, own: ANY})])
    if not missing:
        return value
    with suppress(ParameterError):
        if value == "revenue" and log.words.column(value).of_user:
            return None
    raise ParameterError(f"value: {missing[0]}")


def touch_steps(touch: Step, tags: Tags) -> list[Step]:
    """Events that carry a tag, by tag."""
    return [replace(touch, where={tags.dim(tag): ANY, **touch.where}) for tag in tags.columns]


def read_tags(
    log: EventLog,
    by: str,
    sources: str | Sequence[str],
    end: int,
) -> Tags:
    """What names a partner: columns, the spend table's partners, aliases and answers up to end."""
    asked = tuple(dict.fromkeys(as_columns(sources))) if by == "partner_id" else (by,)
    columns = [source for source in asked if not source.startswith(SURVEY)]
    unknown = [source for source in columns if source not in SOURCES]
    if by == "partner_id" and (not asked or unknown or len(asked) > len(columns) + 1):
        wrong = f', not "{unknown[0]}".{nearest(unknown[0], SOURCES)}' if unknown else "."
        raise ParameterError(
            f'sources: give some of {", ".join(SOURCES)} and at most one "{SURVEY}<question>", '
            f"the one that stands in a conflict first{wrong}"
        )
    paid = sorted(log.table("spend")[spend_key(log, by)].dropna().astype(str).str.strip().unique())
    known = {name.lower(): name for name in paid}
    # an alias that names a partner of the spend table does so in the table's spelling
    spelt = {
        alias.strip().lower(): known.get(name.strip().lower(), name.strip())
        for alias, name in log.aliases.items()
    }
    known |= {name.lower(): name for name in spelt.values() if name} | spelt
    return Tags(by, asked, known, *_heard(log, asked, known, end))


def read_by_hand(log: EventLog, end: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """`Question.by_hand`: what the sheet says last of each user, up to end."""
    sheet = log.table("manual")
    sheet = sheet[pd.to_datetime(sheet["day"]) <= pd.Timestamp(end, unit="us")]
    sheet = sheet.dropna(subset=["partner_id"]).sort_values(["user", "day"], kind="stable")
    sheet = sheet.drop_duplicates("user", keep="last")
    partner, words = pd.factorize(sheet["partner_id"])
    return sheet["user"].to_numpy(np.int64), partner.astype(np.int64), tuple(words)


def spend_key(log: EventLog, by: str) -> str:
    """The column by which the spend table names partners: that of the credit, or else its own."""
    spend = log.table("spend")
    keys = [key for key in ("partner_id", "channel") if key in spend and spend[key].notna().any()]
    filled = [key for key in (by, *keys) if key in keys]
    return [*filled, "partner_id"][0]


def _heard(
    log: EventLog, sources: Sequence[str], known: Mapping[str, str], end: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Users, the partner that their first answer names, and the names.

    An answer is its reason, where one is given; those that name none we know (a friend, a search)
    are no touches.
    """
    questions = [source.removeprefix(SURVEY) for source in sources if source.startswith(SURVEY)]
    if not questions:
        return np.empty(0, np.int64), np.empty(0, np.int64), ()
    surveys = log.table("surveys")
    asked = surveys["micro_conversion"].dropna().unique()
    if questions[0] not in asked:
        raise ParameterError(
            f'sources: the surveys hold no question "{questions[0]}".{nearest(questions[0], asked)}'
        )
    in_time = surveys["submitted_at"] <= pd.Timestamp(end, unit="us", tz="UTC")
    mine = surveys[(surveys["micro_conversion"] == questions[0]) & in_time]
    reason, answer = (
        mine[column].astype("string").fillna("").str.strip().str.lower()
        for column in ("reason", "answer")
    )
    said = mine.assign(partner=reason.where(reason != "", answer).map(known))
    said = said.sort_values(["user", "submitted_at"], kind="stable").drop_duplicates("user")
    said = said[said["partner"].fillna("") != ""]
    partner, names = pd.factorize(said["partner"])
    return said["user"].to_numpy(np.int64), partner.astype(np.int64), tuple(names)
