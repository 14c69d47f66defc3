"""How texts and names stand in SQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

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


def sql_path(key: str) -> str:
    """SQL of the path of a property, in JSON."""
    return sql_text("$." + json.dumps(key, ensure_ascii=False))


def sql_json(texts: Mapping[str, str], value: Callable[[str], str], *, most: int = MANY) -> str:
    """SQL of a JSON object of names, with a `value` (SQL) of the text (SQL) of each.

    Of more than ``most`` the rule of all values is written once, which is four times as slow.
    """
    names = list(map(sql_text, texts))
    if len(texts) <= most:
        pairs = (f"{name}, {value(text)}" for name, text in zip(names, texts.values()))
        return f"json_object({', '.join(pairs)})"
    values = f"list_transform([{', '.join(texts.values())}], lambda x: {value('x')})"
    return f"to_json(map([{', '.join(names)}], {values}))"


def payload(properties: str = "e.properties") -> str:
    """A number of an event that is alike, but for chance, where events say the same."""
    return f"(hash(enum_code(e.event), {properties}) >> 32)::UINTEGER"
