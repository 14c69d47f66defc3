"""The event log: canonical tables, the DuckDB store they are kept in, and the one way to walk them (`EventLog.reduce`)."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from mctlib.journeys import ANY, MISSING, Journeys, as_step

CANONICAL: dict[str, tuple[str, ...]] = {  # the required columns stand first, see REQUIRED
    "events": (
        "user_id", "event", "timestamp", "event_id", "received_at", "anonymous_id", "session_id", "platform", "app_version", "channel",
        "utm_source", "utm_medium", "utm_campaign", "partner_id", "promo_code", "properties",
    ),
    "people": (
        "user_id", "signed_up_at", "channel", "partner_id", "account_id", "plan", "activated_at", "renewed_at", "upsold_at", "churned_at",
        "revenue", "consent",
    ),
    "surveys": ("user_id", "submitted_at", "micro_conversion", "answer", "reason", "tool"),
    "backend": ("user_id", "event", "timestamp"),
    "spend": ("day", "amount", "partner_id", "channel"),
    "timeline": ("day", "kind", "label", "micro_conversions", "note"),
    "responses": ("alert_id", "detected_on", "decided_on", "shipped_on", "action", "owner", "outcome"),
    "identities": ("anonymous_id", "user_id"),  # internal: what a source knows of who is who
}
REQUIRED = {
    "events": ("user_id", "event", "timestamp"), "people": ("user_id",), "surveys": ("user_id", "submitted_at", "micro_conversion", "answer"),
    "backend": ("user_id", "event", "timestamp"), "spend": ("day", "amount"), "timeline": ("day", "kind", "label"), "responses": ("alert_id",),
    "identities": ("anonymous_id", "user_id"),
}
ENUMS = ("event", "platform", "app_version", "channel", "utm_source", "utm_medium", "utm_campaign", "partner_id", "promo_code")
DAYS = ("day", "detected_on", "decided_on", "shipped_on")
PERSONAL = ("user_id", "anonymous_id", "account_id")  # hashed at load
FAULTY_SHARE = 0.1  # a file with more rows than this wrong in one way is misread, not dirty
CHUNK_ROWS = 4_000_000


class DataError(ValueError):
    """The data cannot be read as asked; the message names the file, the field and the rule."""


class ParameterError(ValueError):
    """A parameter is wrong; the message names it, the rule and the nearest valid word."""


def nearest(word: str, words: Iterable[str]) -> str:
    """' Did you mean "x" or "y"?', or nothing when no word is near."""
    lower = {str(w).lower(): str(w) for w in words}
    near = [lower[w] for w in difflib.get_close_matches(str(word).lower(), list(lower), n=3, cutoff=0.6)]
    return f" Did you mean {' or '.join(f'{chr(34)}{w}{chr(34)}' for w in near)}?" if near else ""


def as_timestamp(as_of: Any, name: str = "as_of") -> pd.Timestamp:
    """An ISO day (meaning its end) or timestamp, as UTC.

    Raises ParameterError when it cannot be read.
    """
    try:
        stamp = pd.Timestamp(as_of)
        if pd.isna(stamp):
            raise ValueError
    except (ValueError, TypeError):
        raise ParameterError(f'{name}: "{as_of}" is neither a day (2026-06-30) nor a timestamp (2026-06-30T12:00:00Z).') from None
    bare = isinstance(as_of, str) and re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", as_of) or type(as_of).__name__ == "date"
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    return stamp + pd.Timedelta("1D") - pd.Timedelta("1us") if bare else stamp


def as_window(window: Any, name: str = "window") -> int:
    """A duration that pandas reads ("14d", "30min"), in microseconds.

    Raises ParameterError when it cannot be read or is not positive.
    """
    try:
        if isinstance(window, (int, float)):
            raise ValueError
        us = int(pd.Timedelta(window) / pd.Timedelta("1us"))
    except (ValueError, TypeError):
        raise ParameterError(f'{name}: "{window}" is not a duration; write a number with its unit, such as "14d" or "30min".') from None
    if us <= 0:
        raise ParameterError(f'{name}: "{window}" must be longer than nothing.')
    return us


def _quoted(text: str) -> str:
    return "'" + str(text).replace("'", "''") + "'"


# ---------------------------------------------------------------------------------------------------------------- building a store


def build_store(path: Path, tables: Mapping[str, Sequence[tuple[str, str]]], *, con: duckdb.DuckDBPyConnection, name: str, fingerprint: str = "") -> dict:
    """Turn staged SELECTs into a store file, atomically; returns the load report (also kept beside it as `<name>.load.json`).

    ``tables``: canonical table -> (label, SELECT over ``con``), see `CANONICAL`; an events SELECT gives ``timestamp`` in UTC (NULL where it cannot
    be read) and may give ``timestamp_raw``. Rejected rows are kept in `<name>.rejected.parquet`. The old store stays until the new one is whole.
    Raises DataError: too many faulty rows in a source, nothing left, disk full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    rejected = path.with_suffix(".rejected.parquet")
    try:
        con.execute(f"ATTACH {_quoted(str(fresh))} AS store")
        try:
            report = _fill(con, tables, name=name, fingerprint=fingerprint)
            con.execute(f"COPY rejected TO {_quoted(str(fresh) + '.rejected')} (FORMAT parquet)")
        finally:
            con.execute("DETACH store")
        os.replace(f"{fresh}.rejected", rejected)
        path.with_suffix(".load.json").write_text(json.dumps(report, indent=1))
        os.replace(fresh, path)
    except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
        raise DataError(f"{path}: the store could not be written ({str(error).splitlines()[0]}); the previous store is untouched.") from error
    finally:
        for leftover in path.parent.glob(fresh.name + "*"):
            leftover.unlink()
    return report


