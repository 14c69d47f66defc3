"""Export files to an event log: `open_log("name")` loads what params/data.<name>.yaml describes, once.

A reader says which column of its tool's export fills which canonical column; `staging` does the rest. A new tool is one reader,
one line in `READERS`, one fixture in tests/exports and one test.
"""

import copy
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from glob import glob
from pathlib import Path
from typing import Annotated, NamedTuple
from zoneinfo import available_timezones

import duckdb
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mctlib.contract import CANONICAL, TABLES, DataError, ParameterError, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.store import (
    build_store,
    canonical_frame,
    connect,
    disk_full,
    owner,
    remove_leftovers,
    sql_text,
    unwritten,
)
from mctlib.sources import demo, warehouse
from mctlib.sources.staging import MACROS, File, Stage, find, one_sentence, plain

# The order of Snowplow's enriched event, whose files have no header line.
SNOWPLOW = tuple(
    """
    app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id name_tracker v_tracker v_collector
    v_etl user_id user_ipaddress user_fingerprint domain_userid domain_sessionidx network_userid geo_country geo_region
    geo_city geo_zipcode geo_latitude geo_longitude geo_region_name ip_isp ip_organization ip_domain ip_netspeed page_url
    page_title page_referrer page_urlscheme page_urlhost page_urlport page_urlpath page_urlquery page_urlfragment
    refr_urlscheme refr_urlhost refr_urlport refr_urlpath refr_urlquery refr_urlfragment refr_medium refr_source refr_term
    mkt_medium mkt_source mkt_term mkt_content mkt_campaign contexts se_category se_action se_label se_property se_value
    unstruct_event tr_orderid tr_affiliation tr_total tr_tax tr_shipping tr_city tr_state tr_country ti_orderid ti_sku ti_name
    ti_category ti_price ti_quantity pp_xoffset_min pp_xoffset_max pp_yoffset_min pp_yoffset_max useragent br_name br_family
    br_version br_type br_renderengine br_lang br_features_pdf br_features_flash br_features_java br_features_director
    br_features_quicktime br_features_realplayer br_features_windowsmedia br_features_gears br_features_silverlight br_cookies
    br_colordepth br_viewwidth br_viewheight os_name os_family os_manufacturer os_timezone dvce_type dvce_ismobile
    dvce_screenwidth dvce_screenheight doc_charset doc_width doc_height tr_currency tr_total_base tr_tax_base tr_shipping_base
    ti_currency ti_price_base base_currency geo_timezone mkt_clickid mkt_network etl_tags dvce_sent_tstamp refr_domain_userid
    refr_dvce_tstamp derived_contexts domain_sessionid derived_tstamp event_vendor event_name event_format event_version
    event_fingerprint true_tstamp
    """.split()
)


NAME = r"[A-Za-z0-9][\w-]*"


class Source(BaseModel):
    """Where the files of one table are, or the query that answers it, and how to read them.

    path: a path or glob or a list of them, absolute or relative to the project root. query: SQL, asked at `connection`, the
    NAME of an environment variable that holds the warehouse's URL (see `warehouse`). format: a name in `READERS`.
    columns: canonical column -> the file's own header or property. timezone: IANA zone of times that carry none.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: str | list[str] | None = None
    query: str | None = None
    connection: str | None = None
    format: str = "canonical"
    columns: dict[str, str] = {}
    timezone: str | None = None

    @property
    def label(self) -> str:
        """Its name in the load report and in messages."""
        return (
            f"query at {self.connection}"
            if self.query
            else self.path
            if isinstance(self.path, str)
            else ", ".join(self.path)
        )


class Demo(BaseModel):
    """The seeded demo product instead of files."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    seed: int = 1
    users: int = 20_000


Sources = Annotated[
    list[Source], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
]


