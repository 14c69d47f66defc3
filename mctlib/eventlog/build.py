"""A store's file: written whole or not at all, and what killed loads leave beside it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack

import duckdb
import psutil

from mctlib.contract import DataError
from mctlib.eventlog.moments import write_moments
from mctlib.eventlog.pseudonyms import salt
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.store import Sources, Terms, fill
from mctlib.eventlog.store_file import digest, put, settle

# what DuckDB and the system raise when a store cannot be written
UNWRITABLE = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
    duckdb.FatalException,
    OSError,
)


def build_store(
    path: Path,
    tables: Mapping[str, Sources],
    *,
    con: duckdb.DuckDBPyConnection,
    name: str,
    **terms: Unpack[Terms],
) -> dict[str, Any]:
    """Turn staged SELECTs into a store file, atomically.

    Rejected rows are kept in `<name>.rejected.parquet`. The old store stays until the new one is
    whole, and longer where a process has it open (see `put`).

    Parameters
    ----------
    path : Path
        Of the store.
    tables : mapping
        Canonical table (see `CANONICAL`) -> (label, SELECT over ``con``) of each source. An events
        SELECT gives ``timestamp`` in UTC (NULL where it cannot be read) and may give
        ``timestamp_raw``.
    con : DuckDBPyConnection
        Where the sources are staged.
    salted : str, optional
        Put before an id that is hashed; by default the `salt` of the store's folder.
    forgotten : collection of str
        Hashes of people to be left out, see `refusals`.
    name, fingerprint, observed_until : str
        Of the dataset, for the report.
    earliest : str
        The first day whose events are believed (none: see `plausible`).
    zones : list of str
        Of each source of events, by whose clock its times were written (none: UTC).
    notes, hashed : list of str
        For the report: what was left out of the files, a sentence each; columns of which the
        sources give hashes, which no question may show.
    resent_within : str
        As far apart the times of one event with one ``event_id`` may lie; beyond, rows are kept.
    ignore_case, aliases : bool, mapping
        As `EventLog.from_frame` takes them.

    Returns
    -------
    dict
        The load report, also kept beside the store as `<name>.load.json`.

    Raises
    ------
    DataError
        Too many faulty rows in a source, nothing left, nobody of people has an event, disk full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{owner()}.tmp")
    rejected, told, walked = (Path(f"{fresh}.{end}") for end in ("rejected", "json", "moments"))
    try:
        con.execute(f"ATTACH {sql_text(fresh)} AS store")
        try:
            if "salted" not in terms:
                terms["salted"] = salt(path.parent)
            report = fill(
                con,
                tables,
                name=name,
                **terms,
            )
            con.execute(f"COPY rejected TO {sql_text(rejected)} (FORMAT parquet)")
            write_moments(con, walked, report["load_id"])
            con.execute("ALTER TABLE store.load ADD COLUMN moments VARCHAR")
            con.execute("UPDATE store.load SET moments = ?", [digest(walked)])
        finally:
            con.execute("DETACH store")
        told.write_text(json.dumps(report, indent=1))
        for written in (fresh, rejected, told, walked):
            settle(written)
        rejected.replace(path.with_name(f"{name}.rejected.parquet"))
        told.replace(path.with_name(f"{name}.load.json"))
        put(fresh, walked, path)
    except UNWRITABLE as error:
        raise unwritten(path, error) from error
    finally:
        for leftover in path.parent.glob(fresh.name + "*"):
            leftover.unlink()
    return report


def owner() -> str:
    """The name of this process, as temporary names carry it: number, machine and birth.

    A load that was killed cannot clean up, so a later one must know whose they are; in a container
    a later process often has the same number.
    """
    return f"{os.getpid()}@{platform.node()}!{psutil.Process().create_time():.0f}"


def remove_leftovers(folder: Path, *, own: bool = False) -> None:
    """Remove temporary files whose process is gone, and its ``own`` when this one has stopped.

    Where that cannot be told (another machine or container wrote them), those older than a day.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if ".tmp" not in path.name and not path.name.startswith(".staging-"):
            continue
        # another load may be removing it too
        with suppress(OSError):
            if not (own and owner() in path.name) and _in_use(path):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _in_use(path: Path) -> bool:
    found = re.search(r"\.(\d+)@(.+?)(?:!(\d+))?\.tmp", path.name)
    if not found or found[2] != platform.node():
        return time.time() - path.stat().st_mtime < 86_400
    if not psutil.pid_exists(int(found[1])):
        return False
    try:
        process = psutil.Process(int(found[1]))
        born, ended = process.create_time(), process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        # another user's, which we may not look at
        return True
    # clocks are set
    return not ended and (found[3] is None or abs(born - int(found[3])) < 5)


def disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room for more."""
    full = "No space left on device|Disk quota exceeded|max_temp_directory_size"
    return bool(re.search(full, str(error)))


def unwritten(path: Path, error: BaseException) -> DataError:
    """One sentence for a store that could not be written: why, and whether there still is one."""
    why = f"the store could not be written ({str(error).splitlines()[0]})"
    if disk_full(error):
        why = "the disk is full, so the store could not be written"
    others = path.parent.glob(f"{path.name.partition('.')[0]}.*duckdb")
    untouched = "; the previous store is untouched" if any(others) else ""
    return DataError(f"{path}: {why}{untouched}.")