def _fill(con: duckdb.DuckDBPyConnection, tables: Mapping[str, Sequence[tuple[str, str]]], *, name: str, fingerprint: str) -> dict:
    """Stage, reject, stitch, de-duplicate, hash and sort into the attached database `store`."""
    salt = os.environ.get("MCT_SALT") or secrets.token_hex(16)
    for table, columns in CANONICAL.items():
        kinds = ", ".join(f"{c} {_type(c)}" for c in columns)
        raw = ", timestamp_raw VARCHAR" if "timestamp" in columns else ""
        con.execute(f"CREATE OR REPLACE TEMP TABLE in_{table} (source VARCHAR, {kinds}{raw})")
        for label, select in tables.get(table, ()):
            con.execute(f"INSERT INTO in_{table} BY NAME SELECT {_quoted(label)} AS source, * FROM ({select})")
    con.execute("CREATE OR REPLACE TEMP TABLE rejected AS SELECT ''::VARCHAR AS canonical_table, ''::VARCHAR AS reason, * FROM in_events WHERE false")
    report: dict[str, Any] = {"name": name, "fingerprint": fingerprint, "tables": {}}
    timed = "WHEN timestamp IS NULL THEN 'unreadable timestamp' WHEN timestamp > now()::TIMESTAMP + INTERVAL 1 DAY THEN 'timestamp in the future' END"
    _reject(con, report, "events", "CASE WHEN coalesce(user_id, anonymous_id, '') = '' THEN 'no user' WHEN coalesce(event, '') = '' THEN 'no event' " + timed)
    _reject(con, report, "backend", "CASE WHEN coalesce(user_id, '') = '' THEN 'no user' WHEN coalesce(event, '') = '' THEN 'no event' " + timed)
    for table in ("people", "surveys"):
        _reject(con, report, table, "CASE WHEN coalesce(user_id, '') = '' THEN 'no user' END")
    for table in ("spend", "timeline"):
        _reject(con, report, table, "CASE WHEN day IS NULL THEN 'unreadable day' END")
    _reject(con, report, "responses", "CASE WHEN coalesce(alert_id, '') = '' THEN 'no alert_id' END")
    report["identity"] = _stitch(con)
    _reject(con, report, "people", "CASE WHEN row_number() OVER (PARTITION BY user_id ORDER BY rowid) > 1 THEN 'same user_id again' END", fault=False)
    _reject(con, report, "events", "CASE WHEN event_id IS NOT NULL AND row_number() OVER (PARTITION BY user_id, event, event_id "
            "ORDER BY received_at, timestamp, rowid) > 1 THEN 'same event_id again' END", fault=False)
    for table in ("events", "surveys", "backend"):
        _reject(con, report, table, "CASE WHEN user_id IN (SELECT user_id FROM in_people WHERE consent = false) THEN 'no consent' END", fault=False)
    _reject(con, report, "people", "CASE WHEN consent = false THEN 'no consent' END", fault=False)
    for table in ("events", "people", "surveys", "backend", "spend", "timeline", "responses"):
        report["tables"][table]["n_kept"] = con.execute(f"SELECT count(*) FROM in_{table}").fetchall()[0][0]
    if not report["tables"]["events"]["n_kept"]:
        raise DataError(f"{name}: no event is left after loading; rejected were {report['tables']['events']['n_rejected'] or 'none'}.")

    hashed = lambda c: f"substr(sha256({_quoted(salt)} || {c}), 1, 16)"  # noqa: E731
    con.execute(f"""CREATE TABLE store.users AS SELECT (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS user, {hashed('user_id')} AS user_id,
        (md5_number_lower(user_id) % 100)::UTINYINT AS bucket FROM (SELECT user_id FROM in_events UNION SELECT user_id FROM in_people
        UNION SELECT user_id FROM in_surveys UNION SELECT user_id FROM in_backend)""")
    con.execute(f"CREATE OR REPLACE TEMP TABLE who AS SELECT user, user_id AS hash FROM store.users")
    for table in ("people", "surveys", "backend"):
        columns = ", ".join(f"{hashed(c)} AS {c}" if c in PERSONAL else c for c in CANONICAL[table] if c not in ("user_id", "consent"))
        con.execute(f"CREATE TABLE store.{table} AS SELECT user, {columns} FROM in_{table} JOIN who ON hash = {hashed('user_id')} ORDER BY user")
    for table in ("spend", "timeline", "responses"):
        con.execute(f"CREATE TABLE store.{table} AS SELECT {', '.join(CANONICAL[table])} FROM in_{table}")
    cast = {}
    for column in ENUMS:
        n = con.execute(f"SELECT count(DISTINCT {column}) FROM in_events").fetchall()[0][0]
        if 0 < n <= 10_000:
            con.execute(f"CREATE TYPE store.{column}_names AS ENUM (SELECT DISTINCT {column} FROM in_events WHERE {column} IS NOT NULL ORDER BY 1)")
            cast[column] = f"{column}::store.{column}_names AS {column}"
    columns = ", ".join(cast.get(c, f"{hashed(c)} AS {c}" if c in PERSONAL else c) for c in CANONICAL["events"] if c != "user_id")
    con.execute(f"CREATE TABLE store.events AS SELECT user, {columns} FROM in_events JOIN who ON hash = {hashed('user_id')} ORDER BY user, timestamp, event, event_id")
    con.execute(f"UPDATE rejected SET {', '.join(f'{c} = {hashed(c)}' for c in ('user_id', 'anonymous_id'))}")
    first, last = con.execute("SELECT min(timestamp), max(timestamp) FROM store.events").fetchall()[0]
    report |= {"n_users": con.execute("SELECT count(*) FROM store.users").fetchall()[0][0], "first_event": str(first), "last_event": str(last)}
    con.execute("CREATE TABLE store.load AS SELECT ? AS report", [json.dumps(report)])
    for table in CANONICAL:
        con.execute(f"DROP TABLE in_{table}")
    return report


