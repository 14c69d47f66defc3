"""PostHog's events, by batch export or by its API (Airbyte), and the persons model."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage

# Columns of the events that are opened here, or are nothing an event says of itself.
SET = ("set", "set_once", "people_set", "people_set_once", "person", "person_properties")
OPENED = ("properties", *SET, "team_id", "elements", "elements_chain", "ip", "site_url")
MERGES = "'$create_alias', '$merge_dangerously'"


def read(table: str, events: Stage | None = None, persons: Stage | None = None) -> Selects:
    """An event keeps the person_id of its day; merges show only in persons, whose newest row holds.

    Events of a distinct_id that persons does not know keep their own person_id. Without any, events
    say who is who: `$identify` that the anonymous id it carries is its distinct_id, `$create_alias`
    that its alias is.
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
        alias = "json_object('alias', NULL, '$anon_distinct_id', properties->>'$.alias')"
        own = "as_object(properties)"
        e = events.open(
            f"CASE WHEN event IN ({MERGES}) AND holds(properties, 'OBJECT')"
            f" THEN json_merge_patch({own}, {alias}) ELSE {own} END",
            *OPENED,
        )
        person = f"coalesce({e.get('person_id')}, {_least_of_person(e)})"
        if persons:
            now = f"SELECT user_id FROM ({selects['identities']})"
            person = f"coalesce(({now} WHERE anonymous_id = rows_.distinct_id), {person})"
        was = f"CASE WHEN {person} IS NULL THEN {e.get('$anon_distinct_id')} END"
        selects[table] = e.select(
            table,
            event_id=e.get("uuid", "id"),
            user_id=f"coalesce({person}, CASE WHEN {was} IS NOT NULL THEN rows_.distinct_id END)",
            anonymous_id=f"coalesce({was}, {e.get('distinct_id')})",
            session_id=e.get("$session_id"),
            received_at=e.get("created_at", "ingested_at", "_inserted_at"),
            platform=f"platform_of({e.get('$lib', '$os')})",
            app_version=e.get("$app_version"),
        )
    return selects


def _least_of_person(e: Stage) -> str:
    """SQL of one and the same of all distinct_ids of a person, which the API says of each event."""
    if "person" not in e.headers:
        return "NULL"
    ids = "json_extract(try_cast(person AS JSON), '$.distinct_ids')"
    return f"list_min(from_json({ids}, '[\"VARCHAR\"]'))"


READER = Reader(
    read,
    {"events": ("event", "properties", "distinct_id"), "persons": ("distinct_id", "person_id")},
)
