"""Export files to an event log: `open_log("name")` loads what params/data.<name>.yaml describes.

It is loaded once. The `readers` know the tools' exports, `staging` does what all of them need.
"""

import hashlib
from collections.abc import Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from mctlib.contract import CANONICAL, REQUIRED, DataError, Mistakes, nearest
from mctlib.eventlog.build import build_store, disk_full, remove_leftovers, unwritten
from mctlib.eventlog.calendar import Calendar
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.own_columns import own_name
from mctlib.eventlog.personal import may_refuse
from mctlib.eventlog.progress import telling
from mctlib.eventlog.pseudonyms import NO_SALT, salt
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.store_file import remove_unused, stores
from mctlib.phrases import count, listed
from mctlib.sources import demo, forgotten, warehouse
from mctlib.sources.data_yaml import Dataset, Source, looked_at, read_dataset
from mctlib.sources.files import File, find, one_sentence, rows_inside
from mctlib.sources.project import (
    paths_of,
    plan_yaml,
    project_root,
    store_folder,
    yaml_of,
)
from mctlib.sources.readers import HEADLESS, READERS, headers_of, recognised
from mctlib.sources.snapshot import handed, planned, sound
from mctlib.sources.staging import Stage
from mctlib.sources.unpack import Unpacking
from mctlib.sources.workbench import workbench
from mctlib.tracking_plan.reading import read_plan

# --------------------------------------------------------------------------- its sources


def read_source(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    table: str,
    *,
    root: Path,
    folder: Path,
    notes: list[str],
    hashed: set[str],
) -> dict[str, str]:
    """Stage one source in `con`, members of archives in `folder`; what is left out in `notes`.

    ``hashed`` takes the columns of which the YAML says so. Returns canonical table -> SELECT with
    times in UTC. Raises DataError: one sentence that names the file, the column and the rule.
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
        if source.format in ("canonical", "columns"):  # others know their tools' shapes
            _need_alike(files, {source.headers.get(c, c).lower() for c in REQUIRED[table]})
        staged = "FROM information_schema.tables WHERE table_name SIMILAR TO 'staged_[0-9]+'"
        n = len(con.sql(staged).fetchall())
        zone = source.timezone or reader.timezone
        told = (source.headers, zone, *source.said_of_times, source.decimal, source.refunds)
        kept: dict[str, Any] = {"hash": source.hash, "allowed": source.may_read}
        kept["may_be_empty"] = table == "timeline"
        stages = {
            role: Stage(con, same, f"staged_{n + i}", *told, **kept)
            for i, (role, same) in enumerate(roles.items())
        }
    notes += [
        f"{stage.shown}: {count(stage.n_blank, 'row')} in which nothing stands, left out."
        for stage in stages.values()
        if stage.n_blank
    ]
    notes += [
        f"{stage.shown}: {count(len(stage.kept_out), 'column')} kept out, not allowed: "
        f"{listed(stage.kept_out)}."
        for stage in stages.values()
        if stage.kept_out
    ]
    with one_sentence({file.path: file.shown for same in roles.values() for file in same}):
        selects = reader.read(table, **stages)
    notes += [sentence for stage in stages.values() for sentence in stage.unsure]
    _need_named("allowed", source.allowed or (), list(stages.values()))
    _need_named("hash", source.hash, list(stages.values()))
    for name in (name for stage in stages.values() for name in stage.hashed):
        own = table == "people" and name not in CANONICAL[table]
        hashed.add(own_name(name) if own else name)
    if table in ("people", "events") and "consent" not in source.columns:
        notes += _unheard(list(stages.values()), table, source.format)
    return selects


def _unheard(stages: Sequence[Stage], table: str, format: str) -> list[str]:
    """Sentences about columns that may say who refused and are read as any other."""
    way = 'map it by columns: {{consent: "{name}"}}.'
    if table == "events" and format not in ("canonical", "columns"):
        way = "name who refused under people, with consent: no."
    return [
        f'{stage.shown}: "{name}" may say who refused, and nobody is left out by it. If it does, '
        + way.format(name=name)
        for stage in stages
        for name in stage.words
        if may_refuse(name) and not {name, name.lower()} & {*stage.used, *stage.used_keys}
    ]


def _need_alike(files: Sequence[File], wanted: Set[str]) -> None:
    """Raise a DataError where a table lacks a wanted column that another of the same source has.

    All its rows would be rejected for the lack of it. Only an anonymous id can stand in.
    """
    for file in files:
        headers = headers_of(file)
        if file.kind == "csv" and "anonymous_id" not in headers:
            have = ((name, o.shown) for o in files for name in wanted & headers_of(o) - headers)
            if lacking := min(have, default=None):
                name, other = lacking
                near = nearest(name, file.headers)
                raise DataError(f'{file.shown} has no column "{name}", as {other} has.{near}')


def _need_named(field: str, names: Sequence[str], stages: Sequence[Stage]) -> None:
    """Raise a DataError unless each of the columns that a field names is in one of the stages."""
    for name in names:
        if not any(stage.names(name) for stage in stages):
            there = [word for stage in stages for word in (*stage.words, *stage.kept_out)]
            near = nearest(name, there)
            raise DataError(f'{stages[0].shown} has no column "{name}", named in {field}.{near}')


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
    root = project_root()
    described, mistakes = looked_at(yaml_of(dataset, root))  # told before a load
    with mistakes.noted():
        if plan := plan_yaml(described.name, described.plan, root):
            read_plan(plan)
    for written in (path for _, source in described.sources() for path in source.paths):
        with mistakes.noted():
            paths_of([written], root)
    mistakes.tell(DataError)
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
    """The project, and what a dataset's YAML says."""
    root = project_root()
    return root, read_dataset(yaml_of(dataset, root))


