"""Segment and RudderStack: the warehouse tables `tracks` and `identifies`, and raw logs."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage

# What a raw line says beside the properties and the context; the rest is its envelope, in which
# `channel` is the kind of library (web, mobile, server).
OF_A_LINE = ("event", "userid", "anonymousid", "previousid", "groupid", "messageid")
TIMES = ("timestamp", "originaltimestamp", "receivedat")


def read(
    table: str,
    tracks: Stage | None = None,
    identifies: Stage | None = None,
    raw: Stage | None = None,
) -> Selects:
    """A column that is absent was never sent."""
    selects = {}
    if identifies:
        selects["identities"] = identifies.select("identities")
    if tracks:
        t = tracks
        selects[table] = t.select(
            table,
            event_id=t.get("id"),
            session_id=t.get("context_session_id"),
            platform=f"platform_of({t.get('context_device_type', 'context_library_name')})",
            app_version=t.get("context_app_version"),
            utm_source=t.get("utm_source", "context_campaign_source"),
            utm_medium=t.get("utm_medium", "context_campaign_medium"),
            utm_campaign=t.get("utm_campaign", "context_campaign_name"),
        )
    if raw:
        who, events = _raw(table, raw)
        named = [select for select in (selects.get("identities"), who) if select]
        selects["identities"] = " UNION ALL BY NAME ".join(named)
        also = [select for select in (selects.get(table), events) if select]
        selects[table] = " UNION ALL BY NAME ".join(also)
    return selects


def _raw(table: str, raw: Stage) -> tuple[str, str]:
    """Who is who, by identify and alias, and everything else as events.

    What is no track is named by its type (page, screen, group), its own name is a property.
    """
    told = raw.headers.keys()
    raw.headers = {n: header for n, header in raw.headers.items() if n in OF_A_LINE + TIMES}
    named = "json_object('page_name', name)" if "name" in told else "'{}'::JSON"
    own = "as_object(properties)" if "properties" in told else "'{}'::JSON"
    e = raw.open(
        f"json_merge_patch({own}, CASE WHEN type IN ('page', 'screen') THEN {named}"
        " ELSE '{}'::JSON END)",
        "properties",
    )

    def inside(path: str) -> str:
        text = f"json_extract_string(as_object(context), '$.{path}')"
        return f"clean({text})" if "context" in told else "NULL"

    library = f"coalesce({inside('device.type')}, {inside('os.name')}, {inside('library.name')})"
    select = e.select(
        table,
        event=f"CASE WHEN type = 'track' THEN {e.get('event')} ELSE type END",
        event_id=e.get("messageId"),
        user_id=e.get("userId"),
        anonymous_id=e.get("anonymousId"),
        timestamp=e.get("timestamp", "originalTimestamp"),
        received_at=e.get("receivedAt"),
        session_id=inside("sessionId"),
        platform=f"platform_of({library})",
        app_version=inside("app.version"),
        utm_source=f"coalesce({inside('campaign.source')}, {e.get('utm_source')})",
        utm_medium=f"coalesce({inside('campaign.medium')}, {e.get('utm_medium')})",
        utm_campaign=f"coalesce({inside('campaign.name')}, {e.get('utm_campaign')})",
    )
    pairs = f"""
        SELECT unnest([{e.get("anonymousId")}, {e.get("previousId")}]) AS anonymous_id,
            {e.get("userId")} AS user_id
        FROM {e.table} WHERE type IN ('identify', 'alias')
    """
    who = f"SELECT * FROM ({pairs}) WHERE NOT contains(anonymous_id, '@')"
    return who, f"{select} WHERE type NOT IN ('identify', 'alias')"


READER = Reader(
    read,
    {
        "tracks": ("event", "id", "received_at"),
        "identifies": ("user_id", "anonymous_id", "id"),
        "raw": ("type", "messageId"),
    },
)