class Dataset(BaseModel):
    """A data YAML: a name, and for each canonical table one source or a list of them, or `demo`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    demo: Demo | None = None
    events: Sources = []
    people: Sources = []
    surveys: Sources = []
    backend: Sources = []
    spend: Sources = []
    timeline: Sources = []
    responses: Sources = []

    def sources(self) -> Iterator[tuple[str, Source]]:
        """(canonical table, source), one after another."""
        for table in TABLES:
            for source in getattr(self, table):
                yield table, source


# ------------------------------------------------------------------------------------------- readers: which column fills which


def canonical(table: str, rows: Stage) -> dict[str, str]:
    """Headers are canonical already, or are mapped in the YAML."""
    if table == "events" and "properties" in rows.headers:
        rows.open("as_object(properties)", "properties")
    return survey(table, rows) if table == "surveys" else {table: rows.select(table)}


def mapped(table: str, rows: Stage) -> dict[str, str]:
    """As canonical, with a map that must be there."""
    if not rows.columns:
        raise DataError(
            f"{rows.shown}: format columns needs a map, columns: {{canonical column: its header}}."
        )
    return canonical(table, rows)


def survey(table: str, rows: Stage, **mapping: str) -> dict[str, str]:
    """Answers, one a row or one column a question; the latter maps micro-conversion -> question, and a blank answer is no row.

    An open question ("How did you hear about us?") is mapped like the others; its text goes to `reason`, see `Stage.select`.
    """
    questions = {
        name: header for name, header in rows.columns.items() if name not in CANONICAL[table]
    }
    if not questions or {"answer", "micro_conversion"} & (
        rows.columns.keys() | rows.headers.keys()
    ):
        return {table: rows.select(table, **mapping)}
    one, selects = copy.copy(rows), []
    for name, header in questions.items():
        one.columns = {
            key: value for key, value in rows.columns.items() if key not in questions
        } | {"answer": header}
        selects.append(
            f"{one.select(table, **mapping, micro_conversion=sql_text(name))} WHERE {one.get(header)} IS NOT NULL"
        )
    return {table: " UNION ALL ".join(selects)}


def mixpanel(table: str, events: Stage) -> dict[str, str]:
    """Raw export, {"event", "properties"}. In older projects `time` follows the clock of the project's zone: name it in timezone.

    A distinct_id that is the device, or "$device:..." (simplified id merge), is nobody known yet.
    """
    e = events.open("as_object(properties)", "properties")
    e.wall_clock = "timestamp"
    who = e.get("distinct_id")
    device = f"coalesce({e.get('$device_id')}, CASE WHEN starts_with({who}, '$device:') THEN {who}[9:] END)"
    known = f"CASE WHEN NOT starts_with({who}, '$device:') AND {who} IS DISTINCT FROM {device} THEN {who} END"
    return {
        table: e.select(
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
    }


def amplitude(table: str, events: Stage) -> dict[str, str]:
    """Export API, times in UTC without a zone. `initial_utm_*` are the user's first touch ("EMPTY": none), never the event's own.

    amplitude_id names a person before the log-in, also on a shared device, which device_id does not.
    """
    user = (
        "as_object(replace(user_properties, '\"EMPTY\"', 'null'))"
        if "user_properties" in events.headers
        else "'{}'::JSON"
    )
    e = events.open(
        f"json_merge_patch({user}, as_object(event_properties))",
        "user_properties",
        "event_properties",
        "event_id",
    )
    return {
        table: e.select(
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
    }


def segment(
    table: str, tracks: Stage | None = None, identifies: Stage | None = None
) -> dict[str, str]:
    """Warehouse tables `tracks` and `identifies`; a column that is absent was never sent."""
    selects = {"identities": identifies.select("identities")} if identifies else {}
    if t := tracks:
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


def posthog(
    table: str, events: Stage | None = None, persons: Stage | None = None
) -> dict[str, str]:
    """Batch export. An event keeps the person_id of its day; merges show only in the persons model, whose newest row holds.

    Events of a distinct_id that persons does not know keep their own person_id.
    """
    selects = {}
    if persons:
        age = persons.get("person_distinct_id_version", "person_version")
        newest = f"arg_max(person_id, coalesce(try_cast({age} AS BIGINT), 0))"
        selects["identities"] = (
            f"SELECT distinct_id AS anonymous_id, {newest} AS user_id FROM {persons.table} GROUP BY 1"
        )
    if e := events:
        e.open(
            "as_object(properties)",
            "properties",
            "person_properties",
            "set",
            "set_once",
            "team_id",
            "elements",
            "ip",
        )
        person = e.get("person_id")
        if persons:
            merged = f"SELECT user_id FROM ({selects['identities']}) WHERE anonymous_id = rows_.distinct_id"
            person = f"coalesce(({merged}), {person})"
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


def ga4(table: str, events: Stage) -> dict[str, str]:
    """BigQuery export. No event id, so no row can be called a technical duplicate; `traffic_source` is the user's first touch,
    never the event's own: that is in collected_traffic_source or the parameters."""
    numbers = {"int_value": "BIGINT", "double_value": "DOUBLE", "float_value": "DOUBLE"}
    shape = json.dumps([{"key": "VARCHAR", "value": {"string_value": "VARCHAR"} | numbers}])
    value = ", ".join(f"to_json(x.value.{name})" for name in ("string_value", *numbers))
    pair = f"to_json(x.key) || ':' || coalesce({value}, 'null')"
    pairs = f"list_transform(from_json(event_params::JSON, {sql_text(shape)}), lambda x: {pair})"
    e = events.open(
        f"as_object('{{' || coalesce(array_to_string({pairs}, ','), '') || '}}')", "event_params"
    )
    e.used |= {"event_date", "traffic_source", "collected_traffic_source", "user_properties"}

    def inside(header: str, key: str) -> str:
        return f"clean({header}->>'$.{key}')" if header in e.headers else "NULL"

    touch = {"utm_source": ("manual_source", "source"), "utm_medium": ("manual_medium", "medium")}
    touch |= {"utm_campaign": ("manual_campaign_name", "campaign")}
    utm = {
        c: f"coalesce({inside('collected_traffic_source', key)}, {e.get(param)})"
        for c, (key, param) in touch.items()
    }
    return {
        table: e.select(
            table,
            event=e.get("event_name"),
            timestamp=e.get("event_timestamp"),
            anonymous_id=e.get("user_pseudo_id"),
            session_id=f"{e.get('user_pseudo_id')} || '.' || {e.get('ga_session_id')}",
            app_version=inside("app_info", "version"),
            platform=f"platform_of({e.get('platform')})",
            **utm,
        )
    }


