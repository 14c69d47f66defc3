"""How the times of a column are written, and the SQL that makes UTC timestamps of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog import plausible
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.rejecting import FAULTY_SHARE
from mctlib.eventlog.sql import sql_text
from mctlib.sources.spellings import EXCEL, likely_formats

UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
OFFSET = r"[+-](?:0\d|1[0-4])(?::?\d\d)?"
ZONE = rf"(?:Z| UTC| GMT|{OFFSET}| [A-Z][A-Za-z]+/[\w/+-]+)"
DAY = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
CLOCK = r"[T ]+\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"
# A count since 1970 is one where its moment is plausible, from the end of 1999 to 2033: ten digits
# from 2000010100 on are a day and its hour. Behind it stand the digits of finer units.
COUNT = r"regexp_full_match(x, '(?:9[4-9]\d{7}|1\d{9})%s')"
LONGEST = 200  # characters that are looked at: no time has more
# How a text x may be written as a time; the first test that holds names it.
WRITTEN = {
    "zoned": f"regexp_full_match(x, '{DAY}{CLOCK}{ZONE}')",
    "naive": f"regexp_full_match(x, '{DAY}(?:{CLOCK})?')",
    "seconds": COUNT % r"(?:\.\d+)?",
    "milliseconds": COUNT % r"\d{3}(?:\.\d+)?",
    "microseconds": COUNT % r"\d{6}(?:\.\d+)?",
    "nanoseconds": COUNT % r"\d{9}",
    "digits": r"regexp_full_match(x, '\d{8}(\d\d){0,3}')",
    "spelled zoned": r"regexp_matches(iso_of(x), '[+-]\d\d:\d\d$')",
    "spelled": "iso_of(x) IS NOT NULL",
    "unreadable": "true",
}
# The timestamp that a text x of each kind means.
MEANT = {
    "zoned": "make_timestamp(epoch_us(try_cast(x AS TIMESTAMPTZ)))",
    "naive": "try_cast(x AS TIMESTAMP)",
    "seconds": "make_timestamp(CAST(round(CAST(x AS DOUBLE) * 1000000) AS BIGINT))",
    "milliseconds": "make_timestamp(CAST(round(CAST(x AS DOUBLE) * 1000) AS BIGINT))",
    "microseconds": "make_timestamp(CAST(round(CAST(x AS DOUBLE) * 1) AS BIGINT))",
    "nanoseconds": "make_timestamp(CAST(x AS BIGINT) // 1000)",
    "digits": "try_strptime(rpad(x, 14, '0'), '%Y%m%d%H%M%S')",
    "spelled zoned": "make_timestamp(epoch_us(try_cast(iso_of(x) AS TIMESTAMPTZ)))",
    "spelled": "try_cast(iso_of(x) AS TIMESTAMP)",
    "unreadable": "NULL::TIMESTAMP",
}
# Kind -> its rows, those that mean no moment, an example of each.
Looked: TypeAlias = dict[str, tuple[int, int, str, str]]
# Kinds that carry no zone.
LOCAL = ("naive", "digits", "spelled", "by format", "by excel")


def put(sql: str, value: str) -> str:
    """`sql`, written over x, with `value` in its place."""
    return re.sub(r"\bx\b", lambda _: value, sql)


def in_utc(local: str, timezone: str | None) -> str:
    """SQL of the UTC timestamp of a wall clock's time in a zone."""
    if timezone in (None, "UTC"):
        return local
    return f"make_timestamp(epoch_us(timezone({sql_text(timezone)}, {local})))"


