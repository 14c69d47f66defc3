"""How ids are written alike, and what is no id: in SQL that DuckDB and Spark read alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from string import ascii_letters
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.walk_kernels import COLUMN, SHORT

Ask: TypeAlias = Callable[[str], list[Any]]  # SQL -> the rows that answer it

JOINING = ("user_id", "anonymous_id", "account_id", "partner_id")  # by which tables meet
# Spaces of every kind, and characters that are not seen at all.
ODD_SPACES = "\t\n\v\f\r\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000"
ODD_SPACES += "".join(map(chr, range(0x2000, 0x200B)))
UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
# What SDKs and exports write where they know nobody, in small letters; most are refused by
# Amplitude ("invalid IDs") and PostHog ("distinct ID blocklist") too.
NOBODY: list[str] = """
    undefined null (null) <null> none (none) nil nan n/a na #n/a #null! #ref! #value! #name?
    not_set (not_set) unknown anonymous guest not_authenticated true false {} [] -1
    id email user_id userid distinct_id distinctid anonymous_id customer_id
    00000000-0000-0000-0000-000000000000 00000000000000000000000000000000
""".split()
NOBODY += [name.replace("_", " ") for name in NOBODY if "not_set" in name]
# What a row of sums is called below a spreadsheet's table.
_SUMS = """
    total totals grand_total subtotal sum overall gesamt gesamtsumme gesamtergebnis summe insgesamt
    zwischensumme total_général total_general somme totale totaal suma
