"""Whether events keep the tracking plan: five kinds of violation, and what is not there at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from mctlib.contract import MISSING
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.late_start import ALL
from mctlib.eventlog.sql import sql_path, sql_text
from mctlib.eventlog.steps import Step
from mctlib.tracking_plan.check import KINDS
from mctlib.tracking_plan.plan import Plan, Property

# JSON's types as DuckDB names them -> those of a plan.
TYPES = {
    "string": ("VARCHAR",),
    "number": ("DOUBLE", "BIGINT", "UBIGINT", "HUGEINT"),
    "integer": ("BIGINT", "UBIGINT", "HUGEINT"),
    "boolean": ("BOOLEAN",),
    "object": ("OBJECT",),
    "array": ("ARRAY",),
    "null": ("NULL",),
}
COLUMNS = ["micro_conversion", "kind", "what", "rule", "platform", "app_version"]
COLUMNS += ["n_users", "n_events", "n_violating", "violating_rate", "first_at", "last_at"]


def violations_table(
    log: EventLog, plan: Plan, steps: Sequence[Step], until: int, extra: pd.DataFrame
) -> pd.DataFrame:
    """`Audit.violations`; only events of which the plan says something are read.

    ``extra``: of those that it does not name, see `volumes.count_volumes`.
    """
    found = [_unplanned(extra)]
    for name, step in zip(plan.micro_conversions, steps):
        rules = list(_rules(log, plan, name))
        if rules and any(event in log.event_names for event in step.names):
            found.append(_violations(log, name, step, rules, until))
    table = pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)
    place = table["kind"].map(KINDS.index)
    order = table.assign(place=place).sort_values(["place", "n_violating"], ascending=[True, False])
    return order[COLUMNS].reset_index(drop=True)


def _unplanned(extra: pd.DataFrame) -> pd.DataFrame:
    """Events that the plan does not name."""
    found = extra.groupby(["event", "platform", "app_version"], as_index=False).agg(
        n_users=("n_users", "sum"),
        n_events=("n_events", "sum"),
        first_at=("first", "min"),
        last_at=("last", "max"),
    )
    for end in ("first_at", "last_at"):
        found[end] = found[end].astype("int64").astype("datetime64[us]")
    said = {"micro_conversion": found["event"], "kind": KINDS[0], "what": found["event"]}
    return found.assign(
        **said, rule="no event of the plan", n_violating=found["n_events"], violating_rate=1.0
    )


DEVICE_SQL = ", ".join(
    f"coalesce({column}::VARCHAR, {sql_text(MISSING)}) AS {column}"
    for column in ("platform", "app_version")
)


def _rules(log: EventLog, plan: Plan, name: str) -> Iterator[tuple[str, str, str, str]]:
    """Kind, property, rule in words and SQL that is true where it is violated."""
    each = plan.micro_conversions[name]
    for key, asked in each.properties.items():
        yield from _of_property(key, asked)
    if each.additional == "flag":
        named = set().union(*(rule.named for e, rule in plan.rules().items() if e in _names(each)))
        known = ", ".join(map(sql_text, sorted(named))) or "''"
        keys = "json_keys(coalesce(e.properties, '{}'))"
        extra = f"len(list_filter({keys}, lambda x: x NOT IN ({known}))) > 0"
        yield KINDS[3], "properties", "no property", extra


def _names(each: Any) -> set[str]:
    return set(each.step("").names)


def _of_property(key: str, asked: Property) -> Iterator[tuple[str, str, str, str]]:
    path = sql_path(key)
    kind = f"json_type(e.properties, {path})"
    if asked.required == "yes":
        yield KINDS[1], key, "required", f"{kind} IS NULL"
    if asked.type:
        known = {duck for word in asked.type for duck in TYPES[word]}
        wrong = f"{kind} NOT IN ({', '.join(map(sql_text, sorted(known)))})"
        if "integer" in asked.type and "number" not in asked.type:  # 1.0 is one
            value = f"try_cast(json_extract_string(e.properties, {path}) AS DOUBLE)"
            wrong = f"({wrong}) AND NOT ({kind} = 'DOUBLE' AND {value} = trunc({value}))"
        yield KINDS[2], key, " or ".join(asked.type), wrong
    if asked.enum:
        same = [_equals(path, kind, value) for value in asked.enum]
        yield KINDS[4], key, f"one of {asked.enum}", f"NOT ({' OR '.join(same)})"


def _equals(path: str, kind: str, value: Any) -> str:
    """SQL: whether a property is a value of JSON; 1 is 1.0, but not true and not "1"."""
    text = f"json_extract_string(e.properties, {path})"
    if isinstance(value, bool):
        return f"({kind} = 'BOOLEAN' AND {text} = '{str(value).lower()}')"
    if isinstance(value, (int, float)):
        numbers = ", ".join(map(sql_text, TYPES["number"]))
        return f"({kind} IN ({numbers}) AND try_cast({text} AS DOUBLE) = {value!r})"
    return f"({kind} = 'VARCHAR' AND {text} = {sql_text(value)})"


def _violations(
    log: EventLog, name: str, step: Step, rules: Sequence[tuple[str, str, str, str]], until: int
) -> pd.DataFrame:
    """A row a rule, platform and version that has any event violating it."""
    wrong = [f"coalesce({sql}, false) AS wrong_{i}" for i, (*_, sql) in enumerate(rules)]
    counts = [
        f"count(*) FILTER (wrong_{i}) AS n_{i}, "
        f'count(DISTINCT "user") FILTER (wrong_{i}) AS users_{i}, '
        f"min(timestamp) FILTER (wrong_{i}) AS first_{i}, "
        f"max(timestamp) FILTER (wrong_{i}) AS last_{i}"
        for i in range(len(rules))
    ]
    found = log.sql(
        f"""SELECT {DEVICE_SQL}, * EXCLUDE (platform, app_version) FROM (
            SELECT platform, app_version, count(*) AS n_events, {", ".join(counts)} FROM (
                SELECT e."user", e.timestamp, e.platform, e.app_version, {", ".join(wrong)}
                FROM {log.words.rows([step])} WHERE ({log.words.condition(step)})
                    AND e.timestamp <= make_timestamp({until})
            ) GROUP BY ALL
        )"""
    )
    parts = []
    for i, (kind, what, rule, _) in enumerate(rules):
        mine = found.rename(columns={f"{short}_{i}": column for short, column in COUNTED.items()})
        mine = mine.assign(micro_conversion=name, kind=kind, what=what, rule=rule)
        parts.append(mine[mine["n_violating"] > 0])
    table = pd.concat(parts, ignore_index=True)
    table["violating_rate"] = table["n_violating"] / table["n_events"]
    return table[COLUMNS]


COUNTED = {"n": "n_violating", "users": "n_users", "first": "first_at", "last": "last_at"}


def presence_table(
    events: pd.DataFrame, users: pd.DataFrame, plan: Plan, names: Sequence[str]
) -> pd.DataFrame:
    """`Audit.presence`: events by device, and the platforms that the plan expects in vain."""
    keys = ["what", "platform", "app_version"]
    whole = events.assign(app_version=ALL)
    seen = pd.concat([events, whole])[lambda rows: rows["what"] < len(names)]
    seen = seen.groupby(keys, as_index=False).agg(
        n_events=("n_events", "sum"), first=("week", "min"), last=("week", "max")
    )
    for week in ("first", "last"):
        seen[f"{week}_week"] = pd.to_datetime(seen[week], unit="D").dt.strftime("%Y-%m-%d")
    seen = seen.merge(users[[*keys, "n_users"]], on=keys)
    seen["micro_conversion"] = [names[bit] for bit in seen["what"]]
    there = set(zip(seen["micro_conversion"], seen["platform"]))
    expected = {
        (name, platform)
        for name, each in plan.micro_conversions.items()
        for platform in each.platforms
    }
    absent = pd.DataFrame(sorted(expected - there), columns=["micro_conversion", "platform"])
    absent = absent.assign(app_version=ALL, n_events=0, n_users=0, first_week="", last_week="")
    columns = ["micro_conversion", "platform", "app_version", "n_users", "n_events"]
    columns += ["first_week", "last_week"]
    table = pd.concat([seen[columns], absent[columns]], ignore_index=True)
    asked = {name for name, each in plan.micro_conversions.items() if each.platforms}
    pairs = zip(table["micro_conversion"], table["platform"])
    table["expected"] = [
        ("yes" if pair in expected else "no") if pair[0] in asked else "" for pair in pairs
    ]
    return table.sort_values(columns[:3], ignore_index=True)
