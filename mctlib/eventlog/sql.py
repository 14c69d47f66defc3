"""How texts and names stand in SQL."""

from __future__ import annotations

# Columns for each of which one statement may say a rule: the time to plan it grows with the square.
MANY = 100


def sql_text(value: object) -> str:
    """SQL of a text."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(column: str) -> str:
    """SQL of a column's name."""
    return '"' + column.replace('"', '""') + '"'


def sql_number(text: str) -> str:
    """SQL of the number that a text is; NULL where it is none, as inf, nan and 1_000 are."""
    read = f"try_cast({text} AS DOUBLE)"
    return f"CASE WHEN isfinite({read}) AND NOT contains({text}, '_') THEN {read} END"


def sql_object(text: str) -> str:
    """SQL of a text that is a JSON object; NULL where it is none."""
    return f"CASE WHEN json_type(try_cast({text} AS JSON)) = 'OBJECT' THEN {text} END"