def snowplow(table: str, events: Stage) -> dict[str, str]:
    """Atomic events. A structured event is named by its action; a self-describing one has its properties in unstruct_event."""
    own = (
        "json_extract(as_object(unstruct_event), '$.data.data')"
        if "unstruct_event" in events.headers
        else "NULL::JSON"
    )
    e = events.open(f"coalesce({own}, '{{}}'::JSON)", "unstruct_event")
    name, where = e.get("event_name"), e.get("platform")
    device = f"CASE WHEN {where} = 'mob' THEN coalesce({e.get('os_family', 'os_name')}, 'mob') ELSE {where} END"
    return {
        table: e.select(
            table,
            event=f"CASE WHEN {name} = 'event' THEN coalesce({e.get('se_action')}, {name}) ELSE {name} END",
            timestamp=e.get("derived_tstamp", "collector_tstamp"),
            received_at=e.get("collector_tstamp"),
            platform=f"platform_of({device})",
            session_id=e.get("domain_sessionid"),
            anonymous_id=e.get("domain_userid", "network_userid"),
            utm_source=e.get("utm_source", "mkt_source"),
            utm_medium=e.get("utm_medium", "mkt_medium"),
            utm_campaign=e.get("utm_campaign", "mkt_campaign"),
        )
    }


def typeform(table: str, rows: Stage) -> dict[str, str]:
    """Response CSV: headers are the question texts, hidden fields are columns; map each micro-conversion to its question."""
    return survey(table, rows, submitted_at=rows.get("Submit Date (UTC)"), tool="'typeform'")


def zigpoll(table: str, rows: Stage) -> dict[str, str]:
    """Response CSV; its headers depend on the poll, so they are mapped."""
    return survey(table, rows, tool="'zigpoll'")


def zigpoll_segment(table: str, rows: Stage) -> dict[str, str]:
    """Zigpoll through Segment. Without a user id the e-mail stands in anonymous_id, so only user_id or a mapped column counts."""
    return survey(table, rows, submitted_at=rows.get("timestamp", "received_at"), tool="'zigpoll'")


class Reader(NamedTuple):
    """How one format is read.

    read: (table, **one Stage per role) -> {canonical table: SELECT}. roles: what its files can be, each with the columns that
    tell; a file belongs to the first that fits. tables: what it can fill. timezone: the zone of times that carry none.
    """

    read: Callable[..., dict[str, str]]
    roles: dict[str, tuple[str, ...]]
    tables: tuple[str, ...] = ("events", "backend")
    timezone: str | None = "UTC"


