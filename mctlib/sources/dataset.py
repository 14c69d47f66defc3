"""Export files to an event log: `open_log("name")` loads what params/data.<name>.yaml describes.

It is loaded once. The `readers` know the tools' exports, `staging` does what all of them need.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from encodings.aliases import aliases
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import duckdb
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mctlib.contract import (
    TABLES,
    DataError,
    ParameterError,
    as_timestamp,
    as_window,
    column_type,
    nearest,
)
from mctlib.eventlog.build import build_store, disk_full, remove_leftovers, unwritten
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.pseudonyms import NO_SALT, salt
from mctlib.eventlog.repeats import RESENT_WITHIN
from mctlib.eventlog.store_file import remove_unused, stores
from mctlib.sources import demo, forgotten, warehouse
from mctlib.sources.files import File, find, one_sentence, rows_inside
from mctlib.sources.project import (
    content_of,
    paths_of,
    plan_yaml,
    project_root,
    says_name,
    store_folder,
    yaml_of,
    yamls,
)
from mctlib.sources.readers import HEADLESS, READERS, headers_of, recognised
from mctlib.sources.snapshot import handed, planned, sound
from mctlib.sources.spellings import format_fault
from mctlib.sources.staging import Stage, need_hashed, workbench
from mctlib.sources.unpack import Unpacking, is_encoding
from mctlib.tracking_plan.reading import read_plan

NAME = r"[A-Za-z0-9][\w-]*"  # of a dataset, for it names its store


class Source(BaseModel):
    """Where the files of one table are, or the query that answers it, and how to read them.

    path: a path or glob or a list of them, absolute or relative to the project root. query: SQL,
    asked at `connection`, the NAME of an environment variable that holds the warehouse's URL (see
    `warehouse`). format: a name in `READERS`. columns: canonical column -> the file's own header or
    property; of a time also a list, the headers of its day and of its clock. timezone: IANA zone of
    times that carry none. date_format: how strptime reads times that nothing else tells, one format
    or a list; `excel`: days counted by a spreadsheet. encoding: of texts that are not UTF-8 and
    have no byte-order mark. sheet: of workbooks, else the first that is filled. decimal: sign of
    amounts that do not tell it themselves. refunds: negative amounts of spend are meant. hash: what
    is kept as salted hashes.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: str | list[str] | None = None
    query: str | None = None
    connection: str | None = None
    format: str = "canonical"
    columns: dict[str, str | list[str]] = {}
    timezone: str | None = None
    date_format: Annotated[
        list[str], BeforeValidator(lambda said: [said] if isinstance(said, str) else said)
    ] = []
    encoding: str | None = None
    sheet: str | None = None
    decimal: Literal[".", ","] | None = None
    refunds: bool = False
    hash: list[str] = []

    @property
    def paths(self) -> list[str]:
        """What `path` says, as a list."""
        return [self.path] if isinstance(self.path, str) else self.path or []

    @property
    def headers(self) -> dict[str, str]:
        """What `columns` says, of times whose day and clock stand apart the day's header."""
        return {c: h if isinstance(h, str) else h[0] for c, h in self.columns.items()}

    @property
    def said_of_times(self) -> tuple[list[str], dict[str, str]]:
        """Their formats, and the headers of clocks that stand apart."""
        clocks = {c: h[1] for c, h in self.columns.items() if not isinstance(h, str)}
        return self.date_format, clocks

    @property
    def label(self) -> str:
        """Its name in the load report and in messages."""
        return f"query at {self.connection}" if self.query else ", ".join(self.paths)


