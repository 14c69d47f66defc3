"""PostHog's batch export of events, and of the persons model."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage

# Columns of the events that are opened here, or are nothing an event says of itself.
OPENED = ("properties", "person_properties", "set", "set_once", "team_id", "elements", "ip")


def read(table: str, events: Stage | None = None, persons: Stage | None = None) -> Selects:
    """An event keeps the person_id of its day; merges show only in persons, whose newest row holds.

    Events of a distinct_id that persons does not know keep their own person_id.
    """
    selects = {}
    if persons:
        age = persons.get("person_distinct_id_version", "person_version")
        newest = f"arg_max(person_id, coalesce(try_cast({age} AS BIGINT), 0))"
        selects["identities"] = (
            f"SELECT distinct_id AS anonymous_id, {newest} AS user_id"
            f" FROM {persons.table} GROUP BY 1"
        )
    if events:
        e = events.open("as_object(properties)", *OPENED)
        person = e.get("person_id")
        if persons:
            now = f"SELECT user_id FROM ({selects['identities']})"
            person = f"coalesce(({now} WHERE anonymous_id = rows_.distinct_id), {person})"
        selects[table] = e.select(
            table,
            event_id=e.get("uuid"),
            user_id=person,
            anonymous_id=e.get("distinct_id"),
            session_id=e.get("$session_id"),
            received_at=e.get("created_at", "ingested_at", "_inserted_at"),
            platform=f"platform_of({e.get('$lib', '$os')})",
            app_version=e.get("$app_version"),
        )
    return selects


READER = Reader(
    read,
    {"events": ("event", "properties", "distinct_id"), "persons": ("distinct_id", "person_id")},
)
