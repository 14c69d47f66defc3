"""The data contract, and the DuckDB store that any source is turned into: rejected, stitched, de-duplicated, hashed and sorted once, at load."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from mctlib.contract import CANONICAL, ENUMS, REQUIRED, DataError, column_type, nearest

BUCKET = "(md5_number_lower(coalesce(nullif(account_id, ''), user_id)) % 100)::UTINYINT"  # SQL; users of one account share it, it is the same in every store
PERSONAL = ("user_id", "anonymous_id", "account_id")  # hashed at load
SPILL_ABOVE = "4GB"
FAULTY_SHARE = 0.1  # a file with more rows than this wrong in one way is misread, not dirty


def sql_text(value: object) -> str:
    """SQL of a text."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(column: str) -> str:
    """SQL of a column's name."""
    return '"' + column.replace('"', '""') + '"'


def salt() -> str:
    """What is put before an id that is hashed."""
    return os.environ.get("MCT_SALT") or secrets.token_hex(16)


def hashed(column: str, salted: str) -> str:
    """SQL of a personal id as it is kept; of no id, NULL."""
    return f"substr(sha256({sql_text(salted)} || nullif({column}, '')), 1, 16)"


def faults() -> str:
    """Branches of an SQL CASE that say what is wrong with a timed row; a day ahead of now is some clock's error, not the future. DuckDB and Spark both read them."""
    soon = f"{pd.Timestamp.now('UTC') + pd.Timedelta('1D'):%Y-%m-%d %H:%M:%SZ}"
    return f"""WHEN coalesce(event, '') = '' THEN 'no event' WHEN timestamp IS NULL THEN 'unreadable timestamp'
        WHEN timestamp > TIMESTAMP '{soon}' THEN 'timestamp in the future'"""


