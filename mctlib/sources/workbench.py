"""Where sources are staged, and what its SQL calls by name: how texts are cleaned and read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from mctlib.contract import NO, PLATFORMS, YES
from mctlib.eventlog.build import owner
from mctlib.eventlog.ids import normal
from mctlib.eventlog.personal import OF_SOMEBODY, REGULATED
from mctlib.eventlog.pseudonyms import hashed
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.store import connect
from mctlib.sources import spellings

NAMED = " ".join(
    f"WHEN regexp_matches(lower(x), {sql_text(words)}) THEN '{platform}'"
    for platform, words in PLATFORMS.items()
)
# clean: a value, or NULL where a tool wrote something for nothing; tidy: it needs no cleaning.
# blank: a value, or NULL where nothing is written. holds: whether a text is JSON of a kind.
# scrub: a JSON text without the values of keys that are personal.
MACROS = rf"""
CREATE TEMP MACRO clean(x) AS CASE
    WHEN list_position(['', 'null', 'NULL', 'None', '\N', 'NaN', 'NaT'], trim(x)) IS NULL
    THEN trim(x) END;
CREATE TEMP MACRO blank(x) AS CASE WHEN trim(x) NOT IN ('', '\N') THEN trim(x) END;
CREATE TEMP MACRO tidy(x) AS CASE
    WHEN strlen(x) > 4 THEN strlen(x) = length(x) AND x >= '!' AND NOT ends_with(x, ' ')
    ELSE clean(x) IS NOT DISTINCT FROM x END;
CREATE TEMP MACRO as_json(x) AS CASE
    WHEN left(x, 1) IN ('{{', '[') AND json_valid(x) THEN x::JSON ELSE to_json(x) END;
CREATE TEMP MACRO holds(x, kind) AS coalesce(json_type(try_cast(x AS JSON)) = kind, false);
CREATE TEMP MACRO as_object(x) AS CASE WHEN holds(x, 'OBJECT') THEN x::JSON ELSE '{{}}'::JSON END;
CREATE TEMP MACRO scrub(x) AS regexp_replace(x,
    '"({REGULATED}|{OF_SOMEBODY})"\s*:\s*'
    || '("(?:[^"\\]|\\.)*"|\{{[^{{}}]*\}}|\[[^\[\]]*\]|[^",{{}}\[\]\s]+)', '"\1":null', 'gi');
CREATE TEMP MACRO yes_no(x) AS CASE
    WHEN regexp_matches(lower(x), '^(yes|y|yep|true|1|ja|oui|si|sim)\b') THEN 'yes'
    WHEN regexp_matches(lower(x), '^(no|n|nope|false|0|nein|non|nao)\b') THEN 'no' END;
CREATE TEMP MACRO consents(x) AS CASE
    WHEN regexp_matches(lower(x), '^{YES}') THEN true
    WHEN regexp_matches(lower(x), '^{NO}') THEN false END;
CREATE TEMP MACRO platform_of(x) AS CASE {NAMED}
    ELSE lower(x) END;
"""


@contextmanager
def workbench(
    beside: Path | None, salted: str = ""
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A DuckDB file for staged tables and a folder for unpacked archives; gone afterwards.

    salted: put before what is hashed here.
    """
    suffix = f".{owner()}.tmp"
    if beside:
        beside.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(suffix, ".staging-", beside) as folder,
        connect(f"{folder}/staging.duckdb") as con,
    ):
        hashing = f" CREATE TEMP MACRO pseudonym(x) AS {hashed(normal('x'), salted)}"
        con.execute(MACROS + spellings.MACROS + hashing)
        yield con, Path(folder)