def _type(column: str) -> str:
    if column in ("timestamp", "amount", "revenue", "consent"):
        return {"timestamp": "TIMESTAMP", "consent": "BOOLEAN"}.get(column, "DOUBLE")
    return "TIMESTAMP" if column.endswith("_at") else "DATE" if column in DAYS else "VARCHAR"


def _reject(con: duckdb.DuckDBPyConnection, report: dict, table: str, reason: str, *, fault: bool = True) -> None:
    """Move the rows for which the SQL ``reason`` is not NULL to `rejected`; a fault in more than FAULTY_SHARE of a source's rows refuses the source."""
    counts = report["tables"].setdefault(table, {"n_read": con.execute(f"SELECT count(*) FROM in_{table}").fetchall()[0][0], "n_rejected": {}})
    con.execute(f"CREATE OR REPLACE TEMP TABLE judged AS SELECT rowid AS id, source, {reason} AS verdict FROM in_{table}")
    sources = con.execute("SELECT source, verdict, count(*), (SELECT count(*) FROM judged AS all_rows WHERE all_rows.source = judged.source) "
                          "FROM judged WHERE verdict IS NOT NULL GROUP BY ALL ORDER BY 1, 2").fetchall()
    for source, why, n, n_rows in sources:
        if fault and n > FAULTY_SHARE * n_rows:
            raw = con.execute(f"SELECT any_value(timestamp_raw) FROM in_{table} JOIN judged ON id = in_{table}.rowid WHERE verdict = ?", [why]).fetchall()[0][0] \
                if "timestamp" in why else None
            example = f' (for example "{raw}")' if raw else ""
            raise DataError(f"{source}: {n:,} of {n_rows:,} rows of {table} have {why if why.startswith('no ') else 'a ' + why if why[0] == 't' else 'an ' + why}"
                            f"{example}; more than one row in ten wrong in one way means the file is misread, so nothing was loaded.")
        counts["n_rejected"][why] = counts["n_rejected"].get(why, 0) + n
    if sources:
        con.execute(f"INSERT INTO rejected BY NAME SELECT {_quoted(table)} AS canonical_table, verdict AS reason, t.* "
                    f"{'' if table == 'events' else _only_known(con, table)} FROM in_{table} t JOIN judged ON id = t.rowid "
                    "WHERE verdict IS NOT NULL AND verdict <> 'no consent'")
        con.execute(f"DELETE FROM in_{table} WHERE rowid IN (SELECT id FROM judged WHERE verdict IS NOT NULL)")