""".split()
NOBODY += [word.replace("_", " ") + end for word in _SUMS for end in ("", ":")]
UNFILLED = ("{{%}}", "${%}", "[object %]")  # templates, and objects that were printed
ROUNDED = "such as 1.23457E+17"  # what a spreadsheet makes of long ids: many become one
# The bytes of an id that is fine at a glance: letters (1), 0 (2), other digits (3), dashes (4).
# What is nobody's has none of 1 to 9, no letter beside a 0, other bytes (8) or a dash in front.
GLANCE = np.full(256, 8, np.uint8)
for _kind, _those in {1: ascii_letters, 2: "0", 3: "123456789", 4: "-_"}.items():
    GLANCE[[*_those.encode()]] = _kind
INTEGERS = 0.9  # share of a column's ids that are integers where 0 may be one too


def asking(con: duckdb.DuckDBPyConnection) -> Ask:
    """A function that asks a connection for rows."""
    return lambda sql: con.execute(sql).fetchall()


def normal_ids(columns: Iterable[str], *, ignore_case: bool = False) -> dict[str, str]:
    """SQL of those among some columns by which tables meet, see `normal`.

    ``ignore_case``: of users and accounts; attribution reads partners so in any case.
    """
    return {
        column: normal(
            f"CAST({column} AS STRING)", ignore_case=ignore_case and column != "partner_id"
        )
        for column in columns
        if column in JOINING
    }


def look_at(
    ask: Ask, rows: str, columns: Iterable[str], *, users: str = "", ignore_case: bool = False
) -> tuple[dict[str, str], bool]:
    """What has to be done about the ids in some rows (SQL), by one look at the different ones.

    Returns the columns that are not all `normal`, with the SQL that makes them so, and whether any
    id is suspected to be none. Mostly it is nothing, and every later look is spared the work.
    ``users``: a table (user_id, odd) that is to keep the users' ids, `normal`, for later.
    """
    odd, suspicious = {}, False
    for column, written in normal_ids(columns, ignore_case=ignore_case).items():
        ids = f"SELECT DISTINCT {column} FROM {rows} WHERE {column} IS NOT NULL"
        both = f"SELECT {written} AS {column}, CAST({column} AS STRING) <> {written} AS odd"
        found = f"({both} FROM ({ids}))"
        if users and column == "user_id":
            ask(f"INSERT INTO {users} FROM {found}")
            found = users
        suspected = " OR ".join(suspects(column, zero=True))
        flags = f"coalesce(bool_or(odd), false), coalesce(bool_or({suspected}), false)"
        ((is_odd, is_suspicious),) = ask(f"SELECT {flags} FROM {found}")
        if is_odd:
            odd[column] = written
        suspicious = suspicious or is_suspicious and column != "partner_id"
    return odd, suspicious


def fine_at_a_glance(
    con: duckdb.DuckDBPyConnection, rows: str, *, ignore_case: bool = False
) -> bool:
    """Whether every user_id in some rows (SQL) is seen to be `normal` and somebody's.

    It takes half the time of `look_at`, which has to find the different ones.
    """
    kinds = GLANCE.copy()
    if ignore_case:
        kinds[ord("A") : ord("Z") + 1] = 8
    ids = con.sql(f"SELECT user_id FROM {rows} WHERE user_id IS NOT NULL")
    with ids.to_arrow_reader(250_000) as batches:
        for batch in batches:
            column = batch.column(0).cast(pa.large_string())
            _, ends, text = column.buffers()
            starts = np.frombuffer(ends, np.int64)[column.offset :][: len(column) + 1]
            if not _are_fine(starts, np.frombuffer(text or b"", np.uint8), kinds):
                return False
    return True


@njit((COLUMN, SHORT, SHORT), cache=True, nogil=True)
def _are_fine(starts: NDArray[np.int64], text: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> bool:
    for row in range(len(starts) - 1):
        found = 0
        for at in range(starts[row], starts[row + 1]):
            found |= kinds[text[at]]
        if found & 11 != 3 or text[starts[row]] == ord("-"):
            return False
    return True


def normal(x: str, *, ignore_case: bool = False) -> str:
    """SQL of a text as every table writes it: `1000.0` as `1000`, no odd or outer spaces."""
    # most are so already, which is seen without taking them apart
    written = f"CASE WHEN {plain(x)} THEN {x} ELSE {rewritten(x)} END"
    return f"lower({written})" if ignore_case else written


def rewritten(x: str) -> str:
    """SQL of any text as `normal` writes it."""
    spaced = f"translate({x}, {sql_text(ODD_SPACES + UNSEEN)}, {sql_text(' ' * len(ODD_SPACES))})"
    whole = f"nullif(regexp_extract(trim({spaced}), '^([+-]?[0-9]+)[.]0*$', 1), '')"
    return f"coalesce({whole}, trim({spaced}))"


def plain(x: str) -> str:
    """SQL that is true for texts that are `normal` at a glance."""
    ascii_only = f"bit_length({x}) = 8 * length({x})"
    return f"{ascii_only} AND {x} >= '!' AND right({x}, 1) >= '!' AND NOT contains({x}, '.')"


def suspects(x: str, *, zero: bool) -> tuple[str, str]:
    """Two SQL conditions on ids that are none; the first, a plain list, is quick.

    ``zero``: whether 0 is none, because the others are no integers.
    """
    spelt = {f(name) for name in NOBODY for f in (str.lower, str.upper, str.title)}
    spelt |= {"0"} if zero else set()
    listed = f"{x} IN ({', '.join(map(sql_text, sorted(spelt)))})"
    unfilled = " OR ".join(f"{x} LIKE {sql_text(like)}" for like in UNFILLED)
    return listed, f"({unfilled} OR {_rounded(x)})"


def _rounded(x: str) -> str:
    pattern = "^(-?[0-9]([.,][0-9]+[eE][+]?|[eE][+])[0-9]{1,3})$"
    far = f"(contains({x}, '+') OR contains({x}, '.') OR contains({x}, ','))"
    return f"({far} AND regexp_extract({x}, '{pattern}', 1) <> '')"


def are_integers(ask: Ask, column: str, tables: Sequence[str]) -> bool:
    """Whether a column's ids are integers above 0, of which 0 may be one too."""
    some = f"SELECT {column} AS id FROM {{}} WHERE {column} > '0' LIMIT 100000"
    ids = " UNION ALL ".join(f"({some.format(table)})" for table in tables)
    digits = "regexp_extract(id, '^([0-9]*[1-9][0-9]*)$', 1) <> ''"
    ((share,),) = ask(f"SELECT avg(CASE WHEN {digits} THEN 1.0 ELSE 0.0 END) FROM ({ids})")
    return float(share or 0) >= INTEGERS


def called(x: str, column: str) -> str:
    """SQL of the reason to leave out a row whose ``column`` is an impossible id."""
    name = f"CASE WHEN {_rounded(x)} THEN '{ROUNDED}' ELSE concat('\"', {x}, '\"') END"
    return f"concat('impossible {column} ', {name})"


def find_impossible(ask: Ask, column: str, tables: Sequence[str]) -> list[str]:
    """What stands in a column of some tables and is nobody's id."""
    found: set[str] = set()
    for table in tables:
        for suspect in suspects(column, zero=True):
            rows = ask(f"SELECT DISTINCT {column} FROM {table} WHERE {suspect}")
            found |= {value for (value,) in rows}
    if "0" in found and are_integers(ask, column, tables):
        found.remove("0")
    return sorted(found)


def one_of(x: str, ids: Sequence[str]) -> str:
    """SQL that is true for some ids."""
    return f"coalesce({x} IN ({', '.join(map(sql_text, ids))}), false)" if ids else "false"
