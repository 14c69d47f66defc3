"""What a reader is, and how answers are read, which readers of surveys share."""

import copy
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from mctlib.contract import CANONICAL
from mctlib.eventlog.sql import sql_text
from mctlib.sources.staging import Stage

# Canonical table -> the SELECT that fills it.
Selects: TypeAlias = dict[str, str]


class Reader(NamedTuple):
    """How one format is read.

    read: (table, **one Stage per role) -> {canonical table: SELECT}. roles: what its files can be,
    each with the columns that tell; a file belongs to the first that fits. tables: what it can
    fill. timezone: the zone of times that carry none.
    """

    read: Callable[..., Selects]
    roles: dict[str, tuple[str, ...]]
    tables: tuple[str, ...] = ("events", "backend")
    timezone: str | None = "UTC"

    def role_of(self, headers: set[str]) -> str | None:
        """What a file of these columns, in small letters, is to this reader; None if nothing."""
        for role, columns in self.roles.items():
            if headers >= {column.lower() for column in columns}:
                return role
        return None


def survey(table: str, rows: Stage, **mapping: str) -> Selects:
    """Answers, one a row, or one column a question, which the YAML maps by its micro-conversion.

    Of the latter a blank answer is no row. An open question ("How did you hear about us?") is
    mapped like the others; its text goes to `reason`, see `Stage.select`.
    """
    asked = {name: header for name, header in rows.columns.items() if name not in CANONICAL[table]}
    one_a_row = {"answer", "micro_conversion"} & (rows.columns.keys() | rows.headers.keys())
    if one_a_row or not asked:
        return {table: rows.select(table, **mapping)}
    others = {name: header for name, header in rows.columns.items() if name not in asked}
    selects = []
    for name, header in asked.items():
        question = copy.copy(rows)
        question.columns = others | {"answer": header}
        answers = question.select(table, **mapping, micro_conversion=sql_text(name))
        selects.append(f"{answers} WHERE {question.get(header)} IS NOT NULL")
    return {table: " UNION ALL ".join(selects)}


def refusals(table: str, rows: Stage) -> Selects:
    """Who refuses in a row that is not of people, as people, of whom nothing is kept.

    The column is mapped to consent or called so; it is no column of the table.
    """
    if "consent" in CANONICAL[table] or "user_id" not in CANONICAL[table]:
        return {}
    mapped = rows.columns.pop("consent", "")
    said = mapped or rows.headers.get("consent", "")
    ids = [rows.columns.get(column, column) for column in ("user_id", "anonymous_id")]
    if not said or (user := rows.get(*ids)) == "NULL":
        return {}
    people, wanted = copy.copy(rows), {said.lower(), rows.email.lower()}
    people.columns = {"consent": said}
    people.headers = {name: header for name, header in rows.headers.items() if name in wanted}
    people.keys = [key for key in rows.keys if key in (mapped, rows.email)]
    select = people.select("people", user_id=user)
    refused = "NOT consent AND user_id <> ''"
    return {"people": f"SELECT DISTINCT user_id, consent FROM ({select}) WHERE {refused}"}


def same_person(rows: Stage) -> Selects:
    """Whose address a hash is, where rows have both an address and a user_id."""
    if not rows.pair:
        return {}
    return {"identities": f"FROM (SELECT {rows.pair} FROM {rows.rows()}) WHERE anonymous_id <> ''"}