def _only_known(con: duckdb.DuckDBPyConnection, table: str) -> str:
    """EXCLUDE clause for the columns that the table of rejected rows does not have; they are rare and small."""
    known = set(CANONICAL["events"]) | {"source", "timestamp_raw"}
    unknown = [c for c in CANONICAL[table] if c not in known]
    return f"EXCLUDE ({', '.join(unknown)})" if unknown else ""


def _stitch(con: duckdb.DuckDBPyConnection) -> dict:
    """Give every row one user_id: what an anonymous id is known to be, else the id itself. Returns the counts.

    An anonymous id seen with several users belongs to the first of them; an id that is itself known to be another's is followed to the end.
    """
    con.execute("""CREATE OR REPLACE TEMP TABLE pairs AS SELECT anonymous_id, user_id, min(seen_at) AS seen_at FROM (
        SELECT anonymous_id, user_id, timestamp AS seen_at FROM in_events WHERE anonymous_id <> user_id
        UNION ALL SELECT anonymous_id, user_id, NULL FROM in_identities WHERE anonymous_id <> user_id) GROUP BY ALL""")
    con.execute("""CREATE OR REPLACE TEMP TABLE known AS SELECT anonymous_id AS id, arg_min(user_id, (coalesce(seen_at, TIMESTAMP '1970-01-01'), user_id)) AS user_id,
        count(*) AS n FROM pairs GROUP BY ALL""")
    ambiguous, many = con.execute("SELECT (SELECT count(*) FROM known WHERE n > 1), (SELECT count(*) FROM (SELECT user_id FROM pairs GROUP BY 1 HAVING count(*) > 1))").fetchall()[0]
    chains = con.execute("SELECT count(*) FROM known a JOIN known b ON a.user_id = b.id").fetchall()[0][0]
    for _ in range(20):  # each round doubles the length of chain that is followed; a ring keeps what it has after 20
        if not con.execute("SELECT count(*) FROM known a JOIN known b ON a.user_id = b.id WHERE b.user_id <> a.user_id AND b.user_id <> a.id").fetchall()[0][0]:
            break
        con.execute("UPDATE known SET user_id = b.user_id FROM known b WHERE known.user_id = b.id AND b.user_id <> known.id")
    anonymous, matched = con.execute("""SELECT count(*), count(k.id) FROM in_events LEFT JOIN known k ON k.id = anonymous_id
        WHERE in_events.user_id IS NULL""").fetchall()[0]
    con.execute("UPDATE in_events SET user_id = anonymous_id WHERE user_id IS NULL")
    for table in ("events", "people", "surveys", "backend"):
        con.execute(f"UPDATE in_{table} SET user_id = known.user_id FROM known WHERE in_{table}.user_id = known.id")
    return {"n_anonymous_rows": anonymous, "n_matched_rows": matched, "match_rate": matched / anonymous if anonymous else None,
            "n_ids_with_several_users": ambiguous, "n_users_with_several_ids": many, "n_chains": chains}


# ------------------------------------------------------------------------------------------------------------------- reading a log


