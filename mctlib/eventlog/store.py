"""The DuckDB store that any source is turned into, once, at load.

Its rows are rejected, stitched, de-duplicated, hashed and sorted here.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeAlias, TypedDict, Unpack

import duckdb

from mctlib.contract import ABOUT_USERS, CANONICAL, ENUMS, DataError, as_window, column_type
from mctlib.eventlog import observed, plausible
from mctlib.eventlog.calendar import Calendar
from mctlib.eventlog.checks import look_over
from mctlib.eventlog.days import known_by_day
from mctlib.eventlog.identity import one_row, some, stitch
from mctlib.eventlog.ids import asking, look_at, normal_ids
from mctlib.eventlog.impossible import reject_impossible
from mctlib.eventlog.meeting import staged_meeting, staged_refusers
from mctlib.eventlog.own_columns import fill_gaps, own_columns
from mctlib.eventlog.progress import telling
from mctlib.eventlog.pseudonyms import bucket, hashed, kept, masked, n_masked
from mctlib.eventlog.refusals import reject_refusals
from mctlib.eventlog.rejecting import StagedRows
from mctlib.eventlog.repeats import RESENT_WITHIN, find_resent
from mctlib.eventlog.spellings import mend, mended_columns, platform, written
from mctlib.eventlog.sql import sql_text

SPILL_ABOVE = "4GB"
MOST_WORDS = 10_000  # a column of more is stored as text
MOST_EVENTS = 65_535  # names of events, which are always codes: no walk tells more apart

# (label, SELECT) of each source of a canonical table
Sources: TypeAlias = Sequence[tuple[str, str]]


def connect(path: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that draws no progress bar into reports and logs.

    It holds no more than `SPILL_ABOVE`: the rest goes to disk, of a database in a file beside it,
    of one in memory into a folder of its own among the temporary files (made when needed, removed
    by DuckDB).
    """
    con = duckdb.connect(path)
    con.execute(f"SET memory_limit = '{SPILL_ABOVE}'; SET GLOBAL TimeZone = 'UTC'")
    if path == ":memory:":
        spilled = f"{tempfile.gettempdir()}/mctlib-{uuid.uuid4()}"
        con.execute(f"SET temp_directory = {sql_text(spilled)}")
    # in a kernel without ipywidgets there is no bar, and no way to switch it off
    with suppress(duckdb.InvalidInputException):
        con.execute("SET enable_progress_bar = false")
    return con


class Terms(TypedDict, total=False):
    """How a dataset is to be loaded, see `build_store`."""

    salted: str
    forgotten: Collection[str]
    fingerprint: str
    observed_until: Any
    calendar: Calendar
    earliest: Any
    zones: Sequence[str]
    notes: Sequence[str]
    hashed: Sequence[str]
    resent_within: str
    ignore_case: bool
    aliases: Mapping[str, str]


def fill(
    con: duckdb.DuckDBPyConnection,
    tables: Mapping[str, Sources],
    *,
    name: str,
    **terms: Unpack[Terms],
) -> dict[str, Any]:
    """Stage, reject, stitch, de-duplicate, hash and sort into the attached database `store`.

    ``tables``, ``terms``: see `build_store`. Returns the load report.
    Raises DataError: too many faulty rows in a source, nothing left, people without events.
    """
    earliest, ignore_case = terms.get("earliest"), terms.get("ignore_case", False)
    salted = terms["salted"]
    for table in CANONICAL:
        if table != "events":
            _stage(con, table, tables.get(table, ()), ignore_case)
    with telling(con, f"reading the events of {name}"):
        same_ids = {"stitched": bool(tables.get("identities")), "ignore_case": ignore_case}
        left_out, suspicious = _stage_events(con, tables.get("events", ()), earliest, **same_ids)
    rows = StagedRows(con, left_out)
    _reject_faults(rows, earliest)
    for table, n_emptied in plausible.empty(con, earliest).items():
        rows.counts[table]["n_emptied"] = n_emptied
    identity = {"n_impossible": reject_impossible(rows, suspicious), **stitch(con)}
    refusers = staged_refusers(rows, name)
    forgotten = terms.get("forgotten", ())
    n_forgotten = reject_refusals(rows, forgotten, salted)
    met = staged_meeting(rows) | refusers
    _reject_repeats(rows, as_window(terms.get("resent_within", RESENT_WITHIN), "resent_within"))
    for counts in rows.counts.values():
        counts["n_kept"] = counts["n_read"] - sum(counts["n_rejected"].values())
    for table in ("events", "people"):
        _need_some(rows.counts.get(table), table, name)
    rows.active()
    mended = mend(con, aliases := dict(terms.get("aliases", {})))
    with telling(con, f"sorting and writing {rows.counts['events']['n_kept']:,} events"):
        _write(con, salted)
    report = {
        "name": name,
        "fingerprint": terms.get("fingerprint", ""),
        "load_id": uuid.uuid4().hex,
        "tables": rows.counts,
        "identity": identity,
        "notes": list(terms.get("notes", ())),
        "hashed": list(terms.get("hashed", ())),
        "met": met,
        "aliases": aliases,
        "mended": mended,
        "forgotten": {"n_listed": len(forgotten), "n_met": n_forgotten},
        "observed_until": observed.told(terms.get("observed_until")),
        "calendar": asdict(terms.get("calendar", Calendar())),
        **_written(rows, name, [select for _, select in tables.get("events", ())], terms),
    }
    con.execute("CREATE TABLE store.load AS SELECT ? AS report", [json.dumps(report)])
    staged = "".join(f"DROP TABLE in_{table};" for table in CANONICAL if table != "events")
    kind = "TABLE" if left_out is None else "VIEW"
    staged += "DROP TABLE active; DROP TABLE who; DROP VIEW in_events; DROP VIEW all_events;"
    con.execute(f"{staged} DROP {kind} given_events")
    return report


