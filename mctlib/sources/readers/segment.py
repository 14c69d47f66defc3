"""Segment's warehouse tables `tracks` and `identifies`."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage


def read(table: str, tracks: Stage | None = None, identifies: Stage | None = None) -> Selects:
    """A column that is absent was never sent."""
    selects = {}
    if identifies:
        selects["identities"] = identifies.select("identities")
    if tracks:
        t = tracks
        selects[table] = t.select(
            table,
            event_id=t.get("id"),
            platform=f"platform_of({t.get('context_device_type', 'context_library_name')})",
            app_version=t.get("context_app_version"),
            utm_source=t.get("utm_source", "context_campaign_source"),
            utm_medium=t.get("utm_medium", "context_campaign_medium"),
            utm_campaign=t.get("utm_campaign", "context_campaign_name"),
        )
    return selects


READER = Reader(
    read,
    {"tracks": ("event", "id", "received_at"), "identifies": ("user_id", "anonymous_id", "id")},
)
