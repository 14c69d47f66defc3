"""What of a source no reader uses: its other columns and properties as one JSON text."""

from __future__ import annotations

import json
from itertools import compress
from typing import TYPE_CHECKING

from mctlib.eventlog.personal import is_id, left_out, of_partner
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.sources.amounts import AmountColumn

if TYPE_CHECKING:
    from mctlib.sources.staging import Stage


def rest(stage: Stage, clean: str) -> tuple[str, str]:
    """JSON text of what is left, without regulated keys and nulls, ids in it hashed.

    And the columns that `rows` must add for it. ``clean``: the macro for the columns' texts.
    """
    left = [
        header
        for name, header in stage.headers.items()
        if name not in stage.used and not left_out(header, of_people=bool(clean))
    ]
    parts = ["'{}'::JSON"]
    more = ""
    apart = {}
    for header in left:
        sql = sql_name(header)
        apart[header] = _apart(stage, header, f"clean({sql})", f"as_json({sql})")
    left = [header for header in left if not apart[header]]
    for key in (key for key in stage.keys if key not in stage.used_keys):
        path = sql_text(f"$.{json.dumps(key, ensure_ascii=False)}")
        text, value = (f"json_extract{end}(props_, {path})" for end in ("_string", ""))
        apart[key] = _apart(stage, key, text, value)
    if left:
        names = [sql_name(header) for header in left]
        # as_json of 5,000 columns takes the planner minutes, and few need it
        holding = _any(stage, names, "starts_with({0}, '{{') OR starts_with({0}, '[')")
        texts = {name: f"{clean}({name})" for name in names}
        if clean:
            texts |= _plain_numbers(stage, names)
        values = (f"as_json({texts[n]})" if n in holding else texts[n] for n in names)
        pairs = ", ".join(f"{sql_text(h)}, {value}" for h, value in zip(left, values))
        more += f", json_object({pairs})::VARCHAR AS left_"
        # its own keys are clean, those inside may not be
        deep = "contains(left_, ':{') OR contains(left_, '[{')"
        scrubbed = f"CASE WHEN {deep} THEN scrub(left_) ELSE left_ END"
        parts.append(f"try_cast({scrubbed} AS JSON)")
    if stage.keys:
        more += ", props_::VARCHAR AS right_"
        gone = json.dumps(dict.fromkeys(stage.used_keys), ensure_ascii=False)
        parts += ["try_cast(scrub(right_) AS JSON)", f"{sql_text(gone)}::JSON"]
    if any(apart.values()):
        pairs = ", ".join(f"{sql_text(name)}, {sql}" for name, sql in apart.items() if sql)
        parts.append(f"json_object({pairs})")
    if len(parts) == 1:
        return "NULL", more
    merged = f"json_merge_patch({', '.join(parts)})"
    return f"nullif({merged}::VARCHAR, '{{}}')", more


def _apart(stage: Stage, name: str, text: str, value: str) -> str:
    """SQL of a property whose name would have it scrubbed: its hash, of partners itstage."""
    named = name.lower() in map(str.lower, stage.hash)
    stage.hashed |= {name} if named else set()
    if named or is_id(name) and not of_partner(name):
        return f"pseudonym({text})"
    return value if is_id(name) else ""


def _any(stage: Stage, names: list[str], test: str) -> set[str]:
    """Those among some columns of which a value passes a test, SQL with {} for the value.

    Asked for some at a time, for the time that it takes to plan grows with their square.
    """
    found: set[str] = set()
    for n in range(0, len(names), 100):
        some = names[n : n + 100]
        looks = (f"bool_or({test.format(x)})" for x in some)
        asked = f"SELECT {', '.join(looks)} FROM {stage.table}"
        found.update(compress(some, stage.con.sql(asked).fetchall()[0]))
    return found


def _plain_numbers(stage: Stage, names: list[str]) -> dict[str, str]:
    """SQL of those among some columns that hold numbers written otherwise than SQL's."""
    found = {}
    for name in _any(stage, names, r"regexp_matches({}, '\d[,.'' \x{{a0}}\x{{202f}}]\d')"):
        column = AmountColumn(
            stage.con, stage.shown, name, stage.rows(), f"clean({name})", stage.decimal
        )
        found[name] = column.plainly()
    return found
