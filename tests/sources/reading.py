"""One source read into canonical rows, without a store.

The fixtures in tests/exports are written by hand from the tools' public documentation; all people
in them are invented. Expected values are read off the fixtures by hand. Binary forms (gzip, zip,
Parquet) are made by the tests from the text fixtures.
"""

import datetime as dt
from pathlib import Path

import duckdb

from mctlib.contract import IDS
from mctlib.eventlog.pseudonyms import masked
from mctlib.sources.dataset import Source, read_source
from mctlib.sources.workbench import workbench

EXPORTS = Path(__file__).parents[1] / "exports"
HEAD = "user_id,event,timestamp\n"
ROW = "u,a,2026-01-05T00:00:00Z\n"


def read(table, root=EXPORTS, **source):
    """{canonical table: rows as dicts without their empty values} of one source."""
    with workbench(None) as (con, folder):
        source = Source(**source)
        told = {"notes": [], "hashed": set()}
        selects = read_source(con, source, table, root=root, folder=folder, **told)
        return {target: rows_of(as_kept(con, select)) for target, select in selects.items()}


def as_kept(con, select):
    """A SELECT's rows, e-mail addresses and phone numbers masked as a store keeps them."""
    read = con.sql(select)
    texts = [c for c, kind in zip(read.columns, read.types) if kind == "VARCHAR" and c not in IDS]
    shown = ", ".join(f"{masked(column)} AS {column}" for column in texts)
    if not texts:
        return read
    return con.sql(f"SELECT * REPLACE ({shown}) FROM ({select})")


def stored(path):
    """{table: its rows in one order} of a store file."""
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{path}' AS store (READ_ONLY)")
        named = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store'"
        tables = [row[0] for row in con.sql(named).fetchall()]
        return {table: con.sql(f"FROM store.{table} ORDER BY ALL").df() for table in tables}


def rows_of(relation):
    rows = [zip(relation.columns, row) for row in relation.fetchall()]
    return [{name: value for name, value in row if value is not None} for row in rows]


def pick(rows, *columns):
    return [tuple(row.get(column) for column in columns) for row in rows]


def at(text):
    return dt.datetime.fromisoformat(text)
