"""The event log over a store, and the one way to walk it (`EventLog.reduce`)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from numbers import Real
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from mctlib.contract import (
    CANONICAL,
    IDS,
    MISSING,
    DataError,
    ParameterError,
    as_columns,
    as_timestamp,
    nearest,
)
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.journeys import NOWHERE, Journeys
from mctlib.eventlog.parquet import canonical_select, lay_over, load_report
from mctlib.eventlog.steps import ANY, MATCHERS, Step, as_step
from mctlib.eventlog.store import connect, fill, salt, sql_text, use

CHUNK_ROWS = 2_500_000
WALKERS = 2  # chunks walked at once; one more is read and one waits, so four are in memory
EXACT_EVENTS = 200_000
CALENDAR = (
    "week",
    "month",
)  # names of ``by`` that are no columns: the event's own week (its Monday) or month (its first day), UTC
Counts = TypeVar("Counts", pd.DataFrame, dict[str, pd.DataFrame])  # a table, or tables by name
IN_ORDER = "ORDER BY e.user, e.timestamp, code"


class EventLog:
    """A product's events and what is known beside them, read-only.

    Open one with `open_log` (a dataset's store), `EventLog.from_frame` (pandas frames) or `EventLog.from_parquet` (files that stay where they are).
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, load: dict | None = None) -> None:
        self._con = con
        self._report: dict = load or json.loads(
            con.execute("SELECT report FROM load").fetchall()[0][0]
        )
        self.name: str = self._report["name"]
        self.first_event, self.last_event = (
            pd.Timestamp(self._report[k]).tz_localize("UTC") for k in ("first_event", "last_event")
        )
        self.event_names: list[str] = [
            r[0]
            for r in con.execute("SELECT unnest(enum_range(NULL::event_names))::VARCHAR").fetchall()
        ]

    @property
    def load(self) -> dict:
        """What was read, kept, and rejected for which reason."""
        return self._report

    @classmethod
    def open(cls, path: Path) -> EventLog:
        """A store file that `build_store` wrote."""
        con = connect()  # attached, not connected to: a connection to the path itself would keep showing a store that was swapped out
        con.execute(f"ATTACH {sql_text(str(path))} AS store (READ_ONLY)")
        use(con)
        return cls(con)

    @classmethod
    def from_frame(
        cls,
        events: pd.DataFrame,
        *,
        people: pd.DataFrame | None = None,
        surveys: pd.DataFrame | None = None,
        backend: pd.DataFrame | None = None,
        spend: pd.DataFrame | None = None,
        timeline: pd.DataFrame | None = None,
        responses: pd.DataFrame | None = None,
        name: str = "frame",
    ) -> EventLog:
        """A log held in memory, from pandas frames with the canonical columns (`CANONICAL`).

        Naive times are UTC. Columns of ``events`` that are not canonical become properties. Raises DataError: a required column is missing.
        """
        con = connect()
        frames = {
            "events": events,
            "people": people,
            "surveys": surveys,
            "backend": backend,
            "spend": spend,
            "timeline": timeline,
            "responses": responses,
        }
        tables = {}
        for table, frame in frames.items():
            if frame is not None:
                con.register(f"frame_{table}", canonical_frame(frame, table))
                tables[table] = [(f"{table} frame", f"SELECT * FROM frame_{table}")]
        con.execute("ATTACH ':memory:' AS store")
        fill(con, tables, name=name, fingerprint="")
        use(con)
        return cls(con)

    @staticmethod
    def from_parquet(
        events: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        people: Any = None,
        surveys: Any = None,
        backend: Any = None,
        spend: Any = None,
        timeline: Any = None,
        responses: Any = None,
        name: str = "parquet",
    ) -> EventLog:
        """A log over Parquet files (a path or glob) with the canonical columns (`CANONICAL`), read anew by every question.

        For a first answer, or for more events than one wants to copy; a store answers every later question faster. Opening counts what is left out.
        A question reads the columns it needs once and sorts them by user and time, on disk where they need more memory than `store.SPILL_ABOVE`.
        Users are numbered by a hash (`overlay.lay_over`); they are counted, for `load`, and bucketed when somebody first asks.
        Rows without user, event or time, of users without consent, or from the future are left out and counted in `load`. Nothing is stitched or
        de-duplicated: ``user_id`` must be final and ``event_id`` is not looked at; where that is done already, every table is the one that the store gives.

        ``columns``: canonical column -> the column of the files. ``people`` and the other tables: a path or glob of Parquet files, or a pandas frame.
        Times without a zone are UTC. ``properties`` is JSON text, a struct or a map; columns that are not canonical are not read.
        Raises DataError: a column is missing, no file, more than one row in ten wrong in one way.
        """
        con = connect()
        given = {
            "events": events,
            "people": people,
            "surveys": surveys,
            "backend": backend,
            "spend": spend,
            "timeline": timeline,
            "responses": responses,
        }
        selects = {}
        for table, source in given.items():
            if isinstance(source, pd.DataFrame):
                con.register(f"frame_{table}", canonical_frame(source, table))
                selects[table] = canonical_select(
                    con, f"frame_{table}", table, label=f"{table} frame"
                )
            elif source is not None:
                try:
                    mapped = columns if table == "events" else None
                    selects[table] = canonical_select(
                        con,
                        f"read_parquet({sql_text(str(source))})",
                        table,
                        columns=mapped,
                        label=str(source),
                    )
                except duckdb.Error as error:
                    raise DataError(f"{source}: {str(error).splitlines()[0]}") from error
        try:
            tally = lay_over(con, selects, salted=salt())
        except duckdb.Error as error:
            raise DataError(f"{events}: {str(error).splitlines()[0]}") from error
        con.execute(
            "SET preserve_insertion_order = false"
        )  # the order of the files would be kept in memory, for nothing
        return OverlayLog(con, load_report(name, tally))

    def table(self, name: str) -> pd.DataFrame:
        """One of the smaller tables whole (people, surveys, backend, spend, timeline, responses); users as the integers of the store."""
        if name not in CANONICAL or name in ("events", "identities"):
            raise ParameterError(
                f'"{name}" is not a table beside the events.{nearest(name, [t for t in CANONICAL if t not in ("events", "identities")])}'
            )
        frame = self._con.sql(f"SELECT * FROM {name}").df()
        return frame.assign(
            **{
                c: frame[c].dt.tz_localize("UTC")
                for c in frame
                if c.endswith("_at") or c == "timestamp"
            }
        )

    @property
    def small(self) -> bool:
        """Whether events are so few (200,000 or less) that every duration can be a count of its own, exact to the microsecond."""
        return (
            self._report["tables"]["events"]["n_kept"] <= EXACT_EVENTS
        )  # not load, for which a log in place counts its users

    def describe(self) -> pd.DataFrame:
        """event, n_events, n_users, first_at, last_at: one row an event, the most frequent first."""
        frame = self._con.sql("""SELECT event::VARCHAR AS event, count(*) AS n_events, count(DISTINCT user) AS n_users, min(timestamp) AS first_at,
            max(timestamp) AS last_at FROM events GROUP BY 1 ORDER BY 2 DESC, 1""").df()
        return frame.assign(**{c: frame[c].dt.tz_localize("UTC") for c in ("first_at", "last_at")})

    def counts(
        self, *, events: Sequence[Any] | None = None, by: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        """event, the ``by`` columns, n_events, n_users."""
        by = as_columns(by)
        chosen = " OR ".join(self._condition(as_step(e)) for e in events) if events else "true"
        columns = "".join(
            f", coalesce(nullif({self._column(b)[0]}::VARCHAR, ''), {sql_text(MISSING)}) AS {_name(b)}"
            for b in by
        )
        return self._con.sql(
            f"SELECT e.event::VARCHAR AS event{columns}, count(*) AS n_events, count(DISTINCT e.user) AS n_users "
            f"FROM events e LEFT JOIN people p USING (user) WHERE {chosen} GROUP BY ALL ORDER BY ALL"
        ).df()

    def reduce(
        self,
        kernel: Callable[[Journeys], Counts],
        *,
        events: Sequence[Any],
        by: str | Sequence[str] = (),
        as_of: Any = None,
        values: str | None = None,
    ) -> Counts:
        """Walk all users in order and add up what ``kernel`` counts.

        ``events``: matchers (names, lists of names, Steps); the kernel's Journeys hold the rows that match at least one, up to ``as_of``.
        ``by``: columns of people (an attribute of the user) or else of the event, ``event.<column>`` for the event's even then, ``properties.<key>``, or ``week`` or
        ``month`` of the event (UTC, named by its first day). ``values``: a numeric property or column.
        The kernel's columns that start with ``n_`` or ``sum_`` are added over chunks of whole users, all others are the keys.
        A kernel that counts several things gives a dict of tables, and a dict of tables is what comes back.
        """
        parts, walking = [], deque()
        with (
            ThreadPoolExecutor(WALKERS) as pool
        ):  # DuckDB and numpy let go of Python's lock: the next chunk is read while others are walked
            for part in self.journeys(events=events, by=by, as_of=as_of, values=values):
                walking.append(pool.submit(kernel, part))
                if len(walking) > WALKERS:
                    parts.append(walking.popleft().result())
            parts += [walk.result() for walk in walking]
        return add_up(parts)

    def journeys(
        self,
        *,
        events: Sequence[Any],
        by: str | Sequence[str] = (),
        as_of: Any = None,
        values: str | None = None,
    ) -> Iterator[Journeys]:
        """The rows that `reduce` hands to its kernel, some million rows of whole users at a time."""
        steps, by = [as_step(e) for e in events], as_columns(by, ids=True)
        select, end = self._select(steps, by, values), self.as_of(as_of)
        of_user = {b: self._user_codes(b) for b in by if self._column(b)[1]}
        plain = {i: s for i, s in enumerate(steps) if not s.where}
        code_of = {name: n for n, name in enumerate(self.event_names)}
        kind = np.min_scalar_type((1 << len(steps)) - 1)
        lookup = np.zeros(len(code_of), kind)
        for i, step in plain.items():
            codes = (
                [code_of[n] for n in step.names if n in code_of]
                if step.event is not ANY
                else slice(None)
            )
            lookup[codes] |= kind.type(1 << i)
        for table in self._sorted(f"{select} AND e.timestamp <= make_timestamp({end})"):
            get = lambda c: table[c].to_numpy()  # noqa: E731, B023
            user = get("user")
            line = self._line(user) if of_user else None
            mask = lookup.take(get("code"))
            for i in range(len(steps)):
                if i not in plain:
                    mask |= get(f"match_{i}").astype(kind) << kind.type(i)
            dims, levels = {}, {}
            for n, b in enumerate(by):
                codes, names = (
                    (of_user[b][0][line], of_user[b][1])
                    if b in of_user
                    else _factorize(table[f"dim_{n}"])
                )
                dims[b], levels[b] = codes, names
            value = table["value"].to_numpy(zero_copy_only=False).astype(float) if values else None
            yield Journeys(user, get("time"), mask, end, dims, levels, self._bucket_of, value)

    def _select(self, steps: Sequence[Step], by: Sequence[str], values: str | None) -> str:
        """SELECT of the rows that match a step, with what a Journeys needs to know of them."""
        if len(steps) > MATCHERS:
            raise ParameterError(
                f"{len(steps)} steps, exclusions and other matchers are asked for at once; {MATCHERS} is the most."
            )
        columns = ["e.user", "epoch_us(e.timestamp) AS time", "enum_code(e.event) AS code"]
        columns += [f"({self._condition(s)}) AS match_{i}" for i, s in enumerate(steps) if s.where]
        columns += [
            f"{self._column(b)[0]} AS dim_{n}" for n, b in enumerate(by) if not self._column(b)[1]
        ]
        columns += (
            [f"try_cast({self._column(values, event_only=True)[0]} AS DOUBLE) AS value"]
            if values
            else []
        )
        plain = {n for s in steps if not s.where for n in (s.names or self.event_names)}
        chosen = [f"({self._condition(s)})" for s in steps if s.where]
        chosen += self._named(plain & set(self.event_names))
        return (
            f"SELECT {', '.join(columns)} FROM events e WHERE ({' OR '.join(chosen or ['false'])})"
        )

    def _named(self, names: set[str]) -> list[str]:
        """SQL conditions of which one is true for the events of these names."""
        chosen = []
        for block in range(
            0, len(self.event_names), 64
        ):  # not IN: with five values or more DuckDB joins them, slowly, and the rows lose their order
            bits = sum(
                1 << i for i, n in enumerate(self.event_names[block : block + 64]) if n in names
            )
            mine, code = (
                (f"enum_code(e.event) // 64 = {block // 64} AND ", "enum_code(e.event) % 64")
                if len(self.event_names) > 64
                else ("", "enum_code(e.event)")
            )
            chosen += [f"({mine}({bits}::UBIGINT >> ({code})::UBIGINT) & 1 = 1)"] if bits else []
        return chosen

    def _sorted(self, select: str) -> Iterator[pa.Table]:
        """The rows of a `_select` in order, whole users, about CHUNK_ROWS rows of the log at a time; at least one table."""
        for low, high in self._chunks():
            yield _in_order(
                self._con.sql(f"{select} AND e.user BETWEEN {low} AND {high}").to_arrow_table()
            )

    @cached_property
    def _bucket_of(self) -> Callable[[np.ndarray], np.ndarray]:
        """Users -> their buckets."""
        return self._con.sql("SELECT bucket FROM users ORDER BY user").fetchnumpy()["bucket"].take

    def _line(self, user: np.ndarray) -> np.ndarray:
        """Where `_user_codes` holds the users."""
        return user

    def as_of(self, as_of: Any = None) -> int:
        """Microseconds of the last observed moment: ``as_of`` (a bare day means its end), or the last event.

        A day after the last event is accepted, silence is an observation too. Raises ParameterError: before the first event.
        """
        stamp = self.last_event if as_of is None else as_timestamp(as_of)
        if stamp < self.first_event:
            raise ParameterError(
                f"as_of: {as_of} lies before the first event of {self.name} ({self.first_event:%Y-%m-%d %H:%M})."
            )
        return int(stamp.value // 1000)

    def missing_events(self, events: Iterable[Any]) -> list[str]:
        """A sentence for every event name, and every filter of an event, that does not occur in the data, with the nearest words."""
        steps = {step.label: step for step in map(as_step, events)}
        names = dict.fromkeys(n for step in steps.values() for n in step.names)
        return [
            f'event "{n}" does not occur in {self.name}.{nearest(n, self.event_names)}'
            for n in names
            if n not in self.event_names
        ] + [
            f'event "{label}" does not occur in {self.name}.{self._near(step)}'
            for label, step in steps.items()
            if step.where
            and not (step.names and set(step.names).isdisjoint(self.event_names))
            and not self._occurs(step)
        ]

    def _occurs(self, step: Step) -> bool:
        return bool(
            self._con.execute(
                f"SELECT 1 FROM events e WHERE {self._condition(step)} LIMIT 1"
            ).fetchall()
        )

    def _near(self, step: Step) -> str:
        """Which property of the filter of a step no such event has, or the nearest value to one that none has."""
        for key, wanted in step.where.items():
            found = self._con.execute(
                f"SELECT DISTINCT {self._column(key, event_only=True)[0]}::VARCHAR FROM events e WHERE {self._condition(Step(step.event))}"
            ).fetchall()
            values = {v for (v,) in found} - {None, ""}
            if not values:
                known = [
                    c
                    for c in CANONICAL["events"]
                    if c not in ("user_id", "properties") and self._filled("events", c)
                ]
                return f' No such event has "{key}".{nearest(key.rpartition(".")[2], [*known, *self._property_keys()])}'
            for value in wanted if isinstance(wanted, (list, tuple, set)) else [wanted]:
                if (
                    value is not ANY
                    and str(value) not in values
                    and key.rpartition(".")[2] not in IDS
                    and (near := nearest(value, values))
                ):
                    return near
        return ""

    def steps(self, steps: Sequence[Any], *, any_order: bool = False) -> list[Step]:
        """The steps of a funnel as Steps. Raises ParameterError: fewer than two, or (unless in ``any_order``) the first one does not occur in the data."""
        if (
            isinstance(steps, (str, Step, Mapping))
            or not isinstance(steps, Collection)
            or len(steps) < 2
        ):
            raise ParameterError(
                "steps: a funnel needs at least two steps; give a list of event names."
            )
        matchers = [as_step(s, "steps") for s in steps]
        if (
            not any_order
            and matchers[0].names
            and not set(matchers[0].names) & set(self.event_names)
        ):
            raise ParameterError(
                f"steps: step 1 cannot be reached, {self.missing_events(matchers[:1])[0]}"
            )
        return matchers

    def segments(self, column: str) -> list[str]:
        """The values of a column that ``by`` may name, MISSING among them where some are empty. Raises ParameterError: no such column, or it is empty."""
        found = self._values(column)
        if found == {MISSING}:
            raise self._no_column(column)
        return sorted(found)

    @cached_property
    def accounts(self) -> list[str]:
        """["account_id"] where people sit in accounts, [] where nothing says so: a question that puts it in ``by`` can add up by account."""
        return ["account_id"] if self._filled("people", "account_id") else []

    def of_user(self, column: str) -> bool:
        """Whether ``by`` reads this column from people, not from events."""
        return self._column(column)[1]

    def check_column(self, column: str) -> None:
        """Raises ParameterError unless ``column`` may stand in ``by`` and holds something."""
        self.segments(column)

    def _chunks(self) -> list[tuple[int, int]]:
        """Ranges of users that hold about the same number of rows, CHUNK_ROWS at most (the events are stored by user)."""
        n_rows = self.load["tables"]["events"]["n_kept"]
        size = -(-n_rows // -(-n_rows // CHUNK_ROWS))
        at = ", ".join(str(r) for r in range(size, n_rows, size))
        cuts = (
            [
                r[0]
                for r in self._con.execute(
                    f"SELECT DISTINCT user FROM events WHERE rowid IN ({at}) ORDER BY 1"
                ).fetchall()
            ]
            if at
            else []
        )
        edges = [0, *cuts, self.load["n_users"]]
        return [(a, b - 1) for a, b in zip(edges, edges[1:]) if b > a]

    def _values(self, column: str) -> set[str]:
        sql, of_user = self._column(column)
        source = "users LEFT JOIN people p USING (user)" if of_user else "events e"
        return {
            v
            for (v,) in self._con.execute(
                f"SELECT DISTINCT coalesce(nullif({sql}::VARCHAR, ''), {sql_text(MISSING)}) FROM {source}"
            ).fetchall()
        }

    def _column(self, name: str, *, event_only: bool = False) -> tuple[str, bool]:
        """SQL of a column or property, and whether it belongs to the user."""
        if name.startswith("properties."):
            return (
                f"json_extract_string(e.properties, {sql_text(chr(36) + '.' + json.dumps(name[11:]))})",
                False,
            )
        if (
            not event_only
            and name in CANONICAL["people"]
            and name not in ("user_id", "consent")
            and self._filled("people", name)
        ):
            return f"p.{name}", True
        if name in CALENDAR:
            return f"date_trunc('{name}', e.timestamp)::DATE", False
        column = name.removeprefix("event.")
        if column in CANONICAL["events"] and column not in ("user_id", "properties"):
            return f"e.{column}", False
        if event_only:
            return self._column(f"properties.{name}")
        raise self._no_column(name)

    def _no_column(self, name: str) -> ParameterError:
        """What to say of a column that is not there, or is there and empty."""
        if name != "user_id" and (
            name in CANONICAL["people"] or name.removeprefix("event.") in CANONICAL["events"]
        ):
            return ParameterError(f'The column "{name}" is empty in {self.name}.')
        words = {
            c
            for table in ("people", "events")
            for c in CANONICAL[table]
            if c not in ("user_id", "properties", "consent") and self._filled(table, c)
        }
        near = nearest(name, words) or nearest(
            f"properties.{name.removeprefix('properties.')}",
            [f"properties.{key}" for key in self._property_keys()],
        )
        return ParameterError(
            f'"{name}" is neither a column of people or events nor written as properties.<key>.{near}'
        )

    def _property_keys(self) -> list[str]:
        """What the properties of some events hold, to name the nearest."""
        return [
            k
            for (k,) in self._con.sql(
                "SELECT DISTINCT unnest(json_keys(properties)) FROM (SELECT properties FROM events WHERE properties IS NOT NULL LIMIT 100000)"
            ).fetchall()
        ]

    def _filled(self, table: str, column: str) -> bool:
        return self._con.execute(
            f"SELECT count(nullif({column}::VARCHAR, '')) > 0 FROM {table}"
        ).fetchall()[0][0]

    def _user_codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        return _factorize(
            self._con.sql(
                f"SELECT p.{name} FROM users u LEFT JOIN people p USING (user) ORDER BY u.user"
            ).to_arrow_table()[name]
        )

    def _condition(self, step: Any) -> str:
        """SQL that is true for the rows a Step means."""
        known = [n for n in step.names if n in self.event_names]
        parts = [
            "true"
            if step.event is ANY
            else f"e.event IN ({', '.join(map(sql_text, known))})"
            if known
            else "false"
        ]
        for key, wanted in step.where.items():
            text, values = (
                f"{self._column(key, event_only=True)[0]}::VARCHAR",
                wanted if isinstance(wanted, (list, tuple, set)) else [wanted],
            )
            same = [
                f"{text} <> ''"
                if v is ANY
                else f"{text} = {sql_text(json.dumps(v) if isinstance(v, bool) else v)}"
                for v in values
            ]
            same += [
                f"try_cast({text} AS DOUBLE) = {sql_text(v)}::DOUBLE"
                for v in values
                if isinstance(v, Real) and not isinstance(v, bool)
            ]  # 1 is also what an export writes as 1.0
            parts.append(f"coalesce({' OR '.join(same) or 'false'}, false)")
        return " AND ".join(parts)


class OverlayLog(EventLog):
    """A log over rows that stay where they are (`overlay.lay_over`): one sort a question, cut into whole users as it streams out."""

    def __init__(self, con: duckdb.DuckDBPyConnection, load: dict) -> None:
        super().__init__(con, load)
        self._one = Lock()

    @cached_property
    def load(self) -> dict:
        return self._report | {"n_users": len(self._users[0])}

    @cached_property
    def _users(self) -> tuple[np.ndarray, np.ndarray]:
        """All users, ascending, and their buckets."""
        found = self._con.cursor().sql("SELECT user, bucket FROM users ORDER BY user").fetchnumpy()
        return found["user"], found["bucket"]

    def _bucket_of(self, user: np.ndarray) -> np.ndarray:
        with self._one:  # kernels ask, several at a time, and all users are looked up but once
            users, bucket = self._users
        return bucket[np.searchsorted(users, user)]

    @cached_property
    def _people(self) -> np.ndarray:
        return self._con.sql("SELECT user FROM people ORDER BY user").fetchnumpy()["user"]

    def _line(self, user: np.ndarray) -> np.ndarray:
        line = np.searchsorted(self._people, user)
        return np.where(
            np.r_[self._people, NOWHERE][line] == user, line, len(self._people)
        )  # the last one: not in people

    def _user_codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        return _factorize(
            self._con.sql(
                f"SELECT {name} FROM (SELECT user, {name} FROM people UNION ALL SELECT NULL, NULL) ORDER BY user NULLS LAST"
            ).to_arrow_table()[name]
        )

    def _named(self, names: set[str]) -> list[str]:
        return [f"e.name IN ({', '.join(map(sql_text, sorted(names)))})"] if names else []

    def _sorted(self, select: str) -> Iterator[pa.Table]:
        batches, n_rows, enough = (
            [],
            0,
            CHUNK_ROWS // 4,
        )  # a store's chunk is of rows of all events, this of those asked for
        reader = (
            self._con.cursor().sql(f"{select} {IN_ORDER}").to_arrow_reader(enough)
        )  # a cursor, so that other questions may come in between
        for batch in reader:
            batches.append(batch)
            n_rows += len(batch)
            if n_rows >= enough:
                table = pa.Table.from_batches(batches)
                user = table["user"].to_numpy()
                last = int(
                    np.searchsorted(user, user[-1])
                )  # the last user may go on in the next batch
                if last:
                    yield table.slice(0, last)
                batches, n_rows = table.slice(last).to_batches(), len(table) - last
        yield pa.Table.from_batches(batches, reader.schema)


def _in_order(table: pa.Table) -> pa.Table:
    """Rows by user, time and event. They lie so in the store, and come so unless a plan of DuckDB's mixes them: looking is cheaper than sorting."""
    table = table.combine_chunks()
    user, time, code = (table[c].to_numpy() for c in ("user", "time", "code"))
    before, after = slice(None, -1), slice(1, None)
    same = user[after] == user[before]
    fine = (user[after] > user[before]) | same & (time[after] > time[before])
    if not fine.all():
        tie = ~fine
        if not (
            same[tie]
            & (time[after][tie] == time[before][tie])
            & (code[after][tie] >= code[before][tie])
        ).all():
            return table.take(np.lexsort((code, time, user)))
    return table


def add_up(parts: Iterable[Counts]) -> Counts:
    """One table of the parts: ``n_*`` and ``sum_*`` columns added within equal keys.

    Parts that are several tables by name give one table a name.
    """
    parts = list(parts)
    if isinstance(parts[0], dict):
        return {name: add_up(part[name] for part in parts) for name in parts[0]}
    frame = pd.concat(parts, ignore_index=True)
    keys = [c for c in frame if not c.startswith(("n_", "sum_"))]
    if not keys:
        return frame.sum().to_frame().T
    return frame.groupby(keys, as_index=False, dropna=False, sort=True, observed=True).sum()


def _name(by: str) -> str:
    return '"' + by.removeprefix("properties.").replace('"', "") + '"'


def _factorize(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Codes and their labels in alphabetical order, MISSING for empty values."""
    text = (
        column
        if pa.types.is_dictionary(column.type)
        else column.cast(pa.string()).dictionary_encode()
    )
    array = text.unify_dictionaries().combine_chunks()
    names = [*(str(v) or MISSING for v in array.dictionary.to_pylist()), MISSING]
    code = array.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    present = np.flatnonzero(np.bincount(code, minlength=len(names)))
    labels = sorted({names[i] for i in present})
    lookup = np.zeros(len(names), np.int64)
    place = {name: n for n, name in enumerate(labels)}
    lookup[present] = [place[names[i]] for i in present]
    return lookup[code], labels
