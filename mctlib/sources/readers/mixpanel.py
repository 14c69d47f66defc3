"""Mixpanel's raw export, lines of {"event", "properties"}, and its tables by Fivetran, Airbyte."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage


def read(table: str, **stages: Stage) -> Selects:
    """In older projects `time` follows the clock of the project's zone: name it in timezone.

    A distinct_id that is the device, or "$device:..." (simplified id merge), is nobody known yet.
    In a warehouse the $ of Mixpanel's own properties is gone, or became mp_reserved_, and Fivetran
    calls the event its name.
    """
    return {table: " UNION ALL BY NAME ".join(_read(table, *each) for each in stages.items())}


def _read(table: str, role: str, events: Stage) -> str:
    e = events
    if "properties" in e.headers:
        e.open("as_object(properties)", "properties")
    e.wall_clock = "timestamp"
    e.used |= {"event_id"} if role == "fivetran" else set()

    def own(*names: str) -> str:
        if role == "events":
            return e.get(*names)
        plain = [name.removeprefix("$") for name in names]
        return e.get(*(each for name in plain for each in (f"mp_reserved_{name}", name)))

    who = e.get("distinct_id")
    is_device = f"starts_with({who}, '$device:')"
    device = f"coalesce({own('$device_id')}, CASE WHEN {is_device} THEN {who}[9:] END)"
    known = f"CASE WHEN NOT {is_device} AND {who} IS DISTINCT FROM {device} THEN {who} END"
    return e.select(
        table,
        event=e.get("name" if role == "fivetran" else "event"),
        timestamp=e.get("time"),
        event_id=own("$insert_id"),
        user_id=f"coalesce({own('$user_id')}, {known})",
        anonymous_id=device,
        received_at=e.get("mp_processing_time_ms"),
        session_id=own("$session_id"),
        platform=f"platform_of({own('mp_lib', '$os')})",
        app_version=own("$app_version_string"),
    )


READER = Reader(
    read,
    {
        "events": ("event", "properties"),
        "denested": ("event", "time", "distinct_id"),
        "fivetran": ("name", "time", "distinct_id"),
    },
)