def connect(path: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that draws no progress bar into reports and logs, and holds no more than `SPILL_ABOVE`: the rest goes to disk.

    A database in a file spills beside it, one in memory into a folder of its own among the temporary files (made when needed, removed by DuckDB).
    """
    con = duckdb.connect(path)
    con.execute(f"SET memory_limit = '{SPILL_ABOVE}'")
    if path == ":memory:":
        con.execute(
            f"SET temp_directory = {sql_text(f'{tempfile.gettempdir()}/mctlib-{uuid.uuid4()}')}"
        )
    with suppress(
        duckdb.InvalidInputException
    ):  # in a kernel without ipywidgets there is no bar, and no way to switch it off
        con.execute("SET enable_progress_bar = false")
    return con


def owner() -> str:
    """This process, as temporary names carry it: a load that was killed cannot clean up, so a later one must know whose they are."""
    return f"{os.getpid()}@{platform.node()}"


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files whose process is gone; where that cannot be told (another machine or container wrote them), those older than a day."""
    for path in [p for p in folder.iterdir() if ".tmp" in p.name or p.name.startswith(".staging-")]:
        with suppress(OSError):  # another load may be removing it too
            found = re.search(r"\.(\d+)@(.+)\.tmp", path.name)
            if (
                _running(int(found[1]))
                if found and found[2] == platform.node() and os.name == "posix"
                else time.time() - path.stat().st_mtime < 86_400
            ):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def disk_full(error: BaseException) -> bool:
    return bool(
        re.search("No space left on device|Disk quota exceeded|max_temp_directory_size", str(error))
    )


def unwritten(path: Path, error: BaseException) -> DataError:
    """One sentence for a store that could not be written: which, why, and whether there still is one."""
    why = (
        "the disk is full, so the store could not be written"
        if disk_full(error)
        else f"the store could not be written ({str(error).splitlines()[0]})"
    )
    return DataError(
        f"{path}: {why}{'; the previous store is untouched' if path.exists() else ''}."
    )


def build_store(
    path: Path,
    tables: Mapping[str, Sequence[tuple[str, str]]],
    *,
    con: duckdb.DuckDBPyConnection,
    name: str,
    fingerprint: str = "",
) -> dict:
    """Turn staged SELECTs into a store file, atomically; returns the load report (also kept beside it as `<name>.load.json`).

    ``tables``: canonical table -> (label, SELECT over ``con``), see `CANONICAL`; an events SELECT gives ``timestamp`` in UTC (NULL where it cannot
    be read) and may give ``timestamp_raw``. Rejected rows are kept in `<name>.rejected.parquet`. The old store stays until the new one is whole.
    Raises DataError: too many faulty rows in a source, nothing left, disk full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{owner()}.tmp")
    rejected = path.with_suffix(".rejected.parquet")
    try:
        con.execute(f"ATTACH {sql_text(str(fresh))} AS store")
        try:
            report = fill(con, tables, name=name, fingerprint=fingerprint)
            con.execute(f"COPY rejected TO {sql_text(str(fresh) + '.rejected')} (FORMAT parquet)")
        finally:
            con.execute("DETACH store")
        Path(f"{fresh}.json").write_text(json.dumps(report, indent=1))
        os.replace(f"{fresh}.rejected", rejected)
        os.replace(f"{fresh}.json", path.with_suffix(".load.json"))
        os.replace(fresh, path)
    except (
        duckdb.IOException,
        duckdb.OutOfMemoryException,
        duckdb.TransactionException,
        duckdb.FatalException,
        OSError,
    ) as error:
        raise unwritten(path, error) from error
    finally:
        for leftover in path.parent.glob(fresh.name + "*"):
            leftover.unlink()
    return report


def fill(
    con: duckdb.DuckDBPyConnection,
    tables: Mapping[str, Sequence[tuple[str, str]]],
    *,
    name: str,
    fingerprint: str,
) -> dict:
    """Stage, reject, stitch, de-duplicate, hash and sort into the attached database `store`."""
    salted = salt()
    for table, columns in CANONICAL.items():
        if table != "events":
            kinds = ", ".join(f"{c} {column_type(c)}" for c in columns)
            raw = ", timestamp_raw VARCHAR" if "timestamp" in columns else ""
            con.execute(f"CREATE OR REPLACE TEMP TABLE in_{table} (source VARCHAR, {kinds}{raw})")
            for label, select in tables.get(table, ()):
                con.execute(
                    f"INSERT INTO in_{table} BY NAME SELECT {sql_text(label)} AS source, * FROM ({select})"
                )
    left_out = _stage_events(con, tables.get("events", ()), stitched=bool(tables.get("identities")))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE rejected AS SELECT ''::VARCHAR AS canonical_table, ''::VARCHAR AS reason, * EXCLUDE (id) FROM in_events WHERE false"
    )
    report: dict[str, Any] = {"name": name, "fingerprint": fingerprint, "tables": {}}
    nobody, timed = (
        "CASE WHEN coalesce(user_id, '') = '' THEN 'no user' END",
        f"CASE {faults()} END",
    )  # one moment for every look at the rows
    _reject(con, report, "events", timed, fault=True, left_out=left_out)
    _reject(con, report, "backend", timed, fault=True)
    for table in ("people", "surveys", "backend"):
        _reject(con, report, table, nobody)
    _reject(
        con, report, "events", nobody.replace("user_id", "user_id, anonymous_id"), left_out=left_out
    )
    for table in ("spend", "timeline"):
        _reject(con, report, table, "CASE WHEN day IS NULL THEN 'unreadable day' END", fault=True)
    _reject(
        con,
        report,
        "responses",
        "CASE WHEN coalesce(alert_id, '') = '' THEN 'no alert_id' END",
        fault=True,
    )
    report["identity"] = _stitch(con)
    _reject(
        con,
        report,
        "people",
        "CASE WHEN row_number() OVER (PARTITION BY user_id ORDER BY rowid) > 1 THEN 'same user_id again' END",
    )
    if left_out is None:
        con.execute("""CREATE OR REPLACE TEMP TABLE again AS SELECT id FROM in_events
            SEMI JOIN (SELECT event_id FROM in_events WHERE event_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1) USING (event_id)
            QUALIFY row_number() OVER (PARTITION BY user_id, event, event_id ORDER BY received_at, timestamp, id) > 1""")
        _reject(
            con,
            report,
            "events",
            "CASE WHEN id IN (SELECT id FROM again) THEN 'same event_id again' END",
        )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE refused AS SELECT user_id FROM in_people WHERE consent = false"
    )
    if con.execute("SELECT 1 FROM refused LIMIT 1").fetchall():
        for table in ("events", "people", "surveys", "backend"):
            _reject(
                con,
                report,
                table,
                "CASE WHEN user_id IN (FROM refused) THEN 'no consent' END",
                left_out=left_out if table == "events" else None,
            )
    for table, counts in report["tables"].items():
        counts["n_kept"] = counts["n_read"] - sum(counts["n_rejected"].values())
    events = report["tables"]["events"]
    if not events["n_kept"]:
        lost = "; ".join(
            f"{n:,} row{'s' * (n > 1)}: {why}" for why, n in events["n_rejected"].items()
        )
        raise DataError(f"{name}: no event is left after loading; rejected were {lost or 'none'}.")

    con.execute("""CREATE OR REPLACE TEMP TABLE who AS SELECT (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS user, user_id
        FROM (SELECT user_id FROM in_events UNION SELECT user_id FROM in_people UNION SELECT user_id FROM in_surveys UNION SELECT user_id FROM in_backend)""")
    con.execute(f"""CREATE TABLE store.users AS SELECT user, {hashed("user_id", salted)} AS user_id, {BUCKET} AS bucket
        FROM who LEFT JOIN in_people USING (user_id) ORDER BY user""")
    for table in ("people", "surveys", "backend"):
        columns = ", ".join(
            f"{hashed(c, salted)} AS {c}" if c in PERSONAL else c
            for c in CANONICAL[table]
            if c not in ("user_id", "consent")
        )
        con.execute(
            f"CREATE TABLE store.{table} AS SELECT user, {columns} FROM in_{table} JOIN who USING (user_id) ORDER BY user"
        )
    for table in ("spend", "timeline", "responses"):
        con.execute(
            f"CREATE TABLE store.{table} AS SELECT {', '.join(CANONICAL[table])} FROM in_{table}"
        )
    _sort_events(con, salted)
    con.execute(
        f"UPDATE rejected SET {', '.join(f'{c} = {hashed(c, salted)}' for c in ('user_id', 'anonymous_id'))}"
    )
    n, first, last = con.execute(
        "SELECT count(*), min(timestamp), max(timestamp) FROM store.events"
    ).fetchall()[0]
    if n != events["n_kept"]:  # rows are read more than once where they lie
        raise DataError(
            f"{name}: the events changed while they were read ({events['n_kept']:,} rows, then {n:,}). Load again when their files are complete."
        )
    report |= {
        "n_users": con.execute("SELECT count(*) FROM store.users").fetchall()[0][0],
        "first_event": str(first),
        "last_event": str(last),
    }
    con.execute("CREATE TABLE store.load AS SELECT ? AS report", [json.dumps(report)])
    con.execute(
        f"DROP VIEW in_events; DROP VIEW all_events; DROP {'TABLE' if left_out is None else 'VIEW'} given_events"
    )
    for table in CANONICAL:
        if table != "events":
            con.execute(f"DROP TABLE in_{table}")
    return report


def _stage_events(
    con: duckdb.DuckDBPyConnection, sources: Sequence[tuple[str, str]], *, stitched: bool
) -> list[str] | None:
    """Make the view `in_events`, all canonical columns and `id`, over `given_events`, which has the columns of the sources.

    Where ids must be stitched or repeats found the rows are copied, `id` is their line, and None is returned. Else they are read where they lie,
    as often as they are asked for, and returned is a list for `_reject` to note in which are left out.
    """
    typed = {"source": "VARCHAR"} | {
        c: column_type(c) for c in (*CANONICAL["events"], "timestamp_raw")
    }
    selects = [
        (label, f"({select})", set(con.sql(select).columns)) for label, select in sources
    ] or [("", "(SELECT 1) WHERE false", set())]
    given = set().union(*(columns for *_, columns in selects)) | {
        "source",
        "user_id",
        "anonymous_id",
        "event",
        "timestamp",
    }
    copied = stitched or any(
        "event_id" in columns or "anonymous_id" in columns for *_, columns in selects
    )
    columns = [c for c in typed if c in given]
    filled = lambda c, label, found: (
        sql_text(label) if c == "source" else c if c in found else "NULL"
    )  # noqa: E731
    rows = " UNION ALL ".join(
        f"SELECT {', '.join(f'{filled(c, label, found)}::{typed[c]} AS {c}' for c in columns)} FROM {select}"
        for label, select, found in selects
    )
    con.execute(f"CREATE OR REPLACE TEMP {'TABLE' if copied else 'VIEW'} given_events AS {rows}")
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW all_events AS SELECT {', '.join(c if c in given else f'NULL::{kind} AS {c}' for c, kind in typed.items())}, "
        f"{'rowid' if copied else 'NULL'} AS id FROM given_events"
    )
    con.execute("CREATE OR REPLACE TEMP VIEW in_events AS FROM all_events")
    return None if copied else []


def _sort_events(con: duckdb.DuckDBPyConnection, salted: str) -> None:
    """Write `store.events`: rows with their user's integer, columns of few words as ENUM, sorted.

    Empty columns are not stored, for nothing takes as long to compress as words: `use` adds them for a reader.
    """
    columns = [c for c in CANONICAL["events"] if c != "user_id"]
    counts = con.execute(
        f"SELECT {', '.join(f'count({c})' for c in columns)} FROM in_events"
    ).fetchall()[0]
    filled = {c: hashed(c, salted) if c in PERSONAL else c for c, n in zip(columns, counts) if n}
    coded = ""
    for column in [c for c in ENUMS if c in filled]:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE words AS SELECT DISTINCT {column} AS word FROM in_events WHERE {column} IS NOT NULL"
        )
        if con.execute("SELECT count(*) FROM words").fetchall()[0][0] <= 10_000:
            con.execute(
                f"CREATE TYPE store.{column}_names AS ENUM (SELECT word FROM words ORDER BY 1)"
            )
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE {column}_codes AS SELECT word, word::store.{column}_names AS code FROM words"
            )
            coded += f" LEFT JOIN {column}_codes ON {column}_codes.word = in_events.{column}"  # a cast would look up every row, this looks up a dictionary's words
            filled[column] = f"{column}_codes.code"
    rows = f"SELECT user, {', '.join(f'{sql} AS {c}' for c, sql in filled.items())} FROM in_events JOIN who USING (user_id){coded}"
    order = ", ".join(
        dict.fromkeys(("timestamp", "event", *filled))
    )  # event_id next, see CANONICAL; then the rest, so that no two loads differ
    con.execute(f"CREATE TABLE store.events AS {rows} ORDER BY user, {order}")


def use(con: duckdb.DuckDBPyConnection) -> None:
    """Let ``con`` name the tables of the attached `store`, and of its events also the columns that are empty and therefore not stored."""
    stored = {column for column, *_ in con.execute("DESCRIBE store.events").fetchall()}
    columns = ", ".join(
        c if c in stored else f"NULL::{column_type(c)} AS {c}"
        for c in CANONICAL["events"]
        if c != "user_id"
    )
    con.execute(
        f"CREATE VIEW memory.main.events AS SELECT rowid, user, {columns} FROM store.main.events"
    )
    con.execute("SET search_path = 'memory.main,store.main'")


def _reject(
    con: duckdb.DuckDBPyConnection,
    report: dict,
    table: str,
    reason: str,
    *,
    fault: bool = False,
    left_out: list[str] | None = None,
) -> None:
    """Move the rows for which the SQL ``reason`` is not NULL to `rejected`; a fault in more than FAULTY_SHARE of a source's rows refuses the source.

    ``left_out``: of events that are read where they lie (see `_stage_events`), the conditions so far on what their view shows.
    """
    if table not in report["tables"]:
        report["tables"][table] = {
            "n_read": con.execute(f"SELECT count(*) FROM in_{table}").fetchall()[0][0],
            "n_rejected": {},
        }
    counts, unknown = (
        report["tables"][table],
        [c for c in CANONICAL[table] if c not in CANONICAL["events"]],
    )  # the rejected rows have the columns of events
    judged = f"(SELECT *, {'' if table == 'events' else 'rowid AS id, '}{reason} AS verdict FROM in_{table})"
    sources = con.execute(
        f"SELECT source, verdict, count(*) FROM {judged} WHERE verdict IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    for source, why, n in sources:
        n_rows = con.execute(
            f"SELECT count(*) FROM in_{table} WHERE source = ?", [source]
        ).fetchall()[0][0]
        if fault and n > FAULTY_SHARE * n_rows:
            raw = (
                con.execute(
                    f"SELECT any_value(timestamp_raw) FROM {judged} WHERE verdict = ?", [why]
                ).fetchall()[0][0]
                if "timestamp" in why
                else None
            )
            example = f' (for example "{raw}")' if raw else ""
            article = "" if why.startswith("no ") else "an " if why[0] == "u" else "a "
            raise DataError(
                f"{source}: {n:,} of {n_rows:,} rows of {table} have {article}{why}{example}; more than one row in ten wrong in one way means the file is misread, so nothing was loaded."
            )
        counts["n_rejected"][why] = counts["n_rejected"].get(why, 0) + n
    if not sources:
        return
    con.execute(
        f"INSERT INTO rejected BY NAME SELECT {sql_text(table)} AS canonical_table, verdict AS reason, * EXCLUDE ({', '.join(['id', 'verdict', *unknown])}) "
        f"FROM {judged} WHERE verdict IS NOT NULL AND verdict <> 'no consent'"
    )
    if left_out is None:
        con.execute(
            f"DELETE FROM {'given_events' if table == 'events' else f'in_{table}'} WHERE rowid IN (SELECT id FROM {judged} WHERE verdict IS NOT NULL)"
        )
    else:
        left_out.append(f"({reason}) IS NULL")
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW in_events AS FROM all_events WHERE {' AND '.join(left_out)}"
        )


def _stitch(con: duckdb.DuckDBPyConnection) -> dict:
    """Give every row one user_id: what an anonymous id is known to be, else the id itself. Returns the counts.

    An anonymous id seen with several users belongs to the first of them; an id that is itself known to be another's is followed to the end.
    """
    con.execute("""CREATE OR REPLACE TEMP TABLE pairs AS SELECT anonymous_id, user_id, min(seen_at) AS seen_at FROM (
        SELECT anonymous_id, user_id, timestamp AS seen_at FROM in_events WHERE anonymous_id <> user_id
        UNION ALL SELECT anonymous_id, user_id, NULL FROM in_identities WHERE anonymous_id <> user_id) GROUP BY ALL""")
    con.execute("""CREATE OR REPLACE TEMP TABLE known AS SELECT anonymous_id AS id, arg_min(user_id, (coalesce(seen_at, TIMESTAMP '1970-01-01'), user_id)) AS user_id,
        count(*) AS n FROM pairs GROUP BY ALL""")
    ambiguous, many = con.execute(
        "SELECT (SELECT count(*) FROM known WHERE n > 1), (SELECT count(*) FROM (SELECT user_id FROM pairs GROUP BY 1 HAVING count(*) > 1))"
    ).fetchall()[0]
    chains = con.execute(
        "SELECT count(*) FROM known a JOIN known b ON a.user_id = b.id"
    ).fetchall()[0][0]
    for _ in range(
        20
    ):  # each round doubles the length of chain that is followed; a ring keeps what it has after 20
        if not con.execute(
            "SELECT count(*) FROM known a JOIN known b ON a.user_id = b.id WHERE b.user_id <> a.user_id AND b.user_id <> a.id"
        ).fetchall()[0][0]:
            break
        con.execute(
            "UPDATE known SET user_id = b.user_id FROM known b WHERE known.user_id = b.id AND b.user_id <> known.id"
        )
    anonymous, matched = (
        con.execute("""SELECT count(*), count(k.id) FROM in_events LEFT JOIN known k ON k.id = anonymous_id
        WHERE in_events.user_id IS NULL""").fetchall()[0]
    )
    if anonymous:
        con.execute("UPDATE given_events SET user_id = anonymous_id WHERE user_id IS NULL")
    if con.execute("SELECT 1 FROM known LIMIT 1").fetchall():
        for table in ("given_events", "in_people", "in_surveys", "in_backend"):
            con.execute(
                f"UPDATE {table} SET user_id = known.user_id FROM known WHERE {table}.user_id = known.id"
            )
    return {
        "n_anonymous_rows": anonymous,
        "n_matched_rows": matched,
        "match_rate": matched / anonymous if anonymous else None,
        "n_ids_with_several_users": ambiguous,
        "n_users_with_several_ids": many,
        "n_chains": chains,
    }


def canonical_frame(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The canonical columns of a frame, in the types of the store; of events the others become properties.

    Raises DataError: a required column is missing.
    """
    lacking = [
        c
        for c in REQUIRED[table]
        if c not in frame and not (c == "user_id" and table == "events" and "anonymous_id" in frame)
    ]
    if lacking:
        raise DataError(
            f'{table} frame: column "{lacking[0]}" is missing.{nearest(lacking[0], frame.columns)}'
        )
    out = {}
    for column in CANONICAL[table]:
        if column not in frame or column == "properties":
            continue
        kind = column_type(column)
        if kind == "TIMESTAMP":
            out[column] = (
                pd.to_datetime(
                    frame[column],
                    utc=True,
                    errors="coerce",
                    format="ISO8601" if frame[column].dtype == object else None,
                )
                .dt.tz_localize(None)
                .astype("datetime64[us]")
            )
            if column == "timestamp":
                out["timestamp_raw"] = frame[column].where(out[column].isna()).astype("string")
        elif kind == "DATE":
            out[column] = pd.to_datetime(frame[column], errors="coerce").dt.strftime("%Y-%m-%d")
        else:
            out[column] = (
                frame[column]
                .convert_dtypes()
                .astype(
                    "string" if kind == "VARCHAR" else "boolean" if kind == "BOOLEAN" else "Float64"
                )
            )
    extra = [c for c in frame if c not in CANONICAL[table]] if table == "events" else []
    if table == "events" and (extra or "properties" in frame):
        given = frame["properties"] if "properties" in frame else [None] * len(frame)
        more = (
            frame[extra].astype(object).where(frame[extra].notna(), None).to_dict("records")
            if extra
            else [{}] * len(frame)
        )
        out["properties"] = [
            _properties(bag, {k: v for k, v in row.items() if v is not None})
            for bag, row in zip(given, more)
        ]
    return pd.DataFrame(out, index=frame.index)


def _properties(bag: Any, more: dict) -> str | None:
    """JSON text of a row's properties (a mapping or JSON text) and its columns that are not canonical."""
    if isinstance(bag, str) and bag:
        return json.dumps(json.loads(bag) | more, default=str) if more else bag
    whole = (dict(bag) if isinstance(bag, Mapping) else {}) | more
    return json.dumps(whole, default=str) if whole else None