class Demo(BaseModel):
    """The seeded demo product instead of files."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    seed: int = 1
    users: int = 20_000


Sources = Annotated[
    list[Source], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
]


class Dataset(BaseModel):
    """A data YAML: a name, and for each canonical table one source or several, or `demo`.

    currency: of every amount, as it is printed (EUR); nothing is converted.
    observed_until: day or moment (UTC) until which events were collected, although none came.
    plan: the YAML of the tracking plan, where it is not params/plan.<name>.yaml.
    earliest: the first day (UTC) whose events are believed, in place of `plausible`'s own rules.
    resent_within: what lies further apart was not sent again, although the event_id is the same.
    ids_ignore_case: ids of users and accounts that differ by case only are one.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    currency: str = ""
    observed_until: Annotated[str, BeforeValidator(str)] | None = None
    plan: str | None = None
    earliest: Annotated[str, BeforeValidator(str)] | None = None
    resent_within: Annotated[str, BeforeValidator(str)] = RESENT_WITHIN
    ids_ignore_case: bool = False
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


# ------------------------------------------------------------------------------ the YAML


def read_dataset(path: Path) -> Dataset:
    """A data YAML, checked.

    Raises DataError of one sentence: the file, the field, the rule, the nearest valid word.
    """
    content = content_of(path)
    try:
        dataset = Dataset.model_validate(content)
    except ValidationError as errors:
        raise DataError(f"{path.name}: {_field_fault(content, errors)}") from None
    if not re.fullmatch(NAME, dataset.name):
        raise DataError(f"{path.name}: {name_fault(dataset.name)}")
    try:
        as_window(dataset.resent_within, f"{path.name}: resent_within")
        for field in ("observed_until", "earliest"):
            if (said := getattr(dataset, field)) is not None:
                as_timestamp(said, f"{path.name}: {field}")
    except ParameterError as error:
        raise DataError(str(error)) from None
    if not dataset.events and not dataset.demo:
        raise DataError(f"{path.name} names no events. Add  events: {{path: ...}}.")
    for table, source in dataset.sources():
        if fault := _place_fault(table, source) or _format_fault(table, source):
            raise DataError(f"{path.name}: {fault}")
    return dataset


def name_fault(name: str) -> str:
    """What is wrong with a name that is none."""
    return f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'


def _field_fault(content: dict[str, Any], errors: ValidationError) -> str:
    """The first error of the model, in the words of who wrote the YAML."""
    error = errors.errors()[0]
    first, last = str(error["loc"][0]), str(error["loc"][-1])
    # a single source is no list to its writer
    unsaid: tuple[str | int, ...] = ("str", "list[str]")
    if isinstance(content.get(first), dict):
        unsaid += (0,)
    where = ".".join(str(part) for part in error["loc"] if part not in unsaid)
    if error["type"] != "extra_forbidden":
        return f'"{where}" {error["msg"].removeprefix("Input ").lower()}.'
    model: type[BaseModel] = Demo if first == "demo" else Source
    if len(error["loc"]) == 1:
        model = Dataset
    return f'"{where}" is not a field.{nearest(last, model.model_fields)}'


def _place_fault(table: str, source: Source) -> str:
    if bool(source.path) == bool(source.query):
        return f"{table} needs either a path or a query."
    if bool(source.query) != bool(source.connection):
        return f"{table} needs both a query and a connection, or neither."
    if source.connection and not re.fullmatch(r"[A-Za-z_]\w*", source.connection):
        # it may hold a password: not repeated
        return (
            f"connection of {table} must be the name of an environment variable that holds the URL,"
            " never the URL itself: passwords do not belong in files."
        )
    return ""


def _format_fault(table: str, source: Source) -> str:
    if source.format not in READERS:
        near = nearest(source.format, READERS) or f" Known are: {', '.join(READERS)}."
        return f'the format "{source.format}" of {table} is not known.{near}'
    tables = READERS[source.format].tables
    if table not in tables:
        return f"format {source.format} fills {' or '.join(tables)}, not {table}."
    zones = available_timezones()
    if source.timezone is not None and source.timezone not in zones:
        near = nearest(source.timezone, zones)
        return f'the timezone "{source.timezone}" of {table} is no IANA name.{near}'
    if source.encoding is not None and not is_encoding(source.encoding):
        near = nearest(source.encoding, aliases.values()) or " Write cp1252, for example."
        return f'the encoding "{source.encoding}" of {table} is not known.{near}'
    return _times_fault(table, source)