class EventLog:
    """A product's events and what is known beside them, read-only.

    Open one with `open_log` (a dataset's store) or `EventLog.from_frame` (pandas frames).
    """

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self.load: dict = json.loads(con.execute("SELECT report FROM load").fetchall()[0][0])
        self.name: str = self.load["name"]
        self.first_event, self.last_event = (pd.Timestamp(self.load[k]).tz_localize("UTC") for k in ("first_event", "last_event"))
        self.event_names: list[str] = [r[0] for r in con.execute("SELECT unnest(enum_range(NULL::event_names))::VARCHAR").fetchall()]

    @classmethod
    def open(cls, path: Path) -> EventLog:
        """A store file that `build_store` wrote."""
        return cls(duckdb.connect(str(path), read_only=True))

    @classmethod
    def from_frame(
        cls, events: pd.DataFrame, *, people: pd.DataFrame | None = None, surveys: pd.DataFrame | None = None, backend: pd.DataFrame | None = None,
        spend: pd.DataFrame | None = None, timeline: pd.DataFrame | None = None, responses: pd.DataFrame | None = None, name: str = "frame",
    ) -> EventLog:
        """A log held in memory, from pandas frames with the canonical columns (`CANONICAL`).

        Naive times are UTC. Columns of ``events`` that are not canonical become properties. Raises DataError: a required column is missing.
        """
        con = duckdb.connect()
        frames = {"events": events, "people": people, "surveys": surveys, "backend": backend, "spend": spend, "timeline": timeline, "responses": responses}
        tables = {}
        for table, frame in frames.items():
            if frame is not None:
                con.register(f"frame_{table}", _canonical_frame(frame, table))
                tables[table] = [(f"{table} frame", f"SELECT * FROM frame_{table}")]
        con.execute("ATTACH ':memory:' AS store")
        _fill(con, tables, name=name, fingerprint="")
        con.execute("USE store")
        return cls(con)

    def table(self, name: str) -> pd.DataFrame:
        """One of the smaller tables whole (people, surveys, backend, spend, timeline, responses); users as the integers of the store."""
        if name not in CANONICAL or name in ("events", "identities"):
            raise ParameterError(f'"{name}" is not a table beside the events.{nearest(name, [t for t in CANONICAL if t not in ("events", "identities")])}')
        frame = self._con.sql(f"SELECT * FROM {name}").df()
        return frame.assign(**{c: frame[c].dt.tz_localize("UTC") for c in frame if c.endswith("_at") or c == "timestamp"})

    def describe(self) -> pd.DataFrame:
        """event, n_events, n_users, first_at, last_at: one row an event, the most frequent first."""
        frame = self._con.sql("""SELECT event::VARCHAR AS event, count(*) AS n_events, count(DISTINCT user) AS n_users, min(timestamp) AS first_at,
            max(timestamp) AS last_at FROM events GROUP BY 1 ORDER BY 2 DESC, 1""").df()
        return frame.assign(**{c: frame[c].dt.tz_localize("UTC") for c in ("first_at", "last_at")})

    def counts(self, *, events: Sequence[Any] | None = None, by: str | Sequence[str] = ()) -> pd.DataFrame:
        """event, the ``by`` columns, n_events, n_users."""
        by = self._by(by)
        chosen = " OR ".join(self._condition(as_step(e)) for e in events) if events else "true"
        columns = "".join(f", coalesce({self._column(b)[0]}::VARCHAR, {_quoted(MISSING)}) AS {_name(b)}" for b in by)
        return self._con.sql(f"SELECT e.event::VARCHAR AS event{columns}, count(*) AS n_events, count(DISTINCT e.user) AS n_users "
                             f"FROM events e LEFT JOIN people p USING (user) WHERE {chosen} GROUP BY ALL ORDER BY ALL").df()

    def reduce(
        self, kernel: Callable[[Journeys], pd.DataFrame], *, events: Sequence[Any], by: str | Sequence[str] = (), as_of: Any = None,
        values: str | None = None,
    ) -> pd.DataFrame:
        """Walk all users in order and add up what ``kernel`` counts.

        ``events``: matchers (names, lists of names, Steps); the kernel's Journeys hold the rows that match at least one, up to ``as_of``.
        ``by``: columns of people (an attribute of the user) or else of the event, ``event.<column>`` for the event's even then, ``properties.<key>``. ``values``: a numeric property or column.
        The kernel's columns that start with ``n_`` or ``sum_`` are added over chunks of whole users, all others are the keys.
        """
        return add_up(kernel(part) for part in self.journeys(events=events, by=by, as_of=as_of, values=values))

    def journeys(self, *, events: Sequence[Any], by: str | Sequence[str] = (), as_of: Any = None, values: str | None = None) -> Iterator[Journeys]:
        """The rows that `reduce` hands to its kernel, some million rows of whole users at a time."""
        steps, by = [as_step(e) for e in events], self._by(by)
        end = self.as_of(as_of)
        of_user = {b: self._user_codes(b) for b in by if self._column(b)[1]}
        plain = {i: s for i, s in enumerate(steps) if not s.where}
        columns = ["e.user::BIGINT AS user", "epoch_us(e.timestamp) AS time", "enum_code(e.event)::INTEGER AS code"]
        columns += [f"({self._condition(s)}) AS match_{i}" for i, s in enumerate(steps) if i not in plain]
        columns += [f"{self._column(b)[0]} AS dim_{n}" for n, b in enumerate(by) if b not in of_user]
        columns += [f"try_cast({self._column(values, event_only=True)[0]} AS DOUBLE) AS value"] if values else []
        chosen = " OR ".join(f"({self._condition(s)})" for s in steps)
        code_of = {name: n for n, name in enumerate(self.event_names)}
        lookup = np.zeros(len(code_of), np.uint64)
        for i, step in plain.items():
            codes = [code_of[n] for n in step.names if n in code_of] if step.event is not ANY else slice(None)
            lookup[codes] |= np.uint64(1 << i)
        bucket = self._con.sql("SELECT bucket FROM users ORDER BY user").fetchnumpy()["bucket"]
        for low, high in self._chunks():
            table = self._con.sql(f"SELECT {', '.join(columns)} FROM events e WHERE e.user BETWEEN {low} AND {high} "
                                  f"AND e.timestamp <= make_timestamp({end}) AND ({chosen}) ORDER BY e.user, e.timestamp, code").to_arrow_table()
            get = lambda c: table[c].to_numpy()  # noqa: E731, B023
            user = get("user")
            mask = lookup[get("code")]
            for i in range(len(steps)):
                if i not in plain:
                    mask |= get(f"match_{i}").astype(bool).astype(np.uint64) << np.uint64(i)
            dims, levels = {}, {}
            for n, b in enumerate(by):
                codes, names = (of_user[b][0][user], of_user[b][1]) if b in of_user else _factorize(table[f"dim_{n}"].to_pandas())
                dims[b], levels[b] = codes, names
            value = table["value"].to_numpy(zero_copy_only=False).astype(float) if values else None
            yield Journeys(user, get("time"), mask, end, dims, levels, bucket[user], value)

    def as_of(self, as_of: Any = None) -> int:
        """Microseconds of the last observed moment: ``as_of`` (a bare day means its end), or the last event.

        A day after the last event is accepted, silence is an observation too. Raises ParameterError: before the first event.
        """
        stamp = self.last_event if as_of is None else as_timestamp(as_of)
        if stamp < self.first_event:
            raise ParameterError(f"as_of: {as_of} lies before the first event of {self.name} ({self.first_event:%Y-%m-%d %H:%M}).")
        return int(stamp.value // 1000)

    def missing_events(self, events: Iterable[Any]) -> list[str]:
        """A sentence for every event name that does not occur in the data, with the nearest names."""
        names = dict.fromkeys(n for e in events for n in as_step(e).names)
        return [f'event "{n}" does not occur in {self.name}.{nearest(n, self.event_names)}' for n in names if n not in self.event_names]

    def _chunks(self) -> list[tuple[int, int]]:
        """Ranges of users that hold about CHUNK_ROWS rows each (the events are stored by user)."""
        cuts = [r[0] for r in self._con.execute(f"SELECT DISTINCT user FROM events WHERE rowid % {CHUNK_ROWS} = 0 AND rowid > 0 ORDER BY 1").fetchall()]
        edges = [0, *cuts, self.load["n_users"]]
        return [(a, b - 1) for a, b in zip(edges, edges[1:]) if b > a]

    def _by(self, by: str | Sequence[str] | None) -> list[str]:
        return [by] if isinstance(by, str) else list(by or ())

    def _column(self, name: str, *, event_only: bool = False) -> tuple[str, bool]:
        """SQL of a column or property, and whether it belongs to the user."""
        if name.startswith("properties."):
            return f"json_extract_string(e.properties, {_quoted(chr(36) + '.' + json.dumps(name[11:]))})", False
        if not event_only and name in CANONICAL["people"] and name not in ("user_id", "consent") and self._filled("people", name):
            return f"p.{name}", True
        column = name.removeprefix("event.")
        if column in CANONICAL["events"] and column not in ("user_id", "properties"):
            return f"e.{column}", False
        if event_only:
            return self._column(f"properties.{name}")
        words = sorted({*CANONICAL["people"], *CANONICAL["events"]} - {"user_id", "properties", "consent"})
        raise ParameterError(f'by: "{name}" is neither a column of people or events nor written as properties.<key>.{nearest(name, words)}')

    def _filled(self, table: str, column: str) -> bool:
        return self._con.execute(f"SELECT count({column}) > 0 FROM {table}").fetchall()[0][0]

    def _user_codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        return _factorize(self._con.sql(f"SELECT p.{name} FROM users u LEFT JOIN people p USING (user) ORDER BY u.user").df()[name])

    def _condition(self, step: Any) -> str:
        """SQL that is true for the rows a Step means."""
        known = [n for n in step.names if n in self.event_names]
        parts = ["true" if step.event is ANY else f"e.event IN ({', '.join(map(_quoted, known))})" if known else "false"]
        for key, wanted in step.where.items():
            column, values = self._column(key, event_only=True)[0], wanted if isinstance(wanted, (list, tuple, set)) else [wanted]
            text = [json.dumps(v) if isinstance(v, bool) else str(v) for v in values if v is not ANY]
            parts.append(f"coalesce({column}::VARCHAR <> '', false)" if wanted is ANY else f"coalesce({column}::VARCHAR IN ({', '.join(map(_quoted, text))}), false)")
        return " AND ".join(parts)


def add_up(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One table of the parts: ``n_*`` and ``sum_*`` columns added within equal keys."""
    frame = pd.concat(list(parts), ignore_index=True)
    keys = [c for c in frame if not c.startswith(("n_", "sum_"))]
    return frame.groupby(keys, as_index=False, dropna=False, sort=True, observed=True).sum() if keys else frame.sum().to_frame().T


def _name(by: str) -> str:
    return '"' + by.removeprefix("properties.").replace('"', "") + '"'


def _factorize(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes and their labels in alphabetical order, MISSING for empty values."""
    codes, labels = pd.factorize(column.astype("string").fillna(MISSING), sort=True)
    return codes, list(labels)


def _canonical_frame(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """A frame with exactly the canonical columns it has, in the types of the store."""
    lacking = [c for c in REQUIRED[table] if c not in frame and not (c == "user_id" and table == "events" and "anonymous_id" in frame)]
    if lacking:
        raise DataError(f'{table} frame: column "{lacking[0]}" is missing.{nearest(lacking[0], frame.columns)}')
    out = {}
    for column in CANONICAL[table]:
        if column not in frame or column == "properties":
            continue
        kind = _type(column)
        if kind == "TIMESTAMP":
            out[column] = pd.to_datetime(frame[column], utc=True, errors="coerce", format="ISO8601" if frame[column].dtype == object else None) \
                .dt.tz_localize(None).astype("datetime64[us]")
            if column == "timestamp":
                out["timestamp_raw"] = frame[column].where(out[column].isna()).astype("string")
        elif kind == "DATE":
            out[column] = pd.to_datetime(frame[column], errors="coerce").dt.strftime("%Y-%m-%d")
        else:
            out[column] = frame[column].convert_dtypes().astype("string" if kind == "VARCHAR" else "boolean" if kind == "BOOLEAN" else "Float64")
    extra = [c for c in frame if c not in CANONICAL[table]] if table == "events" else []
    if table == "events" and (extra or "properties" in frame):
        given = frame["properties"] if "properties" in frame else [None] * len(frame)
        more = frame[extra].astype(object).where(frame[extra].notna(), None).to_dict("records") if extra else [{}] * len(frame)
        out["properties"] = [_properties(bag, {k: v for k, v in row.items() if v is not None}) for bag, row in zip(given, more)]
    return pd.DataFrame(out, index=frame.index)


def _properties(bag: Any, more: dict) -> str | None:
    """JSON text of a row's properties (a mapping or JSON text) and its columns that are not canonical."""
    if isinstance(bag, str) and bag:
        return json.dumps(json.loads(bag) | more, default=str) if more else bag
    whole = (dict(bag) if isinstance(bag, Mapping) else {}) | more
    return json.dumps(whole, default=str) if whole else None
