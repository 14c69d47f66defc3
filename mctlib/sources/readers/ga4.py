"""Google Analytics 4 as BigQuery exports it: JSON lines or Parquet."""

import json

from mctlib.eventlog.sql import sql_text
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


def read(table: str, events: Stage) -> Selects:
    """No event id, so no row can be called a technical duplicate.

    `traffic_source` is the user's first touch, never the event's own campaign.
    """
    e = events.open(_parameters(), "event_params")
    e.used |= {"event_date", "traffic_source", "collected_traffic_source", "user_properties"}

    def inside(header: str, key: str) -> str:
        return f"clean({header}->>'$.{key}')" if header in e.headers else "NULL"

    utm = {
        column: f"coalesce({inside('collected_traffic_source', key)}, {e.get(parameter)})"
        for column, (key, parameter) in UTM.items()
    }
    select = e.select(
        table,
        event=e.get("event_name"),
        timestamp=e.get("event_timestamp"),
        anonymous_id=e.get("user_pseudo_id"),
        session_id=f"{e.get('user_pseudo_id')} || '.' || {e.get('ga_session_id')}",
        app_version=inside("app_info", "version"),
        platform=f"platform_of({e.get('platform')})",
        **utm,
    )
    return {table: select}


def _parameters() -> str:
    """SQL of event_params, a list of keys and values of several types, as one JSON object."""
    shape = json.dumps([{"key": "VARCHAR", "value": VALUES}])
    value = ", ".join(f"to_json(x.value.{name})" for name in VALUES)
    pair = f"to_json(x.key) || ':' || coalesce({value}, 'null')"
    given = f"from_json(event_params::JSON, {sql_text(shape)})"
    pairs = f"array_to_string(list_transform({given}, lambda x: {pair}), ',')"
    return f"as_object('{{' || coalesce({pairs}, '') || '}}')"


READER = Reader(
    read, {"events": ("event_timestamp", "event_name", "event_params", "user_pseudo_id")}
)
