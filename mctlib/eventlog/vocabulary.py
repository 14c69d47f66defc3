"""What a question may name in a log (events, columns, tables), and the SQL of each."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import duckdb

from mctlib.contract import CANONICAL, IDS, MISSING, TABLES, Binned, ParameterError, nearest
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.eventlog.steps import ANY, Step, as_step

# Names of ``by`` that are no columns: the event's own week (its Monday) or month, UTC.
CALENDAR = ("week", "month")
NAMED = tuple(c for c in CANONICAL["events"] if c not in ("user_id", "properties"))
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
    """

    def __init__(self, log: str, con: duckdb.DuckDBPyConnection) -> None:
        self.log = log
        self._con = con
        self._filled: dict[tuple[str, str], bool] = {}
        names = self._ask("SELECT unnest(enum_range(NULL::event_names))::VARCHAR")
        self.events: list[str] = [name for (name,) in names]  # in the order of their codes
        described = self._ask("DESCRIBE people")
        # the columns that a question may name, people's own among them
        self._named = {"people": [c for c, *_ in described if c != "user"], "events": list(NAMED)}

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._con.execute(sql).fetchall()

    def column(self, name: str) -> Column:
        """A column of people, or else of the event. Raises ParameterError: neither, or empty."""
        of_user = name in self._named["people"] and self.filled("people", name)
        sql = f"p.{sql_name(name)}" if of_user else _of_event(name)
        if sql is None:
            raise self.unknown(name)
        if not isinstance(name, Binned):
            return Column(sql, of_user)
        if not self.numbers(sql, of_user):
            raise ParameterError(
                f'"{name}" cannot be put into bins, for it holds no numbers in {self.log}.'
            )
        return Column(_in_bins(sql, name.edges), of_user)

    def numbers(self, sql: str, of_user: bool) -> bool:
        """Whether a column, given by its SQL, holds any number."""
        if ("", sql) not in self._filled:
            rows = "people p" if of_user else "events e"
            n = f"SELECT 1 FROM {rows} WHERE try_cast({sql} AS DOUBLE) <> 'NaN' LIMIT 1"
            self._filled["", sql] = bool(self._ask(n))
        return self._filled["", sql]

    def text(self, name: str) -> str:
        """SQL of a column's values as they are shown."""
        return f"coalesce(nullif({self.column(name).sql}::VARCHAR, ''), {sql_text(MISSING)})"

    def condition(self, step: Step) -> str:
        """SQL that is true for the rows a Step means."""
        parts = ["true"]
        if step.event is not ANY:
            known = [sql_text(name) for name in step.names if name in self.events]
            parts = [f"e.event IN ({', '.join(known)})" if known else "false"]
        for key, wanted in step.where.items():
            same = [_equal(f"{filtered(key)}::VARCHAR", value) for value in _accepted(wanted)]
            parts.append(f"coalesce({' OR '.join(same) or 'false'}, false)")
        return " AND ".join(parts)

    def segments(self, name: str) -> list[str]:
        """The values of a column. Raises ParameterError: there is none, or only empty ones."""
        found = self.values(name)
        if found == {MISSING}:
            raise self.unknown(name)
        return sorted(found)

    def missing(self, events: Iterable[Any]) -> list[str]:
        """Sentences about events, or their filters, that do not occur, with the nearest words."""
        steps = {step.label: step for step in map(as_step, events)}
        names = dict.fromkeys(name for step in steps.values() for name in step.names)
        near = {n: nearest(n, self.events) for n in names if n not in self.events}
        for label, step in steps.items():
            happens = not step.names or set(step.names) & set(self.events)
            if step.where and happens and not self.occurs(step):
                near[label] = self.near(step)
        return [f'event "{n}" does not occur in {self.log}.{word}' for n, word in near.items()]

    def steps(self, steps: Sequence[Any], *, any_order: bool) -> list[Step]:
        """See `EventLog.steps`."""
        several = isinstance(steps, Collection) and not isinstance(steps, (str, Step, Mapping))
        if not several or len(steps) < 2:
            raise ParameterError(
                "steps: a funnel needs at least two steps; give a list of event names."
            )
        matchers = [as_step(step, "steps") for step in steps]
        first = matchers[0]
        if first.names and not any_order and not set(first.names) & set(self.events):
            missing = self.missing([first])[0]
            raise ParameterError(f"steps: step 1 cannot be reached, {missing}")
        return matchers

    def unknown(self, name: str) -> ParameterError:
        """What to say of a column that is not there, or is there and empty."""
        known = name in self._named["people"] or name.removeprefix("event.") in NAMED
        if known:
            return ParameterError(f'The column "{name}" is empty in {self.log}.')
        near = nearest(name, [*self._columns("people"), *self._columns("events")])
        if not near:
            keys = [f"properties.{key}" for key in self.property_keys()]
            near = nearest(f"properties.{name.removeprefix('properties.')}", keys)
        return ParameterError(
            f'"{name}" is neither a column of people or events nor written as '
            f"properties.<key>.{near}"
        )

    def near(self, step: Step) -> str:
        """Which property in a filter no such event has, or a value near to one that none has."""
        condition = self.condition(Step(step.event))
        for key, wanted in step.where.items():
            text = f"{filtered(key)}::VARCHAR"
            found = self._ask(f"SELECT DISTINCT {text} FROM events e WHERE {condition}")
            values = {value for (value,) in found if value}
            word = key.rpartition(".")[2]
            if not values:
                known = [*self._columns("events"), *self.property_keys()]
                return f' No such event has "{key}".{nearest(word, known)}'
            for value in _accepted(wanted):
                unknown = value is not ANY and str(value) not in values and word not in IDS
                if unknown and (near := nearest(value, values)):
                    return near
        return ""

    def _columns(self, table: str) -> list[str]:
        return [column for column in self._named[table] if self.filled(table, column)]

    def filled(self, table: str, column: str) -> bool:
        """Whether a column of people or events holds anything."""
        if (table, column) not in self._filled:
            n = f"count(nullif({sql_name(column)}::VARCHAR, ''))"
            found = self._ask(f"SELECT {n} > 0 FROM {table}")
            self._filled[table, column] = found[0][0]
        return self._filled[table, column]

    def occurs(self, step: Step) -> bool:
        """Whether there is a row that a Step means."""
        return bool(self._ask(f"SELECT 1 FROM events e WHERE {self.condition(step)} LIMIT 1"))

    def values(self, name: str) -> set[str]:
        """The values of a column, MISSING among them where some are empty."""
        of_user = self.column(name).of_user
        source = "users LEFT JOIN people p USING (user)" if of_user else "events e"
        found = self._ask(f"SELECT DISTINCT {self.text(name)} FROM {source}")
        return {value for (value,) in found}

    def property_keys(self) -> list[str]:
        """The properties of some events."""
        some = "SELECT properties FROM events WHERE properties IS NOT NULL LIMIT 100000"
        found = self._ask(f"SELECT DISTINCT unnest(json_keys(properties)) FROM ({some})")
        return [key for (key,) in found]


