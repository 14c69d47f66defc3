"""A store's file among others: held while it is open, read whole once, gone when nobody needs it.

Its name carries a fingerprint, so that changed sources make another file and nobody's is replaced.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from mctlib.contract import CANONICAL, column_type
from mctlib.eventlog.moments import place
from mctlib.eventlog.spellings import MENDED, written
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.eventlog.store import connect

# after a dataset's name: nothing (of former versions), a fingerprint, and what `put` adds to it
NAMES = r"(\.[0-9a-f]{16}(-\d+)?)?"
YOUNG = 60  # seconds: another load may be about to put the store beside such moments


def attached(path: Path) -> tuple[duckdb.DuckDBPyConnection, Callable[[], Any]]:
    """A connection with a store attached as `store`, and a function that lets go of its file.

    Until it is called, or the connection gone, the file is not removed.
    """
    held = _held(path)
    con = connect()
    let_go = weakref.finalize(con, os.close, held)
    # a connection to the path itself would go on showing a store that was swapped out
    con.execute(f"ATTACH {sql_text(path)} AS store (READ_ONLY)")
    return con, let_go


def use(con: duckdb.DuckDBPyConnection) -> None:
    """Let ``con`` name the tables of the attached `store`, and its cursors those walked.

    Of its events also the columns that are empty and therefore not stored, and what stood in those
    that were mended.
    """
    stored = {column for column, *_ in con.execute("DESCRIBE store.events").fetchall()}
    columns = ["rowid", "user"]
    for column in CANONICAL["events"]:
        if column != "user_id":
            empty = f"NULL::{column_type(column)} AS {column}"
            columns.append(column if column in stored else empty)
    columns += [column for column in map(written, MENDED["events"]) if column in stored]
    con.execute(f"""
        CREATE VIEW memory.main.events AS SELECT {", ".join(columns)} FROM store.main.events;
        CREATE VIEW memory.main.people AS FROM store.main.people;
        SET search_path = 'memory.main,store.main'
    """)


def _held(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_SH)
            if path.stat().st_ino == os.fstat(file).st_ino:
                return file
        except OSError:  # it was removed meanwhile
            os.close(file)
            raise
        os.close(file)  # it was replaced meanwhile


def put(fresh: Path, walked: Path, path: Path) -> None:
    """Move a store and its moments to their place: where somebody has one open, beside it."""
    first, n = path, 1
    with suppress(OSError):  # there is none
        while _is_open(path):
            n += 1
            path = first.with_name(f"{first.stem}-{n}.duckdb")
    walked.replace(place(path))
    fresh.replace(path)
    settle(path.parent)


def _is_open(path: Path) -> bool:
    """Whether a process holds a store. Raises OSError: it is gone, or that cannot be told."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def settle(path: Path) -> None:
    """Have the system write a file, or a folder's list of names, to the disk itself."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def stores(path: Path) -> list[Path]:
    """The stores that `put` made of a path, the newest first."""
    again = re.escape(path.stem) + r"(-\d+)?"
    found = [p for p in path.parent.glob(f"{path.stem}*.duckdb") if re.fullmatch(again, p.stem)]
    return sorted(found, key=lambda store: store.stat().st_mtime_ns, reverse=True)


def remove_unused(store: Path, name: str) -> None:
    """Remove the other stores of a dataset that no living process has open."""
    for path in store.parent.glob(f"{name}*.duckdb"):
        if re.fullmatch(re.escape(name) + NAMES, path.stem) and path != store:
            with suppress(OSError):
                if not _is_open(path):
                    path.unlink()
                    place(path).unlink(missing_ok=True)
    for path in store.parent.glob(f"{name}*.moments.arrow"):
        stem = path.name.removesuffix(".moments.arrow")
        if re.fullmatch(re.escape(name) + NAMES, stem):
            with suppress(OSError):
                alone = not path.with_name(f"{stem}.duckdb").exists()
                if alone and time.time() - path.stat().st_mtime > YOUNG:
                    path.unlink()


def digest(path: Path) -> str:
    """What changes when a byte of a file does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(path: Path) -> bool:
    """Read a store and its moments to their ends, for a disk may give back other bytes.

    DuckDB checks every block against its checksum when it is read.
    """
    try:
        with connect() as con:
            con.execute(f"ATTACH {sql_text(path)} AS store (READ_ONLY)")
            tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary")
            for (table,) in tables.fetchall():
                con.execute(f"SELECT bit_xor(hash(t)) FROM store.{sql_name(table)} t").fetchall()
            ((written,),) = con.execute("SELECT moments FROM store.load").fetchall()
        return bool(digest(place(path)) == written)
    except (duckdb.Error, OSError):
        return False