def _need_some(counts: Mapping[str, Any] | None, table: str, name: str) -> None:
    """Raise a DataError where nothing is left of the events, or of people who did not say no."""
    n_rejected: Mapping[str, int] = counts["n_rejected"] if counts else {}
    said_no = {"no consent", "forgotten"} & n_rejected.keys()
    if counts and counts["n_kept"] or table == "people" and (said_no or not n_rejected):
        return
    why = [f"{n:,} row{'s' if n > 1 else ''}: {why}" for why, n in n_rejected.items()]
    lost, what = "; ".join(why) or "none", "event" if table == "events" else "row of people"
    raise DataError(f"{name}: no {what} is left after loading; rejected were {lost}.")


def _written(rows: StagedRows, name: str, selects: Sequence[str], terms: Terms) -> dict[str, Any]:
    """What the report says of the rows that are in the store; some is put into their counts."""
    con, events = rows.con, rows.counts["events"]
    n, first, last = one_row(
        con, "SELECT count(*), min(timestamp), max(timestamp) FROM store.events"
    )
    # rows are read more than once where they lie
    if n != events["n_kept"]:
        raise DataError(
            f"{name}: the events changed while they were read ({events['n_kept']:,} rows,"
            f" then {n:,}). Load again when their files are complete."
        )
    apart = "SELECT count(*) FROM in_events SEMI JOIN apart USING (id)"
    events["n_apart"] = one_row(con, apart)[0] if rows.left_out is None else 0
    events["n_unread"] = one_row(con, "SELECT count(unread) FROM in_events")[0]
    events["n_identical"] = observed.n_identical(con, "store.events", in_order=True)
    days = known_by_day(con, selects, terms.get("zones", ()))
    # the codes are counted, not their texts
    codes = "SELECT event, count(*) AS n FROM store.events GROUP BY event"
    often = f"SELECT event::VARCHAR, n FROM ({codes}) ORDER BY n DESC, event::VARCHAR"
    names = dict(con.execute(often).fetchall())
    return {
        **look_over(con, first, last, names),
        "n_events": names,
        "n_masked": n_masked(con),
        "n_users": one_row(con, "SELECT count(*) FROM store.users")[0],
        "first_event": str(first),
        "last_event": str(last),
        "day_resolution": {event: at for event, at in days.items() if event in names},
    }


def _stage(con: duckdb.DuckDBPyConnection, table: str, sources: Sources, ignore_case: bool) -> None:
    """Make `in_<table>`, its canonical columns with their source."""
    columns = ["source VARCHAR", *(f"{c} {column_type(c)}" for c in CANONICAL[table])]
    if "timestamp" in CANONICAL[table]:
        columns.append("timestamp_raw VARCHAR")
    con.execute(f"CREATE OR REPLACE TEMP TABLE in_{table} ({', '.join(columns)})")
    if not sources:
        return
    for label, select in sources:
        con.execute(f"""
            INSERT INTO in_{table} BY NAME SELECT {sql_text(label)} AS source, * FROM ({select})
        """)
    for column, normal in normal_ids(CANONICAL[table], ignore_case=ignore_case).items():
        con.execute(f"UPDATE in_{table} SET {column} = {normal} WHERE {column} <> {normal}")


