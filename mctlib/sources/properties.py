"""What no canonical column takes becomes a row's properties: one JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING

from mctlib.contract import ENUMS
from mctlib.eventlog.personal import is_id, left_out, of_partner
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.sql import MANY, sql_json, sql_name, sql_path, sql_text
from mctlib.phrases import count
from mctlib.sources.amounts import AmountColumn

if TYPE_CHECKING:
    from mctlib.sources.staging import Stage


def spaced(stage: Stage, chosen: Mapping[str, str]) -> Iterator[str]:
    """Sentences about names that are written with spaces around them and counted without.

    ``chosen``: canonical column -> SQL of its text.
    """
    cleaned = {c: sql for c, sql in chosen.items() if c in ENUMS and "clean(" in sql}
    if not cleaned:
        return
    told = []
    for sql in cleaned.values():
        raw = sql.replace("clean(", "(")
        around = f"FILTER ({raw} <> {sql} AND trim({raw}) = {sql})"
        said, name = f"min({raw}) {around}", f"arg_min({sql}, {raw}) {around}"
        told.append(f"count(*) {around}, {masked(said)}, {masked(name)}")
    (found,) = stage.con.sql(f"SELECT {', '.join(told)} FROM {stage.rows()}").fetchall()
    for column, n, said, name in zip(cleaned, found[::3], found[1::3], found[2::3]):
        if n:
            yield (
                f"{stage.shown}: {count(n, 'row')} with spaces around the {column}, counted "
                f"without them: {json.dumps(said)} as {json.dumps(name)}."
            )


def rest(stage: Stage, clean: str) -> tuple[str, str]:
    """JSON text of what is left, without regulated keys and nulls, ids in it hashed.

    And the columns that `Stage.rows` must add for it. ``clean``: the macro for columns' texts.
    """
    left = [
        header
        for name, header in stage.headers.items()
        if name not in stage.used and not left_out(header, of_people=bool(clean))
    ]
    parts = ["'{}'::JSON"]
    hashed, kept, more = _apart(stage, left)
    left = [header for header in left if header not in hashed and header not in kept]
    if left:
        names = [sql_name(header) for header in left]
        holding = _any(stage, names, "starts_with({0}, '{{') OR starts_with({0}, '[')")
        numbers = _plain_numbers(stage, names) if clean else {}

        def value(text: str) -> str:
            nested = text in holding or text == "x" and holding
            cleaned = text if text in numbers.values() else f"{clean}({text})"
            return f"as_json({cleaned})" if nested else cleaned

        texts = [numbers.get(name, name) for name in names]
        # a rule for plain texts is soon planned
        most = MANY if holding else 5 * MANY
        bag = sql_json(dict(zip(left, texts)), value, most=most)
        more += f", {bag}::VARCHAR AS left_"
        # its own keys are clean, those inside may not be
        deep = "contains(left_, ':{') OR contains(left_, '[{')"
        scrubbed = f"CASE WHEN {deep} THEN scrub(left_) ELSE left_ END"
        parts.append(f"try_cast({scrubbed} AS JSON)")
    if stage.keys:
        more += ", props_::VARCHAR AS right_"
        gone = json.dumps(dict.fromkeys(stage.used_keys), ensure_ascii=False)
        parts += ["try_cast(scrub(right_) AS JSON)", f"{sql_text(gone)}::JSON"]
    if kept:
        parts.append(sql_json(kept, str))
    if hashed:
        parts.append(sql_json(hashed, "pseudonym(clean({}))".format))
    if len(parts) == 1:
        return "NULL", more
    merged = f"json_merge_patch({', '.join(parts)})"
    return f"nullif({merged}::VARCHAR, '{{}}')", more


def _apart(stage: Stage, left: Sequence[str]) -> tuple[dict[str, str], dict[str, str], str]:
    """Which columns (of those that are left) and properties would be scrubbed by their names.

    Name -> SQL: of those to be hashed the text, of ids of partners the value. And the column that
    `Stage.rows` must add: texts of properties, in one go.
    """
    hashed: dict[str, str] = {}
    kept: dict[str, str] = {}
    inside: list[str] = []
    asked = set(map(str.lower, stage.hash))
    for name in (*left, *(key for key in stage.keys if key not in stage.used_keys)):
        stage.hashed |= {name} if name.lower() in asked else set()
        if name in stage.hashed or is_id(name) and not of_partner(name):
            inside += [] if name in left else [sql_path(name)]
            hashed[name] = sql_name(name) if name in left else f"apart_[{len(inside)}]"
        elif is_id(name):
            value = f"json_extract(props_, {sql_path(name)})"
            kept[name] = f"as_json({sql_name(name)})" if name in left else value
    apart = f", json_extract_string(props_, [{', '.join(inside)}]) AS apart_" if inside else ""
    return hashed, kept, apart


def _any(stage: Stage, names: Sequence[str], test: str) -> set[str]:
    """Those among some columns of which a value passes a test, SQL with {0} for the value.

    Asked for some at a time, for the time that it takes to plan grows with their square.
    """
    found: set[str] = set()
    for n in range(0, len(names), MANY):
        some = names[n : n + MANY]
        looks = (f"bool_or({test.format(name)})" for name in some)
        asked = f"SELECT {', '.join(looks)} FROM {stage.table}"
        found.update(compress(some, stage.con.sql(asked).fetchall()[0]))
    return found


def _plain_numbers(stage: Stage, names: Sequence[str]) -> dict[str, str]:
    """SQL of those among some columns that hold numbers written otherwise than SQL's."""
    found = {}
    for name in _any(stage, names, r"regexp_matches({0}, '\d[,.'' \x{{a0}}\x{{202f}}]\d')"):
        rows, text = stage.rows(), f"clean({name})"
        column = AmountColumn(stage.con, stage.shown, name, rows, text, stage.decimal, stage.typed)
        found[name], unsure = column.plainly()
        if unsure:
            stage.unsure.append(
                f'{stage.shown}: "{unsure}" in the column {name} is one number with a decimal point'
                " and another with a decimal comma, so the column stays text. Add to this source"
                ' the line  decimal: "."  or  decimal: ","'
            )
    return found
