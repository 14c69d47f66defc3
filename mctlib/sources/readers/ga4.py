"""Google Analytics 4 as BigQuery exports it, nested or flattened, and by Fivetran."""

import json

from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage

# Where the event's own campaign stands: in collected_traffic_source, else in a parameter.
UTM = {
    "utm_source": ("manual_source", "source"),
    "utm_medium": ("manual_medium", "medium"),
    "utm_campaign": ("manual_campaign_name", "campaign"),
}
VALUES = {
    "string_value": "VARCHAR",
    "int_value": "BIGINT",
    "double_value": "DOUBLE",
    "float_value": "DOUBLE",
}


def read(table: str, **stages: Stage) -> Selects:
    """No event id, so no row can be called a technical duplicate.

    `traffic_source` is the user's first touch, never the event's own campaign; a flattened column
    that is just called source may be either and stays a property.
    """
    return {table: " UNION ALL BY NAME ".join(_read(table, *each) for each in stages.items())}


def _read(table: str, role: str, e: Stage) -> str:
    if role == "events":
        e.open(_parameters(), "event_params")
    elif role == "flat":
        _gather(e)
    e.used |= {"event_date", "date", "traffic_source", "collected_traffic_source"}
    e.used |= {"user_properties"}

    def inside(header: str, key: str) -> str:
        if header in e.headers:
            return f"clean({header}->>'$.{key}')"
        return e.get(f"{header}_{key}", f"{header}.{key}")

    def parameter(name: str) -> str:
        return e.get(f"param_{name}", f"event_params_{name}", f"event_params.{name}")

    def campaign(key: str, name: str) -> str:
        own = e.get(name) if role == "events" or e.keys else "NULL"
        return f"coalesce({inside('collected_traffic_source', key)}, {own}, {parameter(name)})"

    session = f"coalesce({e.get('ga_session_id')}, {parameter('ga_session_id')})"
    return e.select(
        table,
        event=e.get("name" if role == "fivetran" else "event_name"),
        timestamp=e.get("timestamp" if role == "fivetran" else "event_timestamp"),
        anonymous_id=e.get("user_pseudo_id"),
        session_id=f"{e.get('user_pseudo_id')} || '.' || {session}",
        app_version=inside("app_info", "version"),
        platform=f"platform_of({e.get('platform')})",
        **{column: campaign(*names) for column, names in UTM.items()},
    )


def _gather(e: Stage) -> None:
    """One row an event where a table has one a parameter: its key, and its value in some column."""
    key = next((k for k in ("event_params_key", "event_params.key", "key") if k in e.headers), "")
    if not key:
        return
    before = key.removesuffix("key")
    kinds = [f"{before}{value}{kind}" for kind in VALUES for value in ("value_", "value.", "")]
    found = [kind for kind in kinds if kind in e.headers]
    gone = {key, f"{before}value", *found}
    kept = [header for name, header in e.headers.items() if name not in gone]
    columns = ", ".join(map(sql_name, kept))
    values = [
        f"to_json(clean({sql_name(kind)}))"
        if kind.endswith("string_value")
        else f"try_cast(clean({sql_name(kind)}) AS JSON)"
        for kind in found
    ]
    value = f"coalesce({', '.join(values) or 'NULL'})"
    name = f"clean({sql_name(key)})"
    pair = f"to_json({name}) || ':' || coalesce({value}, 'null')"
    gathered = f"string_agg({pair}, ',' ORDER BY {name})"
    events = f"{e.table}_events"
    e.con.execute(
        f"CREATE VIEW {events} AS SELECT {columns}, {gathered} AS gathered_"
        f" FROM {e.table} GROUP BY {columns}"
    )
    e.table, e.headers = events, {n: header for n, header in e.headers.items() if n not in gone}
    e.open("as_object('{' || coalesce(gathered_, '') || '}')")


def _parameters() -> str:
    """SQL of event_params, a list of keys and values of several types, as one JSON object."""
    shape = json.dumps([{"key": "VARCHAR", "value": VALUES}])
    value = ", ".join(f"to_json(x.value.{name})" for name in VALUES)
    pair = f"to_json(x.key) || ':' || coalesce({value}, 'null')"
    given = f"from_json(try_cast(event_params AS JSON), {sql_text(shape)})"
    pairs = f"array_to_string(list_transform({given}, lambda x: {pair}), ',')"
    return f"as_object('{{' || coalesce({pairs}, '') || '}}')"


READER = Reader(
    read,
    {
        "events": ("event_timestamp", "event_name", "event_params", "user_pseudo_id"),
        "flat": ("event_timestamp", "event_name", "user_pseudo_id"),
        "fivetran": ("name", "timestamp", "user_pseudo_id"),
    },
)