def _times_fault(table: str, source: Source) -> str:
    for column, header in source.columns.items():
        two = isinstance(header, str) or (len(header) == 2 and column_type(column) == "TIMESTAMP")
        if not two:
            says = "needs one header; only a time may have two, of its day and of its clock."
            return f'"{column}" in columns of {table} {says}'
    for format in source.date_format:
        if fault := format_fault(format):
            return f'the date_format "{format}" of {table} {fault}'
    return ""


# --------------------------------------------------------------------------- its sources


def read_source(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    table: str,
    *,
    root: Path,
    folder: Path,
    notes: list[str],
) -> dict[str, str]:
    """Stage one source in `con`, members of archives in `folder`; what is left out in `notes`.

    Returns canonical table -> SELECT with times in UTC. Raises DataError: one sentence that names
    the file, the column and the rule.
    """
    reader = READERS[source.format]
    roles: dict[str, list[File]] = {}
    found: AbstractContextManager[list[File]]
    if source.query and source.connection:
        found = warehouse.answer(con, source.query, source.connection, table)
    else:
        paths = paths_of(source.paths, root)
        unpacking = Unpacking(folder, source.encoding, source.sheet, notes)
        files = find(con, paths, root=root, unpacking=unpacking, headless=HEADLESS)
        found = nullcontext(files)
    with found as files:
        for file in files:
            role = reader.role_of(headers_of(file))
            if role is None:
                raise _unfit(file, source.format, rows_inside(con, file))
            roles.setdefault(role, []).append(file)
        staged = "FROM information_schema.tables WHERE table_name SIMILAR TO 'staged_[0-9]+'"
        n = len(con.sql(staged).fetchall())
        zone = source.timezone or reader.timezone
        told = (source.headers, zone, *source.said_of_times, source.decimal, source.refunds)
        stages = {
            role: Stage(con, same, f"staged_{n + i}", *told, hash=source.hash)
            for i, (role, same) in enumerate(roles.items())
        }
    with one_sentence({file.path: file.shown for same in roles.values() for file in same}):
        selects = reader.read(table, **stages)
    need_hashed(source.hash, list(stages.values()))
    return selects


def _unfit(file: File, format: str, inside: str) -> DataError:
    """The sentence for a file that is no export of this format."""
    wanted = next(iter(READERS[format].roles.values()))
    headers = headers_of(file)
    lacking = next(column for column in wanted if column.lower() not in headers)
    looks = recognised(file)
    near = f" It looks like format: {looks}." if looks else inside or nearest(lacking, file.headers)
    what = f'"{lacking}" is missing (of {", ".join(wanted)})'
    return DataError(f"{file.shown} is no {format} export: {what}.{near}")


# ------------------------------------------------------------------------------- the log


def open_log(dataset: str | Path, *, fresh: bool = False, verify: bool = False) -> EventLog:
    """Open the event log of a dataset.

    Parameters
    ----------
    dataset : str or Path
        Its name, or the path of its params/data.<name>.yaml.
    fresh : bool
        Load anew in any case.
    verify : bool
        Read the store to its end before, and load anew if it is damaged.

    Returns
    -------
    EventLog
        Over the store outputs/store/<name>.<fingerprint>.duckdb.

    Raises
    ------
    DataError
        The data or its YAML cannot be read as asked.
    ParameterError
        There is no such dataset, or no project.

    Notes
    -----
    The store is loaded anew only when a file, the YAML or the loading code changed, and on a new
    day (UTC) if a table comes by query. In a notebook of a run it is the one that the run checked.

    Examples
    --------
    >>> log = open_log("demo")  # doctest: +SKIP
    >>> log.load["n_users"]  # doctest: +SKIP
    """
    if not fresh and (log := handed(dataset)):
        return log
    root, described = described_as(dataset)
    plan = plan_yaml(described.name, described.plan, root)
    if plan:
        read_plan(plan)  # its mistakes are told before a load
    key = fingerprint(described, root)
    store = store_folder(root) / f"{described.name}.{key[:16]}.duckdb"
    known = stores(store)
    log = None if fresh else sound(known, described.currency, key, verify)
    damaged = bool(known) and not fresh and not log
    if not log:
        try:
            load(described, store, root=root, key=key)
        except (duckdb.Error, OSError) as error:
            if disk_full(error):
                raise unwritten(store, error) from error
            raise
        log = EventLog.open(stores(store)[0], described.currency)
    if damaged:
        log.note = f"The store of {log.name} was damaged; it was loaded again from its sources."
    remove_unused(log.path or store, log.name)
    return planned(log, plan)


