"""The staged rows of a load, and those that are left out of it, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb

from mctlib.contract import CANONICAL, DataError
from mctlib.eventlog.identity import one_row
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.sql import sql_text

FAULTY_SHARE = 0.1  # a file with more rows wrong in one way is misread, not dirty


@dataclass(frozen=True)
class StagedRows:
    """The staged rows, and the counts of those read and rejected by table.

    left_out: of events that are read where they lie (see `_stage_events`), the conditions so far on
    what their view shows.
    """

    con: duckdb.DuckDBPyConnection
    left_out: list[str] | None
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def reject(self, table: str, reason: str, *, fault: bool = False, kept: bool = True) -> None:
        """Take out the rows for which the SQL `reason` is not NULL; `kept` ones to `rejected`.

        A fault in more than FAULTY_SHARE of a source's rows refuses the source.
        """
        if table not in self.counts:
            n_read = one_row(self.con, f"SELECT count(*) FROM in_{table}")[0]
            self.counts[table] = {"n_read": n_read, "n_rejected": {}}
        n_rejected = self.counts[table]["n_rejected"]
        if not self.counts[table]["n_read"]:
            return
        line = "" if table == "events" else "rowid AS id, "
        judged = f"(SELECT *, {line}{reason} AS verdict FROM in_{table})"
        found = self.con.execute(f"""
            SELECT source, verdict, count(*) FROM {judged}
            WHERE verdict IS NOT NULL GROUP BY ALL ORDER BY ALL
        """).fetchall()
        for source, why, n in found:
            if fault:
                self._refuse_misread(table, judged, source, why, n)
            n_rejected[why] = n_rejected.get(why, 0) + n
        if found:
            self._move(table, judged, reason, kept=kept)

    def active(self) -> None:
        """Make `active`, the users of the events, unless it is there and no event left since."""
        ids = "SELECT DISTINCT user_id FROM in_events"
        self.con.execute(f"CREATE TEMP TABLE IF NOT EXISTS active AS {ids}")

    def _refuse_misread(self, table: str, judged: str, source: str, why: str, n: int) -> None:
        of_source = f"FROM in_{table} WHERE source = {sql_text(source)}"
        n_rows = one_row(self.con, f"SELECT count(*) {of_source}")[0]
        if n <= FAULTY_SHARE * n_rows:
            return
        example = ""
        if "timestamp" in why:
            raw = masked("timestamp_raw")
            said = f"SELECT any_value({raw}) FROM {judged} WHERE verdict = {sql_text(why)}"
            raw = one_row(self.con, said)[0]
            example = f' (for example "{raw}")' if raw else ""
        article = "an " if why.startswith("u") else "a "
        if why.startswith("no "):
            article = ""
        raise DataError(
            f"{source}: {n:,} of {n_rows:,} rows of {table} have {article}{why}{example};"
            " more than one row in ten wrong in one way means the file is misread,"
            " so nothing was loaded."
        )

    def _move(self, table: str, judged: str, reason: str, *, kept: bool) -> None:
        if kept:
            self._keep_rejected(table, judged)
        if table == "events":
            self.con.execute("DROP TABLE IF EXISTS active")
        if table == "events" and self.left_out is not None:
            self.left_out.append(f"({reason}) IS NULL")
            left = " AND ".join(self.left_out)
            self.con.execute(
                f"CREATE OR REPLACE TEMP VIEW in_events AS FROM all_events WHERE {left}"
            )
            return
        copied = "given_events" if table == "events" else f"in_{table}"
        self.con.execute(f"""
            DELETE FROM {copied}
            WHERE rowid IN (SELECT id FROM {judged} WHERE verdict IS NOT NULL)
        """)

    def _keep_rejected(self, table: str, judged: str) -> None:
        # the rejected rows have the columns of events
        unknown = [column for column in CANONICAL[table] if column not in CANONICAL["events"]]
        self.con.execute(f"""
            INSERT INTO rejected BY NAME
            SELECT {sql_text(table)} AS canonical_table, verdict AS reason,
                * EXCLUDE ({", ".join(["id", "verdict", *unknown])})
            FROM {judged} WHERE verdict IS NOT NULL
        """)
