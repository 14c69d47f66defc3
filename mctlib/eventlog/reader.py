"""How the rows of a question are read, whole users at a time: from a store, or in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from threading import Lock

import duckdb
import numpy as np

from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.moments import Moments, whole_users
from mctlib.eventlog.rows import Array, Rows, array, bits_of_names, codes_of, in_order
from mctlib.eventlog.select import Question, select
from mctlib.eventlog.vocabulary import Vocabulary


class StoreReader:
    """Reads a store: its events lie by user and time, its users are numbered from 0 on."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        words: Vocabulary,
        moments: Moments | None = None,
    ) -> None:
        self.con = con
        self.words = words
        self._moments = moments

    def journeys(self, question: Question, chunk_rows: int) -> Iterator[Callable[[], Journeys]]:
        """What a question walks, about ``chunk_rows`` rows of the log at a time.

        At least one part, each made when it is called for, by any thread.
        """
        of_people = {
            name: self.people_codes(name) for name in question.by if self.words.column(name).of_user
        }
        for read in self._rows(question, chunk_rows):
            yield partial(self._journeys, read, question, of_people)

    def _journeys(
        self,
        read: Callable[[], Rows],
        question: Question,
        of_people: Mapping[str, tuple[Array, list[str]]],
    ) -> Journeys:
        rows = read()
        line = self.line(rows.user) if of_people else None
        dims, levels = {}, {}
        for n, name in enumerate(question.by):
            if name in of_people:
                codes, levels[name] = of_people[name]
                dims[name] = codes[line]
            else:
                dims[name], levels[name] = codes_of(rows.table[f"dim_{n}"])
        return Journeys(
            user=rows.user,
            time=rows.time,
            mask=rows.mask,
            as_of=question.until,
            dims=dims,
            levels=levels,
            bucket_of=self.bucket_of(),
            value=array(rows.table["value"], float) if question.value else None,
        )

    def _rows(self, question: Question, chunk_rows: int) -> Iterator[Callable[[], Rows]]:
        if self._moments:
            beside = self._moments.rows(self.words, question, self._bits(question))
            yield from beside
            if beside:
                return
        rows = select(self.words, question)
        for low, high in self._chunks(chunk_rows):
            yield partial(self._read, f"{rows} AND e.user BETWEEN {low} AND {high}", question)

    def _bits(self, question: Question) -> Array:
        return bits_of_names(question.steps, self.words.events)

    def _read(self, rows: str, question: Question) -> Rows:
        table = self.con.cursor().sql(rows).to_arrow_table()
        return in_order(table, question.steps, self._bits(question))

    def _chunks(self, chunk_rows: int) -> list[tuple[int, int]]:
        """First and last users of chunks: those of rows at equal distances cut the events."""
        n_rows = self.con.execute("SELECT count(*) FROM events").fetchall()[0][0]
        n_chunks = -(-n_rows // chunk_rows)
        size = -(-n_rows // n_chunks)
        edges = [0]
        if n_chunks > 1:
            at = ", ".join(str(row) for row in range(size, n_rows, size))
            cuts = f"SELECT DISTINCT user FROM events WHERE rowid IN ({at}) ORDER BY 1"
            edges += [user for (user,) in self.con.execute(cuts).fetchall()]
        edges.append(self.n_users())
        return [(a, b - 1) for a, b in zip(edges, edges[1:]) if b > a]

    def n_users(self) -> int:
        """How many users there are, those without events among them."""
        return len(self._buckets)

    @cached_property
    def _buckets(self) -> Array:
        return self.con.sql("SELECT bucket FROM users ORDER BY user").fetchnumpy()["bucket"]

    def bucket_of(self) -> Callable[[Array], Array]:
        """A function of users that gives their buckets."""
        return self._buckets.take

    def people_codes(self, name: str) -> tuple[Array, list[str]]:
        """A column of people as codes and labels, a line a user (see `line`)."""
        everyone = "users u LEFT JOIN people p USING (user)"
        rows = f"SELECT {self.words.column(name).sql} AS dim FROM {everyone} ORDER BY u.user"
        return codes_of(self.con.sql(rows).to_arrow_table()["dim"])

    def line(self, user: Array) -> Array:
        """Where `people_codes` holds the users."""
        return user


class InPlaceReader(StoreReader):
    """Reads rows where they are (`parquet.lay_over`): one sort a question, cut as it streams."""

    def __init__(self, con: duckdb.DuckDBPyConnection, words: Vocabulary) -> None:
        super().__init__(con, words)
        self._one = Lock()

    def _rows(self, question: Question, chunk_rows: int) -> Iterator[Callable[[], Rows]]:
        # a store's chunk is of rows of all events, this of those asked for
        enough = chunk_rows // 4
        rows = select(self.words, question, named=True)
        in_turn = f"{rows} ORDER BY user, time, code"
        # a cursor, so that other questions may come in between
        reader = self.con.cursor().sql(in_turn).to_arrow_reader(enough // 10 + 1)
        given = question.steps, self._bits(question)
        none = True
        for table in whole_users(reader, enough):
            none = False
            yield partial(in_order, table, *given)
        if none:
            yield partial(in_order, reader.schema.empty_table(), *given)

    def n_users(self) -> int:
        """How many users there are; they are counted when it is first asked."""
        return len(self._users[0])

    @cached_property
    def _users(self) -> tuple[Array, Array]:
        """All users, ascending, and their buckets."""
        found = self.con.cursor().sql("SELECT user, bucket FROM users ORDER BY user").fetchnumpy()
        return found["user"], found["bucket"]

    def bucket_of(self) -> Callable[[Array], Array]:
        """A function of users that gives their buckets, looked up when it is first called."""
        return self._look_up

    def _look_up(self, user: Array) -> Array:
        with self._one:  # kernels ask, several at a time
            users, bucket = self._users
        return bucket[np.searchsorted(users, user)]

    @cached_property
    def _people(self) -> Array:
        return self.con.sql("SELECT user FROM people ORDER BY user").fetchnumpy()["user"]

    def people_codes(self, name: str) -> tuple[Array, list[str]]:
        """A column of people as codes and labels: a line each, the last for everybody else."""
        everyone = "(FROM people UNION ALL BY NAME SELECT NULL AS user) p"
        rows = f"SELECT {self.words.column(name).sql} AS dim FROM {everyone}"
        table = self.con.sql(f"{rows} ORDER BY p.user NULLS LAST").to_arrow_table()
        return codes_of(table["dim"])

    def line(self, user: Array) -> Array:
        """Where `people_codes` holds the users."""
        others = len(self._people)
        line = np.searchsorted(self._people, user)
        known = np.append(self._people, -1)[line] == user
        return np.where(known, line, others)
