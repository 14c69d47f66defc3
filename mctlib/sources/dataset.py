"""Export files to an event log: `open_log("name")` loads what params/data.<name>.yaml describes.

It is loaded once. The `readers` know the tools' exports, `staging` does what all of them need.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from glob import glob
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

import duckdb
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mctlib.contract import TABLES, DataError, ParameterError, as_timestamp, nearest
from mctlib.eventlog.build import build_store, disk_full, remove_leftovers, unwritten
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.pseudonyms import NO_SALT, salt
from mctlib.sources import demo, forgotten, warehouse
from mctlib.sources.files import File, find, one_sentence
from mctlib.sources.project import OnceLoader, project_root, says_name, stores, yaml_of, yamls
from mctlib.sources.readers import HEADLESS, READERS, headers_of, recognised
from mctlib.sources.staging import Stage, need_hashed, workbench

# A dataset's name names its store.
NAME = r"[A-Za-z0-9][\w-]*"


class Source(BaseModel):
    """Where the files of one table are, or the query that answers it, and how to read them.

    path: a path or glob or a list of them, absolute or relative to the project root. query: SQL,
    asked at `connection`, the NAME of an environment variable that holds the warehouse's URL (see
    `warehouse`). format: a name in `READERS`. columns: canonical column -> the file's own header or
    property. timezone: IANA zone of times that carry none. hash: what is kept as salted hashes.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: str | list[str] | None = None
    query: str | None = None
    connection: str | None = None
    format: str = "canonical"
    columns: dict[str, str] = {}
    timezone: str | None = None
    hash: list[str] = []

    @property
    def paths(self) -> list[str]:
        """What `path` says, as a list."""
        return [self.path] if isinstance(self.path, str) else self.path or []

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
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    currency: str = ""
    observed_until: Annotated[str, BeforeValidator(str)] | None = None
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
    content = _content(path)
    try:
        dataset = Dataset.model_validate(content)
    except ValidationError as errors:
        raise DataError(f"{path.name}: {_field_fault(content, errors)}") from None
    if not re.fullmatch(NAME, dataset.name):
        raise DataError(f"{path.name}: {name_fault(dataset.name)}")
    if dataset.observed_until is not None:
        try:
            as_timestamp(dataset.observed_until, f"{path.name}: observed_until")
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


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), OnceLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise DataError(f"{path.name} is not valid YAML{line}: {problem}.") from None
    if not isinstance(content, dict):
        fault = "is empty. Write into it" if content is None else "must be a mapping such as"
        raise DataError(f"{path.name} {fault}  name: ..., events: {{path: ...}}.")
    return content


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
    return ""


# --------------------------------------------------------------------------- its sources


def paths_of(source: Source, root: Path) -> list[Path]:
    """The files a source means, in order of their names. Raises DataError when there is none."""
    found: dict[Path, None] = {}
    for written in source.paths:
        exact = (root / written).is_file()
        # Path.glob takes no absolute pattern
        named = [written] if exact else glob(written, root_dir=root, recursive=True)  # noqa: PTH207
        paths = sorted(root / path for path in named if (root / path).is_file())
        if not paths and any(sign in written for sign in "*?["):
            raise DataError(f'No file matches "{written}" in {root}.')
        if not paths:
            folder = (root / written).parent
            there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            near = nearest(Path(written).name, there)
            raise DataError(f'The file "{written}" does not exist in {root}.{near}')
        found |= dict.fromkeys(paths)
    return list(found)


def read_source(
    con: duckdb.DuckDBPyConnection, source: Source, table: str, *, root: Path, folder: Path
) -> dict[str, str]:
    """Stage one source in `con`, members of archives in `folder`.

    Returns canonical table -> SELECT with times in UTC. Raises DataError: one sentence that names
    the file, the column and the rule.
    """
    reader = READERS[source.format]
    roles: dict[str, list[File]] = {}
    found: AbstractContextManager[list[File]]
    if source.query and source.connection:
        found = warehouse.answer(con, source.query, source.connection, table)
    else:
        paths = paths_of(source, root)
        found = nullcontext(find(con, paths, root=root, folder=folder, headless=HEADLESS))
    with found as files:
        for file in files:
            role = reader.role_of(headers_of(file))
            if role is None:
                raise _unfit(file, source.format)
            roles.setdefault(role, []).append(file)
        counted = "regexp_full_match(table_name, 'staged_\\d+')"
        n_staged = f"SELECT count(*) FROM information_schema.tables WHERE {counted}"
        n = con.sql(n_staged).fetchall()[0][0]
        zone = source.timezone or reader.timezone
        stages = {
            role: Stage(con, same, f"staged_{n + i}", source.columns, zone, hash=source.hash)
            for i, (role, same) in enumerate(roles.items())
        }
    with one_sentence({file.path: file.shown for same in roles.values() for file in same}):
        selects = reader.read(table, **stages)
    need_hashed(source.hash, list(stages.values()))
    return selects