def by_formats(formats: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Kind -> test and timestamp, over x, of what `date_format` says; it goes before all others."""
    kinds = {}
    zoned = [format for format in formats if "%z" in format]
    local = [format for format in formats if format not in (EXCEL, *zoned)]
    for kind, said in (("by format", local), ("by zoned format", zoned)):
        # unbreakable and narrow spaces, which browsers put before AM and PM
        spaced = "translate(x, '\u00a0\u2009\u202f', '   ')"
        read = f"try_strptime({spaced}, [{', '.join(map(sql_text, said))}])"
        if said:
            # %Y takes 26 for the year 26
            test = f"{read} >= TIMESTAMP '1000-01-01'"
            kinds[kind] = (test, f"make_timestamp(epoch_us({read}))" if "zoned" in kind else read)
    if EXCEL in formats:
        serial = "try_cast(replace(x, ',', '.') AS DOUBLE)"
        # to the millisecond, the finest that a spreadsheet keeps
        read = f"TIMESTAMP '1899-12-30' + to_milliseconds(round({serial} * 86400000)::BIGINT)"
        kinds["by excel"] = (r"regexp_full_match(x, '\d{5}(?:[.,]\d+)?')", read)
    return kinds


def unread(found: Looked) -> tuple[int, str]:
    """How many texts mean no moment, and one of the most frequent kind of these."""
    bad = [(n, example) for _, n, _, example in found.values() if n]
    return sum(n for n, _ in bad), max(bad)[1] if bad else ""


def local_example(found: Looked) -> str | None:
    """A text that carries no zone, if there is one."""
    return next((found[kind][2] for kind in LOCAL if kind in found), None)


def _read(written: dict[str, str], meant: dict[str, str]) -> str:
    """SQL of the timestamp of a text x, of whichever kind."""
    cases = " ".join(f"WHEN {test} THEN {meant[kind]}" for kind, test in written.items())
    return f"CASE {cases} END"


@dataclass(frozen=True)
class TimeColumn:
    """A column of times: its name in the contract, SQL of its values and of the rows they stand in.

    timezone: of times that carry none. formats: of `date_format`. wall_clock: whether counts since
    1970 follow the zone too.
    """

    con: duckdb.DuckDBPyConnection
    shown: str
    column: str
    rows: str
    timezone: str | None
    formats: Sequence[str] = ()
    wall_clock: bool = False

    def from_texts(self, sql: str) -> str:
        """SQL of UTC timestamps (NULL where unreadable), after one look at how they are written.

        Raises DataError: units are mixed, too many are unreadable, a zone must be named.
        """
        written, meant = self._kinds()
        found = self.look(sql)
        self._check(found, sql)
        present = {kind: test for kind, test in written.items() if kind in found}
        if len(present) > 1:
            return put(_read(present, meant), sql)
        return put(meant[next(iter(present), "unreadable")], sql)

    def _kinds(self) -> tuple[dict[str, str], dict[str, str]]:
        """Kind -> test, and kind -> UTC timestamp, both SQL over x."""
        said = by_formats(self.formats)
        written = {kind: test for kind, (test, _) in said.items()} | WRITTEN
        meant = {kind: read for kind, (_, read) in said.items()} | MEANT
        local = (*LOCAL, *UNITS) if self.wall_clock else LOCAL
        return written, {k: in_utc(v, self.timezone) if k in local else v for k, v in meant.items()}

    def look(self, sql: str) -> Looked:
        """See how the texts are written."""
        written, _ = self._kinds()
        kinds = " ".join(f"WHEN {test} THEN '{kind}'" for kind, test in written.items())
        # of the others the test is enough
        doubted = {kind: read for kind, read in MEANT.items() if kind not in UNITS}
        none = " ".join(f"WHEN '{kind}' THEN {read} IS NULL" for kind, read in doubted.items())
        rows = self.con.sql(f"""
            SELECT kind, count(*), count(*) FILTER (is_none),
                min({masked("x")}), min({masked("x")}) FILTER (is_none)
            FROM (
                SELECT x, kind, CASE kind {none} ELSE false END AS is_none
                FROM (
                    SELECT x, CASE {kinds} END AS kind
                    FROM (SELECT left({sql}, {LONGEST}) AS x FROM {self.rows}) WHERE x IS NOT NULL
                )
            ) GROUP BY kind
        """).fetchall()
        return {row[0]: row[1:] for row in rows}

    def _check(self, found: Looked, sql: str) -> None:
        where = f'{self.shown}: the times in "{self.column}"'
        units = [unit for unit in UNITS if unit in found]
        if len(units) > 1:
            mixed = " and ".join(f"{unit} ({found[unit][0]} rows)" for unit in units)
            raise DataError(f"{where} mix {mixed}. Split the file by unit.")
        n = sum(n for n, *_ in found.values())
        n_bad, example = unread(found)
        if n_bad > FAULTY_SHARE * n:
            raise DataError(
                f'{self.shown}: {n_bad} of {n} values of "{self.column}" cannot be read as times,'
                f' for example "{example}".{advice(example, self.proposed(sql, example))}'
            )
        self._need_zone(local_example(found))

    def proposed(self, sql: str, example: str) -> list[str]:
        """The formats that a text such as ``example`` may have, as far as all texts decide it.

        None where no format makes nine in ten of those without one plausible times.
        """
        formats = likely_formats(example)
        latest = f"TIMESTAMP '{plausible.last_of('day')}'"
        counts = ["count(*)"]
        for format in formats:
            ((test, read),) = by_formats([format]).values()
            sound = f"{test} AND {read} BETWEEN TIMESTAMP '2000-01-01' AND {latest}"
            if format.startswith("%y"):
                # a year in front has its two digits
                sound += r" AND regexp_matches(x, '^\d\d\D')"
            counts.append(f"count(*) FILTER ({sound})")
        ((n, *fit),) = self.con.sql(f"""
            SELECT {", ".join(counts)} FROM (SELECT left({sql}, {LONGEST}) AS x FROM {self.rows})
            WHERE x IS NOT NULL AND {_read(WRITTEN, MEANT)} IS NULL
        """).fetchall()
        most = max(fit, default=0)
        decided = [format for format, k in zip(formats, fit) if k == most]
        return decided if most >= (1 - FAULTY_SHARE) * n and most else []

    def from_times(self, time: str, kind: str) -> str:
        """As `from_texts`, of a column that holds times: only their type and range are looked at.

        Raises DataError: a zone must be named.
        """
        within = f"min({time}) >= DATE '0001-01-01' AND max({time}) < DATE '10000-01-01'"
        if not self._first(within):
            time = f"CASE WHEN year({time}) BETWEEN 1 AND 9999 THEN {time} END"
        if kind == "TIMESTAMP WITH TIME ZONE":
            return f"make_timestamp(epoch_us({time}))"
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


def letters_behind(text: str) -> str:
    """Letters that end a time and are no zone that is known, if there are any."""
    found = re.search(r":\d\d ?(?![AP]M$)([A-Z]{2,5})$", text)
    return found[1] if found else ""


def advice(example: str, formats: Sequence[str]) -> str:
    """How a text that cannot be read may be said to be written, as sentences."""
    if not formats:
        return " Write them like 2026-01-05T10:11:12Z, or say how by date_format (of strptime)."
    said = "  or  ".join(f'date_format: "{format}"' for format in formats)
    if letters := letters_behind(example):
        return (
            f' "{letters}" means different hours in different places. Add to this source the'
            f" lines  {said}  and  timezone: the IANA name of the zone that is meant."
        )
    which = " Which number is the day?" if len(formats) > 1 else ""
    return f"{which} Add to this source the line  {said}."


def joined(day: str, clock: str) -> str:
    """SQL of a day and its clock as one text."""
    return f"nullif(concat_ws(' ', {day}, {clock}), '')"