def described_as(dataset: str | Path) -> tuple[Path, Dataset]:
    """The project, and what a dataset's YAML says; two of one name would share a store."""
    root = project_root()
    path = yaml_of(dataset, root)
    described = read_dataset(path)
    for other in yamls(root):
        if other.resolve() != path.resolve() and says_name(other, described.name):
            raise DataError(
                f'Two datasets are named "{described.name}": {path.name} and {other.name}.'
                " Rename one."
            )
    return root, described


def salt_of(dataset: Dataset, root: Path) -> str:
    """Of the demo alone, whose users are invented, none: its answers repeat anywhere."""
    invented = dataset.demo and not any(dataset.sources())
    return NO_SALT if invented else salt(store_folder(root))


def load(dataset: Dataset, store: Path, *, root: Path, key: str = "") -> dict[str, Any]:
    """Read every source of a dataset into a store file; returns `build_store`'s load report."""
    store.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store.parent)
    tables: dict[str, list[tuple[str, str]]] = {}
    zones: list[str] = []  # of each source of events
    notes: list[str] = []
    salted = salt_of(dataset, root)
    with workbench(store.parent, salted) as (con, folder):
        for table, source in dataset.sources():
            selects = read_source(con, source, table, root=root, folder=folder, notes=notes)
            for target, select in selects.items():
                tables.setdefault(target, []).append((source.label, select))
                if target == "events":
                    zones.append(source.timezone or READERS[source.format].timezone or "UTC")
        if dataset.demo:
            for table, frame in demo.generate(dataset.demo.users, dataset.demo.seed).items():
                con.register(f"demo_{table}", canonical_frame(frame, table))
                tables.setdefault(table, []).append(("demo", f"FROM demo_{table}"))
        try:
            return build_store(
                store,
                tables,
                con=con,
                name=dataset.name,
                salted=salted,
                forgotten=forgotten.listed(dataset.name, root, salted),
                fingerprint=key,
                observed_until=dataset.observed_until,
                earliest=dataset.earliest,
                zones=zones,
                notes=notes,
                resent_within=dataset.resent_within,
                ignore_case=dataset.ids_ignore_case,
            )
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise DataError(f"{dataset.name} could not be loaded: {said}") from error


def fingerprint(dataset: Dataset, root: Path) -> str:
    """Changes when a file, the mapping, the salt, who is forgotten or the loading code does.

    Not with currency or plan. Files over 1 MB count by size and time of change. What a query
    answers is not known: it counts by its text, the server and database asked, and the day (UTC).
    """
    described = dataset.model_dump_json(exclude={"currency", "plan"})
    left_out = forgotten.listed(dataset.name, root, salted := salt_of(dataset, root))
    told = f"{salted} {duckdb.__version__} {described} {left_out}"
    digest = hashlib.sha256(told.encode())
    package = Path(__file__).parents[1]
    code = [package / "contract.py", *package.glob("sources/**/*.py")]
    for path in sorted([*code, *package.glob("eventlog/*.py")]):
        digest.update(path.read_bytes())
    for _, source in dataset.sources():
        if source.query and source.connection:
            place = warehouse.place_of(source.connection)
            digest.update(f"{place} {datetime.now(UTC).date()}\n".encode())
            continue
        for path in paths_of(source.paths, root):
            stat = path.stat()
            content: str | int = stat.st_mtime_ns
            if stat.st_size <= 1 << 20:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path} {stat.st_size} {content}\n".encode())
    return digest.hexdigest()