def _stage_events(
    con: duckdb.DuckDBPyConnection,
    sources: Sources,
    earliest: Any,
    *,
    stitched: bool,
    ignore_case: bool,
) -> tuple[list[str] | None, bool]:
    """Make `in_events`, all canonical columns and `id`, over `given_events`, the sources' columns.

    Where ids must be stitched or repeats found the rows are copied, `id` is their line, and None is
    returned. Else they are read where they lie, as often as they are asked for, and returned is a
    list for `StagedRows` to note in which are left out. Then whether an id is suspected to be none.
    """
    canonical = ("source", *CANONICAL["events"], "timestamp_raw", "unread")
    kinds = {column: column_type(column) for column in canonical}
    given = {"source", "user_id", "anonymous_id", "event", "timestamp"}
    staged = []
    con.execute("CREATE OR REPLACE TEMP TABLE active (user_id VARCHAR, odd BOOLEAN)")
    for label, select in sources or [("", "SELECT 1 WHERE false")]:
        named = set(con.sql(select).columns)
        look = look_at(asking(con), f"({select})", named, users="active", ignore_case=ignore_case)
        staged.append((label, select, named, *look))
    found = set().union(*(named for _, _, named, _, _ in staged))
    if stitched := stitched or "anonymous_id" in found:
        con.execute("DROP TABLE active")  # `StagedRows.active` makes it of the ids that come of it
    copied = stitched or "event_id" in found
    columns = [column for column in canonical if column in given | found]

    def given_by(label: str, select: str, named: set[str], odd: dict[str, str], _: bool) -> str:
        values = {column: column if column in named else "NULL" for column in columns}
        values |= {"source": sql_text(label), **odd}
        typed = ", ".join(f"{sql}::{kinds[column]} AS {column}" for column, sql in values.items())
        return f"SELECT {typed} FROM ({select})"

    rows = " UNION ALL ".join(given_by(*source) for source in staged)
    con.execute(f"CREATE OR REPLACE TEMP {'TABLE' if copied else 'VIEW'} given_events AS {rows}")
    shown = {c: c if c in columns else f"NULL::{kind}" for c, kind in kinds.items()}
    for column in set(plausible.beside("events")) & set(columns):
        shown[column] = f"CASE WHEN {plausible.believed(column, earliest)} THEN {column} END"
    filled = [f"{sql} AS {column}" for column, sql in shown.items()]
    filled.append("rowid AS id" if copied else "NULL AS id")
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW all_events AS SELECT {", ".join(filled)} FROM given_events;
        CREATE OR REPLACE TEMP VIEW in_events AS FROM all_events;
        CREATE OR REPLACE TEMP TABLE rejected AS
        SELECT ''::VARCHAR AS canonical_table, ''::VARCHAR AS reason, * EXCLUDE (id)
        FROM in_events WHERE false
    """)
    return None if copied else [], any(suspicious for *_, suspicious in staged)


def _reject_faults(rows: StagedRows, earliest: Any) -> None:
    first = plausible.first_of(earliest)
    for table in ("events", "backend"):
        if earliest is not None:  # what somebody leaves out is no fault, however much it is
            before = f"timestamp before {first:%Y-%m-%d}"
            rows.reject(table, f"CASE WHEN timestamp < '{first}' THEN '{before}' END")
        near = plausible.near(rows.con, f"in_{table}", earliest)
        rows.reject(table, f"CASE {plausible.faults(first, near)} END", fault=True)
    nobody = "CASE WHEN coalesce(user_id, '') = '' THEN 'no user' END"
    for table in ABOUT_USERS:
        rows.reject(table, nobody)
    rows.reject("events", nobody.replace("user_id", "user_id, anonymous_id"))
    first = min(first, plausible.FLOOR)
    submitted = plausible.implausible("submitted_at", first)
    rows.reject("surveys", f"CASE {submitted} END", fault=True)
    day = plausible.implausible("day", first)
    for table in ("manual", "spend", "timeline"):
        unread = "WHEN day IS NULL THEN 'unreadable day'"
        rows.reject(table, f"CASE {unread} {day} END", fault=True)
    unnamed = "CASE WHEN coalesce(alert_id, '') = '' THEN 'no alert_id' END"
    rows.reject("responses", unnamed, fault=True)


def _reject_repeats(rows: StagedRows, resent_within: int) -> None:
    fill_gaps(rows.con, "in_people")
    line = "row_number() OVER (PARTITION BY user_id ORDER BY rowid)"
    rows.reject("people", f"CASE WHEN {line} > 1 THEN 'same user_id again' END")
    if rows.left_out is not None:
        return
    find_resent(rows.con, resent_within)
    rows.reject("events", "CASE WHEN id IN (SELECT id FROM again) THEN 'same event_id again' END")


def _write(con: duckdb.DuckDBPyConnection, salted: str) -> None:
    """Write the tables of `store`, users as integers that tell nothing of their ids.

    What is kept of `rejected` is hashed and masked too.
    """
    everybody = "SELECT user_id FROM active"
    everybody += "".join(f" UNION SELECT user_id FROM in_{table}" for table in ABOUT_USERS)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE who AS
        SELECT (row_number() OVER (ORDER BY pseudonym, user_id) - 1)::INTEGER AS user, *
        FROM (SELECT user_id, {hashed("user_id", salted)} AS pseudonym FROM ({everybody}));
        CREATE TABLE store.users AS
        SELECT user, pseudonym AS user_id, {bucket(salted)} AS bucket
        FROM who LEFT JOIN in_people USING (user_id) ORDER BY user
    """)
    for table in CANONICAL:
        if table in ABOUT_USERS:
            own, rows = (
                own_columns(con, f"in_{table}") if table == "people" else ([], f"in_{table}")
            )
            others = _kept_columns(con, table, salted, "user_id", "consent", "properties")
            con.execute(f"""
                CREATE TABLE store.{table} AS SELECT {", ".join(["user", others, *own])}
                FROM {rows} JOIN who USING (user_id) ORDER BY user
            """)
        elif table not in ("events", "identities"):
            columns = _kept_columns(con, table, salted)
            con.execute(f"CREATE TABLE store.{table} AS SELECT {columns} FROM in_{table}")
    _sort_events(con, salted)
    if not some(con, "rejected"):
        return
    texts = {column: kept(column, salted) for column in CANONICAL["events"]}
    texts |= {column: masked(column) for column in ("source", "timestamp_raw")}
    changed = ", ".join(f"{column} = {sql}" for column, sql in texts.items() if sql != column)
    con.execute(f"UPDATE rejected SET {changed}")