READERS: dict[str, Reader] = {
    "canonical": Reader(canonical, {"rows": ()}, TABLES, None),
    "columns": Reader(mapped, {"rows": ()}, TABLES, None),
    "mixpanel": Reader(mixpanel, {"events": ("event", "properties")}),
    "amplitude": Reader(amplitude, {"events": ("event_type", "event_time", "event_properties")}),
    "segment": Reader(
        segment,
        {"tracks": ("event", "id", "received_at"), "identifies": ("user_id", "anonymous_id", "id")},
    ),
    "posthog": Reader(
        posthog,
        {"events": ("event", "properties", "distinct_id"), "persons": ("distinct_id", "person_id")},
    ),
    "ga4": Reader(
        ga4, {"events": ("event_timestamp", "event_name", "event_params", "user_pseudo_id")}
    ),
    "snowplow": Reader(
        snowplow, {"events": ("event_id", "collector_tstamp", "event_name", "domain_userid")}
    ),
    "typeform": Reader(typeform, {"rows": ("#", "Submit Date (UTC)")}, ("surveys",)),
    "zigpoll": Reader(zigpoll, {"rows": ()}, ("surveys",), None),
    "zigpoll_segment": Reader(
        zigpoll_segment,
        {"rows": ("event", "poll_id", "participant_id", "received_at")},
        ("surveys",),
    ),
}


def _role(format: str, file: File) -> str | None:
    names = {plain(header).lower() for header in file.headers}
    return next(
        (
            role
            for role, columns in READERS[format].roles.items()
            if names >= {c.lower() for c in columns}
        ),
        None,
    )


def _recognise(file: File) -> str | None:
    """The tool whose telling columns the file has; the longest list wins."""
    tools = [(max(map(len, reader.roles.values())), name) for name, reader in READERS.items()]
    return next((name for n, name in sorted(tools, reverse=True) if n and _role(name, file)), None)


def read_source(
    con: duckdb.DuckDBPyConnection, source: Source, table: str, *, root: Path, folder: Path
) -> dict[str, str]:
    """Stage the files or the query of one source in `con`, zip members in `folder`: {canonical table: SELECT with times in UTC}.

    Raises DataError: one sentence that names the file, the column and the rule.
    """
    reader = READERS[source.format]
    roles: dict[str, list[File]] = {}
    if source.query:
        found = warehouse.answer(con, source.query, source.connection, table)
    else:
        found = nullcontext(find(con, paths_of(source, root), root, folder, headless=SNOWPLOW))
    with found as files:
        for file in files:
            role = _role(source.format, file)
            if role is None:
                wanted = next(iter(reader.roles.values()))
                lacking = next(
                    c
                    for c in wanted
                    if c.lower() not in {plain(header).lower() for header in file.headers}
                )
                guess = (
                    f" It looks like format: {guess}."
                    if (guess := _recognise(file))
                    else nearest(lacking, file.headers)
                )
                what = f'"{lacking}" is missing (of {", ".join(wanted)})'
                raise DataError(f"{file.shown} is no {source.format} export: {what}.{guess}")
            roles.setdefault(role, []).append(file)
        n = con.sql(
            "SELECT count(*) FROM information_schema.tables WHERE regexp_full_match(table_name, 'staged_\\d+')"
        ).fetchall()[0][0]
        zone = source.timezone or reader.timezone
        stages = {
            role: Stage(con, same, f"staged_{n + i}", source.columns, zone)
            for i, (role, same) in enumerate(roles.items())
        }
    with one_sentence({file.path: file.shown for files in roles.values() for file in files}):
        return reader.read(table, **stages)


def paths_of(source: Source, root: Path) -> list[Path]:
    """The files a source means, in order of their names. Raises DataError when there is none."""
    found: dict[Path, None] = {}
    for written in [source.path] if isinstance(source.path, str) else source.path:
        exact = (
            [written]
            if (root / written).is_file()
            else glob(written, root_dir=root, recursive=True)
        )
        paths = sorted(root / path for path in exact if (root / path).is_file())
        if not paths and any(sign in written for sign in "*?["):
            raise DataError(f'No file matches "{written}" in {root}.')
        if not paths:
            folder = (root / written).parent
            near = nearest(
                Path(written).name,
                [path.name for path in folder.iterdir()] if folder.is_dir() else [],
            )
            raise DataError(f'The file "{written}" does not exist in {root}.{near}')
        found |= dict.fromkeys(paths)
    return list(found)


