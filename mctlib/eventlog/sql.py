"""How texts and names stand in SQL."""

from __future__ import annotations


def sql_text(value: object) -> str:
    """SQL of a text."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(column: str) -> str:
    """SQL of a column's name."""
    return '"' + column.replace('"', '""') + '"'