def _kept_columns(con: duckdb.DuckDBPyConnection, table: str, salted: str, *but: str) -> str:
    columns = [column for column in CANONICAL[table] if column not in but]
    if not some(con, f"in_{table}"):  # nothing is there to hide
        return ", ".join(columns)
    return ", ".join(f"{kept(column, salted)} AS {column}" for column in columns)


def _sort_events(con: duckdb.DuckDBPyConnection, salted: str) -> None:
    """Write `store.events`: rows with their user's integer, columns of few words as ENUM, sorted.

    Empty columns are not stored, for nothing takes as long to compress as words: `use` adds them
    for a reader.
    """
    columns = [c for c in CANONICAL["events"] if c not in ("user_id", "properties")]
    counts = one_row(con, f"SELECT {', '.join(f'count({c})' for c in columns)} FROM in_events")
    # one is enough: where they are put together, that takes as long as to write them
    counts = (*counts, some(con, "in_events WHERE properties IS NOT NULL"))
    filled = {c: kept(c, salted) for c, n in zip((*columns, "properties"), counts) if n}
    joins = "JOIN who USING (user_id)"
    mended = mended_columns(con)
    for column in mended:
        known = f"mended_{column}"
        joins += f" LEFT JOIN {known} ON {known}.word = in_events.{column}"
        filled[column] = f"coalesce({known}.means, {filled[column]})"
        filled[written(column)] = masked(f"{known}.word")
    for column in ENUMS:
        if column in filled and _has_codes(con, column, column in mended):
            # a cast would look up every row, this looks up a dictionary's words
            joins += f" LEFT JOIN {column}_codes ON {column}_codes.word = in_events.{column}"
            filled[column] = f"{column}_codes.code"
    # event_id next, see CANONICAL; then the rest, so that no two loads differ
    order = ", ".join(dict.fromkeys(("timestamp", "event", *filled)))
    con.execute(f"""
        CREATE TABLE store.events AS
        SELECT user, {", ".join(f"{sql} AS {column}" for column, sql in filled.items())}
        FROM in_events {joins} ORDER BY user, {order}
    """)


def _has_codes(con: duckdb.DuckDBPyConnection, column: str, mended: bool) -> bool:
    """Make an ENUM of a column's words and `<column>_codes` that gives them, if they are few.

    ``mended``: whether some of them have another spelling.
    """
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE words AS
        SELECT DISTINCT {column} AS word FROM in_events WHERE {column} IS NOT NULL
    """)
    n_words, last = one_row(con, "SELECT count(*), max(word) FROM words")
    if column == "event" and n_words > MOST_EVENTS:
        raise DataError(
            f"The events have {n_words:,} different names, more than {MOST_EVENTS:,} (for example"
            f' "{last}"). What changes within a name, such as an id or a page, is a property: map'
            " event to the column that names the action."
        )
    few: bool = n_words <= MOST_WORDS or column == "event"
    if few:
        shown, others = masked("word"), ""
        if mended:
            shown, others = f"coalesce(means, {shown})", f"LEFT JOIN mended_{column} USING (word)"
        elif column == "platform":
            shown = platform(shown)
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE {column}_codes AS
            SELECT word, {shown} AS shown FROM words {others};
            CREATE TYPE store.{column}_names AS ENUM (
                SELECT DISTINCT shown FROM {column}_codes ORDER BY 1
            );
            CREATE OR REPLACE TEMP TABLE {column}_codes AS
            SELECT word, shown::store.{column}_names AS code FROM {column}_codes
        """)
    return few
