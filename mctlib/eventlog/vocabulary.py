"""What a question may name in a log (events, columns, tables), and the SQL of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pandas as pd

from mctlib.contract import CANONICAL, IDS, MISSING, TABLES, Binned, ParameterError, nearest
from mctlib.eventlog import filters, labels
from mctlib.eventlog.calendar import Calendar
from mctlib.eventlog.own_columns import own_name
from mctlib.eventlog.personal import is_id, of_partner
from mctlib.eventlog.sql import payload, sql_name, sql_number, sql_path, sql_text
from mctlib.eventlog.steps import ANY, Step, as_step, refuse_misspelt

SOME = 200_000  # events that show which properties there are
CALENDAR = ("week", "month")  # names of ``by`` that are no columns: the event's own
NAMED = tuple(c for c in CANONICAL["events"] if c not in ("user_id", "properties"))
OTHERS = "all others"  # who are not in a plan's segment
FEW_VALUES, MOST_VALUES = 8, 1000  # that a sentence names, and that the near ones are sought in
PAYLOAD = "*"  # a question's value that stands for all that an event says: its name and properties
BESIDE = tuple(table for table in TABLES if table != "events")


class Column(NamedTuple):
    """What a question names: its SQL, and whether it belongs to the user or to the event."""

    sql: str
    of_user: bool


class Vocabulary:
    """The words of one log. In SQL its events are ``e``, the people who did them ``p``.

    Parameters
    ----------
    log : str
        What sentences call it.
    con : connection
        Holds its tables.
    hashed : collection of str
        Columns and properties of which hashes are kept, because the data YAML says so.
    """

    def __init__(
        self,
        log: str,
        con: duckdb.DuckDBPyConnection,
        hashed: Collection[str] = (),
        calendar: Calendar | None = None,
    ) -> None:
        self.log = log
        self._hashed = hashed
        self.calendar = calendar or Calendar()
        self._con = con
        self._filled: dict[tuple[str, str], bool] = {}
        names = self._ask("SELECT unnest(enum_range(NULL::event_names))::VARCHAR")
        self.events: list[str] = [name for (name,) in names]  # in the order of their codes
        # of the dataset's tracking plan; a segment is a filter of any event
        self.meanings: dict[str, Step] = {}
        self.planned: dict[str, Step] = {}
        described = self._ask("DESCRIBE people")
        # the columns that a question may name, people's own among them
        self._named = {"people": [c for c, *_ in described if c != "user"], "events": list(NAMED)}

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._con.execute(sql).fetchall()

    def step(self, event: Any, name: str = "event") -> Step:
        """See `EventLog.step`."""
        return as_step(event, name, self.meanings)

    def column(self, name: str) -> Column:
        """A plan's segment, or a column of people or else of the event in the plan's words.

        Raises ParameterError: none of these, or empty.
        """
        if segment := self.planned.get(name):
            inside = f"WHEN {self.condition(segment)} THEN {sql_text(segment.label)}"
            of_user = all(self._column(self.meant(key)).of_user for key in segment.where)
            return Column(f"CASE {inside} ELSE {sql_text(OTHERS)} END", of_user)
        column = self._column(name)
        return Column(
            labels.sql_of(column.sql, labels.of_values(self.planned, name)), column.of_user
        )

    def _column(self, name: str) -> Column:
        of_user = name in self._named["people"] and self.filled("people", name)
        sql = f"p.{sql_name(name)}" if of_user else self._of_event(name)
        if sql is None:
            raise self.unknown(name)
        if not isinstance(name, Binned):
            return Column(sql, of_user)
        if not self.numbers(sql, of_user):
            raise ParameterError(
                f'"{name}" cannot be put into bins, for it holds no numbers in {self.log}.'
            )
        return Column(_in_bins(sql, name.edges), of_user)

    def _of_event(self, name: str) -> str | None:
        """SQL of an event's week or month, a property or a column; None for any other name."""
        return self.calendar.sql(name) if name in CALENDAR else _of_event(name)

    def shown(self, name: str) -> str:
        """A column's name. Raises ParameterError: it holds ids, or hashes in their place."""
        if self.holds_ids(name):
            raise ParameterError(
                f'"{name}" holds ids, which no table or sentence may show; name a column whose '
                "values are groups of users, such as channel or plan."
            )
        return name

    def holds_ids(self, name: str) -> bool:
        """Whether a column or property holds ids of people, devices, visits, or hashes of any."""
        word = re.sub("^(event|people|properties)[.]", "", name)
        of_somebody = is_id(word) and not of_partner(word)
        return of_somebody or word in self._hashed or word.rpartition(".")[2] in IDS

    def numbers(self, sql: str, of_user: bool) -> bool:
        """Whether a column, given by its SQL, holds any number."""
        if ("", sql) not in self._filled:
            rows = "people p" if of_user else "events e"
            n = f"SELECT 1 FROM {rows} WHERE try_cast({sql} AS DOUBLE) <> 'NaN' LIMIT 1"
            self._filled["", sql] = bool(self._ask(n))
        return self._filled["", sql]

    def meant(self, key: str) -> str:
        """What a filter's key means, as `column` names it: of the event, or else of people.

        Raises ParameterError: people have no such column, or it is a property of events too.
        """
        whose, _, name = key.partition(".")
        if whose == "people" and name:
            own = name if name in self._columns("people") else own_name(name)
            if own not in self._columns("people"):
                raise self.unknown(name)
            return own
        if whose == "event" and name and name not in NAMED:
            return f"properties.{name}"
        if whose in ("event", "properties") or key in CALENDAR:
            return key
        of_people = key in self._columns("people")
        if key in NAMED and not (of_people and not self.filled("events", key)):
            return f"event.{key}"
        if of_people and self.has_property(key):
            raise ParameterError(
                f'"{key}" is both a column of people and a property of events in {self.log}; write '
                f"people.{key} or properties.{key}."
            )
        return key if of_people else f"properties.{key}"

    def has_property(self, key: str) -> bool:
        """Whether some event has a property."""
        if ("properties", key) not in self._filled:
            some = f"SELECT 1 FROM events e WHERE {_property(key)} <> '' LIMIT 1"
            self._filled["properties", key] = bool(self._ask(some))
        return self._filled["properties", key]

    def of_people(self, steps: Iterable[Step]) -> list[str]:
        """The columns of people that the filters of some steps read."""
        keys = dict.fromkeys(
            self.meant(key) for step in steps for part in step.parts for key in part.where
        )
        return [key for key in keys if self._column(key).of_user]

    def rows(self, steps: Sequence[Step], by: Sequence[str] = ()) -> str:
        """What follows a FROM where rows of events are asked by `condition`, and columns by."""
        asked = [*steps, *(self.planned[name] for name in by if name in self.planned)]
        joined = " LEFT JOIN people p USING (user)" if self.of_people(asked) else ""
        return f"events e{joined}"

    def text(self, name: str) -> str:
        """SQL of a column's values as they are shown."""
        return f"coalesce(nullif({self.column(name).sql}::VARCHAR, ''), {sql_text(MISSING)})"

    def condition(self, step: Step) -> str:
        """SQL that is true for the rows a Step means."""
        return " OR ".join(f"({' AND '.join(self.conditions(part))})" for part in step.parts)

    def conditions(self, part: Step) -> list[str]:
        """The same of one of a Step's parts, a condition for each column that it reads."""
        said = ["true"]
        if part.event is not ANY:
            known = [sql_text(name) for name in part.names if name in self.events]
            said = [f"e.event IN ({', '.join(known)})" if known else "false"]
        for key, wanted in part.where.items():
            value = f"{self._column(self.meant(key)).sql}::VARCHAR"
            said.append(f"({filters.condition(value, wanted)})")
        return said

    def segments(self, name: str) -> list[str]:
        """The values of a column. Raises ParameterError: there is none, or only empty ones."""
        found = self.values(name)
        if found == {MISSING}:
            raise self.unknown(name)
        return sorted(found)

    def missing(self, events: Iterable[Any]) -> list[str]:
        """Sentences about events, or their filters, that do not occur, with the nearest words."""
        steps = {step.label: step for step in map(self.step, events)}
        names = dict.fromkeys(name for step in steps.values() for name in step.names)
        said = [
            f'event "{name}" does not occur in {self.log}.{self._event_meant(name)}'
            for name in names
            if name not in self.events
        ]
        for part in [part for step in steps.values() for part in step.parts]:
            if part.where and (not part.names or set(part.names) & set(self.events)):
                said += self._unmet(part)
        return said

    def _event_meant(self, name: str) -> str:
        """Which event may be meant by a name that is none."""
        if name in self.meanings and name not in self.meanings[name].names:
            return ' It is a name of the tracking plan: write it alone, without "event".'
        return nearest(name, [word for word in (*self.events, *self.meanings) if word != name])

    def _unmet(self, step: Step) -> list[str]:
        """Sentences about a filter that nothing meets, or about a word in it that never occurs."""
        parts = [
            (key, part) for key, wanted in step.where.items() for part in filters.parts(wanted)
        ]
        alone = [Step(step.event, {key: part}) for key, part in parts]
        steps = {each.label: each for each in (step, *alone)}
        occurs = dict(zip(steps, self.occur(list(steps.values()))))
        unseen = [part for part, each in zip(parts, alone) if not occurs[each.label]]
        if not occurs[step.label]:
            near = dict.fromkeys(self.near(step, *part) for part in unseen)
            return [f'event "{step.label}" does not occur in {self.log}.{"".join(near)}']
        event = Step(step.event).label
        return [
            f'event "{event}" never has {filters.words(*part)} in {self.log}.'
            f"{self.near(step, *part)}"
            for part in unseen
        ]

    def steps(self, steps: Sequence[Any], *, any_order: bool) -> list[Step]:
        """See `EventLog.steps`."""
        several = isinstance(steps, Collection) and not isinstance(steps, (str, Step, Mapping))
        if not several or len(steps) < 2:
            raise ParameterError(
                "steps: a funnel needs at least two steps; give a list of event names."
            )
        matchers = [self.step(step, "steps") for step in steps]
        refuse_misspelt("steps", self.missing(matchers))
        first = matchers[0]
        if first.names and not any_order and not set(first.names) & set(self.events):
            missing = self.missing([first])[0]
            raise ParameterError(f"steps: step 1 cannot be reached, {missing}")
        return matchers

    def unknown(self, name: str) -> ParameterError:
        """What to say of a column that is not there, or is there and empty."""
        people = self._columns("people")
        if name.startswith("people."):
            word = name.removeprefix("people.")
            meant = [column for column in (word, own_name(word)) if column in people][-1:]
            near = (
                nearest(word, meant or people)
                or f" There are {', '.join(people[:FEW_VALUES]) or 'none'}."
            )
            return ParameterError(
                f'"{name}": columns of people stand here without "people.".{near}'
            )
        known = name in self._named["people"] or name.removeprefix("event.") in NAMED
        if known:
            return ParameterError(f'The column "{name}" is empty in {self.log}.')
        near = nearest(name, [*self.planned, *people, *self._columns("events")])
        if not near:
            keys = [f"properties.{key}" for key in self.property_keys()]
            near = nearest(f"properties.{name.removeprefix('properties.')}", keys)
        return ParameterError(
            f'"{name}" is neither a column of people or events nor written as '
            f"properties.<key>.{near}"
        )

    def near(self, step: Step, key: str, wanted: Any) -> str:
        """Which values are there where events never have one, or which property may be meant."""
        word = key.rpartition(".")[2]
        if self.holds_ids(key):
            return ""
        found = self.values_of(step, key)
        if not found:
            known = [*self._columns("events"), *self._columns("people"), *self.property_keys()]
            return f' No such event has "{key}".{nearest(word, known)}'
        if isinstance(wanted, Mapping) and "contains" not in wanted:
            read = [value for value in found if filters.bound_of(value) is not None]
            return "" if read else f' "{key}" holds no numbers or days, for example "{found[0]}".'
        value = next(iter(wanted.values())) if isinstance(wanted, Mapping) else wanted
        few = f" It has {', '.join(found)}." if len(found) <= FEW_VALUES else ""
        return nearest(filters.spelt(value), found) or few

    def values_of(self, step: Step, key: str) -> list[str]:
        """Frequent values of a filter's key that the events of a step have, whatever it filters."""
        any_value = Step(step.event, {key: ANY})
        found = self._ask(f"""
            SELECT {self._column(self.meant(key)).sql}::VARCHAR
            FROM {self.rows([any_value])} WHERE {self.condition(any_value)}
            GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {MOST_VALUES}""")
        return [value for (value,) in found]

    def _columns(self, table: str) -> list[str]:
        """The columns of events or people that a question may name and that hold anything."""
        return [column for column in self._named[table] if self.filled(table, column)]

    def filled(self, table: str, column: str) -> bool:
        """Whether a column of people or events holds anything."""
        if (table, column) not in self._filled:
            some = f"nullif({sql_name(column)}::VARCHAR, '') IS NOT NULL"
            found = self._ask(f"SELECT 1 FROM {table} WHERE {some} LIMIT 1")
            self._filled[table, column] = bool(found)
        return self._filled[table, column]

    def occur(self, steps: Sequence[Step]) -> list[bool]:
        """Whether there is a row that each of some steps means."""
        return [
            bool(self._ask(f"SELECT 1 FROM {self.rows([s])} WHERE {self.condition(s)} LIMIT 1"))
            for s in steps
        ]

    def values(self, name: str) -> set[str]:
        """The values of a column, MISSING among them where some are empty."""
        of_user = self.column(name).of_user
        source = "users LEFT JOIN people p USING (user)" if of_user else self.rows([], [name])
        found = self._ask(f"SELECT DISTINCT {self.text(name)} FROM {source}")
        return {value for (value,) in found}

    def property_keys(self) -> list[str]:
        """The properties of some events."""
        some = "SELECT properties FROM events WHERE properties IS NOT NULL LIMIT 100000"
        found = self._ask(f"SELECT DISTINCT unnest(json_keys(properties)) FROM ({some})")
        return [key for (key,) in found]

    def properties(self) -> pd.DataFrame:
        """Event, property, type (JSON's, or NUMBER AS TEXT), n_events: what some events say."""
        number = f"j.type = 'VARCHAR' AND {sql_number('j.atom')} IS NOT NULL"
        return self._con.sql(f"""
            SELECT e.event::VARCHAR AS event, j.key AS property,
                CASE WHEN {number} THEN 'NUMBER AS TEXT' ELSE j.type END AS type,
                count(*) AS n_events
            FROM (FROM events USING SAMPLE reservoir({SOME} ROWS) REPEATABLE (1)) e,
                json_each(e.properties) j
            GROUP BY ALL ORDER BY ALL""").df()


