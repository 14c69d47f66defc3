"""How the times of a column are written, and the SQL that makes UTC timestamps of them."""

import re
from dataclasses import dataclass
from typing import Any

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.store import FAULTY_SHARE

UNITS = ("seconds", "milliseconds", "microseconds")
# How a text x may be written as a time; the first test that holds names it.
WRITTEN = {
    "seconds": r"regexp_full_match(x, '\d{9,11}(\.\d+)?')",
    "milliseconds": r"regexp_full_match(x, '\d{12,14}(\.\d+)?')",
    "microseconds": r"regexp_full_match(x, '\d{15,17}(\.\d+)?')",
    "day": r"regexp_full_match(x, '\d{8}')",
    "unreadable": "try_cast(x AS TIMESTAMPTZ) IS NULL",
    "naive": r"regexp_full_match(x, '\d+-\d+-\d+([T ]+[\d:.]+)?')",
    "zoned": "true",
}
# The timestamp that a text x of each kind means.
MEANT = {
    "seconds": "make_timestamp(CAST(round(CAST(x AS DOUBLE) * 1000000) AS BIGINT))",
    "milliseconds": "make_timestamp(CAST(round(CAST(x AS DOUBLE) * 1000) AS BIGINT))",
    "microseconds": "make_timestamp(CAST(round(CAST(x AS DOUBLE) * 1) AS BIGINT))",
    "day": "try_strptime(x, '%Y%m%d')",
    "unreadable": "NULL",
    "naive": "try_cast(x AS TIMESTAMP)",
    "zoned": "timezone('UTC', try_cast(x AS TIMESTAMPTZ))",
}


def put(sql: str, value: str) -> str:
    """`sql`, written over x, with `value` in its place."""
    return re.sub(r"\bx\b", lambda _: value, sql)


def in_utc(local: str, timezone: str | None) -> str:
    """SQL of the UTC timestamp of a wall clock's time in a zone."""
    if timezone in (None, "UTC"):
        return local
    return f"timezone('UTC', timezone({sql_text(timezone)}, {local}))"


@dataclass(frozen=True)
class TimeColumn:
    """A column of times: its name in the contract, SQL of its values and of the rows they stand in.

    timezone: of times that carry none. wall_clock: whether counts since 1970 follow it too.
    """

    con: duckdb.DuckDBPyConnection
    shown: str
    column: str
    rows: str
    timezone: str | None
    wall_clock: bool = False

    def from_texts(self, sql: str) -> str:
        """SQL of UTC timestamps (NULL where unreadable), after one look at how they are written.

        Raises DataError: units are mixed, too many are unreadable, a zone must be named.
        """
        cases = " ".join(f"WHEN {test} THEN '{kind}'" for kind, test in WRITTEN.items())
        rows = self.con.sql(f"""
            SELECT CASE {cases} END, count(*), min({masked("x")})
            FROM (SELECT {sql} AS x FROM {self.rows}) WHERE x IS NOT NULL GROUP BY 1
        """).fetchall()
        self._check({kind: n for kind, n, _ in rows}, {kind: value for kind, _, value in rows})
        local = ("naive", "day", *UNITS) if self.wall_clock else ("naive", "day")
        zoned = {kind: in_utc(MEANT[kind], self.timezone) for kind in local}
        meant = MEANT | zoned
        present = [kind for kind in WRITTEN if kind in {row[0] for row in rows}]
        if not present:
            return "CAST(NULL AS TIMESTAMP)"
        if len(present) == 1:
            return put(meant[present[0]], sql)
        cases = " ".join(f"WHEN {WRITTEN[kind]} THEN {meant[kind]}" for kind in present)
        return put(f"CASE {cases} END", sql)

    def _check(self, counts: dict[str, int], examples: dict[str, str]) -> None:
        where = f'{self.shown}: the times in "{self.column}"'
        units = [unit for unit in UNITS if unit in counts]
        if len(units) > 1:
            mixed = " and ".join(f"{unit} ({counts[unit]} rows)" for unit in units)
            raise DataError(f"{where} mix {mixed}. Split the file by unit.")
        n, n_bad = sum(counts.values()), counts.get("unreadable", 0)
        if n_bad > FAULTY_SHARE * n:
            raise DataError(
                f'{self.shown}: {n_bad} of {n} values of "{self.column}" cannot be read as times,'
                f' for example "{examples["unreadable"]}". Write them like 2026-01-05T10:11:12Z.'
            )
        self._need_zone(examples.get("naive") or examples.get("day"))

    def from_times(self, time: str, kind: str) -> str:
        """As `from_texts`, of a column that holds times: only their type and range are looked at.

        Raises DataError: a zone must be named.
        """
        within = f"min({time}) >= DATE '0001-01-01' AND max({time}) < DATE '10000-01-01'"
        if not self._first(within):
            time = f"CASE WHEN year({time}) BETWEEN 1 AND 9999 THEN {time} END"
        if kind == "TIMESTAMP WITH TIME ZONE":
            return f"timezone('UTC', {time})"
        if self.timezone is None:
            self._need_zone(self._first(f"min({time})::VARCHAR"))
        return in_utc(f"CAST({time} AS TIMESTAMP)", self.timezone)

    def _first(self, aggregate: str) -> Any:
        return self.con.sql(f"SELECT {aggregate} FROM {self.rows}").fetchall()[0][0]

    def _need_zone(self, example: str | None) -> None:
        if example and self.timezone is None:
            raise DataError(
                f'{self.shown}: the times in "{self.column}" carry no time zone,'
                f' for example "{example}". Add to this source the line  timezone: UTC'
                "  (or the IANA name of the zone they were written in)."
            )
