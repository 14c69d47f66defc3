"""Amplitude's Export API, a zip of gzipped JSON lines, and its events by Fivetran and Airbyte."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage


def read(table: str, events: Stage | None = None, merges: Stage | None = None) -> Selects:
    """Times are in UTC without a zone; "EMPTY" is none.

    `initial_utm_*` are the user's first touch, never the event's own. amplitude_id names a person
    before the log-in, also on a shared device, which device_id does not. A line of merges says that
    one amplitude_id turned out to be another's, its merged_amplitude_id.
    """
    selects = {}
    if merges:
        selects["identities"] = merges.select(
            "identities",
            anonymous_id=merges.get("amplitude_id"),
            user_id=merges.get("merged_amplitude_id"),
        )
    if events:
        user = "'{}'::JSON"
        if "user_properties" in events.headers:
            user = "as_object(replace(user_properties, '\"EMPTY\"', 'null'))"
        props = f"json_merge_patch({user}, as_object(event_properties))"
        # event_id counts events of one moment, id the rows of a warehouse: they are no ids
        e = events.open(props, "user_properties", "event_properties", "event_id", "id")
        selects[table] = e.select(
            table,
            event=e.get("event_type"),
            timestamp=e.get("event_time"),
            event_id=e.get("$insert_id", "_insert_id", "insert_id", "uuid"),
            anonymous_id=e.get("amplitude_id", "device_id"),
            session_id=f"nullif({e.get('session_id')}, '-1')",
            received_at=e.get("server_received_time", "server_upload_time"),
            platform=f"platform_of({e.get('platform')})",
            app_version=e.get("version_name"),
        )
    return selects


READER = Reader(
    read,
    {
        "events": ("event_type", "event_time", "event_properties"),
        "merges": ("amplitude_id", "merged_amplitude_id"),
    },
)