def given(events: Any, tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a log that are there, the events among them."""
    there = {name: table for name, table in tables.items() if table is not None}
    return {"events": events} | {beside(name): table for name, table in there.items()}


def beside(table: str) -> str:
    """The name of a table beside the events. Raises ParameterError: it is none."""
    if table == "plan":
        raise ParameterError(
            "plan: only a dataset has a tracking plan, as open_log(name) reads it. Write here what "
            'its names mean: Step("event", {"column": value}).'
        )
    if table not in BESIDE:
        raise ParameterError(f'"{table}" is not a table beside the events.{nearest(table, BESIDE)}')
    return table


def number(name: str) -> str:
    """SQL of a question's value: the number in a column of the event, or else in a property."""
    if name == PAYLOAD:
        return payload()
    text = _of_event(name) or _property(name.removeprefix("event."))
    return sql_number(f"{text}::VARCHAR")


def _of_event(name: str) -> str | None:
    """SQL of a property or a column of events; None for any other name."""
    if name.startswith("properties."):
        return _property(name.removeprefix("properties."))
    column = name.removeprefix("event.")
    return f"e.{column}" if column in NAMED else None


def _in_bins(sql: str, edges: Sequence[float]) -> str:
    """SQL of the bin, in words, that a number lies in; what is no number lies in none."""
    number = f"nullif(try_cast({sql} AS DOUBLE), 'NaN')"
    first, *others = (f"{edge:.15g}" for edge in edges)
    cases = [f"WHEN {number} < {first} THEN 'below {first}'"]
    low = first
    for high in others:
        cases.append(f"WHEN {number} < {high} THEN '{low} to below {high}'")
        low = high
    return f"CASE {' '.join(cases)} WHEN {number} >= {low} THEN '{low} or more' END"


def _property(key: str) -> str:
    return f"json_extract_string(e.properties, {sql_path(key)})"
