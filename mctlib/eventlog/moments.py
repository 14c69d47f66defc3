"""A store's users and times, and its columns of few words, beside it: a walk reads them in place.

Most questions want no more of the rows, and a database takes longer to unpack them than a kernel
to walk them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from numba import njit, types
from numpy.typing import NDArray

from mctlib.contract import ENUMS
from mctlib.eventlog.journeys import MASKS, Ints
from mctlib.eventlog.rows import Array, Rows
from mctlib.eventlog.select import Question
from mctlib.eventlog.sql import payload
from mctlib.eventlog.vocabulary import CALENDAR, PAYLOAD, Vocabulary
from mctlib.phrases import QUARTER_US

ROWS = 2_500_000  # about so many lie together; users are whole
READ = re.compile(r'\b([ep]\.[\w"]\w*)')  # columns that SQL reads, and words that look like one


def place(store: Path) -> Path:
    """Where the moments of a store are."""
    return store.with_suffix(".moments.arrow")


def write_moments(con: duckdb.DuckDBPyConnection, path: Path, load_id: str) -> None:
    """Write the moments of the attached database `store`, whose rows lie by user and time.

    Words are their codes, what is empty is the code after the last.
    """
    described = con.execute("DESCRIBE store.events").fetchall()
    kinds = {name: kind for name, kind, *_ in described}
    columns = ["user", "epoch_us(timestamp) AS time"]
    for column in ENUMS:
        if kinds.get(column, "").startswith("ENUM"):
            words = f"SELECT len(enum_range(NULL::store.{column}_names))"
            ((n,),) = con.execute(words).fetchall()
            kind = "UTINYINT" if n < 255 and column != "event" else "USMALLINT"
            columns.append(f"coalesce(enum_code({column}), {n})::{kind} AS {column}")
    said = payload("e.properties" if "properties" in kinds else "NULL")
    # rows come as they lie
    stored = con.sql(f"SELECT {', '.join(columns)}, {said} AS payload FROM store.events e")
    batches = stored.to_arrow_reader(ROWS // 50)
    schema = batches.schema.with_metadata({"load_id": load_id})
    with pa.ipc.new_file(str(path), schema) as file:
        for table in whole_users(batches, ROWS):
            file.write_batch(table.combine_chunks().to_batches()[0])


def whole_users(batches: Iterable[pa.RecordBatch], enough: int) -> Iterator[pa.Table]:
    """Join rows by ``user``, and cut them where one ends and ``enough`` are there."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        table = pa.Table.from_batches(waiting)
        if len(table) <= enough:
            continue
        user = table["user"].to_numpy()
        last = int(np.searchsorted(user, user[-1]))  # this user may go on in the next batch
        if last:
            yield table.slice(0, last)
        waiting = table.slice(last).to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


class Asked(NamedTuple):
    """What is wanted of the rows, by the codes of their columns.

    bits: of each event the steps without a filter · filters: of each part of the others, columns
    and the step's bit for the codes that pass; all must · dims: a column and what its codes are.
    """

    until: int
    bits: Array
    filters: Sequence[Sequence[tuple[str, Array]]]
    dims: Mapping[str, tuple[str, pa.Array]]
    payload: bool


