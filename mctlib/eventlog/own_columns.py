"""People's own columns (country, seats): what a table of people holds beside the canonical ones.

On their way they are one JSON text, `properties`, in which no name can meet one of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import duckdb

from mctlib.contract import CANONICAL
from mctlib.eventlog.identity import some
from mctlib.eventlog.ids import normal
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.sql import sql_name, sql_path, sql_text

# Names by weeks and months are the events' (`vocabulary`), `user` is a column of the store.
TAKEN = {"user", "week", "month", *CANONICAL["people"], *CANONICAL["events"]}


def own_name(header: str) -> str:
    """What a column of people is called in the store: `own_platform` where `platform` is taken."""
    return f"own_{header}" if header.lower() in TAKEN else header


def own_columns(
    con: duckdb.DuckDBPyConnection, rows: str, known: Iterable[str] = ()
) -> tuple[list[str], str]:
    """SQL of the own columns in some staged rows (a table), and of what they are selected from.

    ``known``: names of columns that are there in any case. Names that differ by case only are one.
    """
    keys = f"SELECT DISTINCT unnest(json_keys(properties)) FROM {rows} ORDER BY 1"
    found: dict[str, list[str]] = {}
    for (key,) in con.execute(keys).fetchall():
        found.setdefault(key.lower(), []).append(key)
    named = {own_name(same[0]): same for same in found.values()}
    columns = {name: f"own_[{n}]" for n, name in enumerate(named, 1)}
    columns |= {name: "NULL::VARCHAR" for name in sorted(known) if name not in columns}
    selected = [f"{sql} AS {sql_name(name)}" for name, sql in columns.items()]
    if not found:
        return selected, rows
    # one rule for all values of a row, for the time to plan one a column grows with their square;
    # and one thing at a time, for within a rule nothing is computed once
    shape = sql_text(json.dumps({same[0]: "VARCHAR" for same in named.values()}))
    values = f"[{', '.join(map(_text, named.values()))}]"
    for rule in (normal("x"), "CASE WHEN x NOT IN ('', 'NaN') THEN x END", masked("x")):
        values = f"list_transform({values}, lambda x: {rule})"
    inner = f"SELECT *, json_transform(properties, {shape}) AS own_ FROM {rows}"
    return selected, f"(SELECT * REPLACE ({values} AS own_) FROM ({inner}))"


def _text(same: Sequence[str]) -> str:
    """SQL of the text below headers that are one name."""
    others = [f"json_extract_string(properties, {sql_path(key)})" for key in same[1:]]
    return f"coalesce({', '.join([f'own_.{sql_name(same[0])}', *others])})"


def fill_gaps(con: duckdb.DuckDBPyConnection, people: str) -> None:
    """Put into the first row of a user what only later ones say (of a second file, for example).

    ``people``: a table of staged people, whose later rows of a user are left out afterwards.
    """
    again = f"SELECT user_id FROM {people} WHERE user_id <> '' GROUP BY 1 HAVING count(*) > 1"
    if not some(con, f"({again})"):
        return
    # of two that say something the first stands
    said = [
        f"arg_min({c}, rowid) AS {c}"
        for c in CANONICAL["people"]
        if c not in ("user_id", "properties")
    ]
    filled = "json_merge_patch('{}', properties)"  # without what is null
    bags = f"list({filled} ORDER BY rowid DESC) FILTER (properties <> '')"
    merged = f"list_reduce({bags}, lambda a, b: json_merge_patch(a, b))::VARCHAR AS properties"
    put = ", ".join(f"{c} = whole.{c}" for c in CANONICAL["people"] if c != "user_id")
    con.execute(f"""
        UPDATE {people} SET {put} FROM (
            SELECT user_id, min(rowid) AS line, {", ".join([*said, merged])}
            FROM {people} WHERE user_id IN ({again}) GROUP BY user_id
        ) whole WHERE {people}.rowid = whole.line
    """)
