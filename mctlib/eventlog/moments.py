"""A store's users, times and events beside it as plain columns, which a walk reads in place.

Most questions want no more of the rows, and a database takes longer to unpack them than a kernel
to walk them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numba import njit, types
from numpy.typing import NDArray

from mctlib.eventlog.journeys import MASKS, Ints
from mctlib.eventlog.rows import Rows

SCHEMA = pa.schema({"user": pa.int32(), "time": pa.int64(), "code": pa.uint16()})
ROWS = 5_000_000  # about so many lie together; users are whole


def place(store: Path) -> Path:
    """Where the moments of a store are."""
    return store.with_suffix(".moments.arrow")


def write_moments(con: duckdb.DuckDBPyConnection, path: Path, load_id: str) -> None:
    """Write the moments of the attached database `store`, whose rows lie by user and time."""
    # rows come as they lie
    stored = con.sql("""
        SELECT user, epoch_us(timestamp) AS time, enum_code(event)::USMALLINT AS code
        FROM store.events""")
    batches = stored.to_arrow_reader(ROWS // 50)
    schema = SCHEMA.with_metadata({"load_id": load_id})
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


class Moments:
    """The moments of a store, to be read by any thread, some million rows at a time."""

    def __init__(self, file: pa.ipc.RecordBatchFileReader) -> None:
        self._file = file

    @classmethod
    def of(cls, store: Path, load_id: str) -> Moments | None:
        """Those that were written with the store; None where there are none, or of another load."""
        try:
            file = pa.ipc.open_file(pa.memory_map(str(place(store))))
        except (OSError, pa.ArrowInvalid):
            return None
        written = (file.schema.metadata or {}).get(b"load_id")
        return cls(file) if written == load_id.encode() else None

    def rows(self, bits: NDArray[Any], until: int) -> Iterator[Callable[[], Rows]]:
        """Rows up to a moment of the events that have bits, each part read when called for."""
        for n in range(self._file.num_record_batches):
            yield partial(self._read, n, bits, until)

    def _read(self, n: int, bits: NDArray[Any], until: int) -> Rows:
        user, time, code = (column.to_numpy() for column in self._file.get_batch(n).columns)
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