def _unfit(file: File, format: str) -> DataError:
    """The sentence for a file that is no export of this format."""
    wanted = next(iter(READERS[format].roles.values()))
    headers = headers_of(file)
    lacking = next(column for column in wanted if column.lower() not in headers)
    looks = recognised(file)
    near = f" It looks like format: {looks}." if looks else nearest(lacking, file.headers)
    what = f'"{lacking}" is missing (of {", ".join(wanted)})'
    return DataError(f"{file.shown} is no {format} export: {what}.{near}")


# ------------------------------------------------------------------------------- the log


def open_log(dataset: str | Path, *, fresh: bool = False) -> EventLog:
    """Open the event log of a dataset.

    Parameters
    ----------
    dataset : str or Path
        Its name, or the path of its params/data.<name>.yaml.
    fresh : bool
        Load anew in any case.

    Returns
    -------
    EventLog
        Over the store outputs/store/<name>.duckdb.

    Raises
    ------
    DataError
        The data or its YAML cannot be read as asked.
    ParameterError
        There is no such dataset, or no project.

    Notes
    -----
    The store is loaded anew only when a file, the YAML or the loading code changed, and on a new
    day (UTC) if a table comes by query.

    Examples
    --------
    >>> log = open_log("demo")  # doctest: +SKIP
    >>> log.load["n_users"]  # doctest: +SKIP
    """
    root, described = described_as(dataset)
    store = stores(root) / f"{described.name}.duckdb"
    key = fingerprint(described, root)
    if store.is_file() and not fresh:
        # damaged, or of another DuckDB version: load anew
        with suppress(duckdb.Error, KeyError):
            opened = EventLog.open(store, described.currency)
            if opened.load["fingerprint"] == key:
                return opened
            # DuckDB would go on serving the old file from an open connection
            opened.close()
    try:
        load(described, store, root=root, key=key)
    except (duckdb.Error, OSError) as error:
        if disk_full(error):
            raise unwritten(store, error) from error
        raise
    return EventLog.open(store, described.currency)


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
    return NO_SALT if invented else salt(stores(root))


def load(dataset: Dataset, store: Path, *, root: Path, key: str = "") -> dict[str, Any]:
    """Read every source of a dataset into a store file; returns `build_store`'s load report."""
    store.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store.parent)
    tables: dict[str, list[tuple[str, str]]] = {}
    zones: list[str] = []  # of each source of events
    salted = salt_of(dataset, root)
    with workbench(store.parent, salted) as (con, folder):
        for table, source in dataset.sources():
            for target, select in read_source(con, source, table, root=root, folder=folder).items():
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
                zones=zones,
            )
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise DataError(f"{dataset.name} could not be loaded: {said}") from error


def fingerprint(dataset: Dataset, root: Path) -> str:
    """Changes when a file, the mapping, the salt, who is forgotten or the loading code does.

    Not with the currency. Files over 1 MB count by size and time of change. What a query answers
    is not known: it counts by its text, the server and database asked, and the day (UTC).
    """
    described = dataset.model_dump_json(exclude={"currency"})
    left_out = forgotten.listed(dataset.name, root, salted := salt_of(dataset, root))
    digest = hashlib.sha256(f"{salted} {described} {left_out}".encode())
    package = Path(__file__).parents[1]
    code = [package / "contract.py", *package.glob("sources/**/*.py")]
    loading = "build days frames identity moments observed pseudonyms sql store"
    code += [package / f"eventlog/{name}.py" for name in loading.split()]
    for path in sorted(code):
        digest.update(path.read_bytes())
    for _, source in dataset.sources():
        if source.query and source.connection:
            place = warehouse.place_of(source.connection)
            digest.update(f"{place} {datetime.now(UTC).date()}\n".encode())
            continue
        for path in paths_of(source, root):
            stat = path.stat()
            content: str | int = stat.st_mtime_ns
            if stat.st_size <= 1 << 20:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path} {stat.st_size} {content}\n".encode())
    return digest.hexdigest()