def salt_of(dataset: Dataset, root: Path) -> str:
    """Of the demo alone, whose users are invented, none: its answers repeat anywhere."""
    invented = dataset.demo and not any(dataset.sources())
    return NO_SALT if invented else salt(store_folder(root))


def _left_out(dataset: Dataset, root: Path, salted: str) -> list[str]:
    return forgotten.listed(dataset.name, root, salted, dataset.ids_ignore_case)


def load(dataset: Dataset, store: Path, *, root: Path, key: str = "") -> dict[str, Any]:
    """Read every source of a dataset into a store file; returns `build_store`'s load report."""
    store.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store.parent)
    tables: dict[str, list[tuple[str, str]]] = {}
    zones: list[str] = []  # of each source of events
    notes: list[str] = []
    hashed: set[str] = set()
    salted = salt_of(dataset, root)
    with workbench(store.parent, salted) as (con, folder):
        mistakes = Mistakes()
        for table, source in dataset.sources():
            selects: dict[str, str] = {}
            with mistakes.noted(), telling(con, f"reading {source.label}"):
                selects = read_source(
                    con, source, table, root=root, folder=folder, notes=notes, hashed=hashed
                )
            for target, select in selects.items():
                tables.setdefault(target, []).append((source.label, select))
                if target == "events":
                    zones.append(source.timezone or READERS[source.format].timezone or "UTC")
        mistakes.tell(DataError)
        if dataset.demo:
            made = demo.write(folder / "demo", dataset.demo.users, dataset.demo.seed)
            for table, path in made.items():
                select = f"FROM read_parquet({sql_text(path)})"
                tables.setdefault(table, []).append(("demo", select))
        try:
            return build_store(
                store,
                tables,
                con=con,
                name=dataset.name,
                salted=salted,
                forgotten=_left_out(dataset, root, salted),
                fingerprint=key,
                observed_until=dataset.observed_until,
                calendar=Calendar(dataset.reporting_timezone, dataset.week_starts),
                earliest=dataset.earliest,
                zones=zones,
                notes=notes,
                hashed=sorted(hashed),
                resent_within=dataset.resent_within,
                ignore_case=dataset.ids_ignore_case,
                aliases=dataset.aliases,
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
    left_out = _left_out(dataset, root, salted := salt_of(dataset, root))
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
