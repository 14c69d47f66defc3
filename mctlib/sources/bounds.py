"""What has no natural end in a file is bounded before DuckDB reads it: lines, rows and columns."""

from contextlib import suppress
from itertools import count
from pathlib import Path

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.sources.unpack import TOO_DENSE, most_unpacked, opened

MOST_COLUMNS = 10_000
# Of a line, and of a value; tools take no event of more than 1 MB. Of JSON, DuckDB reads what still
# fits into its buffer of 32 MB, whole and in bounded memory: it need not be refused.
LONGEST_LINE = 1 << 22
DENSEST_GZIP = 1032  # bytes that one byte of gzip can stand for
SHORTEST_ROW = 16  # bytes of a user, an event and a time


def endless(path: Path, gz: bool) -> bool:
    """Whether a line is so long that DuckDB, which gives up on it, would not even say so.

    What is packed is read to its end (if it can hold such a line), for which it must have one.
    """
    if gz and DENSEST_GZIP * path.stat().st_size < LONGEST_LINE:
        return False
    with opened(path) as stream:
        for at in count(0, 4 * LONGEST_LINE):
            if not gz:
                stream.seek(at)
            n = 0
            while n < LONGEST_LINE and (part := stream.read(1 << 16)):
                if b"\n" in part or b"\r" in part:
                    break
                n += len(part)
            if n >= LONGEST_LINE or not part:
                return n >= LONGEST_LINE
    return False


def refuse_dense(con: duckdb.DuckDBPyConnection, path: Path, shown: str) -> None:
    """Refuse Parquet of which a few bytes stand for endless rows or values."""
    file = sql_text(path)
    ((n_rows,),) = con.sql(f"SELECT num_rows FROM parquet_file_metadata({file})").fetchall()
    sizes = f"SELECT sum(total_uncompressed_size) FROM parquet_metadata({file})"
    ((size,),) = con.sql(sizes).fetchall()
    if max(SHORTEST_ROW * n_rows, size or 0) > most_unpacked(path.stat().st_size):
        raise DataError(f"{shown} {TOO_DENSE}")
    # in smaller chunks there is no such value
    large = con.sql(f"""
        SELECT DISTINCT path_in_schema FROM parquet_metadata({file})
        WHERE type = 'BYTE_ARRAY' AND total_uncompressed_size > {LONGEST_LINE}
            AND path_in_schema NOT LIKE '%, %' ORDER BY ALL
    """).fetchall()
    for (column,) in large:
        longest = f"SELECT max(strlen({sql_name(column)}::VARCHAR)) FROM read_parquet({file})"
        if con.sql(longest).fetchall()[0][0] > LONGEST_LINE:
            raise DataError(
                f'{shown} has in "{column}" a value that is longer than {LONGEST_LINE >> 20} MB.'
                " Leave it out of the export."
            )


def refuse_many_keys(con: duckdb.DuckDBPyConnection, path: Path, shown: str, gz: bool) -> None:
    """The time to look at all objects at once grows with the square of their keys: count first."""
    packed = "gzip" if gz else "none"
    read = f"read_json_objects({sql_text(path)}, compression='{packed}', ignore_errors=true)"
    keys = "unnest(list_concat(json_keys(json), json_keys(json, '$.properties')))"
    counted = f"SELECT count(DISTINCT k) FROM (SELECT {keys} AS k FROM (FROM {read} LIMIT 50000))"
    with suppress(duckdb.Error):  # whoever reads all of it will say what is wrong
        refuse_many(con.sql(counted).fetchall()[0][0], shown)


def refuse_many(n: int, shown: str) -> None:
    """Refuse more columns than a table of events can have."""
    if n > MOST_COLUMNS:
        raise DataError(
            f"{shown} has {n:,} columns, more than {MOST_COLUMNS:,}. What changes from row to row"
            " stands in their names; put it into a column of values."
        )
