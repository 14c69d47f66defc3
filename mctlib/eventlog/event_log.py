"""The event log over a store, and the one way to walk it (`EventLog.reduce`)."""

from __future__ import annotations

import html
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from mctlib.contract import as_columns
from mctlib.eventlog import observed
from mctlib.eventlog.calendar import Calendar
from mctlib.eventlog.frames import Counts, add_up, in_utc, register
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.moments import Moments
from mctlib.eventlog.parquet import read_in_place
from mctlib.eventlog.pseudonyms import NO_SALT
from mctlib.eventlog.reader import InPlaceReader, StoreReader
from mctlib.eventlog.select import Question
from mctlib.eventlog.steps import ANY, Step
from mctlib.eventlog.store import connect, fill
from mctlib.eventlog.store_file import attached, use
from mctlib.eventlog.vocabulary import Vocabulary, beside, given

CHUNK_ROWS = 5_000_000
WALKERS = 2  # chunks read and walked at once
EXACT_EVENTS = 200_000


class EventLog:
    """A product's events and what is known beside them, read-only.

    Open one with `open_log` (a dataset's store), `EventLog.from_frame` (pandas frames) or
    `EventLog.from_parquet` (files that stay where they are).

    Attributes
    ----------
    name, currency : str
        Of the dataset, and of its amounts of money ("" where `open_log` was not told).
    path, plan, note : Path or None, Path or None, str
        Of its store, of its tracking plan, and what was amiss with the store before ("": nothing).
    first_event, last_event : Timestamp
        The period that the events span, UTC.
    observed_until : Timestamp
        End of the last event's day (its midnight), or later where collection is known to have gone
        on; nothing is known of what came after.
    event_names, meanings : list of str, dict
        Every event that occurs; name -> Step, of the micro-conversions of a tracking plan.
    words : Vocabulary
        What may be asked of it: columns, properties, filters.
    calendar : Calendar
        Whose days and weeks are meant: UTC's, from Monday on, unless the data YAML says otherwise.
    planned_segments, planned_metrics : dict
        Of it too: name -> Step, a filter of any event, for ``by``; name -> Rate, Count or Mean.
    day_resolution, aliases : dict
        Event -> zones by whose days it is known, of events without a time of day; name in a link,
        promo code or answer, in any case -> the partner meant, "" for nobody.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("ann", "signed_up", "2026-01-05"), ("ann", "job_viewed", "2026-01-06")]
    >>> events = pd.DataFrame(rows, columns=["user_id", "event", "timestamp"])
    >>> EventLog.from_frame(events, name="tiny").event_names
    ['job_viewed', 'signed_up']
    """

    def __init__(self, load: dict[str, Any], reader: StoreReader) -> None:
        self._load = load
        self._reader = reader
        self.words = reader.words
        self.name, self.currency = str(load["name"]), ""
        self.path: Path | None = None
        self.plan: Path | None = None
        self.note = ""
        self._let_go: Callable[[], Any] = list  # of a store's file
        self.first_event = pd.Timestamp(load["first_event"]).tz_localize("UTC")
        self.last_event = pd.Timestamp(load["last_event"]).tz_localize("UTC")
        self.observed_until = observed.end(load)
        self.event_names, self.meanings = reader.words.events, reader.words.meanings
        self.calendar = reader.words.calendar
        self.planned_segments, self.planned_metrics = reader.words.planned, dict[str, Any]()
        self.day_resolution: dict[str, list[str]] = load["day_resolution"]
        self.aliases: dict[str, str] = load.get("aliases", {})

    @classmethod
    def _of_store(cls, con: duckdb.DuckDBPyConnection, path: Path | None = None) -> EventLog:
        """The log of the database `store` that is attached to a connection, and of its file."""
        use(con)
        ((report,),) = con.execute("SELECT report FROM load").fetchall()
        load = json.loads(report)
        moments = Moments.of(path, con, load) if path else None
        words = Vocabulary(load["name"], con, load["hashed"], Calendar(**load["calendar"]))
        return cls(load, StoreReader(con, words, moments))

    @classmethod
    def open(cls, path: Path, currency: str = "") -> EventLog:
        """A store file that `build_store` wrote, which stays as long as the log is open."""
        con, let_go = attached(path)
        log = cls._of_store(con, path)
        log.currency, log.path, log._let_go = currency, path, let_go
        return log

    @classmethod
    def from_frame(
        cls,
        events: pd.DataFrame,
        *,
        name: str = "frame",
        observed_until: Any = None,
        ignore_case: bool = False,
        aliases: Mapping[str, str] | None = None,
        **tables: pd.DataFrame | None,
    ) -> EventLog:
        """A log held in memory, from pandas frames.

        Parameters
        ----------
        events : DataFrame
            The canonical columns (`mctlib.contract.CANONICAL`); others become properties.
        name, observed_until : str, str or Timestamp
            What sentences call the log; until when events were collected, although none came.
        ignore_case, aliases : bool, mapping
            Whether ids of users that differ by case only are one; as the attribute.
        **tables : DataFrame
            people, surveys, backend, manual, spend, timeline, responses. People's further columns
            (country, seats) may be asked for like the canonical ones.

        Raises
        ------
        DataError
            A required column is missing, no event is left, none of the people has one.

        Notes
        -----
        Times without a zone are UTC. Rows are stitched and left out as when a dataset is loaded.
        """
        con = connect()
        sources = register(con, given(events, tables))
        con.execute("ATTACH ':memory:' AS store")
        asked = {"observed_until": observed_until, "ignore_case": ignore_case}
        fill(con, sources, name=name, salted=NO_SALT, aliases=aliases or {}, **asked)
        return cls._of_store(con)

    @staticmethod
    def from_parquet(
        events: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        name: str = "parquet",
        observed_until: Any = None,
        ignore_case: bool = False,
        aliases: Mapping[str, str] | None = None,
        **tables: Any,
    ) -> EventLog:
        """A log over Parquet files, read anew by every question.

        For a first answer, or for more events than one wants to copy; a store answers every later
        question faster.

        Parameters
        ----------
        events : str or Path
            A path or glob. ``properties`` is JSON text, a struct or a map; columns that are not
            canonical are not read; times without a zone are UTC.
        columns : mapping, optional
            Canonical column -> the column of the events' files.
        name, observed_until, ignore_case, aliases
            As `from_frame` takes them; names are not mended in place, but attribution reads them.
        **tables : str, Path or DataFrame
            people, surveys, backend, spend, timeline, responses.

        Raises
        ------
        DataError
            A column is missing, no file, more than one row in ten wrong in one way, none of the
            people has an event.

        Notes
        -----
        Rows without user (or of an impossible one, such as "undefined"), event or time, of users
        without consent, or from the future are left out and counted in `load`. Nothing is stitched
        or de-duplicated: ``user_id`` must be final and ``event_id`` is not looked at; where that is
        done already, every table is the one that the store gives. A question sorts the columns it
        needs by user and time, on disk where they need more memory than `store.SPILL_ABOVE`.
        """
        con = connect()
        sources = given(events, tables)
        load = read_in_place(con, sources, columns=columns, name=name, ignore_case=ignore_case)
        load |= {"observed_until": observed.told(observed_until), "aliases": dict(aliases or {})}
        return EventLog(load, InPlaceReader(con, Vocabulary(name, con)))

    def close(self) -> None:
        """Let go of the store's file, which an open log goes on reading; ask nothing afterwards."""
        self._reader.con.close()
        self._let_go()

    @property
    def load(self) -> dict[str, Any]:
        """What was read, kept, rejected for which reason; see `observed`, `meeting`, `checks`."""
        return observed.complete(self._load, self._reader)

    def __repr__(self) -> str:
        return "\n  ".join(self._summary())

    def _repr_html_(self) -> str:
        head, *lines = map(html.escape, self._summary())
        return f"<p><b>{head}</b><br>{'<br>'.join(lines)}</p>"

    def _summary(self) -> list[str]:
        """The dataset, its period and its size; what a log in place has not counted is not."""
        users = self._load.get("n_users")
        events = f"{self._load['tables']['events']['n_kept']:,} events"
        return [
            f"{type(self).__name__} {self.name}",
            f"{self.first_event:%Y-%m-%d %H:%M} to {self.last_event:%Y-%m-%d %H:%M} UTC",
            events if users is None else f"{users:,} users, {events}",
        ]

    def table(self, name: str, columns: Sequence[str] = ()) -> pd.DataFrame:
        """One of the smaller tables, or some of its columns; its users are journeys' integers."""
        rows = self._reader.con.sql(f"SELECT * FROM {beside(name)}")
        frame = rows.select(*(c for c in columns or rows.columns if c in rows.columns)).df()
        return in_utc(frame, [c for c in frame if c.endswith("_at") or c == "timestamp"])

    def sql(self, query: str) -> pd.DataFrame:
        """What a query answers over the log's tables, users as integers and ids as hashes."""
        return self._reader.con.sql(query).df()

    @property
    def small(self) -> bool:
        """Whether events are so few that every duration can be a count of its own, exactly."""
        # not `load`, for which a log in place counts its users
        return self._load["tables"]["events"]["n_kept"] <= EXACT_EVENTS

    def describe(self) -> pd.DataFrame:
        """Event, n_events, n_users, first_at, last_at: one row an event, most frequent first."""
        # codes are grouped, not their texts
        frame = self._reader.con.sql("""
            SELECT event::VARCHAR AS event, * EXCLUDE (event) FROM (
                SELECT event, count(*) AS n_events, count(DISTINCT user) AS n_users,
                    min(timestamp) AS first_at, max(timestamp) AS last_at
                FROM events GROUP BY event
            ) ORDER BY 2 DESC, 1""").df()
        return in_utc(frame, ["first_at", "last_at"])

    def counts(
        self, *, events: Sequence[Any] | None = None, by: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        """Count rows and users: event, the ``by`` columns, n_events, n_users.

        Parameters
        ----------
        events : list of str, list of str, or Step, optional
            Rows that match one of them; all by default.
        by : str or list of str
            As `reduce` takes them.

        Examples
        --------
        >>> log.counts(events=["signed_up"])["n_users"].tolist()
        [40]
        """
        columns = ["e.event::VARCHAR AS event"]
        for column in self.columns(by):
            title = column.removeprefix("properties.").replace('"', "")
            columns.append(f'{self.words.text(column)} AS "{title}"')
        chosen = " OR ".join(self.words.condition(self.step(e)) for e in events or [ANY])
        return self._reader.con.sql(f"""
            SELECT {", ".join(columns)}, count(*) AS n_events, count(DISTINCT e.user) AS n_users
            FROM events e LEFT JOIN people p USING (user)
            WHERE {chosen} GROUP BY ALL ORDER BY ALL""").df()

    def reduce(
        self,
        kernel: Callable[[Journeys], Counts],
        *,
        events: Sequence[Any],
        by: str | Sequence[str] = (),
        as_of: Any = None,
        values: str | None = None,
    ) -> Counts:
        """Walk all users in order and add up what a kernel counts.

        Parameters
        ----------
        kernel : function
            Journeys of some users -> a table, or tables by name. Columns that start with ``n_``
            or ``sum_`` are added over chunks of whole users, all others are the keys.
        events : list of str, list of str, or Step
            Matchers; the journeys hold the rows that match at least one, bit i for matcher i.
        by : str or list of str
            Columns of people (of the user), else of the event; ``event.<column>`` for the event's
            even then; ``properties.<key>``; ``week`` or ``month`` of the event (its first day,
            by the calendar of the log); a tracking plan's segment, against all others.
        as_of : str or Timestamp, optional
            Last observed moment, see `as_of`.
        values : str, optional
            A numeric property or column of the events; `vocabulary.PAYLOAD`: all that they say.

        Returns
        -------
        DataFrame or dict of DataFrame
            The kernel's table or tables, their counts added.

        Examples
        --------
        >>> rows = lambda journeys: pd.DataFrame({"n_rows": [len(journeys)]})
        >>> log.reduce(rows, events=["signed_up"])["n_rows"].item()
        40
        """
        question = self._question(events, by, as_of, values)
        parts: list[Counts] = []
        walking: deque[Any] = deque()
        # DuckDB and kernels let go of Python's lock: every walker reads its chunk, then walks it
        with ThreadPoolExecutor(WALKERS) as pool:
            for read in self._reader.journeys(question, CHUNK_ROWS):
                walking.append(pool.submit(lambda part: kernel(part()), read))
                if len(walking) > WALKERS:
                    parts.append(walking.popleft().result())
            parts += [walk.result() for walk in walking]
        return add_up(parts)

    def journeys(self, **question: Any) -> Iterator[Journeys]:
        """The rows that `reduce` hands to its kernel, asked for as there, but for the kernel.

        Some million rows of whole users at a time: user, time and every dim are int64, mask is the
        smallest of uint8, 16, 32 and 64 that has a bit for every matcher, value is float64, bucket
        uint8; all contiguous and writable.
        """
        for read in self._reader.journeys(self._question(**question), CHUNK_ROWS):
            yield read()

    def _question(
        self,
        events: Sequence[Any],
        by: str | Sequence[str] = (),
        as_of: Any = None,
        values: str | None = None,
    ) -> Question:
        return Question(
            steps=[self.step(e) for e in events],
            by=as_columns(by),
            until=self.as_of(as_of),
            value=values,
        )

    def as_of(self, as_of: Any = None) -> int:
        """Microseconds of the last observed moment: a bare day means its end, None the last event.

        One after `observed_until` is read as that: silence after the data's end tells nothing.
        Raises ParameterError: before the first event.
        """
        return observed.last_moment(self, as_of)

    def caveats(self, as_of: Any = None) -> tuple[str, ...]:
        """What every answer from this log must say: of an ``as_of`` too late, of identical rows."""
        return observed.caveats(self, as_of)

    def missing_events(self, events: Iterable[Any]) -> list[str]:
        """Sentences about events, or their filters, that do not occur, with the nearest words."""
        return self.words.missing(events)

    def step(self, event: Any, name: str = "event") -> Step:
        """An event as YAML or a notebook gives it; a plan's name means what the plan says."""
        return self.words.step(event, name)

    def steps(self, steps: Sequence[Any], *, any_order: bool = False) -> list[Step]:
        """The steps of a funnel as Steps.

        Raises ParameterError: fewer than two, one is misspelt, or (unless in ``any_order``) the
        first one does not occur in the data.
        """
        return self.words.steps(steps, any_order=any_order)

    def segments(self, column: str) -> list[str]:
        """The values of a column that ``by`` may name, MISSING among them where some are empty.

        Raises ParameterError: there is no such column, it is empty, or it holds ids.
        """
        return self.words.segments(self.words.shown(column))

    def columns(self, by: Any) -> list[str]:
        """The names in a ``by``, see `as_columns`. Raises ParameterError: one of them holds ids."""
        return [self.words.shown(column) for column in as_columns(by)]

    @cached_property
    def accounts(self) -> list[str]:
        """["account_id"] where people sit in accounts, else []: for ``by``, to add by account."""
        return ["account_id"] if self.words.filled("people", "account_id") else []
