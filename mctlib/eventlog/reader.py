"""How the rows of a question are read, whole users at a time: from a store, or in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from threading import Lock

import duckdb
import numpy as np
import pyarrow as pa

from mctlib.eventlog.rows import Array, codes_of
from mctlib.eventlog.select import Question, select
from mctlib.eventlog.vocabulary import Vocabulary


class StoreReader:
    """Reads a store: its events lie by user and time, its users are numbered from 0 on."""

    def __init__(self, con: duckdb.DuckDBPyConnection, words: Vocabulary) -> None:
        self.con = con
        self.words = words

    def tables(self, question: Question, chunk_rows: int) -> Iterator[pa.Table]:
        """The rows of a question, about ``chunk_rows`` rows of the log at a time.

        At least one table, and in all but rare cases in order (see `rows.in_order`).
        """
        rows = select(self.words, question)
        for low, high in self._chunks(chunk_rows):
            of_users = f"{rows} AND e.user BETWEEN {low} AND {high}"
            yield self.con.sql(of_users).to_arrow_table()

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
        rows = f"SELECT p.{name} FROM {everyone} ORDER BY u.user"
        return codes_of(self.con.sql(rows).to_arrow_table()[name])

    def line(self, user: Array) -> Array:
        """Where `people_codes` holds the users."""
        return user


class InPlaceReader(StoreReader):
    """Reads rows where they are (`parquet.lay_over`): one sort a question, cut as it streams."""

    def __init__(self, con: duckdb.DuckDBPyConnection, words: Vocabulary) -> None:
        super().__init__(con, words)
        self._one = Lock()

    def tables(self, question: Question, chunk_rows: int) -> Iterator[pa.Table]:
        """The rows of a question in order; at least one table."""
        # a store's chunk is of rows of all events, this of those asked for
        enough = chunk_rows // 4
        rows = select(self.words, question, named=True)
        in_order = f"{rows} ORDER BY e.user, e.timestamp, code"
        # a cursor, so that other questions may come in between
        reader = self.con.cursor().sql(in_order).to_arrow_reader(enough)
        batches: list[pa.RecordBatch] = []
        for batch in reader:
            batches.append(batch)
            table = pa.Table.from_batches(batches)
            if len(table) < enough:
                continue
            user = table["user"].to_numpy()
            last = int(np.searchsorted(user, user[-1]))  # this user may go on in the next batch
            if last:
                yield table.slice(0, last)
            batches = table.slice(last).to_batches()
        yield pa.Table.from_batches(batches, reader.schema)

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
        known_and_others = f"SELECT user, {name} FROM people UNION ALL SELECT NULL, NULL"
        rows = f"SELECT {name} FROM ({known_and_others}) ORDER BY user NULLS LAST"
        return codes_of(self.con.sql(rows).to_arrow_table()[name])

    def line(self, user: Array) -> Array:
        """Where `people_codes` holds the users."""
        others = len(self._people)
        line = np.searchsorted(self._people, user)
        known = np.append(self._people, -1)[line] == user
        return np.where(known, line, others)