# ------------------------------------------------------------------------------------------------------------------- datasets


def project_root() -> Path:
    """The nearest folder, from the working directory upwards, that holds `params/`. Raises ParameterError when there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir():
            return folder
    raise ParameterError(f"No project found: neither {here} nor a folder above it holds params/.")


class OnceLoader(yaml.SafeLoader):
    """YAML in which a key may stand only once: of two, YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key for key, _ in node.value]
        if twice := next(
            (key for i, key in enumerate(keys) if key.value in [k.value for k in keys[:i]]), None
        ):
            raise yaml.MarkedYAMLError(
                problem=f'the key "{twice.value}" stands here again', problem_mark=twice.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def read_dataset(path: Path) -> Dataset:
    """A data YAML, checked. Raises DataError of one sentence: the file, the field, the rule, the nearest valid word."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), OnceLoader)  # noqa: S506 - a SafeLoader
        if not isinstance(content, dict):
            fault = "is empty. Write into it" if content is None else "must be a mapping such as"
            raise DataError(f"{path.name} {fault}  name: ..., events: {{path: ...}}.")
        dataset = Dataset.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = f" in line {mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else ""
        raise DataError(
            f"{path.name} is not valid YAML{line}: {getattr(error, 'problem', None) or error}."
        ) from None
    except ValidationError as errors:
        error = errors.errors()[0]
        one = isinstance(
            content.get(error["loc"][0]), dict
        )  # a single source is no list to its writer
        parts = [
            part
            for part in error["loc"]
            if part not in ("str", "list[str]") and not (one and part == 0)
        ]
        where = ".".join(map(str, parts))
        if error["type"] == "extra_forbidden":
            model = (
                Dataset if len(error["loc"]) == 1 else Demo if error["loc"][0] == "demo" else Source
            )
            raise DataError(
                f'{path.name}: "{where}" is not a field.{nearest(error["loc"][-1], model.model_fields)}'
            ) from None
        raise DataError(
            f'{path.name}: "{where}" {error["msg"].removeprefix("Input ").lower()}.'
        ) from None
    if not re.fullmatch(NAME, dataset.name):
        raise DataError(
            f'{path.name}: the name "{dataset.name}" may hold only letters, digits, - and _, for it names the store.'
        )
    if not dataset.events and not dataset.demo:
        raise DataError(f"{path.name} names no events. Add  events: {{path: ...}}.")
    for table, source in dataset.sources():
        if bool(source.path) == bool(source.query):
            raise DataError(f"{path.name}: {table} needs either a path or a query.")
        if bool(source.query) != bool(source.connection):
            raise DataError(
                f"{path.name}: {table} needs both a query and a connection, or neither."
            )
        if source.connection and not re.fullmatch(
            r"[A-Za-z_]\w*", source.connection
        ):  # it may hold a password: not repeated
            rule = "must be the name of an environment variable that holds the URL, never the URL itself"
            raise DataError(
                f"{path.name}: connection of {table} {rule}: passwords do not belong in files."
            )
        if source.format not in READERS:
            near = nearest(source.format, READERS) or f" Known are: {', '.join(READERS)}."
            raise DataError(
                f'{path.name}: the format "{source.format}" of {table} is not known.{near}'
            )
        if table not in READERS[source.format].tables:
            fills = " or ".join(READERS[source.format].tables)
            raise DataError(f"{path.name}: format {source.format} fills {fills}, not {table}.")
        if source.timezone is not None and source.timezone not in (zones := available_timezones()):
            near = nearest(source.timezone, zones)
            raise DataError(
                f'{path.name}: the timezone "{source.timezone}" of {table} is no IANA name.{near}'
            )
    return dataset


def open_log(dataset: str | Path, *, fresh: bool = False) -> EventLog:
    """The event log of a dataset, given by its name or by the path of its params/data.<name>.yaml.

    The store, outputs/store/<name>.duckdb, is loaded anew only when a file, the YAML or the loading code changed, on a new day
    (UTC) if a table comes by query, or if `fresh`.
    Raises DataError (the data, or its YAML) or ParameterError (no such dataset).
    """
    root = project_root()
    known = {
        other: other.name.removeprefix("data.").removesuffix(".yaml")
        for other in (root / "params").glob("data.*.yaml")
    }
    path = (
        Path(dataset)
        if str(dataset).endswith((".yaml", ".yml"))
        else root / "params" / f"data.{dataset}.yaml"
    )
    if not path.is_file():
        names = ", ".join(sorted(known.values())) or "none yet"
        near = (
            nearest(path.name.removeprefix("data.").removesuffix(".yaml"), known.values())
            or f" Its datasets are: {names}."
        )
        raise ParameterError(f'dataset: there is no "{dataset}" in params/ of {root}.{near}')
    described = read_dataset(path)
    for other in known:
        if other.resolve() != path.resolve() and _says_name(other, described.name):
            raise DataError(
                f'Two datasets are named "{described.name}": {path.name} and {other.name}. Rename one.'
            )
    store, key = (
        root / "outputs" / "store" / f"{described.name}.duckdb",
        fingerprint(described, root),
    )
    if store.is_file() and not fresh:
        with suppress(duckdb.Error, KeyError):  # damaged, or of another DuckDB version: load anew
            if (opened := EventLog.open(store)).load["fingerprint"] == key:
                return opened
            opened._con.close()  # DuckDB would go on serving the old file from an open connection
    try:
        load(described, store, root=root, key=key)
    except (duckdb.Error, OSError) as error:
        if disk_full(error):
            raise unwritten(store, error) from error
        raise
    return EventLog.open(store)


def _says_name(path: Path, name: str) -> bool:
    with suppress(yaml.YAMLError, UnicodeDecodeError, AttributeError):
        return yaml.safe_load(path.read_text(encoding="utf-8")).get("name") == name
    return False


@contextmanager
def _workbench(beside: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A DuckDB file for staged tables, and a folder for unpacked archives; both are gone afterwards."""
    with tempfile.TemporaryDirectory(
        dir=beside, prefix=".staging-", suffix=f".{owner()}.tmp"
    ) as folder:
        with connect(f"{folder}/staging.duckdb") as con:
            con.execute(MACROS)
            yield con, Path(folder)


def load(dataset: Dataset, store: Path, *, root: Path, key: str = "") -> dict:
    """Read every source of a dataset into a store file; returns the load report of `build_store`."""
    store.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store.parent)
    tables: dict[str, list[tuple[str, str]]] = {}
    with _workbench(store.parent) as (con, folder):
        for table, source in dataset.sources():
            for target, select in read_source(con, source, table, root=root, folder=folder).items():
                tables.setdefault(target, []).append((source.label, select))
        for table, frame in (
            demo.generate(**dataset.demo.model_dump()).items() if dataset.demo else ()
        ):
            con.register(f"demo_{table}", canonical_frame(frame, table))
            tables.setdefault(table, []).append(("demo", f"FROM demo_{table}"))
        try:
            return build_store(store, tables, con=con, name=dataset.name, fingerprint=key)
        except duckdb.Error as error:
            raise DataError(
                f"{dataset.name} could not be loaded: {str(error).splitlines()[0]}"
            ) from error


def fingerprint(dataset: Dataset, root: Path) -> str:
    """Changes when a file, the mapping, the salt or the loading code does. Files over 1 MB count by size and time of change.

    What a query answers cannot be known without asking: it counts by its text, the server and database asked, and the day (UTC).
    """
    digest = hashlib.sha256(f"{os.environ.get('MCT_SALT')} {dataset.model_dump_json()}".encode())
    package = Path(__file__).parents[1]
    loading = (
        package / "contract.py",
        package / "eventlog/store.py",
        *package.glob("sources/**/*.py"),
    )
    for path in sorted(loading):
        digest.update(path.read_bytes())
    for _, source in dataset.sources():
        if source.query:
            digest.update(
                f"{warehouse.place_of(source.connection)} {datetime.now(UTC).date()}\n".encode()
            )
        for path in [] if source.query else paths_of(source, root):
            stat = path.stat()
            content = (
                hashlib.sha256(path.read_bytes()).hexdigest()
                if stat.st_size <= 1 << 20
                else stat.st_mtime_ns
            )
            digest.update(f"{path} {stat.st_size} {content}\n".encode())
    return digest.hexdigest()