def given(events: Any, tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a log that are there, the events among them."""
    there = {name: table for name, table in tables.items() if table is not None}
    return {"events": events} | {beside(name): table for name, table in there.items()}


def beside(table: str) -> str:
    """The name of a table beside the events. Raises ParameterError: it is none."""
    if table not in BESIDE:
        raise ParameterError(f'"{table}" is not a table beside the events.{nearest(table, BESIDE)}')
    return table


def filtered(name: str) -> str:
    """SQL of what a filter or a value reads: a column of the event, or else a property."""
    return _of_event(name) or _property(name)


def _of_event(name: str) -> str | None:
    """SQL of a property, a week or month, or a column of events; None for any other name."""
    if name.startswith("properties."):
        return _property(name.removeprefix("properties."))
    if name in CALENDAR:
        return f"date_trunc('{name}', e.timestamp)::DATE"
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
    return f"json_extract_string(e.properties, {sql_text('$.' + json.dumps(key))})"


def _accepted(wanted: Any) -> Collection[Any]:
    """The values that a filter accepts."""
    return wanted if isinstance(wanted, (list, tuple, set)) else [wanted]


def _equal(text: str, value: Any) -> str:
    """SQL that is true where a text is the value of a filter."""
    if value is ANY:
        return f"{text} <> ''"
    if isinstance(value, bool):
        return f"{text} = {sql_text(json.dumps(value))}"
    same = f"{text} = {sql_text(value)}"
    if isinstance(value, Real):  # 1 is also what an export writes as 1.0
        same += f" OR try_cast({text} AS DOUBLE) = {sql_text(str(value))}::DOUBLE"
    return same