class Moments:
    """The moments of a store, to be read by any thread, some million rows at a time."""

    def __init__(
        self,
        file: pa.ipc.RecordBatchFileReader,
        con: duckdb.DuckDBPyConnection,
        load: Mapping[str, Any],
    ) -> None:
        self._file = file
        self._con = con
        ends = (pd.Timestamp(load[end]) for end in ("first_event", "last_event"))
        self._first, self._last = (end.value // 1000 // QUARTER_US for end in ends)

    @classmethod
    def of(
        cls, store: Path, con: duckdb.DuckDBPyConnection, load: Mapping[str, Any]
    ) -> Moments | None:
        """Those that were written with the store; None where there are none, or of another load."""
        try:
            file = pa.ipc.open_file(pa.memory_map(str(place(store))))
        except (OSError, pa.ArrowInvalid):
            return None
        written = (file.schema.metadata or {}).get(b"load_id")
        return cls(file, con, load) if written == load["load_id"].encode() else None

    def rows(self, words: Vocabulary, question: Question, bits: Array) -> list[Callable[[], Rows]]:
        """The rows of a question, each part read when called for; none where it asks for more.

        ``bits``: the steps' `bits_of_names`.
        """
        asked = self._asked(words, question, bits)
        if asked is None:
            return []
        return [partial(self._read, n, asked) for n in range(self._file.num_record_batches)]

    def _asked(self, words: Vocabulary, question: Question, bits: Array) -> Asked | None:
        """What a question wants; None where it must be looked up in other columns."""
        parts = [
            (i, words.conditions(part))
            for i, step in enumerate(question.steps)
            for part in (step.parts if step.filtered else ())
        ]
        dims = {}
        for n, name in enumerate(question.by):
            if not (column := words.column(name)).of_user:
                read = "timestamp" if name in CALENDAR else self._read_by(column.sql)
                dims[f"dim_{n}"] = read, column.sql
        read_by = {sql: self._read_by(sql) for _, conditions in parts for sql in conditions}
        columns = [*read_by.values(), *(column for column, _ in dims.values())]
        if not all(columns) or question.value not in (None, PAYLOAD):
            return None
        filters = [
            [
                (read_by[sql], self._passing(read_by[sql], sql, bits.dtype.type(1 << i)))
                for sql in told
            ]
            for i, told in parts
        ]
        values = {name: (c, self._of_codes(c, sql)) for name, (c, sql) in dims.items()}
        return Asked(question.until, bits, filters, values, question.value == PAYLOAD)

    def _read_by(self, sql: str) -> str:
        """The one column here that an expression reads; "" where it reads another, or several."""
        read = set(READ.findall(sql)) or {"e.event"}
        column = min(read).removeprefix("e.")
        here = len(read) == 1 and column in ENUMS and column in self._file.schema.names
        return column if here else ""

    def _of_codes(self, column: str, sql: str) -> pa.Array:
        """What an expression that reads one column comes to, for each of its codes."""
        codes = f"unnest(list_append(enum_range(NULL::{column}_names), NULL))"
        if column == "timestamp":
            codes = f"make_timestamp(unnest(range({self._first}, {self._last + 1})) * {QUARTER_US})"
        values = self._con.sql(f"SELECT {sql} AS value FROM (SELECT {codes} AS {column}) e")
        return values.to_arrow_table()["value"].combine_chunks()

    def _passing(self, column: str, condition: str, bit: Any) -> Array:
        """The bit for each of a column's codes of which a condition is true, else 0."""
        passes = self._of_codes(column, condition).fill_null(False)
        return np.where(passes.to_numpy(zero_copy_only=False), bit, bit ^ bit)

    def _read(self, n: int, asked: Asked) -> Rows:
        batch = self._file.get_batch(n)
        user, time, code = (batch[name].to_numpy() for name in ("user", "time", "event"))
        if not (asked.filters or asked.dims or asked.payload):
            return _rows_of_events(user, time, code, asked)

        def codes(column: str) -> Array:
            is_time = column == "timestamp"
            return time // QUARTER_US - self._first if is_time else batch[column].to_numpy()

        mask = asked.bits.take(code)
        for passes in asked.filters:
            mask |= np.bitwise_and.reduce([bits.take(codes(column)) for column, bits in passes])
        rows = np.flatnonzero((mask != 0) & (time <= asked.until))
        table = {
            name: pa.DictionaryArray.from_arrays(codes(column)[rows], values)
            for name, (column, values) in asked.dims.items()
        }
        if asked.payload:
            table["value"] = pa.array(batch["payload"].to_numpy()[rows])
        return Rows(user[rows].astype(np.int64), time[rows], mask[rows], pa.table(table))


def _rows_of_events(user: Array, time: Ints, code: Array, asked: Asked) -> Rows:
    """The rows where events alone tell them."""
    bits, until = asked.bits, asked.until
    n_rows = _count(time, code, bits, until)
    # numpy's arrays, unlike those a kernel makes, lie in large pages; one row to spare
    of_user, at = (np.empty(n_rows + 1, np.int64) for _ in range(2))
    mask = np.empty(n_rows + 1, bits.dtype)
    _pick(user, time, code, bits, until, of_user, at, mask)
    return Rows(of_user[:-1], at[:-1], mask[:-1], pa.table({}))


_KINDS = (types.int32, types.int64, types.uint16)
_COLUMNS = tuple(types.Array(kind, 1, "C", readonly=True) for kind in _KINDS)
_INTS = types.int64[::1]


@njit([(*_COLUMNS[1:], bits, types.int64) for bits in MASKS], cache=True, nogil=True)
def _count(time: Ints, code: NDArray[np.uint16], bits: NDArray[Any], until: int) -> int:
    n = 0
    for row in range(len(code)):
        n += (bits[code[row]] != 0) & (time[row] <= until)
    return n


@njit(
    [(*_COLUMNS, bits, types.int64, _INTS, _INTS, bits.copy(readonly=False)) for bits in MASKS],
    cache=True,
    nogil=True,
)
def _pick(
    user: NDArray[np.int32],
    time: Ints,
    code: NDArray[np.uint16],
    bits: NDArray[Any],
    until: int,
    of_user: Ints,
    at: Ints,
    mask: NDArray[Any],
) -> None:
    # without a branch: whether a row is wanted is a coin that no processor foresees, so one that
    # is not wanted is written too, and the next one over it
    n = 0
    for row in range(len(code)):
        of_user[n], at[n], mask[n] = user[row], time[row], bits[code[row]]
        n += (mask[n] != 0) & (time[row] <= until)
