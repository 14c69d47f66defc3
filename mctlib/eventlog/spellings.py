"""One spelling for what is written in several ways: platforms, and partners by `aliases`."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from mctlib.contract import PLATFORMS
from mctlib.eventlog.sql import sql_text

# What `aliases` mend, table by table; a promo code is no spelling, and stays.
MENDED = {
    "events": ("utm_source", "partner_id"),
    "people": ("partner_id",),
    "manual": ("partner_id",),
    "spend": ("partner_id",),
}


def written(column: str) -> str:
    """The column of the events that keeps what stood in a mended one."""
    return f"{column}_written"


def plain(word: str) -> str:
    """A name as `aliases` look it up: in any case, without spaces around it."""
    return word.strip().lower()


def platform(x: str) -> str:
    """SQL of a platform: `ANDROID ` is android; what is no known word stays as it is."""
    known = ", ".join(map(sql_text, PLATFORMS))
    return f"CASE WHEN lower(trim({x})) IN ({known}) THEN lower(trim({x})) ELSE {x} END"


def mend(con: duckdb.DuckDBPyConnection, aliases: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Make `mended_<column>` (word, means) of the events' names, and mend those of other tables.

    An alias that means nobody ("") mends nothing. Returns table.column -> its mended names and
    their rows.
    """
    means = {plain(word): name for word, name in aliases.items() if name}
    found: dict[str, dict[str, int]] = {}
    for table, columns in MENDED.items():
        for column in columns:
            names = f"SELECT {column}, count(*) FROM in_{table} WHERE {column} <> '' GROUP BY 1"
            counted = con.execute(names).fetchall() if means else []
            pairs = {w: means[plain(w)] for w, _ in counted if means.get(plain(w), w) != w}
            kept = f"mended_{column}" if table == "events" else "mended"
            con.execute(f"CREATE OR REPLACE TEMP TABLE {kept} (word VARCHAR, means VARCHAR)")
            if pairs:
                con.executemany(f"INSERT INTO {kept} VALUES (?, ?)", list(pairs.items()))
                found[f"{table}.{column}"] = {w: n for w, n in sorted(counted) if w in pairs}
            if table != "events":
                con.execute(f"""UPDATE in_{table} SET {column} = means FROM mended
                    WHERE {column} = word""")
    return found


def mended_columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns of the events of which some names are mended."""
    return [
        column
        for column in MENDED["events"]
        if con.execute(f"SELECT 1 FROM mended_{column} LIMIT 1").fetchall()
    ]
