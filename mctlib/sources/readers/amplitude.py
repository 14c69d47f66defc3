"""Amplitude's Export API: a zip of gzipped JSON lines."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage


def read(table: str, events: Stage) -> Selects:
    """Times are in UTC without a zone; "EMPTY" is none.

    `initial_utm_*` are the user's first touch, never the event's own. amplitude_id names a person
    before the log-in, also on a shared device, which device_id does not.
    """
    user = "'{}'::JSON"
    if "user_properties" in events.headers:
        user = "as_object(replace(user_properties, '\"EMPTY\"', 'null'))"
    props = f"json_merge_patch({user}, as_object(event_properties))"
    # event_id counts events of one moment: it is no id
    e = events.open(props, "user_properties", "event_properties", "event_id")
    select = e.select(
        table,
        event=e.get("event_type"),
        timestamp=e.get("event_time"),
        event_id=e.get("$insert_id", "uuid"),
        anonymous_id=e.get("amplitude_id", "device_id"),
        session_id=f"nullif({e.get('session_id')}, '-1')",
        received_at=e.get("server_received_time", "server_upload_time"),
        platform=f"platform_of({e.get('platform')})",
        app_version=e.get("version_name"),
    )
    return {table: select}


READER = Reader(read, {"events": ("event_type", "event_time", "event_properties")})
