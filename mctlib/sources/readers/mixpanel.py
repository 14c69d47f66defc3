"""Mixpanel's raw export: lines of {"event", "properties"}."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage


def read(table: str, events: Stage) -> Selects:
    """In older projects `time` follows the clock of the project's zone: name it in timezone.

    A distinct_id that is the device, or "$device:..." (simplified id merge), is nobody known yet.
    """
    e = events.open("as_object(properties)", "properties")
    e.wall_clock = "timestamp"
    who = e.get("distinct_id")
    is_device = f"starts_with({who}, '$device:')"
    device = f"coalesce({e.get('$device_id')}, CASE WHEN {is_device} THEN {who}[9:] END)"
    known = f"CASE WHEN NOT {is_device} AND {who} IS DISTINCT FROM {device} THEN {who} END"
    select = e.select(
        table,
        timestamp=e.get("time"),
        event_id=e.get("$insert_id"),
        user_id=f"coalesce({e.get('$user_id')}, {known})",
        anonymous_id=device,
        received_at=e.get("mp_processing_time_ms"),
        session_id=e.get("$session_id"),
        platform=f"platform_of({e.get('mp_lib', '$os')})",
        app_version=e.get("$app_version_string"),
    )
    return {table: select}


READER = Reader(read, {"events": ("event", "properties")})
