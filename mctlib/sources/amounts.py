"""How the amounts of a column are written, and the SQL that makes numbers of them."""

from dataclasses import dataclass
from typing import Any

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog.sql import sql_text
from mctlib.sources.times import put

SIGNS = {".": ",", ",": "."}  # a decimal sign -> the one that then stands between thousands
GAPS = (" ", "\u00a0", "\u202f", "'", "\u2019")  # what else may stand there


def _meant(sign: str) -> str:
    """SQL of the number that a text x is by this decimal sign; NULL where it is none."""
    gaps = "|".join(rf"[1-9]\d{{0,2}}([{gap}]\d{{3}})+" for gap in (SIGNS[sign], *GAPS))
    power = r"([eE][+-]?\d+)?" if sign == "." else ""
    written = rf"[+-]?((\d+|{gaps})([{sign}]\d*)?|[{sign}]\d+){power}"
    digits = f"replace(regexp_replace(x, '[^0-9eE{sign}+-]', '', 'g'), '{sign}', '.')"
    number = f"try_cast({digits} AS DOUBLE)"
    return (
        f"(CASE WHEN regexp_full_match(x, {sql_text(written)}) AND isfinite({number})"
        f" THEN {number} END)"
    )


@dataclass(frozen=True)
class AmountColumn:
    """A column of amounts: its name in the contract, and SQL of its texts and of their rows.

    decimal: the sign that the YAML names. typed: the texts were numbers in their file.
    """

    con: duckdb.DuckDBPyConnection
    shown: str
    column: str
    rows: str
    sql: str
    decimal: str | None = None
    typed: bool = False

    def plainly(self) -> tuple[str, str]:
        """SQL of texts in which all numbers are written as SQL does, where all texts are numbers.

        Of a column that nobody calls an amount: where nothing tells its sign it stays as it is, and
        one of its values that two signs read as two numbers is returned too.
        """
        point, comma = (_meant(sign) for sign in SIGNS)
        n, n_point, n_comma, n_plain, example = self._ask(
            f"count(*), count({point}), count({comma}),"
            f" count_if(try_cast(x AS DOUBLE) = {point}), min(x) FILTER ({point} <> {comma})"
        )
        readable = [sign for sign, n_read in zip(SIGNS, (n_point, n_comma)) if n_read == n]
        sign = self.decimal or next(iter(readable), "")
        if not n or sign not in readable or n_plain == n and (self.typed or not example):
            return self.sql, ""
        if len(readable) == 2 and example and not self.decimal:
            return self.sql, example
        return f"({put(_meant(sign), self.sql)})::VARCHAR", ""

    def read(self, *, refunds: bool = True) -> str:
        """SQL of the numbers, by the decimal sign by which all values can be read.

        Raises DataError: some are no numbers, the sign cannot be told, or some are negative where
        nobody said that there are ``refunds``.
        """
        point, comma = (_meant(sign) for sign in SIGNS)
        n, n_point, n_comma, n_some = self._ask(
            f"count(*), count({point}), count({comma}), count(coalesce({point}, {comma}))"
        )
        if n_some < n:
            self._refuse(f"coalesce({point}, {comma}) IS NULL", "no numbers like 1234.50")
        readable = [sign for sign, n_read in zip(SIGNS, (n_point, n_comma)) if n_read == n]
        if not readable:
            self._refuse(f"{point} IS NULL", "written with a decimal comma, others with a point")
        sign = self.decimal or readable[0]
        if sign not in readable:
            self._refuse(f"{_meant(sign)} IS NULL", f'no numbers by  decimal: "{sign}"')
        if len(readable) == 2 and not (self.decimal or self.typed):
            self._refuse(
                f"{point} <> {comma}",
                "one number with a decimal point and another with a decimal comma",
                '. Add to this source the line  decimal: "."  or  decimal: ","',
            )
        if not refunds:
            self._refuse(
                f"{_meant(sign)} < 0",
                "negative",
                ". If they are refunds, add to this source the line  refunds: true; if not,"
                " correct the sign",
            )
        return put(_meant(sign), self.sql)

    def _refuse(self, condition: str, what: str, more: str = "") -> None:
        """Raise DataError where there are values, x, of this condition."""
        n, n_bad, example = self._ask(
            f"count(*), count(*) FILTER ({condition}), min(x) FILTER ({condition})"
        )
        if n_bad:
            raise DataError(
                f'{self.shown}: {n_bad} of {n} values of "{self.column}" are {what},'
                f' for example "{example}"{more}.'
            )

    def _ask(self, aggregates: str) -> tuple[Any, ...]:
        rows = f"(SELECT {self.sql} AS x FROM {self.rows}) WHERE x IS NOT NULL"
        return self.con.sql(f"SELECT {aggregates} FROM {rows}").fetchall()[0]
